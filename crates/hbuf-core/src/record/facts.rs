//! Server facts: header lines that only the server writes, in one fixed order, kept through
//! erasure.
//!
//! They stand between `content-length` and the user's lines. A plain data message has none.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::digits::{
    decimal_len, push_decimal, push_uuid, read_decimal, read_decimal_plain, read_uuid,
    write_decimal_20, write_hash,
};
use crate::ids::{Hash, Seq, Uuid};
use crate::limits::{PRODUCER_ID_BYTES_MAX, STREAM_SEQ_BYTES_MAX};

/// What a record is for. Every kind that the format knows, also those that later work writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A user's message; the only kind without a line of its own.
    #[default]
    Data,
    /// Names earlier seqs whose content is erased.
    Erase,
    /// Says that a key has no value any more.
    Tombstone,
    /// Precedes a compaction: its rule and range.
    Compact,
    /// Says which messages are no longer kept.
    Retain,
    /// What happened to the stream in the buffer besides its messages.
    Stream,
    /// A move of a consumer's cursor, an ack, a delivery count.
    Cursor,
    /// A journal entry: bytes that belong at the end of a file.
    Journal,
    /// A command of the manager's log.
    Command,
    /// The whole state of a log at its seq: cursors at a roll, the manager's tables.
    Snapshot,
    /// A table kept beside a log, as that of the producers.
    Table,
    /// Head of a segment.
    Segment,
    /// Head in a mark's slot.
    Mark,
    /// Head between records of different buffers in a raw read of a topic.
    Run,
    /// Head with the manager's term and vote.
    Vote,
    /// Head with the manager's members.
    Members,
}

/// Who appended with which number: `x-hbuf-producer: <id>/<epoch>/<number>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Producer {
    /// The producer's own name: visible ASCII without `/`.
    pub id: Box<str>,
    /// Its incarnation; a higher one fences a lower one.
    pub epoch: u64,
    /// Its number of the message, counting without gaps.
    pub number: u64,
}

/// Where a mirrored message came from: `x-hbuf-origin: <buffer uuid>/<seq>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The buffer that it was copied from; in a chain of mirrors the one before.
    pub buffer: Uuid,
    /// Its number there.
    pub seq: Seq,
}

/// The data key that sealed the body: `x-hbuf-dek: <uuid>/<counter>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dek {
    /// The key's id, which names its file under `deks/`.
    pub id: Uuid,
    /// The nonce: that incarnation's counter.
    pub counter: u64,
}

/// The file that a journal entry's bytes belong to: `x-hbuf-file: [cursors/]<first seq>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JournalFile {
    /// The segment of messages that starts with this seq.
    Messages(Seq),
    /// The segment of the cursors log that starts with this seq.
    Cursors(Seq),
}

/// The server facts of a record. `Facts::default()` is a plain data message: no line at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// `x-hbuf-kind`.
    pub kind: Kind,
    /// `x-hbuf-format`: version of the format, in heads only.
    pub format: Option<u32>,
    /// `x-hbuf-producer`.
    pub producer: Option<Producer>,
    /// `x-hbuf-idem`: keyed hash of the `Idempotency-Key`.
    pub idem: Option<Hash>,
    /// `x-hbuf-origin`, in mirrors.
    pub origin: Option<Origin>,
    /// `x-hbuf-origin-id`: the id that the message has in its origin.
    pub origin_id: Option<Hash>,
    /// `x-hbuf-dek`, when the body is sealed.
    pub dek: Option<Dek>,
    /// `x-hbuf-buffer`, in journal entries and heads of runs.
    pub buffer: Option<Uuid>,
    /// `x-hbuf-file`, in journal entries.
    pub file: Option<JournalFile>,
    /// `x-hbuf-stream-seq`: the `Stream-Seq` of an append to a stream.
    pub stream_seq: Option<Box<str>>,
}

/// Why the lines of server facts cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FactsError {
    /// The value is not in its one form.
    #[error("`{name}` does not have its one form")]
    Value {
        /// The header.
        name: &'static str,
    },
    /// A fact stands twice or after one that it must precede.
    #[error("`{name}` stands twice or out of order")]
    Order {
        /// The header.
        name: &'static str,
    },
}

