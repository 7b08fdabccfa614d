//! What the journal holds durably and the segments lack: it waits here, in memory, and is written
//! to each segment in one piece, away from the way of an append.
//!
//! It never decides when bytes are acknowledged or when the journal may go: a mark is written only
//! after [`WriteBehind::write`] put its buffer's bytes into the segments. A crash at any time takes
//! what waits here, and the next start restores it from the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hbuf_core::commit_path::{Deferral, Unwritten};
use hbuf_core::ids::Uuid;
use hbuf_core::input::{DiskHealth, Input};

use super::committer::{Chunk, no_room, write_vectored};
use super::files::{FileKey, Files, range_of};
use super::sync::{self, SyncPoint};
use crate::engine::Shards;

/// How long the thread rests after a write that found no room.
const REST: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<FileKey, Vec<Chunk>>,
    /// Files that a thread is writing: what waits for one of them must come behind that.
    writing: BTreeSet<FileKey>,
    /// Bytes of both.
    bytes: u64,
    /// Since when the oldest of those that no round has taken wait.
    since: Option<Instant>,
    stopping: bool,
}

impl State {
    fn unwritten(&self) -> Unwritten {
        let micros = self.since.map_or(0, |since| since.elapsed().as_micros());
        Unwritten {
            bytes: self.bytes,
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
        }
    }

    fn has(&self, buffer: Uuid) -> bool {
        let of_buffer = range_of(buffer);
        self.waiting.range(of_buffer.clone()).next().is_some()
            || self.writing.range(of_buffer).next().is_some()
    }
}

/// The bytes of one disk that wait for their segments.
#[derive(Debug)]
pub(crate) struct WriteBehind {
    files: Arc<Files>,
    shards: Shards,
    deferral: Deferral,
    state: Mutex<State>,
    /// Something is due, or the thread is to end.
    due: Condvar,
    /// A file was written.
    written: Condvar,
}

impl WriteBehind {
    pub(crate) fn new(files: Arc<Files>, shards: Shards) -> Self {
        Self {
            files,
            shards,
            deferral: Deferral::default(),
            state: Mutex::default(),
            due: Condvar::new(),
            written: Condvar::new(),
        }
    }

    const fn is_due(&self, unwritten: Unwritten) -> bool {
        self.deferral.is_due(unwritten)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Whether more waits than may.
    pub(crate) fn is_full(&self) -> bool {
        self.deferral.is_full(self.state().unwritten())
    }

    /// Takes in what was journaled, before anybody hears of it: whoever reads an acknowledged
    /// message must find that it is here.
    pub(crate) fn add(&self, groups: impl Iterator<Item = (FileKey, Vec<Chunk>)>) {
        let mut state = self.state();
        let before = state.unwritten();
        for (key, mut chunks) in groups {
            let bytes: u64 = chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
            state.bytes += bytes;
            chunks[0].buffer.readable().set_behind(true);
            state.waiting.entry(key).or_default().append(&mut chunks);
        }
        if state.since.is_none() {
            state.since = Some(Instant::now());
        }
        // The thread sleeps for good only while nothing waits.
        if before.bytes == 0 || (!self.is_due(before) && self.is_due(state.unwritten())) {
            self.due.notify_one();
        }
    }

    /// Writes what waits of a buffer, or waits until another thread has. An error leaves it here.
    pub(crate) fn write(&self, buffer: Uuid) -> io::Result<()> {
        loop {
            let next = {
                let state = self.state();
                let of_buffer = range_of(buffer);
                let writing = state.writing.range(of_buffer.clone()).next();
                // An older file first, whoever has it.
                let waiting = state.waiting.range(of_buffer).next();
                match (writing, waiting) {
                    (None, None) => return Ok(()),
                    (Some(key), None) => *key,
                    (None, Some((key, _))) => *key,
                    (Some(writing), Some((waiting, _))) => *writing.min(waiting),
                }
            };
            self.write_file(next)?;
        }
    }

    /// Writes until what waits is within its bound again, or does not fit the disk.
    pub(crate) fn make_room(&self) -> io::Result<()> {
        loop {
            let key = {
                let mut state = self.state();
                if !self.deferral.is_full(state.unwritten()) {
                    return Ok(());
                }
                let free = |key: &&FileKey| !state.writing.contains(*key);
                let Some(key) = state.waiting.keys().find(free).copied() else {
                    state = self.wait_written(state);
                    drop(state);
                    continue;
                };
                key
            };
            self.write_file(key)?;
        }
    }

    /// Forgets a buffer that was deleted.
    pub(crate) fn forget(&self, buffer: Uuid) {
        let mut state = self.state();
        while state.writing.range(range_of(buffer)).next().is_some() {
            state = self.wait_written(state);
        }
        let keys: Vec<FileKey> = state
            .waiting
            .range(range_of(buffer))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            let chunks = state.waiting.remove(&key).unwrap_or_default();
            state.bytes -= bytes_of(&chunks);
        }
    }

