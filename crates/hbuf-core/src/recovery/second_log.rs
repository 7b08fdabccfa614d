//! Recovery of a buffer's cursors log: the same walk, without a tree.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt::Display;

use super::replay::Replay;
use super::{CursorsRecovered, Damage, Found, FoundFile, Repair};
use crate::buffer::{CursorsEnd, parse_retain};
use crate::consumer::{Delta, Progress, fold};
use crate::ids::{Epoch, Seq, Uuid};
use crate::record::{JournalFile, Kind, Record, State};
use crate::replication::Epochs;
use crate::rules::Rules;
use crate::segment::{
    HeadError, LogKind, OpenError, Position, ReadFailed, Stop, Why, open, walk, witness_anywhere,
};

struct Walk {
    end: CursorsEnd,
    keep_from: Seq,
    consumers: BTreeMap<Uuid, Progress>,
    /// Records of a batch whose end was not reached yet.
    open_batch: Vec<Noted>,
    position: Position,
    /// Damage that a later record vouches for is told, not cut.
    damage_is_told: bool,
}

/// Walks the last file that has a head, replays the journal behind it and judges its end.
pub(super) fn recover(
    rules: &Rules,
    replay: &mut Replay<'_>,
    found: &Found<'_>,
    (repairs, damage): (&mut Vec<Repair>, &mut Option<Damage>),
) -> Result<CursorsRecovered, ReadFailed> {
    let mut state = Walk {
        end: CursorsEnd::default(),
        keep_from: Seq::ZERO,
        consumers: BTreeMap::new(),
        open_batch: Vec::new(),
        position: Position::at(0, Seq::FIRST),
        damage_is_told: rules.cursors_damage_is_corruption,
    };
    let (mut last, mut stop) = state.walk_last(found, repairs, damage)?;
    while let Some(restored) = replay.next(state.position.next.prev(), Epoch(0))? {
        let offset = if restored.new_file {
            // It names all consumers that there are; those that were deleted are not among them.
            (state.end.epochs, state.end.known_commit) = (Epochs::default(), Seq::ZERO);
            state.consumers.clear();
            state.open_batch.clear();
            // Nothing of the files before it is needed.
            *damage = None;
            0
        } else {
            state.position.offset
        };
        repairs.push(Repair::Write {
            log: LogKind::Cursors,
            file: restored.file,
            offset,
            bytes: restored.entry().body.into(),
        });
        state.end.file = restored.file;
        state.position.offset = offset + restored.entry().body.len() as u64;
        for record in restored.entry().records() {
            let (_, record) = record.expect("replay has read every record");
            if record.line.state != State::Head {
                state.position.next = record.line.seq.next();
                state.position.time = record.line.time;
                state.note(&record);
            }
        }
        let mut files = found.cursors.iter();
        last = files.find(|file| file.first == restored.file).copied();
        stop = match last {
            Some(file) => state.go_on(&file)?,
            None => None,
        };
    }
    let due = state.position.next;
    if let Some(witness) = replay.witness(due)? {
        let file = last.map_or(due, |file| file.first);
        let reason = alloc::format!("seq {witness} shows that it was committed");
        *damage = Some(damaged(due, file, &reason));
    } else if let (Some(file), Some(stop)) = (last, stop) {
        state.judge(&file, &stop, repairs, damage)?;
    }
    state.end.end = state.position.next.prev();
    state.end.offset = state.position.offset;
    state.end.time = state.position.time;
    state.end.epochs.cut(state.end.end);
    state.end.known_commit = state.end.known_commit.min(state.end.end);
    Ok(CursorsRecovered {
        end: state.end,
        keep_from: state.keep_from,
        consumers: state.consumers,
    })
}

