//! Open files for writing: as few as are in use, not one a buffer.
//!
//! A failed writeback must reach the sync of a checkpoint. Linux reports it per open file: a file
//! with journaled writes that no checkpoint covered stays open, unless a sync of the whole file
//! system, through a handle that is open since the start, can stand for that of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::segment::LogKind;

use super::layout::Layout;
use super::sync::{self, SyncPoint};

/// Names one file of one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileKey {
    pub(crate) buffer: Uuid,
    pub(crate) cursors: bool,
    pub(crate) first: Seq,
}

impl FileKey {
    pub(crate) fn new(buffer: Uuid, log: LogKind, first: Seq) -> Self {
        Self {
            buffer,
            cursors: log == LogKind::Cursors,
            first,
        }
    }

    pub(crate) fn log(&self) -> LogKind {
        if self.cursors {
            LogKind::Cursors
        } else {
            LogKind::Messages
        }
    }
}

/// One open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    /// The file was filled with zeros before it became a segment.
    pub(crate) prewritten: bool,
    /// Direct syncs since it was opened.
    pub(crate) syncs: AtomicU64,
    /// Where the zeros end that were written ahead since then.
    pub(crate) ahead: AtomicU64,
    /// It holds journaled writes that were not synced in the file itself.
    dirty: AtomicBool,
    /// Its directory entry was not synced yet.
    entry_new: AtomicBool,
    used: AtomicU64,
}

impl OpenFile {
    /// Takes the mark of an unsynced directory entry away, before its sync.
    pub(crate) fn take_entry_new(&self) -> bool {
        self.entry_new.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn set_dirty(&self) {
        self.dirty.store(true, Ordering::Relaxed);
    }

    /// Takes the flag away before a sync: a write during the sync sets it again.
    pub(crate) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    fn evictable(&self) -> bool {
        !self.is_dirty() && !self.entry_new.load(Ordering::Acquire)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }
}

#[derive(Debug, Default)]
struct Table {
    open: BTreeMap<FileKey, Arc<OpenFile>>,
    /// Files that were closed with journaled writes: only a sync of the file system covers them.
    closed: BTreeSet<FileKey>,
    clock: u64,
}

/// The open files of one disk.
#[derive(Debug)]
pub(crate) struct Files {
    layout: Layout,
    open_max: usize,
    /// The data directory, where a sync of its file system covers all its files.
    root: Option<File>,
    table: Mutex<Table>,
}

impl Files {
    pub(crate) fn new(layout: Layout, open_max: usize) -> io::Result<Self> {
        let bulk = sync::bulk_sync_works(layout.root());
        let root = bulk.then(|| File::open(layout.root())).transpose()?;
        Ok(Self {
            layout,
            open_max,
            root,
            table: Mutex::default(),
        })
    }

