//! What the planner gives: moves, hand-overs, and in words what cannot be met.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::{NodeId, Uuid};

/// What is to be done, in the order in which it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Copies that are made or moved.
    pub moves: Vec<Move>,
    /// Buffers that get another primary, once the moves that they need are done.
    pub primaries: Vec<HandOver>,
    /// What cannot be met, or is left as it is.
    pub notes: Vec<Note>,
}

/// A copy that is made, and the one that it takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// Of which buffer.
    pub buffer: Uuid,
    /// The copy that goes once the new one is in sync; none where one more is made.
    pub from: Option<NodeId>,
    /// Where the new one is.
    pub to: NodeId,
    /// Bytes to be sent.
    pub bytes: u64,
    /// What is gained.
    pub why: Why,
}

/// What a move gains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The buffer has fewer copies than it is to have.
    Missing,
    /// The node is about to leave.
    Draining,
    /// The node is dead, and its copies are to be made anew.
    Dead,
    /// The copy is where it may not be: excluded, of another region, or no node for buffers.
    Misplaced,
    /// The node is pinned.
    Pinned,
    /// Two copies share a zone, and need not.
    Zone,
    /// The disk is fuller than the high-water mark.
    HighWater,
    /// Disks are filled more evenly.
    Disk,
    /// Load is spread more evenly.
    Load,
    /// Primaries are spread more evenly; of hand-overs alone.
    Primaries,
}

/// A buffer that gets another primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandOver {
    /// Which one.
    pub buffer: Uuid,
    /// Who is primary now; none of a new buffer.
    pub from: Option<NodeId>,
    /// Who is to be.
    pub to: NodeId,
    /// What is gained.
    pub why: Why,
}

/// Something that the plan does not reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// What.
    pub trouble: Trouble,
    /// How many buffers it concerns; 0 when it concerns a node as such.
    pub buffers: u64,
    /// The first of them, at most [`NOTE_EXAMPLES_MAX`].
    pub examples: Vec<Uuid>,
}

/// Buffers that a note names.
pub const NOTE_EXAMPLES_MAX: usize = 3;

/// What a plan may not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// There is no further node that may hold a copy.
    TooFewNodes,
    /// Nodes that may hold a copy are there, and would be fuller than the high-water mark.
    NoRoom,
    /// No node with a copy is alive, so there is nothing to copy from.
    NoSource,
    /// Two copies share a zone, and no node of another one has room.
    ZoneShared,
    /// More copies than are wanted: which one goes is the operator's decision.
    Surplus,
    /// A node is pinned and cannot hold a copy.
    PinnedUnusable(NodeId),
    /// A dead node holds copies, and nobody asked to make them anew.
    DeadKept(NodeId),
    /// A node is fuller than the high-water mark, and nothing of it can go elsewhere.
    OverFull(NodeId),
    /// A node's disk is above its band, and no copy fits that would help.
    DiskUneven(NodeId),
    /// A node's load is above its band, and no copy fits that would help.
    LoadUneven(NodeId),
    /// No copy is on a node that may be primary.
    NoPrimary,
    /// The plan has as many moves as it may have: the next one goes on.
    Unfinished,
}

impl Plan {
    /// Bytes that the moves send.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = self.moves.iter().map(|step| step.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    /// Seconds that the moves take when no node sends or receives more than so many bytes a second:
    /// those of the busiest node. A throttle of 0 counts as 1. What clients do is not in it.
    #[must_use]
    pub fn seconds(&self, bytes_per_second: u64) -> u64 {
        let mut received: BTreeMap<NodeId, u64> = BTreeMap::new();
        let mut sent: BTreeMap<NodeId, u64> = BTreeMap::new();
        for step in &self.moves {
            let bytes = received.entry(step.to).or_insert(0);
            *bytes = bytes.saturating_add(step.bytes);
            if let Some(from) = step.from {
                let bytes = sent.entry(from).or_insert(0);
                *bytes = bytes.saturating_add(step.bytes);
            }
        }
        let busiest = received.values().chain(sent.values()).max();
        busiest.map_or(0, |bytes| bytes.div_ceil(bytes_per_second.max(1)))
    }

    /// Nothing is to be done.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.primaries.is_empty()
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "a copy is missing",
            Self::Draining => "the node is about to leave",
            Self::Dead => "the node is dead",
            Self::Misplaced => "the copy may not be there",
            Self::Pinned => "the node is pinned",
            Self::Zone => "two copies share a zone",
            Self::HighWater => "the disk is above the high-water mark",
            Self::Disk => "disks become more even",
            Self::Load => "load becomes more even",
            Self::Primaries => "primaries become more even",
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewNodes => f.write_str("no further node may hold a copy"),
            Self::NoRoom => {
                f.write_str("every node that may hold a copy would be above the high-water mark")
            }
            Self::NoSource => f.write_str("no node with a copy is alive"),
            Self::ZoneShared => {
                f.write_str("two copies share a zone, and no node of another one has room")
            }
            Self::Surplus => f.write_str("there are more copies than are wanted"),
            Self::PinnedUnusable(node) => {
                write!(f, "node {} is pinned and cannot hold a copy", node.0)
            }
            Self::DeadKept(node) => write!(
                f,
                "node {} is dead; its copies stay until somebody asks to replace them",
                node.0
            ),
            Self::OverFull(node) => write!(
                f,
                "node {} is above the high-water mark, and nothing of it can go elsewhere",
                node.0
            ),
            Self::DiskUneven(node) => write!(
                f,
                "the disk of node {} stays above its band: no copy that would help may move",
                node.0
            ),
            Self::LoadUneven(node) => write!(
                f,
                "the load of node {} stays above its band: no copy that would help may move",
                node.0
            ),
            Self::NoPrimary => f.write_str("no copy is on a node that may be primary"),
            Self::Unfinished => f.write_str("the plan is full; plan again when it is done"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trouble.fmt(f)?;
        if self.buffers > 0 {
            write!(f, " ({} buffers:", self.buffers)?;
            for uuid in &self.examples {
                write!(f, " {uuid}")?;
            }
            let more = self.buffers > self.examples.len() as u64;
            f.write_str(if more { " …)" } else { ")" })?;
        }
        Ok(())
    }
}