impl Facts {
    /// The facts of a record of this kind that has no others.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    /// A plain data message: no line, and a hash that needs no hashing.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(
            self,
            Self {
                kind: Kind::Data,
                format: None,
                producer: None,
                idem: None,
                origin: None,
                origin_id: None,
                dek: None,
                buffer: None,
                file: None,
                stream_seq: None,
            }
        )
    }

    /// Bytes that [`Facts::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        if self.is_plain() {
            return 0;
        }
        let line = |name: &str, value: Option<usize>| value.map_or(0, |len| name.len() + len + 4);
        let kind = (self.kind != Kind::Data).then(|| self.kind.text().len());
        line(KIND, kind)
            + line(
                FORMAT,
                self.format.map(|format| decimal_len(u64::from(format))),
            )
            + line(PRODUCER, self.producer.as_ref().map(Producer::text_len))
            + line(IDEM, self.idem.map(|_| 64))
            + line(
                ORIGIN,
                self.origin.map(|origin| 37 + decimal_len(origin.seq.0)),
            )
            + line(ORIGIN_ID, self.origin_id.map(|_| 64))
            + line(DEK, self.dek.map(|dek| 37 + decimal_len(dek.counter)))
            + line(BUFFER, self.buffer.map(|_| 36))
            + line(FILE, self.file.map(JournalFile::text_len))
            + line(STREAM_SEQ, self.stream_seq.as_ref().map(|seq| seq.len()))
    }

    /// Appends the lines in their fixed order: the order of the fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.is_plain() {
            return;
        }
        if self.kind != Kind::Data {
            push_line(KIND, out, |out| {
                out.extend_from_slice(self.kind.text().as_bytes())
            });
        }
        if let Some(format) = self.format {
            push_line(FORMAT, out, |out| push_decimal(u64::from(format), out));
        }
        if let Some(producer) = &self.producer {
            push_line(PRODUCER, out, |out| producer.push(out));
        }
        if let Some(idem) = &self.idem {
            push_line(IDEM, out, |out| push_hash(idem, out));
        }
        if let Some(origin) = &self.origin {
            push_line(ORIGIN, out, |out| {
                push_pair(&origin.buffer, origin.seq.0, out)
            });
        }
        if let Some(id) = &self.origin_id {
            push_line(ORIGIN_ID, out, |out| push_hash(id, out));
        }
        if let Some(dek) = &self.dek {
            push_line(DEK, out, |out| push_pair(&dek.id, dek.counter, out));
        }
        if let Some(buffer) = &self.buffer {
            push_line(BUFFER, out, |out| push_uuid(buffer, out));
        }
        if let Some(file) = self.file {
            push_line(FILE, out, |out| file.push(out));
        }
        if let Some(seq) = &self.stream_seq {
            push_line(STREAM_SEQ, out, |out| out.extend_from_slice(seq.as_bytes()));
        }
    }

    /// Takes in one line. `Ok(false)`: the name is no fact's. `last` is the place of the last fact
    /// that was read, 0 before the first, so that facts come in their order and once.
    pub(crate) fn read(
        &mut self,
        name: &[u8],
        value: &[u8],
        last: &mut usize,
    ) -> Result<bool, FactsError> {
        let Some(place) = NAMES.iter().position(|fact| fact.as_bytes() == name) else {
            return Ok(false);
        };
        let name = NAMES[place];
        if place < *last {
            return Err(FactsError::Order { name });
        }
        *last = place + 1;
        self.set(name, value).ok_or(FactsError::Value { name })?;
        Ok(true)
    }

    fn set(&mut self, name: &'static str, value: &[u8]) -> Option<()> {
        match name {
            KIND => self.kind = Kind::parse(value).filter(|&kind| kind != Kind::Data)?,
            FORMAT => self.format = Some(read_decimal_plain(value)?.try_into().ok()?),
            PRODUCER => self.producer = Some(Producer::parse(value)?),
            IDEM => self.idem = Some(Hash::parse_hex(value)?),
            ORIGIN => {
                let (buffer, seq) = read_pair(value)?;
                self.origin = Some(Origin {
                    buffer,
                    seq: Seq(seq),
                });
            }
            ORIGIN_ID => self.origin_id = Some(Hash::parse_hex(value)?),
            DEK => {
                let (id, counter) = read_pair(value)?;
                self.dek = Some(Dek { id, counter });
            }
            BUFFER => self.buffer = Some(read_uuid(value)?),
            FILE => self.file = Some(JournalFile::parse(value)?),
            _ => self.stream_seq = Some(parse_stream_seq(value)?),
        }
        Some(())
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Data,
        Self::Erase,
        Self::Tombstone,
        Self::Compact,
        Self::Retain,
        Self::Stream,
        Self::Cursor,
        Self::Journal,
        Self::Command,
        Self::Snapshot,
        Self::Table,
        Self::Segment,
        Self::Mark,
        Self::Run,
        Self::Vote,
        Self::Members,
    ];

    /// The value of `x-hbuf-kind`.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Erase => "erase",
            Self::Tombstone => "tombstone",
            Self::Compact => "compact",
            Self::Retain => "retain",
            Self::Stream => "stream",
            Self::Cursor => "cursor",
            Self::Journal => "journal",
            Self::Command => "command",
            Self::Snapshot => "snapshot",
            Self::Table => "table",
            Self::Segment => "segment",
            Self::Mark => "mark",
            Self::Run => "run",
            Self::Vote => "vote",
            Self::Members => "members",
        }
    }

    /// Reads the value of `x-hbuf-kind`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.text().as_bytes() == text)
    }

    /// Kinds of head lines: no message, whatever log they stand in.
    #[must_use]
    pub const fn is_head(self) -> bool {
        matches!(
            self,
            Self::Segment | Self::Mark | Self::Run | Self::Vote | Self::Members
        )
    }
}

