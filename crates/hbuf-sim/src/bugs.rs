//! Wrong rules and wrong shells, made only here, to see each invariant fail.
//!
//! An invariant that was never seen to fail proves nothing: for each there is a bug that breaks it,
//! and a test that finds it within a few seeds.

use hbuf_core::rules::Rules;

use crate::invariants::Invariant;

/// Something done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// See [`Bug::about`]; so for all of them.
    AckBeforeSync,
    /// …
    ReadBeforeSync,
    /// …
    HalfBatch,
    /// …
    NoFence,
    /// …
    ForgetDedupe,
    /// …
    AppendToClosed,
    /// …
    AppendToPaused,
    /// …
    RetainUncommitted,
    /// …
    TimeGoesBack,
    /// …
    CutDamage,
    /// …
    NoNameSync,
    /// …
    MarkAhead,
    /// …
    SwapBodies,
    /// …
    OtherBody,
    /// …
    RepairTwice,
    /// …
    ForgetSync,
    /// …
    CountReplays,
    /// …
    MergeBlindly,
    /// …
    MirrorForgets,
    /// …
    CutAtGap,
    /// …
    CursorsLost,
    /// …
    AckedInMemory,
    /// …
    NackDone,
    /// …
    LeasesStay,
    /// …
    UncommittedGiven,
    /// …
    PausedGives,
    /// …
    LeaseShared,
    /// …
    InFlightIgnored,
    /// …
    KeysIgnored,
    /// …
    DeliveriesIgnored,
    /// …
    DeliveredEarly,
    /// …
    GivenUpEarly,
    /// …
    LetterLost,
    /// …
    DropHeldJournal,
    /// …
    CutCursors,
    /// …
    PassedUnrecorded,
    /// …
    FailedLookPasses,
    /// …
    FilterStale,
    /// …
    FilterUnsynced,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 39] = [
        Self::AckBeforeSync,
        Self::ReadBeforeSync,
        Self::HalfBatch,
        Self::NoFence,
        Self::ForgetDedupe,
        Self::AppendToClosed,
        Self::AppendToPaused,
        Self::RetainUncommitted,
        Self::TimeGoesBack,
        Self::CutDamage,
        Self::NoNameSync,
        Self::MarkAhead,
        Self::SwapBodies,
        Self::OtherBody,
        Self::RepairTwice,
        Self::ForgetSync,
        Self::CountReplays,
        Self::MergeBlindly,
        Self::MirrorForgets,
        Self::CutAtGap,
        Self::CursorsLost,
        Self::AckedInMemory,
        Self::NackDone,
        Self::LeasesStay,
        Self::UncommittedGiven,
        Self::PausedGives,
        Self::LeaseShared,
        Self::InFlightIgnored,
        Self::KeysIgnored,
        Self::DeliveriesIgnored,
        Self::DeliveredEarly,
        Self::GivenUpEarly,
        Self::LetterLost,
        Self::DropHeldJournal,
        Self::CutCursors,
        Self::PassedUnrecorded,
        Self::FailedLookPasses,
        Self::FilterStale,
        Self::FilterUnsynced,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().0
    }

    /// What is wrong.
    #[must_use]
    pub const fn about(self) -> &'static str {
        self.entry().1
    }

    /// The invariant that it breaks.
    #[must_use]
    pub const fn breaks(self) -> Invariant {
        self.entry().2
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }

    /// The row of this variant; rows stand in the order of the variants.
    const fn entry(self) -> (&'static str, &'static str, Invariant) {
        let row = TABLE[self as usize];
        (row.1, row.2, row.3)
    }
}

