//! A file system that loses power.
//!
//! `model` holds the rules, `mount` puts it behind FUSE, `tree` writes out what survived,
//! `stage` holds a server on it for a story.

pub(crate) mod draw;
pub(crate) mod file;
pub(crate) mod model;
pub(crate) mod mount;
pub(crate) mod names;
pub(crate) mod pages;
pub(crate) mod stage;
pub(crate) mod stale;
pub(crate) mod tree;

#[cfg(test)]
mod mount_tests;
