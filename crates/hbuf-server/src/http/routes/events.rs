//! Server-sent events: what there is, then each message as it is committed, with a comment now and
//! then.

use std::time::Duration;

use bytes::Bytes;
use hbuf_core::ids::Uuid;
use hbuf_core::limits::HEARTBEAT_SECONDS;
use http::{HeaderMap, Response};
use tokio::sync::watch;
use tokio::time::timeout;

use super::read::gone_or_back;
use crate::engine::Engine;
use crate::http::body::{Body, BrokenOff, Source, Step};
use crate::http::call::Call;
use crate::http::scan::Scan;
use crate::http::sse::{HELLO, STILL_HERE, problem_event};
use crate::metrics::Open;
use crate::read::{ReadError, Tailing};

/// The reply that follows the buffer.
pub(super) fn follow(call: &Call, buffer: Uuid, scan: Scan, headers: HeaderMap) -> Response<Body> {
    let body = if call.is_head() {
        Body::uncounted()
    } else {
        Body::stream(Box::new(Tail {
            engine: call.app.engine.clone(),
            buffer,
            _tailing: scan.buffer.tailing(),
            scan,
            _open: Open::tail(&call.app.metrics),
            stopping: call.app.stopping.clone(),
            begun: false,
            ended: false,
        }))
    };
    let mut reply = Response::new(body);
    *reply.headers_mut() = headers;
    reply
}

struct Tail {
    engine: Engine,
    buffer: Uuid,
    scan: Scan,
    /// While it lives, new messages stay in memory for us.
    _tailing: Tailing,
    /// Counted while it lives.
    _open: Open,
    stopping: watch::Receiver<bool>,
    begun: bool,
    ended: bool,
}

impl Tail {
    /// The next events, or a comment; `None` at the end.
    async fn piece(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if !self.begun {
            self.begun = true;
            return Some(HELLO);
        }
        loop {
            match self.scan.page().await {
                Ok(Some(page)) => return Some(page),
                Ok(None) if self.scan.left == Some(0) => return None,
                Ok(None) => {
                    // Nothing will come behind it.
                    if let Some(damage) = self.scan.buffer.damage_at_end() {
                        return self.end(damage);
                    }
                }
                Err(error) => return self.end(error),
            }
            let past = self.scan.after.max(self.scan.through);
            let silence = Duration::from_secs(HEARTBEAT_SECONDS);
            let came = timeout(silence, self.scan.buffer.committed_past(past));
            let came = tokio::select! {
                came = came => came,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            };
            match came {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return self.end(error),
                Err(_) => return Some(STILL_HERE),
            }
            self.scan.through = self.scan.buffer.commit();
        }
    }

    /// What is said at the end; nothing where whoever comes back goes on.
    fn end(&mut self, error: ReadError) -> Option<Bytes> {
        self.ended = true;
        let closed = matches!(error, ReadError::Closed);
        if closed && !self.engine.is_deleted(self.buffer) {
            return None;
        }
        let problem = match closed {
            true => gone_or_back(&self.engine, self.buffer),
            false => error.into(),
        };
        Some(problem_event(&problem))
    }
}

impl Source for Tail {
    fn next(mut self: Box<Self>) -> Step {
        Box::pin(async move {
            let piece = self.piece().await;
            Ok::<_, BrokenOff>(piece.map(|piece| (piece.into(), self as Box<dyn Source>)))
        })
    }
}
