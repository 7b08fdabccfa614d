//! Rules of replication that are bent on purpose, each with the rule of the cluster that it breaks.

use hbuf_core::rules::Rules;

use super::{Invariant, Mood};

/// One thing done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bent {
    /// A copy takes records that do not follow its log.
    GapTaken,
    /// A copy answers for what its disk does not hold yet.
    AckBeforeDisk,
    /// The primary's own disk is enough for a commit.
    AckBeforeInSync,
    /// Who is being added to the in-sync set does not count yet.
    AddedTooLate,
    /// A member is dropped before the manager has said so.
    DroppedTooEarly,
    /// A change of the set that was made for an older version counts.
    LateChange,
    /// When no member is alive any copy becomes the primary.
    UncleanElection,
    /// A new primary begins with what it knows as committed.
    AppointedCut,
    /// A new primary shows the tail before it knows what was committed.
    TailBeforeStart,
    /// A new primary takes in who lacks what primaries before may have committed.
    AddedBelowStart,
    /// A copy takes records of a primary that is none any more.
    NoEpochFence,
    /// A copy cuts its log back to what it knows as committed.
    CutToCommit,
    /// A word that was meant for an earlier life makes a copy cut its log.
    LeadOfOldLife,
    /// A primary goes on in its epoch after a restart.
    ResumedEpoch,
    /// A member is one whatever became of its disk.
    ReusedMember,
    /// The tail is read without asking anybody.
    TailUnasked,
}

impl Bent {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::GapTaken,
        Self::AckBeforeDisk,
        Self::AckBeforeInSync,
        Self::AddedTooLate,
        Self::DroppedTooEarly,
        Self::LateChange,
        Self::UncleanElection,
        Self::AppointedCut,
        Self::TailBeforeStart,
        Self::AddedBelowStart,
        Self::NoEpochFence,
        Self::CutToCommit,
        Self::LeadOfOldLife,
        Self::ResumedEpoch,
        Self::ReusedMember,
        Self::TailUnasked,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GapTaken => "gap-taken",
            Self::AckBeforeDisk => "ack-before-disk",
            Self::LateChange => "late-change",
            Self::UncleanElection => "unclean-election",
            Self::AppointedCut => "appointed-cut",
            Self::LeadOfOldLife => "lead-of-old-life",
            Self::AckBeforeInSync => "ack-before-in-sync",
            Self::AddedTooLate => "added-too-late",
            Self::DroppedTooEarly => "dropped-too-early",
            Self::TailBeforeStart => "tail-before-start",
            Self::AddedBelowStart => "added-below-start",
            Self::NoEpochFence => "no-epoch-fence",
            Self::CutToCommit => "cut-to-commit",
            Self::ResumedEpoch => "resumed-epoch",
            Self::ReusedMember => "reused-member",
            Self::TailUnasked => "tail-unasked",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bent| bent.name() == name)
    }

    /// The rules with this one bent.
    #[must_use]
    pub const fn rules(self) -> Rules {
        let mut rules = Rules::correct();
        match self {
            Self::GapTaken => rules.copies_take_what_follows = false,
            Self::AckBeforeDisk => rules.copies_answer_by_disk = false,
            Self::LateChange => rules.changes_name_their_version = false,
            Self::UncleanElection => rules.only_members_are_appointed = false,
            Self::AppointedCut => rules.appointed_keeps_its_log = false,
            Self::LeadOfOldLife => rules.leads_name_a_life = false,
            Self::AckBeforeInSync => rules.commit_waits_for_in_sync = false,
            Self::AddedTooLate => rules.commit_waits_for_proposed = false,
            Self::DroppedTooEarly => rules.removal_waits_for_manager = false,
            Self::TailBeforeStart => rules.tail_reads_wait_for_the_start = false,
            Self::AddedBelowStart => rules.added_hold_the_start = false,
            Self::NoEpochFence => rules.copies_fence_epochs = false,
            Self::CutToCommit => rules.reconcile_by_epoch = false,
            Self::ResumedEpoch => rules.restart_takes_a_new_epoch = false,
            Self::ReusedMember => rules.members_are_stamped = false,
            Self::TailUnasked => rules.tail_reads_ask_a_round = false,
        }
        rules
    }

    /// In which walks it shows: that of the others takes what it needs too seldom.
    #[must_use]
    pub const fn mood(self) -> Mood {
        match self {
            Self::LeadOfOldLife | Self::LateChange | Self::NoEpochFence => Mood::Stale,
            Self::TailUnasked | Self::TailBeforeStart => Mood::Deaf,
            Self::AddedBelowStart | Self::AddedTooLate => Mood::Churn,
            _ => Mood::Plain,
        }
    }

    /// What must notice it.
    #[must_use]
    pub const fn breaks(self) -> Invariant {
        match self {
            Self::AckBeforeDisk
            | Self::AckBeforeInSync
            | Self::AddedTooLate
            | Self::AddedBelowStart
            | Self::LateChange
            | Self::AppointedCut
            | Self::DroppedTooEarly
            | Self::ReusedMember => Invariant::AckedNeverLost,
            Self::CutToCommit
            | Self::NoEpochFence
            | Self::LeadOfOldLife
            | Self::UncleanElection => Invariant::CommittedNeverCut,
            Self::GapTaken | Self::ResumedEpoch => Invariant::PrefixAgreement,
            Self::TailBeforeStart | Self::TailUnasked => Invariant::TailIsFresh,
        }
    }
}
