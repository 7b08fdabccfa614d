//! The tasks that make mirrors follow their origins: one a mirror, begun and ended as the catalog
//! says. What is taken and where a mirror goes on is the core's to say.
//!
//! A task that ends anywhere leaves nothing half done: an append is in the log or it is not, and
//! the next task goes on behind the last record that the log holds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use hbuf_core::append::AppendRefused;
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::limits::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, READ_LIMIT_DEFAULT};
use hbuf_core::mirror::{Following, Mirror, Mirrored, Taken};
use hbuf_core::record::{Record, decode};
use hbuf_core::rules::Rules;
use hbuf_core::skim::skim;
use hbuf_manager::{Lifecycle, MirrorConfig};
use tokio::task::JoinHandle;

use super::append::{Append, AppendError, Content};
use super::counters::Counters;
use super::open::LookupError;
use super::{Engine, Inner, lock};
use crate::read::{ReadError, Readable, Records};

/// What a mirror's task tells about itself.
#[derive(Debug, Default)]
pub struct MirrorStatus {
    /// The last record of the origin that it has dealt with.
    place: AtomicU64,
    /// The origin's commit when it was last looked at.
    commit: AtomicU64,
    /// Records that the origin's retention dropped before they were mirrored.
    dropped: AtomicU64,
    /// Why it does not follow; nothing when it does.
    reason: Mutex<Option<String>>,
}

impl MirrorStatus {
    /// The last record of the origin that it has dealt with.
    #[must_use]
    pub fn place(&self) -> Seq {
        Seq(self.place.load(Ordering::Relaxed))
    }

    /// Records of the origin that it has not dealt with.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let commit = self.commit.load(Ordering::Relaxed);
        commit.saturating_sub(self.place().0)
    }

    /// Records that the origin's retention dropped before they were mirrored.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Why it does not follow; nothing when it does.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        lock(&self.reason).clone()
    }

    fn stands(&self, mirror: &Mirror, commit: Seq) {
        self.place.store(mirror.place().0, Ordering::Relaxed);
        self.commit.store(commit.0, Ordering::Relaxed);
    }

    fn says(&self, reason: Option<String>) {
        let mut slot = lock(&self.reason);
        if *slot != reason {
            if let Some(reason) = &reason {
                tracing::warn!(event = "mirror_stopped", reason);
            }
            *slot = reason;
        }
    }
}

/// The mirrors that have a task.
pub(super) type Mirrors = Mutex<HashMap<Uuid, Arc<MirrorStatus>>>;

impl Engine {
    /// What a mirror's task tells about itself.
    #[must_use]
    pub fn mirror_status(&self, mirror: Uuid) -> Option<Arc<MirrorStatus>> {
        lock(&self.inner.mirrors).get(&mirror).cloned()
    }
}

/// A task with what it was begun for.
struct Running {
    config: MirrorConfig,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins and ends tasks as the catalog changes.
pub(super) fn spawn(inner: &Arc<Inner>) -> JoinHandle<()> {
    let mut applied = inner.manager.watch();
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        let mut running: HashMap<Uuid, Running> = HashMap::new();
        while let Some(alive) = inner.upgrade() {
            reconcile(&alive, &mut running);
            drop(alive);
            if applied.changed().await.is_err() {
                return;
            }
            // Changes that come together are one.
            tokio::time::sleep(SETTLE).await;
        }
    })
}

fn reconcile(inner: &Arc<Inner>, running: &mut HashMap<Uuid, Running>) {
    let wanted: HashMap<Uuid, MirrorConfig> = inner.manager.view(|catalog| {
        let live = catalog
            .mirrors()
            .filter(|it| it.lifecycle == Lifecycle::Live);
        live.filter_map(|it| Some((it.uuid, it.mirror.as_deref()?.clone())))
            .collect()
    });
    running.retain(|uuid, task| wanted.get(uuid) == Some(&task.config));
    lock(&inner.mirrors).retain(|uuid, _| running.contains_key(uuid));
    for (uuid, config) in wanted {
        if running.contains_key(&uuid) {
            continue;
        }
        let status = Arc::<MirrorStatus>::default();
        status.place.store(config.after.0, Ordering::Relaxed);
        status.commit.store(config.after.0, Ordering::Relaxed);
        lock(&inner.mirrors).insert(uuid, Arc::clone(&status));
        let follower = Follower {
            inner: Arc::downgrade(inner),
            mirror: uuid,
            config: config.clone(),
            status,
        };
        let task = tokio::spawn(follower.run());
        running.insert(uuid, Running { config, task });
    }
}

/// A mirror's task.
struct Follower {
    inner: Weak<Inner>,
    mirror: Uuid,
    config: MirrorConfig,
    status: Arc<MirrorStatus>,
}

/// Why a task cannot go on for now.
enum Halt {
    /// It may after a while.
    Later(String),
    /// The engine is gone.
    Gone,
}

impl From<LookupError> for Halt {
    fn from(error: LookupError) -> Self {
        Self::Later(error.to_string())
    }
}

