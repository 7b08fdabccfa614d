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
    /// …
    AckedNeverAgain,
    /// …
    ConsumerPassesNothing,
    /// …
    ConsumerWithinCommit,
    /// …
    PauseStopsConsumers,
    /// …
    LeaseExclusive,
    /// …
    InFlightBounded,
    /// …
    KeyInOrder,
    /// …
    DeliveriesBounded,
    /// …
    NotBeforeItsTime,
    /// …
    GivenUpByRule,
    /// …
    DeadLetterOnce,
    /// …
    FilterOfItsTime,
    /// …
    FiltersKept,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 31] = [
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
        Self::AckedNeverAgain,
        Self::ConsumerPassesNothing,
        Self::ConsumerWithinCommit,
        Self::PauseStopsConsumers,
        Self::LeaseExclusive,
        Self::InFlightBounded,
        Self::KeyInOrder,
        Self::DeliveriesBounded,
        Self::NotBeforeItsTime,
        Self::GivenUpByRule,
        Self::DeadLetterOnce,
        Self::FilterOfItsTime,
        Self::FiltersKept,
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

    /// The row of this variant; rows stand in the order of the variants.
    const fn entry(self) -> (&'static str, &'static str) {
        let row = TABLE[self as usize];
        (row.1, row.2)
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

/// What is known of each variant, in their order.
const TABLE: [(Invariant, &str, &str); 31] = [
    (
        Invariant::AckedNeverLost,
        "acked-never-lost",
        "a message acknowledged as durable is in the log after every crash, or its damage is reported",
    ),
    (
        Invariant::SeqDenseUnique,
        "seq-dense-unique",
        "the kept seqs are in the files once each, in order, with nothing behind the end",
    ),
    (
        Invariant::BytesEqual,
        "bytes-equal",
        "every record holds what its client sent",
    ),
    (
        Invariant::CommitMonotonic,
        "commit-monotonic",
        "what readers were shown is never taken back",
    ),
    (
        Invariant::AckNeverAheadOfDisk,
        "ack-never-ahead-of-disk",
        "an answer that says durable comes after the sync",
    ),
    (
        Invariant::NoDupAppend,
        "no-dup-append",
        "a producer's number and an idempotency key stand in the log once, and repeating gets the first answer",
    ),
    (
        Invariant::HashChainIntact,
        "hash-chain-intact",
        "every id follows from its record, every head holds the tree of what is before it",
    ),
    (
        Invariant::BatchAllOrNothing,
        "batch-all-or-nothing",
        "a batch is in the log whole or not at all",
    ),
    (
        Invariant::ClosedStaysClosed,
        "closed-stays-closed",
        "a closed buffer gets no message",
    ),
    (
        Invariant::PauseMeansNoChange,
        "pause-means-no-change",
        "while a buffer is paused, its segments and cursors do not change",
    ),
    (
        Invariant::RetentionKeepsWhatItMust,
        "retention-keeps-what-it-must",
        "retention drops only what is committed and beyond its bound",
    ),
    (
        Invariant::FenceRespected,
        "fence-respected",
        "what the journal held before a fence never comes back",
    ),
    (
        Invariant::TimeNeverDecreases,
        "time-never-decreases",
        "server time never goes back within a buffer",
    ),
    (
        Invariant::NoFalseDamage,
        "no-false-damage",
        "damage is reported only where something rotted",
    ),
    (
        Invariant::EveryAskAnswered,
        "every-ask-answered",
        "when the faults have ended, every request gets its answer",
    ),
    (
        Invariant::StatsEqualRecount,
        "stats-equal-recount",
        "a counter equals the recount of its events",
    ),
    (
        Invariant::TopicInOrder,
        "topic-in-order",
        "a read over all buffers gives each committed message once, the earliest first",
    ),
    (
        Invariant::MirrorFollows,
        "mirror-follows",
        "a mirror's log holds what its tags let through of its origin, in order, once",
    ),
    (
        Invariant::AckedNeverAgain,
        "acked-never-again",
        "a message whose ack was answered is not handed out again, unless the consumer is moved or damage is told",
    ),
    (
        Invariant::ConsumerPassesNothing,
        "consumer-passes-nothing",
        "a consumer's cursor passes what is done only, and in the end all that it takes was handed out, and nothing else",
    ),
    (
        Invariant::ConsumerWithinCommit,
        "consumer-within-commit",
        "a consumer hands out and passes only what is committed",
    ),
    (
        Invariant::PauseStopsConsumers,
        "pause-stops-consumers",
        "while a buffer is paused, its consumers hand out nothing and their cursors stand still",
    ),
    (
        Invariant::LeaseExclusive,
        "lease-exclusive",
        "while a lease runs, nobody else gets its message, and its worker's word counts",
    ),
    (
        Invariant::InFlightBounded,
        "in-flight-bounded",
        "no more messages are leased at the same time than the consumer is set to",
    ),
    (
        Invariant::KeyInOrder,
        "key-in-order",
        "where a consumer keeps the order of keys, a message waits until every earlier one of its key is done",
    ),
    (
        Invariant::DeliveriesBounded,
        "deliveries-bounded",
        "a message is handed out at most as often as the consumer is set to, and its count goes on from what is on disk",
    ),
    (
        Invariant::NotBeforeItsTime,
        "not-before-its-time",
        "a message is not handed out before its time of delivery, nor before the end of a nack's delay",
    ),
    (
        Invariant::GivenUpByRule,
        "given-up-by-rule",
        "a message is given up only when it was handed out as often as it may be or is too old, and is not handed out once put away",
    ),
    (
        Invariant::DeadLetterOnce,
        "dead-letter-once",
        "what is given up is in the dead-letter buffer once, as it was and with the reason",
    ),
    (
        Invariant::FilterOfItsTime,
        "filter-of-its-time",
        "a consumer is handed only what its filter took when the message was looked at, and nothing while there is no such filter",
    ),
    (
        Invariant::FiltersKept,
        "filters-kept",
        "behind a crash a stored filter is as it was left: an answered change holds, another is there whole or not at all",
    ),
];

in_order_of_variants!(TABLE);
