//! Reading one buffer: ranges, streams, the tail, times, proofs.
//!
//! The engine publishes what is committed, and where, to a [`Readable`]; readers ask it and never
//! the shard. Nothing here decides anything: no seq above the published commit leaves, in any way.
//!
//! ```text
//! bell.rs      one waiter for many buffers
//! segments.rs  which file holds which seqs        recent.rs   records just framed, in memory
//! walk.rs      files, indexes, finding a record   range.rs    a bounded read
//! pieces.rs    a stream of any length             by_time.rs  a time to a position
//! level_zero.rs  ids beside sealed segments       prove.rs    roots and proofs
//! scrub.rs     the slow check of sealed files      shared.rs  bounded caches of the process
//! book.rs      the buffer's dictionary of tags     terms.rs   tags and keys of sealed segments
//! pick.rs      a read of some messages             newest.rs  which are the newest of their key
//! stored_filter.rs  sets of tags with a name        looked.rs  records that consumers come to next
//! filter_names.rs   their names on the disk         unread.rs  sealed segments as ranges of files
//! ```
//!
//! Files are read with `pread` on blocking threads, in large pieces; nothing is mapped, so an error
//! of the disk is an error of one read and not a signal. A sealed segment's bytes are trusted:
//! where they are read here every record must continue the seqs, and a long stream over HTTP/1.1
//! sends them unread. The open segment and single messages are checked by their CRC.

mod bell;
mod book;
mod by_time;
mod filter_names;
mod level_zero;
mod looked;
mod lru;
mod newest;
mod pick;
mod pieces;
mod prove;
mod range;
mod recent;
pub mod scrub;
mod segments;
mod shared;
mod stored_filter;
mod terms;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unread;
mod walk;

pub(crate) use bell::Bell;
pub use level_zero::{derived_files, remove_derived_files};
pub(crate) use looked::Page;
pub(crate) use pick::{Bounds, Pick};
pub use pieces::{Piece, Pieces};
pub use prove::{Consistency, Inclusion, ProofError};
pub use range::{Records, Within};
pub use segments::SegmentAt;
pub use shared::ReadShared;
pub(crate) use stored_filter::{FilterError, FilterForm, FilterUpload, Listed};
pub use unread::{FileRange, Part};

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use bytes::Bytes;
use hbuf_core::filter::TagListError;
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::limits::TAIL_TOTAL_BYTES_MAX;
use hbuf_core::recovery::Unreadable;
use tokio::sync::Notify;

use filter_names::{FilterNames, Uploads};
use recent::Tail;
use segments::{Layout, NoView, View};
use shared::lock;

/// One buffer as its readers see it. Costs little while nobody reads: no open file, no index, no
/// task.
pub struct Readable {
    shared: Arc<ReadShared>,
    /// The buffer's number in the caches.
    number: u64,
    dir: Box<Path>,
    log: Uuid,
    /// The commit, for readers at the tail; the layout holds it with the files that it goes with.
    commit: AtomicU64,
    layout: Mutex<Layout>,
    waiters: Notify,
    bells: Mutex<Vec<Weak<Bell>>>,
    closed: AtomicBool,
    tailing: AtomicU32,
    tail: Mutex<Option<Box<Tail>>>,
    damage: OnceLock<Box<Damage>>,
    /// Told of the first damage that a read meets.
    watch: OnceLock<Watch>,
    /// What recovery found damaged, and what it could not read.
    found: OnceLock<Box<(Damage, Vec<Unreadable>)>>,
    /// Held while the book is read from its files.
    opening_book: Mutex<()>,
    /// None at most times.
    uploads: Mutex<Option<Box<Uploads>>>,
    filter_names: Mutex<FilterNames>,
    /// The log holds, or will hold, records that are no messages.
    controls: AtomicBool,
    /// Something that may be read waits in memory for its file.
    behind: AtomicBool,
    writer: OnceLock<Writer>,
}

