//! The registry of events: one name, one sentence, for the trace, the counts and the docs.

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
    RunEnded,
    /// …
    InvariantBroken,
}

impl Kind {
    /// All kinds, in the order of the registry.
    pub const ALL: [Self; 38] = [
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
        Self::RunEnded,
        Self::InvariantBroken,
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

    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::RunStarted => ("run.started", "the plan that the seed makes"),
            Self::NodeStarted => ("node.started", "a node reads its disk and registers"),
            Self::NodeCrashed => (
                "node.crashed",
                "the node loses power: what was not synced may be lost",
            ),
            Self::BufferOpened => (
                "buffer.opened",
                "recovery or creation hands a buffer to the shard",
            ),
            Self::BufferDamaged => (
                "buffer.damaged",
                "recovery refuses a buffer whose durable data is damaged",
            ),
            Self::AppendAsked => ("append.asked", "a client sends an append"),
            Self::AppendFramed => ("append.framed", "the shard gives messages their seqs"),
            Self::AppendAcked => ("append.acked", "a client gets a good answer"),
            Self::AppendReplayed => ("append.replayed", "a repeated append gets its first answer"),
            Self::AppendRefused => ("append.refused", "a client gets a refusal"),
            Self::AppendUnknown => (
                "append.unknown",
                "a crash leaves a client without an answer",
            ),
            Self::CommitAdvanced => ("commit.advanced", "readers may see further messages"),
            Self::StateAsked => (
                "state.asked",
                "an operator opens, closes or pauses a buffer",
            ),
            Self::StateReached => ("state.reached", "the change of state is complete"),
            Self::RetentionRan => ("retention.ran", "the shard looks at what may go"),
            Self::SegmentsDropped => ("segments.dropped", "retention lets segments go"),
            Self::CheckpointAsked => (
                "checkpoint.asked",
                "marks are to be written so that the journal may go",
            ),
            Self::RollAsked => ("roll.asked", "the next append starts a new segment"),
            Self::BackupTaken => (
                "backup.taken",
                "an operator copies a paused buffer's directory",
            ),
            Self::BackupRestored => (
                "backup.restored",
                "an operator puts an older copy in the directory's place",
            ),
            Self::ClockJumped => ("clock.jumped", "the wall clock goes back or forth"),
            Self::DiskWrote => ("disk.wrote", "bytes reach the page cache"),
            Self::DiskCut => ("disk.cut", "a file gets another length in the page cache"),
            Self::DiskRemoved => (
                "disk.removed",
                "a name leaves its directory in the page cache",
            ),
            Self::DiskSynced => ("disk.synced", "a file's bytes become durable"),
            Self::DiskSyncedNames => ("disk.synced-names", "a directory's names become durable"),
            Self::BatchSynced => (
                "batch.synced",
                "the commit pipeline tells the shard what is durable",
            ),
            Self::MarkWritten => ("mark.written", "a mark is durable"),
            Self::DiskFull => ("disk.full", "the disk has no room"),
            Self::DiskRoom => ("disk.room", "the disk has room again"),
            Self::DiskSyncFailed => (
                "disk.sync-failed",
                "a sync fails, and what it should have kept may be gone",
            ),
            Self::DiskRotted => ("disk.rotted", "a durable byte changes by itself"),
            Self::WriteTorn => ("write.torn", "a crash keeps a part of a write"),
            Self::WriteLost => ("write.lost", "a crash loses a write"),
            Self::WriteReordered => (
                "write.reordered",
                "a crash keeps a write and loses an earlier one of the same file",
            ),
            Self::NameLost => (
                "name.lost",
                "a crash loses a name that was not synced, or brings one back",
            ),
            Self::RunEnded => ("run.ended", "the run is over"),
            Self::InvariantBroken => ("invariant.broken", "an invariant does not hold"),
        }
    }
}

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
