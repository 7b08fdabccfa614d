//! The scrubber: reads sealed segments again and again, slowly, and checks every message in them.
//!
//! A disk forgets without saying so, and what nobody reads nobody misses: CRC and id of each
//! message are checked, and that the ids lead to the tree in the next segment's head line. It
//! reports and changes nothing; what is damaged stays for the repair from another copy.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::index::Place;
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::record::{Verdict, decode};
use hbuf_core::segment::file_name;
use hbuf_core::skim::skim;
use hbuf_core::tree::Frontier;
use tokio::time::Instant;

use super::segments::View;
use super::shared::lock;
use super::walk::read_at;
use super::{ReadError, Readable};

/// What the scrubber has done since the process started; the counters of `/metrics`.
#[derive(Debug, Default)]
pub struct ScrubProgress {
    /// Bytes of sealed segments that were checked.
    pub bytes: AtomicU64,
    /// Segments that were checked to their end.
    pub segments: AtomicU64,
    /// Damaged messages and head lines that were met, each time they were met.
    pub damaged: AtomicU64,
    /// Passes over all buffers.
    pub passes: AtomicU64,
}

/// Checks sealed segments at a bounded rate.
pub struct Scrubber {
    bytes_per_second: u64,
    progress: Arc<ScrubProgress>,
    /// When the bytes read so far are paid for.
    due: Instant,
}

impl Scrubber {
    /// A scrubber that reads at most this much; with 0 it does nothing.
    #[must_use]
    pub fn new(bytes_per_second: u64, progress: Arc<ScrubProgress>) -> Self {
        Self {
            bytes_per_second,
            progress,
            due: Instant::now(),
        }
    }

    /// Scrubs all buffers one after the other, for ever. Ends at once when the rate is 0, and when
    /// the source is gone.
    pub async fn run(mut self, source: Arc<dyn ScrubSource>) {
        if self.bytes_per_second == 0 {
            return;
        }
        tokio::time::sleep(START_AFTER).await;
        while !source.is_gone() {
            let started = Instant::now();
            for uuid in source.buffers() {
                let from = Arc::clone(&source);
                let found = tokio::task::spawn_blocking(move || from.buffer(uuid)).await;
                let Ok(Some(buffer)) = found else { continue };
                if let Some(error) = self.scrub(&buffer).await {
                    source.damaged(uuid, &error);
                }
            }
            self.progress.passes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep_until(started + PASS_AT_LEAST).await;
        }
    }

    /// Checks every sealed segment of a buffer once; answers the first damage.
    pub async fn scrub(&mut self, buffer: &Arc<Readable>) -> Option<ReadError> {
        let views: Vec<View> = lock(&buffer.layout).views().filter(is_scrubbed).collect();
        let mut first = None;
        for view in views {
            let mut found = Vec::new();
            match self.scrub_segment(buffer, view, &mut found).await {
                Ok(()) => {
                    self.progress.segments.fetch_add(1, Ordering::Relaxed);
                }
                // Retention or a deletion came first; whether the file should be there is for those
                // who read it.
                Err(ReadError::BeforeFirst { .. }) => {}
                Err(_) if !buffer.dir().join(file_name(view.file)).exists() => {}
                Err(ReadError::Closed | ReadError::Stopping) => return first,
                Err(error) => found.push(error),
            }
            for error in found {
                self.report(buffer, &error);
                first.get_or_insert(error);
            }
        }
        first
    }

    async fn scrub_segment(
        &mut self,
        buffer: &Arc<Readable>,
        view: View,
        found: &mut Vec<ReadError>,
    ) -> Result<(), ReadError> {
        let mut check = buffer
            .blocking(move |buffer| buffer.start_check(view))
            .await?;
        while check.next.seq <= view.last {
            let before = check.next.offset;
            let step = buffer.blocking(move |buffer| {
                let outcome = buffer.check_some(&mut check);
                Ok((check, outcome))
            });
            let (moved, outcome) = step.await?;
            check = moved;
            found.append(&mut check.found);
            let read = check.next.offset - before;
            self.progress.bytes.fetch_add(read, Ordering::Relaxed);
            outcome?;
            self.pay(read).await;
        }
        buffer
            .blocking(move |buffer| buffer.end_check(&check))
            .await
    }

    /// Waits as long as the bytes take at the rate.
    async fn pay(&mut self, bytes: u64) {
        let now = Instant::now();
        let seconds = bytes as f64 / self.bytes_per_second.max(1) as f64;
        // Time that was not used is not saved up for a burst.
        self.due = self.due.max(now) + Duration::from_secs_f64(seconds.min(SECONDS_MAX));
        tokio::time::sleep_until(self.due).await;
    }

    fn report(&self, buffer: &Readable, error: &ReadError) {
        self.progress.damaged.fetch_add(1, Ordering::Relaxed);
        buffer.note(error);
        tracing::error!(
            event = "scrub_damaged", dir = %buffer.dir().display(), %error,
            "the scrubber met damage; it changes nothing"
        );
    }
}

/// A segment's check under way.
struct Check {
    view: View,
    file: Arc<File>,
    next: Place,
    time: Micros,
    /// The tree so far; `None` once an id could not be read.
    tree: Option<Frontier>,
    found: Vec<ReadError>,
}

