//! What a drain or a rebalance does next: the planner is asked with what the catalog knows, and of
//! its plan come the commands that are to be proposed now, a few at a time.
//!
//! Nothing of a plan is kept. Where each buffer stands is in its assignment, so whoever asks again,
//! now or after any crash, goes on from there; and when all is done there is nothing to do. A
//! buffer that is on its way counts as being where it goes, and is moved by one copy at a time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::name::Name;
use hbuf_core::placement::{self, Asked, HandOver, Move, Note, Plan, Problem, Settings, Why};
use hbuf_core::replication::Assignment;

use crate::assign::Assign;
use crate::catalog::{Buffer, Catalog, Lifecycle};
use crate::node::Node;

/// How full a node's disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskUse {
    /// Bytes of it.
    pub total: u64,
    /// Bytes of it that are free, at most the total.
    pub free: u64,
}

/// What a buffer weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Weight {
    /// Bytes of one copy.
    pub bytes: u64,
    /// What is appended to it, in bytes a second.
    pub load: u64,
}

/// What was measured, which no catalog holds: it changes with every message.
pub trait Measured {
    /// The disk of a node. One that nothing is known of gets no copy.
    fn disk(&self, node: NodeId) -> DiskUse;
    /// The weight of a buffer.
    fn weight(&self, buffer: Uuid) -> Weight;
}

/// How much moves at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Throttle {
    /// Buffers that are on their way, by default 16.
    pub buffers: usize,
    /// Copies that one node takes in, by default 2.
    pub arrivals: usize,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            buffers: 16,
            arrivals: 2,
        }
    }
}

/// What comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Steps {
    /// To be proposed now. Each names the version that it was made for, and counts once.
    pub commands: Vec<Assign>,
    /// Buffers that are on their way.
    pub under_way: usize,
    /// What the plan holds from here on, the commands included.
    pub left: usize,
    /// What cannot be met.
    pub notes: Vec<Note>,
}

impl Steps {
    /// Whether what was asked for is done, as far as it can be.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.under_way == 0 && self.left == 0
    }
}

/// What is to be proposed now so that the buffers of `global` come to be as asked.
///
/// # Errors
/// What was measured does not fit together.
pub fn next_steps(
    catalog: &Catalog,
    measured: &impl Measured,
    asked: &Asked,
    settings: &Settings,
    throttle: &Throttle,
) -> Result<Steps, Problem> {
    let nodes: Vec<_> = catalog
        .nodes()
        .map(|(id, node)| as_planned(id, node, measured.disk(id)))
        .collect();
    let held = catalog.buffers().filter_map(|it| placed(catalog, it));
    let held: Vec<(&Buffer, &Assignment)> = held.collect();
    let buffers: Vec<_> = held
        .iter()
        .map(|(buffer, it)| to_be(buffer, it, measured.weight(buffer.uuid)))
        .collect();
    let plan = placement::plan(&nodes, &buffers, asked, settings)?;
    Ok(Underway::of(catalog, &held).steps(catalog, &plan, throttle))
}

/// A buffer that is there and that this group places.
fn placed<'c>(catalog: &'c Catalog, buffer: &'c Buffer) -> Option<(&'c Buffer, &'c Assignment)> {
    let live = buffer.lifecycle == Lifecycle::Live && buffer.region.is_none();
    let assignment = catalog.assignment(buffer.uuid).filter(|_| live)?;
    Some((buffer, assignment))
}

fn as_planned(id: NodeId, node: &Node, disk: DiskUse) -> placement::Node {
    placement::Node {
        id,
        zone: node.zone.clone(),
        region: region(),
        worker: node.roles.worker,
        total_bytes: disk.total,
        free_bytes: disk.free.min(disk.total),
        draining: node.draining,
        alive: node.alive,
        clock_off: node.clock_off,
    }
}

/// A buffer as it is when its move has ended.
fn to_be(buffer: &Buffer, it: &Assignment, weight: Weight) -> placement::Buffer {
    let primary = it.primary.filter(|node| !it.leaving.contains(node));
    placement::Buffer {
        uuid: buffer.uuid,
        region: region(),
        bytes: weight.bytes,
        load: weight.load,
        wanted: usize::from(buffer.config.copies()),
        copies: staying(it).collect(),
        primary,
        pinned: BTreeSet::new(),
        excluded: BTreeSet::new(),
    }
}

