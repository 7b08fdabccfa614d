//! The registry of events: one name, one sentence, for the trace, the counts and the docs.

use hbuf_core::consumer::Settled;

mod rules;
mod table;

use table::TABLE;

/// Everything that can happen in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// See [`Kind::about`]; so for all of them.
    RunStarted,
    /// …
    NodeStarted,
    /// …
    NodeCrashed,
    /// …
    BufferOpened,
    /// …
    BufferDamaged,
    /// …
    AppendAsked,
    /// …
    AppendFramed,
    /// …
    AppendAcked,
    /// …
    AppendReplayed,
    /// …
    AppendRefused,
    /// …
    AppendUnknown,
    /// …
    CommitAdvanced,
    /// …
    StateAsked,
    /// …
    StateReached,
    /// …
    RetentionRan,
    /// …
    SegmentsDropped,
    /// …
    CursorsDropped,
    /// …
    CheckpointAsked,
    /// …
    RollAsked,
    /// …
    BackupTaken,
    /// …
    BackupRestored,
    /// …
    ClockJumped,
    /// …
    DiskWrote,
    /// …
    DiskCut,
    /// …
    DiskRemoved,
    /// …
    DiskSynced,
    /// …
    DiskSyncedNames,
    /// …
    BatchSynced,
    /// …
    MarkWritten,
    /// …
    DiskFull,
    /// …
    DiskRoom,
    /// …
    DiskSyncFailed,
    /// …
    DiskRotted,
    /// …
    WriteTorn,
    /// …
    WriteLost,
    /// …
    WriteReordered,
    /// …
    NameLost,
    /// …
    TopicRead,
    /// …
    ConsumerCreated,
    /// …
    ConsumerConfigured,
    /// …
    ConsumerDeleted,
    /// …
    ConsumerUnused,
    /// …
    ConsumerBegun,
    /// …
    ConsumerMoved,
    /// …
    ConsumerRefused,
    /// …
    ConsumerUnknown,
    /// …
    ConsumerLooked,
    /// …
    LookFailed,
    /// …
    NextAsked,
    /// …
    NextEmpty,
    /// …
    MessagesGiven,
    /// …
    MessagesReturned,
    /// …
    MessagesForgotten,
    /// …
    SettleAsked,
    /// …
    MessageAcked,
    /// …
    MessageAckedBefore,
    /// …
    MessageNacked,
    /// …
    MessageUnknown,
    /// …
    LeaseExtended,
    /// …
    LeaseLost,
    /// …
    LeaseLapsed,
    /// …
    MessageGivenUp,
    /// …
    LetterPut,
    /// …
    LetterDropped,
    /// …
    LetterFailed,
    /// …
    FilterStored,
    /// …
    FilterRemoved,
    /// …
    FilterRefused,
    /// …
    FilterMissing,
    /// …
    DiskRenamed,
    /// …
    RunEnded,
    /// …
    InvariantBroken,
    /// …
    NodeRegistered,
    /// …
    NodeRefused,
    /// …
    LeaderElected,
    /// …
    CommandProposed,
    /// …
    CommandApplied,
    /// …
    PrimaryAppointed,
    /// …
    PacketSent,
    /// …
    PacketArrived,
    /// …
    PacketLost,
    /// …
    CopyTook,
    /// …
    CopyCut,
    /// …
    CopyBegan,
    /// …
    CopyFilled,
    /// …
    CopyRemoved,
    /// …
    TailAsked,
    /// …
    TailShown,
    /// …
    ActionTaken,
    /// …
    FaultsEnded,
    /// …
    ReadAsked,
    /// …
    ReadShown,
    /// …
    ExpectationHeld,
    /// …
    ExpectationFailed,
    /// …
    NodeStopped,
    /// …
    CoreHealed,
    /// …
    SeekAsked,
}

impl Kind {
    /// Whether it happens only where there are several nodes.
    #[must_use]
    pub const fn of_several_nodes(self) -> bool {
        self as usize > Self::InvariantBroken as usize
    }

