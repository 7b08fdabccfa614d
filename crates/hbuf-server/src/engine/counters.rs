//! What the engine counts; `/metrics` shows it. One relaxed addition each, no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hbuf_core::commit_path::{Load, Path};

use crate::read::scrub::ScrubProgress;

/// Counters of one node since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Batches of the commit pipeline that went straight into segments.
    pub batches_direct: AtomicU64,
    /// Batches that went through the journal.
    pub batches_journal: AtomicU64,
    /// Bytes of all batches.
    pub committed_bytes: AtomicU64,
    /// Appends that were placed in a log.
    pub appends: AtomicU64,
    /// Messages that were placed in a log.
    pub messages: AtomicU64,
    /// Messages that consumers handed out.
    pub consumer_deliveries: AtomicU64,
    /// Those of them that had been handed out before.
    pub consumer_redeliveries: AtomicU64,
    /// Messages that consumers gave up.
    pub consumer_dead_letters: AtomicU64,
    /// Messages that mirrors took from their origins.
    pub mirrored: AtomicU64,
    /// Appends that were answered with an earlier reply.
    pub replays: AtomicU64,
    /// Appends that were refused.
    pub refusals: AtomicU64,
    /// Segments that were rolled.
    pub rolls: AtomicU64,
    /// Checkpoints that were started.
    pub checkpoints: AtomicU64,
    /// Marks that were written.
    pub marks: AtomicU64,
    /// Segments that retention removed.
    pub segments_dropped: AtomicU64,
    /// Buffers that were opened through recovery.
    pub recoveries: AtomicU64,
    /// Bytes that recovery cut as torn.
    pub torn_bytes: AtomicU64,
    /// Records that recovery restored from the journal.
    pub replayed_records: AtomicU64,
    /// What the scrubber did.
    pub scrub: Arc<ScrubProgress>,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn batch_committed(&self, path: Path, load: Load) {
        let batches = match path {
            Path::Direct => &self.batches_direct,
            Path::Journal => &self.batches_journal,
        };
        Self::add(batches, 1);
        Self::add(&self.committed_bytes, load.bytes);
    }
}
