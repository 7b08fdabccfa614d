//! Walking a segment record by record, in bounded memory, up to the first record that is not good.
//!
//! Good means: it decodes, and seq, time, epoch and rest of batch follow from the record before it.
//! The walk judges nothing else; what a stop means is `scan.rs`.

use super::head::{HeadError, SegmentHead, check_format};
use super::source::{ReadFailed, Source, Window};
use crate::ids::{Epoch, Micros, Seq};
use crate::limits::{HEAD_BYTES_MAX, JOURNAL_BODY_BYTES_MAX};
use crate::record::{LINE_LEN, Line, Record, RecordError, State, decode_behind};

/// Where a walk stands and what the next record must follow. Keep it to go on later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Offset of the next record.
    pub offset: u64,
    /// Its seq.
    pub next: Seq,
    /// The time of the record before it.
    pub time: Micros,
    /// The epoch of the record before it.
    pub epoch: Epoch,
    /// The batch that the record before left unfinished.
    pub batch: Option<Batch>,
    /// The highest commit that any record so far knew: a lower bound of the log's commit.
    pub known_commit: Seq,
    /// A compacted segment: seqs may be missing.
    pub gaps: bool,
}

/// A batch of which records are still due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Its first record.
    pub seq: Seq,
    /// The offset of that.
    pub offset: u64,
    /// `r` of the last record read.
    pub rest: u16,
}

/// One step of a walk.
#[expect(
    clippy::large_enum_variant,
    reason = "boxing would allocate for every record"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step<'a> {
    /// A good record. Heads come too: their state is `head` and they have no number of their own.
    Record {
        /// Where it starts.
        offset: u64,
        /// The record.
        record: Record<'a>,
    },
    /// No further good record.
    Stop(Stop),
}

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stop {
    /// The offset of the first byte that is no part of a good record.
    pub offset: u64,
    /// The seq that was due there.
    pub seq: Seq,
    /// The batch that is unfinished there.
    pub batch: Option<Batch>,
    /// What stands there.
    pub why: Why,
}

/// What stands behind the last good record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Why {
    /// Nothing.
    #[error("the file ends here")]
    End,
    /// Zeros to the end of the file: space written ahead.
    #[error("only zeros follow")]
    Zeros,
    /// Bytes that are no record.
    #[error("{0}")]
    Record(RecordError),
    /// A line that claims more than any record has.
    #[error("the request line claims {claimed} bytes, more than any record has")]
    TooLong {
        /// Head, body and CRLF as claimed.
        claimed: u64,
    },
    /// A line that claims more bytes than the file has.
    #[error("the request line claims {claimed} bytes, the file has {left} from here on")]
    PastEnd {
        /// Head, body and CRLF as claimed.
        claimed: u64,
        /// Bytes up to the file's end.
        left: u64,
    },
    /// A good record with another seq.
    #[error("seq {found} where {expected} was due")]
    Seq {
        /// What was due.
        expected: Seq,
        /// What it has.
        found: Seq,
    },
    /// A good record with an earlier time than the one before.
    #[error("time {found} is earlier than {last} of the record before")]
    Time {
        /// The time before.
        last: Micros,
        /// What it has.
        found: Micros,
    },
    /// A good record with a lower epoch than the one before.
    #[error("epoch {found} is lower than {last} of the record before")]
    Epoch {
        /// The epoch before.
        last: Epoch,
        /// What it has.
        found: Epoch,
    },
    /// A good record that does not go on with the batch.
    #[error("`r` is {found} where the batch leaves {expected}")]
    Rest {
        /// What was due.
        expected: u16,
        /// What it has.
        found: u16,
    },
}

