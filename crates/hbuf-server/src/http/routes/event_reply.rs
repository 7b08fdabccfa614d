//! Replies in the structured and batched modes of CloudEvents: one message as an event, messages as
//! an array of events.
//!
//! A batch is one reply of a bounded size, made before its head is sent: so the head can say behind
//! what to go on, which the array has no place for.

use std::time::Duration;

use bytes::Bytes;
use hbuf_core::cloudevents::{BATCH_TYPE, EVENT_TYPE};
use hbuf_core::ids::Uuid;
use hbuf_core::limits::EVENTS_READ_BYTES;
use hbuf_core::record::Record;
use http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::watch;

use super::message;
use super::read::{Served, first_page};
use crate::engine::Engine;
use crate::http::accept::prefers;
use crate::http::body::Body;
use crate::http::call::Reply;
use crate::http::event_json::push_event;
use crate::http::problem::{Code, Problem};
use crate::http::scan::{Filter, Scan};

/// One message as a reply's own headers and body.
pub(super) struct One {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// It is JSON, and not what is stored.
    pub(super) is_event: bool,
}

/// A message as it is stored or, where the client prefers that to the message's own type, as an
/// event in JSON. `bytes` are those of the record.
pub(super) fn one(
    engine: &Engine,
    asked: &HeaderMap,
    buffer: Uuid,
    record: &Record<'_>,
    bytes: &Bytes,
) -> One {
    let mut headers = message::headers(buffer, record);
    let own = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let own = own.and_then(|own| std::str::from_utf8(own).ok());
    let mut event = Vec::new();
    let is_event = prefers(asked, EVENT_TYPE, own.unwrap_or_default())
        && push_event(&engine.source(buffer), record, &mut event);
    if !is_event {
        let body = bytes.slice_ref(record.body);
        return One {
            headers,
            body,
            is_event,
        };
    }
    let of_event = |name: &HeaderName| {
        name.as_str().starts_with("ce-") || name.as_str() == hbuf_core::cloudevents::TYPES
    };
    let said: Vec<HeaderName> = headers
        .keys()
        .filter(|name| of_event(name))
        .cloned()
        .collect();
    for name in said {
        headers.remove(name);
    }
    headers.remove(CONTENT_ENCODING);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_TYPE));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    One {
        headers,
        body: event.into(),
        is_event,
    }
}

/// hbuf's own records are no events of anybody's.
pub(super) fn refuse_all_kinds(filter: &Filter) -> Result<(), Box<Problem>> {
    if !filter.all_kinds {
        return Ok(());
    }
    Err(Problem::new(
        Code::QueryInvalid,
        format!("`kinds=all` does not go with {BATCH_TYPE}: hbuf's own records are no events."),
    ))
}

/// The source of a buffer's messages, where they are served as events; looking it up costs a lock.
pub(super) fn source(engine: &Engine, served: Served, buffer: Uuid) -> String {
    match served {
        Served::CloudEvents => engine.source(buffer),
        Served::Raw | Served::Lines | Served::Json | Served::Events | Served::Text => String::new(),
    }
}

/// The next messages of a buffer as a batch of events.
pub(super) async fn range(
    mut scan: Scan,
    wait: Option<Duration>,
    stopping: watch::Receiver<bool>,
    mut headers: HeaderMap,
) -> Reply {
    let mut events = vec![b'['];
    let mut page = first_page(&mut scan, wait, stopping).await?;
    while let Some(more) = page {
        events.extend_from_slice(&more);
        page = if events.len() < EVENTS_READ_BYTES {
            scan.page().await?
        } else {
            None
        };
    }
    headers.insert(AFTER, HeaderValue::from(scan.after.0));
    Ok(batch(events, headers))
}

/// The reply that is a batch, of which the end is missing.
pub(super) fn batch(mut events: Vec<u8>, headers: HeaderMap) -> Response<Body> {
    events.extend_from_slice(b"]\n");
    let mut reply = Response::new(Body::full(events));
    *reply.headers_mut() = headers;
    reply
}

/// Behind what a reader goes on: the next read's `after`.
pub(super) const AFTER: HeaderName = HeaderName::from_static("x-hbuf-after");