/// All nodes and buffers of this group are of the one region that it places.
fn region() -> Name {
    Name::parse("global").expect("a word of letters is a name")
}

fn staying(it: &Assignment) -> impl Iterator<Item = NodeId> {
    let copies = it.copies.iter().copied();
    copies.filter(|node| !it.leaving.contains(node))
}

/// What is on its way.
struct Underway {
    buffers: BTreeSet<Uuid>,
    /// Those of them that nobody leads: nothing of them moves, so they take nobody's turn.
    stand: BTreeSet<Uuid>,
    arrivals: BTreeMap<NodeId, usize>,
}

impl Underway {
    fn of(catalog: &Catalog, held: &[(&Buffer, &Assignment)]) -> Self {
        let mut all = Self {
            buffers: BTreeSet::new(),
            stand: BTreeSet::new(),
            arrivals: BTreeMap::new(),
        };
        // A copy on a node that is down waits for the node, which is not what is throttled.
        let able = |node: NodeId| {
            let known = catalog.node_by_id(node);
            known.is_some_and(|node| node.alive && !node.draining)
        };
        for (buffer, it) in held {
            let behind = staying(it).filter(|node| !it.in_sync.contains_key(node) && able(*node));
            let behind: Vec<NodeId> = behind.collect();
            if !it.leaving.is_empty() || !behind.is_empty() {
                all.buffers.insert(buffer.uuid);
            }
            if it.primary.is_none() && all.buffers.contains(&buffer.uuid) {
                all.stand.insert(buffer.uuid);
                continue;
            }
            for node in behind {
                *all.arrivals.entry(node).or_insert(0) += 1;
            }
        }
        all
    }

    fn steps(mut self, catalog: &Catalog, plan: &Plan, throttle: &Throttle) -> Steps {
        let mut steps = Steps {
            commands: Vec::new(),
            under_way: self.buffers.len(),
            left: plan.moves.len() + plan.primaries.len(),
            notes: plan.notes.clone(),
        };
        let mut moved = BTreeSet::new();
        for step in &plan.moves {
            let on_its_way = self.buffers.contains(&step.buffer);
            // On its way to a node that is about to leave it never arrives: nobody joins there.
            let turned = on_its_way && step.why == Why::Draining;
            let first = moved.insert(step.buffer) && (!on_its_way || turned);
            let arrivals = self.arrivals.get(&step.to).copied().unwrap_or_default();
            let moving = self.buffers.len() - self.stand.len();
            let room = turned || moving < throttle.buffers;
            let room = room && arrivals < throttle.arrivals;
            let it = catalog.assignment(step.buffer).filter(|_| first && room);
            if let Some(it) = it {
                self.buffers.insert(step.buffer);
                self.arrivals.insert(step.to, arrivals + 1);
                steps.commands.push(set_copies(it, step));
            }
        }
        for step in &plan.primaries {
            let still = !moved.contains(&step.buffer) && !self.buffers.contains(&step.buffer);
            let it = catalog.assignment(step.buffer).filter(|_| still);
            steps
                .commands
                .extend(it.and_then(|it| handing(catalog, it, step)));
        }
        steps
    }
}

/// The new copy takes the place of the old one also in the order of preference.
fn set_copies(it: &Assignment, step: &Move) -> Assign {
    let mut copies: Vec<NodeId> = it.preferred.clone();
    copies.retain(|node| staying(it).any(|copy| copy == *node));
    let unnamed = staying(it).filter(|node| !it.preferred.contains(node));
    copies.extend(unnamed);
    let place = copies.iter().position(|node| Some(*node) == step.from);
    match place {
        Some(at) => copies[at] = step.to,
        None => copies.push(step.to),
    }
    Assign::SetCopies {
        uuid: step.buffer,
        expected: Some(it.version),
        copies,
    }
}

/// Only somebody who can lead is handed over to; who cannot yet will be asked again.
fn handing(catalog: &Catalog, it: &Assignment, step: &HandOver) -> Option<Assign> {
    let fit = it.is_fit(&catalog.assigned().rules, step.to, |node| {
        catalog.assigned().facts(node)
    });
    fit.then_some(Assign::HandOver {
        uuid: step.buffer,
        expected: Some(it.version),
        to: step.to,
    })
}
