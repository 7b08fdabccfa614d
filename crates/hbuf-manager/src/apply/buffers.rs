//! What commands do to buffers.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use hbuf_core::ids::{Micros, NodeId, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::limits::{BUFFERS_MAX, TOPICS_PER_BUFFER_MAX};
use hbuf_core::name::Name;
use hbuf_core::replication::MoveRefused;

use super::{Outcome, Refused, check_version};
use crate::catalog::{Buffer, Catalog, Lifecycle, RegionId, TenantId, TopicId, names_stream};
use crate::command::CreateBuffer;
use crate::config::BufferConfig;
use crate::consumer::ConsumerOwner;
use crate::mirror::{MirrorChange, MirrorConfig};
use crate::name::folded;

impl Catalog {
    pub(super) fn create_buffer(
        &mut self,
        index: u64,
        time: Micros,
        create: &CreateBuffer,
    ) -> Result<Outcome, Refused> {
        create.config.check()?;
        let tenant = self.tenant_id(&create.tenant)?;
        if let Some(existing) = self.buffers.get(&create.uuid) {
            if existing.tenant == tenant && existing.name == create.name {
                return Ok(self.buffer_outcome(existing));
            }
            return Err(Refused::UuidTaken { uuid: create.uuid });
        }
        if let Some(existing) = self.resolve_buffer_ignoring_case(&create.tenant, &create.name) {
            return Err(existing.in_the_way());
        }
        // Consumers may still name one that was deleted: it must not come back as another.
        self.check_no_dead_letters_into(create.uuid)
            .map_err(|_| Refused::UuidTaken { uuid: create.uuid })?;
        if self.buffers.len() >= BUFFERS_MAX {
            return Err(Refused::TooManyBuffers);
        }
        let region = create.region.as_ref();
        let region = region.map(|name| self.region_id(name)).transpose()?;
        let copies = self.copies_of(create)?;
        self.check_topics_of_new_buffer(create)?;
        if let Some(mirror) = &create.mirror {
            self.check_mirror_of_new_buffer(create, tenant, mirror)?;
        }

        let buffer = new_buffer(create, tenant, region, (index, time));
        if region.is_none() {
            let min = usize::from(create.config.effective_min_insync());
            self.assigned
                .create(create.uuid, create.history, &copies, min);
        }
        let outcome = self.buffer_outcome(&buffer);
        let names = self
            .tenants
            .get_mut(&tenant)
            .expect("a tenant's name leads to it");
        names.buffers.insert(folded(&create.name), create.uuid);
        if buffer.mirror.is_some() {
            self.mirrors.insert(create.uuid);
        }
        self.buffers.insert(create.uuid, buffer);
        for topic in &create.topics {
            self.join_or_create_topic(time, tenant, topic, create.uuid);
        }
        Ok(outcome)
    }

    fn copies_of(&self, create: &CreateBuffer) -> Result<Vec<NodeId>, Refused> {
        let mut copies = Vec::new();
        for name in &create.copies {
            let (id, node) = self
                .node(name)
                .ok_or_else(|| Refused::NoSuchNode { node: name.clone() })?;
            if node.draining {
                return Err(Refused::Move(MoveRefused::Leaves(id)));
            }
            copies.push(id);
        }
        if create.region.is_some() {
            // Its region's group places it.
            return match copies.is_empty() {
                true => Ok(copies),
                false => Err(Refused::PlacedByRegion),
            };
        }
        let different = copies.iter().collect::<BTreeSet<_>>().len();
        let wanted = create.config.copies();
        if different != copies.len() || !(1..=usize::from(wanted)).contains(&different) {
            return Err(Refused::Copies {
                got: different,
                wanted,
            });
        }
        Ok(copies)
    }

    /// What is told of a buffer behind a change.
    fn buffer_outcome(&self, buffer: &Buffer) -> Outcome {
        let epoch = self.assignment(buffer.uuid).map(|it| it.epoch);
        Outcome::Buffer {
            uuid: buffer.uuid,
            version: buffer.version,
            epoch: epoch.unwrap_or_default(),
        }
    }

    fn check_topics_of_new_buffer(&self, create: &CreateBuffer) -> Result<(), Refused> {
        if create.topics.len() > TOPICS_PER_BUFFER_MAX {
            return Err(Refused::TooManyTopics {
                buffer: create.name.clone(),
            });
        }
        check_named_once(&create.topics)?;
        create
            .topics
            .iter()
            .try_for_each(|name| self.check_topic_has_room(&create.tenant, name))?;
        let topics = create.topics.iter().filter_map(|name| {
            let topic = self.resolve_topic(&create.tenant, name)?;
            Some(topic.id)
        });
        self.check_room_for_consumers(create.uuid, topics)
    }

