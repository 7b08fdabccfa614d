//! The rules of hbuf: what a record is, who may append, what is committed, what recovery keeps.
//!
//! Architecture invariant: nothing here reads a clock, opens a file or socket, starts a thread or
//! draws a random number. Time, bytes and randomness arrive as arguments; wishes leave as effects.
//! The crate is `no_std`, so `std::time`, `std::fs`, `std::net` and `HashMap` cannot even be named.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod commitment;
pub mod content;
mod digits;
pub mod ids;
pub mod index;
pub mod journal;
pub mod limits;
pub mod mark;
pub mod name;
pub mod record;
pub mod segment;
pub mod skim;
pub mod time;
pub mod tree;
