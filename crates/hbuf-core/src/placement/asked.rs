//! What the planner is told: nodes, buffers, what is to be done.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::ids::{NodeId, Uuid};
use crate::limits::{BUFFERS_MAX, COPIES_MAX, NODES_MAX};
use crate::name::Name;

/// A node as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// What may fail together with it. A node without one is a zone by itself.
    pub zone: Option<Name>,
    /// The region whose buffers it holds.
    pub region: Name,
    /// It holds buffers.
    pub worker: bool,
    /// Bytes of its disk.
    pub total_bytes: u64,
    /// Bytes of it that are free, at most the total.
    pub free_bytes: u64,
    /// It is about to leave.
    pub draining: bool,
    /// Its session has not lapsed.
    pub alive: bool,
    /// Its clock is too far off for it to be made primary.
    pub clock_off: bool,
}

/// A buffer as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// Which one.
    pub uuid: Uuid,
    /// Its region.
    pub region: Name,
    /// Bytes of one copy.
    pub bytes: u64,
    /// What is appended to it, in bytes a second; each copy takes as much.
    pub load: u64,
    /// Copies that it is to have, from 1 to [`COPIES_MAX`].
    pub wanted: usize,
    /// Where its copies are. Empty for a buffer that is to be made.
    pub copies: Vec<NodeId>,
    /// Which of them is primary.
    pub primary: Option<NodeId>,
    /// Nodes that its copies should be on: they are chosen first and not left for balance.
    pub pinned: BTreeSet<NodeId>,
    /// Nodes that it may not have copies on.
    pub excluded: BTreeSet<NodeId>,
}

/// What a plan is made for. Nothing that is not named here is moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Make the copies that buffers lack: of new buffers, and where more are wanted.
    pub fill: bool,
    /// Move away what is on nodes that are about to leave.
    pub drain: bool,
    /// Dead nodes whose copies are to be made anew elsewhere.
    pub replace: BTreeSet<NodeId>,
    /// Put right what is not where it may be, and make disks, load and primaries even.
    pub rebalance: bool,
}

/// How far things may be uneven, and what a plan may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Thousandths of a disk that copies may fill, by default 850.
    pub high_water: u64,
    /// Thousandths of its disk by which a node may differ from how full all together are, by
    /// default
    /// 50.
    pub disk_band: u64,
    /// Thousandths of the mean load by which a node may differ from it, by default 200.
    pub load_band: u64,
    /// Moves of one plan, by default 100,000; the rest is for the next one.
    pub moves_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            high_water: 850,
            disk_band: 50,
            load_band: 200,
            moves_max: 100_000,
        }
    }
}

/// Why there is no plan: what the planner was told does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Problem {
    /// More nodes than a cluster has.
    #[error("a cluster has at most {NODES_MAX} nodes")]
    TooManyNodes,
    /// More buffers than a plan is made for.
    #[error("a plan is made for at most {BUFFERS_MAX} buffers")]
    TooManyBuffers,
    /// A node stands there twice.
    #[error("node {} stands there twice", .0.0)]
    NodeTwice(NodeId),
    /// A node has more free bytes than it has bytes.
    #[error("node {} has more free bytes than it has bytes", .0.0)]
    FreeBytes(NodeId),
    /// A buffer stands there twice.
    #[error("buffer {0} stands there twice")]
    BufferTwice(Uuid),
    /// A buffer wants no copy, or more than it may have.
    #[error("buffer {0} wants a number of copies that is not from 1 to {COPIES_MAX}")]
    Wanted(Uuid),
    /// A buffer has two copies on one node, or more than it may have.
    #[error("buffer {0} has two copies on one node, or more than {COPIES_MAX}")]
    Copies(Uuid),
    /// A copy is on a node that is not there, or a primary has no copy.
    #[error("buffer {0} names a node that is not there or holds no copy of it")]
    Stranger(Uuid),
    /// A mark or band is above 1,000 thousandths.
    #[error("the high-water mark is at most 1,000 thousandths")]
    HighWater,
}
