//! A writer of segments for the tests: frames real records, and knows what must be read back.

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use hbuf_core::commitment::{Leaf, PLAIN_FACTS, commitment};
use hbuf_core::ids::{Epoch, Hash, Micros, Seq, Uuid};
use hbuf_core::record::{Facts, Frame, Proof, ProofKind, Verdict, decode, encode, head_len};
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead, file_name};
use hbuf_core::skim::skim;
use hbuf_core::tree::Frontier;
use tempfile::TempDir;

use super::{ReadShared, Readable, SegmentAt, remove_derived_files};

pub(super) const LOG: Uuid = Uuid([0x4c; 16]);

/// The header lines of a message.
pub(super) type Lines = fn(u64) -> String;

/// One key for all.
const ONE_KEY: Lines = |_| "x-hbuf-key: k\r\n".into();

/// How long the body of a message is.
pub(super) type BodyLen = fn(u64) -> usize;

/// Bodies of a few bytes.
pub(super) const WRITE_PLAIN: BodyLen = |seq| (seq % 7) as usize;

/// The records `first` through `last`, as they stand in a file.
pub(super) fn records(first: u64, last: u64, body_len: BodyLen) -> Vec<u8> {
    let mut out = Vec::new();
    (first..=last).for_each(|seq| {
        record(seq, body_len(seq), ONE_KEY(seq).as_bytes(), &mut out);
    });
    out
}

/// Three messages share a microsecond.
pub(super) fn time(seq: u64) -> Micros {
    Micros(1_000 + seq / 3)
}

fn record(seq: u64, body_len: usize, lines: &[u8], out: &mut Vec<u8>) -> Hash {
    let facts = Facts::default();
    let body = vec![b'a' + (seq % 26) as u8; body_len];
    let salt = [seq as u8; 32];
    let leaf = Leaf {
        log: LOG,
        seq: Seq(seq),
        time: time(seq),
        head_len: head_len(&facts, lines.len(), body.len(), ProofKind::Salted),
        body_len: body.len() as u64,
        facts: PLAIN_FACTS,
        commitment: commitment(&salt, lines, &body),
    };
    let frame = Frame {
        seq: leaf.seq,
        time: leaf.time,
        epoch: Epoch(1),
        distance: 1,
        rest: 0,
        facts: &facts,
        lines,
        proof: Proof::Salted {
            salt,
            id: leaf.id(),
        },
        body: &body,
    };
    encode(&frame, out);
    leaf.id()
}

/// Asserts that the bytes are exactly the records `first` through `last`, intact.
pub(super) fn check_records(mut bytes: &[u8], first: u64, last: u64) {
    for seq in first..=last {
        let line = skim(bytes).unwrap_or_else(|| panic!("no record {seq}"));
        let (record, rest) = bytes.split_at(line.record_len() as usize);
        let record = decode(record).unwrap_or_else(|error| panic!("record {seq}: {error}"));
        assert_eq!(record.line.seq, Seq(seq));
        assert_eq!(record.verify(LOG), Verdict::Intact, "record {seq}");
        assert!(
            record
                .body
                .iter()
                .all(|byte| *byte == b'a' + (seq % 26) as u8)
        );
        bytes = rest;
    }
    assert!(
        bytes.is_empty(),
        "{} bytes behind record {last}",
        bytes.len()
    );
}

/// Writes a buffer and publishes it, as an engine does.
pub(super) struct Writer {
    pub(super) dir: TempDir,
    pub(super) shared: Arc<ReadShared>,
    pub(super) buffer: Arc<Readable>,
    pub(super) ids: Vec<Hash>,
    pub(super) segments: Vec<SegmentAt>,
    body_len: BodyLen,
    lines: Lines,
    frontier: Frontier,
    open: File,
    next: u64,
}

impl Writer {
    pub(super) fn new(body_len: BodyLen) -> Self {
        Self::with_lines(body_len, ONE_KEY)
    }

