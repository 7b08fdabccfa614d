//! Reading one record, strictly: what does not read back in exactly one way is refused.

use memchr::memchr;

use super::encode::{Proof, ProofKind};
use super::facts::{Facts, FactsError};
use super::line::{LINE_LEN, Line, LineError, State};
use super::{CONTENT_LENGTH, GONE, HOST, ID, SALT, crc};
use crate::commitment::{Leaf, commitment, facts_hash};
use crate::content::token::{is_name, is_value, trim};
use crate::digits::{read_base64url, read_decimal_plain, read_hash};
use crate::ids::{Hash, Micros, Uuid};
use crate::time::parse_rfc3339;

/// A record in its parts, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record<'a> {
    /// The request line.
    pub line: Line,
    /// Server facts.
    pub facts: Facts,
    /// The user's lines, each with its CRLF.
    pub lines: &'a [u8],
    /// Salt and id, commitment and id, or nothing.
    pub proof: Proof,
    /// The body as stored.
    pub body: &'a [u8],
    /// All of it, the CRLF behind the body included.
    pub bytes: &'a [u8],
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RecordError {
    /// The request line cannot be read.
    #[error("request line: {0}")]
    Line(#[from] LineError),
    /// The line claims another length than there are bytes.
    #[error("the request line claims {claimed} bytes, there are {bytes}")]
    Length {
        /// Head, body and CRLF as claimed.
        claimed: u64,
        /// Bytes at hand.
        bytes: u64,
    },
    /// The checksum is another.
    #[error("CRC is {computed:08x}, the request line says {claimed:08x}")]
    Crc {
        /// As the line says.
        claimed: u32,
        /// As the bytes give.
        computed: u32,
    },
    /// Something else than the format's own lines stands at this offset.
    #[error("byte {at}: expected {expected}")]
    Expected {
        /// Offset in the record.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// A server fact cannot be read.
    #[error("byte {at}: {error}")]
    Facts {
        /// Offset of its line.
        at: usize,
        /// What is wrong with it.
        error: FactsError,
    },
    /// A header line that no writer of records writes.
    #[error("byte {at}: a header line that no record has")]
    Header {
        /// Offset of its line.
        at: usize,
    },
    /// The state does not go with the proof or the kind.
    #[error("the state does not go with the lines of salt, commitment and id, or with the kind")]
    State,
}

/// What the content says about the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The content gives the id.
    Intact,
    /// The content is wiped, and the commitment gives the id.
    Erased,
    /// Content, facts, seq, time, lengths or log are not those of the id.
    Altered,
    /// Marked as erased, but something other than zeros is left.
    NotWiped,
    /// A record of a log without a tree: nothing to check.
    NoProof,
}

/// Reads one whole record, with the CRLF behind its body, and nothing else.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    decode_behind(bytes, Line::parse(bytes)?)
}

/// The same when the line is read already.
pub(crate) fn decode_behind(bytes: &[u8], line: Line) -> Result<Record<'_>, RecordError> {
    if line.record_len() != bytes.len() as u64 || bytes.len() < LINE_LEN {
        return Err(RecordError::Length {
            claimed: line.record_len(),
            bytes: bytes.len() as u64,
        });
    }
    let computed = crc(bytes);
    if computed != line.crc {
        return Err(RecordError::Crc {
            claimed: line.crc,
            computed,
        });
    }
    read_parts(bytes, line)
}

/// Takes a record apart whose line is read already, whatever its CRC.
fn read_parts(bytes: &[u8], line: Line) -> Result<Record<'_>, RecordError> {
    let head_len = line.head_len as usize;
    let (head, rest) = bytes.split_at_checked(head_len).unwrap_or((bytes, b""));
    let (facts, lines, proof) = read_head(head, &line)?;
    let Some((body, b"\r\n")) = rest.split_at_checked(line.body_len as usize) else {
        let at = head_len + line.body_len as usize;
        return Err(RecordError::Expected {
            at,
            expected: "CRLF behind the body",
        });
    };
    Ok(Record {
        line,
        facts,
        lines,
        proof,
        body,
        bytes,
    })
}

