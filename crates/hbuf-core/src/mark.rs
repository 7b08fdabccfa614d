//! The mark: a small file beside a log that says up to where the log is durable, so that recovery
//! need not read it all.
//!
//! Two slots of [`SLOT_LEN`] bytes; a write goes to the one that the newest mark is not in, so a
//! torn write leaves the other. Each slot is one `s=head` record of kind `mark`, then zeros.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::digits::{push_decimal, push_uuid};
use crate::ids::{Epoch, Micros, Seq, Uuid};
use crate::record::{Facts, Frame, Kind, LINE_LEN, Line, Proof, RecordError, decode, encode};
use crate::segment::{
    FORMAT, FieldError, Fields, HeadError, check_format, merge_epochs, push_epochs, push_field,
    push_frontier, read_epochs, read_frontier,
};
use crate::tree::Frontier;

/// Length of one slot; the file has two.
pub const SLOT_LEN: usize = 8 << 10;

/// What is known to be durable of a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Rises by one with each write; the higher one of two good slots counts.
    pub generation: u64,
    /// The buffer's registration.
    pub buffer: Uuid,
    /// The log, as its leaves say.
    pub log: Uuid,
    /// Its history.
    pub history: Uuid,
    /// When it was written.
    pub time: Micros,
    /// The last durable seq.
    pub durable: Seq,
    /// The first seq that is kept.
    pub first: Seq,
    /// The segment that holds what follows `durable`, by its first seq.
    pub file: Seq,
    /// Where `durable` ends in that segment: the next record's offset.
    pub offset: u64,
    /// The tree of everything up to `durable`; empty in logs without a tree.
    pub frontier: Frontier,
    /// Each epoch with its first seq, also epochs without records.
    pub epochs: Vec<(Epoch, Seq)>,
    /// Name of the file that holds the table of producers.
    pub table: Option<Box<str>>,
    /// Journal positions at or below this one are ignored for this log.
    pub fence: u64,
    /// Written at a clean stop: nothing follows `durable`.
    pub clean: bool,
}

/// Why no mark can be had from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MarkError {
    /// Written by a newer hbuf.
    #[error(transparent)]
    Newer(HeadError),
    /// No slot is good, and at least one holds something.
    #[error("no slot of the mark is good: {a}; {b}")]
    Damaged {
        /// The first slot.
        a: SlotError,
        /// The second slot.
        b: SlotError,
    },
}

/// What is wrong with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SlotError {
    /// Never written.
    #[error("empty")]
    Empty,
    /// No good record of kind `mark`, or something other than zeros behind it.
    #[error("{0}")]
    Record(RecordError),
    /// Another kind, or no zeros behind the record.
    #[error("no mark")]
    Kind,
    /// A field of the body.
    #[error("{0}")]
    Field(#[from] FieldError),
}

impl Mark {
    /// The slot that this generation is written to: 0 or 1, at `slot × SLOT_LEN`.
    #[must_use]
    pub const fn slot(&self) -> usize {
        (self.generation % 2) as usize
    }

    /// Writes the slot. An epoch table that does not fit is merged at its old end: the oldest entry
    /// keeps its number and takes over the records of those behind it. Returns how many are kept.
    pub fn encode(&self, slot: &mut [u8; SLOT_LEN]) -> usize {
        let mut count = self.epochs.len();
        loop {
            let mut out = Vec::with_capacity(SLOT_LEN);
            self.encode_with(&merge_epochs(&self.epochs, count), &mut out);
            if let Some((start, rest)) = slot.split_at_mut_checked(out.len()) {
                start.copy_from_slice(&out);
                rest.fill(0);
                return count;
            }
            // Lines are at most this long, so no epoch is dropped that would have fitted.
            let over = (out.len() - SLOT_LEN).div_ceil(EPOCH_LINE_MAX).max(1);
            assert!(count > over, "uuids, frontier and a few epochs fit a slot");
            count -= over;
        }
    }

