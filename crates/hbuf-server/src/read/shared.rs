//! What all buffers of a process share for reading: open files, indexes, subtree roots, spare
//! memory, and the gates that bound how much of the file system is used at once.
//!
//! Idle buffers have nothing here. Everything is bounded by `limits.rs` and may be forgotten at any
//! time.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hbuf_core::filter::Bits;
use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::index::SegmentIndex;
use hbuf_core::limits::{
    DISK_READS_MAX, INDEX_MEMORY_MAX, LATEST_MEMORY_MAX, LOOKED_MEMORY_MAX, MATCHED_MEMORY_MAX,
    PIECE_BYTES, READ_AHEAD_MAX, READ_FILES_MAX, SPARE_PIECES_MAX, TAG_MEMORY_MAX,
    TERMS_MEMORY_MAX, TREE_MEMORY_MAX,
};
use rustix::io::ReadWriteFlags;
use tokio::sync::Semaphore;

use super::book::Book;
use super::looked::{Looked, LookedKey};
use super::lru::Lru;
use super::newest::SealedNewest;
use super::terms::SegmentTerms;
use super::walk::read_at;

/// A file beside or of a segment, over all buffers of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileKey {
    pub(super) buffer: u64,
    pub(super) file: Seq,
    pub(super) kind: FileKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileKind {
    Segment,
    Tags,
    Keys,
    Ids,
}

/// What a stored filter matches of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MatchedKey {
    pub(super) buffer: u64,
    pub(super) file: Seq,
    /// The number of the filter's set.
    pub(super) set: u64,
}

/// The sealed segments `first` through `last` of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NewestKey {
    pub(super) buffer: u64,
    pub(super) last: Seq,
    pub(super) first: Seq,
}

/// 256 neighbouring subtrees of 2^`level` leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockKey {
    pub(super) buffer: u64,
    pub(super) level: u32,
    pub(super) group: u64,
}

/// The roots of a block that are known, `from` being the place of the first of them.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) from: usize,
    pub(super) roots: Vec<Hash>,
}

/// The state that the readers of all buffers share. One for a process.
pub struct ReadShared {
    files: Mutex<Lru<FileKey, Arc<File>>>,
    indexes: Mutex<Lru<FileKey, Arc<Mutex<SegmentIndex>>>>,
    blocks: Mutex<Lru<BlockKey, Arc<Block>>>,
    books: Mutex<Lru<u64, Arc<Mutex<Book>>>>,
    terms: Mutex<Lru<FileKey, Arc<SegmentTerms>>>,
    newest: Mutex<Lru<NewestKey, Arc<SealedNewest>>>,
    matched: Mutex<Lru<MatchedKey, Arc<Bits>>>,
    looked: Mutex<Lru<LookedKey, Looked>>,
    spare: Mutex<Vec<Vec<u8>>>,
    pub(super) disk: Arc<Semaphore>,
    pub(super) ahead: Arc<Semaphore>,
    pub(super) tail_bytes: AtomicUsize,
    buffers: AtomicU64,
}

