//! The thread behind the pipeline: seals, marks, drops, cuts back. Nothing of it is on the way of
//! an append.

use std::fs::{self, File};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hbuf_core::effect::MarkCause;
use hbuf_core::ids::Seq;
use hbuf_core::input::{DiskHealth, Input};
use hbuf_core::mark::Mark;
use hbuf_core::segment::{LogKind, first_of_name};

use super::checkpoint::Checkpoints;
use super::committer::no_room;
use super::files::{FileKey, Files};
use super::layout::Layout;
use super::marks;
use super::recovery::read_mark;
use super::sync::{self, SyncPoint};
use super::write_behind::WriteBehind;
use crate::engine::Buffer;
use crate::engine::Shards;
use crate::engine::counters::Counters;
use crate::read::remove_derived_files;

/// From this many marks on, two syncs of the whole file system are cheaper than those of each file.
const BULK_MARKS: usize = 16;
/// How long a job waits that found no room.
const RETRY: Duration = Duration::from_secs(1);

/// Work that follows from what became durable.
#[derive(Debug)]
pub(crate) enum Job {
    /// Write a mark, and seal the segment that a roll left behind.
    Mark {
        buffer: Arc<Buffer>,
        mark: Box<Mark>,
        tables: Option<Vec<u8>>,
        cause: MarkCause,
    },
    /// Remove segments that retention let go.
    Drop { buffer: Arc<Buffer>, keep_from: Seq },
    /// Remove files of the cursors log whose whole content stands in a later one.
    DropCursors { buffer: Arc<Buffer>, keep_from: Seq },
    /// Cut a file back to what was acknowledged.
    Reopen {
        buffer: Arc<Buffer>,
        file: Seq,
        offset: u64,
    },
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Jobs that found no room, for another try.
    later: Vec<Job>,
    working: bool,
    stopping: bool,
}

/// The keeper's door. Its queue is bounded by the rolls, checkpoints and cuts that are under way.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    queue: Mutex<Queue>,
    wake: Condvar,
    idle: Condvar,
}

impl Keeper {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, job: Job) {
        self.queue().jobs.push(job);
        self.wake.notify_one();
    }

    /// Waits until nothing is left to do.
    pub(crate) fn wait_idle(&self) {
        let mut queue = self.queue();
        while queue.working || !queue.jobs.is_empty() {
            queue = self
                .idle
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn stop(&self) {
        self.queue().stopping = true;
        self.wake.notify_one();
    }
}

/// What the keeper's thread owns.
pub(crate) struct KeeperThread {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) layout: Layout,
    pub(crate) files: Arc<Files>,
    pub(crate) behind: Arc<WriteBehind>,
    pub(crate) shards: Shards,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) counters: Arc<Counters>,
}

struct MarkJob {
    buffer: Arc<Buffer>,
    mark: Box<Mark>,
    tables: Option<Vec<u8>>,
    cause: MarkCause,
}

impl KeeperThread {
    pub(crate) fn spawn(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("hbuf-keeper".into())
            .spawn(move || self.run())
    }

    fn run(self) {
        while let Some(jobs) = self.next() {
            self.work(jobs);
            let mut queue = self.keeper.queue();
            queue.working = false;
            if queue.jobs.is_empty() {
                self.keeper.idle.notify_all();
            }
        }
    }

    fn next(&self) -> Option<Vec<Job>> {
        let mut queue = self.keeper.queue();
        while queue.jobs.is_empty() {
            if queue.stopping {
                return None;
            }
            let wake = &self.keeper.wake;
            queue = if queue.later.is_empty() {
                wake.wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = wake.wait_timeout(queue, RETRY);
                let (mut queue, time) = waited.unwrap_or_else(PoisonError::into_inner);
                if time.timed_out() {
                    let later = std::mem::take(&mut queue.later);
                    queue.jobs.extend(later);
                }
                queue
            };
        }
        queue.working = true;
        Some(std::mem::take(&mut queue.jobs))
    }

