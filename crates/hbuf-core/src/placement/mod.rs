//! Where copies go: new ones, those of nodes that leave, and all of them when somebody asks for a
//! rebalance.
//!
//! | question | file |
//! |---|---|
//! | what is known, what is asked for | `asked.rs` |
//! | what comes out | `plan.rs` |
//! | where a copy may go, and goes best | `planner.rs` |
//! | which copies move so that disks and load are even | `spread.rs` |
//! | who is primary | `hand_over.rs` |
//!
//! [`plan()`] is a pure function, so a dry run is the same call as the real one. Nothing is moved
//! by itself: a plan does only what its [`Asked`] names, and copies on a dead node stay where they
//! are unless they are asked for, for the node may be back in a minute.
//!
//! Rules, in the order in which they win. Where they cannot all be met, the later one yields and
//! the plan says so in its notes.
//!
//! 1. Copies of one buffer are on different nodes.
//! 2. None goes to a node that is dead, leaves, holds no buffers, is of another region, is
//!    excluded, or would be fuller than the high-water mark.
//! 3. Each is in a zone of its own while zones with room suffice; otherwise zones share evenly.
//! 4. Disks are filled evenly, within a band; only what brings a node back into it is moved.
//! 5. Load is spread evenly, within a band, as far as disks stay even.
//! 6. Primaries are spread over the nodes.
//!
//! What others teach. Goals have an order, and a later one may not undo an earlier one (Cruise
//! Control's hard and soft goals): so planning ends, and planning again finds nothing to do. What
//! may not be is decided apart from what is best (Elasticsearch's allocation deciders), and bands
//! instead of exact balance keep copies from going to and fro (its thresholds and watermarks). The
//! present place of a copy counts for itself, so that little moves (the stickiness of Couchbase's
//! planners, cbgm and blance); a placement by hashing alone (CRUSH) needs no table, but moves more
//! than must be when nodes come and go, and cannot look at how full they are.

mod asked;
mod hand_over;
mod plan;
mod planner;
mod spread;
#[cfg(test)]
mod tests;

pub use asked::{Asked, Buffer, Node, Problem, Settings};
pub use plan::{HandOver, Move, NOTE_EXAMPLES_MAX, Note, Plan, Trouble, Why};
pub use planner::plan;
