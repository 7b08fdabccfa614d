//! Walks a buffer's segments record by record, past damage, and says what is damaged.
//!
//! The core says what a good record is and what a stop means (`hbuf_core::segment`). Here is only
//! what comes after: where reading goes on. That is a matter of reporting, never of repair: what is
//! found behind damage is shown, and nobody writes it anywhere.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use hbuf_core::ids::Seq;
use hbuf_core::record::{LINE_LEN, Line, Record, State, decode};
use hbuf_core::segment::{
    End, HeadError, OpenError, Position, ReadFailed, SegmentHead, Source, Step, Stop, Walker, Why,
    classify, open,
};
use memchr::memmem;

use super::place::{BufferPlace, SegmentPlace};
use super::source::FileSource;

/// What a walk meets.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A segment begins.
    Head {
        /// What it says.
        head: &'a SegmentHead,
        /// The segment.
        file: &'a Path,
    },
    /// A good record: its checksum is right and it follows the one before. Its id is not checked
    /// yet.
    Record {
        /// The record.
        record: &'a Record<'a>,
        /// Its segment.
        file: &'a Path,
        /// Where it starts.
        offset: u64,
    },
    /// A place that is not good. The walk goes on behind it.
    Damage(Damage),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) kind: Kind,
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    /// The first seq that is not good; of a head line, the segment's first.
    pub(crate) seq: Seq,
    /// The last seq that is not good.
    pub(crate) last: Seq,
    pub(crate) reason: String,
}

/// What kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The head line of a segment.
    Head,
    /// The mark of the buffer.
    Mark,
    /// A stored filter: no message, and nothing of the log.
    Filter,
    /// A record that was durable and is not good any more.
    Damaged,
    /// An end that is not whole and that nothing proves to have been durable: the next start cuts
    /// it.
    Torn,
    /// Seqs that should be there and are not.
    Missing,
    /// A record whose bytes are consistent and whose content or id was exchanged.
    Tampered,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            file,
            offset,
            seq,
            last,
            reason,
        } = self;
        match kind {
            Kind::Head => write!(f, "head of the segment that starts with seq {seq}")?,
            Kind::Mark => write!(f, "mark")?,
            Kind::Filter => {
                let (kind, file) = (kind.as_str(), file.display());
                return write!(
                    f,
                    "stored filter: {kind}: {reason}: upload it again ({file})"
                );
            }
            _ if seq == last => write!(f, "seq {seq}")?,
            _ => write!(f, "seq {seq} to {last}")?,
        }
        write!(
            f,
            ": {}: {reason} ({} at byte {offset})",
            kind.as_str(),
            file.display()
        )
    }
}

impl Kind {
    /// Where it is, for programs.
    pub(crate) const fn place(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Mark => "mark",
            Self::Filter => "filter",
            Self::Damaged | Self::Torn | Self::Missing | Self::Tampered => "record",
        }
    }

    /// Nothing but an end that the next start cuts.
    pub(crate) const fn is_tail(self) -> bool {
        matches!(self, Self::Torn)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Head | Self::Mark => "unreadable",
            Self::Damaged | Self::Filter => "damaged",
            Self::Torn => "torn",
            Self::Missing => "missing",
            Self::Tampered => "tampered",
        }
    }
}

/// What the visitor of a walk wants next.
pub(crate) type Flow = Result<ControlFlow<()>>;