impl Follower {
    async fn run(self) {
        loop {
            match self.follow().await {
                Ok(()) => {}
                Err(Halt::Later(reason)) => self.status.says(Some(reason)),
                Err(Halt::Gone) => return,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn engine(&self) -> Result<Engine, Halt> {
        let inner = self.inner.upgrade().ok_or(Halt::Gone)?;
        Ok(Engine { inner })
    }

    /// Goes on where the mirror's log ends, until something is in the way.
    async fn follow(&self) -> Result<(), Halt> {
        let engine = self.engine()?;
        let origin = self.origin(&engine).await?;
        let buffer = engine.open(self.mirror).await?;
        let last = buffer.mirrored_through(&self.config.of);
        drop((engine, buffer));
        let following = Following {
            of: self.config.of,
            after: self.config.after,
            tags: self.config.tags.clone().into_boxed_slice(),
        };
        let mut mirror = Mirror::resume(following, last, &Rules::correct());
        let _tailing = origin.tailing();
        loop {
            self.status.stands(&mirror, origin.commit());
            match self.step(&origin, &mut mirror).await? {
                true => self.status.says(None),
                false => return Ok(()),
            }
        }
    }

    /// The origin's read side. While it is held, the origin stays open.
    async fn origin(&self, engine: &Engine) -> Result<Arc<Readable>, Halt> {
        match engine.open(self.config.of).await {
            Ok(origin) => Ok(Arc::clone(origin.readable())),
            Err(LookupError::NoBuffer { .. }) => Err(Halt::Later(format!(
                "the origin `{}` was deleted: what came from it stays; name another origin, or end the \
                 mirror by setting it to null",
                self.config.name
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what is there, or waits for it; false when the origin is to be opened anew.
    async fn step(&self, origin: &Arc<Readable>, mirror: &mut Mirror) -> Result<bool, Halt> {
        let (mut most, mut bytes) = (READ_LIMIT_DEFAULT, PAGE_BYTES);
        let records = loop {
            let records = match origin.read(mirror.place(), most, bytes).await {
                Ok(records) => records,
                Err(error) => return self.unreadable(mirror, error),
            };
            if records.count == 0 {
                return match origin.committed_past(mirror.place()).await {
                    Ok(()) => Ok(true),
                    Err(error) => self.unreadable(mirror, error),
                };
            }
            // A batch is taken whole: read on to its end.
            if ends_whole(&records) || most >= BATCH_MESSAGES_MAX as u64 {
                break records;
            }
            most = BATCH_MESSAGES_MAX as u64;
            bytes = usize::try_from(BATCH_BYTES_MAX).unwrap_or(usize::MAX) * 2;
        };
        let decoded = decode_all(&records).map_err(Halt::Later)?;
        let taken = mirror.offer(decoded.iter());
        if taken.records.is_empty() {
            return Ok(true);
        }
        let contents = contents(&records, &decoded, &taken);
        drop(decoded);
        let count = taken.records.len() as u64;
        match self.append(contents, taken).await {
            Ok(()) => {
                mirror.appended();
                let engine = self.engine()?;
                Counters::add(&engine.counters().mirrored, count);
                Ok(true)
            }
            Err(halt) => {
                mirror.refused();
                Err(halt)
            }
        }
    }

    fn unreadable(&self, mirror: &mut Mirror, error: ReadError) -> Result<bool, Halt> {
        match error {
            ReadError::BeforeFirst { first } => {
                let lost = mirror.dropped_below(first);
                self.status.dropped.fetch_add(lost, Ordering::Relaxed);
                tracing::warn!(event = "mirror_missed", lost, first = first.0);
                Ok(true)
            }
            ReadError::Closed => Ok(false),
            ReadError::Stopping => Err(Halt::Gone),
            ReadError::Damaged { .. }
            | ReadError::Io { .. }
            | ReadError::NoFilter { .. }
            | ReadError::FilterDamaged { .. } => {
                Err(Halt::Later(format!("the origin cannot be read: {error}")))
            }
        }
    }

    async fn append(&self, contents: Vec<Content>, taken: Taken) -> Result<(), Halt> {
        let engine = self.engine()?;
        let buffer = engine.open(self.mirror).await?;
        drop(engine);
        let append = Append {
            contents,
            mirrored: Some(Box::new(Mirrored {
                of: self.config.of,
                records: taken.records,
            })),
            ..Append::default()
        };
        match buffer.append(append).await {
            Ok(_) => Ok(()),
            Err(AppendError::Refused(
                refused @ (AppendRefused::Closed | AppendRefused::Paused),
            )) => {
                let state = match refused {
                    AppendRefused::Closed => "closed",
                    _ => "paused",
                };
                Err(Halt::Later(format!(
                    "the mirror is {state}: it goes on when it is open"
                )))
            }
            Err(error) => Err(Halt::Later(error.to_string())),
        }
    }
}

fn ends_whole(records: &Records) -> bool {
    super::append::records(&records.bytes).any(|record| record.line.rest == 0)
}

fn decode_all(records: &Records) -> Result<Vec<Record<'_>>, String> {
    let (mut rest, mut decoded) = (&records.bytes[..], Vec::new());
    while let Some(line) = skim(rest) {
        let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        let damaged = |why: &str| format!("message {} of the origin is damaged: {why}", line.seq);
        let (record, behind) = rest
            .split_at_checked(len)
            .ok_or_else(|| damaged("it is cut off"))?;
        rest = behind;
        decoded.push(decode(record).map_err(|error| damaged(&error.to_string()))?);
    }
    Ok(decoded)
}

/// What was taken, with salts of its own: a salt never stands in two logs.
fn contents(records: &Records, decoded: &[Record<'_>], taken: &Taken) -> Vec<Content> {
    let content = |place: &usize| {
        let record = &decoded[*place];
        let lines = records.bytes.slice_ref(record.lines);
        Content::seal(lines, records.bytes.slice_ref(record.body))
    };
    taken.places.iter().map(content).collect()
}

/// Bytes of the origin that are taken at once.
const PAGE_BYTES: usize = 1 << 20;
/// How long a task waits before it tries again what was in the way.
const PAUSE: Duration = Duration::from_millis(500);
/// How long changes of the catalog may gather before the tasks are compared with it.
const SETTLE: Duration = Duration::from_millis(50);