    pub(super) fn with_lines(body_len: BodyLen, lines: Lines) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared = ReadShared::new();
        let path = dir.path().to_owned();
        let buffer = Readable::new(&shared, path, LOG, Seq::FIRST, Seq::ZERO, &[]);
        let open = tempfile::tempfile().unwrap();
        let (frontier, ids, segments) = (Frontier::new(), Vec::new(), Vec::new());
        let mut writer = Self {
            dir,
            shared,
            buffer,
            ids,
            segments,
            body_len,
            lines,
            frontier,
            open,
            next: 1,
        };
        writer.roll();
        writer
    }

    /// Frames `count` messages and writes them; nobody may see them yet.
    pub(super) fn frame(&mut self, count: u64) {
        let (first, mut out) = (self.next, Vec::new());
        for seq in first..first + count {
            let lines = (self.lines)(seq);
            let id = record(seq, (self.body_len)(seq), lines.as_bytes(), &mut out);
            self.ids.push(id);
            self.frontier.push(id);
        }
        self.next += count;
        self.open.write_all(&out).unwrap();
        self.segments.last_mut().unwrap().bytes += out.len() as u64;
        self.buffer
            .framed(Seq(first), Seq(self.next - 1), out.into());
    }

    pub(super) fn commit(&self) {
        let SegmentAt { first, bytes } = *self.segments.last().unwrap();
        self.buffer.committed(Seq(self.next - 1), first, bytes);
    }

    pub(super) fn append(&mut self, count: u64) {
        self.frame(count);
        self.commit();
    }

    /// Begins a new segment.
    pub(super) fn roll(&mut self) {
        let first = Seq(self.next);
        let head = SegmentHead {
            format: FORMAT,
            kind: LogKind::Messages,
            buffer: Uuid([1; 16]),
            log: LOG,
            history: Uuid([2; 16]),
            first,
            time: time(self.next),
            epoch: Epoch(1),
            frontier: self.frontier.clone(),
            epochs: vec![(Epoch(1), Seq(1))],
            compacted: None,
        };
        let mut out = Vec::new();
        head.encode(&mut out);
        self.open = File::create(self.dir.path().join(file_name(first))).unwrap();
        self.open.write_all(&out).unwrap();
        let segment = SegmentAt {
            first,
            bytes: out.len() as u64,
        };
        self.segments.push(segment);
        self.buffer.rolled(segment);
    }

    /// Begins a new segment and seals the one before.
    pub(super) fn roll_and_seal(&mut self) {
        let sealed = *self.segments.last().unwrap();
        self.roll();
        self.buffer.sealed(sealed.first, sealed.bytes);
    }

    /// Removes the oldest segment.
    pub(super) fn drop_oldest(&mut self) {
        let dropped = self.segments.remove(0);
        let keep_from = self.segments[0].first;
        self.buffer.dropped(keep_from);
        fs::remove_file(self.dir.path().join(file_name(dropped.first))).unwrap();
        remove_derived_files(self.dir.path(), dropped.first).unwrap();
    }

    /// The same directory, as a process finds it that starts anew.
    pub(super) fn reopened(&self) -> Arc<Readable> {
        let path = self.dir.path().to_owned();
        let first = self.segments[0].first;
        Readable::new(
            &ReadShared::new(),
            path,
            LOG,
            first,
            Seq(self.next - 1),
            &self.segments,
        )
    }

    /// Changes one byte of a segment file.
    pub(super) fn flip(&self, file: Seq, at: u64) {
        let path = self.dir.path().join(file_name(file));
        let mut bytes = fs::read(&path).unwrap();
        bytes[at as usize] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    /// Where a message starts in its file.
    pub(super) fn offset(&self, seq: u64) -> u64 {
        let segment = self
            .segments
            .iter()
            .rfind(|segment| segment.first.0 <= seq)
            .unwrap();
        let bytes = fs::read(self.dir.path().join(file_name(segment.first))).unwrap();
        let mut at = skim(&bytes).unwrap().record_len();
        for _ in segment.first.0..seq {
            at += skim(&bytes[at as usize..]).unwrap().record_len();
        }
        at
    }
}
