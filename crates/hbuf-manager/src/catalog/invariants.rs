//! What must hold after every command, said in words when it does not.

use alloc::format;
use alloc::string::String;

use hbuf_core::limits::{BUFFERS_PER_TOPIC_MAX, CONSUMERS_PER_BUFFER_MAX, TOPICS_PER_BUFFER_MAX};

use super::{Buffer, Catalog, Consumer, Tenant, TenantId, Topic};
use crate::name::folded;

impl Catalog {
    /// The first invariant that does not hold, in words. It walks everything: for tests, and for a
    /// snapshot before it is trusted.
    #[must_use]
    pub fn broken_invariant(&self) -> Option<String> {
        let tenants = self
            .tenants
            .iter()
            .find_map(|(id, tenant)| self.broken_tenant(*id, tenant));
        let buffers = || {
            self.buffers
                .values()
                .find_map(|buffer| self.broken_buffer(buffer))
        };
        let topics = || {
            self.topics
                .values()
                .find_map(|topic| self.broken_topic(topic))
        };
        tenants
            .or_else(buffers)
            .or_else(topics)
            .or_else(|| self.consumers().find_map(|one| self.broken_consumer(one)))
            .or_else(|| self.broken_counts())
            .or_else(|| self.assigned.broken())
    }

    fn broken_tenant(&self, id: TenantId, tenant: &Tenant) -> Option<String> {
        if self.tenant_names.get(&folded(&tenant.name)) != Some(&id) {
            return Some(format!("tenant {} is not found by its name", tenant.name));
        }
        let buffers = tenant.buffers.iter().find(|(name, uuid)| {
            !self
                .buffers
                .get(uuid)
                .is_some_and(|b| b.tenant == id && folded(&b.name) == **name)
        });
        if let Some((name, _)) = buffers {
            return Some(format!("the buffer name {name} leads to no such buffer"));
        }
        let (name, _) = tenant.topics.iter().find(|(name, topic)| {
            !self
                .topics
                .get(topic)
                .is_some_and(|t| t.tenant == id && folded(&t.name) == **name)
        })?;
        Some(format!("the topic name {name} leads to no such topic"))
    }

    fn broken_buffer(&self, buffer: &Buffer) -> Option<String> {
        let says = |what: &str| Some(format!("buffer {} ({}) {what}", buffer.name, buffer.uuid));
        let min = usize::from(buffer.config.effective_min_insync());
        let assignment = self.assignment(buffer.uuid);
        let fits = match buffer.region {
            None => assignment.is_some_and(|it| it.min_in_sync == min),
            Some(region) => assignment.is_none() && self.regions.contains_key(&region),
        };
        if !fits {
            return says("has no assignment, one that needs other members, or an unknown region");
        }
        if buffer.topics.len() > TOPICS_PER_BUFFER_MAX || !buffer.topics.is_sorted_by(|a, b| a < b)
        {
            return says("has too many topics, or one of them twice");
        }
        let listed = |id| {
            self.topics
                .get(id)
                .is_some_and(|t| t.buffers.contains(&buffer.uuid))
        };
        if !buffer.topics.iter().all(listed) {
            return says("names a topic that does not name it");
        }
        if self.consumers_of_buffer_count(buffer.uuid) > CONSUMERS_PER_BUFFER_MAX {
            return says("has too many consumers");
        }
        if buffer.mirror.is_some() != self.mirrors.contains(&buffer.uuid) {
            return says("is a mirror in one list only");
        }
        if buffer.config.check().is_err() || buffer.version == 0 {
            return says("has a configuration or version out of range");
        }
        None
    }

    fn broken_topic(&self, topic: &Topic) -> Option<String> {
        let says = |what: &str| Some(format!("topic {} {what}", topic.name));
        if topic.buffers.is_empty() || topic.buffers.len() > BUFFERS_PER_TOPIC_MAX {
            return says("has no buffer or too many");
        }
        if !topic.slots.fits(topic.buffers.len()) {
            return says("has slots that belong to none of its buffers, or uneven shares");
        }
        let listed = topic.buffers.iter().all(|uuid| {
            let buffer = self.buffers.get(uuid);
            buffer.is_some_and(|b| b.tenant == topic.tenant && b.topics.contains(&topic.id))
        });
        if !listed {
            return says("names a buffer that does not name it");
        }
        None
    }

    fn broken_consumer(&self, consumer: &Consumer) -> Option<String> {
        let says = |what: &str| Some(format!("consumer {} {what}", consumer.name));
        if self.tenant_of_owner(consumer.owner).is_none() {
            return says("reads what does not exist");
        }
        let found = self.resolve_consumer(consumer.owner, &consumer.name);
        if found.is_none_or(|found| found.uuid != consumer.uuid) {
            return says("is not found by its name");
        }
        if consumer.config.check().is_err() || consumer.version == 0 {
            return says("has a configuration or version out of range");
        }
        let dead = consumer.config.dead_letter?;
        let mut givers = self.dead_letters_into(dead);
        if !givers.any(|giver| giver.uuid == consumer.uuid) {
            return says("is not listed at its dead-letter buffer");
        }
        if self.flows_into(dead, self.buffers_of_consumer(consumer), None) {
            return says("gets its dead letters back");
        }
        None
    }

    /// Every name leads to its thing; equal counts show that every thing has its name.
    fn broken_counts(&self) -> Option<String> {
        let buffers: usize = self
            .tenants
            .values()
            .map(|tenant| tenant.buffers.len())
            .sum();
        let topics: usize = self
            .tenants
            .values()
            .map(|tenant| tenant.topics.len())
            .sum();
        if buffers != self.buffers.len() || topics != self.topics.len() {
            return Some("there are buffers or topics without a name".into());
        }
        let names = &self.consumers.names;
        let named: usize = names.values().map(|names| names.len()).sum();
        if named != self.consumer_count() {
            return Some("there are consumers without a name".into());
        }
        let dead = &self.consumers.dead_letters;
        let given: usize = dead.values().map(|givers| givers.len()).sum();
        let giving = self.consumers();
        if given
            != giving
                .filter(|one| one.config.dead_letter.is_some())
                .count()
        {
            return Some("there are dead letters of no consumer".into());
        }
        let global = self.buffers().filter(|it| it.region.is_none()).count();
        if self.assigned.buffers.len() != global {
            return Some("there are assignments of no buffer".into());
        }
        if self.mirrors().count() != self.mirrors.len() {
            return Some("there are mirrors without a buffer".into());
        }
        if self.tenant_names.len() != self.tenants.len() {
            return Some("there are tenants without a name".into());
        }
        None
    }
}
