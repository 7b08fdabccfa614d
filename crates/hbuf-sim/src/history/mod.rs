//! Judges what clients saw: plain lists of operations in, findings in words out.
//!
//! | question | file |
//! |---|---|
//! | what an operation is | `operation.rs` |
//! | is a key or a lock linearizable | `linear.rs`, `search.rs` |
//! | what a keyed register and a lock do | `register.rs`, `lock.rs` |
//! | what clients did with a buffer, what its logs hold | `logged.rs` |
//! | what must hold of that, by names that stay | `findings.rs` |
//! | does it hold | `log.rs`, `appends.rs`, `order.rs`, `slices.rs`, `tails.rs` |
//! | histories as lines of JSON; as Jepsen writes them | `lines.rs`, `members.rs`; `jepsen.rs` |
//! | which message is which, over all histories of a buffer | `lineage.rs`, `places.rs` |
//!
//! Nothing here knows the simulator's worlds: histories of real processes are judged alike.

mod appends;
mod findings;
#[cfg(test)]
mod generated_log_tests;
mod jepsen;
mod lineage;
mod linear;
#[cfg(test)]
mod linear_tests;
mod lines;
#[cfg(test)]
mod lines_tests;
mod lock;
mod log;
#[cfg(test)]
mod log_tests;
mod logged;
mod members;
mod operation;
mod order;
mod places;
mod register;
mod search;
mod slices;
mod tails;

pub use findings::{Check, FINDINGS_TOLD_MAX, Finding, Findings};
pub use jepsen::{Objects, write_jepsen};
pub use linear::{Model, Offence, OperationOf, Report, Verdict, check, check_by_key};
pub use lines::{ReadError, Recorded, read_lines, write_lines};
pub use lock::{Holding, Leases, Lock, LockAnswer, LockCall};
pub use log::{LogVerdict, check_logs};
pub use logged::{
    Append, AppendOp, FinalLog, Freshness, HistoryStart, Level, LogHistory, LogRecord, Read,
    ReadOp, Shown, ShownMessage, Stored, Token,
};
pub use members::Problem;
pub use operation::{ClientId, Moment, OpId, Operation, Outcome};
pub use register::{Condition, Entry, Register, RegisterAnswer, RegisterCall};
