//! The closed loop that every target is driven with, so that the targets differ in nothing else.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::Settings;
use crate::servers::child::cpu_time;
use crate::stats::{Recorder, Summary};

/// How long one operation may take before the measurement is given up.
const STUCK: Duration = Duration::from_secs(60);

/// One connection's work. An error ends the measurement: there are none in an honest figure.
pub(crate) trait Work: Send + 'static {
    /// Does one operation; returns its messages and the bytes of their bodies.
    fn once(&mut self) -> impl Future<Output = anyhow::Result<(u64, u64)>> + Send;
}

/// Runs a future to its end on this thread.
pub(crate) fn on_this_thread<T>(
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// Works until `count` messages are done.
pub(crate) fn fill<W: Work>(
    work: impl Future<Output = anyhow::Result<W>>,
    count: u64,
) -> anyhow::Result<()> {
    on_this_thread(async {
        let mut work = work.await?;
        let mut done = 0;
        while done < count {
            done += work.once().await?.0;
        }
        Ok(())
    })
}

/// Figures of one target in one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    #[serde(flatten)]
    pub(crate) summary: Summary,
    /// Server CPU, user and system, for each message; absent where there is no server.
    pub(crate) server_cpu_us: Option<f64>,
}

/// When a run measures.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) warm_end: Instant,
    pub(crate) end: Instant,
}

impl Window {
    pub(crate) fn beginning_now(settings: &Settings, measured: Duration) -> Self {
        let start = Instant::now();
        let warm_end = start + settings.warm;
        Self {
            start,
            warm_end,
            end: warm_end + measured,
        }
    }

    pub(crate) fn measures(&self, at: Instant) -> bool {
        at >= self.warm_end && at < self.end
    }
}

/// Runs `connections` closed loops on one thread; `pid` is the server whose CPU time is counted.
pub(crate) fn closed_loop<W: Work, F: Future<Output = anyhow::Result<W>>>(
    settings: &Settings,
    pid: u32,
    connections: usize,
    connect: impl Fn(usize) -> F,
) -> anyhow::Result<Run> {
    on_this_thread(async {
        let mut works = Vec::new();
        for n in 0..connections {
            works.push(connect(n).await.context("connection")?);
        }
        let window = Window::beginning_now(settings, settings.measured);
        let recorder = Arc::new(Mutex::new(Recorder::default()));
        let mut tasks = JoinSet::new();
        for work in works {
            tasks.spawn(looped(work, window, Arc::clone(&recorder)));
        }
        let cpu = tokio::spawn(cpu_between(pid, window));
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let cpu = cpu.await?;
        let recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(finished(&recorder, settings.measured, cpu))
    })
}

/// Makes the figures of a run.
pub(crate) fn finished(recorder: &Recorder, measured: Duration, cpu: Option<Duration>) -> Run {
    let messages = recorder.messages.max(1) as f64;
    let server_cpu_us = cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / messages);
    Run {
        summary: recorder.summary(measured.as_secs_f64()),
        server_cpu_us,
    }
}

async fn looped<W: Work>(
    mut work: W,
    window: Window,
    recorder: Arc<Mutex<Recorder>>,
) -> anyhow::Result<()> {
    let until = window.end + STUCK;
    let all = async {
        let mut from = Instant::now();
        while from < window.end {
            let (messages, bytes) = work.once().await?;
            let now = Instant::now();
            if window.measures(now) {
                let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
                recorder.success(now - from, messages, bytes);
            }
            from = now;
        }
        Ok(())
    };
    tokio::time::timeout_at(until.into(), all)
        .await
        .context("the server no longer answers")?
}

/// CPU time that a process used in the measured part of the window.
pub(crate) async fn cpu_between(pid: u32, window: Window) -> Option<Duration> {
    tokio::time::sleep_until(window.warm_end.into()).await;
    let before = cpu_time(pid)?;
    tokio::time::sleep_until(window.end.into()).await;
    cpu_time(pid)?.checked_sub(before)
}