/// Reads a whole head against its line: the recovery scan believes a line only if this agrees.
pub(crate) fn read_head<'a>(
    head: &'a [u8],
    line: &Line,
) -> Result<(Facts, &'a [u8], Proof), RecordError> {
    if head.len() != line.head_len as usize || head.len() < LINE_LEN {
        return Err(RecordError::Expected {
            at: head.len(),
            expected: "a head of `h` bytes",
        });
    }
    let mut reader = Reader { head, at: LINE_LEN };
    reader.expect(HOST, "`host:`")?;
    reader.expect(CONTENT_LENGTH, "`content-length: `")?;
    let at = reader.at;
    if read_decimal_plain(reader.rest_of_line()?) != Some(u64::from(line.body_len)) {
        return Err(RecordError::Expected {
            at,
            expected: "a content-length equal to `b`",
        });
    }
    let facts = reader.facts()?;
    let lines = reader.user_lines()?;
    let proof = reader.proof()?;
    reader.expect(b"\r\n", "the empty line")?;
    if reader.at != head.len() {
        return Err(RecordError::Expected {
            at: reader.at,
            expected: "the end of the head",
        });
    }
    let state = match proof.kind() {
        ProofKind::Gone => State::Gone,
        ProofKind::None if facts.kind.is_head() => State::Head,
        ProofKind::Salted | ProofKind::None => State::Live,
    };
    if state != line.state || (state == State::Head) != facts.kind.is_head() {
        return Err(RecordError::State);
    }
    Ok((facts, lines, proof))
}

impl<'a> Record<'a> {
    /// The user's headers, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        headers(self.lines)
    }

    /// `x-hbuf-key`, percent-encoded.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.headers()
            .find(|(name, _)| *name == b"x-hbuf-key")
            .map(|(_, value)| value)
    }

    /// The tags of `x-hbuf-tag`.
    pub fn tags(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let tags = self.headers().find(|(name, _)| *name == b"x-hbuf-tag");
        let value = tags.map_or(&b""[..], |(_, value)| value);
        value
            .split(|&c| c == b',')
            .map(trim)
            .filter(|tag| !tag.is_empty())
    }

    /// `x-hbuf-deliver-at`: consumers are not handed the message before.
    #[must_use]
    pub fn deliver_at(&self) -> Option<Micros> {
        let mut headers = self.headers();
        let (_, value) = headers.find(|(name, _)| *name == b"x-hbuf-deliver-at")?;
        parse_rfc3339(core::str::from_utf8(value).ok()?)
    }

    /// The content's commitment: computed while the content lives, stored when it is gone.
    #[must_use]
    pub fn commitment(&self) -> Option<Hash> {
        match &self.proof {
            Proof::Salted { salt, .. } => Some(commitment(salt, self.lines, self.body)),
            Proof::Gone { commitment, .. } => Some(*commitment),
            Proof::None => None,
        }
    }

    /// The leaf's hash as it follows from the record; `None` in a log without a tree.
    #[must_use]
    pub fn leaf(&self, log: Uuid) -> Option<Hash> {
        self.leaf_parts(log).map(|leaf| leaf.id())
    }

    /// The leaf as it follows from the record.
    #[must_use]
    pub fn leaf_parts(&self, log: Uuid) -> Option<Leaf> {
        Some(Leaf {
            log,
            seq: self.line.seq,
            time: self.line.time,
            head_len: self.line.head_len,
            body_len: u64::from(self.line.body_len),
            facts: facts_hash(&self.facts),
            commitment: self.commitment()?,
        })
    }

    /// `x-hbuf-id` as stored.
    #[must_use]
    pub const fn id(&self) -> Option<Hash> {
        match self.proof {
            Proof::Salted { id, .. } | Proof::Gone { id, .. } => Some(id),
            Proof::None => None,
        }
    }

    /// Whether content and id belong together, in the log with this uuid.
    #[must_use]
    pub fn verify(&self, log: Uuid) -> Verdict {
        let (Some(leaf), Some(id)) = (self.leaf(log), self.id()) else {
            return Verdict::NoProof;
        };
        if leaf != id {
            return Verdict::Altered;
        }
        match self.line.state {
            State::Gone if self.is_wiped() => Verdict::Erased,
            State::Gone => Verdict::NotWiped,
            State::Live | State::Head => Verdict::Intact,
        }
    }

    fn is_wiped(&self) -> bool {
        let is = |bytes: &[u8], wiped: u8| bytes.iter().all(|&byte| byte == wiped);
        is(self.body, b'0')
            && self
                .headers()
                .all(|(name, value)| is(name, b'x') && is(value, b'0'))
    }
}