impl Readable {
    fn start_check(&self, view: View) -> Result<Check, ReadError> {
        let file = self.segment(view.file)?;
        let head = self.head(view.file)?;
        let next = Place {
            seq: view.file,
            offset: self.head_len(&view, &file)?,
        };
        // The page cache is for readers.
        if let Err(error) = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::NoReuse) {
            tracing::debug!(event = "fadvise_refused", %error);
        }
        let (time, tree) = (head.time, Some(head.frontier));
        Ok(Check {
            view,
            file,
            next,
            time,
            tree,
            found: Vec::new(),
        })
    }

    /// Checks the records of one piece, or one record that is longer.
    fn check_some(&self, check: &mut Check) -> Result<(), ReadError> {
        let file = check.view.file;
        let io = |source| ReadError::Io { file, source };
        let mut memory = self.shared.spare();
        memory
            .fill(&check.file, check.next.offset, PIECE_BYTES)
            .map_err(io)?;
        let (mut bytes, start) = (memory.as_ref(), check.next.seq);
        while check.next.seq <= check.view.last {
            let Some(line) = skim(bytes) else { break };
            if line.seq != check.next.seq {
                return Err(self.not_due(&check.view, check.next, line.seq));
            }
            let len = line.record_len();
            let Some(record) = usize::try_from(len).ok().and_then(|len| bytes.get(..len)) else {
                break;
            };
            self.check_record(check, record);
            bytes = &bytes[record.len()..];
            check.next = Place {
                seq: line.seq.next(),
                offset: check.next.offset + len,
            };
        }
        if check.next.seq > start {
            return Ok(());
        }
        let line = skim(memory.as_ref()).ok_or_else(|| self.no_record(&check.view, check.next))?;
        let ends = check.next.offset + line.record_len();
        if ends > check.view.bytes {
            let what = "its request line claims more bytes than the file has";
            return Err(self.damaged(&check.view, line.seq, what));
        }
        let mut record = vec![0; usize::try_from(line.record_len()).unwrap_or_default()];
        let count = read_at(&check.file, &mut record, check.next.offset).map_err(io)?;
        self.check_record(check, &record[..count]);
        check.next = Place {
            seq: line.seq.next(),
            offset: ends,
        };
        Ok(())
    }

    fn check_record(&self, check: &mut Check, bytes: &[u8]) {
        let seq = check.next.seq;
        let what = match decode(bytes) {
            Err(error) => {
                check.tree = None;
                error.to_string()
            }
            Ok(record) => {
                match (&mut check.tree, record.id()) {
                    (Some(tree), Some(id)) => tree.push(id),
                    (tree, _) => *tree = None,
                }
                let falls = record.line.time < check.time;
                check.time = record.line.time;
                match record.verify(self.log) {
                    Verdict::Intact | Verdict::Erased if falls => {
                        "its time is before that of the message before"
                    }
                    Verdict::Intact | Verdict::Erased => return,
                    Verdict::Altered => "its content does not give its id",
                    Verdict::NotWiped => "it is marked as erased, and content is left",
                    Verdict::NoProof => "it has no id",
                }
                .to_owned()
            }
        };
        let error = self.damaged(&check.view, seq, &what);
        self.note(&error);
        if check.found.len() < FOUND_MAX {
            check.found.push(error);
        }
    }

    /// The records end with the file, or with zeros that a crash kept from being cut off.
    fn ends_where_it_should(&self, check: &Check) -> Result<bool, ReadError> {
        let io = |source| ReadError::Io {
            file: check.view.file,
            source,
        };
        let mut memory = self.shared.spare();
        let mut at = check.next.offset;
        while at < check.view.bytes {
            memory.fill(&check.file, at, PIECE_BYTES).map_err(io)?;
            let bytes = memory.as_ref();
            if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
        Ok(check.next.offset <= check.view.bytes)
    }

    /// The ids lead to the tree that the next segment begins with.
    fn end_check(&self, check: &Check) -> Result<(), ReadError> {
        let Some(next) = check.view.next_file else {
            return Ok(());
        };
        if !self.ends_where_it_should(check)? {
            let what = format!(
                "the file has {} bytes, its records end at {}",
                check.view.bytes, check.next.offset
            );
            return Err(self.damaged(&check.view, check.view.last, &what));
        }
        let Some(tree) = &check.tree else {
            return Ok(());
        };
        match self.head(next) {
            Ok(head) if head.frontier == *tree => return Ok(()),
            Ok(_) => {}
            // Reported when that file's turn comes.
            Err(_)
                if lock(&self.layout)
                    .views()
                    .any(|v| v.file == next && is_scrubbed(&v)) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let what = "the ids of its file do not lead to the tree in the next file's head line";
        Err(self.damaged(&check.view, check.view.last, what))
    }
}

/// Where the scrubber finds buffers, and whom it tells.
pub trait ScrubSource: Send + Sync {
    /// All buffers.
    fn buffers(&self) -> Vec<Uuid>;
    /// The read side of one; `None` when it is gone. May block.
    fn buffer(&self, uuid: Uuid) -> Option<Arc<Readable>>;
    /// A buffer is damaged; this is the first of it.
    fn damaged(&self, uuid: Uuid, error: &ReadError);
    /// Nobody needs the scrubber any more.
    fn is_gone(&self) -> bool;
}

/// Sealed, and committed to its end.
fn is_scrubbed(view: &View) -> bool {
    view.sealed && view.next_file == Some(view.last.next())
}

/// A node that starts has other work.
const START_AFTER: Duration = Duration::from_secs(60);
/// A pass over all buffers takes at least this long.
const PASS_AT_LEAST: Duration = Duration::from_secs(3600);
/// The longest wait after one step, however low the rate.
const SECONDS_MAX: f64 = 3600.0;
/// Damaged messages of one step that are reported one by one.
const FOUND_MAX: usize = 1_000;
