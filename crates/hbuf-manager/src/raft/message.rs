//! What members of a group say to each other, and its bytes.
//!
//! ```text
//! raft 1 <crc32c, 8 hex> <bytes behind this line>
//! kind: append
//! group: <uuid>
//! from: 1
//! to: 2
//! term: 7
//! (other fields, then an empty line)
//!
//! (entries as records of the log; of a snapshot its members and state)
//! ```
//!
//! The library's own encoding and its parser stay away from the network (P15). Everything that the
//! library would panic on is refused here or by the group. A field that this version does not know
//! is skipped, so that a newer one may add what an older one can do without; another version in the
//! first line is refused.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use ::raft::eraftpb::{Message, MessageType, Snapshot};
use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::limits::{VOTER_MESSAGE_BYTES_MAX, VOTER_SNAPSHOT_BYTES_MAX};
use hbuf_core::record::{Line, RecordError, decode};

use super::entry::{LogEntryError, push_entry, read_entry};
use super::members::{MemberId, Members};
use crate::lines::{FieldError, Fields, Layout, Writer};

const VERSION: u32 = 1;
/// Longest context of a message: the library uses fewer than 32 bytes.
const CONTEXT_BYTES_MAX: usize = 64;
/// Numbers beyond this have no place in a log.
const INDEX_MAX: u64 = 1 << 63;

/// Every kind of message that travels, with its word. Whatever else the library knows is local, or
/// forwards what must be asked of the leader itself (P13).
const KINDS: &[(MessageType, &str)] = &[
    (MessageType::MsgAppend, "append"),
    (MessageType::MsgAppendResponse, "appended"),
    (MessageType::MsgRequestVote, "vote"),
    (MessageType::MsgRequestVoteResponse, "voted"),
    (MessageType::MsgRequestPreVote, "pre-vote"),
    (MessageType::MsgRequestPreVoteResponse, "pre-voted"),
    (MessageType::MsgSnapshot, "snapshot"),
    (MessageType::MsgHeartbeat, "heartbeat"),
    (MessageType::MsgHeartbeatResponse, "heard"),
    (MessageType::MsgTimeoutNow, "timeout-now"),
];
/// Tells a member that it was removed (P10).
const REMOVED: &str = "removed";

/// A message from one member to another.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerMessage {
    pub(super) group: Uuid,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Raft(Box<Message>),
    /// The receiver was removed from the group, as of the term.
    Removed {
        from: MemberId,
        to: MemberId,
        term: u64,
    },
}