/// Hears of damage.
pub(crate) type Watch = Box<dyn Fn(&ReadError) + Send + Sync>;

/// Writes what waits in memory for a buffer's files; blocks meanwhile.
pub(crate) type Writer = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

/// Why a read got nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The messages asked for were dropped by retention.
    #[error("messages below {first} were dropped by retention: read from after={}", first.prev())]
    BeforeFirst {
        /// The first seq that is left.
        first: Seq,
    },
    /// The file is damaged where the message should be.
    #[error("message {seq} in file {file:020}.hbuf is damaged: {what}", file = file.0)]
    Damaged {
        /// The message.
        seq: Seq,
        /// First seq of the file, its name.
        file: Seq,
        /// What is wrong.
        what: String,
    },
    /// The file system refused.
    #[error("reading file {file:020}.hbuf failed: {source}", file = file.0)]
    Io {
        /// First seq of the file, its name.
        file: Seq,
        /// The refusal.
        source: io::Error,
    },
    /// The buffer has no stored filter of this name.
    #[error("the buffer has no filter `{name}`: upload it with PUT, or list what there is")]
    NoFilter {
        /// The name.
        name: String,
    },
    /// The file of a stored filter is not what was uploaded.
    #[error("the stored filter `{name}` is damaged ({what}): upload it again")]
    FilterDamaged {
        /// The name.
        name: String,
        /// What is wrong.
        what: TagListError,
    },
    /// This opening of the buffer is over; it may be gone.
    #[error("the buffer is being opened again on this node: try again shortly")]
    Closed,
    /// The process is stopping and starts no more reads.
    #[error("the node is stopping: read from another node, or again when it is back")]
    Stopping,
}

/// The first damage that was met in a buffer's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The message where it begins.
    pub seq: Seq,
    /// First seq of the file, its name.
    pub file: Seq,
    /// What is wrong.
    pub what: String,
}