/// Why a segment cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpenError {
    /// The disk did not give the bytes.
    #[error(transparent)]
    Read(#[from] ReadFailed),
    /// Empty, or zeros only: made ahead and never begun.
    #[error("the file holds no head line yet")]
    Unused,
    /// The head line is damaged, foreign or newer.
    #[error(transparent)]
    Head(#[from] HeadError),
}

/// Reads a segment's head line and says where the first record stands.
pub fn open<S: Source + ?Sized>(source: &S) -> Result<(SegmentHead, Position), OpenError> {
    let mut window = Window::new();
    let start = window.read(source, 0, LINE_LEN * 4)?;
    if start.iter().all(|&byte| byte == 0) && is_zero(source, &mut window, 0)? {
        return Err(OpenError::Unused);
    }
    let start = window.read(source, 0, LINE_LEN * 4)?;
    check_format(start)?;
    let line = Line::parse(start).map_err(|error| HeadError::Record(error.into()))?;
    let len = line.record_len().min(RECORD_BYTES_MAX);
    let head = SegmentHead::decode(window.read(source, 0, len as usize)?)?;
    let position = Position {
        offset: len,
        time: head.time,
        epoch: head.epoch,
        gaps: head.compacted.is_some(),
        ..Position::at(0, head.first)
    };
    Ok((head, position))
}

impl Position {
    /// At `offset`, where record `next` is due and nothing is known of those before.
    #[must_use]
    pub const fn at(offset: u64, next: Seq) -> Self {
        Self {
            offset,
            next,
            time: Micros(0),
            epoch: Epoch(0),
            batch: None,
            known_commit: Seq::ZERO,
            gaps: false,
        }
    }

    /// What a good record must still fulfil to stand here.
    fn check(&self, line: &Line) -> Result<(), Why> {
        let head = line.state == State::Head;
        let skips = self.gaps && line.seq > self.next;
        if line.seq != self.next && !skips {
            return Err(Why::Seq {
                expected: self.next,
                found: line.seq,
            });
        }
        if line.time < self.time && !head {
            return Err(Why::Time {
                last: self.time,
                found: line.time,
            });
        }
        if line.epoch < self.epoch && !head {
            return Err(Why::Epoch {
                last: self.epoch,
                found: line.epoch,
            });
        }
        match self.batch {
            Some(batch) if !head && line.rest != batch.rest - 1 => Err(Why::Rest {
                expected: batch.rest - 1,
                found: line.rest,
            }),
            _ => Ok(()),
        }
    }

    /// Moves behind a good record.
    fn pass(&mut self, line: &Line) {
        if line.state != State::Head {
            let start = self
                .batch
                .map_or((line.seq, self.offset), |batch| (batch.seq, batch.offset));
            let (seq, offset) = start;
            // Compaction may have dropped the last record of a batch that was whole.
            let open = line.rest > 0 && !self.gaps;
            self.batch = open.then_some(Batch {
                seq,
                offset,
                rest: line.rest,
            });
            self.next = line.seq.next();
            self.time = line.time;
            self.epoch = line.epoch;
            self.known_commit = self.known_commit.max(line.known_commit());
        }
        self.offset += line.record_len();
    }
}

/// Walks one file.
#[derive(Debug)]
pub struct Walker<'s, S: Source + ?Sized> {
    source: &'s S,
    window: Window,
    position: Position,
}

impl<'s, S: Source + ?Sized> Walker<'s, S> {
    /// A walk that goes on from `position`.
    #[must_use]
    pub const fn new(source: &'s S, position: Position) -> Self {
        Self {
            source,
            window: Window::new(),
            position,
        }
    }

    /// Where the walk stands.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// The next record, or why there is none. After a stop the walk stays where it is.
    pub fn step(&mut self) -> Result<Step<'_>, ReadFailed> {
        let offset = self.position.offset;
        let line = match self.line()? {
            Ok(line) => line,
            Err(why) => return Ok(Step::Stop(self.stop(why))),
        };
        let count = usize::try_from(line.record_len()).expect("checked against the longest record");
        // `stop` by hand: the record borrows the window from here on.
        let stop = |why| {
            let Position {
                next: seq, batch, ..
            } = self.position;
            Ok(Step::Stop(Stop {
                offset,
                seq,
                batch,
                why,
            }))
        };
        let record = match decode_behind(self.window.read(self.source, offset, count)?, line) {
            Ok(record) => record,
            Err(error) => return stop(Why::Record(error)),
        };
        if let Err(why) = self.position.check(&record.line) {
            return stop(why);
        }
        self.position.pass(&record.line);
        Ok(Step::Record { offset, record })
    }

    /// The line that stands here, with a span within bounds and file.
    fn line(&mut self) -> Result<Result<Line, Why>, ReadFailed> {
        let offset = self.position.offset;
        let bytes = self.window.read(self.source, offset, LINE_LEN)?;
        if bytes.is_empty() {
            return Ok(Err(Why::End));
        }
        let line = match Line::parse(bytes) {
            Ok(line) => line,
            Err(error) => {
                let zeros = bytes.iter().all(|&byte| byte == 0);
                return Ok(Err(
                    if zeros && is_zero(self.source, &mut self.window, offset)? {
                        Why::Zeros
                    } else {
                        Why::Record(error.into())
                    },
                ));
            }
        };
        let claimed = line.record_len();
        let left = self.source.len().saturating_sub(offset);
        Ok(if claimed > RECORD_BYTES_MAX {
            Err(Why::TooLong { claimed })
        } else if claimed > left {
            Err(Why::PastEnd { claimed, left })
        } else {
            Ok(line)
        })
    }

    const fn stop(&self, why: Why) -> Stop {
        let Position {
            offset,
            next: seq,
            batch,
            ..
        } = self.position;
        Stop {
            offset,
            seq,
            batch,
            why,
        }
    }
}

/// Whether only zeros stand from `offset` to the end of the file.
pub(crate) fn is_zero<S: Source + ?Sized>(
    source: &S,
    window: &mut Window,
    mut offset: u64,
) -> Result<bool, ReadFailed> {
    loop {
        let bytes = window.read(source, offset, ZERO_BYTES)?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().fold(0, |seen, &byte| seen | byte) != 0 {
            return Ok(false);
        }
        offset += bytes.len() as u64;
    }
}

/// The longest record: head, body of a journal entry, CRLF.
pub(crate) const RECORD_BYTES_MAX: u64 = HEAD_BYTES_MAX + JOURNAL_BODY_BYTES_MAX + 2;
/// Zeros are looked for in pieces of this size, so that a file of data is left at once.
const ZERO_BYTES: usize = 64 << 10;
