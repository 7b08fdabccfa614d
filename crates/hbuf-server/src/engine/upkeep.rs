//! What a node does by itself: checkpoints, retention, room on the disk, cold buffers.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hbuf_core::ids::Seq;
use hbuf_core::input::{DiskHealth, Input};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::buffer::Buffer;
use super::counters::Counters;
use super::host::Mail;
use super::{Inner, lock};
use crate::clock;
use crate::disk::space;

/// Most buffers that leave memory in one round.
const EVICTIONS_MAX: usize = 10_000;

/// Starts the tasks; they end with the engine.
pub(super) fn spawn(inner: &Arc<Inner>) -> Vec<JoinHandle<()>> {
    let retention = inner.settings.retention_seconds.max(1);
    let idle = inner.settings.idle_seconds.clamp(4, 120) / 4;
    let mut tasks = super::consumer_tasks::spawn(inner);
    tasks.extend([
        every(inner, Duration::from_millis(200), Inner::checkpoint_if_due),
        every(inner, Duration::from_millis(500), Inner::check_space),
        every(inner, Duration::from_secs(retention), |inner| {
            inner.shards.broadcast(&Input::Retention)
        }),
        every(inner, Duration::from_secs(idle), Inner::evict_idle),
        super::scrubbed::spawn(inner),
        super::stream_expiry::spawn(inner),
        super::mirrors::spawn(inner),
    ]);
    tasks
}

/// Runs `work` again and again on a thread that may block.
fn every(inner: &Arc<Inner>, period: Duration, work: fn(&Inner)) -> JoinHandle<()> {
    let inner: Weak<Inner> = Arc::downgrade(inner);
    tokio::spawn(async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(inner) = inner.upgrade() else { return };
            if tokio::task::spawn_blocking(move || work(&inner))
                .await
                .is_err()
            {
                return;
            }
        }
    })
}

impl Inner {
    /// Starts a checkpoint when the journal is long or when time has come.
    fn checkpoint_if_due(&self) {
        let last = self.committer.journal_position();
        let released = self.checkpoints.released(last);
        self.committer.release_journal(released);
        let pending = self.checkpoints.pending();
        if pending.is_empty() {
            return;
        }
        let long = self.committer.journal_bytes() >= self.settings.journal_bytes;
        let since = clock::now().since(*lock(&self.checkpointed));
        let due = since >= self.settings.checkpoint_seconds.saturating_mul(1_000_000);
        if long || due {
            self.checkpoint(&pending);
        }
    }

    /// Asks every buffer that the journal answers for to write its mark.
    fn checkpoint(&self, pending: &[Arc<Buffer>]) {
        *lock(&self.checkpointed) = clock::now();
        Counters::add(&self.counters.checkpoints, 1);
        self.committer.close_journal();
        let journal = self.committer.journal_position();
        self.shards.inputs(pending.iter().map(|buffer| {
            (
                Arc::clone(buffer),
                Input::Checkpoint {
                    buffer: buffer.uuid(),
                    journal,
                },
            )
        }));
    }

    /// At a stop: every open buffer gets its mark, so that the next start reads nothing.
    pub(super) fn checkpoint_all(&self) {
        let open: Vec<Arc<Buffer>> = self
            .open
            .all()
            .into_iter()
            .filter(|buffer| self.needs_mark(buffer) || self.checkpoints.holds(buffer.uuid()))
            .collect();
        self.checkpoint(&open);
    }

    /// Whether something was appended since its last mark.
    fn needs_mark(&self, buffer: &Buffer) -> bool {
        let host = self.shards.host(buffer.shard());
        host.look(&buffer.uuid(), |state| state.marked() != Some(state.end()))
            .unwrap_or(false)
    }

    fn check_space(&self) {
        let Some(free) = space::free_bytes(self.directory.layout.root()) else {
            return;
        };
        // What waits for its segments has its room on the disk already.
        let free = free.saturating_sub(self.behind.bytes());
        let before = *lock(&self.disk);
        let failed = self.shards.host(0).disk() == DiskHealth::Failed;
        let health = if failed {
            DiskHealth::Failed
        } else {
            space::judge(free, before)
        };
        if health == before {
            return;
        }
        *lock(&self.disk) = health;
        tracing::warn!(event = "disk_health", health = ?health, free);
        self.shards.broadcast(&Input::Disk(health));
    }

    /// Buffers that nobody used for a while get their mark and then leave memory.
    fn evict_idle(&self) {
        let now = clock::now();
        let idle = self.settings.idle_seconds.saturating_mul(1_000_000);
        let cold = |buffer: &Arc<Buffer>| {
            // Readers that wait at the tail hold the read side alone.
            now.since(buffer.used()) >= idle
                && Arc::strong_count(buffer) <= REFERENCES
                && Arc::strong_count(buffer.readable()) == 1
        };
        let cold: Vec<Arc<Buffer>> = self
            .open
            .all()
            .into_iter()
            .filter(cold)
            .take(EVICTIONS_MAX)
            .collect();
        let journal = self.committer.journal_position();
        let unmarked = cold.iter().filter(|buffer| self.needs_mark(buffer));
        self.shards.inputs(unmarked.map(|buffer| {
            (
                Arc::clone(buffer),
                Input::Checkpoint {
                    buffer: buffer.uuid(),
                    journal,
                },
            )
        }));
        self.keeper.wait_idle();
        let ends: BTreeMap<_, Seq> = cold
            .iter()
            .map(|buffer| (buffer.uuid(), buffer.readable().commit()))
            .collect();
        for buffer in cold {
            let still = ends.get(&buffer.uuid()) == Some(&buffer.readable().commit());
            if still && !self.checkpoints.holds(buffer.uuid()) && !self.needs_mark(&buffer) {
                self.evict(&buffer);
            }
        }
    }

    /// First out of its shard, then out of the table: a request in between is told to try again.
    fn evict(&self, buffer: &Buffer) {
        let host = self.shards.host(buffer.shard());
        host.post(Mail::Evict(buffer.uuid()));
        if host.look(&buffer.uuid(), |_| ()).is_none() {
            buffer.leave();
            self.files.forget(buffer.uuid(), None);
        }
    }
}

/// References to an open buffer that nobody uses: the table, its shard, and the sweep itself.
const REFERENCES: usize = 3;
