//! A log as its roles hand it on.

use super::epochs::Epochs;
use crate::ids::Seq;

/// A log as a role takes it over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// The first seq that it holds: a copy that began at the tail lacks what is before.
    pub from: Seq,
    /// Its end.
    pub end: Seq,
    /// The last seq that a crash would leave.
    pub durable: Seq,
    /// What is known as committed.
    pub commit: Seq,
    /// The epochs of its records.
    pub epochs: Epochs,
}

impl Default for Log {
    /// A log without a record.
    fn default() -> Self {
        Self {
            from: Seq::FIRST,
            end: Seq::ZERO,
            durable: Seq::ZERO,
            commit: Seq::ZERO,
            epochs: Epochs::default(),
        }
    }
}

impl Log {
    /// A log of which the records behind `at` are still to come; what is before was committed.
    #[must_use]
    pub const fn behind(at: Seq, epochs: Epochs) -> Self {
        Self {
            from: at.next(),
            end: at,
            durable: at,
            commit: at,
            epochs,
        }
    }

    /// Cuts it back to `end`.
    pub(super) fn cut(&mut self, end: Seq) {
        if end < self.from.prev() {
            // Not even what it began behind is right: nothing of it is left.
            *self = Self::default();
            return;
        }
        self.end = end;
        self.durable = self.durable.min(end);
        // Also the epochs without a record, in which this node was primary itself: records of
        // earlier ones may follow.
        self.epochs.cut(end);
    }
}
