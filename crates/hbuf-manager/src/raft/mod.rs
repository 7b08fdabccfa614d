//! One group of voters that keep one state: Raft as a state machine without I/O.
//!
//! ```text
//!            ┌───────── Group::handle(input, effects) ──────────┐
//! tick,      │ check ─▶ library (RawNode) ─▶ ready ─▶ in order: │ ─▶ send, persist,
//! message,   │   ▲                             │                │    apply, read, …
//! propose, … │   └──── election timeout set ◀──┘                │ ─▶ send after persist
//!            └──────────────────────────────────────────────────┘
//!              persisted(number), applied(index) come back as inputs
//! ```
//!
//! Only [`Group`] calls the library. It performs nothing: whoever owns it does what the effects
//! say, in their order, and tells it what came of them. The same inputs give the same effects.
//!
//! Invariants: nothing that promises something (a vote, an ack) leaves before what it promises is
//! durable; the library sees no byte that came from a network or a file; one change of members at a
//! time; an id belongs to one disk for ever.
//!
//! | question | file |
//! |---|---|
//! | what goes in and comes out | `input.rs`, `effect.rs` |
//! | the loop around the library | `group.rs`, `ready.rs` |
//! | what of a message is refused | `check.rs` |
//! | reads that see everything committed | `reads.rs` |
//! | who belongs to the group | `members.rs` |
//! | which change of that may be made, and making it | `change.rs`, `changing.rs` |
//! | messages as bytes | `message.rs` |
//! | entries and head lines as records | `entry.rs` |
//! | what is written to files, and read at a start | `log_file.rs`, `recover.rs` |
//! | the log in memory | `storage.rs` |
//! | when an election starts | `timeout.rs` |

mod change;
mod changing;
mod check;
mod effect;
mod entry;
mod group;
mod input;
mod log_file;
mod members;
mod message;
mod reads;
mod ready;
mod recover;
mod storage;
mod timeout;

pub use change::{Change, ChangeRefused};
pub use check::MessageRefused;
pub use effect::{Committed, Effect, Role};
pub use entry::LogEntryError;
pub use group::{Group, GroupConfig, StartError};
pub use input::{Input, Refusal};
pub use log_file::{FileStep, LogFile, Persist, Roll, VOTES_FILE};
pub use members::{MemberId, Members};
pub use message::{MessageError, PeerMessage};
pub use recover::{RecoverError, Recovered, recover};
pub use storage::Mirror;

#[cfg(test)]
mod tests;
