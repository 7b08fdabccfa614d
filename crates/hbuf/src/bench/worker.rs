//! One connection that appends and reads: closed loop, or paced by a schedule.
//!
//! Paced latencies do not omit the waits that a slow server causes: a request that could not go
//! out in time, because the reply before it was late, counts from the time it was due. One that
//! went out on an idle connection counts from its actual sending, which leaves out only the grain
//! of the client's own timer (1 ms).

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::frames::{Frames, count_lines};
use super::payload::{Target, Writer};
use super::plan::Op;
use super::problem;
use super::run::{Recorders, Shared, Window};
use super::transport::{Transport, Version};
use super::wire::WireError;

/// Size of one read of a connection that appends.
const INPUT_BYTES: usize = 64 << 10;
/// Size of one read of a connection that reads.
const READ_INPUT_BYTES: usize = 256 << 10;
/// Pause before a connection is made anew.
const RECONNECT: Duration = Duration::from_millis(20);

/// Why one operation failed, as it is counted.
pub(crate) enum Failure {
    /// The server refused: status and problem type.
    Refused(String),
    /// The connection or the reply is broken; the connection is made anew.
    Broken(String),
}

impl From<WireError> for Failure {
    fn from(e: WireError) -> Self {
        Self::Broken(e.to_string())
    }
}

fn broken(what: impl Display) -> Failure {
    Failure::Broken(what.to_string())
}

/// See the module.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    number: usize,
    node: usize,
    transport: Option<Transport>,
    writer: Writer,
    /// Append request that serves for every append, where all are alike.
    fixed: Option<Vec<u8>>,
    /// Where the next read begins.
    buffer: usize,
    after: u64,
    recorders: Recorders,
}

impl Worker {
    /// Connects number `number`.
    pub(crate) async fn connect(
        shared: &Arc<Shared>,
        number: usize,
        recorders: Recorders,
    ) -> anyhow::Result<Self> {
        let node = number % shared.plan.nodes.len();
        let mut writer = Writer::new(shared.shape.clone(), 1 + number as u64);
        let mut fixed = None;
        if shared.shape.is_fixed() && shared.buffers.len() == 1 {
            let node = &shared.plan.nodes[node];
            let target = Target {
                node,
                buffer: &shared.buffers[0],
            };
            fixed = Some(writer.append(&target, 0).to_vec());
        }
        let buffer = number % shared.buffers.len();
        let shared = Arc::clone(shared);
        let mut worker = Self {
            shared,
            number,
            node,
            transport: None,
            writer,
            fixed,
            buffer,
            after: 0,
            recorders,
        };
        worker.transport = Some(worker.transport().await?);
        Ok(worker)
    }

    async fn transport(&self) -> Result<Transport, WireError> {
        let args = &self.shared.plan.args;
        let version = if args.http2 {
            Version::Http2
        } else {
            Version::Http1
        };
        let input = if args.mix.reads() {
            READ_INPUT_BYTES
        } else {
            INPUT_BYTES
        };
        Transport::connect(version, self.shared.plan.nodes[self.node].address, input).await
    }

    /// Works until the window closes. A request that hangs counts as a timeout.
    pub(crate) async fn work(mut self, window: Window) {
        let deadline = window.end + self.shared.plan.timeout;
        let recorders = self.recorders.clone();
        let single = self.shared.plan.args.mix.single();
        let looped = self.work_until_end(window);
        if tokio::time::timeout_at(deadline.into(), looped)
            .await
            .is_err()
        {
            let seconds = self.shared.plan.timeout.as_secs_f64();
            let kind = format!("no reply within {seconds} s of the end");
            recorders.with(single.unwrap_or(Op::Append), |one| one.failure(&kind));
        }
    }

    async fn work_until_end(&mut self, window: Window) {
        tokio::time::sleep_until(window.start.into()).await;
        let mut turn = 0;
        loop {
            let from = match self.due(window, turn) {
                None => Instant::now(),
                Some(due) if due >= window.end => return,
                // On time: the connection idles until the request is due.
                Some(due) if due > Instant::now() => {
                    tokio::time::sleep_until(due.into()).await;
                    Instant::now()
                }
                Some(due) => due,
            };
            if Instant::now() >= window.end {
                return;
            }
            turn += 1;
            let op = match self.shared.plan.args.mix.single() {
                Some(op) => op,
                None => self.shared.plan.args.mix.pick(self.writer.draws.next()),
            };
            let done = self.perform(op, window).await;
            let now = Instant::now();
            match done {
                Ok((messages, bytes)) if window.measures(now) => {
                    self.recorders
                        .with(op, |one| one.success(now - from, messages, bytes));
                }
                Ok(_) => {}
                Err(failure) => self.failed(op, failure, window.measures(now)).await,
            }
        }
    }