/// Walks the segments that hold anything behind `after`, in order. `durable` is the last seq that
/// must be there.
pub(crate) fn walk(
    place: &BufferPlace,
    after: Seq,
    durable: Seq,
    visit: &mut dyn FnMut(Found<'_>) -> Flow,
) -> Result<()> {
    let mut due = None;
    for (index, segment) in place.segments.iter().enumerate() {
        let next_first = place.segments.get(index + 1).and_then(|next| next.first);
        if next_first.is_some_and(|next| next.prev() <= after) {
            continue;
        }
        if let (Some(due), Some(first)) = (due, segment.first)
            && due < first
        {
            let reason = "no segment holds these".to_owned();
            let missing = damage(Kind::Missing, segment, 0, due, reason);
            if visit(Found::Damage(Damage {
                last: first.prev(),
                ..missing
            }))?
            .is_break()
            {
                return Ok(());
            }
        }
        // Whatever stands before the next segment was durable when that one began.
        let durable = next_first.map_or(durable, Seq::prev);
        match walk_segment(segment, durable, visit)? {
            ControlFlow::Continue(next) => due = Some(next),
            ControlFlow::Break(()) => return Ok(()),
        }
    }
    Ok(())
}

impl BufferPlace {
    /// The last seq on disk; only the last segment is read, and damage is passed over.
    pub(crate) fn last_seq(&self) -> Result<Seq> {
        let first = self
            .segments
            .last()
            .and_then(|segment| segment.first)
            .unwrap_or_default();
        let mut last = first.prev();
        walk(self, first.prev(), self.durable(), &mut |found| {
            if let Found::Record { record, .. } = found {
                last = record.line.seq;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(last)
    }
}

/// How often an unfinished tail is looked at again, and after what pause: a server may be writing
/// it.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);
/// How many records behind a place must follow each other before the place is believed.
const CHAIN_RECORDS: u32 = 1_000;

/// One segment on its way: the file, and whom to tell.
struct SegmentWalk<'a> {
    segment: &'a SegmentPlace,
    source: FileSource,
    /// The last seq that must be there.
    durable: Seq,
    looks: u32,
    visit: &'a mut dyn FnMut(Found<'_>) -> Flow,
}

/// Walks one segment and gives the seq that is due behind it.
fn walk_segment(
    segment: &SegmentPlace,
    durable: Seq,
    visit: &mut dyn FnMut(Found<'_>) -> Flow,
) -> Result<ControlFlow<(), Seq>> {
    let source = FileSource::open(&segment.path)?;
    let mut walk = SegmentWalk {
        segment,
        source,
        durable,
        looks: 0,
        visit,
    };
    let mut next = walk.begin()?;
    loop {
        let position = match next {
            Next::Walk(position) => position,
            Next::End(due) => return Ok(ControlFlow::Continue(due)),
            Next::Break => return Ok(ControlFlow::Break(())),
        };
        next = match walk.records(position)? {
            ControlFlow::Continue((position, stop)) => walk.judge(position, &stop)?,
            ControlFlow::Break(()) => Next::Break,
        };
    }
}

/// What a walk does next.
enum Next {
    /// Read on from here.
    Walk(Position),
    /// The segment is read; this seq is due behind it.
    End(Seq),
    /// The visitor has enough.
    Break,
}

impl SegmentWalk<'_> {
    /// Reads the head line and finds the first record.
    fn begin(&mut self) -> Result<Next> {
        let named = self.segment.first;
        let error = match open(&self.source) {
            Ok((head, position)) => {
                let wrong = named.filter(|&named| named != head.first).map(|named| {
                    let reason = format!("the head says that it starts with seq {}", head.first);
                    damage(Kind::Head, self.segment, 0, named, reason)
                });
                let mut flow = (self.visit)(Found::Head {
                    head: &head,
                    file: &self.segment.path,
                })?;
                if let (Some(wrong), true) = (wrong, flow.is_continue()) {
                    flow = (self.visit)(Found::Damage(wrong))?;
                }
                return Ok(if flow.is_break() {
                    Next::Break
                } else {
                    Next::Walk(position)
                });
            }
            Err(error) => error,
        };
        let first = named.unwrap_or(Seq::FIRST);
        if matches!(error, OpenError::Unused) && self.durable < first {
            return Ok(Next::End(first));
        }
        refuse_unreadable(self.segment, &error)?;
        let wrong = damage(Kind::Head, self.segment, 0, first, error.to_string());
        if (self.visit)(Found::Damage(wrong))?.is_break() {
            return Ok(Next::Break);
        }
        let before = Stop {
            offset: 0,
            seq: first.prev(),
            batch: None,
            why: Why::End,
        };
        Ok(match self.resume(&before)? {
            Some(position) => Next::Walk(position),
            None => Next::End(first),
        })
    }

    /// Shows good records up to the next stop.
    fn records(&mut self, position: Position) -> Result<ControlFlow<(), (Position, Stop)>> {
        let mut walker = Walker::new(&self.source, position);
        loop {
            match walker
                .step()
                .map_err(|error| unreadable(self.segment, &error))?
            {
                Step::Stop(stop) => {
                    return Ok(ControlFlow::Continue((walker.position().clone(), stop)));
                }
                Step::Record { record, .. } if record.line.state == State::Head => {}
                Step::Record { record, offset } => {
                    let found = Found::Record {
                        record: &record,
                        file: &self.segment.path,
                        offset,
                    };
                    if (self.visit)(found)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
    }

    /// Says what a stop means and where to go on.
    fn judge(&mut self, position: Position, stop: &Stop) -> Result<Next> {
        let end = classify(&self.source, stop, self.durable)
            .map_err(|error| unreadable(self.segment, &error))?;
        match end {
            End::Clean => Ok(Next::End(stop.seq)),
            End::Torn { .. } if self.looks < LOOKS && self.source.is_fresh() => {
                self.looks += 1;
                std::thread::sleep(PAUSE);
                self.source = FileSource::open(&self.segment.path)?;
                Ok(Next::Walk(position))
            }
            End::Torn { seq, offset, bad } => {
                let torn = torn(self.segment, bad, offset, stop, self.source.len());
                let flow = (self.visit)(Found::Damage(torn))?;
                Ok(if flow.is_break() {
                    Next::Break
                } else {
                    Next::End(seq)
                })
            }
            End::Corrupt {
                seq,
                offset,
                reason,
                ..
            } => {
                let resumed = self.resume(stop)?;
                let last = match &resumed {
                    Some(resumed) => resumed.next.prev().max(seq),
                    None => self.durable.max(seq),
                };
                let (kind, text) = match reason {
                    Why::End | Why::Zeros => {
                        (Kind::Missing, format!("{reason}, records are missing"))
                    }
                    _ => (Kind::Damaged, reason.to_string()),
                };
                let found = Damage {
                    last,
                    ..damage(kind, self.segment, offset, seq, text)
                };
                if (self.visit)(Found::Damage(found))?.is_break() {
                    return Ok(Next::Break);
                }
                Ok(resumed.map_or_else(|| Next::End(last.next()), Next::Walk))
            }
        }
    }

    fn resume(&self, stop: &Stop) -> Result<Option<Position>> {
        resume(&self.source, stop).map_err(|error| unreadable(self.segment, &error))
    }
}

fn damage(kind: Kind, segment: &SegmentPlace, offset: u64, seq: Seq, reason: String) -> Damage {
    Damage {
        kind,
        file: segment.path.clone(),
        offset,
        seq,
        last: seq,
        reason,
    }
}

fn torn(segment: &SegmentPlace, bad: Seq, offset: u64, stop: &Stop, len: u64) -> Damage {
    let reason = format!(
        "{}; nothing proves that this was durable, so the next start cuts the last {} bytes",
        stop.why,
        len.saturating_sub(offset)
    );
    damage(Kind::Torn, segment, offset, bad, reason)
}

/// A newer format is no damage, and bytes that the disk does not give allow no verdict.
fn refuse_unreadable(segment: &SegmentPlace, error: &OpenError) -> Result<()> {
    match error {
        OpenError::Read(failed) => Err(unreadable(segment, failed)),
        OpenError::Head(newer @ HeadError::NewerFormat { .. }) => {
            bail!("{}: {newer}", segment.path.display())
        }
        OpenError::Unused | OpenError::Head(_) => Ok(()),
    }
}

fn unreadable(segment: &SegmentPlace, error: &ReadFailed) -> anyhow::Error {
    anyhow::anyhow!("{}: {error}", segment.path.display())
}

/// Where a walk goes on behind a stop, or `None` when nothing good follows.
fn resume(source: &FileSource, stop: &Stop) -> Result<Option<Position>, ReadFailed> {
    if matches!(
        stop.why,
        Why::Seq { .. } | Why::Time { .. } | Why::Epoch { .. } | Why::Rest { .. }
    ) {
        // The record is good in itself and only stands in the wrong place: go on with it.
        if let Some(line) = good_line(source, stop.offset)? {
            return Ok(Some(Position::at(stop.offset, line.seq)));
        }
    }
    // First the place that the damaged line itself names: no body can forge that.
    if let Some(line) = line_at(source, stop.offset)? {
        let next = stop.offset.saturating_add(line.record_len());
        if let Some(line) = good_line(source, next)?
            && line.seq > stop.seq
        {
            return Ok(Some(Position::at(next, line.seq)));
        }
    }
    search(source, stop)
}

/// Looks for a record behind a line that cannot be read. A body may hold planted records, so the
/// first place wins from which the records go on to the end, and only then the first place that
/// fits.
fn search(source: &FileSource, stop: &Stop) -> Result<Option<Position>, ReadFailed> {
    let finder = memmem::Finder::new(b"POST /");
    let mut bytes = vec![0; PIECE_BYTES];
    let mut from = stop.offset + 1;
    let mut fallback = None;
    while from < source.len() {
        let left = usize::try_from(source.len() - from)
            .unwrap_or(usize::MAX)
            .min(PIECE_BYTES);
        source.read_at(from, &mut bytes[..left])?;
        for found in finder.find_iter(&bytes[..left]) {
            let at = from + found as u64;
            let Some(line) = good_line(source, at)?.filter(|line| line.seq > stop.seq) else {
                continue;
            };
            let position = Position::at(at, line.seq);
            if goes_on(source, position.clone())? {
                return Ok(Some(position));
            }
            fallback.get_or_insert(position);
        }
        if left < PIECE_BYTES {
            break;
        }
        // A start that the piece cuts in two stands whole in the next one.
        from += (PIECE_BYTES - 5) as u64;
    }
    Ok(fallback)
}

const PIECE_BYTES: usize = 1 << 20;

/// Whether the records from here on follow each other to the end, or for long enough.
fn goes_on(source: &FileSource, position: Position) -> Result<bool, ReadFailed> {
    let mut walker = Walker::new(source, position);
    for _ in 0..CHAIN_RECORDS {
        if let Step::Stop(stop) = walker.step()? {
            return Ok(matches!(stop.why, Why::End | Why::Zeros));
        }
    }
    Ok(true)
}

fn line_at(source: &FileSource, offset: u64) -> Result<Option<Line>, ReadFailed> {
    if offset.saturating_add(LINE_LEN as u64) > source.len() {
        return Ok(None);
    }
    let mut bytes = [0; LINE_LEN];
    source.read_at(offset, &mut bytes)?;
    let line = Line::parse(&bytes).ok();
    Ok(line.filter(|line| line.record_len() <= source.len() - offset))
}

/// The line of a whole good record at this place.
fn good_line(source: &FileSource, offset: u64) -> Result<Option<Line>, ReadFailed> {
    let Some(line) = line_at(source, offset)? else {
        return Ok(None);
    };
    // The length is within the file, so it fits into memory as far as the file does.
    let mut bytes = vec![0; usize::try_from(line.record_len()).unwrap_or(usize::MAX)];
    source.read_at(offset, &mut bytes)?;
    Ok(decode(&bytes).ok().map(|record| record.line))
}
