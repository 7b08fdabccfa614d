//! Topics as operators and appends see them: which buffers they have, and which of them a message
//! goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hbuf_core::buffer::Demands;
use hbuf_core::ids::Uuid;
use hbuf_core::input::BufferState;
use hbuf_core::name::Name;
use hbuf_core::topic::{Aim, split};
use hbuf_manager::{self as manager, Action, LastTopic, Lifecycle, Outcome, Refused, TopicId};

use super::Engine;
use super::buffer::Buffer;
use super::described::{
    BufferSettings, CatalogError, MemberInfo, Page, TopicInfo, page, topic_info,
};
use super::open::LookupError;
use crate::manager::ProposeError;

/// Whose turn it is to take messages without a key; topics share them by number.
#[derive(Debug)]
pub(super) struct Turns([AtomicU64; TURNS]);

/// So many topics have turns of their own; of more, some go round together.
const TURNS: usize = 256;

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Turns {
    fn take(&self, topic: TopicId) -> u64 {
        let at = usize::try_from(topic.0 % TURNS as u64).unwrap_or_default();
        self.0[at].fetch_add(1, Ordering::Relaxed)
    }
}

/// A topic as its readers see it.
#[derive(Clone, Debug)]
pub struct TopicView {
    /// Its number.
    pub id: u64,
    /// The version of its list of buffers.
    pub version: u64,
    /// How many buffers it has.
    pub buffers: usize,
    /// Those that can be read, in the order of their uuids; the others are just being made.
    pub members: Vec<TopicMember>,
    /// Tells this list in these states from others.
    pub stamp: TopicStamp,
}

/// A buffer of a topic, as its readers see it.
#[derive(Clone, Debug)]
pub struct TopicMember {
    /// Its registration.
    pub uuid: Uuid,
    /// Its name.
    pub name: Name,
    /// Its history.
    pub history: Uuid,
    /// Whether it takes messages.
    pub state: BufferState,
}

/// The version of a topic's list, and the sum of its buffers' versions and epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicStamp(u64, u64);

/// Where an append to a topic goes.
#[derive(Clone, Debug)]
pub struct Routed {
    /// How many buffers the topic has.
    pub buffers: usize,
    /// What goes to each buffer that gets something.
    pub parts: Vec<RoutedPart>,
}

/// What of an append goes to one buffer.
#[derive(Clone, Debug)]
pub struct RoutedPart {
    /// The buffer.
    pub uuid: Uuid,
    /// Its name.
    pub name: Name,
    /// It can be used; else it is being created.
    live: bool,
    /// The messages by their number in the append, counting from 0.
    pub messages: Vec<usize>,
}

impl Engine {
    /// Routes the messages of an append over a topic's buffers; topic t is made with one buffer t.
    pub async fn route(
        &self,
        tenant: &Name,
        name: &str,
        aims: &[Aim],
        demands: Demands<'_>,
    ) -> Result<Routed, LookupError> {
        match self.route_known(tenant, name, aims) {
            Some(routed) if routed.buffers > 1 => return Ok(routed),
            Some(routed) if routed.parts.iter().all(|part| part.live) => return Ok(routed),
            _ => {}
        }
        match self.topic_or_create(tenant, name, demands).await {
            Ok(_) | Err(LookupError::SeveralBuffers { .. }) => {}
            Err(error) => return Err(error),
        }
        self.route_known(tenant, name, aims)
            .ok_or_else(|| LookupError::NoTopic { name: name.into() })
    }

    fn route_known(&self, tenant: &Name, name: &str, aims: &[Aim]) -> Option<Routed> {
        self.inner.manager.view(|catalog| {
            let topic = catalog.resolve_topic(tenant.as_str(), name)?;
            let members: Vec<&manager::Buffer> = catalog.buffers_of_topic(topic).collect();
            let takes: Vec<bool> = members.iter().map(|buffer| takes(buffer)).collect();
            let turn = match aims.contains(&Aim::Any) {
                true => self.inner.turns.take(topic.id),
                false => 0,
            };
            let parts = split(aims, &topic.slots, &takes, turn);
            let routed = parts.into_iter().map(|part| RoutedPart {
                uuid: members[part.place].uuid,
                name: members[part.place].name.clone(),
                live: members[part.place].lifecycle == Lifecycle::Live,
                messages: part.messages,
            });
            Some(Routed {
                buffers: members.len(),
                parts: routed.collect(),
            })
        })
    }

