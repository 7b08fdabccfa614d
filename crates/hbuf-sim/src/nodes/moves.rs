//! Drains and rebalances. What comes next is decided by `hbuf_manager::moves`; here it is asked
//! for, again and again, by whoever leads the manager's group for drains, and by an operator for a
//! rebalance.

use std::collections::BTreeSet;

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::placement::{Asked, Settings};
use hbuf_core::replication::{Assignment, LOGS};
use hbuf_manager::moves::{DiskUse, Measured, Steps, Throttle, Weight, next_steps};
use hbuf_manager::{Action as Command, Assign, Catalog, NodeChange};

use super::files::LogId;
use super::{Due, World};
use crate::scenario::{NodeRef, Placement};
use crate::tracefile::EventId;

/// Ticks of the manager's leader after which it looks at drains again.
const DRAIN_TICKS: u64 = 10;
/// After so many microseconds an operator asks again for what is left of a rebalance.
const AGAIN_US: u64 = 200_000;
/// The least that a disk holds, in bytes. One is at least four times as large as what the fullest
/// holds.
const DISK_BYTES_MIN: u64 = 1 << 20;
/// Little at once, so that moves are met by faults in all of their steps.
const THROTTLE: Throttle = Throttle {
    buffers: 2,
    arrivals: 1,
};

/// What the nodes of a run hold.
struct Held {
    /// Bytes on each node.
    used: Vec<u64>,
    /// Registration, bytes of the largest copy, bytes that were appended.
    buffers: Vec<(Uuid, u64, u64)>,
}

impl Measured for Held {
    fn disk(&self, node: NodeId) -> DiskUse {
        let fullest = self.used.iter().max().copied().unwrap_or(0);
        let total = DISK_BYTES_MIN.max(4 * fullest).next_power_of_two();
        let at = usize::try_from(node.0).unwrap_or(0).wrapping_sub(1);
        match self.used.get(at) {
            Some(used) => DiskUse {
                total,
                free: total - used,
            },
            None => DiskUse::default(),
        }
    }

    fn weight(&self, buffer: Uuid) -> Weight {
        let found = self.buffers.iter().find(|(uuid, ..)| *uuid == buffer);
        let (_, bytes, load) = found.copied().unwrap_or_default();
        Weight { bytes, load }
    }
}

impl World {
    /// All copies are to leave a node, or it is to hold some again.
    pub(super) fn set_draining(&mut self, cause: EventId, node: &NodeRef, draining: bool) {
        let Some(host) = self.resolve(node) else {
            return;
        };
        let change = NodeChange {
            draining: Some(draining),
            ..NodeChange::default()
        };
        let node = self.hosts[host].id;
        let command = Assign::SetNode { node, change };
        self.ask_manager(cause, Command::Assign(command));
    }

    /// An operator asks for places anew, until nothing is left to do.
    pub(super) fn rebalance(&mut self, cause: EventId, placement: Placement) {
        let begun = self.rebalancing.replace(placement).is_none();
        if begun {
            self.due_as(cause, EventId::default(), self.t, Due::Rebalance);
        }
    }

    /// The operator's next look.
    pub(super) fn go_on_rebalancing(&mut self, cause: EventId) {
        let Some(placement) = self.rebalancing else {
            return;
        };
        if let Some(host) = self.any_registered() {
            let catalog = &self.hosts[host].manager.catalog;
            let steps = self.steps(catalog, &rebalance(), &settings(placement));
            // Only who is ahead of all knows that nothing is left.
            let knows = catalog.applied() == self.newest_catalog().applied();
            if steps.is_done() && knows {
                self.rebalancing = None;
                return;
            }
            self.ask_for(cause, host, steps);
        }
        let at = self.t + AGAIN_US;
        self.due_as(cause, EventId::default(), at, Due::Rebalance);
    }

    /// Whoever leads the manager's group drains what is to be drained.
    pub(super) fn go_on_draining(&mut self, cause: EventId, host: usize, ticks: u64) {
        let manager = &self.hosts[host].manager;
        if !ticks.is_multiple_of(DRAIN_TICKS) || !manager.leads() || !any_drains(&manager.catalog) {
            return;
        }
        let steps = self.steps(&manager.catalog, &drain(), &Settings::default());
        self.ask_for(cause, host, steps);
    }

