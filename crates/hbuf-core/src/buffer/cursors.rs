//! The buffer's second log: retain records, and how far consumers have come.
//!
//! It has no tree and no salt. Its records are framed by the core itself, since they hold nothing
//! that a user wrote. Each new file starts with all of it, so the files before it may go.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

use super::Buffer;
use crate::effect::{Effect, Effects, WriteBytes};
use crate::ids::{Micros, Seq};
use crate::record::{Facts, Frame, Kind, Proof, encode};
use crate::replication::{Epochs, Log};
use crate::rules::Rules;
use crate::segment::{FORMAT, LogKind, SegmentHead};
use crate::tree::Frontier;

/// A file of the cursors log rolls when it has grown to this many bytes, or to those of a segment
/// when they are fewer.
const ROLL_BYTES: u64 = 1 << 20;

/// Where the cursors log ends, as recovery found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CursorsEnd {
    /// Its last seq.
    pub end: Seq,
    /// First seq of its last file; `ZERO` when there is none.
    pub file: Seq,
    /// Length of that file.
    pub offset: u64,
    /// Time of its last record.
    pub time: Micros,
    /// What the log itself shows as committed.
    pub known_commit: Seq,
    /// The epochs of the records of its last file.
    pub epochs: Epochs,
}

impl CursorsEnd {
    /// The log as replication sees it.
    #[must_use]
    pub fn log(&self) -> Log {
        Log {
            from: self.file.max(Seq::FIRST),
            end: self.end,
            durable: self.end,
            commit: self.known_commit,
            epochs: self.epochs.clone(),
        }
    }
}

/// The cursors log of one buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cursors {
    end: Seq,
    file: Seq,
    offset: u64,
    /// Time of the last record.
    time: Micros,
    /// Retain records that are not committed yet: their seq and the first seq that they keep.
    pending: Vec<(Seq, Seq)>,
    /// Where the commit may stop, behind where it is: the ends of what was framed at once.
    ends: VecDeque<Seq>,
    /// Length at which the file rolls: twice what it began with, or more.
    roll_at: u64,
    /// The seq through which the present file must be durable, so that those before it may go.
    rolled: Option<Seq>,
}

impl Cursors {
    pub(super) fn open(at: CursorsEnd, segment_bytes: u64) -> Self {
        let CursorsEnd {
            end,
            file,
            offset,
            time,
            ..
        } = at;
        Self {
            time,
            end,
            file,
            offset,
            pending: Vec::new(),
            ends: VecDeque::new(),
            roll_at: ROLL_BYTES.min(segment_bytes),
            rolled: None,
        }
    }

    pub(super) const fn end(&self) -> Seq {
        self.end
    }

    /// First seq of the last file; `ZERO` when there is none.
    pub(super) const fn file(&self) -> Seq {
        self.file
    }

    /// An epoch begins with this log.
    pub(super) fn begin_epoch(&mut self, log: &Log) {
        if log.commit < self.end {
            self.ends.push_back(self.end);
        }
    }

    /// Where the commit stops when the in-sync set holds the log through `agreed`.
    fn whole(&mut self, agreed: Seq) -> Option<Seq> {
        let done = self.ends.partition_point(|end| *end <= agreed);
        self.ends.drain(..done).next_back()
    }

