//! A shard: the state machines of its buffers, and the core's one door.

use alloc::collections::BTreeMap;

use crate::append::{AppendRefused, AppendRequest};
use crate::buffer::Buffer;
use crate::effect::{Effect, Effects};
use crate::ids::{Micros, Seq, Uuid};
use crate::input::{DiskHealth, Input, Token};
use crate::rules::Rules;
use crate::segment::LogKind;
use crate::stream::StreamSeen;

/// The buffers of one shard. Shards share nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    rules: Rules,
    disk: DiskHealth,
    buffers: BTreeMap<Uuid, Buffer>,
}

impl Shard {
    /// A shard without buffers.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            disk: DiskHealth::Sound,
            buffers: BTreeMap::new(),
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

    /// Takes one input and appends what follows from it to `out`. Time never comes from elsewhere.
    pub fn handle(&mut self, now: Micros, input: Input, out: &mut Effects) {
        match input {
            Input::Open(opening) => {
                let buffer = Buffer::open(*opening);
                self.buffers.insert(buffer.uuid(), buffer);
            }
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
            } => self.on_synced(&buffer, log, through, journal, out),
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
            } => match self.buffers.get_mut(&buffer) {
                Some(buffer) => buffer.on_set_state(token, state, journal, out),
                None => out.push(Effect::StateReached { token, state }),
            },
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
            Input::StreamUsed { buffer, token } => match self.buffers.get_mut(&buffer) {
                Some(buffer) => buffer.on_stream_used(now, token, out),
                None => out.push(Effect::StreamUsed {
                    token,
                    seen: StreamSeen::NotOpen,
                    due: false,
                }),
            },
            Input::CloseTime { buffer, token } => self.on_close_time(now, &buffer, token, out),
            Input::Retention => self.on_retention(now, out),
            Input::Remove { buffer } => {
                if let Some(mut buffer) = self.buffers.remove(&buffer) {
                    buffer.refuse_waiting(&AppendRefused::NotOpen, out);
                }
            }
            Input::Evict { buffer } => self.on_evict(&buffer),
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
        match self.buffers.get_mut(buffer) {
            Some(buffer) => buffer.on_append(&context, token, request, out),
            None => {
                let outcome = Err(AppendRefused::NotOpen);
                out.push(Effect::Reply { token, outcome });
            }
        }
    }

    fn on_synced(
        &mut self,
        buffer: &Uuid,
        log: LogKind,
        through: Seq,
        journal: u64,
        out: &mut Effects,
    ) {
        let Some(buffer) = self.buffers.get_mut(buffer) else {
            return;
        };
        match log {
            LogKind::Cursors => buffer.on_cursors_synced(through, journal, out),
            _ => buffer.on_synced(through, journal, out),
        }
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
    }
}