impl Walk {
    /// Walks the last file that holds something.
    ///
    /// A file begins with a batch that says all that the files before it said. What has no whole
    /// batch was being begun when the power went, and the file before it holds; unless a record
    /// behind it vouches for the batch, or the journal has it.
    fn walk_last<'f>(
        &mut self,
        found: &Found<'f>,
        repairs: &mut Vec<Repair>,
        damage: &mut Option<Damage>,
    ) -> Result<(Option<FoundFile<'f>>, Option<Stop>), ReadFailed> {
        let remove = |first| Repair::Remove {
            log: LogKind::Cursors,
            file: first,
        };
        let mut begun: Option<(FoundFile<'f>, Stop)> = None;
        for file in found.cursors.iter().rev().copied() {
            let in_journal = journaled(found, file.first);
            let position = match open(file.source) {
                Ok((_, position)) => position,
                Err(OpenError::Read(failed)) => return Err(failed),
                Err(OpenError::Head(error)) if !in_journal => {
                    if self.is_torn_head(&file, &error)? {
                        repairs.push(remove(file.first));
                        continue;
                    }
                    self.end.file = file.first;
                    self.position = Position::at(0, file.first);
                    *damage = Some(damaged(file.first, file.first, &error));
                    return Ok((None, None));
                }
                // The journal makes it anew, or nothing was written to it.
                Err(OpenError::Head(_) | OpenError::Unused) => continue,
            };
            repairs.extend(begun.take().map(|(torn, _)| remove(torn.first)));
            self.end.file = file.first;
            (self.end.epochs, self.end.known_commit) = (Epochs::default(), Seq::ZERO);
            self.open_batch.clear();
            let stop = self.walk_from(&file, position)?;
            let is_whole = self.position.next > file.first;
            if is_whole || in_journal || self.is_corrupt(&file, &stop)? {
                return Ok((Some(file), Some(stop)));
            }
            begun = Some((file, stop));
        }
        Ok(begun.unzip())
    }

    /// Whether a file without a good head line was being begun when the power went: then nobody was
    /// told of anything in it.
    fn is_torn_head(&self, file: &FoundFile<'_>, error: &HeadError) -> Result<bool, ReadFailed> {
        if matches!(error, HeadError::NewerFormat { .. }) {
            return Ok(false);
        }
        let (_, stop) = walk(file.source, Position::at(0, file.first), |_, _| {})?;
        Ok(!self.is_corrupt(file, &stop)?)
    }

    /// Whether a record behind the stop vouches for what is not good there. All of this log is
    /// hbuf's own, so that none is planted.
    fn is_corrupt(&self, file: &FoundFile<'_>, stop: &Stop) -> Result<bool, ReadFailed> {
        let ends = matches!(stop.why, Why::End | Why::Zeros);
        Ok(self.damage_is_told && !ends && witness_anywhere(file.source, stop)?.is_some())
    }

    /// Behind what the journal restored, the file may go on; what does not go on is cut.
    fn go_on(&mut self, file: &FoundFile<'_>) -> Result<Option<Stop>, ReadFailed> {
        if file.source.len() <= self.position.offset {
            return Ok(None);
        }
        self.walk_from(file, self.position.clone()).map(Some)
    }

    fn walk_from(&mut self, file: &FoundFile<'_>, position: Position) -> Result<Stop, ReadFailed> {
        let (mut position, stop) = walk(file.source, position, |_, record| self.note(record))?;
        // A batch is never half there.
        if let Some(batch) = position.batch.take() {
            self.open_batch.clear();
            position.next = batch.seq;
            position.offset = batch.offset;
        }
        self.position = position;
        Ok(stop)
    }

    /// Takes a record in; a batch counts only when its last record is there.
    fn note(&mut self, record: &Record<'_>) {
        let line = &record.line;
        self.end.epochs.note(line.epoch, line.seq);
        self.end.known_commit = self.end.known_commit.max(line.known_commit());
        self.open_batch.push(match record.facts.kind {
            Kind::Retain => Noted::Retain(parse_retain(record.body).unwrap_or_default()),
            Kind::Cursor => Delta::parse(record.body).map_or(Noted::Other, Noted::Cursor),
            _ => Noted::Other,
        });
        if record.line.rest > 0 {
            return;
        }
        for noted in core::mem::take(&mut self.open_batch) {
            match noted {
                Noted::Retain(keep_from) => self.keep_from = self.keep_from.max(keep_from),
                Noted::Cursor(delta) => fold(&mut self.consumers, &delta),
                Noted::Other => {}
            }
        }
    }

    fn judge(
        &mut self,
        file: &FoundFile<'_>,
        stop: &Stop,
        repairs: &mut Vec<Repair>,
        damage: &mut Option<Damage>,
    ) -> Result<(), ReadFailed> {
        if self.is_corrupt(file, stop)? {
            *damage = Some(damaged(stop.seq, file.first, &stop.why));
            return Ok(());
        }
        // Zeros are space written ahead: the log goes on in them.
        let ends = matches!(stop.why, Why::End | Why::Zeros);
        if !ends || stop.offset != self.position.offset {
            let offset = self.position.offset;
            repairs.push(Repair::Truncate {
                log: LogKind::Cursors,
                file: file.first,
                offset,
            });
        }
        Ok(())
    }
}

fn damaged(seq: Seq, file: Seq, reason: &dyn Display) -> Damage {
    Damage {
        log: LogKind::Cursors,
        seq,
        file,
        reason: alloc::format!("cursors log: {reason}"),
    }
}

/// What a record says.
enum Noted {
    Retain(Seq),
    Cursor(Delta),
    Other,
}

/// Whether replay will find the beginning of a file in the journal. What the fence has passed is
/// durable in the file, and the journal may be gone any moment.
fn journaled(found: &Found<'_>, first: Seq) -> bool {
    let fence = found.mark.as_ref().map_or(0, |mark| mark.fence);
    let begins = |file| matches!(file, JournalFile::Cursors(at) if at == first);
    let mut entries = found.journal.iter();
    entries.any(|entry| {
        let heads = entry.span.is_some_and(|span| span.head);
        begins(entry.file) && heads && entry.position > fence
    })
}
