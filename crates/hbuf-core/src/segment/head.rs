//! The head line of a segment: a record outside the numbering that says what the file is.
//!
//! It holds all that is needed to go on from here without the segments before: frontier, epochs,
//! uuids, history. `x-hbuf-format` is read before anything else, so that a file of a newer hbuf is
//! named as such and not taken for damage.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::field::{
    FieldError, Fields, merge_epochs, push_epochs, push_field, push_frontier, read_epochs,
    read_frontier,
};
use crate::digits::{push_decimal, push_uuid, read_decimal, read_decimal_plain};
use crate::ids::{Epoch, Micros, Seq, Uuid};
use crate::limits::EPOCHS_MAX;
use crate::record::{Facts, Frame, Kind, Proof, RecordError, decode, encode};
use crate::tree::Frontier;

/// The version of the format that this code writes.
pub const FORMAT: u32 = 1;

/// What a log is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogKind {
    /// A buffer's messages: the only kind with a tree.
    Messages,
    /// A buffer's cursors.
    Cursors,
    /// A disk's journal.
    Journal,
    /// A manager's commands.
    Manager,
}

/// What the head line of a segment says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SegmentHead {
    /// Version of the format, [`FORMAT`].
    pub format: u32,
    /// What the log is for.
    pub kind: LogKind,
    /// The buffer's registration; of a journal, the disk's uuid; of a manager, the region's.
    pub buffer: Uuid,
    /// The log, as its leaves say and its copies inherit.
    pub log: Uuid,
    /// Changes only when committed data may have been lost.
    pub history: Uuid,
    /// The first seq that belongs here.
    pub first: Seq,
    /// Server time when the segment began.
    pub time: Micros,
    /// The epoch in which it began.
    pub epoch: Epoch,
    /// The tree of everything before `first`; empty in logs without a tree.
    pub frontier: Frontier,
    /// Each epoch with its first seq, oldest first, up to here.
    pub epochs: Vec<(Epoch, Seq)>,
    /// The `compact` record whose rule this file was rewritten by: seqs may be missing in it.
    pub compacted: Option<Seq>,
}

/// Why bytes are no head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HeadError {
    /// Written by a newer hbuf.
    #[error(
        "format version {found} is newer than {FORMAT}, the newest that this hbuf reads: \
        use a newer hbuf, the file is untouched"
    )]
    NewerFormat {
        /// The version in the file.
        found: u32,
    },
    /// No good record.
    #[error("no good head line: {0}")]
    Record(#[from] RecordError),
    /// A good record, but another kind.
    #[error("the file starts with a record of another kind than `segment`")]
    Kind,
    /// A field of the body.
    #[error("head line: {0}")]
    Field(#[from] FieldError),
}

impl SegmentHead {
    /// Appends the head line. An epoch table beyond [`EPOCHS_MAX`] is merged at its old end.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        push_field("log-kind", &mut body, |out| {
            out.extend_from_slice(self.kind.text().as_bytes())
        });
        push_field("buffer", &mut body, |out| push_uuid(&self.buffer, out));
        push_field("log", &mut body, |out| push_uuid(&self.log, out));
        push_field("history", &mut body, |out| push_uuid(&self.history, out));
        if let Some(seq) = self.compacted {
            push_field("compacted", &mut body, |out| push_decimal(seq.0, out));
        }
        push_frontier(&self.frontier, &mut body);
        push_epochs(&merge_epochs(&self.epochs, EPOCHS_MAX), &mut body);
        let facts = Facts {
            format: Some(self.format),
            ..Facts::of(Kind::Segment)
        };
        let frame = Frame {
            seq: self.first,
            time: self.time,
            epoch: self.epoch,
            distance: 0,
            rest: 0,
            facts: &facts,
            lines: b"",
            proof: Proof::None,
            body: &body,
        };
        encode(&frame, out);
    }

    /// Reads the head line, one whole record.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        check_format(bytes)?;
        let record = decode(bytes)?;
        if record.facts.kind != Kind::Segment {
            return Err(HeadError::Kind);
        }
        let mut fields = Fields::new(record.body);
        let kind = LogKind::parse(fields.value("log-kind")?);
        let head = Self {
            format: record.facts.format.ok_or(FieldError {
                name: "x-hbuf-format",
            })?,
            kind: kind.ok_or(FieldError { name: "log-kind" })?,
            buffer: fields.uuid("buffer")?,
            log: fields.uuid("log")?,
            history: fields.uuid("history")?,
            compacted: fields.optional("compacted").map(compacted).transpose()?,
            first: record.line.seq,
            time: record.line.time,
            epoch: record.line.epoch,
            frontier: read_frontier(&mut fields)?,
            epochs: read_epochs(&mut fields)?,
        };
        fields.end()?;
        let size = if head.kind == LogKind::Messages {
            head.first.prev().0
        } else {
            0
        };
        if head.frontier.size() != size {
            return Err(FieldError { name: "size" }.into());
        }
        Ok(head)
    }
}

impl LogKind {
    /// The value of `log-kind`.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Cursors => "cursors",
            Self::Journal => "journal",
            Self::Manager => "manager",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        [Self::Messages, Self::Cursors, Self::Journal, Self::Manager]
            .into_iter()
            .find(|kind| kind.text().as_bytes() == text)
    }
}

/// The name of the segment that starts with `first`: 20 digits and `.hbuf`.
#[must_use]
pub fn file_name(first: Seq) -> String {
    format!("{:020}.hbuf", first.0)
}

