//! Journal entries: bytes that belong at the end of a buffer's file, synced in one place for many
//! buffers, and the rule by which recovery applies them.
//!
//! An entry is a record of kind `journal` in a log of its own; its seq is its *position*. Its body
//! is what the file gets: whole records, with the head line before them when the file is new.

use alloc::vec::Vec;
use core::ops::Range;

use crate::ids::{Epoch, Micros, Seq, Uuid};
use crate::limits::JOURNAL_BODY_BYTES_MAX;
use crate::record::{
    Facts, Frame, JournalFile, Kind, LINE_LEN, Line, Proof, ProofKind, Record, RecordError, State,
    decode, encode, head_len,
};
use crate::segment::{FORMAT, LogKind, SegmentHead};
use crate::tree::Frontier;

/// What an entry's record is framed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryLine {
    /// The entry's number in the journal.
    pub position: u64,
    /// The disk's time, never decreasing within its journal.
    pub time: Micros,
    /// The node's epoch.
    pub epoch: Epoch,
    /// `d`: position minus the last position that is known to be synced.
    pub distance: u32,
}

/// A journal entry, borrowed from its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry<'a> {
    /// The buffer.
    pub buffer: Uuid,
    /// Its file.
    pub file: JournalFile,
    /// What belongs at that file's end.
    pub body: &'a [u8],
}

/// Why a record is no journal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EntryError {
    /// Another kind, or without its buffer or file.
    #[error("no journal entry: `x-hbuf-kind: journal`, `x-hbuf-buffer` and `x-hbuf-file` are due")]
    Kind,
    /// The body is empty.
    #[error("a journal entry without records")]
    Empty,
    /// The body is not whole records.
    #[error("byte {at} of the entry's body: {error}")]
    Record {
        /// Offset in the body.
        at: usize,
        /// What is wrong there.
        error: RecordError,
    },
    /// A head line that is not the body's first record, or not that of a segment.
    #[error("byte {at} of the entry's body: a head line that starts no file")]
    Head {
        /// Offset in the body.
        at: usize,
    },
    /// The records do not follow each other, or do not belong in the file.
    #[error("byte {at} of the entry's body: seq {found} where {expected} was due")]
    Seq {
        /// Offset in the body.
        at: usize,
        /// What was due.
        expected: Seq,
        /// What stands there.
        found: Seq,
    },
}

/// Bytes of the entry's record before its body, to reserve and to limit.
#[must_use]
pub fn entry_head_len(file: JournalFile, body_len: usize) -> u32 {
    head_len(&facts(Uuid::default(), file), 0, body_len, ProofKind::None)
}

/// Appends the entry's record.
pub fn encode_entry(line: EntryLine, entry: &Entry<'_>, out: &mut Vec<u8>) {
    assert!(!entry.body.is_empty(), "an entry holds at least one record");
    assert!(
        entry.body.len() as u64 <= JOURNAL_BODY_BYTES_MAX,
        "an entry is bounded by limits.rs"
    );
    let frame = Frame {
        seq: Seq(line.position),
        time: line.time,
        epoch: line.epoch,
        distance: line.distance,
        rest: 0,
        facts: &facts(entry.buffer, entry.file),
        lines: b"",
        proof: Proof::None,
        body: entry.body,
    };
    encode(&frame, out);
}