    fn encode_with(&self, epochs: &[(Epoch, Seq)], out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(SLOT_LEN);
        let number = |name, value, body: &mut Vec<u8>| {
            push_field(name, body, |out| push_decimal(value, out));
        };
        number("generation", self.generation, &mut body);
        push_field("buffer", &mut body, |out| push_uuid(&self.buffer, out));
        push_field("log", &mut body, |out| push_uuid(&self.log, out));
        push_field("history", &mut body, |out| push_uuid(&self.history, out));
        number("first", self.first.0, &mut body);
        number("file", self.file.0, &mut body);
        number("offset", self.offset, &mut body);
        number("fence", self.fence, &mut body);
        let clean = if self.clean { &b"yes"[..] } else { b"no" };
        push_field("clean", &mut body, |out| out.extend_from_slice(clean));
        if let Some(table) = &self.table {
            push_field("table", &mut body, |out| {
                out.extend_from_slice(table.as_bytes())
            });
        }
        push_frontier(&self.frontier, &mut body);
        push_epochs(epochs, &mut body);
        let facts = Facts {
            format: Some(FORMAT),
            ..Facts::of(Kind::Mark)
        };
        let frame = Frame {
            seq: self.durable,
            time: self.time,
            epoch: self.epochs.last().map_or(Epoch(0), |last| last.0),
            distance: 0,
            rest: 0,
            facts: &facts,
            lines: b"",
            proof: Proof::None,
            body: &body,
        };
        encode(&frame, out);
    }

    /// Reads one slot.
    pub fn decode(slot: &[u8]) -> Result<Self, SlotError> {
        if slot.iter().all(|&byte| byte == 0) {
            return Err(SlotError::Empty);
        }
        let line = Line::parse(slot).map_err(|error| SlotError::Record(error.into()))?;
        let len = usize::try_from(line.record_len())
            .unwrap_or(usize::MAX)
            .clamp(LINE_LEN, slot.len());
        let (bytes, rest) = slot.split_at(len);
        let record = decode(bytes).map_err(SlotError::Record)?;
        if record.facts.kind != Kind::Mark || rest.iter().any(|&byte| byte != 0) {
            return Err(SlotError::Kind);
        }
        let mut fields = Fields::new(record.body);
        let mark = Self {
            generation: fields.number("generation")?,
            buffer: fields.uuid("buffer")?,
            log: fields.uuid("log")?,
            history: fields.uuid("history")?,
            time: record.line.time,
            durable: record.line.seq,
            first: Seq(fields.number("first")?),
            file: Seq(fields.number("file")?),
            offset: fields.number("offset")?,
            fence: fields.number("fence")?,
            clean: match fields.value("clean")? {
                b"yes" => true,
                b"no" => false,
                _ => return Err(FieldError { name: "clean" }.into()),
            },
            table: fields.optional("table").map(table).transpose()?,
            frontier: read_frontier(&mut fields)?,
            epochs: read_epochs(&mut fields)?,
        };
        fields.end()?;
        Ok(mark)
    }
}

/// The newer one of the two good slots; `None` when the file was never written. A slot that is torn
/// while the other is good is the write that a crash interrupted.
pub fn choose(slot_a: &[u8], slot_b: &[u8]) -> Result<Option<Mark>, MarkError> {
    check_format(slot_a).map_err(MarkError::Newer)?;
    check_format(slot_b).map_err(MarkError::Newer)?;
    match (Mark::decode(slot_a), Mark::decode(slot_b)) {
        (Ok(a), Ok(b)) => Ok(Some(if a.generation > b.generation { a } else { b })),
        (Ok(mark), Err(_)) | (Err(_), Ok(mark)) => Ok(Some(mark)),
        (Err(SlotError::Empty), Err(SlotError::Empty)) => Ok(None),
        (Err(a), Err(b)) => Err(MarkError::Damaged { a, b }),
    }
}

fn table(value: &[u8]) -> Result<Box<str>, FieldError> {
    let name = core::str::from_utf8(value)
        .ok()
        .filter(|name| !name.is_empty());
    name.map(Into::into).ok_or(FieldError { name: "table" })
}

