//! What of a message is refused before the library sees it (P15): the library trusts its peers and
//! panics on what they would never say.

use ::raft::StateRole;
use ::raft::eraftpb::{Message, MessageType};
use hbuf_core::ids::Uuid;

use super::members::MemberId;
use super::message::MessageError;
use crate::rows::SnapshotError;

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageRefused {
    /// It belongs to another group.
    #[error("the message is for the group {group}")]
    OtherGroup {
        /// Which one.
        group: Uuid,
    },
    /// It is for another member.
    #[error("the message is for the member {to}")]
    OtherMember {
        /// Which one.
        to: MemberId,
    },
    /// Its sender was removed, and was told so.
    #[error("the member {from} was removed from the group")]
    FromRemoved {
        /// The sender.
        from: MemberId,
    },
    /// It says that entries are committed which this member does not have. Either it is not what
    /// a leader sends, or this member lost entries that it had promised to keep.
    #[error(
        "the member {from} says that {commit} is committed and known to stand in this member's log, which ends at {last}; if this goes on, this member has lost entries: remove it and add its disk anew under a new id"
    )]
    CommitBeyondLog {
        /// The sender.
        from: MemberId,
        /// What it says.
        commit: u64,
        /// Where the log ends.
        last: u64,
    },
    /// It acknowledges entries that were never sent.
    #[error("the member {from} acknowledges {index}, and the log ends at {last}")]
    AckBeyondLog {
        /// The sender.
        from: MemberId,
        /// What it says.
        index: u64,
        /// Where the log ends.
        last: u64,
    },
    /// A snapshot whose bytes make no sense.
    #[error(transparent)]
    Snapshot(#[from] MessageError),
    /// A snapshot whose state cannot be read.
    #[error(transparent)]
    State(#[from] SnapshotError),
    /// A snapshot whose state is as of another index.
    #[error("the snapshot of {index} holds a state as of {applied}")]
    OtherState {
        /// What the message says.
        index: u64,
        /// What the state says.
        applied: u64,
    },
}

/// What a member knows of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) term: u64,
    pub(super) role: StateRole,
    pub(super) last: u64,
}

/// Refuses numbers on which the library would stop the process.
pub(super) fn check_numbers(message: &Message, own: Own) -> Result<(), MessageRefused> {
    let from = MemberId(message.from);
    let last = own.last;
    match message.get_msg_type() {
        MessageType::MsgHeartbeat if message.term >= own.term && message.commit > last => {
            let commit = message.commit;
            Err(MessageRefused::CommitBeyondLog { from, commit, last })
        }
        MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
            if message.term == own.term && own.role == StateRole::Leader =>
        {
            let index = message.index.max(message.commit);
            // A refusal names the place that did not fit, which a leader before may have filled.
            if !message.reject && index > last {
                return Err(MessageRefused::AckBeyondLog { from, index, last });
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
