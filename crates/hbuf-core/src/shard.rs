//! A shard: the state machines of its buffers, and the core's one door.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::append::{AppendRefused, AppendRequest};
use crate::buffer::{Buffer, ConsumerAnswer, ConsumerCall, ConsumerRefused, ConsumerTask};
use crate::effect::{Effect, Effects};
use crate::ids::{Micros, Seq, Uuid};
use crate::input::{BufferState, DiskHealth, Input, Token};
use crate::rules::Rules;
use crate::segment::LogKind;
use crate::stream::StreamSeen;

mod roles;
mod telling;

pub(crate) use roles::Copied;

/// The buffers of one shard. Shards share nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    pub(crate) rules: Rules,
    disk: DiskHealth,
    /// Those of which this node is the primary.
    pub(crate) buffers: BTreeMap<Uuid, Buffer>,
    /// Those of which another node is, or nobody.
    pub(crate) copies: BTreeMap<Uuid, Copied>,
    /// When copies of each buffer may have been silent for too long.
    pub(crate) copies_due: BTreeMap<Uuid, Micros>,
    /// Damage of which the manager is told until it knows.
    damaged: BTreeMap<Uuid, telling::Found>,
    /// What the clock showed last.
    seen: Micros,
    /// When consumers of each buffer have something to do.
    due: BTreeMap<Uuid, Micros>,
}

