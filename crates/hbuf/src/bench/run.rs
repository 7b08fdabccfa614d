//! One run: connects everything, lets every connection work until the window closes, collects.
//!
//! A run has one window for all connections: warm, then measured. Each thread has a single-threaded
//! runtime with its share of the connections, so that the client costs as little as it can of the
//! cores that it shares with the server.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;

use super::follow::Tail;
use super::payload::Shape;
use super::plan::{Op, Plan};
use super::stats::{Recorder, Summary};
use super::worker::Worker;

/// How long the tails may take to see what was acknowledged before the window closed.
const DRAIN: Duration = Duration::from_secs(2);
/// How long all connections may take to be made.
const CONNECT: Duration = Duration::from_secs(30);

/// When the run warms up, measures and ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) warm_end: Instant,
    pub(crate) end: Instant,
}

impl Window {
    /// True if `at` is measured.
    pub(crate) fn measures(&self, at: Instant) -> bool {
        at >= self.warm_end && at < self.end
    }
}

/// What the threads of a run share.
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) buffers: Vec<String>,
    /// Stamps count from here; it is the same in every run of the process.
    pub(crate) origin: Instant,
    /// Last seq of each buffer before the run.
    pub(crate) last: Vec<u64>,
    window: OnceLock<Window>,
    /// Stamped messages acknowledged, times the tails of their buffer.
    pub(crate) expected: AtomicU64,
    /// Stamped messages seen by tails.
    pub(crate) received: AtomicU64,
    working: AtomicUsize,
}

impl Shared {
    /// Tails that follow buffer `n`.
    pub(crate) fn tails_of(&self, n: usize) -> u64 {
        let (tails, buffers) = (self.plan.args.tails, self.buffers.len());
        (tails / buffers + usize::from(n < tails % buffers)) as u64
    }

    /// Nanoseconds since the origin.
    pub(crate) fn stamp(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One recorder per kind of operation, shared by the tasks of one thread, so nobody waits for it.
#[derive(Clone, Default)]
pub(crate) struct Recorders(Arc<Mutex<[Recorder; Op::ALL.len()]>>);

impl Recorders {
    /// Lets `record` work on the recorder of `op`.
    pub(crate) fn with(&self, op: Op, record: impl FnOnce(&mut Recorder)) {
        record(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)[op as usize]);
    }
}

/// Makes one run and returns the figures of each operation that occurred.
pub(crate) fn run(
    plan: &Arc<Plan>,
    shape: &Arc<Shape>,
    origin: Instant,
    last: Vec<u64>,
) -> anyhow::Result<Vec<(Op, Summary)>> {
    let shared = Arc::new(Shared {
        plan: Arc::clone(plan),
        shape: Arc::clone(shape),
        buffers: (0..plan.args.buffers)
            .map(|n| plan.buffer_name(n))
            .collect(),
        origin,
        last,
        window: OnceLock::new(),
        expected: AtomicU64::new(0),
        received: AtomicU64::new(0),
        working: AtomicUsize::new(plan.threads),
    });
    let barrier = Barrier::new(plan.threads);
    let collected: Vec<anyhow::Result<Recorders>> = std::thread::scope(|scope| {
        let (shared, barrier) = (&shared, &barrier);
        let spawn = |thread| scope.spawn(move || on_thread(shared, barrier, thread));
        let threads: Vec<_> = (0..plan.threads).map(spawn).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(panicked).and_then(|r| r))
            .collect()
    });
    let mut merged: [Recorder; Op::ALL.len()] = Default::default();
    for recorders in collected {
        for (op, sum) in Op::ALL.into_iter().zip(&mut merged) {
            recorders
                .as_ref()
                .map_err(|e| anyhow::anyhow!("{e:#}"))?
                .with(op, |one| sum.merge(one));
        }
    }
    let (expected, received) = (shared.expected.load(Relaxed), shared.received.load(Relaxed));
    if expected > received {
        let kind = format!("not seen by a tail within {} s", DRAIN.as_secs());
        *merged[Op::Tail as usize].errors.entry(kind).or_default() += expected - received;
    }
    let seconds = plan.measured.as_secs_f64();
    let occurred = Op::ALL.into_iter().zip(&merged);
    let occurred = occurred.filter(|(_, one)| one.ops > 0 || !one.errors.is_empty());
    Ok(occurred
        .map(|(op, one)| (op, one.summary(seconds)))
        .collect())
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> anyhow::Error {
    anyhow::anyhow!("a thread of the load generator panicked")
}

/// The share of one thread. Every thread reaches the barrier twice, also when it cannot connect, so
/// that none waits for ever.
fn on_thread(shared: &Arc<Shared>, barrier: &Barrier, thread: usize) -> anyhow::Result<Recorders> {
    let recorders = Recorders::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let connected = runtime.context("no runtime").and_then(|runtime| {
        let connecting = connect(shared, thread, &recorders);
        let limited = async { tokio::time::timeout(CONNECT, connecting).await };
        let connected = runtime.block_on(limited);
        let connected = connected.context("the connections were not made within 30 s")??;
        Ok((runtime, connected))
    });
    if barrier.wait().is_leader() {
        let start = Instant::now() + Duration::from_millis(20);
        let warm_end = start + shared.plan.warm;
        let window = Window {
            start,
            warm_end,
            end: warm_end + shared.plan.measured,
        };
        // Only the leader sets it, and there is one leader.
        let _ = shared.window.set(window);
    }
    barrier.wait();
    let Ok((runtime, (workers, tails))) = connected else {
        shared.working.fetch_sub(1, Relaxed);
        return connected.map(|_| recorders);
    };
    let window = *shared.window.get().context("a run without a window")?;
    runtime.block_on(work(shared, window, workers, tails));
    Ok(recorders)
}

/// Makes the connections of one thread.
async fn connect(
    shared: &Arc<Shared>,
    thread: usize,
    recorders: &Recorders,
) -> anyhow::Result<(Vec<Worker>, Vec<Tail>)> {
    let threads = shared.plan.threads;
    let mut workers = Vec::new();
    let mut tails = Vec::new();
    for n in (thread..shared.plan.args.connections).step_by(threads) {
        workers.push(Worker::connect(shared, n, recorders.clone()).await?);
    }
    for n in (thread..shared.plan.args.tails).step_by(threads) {
        tails.push(Tail::connect(shared, n, recorders.clone()).await?);
    }
    Ok((workers, tails))
}

/// Lets the connections work; then gives the tails time to see what was acknowledged.
async fn work(shared: &Arc<Shared>, window: Window, workers: Vec<Worker>, tails: Vec<Tail>) {
    let mut following = JoinSet::new();
    for tail in tails {
        following.spawn(tail.follow(window));
    }
    let mut working = JoinSet::new();
    for worker in workers {
        working.spawn(worker.work(window));
    }
    working.join_all().await;
    shared.working.fetch_sub(1, Relaxed);
    let step = Duration::from_millis(10);
    let mut patience = DRAIN;
    let behind = || shared.received.load(Relaxed) < shared.expected.load(Relaxed);
    while shared.working.load(Relaxed) > 0 || (behind() && !patience.is_zero()) {
        tokio::time::sleep(step).await;
        if shared.working.load(Relaxed) == 0 {
            patience = patience.saturating_sub(step);
        }
    }
}
