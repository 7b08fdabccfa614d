//! Everything a group may ask for. Effects are performed in their order; only a persist may still
//! be under way when the next ones are performed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::change::ChangeRefused;
use super::log_file::{Persist, Roll};
use super::members::{MemberId, Members};
use super::message::PeerMessage;
use crate::catalog::Catalog;

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<S = Catalog> {
    /// Send a message. It may get lost.
    Send(PeerMessage),
    /// Have [`super::Group::fill_snapshot`] put the state into the message, send it by a way that
    /// large things take, and report what came of it.
    SendSnapshot(PeerMessage),
    /// Make something durable, after everything that was asked for before, then report its number.
    /// When that fails, end the process's use of the group: never try again (P16).
    Persist(Persist),
    /// Apply entries, then report the index of the last one, before any further effect.
    Apply(Vec<Committed>),
    /// Replace the state, then report the index, before any further effect.
    Install {
        /// Up to where it reaches.
        index: u64,
        /// The state.
        state: Box<S>,
    },
    /// Replace the log by a snapshot of the state as it is now and the entries behind it.
    Roll(Roll),
    /// The state shows everything that was committed before the read came.
    Read {
        /// As the read had it.
        token: u64,
        /// The index that the state had to reach.
        index: u64,
    },
    /// The read was not proven in time, or leadership was lost. It may be asked for again.
    ReadFailed {
        /// As the read had it.
        token: u64,
    },
    /// This member's role, its term, or whom it follows is another.
    Role {
        /// What it is now.
        role: Role,
        /// In which term.
        term: u64,
        /// Who leads, as far as is known.
        leader: Option<MemberId>,
    },
    /// The members are others.
    Members(Members),
    /// The change of members that was asked for is done.
    Changed,
    /// The change of members that was asked for did not come to be, or it is not known here.
    ChangeFailed(ChangeRefused),
    /// This member was removed: it says and does nothing any more.
    Removed,
}

/// What a member is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It follows, or has no vote.
    Follower,
    /// It wants to lead.
    Candidate,
    /// It leads.
    Leader,
}

/// An entry that is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Committed {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The text of a command; `None` when there is nothing to apply but the index.
    pub command: Option<Vec<u8>>,
}
