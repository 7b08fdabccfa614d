//! A stream of raw records, cut by the lengths that their request lines claim, checked by their
//! CRC.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use hbuf_core::ids::{Epoch, Hash, Micros, Seq};
use hbuf_core::limits;
use hbuf_core::record::{self, Facts, Kind, LINE_LEN, Line, Proof, State};
use hbuf_core::topic::RunHead;
use hyper::body::Incoming;

use crate::catalog::Collection;
use crate::client::{CallError, Client};
use crate::read::ReadOptions;

/// A record with its bytes, as it stands on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    bytes: Bytes,
    line: Line,
    facts: Facts,
    proof: Proof,
    lines: Range<usize>,
    body: Range<usize>,
}

/// A run of records that the server sends.
#[derive(Debug)]
pub struct RecordStream {
    client: Client,
    body: Incoming,
    buffer: BytesMut,
    commit: Option<u64>,
    cursor: Option<String>,
    gaps: Vec<String>,
}

impl Record {
    /// Takes the bytes of one whole record.
    pub fn decode(bytes: Bytes) -> Result<Self, record::RecordError> {
        let decoded = record::decode(&bytes)?;
        let range = |part: &[u8]| {
            // Parts are slices of `bytes`, so their addresses tell where they stand in it.
            let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
            start..start + part.len()
        };
        let (lines, body) = (range(decoded.lines), range(decoded.body));
        let (line, facts, proof) = (decoded.line, decoded.facts.clone(), decoded.proof);
        Ok(Self {
            line,
            facts,
            proof,
            lines,
            body,
            bytes,
        })
    }

    /// The record in the core's form, to verify it or to walk its headers.
    #[must_use]
    pub fn view(&self) -> record::Record<'_> {
        record::Record {
            line: self.line.clone(),
            facts: self.facts.clone(),
            lines: &self.bytes[self.lines.clone()],
            proof: self.proof,
            body: &self.bytes[self.body.clone()],
            bytes: &self.bytes,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.line.seq
    }

    /// Server time.
    #[must_use]
    pub const fn time(&self) -> Micros {
        self.line.time
    }

    /// Epoch of the primary that framed it.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.line.epoch
    }

    /// What kind of record it is; users append `data`.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.facts.kind
    }

    /// Whether its content was erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.line.state == State::Gone
    }

    /// `x-hbuf-id`; `None` in a log without a tree.
    #[must_use]
    pub const fn id(&self) -> Option<Hash> {
        match self.proof {
            Proof::Salted { id, .. } | Proof::Gone { id, .. } => Some(id),
            Proof::None => None,
        }
    }

    /// The body, sharing the record's memory.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body.clone())
    }

    /// All of it, the CRLF behind the body included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Client {
    /// Reads raw records. Without a limit the server streams to the commit seen at its start.
    pub async fn read(
        &self,
        collection: Collection,
        name: &str,
        options: &ReadOptions,
    ) -> Result<RecordStream, CallError> {
        let response = self
            .open_read(collection, name, options, "application/http")
            .await?;
        let commit = response.headers().get("x-hbuf-commit");
        let commit = commit.and_then(|commit| commit.to_str().ok()?.parse().ok());
        let body = response.into_body();
        Ok(RecordStream {
            client: self.clone(),
            body,
            buffer: BytesMut::new(),
            commit,
            cursor: None,
            gaps: Vec::new(),
        })
    }
}

impl RecordStream {
    /// The next record, checked, or `None` at the end. Head lines between buffers of a topic are
    /// passed over.
    pub async fn next(&mut self) -> Result<Option<Record>, CallError> {
        while let Some(bytes) = self.next_bytes().await? {
            let record = Record::decode(bytes)
                .map_err(|error| self.client.not_ours(format!("bad record, {error}")))?;
            if record.line.state != State::Head {
                return Ok(Some(record));
            }
            if let Some(RunHead::End { cursor, gaps }) = RunHead::of(&record.view()) {
                (self.cursor, self.gaps) = (cursor, gaps);
            }
        }
        Ok(None)
    }

    /// The next record as it came, cut by its length but not checked.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, CallError> {
        if !self.fill(LINE_LEN).await? {
            if self.buffer.is_empty() {
                return Ok(None);
            }
            return Err(self.client.not_ours("the stream ended inside a record"));
        }
        let line = Line::parse(&self.buffer[..LINE_LEN])
            .map_err(|error| self.client.not_ours(format!("bad record, {error}")))?;
        if u64::from(line.head_len) > limits::HEAD_BYTES_MAX
            || u64::from(line.body_len) > limits::JOURNAL_BODY_BYTES_MAX
        {
            return Err(self.client.not_ours("a record longer than hbuf's limits"));
        }
        let length = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        if !self.fill(length).await? {
            return Err(self.client.not_ours("the stream ended inside a record"));
        }
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// The commit that the server saw: a read that reached its end has looked at everything up to
    /// there.
    #[must_use]
    pub const fn commit(&self) -> Option<u64> {
        self.commit
    }

    /// Where a reader of a topic of several buffers goes on; known once all was read.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Buffers of the topic of which something is missing, each as `<name>; reason=<reason>`; known
    /// once all was read.
    #[must_use]
    pub fn gaps(&self) -> &[String] {
        &self.gaps
    }

    /// Reads until there are `length` bytes; false when the stream ends before.
    async fn fill(&mut self, length: usize) -> Result<bool, CallError> {
        while self.buffer.len() < length {
            match self
                .client
                .next_piece(&mut self.body, self.client.timeout)
                .await?
            {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}