/// A journal file of its own with entries of one buffer, in their order: what a damaged buffer's
/// log cannot take stays beside it when the journal goes, and shows what is missing. The positions
/// are dense, as in every journal file, and each is at most the one that the entry had, so that a
/// fence that passed the entry passes it here too.
#[must_use]
pub fn encode_unapplied(buffer: Uuid, entries: &[(u64, Entry<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((first, _)) = entries.first() else {
        return out;
    };
    let head = SegmentHead {
        format: FORMAT,
        kind: LogKind::Journal,
        buffer,
        log: buffer,
        history: buffer,
        first: Seq(*first),
        time: Micros(0),
        epoch: Epoch(0),
        frontier: Frontier::default(),
        epochs: Vec::new(),
        compacted: None,
    };
    head.encode(&mut out);
    for (position, (_, entry)) in (*first..).zip(entries) {
        let line = EntryLine {
            position,
            time: Micros(0),
            epoch: Epoch(0),
            // The file gets its name when all of it is on the disk.
            distance: 1,
        };
        encode_entry(line, entry, &mut out);
    }
    out
}

fn facts(buffer: Uuid, file: JournalFile) -> Facts {
    Facts {
        buffer: Some(buffer),
        file: Some(file),
        ..Facts::of(Kind::Journal)
    }
}

impl<'a> Entry<'a> {
    /// Takes an entry out of its record, whose checksum covers the body too: its records are read
    /// by [`Entry::records`].
    pub fn parse(record: &Record<'a>) -> Result<Self, EntryError> {
        let (Kind::Journal, Some(buffer), Some(file)) =
            (record.facts.kind, record.facts.buffer, record.facts.file)
        else {
            return Err(EntryError::Kind);
        };
        if record.body.is_empty() {
            return Err(EntryError::Empty);
        }
        Ok(Self {
            buffer,
            file,
            body: record.body,
        })
    }

    /// The seqs of its lines; `None` if they do not fill the body, which is then unreadable.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        let mut span: Option<Span> = None;
        let filled = pass_lines(self.body, |line| {
            let records = line.state != State::Head;
            let (first, head) = span.map_or((line.seq, !records), |span| (span.first, span.head));
            span = Some(Span {
                first,
                last: line.seq,
                head,
                records,
            });
            true
        });
        span.filter(|_| filled == self.body.len())
    }

    /// The records of the body with their offsets in it, a head line first when the file is new.
    /// Ends at the first error.
    pub fn records(
        &self,
    ) -> impl Iterator<Item = Result<(usize, Record<'a>), EntryError>> + use<'a> {
        self.records_from(0)
    }

    /// The same from an offset at which a record begins.
    fn records_from(
        &self,
        mut at: usize,
    ) -> impl Iterator<Item = Result<(usize, Record<'a>), EntryError>> + use<'a> {
        let (body, first) = (self.body, self.file.first());
        let mut next = None;
        core::iter::from_fn(move || {
            if at == body.len() {
                return None;
            }
            let item = read_record(body, at, next, first);
            match &item {
                Ok((_, record)) => {
                    at += record.bytes.len();
                    let head = record.line.state == State::Head;
                    next = Some(if head {
                        record.line.seq
                    } else {
                        record.line.seq.next()
                    });
                }
                Err(_) => at = body.len(),
            }
            Some(item)
        })
    }
}

/// The record at `at`; `next` is the seq that is due, `None` at the body's start.
fn read_record(
    body: &[u8],
    at: usize,
    next: Option<Seq>,
    first: Seq,
) -> Result<(usize, Record<'_>), EntryError> {
    let rest = &body[at..];
    let fail = |error| EntryError::Record { at, error };
    let line = Line::parse(rest).map_err(|error| fail(error.into()))?;
    let len = usize::try_from(line.record_len())
        .unwrap_or(usize::MAX)
        .max(LINE_LEN);
    let record = decode(rest.get(..len).unwrap_or(rest)).map_err(fail)?;
    let found = record.line.seq;
    if record.line.state == State::Head {
        if at != 0 || record.facts.kind != Kind::Segment {
            return Err(EntryError::Head { at });
        }
        if found != first {
            return Err(EntryError::Seq {
                at,
                expected: first,
                found,
            });
        }
    }
    let expected = next.unwrap_or_else(|| found.max(first));
    if found != expected {
        return Err(EntryError::Seq {
            at,
            expected,
            found,
        });
    }
    Ok((at, record))
}

/// Length of the records before `due`, by their lines alone: the entry's own checksum covers them.
fn known_len(body: &[u8], due: Seq) -> usize {
    pass_lines(body, |line| line.seq < due)
}

/// Length of the records from the start whose lines are wanted.
fn pass_lines(body: &[u8], mut wanted: impl FnMut(&Line) -> bool) -> usize {
    let mut at = 0;
    while let Ok(line) = Line::parse(&body[at..])
        && wanted(&line)
    {
        let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        if len < LINE_LEN || len > body.len() - at {
            break;
        }
        at += len;
    }
    at
}

/// The seqs of an entry, so that most entries need not be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The seq of the first line; a head line has the seq of the record that is due behind it.
    pub first: Seq,
    /// The seq of the last line.
    pub last: Seq,
    /// Whether the first line is a head line.
    pub head: bool,
    /// Whether there is more than a head line.
    pub records: bool,
}

/// What recovery knows of the end of one of a buffer's two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferEnd {
    /// The last good record.
    pub end: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// Positions at or below this one are ignored for this buffer.
    pub fence: u64,
    /// A gap was met: nothing further is applied.
    pub stopped: bool,
}

/// What to do with an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Replay {
    /// Write these bytes of the body behind the end; at the file's start when `new_file`.
    Apply {
        /// The part of the body.
        bytes: Range<usize>,
        /// The part begins with the file's head line and goes to offset 0.
        new_file: bool,
        /// The end afterwards.
        after: BufferEnd,
    },
    /// Nothing to do.
    Skip(SkipReason),
    /// The entry begins past end + 1: an earlier one is missing. Stop this log here.
    Gap {
        /// What was due.
        expected: Seq,
        /// The entry's first seq.
        found: Seq,
    },
}

