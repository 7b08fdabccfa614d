//! A segment: one file of a log. A head line, then records whose seqs, times and epochs only rise.

mod field;
mod head;

pub use head::{FORMAT, HeadError, LogKind, SegmentHead, file_name, first_of_name};

pub use field::FieldError;
