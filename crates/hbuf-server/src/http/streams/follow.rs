//! Server-sent events of a stream: each run of messages, and behind it where the client stands.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hbuf_core::ids::Seq;
use hbuf_core::limits::{HEARTBEAT_SECONDS, PIECE_BYTES, STREAM_EVENTS_SECONDS};
use hbuf_core::record::{Kind, State};
use hbuf_core::stream::{StreamSeen, StreamView};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::cursor;
use super::stream_call::{base_headers, offset_text};
use super::stream_read::{damage, random};
use crate::clock;
use crate::engine::{Buffer, records};
use crate::http::body::{Body, Source, Step};
use crate::http::call::Call;
use crate::http::json::to_base64;
use crate::http::problem::Problem;
use crate::http::sse::{STILL_HERE, problem_event};
use crate::metrics::Open;
use crate::read::{ReadError, Tailing};

/// The reply that follows the stream from behind `after` on.
pub(super) fn follow(
    call: &Call,
    buffer: Arc<Buffer>,
    view: &StreamView,
    after: Seq,
    sent: Option<u64>,
) -> Response<Body> {
    let mut headers = base_headers("text/event-stream");
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store"),
    );
    let form = Form::of(view);
    if form == Form::Base64 {
        headers.insert(DATA_ENCODING, HeaderValue::from_static("base64"));
    }
    debug_assert!(headers.contains_key(CONTENT_TYPE));
    let events = Events {
        _tailing: buffer.readable().tailing(),
        _open: Open::tail(&call.app.metrics),
        stopping: call.app.stopping.clone(),
        until: Instant::now() + Duration::from_secs(STREAM_EVENTS_SECONDS),
        cursor: cursor::cursor(clock::now(), sent, random()),
        after,
        form,
        buffer,
        told: false,
        ended: false,
    };
    let mut reply = Response::new(Body::stream(Box::new(events)));
    *reply.headers_mut() = headers;
    reply
}

/// How messages stand in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Base64,
}

impl Form {
    fn of(view: &StreamView) -> Self {
        if view.definition.is_json() {
            Self::Json
        } else if view.definition.is_text() {
            Self::Text
        } else {
            Self::Base64
        }
    }
}

struct Events {
    /// While it lives, new messages stay in memory for us.
    _tailing: Tailing,
    /// Counted while it lives.
    _open: Open,
    stopping: watch::Receiver<bool>,
    /// When the client is to come back.
    until: Instant,
    cursor: u64,
    after: Seq,
    form: Form,
    buffer: Arc<Buffer>,
    /// The client knows where it stands.
    told: bool,
    ended: bool,
}

