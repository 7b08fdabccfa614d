//! What follows from the disk's word: durable, committed, answered, marked; or cut back.

use super::{Buffer, Unit};
use crate::append::{AppendRefused, Appended};
use crate::effect::{Effect, Effects};
use crate::ids::Seq;

impl Buffer {
    /// The primary's disk holds the messages through `through`.
    pub(crate) fn on_synced(&mut self, through: Seq, journal: u64, out: &mut Effects) {
        assert!(
            through <= self.end,
            "the disk acknowledged more than was framed"
        );
        let done = self.units.partition_point(|unit| unit.last <= through);
        if let Some(unit) = done.checked_sub(1).and_then(|last| self.units.get(last)) {
            self.durable_at = (unit.file, unit.offset);
            self.in_sync.acked(self.node, unit.last);
        }
        self.advance_commit(self.in_sync.on_all(), out);
        self.release_marks(out);
        self.settle_state(journal, out);
    }

    /// Moves the commit up and answers whoever waited for it.
    pub(super) fn advance_commit(&mut self, to: Seq, out: &mut Effects) {
        assert!(to <= self.end, "the commit never passes the log's end");
        let done = self.units.partition_point(|unit| unit.last <= to);
        if to > self.commit
            && let Some(unit) = self.units.drain(..done).next_back()
        {
            let Unit { file, offset, .. } = unit;
            self.commit = to;
            out.push(Effect::Committed {
                buffer: self.buffer,
                commit: to,
                file,
                offset,
            });
        }
        while let Some(waiting) = self.waiting.front() {
            let level = self.level_of(waiting.appended.last);
            if level < waiting.asked {
                break;
            }
            let outcome = Ok(Appended {
                level,
                ..waiting.appended
            });
            out.push(Effect::Reply {
                token: waiting.token,
                outcome,
            });
            self.waiting.pop_front();
        }
    }

    /// Lets the marks go whose seq is durable.
    pub(super) fn release_marks(&mut self, out: &mut Effects) {
        while let Some(pending) = self.marks.front() {
            if pending.mark.durable > self.durable() {
                break;
            }
            let pending = self.marks.pop_front().expect("it is there");
            out.push(Effect::WriteMark {
                mark: pending.mark.into(),
                tables: pending.tables,
                cause: pending.cause,
            });
        }
    }

    /// The disk took nothing of what was framed behind `durable`: refuse all that waits. The shard
    /// forgets the buffer; recovery opens it again.
    pub(crate) fn on_write_failed(&mut self, refused: &AppendRefused, out: &mut Effects) {
        self.refuse_waiting(refused, out);
        out.push(Effect::Reopen {
            buffer: self.buffer,
            durable: self.durable(),
            file: self.durable_at.0,
            offset: self.durable_at.1,
        });
    }

    /// Answers everything that waits with one refusal; a change of state is told the state that is.
    pub(crate) fn refuse_waiting(&mut self, refused: &AppendRefused, out: &mut Effects) {
        if let Some(change) = self.state_waiting.take() {
            let (token, state) = (change.token, self.state);
            out.push(Effect::StateReached { token, state });
        }
        for waiting in self.waiting.drain(..) {
            out.push(Effect::Reply {
                token: waiting.token,
                outcome: Err(refused.clone()),
            });
        }
    }
}
