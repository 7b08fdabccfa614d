//! Recovery of a buffer's cursors log: the same walk, without a tree.

use alloc::vec::Vec;

use super::replay::Replay;
use super::{CursorsRecovered, Damage, Found, FoundFile, Repair};
use crate::buffer::{CursorsEnd, parse_retain};
use crate::ids::{Epoch, Seq};
use crate::record::{Kind, Record, State};
use crate::segment::{End, LogKind, Position, ReadFailed, Stop, Why, classify, open, walk};

struct Walk {
    end: CursorsEnd,
    keep_from: Seq,
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
        position: Position::at(0, Seq::FIRST),
    };
    let usable = |file: &&FoundFile<'_>| open(file.source).is_ok();
    let last = found.cursors.iter().rev().find(usable).copied();
    let mut stop = match last {
        Some(file) => state.walk(&file)?,
        None => None,
    };
    while let Some(restored) = replay.next(state.position.next.prev(), Epoch(0)) {
        let offset = if restored.new_file {
            0
        } else {
            state.position.offset
        };
        repairs.push(Repair::Write {
            log: LogKind::Cursors,
            file: restored.file,
            offset,
            bytes: restored.entry.body.into(),
        });
        state.end.file = restored.file;
        state.position.offset = offset + restored.entry.body.len() as u64;
        for record in restored.entry.records() {
            let (_, record) = record.expect("replay has read every record");
            if record.line.state != State::Head {
                state.position.next = record.line.seq.next();
                state.position.time = record.line.time;
                state.note(&record);
            }
        }
        stop = None;
    }
    let due = state.position.next;
    if let Some(witness) = replay.witness(due) {
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
    })
}

impl Walk {
    fn walk(&mut self, file: &FoundFile<'_>) -> Result<Option<Stop>, ReadFailed> {
        let Ok((_, position)) = open(file.source) else {
            return Ok(None);
        };
        self.end.file = file.first;
        let mut keep_from = self.keep_from;
        let (position, stop) = walk(file.source, position, |_, record| {
            keep_from = keep_from.max(retained(record));
        })?;
        self.keep_from = keep_from;
        self.position = position;
        Ok(Some(stop))
    }

    fn note(&mut self, record: &Record<'_>) {
        self.keep_from = self.keep_from.max(retained(record));
    }

    fn judge(
        &mut self,
        file: &FoundFile<'_>,
        stop: &Stop,
        repairs: &mut Vec<Repair>,
        damage: &mut Option<Damage>,
    ) -> Result<(), ReadFailed> {
        match classify(file.source, stop, Seq::ZERO)? {
            End::Clean if stop.why == Why::End => {}
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

/// The first seq that a retain record keeps.
fn retained(record: &Record<'_>) -> Seq {
    if record.facts.kind != Kind::Retain {
        return Seq::ZERO;
    }
    parse_retain(record.body).unwrap_or_default()
}
