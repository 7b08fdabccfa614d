//! What an append asks for and what it gets: requests, replies and refusals.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::buffer::Demands;
use crate::ids::{Epoch, Hash, Micros, Seq, Uuid};
use crate::mirror::Mirrored;
use crate::record::{Kind, Producer};
use crate::stream::{StreamAppend, StreamEnd, StreamRefused};

/// How far an append must have come before it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckLevel {
    /// Framed by the primary: it has a seq and an id, and may be lost.
    None,
    /// On the primary's disk.
    Local,
    /// On the disk of every in-sync copy: committed.
    #[default]
    InSync,
}

impl AckLevel {
    /// The word of the `x-hbuf-ack` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Local => "local",
            Self::InSync => "insync",
        }
    }

    /// Reads the word of the `x-hbuf-ack` header.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "local" => Some(Self::Local),
            "insync" => Some(Self::InSync),
            _ => None,
        }
    }
}

/// One message of an append: a handle on its content, never the content itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// What the record is; `Data` from clients.
    pub kind: Kind,
    /// Length of the canonical user header lines, in bytes.
    pub lines_len: u32,
    /// Length of the body as stored, in bytes.
    pub body_len: u32,
    /// The salted commitment to lines and body.
    pub commitment: Hash,
}

/// One append: a message, or a batch that becomes visible whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendRequest {
    /// The messages in order, 1 to [`crate::limits::BATCH_MESSAGES_MAX`].
    pub items: Vec<Item>,
    /// When to answer.
    pub ack: AckLevel,
    /// Append only if the log ends with this seq (`If-Match`).
    pub if_match: Option<Seq>,
    /// The producer's number of this append (`x-hbuf-producer`).
    pub producer: Option<Producer>,
    /// The keyed hash of the `Idempotency-Key`.
    pub idem: Option<Hash>,
    /// The append means the stream in the buffer.
    pub stream: Option<StreamAppend>,
    /// The messages are records of the buffer that this one mirrors.
    pub mirrored: Option<Box<Mirrored>>,
}

impl AppendRequest {
    /// What it demands of the log.
    #[must_use]
    pub const fn demands(&self) -> Demands<'_> {
        Demands {
            if_match: self.if_match,
            producer: self.producer.as_ref(),
        }
    }
}

/// The good end of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Appended {
    /// Seq of the first message.
    pub first: Seq,
    /// Seq of the last message; equal to `first` for one message.
    pub last: Seq,
    /// Id of the last message; `None` in a repeated append, where the log has it.
    pub id: Option<Hash>,
    /// Server time of the messages.
    pub time: Micros,
    /// Epoch in which they were framed.
    pub epoch: Epoch,
    /// The level that was really reached.
    pub level: AckLevel,
    /// True when an earlier append with the same producer number or idempotency key is repeated.
    pub replayed: bool,
    /// Where the stream stands, when the append meant one.
    pub stream: Option<StreamEnd>,
}

/// Why an append was refused. Nothing of it was stored, but for [`Self::PrimaryChanged`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AppendRefused {
    /// The shard holds no such buffer.
    #[error("the buffer is being opened again on this node: try again shortly")]
    NotOpen,
    /// This node is not the buffer's primary.
    #[error("this node is not the buffer's primary: ask the one that is")]
    NotPrimary,
    /// Another primary was appointed before the append was committed. It may be in the log, or
    /// come to be, or not: only a repetition that can be told tells.
    #[error(
        "the buffer's primary changed before the message was committed: it may be stored or not; send it again with the same producer number or Idempotency-Key, or read the log"
    )]
    PrimaryChanged,
    /// The buffer takes no more messages.
    #[error("the buffer is closed: it takes no more messages; append to another one")]
    Closed,
    /// The buffer stands still.
    #[error("the buffer is paused: set its state to open to append")]
    Paused,
    /// The buffer is a mirror.
    #[error(
        "the buffer is a mirror and takes only what its origin has: append to the origin, or end the mirror by setting it to null"
    )]
    IsMirror,
    /// A record of another origin than the one that is followed.
    #[error("the buffer does not follow {of}")]
    NotFollowed {
        /// The other one.
        of: Uuid,
    },
    /// A record that the mirror has already.
    #[error("the mirror's log has records of its origin through {last}")]
    Mirrored {
        /// The last one.
        last: Seq,
    },
    /// Too many appends wait for their sync.
    #[error("{waiting} appends already wait for this buffer's disk: try again shortly")]
    Busy {
        /// Appends that wait.
        waiting: usize,
    },
    /// `If-Match` named another end.
    #[error("the log ends with {end}, not {expected}: read up to its end and try again")]
    EndDiffers {
        /// What the caller expected.
        expected: Seq,
        /// The log's last seq.
        end: Seq,
    },
    /// The producer skipped a number.
    #[error("producer number {got} does not follow: expected {expected}")]
    ProducerGap {
        /// The number that would follow.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// A newer incarnation of the producer has appended.
    #[error("producer epoch {got} is fenced by epoch {current}: start a higher epoch")]
    ProducerFenced {
        /// The highest epoch seen.
        current: u64,
        /// The epoch that came.
        got: u64,
    },
    /// The number is older than the producer's last: its reply stands in the log only.
    #[error("producer number {number} was appended before {last}: its reply is in the log")]
    ProducerOld {
        /// The number that came.
        number: u64,
        /// The producer's last number.
        last: u64,
        /// A seq at or before which the message stands.
        before: Seq,
    },
    /// The batch has no or too many messages.
    #[error("a batch has {got} messages; 1 to {max} are allowed: split it")]
    BatchSize {
        /// Messages in the batch.
        got: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// The log has reached its last number.
    #[error("the log is full: it holds 2^63 messages; append to another buffer")]
    SeqExhausted,
    /// The rules of the stream in the buffer refuse it.
    #[error(transparent)]
    Stream(#[from] StreamRefused),
    /// The disk has no room left.
    #[error("the disk is full: free space or drop segments by retention; reading goes on")]
    DiskFull,
    /// The disk failed a sync; only a restart may use it again.
    #[error(
        "the disk failed to sync: nothing more is appended until the node is restarted on a sound disk; durable messages stay readable"
    )]
    DiskFailed,
    /// A record in the cursors log is damaged.
    #[error(
        "the log with the places of the buffer's consumers is damaged at its record {at}: appends and \
         consumers stop until it is repaired, reads go on; run `hbuf verify`"
    )]
    CursorsDamaged {
        /// The first damaged seq of the cursors log.
        at: Seq,
    },
    /// A record in the log is damaged.
    #[error("the log is damaged at seq {at}: appends stop until it is repaired; run `hbuf verify`")]
    Damaged {
        /// The first damaged seq.
        at: Seq,
    },
}
