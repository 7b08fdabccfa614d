//! What commands do to topics. A topic without a buffer does not exist: losing its last buffer
//! removes it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::limits::BUFFERS_PER_TOPIC_MAX;
use hbuf_core::name::Name;
use hbuf_core::topic::SlotTable;

use super::buffers::check_named_once;
use super::{Outcome, Refused, check_version};
use crate::catalog::{Catalog, Lifecycle, TenantId, Topic, TopicId};
use crate::command::LastTopic;
use crate::consumer::ConsumerOwner;
use crate::name::folded;

impl Catalog {
    pub(super) fn create_topic(
        &mut self,
        time: Micros,
        tenant: &Name,
        name: &Name,
        buffers: &[Name],
    ) -> Result<Outcome, Refused> {
        let tenant_id = self.tenant_id(tenant)?;
        if let Some(existing) = self.resolve_topic_ignoring_case(tenant, name) {
            return Err(Refused::TopicExists {
                existing: existing.name.clone(),
            });
        }
        let buffers = self.members_of_topic(tenant, buffers, None)?;
        let id = self.insert_topic(time, tenant_id, name, buffers);
        Ok(Outcome::Topic { id, version: 1 })
    }

    pub(super) fn configure_topic(
        &mut self,
        tenant: &Name,
        name: &Name,
        expected: Option<u64>,
        buffers: &[Name],
    ) -> Result<Outcome, Refused> {
        let (id, version, old) = self.topic_of(tenant, name)?;
        check_version(expected, version)?;
        let new = self.members_of_topic(tenant, buffers, Some(id))?;
        if new == old {
            return Ok(Outcome::Topic { id, version });
        }
        self.check_dead_letters_of_topic(id, &new)?;
        for uuid in new.iter().filter(|uuid| !old.contains(uuid)) {
            let others = self.topics_of_buffer(*uuid).map(|topic| topic.id);
            self.check_room_for_consumers(*uuid, others.chain([id]))?;
        }
        for uuid in old.iter().filter(|uuid| !new.contains(uuid)) {
            self.buffers
                .get_mut(uuid)
                .expect("a topic's buffers exist")
                .leave(id);
        }
        self.join_all(id, &new);
        let topic = self
            .topics
            .get_mut(&id)
            .expect("a topic's name leads to it");
        topic.become_of(new);
        Ok(Outcome::Topic {
            id,
            version: topic.version,
        })
    }

    pub(super) fn delete_topic(
        &mut self,
        tenant: &Name,
        name: &Name,
        last: LastTopic,
    ) -> Result<Outcome, Refused> {
        let (id, _, buffers) = self.topic_of(tenant, name)?;
        let only_here = |uuid: &&Uuid| self.buffers.get(uuid).is_some_and(|b| *b.topics == [id]);
        let lonely: Vec<Uuid> = buffers.iter().filter(only_here).copied().collect();
        match last {
            LastTopic::Refuse => self.refuse_first(&lonely)?,
            LastTopic::Keep => {}
            LastTopic::Delete => {
                self.refuse_paused(&lonely)?;
                let mut lonely = lonely.iter();
                lonely.try_for_each(|uuid| self.check_no_dead_letters_into(*uuid))?;
            }
        }
        for uuid in &buffers {
            self.buffers
                .get_mut(uuid)
                .expect("a topic's buffers exist")
                .leave(id);
        }
        self.remove_topic(id);
        if last != LastTopic::Delete {
            return Ok(Outcome::Done);
        }
        lonely.iter().for_each(|uuid| self.begin_deletion(*uuid));
        Ok(Outcome::Deleting { buffers: lonely })
    }

    fn refuse_first(&self, lonely: &[Uuid]) -> Result<(), Refused> {
        match lonely.first().and_then(|uuid| self.buffers.get(uuid)) {
            Some(buffer) => Err(Refused::LastTopic {
                buffer: buffer.name.clone(),
            }),
            None => Ok(()),
        }
    }

