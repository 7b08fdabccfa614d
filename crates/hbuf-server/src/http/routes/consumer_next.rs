//! `next`: a consumer hands out messages, one or many, now or when they come.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hbuf_core::limits::{CONSUMER_ACKS_BYTES_MAX, READ_LIMIT_MAX};
use hbuf_core::record::decode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use super::consumer_acks::{Acks, all_results, asked};
use super::consumer_events;
use super::consumers::{Of, find};
use super::event_reply;
use super::read::wait;
use crate::engine::{
    BeingSettled, ConsumerError, ConsumerInfo, Engine, Handed, HandedMessage, NextRequest, Passed,
    SettleResult, Settled, lease_text, settled_word,
};
use crate::http::App;
use crate::http::accept;
use crate::http::body::Body;
use crate::http::browser::confine;
use crate::http::call::{Call, Reply};
use crate::http::json::push_handed;
use crate::http::problem::{Code, Problem};

/// How handed-out messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Json,
    Lines,
    Raw,
    Events,
}

/// `POST /buffers/{buffer}/consumers/{consumer}/next`
pub(super) async fn many_of_buffer(call: Call) -> Reply {
    many(call, Of::Buffer).await
}

/// `POST /topics/{topic}/consumers/{consumer}/next`
pub(super) async fn many_of_topic(call: Call) -> Reply {
    many(call, Of::Topic).await
}

async fn many(call: Call, of: Of) -> Reply {
    let offers = [
        ("application/json", Served::Json),
        ("application/x-ndjson", Served::Lines),
        ("application/ndjson", Served::Lines),
        ("application/http", Served::Raw),
        ("text/event-stream", Served::Events),
    ];
    let served = accept::choose(call.headers(), &offers)?;
    let query = call.query(&["limit", "wait"])?;
    let limit = query.number("limit", 1, READ_LIMIT_MAX)?;
    let waits = wait(&query, call.headers())?;
    let info = find(&call, of)?;
    let app = call.app.clone();
    let bytes = call.bytes(CONSUMER_ACKS_BYTES_MAX).await?;
    let settles = !bytes.trim_ascii().is_empty();
    if served == Served::Events {
        return match settles {
            false => Ok(consumer_events::follow(&app, info, limit)),
            true => Err(Problem::new(
                Code::BodyInvalid,
                "Events hand out and settle nothing: send these to `acks`.",
            )),
        };
    }
    let request = request(limit.unwrap_or(1), waits);
    if !settles {
        return Ok(reply(&next(&app, &info, request).await?, None, served));
    }
    let acks = Acks::read(&bytes)?;
    let wanted = acks.wanted(&info)?;
    if wanted.is_empty() {
        return Ok(reply(&next(&app, &info, request).await?, None, served));
    }
    let settling = app.engine.settle(&info, &asked(&wanted)).await;
    let handed = next(&app, &info, request).await;
    let (results, handed) = both(&app.engine, &info, settling, handed).await?;
    let results = all_results(&wanted, results);
    Ok(reply(&handed, Some((&acks, &results)), served))
}

/// What was settled, and what was handed out behind it: what the disk has of the first, it is told
/// whatever became of the second.
async fn both(
    engine: &Engine,
    info: &ConsumerInfo,
    settling: BeingSettled,
    handed: Result<Handed, ConsumerError>,
) -> Result<(Vec<SettleResult>, Handed), ConsumerError> {
    match (settling.results().await, handed) {
        (Ok(results), Ok(handed)) => Ok((results, handed)),
        (Err(error), handed) => {
            if let Ok(handed) = handed {
                engine.give_back(info, &handed).await;
            }
            Err(error)
        }
        (_, Err(error @ (ConsumerError::Gone | ConsumerError::Stopping))) => Err(error),
        (Ok(results), Err(error)) if !results.iter().any(has_changed) => {
            drop(results);
            Err(error)
        }
        (Ok(results), Err(error)) => {
            let why = error.to_string();
            let passed = info.members.iter().map(|(_, name)| Passed {
                name: name.clone(),
                why: why.clone(),
            });
            let handed = Handed {
                passed: passed.collect(),
                ..Handed::default()
            };
            Ok((results, handed))
        }
    }
}