impl Producer {
    /// Reads `<id>/<epoch>/<number>`: an id of visible ASCII without `/`, two plain decimals.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|&c| c == b'/');
        let (id, epoch, number) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || id.is_empty() || id.len() > PRODUCER_ID_BYTES_MAX {
            return None;
        }
        if !id.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        Some(Self {
            id: core::str::from_utf8(id).ok()?.into(),
            epoch: read_decimal_plain(epoch)?,
            number: read_decimal_plain(number)?,
        })
    }

    fn text_len(&self) -> usize {
        self.id.len() + 2 + decimal_len(self.epoch) + decimal_len(self.number)
    }

    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.push(b'/');
        push_decimal(self.epoch, out);
        out.push(b'/');
        push_decimal(self.number, out);
    }
}

impl JournalFile {
    /// First seq of the file.
    #[must_use]
    pub const fn first(self) -> Seq {
        match self {
            Self::Messages(first) | Self::Cursors(first) => first,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (cursors, digits) = match text.strip_prefix(CURSORS) {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let digits: &[u8; 20] = digits.try_into().ok()?;
        let first = Some(Seq(read_decimal(digits)?)).filter(|&first| first <= Seq::MAX)?;
        Some(if cursors {
            Self::Cursors(first)
        } else {
            Self::Messages(first)
        })
    }

    const fn text_len(self) -> usize {
        match self {
            Self::Messages(_) => 20,
            Self::Cursors(_) => 20 + CURSORS.len(),
        }
    }

    fn push(self, out: &mut Vec<u8>) {
        if matches!(self, Self::Cursors(_)) {
            out.extend_from_slice(CURSORS);
        }
        let mut digits = [0; 20];
        write_decimal_20(self.first().0, &mut digits);
        out.extend_from_slice(&digits);
    }
}

/// Reads a `Stream-Seq`: visible ASCII, with spaces only within, and not too long.
pub(crate) fn parse_stream_seq(text: &[u8]) -> Option<Box<str>> {
    let text = core::str::from_utf8(text).ok()?;
    let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let whole = !text.is_empty()
        && text.len() <= STREAM_SEQ_BYTES_MAX
        && text.trim() == text
        && text.bytes().all(printable);
    whole.then(|| text.into())
}

fn push_line(name: &str, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    value(out);
    out.extend_from_slice(b"\r\n");
}

fn push_hash(hash: &Hash, out: &mut Vec<u8>) {
    let mut digits = [0; 64];
    write_hash(hash, &mut digits);
    out.extend_from_slice(&digits);
}

/// `<uuid>/<number>`.
fn push_pair(uuid: &Uuid, number: u64, out: &mut Vec<u8>) {
    push_uuid(uuid, out);
    out.push(b'/');
    push_decimal(number, out);
}

fn read_pair(text: &[u8]) -> Option<(Uuid, u64)> {
    let (uuid, number) = text.split_at_checked(36)?;
    Some((
        read_uuid(uuid)?,
        read_decimal_plain(number.strip_prefix(b"/")?)?,
    ))
}

const CURSORS: &[u8] = b"cursors/";

const KIND: &str = "x-hbuf-kind";
const FORMAT: &str = "x-hbuf-format";
const PRODUCER: &str = "x-hbuf-producer";
const IDEM: &str = "x-hbuf-idem";
const ORIGIN: &str = "x-hbuf-origin";
const ORIGIN_ID: &str = "x-hbuf-origin-id";
const DEK: &str = "x-hbuf-dek";
const BUFFER: &str = "x-hbuf-buffer";
const FILE: &str = "x-hbuf-file";
const STREAM_SEQ: &str = "x-hbuf-stream-seq";

/// The names of the facts, in their fixed order.
pub(crate) const NAMES: [&str; 10] = [
    KIND, FORMAT, PRODUCER, IDEM, ORIGIN, ORIGIN_ID, DEK, BUFFER, FILE, STREAM_SEQ,
];
