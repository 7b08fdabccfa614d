//! Open files for writing: as few as are in use, not one a buffer.
//!
//! A file with journaled writes that no checkpoint covered stays open, so that a failed writeback
//! is reported to the sync of that checkpoint (Linux reports it per open file).

use std::collections::BTreeMap;
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
    clock: u64,
}

/// The open files of one disk.
#[derive(Debug)]
pub(crate) struct Files {
    layout: Layout,
    open_max: usize,
    table: Mutex<Table>,
}

impl Files {
    pub(crate) fn new(layout: Layout, open_max: usize) -> Self {
        Self {
            layout,
            open_max,
            table: Mutex::default(),
        }
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
        let file = Arc::new(OpenFile {
            file,
            prewritten: new == Some(true),
            syncs: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            entry_new: AtomicBool::new(new.is_some()),
            used: AtomicU64::new(table.clock),
        });
        table.open.insert(key, Arc::clone(&file));
        if table.open.len() > self.open_max {
            close_old(&mut table.open, self.open_max / 2);
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

    /// How many files hold journaled writes, and how many may be open.
    pub(crate) fn dirty_share(&self) -> (usize, usize) {
        let dirty = self
            .table()
            .open
            .values()
            .filter(|file| file.is_dirty())
            .count();
        (dirty, self.open_max)
    }
}

/// All keys of one buffer.
fn range_of(buffer: Uuid) -> RangeInclusive<FileKey> {
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

/// Closes the files that were used longest ago, but never a dirty one.
fn close_old(open: &mut BTreeMap<FileKey, Arc<OpenFile>>, keep: usize) {
    let clean = open
        .iter()
        .filter(|(_, file)| file.evictable() && Arc::strong_count(file) == 1);
    let by_use: BTreeMap<(u64, FileKey), ()> = clean
        .map(|(key, file)| ((file.used.load(Ordering::Relaxed), *key), ()))
        .collect();
    let surplus = open.len().saturating_sub(keep);
    for ((_, key), ()) in by_use.into_iter().take(surplus) {
        open.remove(&key);
    }
}