/// The longest line of an epoch table: `epoch: `, ten digits, a space, 19 digits and the line's
/// end.
const EPOCH_LINE_MAX: usize = 38;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Hash;

    fn mark(generation: u64) -> Mark {
        Mark {
            generation,
            buffer: Uuid([1; 16]),
            log: Uuid([2; 16]),
            history: Uuid([3; 16]),
            time: Micros(99),
            durable: Seq(6),
            first: Seq(2),
            file: Seq(4),
            offset: 4711,
            frontier: Frontier::from_parts(6, alloc::vec![Hash([9; 32]); 2]).unwrap(),
            epochs: alloc::vec![(Epoch(1), Seq(1)), (Epoch(2), Seq(7)), (Epoch(5), Seq(7))],
            table: Some("producers-6".into()),
            fence: 12,
            clean: false,
        }
    }

    fn slot(mark: &Mark) -> [u8; SLOT_LEN] {
        let mut slot = [b'?'; SLOT_LEN];
        mark.encode(&mut slot);
        slot
    }

    #[test]
    fn a_mark_reads_back_as_it_was_written() {
        assert_eq!(Mark::decode(&slot(&mark(1))), Ok(mark(1)));
        let bare = Mark {
            table: None,
            epochs: Vec::new(),
            frontier: Frontier::new(),
            clean: true,
            ..mark(2)
        };
        assert_eq!(Mark::decode(&slot(&bare)), Ok(bare));
    }

    #[test]
    fn the_newer_good_slot_counts() {
        let empty = [0; SLOT_LEN];
        assert_eq!(choose(&empty, &empty), Ok(None));
        assert_eq!(choose(&slot(&mark(4)), &slot(&mark(5))), Ok(Some(mark(5))));
        assert_eq!(choose(&slot(&mark(6)), &slot(&mark(5))), Ok(Some(mark(6))));
        assert_eq!(choose(&empty, &slot(&mark(1))), Ok(Some(mark(1))));
        assert_eq!([mark(6).slot(), mark(5).slot()], [0, 1]);
    }

    #[test]
    fn a_write_torn_anywhere_leaves_the_other_slot() {
        let (old, new) = (slot(&mark(4)), slot(&mark(6)));
        let other = slot(&mark(5));
        for cut in (0..SLOT_LEN).step_by(7) {
            let mut torn = old;
            torn[..cut].copy_from_slice(&new[..cut]);
            let chosen = choose(&torn, &other).unwrap().unwrap();
            assert!(chosen == mark(5) || chosen == mark(6), "{cut}");
        }
    }

    #[test]
    fn every_flipped_byte_of_a_slot_is_noticed() {
        let good = slot(&mark(1));
        let len = Line::parse(&good).unwrap().record_len() as usize;
        for at in (0..len).chain([len, SLOT_LEN - 1]) {
            let mut slot = good;
            slot[at] ^= 1;
            assert!(Mark::decode(&slot).is_err(), "byte {at}");
        }
    }

    #[test]
    fn two_damaged_slots_are_an_error_that_names_both() {
        let mut bad = slot(&mark(1));
        bad[LINE_LEN + 60] ^= 1;
        let error = choose(&bad, &[0; SLOT_LEN]).unwrap_err();
        assert!(
            matches!(
                error,
                MarkError::Damaged {
                    b: SlotError::Empty,
                    ..
                }
            ),
            "{error}"
        );
        assert!(matches!(
            choose(b"short", &bad),
            Err(MarkError::Damaged { .. })
        ));
    }

    #[test]
    fn a_mark_of_a_newer_format_is_named_as_such() {
        let mut newer = b"POST /x HTTP/1.1\r\nx-hbuf-format: 2\r\n\r\n".to_vec();
        newer.resize(SLOT_LEN, 0);
        let error = choose(&slot(&mark(1)), &newer).unwrap_err();
        assert_eq!(error, MarkError::Newer(HeadError::NewerFormat { found: 2 }));
    }

    #[test]
    fn the_fullest_frontier_leaves_room_for_epochs_and_the_rest_is_merged() {
        let full = Mark {
            durable: Seq(Seq::MAX.0 - 1),
            first: Seq::MAX,
            file: Seq::MAX,
            offset: u64::MAX,
            fence: u64::MAX,
            table: Some("x".repeat(64).into()),
            frontier: Frontier::from_parts(Seq::MAX.0 - 1, alloc::vec![Hash([9; 32]); 63]).unwrap(),
            epochs: (0..1000)
                .map(|at| (Epoch(u32::MAX - 1000 + at), Seq::MAX))
                .collect(),
            ..mark(u64::MAX)
        };
        let mut slot = [0; SLOT_LEN];
        let kept = full.encode(&mut slot);
        assert!(kept >= 32, "{kept}");
        let read = Mark::decode(&slot).unwrap();
        assert_eq!(read.epochs, merge_epochs(&full.epochs, kept));
        assert_eq!(read.epochs.last(), full.epochs.last());
        assert_eq!(read.epochs.first(), full.epochs.first());
        assert_eq!(read.frontier, full.frontier);
    }
}