impl Shard {
    /// A shard without buffers.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            disk: DiskHealth::Sound,
            buffers: BTreeMap::new(),
            copies: BTreeMap::new(),
            copies_due: BTreeMap::new(),
            damaged: BTreeMap::new(),
            seen: Micros(0),
            due: BTreeMap::new(),
        }
    }

    /// One of its buffers.
    #[must_use]
    pub fn buffer(&self, buffer: &Uuid) -> Option<&Buffer> {
        self.buffers.get(buffer)
    }

    /// All of its buffers, in the order of their uuids.
    pub fn buffers(&self) -> impl Iterator<Item = (&Uuid, &Buffer)> {
        self.buffers.iter()
    }

    /// How the disk is, as the shard was told.
    #[must_use]
    pub const fn disk(&self) -> DiskHealth {
        self.disk
    }

    /// When [`Input::ConsumersDue`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Micros> {
        self.due.values().min().copied()
    }

    /// Takes one input and appends what follows from it to `out`. Time never comes from elsewhere.
    pub fn handle(&mut self, now: Micros, input: Input, out: &mut Effects) {
        self.see_time(now);
        match input {
            Input::Open(opening) => self.on_open(now, *opening, out),
            Input::Append {
                buffer,
                token,
                request,
            } => self.on_append(now, &buffer, token, request, out),
            Input::Synced {
                buffer,
                log,
                through,
                journal,
            } => self.on_synced(now, &buffer, log, through, journal, out),
            Input::Consumer {
                buffer,
                consumer,
                token,
                call,
            } => self.on_consumer(now, buffer, consumer, token, call, out),
            Input::ConsumersDue => self.on_consumers_due(now, out),
            Input::CopiesDue => self.on_copies_due(now, out),
            Input::Replication { buffer, event } => self.on_replication(now, buffer, event, out),
            Input::WriteFailed { buffer } => {
                if let Some(mut buffer) = self.buffers.remove(&buffer) {
                    buffer.on_write_failed(&AppendRefused::DiskFull, out);
                }
            }
            Input::Disk(health) => self.on_disk(health, out),
            Input::Configure { buffer, config } => {
                if let Some(buffer) = self.buffers.get_mut(&buffer) {
                    buffer.on_configure(config);
                }
            }
            Input::SetState {
                buffer,
                token,
                state,
                journal,
            } => self.on_set_state(&buffer, token, state, journal, out),
            Input::Checkpoint { buffer, journal } => {
                if let Some(buffer) = self.buffers.get_mut(&buffer) {
                    buffer.on_checkpoint(journal, out);
                }
            }
            Input::FenceAgain { buffer, journal } => {
                if let Some(buffer) = self.buffers.get_mut(&buffer) {
                    buffer.on_fence_again(journal, out);
                }
            }
            Input::RollNext { buffer } => {
                if let Some(buffer) = self.buffers.get_mut(&buffer) {
                    buffer.on_roll_next();
                }
            }
            Input::StreamUsed { buffer, token } => self.on_stream_used(now, &buffer, token, out),
            Input::CloseTime { buffer, token } => self.on_close_time(now, &buffer, token, out),
            Input::Retention => self.on_retention(now, out),
            Input::Remove { buffer } => {
                self.copies.remove(&buffer);
                if let Some(mut buffer) = self.buffers.remove(&buffer) {
                    buffer.refuse_waiting(&AppendRefused::NotOpen, out);
                }
            }
            Input::Evict { buffer } => self.on_evict(&buffer),
        }
    }

    fn see_time(&mut self, now: Micros) {
        if now < self.seen {
            self.on_clock_back(now);
        }
        self.seen = now;
    }

    fn on_set_state(
        &mut self,
        buffer: &Uuid,
        token: Token,
        state: BufferState,
        journal: u64,
        out: &mut Effects,
    ) {
        match self.buffers.get_mut(buffer) {
            Some(buffer) => buffer.on_set_state(token, state, journal, out),
            None => out.push(Effect::StateReached { token, state }),
        }
    }

    fn on_stream_used(&mut self, now: Micros, buffer: &Uuid, token: Token, out: &mut Effects) {
        match self.buffers.get_mut(buffer) {
            Some(buffer) => buffer.on_stream_used(now, token, out),
            None => out.push(Effect::StreamUsed {
                token,
                seen: StreamSeen::NotOpen,
                due: false,
            }),
        }
    }

    fn on_close_time(&mut self, now: Micros, buffer: &Uuid, token: Token, out: &mut Effects) {
        let buffer = self.buffers.get_mut(buffer);
        let closed = buffer.and_then(|buffer| buffer.on_close_time(now));
        out.push(Effect::TimeClosed { token, closed });
    }

    fn on_retention(&mut self, now: Micros, out: &mut Effects) {
        for buffer in self.buffers.values_mut() {
            buffer.on_retention(&self.rules, now, out);
            buffer.tell(out);
        }
    }

    fn on_append(
        &mut self,
        now: Micros,
        buffer: &Uuid,
        token: Token,
        request: AppendRequest,
        out: &mut Effects,
    ) {
        let context = crate::buffer::Context {
            now,
            rules: &self.rules,
            disk: self.disk,
        };
        let Some(found) = self.buffers.get_mut(buffer) else {
            let outcome = Err(match self.copies.contains_key(buffer) {
                true => AppendRefused::NotPrimary,
                false => AppendRefused::NotOpen,
            });
            out.push(Effect::Reply { token, outcome });
            return;
        };
        found.on_append(&context, token, request, out);
        self.tell(buffer, out);
    }

    fn on_synced(
        &mut self,
        now: Micros,
        buffer: &Uuid,
        log: LogKind,
        through: Seq,
        journal: u64,
        out: &mut Effects,
    ) {
        let rules = self.rules;
        if let Some(copied) = self.copies.get_mut(buffer) {
            copied.on_synced(&rules, *buffer, (log, through), out);
            return;
        }
        self.lead(now, buffer, out, |buffer, out| match log {
            LogKind::Cursors => buffer.on_cursors_synced(&rules, through, journal, out),
            _ => buffer.on_synced(&rules, through, journal, out),
        });
    }

    /// Does something with a buffer of which this node is the primary. Consumers get what it
    /// commits, copies are told what is new.
    fn lead(
        &mut self,
        now: Micros,
        uuid: &Uuid,
        out: &mut Effects,
        act: impl FnOnce(&mut Buffer, &mut Effects),
    ) {
        let Some(buffer) = self.buffers.get_mut(uuid) else {
            return;
        };
        let commit = buffer.commit();
        act(buffer, out);
        if buffer.commit() > commit {
            buffer.feed_consumers(&self.rules, now, out);
            self.note_due(*uuid);
        }
        self.tell(uuid, out);
    }

    fn on_consumer(
        &mut self,
        now: Micros,
        uuid: Uuid,
        consumer: Uuid,
        token: Token,
        call: ConsumerCall,
        out: &mut Effects,
    ) {
        let context = crate::buffer::Context {
            now,
            rules: &self.rules,
            disk: self.disk,
        };
        match self.buffers.get_mut(&uuid) {
            Some(buffer) => buffer.on_consumer(&context, consumer, token, call, out),
            None => {
                let answer = ConsumerAnswer::Refused(match self.copies.contains_key(&uuid) {
                    true => ConsumerRefused::NotPrimary,
                    false => ConsumerRefused::NotOpen,
                });
                out.push(Effect::Consumer {
                    buffer: uuid,
                    consumer,
                    task: ConsumerTask::Answer { token, answer },
                });
            }
        }
        self.note_due(uuid);
        self.tell(&uuid, out);
    }

    fn on_consumers_due(&mut self, now: Micros, out: &mut Effects) {
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<Uuid> = due.map(|(uuid, _)| *uuid).collect();
        for uuid in due {
            if let Some(buffer) = self.buffers.get_mut(&uuid) {
                buffer.on_consumers_due(&self.rules, now, out);
            }
            self.note_due(uuid);
            self.tell(&uuid, out);
        }
    }

    pub(crate) fn note_due(&mut self, uuid: Uuid) {
        let due = self.buffers.get(&uuid).and_then(Buffer::consumers_due);
        match due {
            Some(due) => self.due.insert(uuid, due),
            None => self.due.remove(&uuid),
        };
    }

    /// A failed disk stays failed: whatever waits is refused, whatever is durable stays readable.
    fn on_disk(&mut self, health: DiskHealth, out: &mut Effects) {
        if self.disk == DiskHealth::Failed {
            return;
        }
        self.disk = health;
        if health == DiskHealth::Failed {
            for buffer in self.buffers.values_mut() {
                buffer.refuse_waiting(&AppendRefused::DiskFailed, out);
            }
        }
    }

    fn on_evict(&mut self, buffer: &Uuid) {
        if self.buffers.get(buffer).is_some_and(Buffer::idle) {
            self.buffers.remove(buffer);
        }
        if self.copies.get(buffer).is_some_and(Copied::idle) {
            self.copies.remove(buffer);
        }
    }
}
