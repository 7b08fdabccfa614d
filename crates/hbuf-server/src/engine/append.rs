//! Appending as the HTTP layer sees it: contents in, a reply or a refusal out.

use bytes::Bytes;
use hbuf_core::append::{AckLevel, AppendRefused, Appended};
use hbuf_core::commitment::commitment;
use hbuf_core::effect::Parts;
use hbuf_core::ids::{Hash, Seq};
use hbuf_core::mirror::Mirrored;
use hbuf_core::record::{self, Producer};
use hbuf_core::stream::StreamAppend;

use crate::clock;
use crate::read::ReadError;

/// The content of one message, salted and hashed before it meets the shard.
#[derive(Clone, Debug)]
pub struct Content {
    /// The canonical user header lines.
    pub lines: Bytes,
    /// The body as stored.
    pub body: Bytes,
    /// 32 random bytes that nobody else has.
    pub salt: [u8; 32],
    /// The commitment to all of it.
    pub commitment: Hash,
}

impl Content {
    /// Draws a salt and commits to lines and body.
    #[must_use]
    pub fn seal(lines: Bytes, body: Bytes) -> Self {
        let salt = clock::random_32();
        let commitment = commitment(&salt, &lines, &body);
        Self {
            lines,
            body,
            salt,
            commitment,
        }
    }

    /// What its record holds.
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts {
            lines: &self.lines,
            salt: self.salt,
            body: &self.body,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lines.len() as u64 + self.body.len() as u64
    }
}

/// One append: a message, or a batch that becomes visible whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// The messages in order.
    pub contents: Vec<Content>,
    /// When to answer.
    pub ack: AckLevel,
    /// Append only if the log ends with this seq.
    pub if_match: Option<Seq>,
    /// The producer's number of this append.
    pub producer: Option<Producer>,
    /// The `Idempotency-Key`, as it came.
    pub idempotency_key: Option<Vec<u8>>,
    /// Answer with the ids of all messages, not only the last.
    pub ids: bool,
    /// The append means the stream in the buffer; the record that says so is the first content.
    pub stream: Option<StreamAppend>,
    /// The messages are records of the buffer that this one mirrors.
    pub mirrored: Option<Box<Mirrored>>,
}

/// The good end of an append.
#[derive(Clone, Debug)]
pub struct AppendReply {
    /// Where the messages stand and how far they came.
    pub appended: Appended,
    /// Id of the last message.
    pub id: Hash,
    /// Ids of all messages, when they were asked for.
    pub ids: Vec<Hash>,
}

/// Why an append has no good end.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The rules refused it; nothing was stored.
    #[error(transparent)]
    Refused(#[from] AppendRefused),
    /// The idempotency key belongs to other content.
    #[error("this Idempotency-Key was used for other content at seq {first}: use a new key")]
    KeyReused {
        /// First seq of the earlier append.
        first: Seq,
    },
    /// More bytes wait for the disk than the node may hold.
    #[error("{bytes} bytes already wait for the disk: try again shortly")]
    Overloaded {
        /// Bytes that wait.
        bytes: u64,
    },
    /// The reply of an old producer number is no longer in the log.
    #[error(
        "producer number {number} was appended, but retention has dropped it: its seq is unknown"
    )]
    ReplyGone {
        /// The number.
        number: u64,
    },
    /// The earlier append could not be read back.
    #[error("the earlier reply cannot be read back: {0}")]
    Read(#[from] ReadError),
    /// The node stops; whether the message was stored is unknown.
    #[error(
        "the node is stopping; whether the message was stored is unknown: retry with the same Idempotency-Key"
    )]
    Stopping,
}

/// The reply to an append whose first record was found in the log.
pub(crate) fn replayed(record: &record::Record<'_>) -> Appended {
    let line = &record.line;
    Appended {
        first: line.seq,
        last: line.seq.plus(u64::from(line.rest)),
        id: None,
        time: line.time,
        epoch: line.epoch,
        level: AckLevel::InSync,
        replayed: true,
        stream: None,
    }
}

/// The records of a raw read, which has checked them.
pub(crate) fn records(bytes: &[u8]) -> impl Iterator<Item = record::Record<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let line = record::Line::parse(rest.get(..record::LINE_LEN)?).ok()?;
        let (bytes, behind) = rest.split_at_checked(usize::try_from(line.record_len()).ok()?)?;
        rest = behind;
        record::decode(bytes).ok()
    })
}
