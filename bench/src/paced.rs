//! The end-to-end measurement: a fixed rate over some connections, one tailing reader or many.
//!
//! A message counts from its sending; when the connection was still waiting for an earlier reply at
//! the time it was due, it counts from that time, so a slow server cannot hide its waits.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use crate::Settings;
use crate::drive::{Run, Window, cpu_between, finished, on_this_thread};
use crate::frames::{STAMP, STAMP_DIGITS};
use crate::stats::Recorder;

/// Appends one message whose body carries a stamp.
pub(crate) trait Send1: Send + 'static {
    /// Sends `body` and awaits its acknowledgement.
    fn send(&mut self, body: &[u8]) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Receives messages as they come.
pub(crate) trait Receive: Send + 'static {
    /// Awaits some, and adds their stamps.
    fn receive(&mut self, stamps: &mut Vec<u64>)
    -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What is sent: how many connections share which rate, for how long, in which bodies.
pub(crate) struct Pace {
    pub(crate) connections: usize,
    pub(crate) per_second: f64,
    pub(crate) measured: Duration,
    pub(crate) body_bytes: usize,
    /// Tailing readers, each of which must see every message.
    pub(crate) readers: usize,
}

/// Measures one target once.
pub(crate) fn end_to_end<S: Send1, R: Receive, FS, FR>(
    settings: &Settings,
    pace: &Pace,
    pid: u32,
    sender: impl Fn(usize) -> FS,
    receiver: impl Fn(usize) -> FR,
) -> anyhow::Result<Run>
where
    FS: Future<Output = anyhow::Result<S>>,
    FR: Future<Output = anyhow::Result<R>>,
{
    on_this_thread(async {
        let mut receivers = Vec::new();
        for n in 0..pace.readers {
            receivers.push(receiver(n).await.context("tailing reader")?);
        }
        let mut senders = Vec::new();
        for n in 0..pace.connections {
            senders.push(sender(n).await.context("connection")?);
        }
        let window = Window::beginning_now(settings, pace.measured);
        let recorder = Arc::new(Mutex::new(Recorder::default()));
        let sent = Arc::new(AtomicU64::new(0));
        let mut tailing = JoinSet::new();
        for receiver in receivers {
            tailing.spawn(tail(receiver, window, Arc::clone(&recorder)));
        }
        let cpu = tokio::spawn(cpu_between(pid, window));
        let mut tasks = JoinSet::new();
        for (n, sender) in senders.into_iter().enumerate() {
            let every = Duration::from_secs_f64(pace.connections as f64 / pace.per_second);
            let first = window.start + every.mul_f64(n as f64 / pace.connections as f64);
            let body = vec![b'x'; pace.body_bytes];
            tasks.spawn(send_all(
                sender,
                window,
                first,
                every,
                body,
                Arc::clone(&sent),
            ));
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        // What was acknowledged must arrive; ten times the slowest plausible delivery is enough.
        let due = sent.load(Relaxed) * pace.readers as u64;
        let deadline = Instant::now() + Duration::from_secs(2);
        while received(&recorder) < due && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some(ended) = tailing.try_join_next() {
            ended??;
            anyhow::bail!("a tailing reader ended");
        }
        tailing.abort_all();
        let found = received(&recorder);
        ensure!(
            found == due,
            "{due} messages were due at the tailing readers, {found} came"
        );
        let cpu = cpu.await?;
        let recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(finished(&recorder, pace.measured, cpu))
    })
}

fn received(recorder: &Mutex<Recorder>) -> u64 {
    recorder
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .messages
}

async fn send_all<S: Send1>(
    mut sender: S,
    window: Window,
    first: Instant,
    every: Duration,
    mut body: Vec<u8>,
    sent: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    body[..STAMP.len()].copy_from_slice(STAMP);
    for turn in 0_u32.. {
        let due = first + every * turn;
        if due >= window.end {
            break;
        }
        let mut from = due;
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
            from = Instant::now();
        }
        let ns = from.saturating_duration_since(window.start).as_nanos();
        let stamp = format!("{ns:0width$x}", width = STAMP_DIGITS);
        body[STAMP.len()..STAMP.len() + STAMP_DIGITS].copy_from_slice(stamp.as_bytes());
        sender.send(&body).await?;
        if window.measures(from) {
            sent.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

async fn tail<R: Receive>(
    mut receiver: R,
    window: Window,
    recorder: Arc<Mutex<Recorder>>,
) -> anyhow::Result<()> {
    let mut stamps = Vec::new();
    loop {
        receiver.receive(&mut stamps).await?;
        let now = Instant::now();
        let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        for ns in stamps.drain(..) {
            let from = window.start + Duration::from_nanos(ns);
            if window.measures(from) {
                recorder.success(now.saturating_duration_since(from), 1, 0);
            }
        }
    }
}
