//! Open, closed, paused; configuration; checkpoints; retention.

use super::consumers::ConsumerRefused;
use super::{Buffer, StateChange};
use crate::effect::{Effect, Effects, MarkCause, WriteBytes};
use crate::ids::{Micros, Seq};
use crate::input::{BufferConfig, BufferState, Token};
use crate::retention;
use crate::rules::Rules;
use crate::segment::LogKind;

impl Buffer {
    /// Appends are refused at once; the change is complete when nothing waits for the disk. A
    /// pause also fences the journal, so that the directory stands alone.
    pub(crate) fn on_set_state(
        &mut self,
        token: Token,
        state: BufferState,
        journal: u64,
        out: &mut Effects,
    ) {
        if let Some(earlier) = self.state_waiting.take() {
            out.push(Effect::StateReached {
                token: earlier.token,
                state: self.state,
            });
        }
        self.state_waiting = Some(StateChange { token, state });
        if state == BufferState::Paused {
            self.refuse_consumers(ConsumerRefused::Paused, out);
        }
        self.note_journal(journal);
        self.settle_state(out);
    }

    pub(super) fn settle_state(&mut self, out: &mut Effects) {
        if !self.units.is_empty() || !self.cursors_idle() {
            return;
        }
        let Some(change) = self.state_waiting.take() else {
            return;
        };
        let StateChange { token, state } = change;
        let entered = self.state != state;
        self.state = state;
        if entered && state == BufferState::Paused {
            self.push_mark(MarkCause::Fence, self.journal, out);
        }
        out.push(Effect::StateReached { token, state });
    }

    /// Promises that messages to come have at least the time that is told: whoever reads several
    /// buffers in strict order need not wait for this one before. Nothing is promised while
    /// messages are under way, which have their times already.
    pub(crate) fn on_close_time(&mut self, now: Micros) -> Option<Micros> {
        if !self.units.is_empty() {
            return None;
        }
        self.closed_time = self.closed_time.max(now).max(self.last_time);
        Some(self.closed_time)
    }

    pub(crate) fn on_configure(&mut self, config: BufferConfig) {
        self.config = config;
    }

    pub(crate) fn on_roll_next(&mut self) {
        self.roll_next = true;
    }

    pub(crate) fn on_checkpoint(&mut self, journal: u64, out: &mut Effects) {
        if self.state != BufferState::Paused {
            self.push_mark(MarkCause::Checkpoint, journal, out);
        }
    }

    /// Only of a pause that the shell has not called complete yet: its directory may still change.
    pub(crate) fn on_fence_again(&mut self, journal: u64, out: &mut Effects) {
        if self.state == BufferState::Paused {
            self.push_mark(MarkCause::Fence, journal, out);
        }
    }

    /// Plans what may go and writes the retain record first; segments go when it is durable.
    pub(crate) fn on_retention(&mut self, rules: &Rules, now: Micros, out: &mut Effects) {
        let still = self.state == BufferState::Paused || self.state_waiting.is_some();
        if self.config.retention.keeps_all() || still || self.damaged.is_some() {
            return;
        }
        let bound = if rules.retention_spares_uncommitted {
            self.commit
        } else {
            self.end
        };
        let plan = retention::plan(&self.config.retention, &self.segments, self.end, bound, now);
        let Some(plan) = plan else { return };
        if plan.roll_open && self.units.is_empty() {
            self.roll_empty(out);
        } else if plan.roll_open {
            return;
        }
        self.retain(plan.keep_from, now.max(self.last_time), out);
    }

    /// Starts a segment without a message, so that the expired one can go.
    fn roll_empty(&mut self, out: &mut Effects) {
        let first = self.end.next();
        // Not the time of now: a copy whose clock is behind may be primary next, and no message
        // behind a head may be earlier than it.
        let head = self.roll(first, self.last_time, out);
        self.empty_segment = Some((first, head.len() as u64));
        out.push(Effect::WriteBytes(WriteBytes {
            buffer: self.buffer,
            log: LogKind::Messages,
            file: first,
            offset: 0,
            bytes: head,
            through: self.end,
        }));
    }

    /// The disk holds the cursors log through `through`.
    pub(crate) fn on_cursors_synced(
        &mut self,
        rules: &Rules,
        through: Seq,
        journal: u64,
        out: &mut Effects,
    ) {
        self.leader.primary(LogKind::Cursors).on_synced(through);
        self.advance_cursors(rules, out);
        self.drop_cursors(through, out);
        self.note_journal(journal);
        self.settle_state(out);
    }

    /// Retention lets go of what is before `first`.
    pub(super) fn keep_from(&mut self, first: Seq, out: &mut Effects) {
        self.first = first;
        retention::apply(&mut self.segments, first);
        self.leader.primary(LogKind::Messages).on_dropped(first);
        self.consumers_lose();
        out.push(Effect::DropSegments {
            buffer: self.buffer,
            keep_from: first,
        });
        self.tell_kept(out);
    }

    /// Whether the buffer is about to be paused.
    pub(super) fn pausing(&self) -> bool {
        let change = self.state_waiting.as_ref();
        change.is_some_and(|change| change.state == BufferState::Paused)
    }
}