/// Why bytes are no message between members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No first line of this protocol.
    #[error("the message does not start with `raft {VERSION} <crc> <length>`")]
    Start,
    /// Another version.
    #[error("the message has version {version}, and this hbuf reads {VERSION}")]
    Version {
        /// Its version.
        version: u32,
    },
    /// Longer than a message may be.
    #[error("the message claims {length} bytes, more than are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Bytes are missing or too many.
    #[error("the message claims {claimed} bytes, there are {found}")]
    Length {
        /// As its first line says.
        claimed: usize,
        /// As there are.
        found: usize,
    },
    /// The checksum is another.
    #[error("the message's checksum is another")]
    Crc,
    /// A field that cannot be read.
    #[error(transparent)]
    Fields(#[from] FieldError),
    /// A record that cannot be read.
    #[error("an entry of the message cannot be read: {0}")]
    Record(#[from] RecordError),
    /// A record that is no entry.
    #[error(transparent)]
    Entry(#[from] LogEntryError),
    /// Fields that contradict each other.
    #[error("the message contradicts itself: {what}")]
    Contradiction {
        /// What does.
        what: &'static str,
    },
}

impl PeerMessage {
    /// Who sent it.
    #[must_use]
    pub fn from(&self) -> MemberId {
        match &self.body {
            Body::Raft(message) => MemberId(message.from),
            Body::Removed { from, .. } => *from,
        }
    }

    /// Whom it is for.
    #[must_use]
    pub fn to(&self) -> MemberId {
        match &self.body {
            Body::Raft(message) => MemberId(message.to),
            Body::Removed { to, .. } => *to,
        }
    }

    /// The group whose members talk.
    #[must_use]
    pub const fn group(&self) -> Uuid {
        self.group
    }

    /// The index up to which the snapshot in it reaches, if it is one.
    #[must_use]
    pub fn snapshot_index(&self) -> Option<u64> {
        match &self.body {
            Body::Raft(message) if message.get_msg_type() == MessageType::MsgSnapshot => {
                Some(message.get_snapshot().get_metadata().index)
            }
            _ => None,
        }
    }

    /// Puts members and state into a snapshot that is about to be sent.
    pub(super) fn attach(&mut self, mut snapshot: Snapshot, state: &[u8]) {
        assert!(
            self.snapshot_index().is_some(),
            "only a snapshot carries a state"
        );
        if let Body::Raft(message) = &mut self.body {
            snapshot.data = [&snapshot.data[..], b"\n", state].concat().into();
            message.set_snapshot(snapshot);
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Writer::new(Layout::Lines);
        let mut tail = Vec::new();
        match &self.body {
            Body::Raft(message) => {
                fields.field("kind", word(message.get_msg_type()));
                fields.field("group", self.group);
                write_message(message, &mut fields, &mut tail);
            }
            Body::Removed { from, to, term } => {
                fields.field("kind", REMOVED);
                fields.field("group", self.group);
                fields.field("from", from);
                fields.field("to", to);
                fields.field("term", term);
            }
        }
        fields.text.push('\n');
        let mut rest = fields.text.into_bytes();
        rest.extend_from_slice(&tail);
        let crc = crc32c::crc32c(&rest);
        let mut bytes = format!("raft {VERSION} {crc:08x} {}\n", rest.len()).into_bytes();
        bytes.extend_from_slice(&rest);
        bytes
    }

    /// Reads the bytes of one whole message.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let rest = unwrap_frame(bytes)?;
        let end = rest.windows(2).position(|pair| pair == b"\n\n");
        let end = end.ok_or(MessageError::Contradiction {
            what: "its fields have no end",
        })?;
        let (text, tail) = (&rest[..=end], &rest[end + 2..]);
        let mut fields = Fields::read_lines(text)?.each_once()?;
        let kind = fields.take("kind")?;
        let group = fields.uuid("group")?;
        let (from, to, term) = read_sender(&mut fields)?;
        if kind == REMOVED {
            let (from, to) = (MemberId(from), MemberId(to));
            let body = Body::Removed { from, to, term };
            return Ok(Self { group, body });
        }
        let kind = KINDS.iter().find(|(_, word)| *word == kind);
        let (kind, _) = kind.ok_or_else(|| bad_value("kind", "another word"))?;
        let mut message = Message {
            from,
            to,
            term,
            ..Message::default()
        };
        message.set_msg_type(*kind);
        read_message(&mut message, &mut fields, tail)?;
        Ok(Self {
            group,
            body: Body::Raft(Box::new(message)),
        })
    }
}

/// Checks the first line and gives what stands behind it.
fn unwrap_frame(bytes: &[u8]) -> Result<&[u8], MessageError> {
    let line = bytes.iter().take(64).position(|&byte| byte == b'\n');
    let (line, rest) = bytes.split_at(line.ok_or(MessageError::Start)?);
    let rest = &rest[1..];
    let line = core::str::from_utf8(line).map_err(|_| MessageError::Start)?;
    let line = line.strip_prefix("raft ").ok_or(MessageError::Start)?;
    let (version, line) = line.split_once(' ').ok_or(MessageError::Start)?;
    let version = version.parse().map_err(|_| MessageError::Start)?;
    if version != VERSION {
        return Err(MessageError::Version { version });
    }
    let (crc, length) = line.split_once(' ').ok_or(MessageError::Start)?;
    let claimed: usize = length.parse().map_err(|_| MessageError::Start)?;
    if claimed > VOTER_MESSAGE_BYTES_MAX + VOTER_SNAPSHOT_BYTES_MAX {
        return Err(MessageError::TooLong { length: claimed });
    }
    if claimed != rest.len() {
        return Err(MessageError::Length {
            claimed,
            found: rest.len(),
        });
    }
    // One form alone, so that no changed byte of the line goes unseen.
    if format!("raft {VERSION} {:08x} {claimed}\n", crc32c::crc32c(rest)).as_bytes()
        != &bytes[..bytes.len() - rest.len()]
    {
        return Err(if crc.len() == 8 {
            MessageError::Crc
        } else {
            MessageError::Start
        });
    }
    Ok(rest)
}

fn word(kind: MessageType) -> &'static str {
    let found = KINDS.iter().find(|(known, _)| *known == kind);
    found.expect("the group sends only kinds that travel").1
}

fn write_message(message: &Message, out: &mut Writer, tail: &mut Vec<u8>) {
    out.field("from", message.from);
    out.field("to", message.to);
    out.field("term", message.term);
    let numbers = [
        ("log-term", message.log_term),
        ("index", message.index),
        ("commit", message.commit),
        ("commit-term", message.commit_term),
        ("reject-hint", message.reject_hint),
    ];
    for (name, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
        out.field(name, number);
    }
    if message.reject {
        out.field("reject", true);
    }
    if !message.get_context().is_empty() {
        out.field("context", hex(message.get_context()));
    }
    if message.get_msg_type() == MessageType::MsgSnapshot {
        let meta = message.get_snapshot().get_metadata();
        out.field("snapshot-index", meta.index);
        out.field("snapshot-term", meta.term);
        tail.extend_from_slice(&message.get_snapshot().data);
    }
    for entry in message.get_entries() {
        push_entry(entry, Micros(0), 0, tail);
    }
}

fn read_sender(fields: &mut Fields<'_>) -> Result<(u64, u64, u64), MessageError> {
    let from = fields.parse("from")?;
    let to = fields.parse("to")?;
    if from == 0 || to == 0 || from == to {
        return Err(MessageError::Contradiction {
            what: "sender and receiver",
        });
    }
    // The record's line holds terms of 32 bits: a higher one could never be written to the log.
    let term: u32 = fields.parse("term")?;
    if term == 0 {
        return Err(bad_value("term", "0"));
    }
    Ok((from, to, term.into()))
}

fn read_message(
    message: &mut Message,
    fields: &mut Fields<'_>,
    tail: &[u8],
) -> Result<(), MessageError> {
    message.log_term = number(fields, "log-term", u32::MAX.into())?;
    message.index = number(fields, "index", INDEX_MAX)?;
    message.commit = number(fields, "commit", INDEX_MAX)?;
    message.commit_term = number(fields, "commit-term", u32::MAX.into())?;
    message.reject_hint = number(fields, "reject-hint", INDEX_MAX)?;
    message.reject = fields.parse_optional("reject")?.unwrap_or(false);
    let context = fields.with_optional("context", |value| unhex(value, CONTEXT_BYTES_MAX))?;
    message.context = context.unwrap_or_default().into();
    match message.get_msg_type() {
        MessageType::MsgSnapshot => read_snapshot(message, fields, tail),
        MessageType::MsgAppend => read_entries(message, tail),
        _ if tail.is_empty() => Ok(()),
        _ => Err(MessageError::Contradiction {
            what: "entries in a message that carries none",
        }),
    }
}

fn read_snapshot(
    message: &mut Message,
    fields: &mut Fields<'_>,
    tail: &[u8],
) -> Result<(), MessageError> {
    if tail.len() > VOTER_SNAPSHOT_BYTES_MAX {
        return Err(MessageError::TooLong { length: tail.len() });
    }
    let index = number(fields, "snapshot-index", INDEX_MAX)?;
    let term = number(fields, "snapshot-term", message.term)?;
    if index == 0 || term == 0 {
        return Err(MessageError::Contradiction {
            what: "a snapshot of nothing",
        });
    }
    let (members, _) = split_snapshot(tail)?;
    let mut snapshot = Snapshot::default();
    let meta = snapshot.mut_metadata();
    meta.index = index;
    meta.term = term;
    meta.set_conf_state(members.conf_state());
    snapshot.data = tail.to_vec().into();
    message.set_snapshot(snapshot);
    Ok(())
}

/// Takes a snapshot's data apart: the members, then the state.
pub(super) fn split_snapshot(data: &[u8]) -> Result<(Members, &[u8]), MessageError> {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let end = end.ok_or(MessageError::Contradiction {
        what: "the snapshot's members have no end",
    })?;
    Ok((Members::decode(&data[..=end])?, &data[end + 2..]))
}

fn read_entries(message: &mut Message, mut tail: &[u8]) -> Result<(), MessageError> {
    if tail.len() > VOTER_MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong { length: tail.len() });
    }
    let mut entries = Vec::new();
    let (mut index, mut term) = (message.index, message.log_term);
    while !tail.is_empty() {
        let line = Line::parse(tail).map_err(RecordError::Line)?;
        let length = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        let record = decode(tail.get(..length).unwrap_or(tail))?;
        let entry = read_entry(&record)?;
        if entry.index != index + 1 || entry.term < term || entry.term > message.term {
            return Err(MessageError::Contradiction {
                what: "entries that do not follow each other",
            });
        }
        (index, term) = (entry.index, entry.term);
        entries.push(entry);
        tail = &tail[length..];
    }
    message.set_entries(entries.into());
    Ok(())
}

fn number(fields: &mut Fields<'_>, name: &'static str, max: u64) -> Result<u64, MessageError> {
    let number: u64 = fields.parse_optional(name)?.unwrap_or(0);
    if number > max {
        return Err(bad_value(name, "more than there can be"));
    }
    Ok(number)
}

fn bad_value(field: &'static str, value: &str) -> MessageError {
    MessageError::Fields(FieldError::Value {
        field,
        value: value.into(),
    })
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

fn unhex(text: &str, bytes_max: usize) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.len() > 2 * bytes_max || !text.is_ascii() {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

/// Whether a message is of a kind that travels.
pub(super) fn is_sent(message: &Message) -> bool {
    KINDS
        .iter()
        .any(|(kind, _)| *kind == message.get_msg_type())
}
