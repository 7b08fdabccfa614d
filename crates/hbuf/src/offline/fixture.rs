//! A small buffer on disk, made by the core alone, for the tests of the commands that read files.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use hbuf_core::commitment::{Leaf, commitment, facts_hash};
use hbuf_core::ids::{Epoch, Micros, Seq, Uuid};
use hbuf_core::mark::{Mark, SLOT_LEN};
use hbuf_core::record::{
    Facts, Frame, Kind, Proof, ProofKind, decode, encode, head_len, push_erasure,
};
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead, file_name};
use hbuf_core::tree::Frontier;

pub(crate) const LOG: Uuid = Uuid([0x17; 16]);
const TIME: u64 = 1_763_637_322_123_456;

/// A buffer under construction.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    tree: Frontier,
    next: Seq,
    file: Seq,
    bytes: Vec<u8>,
}

impl Fixture {
    /// A buffer with its first segment begun.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = Frontier::new();
        let mut fixture = Self {
            dir,
            tree,
            next: Seq::FIRST,
            file: Seq::FIRST,
            bytes: Vec::new(),
        };
        fixture.roll();
        fixture
    }

    /// Three messages in a first segment, two in a second, and a mark over all.
    pub(crate) fn five() -> Self {
        let mut fixture = Self::new();
        fixture.append("alpha", "first line\nsecond line\n");
        fixture.append("beta", "");
        fixture.append("alpha", "POST /00000000000000000009?t= HTTP/1.1\r\n");
        fixture.roll();
        fixture.append("gamma", "four");
        fixture.append("alpha", "five and the last line");
        fixture.mark();
        fixture
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn segment(&self, first: u64) -> PathBuf {
        self.path().join(file_name(Seq(first)))
    }

    /// Begins the next segment.
    pub(crate) fn roll(&mut self) {
        self.file = self.next;
        self.bytes.clear();
        let head = SegmentHead {
            format: FORMAT,
            kind: LogKind::Messages,
            buffer: Uuid([0x16; 16]),
            log: LOG,
            history: Uuid([0x15; 16]),
            first: self.next,
            time: Micros(TIME),
            epoch: Epoch(1),
            frontier: self.tree.clone(),
            epochs: vec![(Epoch(1), Seq::FIRST)],
            compacted: None,
        };
        head.encode(&mut self.bytes);
        self.write();
    }

    /// Appends one message, acknowledged before the next one comes.
    pub(crate) fn append(&mut self, key: &str, body: &str) {
        let lines = format!("x-hbuf-key: {key}\r\nx-hbuf-tag: web7, eu\r\n");
        self.append_kind(Kind::Data, lines.as_bytes(), body.as_bytes());
    }

    /// Appends an erase record that names `seqs`.
    pub(crate) fn append_erase(&mut self, seqs: RangeInclusive<Seq>) {
        let mut body = Vec::new();
        push_erasure(&seqs, "a test", &mut body);
        self.append_kind(Kind::Erase, b"", &body);
    }

    fn append_kind(&mut self, kind: Kind, lines: &[u8], body: &[u8]) {
        let record = record_of(kind, self.next, lines, body);
        self.tree.push(decode(&record).unwrap().id().unwrap());
        self.bytes.extend_from_slice(&record);
        self.next = self.next.next();
        self.write();
    }

    /// Writes a mark over everything.
    pub(crate) fn mark(&self) {
        let mark = Mark {
            generation: 0,
            buffer: Uuid([0x16; 16]),
            log: LOG,
            history: Uuid([0x15; 16]),
            time: Micros(TIME),
            durable: self.next.prev(),
            first: Seq::FIRST,
            file: self.file,
            offset: self.bytes.len() as u64,
            frontier: self.tree.clone(),
            epochs: vec![(Epoch(1), Seq::FIRST)],
            table: None,
            fence: 0,
            clean: true,
        };
        let mut slot = [0; SLOT_LEN];
        mark.encode(&mut slot);
        fs::write(self.path().join("mark"), slot).unwrap();
    }

    fn write(&self) {
        let path = self.segment(self.file.0);
        fs::write(&path, &self.bytes).unwrap();
        age(&path);
    }
}

/// Makes a file look as if nobody were writing it.
pub(crate) fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
}

/// One record whose id is right.
pub(crate) fn record(seq: Seq, lines: &[u8], body: &[u8]) -> Vec<u8> {
    record_of(Kind::Data, seq, lines, body)
}

fn record_of(kind: Kind, seq: Seq, lines: &[u8], body: &[u8]) -> Vec<u8> {
    let facts = Facts::of(kind);
    let salt = [seq.0.to_le_bytes()[0]; 32];
    let time = Micros(TIME).plus(seq.0);
    let leaf = Leaf {
        log: LOG,
        seq,
        time,
        head_len: head_len(&facts, lines.len(), body.len(), ProofKind::Salted),
        body_len: body.len() as u64,
        facts: facts_hash(&facts),
        commitment: commitment(&salt, lines, body),
    };
    let frame = Frame {
        seq,
        time,
        epoch: Epoch(1),
        distance: 1,
        rest: 0,
        facts: &facts,
        lines,
        proof: Proof::Salted {
            salt,
            id: leaf.id(),
        },
        body,
    };
    let mut out = Vec::new();
    encode(&frame, &mut out);
    out
}
