//! The state machine of a region's group, when the region is not `global`: its nodes, and who
//! holds and leads its buffers, by the same rules.
//!
//! ```text
//!  create:  global reserves name and uuid ──▶ the region places it ──▶ global confirms: it is live
//!  delete:  global takes it out of use ─────▶ the region drops it ───▶ global frees the name
//! ```
//! Each step is idempotent by the buffer's uuid; [`sweep`] tells from both states what a crash
//! between two of them left. `global` owns names and settings, the region epochs and in-sync sets:
//! it goes on failing over while `global` is down.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::limits::{BUFFERS_MAX, COPIES_MAX};
use hbuf_core::replication::{Assignment, MoveRefused};

use crate::apply::{Outcome, Refused};
use crate::assigned::{Assigned, outcome};
use crate::dedupe::Clients;
use crate::node::{Node, RegisterNode};

mod region_command;
mod region_snapshot;
mod sweeper;

pub use region_command::{PlaceBuffer, RegionAction, RegionCommand};
pub use sweeper::{Sweep, sweep};

pub(crate) use region_command::supported;

/// What the region knows of a buffer beside its assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placed {
    /// The index of its reservation in the log of `global`. A state of `global` from before says
    /// nothing about the buffer.
    pub reserved: u64,
    /// The version of its settings in `global` of which the assignment was told last.
    pub version: u64,
}

/// The state of a region's group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Region {
    pub(crate) applied: u64,
    pub(crate) group: Option<Uuid>,
    pub(crate) cluster_version: u32,
    pub(crate) assigned: Assigned,
    pub(crate) placed: BTreeMap<Uuid, Placed>,
    pub(crate) clients: Clients,
}

impl Region {
    /// A region to which no command was applied.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The index of the last command applied; 0 before the first.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// The id of its group; `None` before it is founded.
    #[must_use]
    pub const fn group(&self) -> Option<Uuid> {
        self.group
    }

    /// The version that gates which commands may be applied; 0 before the region is founded.
    #[must_use]
    pub const fn cluster_version(&self) -> u32 {
        self.cluster_version
    }

    /// The nodes, and the assignments of all buffers.
    #[must_use]
    pub const fn assigned(&self) -> &Assigned {
        &self.assigned
    }

    /// Who holds and leads a buffer.
    #[must_use]
    pub fn assignment(&self, buffer: Uuid) -> Option<&Assignment> {
        self.assigned.get(buffer)
    }

    /// All buffers, in the order of their uuids.
    pub fn buffers(&self) -> impl Iterator<Item = (Uuid, Placed)> {
        self.placed.iter().map(|(uuid, placed)| (*uuid, *placed))
    }

    /// The number of a client's last command; its next one must be higher.
    #[must_use]
    pub fn last_number(&self, client: Uuid) -> u64 {
        self.clients.last_number(client)
    }

    /// Does what a command says.
    pub(crate) fn obey(&mut self, index: u64, action: &RegionAction) -> Result<Outcome, Refused> {
        if let RegionAction::FoundRegion { group, version } = action {
            return self.found(*group, *version);
        }
        if self.group.is_none() {
            return Err(Refused::NotFounded);
        }
        match action {
            RegionAction::FoundRegion { .. } => Ok(Outcome::Done),
            RegionAction::SetClusterVersion { version } => self.set_cluster_version(*version),
            RegionAction::RegisterNode { id, start } => self.register(index, *id, start),
            RegionAction::PlaceBuffer(place) => self.place(place),
            RegionAction::DropBuffer { uuid, reserved } => {
                let placed = self.placed.get(uuid);
                // One that comes late is not meant for what was reserved and placed since.
                if placed.is_some_and(|placed| placed.reserved <= *reserved) {
                    self.placed.remove(uuid);
                    self.assigned.remove(*uuid);
                }
                Ok(Outcome::Done)
            }
            RegionAction::SetMinInSync {
                uuid,
                reserved,
                version,
                min_in_sync,
            } => self.set_min_in_sync(*uuid, (*reserved, *version), *min_in_sync),
            RegionAction::Assign(command) => self.assigned.assign(command),
        }
    }

    fn found(&mut self, group: Uuid, version: u32) -> Result<Outcome, Refused> {
        match self.group {
            Some(founded) if founded == group => return Ok(Outcome::Done),
            Some(founded) => return Err(Refused::OtherGroup { group: founded }),
            None => {}
        }
        self.group = Some(group);
        self.cluster_version = version;
        Ok(Outcome::Done)
    }