    fn refuse_paused(&self, lonely: &[Uuid]) -> Result<(), Refused> {
        let mut buffers = lonely.iter().filter_map(|uuid| self.buffers.get(uuid));
        match buffers.find(|buffer| buffer.state == BufferState::Paused) {
            Some(buffer) => Err(Refused::Paused {
                buffer: buffer.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// The uuids of the buffers that a topic is to have; `of` is the topic when it exists already.
    fn members_of_topic(
        &self,
        tenant: &Name,
        names: &[Name],
        of: Option<TopicId>,
    ) -> Result<Box<[Uuid]>, Refused> {
        if !(1..=BUFFERS_PER_TOPIC_MAX).contains(&names.len()) {
            return Err(Refused::TopicSize { got: names.len() });
        }
        check_named_once(names)?;
        let member = |name: &Name| {
            let buffer = self.resolve_buffer(tenant, name);
            let buffer = buffer
                .filter(|buffer| buffer.lifecycle != Lifecycle::Deleting)
                .ok_or_else(|| Refused::NoSuchBufferName {
                    buffer: name.clone(),
                })?;
            if of.is_none_or(|topic| !buffer.topics.contains(&topic)) {
                buffer.check_room_for_topic()?;
            }
            Ok(buffer.uuid)
        };
        names.iter().map(member).collect()
    }

    fn topic_of(&self, tenant: &Name, name: &Name) -> Result<(TopicId, u64, Box<[Uuid]>), Refused> {
        self.tenant_id(tenant)?;
        let topic = self.resolve_topic(tenant, name);
        let topic = topic.ok_or_else(|| Refused::NoSuchTopic {
            topic: name.clone(),
        })?;
        Ok((topic.id, topic.version, topic.buffers.clone()))
    }

    /// Whether a new buffer may join the topic of this name, or make it.
    pub(super) fn check_topic_has_room(&self, tenant: &Name, name: &Name) -> Result<(), Refused> {
        match self.resolve_topic_ignoring_case(tenant, name) {
            Some(topic) if topic.name != *name => Err(Refused::TopicExists {
                existing: topic.name.clone(),
            }),
            Some(topic) if topic.buffers.len() >= BUFFERS_PER_TOPIC_MAX => {
                Err(Refused::TopicSize {
                    got: topic.buffers.len() + 1,
                })
            }
            _ => Ok(()),
        }
    }

    /// Puts a new buffer into a topic, which is made when it does not exist.
    pub(super) fn join_or_create_topic(
        &mut self,
        time: Micros,
        tenant: TenantId,
        name: &Name,
        buffer: Uuid,
    ) {
        let known = self
            .tenants
            .get(&tenant)
            .and_then(|t| t.topics.get(&folded(name)).copied());
        let Some(id) = known else {
            self.insert_topic(time, tenant, name, [buffer].into());
            return;
        };
        let topic = self
            .topics
            .get_mut(&id)
            .expect("a topic's name leads to it");
        let buffers = topic.buffers.iter().copied().chain([buffer]).collect();
        topic.become_of(buffers);
        self.join_all(id, &[buffer]);
    }

    fn insert_topic(
        &mut self,
        created: Micros,
        tenant: TenantId,
        name: &Name,
        buffers: Box<[Uuid]>,
    ) -> TopicId {
        self.last_topic += 1;
        let id = TopicId(self.last_topic);
        self.join_all(id, &buffers);
        let names = self
            .tenants
            .get_mut(&tenant)
            .expect("a tenant's name leads to it");
        names.topics.insert(folded(name), id);
        let topic = Topic {
            id,
            tenant,
            name: name.clone(),
            version: 1,
            slots: SlotTable::even(&buffers),
            buffers,
            created,
        };
        self.topics.insert(id, topic);
        id
    }

    fn join_all(&mut self, topic: TopicId, buffers: &[Uuid]) {
        for uuid in buffers {
            self.buffers
                .get_mut(uuid)
                .expect("a topic's buffers exist")
                .join(topic);
        }
    }

    /// Takes a buffer out of a topic's list; the buffer's own list is the caller's.
    pub(super) fn leave_topic(&mut self, id: TopicId, buffer: Uuid) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        let stays = |uuid: &Uuid| *uuid != buffer;
        let buffers: Box<[Uuid]> = topic.buffers.iter().copied().filter(stays).collect();
        if buffers.is_empty() {
            self.remove_topic(id);
        } else {
            topic.become_of(buffers);
        }
    }

    fn remove_topic(&mut self, id: TopicId) {
        let topic = self.topics.remove(&id).expect("a topic is removed once");
        self.consumers.remove_all_of(ConsumerOwner::Topic(id));
        if let Some(tenant) = self.tenants.get_mut(&topic.tenant) {
            tenant.topics.remove(&folded(&topic.name));
        }
    }
}

impl Topic {
    /// Takes another list of buffers: one step of the version, and of the slots with it.
    fn become_of(&mut self, buffers: Box<[Uuid]>) {
        self.slots = self.slots.moved(&self.buffers, &buffers);
        self.buffers = buffers;
        self.version += 1;
    }
}
