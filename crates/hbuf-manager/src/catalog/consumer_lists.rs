//! Consumers in the catalog: how to find them, and which messages come where through them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;

use hbuf_core::consumer::Config;
use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::name::Name;

use super::{Catalog, Lifecycle, TenantId, TopicId};
use crate::consumer::ConsumerOwner;
use crate::name::{folded, with_folded};

/// A named, durable reader, as the manager knows it. Its place is in the cursors logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consumer {
    /// The name of its records in the cursors logs.
    pub uuid: Uuid,
    /// What it reads.
    pub owner: ConsumerOwner,
    /// Its name.
    pub name: Name,
    /// Its configuration.
    pub config: Config,
    /// Grows with every change of this record.
    pub version: u64,
    /// When it was made.
    pub created: Micros,
}

/// The consumers, and what leads to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Consumers {
    pub(crate) rows: BTreeMap<Uuid, Consumer>,
    /// Owner, then lower-case name, to consumer.
    pub(crate) names: BTreeMap<ConsumerOwner, BTreeMap<Box<str>, Uuid>>,
    /// Buffer to the consumers that put there what they give up.
    pub(crate) dead_letters: BTreeMap<Uuid, BTreeSet<Uuid>>,
}

impl Consumers {
    /// Enters a consumer in every list.
    pub(crate) fn insert(&mut self, consumer: Consumer) {
        let names = self.names.entry(consumer.owner).or_default();
        names.insert(folded(&consumer.name), consumer.uuid);
        if let Some(dead) = consumer.config.dead_letter {
            let givers = self.dead_letters.entry(dead).or_default();
            givers.insert(consumer.uuid);
        }
        self.rows.insert(consumer.uuid, consumer);
    }

    /// Takes a consumer out of every list; no list is left empty.
    pub(crate) fn remove(&mut self, uuid: Uuid) -> Option<Consumer> {
        let consumer = self.rows.remove(&uuid)?;
        if let Some(names) = self.names.get_mut(&consumer.owner) {
            names.remove(&folded(&consumer.name));
            if names.is_empty() {
                self.names.remove(&consumer.owner);
            }
        }
        if let Some(dead) = consumer.config.dead_letter
            && let Some(givers) = self.dead_letters.get_mut(&dead)
        {
            givers.remove(&uuid);
            if givers.is_empty() {
                self.dead_letters.remove(&dead);
            }
        }
        Some(consumer)
    }

    /// Removes all consumers of an owner that is no more.
    pub(crate) fn remove_all_of(&mut self, owner: ConsumerOwner) {
        let names = self.names.get(&owner).cloned().unwrap_or_default();
        for uuid in names.into_values() {
            self.remove(uuid);
        }
    }

    fn of(&self, owner: ConsumerOwner) -> impl Iterator<Item = &Consumer> {
        let names = self.names.get(&owner).into_iter().flatten();
        names.filter_map(|(_, uuid)| self.rows.get(uuid))
    }
}

impl Catalog {
    /// A consumer by the name of its records.
    #[must_use]
    pub fn consumer(&self, uuid: Uuid) -> Option<&Consumer> {
        self.consumers.rows.get(&uuid)
    }

    /// A consumer by its exact name.
    #[must_use]
    pub fn resolve_consumer(&self, owner: ConsumerOwner, name: &str) -> Option<&Consumer> {
        self.resolve_consumer_ignoring_case(owner, name)
            .filter(|consumer| &*consumer.name == name)
    }

    /// The consumer that stands in the way of one with this name.
    #[must_use]
    pub fn resolve_consumer_ignoring_case(
        &self,
        owner: ConsumerOwner,
        name: &str,
    ) -> Option<&Consumer> {
        let names = self.consumers.names.get(&owner)?;
        let uuid = with_folded(name, |folded| names.get(folded).copied())?;
        self.consumer(uuid)
    }

