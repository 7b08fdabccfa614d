//! What a request asks of a stream, what it gets, and why it is refused.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::Write as _;

use super::Definition;
use super::control::Control;
use crate::ids::Seq;
use crate::limits::PRODUCER_ID_BYTES_MAX;

/// An append that means the stream in the buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StreamAppend {
    /// Makes the empty buffer a stream. The first item is the record that says so.
    Define {
        /// What it is.
        definition: Definition,
        /// The messages of this append are its only ones.
        closed: bool,
    },
    /// Appends messages, closes, or both.
    Write(StreamWrite),
    /// Puts on record that the stream was used. The only item is the record that says so.
    Use,
}

/// Messages for a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StreamWrite {
    /// The content type of the request.
    pub content_type: Option<Box<str>>,
    /// Its `Stream-Seq`.
    pub seq: Option<Box<str>>,
    /// The messages, if any, are the last ones. The first item is the record that says so.
    pub close: bool,
}

impl StreamAppend {
    /// The record that stands before the messages of the append.
    #[must_use]
    pub fn control(&self) -> Option<Control> {
        match self {
            Self::Define { definition, closed } => Some(Control::Define {
                definition: definition.clone(),
                closed: *closed,
            }),
            Self::Write(write) => write.close.then_some(Control::Close),
            Self::Use => Some(Control::Use),
        }
    }

    pub(crate) fn seq(&self) -> Option<&str> {
        match self {
            Self::Write(write) => write.seq.as_deref(),
            Self::Define { .. } | Self::Use => None,
        }
    }
}

/// Where a stream stands when an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamEnd {
    /// The seq behind which the stream goes on for whoever appended.
    pub tail: Seq,
    /// It is closed.
    pub closed: bool,
    /// The highest number of the append's producer.
    pub number: Option<u64>,
    /// The append was refused because the stream is closed. It is told when the closing is
    /// committed, and not before: it might be lost.
    pub refused: bool,
}

/// Why an append to a stream was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StreamRefused {
    /// The buffer is no stream.
    #[error("the buffer holds no stream")]
    NotStream,
    /// The buffer holds messages that belong to no stream.
    #[error("the buffer of this stream exists and holds other messages: choose another path")]
    Occupied,
    /// An append to the buffer itself.
    #[error("the buffer is a stream: append at /v1/stream/… so that its rules hold")]
    IsStream,
    /// Its time is over.
    #[error("the stream has expired")]
    Expired,
    /// It exists with another content type, life or closure.
    #[error("the stream exists, but with another content type, lifetime or closure")]
    Differs,
    /// The content type is another.
    #[error("the stream takes {stream}, and the request carries {got}")]
    TypeDiffers {
        /// The stream's content type.
        stream: Box<str>,
        /// The request's.
        got: Box<str>,
    },
    /// The `Stream-Seq` does not come after the last one.
    #[error("`stream-seq: {got}` does not come after `{last}`, byte by byte")]
    SeqOld {
        /// The last one.
        last: Box<str>,
        /// The one that came.
        got: Box<str>,
    },
    /// A newer incarnation of the producer has appended.
    #[error("producer epoch {got} is fenced by epoch {current}: start a higher epoch")]
    ProducerStale {
        /// The highest epoch seen.
        current: u64,
        /// The epoch that came.
        got: u64,
    },
    /// A new epoch starts at another number than 0.
    #[error("producer epoch {epoch} is new and starts with number 0, not {got}")]
    ProducerStart {
        /// The epoch.
        epoch: u64,
        /// The number that came.
        got: u64,
    },
    /// The producer skipped a number.
    #[error("producer number {got} does not follow: expected {expected}")]
    ProducerGap {
        /// The number that would follow.
        expected: u64,
        /// The number that came.
        got: u64,
    },
}

/// A `Stream-Seq`: visible ASCII with spaces only within; `None` for anything else, or a longer
/// one than [`crate::limits::STREAM_SEQ_BYTES_MAX`].
#[must_use]
pub fn writer_seq(text: &str) -> Option<Box<str>> {
    crate::record::parse_stream_seq(text.as_bytes())
}

/// The id under which the core knows a producer of a stream: bytes outside visible ASCII, `%` and
/// `/` as %XX. `None` when it is empty or too long.
#[must_use]
pub fn producer_id(text: &str) -> Option<Box<str>> {
    let mut id = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'/') {
            id.push(char::from(byte));
        } else {
            write!(id, "%{byte:02X}").expect("strings take all");
        }
    }
    (!id.is_empty() && id.len() <= PRODUCER_ID_BYTES_MAX).then(|| id.into_boxed_str())
}