/// The rules of a run: the product's, but for what the bug bends.
pub(crate) fn rules(bug: Option<Bug>) -> Rules {
    let mut rules = Rules::correct();
    match bug {
        Some(Bug::AckBeforeSync | Bug::ReadBeforeSync) => rules.commit_waits_for_disk = false,
        Some(Bug::HalfBatch) => rules.batch_stays_whole = false,
        Some(Bug::NoFence) => rules.replay_respects_fence = false,
        Some(Bug::ForgetDedupe) => rules.dedupe_survives_restart = false,
        Some(Bug::AppendToClosed) => rules.closed_refuses = false,
        Some(Bug::AppendToPaused) => rules.paused_refuses = false,
        Some(Bug::RetainUncommitted) => rules.retention_spares_uncommitted = false,
        Some(Bug::TimeGoesBack) => rules.time_never_decreases = false,
        Some(Bug::CutDamage) => rules.damage_below_commit_is_corruption = false,
        Some(Bug::MergeBlindly) => rules.merge_looks_at_all = false,
        Some(Bug::MirrorForgets) => rules.mirror_resumes_from_its_log = false,
        Some(Bug::CutAtGap) => rules.gap_in_journal_proves = false,
        Some(Bug::CursorsLost) => rules.cursors_survive_restart = false,
        Some(Bug::AckedInMemory) => rules.consumer_answers_wait_for_disk = false,
        Some(Bug::NackDone) => rules.nacked_stays_open = false,
        Some(Bug::LeasesStay) => rules.leases_lapse = false,
        Some(Bug::UncommittedGiven) => rules.consumers_see_commits_only = false,
        Some(Bug::PausedGives) => rules.consumers_stand_still_while_paused = false,
        Some(Bug::LeaseShared) => rules.leases_exclude = false,
        Some(Bug::InFlightIgnored) => rules.in_flight_is_bounded = false,
        Some(Bug::KeysIgnored) => rules.order_by_key_holds = false,
        Some(Bug::DeliveriesIgnored) => rules.deliveries_are_bounded = false,
        Some(Bug::GivenUpEarly) => rules.given_up_when_spent = false,
        Some(Bug::CutCursors) => rules.cursors_damage_is_corruption = false,
        Some(Bug::PassedUnrecorded) => rules.passed_acks_are_recorded = false,
        Some(Bug::FailedLookPasses) => rules.failed_looks_pass_nothing = false,
        Some(Bug::DeliveredEarly) => rules.deliver_at_holds = false,
        Some(
            Bug::NoNameSync
            | Bug::MarkAhead
            | Bug::SwapBodies
            | Bug::OtherBody
            | Bug::RepairTwice
            | Bug::ForgetSync
            | Bug::CountReplays
            | Bug::LetterLost
            | Bug::DropHeldJournal
            | Bug::FilterStale
            | Bug::FilterUnsynced,
        )
        | None => {}
    }
    rules
}

