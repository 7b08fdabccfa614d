//! The disk path: files, the commit pipeline, journal, marks, recovery.
//!
//! Nothing here decides what is committed or kept; it performs what `hbuf-core` asked for and tells
//! it what the disk said. All blocking calls run on threads of their own.

pub(crate) mod checkpoint;
pub(crate) mod committer;
pub(crate) mod doubt;
pub(crate) mod files;
pub(crate) mod journal;
pub(crate) mod journal_found;
pub(crate) mod keeper;
pub(crate) mod layout;
pub(crate) mod lock;
pub(crate) mod marks;
pub(crate) mod prewrite;
pub(crate) mod recovery;
pub(crate) mod side_by_side;
pub(crate) mod source;
pub(crate) mod space;
pub(crate) mod sync;
pub(crate) mod unapplied;
pub(crate) mod write_behind;
