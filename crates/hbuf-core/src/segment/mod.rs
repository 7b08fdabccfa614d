//! A segment: one file of a log. A head line, then records whose seqs, times and epochs only rise.

mod field;
mod head;
mod scan;
mod source;
mod walk;

pub use field::FieldError;
pub use head::{
    FORMAT, FORMAT_WITHIN, HeadError, LogKind, SegmentHead, check_format, file_name, first_of_name,
};
pub use scan::{End, Scan, ScanStart, classify, scan, walk, witness_anywhere};
pub use source::{ReadFailed, Source, WINDOW_BYTES};
pub use walk::{Batch, OpenError, Position, Step, Stop, Walker, Why, open};

pub(crate) use field::{
    Fields, merge_epochs, push_epochs, push_field, push_frontier, read_epochs, read_frontier,
};

#[cfg(test)]
mod tests;
