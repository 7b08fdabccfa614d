//! Every call that makes something durable. The rest of the server syncs through these functions
//! only, each call naming its point, so that a test can delete one after the other and see that the
//! loss of power then loses data.

use std::fs::File;
use std::io;
use std::path::Path;

/// The places where the server makes something durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::enum_variant_names,
    reason = "the manager's log is the first to sync"
)]
pub(crate) enum SyncPoint {
    /// Commands of the manager.
    ManagerLog,
    /// The cut of a torn tail of the manager's log, before new commands take its place.
    ManagerCut,
    /// A new file of the manager's log.
    ManagerFile,
    /// The directory entry of the manager's file.
    ManagerEntry,
}

/// Makes a file's data durable, and as much of its metadata as reading it needs.
pub(crate) fn sync_data(file: &File, point: SyncPoint) -> io::Result<()> {
    rustix::fs::fdatasync(file).map_err(|error| failed(error.into(), point))
}

/// Makes a file's data and metadata durable.
pub(crate) fn sync_all(file: &File, point: SyncPoint) -> io::Result<()> {
    rustix::fs::fsync(file).map_err(|error| failed(error.into(), point))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(directory: &Path, point: SyncPoint) -> io::Result<()> {
    let directory = File::open(directory)?;
    rustix::fs::fsync(&directory).map_err(|error| failed(error.into(), point))
}

fn failed(error: io::Error, point: SyncPoint) -> io::Error {
    tracing::error!(event = "sync_failed", point = ?point, %error);
    error
}
