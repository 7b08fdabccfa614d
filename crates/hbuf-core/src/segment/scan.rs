//! What a stop means: the end, a torn tail that may be cut, or corruption that must not be.
//!
//! Nothing here salvages: a record behind damage is a witness that something was there, never data.
//!
//! A record s that is not good is *corrupt* only if a mark covers s, or a good record n > s stands
//! behind it that was framed when s was committed: n − d ≥ s. Else nobody was told that s is kept,
//! and the file is cut at s, whatever follows. A body may hold planted records, so the search steps
//! over the span that a damaged line claims, as long as the head or what stands behind agrees.
//! Behind bytes where no line can be read, a record counts only if the seqs go on from it to the
//! end of the file.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use memchr::memmem;

use super::source::{ReadFailed, Source, WINDOW_BYTES, Window};
use super::walk::{Position, RECORD_BYTES_MAX, Step, Stop, Walker, Why};
use crate::ids::{Epoch, Micros, Seq};
use crate::limits::HEAD_BYTES_MAX;
use crate::record::{LINE_LEN, Line, Record, State, decode, read_head};

/// Where a scan begins and what is known from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScanStart {
    /// Offset of the first record to read.
    pub offset: u64,
    /// Its seq.
    pub next: Seq,
    /// The mark covers this seq and all before; of a sealed segment, its last seq.
    pub durable_mark: Seq,
    /// Time of the record before, or 0.
    pub time: Micros,
    /// Epoch of the record before, or 0.
    pub epoch: Epoch,
    /// A compacted segment.
    pub gaps: bool,
}

/// The verdict on the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Good records, then nothing or space written ahead.
    Clean,
    /// An append that never became durable. Cut the file at `offset`; `seq` is the next to assign.
    Torn {
        /// The first seq that is cut: the first of the batch when the tear is inside one.
        seq: Seq,
        /// Where to cut.
        offset: u64,
        /// The record that is not good; beyond `seq` when the start of a batch goes with it.
        bad: Seq,
    },
    /// Something durable is damaged: keep the file as it is, repair from a copy.
    Corrupt {
        /// The first record that is not good.
        seq: Seq,
        /// Where it stands.
        offset: u64,
        /// What is wrong there.
        reason: Why,
        /// The seq that proves it: a good record behind, or what the mark covers. Equal to `seq`
        /// when the search for a witness was given up: then nothing is cut either.
        witness: Seq,
    },
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    /// The verdict.
    pub end: End,
    /// Behind the last good record.
    pub position: Position,
}

impl From<&ScanStart> for Position {
    fn from(start: &ScanStart) -> Self {
        Self {
            time: start.time,
            epoch: start.epoch,
            gaps: start.gaps,
            ..Self::at(start.offset, start.next)
        }
    }
}