impl Readable {
    /// The buffer in `dir`, as recovery found it: everything from `first` through `commit` is in
    /// `segments`, of which all but the last are sealed.
    #[must_use]
    pub fn new(
        shared: &Arc<ReadShared>,
        dir: PathBuf,
        log: Uuid,
        first: Seq,
        commit: Seq,
        segments: &[SegmentAt],
    ) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            number: shared.number(),
            dir: dir.into_boxed_path(),
            log,
            commit: AtomicU64::new(commit.0),
            layout: Mutex::new(Layout::new(first, commit, segments)),
            waiters: Notify::new(),
            bells: Mutex::default(),
            closed: AtomicBool::new(false),
            tailing: AtomicU32::new(0),
            tail: Mutex::new(None),
            damage: OnceLock::new(),
            watch: OnceLock::new(),
            found: OnceLock::new(),
            opening_book: Mutex::new(()),
            uploads: Mutex::default(),
            filter_names: Mutex::default(),
            controls: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            writer: OnceLock::new(),
        })
    }

    /// Who writes what waits for the files, before a reader opens one.
    pub(crate) fn write_behind(&self, writer: Writer) {
        assert!(self.writer.set(writer).is_ok(), "a buffer is opened once");
    }

    /// Who hears of the first damage that a read meets.
    pub(crate) fn watch_damage(&self, watch: Watch) {
        assert!(self.watch.set(watch).is_ok(), "a buffer is opened once");
    }

    /// What recovery found damaged, before anybody reads.
    pub(crate) fn recovered_damaged(&self, damage: Damage, unreadable: Vec<Unreadable>) {
        for part in &unreadable {
            lock(&self.layout).unreadable(part.first);
        }
        let found = Box::new((damage, unreadable));
        assert!(self.found.set(found).is_ok(), "a buffer is opened once");
    }

    /// The damage that ends the log: what was behind the commit is not here.
    pub(crate) fn damage_at_end(&self) -> Option<ReadError> {
        let Damage { seq, file, what } = self.found.get()?.0.clone();
        (seq > self.commit()).then_some(ReadError::Damaged { seq, file, what })
    }

    /// Says whether something that may be read waits for its file.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Release);
    }

    /// A new open segment begins; nothing in it is committed yet.
    pub fn rolled(&self, segment: SegmentAt) {
        lock(&self.layout).rolled(segment);
    }

    /// Records were framed, back to back, and are on their way to the disk. They are kept in memory
    /// while someone tails, and seen by nobody before they are committed.
    pub fn framed(&self, first: Seq, last: Seq, bytes: Bytes) {
        if self.tailing.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut slot = lock(&self.tail);
        let total = &self.shared.tail_bytes;
        let tail = slot.get_or_insert_default();
        let before = tail.bytes();
        tail.push(first, last, bytes);
        let all = total.fetch_add(tail.bytes(), Ordering::Relaxed) + tail.bytes();
        total.fetch_sub(before, Ordering::Relaxed);
        // The last tailing reader may have left since the look at the counter.
        let unused = self.tailing.load(Ordering::Acquire) == 0;
        if unused || all - before > TAIL_TOTAL_BYTES_MAX {
            total.fetch_sub(tail.bytes(), Ordering::Relaxed);
            *slot = None;
        }
    }

    /// Everything through `commit`, which ends at `offset` of the segment `file`, may be read.
    pub fn committed(&self, commit: Seq, file: Seq, offset: u64) {
        lock(&self.layout).committed(commit, file, offset);
        self.commit.store(commit.0, Ordering::Release);
        self.waiters.notify_waiters();
        self.ring();
    }

    /// Retention removes the files that end below `keep_from`. Said before the first is removed: a
    /// file that is missing and was not dropped is damage.
    pub fn dropped(&self, keep_from: Seq) {
        lock(&self.layout).dropped(keep_from);
        if let Some(through) = keep_from.0.checked_sub(1) {
            let oldest = lock(&self.layout).oldest().unwrap_or(Seq(through));
            let through = Seq(through).min(oldest.prev());
            self.shared.forget_files(self.number, Seq::ZERO, through);
        }
    }

    /// The segment `file` never changes again. Writes its index and its terms; called on a thread
    /// that may block.
    pub fn sealed(&self, file: Seq, bytes: u64) {
        lock(&self.layout).sealed(file, bytes);
        if let Err(error) = self.keep_index(file) {
            self.note(&error);
            tracing::warn!(
                event = "index_not_made", dir = %self.dir.display(), file = file.0, %error,
                "the sealed segment has no index"
            );
            return;
        }
        if let Err(error) = self.keep_terms_of(file) {
            self.note(&error);
            tracing::warn!(
                event = "terms_not_made", dir = %self.dir.display(), file = file.0, %error,
                "reads by tag or key make them again"
            );
        }
    }

    /// This opening of the buffer is over: it was deleted, cut back or left memory. Everyone who
    /// waits wakes, and reads end; who wants to go on looks the buffer up again.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.shared.forget(self.number);
        self.waiters.notify_waiters();
        self.ring();
    }

    /// Whether this opening of the buffer is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The last seq that may be read.
    #[must_use]
    pub fn commit(&self) -> Seq {
        Seq(self.commit.load(Ordering::Acquire))
    }

    /// The first seq that is left; one behind the commit when none is.
    #[must_use]
    pub fn first(&self) -> Seq {
        lock(&self.layout).first()
    }

    /// The log's uuid, as its leaves hold it.
    #[must_use]
    pub const fn log(&self) -> Uuid {
        self.log
    }

    /// The buffer's directory.
    #[must_use]
    pub const fn dir(&self) -> &Path {
        &self.dir
    }

    /// Says that the log holds records that are no messages, before the first of them is framed.
    pub fn holds_controls(&self) {
        self.controls.store(true, Ordering::Release);
    }

    /// Whether every record of the log is a message.
    #[must_use]
    pub fn messages_only(&self) -> bool {
        !self.controls.load(Ordering::Acquire)
    }

    /// The first damage that a read or the scrubber met since the buffer was opened.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.get().map(AsRef::as_ref)
    }

    /// Waits until something behind `after` may be read. Refused as closed when that will never
    /// be: whoever only looked at the commit would wait and wake in turns for ever.
    pub async fn committed_past(&self, after: Seq) -> Result<(), ReadError> {
        loop {
            let mut notified = std::pin::pin!(self.waiters.notified());
            // A commit between the look and the wait would wake nobody.
            notified.as_mut().enable();
            if self.commit() > after {
                return Ok(());
            }
            if self.is_closed() {
                return Err(ReadError::Closed);
            }
            notified.await;
        }
    }

    /// Says that someone tails: while the answer lives, new records stay in memory for it.
    #[must_use]
    pub fn tailing(self: &Arc<Self>) -> Tailing {
        self.tailing.fetch_add(1, Ordering::AcqRel);
        Tailing {
            buffer: Arc::clone(self),
        }
    }

    fn view(&self, seq: Seq) -> Result<Option<View>, ReadError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ReadError::Closed);
        }
        let view = lock(&self.layout).view(seq);
        view.map_err(|no| match no {
            NoView::Dropped(first) => ReadError::BeforeFirst { first },
            NoView::Unreadable(file) => {
                let parts = self.found.get().map_or(&[][..], |found| &found.1);
                let part = parts.iter().find(|part| part.first == file);
                let what = part.map_or_else(String::new, |part| part.reason.clone());
                ReadError::Damaged { seq, file, what }
            }
        })
    }

    /// Does blocking work behind the gate that bounds how many do so at once.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let gate = Arc::clone(&self.shared.disk);
        let permit = gate
            .acquire_owned()
            .await
            .map_err(|_| ReadError::Stopping)?;
        let buffer = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work(&buffer);
            drop(permit);
            if let Err(error) = &outcome {
                buffer.note(error);
            }
            outcome
        });
        match done.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ReadError::Stopping),
        }
    }

    /// Damage that the bytes of a read show, at a seq that is committed.
    pub(crate) fn found_damaged(&self, seq: Seq, what: String) -> ReadError {
        let view = lock(&self.layout).view(seq).ok().flatten();
        let file = view.map_or(Seq::ZERO, |view| view.file);
        let error = ReadError::Damaged { seq, file, what };
        self.note(&error);
        error
    }

    /// Remembers the first damage, and says it once.
    fn note(&self, error: &ReadError) {
        let ReadError::Damaged { seq, file, what } = error else {
            return;
        };
        let (seq, file) = (*seq, *file);
        if self
            .damage
            .set(Box::new(Damage {
                seq,
                file,
                what: what.clone(),
            }))
            .is_ok()
        {
            tracing::error!(
                event = "segment_damaged", dir = %self.dir.display(), file = file.0, seq = seq.0, what,
                "a message on disk is damaged; the file stays as it is"
            );
            if let Some(watch) = self.watch.get() {
                watch(error);
            }
        }
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        self.shared.forget(self.number);
        if let Some(tail) = lock(&self.tail).take() {
            self.shared
                .tail_bytes
                .fetch_sub(tail.bytes(), Ordering::Relaxed);
        }
    }
}

/// While this lives, records just framed stay in memory: see [`Readable::tailing`].
pub struct Tailing {
    buffer: Arc<Readable>,
}

impl Drop for Tailing {
    fn drop(&mut self) {
        let buffer = &self.buffer;
        if buffer.tailing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut slot = lock(&buffer.tail);
        // Another may have come meanwhile; its records may stay.
        if buffer.tailing.load(Ordering::Acquire) == 0
            && let Some(tail) = slot.take()
        {
            buffer
                .shared
                .tail_bytes
                .fetch_sub(tail.bytes(), Ordering::Relaxed);
        }
    }
}