    /// The highest first kept seq that became committed.
    fn committed(&mut self, through: Seq) -> Option<Seq> {
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
    /// Whether all of the cursors log is committed.
    pub(super) fn cursors_committed(&self) -> bool {
        self.leader.log(LogKind::Cursors).commit == self.cursors.end
    }

    pub(super) fn cursors_idle(&self) -> bool {
        self.cursors.pending.is_empty() && self.cursors_committed()
    }

    /// Whatever the in-sync set holds of the cursors log by now is committed: the latest retain
    /// record in it holds, and whoever waited for a record is answered.
    pub(super) fn advance_cursors(&mut self, rules: &Rules, out: &mut Effects) {
        let agreed = self.leader.agreed(rules, LogKind::Cursors);
        let Some(through) = self.cursors.whole(agreed) else {
            return;
        };
        self.leader.primary(LogKind::Cursors).on_committed(through);
        if let Some(keep_from) = self.cursors.committed(through)
            && keep_from > self.first
        {
            self.keep_from(keep_from, out);
        }
        self.release_answers(through, out);
    }

    /// Frames a retain record; `None` while an equal or better one is on its way.
    pub(super) fn retain(&mut self, keep_from: Seq, time: Micros, out: &mut Effects) {
        let mut pending = self.cursors.pending.iter();
        if pending.any(|(_, pending)| *pending >= keep_from) {
            return;
        }
        let through = self.write_cursor(Kind::Retain, retain_body(keep_from), time, out);
        self.cursors.pending.push((through, keep_from));
    }

    /// Frames a record of the cursors log; a new file when the last one has grown. Gives the seq
    /// through which the log must be durable for the record to hold.
    pub(super) fn write_cursor(
        &mut self,
        kind: Kind,
        body: Vec<u8>,
        time: Micros,
        out: &mut Effects,
    ) -> Seq {
        // This log has a time of its own: the clock may go back while no message comes.
        let time = time.max(self.cursors.time);
        self.cursors.time = time;
        let first = self.cursors.end.next();
        let mut bytes = Vec::new();
        let rolls = self.cursors.file == Seq::ZERO || self.cursors.offset >= self.cursors.roll_at;
        let mut bodies = Vec::from([(kind, body)]);
        if rolls {
            // What a crash leaves of the new file is either all of this or nothing: the records are
            // one batch. The files before it go when it is durable.
            self.cursors_head(first, time).encode(&mut bytes);
            let wholes = self.consumers.wholes().into_iter();
            let mut all: Vec<_> = wholes.map(|body| (Kind::Cursor, body)).collect();
            // Also what the file before says and nobody acts on yet: that file goes.
            let pending = self.cursors.pending.iter().map(|(_, keep_from)| *keep_from);
            let keep_from = pending.max().unwrap_or(self.first).max(self.first);
            all.push((Kind::Retain, retain_body(keep_from)));
            all.append(&mut bodies);
            bodies = all;
        }
        let last = first.plus(bodies.len() as u64 - 1);
        for (at, (kind, body)) in (0..).zip(&bodies) {
            self.frame_cursor(first.plus(at), last, *kind, body, &mut bytes);
        }
        if rolls {
            self.cursors.file = first;
            self.cursors.offset = 0;
            let most = ROLL_BYTES.min(self.config.segment_bytes);
            self.cursors.roll_at = most.max(2 * bytes.len() as u64);
            self.cursors.rolled = Some(last);
            self.leader.primary(LogKind::Cursors).file_begins(last);
        }
        let offset = self.cursors.offset;
        self.cursors.offset += bytes.len() as u64;
        self.cursors.end = last;
        self.cursors.ends.push_back(last);
        self.leader.primary(LogKind::Cursors).on_framed(last);
        out.push(Effect::WriteBytes(WriteBytes {
            buffer: self.buffer,
            log: LogKind::Cursors,
            file: self.cursors.file,
            offset,
            bytes: bytes.into_boxed_slice(),
            through: last,
        }));
        last
    }

    fn frame_cursor(&self, seq: Seq, last: Seq, kind: Kind, body: &[u8], out: &mut Vec<u8>) {
        let facts = Facts {
            kind,
            ..Facts::default()
        };
        let commit = self.leader.log(LogKind::Cursors).commit;
        let distance = u32::try_from(seq.0 - commit.0).unwrap_or(u32::MAX);
        let rest = u16::try_from(last.0 - seq.0).expect("consumers of a buffer fit 16 bits");
        let frame = Frame {
            seq,
            time: self.cursors.time,
            epoch: self.epoch,
            distance,
            rest,
            facts: &facts,
            lines: b"",
            proof: Proof::None,
            body,
        };
        encode(&frame, out);
    }

    /// The files before the present one may go once it is durable.
    pub(super) fn drop_cursors(&mut self, through: Seq, out: &mut Effects) {
        if self.cursors.rolled.is_some_and(|rolled| rolled <= through) {
            self.cursors.rolled = None;
            out.push(Effect::DropCursors {
                buffer: self.buffer,
                keep_from: self.cursors.file,
            });
        }
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
