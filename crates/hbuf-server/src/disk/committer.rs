//! The commit pipeline of one disk, shared by all shards.
//!
//! One thread takes whatever was queued while it synced the batch before (group commit without a
//! timer), writes it on the way that `hbuf_core::commit_path` chooses, syncs, and tells the shards.
//! What it journaled is left to the write-behind. A sync that fails ends the use of the disk:
//! nothing is acknowledged any more until the node restarts.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use hbuf_core::commit_path::{Ahead, Choice, Load, Path};
use hbuf_core::ids::Seq;
use hbuf_core::input::{DiskHealth, Input};
use hbuf_core::record::JournalFile;
use hbuf_core::segment::LogKind;

use super::checkpoint::Checkpoints;
use super::files::{FileKey, Files, OpenFile};
use super::journal::Journal;
use super::prewrite::Pool;
use super::sync::{self, SyncPoint};
use super::write_behind::WriteBehind;
use crate::clock;
use crate::engine::counters::Counters;
use crate::engine::{Buffer, Shards};

/// Slices of one vectored write; Linux takes at most 1,024.
const SLICES_MAX: usize = 1_024;
/// Threads that sync further files of a direct batch while the pipeline syncs the first.
const SYNC_HELPERS: usize = 3;

/// Framed bytes for one file.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) log: LogKind,
    /// First seq of the file.
    pub(crate) file: Seq,
    /// Where the bytes go; 0 makes the file.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
    /// Last seq of the log once the bytes are durable.
    pub(crate) through: Seq,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: Vec<Chunk>,
    /// The journal must start a new file, so that the ones before it can go.
    close_journal: bool,
    /// Journal files up to this position may go.
    release: Option<u64>,
    sleeping: bool,
    stopping: bool,
}

/// The pipeline's door.
#[derive(Debug)]
pub(crate) struct Committer {
    queue: Mutex<Queue>,
    wake: Condvar,
    position: AtomicU64,
    journal_bytes: AtomicU64,
}

impl Committer {
    pub(crate) fn new(position: u64) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            position: AtomicU64::new(position),
            journal_bytes: AtomicU64::new(0),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues chunks in order. The queue is bounded by the appends that may wait for their disk.
    pub(crate) fn push(&self, chunks: &mut Vec<Chunk>) {
        if chunks.is_empty() {
            return;
        }
        self.change(|queue| queue.chunks.append(chunks));
    }

    /// Changes the queue and wakes the thread, which finds the lock free when it comes.
    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue();
        change(&mut queue);
        let sleeping = std::mem::take(&mut queue.sleeping);
        drop(queue);
        if sleeping {
            self.wake.notify_one();
        }
    }

    /// The journal's last position: every entry up to it was framed by now.
    pub(crate) fn journal_position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Bytes that were journaled since the last [`Self::close_journal`].
    pub(crate) fn journal_bytes(&self) -> u64 {
        self.journal_bytes.load(Ordering::Relaxed)
    }

    /// Lets the next journaled batch start a new file.
    pub(crate) fn close_journal(&self) {
        self.journal_bytes.store(0, Ordering::Relaxed);
        self.change(|queue| queue.close_journal = true);
    }

    /// Lets journal files go that hold nothing behind `position`.
    pub(crate) fn release_journal(&self, position: u64) {
        self.change(|queue| queue.release = Some(position));
    }

    /// Ends the thread once the queue is empty.
    pub(crate) fn stop(&self) {
        self.change(|queue| queue.stopping = true);
    }
}

/// What the pipeline's thread owns.
pub(crate) struct Pipeline {
    pub(crate) committer: Arc<Committer>,
    pub(crate) files: Arc<Files>,
    pub(crate) journal: Journal,
    pub(crate) pool: Arc<Pool>,
    pub(crate) behind: Arc<WriteBehind>,
    pub(crate) choice: Choice,
    pub(crate) ahead: Ahead,
    pub(crate) shards: Shards,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) counters: Arc<Counters>,
}

/// The chunks of one file, and the file once it is written.
struct Group {
    key: FileKey,
    chunks: Vec<Chunk>,
    file: Option<Arc<OpenFile>>,
}

