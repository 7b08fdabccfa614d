//! Counts what a read delivers, without copying it: records of `application/http`, lines of NDJSON,
//! events of SSE.
//!
//! A record is walked by its fixed-width request line alone (`h` and `b` at fixed offsets), exactly
//! as a consumer that wants every message would; the seqs are checked to follow one another, so a
//! measurement cannot be fast because it skipped something.

use std::fmt;

use memchr::{memchr, memchr_iter, memmem};

use super::wire::{decimal, hex};

/// The request line of a record, CRLF included, has this width.
pub(crate) const LINE_BYTES: usize = 136;

const SEQ: std::ops::Range<usize> = 6..26;
const HEAD_LENGTH: std::ops::Range<usize> = 88..96;
const BODY_LENGTH: std::ops::Range<usize> = 99..107;
const STATE: std::ops::Range<usize> = 121..125;

/// Why bytes are no run of records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// No request line where one must be; with the seq of the record before.
    NoLine { after: u64 },
    /// The seqs do not follow one another.
    Gap { after: u64, found: u64 },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLine { after } => write!(f, "no record's request line behind seq {after}"),
            Self::Gap { after, found } => write!(f, "seq {found} follows seq {after}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Walks a stream of records that arrives in pieces.
pub(crate) struct Frames {
    line: [u8; LINE_BYTES],
    held: usize,
    skip: u64,
    last: u64,
    count: u64,
    bytes: u64,
}

impl Frames {
    /// A walk whose first record must be `after + 1`.
    pub(crate) fn after(after: u64) -> Self {
        Self {
            line: [0; LINE_BYTES],
            held: 0,
            skip: 0,
            last: after,
            count: 0,
            bytes: 0,
        }
    }

    /// Seq of the last record seen.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Records seen since the last call.
    pub(crate) fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// Bytes of the messages' bodies seen since the last call.
    pub(crate) fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// True when the bytes so far end at a record's end.
    pub(crate) fn is_whole(&self) -> bool {
        self.held == 0 && self.skip == 0
    }

    /// Walks the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        loop {
            let skipped = usize::try_from(self.skip)
                .unwrap_or(bytes.len())
                .min(bytes.len());
            self.skip -= skipped as u64;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            if self.held == 0 && bytes.len() >= LINE_BYTES {
                let (line, rest) = bytes.split_at(LINE_BYTES);
                self.record(line)?;
                bytes = rest;
                continue;
            }
            let wanted = (LINE_BYTES - self.held).min(bytes.len());
            self.line[self.held..self.held + wanted].copy_from_slice(&bytes[..wanted]);
            self.held += wanted;
            bytes = &bytes[wanted..];
            if self.held == LINE_BYTES {
                self.held = 0;
                let line = self.line;
                self.record(&line)?;
            }
        }
    }

    fn record(&mut self, line: &[u8]) -> Result<(), FrameError> {
        let lost = FrameError::NoLine { after: self.last };
        if !line.starts_with(b"POST /") || line[LINE_BYTES - 1] != b'\n' {
            return Err(lost);
        }
        let seq = decimal(&line[SEQ.start + 2..SEQ.end]);
        let (Some(seq), Some(head), Some(body)) =
            (seq, hex(&line[HEAD_LENGTH]), hex(&line[BODY_LENGTH]))
        else {
            return Err(lost);
        };
        // `h` counts the request line; a CRLF outside both lengths ends the record.
        let Some(rest) = (head + body + 2).checked_sub(LINE_BYTES as u64) else {
            return Err(lost);
        };
        self.skip = rest;
        if &line[STATE] == b"head" {
            return Ok(());
        }
        if seq != self.last + 1 {
            return Err(FrameError::Gap {
                after: self.last,
                found: seq,
            });
        }
        self.last = seq;
        self.count += 1;
        self.bytes += body;
        Ok(())
    }
}

/// Lines in these bytes.
pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// What precedes the time of sending in a body of the end-to-end measurement.
pub(crate) const STAMP: &[u8] = b"sent-ns=";
/// Digits behind [`STAMP`]: nanoseconds since the measurement began, in hex.
pub(crate) const STAMP_DIGITS: usize = 15;

/// Finds the stamps in a stream of server-sent events that arrives in pieces.
#[derive(Default)]
pub(crate) struct Stamps {
    line: Vec<u8>,
}

impl Stamps {
    /// Calls `found` with each stamp in the `data:` lines of the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(u64)) {
        while let Some(n) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(n + 1);
            if self.line.is_empty() {
                stamp(line).into_iter().for_each(&mut found);
            } else {
                self.line.extend_from_slice(line);
                stamp(&self.line).into_iter().for_each(&mut found);
                self.line.clear();
            }
            bytes = rest;
        }
        self.line.extend_from_slice(bytes);
    }
}

fn stamp(line: &[u8]) -> Option<u64> {
    if !line.starts_with(b"data:") {
        return None;
    }
    let at = memmem::find(line, STAMP)? + STAMP.len();
    hex(line.get(at..at + STAMP_DIGITS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64, state: &str, body: &str) -> Vec<u8> {
        let rest = "host:\r\ncontent-length: 3\r\n\r\n";
        let head = LINE_BYTES + rest.len();
        let line = format!(
            "POST /{seq:020}?t=2026-11-20T11:15:22.123456Z&e=00000003&d=00000001&r=0000\
             &h={head:08x}&b={:08x}&c=2e734682&s={state} HTTP/1.1\r\n",
            body.len()
        );
        assert_eq!(line.len(), LINE_BYTES);
        format!("{line}{rest}{body}\r\n").into_bytes()
    }

    #[test]
    fn records_are_counted_however_they_are_cut() {
        let mut bytes = record(8, "head", "");
        bytes.extend(record(8, "live", "abc"));
        bytes.extend(record(9, "gone", "POST /planted HTTP/1.1\r\n"));
        for piece in [1, 3, 135, 136, 137, bytes.len()] {
            let mut frames = Frames::after(7);
            for part in bytes.chunks(piece) {
                frames.feed(part).unwrap();
            }
            assert!(frames.is_whole());
            assert_eq!(
                (frames.take_count(), frames.last(), frames.take_bytes()),
                (2, 9, 27)
            );
        }
    }

    #[test]
    fn a_missing_record_is_a_gap() {
        let found = Frames::after(3).feed(&record(5, "live", "abc"));
        assert_eq!(found, Err(FrameError::Gap { after: 3, found: 5 }));
    }

    #[test]
    fn other_bytes_are_no_record() {
        assert_eq!(
            Frames::after(3).feed(&[b'x'; 200]),
            Err(FrameError::NoLine { after: 3 })
        );
    }

    #[test]
    fn stamps_are_found_in_data_lines_only_and_across_pieces() {
        let text = b"id: 5\ndata: {\"body\":\"sent-ns=0000000000000ff xx\"}\n\n: sent-ns=000000000000001\n\n";
        for piece in [1, 10, text.len()] {
            let mut stamps = Stamps::default();
            let mut seen = Vec::new();
            for part in text.chunks(piece) {
                stamps.feed(part, |ns| seen.push(ns));
            }
            assert_eq!(seen, [255]);
        }
    }
}