    /// Marks first: a segment may go only when a mark covers it, and a buffer that is opened again
    /// must find its newest mark.
    fn work(&self, jobs: Vec<Job>) {
        let (mut marks, mut others) = (Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Mark {
                    buffer,
                    mark,
                    tables,
                    cause,
                } => {
                    marks.push(MarkJob {
                        buffer,
                        mark,
                        tables,
                        cause,
                    });
                }
                other => others.push(other),
            }
        }
        if let Err(error) = self.write_marks(marks) {
            self.failed(&error);
        }
        for job in others {
            match job {
                Job::Drop { buffer, keep_from } => self.drop_segments(&buffer, keep_from),
                Job::DropCursors { buffer, keep_from } => self.drop_cursors(&buffer, keep_from),
                Job::Reopen {
                    buffer,
                    file,
                    offset,
                } => self.cut_back(&buffer, file, offset),
                Job::Mark { .. } => unreachable!("marks were taken out"),
            }
        }
    }

    /// A mark that found no room is only missed: the journal stays, recovery walks further.
    fn failed(&self, error: &io::Error) {
        if no_room(error) {
            tracing::warn!(event = "mark_without_room", %error);
        } else {
            tracing::error!(event = "disk_failed", %error);
            self.shards.broadcast(&Input::Disk(DiskHealth::Failed));
        }
    }

    /// First every segment that only the journal held, then the tables, then the marks.
    fn write_marks(&self, marks: Vec<MarkJob>) -> io::Result<()> {
        let simple = |job: &MarkJob| job.tables.is_none() && job.cause == MarkCause::Checkpoint;
        let many = marks.iter().filter(|job| simple(job)).count() > BULK_MARKS;
        let root = self.files.root().filter(|_| many);
        let (bulk, single): (Vec<_>, Vec<_>) = marks
            .into_iter()
            .partition(|job| root.is_some() && simple(job));
        if let Some(root) = root {
            self.write_bulk(bulk, root)?;
        }
        for mut job in single {
            match self.write_one(&mut job) {
                // Deleted in the meantime: its files are gone, and no mark is missed.
                Err(_) if job.buffer.is_cut() => {}
                Err(error) if no_room(&error) => self.failed(&error),
                done => done?,
            }
        }
        Ok(())
    }

    /// Thousands of marks with two syncs: one for the segments that they speak of, one for
    /// themselves.
    ///
    /// A crash before the second leaves some marks written; each speaks of durable segments only.
    fn write_bulk(&self, mut marks: Vec<MarkJob>, root: &File) -> io::Result<()> {
        let mut failed = None;
        marks.retain(|job| match self.behind.write(job.buffer.uuid()) {
            Ok(()) => true,
            Err(error) if no_room(&error) => {
                // The mark is missed, and the journal goes on answering for the buffer.
                self.failed(&error);
                false
            }
            Err(error) => {
                failed.get_or_insert(error);
                false
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        for job in &marks {
            for (_, file) in self.files.dirty_of(job.buffer.uuid()) {
                file.take_dirty();
                file.take_entry_new();
            }
            self.files.take_closed(job.buffer.uuid());
        }
        sync::sync_file_system(root, SyncPoint::BulkCheckpoint)?;
        for job in &marks {
            match marks::place(&self.layout, &job.mark) {
                Err(_) if job.buffer.is_cut() => {}
                placed => drop(placed?),
            }
        }
        sync::sync_file_system(root, SyncPoint::BulkCheckpoint)?;
        for job in &marks {
            Counters::add(&self.counters.marks, 1);
            self.checkpoints.marked(job.buffer.uuid(), job.mark.fence);
        }
        Ok(())
    }

    fn write_one(&self, job: &mut MarkJob) -> io::Result<()> {
        self.sync_segments(&job.buffer)?;
        if let MarkCause::Roll { sealed, bytes } = job.cause {
            self.seal(&job.buffer, sealed, bytes)?;
        }
        marks::write(&self.layout, &mut job.mark, job.tables.as_deref())?;
        Counters::add(&self.counters.marks, 1);
        self.checkpoints.marked(job.buffer.uuid(), job.mark.fence);
        if let MarkCause::Roll { sealed, bytes } = job.cause {
            job.buffer.readable().sealed(sealed, bytes);
        }
        Ok(())
    }

    /// A crash before these syncs leaves the journal in charge: no mark says otherwise yet.
    fn sync_segments(&self, buffer: &Buffer) -> io::Result<()> {
        self.behind.write(buffer.uuid())?;
        if self.files.take_closed(buffer.uuid())
            && let Some(root) = self.files.root()
        {
            sync::sync_file_system(root, SyncPoint::BulkCheckpoint)?;
        }
        for (key, file) in self.files.dirty_of(buffer.uuid()) {
            file.take_dirty();
            sync::sync_data(&file.file, SyncPoint::Checkpoint)?;
            if file.take_entry_new() {
                self.files.sync_entry(&key)?;
            }
        }
        Ok(())
    }

    /// Cuts the zeros of a pre-written file off and makes its length durable. Its data is durable
    /// already, by the batches that wrote it or by `sync_segments`; so a file that grew as it was
    /// written, and has its length with its data, needs no sync here.
    fn seal(&self, buffer: &Buffer, sealed: Seq, bytes: u64) -> io::Result<()> {
        let key = FileKey::new(buffer.uuid(), LogKind::Messages, sealed);
        let file = match self.files.open(key) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        if file.file.metadata()?.len() == bytes {
            return Ok(());
        }
        file.file.set_len(bytes)?;
        sync::sync_all(&file.file, SyncPoint::Seal)
    }

    /// The retain record is durable, so a crash in the middle is finished by the next recovery.
    fn drop_segments(&self, buffer: &Buffer, keep_from: Seq) {
        let directory = self.layout.buffer(buffer.uuid());
        // What a missed mark does not cover stays until the next one does: without it the tables of
        // producers and keys could not be made again.
        let mark = read_mark(&self.layout.mark(buffer.uuid())).ok().flatten();
        let keep_from = keep_from.min(mark.map_or(Seq::ZERO, |mark| mark.file));
        match drop_files(&directory, keep_from) {
            Ok(dropped) => Counters::add(&self.counters.segments_dropped, dropped),
            Err(error) => tracing::warn!(event = "drop_failed", buffer = %buffer.uuid(), %error),
        }
        self.files.forget(buffer.uuid(), Some(keep_from));
    }

    /// A crash in the middle leaves older files, which the next roll removes.
    fn drop_cursors(&self, buffer: &Buffer, keep_from: Seq) {
        let uuid = buffer.uuid();
        // What the journal holds of the older files must not make them anew.
        if let Err(error) = self.behind.write(uuid) {
            self.failed(&error);
            return;
        }
        if let Err(error) = drop_files(&self.layout.log(uuid, LogKind::Cursors), keep_from)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(event = "drop_failed", buffer = %uuid, %error);
        }
    }

    /// Nothing behind `offset` was acknowledged. A crash before the sync leaves a tail that was
    /// refused; recovery may then keep whole records of it, as of any append without an answer.
    ///
    /// What was acknowledged and waits for its segment comes first: without it, the buffer would be
    /// opened again too short. While it finds no room, the buffer stays as it is and takes nothing.
    fn cut_back(&self, buffer: &Arc<Buffer>, file: Seq, offset: u64) {
        if let Err(error) = self.behind.write(buffer.uuid()) {
            self.failed(&error);
            let buffer = Arc::clone(buffer);
            self.keeper.queue().later.push(Job::Reopen {
                buffer,
                file,
                offset,
            });
            return;
        }
        let result = self.try_cut_back(buffer, file, offset);
        self.files.forget(buffer.uuid(), None);
        self.checkpoints.forget(buffer.uuid());
        buffer.leave();
        if let Err(error) = result {
            self.failed(&error);
        }
    }

    fn try_cut_back(&self, buffer: &Buffer, file: Seq, offset: u64) -> io::Result<()> {
        // The journal stops answering for the buffer, and it is opened again only when somebody
        // asks for it: until then nothing else would make what the journal held durable.
        self.sync_segments(buffer)?;
        let directory = self.layout.buffer(buffer.uuid());
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let first = entry.file_name().to_str().and_then(first_of_name);
            let Some(first) = first else { continue };
            if first > file {
                fs::remove_file(entry.path())?;
            } else if first == file {
                let file = File::options().write(true).open(entry.path())?;
                file.set_len(offset)?;
                sync::sync_all(&file, SyncPoint::Recovery)?;
            }
        }
        sync::sync_dir(&directory, SyncPoint::RecoveryEntry)
    }
}

/// Removes the segments, with their indexes, that end below `keep_from`; the last one stays.
pub(crate) fn drop_files(directory: &std::path::Path, keep_from: Seq) -> io::Result<u64> {
    let mut firsts: Vec<Seq> = fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(first_of_name))
        .collect();
    firsts.sort_unstable();
    let mut dropped = 0;
    for pair in firsts.windows(2) {
        if pair[1] > keep_from {
            break;
        }
        let path = directory.join(hbuf_core::segment::file_name(pair[0]));
        fs::remove_file(&path)?;
        // Whatever stays is of no segment, and is never read.
        drop(remove_derived_files(directory, pair[0]));
        dropped += 1;
    }
    Ok(dropped)
}