/// Walks from `start` and judges the end. `on_record` gets each good record, heads left out.
pub fn scan<S: Source + ?Sized>(
    source: &S,
    start: &ScanStart,
    on_record: impl FnMut(u64, &Record<'_>),
) -> Result<Scan, ReadFailed> {
    let (position, stop) = walk(source, start.into(), on_record)?;
    Ok(Scan {
        end: classify(source, &stop, start.durable_mark)?,
        position,
    })
}

/// First half of a scan: up to the first record that is not good. Recovery writes what the journal
/// holds for this place, walks on from the returned position, and only then asks [`classify`].
pub fn walk<S: Source + ?Sized>(
    source: &S,
    from: Position,
    mut on_record: impl FnMut(u64, &Record<'_>),
) -> Result<(Position, Stop), ReadFailed> {
    let mut walker = Walker::new(source, from);
    loop {
        match walker.step()? {
            Step::Record { record, .. } if record.line.state == State::Head => {}
            Step::Record { offset, record } => on_record(offset, &record),
            Step::Stop(stop) => return Ok((walker.position().clone(), stop)),
        }
    }
}

/// Second half of a scan: what the stop means.
pub fn classify<S: Source + ?Sized>(
    source: &S,
    stop: &Stop,
    durable_mark: Seq,
) -> Result<End, ReadFailed> {
    let Stop {
        seq, offset, why, ..
    } = *stop;
    let corrupt = |witness| End::Corrupt {
        seq,
        offset,
        reason: why,
        witness,
    };
    if durable_mark >= seq {
        return Ok(corrupt(durable_mark));
    }
    if !matches!(why, Why::End | Why::Zeros) {
        match Search::new(source, stop)?.witness()? {
            Found::Witness(witness) => return Ok(corrupt(witness)),
            Found::GaveUp => return Ok(corrupt(seq)),
            Found::Nothing => {}
        }
    } else if stop.batch.is_none() {
        return Ok(End::Clean);
    }
    let (first, cut) = stop
        .batch
        .map_or((seq, offset), |batch| (batch.seq, batch.offset));
    Ok(End::Torn {
        seq: first,
        offset: cut,
        bad: seq,
    })
}

/// Any good record behind a stop that was framed when the seq due there was committed.
///
/// For a log of which no record holds what a user wrote: there, none can be planted, and a tail
/// that a crash tore does not excuse the damage before it, whatever of it can be read.
pub fn witness_anywhere<S: Source + ?Sized>(
    source: &S,
    stop: &Stop,
) -> Result<Option<Seq>, ReadFailed> {
    let mut search = Search::new(source, stop)?;
    search.planted = false;
    Ok(match search.search(stop.offset)? {
        Found::Witness(witness) => Some(witness),
        Found::GaveUp => Some(stop.seq),
        Found::Nothing => None,
    })
}

enum Found {
    Nothing,
    Witness(Seq),
    GaveUp,
}

/// What stands at a place behind the damage.
enum Probe {
    Good(Line),
    /// Not good, but this many bytes long: line and head agree, or something good starts behind.
    Span(u64),
    Unreadable,
}

struct Search<'s, S: Source + ?Sized> {
    source: &'s S,
    seq: Seq,
    offset: u64,
    /// Behind the last byte that is not zero.
    data_end: u64,
    /// Bytes that may still be read again: planted records must not make recovery endless.
    budget: u64,
    chain: Window,
    /// A body may hold a record.
    planted: bool,
    /// Starts of lines from which the seqs are known not to reach the end.
    dead: BTreeSet<u64>,
}

impl<'s, S: Source + ?Sized> Search<'s, S> {
    fn new(source: &'s S, stop: &Stop) -> Result<Self, ReadFailed> {
        let len = source.len();
        Ok(Self {
            source,
            seq: stop.seq,
            offset: stop.offset,
            data_end: data_end(source, stop.offset)?,
            budget: (len - stop.offset) * BUDGET_FACTOR + WINDOW_BYTES as u64,
            chain: Window::new(),
            planted: true,
            dead: BTreeSet::new(),
        })
    }

    fn witness(&mut self) -> Result<Found, ReadFailed> {
        let mut at = self.offset;
        while at < self.data_end {
            match self.probe(at)? {
                Probe::Good(line) if self.proves(&line) => return Ok(Found::Witness(line.seq)),
                Probe::Good(line) => at += line.record_len(),
                Probe::Span(len) => at += len,
                Probe::Unreadable => return self.search(at + 1),
            }
        }
        Ok(Found::Nothing)
    }

    /// Whether a good record with this line says that the damaged one was committed.
    fn proves(&self, line: &Line) -> bool {
        line.state != State::Head && line.seq > self.seq && line.known_commit() >= self.seq
    }

    fn probe(&mut self, at: u64) -> Result<Probe, ReadFailed> {
        let Ok(line) = Line::parse(self.chain.read(self.source, at, LINE_LEN)?) else {
            return Ok(Probe::Unreadable);
        };
        let len = line.record_len();
        if u64::from(line.head_len) > HEAD_BYTES_MAX || len > RECORD_BYTES_MAX {
            return Ok(Probe::Unreadable);
        }
        if decode(self.chain.read(self.source, at, len as usize)?).is_ok() {
            return Ok(Probe::Good(line));
        }
        let head = self.chain.read(self.source, at, line.head_len as usize)?;
        if read_head(head, &line).is_ok() || self.is_boundary(at + len)? {
            return Ok(Probe::Span(len));
        }
        Ok(Probe::Unreadable)
    }

    /// Whether the data ends here or a good record starts here: then a line that claims to end here
    /// is right about its lengths, whatever else is damaged.
    fn is_boundary(&mut self, at: u64) -> Result<bool, ReadFailed> {
        if at == self.data_end {
            return Ok(true);
        }
        let Some(line) = self.line(at)?.filter(|line| line.seq > self.seq) else {
            return Ok(false);
        };
        let len = line.record_len().min(RECORD_BYTES_MAX) as usize;
        Ok(decode(self.chain.read(self.source, at, len)?).is_ok())
    }

    /// Looks at every place from `from` on where a line might start.
    fn search(&mut self, mut from: u64) -> Result<Found, ReadFailed> {
        let finder = memmem::Finder::new(LINE_START);
        let mut window = Window::new();
        while from < self.data_end {
            let bytes = window.read(self.source, from, WINDOW_BYTES)?;
            for at in finder.find_iter(bytes) {
                let at = from + at as u64;
                let found = match self.planted {
                    true => self.candidate(at)?,
                    false => self.good(at)?,
                };
                match found {
                    Found::Nothing => {}
                    found => return Ok(found),
                }
            }
            if bytes.len() < WINDOW_BYTES {
                break;
            }
            from += (bytes.len() - LINE_START.len() + 1) as u64;
        }
        Ok(Found::Nothing)
    }

    /// Whether a good record stands here that proves the damage.
    fn good(&mut self, at: u64) -> Result<Found, ReadFailed> {
        let Some(line) = self.line(at)?.filter(|line| self.proves(line)) else {
            return Ok(Found::Nothing);
        };
        let len = line.record_len().min(RECORD_BYTES_MAX);
        if !self.spend(len) {
            return Ok(Found::GaveUp);
        }
        let bytes = self.chain.read(self.source, at, len as usize)?;
        Ok(match decode(bytes) {
            Ok(_) => Found::Witness(line.seq),
            Err(_) => Found::Nothing,
        })
    }

    /// Whether the lines from `start` on continue the seqs to the end of the data, and one of their
    /// records is good and proves the damage.
    fn candidate(&mut self, start: u64) -> Result<Found, ReadFailed> {
        let (mut at, mut next) = (start, None);
        let mut walked = Vec::new();
        while at != self.data_end {
            if !self.spend(LINE_LEN as u64) {
                return Ok(Found::GaveUp);
            }
            let line = self
                .line(at)?
                .filter(|line| line.seq > self.seq && next.is_none_or(|next| line.seq == next));
            let Some(line) = line.filter(|_| !self.dead.contains(&at)) else {
                self.dead.extend(walked);
                return Ok(Found::Nothing);
            };
            next = Some(if line.state == State::Head {
                line.seq
            } else {
                line.seq.next()
            });
            walked.push(at);
            at += line.record_len();
        }
        for &at in &walked {
            let Some(line) = self.line(at)?.filter(|line| self.proves(line)) else {
                continue;
            };
            if !self.spend(line.record_len()) {
                return Ok(Found::GaveUp);
            }
            let bytes = self
                .chain
                .read(self.source, at, line.record_len() as usize)?;
            if decode(bytes).is_ok() {
                return Ok(Found::Witness(line.seq));
            }
        }
        self.dead.extend(walked);
        Ok(Found::Nothing)
    }

    /// The line at this place, if one can be read.
    fn line(&mut self, at: u64) -> Result<Option<Line>, ReadFailed> {
        Ok(Line::parse(self.chain.read(self.source, at, LINE_LEN)?).ok())
    }

    const fn spend(&mut self, bytes: u64) -> bool {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }
}

/// Behind the last byte at or after `from` that is not zero.
fn data_end<S: Source + ?Sized>(source: &S, from: u64) -> Result<u64, ReadFailed> {
    let mut window = Window::new();
    let mut end = source.len();
    while end > from {
        let start = end.saturating_sub(WINDOW_BYTES as u64).max(from);
        let bytes = window.read(source, start, (end - start) as usize)?;
        if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(from)
}

const LINE_START: &[u8] = b"POST /";
/// How many times its length the damaged rest of a file may be read.
const BUDGET_FACTOR: u64 = 16;