impl Pipeline {
    /// Starts the thread.
    pub(crate) fn spawn(self) -> io::Result<JoinHandle<()>> {
        let helpers = SyncHelpers::start()?;
        thread::Builder::new()
            .name("hbuf-commit".into())
            .spawn(move || self.run(&helpers))
    }

    fn run(mut self, helpers: &SyncHelpers) {
        let mut failed = false;
        while let Some(chunks) = self.next_batch() {
            if failed || chunks.is_empty() {
                continue;
            }
            if let Err(error) = self.commit(chunks, helpers) {
                failed = true;
                tracing::error!(event = "disk_failed", %error);
                self.shards.broadcast(&Input::Disk(DiskHealth::Failed));
            }
        }
    }

    /// Waits for work; `None` when stopped and nothing is left.
    fn next_batch(&mut self) -> Option<Vec<Chunk>> {
        let committer = Arc::clone(&self.committer);
        let mut queue = committer.queue();
        loop {
            let close = std::mem::take(&mut queue.close_journal);
            let release = queue.release.take();
            if close || release.is_some() {
                // Removing files takes a while: appends go on being queued meanwhile.
                drop(queue);
                self.tidy_journal(close, release);
                queue = committer.queue();
                continue;
            }
            if !queue.chunks.is_empty() {
                return Some(std::mem::take(&mut queue.chunks));
            }
            if queue.stopping {
                return None;
            }
            queue.sleeping = true;
            queue = committer
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.sleeping = false;
        }
    }

    fn tidy_journal(&mut self, close: bool, release: Option<u64>) {
        if close {
            self.journal.close();
        }
        if let Some(position) = release
            && let Err(error) = self.journal.release(position)
        {
            tracing::warn!(event = "journal_release_failed", %error);
        }
    }

    /// Makes one batch durable; an error means that the disk must not be used any more.
    fn commit(&mut self, chunks: Vec<Chunk>, helpers: &SyncHelpers) -> io::Result<()> {
        let mut groups = group(chunks);
        groups.retain(|group| !group.chunks[0].buffer.is_cut());
        let bytes = groups
            .iter()
            .flat_map(|group| &group.chunks)
            .map(|chunk| chunk.bytes.len() as u64);
        let load = Load {
            files: groups.len(),
            bytes: bytes.sum(),
            full: self.behind.is_full(),
        };
        let mut path = self.choice.path(load);
        if path == Path::Journal && !self.sync_journal(&groups)? {
            // No room for a new journal file: the segments may still have some.
            path = Path::Direct;
        }
        if path == Path::Direct {
            self.write_segments(&mut groups)?;
            self.sync_direct(&groups, helpers)?;
        }
        self.counters.batch_committed(path, load);
        let synced = self.synced(&groups);
        if path == Path::Journal {
            let later = groups.into_iter().map(|group| (group.key, group.chunks));
            self.behind.add(later);
            // Only now: whoever sees the position may let a mark ignore the entries up to it.
            let last = self.journal.last_position();
            self.committer.position.store(last, Ordering::Release);
        }
        self.shards.inputs(synced);
        match self.behind.make_room() {
            // Then the next batch is a direct one, and says so to its appends.
            Err(error) if no_room(&error) => Ok(()),
            done => done,
        }
    }

    /// Writes every file's chunks; a file without room drops out with its buffer, the others go on.
    fn write_segments(&self, groups: &mut Vec<Group>) -> io::Result<()> {
        for group in groups.iter_mut() {
            let buffer = Arc::clone(&group.chunks[0].buffer);
            if buffer.is_cut() {
                continue;
            }
            match self.write_group(group) {
                Ok(file) => group.file = Some(file),
                // Deleted in the meantime: its files are gone, and nobody waits for them.
                Err(_) if buffer.is_cut() => {}
                Err(error) if no_room(&error) => {
                    tracing::warn!(event = "disk_full", buffer = %buffer.uuid(), %error);
                    buffer.cut();
                    self.shards.input(
                        &buffer,
                        Input::WriteFailed {
                            buffer: buffer.uuid(),
                        },
                    );
                }
                Err(error) => return Err(error),
            }
        }
        // A buffer that was cut by one of its files keeps none of the others of this batch.
        groups.retain(|group| group.file.is_some() && !group.chunks[0].buffer.is_cut());
        Ok(())
    }