    fn check_mirror_of_new_buffer(
        &self,
        create: &CreateBuffer,
        tenant: TenantId,
        mirror: &MirrorConfig,
    ) -> Result<(), Refused> {
        mirror.check()?;
        check_may_follow(&create.name)?;
        self.check_origin(create.uuid, tenant, mirror)?;
        // What the consumers of its topics give up may come back to its origin.
        let topics = create.topics.iter();
        let topics = topics.filter_map(|name| self.resolve_topic(&create.tenant, name));
        let consumers =
            topics.flat_map(|topic| self.consumers_of(ConsumerOwner::Topic(topic.id), ""));
        let mut dead = consumers.filter_map(|consumer| consumer.config.dead_letter);
        match dead.any(|uuid| self.flows_into(uuid, &[mirror.of], None)) {
            true => Err(Refused::MirrorCycle {
                origin: mirror.name.clone(),
            }),
            false => Ok(()),
        }
    }

    pub(super) fn confirm_buffer(
        &mut self,
        uuid: Uuid,
        reserved: Option<u64>,
    ) -> Result<Outcome, Refused> {
        let buffer = self
            .buffers
            .get_mut(&uuid)
            .ok_or(Refused::NoSuchBuffer { uuid })?;
        // What was placed for a reservation that was given up may be dropped at any time.
        if reserved != buffer.region.map(|_| buffer.reserved) {
            return Err(Refused::OtherReservation { uuid });
        }
        match buffer.lifecycle {
            Lifecycle::Reserved => {
                buffer.lifecycle = Lifecycle::Live;
                buffer.version += 1;
            }
            Lifecycle::Live => {}
            Lifecycle::Deleting => return Err(Refused::NoSuchBuffer { uuid }),
        }
        Ok(self.buffer_outcome(&self.buffers[&uuid]))
    }

    pub(super) fn configure_buffer(
        &mut self,
        uuid: Uuid,
        expected: Option<u64>,
        config: BufferConfig,
        mirror: &MirrorChange,
    ) -> Result<Outcome, Refused> {
        config.check()?;
        let buffer = self.live_buffer(uuid)?;
        check_version(expected, buffer.version)?;
        let tenant = buffer.tenant;
        let follows = mirror.over(buffer.mirror.as_deref());
        if let MirrorChange::Follow(wanted) = mirror {
            wanted.check()?;
            check_may_follow(&buffer.name)?;
            self.check_no_dead_letters_into(uuid)?;
            self.check_origin(uuid, tenant, wanted)?;
        }
        match follows {
            Some(_) => self.mirrors.insert(uuid),
            None => self.mirrors.remove(&uuid),
        };
        let buffer = self.live_buffer(uuid)?;
        if buffer.config != config || buffer.mirror.as_deref() != follows.as_ref() {
            buffer.config = config;
            buffer.mirror = follows.map(Box::new);
            buffer.version += 1;
        }
        let min = usize::from(config.effective_min_insync());
        self.assigned.set_min_in_sync(uuid, min);
        Ok(self.buffer_outcome(&self.buffers[&uuid]))
    }

    pub(super) fn set_buffer_state(
        &mut self,
        uuid: Uuid,
        expected: Option<u64>,
        state: BufferState,
    ) -> Result<Outcome, Refused> {
        let buffer = self.live_buffer(uuid)?;
        check_version(expected, buffer.version)?;
        if buffer.state != state {
            buffer.state = state;
            buffer.version += 1;
        }
        Ok(self.buffer_outcome(&self.buffers[&uuid]))
    }

    /// The origin must be there, of the same tenant, and must not follow the mirror itself, be it
    /// through others. Origins that were deleted end a chain.
    fn check_origin(
        &self,
        mirror: Uuid,
        tenant: TenantId,
        wanted: &MirrorConfig,
    ) -> Result<(), Refused> {
        let of = wanted.of;
        let live = |uuid: Uuid| {
            let buffer = self.buffers.get(&uuid);
            buffer.filter(|buffer| buffer.lifecycle != Lifecycle::Deleting)
        };
        let origin = live(of)
            .filter(|origin| origin.tenant == tenant)
            .ok_or_else(|| Refused::NoSuchBufferName {
                buffer: wanted.name.clone(),
            })?;
        let mut next = Some(of);
        while let Some(buffer) = next.and_then(live) {
            if buffer.uuid == mirror {
                return Err(Refused::MirrorCycle {
                    origin: origin.name.clone(),
                });
            }
            next = buffer.mirror.as_ref().map(|mirror| mirror.of);
        }
        if self.flows_into(mirror, &[of], None) {
            return Err(Refused::MirrorCycle {
                origin: origin.name.clone(),
            });
        }
        Ok(())
    }

