//! What commands do to consumers. A consumer goes with the buffer or topic that it reads.

use alloc::collections::BTreeSet;

use hbuf_core::consumer::Config;
use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::limits::CONSUMERS_PER_BUFFER_MAX;

use super::{Outcome, Refused, check_version};
use crate::catalog::{Catalog, Consumer, Lifecycle, TopicId};
use crate::consumer::{ConsumerOwner, CreateConsumer};

impl Catalog {
    pub(super) fn create_consumer(
        &mut self,
        created: Micros,
        create: &CreateConsumer,
    ) -> Result<Outcome, Refused> {
        create.config.check()?;
        let owner = create.owner;
        if let Some(existing) = self.consumer(create.uuid) {
            if existing.owner == owner && existing.name == create.name {
                return Ok(existing.outcome());
            }
            return Err(Refused::UuidTaken { uuid: create.uuid });
        }
        self.check_owner(owner)?;
        if let Some(existing) = self.resolve_consumer_ignoring_case(owner, &create.name) {
            return Err(Refused::ConsumerExists {
                existing: existing.name.clone(),
                uuid: existing.uuid,
            });
        }
        let members = self.members_of_owner(&owner);
        let full = |uuid: &Uuid| self.consumers_of_buffer_count(*uuid) >= CONSUMERS_PER_BUFFER_MAX;
        if members.iter().any(full) {
            return Err(Refused::TooManyConsumers);
        }
        self.check_dead_letter(owner, &create.config)?;
        let consumer = Consumer {
            uuid: create.uuid,
            owner,
            name: create.name.clone(),
            config: create.config.clone(),
            version: 1,
            created,
        };
        let outcome = consumer.outcome();
        self.consumers.insert(consumer);
        Ok(outcome)
    }

    pub(super) fn configure_consumer(
        &mut self,
        uuid: Uuid,
        expected: Option<u64>,
        config: &Config,
    ) -> Result<Outcome, Refused> {
        config.check()?;
        let no_such = Refused::NoSuchConsumer { uuid };
        let consumer = self.consumer(uuid).ok_or(no_such)?;
        check_version(expected, consumer.version)?;
        if consumer.config == *config {
            return Ok(consumer.outcome());
        }
        if consumer.config.start != config.start {
            return Err(Refused::ConsumerStart);
        }
        if consumer.config.dead_letter != config.dead_letter {
            self.check_dead_letter(consumer.owner, config)?;
        }
        let mut consumer = self.consumers.remove(uuid).expect("it was looked up");
        consumer.config = config.clone();
        consumer.version += 1;
        let outcome = consumer.outcome();
        self.consumers.insert(consumer);
        Ok(outcome)
    }

    pub(super) fn delete_consumer(
        &mut self,
        uuid: Uuid,
        expected: Option<u64>,
    ) -> Result<Outcome, Refused> {
        let no_such = Refused::NoSuchConsumer { uuid };
        let consumer = self.consumer(uuid).ok_or(no_such)?;
        check_version(expected, consumer.version)?;
        self.consumers.remove(uuid);
        Ok(Outcome::Done)
    }

    fn check_owner(&self, owner: ConsumerOwner) -> Result<(), Refused> {
        match owner {
            ConsumerOwner::Buffer(uuid) => {
                let buffer = self.buffers.get(&uuid);
                match buffer.map(|buffer| buffer.lifecycle) {
                    Some(Lifecycle::Live) => Ok(()),
                    Some(Lifecycle::Reserved) => Err(Refused::NotConfirmed { uuid }),
                    Some(Lifecycle::Deleting) | None => Err(Refused::NoSuchBuffer { uuid }),
                }
            }
            ConsumerOwner::Topic(id) if self.topics.contains_key(&id) => Ok(()),
            ConsumerOwner::Topic(id) => Err(Refused::NoSuchTopicId { id }),
        }
    }

    /// The dead-letter buffer must be there, of the owner's tenant, no mirror and no stream; and
    /// nothing that comes into it may come back into what the consumer reads, or one bad message
    /// would go round without end.
    fn check_dead_letter(&self, owner: ConsumerOwner, config: &Config) -> Result<(), Refused> {
        let Some(uuid) = config.dead_letter else {
            return Ok(());
        };
        let tenant = self.tenant_of_owner(owner);
        let buffer = self
            .buffers
            .get(&uuid)
            .filter(|buffer| buffer.lifecycle == Lifecycle::Live && Some(buffer.tenant) == tenant)
            .ok_or(Refused::NoDeadLetterBuffer { uuid })?;
        if buffer.mirror.is_some() {
            return Err(Refused::IsMirror {
                buffer: buffer.name.clone(),
            });
        }
        if buffer.may_be_stream() {
            return Err(Refused::NamedAsStream {
                buffer: buffer.name.clone(),
            });
        }
        if self.flows_into(uuid, self.members_of_owner(&owner), None) {
            return Err(self.dead_letter_cycle(uuid));
        }
        Ok(())
    }

    /// A topic that takes other buffers must not close a cycle through its consumers' dead letters.
    pub(super) fn check_dead_letters_of_topic(
        &self,
        id: TopicId,
        buffers: &[Uuid],
    ) -> Result<(), Refused> {
        let consumers = self.consumers_of(ConsumerOwner::Topic(id), "");
        let dead: BTreeSet<Uuid> = consumers
            .filter_map(|consumer| consumer.config.dead_letter)
            .collect();
        let topic = Some((id, buffers));
        let mut dead = dead.into_iter();
        match dead.find(|uuid| self.flows_into(*uuid, buffers, topic)) {
            Some(uuid) => Err(self.dead_letter_cycle(uuid)),
            None => Ok(()),
        }
    }

    fn dead_letter_cycle(&self, uuid: Uuid) -> Refused {
        let buffer = self.buffers.get(&uuid);
        buffer.map_or(Refused::NoDeadLetterBuffer { uuid }, |buffer| {
            Refused::DeadLetterCycle {
                buffer: buffer.name.clone(),
            }
        })
    }

    /// A buffer that comes into topics gets a cursor for each of their consumers.
    pub(super) fn check_room_for_consumers(
        &self,
        buffer: Uuid,
        topics: impl Iterator<Item = TopicId>,
    ) -> Result<(), Refused> {
        if self.readers_with(buffer, topics) > CONSUMERS_PER_BUFFER_MAX {
            return Err(Refused::TooManyConsumers);
        }
        Ok(())
    }

    /// Refuses what would leave consumers without the buffer for what they give up.
    pub(super) fn check_no_dead_letters_into(&self, buffer: Uuid) -> Result<(), Refused> {
        let count = self.dead_letters_into(buffer).count();
        match self.dead_letters_into(buffer).next() {
            Some(consumer) => Err(Refused::TakesDeadLetters {
                consumer: consumer.name.clone(),
                count,
            }),
            None => Ok(()),
        }
    }
}

impl CreateConsumer {
    /// Whoever expects a version means a consumer that is there, which may have been deleted since:
    /// none is made for them.
    pub fn check_expected(&self, expected: Option<u64>) -> Result<(), Refused> {
        match expected {
            None => Ok(()),
            Some(expected) => Err(Refused::NoConsumerToConfigure {
                name: self.name.clone(),
                expected,
            }),
        }
    }
}

impl Consumer {
    fn outcome(&self) -> Outcome {
        Outcome::Consumer {
            uuid: self.uuid,
            version: self.version,
        }
    }
}
