//! Recovery of a buffer's cursors log: the same walk, without a tree.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::replay::Replay;
use super::{CursorsRecovered, Damage, Found, FoundFile, Repair};
use crate::buffer::{CursorsEnd, parse_retain};
use crate::consumer::{Delta, Progress, fold};
use crate::ids::{Epoch, Seq, Uuid};
use crate::record::JournalFile;
use crate::record::{Kind, Record, State};
use crate::segment::{End, LogKind, Position, ReadFailed, Stop, Why, classify, open, walk};

struct Walk {
    end: CursorsEnd,
    keep_from: Seq,
    consumers: BTreeMap<Uuid, Progress>,
    /// Records of a batch whose end was not reached yet.
    open_batch: Vec<Noted>,
    position: Position,
}

/// Walks the last file that has a head, replays the journal behind it and judges its end.
pub(super) fn recover(
    replay: &mut Replay<'_>,
    found: &Found<'_>,
    repairs: &mut Vec<Repair>,
    damage: &mut Option<Damage>,
) -> Result<CursorsRecovered, ReadFailed> {
    let mut state = Walk {
        end: CursorsEnd::default(),
        keep_from: Seq::ZERO,
        consumers: BTreeMap::new(),
        open_batch: Vec::new(),
        position: Position::at(0, Seq::FIRST),
    };
    let (mut last, mut stop) = state.walk_last(found, repairs)?;
    while let Some(restored) = replay.next(state.position.next.prev(), Epoch(0))? {
        let offset = if restored.new_file {
            // It names all consumers that there are; those that were deleted are not among them.
            state.consumers.clear();
            state.open_batch.clear();
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
        *damage = Some(Damage {
            log: LogKind::Cursors,
            seq: due,
            file: last.map_or(due, |file| file.first),
            reason: alloc::format!("cursors log: seq {witness} shows that it was committed"),
        });
    } else if let (Some(file), Some(stop)) = (last, stop) {
        state.judge(&file, &stop, repairs, damage)?;
    }
    state.end.end = state.position.next.prev();
    state.end.offset = state.position.offset;
    state.end.time = state.position.time;
    Ok(CursorsRecovered {
        end: state.end,
        keep_from: state.keep_from,
        consumers: state.consumers,
    })
}

impl Walk {
    /// Walks the last file that holds something.
    fn walk_last<'f>(
        &mut self,
        found: &Found<'f>,
        repairs: &mut Vec<Repair>,
    ) -> Result<(Option<FoundFile<'f>>, Option<Stop>), ReadFailed> {
        let usable = |file: &&FoundFile<'_>| open(file.source).is_ok();
        let mut files = found.cursors.iter().rev().filter(usable).copied();
        let mut last = files.next();
        let mut stop = match last {
            Some(file) => self.walk(&file)?,
            None => None,
        };
        // A file begins with a batch that says all that the files before it said. What has no
        // whole batch was being begun when the power went: the file before it holds.
        while let Some(begun) = last
            && self.position.next.prev() < begun.first
            && let Some(before) = files.next()
            && !journaled(found, begun.first)
        {
            repairs.push(Repair::Remove {
                log: LogKind::Cursors,
                file: begun.first,
            });
            last = Some(before);
            stop = self.walk(&before)?;
        }
        Ok((last, stop))
    }

    fn walk(&mut self, file: &FoundFile<'_>) -> Result<Option<Stop>, ReadFailed> {
        let Ok((_, position)) = open(file.source) else {
            return Ok(None);
        };
        self.end.file = file.first;
        self.open_batch.clear();
        self.walk_from(file, position).map(Some)
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
        match classify(file.source, stop, Seq::ZERO)? {
            End::Clean if stop.why == Why::End && stop.offset == self.position.offset => {}
            End::Clean | End::Torn { .. } => {
                let offset = self.position.offset;
                repairs.push(Repair::Truncate {
                    log: LogKind::Cursors,
                    file: file.first,
                    offset,
                });
            }
            End::Corrupt { seq, reason, .. } => {
                let reason = alloc::format!("cursors log: {reason}");
                *damage = Some(Damage {
                    log: LogKind::Cursors,
                    seq,
                    file: file.first,
                    reason,
                });
            }
        }
        Ok(())
    }
}

/// What a record says.
enum Noted {
    Retain(Seq),
    Cursor(Delta),
    Other,
}

/// Whether the journal holds the beginning of a file.
fn journaled(found: &Found<'_>, first: Seq) -> bool {
    let begins = |file| matches!(file, JournalFile::Cursors(at) if at == first);
    found.journal.iter().any(|entry| begins(entry.file))
}
