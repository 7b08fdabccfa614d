//! Which buffers the journal still answers for, and when it may let go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hbuf_core::ids::Uuid;

use crate::engine::Buffer;

/// One buffer with journaled messages that no mark covers.
#[derive(Debug)]
struct Unmarked {
    /// Entries up to this position are covered.
    fence: u64,
    /// Position of its last entry.
    last: u64,
    buffer: Arc<Buffer>,
}

/// The buffers that a checkpoint must visit.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    unmarked: Mutex<BTreeMap<Uuid, Unmarked>>,
}

impl Checkpoints {
    fn unmarked(&self) -> MutexGuard<'_, BTreeMap<Uuid, Unmarked>> {
        self.unmarked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch journaled messages of these buffers at positions behind `before`, up to `last`.
    pub(crate) fn journaled<'a>(
        &self,
        buffers: impl Iterator<Item = &'a Arc<Buffer>>,
        before: u64,
        last: u64,
    ) {
        let mut unmarked = self.unmarked();
        for buffer in buffers {
            let entry = unmarked.entry(buffer.uuid()).or_insert_with(|| Unmarked {
                fence: before,
                last,
                buffer: Arc::clone(buffer),
            });
            entry.last = last;
        }
    }

    /// A durable mark covers a buffer's entries up to `fence`.
    pub(crate) fn marked(&self, buffer: Uuid, fence: u64) {
        let mut unmarked = self.unmarked();
        let Some(entry) = unmarked.get_mut(&buffer) else {
            return;
        };
        entry.fence = fence.max(entry.fence);
        if entry.last <= entry.fence {
            unmarked.remove(&buffer);
        }
    }

    /// A buffer's segments were synced whole, or it was deleted.
    pub(crate) fn forget(&self, buffer: Uuid) {
        self.unmarked().remove(&buffer);
    }

    /// Whether the journal answers for this buffer.
    pub(crate) fn holds(&self, buffer: Uuid) -> bool {
        self.unmarked().contains_key(&buffer)
    }

    /// All buffers that need a mark.
    pub(crate) fn pending(&self) -> Vec<Arc<Buffer>> {
        self.unmarked()
            .values()
            .map(|entry| Arc::clone(&entry.buffer))
            .collect()
    }

    /// Entries up to this position are covered for every buffer; `last` when nothing is uncovered.
    pub(crate) fn released(&self, last: u64) -> u64 {
        self.unmarked()
            .values()
            .map(|entry| entry.fence)
            .min()
            .unwrap_or(last)
    }
}
