//! Replication of one log: the manager's record, a primary and its copies, as pure state machines.
//!
//! ```text
//!   manager ──Assignment──▶ primary ──Lead, Append──▶ copy ──sync──▶ Holds ──▶ primary ──▶ commit
//!      ▲                       │                        │
//!      └───────Alter───────────┘                        └─ Fenced: a higher epoch is known
//! ```
//! The rules have numbers and reasons in the project's `docs/PROTOCOL.md`. A node keeps for each
//! log the highest epoch that it has heard of, whatever its role: that is what fences.

mod assignment;
mod copy;
mod door;
mod epochs;
mod filling;
mod follower;
mod leader;
mod log;
mod message;
mod primary;
mod standing;

pub use assignment::{
    Alter, AlterRefused, Assignment, Change, Checkpoint, Disk, Ended, Force, ForceRefused,
    HandOverRefused, Member, MoveRefused, NodeEpoch, NodeFacts,
};
pub use copy::{Copy, Taken};
pub use door::{Event, Wish};
pub use epochs::Epochs;
pub use filling::{Fill, FillPace};
pub use follower::{Follower, Step};
pub use leader::{LOGS, Leader};
pub use log::Log;
pub use message::{FromCopy, HistoryEnd, Position, ToCopy, Word};
pub use primary::{Base, Primary, Told};

#[cfg(test)]
mod added_again;
#[cfg(test)]
mod filling_tests;
#[cfg(test)]
mod joining_tests;
