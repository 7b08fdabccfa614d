//! Starting and stopping: lock, manager, journal, threads; and back.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;

use hbuf_core::commit_path::{Ahead, Choice};
use hbuf_core::ids::{Micros, NodeId, Uuid};
use hbuf_core::input::DiskHealth;
use hbuf_core::limits::{SEGMENT_BYTES_DEFAULT, UNMARKED_BYTES_MAX};
use hbuf_core::name::Name;
use hbuf_manager::{Action, CLUSTER_VERSIONS, Lifecycle, Outcome, RegisterNode};

use super::counters::Counters;
use super::host::ShardHost;
use super::open::OpenBuffers;
use super::reasons::Reasons;
use super::replay::Replay;
use super::{Engine, Inner, Shards, Stopper, lock, upkeep};
use crate::clock;
use crate::disk::checkpoint::Checkpoints;
use crate::disk::committer::{Committer, Pipeline};
use crate::disk::files::Files;
use crate::disk::journal::{Journal, first_position};
use crate::disk::journal_found::JournalFound;
use crate::disk::keeper::{Keeper, KeeperThread};
use crate::disk::layout::Layout;
use crate::disk::lock::{DataDirectory, DirectoryError};
use crate::disk::prewrite::Pool;
use crate::disk::recovery::RecoverError;
use crate::disk::write_behind::WriteBehind;
use crate::manager::{LogOptions, Manager, OpenError, ProposeError};
use crate::read::ReadShared;

