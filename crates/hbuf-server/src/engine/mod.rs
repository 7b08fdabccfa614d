//! The engine: what the HTTP layer asks, and what it gets. It performs; the rules are in
//! `hbuf-core` and `hbuf-manager`.

pub mod append;
pub mod buffer;
pub mod catalog;
mod consumer_asks;
pub mod consumer_calls;
pub mod consumer_catalog;
mod consumer_hand_out;
mod consumer_look;
mod consumer_settle;
mod consumer_tasks;
mod consumer_work;
pub mod counters;
mod creation;
mod dead_letters;
pub mod described;
mod host;
pub mod mirrors;
mod open;
mod reasons;
mod replay;
mod scrubbed;
mod start;
mod stream_expiry;
pub mod streams;
#[cfg(test)]
mod tests;
pub mod topic_routes;
mod upkeep;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hbuf_core::consumer::Load;
use hbuf_core::ids::{Micros, NodeId, Uuid};
use hbuf_core::input::{DiskHealth, Input};

use crate::disk::checkpoint::Checkpoints;
use crate::disk::committer::Committer;
use crate::disk::files::Files;
use crate::disk::keeper::Keeper;
use crate::disk::lock::DataDirectory;
use crate::disk::prewrite::Pool;
use crate::disk::write_behind::WriteBehind;
use crate::manager::{Manager, ManagerHandle};
use crate::read::ReadShared;

use reasons::Reasons;

pub(crate) use append::records;
pub use append::{Append, AppendError, AppendReply, Content};
pub use buffer::{Begun, Buffer, BufferStatus};
pub(crate) use consumer_calls::lease_digits;
pub use consumer_calls::{
    ConsumerError, ConsumerMember, Handed, HandedMessage, LeaseId, NextRequest, Passed, Settle,
    SettleResult, Settled, Settling, lease_text, parse_lease, settled_word,
};
pub use consumer_catalog::{ConsumerInfo, ConsumerLookupError, OwnerName};
pub use consumer_settle::BeingSettled;
pub use described::{
    BufferInfo, BufferSettings, CatalogError, MemberInfo, MirrorSettings, Page, TopicInfo,
};
pub use mirrors::MirrorStatus;
pub use open::LookupError;
pub use start::{EngineSettings, StartError};
pub use streams::StreamError;
pub use topic_routes::{Routed, RoutedPart, TopicMember, TopicStamp, TopicView};

use counters::Counters;
use host::{Mail, ShardHost};
use open::OpenBuffers;

/// Bytes of appends that may wait for their sync, over all buffers of a node.
const IN_FLIGHT_BYTES_MAX: u64 = 512 << 20;

/// A running node's data. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    settings: EngineSettings,
    directory: DataDirectory,
    manager: ManagerHandle,
    stopper: Mutex<Option<Stopper>>,
    node: NodeId,
    node_name: String,
    shards: Shards,
    committer: Arc<Committer>,
    keeper: Arc<Keeper>,
    checkpoints: Arc<Checkpoints>,
    files: Arc<Files>,
    pool: Arc<Pool>,
    behind: Arc<WriteBehind>,
    open: Arc<OpenBuffers>,
    turns: topic_routes::Turns,
    mirrors: mirrors::Mirrors,
    consumers_used: consumer_work::Used,
    creations: creation::Creations,
    read: Arc<ReadShared>,
    counters: Arc<Counters>,
    disk: Mutex<DiskHealth>,
    reasons: Arc<Reasons>,
    checkpointed: Mutex<Micros>,
    draining: AtomicBool,
    /// Buffers of expired streams whose removal is under way.
    removing: Mutex<BTreeSet<Uuid>>,
    started: Micros,
}

/// What ends with the engine.
struct Stopper {
    manager: Manager,
    pipeline: std::thread::JoinHandle<()>,
    threads: Vec<std::thread::JoinHandle<()>>,
    upkeep: Vec<tokio::task::JoinHandle<()>>,
}

/// How the node is, in words.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// It takes requests.
    pub ready: bool,
    /// It was asked to take no new ones.
    pub draining: bool,
    /// How its disk is.
    pub disk: DiskHealth,
    /// What is wrong, one sentence each; empty when nothing is.
    pub reasons: Vec<String>,
    /// Buffers that it knows.
    pub buffers: usize,
    /// Buffers that are in memory.
    pub open_buffers: usize,
    /// Mirrors; those of them that do not follow; records that they have still to deal with.
    pub mirrors: (usize, usize, u64),
    /// When it started.
    pub started: Micros,
}

