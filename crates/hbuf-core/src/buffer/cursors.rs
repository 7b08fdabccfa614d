//! The buffer's second log: retain records now, consumers' cursors when there are any.
//!
//! It has no tree and no salt. Its records are framed by the core itself, since they hold nothing
//! that a user wrote. Each new file starts with a snapshot, so the files before it may go.

use alloc::format;
use alloc::vec::Vec;

use super::Buffer;
use crate::effect::WriteBytes;
use crate::ids::{Micros, Seq};
use crate::record::{Facts, Frame, Kind, Proof, encode};
use crate::segment::{FORMAT, LogKind, SegmentHead};
use crate::tree::Frontier;

/// A file of the cursors log rolls when it has grown to this many bytes.
const ROLL_BYTES: u64 = 1 << 20;

/// Where the cursors log ends, as recovery found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CursorsEnd {
    /// Its last seq.
    pub end: Seq,
    /// First seq of its last file; `ZERO` when there is none.
    pub file: Seq,
    /// Length of that file.
    pub offset: u64,
    /// Time of its last record.
    pub time: Micros,
}

/// The cursors log of one buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cursors {
    end: Seq,
    durable: Seq,
    file: Seq,
    offset: u64,
    /// Time of the last record.
    time: Micros,
    /// Retain records that are not durable yet: their seq and the first seq that they keep.
    pending: Vec<(Seq, Seq)>,
}

impl Cursors {
    pub(super) fn open(at: CursorsEnd) -> Self {
        let CursorsEnd {
            end,
            file,
            offset,
            time,
        } = at;
        Self {
            time,
            end,
            durable: end,
            file,
            offset,
            pending: Vec::new(),
        }
    }

    pub(super) fn idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// The highest first kept seq that became durable.
    pub(super) fn synced(&mut self, through: Seq) -> Option<Seq> {
        self.durable = through.max(self.durable);
        let done = self.pending.partition_point(|(seq, _)| *seq <= through);
        self.pending
            .drain(..done)
            .map(|(_, keep_from)| keep_from)
            .max()
    }
}

/// The body of a retain record.
#[must_use]
pub fn retain_body(keep_from: Seq) -> Vec<u8> {
    format!("keep-from: {keep_from}\n").into_bytes()
}

/// Reads the body of a retain record.
#[must_use]
pub fn parse_retain(body: &[u8]) -> Option<Seq> {
    let text = core::str::from_utf8(body).ok()?;
    let number = text.strip_prefix("keep-from: ")?.strip_suffix('\n')?;
    number.parse().ok().map(Seq)
}

impl Buffer {
    /// Frames a retain record; `None` while an equal or better one is on its way.
    pub(super) fn retain(&mut self, keep_from: Seq, time: Micros) -> Option<WriteBytes> {
        if self
            .cursors
            .pending
            .iter()
            .any(|(_, pending)| *pending >= keep_from)
        {
            return None;
        }
        // This log has a time of its own: the clock may go back while no message comes.
        let time = time.max(self.cursors.time);
        self.cursors.time = time;
        let seq = self.cursors.end.next();
        let mut bytes = Vec::new();
        if self.cursors.file == Seq::ZERO || self.cursors.offset >= ROLL_BYTES {
            self.cursors.file = seq;
            self.cursors.offset = 0;
            self.cursors_head(seq, time).encode(&mut bytes);
        }
        let facts = Facts {
            kind: Kind::Retain,
            ..Facts::default()
        };
        let distance = u32::try_from(seq.0 - self.cursors.durable.0).unwrap_or(u32::MAX);
        let frame = Frame {
            seq,
            time,
            epoch: self.epoch,
            distance,
            rest: 0,
            facts: &facts,
            lines: b"",
            proof: Proof::None,
            body: &retain_body(keep_from),
        };
        encode(&frame, &mut bytes);
        let offset = self.cursors.offset;
        self.cursors.offset += bytes.len() as u64;
        self.cursors.end = seq;
        self.cursors.pending.push((seq, keep_from));
        Some(WriteBytes {
            buffer: self.buffer,
            log: LogKind::Cursors,
            file: self.cursors.file,
            offset,
            bytes: bytes.into_boxed_slice(),
            through: seq,
        })
    }

    fn cursors_head(&self, first: Seq, time: Micros) -> SegmentHead {
        SegmentHead {
            format: FORMAT,
            kind: LogKind::Cursors,
            buffer: self.buffer,
            log: self.log,
            history: self.history,
            first,
            time,
            epoch: self.epoch,
            frontier: Frontier::default(),
            epochs: Vec::new(),
            compacted: None,
        }
    }
}