/// What is known of each variant, in their order.
const TABLE: [(Bug, &str, &str, Invariant); 39] = [
    (
        Bug::AckBeforeSync,
        "ack-before-sync",
        "answers do not wait for the disk",
        Invariant::AckNeverAheadOfDisk,
    ),
    (
        Bug::ReadBeforeSync,
        "read-before-sync",
        "readers see what is not on disk",
        Invariant::CommitMonotonic,
    ),
    (
        Bug::HalfBatch,
        "half-batch",
        "recovery keeps the first part of a torn batch",
        Invariant::BatchAllOrNothing,
    ),
    (
        Bug::NoFence,
        "no-fence",
        "replay applies journal entries below the fence",
        Invariant::FenceRespected,
    ),
    (
        Bug::ForgetDedupe,
        "forget-dedupe",
        "producers and keys are forgotten at a restart",
        Invariant::NoDupAppend,
    ),
    (
        Bug::AppendToClosed,
        "append-to-closed",
        "a closed buffer takes messages",
        Invariant::ClosedStaysClosed,
    ),
    (
        Bug::AppendToPaused,
        "append-to-paused",
        "a paused buffer takes messages",
        Invariant::PauseMeansNoChange,
    ),
    (
        Bug::RetainUncommitted,
        "retain-uncommitted",
        "retention drops what is not committed",
        Invariant::RetentionKeepsWhatItMust,
    ),
    (
        Bug::TimeGoesBack,
        "time-goes-back",
        "records carry the clock as it is",
        Invariant::TimeNeverDecreases,
    ),
    (
        Bug::CutDamage,
        "cut-damage",
        "recovery cuts the log at damage, whatever was acknowledged",
        Invariant::AckedNeverLost,
    ),
    (
        Bug::NoNameSync,
        "no-name-sync",
        "new files' directories are not synced",
        Invariant::AckNeverAheadOfDisk,
    ),
    (
        Bug::MarkAhead,
        "mark-ahead",
        "a mark is written before what it covers is synced",
        Invariant::NoFalseDamage,
    ),
    (
        Bug::SwapBodies,
        "swap-bodies",
        "two bodies of a batch change places on the way to the disk",
        Invariant::HashChainIntact,
    ),
    (
        Bug::OtherBody,
        "other-body",
        "a body changes before it is committed to",
        Invariant::BytesEqual,
    ),
    (
        Bug::RepairTwice,
        "repair-twice",
        "recovery writes a journal entry twice",
        Invariant::SeqDenseUnique,
    ),
    (
        Bug::ForgetSync,
        "forget-sync",
        "now and then the shard is not told of a sync",
        Invariant::EveryAskAnswered,
    ),
    (
        Bug::CountReplays,
        "count-replays",
        "repeated appends count as new messages",
        Invariant::StatsEqualRecount,
    ),
    (
        Bug::MergeBlindly,
        "merge-blindly",
        "a read over all buffers does not wait until the next message of each is known",
        Invariant::TopicInOrder,
    ),
    (
        Bug::MirrorForgets,
        "mirror-forgets",
        "a mirror begins anew after a restart, whatever its log holds",
        Invariant::MirrorFollows,
    ),
    (
        Bug::CutAtGap,
        "cut-at-gap",
        "recovery cuts the log before a gap in the journal, whatever was acknowledged there",
        Invariant::AckedNeverLost,
    ),
    (
        Bug::CursorsLost,
        "cursors-lost",
        "how far consumers have come is forgotten at a restart",
        Invariant::AckedNeverAgain,
    ),
    (
        Bug::AckedInMemory,
        "acked-in-memory",
        "an ack is answered before it is on disk",
        Invariant::AckedNeverAgain,
    ),
    (
        Bug::NackDone,
        "nack-done",
        "the cursor passes what was given back",
        Invariant::ConsumerPassesNothing,
    ),
    (
        Bug::LeasesStay,
        "leases-stay",
        "a lease that lapses is forgotten, and its message with it",
        Invariant::ConsumerPassesNothing,
    ),
    (
        Bug::UncommittedGiven,
        "uncommitted-given",
        "consumers are handed what is not committed",
        Invariant::ConsumerWithinCommit,
    ),
    (
        Bug::PausedGives,
        "paused-gives",
        "consumers of a paused buffer go on",
        Invariant::PauseStopsConsumers,
    ),
    (
        Bug::LeaseShared,
        "lease-shared",
        "a leased message is handed to the next worker too",
        Invariant::LeaseExclusive,
    ),
    (
        Bug::InFlightIgnored,
        "in-flight-ignored",
        "more is leased than may be",
        Invariant::InFlightBounded,
    ),
    (
        Bug::KeysIgnored,
        "keys-ignored",
        "a message does not wait for the earlier ones of its key",
        Invariant::KeyInOrder,
    ),
    (
        Bug::DeliveriesIgnored,
        "deliveries-ignored",
        "a message is handed out more often than it may be",
        Invariant::DeliveriesBounded,
    ),
    (
        Bug::DeliveredEarly,
        "delivered-early",
        "a message is handed out before its time",
        Invariant::NotBeforeItsTime,
    ),
    (
        Bug::GivenUpEarly,
        "given-up-early",
        "a message is given up one delivery before its last",
        Invariant::GivenUpByRule,
    ),
    (
        Bug::LetterLost,
        "letter-lost",
        "a dead letter counts as put away before it is",
        Invariant::DeadLetterOnce,
    ),
    (
        Bug::DropHeldJournal,
        "drop-held-journal",
        "a start lets go of the journal that answers for what it did not sync",
        Invariant::AckedNeverLost,
    ),
    (
        Bug::CutCursors,
        "cut-cursors",
        "recovery cuts the cursors log at damage, whatever was acked there",
        Invariant::AckedNeverAgain,
    ),
    (
        Bug::PassedUnrecorded,
        "passed-unrecorded",
        "an ack of what the filter passed is answered with nothing on record",
        Invariant::AckedNeverAgain,
    ),
    (
        Bug::FailedLookPasses,
        "failed-look-passes",
        "a look that fails, as without the stored filter, passes what it was to look at",
        Invariant::ConsumerPassesNothing,
    ),
    (
        Bug::FilterStale,
        "filter-stale",
        "looks go by a stored filter as it was first read",
        Invariant::FilterOfItsTime,
    ),
    (
        Bug::FilterUnsynced,
        "filter-unsynced",
        "a filter gets its name before its bytes are on disk",
        Invariant::FiltersKept,
    ),
];

in_order_of_variants!(TABLE);