impl Engine {
    /// How the node is.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let disk = *lock(&self.inner.disk);
        let draining = self.inner.draining.load(Ordering::Relaxed);
        let mut reasons = self.inner.reasons.all();
        match disk {
            DiskHealth::Sound => {}
            DiskHealth::Full => reasons.push("the disk is full: appends are refused until space returns".into()),
            DiskHealth::Failed => reasons.push("the disk failed to sync: appends are refused until the node restarts on a sound disk".into()),
        }
        if draining {
            reasons.push("the node is drained: it was asked to take no new requests".into());
        }
        NodeStatus {
            ready: !draining && disk != DiskHealth::Failed,
            draining,
            disk,
            reasons,
            buffers: self.inner.manager.view(hbuf_manager::Catalog::buffer_count),
            open_buffers: self.inner.open.len(),
            mirrors: {
                let mirrors = lock(&self.inner.mirrors);
                let stopped = mirrors.values().filter(|it| it.reason().is_some());
                let lag = mirrors.values().map(|it| it.lag()).sum();
                (mirrors.len(), stopped.count(), lag)
            },
            started: self.inner.started,
        }
    }

    /// What the consumers of buffers in memory have before them; looks at each of these buffers.
    #[must_use]
    pub fn consumer_load(&self) -> Load {
        let mut load = Load::default();
        for buffer in self.inner.open.all() {
            let host = self.inner.shards.host(buffer.shard());
            let of_buffer = host.look(&buffer.uuid(), hbuf_core::buffer::Buffer::consumer_load);
            load.add_all(&of_buffer.unwrap_or_default());
        }
        load
    }

    /// Takes the node out of service, or back in: `/readyz` says so.
    pub fn set_draining(&self, draining: bool) {
        self.inner.draining.store(draining, Ordering::Relaxed);
    }

    /// What the engine counts.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.inner.counters
    }
}

/// All shards of a node.
#[derive(Clone, Debug)]
pub(crate) struct Shards {
    hosts: Arc<[ShardHost]>,
    in_flight: Arc<AtomicU64>,
}

/// Bytes of an append while it waits.
#[derive(Debug)]
pub(crate) struct Admitted {
    bytes: u64,
    in_flight: Arc<AtomicU64>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Shards {
    fn new(hosts: Vec<ShardHost>) -> Self {
        Self {
            hosts: hosts.into(),
            in_flight: Arc::default(),
        }
    }

    /// The shard that a buffer belongs to.
    pub(crate) fn index(&self, buffer: Uuid) -> usize {
        let bytes = buffer.0[8..].try_into().expect("half a uuid");
        let number = u64::from_be_bytes(bytes) % self.hosts.len() as u64;
        usize::try_from(number).expect("an index fits")
    }

    pub(crate) fn count(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn host(&self, index: usize) -> &ShardHost {
        &self.hosts[index]
    }

    /// Posts one input to a buffer's shard.
    pub(crate) fn input(&self, buffer: &Buffer, input: Input) {
        self.hosts[buffer.shard()].post(Mail::Input(input));
    }

    /// Posts many inputs, each shard's at once.
    pub(crate) fn inputs(&self, inputs: impl IntoIterator<Item = (Arc<Buffer>, Input)>) {
        let mut mails: Vec<Vec<Mail>> = self.hosts.iter().map(|_| Vec::new()).collect();
        for (buffer, input) in inputs {
            mails[buffer.shard()].push(Mail::Input(input));
        }
        for (host, mails) in self.hosts.iter().zip(mails) {
            if !mails.is_empty() {
                host.post_all(mails);
            }
        }
    }

    /// Posts an input to every shard.
    pub(crate) fn broadcast(&self, input: &Input) {
        for host in self.hosts.iter() {
            host.post(Mail::Input(input.clone()));
        }
    }

    /// Takes in the bytes of an append, or says how many wait already.
    pub(crate) fn admit(&self, bytes: u64) -> Result<Admitted, u64> {
        let before = self.in_flight.fetch_add(bytes, Ordering::Relaxed);
        let admitted = Admitted {
            bytes,
            in_flight: Arc::clone(&self.in_flight),
        };
        // One append alone is always taken: its own bound is that of a batch.
        if before > 0 && before + bytes > IN_FLIGHT_BYTES_MAX {
            return Err(before);
        }
        Ok(admitted)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