/// Names and values of canonical lines.
pub(crate) fn headers(mut lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    core::iter::from_fn(move || {
        let end = memchr(b'\r', lines)?;
        let colon = memchr(b':', &lines[..end])?;
        let pair = (&lines[..colon], lines.get(colon + 2..end)?);
        lines = lines.get(end + 2..).unwrap_or_default();
        Some(pair)
    })
}

struct Reader<'a> {
    head: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn expect(&mut self, text: &[u8], expected: &'static str) -> Result<(), RecordError> {
        if !self.head[self.at..].starts_with(text) {
            return Err(RecordError::Expected {
                at: self.at,
                expected,
            });
        }
        self.at += text.len();
        Ok(())
    }

    /// The bytes up to the next CRLF, which is passed.
    fn rest_of_line(&mut self) -> Result<&'a [u8], RecordError> {
        let rest = &self.head[self.at..];
        let end = memchr(b'\r', rest).filter(|&end| rest.get(end + 1) == Some(&b'\n'));
        let end = end.ok_or(RecordError::Expected {
            at: self.at,
            expected: "a line and CRLF",
        })?;
        self.at += end + 2;
        Ok(&rest[..end])
    }

    /// The lines of the facts, up to the first that is none.
    fn facts(&mut self) -> Result<Facts, RecordError> {
        let mut facts = Facts::default();
        let mut last = 0;
        while self.head[self.at..].starts_with(b"x-hbuf-") {
            let at = self.at;
            let (name, value) = split(self.rest_of_line()?).ok_or(RecordError::Header { at })?;
            let read = facts.read(name, value, &mut last);
            if !read.map_err(|error| RecordError::Facts { at, error })? {
                self.at = at;
                break;
            }
        }
        Ok(facts)
    }

    /// The user's lines, up to salt, commitment or the empty line.
    fn user_lines(&mut self) -> Result<&'a [u8], RecordError> {
        let start = self.at;
        loop {
            let rest = &self.head[self.at..];
            if rest.starts_with(SALT) || rest.starts_with(GONE) || rest.starts_with(b"\r\n") {
                return Ok(&self.head[start..self.at]);
            }
            let at = self.at;
            let (name, value) = split(self.rest_of_line()?).ok_or(RecordError::Header { at })?;
            if !is_name(name) || !is_value(value) || !is_stored(name) || trim(value) != value {
                return Err(RecordError::Header { at });
            }
        }
    }

    fn proof(&mut self) -> Result<Proof, RecordError> {
        let gone = match &self.head[self.at..] {
            rest if rest.starts_with(SALT) => false,
            rest if rest.starts_with(GONE) => true,
            _ => return Ok(Proof::None),
        };
        let at = self.at;
        self.at += SALT.len();
        let value = read_base64url(self.rest_of_line()?);
        let value = value.ok_or(RecordError::Expected {
            at,
            expected: "43 characters base64url",
        })?;
        self.expect(ID, "`x-hbuf-id: `")?;
        let at = self.at;
        let id = read_hash(self.rest_of_line()?);
        let id = id.ok_or(RecordError::Expected {
            at,
            expected: "64 hex digits",
        })?;
        Ok(if gone {
            Proof::Gone {
                commitment: Hash(value),
                id,
            }
        } else {
            Proof::Salted { salt: value, id }
        })
    }
}

/// `name: value` in its parts.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', line)?;
    Some((&line[..colon], line[colon + 1..].strip_prefix(b" ")?))
}

/// Whether a user's line may have this name: none that frames a request, none of the server's.
fn is_stored(name: &[u8]) -> bool {
    match name.strip_prefix(b"x-hbuf-") {
        Some(own) => matches!(own, b"key" | b"tag" | b"deliver-at") || own.starts_with(b"meta-"),
        None => !matches!(name, b"host" | b"content-length" | b"transfer-encoding"),
    }
}
