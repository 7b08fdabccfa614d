//! Server-sent events of a consumer: each message as it is handed out, until the worker goes.

use std::time::Duration;

use bytes::Bytes;
use hbuf_core::limits::{HEARTBEAT_SECONDS, READ_LIMIT_DEFAULT};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::consumer_next::{passed, push_event};
use crate::engine::{ConsumerError, ConsumerInfo, Engine, NextRequest};
use crate::http::App;
use crate::http::body::{Body, BrokenOff, Source, Step};
use crate::http::browser::confine;
use crate::http::problem::Problem;
use crate::http::sse::{HELLO, STILL_HERE, problem_event};
use crate::metrics::Open;

/// The reply that hands out messages as they come; `limit` ends it after so many.
pub(super) fn follow(app: &App, consumer: ConsumerInfo, limit: Option<u64>) -> Response<Body> {
    let mut reply = Response::new(Body::stream(Box::new(Tail {
        engine: app.engine.clone(),
        consumer,
        left: limit,
        _open: Open::tail(&app.metrics),
        stopping: app.stopping.clone(),
        begun: false,
        ended: false,
        passed: Value::Array(Vec::new()),
    })));
    let headers: &mut HeaderMap = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    confine(headers);
    reply
}

struct Tail {
    engine: Engine,
    consumer: ConsumerInfo,
    /// How many messages are still wanted; `None` is all that come.
    left: Option<u64>,
    /// Counted while it lives.
    _open: Open,
    stopping: watch::Receiver<bool>,
    begun: bool,
    ended: bool,
    /// The buffers that were passed, as they were told last.
    passed: Value,
}

impl Tail {
    /// The next events, or a comment; `None` at the end. It is asked for only when the worker took
    /// what was before, so that nothing is handed out into a connection that stands still.
    async fn piece(&mut self) -> Option<Bytes> {
        if self.ended || self.left == Some(0) {
            return None;
        }
        if !self.begun {
            self.begun = true;
            return Some(HELLO);
        }
        let limit = self
            .left
            .unwrap_or(READ_LIMIT_DEFAULT)
            .min(READ_LIMIT_DEFAULT);
        let request = NextRequest {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            wait_until: Some(Instant::now() + Duration::from_secs(HEARTBEAT_SECONDS)),
        };
        let handed = tokio::select! {
            biased;
            handed = self.engine.next(&self.consumer, request) => handed,
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(ConsumerError::Stopping),
        };
        match handed {
            Ok(handed) => {
                let count = handed.messages.len() as u64;
                self.left = self.left.map(|left| left.saturating_sub(count));
                let mut out = Vec::new();
                let passed = passed(&handed);
                if passed != self.passed {
                    out.extend_from_slice(format!("event: passed\ndata: {passed}\n\n").as_bytes());
                    self.passed = passed;
                }
                for message in &handed.messages {
                    push_event(message, &mut out);
                }
                match out.is_empty() {
                    true => Some(STILL_HERE),
                    false => Some(Bytes::from(out)),
                }
            }
            Err(ConsumerError::Stopping) => None,
            Err(error) => {
                self.ended = true;
                let problem: Box<Problem> = error.into();
                Some(problem_event(&problem))
            }
        }
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
