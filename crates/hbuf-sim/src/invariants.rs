//! What must hold in every run. The names are stable: bugs, tests and pages refer to them.

/// An invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// See [`Invariant::about`]; so for all of them.
    AckedNeverLost,
    /// …
    SeqDenseUnique,
    /// …
    BytesEqual,
    /// …
    CommitMonotonic,
    /// …
    AckNeverAheadOfDisk,
    /// …
    NoDupAppend,
    /// …
    HashChainIntact,
    /// …
    BatchAllOrNothing,
    /// …
    ClosedStaysClosed,
    /// …
    PauseMeansNoChange,
    /// …
    RetentionKeepsWhatItMust,
    /// …
    FenceRespected,
    /// …
    TimeNeverDecreases,
    /// …
    NoFalseDamage,
    /// …
    EveryAskAnswered,
    /// …
    StatsEqualRecount,
    /// …
    TopicInOrder,
    /// …
    MirrorFollows,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::AckedNeverLost,
        Self::SeqDenseUnique,
        Self::BytesEqual,
        Self::CommitMonotonic,
        Self::AckNeverAheadOfDisk,
        Self::NoDupAppend,
        Self::HashChainIntact,
        Self::BatchAllOrNothing,
        Self::ClosedStaysClosed,
        Self::PauseMeansNoChange,
        Self::RetentionKeepsWhatItMust,
        Self::FenceRespected,
        Self::TimeNeverDecreases,
        Self::NoFalseDamage,
        Self::EveryAskAnswered,
        Self::StatsEqualRecount,
        Self::TopicInOrder,
        Self::MirrorFollows,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().0
    }

    /// What it says.
    #[must_use]
    pub const fn about(self) -> &'static str {
        self.entry().1
    }

    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::AckedNeverLost => (
                "acked-never-lost",
                "a message acknowledged as durable is in the log after every crash, or its damage is reported",
            ),
            Self::SeqDenseUnique => (
                "seq-dense-unique",
                "the kept seqs are in the files once each, in order, with nothing behind the end",
            ),
            Self::BytesEqual => ("bytes-equal", "every record holds what its client sent"),
            Self::CommitMonotonic => (
                "commit-monotonic",
                "what readers were shown is never taken back",
            ),
            Self::AckNeverAheadOfDisk => (
                "ack-never-ahead-of-disk",
                "an answer that says durable comes after the sync",
            ),
            Self::NoDupAppend => (
                "no-dup-append",
                "a producer's number and an idempotency key stand in the log once, and repeating gets the first answer",
            ),
            Self::HashChainIntact => (
                "hash-chain-intact",
                "every id follows from its record, every head holds the tree of what is before it",
            ),
            Self::BatchAllOrNothing => (
                "batch-all-or-nothing",
                "a batch is in the log whole or not at all",
            ),
            Self::ClosedStaysClosed => ("closed-stays-closed", "a closed buffer gets no message"),
            Self::PauseMeansNoChange => (
                "pause-means-no-change",
                "while a buffer is paused, its segments and cursors do not change",
            ),
            Self::RetentionKeepsWhatItMust => (
                "retention-keeps-what-it-must",
                "retention drops only what is committed and beyond its bound",
            ),
            Self::FenceRespected => (
                "fence-respected",
                "what the journal held before a fence never comes back",
            ),
            Self::TimeNeverDecreases => (
                "time-never-decreases",
                "server time never goes back within a buffer",
            ),
            Self::NoFalseDamage => (
                "no-false-damage",
                "damage is reported only where something rotted",
            ),
            Self::EveryAskAnswered => (
                "every-ask-answered",
                "when the faults have ended, every request gets its answer",
            ),
            Self::StatsEqualRecount => (
                "stats-equal-recount",
                "a counter equals the recount of its events",
            ),
            Self::TopicInOrder => (
                "topic-in-order",
                "a read over all buffers gives each committed message once, the earliest first",
            ),
            Self::MirrorFollows => (
                "mirror-follows",
                "a mirror's log holds what its tags let through of its origin, in order, once",
            ),
        }
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
    /// The number of the event at which it was seen.
    pub event: u64,
}