/// Whether anything is another than before.
const fn has_changed(result: &SettleResult) -> bool {
    matches!(
        result,
        Ok(Settled::Acked | Settled::Nacked | Settled::Extended)
    )
}

/// `GET /buffers/{buffer}/next`
pub(super) async fn one_of_buffer(call: Call) -> Reply {
    one(call, Of::Buffer).await
}

/// `GET /topics/{topic}/next`
pub(super) async fn one_of_topic(call: Call) -> Reply {
    one(call, Of::Topic).await
}

/// One message as its own reply; 204 when there is none.
async fn one(call: Call, of: Of) -> Reply {
    if call.is_head() {
        return Err(Problem::new(
            Code::MethodNotAllowed,
            "HEAD would hand out a message that nobody sees: use GET.",
        ));
    }
    let query = call.query(&["consumer", "wait"])?;
    let Some(name) = query.get("consumer") else {
        return Err(Problem::new(
            Code::QueryInvalid,
            "`consumer` is missing in the query: name the consumer that hands out the message.",
        ));
    };
    let waits = wait(&query, call.headers())?;
    let owner = of.owner(call.name());
    let info = call
        .app
        .engine
        .describe_consumer(call.tenant(), owner, name)?;
    let handed = next(&call.app, &info, request(1, waits)).await?;
    let Some(message) = handed.messages.first() else {
        let mut reply = Response::new(Body::empty());
        *reply.status_mut() = StatusCode::NO_CONTENT;
        *reply.headers_mut() = headers("", &handed);
        return Ok(reply);
    };
    let record = decode(&message.record).map_err(|error| {
        Problem::new(
            Code::LogDamaged,
            format!("Message {} is damaged: {error}.", message.seq),
        )
        .fact("seq", message.seq.0)
    })?;
    let shown = event_reply::one(
        &call.app.engine,
        call.headers(),
        message.buffer,
        &record,
        &message.record,
    );
    let mut headers = shown.headers;
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(DELIVERIES, HeaderValue::from(message.deliveries));
    if let Some(lease) = message.lease {
        headers.insert(LEASE, ascii(&lease_text(lease)));
    }
    headers.insert(BUFFER_NAME, ascii(message.name.as_str()));
    let mut reply = Response::new(Body::full(shown.body));
    *reply.headers_mut() = headers;
    Ok(reply)
}

fn request(limit: u64, wait: Option<Duration>) -> NextRequest {
    NextRequest {
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        wait_until: wait.map(|wait| Instant::now() + wait),
    }
}

/// What is handed out, waited for where that was asked. A node that stops ends the wait.
async fn next(
    app: &App,
    info: &ConsumerInfo,
    request: NextRequest,
) -> Result<Handed, ConsumerError> {
    let mut stopping = app.stopping.clone();
    tokio::select! {
        // What is at hand is given first: once it is handed out, it must not be dropped.
        biased;
        handed = app.engine.next(info, request) => handed,
        _ = stopping.wait_for(|stopping| *stopping) => Err(ConsumerError::Stopping),
    }
}

impl Served {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Raw => "application/http; msgtype=request",
            Self::Events => "text/event-stream",
        }
    }
}

/// What a request settled, and what came of each.
type SettledOf<'a> = (&'a Acks<'a>, &'a [SettleResult]);

fn reply(handed: &Handed, settled: Option<SettledOf<'_>>, served: Served) -> Response<Body> {
    let mut headers = headers(served.content_type(), handed);
    if let Some((_, results)) = settled.filter(|_| served != Served::Json) {
        headers.insert(SETTLED, ascii(&counted(results)));
    }
    let mut reply = Response::new(Body::full(written(handed, settled, served)));
    *reply.headers_mut() = headers;
    reply
}

/// How often each word came of what was settled, as `x-hbuf-settled` has it.
fn counted(results: &[SettleResult]) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for result in results {
        *counts.entry(settled_word(result)).or_default() += 1;
    }
    let counts = counts.iter().map(|(word, count)| format!("{word}={count}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn headers(content_type: &'static str, handed: &Handed) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !handed.passed.is_empty() {
        let names = handed.passed.iter().map(|passed| passed.name.as_str());
        let names: Vec<&str> = names.take(GAPS_SHOWN_MAX).collect();
        headers.insert(GAPS, ascii(&names.join(", ")));
    }
    confine(&mut headers);
    headers
}