    /// The consumers of an owner behind the name `after`, in the order of their lower-case names.
    pub fn consumers_of<'c>(
        &'c self,
        owner: ConsumerOwner,
        after: &str,
    ) -> impl Iterator<Item = &'c Consumer> + use<'c> {
        let after = Bound::Excluded(folded(after));
        self.consumers
            .names
            .get(&owner)
            .into_iter()
            .flat_map(move |names| names.range((after.clone(), Bound::Unbounded)))
            .filter_map(|(_, uuid)| self.consumer(*uuid))
    }

    /// Every consumer that reads a buffer: its own, and those of the topics that it is in.
    pub fn consumers_of_buffer(&self, buffer: Uuid) -> impl Iterator<Item = &Consumer> {
        let topics = self
            .topics_of_buffer(buffer)
            .map(|topic| ConsumerOwner::Topic(topic.id));
        core::iter::once(ConsumerOwner::Buffer(buffer))
            .chain(topics)
            .flat_map(|owner| self.consumers.of(owner))
    }

    /// The buffers that a consumer reads, in the order of their owner.
    #[must_use]
    pub fn buffers_of_consumer<'c>(&'c self, consumer: &'c Consumer) -> &'c [Uuid] {
        self.members_of_owner(&consumer.owner)
    }

    pub(crate) fn members_of_owner<'c>(&'c self, owner: &'c ConsumerOwner) -> &'c [Uuid] {
        match owner {
            ConsumerOwner::Buffer(uuid) => core::slice::from_ref(uuid),
            ConsumerOwner::Topic(id) => self.topics.get(id).map_or(&[], |topic| &topic.buffers),
        }
    }

    /// All consumers, in the order of their uuids.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.rows.values()
    }

    /// How many consumers have a cursor in a buffer.
    #[must_use]
    pub fn consumers_of_buffer_count(&self, buffer: Uuid) -> usize {
        self.readers_with(buffer, self.topics_of_buffer(buffer).map(|topic| topic.id))
    }

    /// How many consumers have a cursor in a buffer, were it in these topics.
    pub(crate) fn readers_with(
        &self,
        buffer: Uuid,
        topics: impl Iterator<Item = TopicId>,
    ) -> usize {
        let count = |owner| self.consumers.names.get(&owner).map_or(0, BTreeMap::len);
        let of_topics = topics.map(|id| count(ConsumerOwner::Topic(id)));
        count(ConsumerOwner::Buffer(buffer)) + of_topics.sum::<usize>()
    }

    /// How many consumers there are.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.consumers.rows.len()
    }

    /// The consumers that put into a buffer what they give up.
    pub fn dead_letters_into(&self, buffer: Uuid) -> impl Iterator<Item = &Consumer> {
        let givers = self.consumers.dead_letters.get(&buffer);
        givers
            .into_iter()
            .flatten()
            .filter_map(|uuid| self.consumer(*uuid))
    }

    /// The tenant of an owner that may have consumers.
    pub(crate) fn tenant_of_owner(&self, owner: ConsumerOwner) -> Option<TenantId> {
        match owner {
            ConsumerOwner::Buffer(uuid) => {
                let buffer = self.buffers.get(&uuid)?;
                (buffer.lifecycle == Lifecycle::Live).then_some(buffer.tenant)
            }
            ConsumerOwner::Topic(id) => Some(self.topics.get(&id)?.tenant),
        }
    }

    /// Whether messages of the buffer `from` come into one of `targets` by themselves, be it
    /// through others: as dead letters of consumers, or because a mirror follows. `topic` is one
    /// that shall have other buffers than it has.
    pub(crate) fn flows_into(
        &self,
        from: Uuid,
        targets: &[Uuid],
        topic: Option<(TopicId, &[Uuid])>,
    ) -> bool {
        let targets: BTreeSet<&Uuid> = targets.iter().collect();
        let mut seen = BTreeSet::from([from]);
        let mut open = Vec::from([from]);
        while let Some(buffer) = open.pop() {
            if targets.contains(&buffer) {
                return true;
            }
            let mirrors = self.mirrors();
            let following = mirrors
                .filter(|mirror| mirror.mirror.as_ref().is_some_and(|m| m.of == buffer))
                .map(|mirror| mirror.uuid);
            let given_up = self.readers_of(buffer, topic);
            let given_up = given_up.filter_map(|consumer| consumer.config.dead_letter);
            let next = following.chain(given_up);
            open.extend(next.filter(|uuid| seen.insert(*uuid)));
        }
        false
    }

    fn readers_of(
        &self,
        buffer: Uuid,
        topic: Option<(TopicId, &[Uuid])>,
    ) -> impl Iterator<Item = &Consumer> {
        let changed = topic.map(|(id, _)| ConsumerOwner::Topic(id));
        let joins = topic.is_some_and(|(_, buffers)| buffers.contains(&buffer));
        let now = self
            .consumers_of_buffer(buffer)
            .filter(move |consumer| Some(consumer.owner) != changed);
        let joined = changed.filter(|_| joins).into_iter();
        now.chain(joined.flat_map(|owner| self.consumers.of(owner)))
    }
}
