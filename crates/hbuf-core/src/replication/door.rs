//! What happens to the copies of a buffer, and what is to be done about it: the part of the core's
//! door that several nodes need.

use alloc::sync::Arc;

use super::assignment::{Alter, Assignment, NodeEpoch};
use super::filling::Fill;
use super::message::{FromCopy, ToCopy};
use crate::ids::{Epoch, NodeId, Seq};
use crate::input::Token;
use crate::segment::LogKind;

/// Something that happened to a buffer's copies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The manager has decided where the buffer is and who leads it.
    Decided(Arc<Assignment>),
    /// A connection to a copy has room: what is it to be told next of this log?
    Pull {
        /// Which of the two logs.
        log: LogKind,
        /// The copy.
        to: NodeId,
    },
    /// The connection to a copy was lost, or what was to be sent could not be.
    Silence(NodeId),
    /// A copy's answer.
    FromCopy {
        /// Which of the two logs.
        log: LogKind,
        /// The copy.
        from: NodeId,
        /// What it says.
        answer: FromCopy,
    },
    /// A primary's message to the copy that is here. Its records, and for [`ToCopy::Begin`] the
    /// mark and its tables, stay with the shell until they are asked for.
    FromPrimary {
        /// Which of the two logs.
        log: LogKind,
        /// Names the message, so that its records are found.
        token: Token,
        /// The primary.
        from: NodeId,
        /// What it says.
        message: ToCopy,
    },
    /// [`Wish::CutBack`] or [`Wish::BeginAnew`] of this log is done.
    CutDone(LogKind),
    /// Something of the buffer that should be on this node's disk cannot be read, or is not what it
    /// was.
    Damaged,
    /// A mark is on disk that covers the messages through this seq.
    Marked(Seq),
    /// There is room, and time, for old records to a copy: what is it to be sent of them next?
    PullFill {
        /// The copy.
        to: NodeId,
        /// At most so many of them; never more than [`crate::limits::FILL_RECORDS_MAX`].
        records: u64,
    },
    /// The last [`Wish::TakeFill`] of the segment that begins at this seq is done.
    Filled(Seq),
    /// Somebody wants to know where the log ends, whoever else may have been appointed meanwhile.
    ReadTail(Token),
}

/// Something to be done for a buffer's copies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// There is something to tell a copy: [`Event::Pull`] it when the connection has room. Said
    /// once until then.
    News {
        /// Which of the two logs.
        log: LogKind,
        /// The copy.
        to: NodeId,
    },
    /// Send a copy this message, with the records that it names, or the newest mark and its tables.
    /// Only records that were written leave, so that none is sent that a full disk did not take.
    ToCopy {
        /// Which of the two logs.
        log: LogKind,
        /// The copy.
        to: NodeId,
        /// What to say.
        message: ToCopy,
    },
    /// Send a primary a copy's answer.
    ToPrimary {
        /// Which of the two logs.
        log: LogKind,
        /// The primary.
        to: NodeId,
        /// What to say.
        answer: FromCopy,
    },
    /// Ask the manager to change the in-sync set.
    Ask(Alter),
    /// Tell the manager that damage was found in this copy, until it knows.
    TellDamaged(NodeEpoch),
    /// The copy begins anew, for it is damaged, or was removed and added again: remove both its
    /// logs, its marks and tables, durably, before anything else is taken into it. Whoever wants to
    /// look at what was damaged puts it aside.
    Clear,
    /// Append the records of a message behind the log's end, and sync them.
    TakeRecords {
        /// Which of the two logs.
        log: LogKind,
        /// The message.
        token: Token,
        /// Those behind this seq,
        after: Seq,
        /// through this one.
        through: Seq,
    },
    /// Cut a log back to this seq, durably, the journal's fence first, and a mark that vouches for
    /// more; then [`Event::CutDone`].
    /// Nothing of it stays when it began behind `to`.
    CutBack {
        /// Which of the two logs.
        log: LogKind,
        /// The last seq that stays.
        to: Seq,
    },
    /// Give a log up and begin another one behind `at`, durably, from the mark and the tables that
    /// came with the message; then [`Event::CutDone`].
    BeginAnew {
        /// Which of the two logs.
        log: LogKind,
        /// The message.
        token: Token,
        /// Behind which seq.
        at: Seq,
    },
    /// There is something of before its first record to send to a copy: [`Event::PullFill`] when
    /// nothing that is new waits for the connection. Said once until then. How fast old records go
    /// is for whoever has the disk to say, over all buffers of the node ([`super::FillPace`]).
    Fill {
        /// The copy.
        to: NodeId,
    },
    /// Put the records of a message into the segment of before the first record that begins at
    /// [`super::Fill::first`]. With the last of them: sync it, then write the newest mark anew,
    /// with this segment as its first; then [`Event::Filled`].
    TakeFill {
        /// The message.
        token: Token,
        /// Which records.
        fill: Fill,
    },
    /// Write the mark that came with a message as this copy's own, with its tables: where it ends
    /// is where the record `at` does here. Not while anything of the log is being cut.
    TakeMark {
        /// The message.
        token: Token,
        /// What it covers; the disk holds it.
        at: Seq,
        /// The first seq that is kept here.
        first: Seq,
    },
    /// Tell the manager, until it knows, that retention has left nothing before this seq, as the
    /// primary of this epoch.
    TellKept(Epoch, Seq),
    /// This node is the primary from now on: make everything durable that was written, recover the
    /// buffer and open it.
    Promote,
    /// The buffer has no copy here any more: remove it.
    RemoveCopy,
    /// The copy knows more as committed.
    Known(Seq),
}