impl Events {
    /// The next events, or a comment; `None` at the end.
    async fn piece(&mut self) -> Option<Bytes> {
        while !self.ended {
            // In this order: what is committed behind the look wakes the wait.
            let commit = self.buffer.readable().commit();
            let StreamSeen::Live(view) = self.buffer.stream_used().await else {
                // Deleted or expired: whoever comes back learns it.
                return None;
            };
            if self.after < view.tail {
                match self.run(&view).await {
                    Ok(Some(events)) => return Some(events),
                    Ok(None) => continue,
                    Err(ReadError::Closed) => return None,
                    Err(error) => return Some(self.broken(error)),
                }
            }
            if !self.told || view.closed {
                let mut out = Vec::new();
                self.control(&view, &mut out);
                return Some(Bytes::from(out));
            }
            if let Some(damage) = damage(&self.buffer, &view, self.after) {
                return Some(self.broken(damage));
            }
            if Instant::now() >= self.until {
                return None;
            }
            let silence = Duration::from_secs(HEARTBEAT_SECONDS)
                .min(self.until.saturating_duration_since(Instant::now()));
            let came = timeout(silence, self.buffer.readable().committed_past(commit));
            tokio::select! {
                came = came => match came {
                    // Deleted or opened anew: whoever comes back learns which.
                    Ok(Err(_)) => return None,
                    Err(_) if Instant::now() < self.until => return Some(STILL_HERE),
                    Ok(Ok(())) | Err(_) => {}
                },
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
        None
    }

    /// Why the stream ends here. The protocol knows no such event, and clients pass by what they do
    /// not know; whoever comes back gets the problem as a reply.
    fn broken(&mut self, error: ReadError) -> Bytes {
        self.ended = true;
        let problem: Box<Problem> = error.into();
        problem_event(&problem)
    }

    /// The next run of messages with what follows it; `None` when there was no message in it.
    async fn run(&mut self, view: &StreamView) -> Result<Option<Bytes>, ReadError> {
        let behind = view.tail.0 - self.after.0;
        let read = self.buffer.readable();
        let run = read.read(self.after, behind, PIECE_BYTES).await?;
        if run.count == 0 {
            return Err(ReadError::Closed);
        }
        self.after = run.last;
        let bodies: Vec<&[u8]> = records(&run.bytes)
            .filter(|record| record.facts.kind == Kind::Data && record.line.state == State::Live)
            .map(|record| record.body)
            .collect();
        if bodies.is_empty() {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(run.bytes.len() + 256);
        out.extend_from_slice(b"event: data\n");
        push_data(self.form, &bodies, &mut out);
        out.push(b'\n');
        self.control(view, &mut out);
        Ok(Some(Bytes::from(out)))
    }

    /// Where the client stands, and whether more may come.
    fn control(&mut self, view: &StreamView, out: &mut Vec<u8>) {
        self.told = true;
        let mut control = Map::new();
        control.insert("streamNextOffset".into(), offset_text(self.after).into());
        let tail = self.after >= view.tail;
        if tail {
            control.insert("upToDate".into(), true.into());
        }
        if tail && view.closed {
            self.ended = true;
            control.insert("streamClosed".into(), true.into());
        } else {
            self.cursor = self.cursor.max(cursor::cursor(clock::now(), None, 0));
            control.insert("streamCursor".into(), self.cursor.to_string().into());
        }
        out.extend_from_slice(b"event: control\ndata:");
        out.extend_from_slice(Value::Object(control).to_string().as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}

/// The lines of one event's data.
fn push_data(form: Form, bodies: &[&[u8]], out: &mut Vec<u8>) {
    match form {
        Form::Text => push_lines(&String::from_utf8_lossy(&bodies.concat()), out),
        Form::Json => {
            for (index, body) in bodies.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"data:[\n" } else { b"data:,\n" });
                push_lines(&String::from_utf8_lossy(body), out);
            }
            out.extend_from_slice(b"data:]\n");
        }
        Form::Base64 => push_lines(&to_base64(&bodies.concat()), out),
    }
}

/// Every line of a text as a line of data, so that no text can end the event or begin another.
fn push_lines(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let end = rest.find(['\r', '\n']);
        let line = end.map_or(rest, |end| &rest[..end]);
        out.extend_from_slice(b"data:");
        // The first space belongs to the form and not to the line.
        if line.starts_with(' ') {
            out.push(b' ');
        }
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        let Some(end) = end else { return };
        let ends = if rest[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + ends..];
    }
}

impl Source for Events {
    fn next(mut self: Box<Self>) -> Step {
        Box::pin(async move {
            let piece = self.piece().await;
            Ok(piece.map(|piece| (piece.into(), self as Box<dyn Source>)))
        })
    }
}

const DATA_ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");

#[cfg(test)]
mod tests {
    use super::*;

    fn data(form: Form, bodies: &[&[u8]]) -> String {
        let mut out = Vec::new();
        push_data(form, bodies, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_can_neither_end_an_event_nor_begin_one() {
        let text: &[&[u8]] = &[b"a\n\nevent: control\rdata: x", b"\r\n b"];
        assert_eq!(
            data(Form::Text, text),
            "data:a\ndata:\ndata:event: control\ndata:data: x\ndata:  b\n"
        );
        assert_eq!(data(Form::Text, &[b"\xff"]), "data:\u{fffd}\n");
    }

    #[test]
    fn values_of_json_are_one_array_and_bytes_one_base64() {
        let values: &[&[u8]] = &[b"1", b"{\n \"a\": 2}"];
        assert_eq!(
            data(Form::Json, values),
            "data:[\ndata:1\ndata:,\ndata:{\ndata:  \"a\": 2}\ndata:]\n"
        );
        assert_eq!(data(Form::Base64, &[b"He", b"llo"]), "data:SGVsbG8=\n");
    }
}