/// The first seq of the segment with this name; `None` when it is no segment's name.
#[must_use]
pub fn first_of_name(name: &str) -> Option<Seq> {
    let digits: &[u8; 20] = name.strip_suffix(".hbuf")?.as_bytes().try_into().ok()?;
    Some(Seq(read_decimal(digits)?)).filter(|&first| first <= Seq::MAX)
}

/// Refuses bytes whose head says a newer version, whatever else a newer version changed: it looks
/// for the line alone.
pub fn check_format(bytes: &[u8]) -> Result<(), HeadError> {
    let start = &bytes[..bytes.len().min(FORMAT_WITHIN)];
    for line in start.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let Some(value) = line.strip_prefix(b"x-hbuf-format: ") else {
            continue;
        };
        match read_decimal_plain(value).and_then(|found| u32::try_from(found).ok()) {
            Some(found) if found > FORMAT => return Err(HeadError::NewerFormat { found }),
            Some(_) | None => break,
        }
    }
    Ok(())
}

fn compacted(value: &[u8]) -> Result<Seq, FieldError> {
    read_decimal_plain(value)
        .map(Seq)
        .ok_or(FieldError { name: "compacted" })
}

/// How far from the start of a file the line of the version stands in every version.
pub const FORMAT_WITHIN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Hash;
    use crate::record::Line;

    fn head() -> SegmentHead {
        SegmentHead {
            format: FORMAT,
            kind: LogKind::Messages,
            buffer: Uuid([1; 16]),
            log: Uuid([2; 16]),
            history: Uuid([3; 16]),
            first: Seq(8),
            time: Micros(5),
            epoch: Epoch(4),
            frontier: Frontier::from_parts(7, alloc::vec![Hash([9; 32]); 3]).unwrap(),
            epochs: alloc::vec![(Epoch(1), Seq(1)), (Epoch(4), Seq(6))],
            compacted: None,
        }
    }

    fn encoded(head: &SegmentHead) -> Vec<u8> {
        let mut out = Vec::new();
        head.encode(&mut out);
        out
    }

    #[test]
    fn a_head_reads_back_as_it_was_written() {
        for compacted in [None, Some(Seq(1000))] {
            let head = SegmentHead {
                compacted,
                ..head()
            };
            assert_eq!(SegmentHead::decode(&encoded(&head)), Ok(head));
        }
        let empty = SegmentHead {
            kind: LogKind::Journal,
            frontier: Frontier::new(),
            epochs: Vec::new(),
            ..head()
        };
        assert_eq!(SegmentHead::decode(&encoded(&empty)), Ok(empty));
    }

    #[test]
    fn a_newer_format_is_named_before_anything_else_is_read() {
        let newer = encoded(&SegmentHead {
            format: 2,
            ..head()
        });
        assert_eq!(
            SegmentHead::decode(&newer),
            Err(HeadError::NewerFormat { found: 2 })
        );
        let mut foreign = b"POST /1?another=line HTTP/1.1\r\nx-hbuf-format: 77\r\n\r\n".to_vec();
        foreign.resize(600, b'?');
        assert_eq!(
            SegmentHead::decode(&foreign),
            Err(HeadError::NewerFormat { found: 77 })
        );
    }

    #[test]
    fn a_frontier_that_does_not_go_with_the_first_seq_is_refused() {
        let wrong = encoded(&SegmentHead {
            first: Seq(9),
            ..head()
        });
        let error = FieldError { name: "size" };
        assert_eq!(SegmentHead::decode(&wrong), Err(HeadError::Field(error)));
    }

    #[test]
    fn every_flipped_byte_of_a_head_is_an_error() {
        let bytes = encoded(&head());
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(SegmentHead::decode(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn epochs_beyond_the_bound_are_merged_at_the_old_end() {
        let epochs = (1..=EPOCHS_MAX as u32 + 2).map(|epoch| (Epoch(epoch), Seq(epoch.into())));
        let head = SegmentHead {
            epochs: epochs.collect(),
            ..head()
        };
        let read = SegmentHead::decode(&encoded(&head)).unwrap();
        assert_eq!(read.epochs.len(), EPOCHS_MAX);
        assert_eq!(read.epochs[..2], [(Epoch(1), Seq(1)), (Epoch(4), Seq(4))]);
    }

    #[test]
    fn the_longest_head_is_within_the_bounds_of_a_record() {
        let epochs = (1..=EPOCHS_MAX as u32).map(|at| (Epoch(u32::MAX - 2000 + at), Seq::MAX));
        let nodes = alloc::vec![Hash([9; 32]); 63];
        let head = SegmentHead {
            first: Seq::MAX,
            frontier: Frontier::from_parts(Seq::MAX.0 - 1, nodes).unwrap(),
            epochs: epochs.collect(),
            ..head()
        };
        let bytes = encoded(&head);
        let line = Line::parse(&bytes).unwrap();
        assert!(u64::from(line.body_len) < 64 << 10);
        assert_eq!(SegmentHead::decode(&bytes), Ok(head));
    }

    #[test]
    fn names_of_segments_have_twenty_digits() {
        assert_eq!(file_name(Seq(42)), "00000000000000000042.hbuf");
        assert_eq!(first_of_name("00000000000000000042.hbuf"), Some(Seq(42)));
        for name in [
            "42.hbuf",
            "00000000000000000042.idx",
            "0000000000000000004x.hbuf",
        ] {
            assert_eq!(first_of_name(name), None, "{name}");
        }
    }
}