    /// A region follows `global`, step by step, and only when its own nodes can.
    fn set_cluster_version(&mut self, version: u32) -> Result<Outcome, Refused> {
        let current = self.cluster_version;
        if version == current {
            return Ok(Outcome::Done);
        }
        if version != current + 1 {
            return Err(Refused::ClusterVersionStep { version, current });
        }
        let too_old = |(_, node): &(NodeId, &Node)| !node.versions.contains(version);
        if let Some((_, node)) = self.assigned.nodes().find(too_old) {
            let node = node.name.clone();
            return Err(Refused::NodeTooOld { node, version });
        }
        self.cluster_version = version;
        Ok(Outcome::Done)
    }

    /// A node has its number from `global`, and an epoch of its own here.
    fn register(
        &mut self,
        index: u64,
        id: NodeId,
        start: &RegisterNode,
    ) -> Result<Outcome, Refused> {
        if !start.versions.contains(self.cluster_version) {
            let (versions, current) = (start.versions, self.cluster_version);
            return Err(Refused::NodeVersions { versions, current });
        }
        self.assigned.register(index, id, start)
    }

    fn place(&mut self, place: &PlaceBuffer) -> Result<Outcome, Refused> {
        let uuid = place.uuid;
        if let Some(it) = self.assigned.get(uuid) {
            // It may have a later history by now.
            let mut before = it.ended.iter().map(|ended| ended.history);
            let same = it.history == place.history || before.any(|it| it == place.history);
            if !same {
                return Err(Refused::UuidTaken { uuid });
            }
            let (reserved, version) = (place.reserved, place.version);
            let placed = self.placed.get_mut(&uuid);
            // The versions of its settings count anew, so what is known of them is too high.
            if let Some(placed) = placed.filter(|placed| placed.reserved < reserved) {
                *placed = Placed { reserved, version };
                let min = place.min_in_sync.clamp(1, COPIES_MAX);
                self.assigned.set_min_in_sync(uuid, min);
            }
            return Ok(outcome(uuid, &self.assigned.buffers[&uuid]));
        }
        if self.placed.len() >= BUFFERS_MAX {
            return Err(Refused::TooManyBuffers);
        }
        let nodes: BTreeSet<NodeId> = place.copies.iter().copied().collect();
        let got = nodes.len();
        let least = place.min_in_sync.max(1);
        if got != place.copies.len() || !(1..=COPIES_MAX).contains(&got) || least > COPIES_MAX {
            return Err(Refused::Move(MoveRefused::Count { got, least }));
        }
        for node in nodes {
            match self.assigned.node(node) {
                None => return Err(Refused::Move(MoveRefused::Unknown(node))),
                Some(known) if known.draining => {
                    return Err(Refused::Move(MoveRefused::Leaves(node)));
                }
                Some(_) => {}
            }
        }
        self.assigned
            .create(uuid, place.history, &place.copies, least);
        let (reserved, version) = (place.reserved, place.version);
        self.placed.insert(uuid, Placed { reserved, version });
        Ok(outcome(uuid, &self.assigned.buffers[&uuid]))
    }

    fn set_min_in_sync(
        &mut self,
        uuid: Uuid,
        (reserved, version): (u64, u64),
        min_in_sync: usize,
    ) -> Result<Outcome, Refused> {
        let placed = self.placed.get_mut(&uuid);
        let placed = placed.ok_or(Refused::NoSuchBuffer { uuid })?;
        // What comes late was decided before what is set already, or of another reservation.
        if reserved == placed.reserved && version > placed.version {
            placed.version = version;
            let min = min_in_sync.clamp(1, COPIES_MAX);
            self.assigned.set_min_in_sync(uuid, min);
        }
        Ok(outcome(uuid, &self.assigned.buffers[&uuid]))
    }

    /// The first invariant that does not hold, in words: for tests, and for a snapshot before it is
    /// trusted.
    #[must_use]
    pub fn broken_invariant(&self) -> Option<String> {
        let mut placed = self.placed.keys();
        if let Some(uuid) = placed.find(|uuid| self.assigned.get(**uuid).is_none()) {
            return Some(format!("the buffer {uuid} has no assignment"));
        }
        if self.placed.len() != self.assigned.buffers.len() {
            return Some("there are assignments of no buffer".into());
        }
        self.assigned.broken()
    }
}

impl From<PlaceBuffer> for RegionAction {
    fn from(place: PlaceBuffer) -> Self {
        Self::PlaceBuffer(Box::new(place))
    }
}