    /// The buffer that takes a part.
    pub async fn part_buffer(&self, part: &RoutedPart) -> Result<Arc<Buffer>, LookupError> {
        if part.live {
            return self.open(part.uuid).await;
        }
        self.once_made(Some(part.uuid), part.name.as_str()).await
    }

    /// A topic with what its readers need to know of its buffers.
    pub fn topic_view(&self, tenant: &Name, name: &str) -> Result<TopicView, LookupError> {
        let view = self.inner.manager.view(|catalog| {
            let topic = catalog.resolve_topic(tenant.as_str(), name)?;
            let live = |buffer: &&manager::Buffer| buffer.lifecycle == Lifecycle::Live;
            let member = |buffer: &manager::Buffer| TopicMember {
                uuid: buffer.uuid,
                name: buffer.name.clone(),
                history: catalog
                    .assignment(buffer.uuid)
                    .map(|it| it.history)
                    .unwrap_or_default(),
                state: buffer.state,
            };
            let members = catalog.buffers_of_topic(topic).filter(live).map(member);
            let mut members: Vec<TopicMember> = members.collect();
            members.sort_unstable_by_key(|member| member.uuid);
            Some(TopicView {
                id: topic.id.0,
                version: topic.version,
                buffers: topic.buffers.len(),
                members,
                stamp: stamp(catalog, topic),
            })
        });
        view.ok_or_else(|| LookupError::NoTopic { name: name.into() })
    }