    /// The data directory, where a sync of its file system covers all its files: none on a file
    /// system without such a call.
    pub(crate) const fn root(&self) -> Option<&File> {
        self.root.as_ref()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file that exists.
    pub(crate) fn open(&self, key: FileKey) -> io::Result<Arc<OpenFile>> {
        if let Some(file) = self.cached(&key) {
            return Ok(file);
        }
        let path = self.layout.file(key.buffer, key.log(), key.first);
        let file = File::options().read(true).write(true).open(path)?;
        Ok(self.insert(key, file, None))
    }

    /// Notes that an earlier life wrote a file, and perhaps made it, without a sync.
    pub(crate) fn note_unsynced(&self, key: FileKey) -> io::Result<()> {
        if self.root.is_some() {
            self.table().closed.insert(key);
            return Ok(());
        }
        let file = self.open(key)?;
        file.entry_new.store(true, Ordering::Release);
        file.set_dirty();
        Ok(())
    }

    fn cached(&self, key: &FileKey) -> Option<Arc<OpenFile>> {
        let mut table = self.table();
        table.clock += 1;
        let clock = table.clock;
        let file = table.open.get(key)?;
        file.used.store(clock, Ordering::Relaxed);
        Some(Arc::clone(file))
    }

    /// A new file: a pre-written one that is moved here, or an empty one.
    ///
    /// Its directory entry is not durable yet; a crash leaves no file, or one that holds nothing
    /// that was acknowledged.
    pub(crate) fn create(
        &self,
        key: FileKey,
        prewritten: Option<&Path>,
    ) -> io::Result<Arc<OpenFile>> {
        let path = self.layout.file(key.buffer, key.log(), key.first);
        if key.cursors {
            fs::create_dir_all(self.layout.log(key.buffer, LogKind::Cursors))?;
        }
        if let Some(from) = prewritten {
            fs::rename(from, &path)?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(prewritten.is_none())
            .open(&path)?;
        Ok(self.insert(key, file, Some(prewritten.is_some())))
    }

    fn insert(&self, key: FileKey, file: File, new: Option<bool>) -> Arc<OpenFile> {
        let mut table = self.table();
        table.clock += 1;
        // Closed before its entry was synced: a direct batch must not rely on it.
        let entry_new = new.is_some() || table.closed.contains(&key);
        let file = Arc::new(OpenFile {
            file,
            prewritten: new == Some(true),
            syncs: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            entry_new: AtomicBool::new(entry_new),
            used: AtomicU64::new(table.clock),
        });
        table.open.insert(key, Arc::clone(&file));
        if table.open.len() > self.open_max {
            close_old(&mut table, self.open_max / 2, self.root.is_some());
        }
        file
    }

    /// Makes the entry of a file's directory durable, and that of the cursors directory itself.
    pub(crate) fn sync_entry(&self, key: &FileKey) -> io::Result<()> {
        if key.cursors {
            let directory = self.layout.log(key.buffer, LogKind::Cursors);
            sync::sync_dir(&directory, SyncPoint::SegmentEntry)?;
        }
        let directory = self.layout.buffer(key.buffer);
        sync::sync_dir(&directory, SyncPoint::SegmentEntry)
    }

    /// Forgets all files of a buffer, or those below `keep_from` of its messages.
    pub(crate) fn forget(&self, buffer: Uuid, below: Option<Seq>) {
        let mut table = self.table();
        let dropped = |key: &&FileKey| below.is_none_or(|seq| !key.cursors && key.first < seq);
        let keys: Vec<FileKey> = table
            .open
            .range(range_of(buffer))
            .map(|(key, _)| key)
            .filter(dropped)
            .copied()
            .collect();
        for key in keys {
            table.open.remove(&key);
        }
        table
            .closed
            .retain(|key| key.buffer != buffer || !dropped(&key));
    }

    /// The open files of a buffer that hold journaled writes.
    pub(crate) fn dirty_of(&self, buffer: Uuid) -> Vec<(FileKey, Arc<OpenFile>)> {
        let table = self.table();
        let dirty = table
            .open
            .range(range_of(buffer))
            .filter(|(_, file)| file.is_dirty());
        dirty.map(|(key, file)| (*key, Arc::clone(file))).collect()
    }

    /// Takes the note away, before a sync of the file system, that files of a buffer were closed
    /// with journaled writes; whether there were such.
    pub(crate) fn take_closed(&self, buffer: Uuid) -> bool {
        let mut table = self.table();
        let mut any = false;
        while let Some(key) = table.closed.range(range_of(buffer)).next().copied() {
            any = table.closed.remove(&key);
        }
        any
    }

    /// Whether so many files hold journaled writes, where none of them may be closed, that they
    /// must be synced at once.
    pub(crate) fn is_crowded(&self) -> bool {
        if self.root.is_some() {
            return false;
        }
        let table = self.table();
        table.open.len() > self.open_max / 2
    }
}

/// All keys of one buffer.
pub(crate) fn range_of(buffer: Uuid) -> RangeInclusive<FileKey> {
    let first = FileKey {
        buffer,
        cursors: false,
        first: Seq::ZERO,
    };
    first..=FileKey {
        buffer,
        cursors: true,
        first: Seq::MAX,
    }
}

/// Closes the files that were used longest ago, those with journaled writes only if they may be.
fn close_old(table: &mut Table, keep: usize, dirty_too: bool) {
    let idle = table
        .open
        .iter()
        .filter(|(_, file)| (dirty_too || file.evictable()) && Arc::strong_count(file) == 1);
    let by_use: BTreeMap<(u64, FileKey), ()> = idle
        .map(|(key, file)| ((file.used.load(Ordering::Relaxed), *key), ()))
        .collect();
    let surplus = table.open.len().saturating_sub(keep);
    for ((_, key), ()) in by_use.into_iter().take(surplus) {
        let closed = table.open.remove(&key);
        if closed.is_some_and(|file| !file.evictable()) {
            table.closed.insert(key);
        }
    }
}
