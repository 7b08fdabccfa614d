//! What a client's message becomes: which headers are stored, in which order, and how a batch is
//! taken apart.

mod batch;
mod policy;
pub(crate) mod token;

pub use batch::{Batch, BatchError, BatchReason, Inner, parse_batch};
pub use policy::{ContentError, KeepError, Source, kept_names, push_canonical_key, stored_lines};

#[cfg(test)]
mod tests;