    /// Waits until a topic has another list of buffers than was seen, other states of them, or is
    /// gone.
    pub async fn topic_changed(&self, tenant: &Name, name: &str, seen: TopicStamp) {
        let mut applied = self.inner.manager.watch();
        loop {
            let now = self.inner.manager.view(|catalog| {
                let topic = catalog.resolve_topic(tenant.as_str(), name)?;
                Some(stamp(catalog, topic))
            });
            if now != Some(seen) {
                return;
            }
            if applied.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            // Many readers may wait while many changes come; they need not look at each.
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// The buffers of a topic, with what each takes.
    pub fn topic_members(&self, tenant: &Name, name: &str) -> Result<Vec<MemberInfo>, LookupError> {
        let members = self.inner.manager.view(|catalog| {
            let topic = catalog.resolve_topic(tenant.as_str(), name)?;
            let slots = topic.slots.counts(topic.buffers.len());
            let member = |(buffer, slots): (&manager::Buffer, usize)| MemberInfo {
                name: buffer.name.clone(),
                state: buffer.state,
                slots,
            };
            let members = catalog.buffers_of_topic(topic).zip(slots);
            Some(members.map(member).collect())
        });
        members.ok_or_else(|| LookupError::NoTopic { name: name.into() })
    }

    /// A topic's buffer for an append; topic t is made with one buffer t.
    pub(super) async fn topic_or_create(
        &self,
        tenant: &Name,
        name: &str,
        demands: Demands<'_>,
    ) -> Result<Arc<Buffer>, LookupError> {
        match self.topic_buffer(tenant, name).await {
            Err(LookupError::NoTopic { .. }) => {}
            Err(LookupError::Changing { .. }) => {
                let uuid = self.inner.manager.view(|catalog| {
                    let topic = catalog.resolve_topic(tenant.as_str(), name)?;
                    Some(catalog.buffers_of_topic(topic).next()?.uuid)
                });
                return self.once_made(uuid, name).await;
            }
            found => return found,
        }
        let name = self.new_name(tenant, name)?;
        let exists = self.describe_buffer(tenant, name.as_str()).is_ok();
        if exists {
            // Another request may have made both since the first look.
            return match self.topic_buffer(tenant, name.as_str()).await {
                Err(LookupError::NoTopic { .. }) => Err(CatalogError::Propose(
                    ProposeError::Refused(self.in_the_way(tenant, &name)),
                )
                .into()),
                found => found,
            };
        }
        demands.of_an_empty_log()?;
        let topics = vec![name.clone()];
        let uuid = self
            .create(tenant, &name, &BufferSettings::default(), topics)
            .await?;
        self.open(uuid).await
    }

    /// The refusal that names a buffer which stands where a topic's buffer would.
    fn in_the_way(&self, tenant: &Name, name: &Name) -> Refused {
        let found = self.inner.manager.view(|catalog| {
            let buffer = catalog.resolve_buffer(tenant.as_str(), name.as_str())?;
            Some((buffer.uuid, buffer.lifecycle))
        });
        let (uuid, lifecycle) = found.unwrap_or_else(|| (Uuid::default(), Lifecycle::Deleting));
        Refused::BufferExists {
            existing: name.clone(),
            uuid,
            lifecycle,
        }
    }

    /// Makes a topic of existing buffers, or changes its list, if it still has the version that is
    /// expected. True when it was made.
    pub async fn create_topic(
        &self,
        tenant: &Name,
        name: &Name,
        buffers: Option<Vec<Name>>,
        expected: Option<u64>,
    ) -> Result<(TopicInfo, bool), CatalogError> {
        let exists = match self.describe_topic(tenant, name.as_str()) {
            Ok(info) => Some(info),
            Err(missing) if expected.is_some() => return Err(missing.into()),
            Err(_) => None,
        };
        match (exists, buffers) {
            (Some(info), None) => {
                let current = info.version;
                return match expected {
                    Some(expected) if expected != current => {
                        Err(ProposeError::Refused(Refused::Version { expected, current }).into())
                    }
                    _ => Ok((info, false)),
                };
            }
            (Some(_), Some(buffers)) => {
                let (owner, topic) = (tenant.clone(), name.clone());
                let action = Action::ConfigureTopic {
                    tenant: owner,
                    topic,
                    expected,
                    buffers,
                };
                self.inner.manager.propose(action).await?;
            }
            (None, Some(buffers)) => {
                let (owner, topic) = (tenant.clone(), name.clone());
                let action = Action::CreateTopic {
                    tenant: owner,
                    topic,
                    buffers,
                };
                self.inner.manager.propose(action).await?;
                return Ok((self.describe_topic(tenant, name.as_str())?, true));
            }
            (None, None) => {
                let topics = vec![name.clone()];
                self.create(tenant, name, &BufferSettings::default(), topics)
                    .await?;
                return Ok((self.describe_topic(tenant, name.as_str())?, true));
            }
        }
        Ok((self.describe_topic(tenant, name.as_str())?, false))
    }

    /// A topic as the manager knows it.
    pub fn describe_topic(&self, tenant: &Name, name: &str) -> Result<TopicInfo, LookupError> {
        let info = self.inner.manager.view(|catalog| {
            let topic = catalog.resolve_topic(tenant.as_str(), name)?;
            Some(topic_info(catalog, topic))
        });
        info.ok_or_else(|| LookupError::NoTopic { name: name.into() })
    }

    /// The topics of a tenant behind a name.
    #[must_use]
    pub fn list_topics(&self, tenant: &Name, after: &str, limit: usize) -> Page<TopicInfo> {
        self.inner.manager.view(|catalog| {
            let topics = catalog.topics_of_tenant(tenant.as_str(), after);
            page(topics.map(|topic| topic_info(catalog, topic)), limit)
        })
    }

    /// Removes a topic's name; buffers whose last topic it is go or stay as `buffers` says.
    pub async fn delete_topic(
        &self,
        tenant: &Name,
        name: &Name,
        buffers: LastTopic,
    ) -> Result<(), CatalogError> {
        let (owner, topic) = (tenant.clone(), name.clone());
        let action = Action::DeleteTopic {
            tenant: owner,
            topic,
            buffers,
        };
        let applied = self.inner.manager.propose(action).await?;
        let Outcome::Deleting { buffers } = applied.outcome else {
            return Ok(());
        };
        for uuid in buffers {
            let name = self
                .inner
                .manager
                .view(|catalog| catalog.buffer(uuid).map(|buffer| buffer.name.to_string()));
            if let Some(name) = name {
                self.remove(tenant, uuid, &name).await?;
            }
        }
        Ok(())
    }
}

fn stamp(catalog: &manager::Catalog, topic: &manager::Topic) -> TopicStamp {
    // A history begins with an epoch.
    let versions = catalog.buffers_of_topic(topic).map(|buffer| {
        let epoch = catalog.assignment(buffer.uuid).map(|it| it.epoch);
        buffer.version + u64::from(epoch.unwrap_or_default().0)
    });
    TopicStamp(topic.version, versions.sum())
}

/// How long changes of the catalog may gather before a reader looks at them.
const SETTLE: Duration = Duration::from_millis(100);

/// Whether messages that are bound to no buffer may go to this one.
fn takes(buffer: &manager::Buffer) -> bool {
    let open = buffer.lifecycle == Lifecycle::Live && buffer.state == BufferState::Open;
    open && buffer.mirror.is_none() && !buffer.may_be_stream()
}