    /// When request `turn` of this connection is due, if the run is paced.
    fn due(&self, window: Window, turn: u64) -> Option<Instant> {
        let args = &self.shared.plan.args;
        let ordinal = turn * args.connections as u64 + self.number as u64;
        args.rate
            .map(|rate| window.start + Duration::from_secs_f64(ordinal as f64 / rate))
    }

    async fn failed(&mut self, op: Op, failure: Failure, measured: bool) {
        let kind = match failure {
            Failure::Refused(kind) => kind,
            Failure::Broken(kind) => {
                self.transport = None;
                tokio::time::sleep(RECONNECT).await;
                kind
            }
        };
        if measured {
            self.recorders.with(op, |one| one.failure(&kind));
        }
    }

    /// Does one operation: its messages and the bytes of their bodies.
    async fn perform(&mut self, op: Op, window: Window) -> Result<(u64, u64), Failure> {
        if self.transport.is_none() {
            self.transport = Some(self.transport().await?);
        }
        match op {
            Op::Append | Op::Batch | Op::Ndjson => self.append(op, window).await,
            Op::Read => self.read_raw().await,
            Op::ReadNdjson | Op::Tail => self.read_lines().await,
        }
    }

    async fn append(&mut self, op: Op, window: Window) -> Result<(u64, u64), Failure> {
        let Some(transport) = &mut self.transport else {
            return Err(broken("not connected"));
        };
        let sent = Instant::now();
        let mut buffer = 0;
        let request = if let (Some(fixed), Op::Append) = (&self.fixed, op) {
            fixed.as_slice()
        } else {
            if self.shared.buffers.len() > 1 {
                buffer = self.writer.draws.below(self.shared.buffers.len());
            }
            let target = Target {
                node: &self.shared.plan.nodes[self.node],
                buffer: &self.shared.buffers[buffer],
            };
            let stamp = self.shared.stamp(sent);
            match op {
                Op::Batch => self.writer.batch(&target, stamp),
                Op::Ndjson => self.writer.ndjson(&target, stamp),
                _ => self.writer.append(&target, stamp),
            }
        };
        let reply = transport.send(request).await?;
        if !matches!(reply.status, 200..=202) {
            return Err(refused(transport, reply.status).await);
        }
        transport.skip_body().await?;
        if reply.closes {
            self.transport = None;
        }
        let (messages, bytes) = match (&self.fixed, op) {
            (Some(_), Op::Append) => (1, self.shared.plan.args.size.max as u64),
            _ => (self.writer.messages, self.writer.body_bytes),
        };
        if window.measures(sent) {
            let tails = self.shared.tails_of(buffer);
            self.shared.expected.fetch_add(messages * tails, Relaxed);
        }
        Ok((messages, bytes))
    }

    async fn read_raw(&mut self) -> Result<(u64, u64), Failure> {
        let Some(transport) = &mut self.transport else {
            return Err(broken("not connected"));
        };
        let target = Target {
            node: &self.shared.plan.nodes[self.node],
            buffer: &self.shared.buffers[self.buffer],
        };
        let request = self.writer.read(&target, self.after, "application/http");
        let reply = transport.send(request).await?;
        if reply.status != 200 {
            return Err(refused(transport, reply.status).await);
        }
        let mut frames = Frames::after(self.after);
        while let Some(piece) = transport.chunk().await? {
            frames.feed(piece).map_err(broken)?;
        }
        if !frames.is_whole() {
            return Err(broken("a read ended in the middle of a record"));
        }
        self.after = frames.last();
        let read = (frames.take_count(), frames.take_bytes());
        self.wrap(read.0);
        Ok(read)
    }

    async fn read_lines(&mut self) -> Result<(u64, u64), Failure> {
        let Some(transport) = &mut self.transport else {
            return Err(broken("not connected"));
        };
        let target = Target {
            node: &self.shared.plan.nodes[self.node],
            buffer: &self.shared.buffers[self.buffer],
        };
        let request = self
            .writer
            .read(&target, self.after, "application/x-ndjson");
        let reply = transport.send(request).await?;
        if reply.status != 200 {
            return Err(refused(transport, reply.status).await);
        }
        let (mut lines, mut bytes) = (0, 0);
        while let Some(piece) = transport.chunk().await? {
            lines += count_lines(piece);
            bytes += piece.len() as u64;
        }
        self.after += lines;
        self.wrap(lines);
        Ok((lines, bytes))
    }

    /// At a buffer's end, the next read begins at the start of the next buffer.
    fn wrap(&mut self, messages: u64) {
        let limit = self.shared.plan.args.read_limit;
        if limit == 0 || messages < limit {
            self.after = 0;
            self.buffer = (self.buffer + 1) % self.shared.buffers.len();
        }
    }
}

async fn refused(transport: &mut Transport, status: u16) -> Failure {
    match transport.body_text(problem::BYTES_MAX).await {
        Ok(body) => Failure::Refused(problem::kind(status, &body)),
        Err(e) => e.into(),
    }
}