/// What the engine can be told.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The data directory.
    pub data: PathBuf,
    /// The node's name in its cluster.
    pub node: String,
    /// How many shards; 0 for one a core.
    pub shards: usize,
    /// When a batch goes straight into the segments.
    pub choice: Choice,
    /// Journaled bytes after which a checkpoint starts.
    pub journal_bytes: u64,
    /// Seconds after which a checkpoint starts at the latest.
    pub checkpoint_seconds: u64,
    /// Seconds without use after which a buffer leaves memory.
    pub idle_seconds: u64,
    /// Seconds between two looks at retention.
    pub retention_seconds: u64,
    /// Bytes of sealed segments that are checked in a second; 0 checks none.
    pub scrub_bytes_per_second: u64,
    /// Length of pre-written files.
    pub prewrite_bytes: u64,
    /// Whether appends to unknown names create them.
    pub create_on_write: bool,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("hbuf-data"),
            node: "node".into(),
            shards: 0,
            choice: Choice::default(),
            journal_bytes: 256 << 20,
            checkpoint_seconds: 60,
            idle_seconds: 300,
            retention_seconds: 10,
            scrub_bytes_per_second: 4 << 20,
            prewrite_bytes: SEGMENT_BYTES_DEFAULT,
            create_on_write: true,
        }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The manager's log cannot be used.
    #[error(transparent)]
    Manager(#[from] OpenError),
    /// The manager refused the node.
    #[error(transparent)]
    Register(#[from] ProposeError),
    /// A buffer of the journal cannot be recovered.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The node's name is no name.
    #[error("`{0}` is no name for a node: use letters, digits, dots, dashes and underscores")]
    Name(String),
    /// The system refused; the error says what.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// File descriptors that are left to connections and the runtime.
const DESCRIPTORS_FOR_OTHERS: u64 = 4_096;

impl Engine {
    /// Starts a node on its data directory. Called within a tokio runtime.
    pub async fn start(mut settings: EngineSettings) -> Result<Self, StartError> {
        settings.journal_bytes = settings.journal_bytes.min(UNMARKED_BYTES_MAX);
        let starting = tokio::task::spawn_blocking(move || Starting::run(settings));
        let starting = match starting.await {
            Ok(starting) => starting?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let engine = Self {
            inner: Arc::new(starting.inner),
        };
        let tasks = upkeep::spawn(&engine.inner);
        *lock(&engine.inner.stopper) = Some(Stopper {
            manager: starting.manager,
            pipeline: starting.pipeline,
            threads: starting.threads,
            upkeep: tasks,
        });
        Ok(engine)
    }

    /// Stops in order: everything framed reaches the disk, every open buffer gets its mark.
    pub async fn stop(&self) {
        let Some(stopper) = lock(&self.inner.stopper).take() else {
            return;
        };
        for task in stopper.upkeep {
            task.abort();
        }
        let inner = Arc::clone(&self.inner);
        let stopping = tokio::task::spawn_blocking(move || {
            inner.checkpoint_all();
            inner.committer.stop();
            let _ = stopper.pipeline.join();
            inner.keeper.wait_idle();
            inner.drop_journal();
            inner.keeper.stop();
            inner.behind.stop();
            inner.pool.stop();
            for thread in stopper.threads {
                let _ = thread.join();
            }
            stopper.manager.stop();
        });
        let _ = stopping.await;
    }
}

struct Starting {
    inner: Inner,
    manager: Manager,
    pipeline: thread::JoinHandle<()>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Starting {
    fn run(settings: EngineSettings) -> Result<Self, StartError> {
        let name =
            Name::parse(&settings.node).map_err(|_| StartError::Name(settings.node.clone()))?;
        let descriptors = raise_descriptors();
        let directory = DataDirectory::open(&settings.data, clock::uuid())?;
        let layout = directory.layout.clone();
        let manager = Manager::open(
            &layout.manager(),
            LogOptions::default(),
            clock::uuid(),
            clock::now,
        )?;
        let handle = manager.handle();
        let node = register(&handle, name, directory.disk)?;
        let counters = Arc::new(Counters::default());
        let replay = Replay {
            layout: &layout,
            manager: &handle,
            node,
            cache: directory.cache,
            counters: &counters,
            last: first_position(directory.starts) - 1,
        };
        let replayed = replay.run()?;

        let parts = Parts::new(&settings, &directory, descriptors, counters)?;
        let pipeline = parts
            .pipeline(&settings, &directory, replayed.rolled)
            .spawn()?;
        let threads = vec![
            parts.keeping(&layout).spawn()?,
            parts.behind.spawn()?,
            parts.pool.spawn()?,
        ];
        let reasons = replayed.reasons;
        // What the journal of the life before answers for is marked at once.
        let checkpointed = match replayed.held.is_empty() {
            true => clock::now(),
            false => Micros(0),
        };
        let inner = parts.into_inner(settings, directory, (handle, node), (reasons, checkpointed));
        inner.finish_half_done()?;
        for (recovered, last) in replayed.held {
            inner.take_over(recovered, last)?;
        }
        Ok(Self {
            inner,
            manager,
            pipeline,
            threads,
        })
    }
}

/// What the threads of the disk path share.
struct Parts {
    pool: Arc<Pool>,
    files: Arc<Files>,
    behind: Arc<WriteBehind>,
    committer: Arc<Committer>,
    keeper: Arc<Keeper>,
    shards: Shards,
    checkpoints: Arc<Checkpoints>,
    counters: Arc<Counters>,
}

impl Parts {
    fn new(
        settings: &EngineSettings,
        directory: &DataDirectory,
        descriptors: u64,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let layout = &directory.layout;
        let committer = Committer::new(first_position(directory.starts) - 1);
        let keeper = Arc::new(Keeper::default());
        let host = |_| {
            ShardHost::new(
                Arc::clone(&committer),
                Arc::clone(&keeper),
                Arc::clone(&counters),
            )
        };
        let shards = Shards::new((0..shard_count(settings.shards)).map(host).collect());
        let files = Arc::new(Files::new(layout.clone(), files_max(descriptors))?);
        let behind = WriteBehind::new(Arc::clone(&files), shards.clone());
        Ok(Self {
            pool: Pool::open(layout.pool(), settings.prewrite_bytes)?,
            files,
            behind: Arc::new(behind),
            committer,
            keeper,
            shards,
            checkpoints: Arc::default(),
            counters,
        })
    }

    fn pipeline(
        &self,
        settings: &EngineSettings,
        directory: &DataDirectory,
        rolled: Vec<(u64, PathBuf)>,
    ) -> Pipeline {
        let (disk, starts) = (directory.disk, directory.starts);
        let journal = directory.layout.journal();
        Pipeline {
            committer: Arc::clone(&self.committer),
            files: Arc::clone(&self.files),
            journal: Journal::new(journal, disk, starts, Arc::clone(&self.pool), rolled),
            pool: Arc::clone(&self.pool),
            behind: Arc::clone(&self.behind),
            choice: settings.choice,
            ahead: Ahead::default(),
            shards: self.shards.clone(),
            checkpoints: Arc::clone(&self.checkpoints),
            counters: Arc::clone(&self.counters),
        }
    }

    fn keeping(&self, layout: &Layout) -> KeeperThread {
        KeeperThread {
            keeper: Arc::clone(&self.keeper),
            layout: layout.clone(),
            files: Arc::clone(&self.files),
            behind: Arc::clone(&self.behind),
            shards: self.shards.clone(),
            checkpoints: Arc::clone(&self.checkpoints),
            counters: Arc::clone(&self.counters),
        }
    }

    fn into_inner(
        self,
        settings: EngineSettings,
        directory: DataDirectory,
        (manager, node): (crate::manager::ManagerHandle, NodeId),
        (reasons, checkpointed): (Reasons, Micros),
    ) -> Inner {
        Inner {
            node_name: settings.node.clone(),
            settings,
            directory,
            manager,
            stopper: Mutex::new(None),
            node,
            shards: self.shards,
            committer: self.committer,
            keeper: self.keeper,
            checkpoints: self.checkpoints,
            files: self.files,
            pool: self.pool,
            behind: self.behind,
            open: Arc::new(OpenBuffers::default()),
            turns: super::topic_routes::Turns::default(),
            mirrors: super::mirrors::Mirrors::default(),
            consumers_used: super::consumer_work::Used::default(),
            creations: super::creation::Creations::default(),
            read: ReadShared::new(),
            counters: self.counters,
            disk: Mutex::new(DiskHealth::Sound),
            reasons: Arc::new(reasons),
            checkpointed: Mutex::new(checkpointed),
            draining: AtomicBool::new(false),
            removing: Mutex::default(),
            started: clock::now(),
        }
    }
}

/// Founds the cluster of one if there is none, and registers this start.
fn register(
    manager: &crate::manager::ManagerHandle,
    node: Name,
    disk: Uuid,
) -> Result<NodeId, StartError> {
    if manager.view(|catalog| catalog.cluster().is_none()) {
        manager.propose_blocking(Action::FoundCluster {
            cluster: clock::uuid(),
            version: CLUSTER_VERSIONS.max,
        })?;
    }
    let register = RegisterNode::new(node, disk, CLUSTER_VERSIONS);
    let applied = manager.propose_blocking(Action::RegisterNode(register))?;
    match applied.outcome {
        Outcome::Node { id, .. } => Ok(id),
        _ => unreachable!("registering a node answers with the node"),
    }
}

fn shard_count(asked: usize) -> usize {
    if asked > 0 {
        asked
    } else {
        thread::available_parallelism().map_or(1, Into::into)
    }
}

/// Raises the limit of open files to what the system allows, and says how many that is.
fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(event = "open_files_not_raised", %error);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

fn files_max(descriptors: u64) -> usize {
    let share = descriptors
        .saturating_sub(DESCRIPTORS_FOR_OTHERS)
        .clamp(64, 1 << 16);
    usize::try_from(share / 2).unwrap_or(64)
}

impl Inner {
    /// After an orderly stop every mark covers its buffer, and the next start need not read the
    /// journal.
    fn drop_journal(&self) {
        if !self.checkpoints.pending().is_empty() {
            return;
        }
        let dropped = JournalFound::read(&self.directory.layout.journal(), self.directory.cache)
            .and_then(|journal| journal.remove(&self.directory.layout.quarantine()));
        if let Err(error) = dropped {
            tracing::warn!(event = "journal_release_failed", %error);
        }
    }

    /// Finishes creations and deletions that a crash interrupted.
    fn finish_half_done(&self) -> Result<(), StartError> {
        let half: Vec<(Uuid, String, String, Lifecycle)> = self.manager.view(|catalog| {
            let half = catalog
                .buffers()
                .filter(|buffer| buffer.lifecycle != Lifecycle::Live);
            half.map(|buffer| {
                let tenant = catalog.tenant_by_id(buffer.tenant);
                let tenant = tenant.map_or_else(String::new, |tenant| tenant.name.to_string());
                (
                    buffer.uuid,
                    tenant,
                    buffer.name.to_string(),
                    buffer.lifecycle,
                )
            })
            .collect()
        });
        for (uuid, tenant, name, _) in half {
            // A reserved name was never acknowledged: it is free again.
            self.remove_files(uuid, &tenant, &name)?;
            self.manager.propose_blocking(Action::DropBuffer { uuid })?;
        }
        Ok(())
    }
}
