//! The journal: what many buffers appended, in one file, durable with one sync.
//!
//! A position numbers an entry: the number of this start in the high bits, a counter in the low
//! ones, so it grows over restarts. A buffer's fence is a position.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use hbuf_core::ids::{Epoch, Micros, Seq, Uuid};
use hbuf_core::journal::{Entry, EntryLine, encode_entry};
use hbuf_core::record::JournalFile;
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead, file_name};
use hbuf_core::tree::Frontier;

use super::prewrite::Pool;
use super::sync::{self, SyncPoint};

/// Bits of a position that count within one run of a node.
const RUN_BITS: u32 = 40;

/// The first position of a run.
pub(crate) const fn first_position(starts: u64) -> u64 {
    (starts << RUN_BITS) + 1
}

#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    /// Its first position.
    first: u64,
    offset: u64,
    limit: u64,
}

/// The journal of one disk, written by the commit pipeline alone.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    disk: Uuid,
    pool: Arc<Pool>,
    current: Option<Current>,
    /// Files that were rolled and wait for their checkpoint: last position and path.
    rolled: Vec<(u64, PathBuf)>,
    next: u64,
    synced: u64,
    /// Time of the last entry; it never decreases within a journal file.
    time: Micros,
    buffer: Vec<u8>,
}

impl Journal {
    /// `rolled`: the files of an earlier life that still answer for messages, with the last
    /// position in each.
    pub(crate) fn new(
        directory: PathBuf,
        disk: Uuid,
        starts: u64,
        pool: Arc<Pool>,
        rolled: Vec<(u64, PathBuf)>,
    ) -> Self {
        let next = first_position(starts);
        Self {
            directory,
            disk,
            pool,
            current: None,
            rolled,
            next,
            synced: next - 1,
            time: Micros(0),
            buffer: Vec::new(),
        }
    }

    /// The position of the last entry.
    pub(crate) fn last_position(&self) -> u64 {
        self.next - 1
    }

    /// Bytes written since the last roll of the journal.
    pub(crate) fn current_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.offset)
    }

    /// Adds an entry to the batch that [`Self::commit`] writes.
    pub(crate) fn add(&mut self, now: Micros, buffer: Uuid, file: JournalFile, bytes: &[u8]) {
        self.time = now.max(self.time);
        let line = EntryLine {
            position: self.next,
            time: self.time,
            epoch: Epoch(0),
            distance: u32::try_from(self.next - self.synced).unwrap_or(u32::MAX),
        };
        encode_entry(
            line,
            &Entry {
                buffer,
                file,
                body: bytes,
            },
            &mut self.buffer,
        );
        self.next += 1;
    }

    /// Writes and syncs the batch. A crash before the sync leaves a torn end, which replay ignores.
    pub(crate) fn commit(&mut self, now: Micros) -> io::Result<()> {
        let room = self
            .current
            .as_ref()
            .map_or(0, |now| now.limit.saturating_sub(now.offset));
        if room < self.buffer.len() as u64 {
            self.roll(now)?;
        }
        let current = self.current.as_mut().expect("rolled when there was none");
        current.file.write_all_at(&self.buffer, current.offset)?;
        current.offset += self.buffer.len() as u64;
        self.buffer.clear();
        sync::sync_data(&current.file, SyncPoint::Journal)?;
        self.synced = self.next - 1;
        Ok(())
    }

    /// Forgets a batch that could not be written. Its positions are free again: a file's positions
    /// have no gap, or replay would end there.
    pub(crate) fn abandon(&mut self) {
        self.buffer.clear();
        self.next = self.synced + 1;
    }

    /// Starts a new file; its name is the first position in it.
    ///
    /// A crash before the entry's sync leaves no file, or one without an acknowledged entry.
    fn roll(&mut self, now: Micros) -> io::Result<()> {
        let first = Seq(self.synced + 1);
        self.close();
        let path = self.directory.join(file_name(first));
        let prewritten = self.pool.take();
        if let Some(from) = &prewritten {
            fs::rename(from, &path)?;
        }
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(prewritten.is_none())
            .open(&path)?;
        let head = SegmentHead {
            format: FORMAT,
            kind: LogKind::Journal,
            buffer: self.disk,
            log: self.disk,
            history: self.disk,
            first,
            time: now.min(self.time),
            epoch: Epoch(0),
            frontier: Frontier::default(),
            epochs: Vec::new(),
            compacted: None,
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        file.write_all_at(&bytes, 0)?;
        sync::sync_dir(&self.directory, SyncPoint::JournalEntry)?;
        let needed = bytes.len() as u64 + self.buffer.len() as u64;
        let limit = self.pool.file_bytes().max(needed);
        self.current = Some(Current {
            file,
            path,
            first: first.0,
            offset: bytes.len() as u64,
            limit,
        });
        Ok(())
    }

    /// Closes the current file; the next batch starts another one. A file without an entry stays:
    /// the next one would get its name, and its release would remove that one.
    pub(crate) fn close(&mut self) {
        let synced = self.synced;
        if let Some(current) = self.current.take_if(|current| current.first <= synced) {
            self.rolled.push((synced, current.path));
        }
    }

    /// Removes the files that hold nothing behind `position`: every buffer's fence has reached it.
    pub(crate) fn release(&mut self, position: u64) -> io::Result<()> {
        let (gone, kept) = self
            .rolled
            .drain(..)
            .partition(|(last, _)| *last <= position);
        self.rolled = kept;
        let gone: Vec<(u64, PathBuf)> = gone;
        for (_, path) in gone {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}