fn written(handed: &Handed, settled: Option<SettledOf<'_>>, served: Served) -> Bytes {
    let records: usize = handed.messages.iter().map(|one| one.record.len()).sum();
    let mut out = Vec::with_capacity(records + records / 4 + 256 * handed.messages.len() + 64);
    match served {
        Served::Json => {
            out.extend_from_slice(b"{\"messages\":[");
            for (at, message) in handed.messages.iter().enumerate() {
                out.extend_from_slice(if at > 0 { b",\n" } else { b"" });
                push_json(message, &mut out);
            }
            let passed = passed(handed);
            out.extend_from_slice(format!("],\"passed\":{passed}").as_bytes());
            if let Some((acks, results)) = settled {
                let settled = serde_json::json!(acks.answered(results));
                out.extend_from_slice(format!(",\"settled\":{settled}").as_bytes());
            }
            out.extend_from_slice(b"}\n");
        }
        Served::Lines => {
            for message in &handed.messages {
                push_json(message, &mut out);
                out.push(b'\n');
            }
        }
        Served::Raw => {
            for message in &handed.messages {
                push_raw(message, &mut out);
            }
        }
        Served::Events => {
            for message in &handed.messages {
                push_event(message, &mut out);
            }
        }
    }
    Bytes::from(out)
}

/// The buffers that were passed, and why.
pub(super) fn passed(handed: &Handed) -> serde_json::Value {
    let passed = handed.passed.iter();
    let passed = passed.map(|it| serde_json::json!({ "buffer": it.name.as_str(), "why": it.why }));
    passed.collect()
}

/// The object of a message that was handed out.
fn push_json(message: &HandedMessage, out: &mut Vec<u8>) {
    match decode(&message.record) {
        Ok(record) => {
            push_handed(
                message.name.as_str(),
                message.lease,
                message.deliveries,
                &record,
                out,
            );
        }
        // It was read and checked just before; a worker is told rather than left without it.
        Err(error) => {
            let value = serde_json::json!({
                "buffer": message.name.as_str(), "lease": message.lease.map(lease_text), "seq": message.seq.0,
                "deliveries": message.deliveries, "damaged": error.to_string(),
            });
            out.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

/// An event of a message that was handed out.
pub(super) fn push_event(message: &HandedMessage, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("id: {}/{}\ndata: ", message.name, message.seq).as_bytes());
    push_json(message, out);
    out.extend_from_slice(b"\n\n");
}

/// A request whose body is the record, byte for byte, and whose head says under which lease.
fn push_raw(message: &HandedMessage, out: &mut Vec<u8>) {
    let head = format!(
        "POST /{} HTTP/1.1\r\nhost:\r\ncontent-length: {}\r\nx-hbuf-buffer: {}\r\n\
         x-hbuf-buffer-name: {}\r\nx-hbuf-deliveries: {}\r\n",
        message.seq,
        message.record.len(),
        message.buffer,
        message.name,
        message.deliveries
    );
    out.extend_from_slice(head.as_bytes());
    if let Some(lease) = message.lease {
        out.extend_from_slice(format!("x-hbuf-lease: {}\r\n", lease_text(lease)).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&message.record);
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("names, leases and commas are visible ASCII")
}

const LEASE: HeaderName = HeaderName::from_static("x-hbuf-lease");
const DELIVERIES: HeaderName = HeaderName::from_static("x-hbuf-deliveries");
const BUFFER_NAME: HeaderName = HeaderName::from_static("x-hbuf-buffer-name");
/// Of a request that settles: how often each word came of it.
const SETTLED: HeaderName = HeaderName::from_static("x-hbuf-settled");
const GAPS: HeaderName = HeaderName::from_static("x-hbuf-gaps");
/// Buffers that the header names; the body of a JSON reply names all.
const GAPS_SHOWN_MAX: usize = 32;