impl ReadShared {
    /// Caches that are empty.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            files: Mutex::new(Lru::new(READ_FILES_MAX)),
            indexes: Mutex::new(Lru::new(INDEX_MEMORY_MAX)),
            blocks: Mutex::new(Lru::new(TREE_MEMORY_MAX)),
            books: Mutex::new(Lru::new(TAG_MEMORY_MAX)),
            terms: Mutex::new(Lru::new(TERMS_MEMORY_MAX)),
            newest: Mutex::new(Lru::new(LATEST_MEMORY_MAX)),
            matched: Mutex::new(Lru::new(MATCHED_MEMORY_MAX)),
            looked: Mutex::new(Lru::new(LOOKED_MEMORY_MAX)),
            spare: Mutex::default(),
            disk: Arc::new(Semaphore::new(DISK_READS_MAX)),
            ahead: Arc::new(Semaphore::new(READ_AHEAD_MAX)),
            tail_bytes: AtomicUsize::new(0),
            buffers: AtomicU64::new(0),
        })
    }

    /// A number for a buffer that no other has had in this process.
    pub(super) fn number(&self) -> u64 {
        self.buffers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn files(&self) -> MutexGuard<'_, Lru<FileKey, Arc<File>>> {
        lock(&self.files)
    }

    pub(super) fn indexes(&self) -> MutexGuard<'_, Lru<FileKey, Arc<Mutex<SegmentIndex>>>> {
        lock(&self.indexes)
    }

    pub(super) fn blocks(&self) -> MutexGuard<'_, Lru<BlockKey, Arc<Block>>> {
        lock(&self.blocks)
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Lru<u64, Arc<Mutex<Book>>>> {
        lock(&self.books)
    }

    pub(super) fn terms(&self) -> MutexGuard<'_, Lru<FileKey, Arc<SegmentTerms>>> {
        lock(&self.terms)
    }

    pub(super) fn newest(&self) -> MutexGuard<'_, Lru<NewestKey, Arc<SealedNewest>>> {
        lock(&self.newest)
    }

    pub(super) fn matched(&self) -> MutexGuard<'_, Lru<MatchedKey, Arc<Bits>>> {
        lock(&self.matched)
    }

    pub(super) fn looked(&self) -> MutexGuard<'_, Lru<LookedKey, Looked>> {
        lock(&self.looked)
    }

    /// Forgets the files `from` through `through` of a buffer: they were removed or replaced.
    pub(super) fn forget_files(&self, buffer: u64, from: Seq, through: Seq) {
        let first = FileKey {
            buffer,
            file: from,
            kind: FileKind::Segment,
        };
        let last = FileKey {
            buffer,
            file: through,
            kind: FileKind::Ids,
        };
        self.files().remove_range(first..=last);
        self.indexes().remove_range(first..=last);
        self.terms().remove_range(first..=last);
        let matched = |file, set| MatchedKey { buffer, file, set };
        self.matched()
            .remove_range(matched(from, 0)..=matched(through, u64::MAX));
        let newest = |file| NewestKey {
            buffer,
            last: file,
            first: Seq::ZERO,
        };
        self.newest()
            .remove_range(newest(Seq::ZERO)..=newest(Seq(u64::MAX)));
    }

    /// Forgets all of a buffer.
    pub(super) fn forget(&self, buffer: u64) {
        self.forget_files(buffer, Seq::ZERO, Seq(u64::MAX));
        let first = BlockKey {
            buffer,
            level: 0,
            group: 0,
        };
        let last = BlockKey {
            buffer,
            level: u32::MAX,
            group: u64::MAX,
        };
        self.blocks().remove_range(first..=last);
        self.books().remove(buffer);
        let looked = |consumer| LookedKey { buffer, consumer };
        let (first, last) = (Uuid([0; 16]), Uuid([0xff; 16]));
        self.looked().remove_range(looked(first)..=looked(last));
    }

    #[cfg(test)]
    pub(super) fn spares(&self) -> usize {
        lock(&self.spare).len()
    }

    /// Memory for one piece; what was used before saves its page faults.
    pub(super) fn spare(self: &Arc<Self>) -> PieceMemory {
        let bytes = lock(&self.spare)
            .pop()
            .unwrap_or_else(|| vec![0; PIECE_BYTES]);
        PieceMemory {
            bytes,
            filled: 0,
            shared: Arc::clone(self),
        }
    }
}

/// The memory of one piece, given back when its last reader lets go.
pub(super) struct PieceMemory {
    /// [`PIECE_BYTES`], always: nothing is cleared before it is overwritten.
    bytes: Vec<u8>,
    filled: usize,
    shared: Arc<ReadShared>,
}

impl PieceMemory {
    /// Reads up to `want` bytes from `offset` on.
    pub(super) fn fill(&mut self, file: &File, offset: u64, want: usize) -> io::Result<()> {
        self.filled = 0;
        self.filled = read_at(file, &mut self.bytes[..want.min(PIECE_BYTES)], offset)?;
        Ok(())
    }

    /// The same, but only if nothing must be waited for; false when that is not known to be so.
    pub(super) fn fill_now(&mut self, file: &File, offset: u64, want: usize) -> bool {
        let want = want.min(PIECE_BYTES);
        let slices = &mut [IoSliceMut::new(&mut self.bytes[..want])];
        let read = rustix::io::preadv2(file, slices, offset, ReadWriteFlags::NOWAIT);
        self.filled = if read == Ok(want) { want } else { 0 };
        self.filled > 0
    }

    /// Lets go of what is behind `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }
}

impl AsRef<[u8]> for PieceMemory {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for PieceMemory {
    fn drop(&mut self) {
        let mut spare = lock(&self.shared.spare);
        if spare.len() < SPARE_PIECES_MAX {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// Locks what only caches: a thread that panicked in between left nothing half done that matters.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
