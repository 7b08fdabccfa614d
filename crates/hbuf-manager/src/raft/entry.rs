//! Entries and head lines of the group's log, in the one record format.
//!
//! An entry is a record: seq = index, e = term, no salt, no id. Its body is a command's text, a
//! change of members, or nothing: the entry with which a leader begins its term. What the library
//! writes of a change in its own encoding never leaves memory; the change travels in `context`.

use alloc::vec::Vec;

use ::raft::eraftpb::{Entry, EntryType};
use hbuf_core::ids::{Epoch, Micros};
use hbuf_core::limits::COMMAND_BYTES_MAX;
use hbuf_core::record::{Kind, Record};

use super::members::{MemberChange, MemberId, Members};
use crate::lines::{FieldError, Fields, Layout, Writer};
use crate::record::{Place, encode_entry};

/// Why a record is no entry of the group's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogEntryError {
    /// Another kind of record.
    #[error("index {index} holds a record of the kind `{kind}`, which is no entry")]
    Kind {
        /// Its index.
        index: u64,
        /// Its kind.
        kind: &'static str,
    },
    /// An index or a term of 0.
    #[error("an entry has the index {index} and the term {term}; both count from 1")]
    Zero {
        /// Its index.
        index: u64,
        /// Its term.
        term: u32,
    },
    /// Longer than a command may be.
    #[error("the entry {index} has {length} bytes; at most {COMMAND_BYTES_MAX} are allowed")]
    TooLong {
        /// Its index.
        index: u64,
        /// Its length.
        length: usize,
    },
    /// A change of members that cannot be read.
    #[error("the change of members at index {index} cannot be read: {why}")]
    Change {
        /// Its index.
        index: u64,
        /// What is wrong.
        why: FieldError,
    },
}

/// Term, vote and commit: what a member must not forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Vote {
    pub(super) term: Epoch,
    /// Whom it voted for in this term, if anyone.
    pub(super) vote: Option<MemberId>,
    /// The highest index that it knew to be committed.
    pub(super) commit: u64,
}

impl Vote {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(Layout::Lines);
        out.field("term", self.term);
        out.optional("vote", self.vote);
        out.field("commit", self.commit);
        out.text.into_bytes()
    }

    pub(super) fn decode(text: &[u8]) -> Result<Self, FieldError> {
        let mut fields = Fields::read_lines(text)?;
        let vote = Self {
            term: Epoch(fields.parse("term")?),
            vote: fields.parse_optional("vote")?.map(MemberId),
            commit: fields.parse("commit")?,
        };
        fields.finish()?;
        Ok(vote)
    }
}

/// A head line of the kind `members`: the index as of which they are, then the members.
pub(super) fn encode_members(index: u64, members: &Members) -> Vec<u8> {
    let mut out = Writer::new(Layout::Lines);
    out.field("as-of", index);
    let mut bytes = out.text.into_bytes();
    bytes.extend_from_slice(&members.encode());
    bytes
}

pub(super) fn decode_members(body: &[u8]) -> Result<(u64, Members), FieldError> {
    let end = body
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(body.len(), |at| at + 1);
    let (first, rest) = body.split_at(end);
    let mut fields = Fields::read_lines(first)?;
    let index = fields.parse("as-of")?;
    fields.finish()?;
    Ok((index, Members::decode(rest)?))
}

/// Appends a head line of the manager's own kinds. `next` is the seq of the record behind it.
pub(super) fn push_head(kind: Kind, next: u64, time: Micros, body: &[u8], out: &mut Vec<u8>) {
    let place = Place {
        index: next,
        term: Epoch(0),
        time,
        distance: 0,
    };
    encode_entry(&place, kind, body, out);
}

/// Appends an entry's record.
pub(super) fn push_entry(entry: &Entry, time: Micros, distance: u32, out: &mut Vec<u8>) {
    let place = Place {
        index: entry.index,
        term: epoch(entry.term),
        time,
        distance,
    };
    // P15: the library's encoding of a change stays in memory, so its parser never reads a file.
    let change;
    let body = match entry.get_entry_type() {
        EntryType::EntryNormal => entry.get_data(),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            // The entry that the library itself adds to leave a joint configuration is empty.
            change = if entry.get_context().is_empty() {
                MemberChange::default().encode()
            } else {
                entry.get_context().to_vec()
            };
            &change
        }
    };
    encode_entry(&place, Kind::Command, body, out);
}

/// Reads an entry from its record.
pub(super) fn read_entry(record: &Record<'_>) -> Result<Entry, LogEntryError> {
    let (index, term) = (record.line.seq.0, record.line.epoch.0);
    if record.facts.kind != Kind::Command {
        let kind = record.facts.kind.text();
        return Err(LogEntryError::Kind { index, kind });
    }
    if index == 0 || term == 0 {
        return Err(LogEntryError::Zero { index, term });
    }
    if record.body.len() > COMMAND_BYTES_MAX {
        let length = record.body.len();
        return Err(LogEntryError::TooLong { index, length });
    }
    let mut entry = Entry {
        index,
        term: term.into(),
        ..Entry::default()
    };
    match MemberChange::decode(record.body) {
        None => entry.data = record.body.to_vec().into(),
        Some(Ok(change)) => {
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.context = if change.is_leave() {
                Vec::new().into()
            } else {
                record.body.to_vec().into()
            };
        }
        Some(Err(why)) => return Err(LogEntryError::Change { index, why }),
    }
    Ok(entry)
}

/// The change of members that an entry holds; `None` when it holds none.
pub(super) fn change_of(entry: &Entry) -> Option<MemberChange> {
    if entry.get_entry_type() == EntryType::EntryNormal {
        return None;
    }
    let read = MemberChange::decode(entry.get_context());
    // An empty context is the library's own entry, which leaves a joint configuration.
    Some(read.and_then(Result::ok).unwrap_or_default())
}

/// A term as the record's line holds it.
pub(super) fn epoch(term: u64) -> Epoch {
    Epoch(u32::try_from(term).expect("terms beyond the record's field are refused on their way in"))
}