/// Why an entry is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// Its position is not above the fence.
    Fenced,
    /// A gap was met before.
    Stopped,
    /// All of it is in the file already.
    AlreadyThere,
    /// It was framed in an epoch before that of the end.
    StaleEpoch,
}

/// Why an entry need not even be read; its seqs tell more, where they are known.
#[must_use]
pub fn needless(position: u64, span: Option<Span>, buffer: &BufferEnd) -> Option<SkipReason> {
    if position <= buffer.fence {
        return Some(SkipReason::Fenced);
    }
    if buffer.stopped {
        return Some(SkipReason::Stopped);
    }
    let there = span.is_some_and(|span| span.last <= buffer.end);
    there.then_some(SkipReason::AlreadyThere)
}

/// Decides what an entry does to its log: only what goes on at end + 1 is applied, of an epoch at
/// least the last, from a position above the fence. A record that the file has already is passed
/// over.
///
/// Err: the entry itself is unreadable although its checksum is right; treat the journal as
/// corrupt.
pub fn replay(entry: &Entry<'_>, position: u64, buffer: &BufferEnd) -> Result<Replay, EntryError> {
    if let Some(reason) = needless(position, None, buffer) {
        return Ok(Replay::Skip(reason));
    }
    let mut start = None;
    let mut new_file = false;
    let mut after = *buffer;
    // Most entries are in the file already when only the process died.
    let known = known_len(entry.body, after.end.next());
    for item in entry.records_from(known) {
        let (at, record) = item?;
        let line = &record.line;
        let due = after.end.next();
        if line.seq < due {
            continue;
        }
        if line.seq > due {
            return Ok(Replay::Gap {
                expected: due,
                found: line.seq,
            });
        }
        if line.epoch < after.epoch {
            return Ok(Replay::Skip(SkipReason::StaleEpoch));
        }
        start = start.or(Some(at));
        if line.state == State::Head {
            new_file = true;
        } else {
            after.end = line.seq;
            after.epoch = line.epoch;
        }
    }
    Ok(match start {
        Some(start) => Replay::Apply {
            bytes: start..entry.body.len(),
            new_file,
            after,
        },
        None => Replay::Skip(SkipReason::AlreadyThere),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER: Uuid = Uuid([7; 16]);

    fn push(seq: u64, epoch: u32, out: &mut Vec<u8>) {
        let frame = Frame {
            seq: Seq(seq),
            time: Micros(seq),
            epoch: Epoch(epoch),
            distance: 1,
            rest: 0,
            facts: &Facts::of(Kind::Cursor),
            lines: b"",
            proof: Proof::None,
            body: b"move",
        };
        encode(&frame, out);
    }

    fn push_head(first: u64, out: &mut Vec<u8>) {
        let head = SegmentHead {
            format: FORMAT,
            kind: LogKind::Cursors,
            buffer: BUFFER,
            log: BUFFER,
            history: BUFFER,
            first: Seq(first),
            time: Micros(0),
            epoch: Epoch(2),
            frontier: Frontier::new(),
            epochs: Vec::new(),
            compacted: None,
        };
        head.encode(out);
    }

    fn body(seqs: Range<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        seqs.for_each(|seq| push(seq, 2, &mut out));
        out
    }

    fn entry(first: u64, body: &[u8]) -> Entry<'_> {
        Entry {
            buffer: BUFFER,
            file: JournalFile::Cursors(Seq(first)),
            body,
        }
    }

    fn end(end: u64) -> BufferEnd {
        BufferEnd {
            end: Seq(end),
            epoch: Epoch(2),
            fence: 10,
            stopped: false,
        }
    }

    #[test]
    fn an_entry_reads_back_from_its_record() {
        let body = body(4..7);
        let entry = entry(1, &body);
        let line = EntryLine {
            position: 11,
            time: Micros(9),
            epoch: Epoch(5),
            distance: 1,
        };
        let mut out = Vec::new();
        encode_entry(line, &entry, &mut out);
        let record = decode(&out).unwrap();
        assert_eq!(record.line.seq, Seq(11));
        assert_eq!(record.line.head_len, entry_head_len(entry.file, body.len()));
        assert_eq!(Entry::parse(&record), Ok(entry));
        let seqs: Vec<u64> = entry
            .records()
            .map(|item| item.unwrap().1.line.seq.0)
            .collect();
        assert_eq!(seqs, [4, 5, 6]);
        let other = body[..body.len() / 3].to_vec();
        assert_eq!(
            Entry::parse(&decode(&other).unwrap()),
            Err(EntryError::Kind)
        );
    }

    #[test]
    fn an_entry_at_the_end_is_applied_whole() {
        let body = body(4..7);
        let after = BufferEnd {
            end: Seq(6),
            ..end(3)
        };
        let replayed = replay(&entry(1, &body), 11, &end(3)).unwrap();
        assert_eq!(
            replayed,
            Replay::Apply {
                bytes: 0..body.len(),
                new_file: false,
                after
            }
        );
    }

    #[test]
    fn an_entry_that_is_there_in_part_is_applied_from_the_end_on() {
        let body = body(4..7);
        let one = body.len() / 3;
        let after = BufferEnd {
            end: Seq(6),
            ..end(5)
        };
        let replayed = replay(&entry(1, &body), 11, &end(5)).unwrap();
        assert_eq!(
            replayed,
            Replay::Apply {
                bytes: 2 * one..body.len(),
                new_file: false,
                after
            }
        );
        let there = replay(&entry(1, &body), 11, &end(6)).unwrap();
        assert_eq!(there, Replay::Skip(SkipReason::AlreadyThere));
    }

    #[test]
    fn an_entry_past_the_end_is_a_gap() {
        let body = body(5..7);
        let gap = Replay::Gap {
            expected: Seq(4),
            found: Seq(5),
        };
        assert_eq!(replay(&entry(1, &body), 11, &end(3)), Ok(gap));
        let stopped = BufferEnd {
            stopped: true,
            ..end(4)
        };
        let skip = Replay::Skip(SkipReason::Stopped);
        assert_eq!(replay(&entry(1, &body), 11, &stopped), Ok(skip));
    }

    #[test]
    fn an_entry_at_or_below_the_fence_is_ignored() {
        let body = body(4..7);
        for position in [0, 9, 10] {
            let skip = Replay::Skip(SkipReason::Fenced);
            assert_eq!(replay(&entry(1, &body), position, &end(3)), Ok(skip));
        }
    }

    #[test]
    fn an_entry_of_an_older_epoch_is_ignored() {
        let body = body(4..7);
        let newer = BufferEnd {
            epoch: Epoch(3),
            ..end(3)
        };
        let skip = Replay::Skip(SkipReason::StaleEpoch);
        assert_eq!(replay(&entry(1, &body), 11, &newer), Ok(skip));
    }

    #[test]
    fn a_new_file_is_applied_with_its_head_even_without_records() {
        let mut new = Vec::new();
        push_head(4, &mut new);
        let head_len = new.len();
        let replayed = replay(&entry(4, &new), 11, &end(3)).unwrap();
        assert_eq!(
            replayed,
            Replay::Apply {
                bytes: 0..head_len,
                new_file: true,
                after: end(3)
            }
        );
        push(4, 2, &mut new);
        push(5, 3, &mut new);
        let after = BufferEnd {
            end: Seq(5),
            epoch: Epoch(3),
            ..end(3)
        };
        let replayed = replay(&entry(4, &new), 11, &end(3)).unwrap();
        assert_eq!(
            replayed,
            Replay::Apply {
                bytes: 0..new.len(),
                new_file: true,
                after
            }
        );
        let rest = replay(&entry(4, &new), 11, &end(4)).unwrap();
        assert!(matches!(
            rest,
            Replay::Apply {
                new_file: false,
                ..
            }
        ));
        let gap = Replay::Gap {
            expected: Seq(3),
            found: Seq(4),
        };
        assert_eq!(replay(&entry(4, &new), 11, &end(2)), Ok(gap));
    }

    #[test]
    fn a_body_that_is_not_whole_records_in_order_is_an_error() {
        let check = |first, body: &[u8]| replay(&entry(first, body), 11, &end(3)).unwrap_err();
        let whole = body(4..6);
        let one = whole.len() / 2;
        let cut = check(1, &whole[..whole.len() - 1]);
        assert!(
            matches!(cut, EntryError::Record { at, .. } if at == one),
            "{cut}"
        );
        let jump = check(1, &[body(4..5), body(6..7)].concat());
        assert_eq!(
            jump,
            EntryError::Seq {
                at: one,
                expected: Seq(5),
                found: Seq(6)
            }
        );
        let before = check(9, &whole);
        assert_eq!(
            before,
            EntryError::Seq {
                at: 0,
                expected: Seq(9),
                found: Seq(4)
            }
        );
        let mut late = whole.clone();
        push_head(6, &mut late);
        assert!(matches!(check(1, &late), EntryError::Head { at } if at == whole.len()));
    }
}