    fn ask_for(&mut self, cause: EventId, host: usize, steps: Steps) {
        for command in steps.commands {
            self.propose(cause, host, Command::Assign(command));
        }
    }

    fn steps(&self, catalog: &Catalog, asked: &Asked, settings: &Settings) -> Steps {
        let steps = next_steps(catalog, &self.held(), asked, settings, &THROTTLE);
        steps.expect("what this world measures fits together")
    }

    fn held(&self) -> Held {
        let bytes = |host: usize, buffer: usize| {
            let disk = &self.hosts[host].disk;
            let names = LOGS.map(|log| LogId { buffer, log }.names(disk));
            let lengths = names
                .iter()
                .flatten()
                .map(|name| disk.read(*name).map_or(0, Vec::len) as u64);
            lengths.sum::<u64>()
        };
        let buffers = || 0..self.buffers.len();
        let hosts = || 0..self.hosts.len();
        let of_buffer = |buffer: usize| {
            let most = hosts().map(|host| bytes(host, buffer)).max();
            let load = self.watch.committed_through(buffer).0;
            (self.buffers[buffer], most.unwrap_or(0), load)
        };
        Held {
            used: hosts()
                .map(|host| buffers().map(|buffer| bytes(host, buffer)).sum())
                .collect(),
            buffers: buffers().map(of_buffer).collect(),
        }
    }

    /// Whether all moves have come to their end, as far as they can.
    pub(super) fn moves_at_rest(&self) -> Result<(), String> {
        // What moves of a buffer that nobody can lead waits for an operator, and who moves others.
        let offline = (0..self.buffers.len()).any(|buffer| self.is_offline(buffer));
        if let Some(placement) = self.rebalancing.filter(|_| !offline) {
            let steps = self.steps(self.newest_catalog(), &rebalance(), &settings(placement));
            let (left, under_way) = (steps.left, steps.under_way);
            return Err(format!(
                "the rebalance for {placement} has {left} moves left and {under_way} under way"
            ));
        }
        for (buffer, name) in self.names.buffers.iter().enumerate() {
            if let Some(it) = self.newest(buffer)
                && !it.leaving.is_empty()
                && it.primary.is_some()
            {
                let (left, stay) = (numbers(&it.leaving), numbers(&it.copies));
                return Err(format!("{name}: {left} of {stay} are still leaving"));
            }
        }
        let catalog = self.newest_catalog();
        if !any_drains(catalog) || offline {
            return Ok(());
        }
        let steps = self.steps(catalog, &drain(), &Settings::default());
        if !steps.is_done() {
            let (left, under_way) = (steps.left, steps.under_way);
            return Err(format!(
                "a drain has {left} moves left and {under_way} under way"
            ));
        }
        let drained = |node: &NodeId| self.drains(*node);
        let mut all = catalog.assigned().all();
        let settled = |it: &Assignment| it.primary.is_some() && it.leaving.is_empty();
        match all.find(|(_, it)| settled(it) && it.copies.iter().any(drained)) {
            Some((uuid, _)) if steps.notes.is_empty() => {
                let name = &self.names.buffers[self.index(uuid)];
                Err(format!("a drained node has a copy of {name}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a node is to be left by all copies. What falls behind there does not come back.
    pub(super) fn drains(&self, node: NodeId) -> bool {
        let known = self.newest_catalog().node_by_id(node);
        known.is_some_and(|node| node.draining)
    }
}

fn any_drains(catalog: &Catalog) -> bool {
    catalog.nodes().any(|(_, node)| node.draining)
}

fn numbers(nodes: &BTreeSet<NodeId>) -> String {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("n{}", node.0)).collect();
    nodes.join(" ")
}

const fn drain() -> Asked {
    Asked {
        fill: false,
        drain: true,
        replace: BTreeSet::new(),
        rebalance: false,
    }
}

const fn rebalance() -> Asked {
    Asked {
        fill: false,
        drain: true,
        replace: BTreeSet::new(),
        rebalance: true,
    }
}

/// What is to be even, and what need not be.
fn settings(placement: Placement) -> Settings {
    let usual = Settings::default();
    let (disk_band, load_band) = match placement {
        Placement::Fewest => (1_000, 1_000_000),
        Placement::Load => (1_000, usual.load_band),
        Placement::Bytes => (usual.disk_band / 5, 1_000_000),
    };
    Settings {
        disk_band,
        load_band,
        ..usual
    }
}