    /// All kinds, in the order of the registry.
    pub const ALL: [Self; 97] = [
        Self::RunStarted,
        Self::NodeStarted,
        Self::NodeCrashed,
        Self::BufferOpened,
        Self::BufferDamaged,
        Self::AppendAsked,
        Self::AppendFramed,
        Self::AppendAcked,
        Self::AppendReplayed,
        Self::AppendRefused,
        Self::AppendUnknown,
        Self::CommitAdvanced,
        Self::StateAsked,
        Self::StateReached,
        Self::RetentionRan,
        Self::SegmentsDropped,
        Self::CursorsDropped,
        Self::CheckpointAsked,
        Self::RollAsked,
        Self::BackupTaken,
        Self::BackupRestored,
        Self::ClockJumped,
        Self::DiskWrote,
        Self::DiskCut,
        Self::DiskRemoved,
        Self::DiskSynced,
        Self::DiskSyncedNames,
        Self::BatchSynced,
        Self::MarkWritten,
        Self::DiskFull,
        Self::DiskRoom,
        Self::DiskSyncFailed,
        Self::DiskRotted,
        Self::WriteTorn,
        Self::WriteLost,
        Self::WriteReordered,
        Self::NameLost,
        Self::TopicRead,
        Self::ConsumerCreated,
        Self::ConsumerConfigured,
        Self::ConsumerDeleted,
        Self::ConsumerUnused,
        Self::ConsumerBegun,
        Self::ConsumerMoved,
        Self::ConsumerRefused,
        Self::ConsumerUnknown,
        Self::ConsumerLooked,
        Self::LookFailed,
        Self::NextAsked,
        Self::NextEmpty,
        Self::MessagesGiven,
        Self::MessagesReturned,
        Self::MessagesForgotten,
        Self::SettleAsked,
        Self::MessageAcked,
        Self::MessageAckedBefore,
        Self::MessageNacked,
        Self::MessageUnknown,
        Self::LeaseExtended,
        Self::LeaseLost,
        Self::LeaseLapsed,
        Self::MessageGivenUp,
        Self::LetterPut,
        Self::LetterDropped,
        Self::LetterFailed,
        Self::FilterStored,
        Self::FilterRemoved,
        Self::FilterRefused,
        Self::FilterMissing,
        Self::DiskRenamed,
        Self::RunEnded,
        Self::InvariantBroken,
        Self::NodeRegistered,
        Self::NodeRefused,
        Self::LeaderElected,
        Self::CommandProposed,
        Self::CommandApplied,
        Self::PrimaryAppointed,
        Self::PacketSent,
        Self::PacketArrived,
        Self::PacketLost,
        Self::CopyTook,
        Self::CopyCut,
        Self::CopyBegan,
        Self::CopyFilled,
        Self::CopyRemoved,
        Self::TailAsked,
        Self::TailShown,
        Self::ActionTaken,
        Self::FaultsEnded,
        Self::ReadAsked,
        Self::ReadShown,
        Self::ExpectationHeld,
        Self::ExpectationFailed,
        Self::NodeStopped,
        Self::CoreHealed,
        Self::SeekAsked,
    ];

    /// The name in traces and counts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().0
    }

    /// What it means.
    #[must_use]
    pub const fn about(self) -> &'static str {
        self.entry().1
    }

    /// What came of a message that a worker settled.
    pub(crate) const fn of_settled(settled: Settled) -> Self {
        match settled {
            Settled::Acked => Self::MessageAcked,
            Settled::AlreadyAcked => Self::MessageAckedBefore,
            Settled::LeaseLost => Self::LeaseLost,
            Settled::Nacked => Self::MessageNacked,
            Settled::Extended => Self::LeaseExtended,
            Settled::Unknown => Self::MessageUnknown,
        }
    }

    /// The row of this variant; rows stand in the order of the variants.
    const fn entry(self) -> (&'static str, &'static str) {
        let row = TABLE[self as usize];
        (row.1, row.2)
    }
}

in_order_of_variants!(TABLE);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_in_the_registry_once_under_a_name_of_its_own() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        assert!(Kind::ALL.is_sorted());
    }
}
