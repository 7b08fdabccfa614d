//! Every call that makes something durable. The rest of the server syncs through these functions
//! only, each call naming its point, so that a test can delete one after the other and see that the
//! loss of power then loses data.
//!
//! A failed sync is never retried: Linux may mark the pages clean and a second call would succeed
//! with the data gone (wiki.postgresql.org/wiki/Fsync_Errors).

use std::fs::File;
use std::io;
use std::path::Path;

use super::doubt;

/// The places where the server makes something durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncPoint {
    /// Messages in their own segment.
    SegmentDirect,
    /// The directory entry of a new segment or cursors file.
    SegmentEntry,
    /// Journal entries.
    Journal,
    /// The directory entry of a new journal file.
    JournalEntry,
    /// Journal files of an earlier life, before anything relies on them.
    JournalFound,
    /// Their directory entries.
    JournalFoundEntry,
    /// A sealed segment's data and length.
    Seal,
    /// Segments that only the journal held, before the mark says that they are durable.
    Checkpoint,
    /// Many segments and marks at once.
    BulkCheckpoint,
    /// The tables of producers and keys, before the mark names them.
    Tables,
    /// The directory entry of the tables.
    TablesEntry,
    /// The mark itself, before the journal lets go.
    Mark,
    /// The directory entry of a buffer's first mark.
    MarkEntry,
    /// Repairs and cuts of recovery, before anything follows them.
    Recovery,
    /// The directory entries of recovery.
    RecoveryEntry,
    /// Journal entries that a damaged log could not take, before the journal goes.
    Unapplied,
    /// The entry of their file.
    UnappliedEntry,
    /// The entry of the directory that it stands in.
    UnappliedDirectory,
    /// A new buffer's description.
    BufferFile,
    /// The entry of that description.
    BufferEntry,
    /// The entry of a new buffer's directory.
    BufferFan,
    /// The entry of the directory that it stands in.
    BuffersEntry,
    /// The descriptions and entries of many new buffers at once.
    BulkCreation,
    /// The node's identity.
    Node,
    /// The entry of the node's identity, and with it all entries of the data directory.
    NodeEntry,
    /// The directory of the manager's log.
    Layout,
    /// The name of the data directory itself.
    RootEntry,
    /// Commands of the manager.
    ManagerLog,
    /// A new file of the manager's log.
    ManagerFile,
    /// The directory entry of the manager's file.
    ManagerEntry,
    /// The removal of a deleted buffer's directory.
    Delete,
    /// The tags of a stored filter, before it gets its name.
    FilterFile,
    /// The name of a stored filter.
    FilterEntry,
    /// The directory of a buffer's filters.
    FilterDirectory,
    /// The removal of a stored filter.
    FilterRemoved,
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

/// Puts a file of zeros on the disk before anybody waits for it. Nothing depends on it: whoever
/// uses the file syncs what it writes, and the length with it; but the first of them would wait for
/// all the zeros.
pub(crate) fn write_ahead(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fsync(file)?)
}

/// Whether a sync of the whole file system can stand for those of its files. On FUSE the call does
/// not reach the file system's own process.
pub(crate) fn bulk_sync_works(directory: &Path) -> bool {
    const FUSE_MAGIC: u64 = 0x6573_5546;
    let magic = rustix::fs::statfs(directory).map(|stat| stat.f_type.cast_unsigned());
    magic.is_ok_and(|magic| magic != FUSE_MAGIC)
}

/// Makes everything on a directory's file system durable; a failed writeback of any file since the
/// directory was opened is reported (Linux 5.8 and later).
pub(crate) fn sync_file_system(directory: &File, point: SyncPoint) -> io::Result<()> {
    rustix::fs::syncfs(directory).map_err(|error| failed(error.into(), point))
}

/// A failed sync is fatal whatever its cause, also for lack of room: it must not look like a failed
/// write. What the next life of the process must know is noted before anybody learns of it.
fn failed(error: io::Error, point: SyncPoint) -> io::Error {
    doubt::note_failed_sync();
    tracing::error!(event = "sync_failed", point = ?point, %error);
    io::Error::other(format!("sync failed at {point:?}: {error}"))
}
