//! What a client's message becomes: which headers are stored, in which order, and how a batch is
//! taken apart.

pub(crate) mod field;
