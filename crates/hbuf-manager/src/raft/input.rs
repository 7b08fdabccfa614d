//! Everything that can happen to a group, and why some of it is refused.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hbuf_core::limits::COMMAND_BYTES_MAX;

use super::change::{Change, ChangeRefused};
use super::check::MessageRefused;
use super::members::MemberId;
use super::message::PeerMessage;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The clock went on by one tick.
    Tick,
    /// Another member said something.
    Message(Box<PeerMessage>),
    /// Someone wants a command in the log: the text of a [`crate::Command`]. That it was taken does
    /// not mean that it will be applied, and it may be applied late (P13): whoever proposed it
    /// proposes it again, with the same client and number, until it is.
    Propose(Vec<u8>),
    /// Someone wants to see everything that was committed before now.
    Read {
        /// Comes back with the answer.
        token: u64,
    },
    /// Someone wants other members.
    Change(Change),
    /// What the effect with this number asked for, and all before it, is durable.
    Persisted {
        /// The number.
        number: u64,
    },
    /// The state is as of this index.
    Applied {
        /// The index.
        index: u64,
    },
    /// A snapshot was sent to a member, or was not. Every one must be reported (P2).
    SnapshotSent {
        /// The member.
        to: MemberId,
        /// Whether the member took it.
        taken: bool,
    },
    /// The last messages to a member did not arrive.
    Unreachable {
        /// The member.
        to: MemberId,
    },
    /// This member is about to stop: let another one lead.
    Transfer,
    /// Start an election now: the only voter need not wait.
    Campaign,
    /// The log is long: replace it by a snapshot. Refused while something given out to be applied
    /// is not reported.
    Compact,
}

/// Why an input was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only the leader takes this.
    #[error("this member does not lead the group")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<MemberId>,
    },
    /// The command is too long.
    #[error("the command has {length} bytes; at most {COMMAND_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The text is no command.
    #[error("an empty text is no command")]
    NoCommand,
    /// Too much waits, or leadership is on its way to another member.
    #[error("the group is busy; try again")]
    Busy,
    /// No other voter could lead.
    #[error("no other voter is there to lead the group")]
    NobodyToLead,
    /// A message that must not be believed.
    #[error(transparent)]
    Message(#[from] MessageRefused),
    /// A change of members that must not be made.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
    /// This member was removed from the group.
    #[error("this member was removed from the group")]
    Removed,
}