    fn wait_written<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.written
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits of one file now; when another thread does so, waits for that first.
    fn write_file(&self, key: FileKey) -> io::Result<()> {
        let chunks = {
            let mut state = self.state();
            while state.writing.contains(&key) {
                state = self.wait_written(state);
            }
            let Some(chunks) = state.waiting.remove(&key) else {
                return Ok(());
            };
            state.writing.insert(key);
            chunks
        };
        let written = self.write_chunks(key, &chunks);
        // Deleted in the meantime: its files are gone, and nobody waits for them.
        let gone = |error: &io::Error| {
            error.kind() == io::ErrorKind::NotFound && chunks[0].buffer.is_cut()
        };
        let result = written.or_else(|error| if gone(&error) { Ok(()) } else { Err(error) });
        self.file_done(key, chunks, result.is_ok());
        if let Err(error) = &result
            && !no_room(error)
        {
            tracing::error!(event = "disk_failed", %error);
            self.shards.broadcast(&Input::Disk(DiskHealth::Failed));
        }
        result
    }

    fn file_done(&self, key: FileKey, mut chunks: Vec<Chunk>, written: bool) {
        let buffer = Arc::clone(&chunks[0].buffer);
        let mut state = self.state();
        state.writing.remove(&key);
        if written {
            state.bytes -= bytes_of(&chunks);
        } else {
            let later = state.waiting.entry(key).or_default();
            chunks.append(later);
            *later = chunks;
            state.since = state.since.or_else(|| Some(Instant::now()));
        }
        if !state.has(buffer.uuid()) {
            buffer.readable().set_behind(false);
        }
        if state.bytes == 0 {
            state.since = None;
        }
        self.written.notify_all();
    }

    /// A crash leaves the bytes in any state, and replay restores them from the journal.
    fn write_chunks(&self, key: FileKey, chunks: &[Chunk]) -> io::Result<()> {
        let file = if chunks[0].offset == 0 {
            self.files.create(key, None)?
        } else {
            self.files.open(key)?
        };
        write_vectored(&file, chunks)?;
        file.set_dirty();
        if self.files.is_crowded() {
            // Only a synced file may be closed here.
            file.take_dirty();
            sync::sync_data(&file.file, SyncPoint::Checkpoint)?;
            if file.take_entry_new() {
                self.files.sync_entry(&key)?;
            }
        }
        Ok(())
    }

    /// Starts the thread that writes what is due.
    pub(crate) fn spawn(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let behind = Arc::clone(self);
        thread::Builder::new()
            .name("hbuf-behind".into())
            .spawn(move || behind.run())
    }

    /// Ends the thread. What waits stays in the journal.
    pub(crate) fn stop(&self) {
        self.state().stopping = true;
        self.due.notify_one();
    }

    fn run(&self) {
        while let Some(keys) = self.next_round() {
            for key in keys {
                let Err(error) = self.write_file(key) else {
                    continue;
                };
                tracing::warn!(event = "write_behind_without_room", buffer = %key.buffer, %error);
                thread::sleep(REST);
                break;
            }
        }
    }

    /// Waits until something is due; then the files of all that waits.
    fn next_round(&self) -> Option<Vec<FileKey>> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            let unwritten = state.unwritten();
            if self.is_due(unwritten) {
                state.since = None;
                return Some(state.waiting.keys().copied().collect());
            }
            state = if unwritten.bytes == 0 {
                self.due.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let left = self.deferral.micros_max.saturating_sub(unwritten.micros);
                let waited = self
                    .due
                    .wait_timeout(state, Duration::from_micros(left.max(1)));
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

fn bytes_of(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum()
}
