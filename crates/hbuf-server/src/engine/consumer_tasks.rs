//! What shards ask for on behalf of consumers, and the time that passes for them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hbuf_core::buffer::{ConsumerCall, ConsumerTask};
use hbuf_core::consumer::Letter;
use hbuf_core::ids::Uuid;
use hbuf_core::input::Input;
use hbuf_manager::Action;
use tokio::task::JoinHandle;

use super::consumer_look::look;
use super::host::Mail;
use super::{Engine, Inner, lock};
use crate::clock;

/// Leases lapse at most this much late.
const TICK: Duration = Duration::from_millis(5);
/// How long a timer sleeps at most.
const LOOK_AROUND: Duration = Duration::from_secs(60);
/// How often unused consumers are looked for.
const UNUSED_LOOK: Duration = Duration::from_secs(1);

/// Makes the tasks of consumers: what shards ask for, and the time that passes.
pub(super) fn spawn(inner: &Arc<Inner>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for index in 0..inner.shards.count() {
        let weak = Arc::downgrade(inner);
        let mut wanted = inner.shards.host(index).consumer_tasks();
        tasks.push(tokio::spawn(async move {
            while let Some((buffer, consumer, task)) = wanted.recv().await {
                tokio::spawn(perform(weak.clone(), buffer, consumer, task));
            }
        }));
        let weak = Arc::downgrade(inner);
        tasks.push(tokio::spawn(keep_time(weak, index)));
    }
    tasks.push(tokio::spawn(delete_unused(Arc::downgrade(inner))));
    tasks
}

/// One timer a shard, whatever its consumers: it sleeps until the earliest has something to do.
async fn keep_time(inner: Weak<Inner>, index: usize) {
    loop {
        let Some(alive) = inner.upgrade() else { return };
        let host = alive.shards.host(index);
        let (due, bell) = host.consumers_due();
        let now = clock::now();
        if due <= now {
            host.post(Mail::Input(Input::ConsumersDue));
            drop(alive);
            tokio::time::sleep(TICK).await;
            continue;
        }
        drop(alive);
        let left = Duration::from_micros(due.0 - now.0).min(LOOK_AROUND);
        let _ = tokio::time::timeout(left, bell.notified()).await;
    }
}

async fn perform(inner: Weak<Inner>, buffer: Uuid, consumer: Uuid, task: ConsumerTask) {
    let Some(alive) = inner.upgrade() else { return };
    let engine = Engine { inner: alive };
    let Some(open) = engine.inner.open.get(buffer) else {
        return;
    };
    match task {
        ConsumerTask::Answer { .. } => {}
        ConsumerTask::Look {
            config,
            after,
            through,
            limit,
        } => {
            let found = look(open.readable(), &config, after, through, limit).await;
            if let Err(error) = &found {
                tracing::warn!(event = "consumer_look_failed", %buffer, %consumer, %error);
            }
            let found = found.ok().map(|found| {
                // Before it may be handed out.
                open.readable().keep_looked(consumer, found.page);
                (found.last, found.candidates)
            });
            open.tell_consumer(consumer, ConsumerCall::Looked { after, found });
        }
        ConsumerTask::Bury {
            into,
            seq,
            deliveries,
            why,
        } => {
            let letter = Letter {
                consumer,
                buffer,
                seq,
                deliveries,
                why,
            };
            let done = engine.bury(&open, into, &letter).await;
            open.tell_consumer(consumer, ConsumerCall::Buried { seq, done });
        }
    }
}

/// Deletes consumers that nobody has used for as long as they say. After a restart they count from
/// then.
async fn delete_unused(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(UNUSED_LOOK).await;
        let Some(alive) = inner.upgrade() else { return };
        let now = clock::now();
        let unused: Vec<(Uuid, u64)> = alive.manager.view(|catalog| {
            let mut used = lock(&alive.consumers_used);
            let limited = catalog
                .consumers()
                .filter(|one| one.config.ttl_seconds.is_some());
            let unused = limited.filter(|one| {
                let used = *used.entry(one.uuid).or_insert(now);
                one.config.is_unused(used, now)
            });
            unused.map(|one| (one.uuid, one.version)).collect()
        });
        for (uuid, version) in unused {
            tracing::info!(event = "consumer_expired", consumer = %uuid);
            lock(&alive.consumers_used).remove(&uuid);
            let expected = Some(version);
            let action = Action::DeleteConsumer { uuid, expected };
            if alive.manager.propose(action).await.is_ok() {
                for buffer in alive.open.all() {
                    if buffer.forget_begun(uuid) {
                        buffer.tell_consumer(uuid, ConsumerCall::Forget);
                    }
                }
            }
        }
    }
}
