//! What a primary and its copies say to each other about one log. Records travel beside it.

use alloc::vec::Vec;

use super::assignment::NodeEpoch;
use super::epochs::Epochs;
use crate::ids::{Epoch, Seq};

/// A record's place: its seq and the epoch that appended it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The seq; `ZERO` before the first record.
    pub seq: Seq,
    /// The epoch; 0 before the first record.
    pub epoch: Epoch,
}

/// A history that a forced election ended (rule 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryEnd {
    /// The last epoch in it.
    pub epoch: Epoch,
    /// The last record that the next history surely has of it: what a copy knew as committed behind
    /// that is lost.
    pub kept_through: Seq,
}

impl HistoryEnd {
    /// Through where the history behind all of these has what was known as committed through
    /// `commit`, when the record there is of this epoch.
    pub(super) fn kept_of(ended: impl IntoIterator<Item = Self>, commit: Seq, epoch: Epoch) -> Seq {
        let lost = ended.into_iter().filter(|end| end.epoch >= epoch);
        lost.map(|end| end.kept_through).fold(commit, Seq::min)
    }
}

/// From a primary to a copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ToCopy {
    /// Asks a copy under which registration it runs.
    Greet {
        /// The primary's epoch.
        epoch: Epoch,
    },
    /// The first word of an epoch: how the primary's log is, so that the copy cuts back what the
    /// primary does not have.
    Lead {
        /// The primary's epoch.
        epoch: Epoch,
        /// For whom it was made. One that was under way to an earlier life of the copy tells how
        /// the log was before that life took more.
        to: NodeEpoch,
        /// The end of its log.
        end: Seq,
        /// The epochs of its log.
        epochs: Epochs,
        /// What it knows as committed.
        commit: Seq,
        /// The histories that forced elections ended, as the manager's record has them.
        ended: Vec<HistoryEnd>,
    },
    /// The copy's log ends so far back that it is to begin anew behind `at`, which is committed.
    /// The tables that a log has behind `at` travel beside it.
    Begin {
        /// The primary's epoch.
        epoch: Epoch,
        /// For whom it was made, as in [`Self::Lead`].
        to: NodeEpoch,
        /// The last record before the first one to come.
        at: Seq,
        /// The epochs of the log through `at`.
        epochs: Epochs,
        /// What of that is committed: the file to come may say again what is not, yet.
        commit: Seq,
    },
    /// A mark of the primary's, which travels beside it with its tables: the copy's log through
    /// `at` is that of which it is, and retention has left nothing below `first`.
    Mark {
        /// The primary's epoch.
        epoch: Epoch,
        /// What it covers; committed.
        at: Seq,
        /// The first seq that is left.
        first: Seq,
    },
    /// Records of before the copy's first, which are committed: those of a segment that ends right
    /// before it, behind `after` through `through`.
    Fill {
        /// The primary's epoch.
        epoch: Epoch,
        /// The segment's first seq.
        first: Seq,
        /// The segment's last seq, or the last one that the copy lacks of it.
        last: Seq,
        /// The records behind this seq,
        after: Seq,
        /// through this one.
        through: Seq,
    },
    /// Records behind `prev` through `through`, possibly none.
    Append {
        /// The primary's epoch.
        epoch: Epoch,
        /// The record before the first.
        prev: Position,
        /// The last of them.
        through: Seq,
        /// Their epochs.
        epochs: Epochs,
        /// What the primary knows as committed.
        commit: Seq,
        /// The newest round of acks that the primary asks for.
        round: u64,
    },
}

impl ToCopy {
    /// The epoch of who sent it.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Greet { epoch }
            | Self::Lead { epoch, .. }
            | Self::Begin { epoch, .. }
            | Self::Mark { epoch, .. }
            | Self::Fill { epoch, .. }
            | Self::Append { epoch, .. } => *epoch,
        }
    }
}

/// What a copy answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FromCopy {
    /// The highest epoch that it has heard of.
    pub epoch: Epoch,
    /// Its registration.
    pub node_epoch: NodeEpoch,
    /// Its tenure in this registration, as in [`super::Assignment::tenures`], as far as it knows of
    /// it. What it says of a lower one than the record has counts for nothing.
    pub tenure: u64,
    /// What it says.
    pub word: Word,
}

impl FromCopy {
    /// The answer of a node that knows a higher epoch.
    #[must_use]
    pub const fn fenced(epoch: Epoch, node_epoch: NodeEpoch) -> Self {
        Self {
            epoch,
            node_epoch,
            tenure: 0,
            word: Word::Fenced,
        }
    }
}

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// Its log is the beginning of the primary's, and its disk holds it through `durable`.
    Holds {
        /// The first seq that it holds.
        from: Seq,
        /// The last seq that a crash would leave.
        durable: Seq,
        /// What it knows as committed.
        commit: Seq,
        /// The newest round that it was asked for.
        round: u64,
    },
    /// It has the mark of `at`, or one that covers more, or its log does not reach so far.
    Marked {
        /// What the mark covers.
        at: Seq,
    },
    /// It has taken the records of a segment of before its first through this one. They count when
    /// all of it is durable.
    Filled {
        /// The segment's first seq.
        first: Seq,
        /// The last record that it has.
        through: Seq,
    },
    /// The records do not follow its log, which ends at `end`: send those behind it.
    Gap {
        /// The end of its log.
        end: Seq,
    },
    /// It has not heard the first word of this epoch, or not since it started.
    NotLed,
    /// It knows a higher epoch: the primary is none any more.
    Fenced,
    /// It would have to cut what it knows as committed. It takes nothing more; somebody must look.
    Quarantined,
}
