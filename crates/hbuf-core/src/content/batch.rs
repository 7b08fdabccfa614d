//! A batch: HTTP/1.1 requests one after another, as they stand in a file of ours.
//!
//! Each inner request is a `POST` with a `content-length`; its target is ignored; one or more CRLFs
//! may stand between. What a second parser could read otherwise is refused, not repaired. A record
//! of ours is taken as it is: its content is kept, the server's lines are dropped, heads are
//! skipped.

use alloc::vec::Vec;
use core::ops::Range;

use memchr::memchr;

use super::policy::{ContentError, Source, Stored};
use super::token::{is_name, is_value, trim};
use crate::digits::read_decimal;
use crate::limits::{BATCH_MESSAGES_MAX, BODY_BYTES_MAX};

/// The messages of a batch, borrowed from its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Batch<'a> {
    /// The stored lines of all messages.
    pub lines: Vec<u8>,
    /// The messages in order.
    pub messages: Vec<Inner<'a>>,
}

/// One message of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inner<'a> {
    /// Its lines' place in [`Batch::lines`].
    pub lines: Range<usize>,
    /// Its body.
    pub body: &'a [u8],
    /// Where the body starts in the batch's body.
    pub offset: usize,
}

/// Why a batch is refused, whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("message {index} of the batch (counting from 0): {reason}")]
pub struct BatchError {
    /// The message.
    pub index: usize,
    /// What is wrong with it.
    pub reason: BatchReason,
}

/// What is wrong with a message of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BatchReason {
    /// No message at all.
    #[error("the batch is empty: send at least one message")]
    Empty,
    /// Too many messages.
    #[error("more than {BATCH_MESSAGES_MAX} messages: send several batches")]
    Messages,
    /// The request line.
    #[error(
        "the request line must read `POST <target> HTTP/1.1`, and CRLF; a body that is longer \
        than its `content-length` is a common cause"
    )]
    RequestLine,
    /// The batch ends inside a head.
    #[error("the batch ends inside the headers: end them with an empty line")]
    HeadCut,
    /// A line without CR.
    #[error("a header line ends with LF alone: end lines with CRLF")]
    BareLf,
    /// A line that begins with a space.
    #[error(
        "a header line begins with a space: folded lines are refused, write the value in one line"
    )]
    Folded,
    /// A line that is no header.
    #[error("a header line is not `name: value`")]
    HeaderLine,
    /// No length.
    #[error("`content-length` is missing: send the body's length in bytes")]
    LengthMissing,
    /// Two lengths.
    #[error("`content-length` came twice: send it once")]
    LengthTwice,
    /// No decimal number.
    #[error("`content-length` is not a decimal number")]
    LengthNumber,
    /// A transfer coding.
    #[error("`transfer-encoding` is refused in a batch: send `content-length`")]
    TransferEncoding,
    /// The body is too long.
    #[error("the body has more than {BODY_BYTES_MAX} bytes: split the message")]
    BodyLong,
    /// The batch ends inside a body.
    #[error("the batch ends {missing} bytes before the end of this body")]
    BodyCut {
        /// Bytes that are missing.
        missing: u64,
    },
    /// Its headers.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl Batch<'_> {
    /// The stored lines of a message.
    #[must_use]
    pub fn lines(&self, inner: &Inner<'_>) -> &[u8] {
        &self.lines[inner.lines.clone()]
    }
}

/// Takes a batch apart. All or nothing: the first bad message refuses the whole.
pub fn parse_batch(body: &[u8]) -> Result<Batch<'_>, BatchError> {
    let mut batch = Batch::default();
    let mut parser = Parser {
        body,
        at: 0,
        name: Vec::new(),
    };
    loop {
        let index = batch.messages.len();
        let fail = |reason| BatchError { index, reason };
        while parser.rest().starts_with(b"\r\n") {
            parser.at += 2;
        }
        if parser.at == body.len() {
            break;
        }
        if index == BATCH_MESSAGES_MAX {
            return Err(fail(BatchReason::Messages));
        }
        parser.message(&mut batch).map_err(fail)?;
    }
    if batch.messages.is_empty() {
        return Err(BatchError {
            index: 0,
            reason: BatchReason::Empty,
        });
    }
    Ok(batch)
}

struct Parser<'a> {
    body: &'a [u8],
    at: usize,
    /// A name in lower case, when it came otherwise.
    name: Vec<u8>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.body[self.at..]
    }

    fn message(&mut self, batch: &mut Batch<'a>) -> Result<(), BatchReason> {
        self.request_line()?;
        let start = batch.lines.len();
        let mut stored = Stored::new(start);
        let mut length = None;
        loop {
            let line = self.line(BatchReason::BareLf)?;
            if line.is_empty() {
                break;
            }
            self.header(line, &mut stored, &mut length, &mut batch.lines)?;
        }
        let length = length.ok_or(BatchReason::LengthMissing)?;
        if length > BODY_BYTES_MAX {
            return Err(BatchReason::BodyLong);
        }
        let (offset, rest) = (self.at, self.rest());
        let cut = BatchReason::BodyCut {
            missing: length.saturating_sub(rest.len() as u64),
        };
        let body = rest.get(..length as usize).ok_or(cut)?;
        self.at += body.len();
        if stored.head {
            batch.lines.truncate(start);
            return Ok(());
        }
        stored.finish(&mut batch.lines)?;
        batch.messages.push(Inner {
            lines: start..batch.lines.len(),
            body,
            offset,
        });
        Ok(())
    }

    fn request_line(&mut self) -> Result<(), BatchReason> {
        let line = self
            .line(BatchReason::RequestLine)
            .map_err(|_| BatchReason::RequestLine)?;
        let target = line
            .strip_prefix(b"POST ")
            .and_then(|line| line.strip_suffix(b" HTTP/1.1"));
        match target {
            // Any byte but controls, spaces and DEL; a fold so that the compiler makes vector code.
            Some(target)
                if !target.is_empty()
                    && target
                        .iter()
                        .fold(true, |fine, &c| fine & (c > b' ') & (c != 0x7f)) =>
            {
                Ok(())
            }
            _ => Err(BatchReason::RequestLine),
        }
    }

    /// The next line without its CRLF.
    fn line(&mut self, bare: BatchReason) -> Result<&'a [u8], BatchReason> {
        let rest = self.rest();
        let end = memchr(b'\n', rest).ok_or(BatchReason::HeadCut)?;
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r").ok_or(bare)
    }

    fn header(
        &mut self,
        line: &'a [u8],
        stored: &mut Stored<'a>,
        length: &mut Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), BatchReason> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(BatchReason::Folded);
        }
        let colon = memchr(b':', line).ok_or(BatchReason::HeaderLine)?;
        let (mut name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if !is_name(name) {
            self.name.clear();
            self.name.extend(name.iter().map(u8::to_ascii_lowercase));
            name = &self.name;
            if !is_name(name) {
                return Err(BatchReason::HeaderLine);
            }
        }
        match name {
            b"content-length" if length.is_some() => Err(BatchReason::LengthTwice),
            b"content-length" => {
                *length = Some(read_decimal(value).ok_or(BatchReason::LengthNumber)?);
                Ok(())
            }
            b"transfer-encoding" => Err(BatchReason::TransferEncoding),
            _ => {
                stored.take(name, value, Source::Inner, out)?;
                // Also what is not stored must read in one way only.
                if is_value(value) {
                    Ok(())
                } else {
                    Err(BatchReason::HeaderLine)
                }
            }
        }
    }
}
