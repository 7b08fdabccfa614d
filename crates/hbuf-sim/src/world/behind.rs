//! What was journaled and waits in memory for its file, as the write-behind of the server has it.

use hbuf_core::input::Input;

use super::{Due, World};
use crate::disk::{DiskError, Name};
use crate::kinds::Kind;
use crate::node::{Group, Step, Why};
use crate::trace::EventId;

/// How long what found no room waits for another try.
const AGAIN: u64 = 2_000;

impl World<'_> {
    /// Keeps a journaled group for its file.
    pub(super) fn defer(&mut self, cause: EventId, group: &Group) {
        let waiting = self.node.unwritten.entry(group.name()).or_default();
        waiting.extend(group.chunks.iter().cloned());
        let deferral = self.plan.deferral;
        if self.node.unwritten_since.is_none() {
            self.node.unwritten_since = Some(self.t);
            self.due(
                cause,
                deferral.micros_max,
                Due::WriteBehind { life: self.life },
            );
        }
        let unwritten = self.node.unwritten_at(self.t);
        if deferral.is_full(unwritten) {
            let (buffer, why) = (group.of.buffer, Why::Full);
            self.node
                .pipeline
                .push_back((cause, Step::WriteBehind { buffer, why }));
        } else if deferral.is_due(unwritten) {
            self.write_all_behind(cause);
        }
    }

    /// Their time has come.
    pub(super) fn write_behind_due(&mut self, cause: EventId) {
        let unwritten = self.node.unwritten_at(self.t);
        if self.plan.deferral.is_due(unwritten) || self.draining {
            self.write_all_behind(cause);
        }
        self.node.unwritten_since = None;
        if unwritten.bytes > 0 {
            self.node.unwritten_since = Some(self.t);
            let after = self.plan.deferral.micros_max;
            self.due(cause, after, Due::WriteBehind { life: self.life });
        }
    }

    fn write_all_behind(&mut self, cause: EventId) {
        let why = Why::Due;
        let steps = (0..self.plan.buffers).map(|buffer| Step::WriteBehind { buffer, why });
        self.queue_steps(cause, steps.collect());
    }

    /// Writes one piece of a buffer; the next one is the next step.
    pub(super) fn write_behind(&mut self, cause: EventId, buffer: usize, why: Why) -> EventId {
        if matches!(why, Why::Direct(of) if self.node.is_void(&of)) {
            return cause;
        }
        let Some(name) = self.node.unwritten_of(buffer).next() else {
            return cause;
        };
        let waiting = &self.node.unwritten[&name];
        let chunk = waiting.front().expect("a name without bytes is taken out");
        let (offset, bytes) = (chunk.offset, chunk.bytes.clone());
        self.check_unpaused(name);
        let new = !self.disk.exists(name);
        match self.disk.write(name, offset, &bytes) {
            Ok(()) => {}
            Err(DiskError::Full) => return self.no_room_behind(cause, name, buffer, why),
            Err(DiskError::Sync) => unreachable!("a write syncs nothing"),
        }
        if new {
            self.node.new_names.insert(name);
        }
        self.node.dirty.insert(name);
        self.wrote_first_of(name);
        let event = self.disk_event(cause, Kind::DiskWrote, name);
        let queue = match why {
            Why::Direct(_) | Why::Full => &mut self.node.pipeline,
            Why::Due | Why::Mark | Why::DropCursors | Why::CutBack => &mut self.node.keeper,
        };
        queue.push_front((event, Step::WriteBehind { buffer, why }));
        event
    }

    fn wrote_first_of(&mut self, name: Name) {
        let Some(waiting) = self.node.unwritten.get_mut(&name) else {
            return;
        };
        waiting.pop_front();
        if waiting.is_empty() {
            self.node.unwritten.remove(&name);
        }
    }

    /// The bytes stay where they are: the journal holds them, and no mark may say otherwise.
    fn no_room_behind(&mut self, cause: EventId, name: Name, buffer: usize, why: Why) -> EventId {
        let event = self.disk_event(cause, Kind::DiskFull, name);
        match why {
            Why::Full | Why::Due => {}
            Why::Direct(of) => self.void_opening(event, of),
            Why::Mark => self.miss_mark(Name::Mark(buffer)),
            Why::DropCursors => self.miss_drop(buffer),
            Why::CutBack => {
                let mut steps = self.node.keeper.iter();
                let end = steps.position(|(_, step)| step.recovers(buffer));
                let end = end.expect("a cut back ends with a recovery");
                let steps: Vec<_> = self.node.keeper.drain(..=end).collect();
                self.node
                    .later
                    .push((event, Step::WriteBehind { buffer, why }));
                self.node.later.extend(steps);
                self.due(event, AGAIN, Due::Later { life: self.life });
            }
        }
        event
    }

    /// A pause whose mark was missed for want of room is not complete: the mark is asked for again.
    pub(super) fn settle_later(&mut self, cause: EventId, buffer: usize, settle: Step) -> EventId {
        let (uuid, journal) = (self.registry.uuid(buffer), self.node.position);
        self.shard(
            cause,
            Input::FenceAgain {
                buffer: uuid,
                journal,
            },
        );
        self.node.later.push((cause, settle));
        self.due(cause, AGAIN, Due::Later { life: self.life });
        cause
    }

    /// Tries again what found no room.
    pub(super) fn try_again(&mut self, cause: EventId) {
        let steps = std::mem::take(&mut self.node.later);
        let steps = steps.into_iter().map(|(_, step)| step);
        self.queue_steps(cause, steps.collect());
    }
}
