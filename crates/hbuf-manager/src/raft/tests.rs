//! A made-up world of members (`tests/world.rs`), and what is claimed of them.

mod changes;
mod files;
mod messages;
mod pitfalls;
mod safety;
mod world;
