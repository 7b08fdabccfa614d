//! What is checked of a log, by names that stay, and what was found wrong.

use std::collections::BTreeMap;
use std::fmt;

use super::operation::OpId;

/// Something that must hold for the logs of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// See [`Check::about`]; so for all of them.
    AckedNeverLost,
    /// …
    BytesEqual,
    /// …
    RealTimeOrder,
    /// …
    SeqDenseUnique,
    /// …
    EpochMonotonic,
    /// …
    PrefixAgreement,
    /// …
    NoDupAppend,
    /// …
    SeqAsTold,
    /// …
    UnknownIsMaybe,
    /// …
    FailedNeverThere,
    /// …
    NothingFromNowhere,
    /// …
    BatchAllOrNothing,
    /// …
    ReadIsASlice,
    /// …
    CommitMonotonic,
    /// …
    TailIsFresh,
    /// …
    TailNeverGoesBack,
    /// …
    HistoryStatesItsLoss,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::AckedNeverLost,
        Self::BytesEqual,
        Self::RealTimeOrder,
        Self::SeqDenseUnique,
        Self::EpochMonotonic,
        Self::PrefixAgreement,
        Self::NoDupAppend,
        Self::SeqAsTold,
        Self::UnknownIsMaybe,
        Self::FailedNeverThere,
        Self::NothingFromNowhere,
        Self::BatchAllOrNothing,
        Self::ReadIsASlice,
        Self::CommitMonotonic,
        Self::TailIsFresh,
        Self::TailNeverGoesBack,
        Self::HistoryStatesItsLoss,
    ];

    /// Its name. A name that a check of the simulator has too means the same.
    #[must_use]
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// What it says.
    #[must_use]
    pub const fn about(self) -> &'static str {
        TABLE[self as usize].2
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// The operations that show it.
    pub operations: Vec<OpId>,
    /// What is wrong, in words.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

/// Most findings of one check that are told; the others are counted.
pub const FINDINGS_TOLD_MAX: u64 = 16;

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The first ones of each check, at most [`FINDINGS_TOLD_MAX`] of each.
    pub told: Vec<Finding>,
    /// How many there are of each check.
    pub counts: BTreeMap<Check, u64>,
}

impl Findings {
    /// True when nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(super) fn add(&mut self, check: Check, operations: &[OpId], what: String) {
        let count = self.counts.entry(check).or_insert(0);
        *count += 1;
        if *count <= FINDINGS_TOLD_MAX {
            self.told.push(Finding {
                check,
                operations: operations.to_vec(),
                what,
            });
        }
    }
}

/// What is known of each variant, in their order.
const TABLE: [(Check, &str, &str); 17] = [
    (
        Check::AckedNeverLost,
        "acked-never-lost",
        "what was acknowledged as in sync is in every in-sync log, unless retention dropped it",
    ),
    (
        Check::BytesEqual,
        "bytes-equal",
        "what is at an acknowledged seq is the message that was sent, with the id and epoch that were told",
    ),
    (
        Check::RealTimeOrder,
        "real-time-order",
        "an append that began after another one was acknowledged, or a tail was shown, comes behind",
    ),
    (
        Check::SeqDenseUnique,
        "seq-dense-unique",
        "a log has each seq once and without gaps, and a seq of a history holds one message for ever",
    ),
    (
        Check::EpochMonotonic,
        "epoch-monotonic",
        "epochs never go back along a log",
    ),
    (
        Check::PrefixAgreement,
        "prefix-agreement",
        "copies hold the same records as far as they know them to be committed",
    ),
    (
        Check::NoDupAppend,
        "no-dup-append",
        "an append is there once, and a repeated one gets the seq of the first",
    ),
    (
        Check::SeqAsTold,
        "seq-as-told",
        "a message that was acknowledged as less than in sync is where its answer said, or nowhere",
    ),
    (
        Check::UnknownIsMaybe,
        "unknown-is-maybe",
        "an append without an answer is there once or not at all",
    ),
    (
        Check::FailedNeverThere,
        "failed-never-there",
        "what was refused is nowhere",
    ),
    (
        Check::NothingFromNowhere,
        "nothing-from-nowhere",
        "what is in a log was sent, and what was shown was sent before",
    ),
    (
        Check::BatchAllOrNothing,
        "batch-all-or-nothing",
        "a batch is there whole and in order or not at all, and is committed at once",
    ),
    (
        Check::ReadIsASlice,
        "read-is-a-slice",
        "a read shows all messages of its range, in order, as they are in the log",
    ),
    (
        Check::CommitMonotonic,
        "commit-monotonic",
        "what readers were shown is never taken back",
    ),
    (
        Check::TailIsFresh,
        "tail-is-fresh",
        "a linearizable read shows a tail no lower than all that was acknowledged or shown before it began",
    ),
    (
        Check::TailNeverGoesBack,
        "tail-never-goes-back",
        "the tail that a client is shown by one copy, or by linearizable reads, never goes back",
    ),
    (
        Check::HistoryStatesItsLoss,
        "history-states-its-loss",
        "every history is stated, and a new one loses no more of the one before than it says",
    ),
];

in_order_of_variants!(TABLE);
