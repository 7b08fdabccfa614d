//! A tailing reader (server-sent events) that measures from sending to arrival.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::frames::Stamps;
use super::payload::{Target, Writer};
use super::plan::Op;
use super::problem;
use super::run::{Recorders, Shared, Window};
use super::transport::{Transport, Version};

/// Size of one read; small, for there may be 10,000 tails.
const INPUT_BYTES: usize = 16 << 10;

/// See the module.
pub(crate) struct Tail {
    shared: Arc<Shared>,
    transport: Transport,
    recorders: Recorders,
}

impl Tail {
    /// Connects tail `number` and asks for what follows the buffer's last message.
    pub(crate) async fn connect(
        shared: &Arc<Shared>,
        number: usize,
        recorders: Recorders,
    ) -> anyhow::Result<Self> {
        let node = &shared.plan.nodes[number % shared.plan.nodes.len()];
        let version = if shared.plan.args.http2 {
            Version::Http2
        } else {
            Version::Http1
        };
        let mut transport = Transport::connect(version, node.address, INPUT_BYTES).await?;
        let buffer = number % shared.buffers.len();
        let target = Target {
            node,
            buffer: &shared.buffers[buffer],
        };
        let mut writer = Writer::new(shared.shape.clone(), 0);
        let query = format!("/messages?after={}", shared.last[buffer]);
        let reply = transport
            .send(writer.get(&target, &query, "text/event-stream"))
            .await;
        let reply = reply.with_context(|| format!("tail of {}", target.buffer))?;
        if reply.status != 200 {
            let body = transport.body_text(problem::BYTES_MAX).await?;
            bail!(
                "tail of {}: {}",
                target.buffer,
                problem::sentence(reply.status, &body)
            );
        }
        Ok(Self {
            shared: Arc::clone(shared),
            transport,
            recorders,
        })
    }

    /// Reads events until the stream ends or the run drops it.
    pub(crate) async fn follow(mut self, window: Window) {
        let mut stamps = Stamps::default();
        loop {
            let piece = match self.transport.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return self.lost("the server ended a tail"),
                Err(e) => return self.lost(&e.to_string()),
            };
            let now = Instant::now();
            stamps.feed(piece, |ns| {
                let sent = self.shared.origin + Duration::from_nanos(ns);
                if !window.measures(sent) {
                    return;
                }
                self.shared.received.fetch_add(1, Relaxed);
                let latency = now.saturating_duration_since(sent);
                self.recorders
                    .with(Op::Tail, |one| one.success(latency, 1, 0));
            });
        }
    }

    fn lost(&self, kind: &str) {
        self.recorders.with(Op::Tail, |one| one.failure(kind));
    }
}
