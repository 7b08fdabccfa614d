//! Judges what clients saw: plain lists of operations in, findings in words out.
//!
//! | question | file |
//! |---|---|
//! | what an operation is | `operation.rs` |
//! | is a key or a lock linearizable | `linear.rs`, `search.rs` |
//! | what a keyed register and a lock do | `register.rs`, `lock.rs` |
//!
//! Nothing here knows the simulator's worlds: histories of real processes are judged alike.

mod linear;
#[cfg(test)]
mod linear_tests;
mod lock;
mod operation;
mod register;
mod search;

pub use linear::{Model, Offence, OperationOf, Report, Verdict, check, check_by_key};
pub use lock::{Holding, Leases, Lock, LockAnswer, LockCall};
pub use operation::{ClientId, Moment, OpId, Operation, Outcome};
pub use register::{Condition, Entry, Register, RegisterAnswer, RegisterCall};
