//! The rules of hbuf: what a record is, who may append, what is committed, what recovery keeps.
//!
//! Architecture invariant: nothing here reads a clock, opens a file or socket, starts a thread or
//! draws a random number. Time, bytes and randomness arrive as arguments; wishes leave as effects.
//! The crate is `no_std`, so `std::time`, `std::fs`, `std::net` and `HashMap` cannot even be named.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod append;
pub mod buffer;
pub mod cloudevents;
pub mod commit_path;
pub mod commitment;
pub mod consumer;
pub mod content;
pub mod dedupe;
mod digits;
pub mod effect;
pub mod filter;
pub mod ids;
pub mod index;
pub mod input;
pub mod journal;
pub mod limits;
pub mod mark;
pub mod mirror;
pub mod name;
pub mod placement;
pub mod record;
pub mod recovery;
pub mod replication;
pub mod retention;
pub mod rules;
pub mod segment;
pub mod shard;
pub mod skim;
pub mod stream;
pub mod time;
pub mod topic;
pub mod tree;
