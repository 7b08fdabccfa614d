//! The disk: files, syncs, and what a crash between two of them leaves.

pub(crate) mod sync;
