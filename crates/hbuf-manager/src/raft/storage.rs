//! What the library reads: the log in memory, as it is or will be on disk.
//!
//! It runs ahead of the disk: the library may read what is on its way there, and learns only by
//! `on_persist_ready` what is durable (P3). Bounded by compaction to a window behind `applied`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ::raft::eraftpb::{Entry, HardState, Snapshot};
use ::raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

use super::members::Members;

/// The log of one member in memory. A clone is a copy of all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mirror {
    pub(super) hard: HardState,
    /// The last index that is no longer here, and its term.
    pub(super) before: (u64, u64),
    pub(super) entries: VecDeque<Entry>,
    /// The index up to which the state is, and its term.
    pub(super) applied: (u64, u64),
    /// The members as of `applied`: not the newest ones of the log (P6).
    pub(super) members: Members,
}

impl Mirror {
    pub(super) fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.before.0 {
            return Some(self.before.1);
        }
        self.entry(index).map(|entry| entry.term)
    }

    pub(super) fn entry(&self, index: u64) -> Option<&Entry> {
        let at = index.checked_sub(self.before.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Takes entries; the first one ends whatever stood at its index and behind (P4).
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else {
            return;
        };
        assert!(
            first.index > self.before.0,
            "an entry before the log's start"
        );
        assert!(first.index <= self.last() + 1, "a gap in the log");
        let keep = usize::try_from(first.index - self.before.0 - 1).expect("the log is in memory");
        self.entries.truncate(keep);
        self.entries.extend(entries.iter().cloned());
    }

    /// Starts anew behind a snapshot: log, applied index, term and members in one step (P5).
    pub(super) fn install(&mut self, index: u64, term: u64, members: Members) {
        self.before = (index, term);
        self.applied = (index, term);
        self.entries.clear();
        self.members = members;
        self.hard.commit = self.hard.commit.max(index);
    }

    pub(super) fn set_applied(&mut self, index: u64) {
        let term = self.term_at(index).expect("what is applied is in the log");
        assert!(index >= self.applied.0, "the applied index only rises");
        self.applied = (index, term);
    }

    /// Drops entries up to `index`, which must be applied.
    pub(super) fn compact(&mut self, index: u64) {
        let index = index.min(self.applied.0);
        let Some(term) = self.term_at(index).filter(|_| index > self.before.0) else {
            return;
        };
        let count = usize::try_from(index - self.before.0).expect("the log is in memory");
        self.entries.drain(..count);
        self.before = (index, term);
    }

    /// The entries behind an index.
    pub(super) fn behind(&self, index: u64) -> Vec<Entry> {
        let start = index.saturating_sub(self.before.0);
        let start = usize::try_from(start).expect("the log is in memory");
        self.entries.iter().skip(start).cloned().collect()
    }
}

impl Storage for Mirror {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard.clone(), self.members.conf_state()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.before.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let budget = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let mut out = Vec::new();
        for entry in (low..high).filter_map(|index| self.entry(index)) {
            bytes += (entry.data.len() + entry.context.len() + 32) as u64;
            if bytes > budget && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index < self.before.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.term_at(index)
            .ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    /// P6: at the *applied* index with the members as of it, never below what was asked for. The
    /// state itself is added by whoever sends it.
    fn snapshot(&self, request_index: u64, _: u64) -> Result<Snapshot> {
        let (index, term) = self.applied;
        if index == 0 || index < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        meta.index = index;
        meta.term = term;
        meta.set_conf_state(self.members.conf_state());
        snapshot.data = self.members.encode().into();
        Ok(snapshot)
    }
}
