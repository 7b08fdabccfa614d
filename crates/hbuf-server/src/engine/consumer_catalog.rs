//! Consumers as operators see them: create, configure, describe, list, delete. What they hand out
//! is not here.

use std::borrow::Cow;

use hbuf_core::consumer::Config;
use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::name::Name;
use hbuf_manager::{
    self as manager, Action, ConsumerOwner, CreateConsumer, Lifecycle, Outcome, Refused,
};

use super::Engine;
use super::consumer_calls::ConsumerError;
use super::described::{CatalogError, Page, page};
use super::open::LookupError;
use crate::clock;
use crate::manager::ProposeError;

/// What a consumer reads, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerName<'a> {
    /// A buffer.
    Buffer(&'a str),
    /// A topic.
    Topic(&'a str),
}

/// A consumer as the manager knows it.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: Name,
    /// The name of its records in the cursors logs.
    pub uuid: Uuid,
    /// What it reads.
    pub owner: ConsumerOwner,
    /// The name of what it reads.
    pub owner_name: Name,
    /// Its configuration.
    pub config: Config,
    /// The name of its dead-letter buffer; `None` also when that was deleted by force.
    pub dead_letter: Option<Name>,
    /// Grows with every change of this record.
    pub version: u64,
    /// When it was made.
    pub created: Micros,
    /// The buffers that it reads, those that can be used.
    pub members: Vec<(Uuid, Name)>,
}

/// Why a consumer cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerLookupError {
    /// What it would read is not there.
    #[error(transparent)]
    Owner(#[from] LookupError),
    /// There is no consumer of this name.
    #[error("there is no consumer `{name}`: create it with PUT")]
    NoConsumer {
        /// The name.
        name: String,
    },
}

impl Engine {
    /// The buffer or topic of this name.
    pub fn consumer_owner(
        &self,
        tenant: &Name,
        owner: OwnerName<'_>,
    ) -> Result<ConsumerOwner, LookupError> {
        self.inner.manager.view(|catalog| match owner {
            OwnerName::Buffer(name) => match catalog.resolve_buffer(tenant.as_str(), name) {
                Some(buffer) if buffer.lifecycle == Lifecycle::Live => {
                    Ok(ConsumerOwner::Buffer(buffer.uuid))
                }
                Some(_) => Err(LookupError::Changing { name: name.into() }),
                None => Err(LookupError::NoBuffer { name: name.into() }),
            },
            OwnerName::Topic(name) => catalog
                .resolve_topic(tenant.as_str(), name)
                .map(|topic| ConsumerOwner::Topic(topic.id))
                .ok_or_else(|| LookupError::NoTopic { name: name.into() }),
        })
    }

    /// A consumer as the manager knows it.
    pub fn describe_consumer(
        &self,
        tenant: &Name,
        owner: OwnerName<'_>,
        name: &str,
    ) -> Result<ConsumerInfo, ConsumerLookupError> {
        let owner = self.consumer_owner(tenant, owner)?;
        let found = self.inner.manager.view(|catalog| {
            let consumer = catalog.resolve_consumer(owner, name)?;
            consumer_info(catalog, consumer)
        });
        found.ok_or_else(|| ConsumerLookupError::NoConsumer { name: name.into() })
    }

    /// A consumer as it is now, by its uuid; gone when nothing is left that it could read.
    pub(super) fn consumer_now(&self, uuid: Uuid) -> Result<ConsumerInfo, ConsumerError> {
        let info = self.inner.manager.view(|catalog| {
            let consumer = catalog.consumer(uuid)?;
            consumer_info(catalog, consumer)
        });
        info.filter(|info| !info.members.is_empty())
            .ok_or(ConsumerError::Gone)
    }

