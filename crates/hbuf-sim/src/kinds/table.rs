//! Names and sentences of the events, in the order of their variants.

use super::Kind;

/// What is known of each variant, in their order.
pub(super) const TABLE: [(Kind, &str, &str); 97] = [
    (
        Kind::RunStarted,
        "run.started",
        "the plan that the seed makes",
    ),
    (
        Kind::NodeStarted,
        "node.started",
        "a node reads its disk and registers",
    ),
    (
        Kind::NodeCrashed,
        "node.crashed",
        "the node loses power: what was not synced may be lost",
    ),
    (
        Kind::BufferOpened,
        "buffer.opened",
        "recovery or creation hands a buffer to the shard",
    ),
    (
        Kind::BufferDamaged,
        "buffer.damaged",
        "recovery refuses a buffer whose durable data is damaged",
    ),
    (
        Kind::AppendAsked,
        "append.asked",
        "a client sends an append",
    ),
    (
        Kind::AppendFramed,
        "append.framed",
        "the shard gives messages their seqs",
    ),
    (
        Kind::AppendAcked,
        "append.acked",
        "a client gets a good answer",
    ),
    (
        Kind::AppendReplayed,
        "append.replayed",
        "a repeated append gets its first answer",
    ),
    (
        Kind::AppendRefused,
        "append.refused",
        "a client gets a refusal",
    ),
    (
        Kind::AppendUnknown,
        "append.unknown",
        "a crash leaves a client without an answer",
    ),
    (
        Kind::CommitAdvanced,
        "commit.advanced",
        "readers may see further messages",
    ),
    (
        Kind::StateAsked,
        "state.asked",
        "an operator opens, closes or pauses a buffer",
    ),
    (
        Kind::StateReached,
        "state.reached",
        "the change of state is complete",
    ),
    (
        Kind::RetentionRan,
        "retention.ran",
        "the shard looks at what may go",
    ),
    (
        Kind::SegmentsDropped,
        "segments.dropped",
        "retention lets segments go",
    ),
    (
        Kind::CursorsDropped,
        "cursors.dropped",
        "a newer file of the cursors log says all that the older ones said",
    ),
    (
        Kind::CheckpointAsked,
        "checkpoint.asked",
        "marks are to be written so that the journal may go",
    ),
    (
        Kind::RollAsked,
        "roll.asked",
        "the next append starts a new segment",
    ),
    (
        Kind::BackupTaken,
        "backup.taken",
        "an operator copies a paused buffer's directory",
    ),
    (
        Kind::BackupRestored,
        "backup.restored",
        "an operator puts an older copy in the directory's place",
    ),
    (
        Kind::ClockJumped,
        "clock.jumped",
        "the wall clock goes back or forth",
    ),
    (Kind::DiskWrote, "disk.wrote", "bytes reach the page cache"),
    (
        Kind::DiskCut,
        "disk.cut",
        "a file gets another length in the page cache",
    ),
    (
        Kind::DiskRemoved,
        "disk.removed",
        "a name leaves its directory in the page cache",
    ),
    (
        Kind::DiskSynced,
        "disk.synced",
        "a file's bytes become durable",
    ),
    (
        Kind::DiskSyncedNames,
        "disk.synced-names",
        "a directory's names become durable",
    ),
    (
        Kind::BatchSynced,
        "batch.synced",
        "the commit pipeline tells the shard what is durable",
    ),
    (Kind::MarkWritten, "mark.written", "a mark is durable"),
    (Kind::DiskFull, "disk.full", "the disk has no room"),
    (Kind::DiskRoom, "disk.room", "the disk has room again"),
    (
        Kind::DiskSyncFailed,
        "disk.sync-failed",
        "a sync fails, and what it should have kept may be gone",
    ),
    (
        Kind::DiskRotted,
        "disk.rotted",
        "a durable byte changes by itself",
    ),
    (
        Kind::WriteTorn,
        "write.torn",
        "a crash keeps a part of a write",
    ),
    (Kind::WriteLost, "write.lost", "a crash loses a write"),
    (
        Kind::WriteReordered,
        "write.reordered",
        "a crash keeps a write and loses an earlier one of the same file",
    ),
    (
        Kind::NameLost,
        "name.lost",
        "a crash loses a name that was not synced, or brings one back",
    ),
    (
        Kind::TopicRead,
        "topic.read",
        "a reader takes the next messages of all buffers as one",
    ),
    (
        Kind::ConsumerCreated,
        "consumer.created",
        "an operator makes a consumer",
    ),
    (
        Kind::ConsumerConfigured,
        "consumer.configured",
        "an operator changes what is set on a consumer",
    ),
    (
        Kind::ConsumerDeleted,
        "consumer.deleted",
        "an operator deletes a consumer",
    ),
    (
        Kind::ConsumerUnused,
        "consumer.unused",
        "a consumer goes that nobody used for as long as it is kept",
    ),
    (
        Kind::ConsumerBegun,
        "consumer.begun",
        "a buffer knows a consumer as it is set",
    ),
    (
        Kind::ConsumerMoved,
        "consumer.moved",
        "a consumer begins anew elsewhere",
    ),
    (
        Kind::ConsumerRefused,
        "consumer.refused",
        "a worker gets a refusal",
    ),
    (
        Kind::ConsumerUnknown,
        "consumer.unknown",
        "a crash leaves a worker without an answer",
    ),
    (
        Kind::ConsumerLooked,
        "consumer.looked",
        "messages are looked at that a consumer may hand out",
    ),
    (
        Kind::LookFailed,
        "consumer.look-failed",
        "nothing can be read for a consumer",
    ),
    (Kind::NextAsked, "next.asked", "a worker asks for messages"),
    (
        Kind::NextEmpty,
        "next.empty",
        "there is nothing to hand out",
    ),
    (
        Kind::MessagesGiven,
        "messages.given",
        "messages are handed out to a worker",
    ),
    (
        Kind::MessagesReturned,
        "messages.returned",
        "a worker is gone, and what it was handed goes back",
    ),
    (
        Kind::MessagesForgotten,
        "messages.forgotten",
        "a worker does nothing more about its messages",
    ),
    (
        Kind::SettleAsked,
        "settle.asked",
        "a worker says what becomes of messages",
    ),
    (Kind::MessageAcked, "message.acked", "an ack is on disk"),
    (
        Kind::MessageAckedBefore,
        "message.acked-before",
        "a message is acked that was done",
    ),
    (
        Kind::MessageNacked,
        "message.nacked",
        "a message goes back, and its count is on disk",
    ),
    (
        Kind::MessageUnknown,
        "message.unknown",
        "a worker speaks of a message that was not handed out",
    ),
    (
        Kind::LeaseExtended,
        "lease.extended",
        "a lease lasts longer",
    ),
    (Kind::LeaseLost, "lease.lost", "a worker comes too late"),
    (
        Kind::LeaseLapsed,
        "lease.lapsed",
        "the clock passes the end of a lease",
    ),
    (
        Kind::MessageGivenUp,
        "message.given-up",
        "a consumer hands a message out no more",
    ),
    (
        Kind::LetterPut,
        "letter.put",
        "a dead letter is where it goes",
    ),
    (
        Kind::LetterDropped,
        "letter.dropped",
        "a message is given up for good: it has no place to go",
    ),
    (
        Kind::LetterFailed,
        "letter.failed",
        "a dead letter finds no place and is tried again",
    ),
    (
        Kind::FilterStored,
        "filter.stored",
        "a filter is on disk, and its operator is told",
    ),
    (
        Kind::FilterRemoved,
        "filter.removed",
        "a filter is gone from the disk, and its operator is told",
    ),
    (
        Kind::FilterRefused,
        "filter.refused",
        "a filter is not changed: the buffer is paused or there is no room",
    ),
    (
        Kind::FilterMissing,
        "filter.missing",
        "a look finds no filter of the name that its consumer names",
    ),
    (
        Kind::DiskRenamed,
        "disk.renamed",
        "a file gets the name of another one",
    ),
    (Kind::RunEnded, "run.ended", "the run is over"),
    (
        Kind::InvariantBroken,
        "invariant.broken",
        "an invariant does not hold",
    ),
    (
        Kind::NodeRegistered,
        "node.registered",
        "the manager knows a node as it runs now",
    ),
    (
        Kind::NodeRefused,
        "node.refused",
        "the manager does not let a node in",
    ),
    (
        Kind::LeaderElected,
        "leader.elected",
        "a member leads the manager's group",
    ),
    (
        Kind::CommandProposed,
        "command.proposed",
        "a node asks the manager for a change",
    ),
    (
        Kind::CommandApplied,
        "command.applied",
        "a node has a change of the manager",
    ),
    (
        Kind::PrimaryAppointed,
        "primary.appointed",
        "a node leads a buffer in a new epoch",
    ),
    (
        Kind::PacketSent,
        "packet.sent",
        "something is said: to a node, or to a client",
    ),
    (
        Kind::PacketArrived,
        "packet.arrived",
        "something that was said is heard",
    ),
    (
        Kind::PacketLost,
        "packet.lost",
        "something that was said does not arrive",
    ),
    (Kind::CopyTook, "copy.took", "a copy takes records"),
    (
        Kind::CopyCut,
        "copy.cut",
        "a copy cuts its log back to what it has in common with the primary",
    ),
    (
        Kind::CopyBegan,
        "copy.began",
        "a copy that lacks much begins anew near the tail",
    ),
    (
        Kind::CopyFilled,
        "copy.filled",
        "a copy that began near the tail has a whole segment of before",
    ),
    (
        Kind::CopyRemoved,
        "copy.removed",
        "a copy is removed: the buffer has moved",
    ),
    (
        Kind::TailAsked,
        "tail.asked",
        "a client asks for the end of a buffer",
    ),
    (
        Kind::TailShown,
        "tail.shown",
        "a client is shown the end of a buffer",
    ),
    (
        Kind::ActionTaken,
        "action.taken",
        "a scenario, a seed or a hand makes something happen",
    ),
    (
        Kind::FaultsEnded,
        "faults.ended",
        "all faults end: everything must come to rest",
    ),
    (
        Kind::ReadAsked,
        "read.asked",
        "a client asks for messages, or for the newest one of a key",
    ),
    (
        Kind::ReadShown,
        "read.shown",
        "a client is shown messages, or the newest one of a key",
    ),
    (
        Kind::ExpectationHeld,
        "expectation.held",
        "what a scenario expects has come about",
    ),
    (
        Kind::ExpectationFailed,
        "expectation.failed",
        "what a scenario expects has not come about",
    ),
    (
        Kind::NodeStopped,
        "node.stopped",
        "a process ends in order: others lead, its disk is whole",
    ),
    (
        Kind::CoreHealed,
        "core.healed",
        "a majority of the nodes is healed, the others are not",
    ),
    (
        Kind::SeekAsked,
        "seek.asked",
        "a worker asks that its consumer begin anew at another place",
    ),
];