    fn write_group(&self, group: &Group) -> io::Result<Arc<OpenFile>> {
        let first = &group.chunks[0];
        // What was journaled before comes before: a file and a log are written in order.
        self.behind.write(group.key.buffer)?;
        let file = if first.offset == 0 {
            let hot = first.buffer.hot();
            let prewritten = hot.then(|| self.pool.take()).flatten();
            self.files.create(group.key, prewritten.as_deref())?
        } else {
            self.files.open(group.key)?
        };
        write_vectored(&file, &group.chunks)?;
        if group.key.cursors {
            self.write_ahead(&file, &group.chunks)?;
        }
        Ok(file)
    }

    /// Writes zeros behind what was just written, where they are worth it. Nothing stands there:
    /// all that was framed before is in the file, and what comes next comes behind. A crash leaves
    /// some of them, or none; a reader takes both for the end.
    fn write_ahead(&self, file: &OpenFile, chunks: &[Chunk]) -> io::Result<()> {
        let ends = chunks.iter().map(|it| it.offset + it.bytes.len() as u64);
        let end = ends.max().unwrap_or_default();
        let syncs = file.syncs.load(Ordering::Relaxed);
        let before = file.ahead.load(Ordering::Relaxed);
        let count = self.ahead.zeros(syncs, end, before);
        if count == 0 || !self.pool.has_room(count) {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(count).expect("few are written at a time")];
        match file.file.write_all_at(&zeros, end) {
            Ok(()) => file.ahead.store(end + count, Ordering::Relaxed),
            // The file grows as it did, only slower.
            Err(error) if no_room(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Syncs each segment; several at once, since syncs of different files overlap.
    fn sync_direct(&self, groups: &[Group], helpers: &SyncHelpers) -> io::Result<()> {
        let files = || groups.iter().filter_map(|group| group.file.as_ref());
        helpers.sync_all(files().cloned().collect())?;
        for group in groups {
            let Some(file) = &group.file else { continue };
            file.take_dirty();
            // A crash before this leaves a file without a name, and nothing of it was acknowledged.
            if file.take_entry_new() {
                self.files.sync_entry(&group.key)?;
            }
            let syncs = file.syncs.fetch_add(1, Ordering::Relaxed) + 1;
            self.watch_heat(group, file, syncs);
        }
        Ok(())
    }

    /// A busy buffer moves to a pre-written segment as soon as one is ready.
    fn watch_heat(&self, group: &Group, file: &OpenFile, syncs: u64) {
        let buffer = &group.chunks[0].buffer;
        let fits = buffer.segment_bytes() >= self.pool.file_bytes();
        if !group.key.cursors
            && fits
            && Choice::wants_prewritten(syncs, file.prewritten)
            && self.pool.ready()
        {
            buffer.set_hot();
            file.syncs.store(0, Ordering::Relaxed);
            self.shards.input(
                buffer,
                Input::RollNext {
                    buffer: buffer.uuid(),
                },
            );
        }
    }

    /// Writes entries for all files and syncs once; false when there is no room for them. A crash
    /// behind it finds nothing of them in the segments, and replay puts them there.
    fn sync_journal(&mut self, groups: &[Group]) -> io::Result<bool> {
        let now = clock::now();
        let before = self.journal.last_position();
        for group in groups {
            let file = match group.key.log() {
                LogKind::Cursors => JournalFile::Cursors(group.key.first),
                _ => JournalFile::Messages(group.key.first),
            };
            for chunk in &group.chunks {
                self.journal.add(now, group.key.buffer, file, &chunk.bytes);
            }
        }
        match self.journal.commit(now) {
            Ok(()) => {}
            Err(error) if no_room(&error) => {
                self.journal.abandon();
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let last = self.journal.last_position();
        let buffers = groups.iter().map(|group| &group.chunks[0].buffer);
        self.checkpoints.journaled(buffers, before, last);
        self.committer
            .journal_bytes
            .store(self.journal.current_bytes(), Ordering::Relaxed);
        Ok(true)
    }

    /// What the shards are to be told.
    fn synced(&self, groups: &[Group]) -> Vec<(Arc<Buffer>, Input)> {
        let journal = self.journal.last_position();
        let synced = groups.iter().map(|group| {
            let through = group
                .chunks
                .iter()
                .map(|chunk| chunk.through)
                .max()
                .unwrap_or_default();
            let synced = Input::Synced {
                buffer: group.key.buffer,
                log: group.key.log(),
                through,
                journal,
            };
            (Arc::clone(&group.chunks[0].buffer), synced)
        });
        synced.collect()
    }
}

/// Brings the chunks of each file together, files in the order of their keys: an older segment of a
/// buffer comes before a newer one.
fn group(chunks: Vec<Chunk>) -> Vec<Group> {
    let mut groups: BTreeMap<FileKey, Vec<Chunk>> = BTreeMap::new();
    for chunk in chunks {
        let key = FileKey::new(chunk.buffer.uuid(), chunk.log, chunk.file);
        groups.entry(key).or_default().push(chunk);
    }
    groups
        .into_iter()
        .map(|(key, chunks)| Group {
            key,
            chunks,
            file: None,
        })
        .collect()
}

/// True when a write failed for lack of room and nothing else is wrong.
pub(crate) fn no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Writes chunks that follow each other in the file.
pub(crate) fn write_vectored(file: &OpenFile, chunks: &[Chunk]) -> io::Result<()> {
    for chunks in chunks.chunks(SLICES_MAX) {
        write_slices(file, chunks)?;
    }
    Ok(())
}

fn write_slices(file: &OpenFile, chunks: &[Chunk]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = chunks
        .iter()
        .map(|chunk| IoSlice::new(&chunk.bytes))
        .collect();
    let mut slices = slices.as_mut_slice();
    let mut offset = chunks[0].offset;
    while !slices.is_empty() {
        let written = match rustix::io::pwritev(&file.file, slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        offset += written as u64;
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}

type SyncJob = (Arc<OpenFile>, std::sync::mpsc::Sender<io::Result<()>>);

/// Threads that sync files beside the pipeline's own.
struct SyncHelpers {
    jobs: Vec<std::sync::mpsc::SyncSender<SyncJob>>,
}

impl SyncHelpers {
    fn start() -> io::Result<Self> {
        let mut jobs = Vec::new();
        for number in 0..SYNC_HELPERS {
            let (sender, receiver) = std::sync::mpsc::sync_channel::<SyncJob>(SLICES_MAX);
            thread::Builder::new()
                .name(format!("hbuf-sync-{number}"))
                .spawn(move || {
                    for (file, done) in receiver {
                        let _ = done.send(sync_segment(&file));
                    }
                })?;
            jobs.push(sender);
        }
        Ok(Self { jobs })
    }

    fn sync_all(&self, mut files: Vec<Arc<OpenFile>>) -> io::Result<()> {
        let Some(own) = files.pop() else {
            return Ok(());
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut inline = Vec::new();
        for (number, file) in files.into_iter().enumerate() {
            let helper = &self.jobs[number % SYNC_HELPERS];
            if let Err(error) = helper.try_send((file, sender.clone())) {
                use std::sync::mpsc::TrySendError::{Disconnected, Full};
                let (Full((file, _)) | Disconnected((file, _))) = error;
                inline.push(file);
            }
        }
        drop(sender);
        let mut result = sync_segment(&own);
        for file in inline {
            result = result.and_then(|()| sync_segment(&file));
        }
        for done in receiver {
            result = result.and(done);
        }
        result
    }
}

/// A crash before this loses the batch, and nobody was told of it yet.
fn sync_segment(file: &OpenFile) -> io::Result<()> {
    sync::sync_data(&file.file, SyncPoint::SegmentDirect)?;
    Ok(())
}
