//! What the machine can do without a log: the ceiling and the floor of the figures.

pub(crate) mod disk;
pub(crate) mod server;