    /// The same consumer, or what has become of it: whoever works for long must not go by what was
    /// set when it began.
    pub(super) fn refreshed<'i>(
        &self,
        info: &'i ConsumerInfo,
    ) -> Result<Cow<'i, ConsumerInfo>, ConsumerError> {
        let same = self.inner.manager.view(|catalog| {
            let consumer = catalog.consumer(info.uuid)?;
            let members = live_members(catalog, consumer).map(|buffer| buffer.uuid);
            let known = info.members.iter().map(|(uuid, _)| *uuid);
            Some(consumer.version == info.version && members.eq(known))
        });
        match same {
            Some(true) if !info.members.is_empty() => Ok(Cow::Borrowed(info)),
            _ => self.consumer_now(info.uuid).map(Cow::Owned),
        }
    }

    /// The consumers of a buffer or topic behind a name.
    pub fn list_consumers(
        &self,
        tenant: &Name,
        owner: OwnerName<'_>,
        after: &str,
        limit: usize,
    ) -> Result<Page<ConsumerInfo>, LookupError> {
        let owner = self.consumer_owner(tenant, owner)?;
        Ok(self.inner.manager.view(|catalog| {
            let consumers = catalog.consumers_of(owner, after);
            page(
                consumers.filter_map(|consumer| consumer_info(catalog, consumer)),
                limit,
            )
        }))
    }

    /// Makes a consumer, or configures the one that exists: `settle` says of the present
    /// configuration, or of the default one, what it shall be. True when it was made.
    pub async fn put_consumer<E: From<CatalogError>>(
        &self,
        tenant: &Name,
        owner: OwnerName<'_>,
        name: &Name,
        expected: Option<u64>,
        settle: impl Fn(Option<&ConsumerInfo>) -> Result<Config, E>,
    ) -> Result<(ConsumerInfo, bool), E> {
        let found = |error: ConsumerLookupError| E::from(CatalogError::from(error));
        for _ in 0..PUT_TRIES {
            let action = match self.describe_consumer(tenant, owner, name.as_str()) {
                Ok(info) => Action::ConfigureConsumer {
                    uuid: info.uuid,
                    // What was not set keeps the value that was seen here.
                    expected: Some(expected.unwrap_or(info.version)),
                    config: Box::new(settle(Some(&info))?),
                },
                Err(ConsumerLookupError::NoConsumer { .. }) => {
                    let create = CreateConsumer {
                        owner: self
                            .consumer_owner(tenant, owner)
                            .map_err(CatalogError::from)?,
                        name: name.clone(),
                        uuid: clock::uuid(),
                        config: settle(None)?,
                    };
                    let refused = |refused| CatalogError::from(ProposeError::Refused(refused));
                    create.check_expected(expected).map_err(refused)?;
                    Action::CreateConsumer(Box::new(create))
                }
                Err(error) => return Err(found(error)),
            };
            let creates = matches!(action, Action::CreateConsumer(_));
            match self.inner.manager.propose(action).await {
                Ok(_) => {
                    let info = self.describe_consumer(tenant, owner, name.as_str());
                    let info = info.map_err(found)?;
                    let begun = self.begin_everywhere(&info).await;
                    begun.map_err(|error| E::from(CatalogError::from(error)))?;
                    return Ok((info, creates));
                }
                Err(ProposeError::Refused(refused)) if overtaken(&refused, name, expected) => {}
                Err(error) => return Err(CatalogError::from(error).into()),
            }
        }
        let name = name.to_string();
        Err(CatalogError::from(LookupError::Changing { name }).into())
    }

    /// Deletes a consumer. Its leases end, and what the cursors logs hold of it goes.
    pub async fn delete_consumer(&self, info: &ConsumerInfo) -> Result<(), CatalogError> {
        let action = Action::DeleteConsumer {
            uuid: info.uuid,
            expected: None,
        };
        let outcome = self.inner.manager.propose(action).await?;
        debug_assert_eq!(outcome.outcome, Outcome::Done);
        self.forget_consumer(info).await;
        Ok(())
    }

    /// The registration of a buffer that shall take dead letters.
    pub fn dead_letter_buffer(&self, tenant: &Name, name: &str) -> Result<Uuid, LookupError> {
        self.describe_buffer(tenant, name).map(|info| info.uuid)
    }
}

/// Whether another request changed the consumer between the look and the command, so that the same
/// request may still be done. Who named a version wants to know instead.
fn overtaken(refused: &Refused, name: &Name, expected: Option<u64>) -> bool {
    match refused {
        Refused::ConsumerExists { existing, .. } => existing == name,
        Refused::NoSuchConsumer { .. } => true,
        Refused::Version { .. } => expected.is_none(),
        _ => false,
    }
}

fn live_members<'c>(
    catalog: &'c manager::Catalog,
    consumer: &'c manager::Consumer,
) -> impl Iterator<Item = &'c manager::Buffer> {
    let uuids = catalog.buffers_of_consumer(consumer).iter();
    uuids
        .filter_map(|uuid| catalog.buffer(*uuid))
        .filter(|buffer| buffer.lifecycle == Lifecycle::Live)
}

fn consumer_info(catalog: &manager::Catalog, consumer: &manager::Consumer) -> Option<ConsumerInfo> {
    let owner_name = match consumer.owner {
        ConsumerOwner::Buffer(uuid) => catalog.buffer(uuid)?.name.clone(),
        ConsumerOwner::Topic(id) => catalog.topic(id)?.name.clone(),
    };
    let members = live_members(catalog, consumer);
    let members = members.map(|buffer| (buffer.uuid, buffer.name.clone()));
    let dead_letter = consumer.config.dead_letter;
    Some(ConsumerInfo {
        name: consumer.name.clone(),
        uuid: consumer.uuid,
        owner: consumer.owner,
        owner_name,
        config: consumer.config.clone(),
        dead_letter: dead_letter
            .and_then(|uuid| catalog.buffer(uuid))
            .filter(|buffer| buffer.lifecycle != Lifecycle::Deleting)
            .map(|buffer| buffer.name.clone()),
        version: consumer.version,
        created: consumer.created,
        members: members.collect(),
    })
}

/// How often a consumer is looked up and proposed anew when others change it at the same time.
const PUT_TRIES: usize = 8;