    fn live_buffer(&mut self, uuid: Uuid) -> Result<&mut Buffer, Refused> {
        let buffer = self
            .buffers
            .get_mut(&uuid)
            .ok_or(Refused::NoSuchBuffer { uuid })?;
        match buffer.lifecycle {
            Lifecycle::Live => Ok(buffer),
            Lifecycle::Reserved => Err(Refused::NotConfirmed { uuid }),
            Lifecycle::Deleting => Err(Refused::NoSuchBuffer { uuid }),
        }
    }

    pub(super) fn delete_buffer(&mut self, uuid: Uuid, force: bool) -> Result<Outcome, Refused> {
        let buffer = self
            .buffers
            .get(&uuid)
            .ok_or(Refused::NoSuchBuffer { uuid })?;
        if !force && buffer.lifecycle != Lifecycle::Deleting {
            if let Some(topic) = buffer.topics.first().and_then(|id| self.topics.get(id)) {
                let count = buffer.topics.len();
                return Err(Refused::InTopics {
                    topic: topic.name.clone(),
                    count,
                });
            }
            if buffer.state == BufferState::Paused {
                return Err(Refused::Paused {
                    buffer: buffer.name.clone(),
                });
            }
            self.check_no_dead_letters_into(uuid)?;
        }
        self.begin_deletion(uuid);
        Ok(Outcome::Deleting {
            buffers: [uuid].into(),
        })
    }

    /// Takes the buffer out of its topics; its name stays taken until its copies are gone.
    pub(super) fn begin_deletion(&mut self, uuid: Uuid) {
        let Some(buffer) = self.buffers.get_mut(&uuid) else {
            return;
        };
        if buffer.lifecycle == Lifecycle::Deleting {
            return;
        }
        buffer.lifecycle = Lifecycle::Deleting;
        buffer.version += 1;
        self.consumers.remove_all_of(ConsumerOwner::Buffer(uuid));
        for topic in core::mem::take(&mut buffer.topics) {
            self.leave_topic(topic, uuid);
        }
    }

    /// A buffer that is unknown was dropped before: a sweeper may ask twice.
    pub(super) fn drop_buffer(&mut self, uuid: Uuid) -> Result<Outcome, Refused> {
        match self.buffers.get(&uuid).map(|buffer| buffer.lifecycle) {
            None => return Ok(Outcome::Done),
            Some(Lifecycle::Live) => return Err(Refused::NotDeleting { uuid }),
            Some(Lifecycle::Reserved | Lifecycle::Deleting) => {}
        }
        self.begin_deletion(uuid);
        self.mirrors.remove(&uuid);
        self.assigned.remove(uuid);
        if let Some(buffer) = self.buffers.remove(&uuid)
            && let Some(tenant) = self.tenants.get_mut(&buffer.tenant)
        {
            tenant.buffers.remove(&folded(&buffer.name));
        }
        Ok(Outcome::Done)
    }
}

fn new_buffer(
    create: &CreateBuffer,
    tenant: TenantId,
    region: Option<RegionId>,
    (reserved, created): (u64, Micros),
) -> Buffer {
    Buffer {
        uuid: create.uuid,
        tenant,
        name: create.name.clone(),
        region,
        reserved,
        log: create.log,
        idem_key: create.idem_key,
        config: create.config,
        lifecycle: Lifecycle::Reserved,
        state: BufferState::Open,
        version: 1,
        created,
        mirror: create.mirror.clone(),
        topics: Box::default(),
    }
}

impl Buffer {
    fn in_the_way(&self) -> Refused {
        Refused::BufferExists {
            existing: self.name.clone(),
            uuid: self.uuid,
            lifecycle: self.lifecycle,
        }
    }

    /// Adds a topic to the list, which stays in order of the topics' numbers.
    pub(crate) fn join(&mut self, topic: TopicId) {
        let mut topics = core::mem::take(&mut self.topics).into_vec();
        if let Err(at) = topics.binary_search(&topic) {
            topics.insert(at, topic);
        }
        self.topics = topics.into_boxed_slice();
    }

    pub(super) fn leave(&mut self, topic: TopicId) {
        self.topics = self
            .topics
            .iter()
            .copied()
            .filter(|id| *id != topic)
            .collect();
    }

    pub(super) fn check_room_for_topic(&self) -> Result<(), Refused> {
        if self.topics.len() < TOPICS_PER_BUFFER_MAX {
            return Ok(());
        }
        Err(Refused::TooManyTopics {
            buffer: self.name.clone(),
        })
    }
}

/// A stream takes only what is appended to it as one, so it cannot follow.
fn check_may_follow(mirror: &Name) -> Result<(), Refused> {
    match names_stream(mirror) {
        true => Err(Refused::NamedAsStream {
            buffer: mirror.clone(),
        }),
        false => Ok(()),
    }
}

/// Names in a list are refused when they stand twice, in whatever case.
pub(super) fn check_named_once(names: &[Name]) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(folded(name))) {
        Some(name) => Err(Refused::NamedTwice { name: name.clone() }),
        None => Ok(()),
    }
}
