//! `GET …/messages`: a range, a long poll, or a tail that never ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hbuf_core::cloudevents::BATCH_TYPE;
use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::limits::{READ_LIMIT_DEFAULT, READ_LIMIT_MAX, TAGS_MAX, WAIT_SECONDS_MAX};
use hbuf_core::time::parse_rfc3339;
use hbuf_core::topic::Order;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, HeaderName, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{event_reply, events, raw, topic_reads};
use crate::engine::{Buffer, BufferStatus, Engine};
use crate::http::accept;
use crate::http::body::{Body, BrokenOff, Source, Step};
use crate::http::browser::confine;
use crate::http::call::{Call, Query, Reply, etag_is_known, parse_name, parse_seq, shown, single};
use crate::http::json::encode_key;
use crate::http::problem::{Code, Problem};
use crate::http::scan::{Filter, Form, Scan};
use crate::http::topic_start;
use crate::read::ReadError;

/// `GET /buffers/{buffer}/messages`
pub(super) async fn from_buffer(call: Call) -> Reply {
    let wanted = Wanted::read(&call, Of::Buffer)?;
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    read(call, buffer, wanted).await
}

/// `GET /topics/{topic}/messages`
pub(super) async fn from_topic(call: Call) -> Reply {
    let mut wanted = Wanted::read(&call, Of::Topic)?;
    let view = call.app.engine.topic_view(call.tenant(), call.name())?;
    if view.buffers > 1 || wanted.served == Served::Events {
        return topic_reads::read(call, view, wanted).await;
    }
    let engine = &call.app.engine;
    let buffer = engine.topic_buffer(call.tenant(), call.name()).await?;
    if let Start::Cursor(text) = &wanted.start {
        wanted.start = Start::After(topic_start::place_in(text, view.id, &buffer)?);
    }
    read(call, buffer, wanted).await
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Buffer,
    Topic,
}

/// The representations of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    Raw,
    Lines,
    Json,
    Events,
    /// Lines for a browser, as text.
    Text,
    /// A batch of CloudEvents.
    CloudEvents,
}

impl Served {
    /// How records are written.
    pub(super) const fn form(self) -> Form {
        match self {
            Self::Raw => Form::Raw,
            Self::Lines | Self::Text => Form::Lines,
            Self::Json => Form::Array,
            Self::Events => Form::Events,
            Self::CloudEvents => Form::CloudEvents,
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Raw => "application/http; msgtype=request",
            Self::Lines => "application/x-ndjson",
            Self::Json => "application/json",
            Self::Events => "text/event-stream",
            Self::Text => "text/plain; charset=utf-8",
            Self::CloudEvents => BATCH_TYPE,
        }
    }
}

/// What a read asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) served: Served,
    pub(super) start: Start,
    pub(super) limit: Option<u64>,
    pub(super) wait: Option<Duration>,
    pub(super) filter: Filter,
    pub(super) history: Option<Uuid>,
    /// Of a topic, the order over its buffers.
    pub(super) order: Order,
}

/// Where a read starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    After(Seq),
    /// At a time, but not before the message behind a seq.
    Time(Micros, Seq),
    /// Behind what is committed now.
    End,
    /// Behind a cursor of the topic.
    Cursor(String),
}

impl Wanted {
    fn read(call: &Call, of: Of) -> Result<Self, Box<Problem>> {
        let offers = [
            ("application/http", Served::Raw),
            ("application/x-ndjson", Served::Lines),
            ("application/ndjson", Served::Lines),
            ("application/json", Served::Json),
            ("text/event-stream", Served::Events),
            ("text/html", Served::Text),
            ("text/plain", Served::Text),
            (BATCH_TYPE, Served::CloudEvents),
        ];
        let headers = call.headers();
        let served = accept::choose(headers, &offers)?;
        let known = [
            "after",
            "limit",
            "wait",
            "from-time",
            "tag",
            "key",
            "filter",
            "latest",
            "kinds",
            "order",
        ];
        // A buffer has one order.
        let known = &known[..known.len() - usize::from(of == Of::Buffer)];
        let query = call.query(known)?;
        let limit = query.number("limit", 1, READ_LIMIT_MAX)?;
        let limit = match served {
            Served::Raw | Served::Events => limit,
            Served::Lines | Served::Json | Served::Text | Served::CloudEvents => {
                Some(limit.unwrap_or(READ_LIMIT_DEFAULT))
            }
        };
        let filter = filter(&query)?;
        if served == Served::CloudEvents {
            event_reply::refuse_all_kinds(&filter)?;
        }
        let history = single(headers, &HISTORY)?.map(|text| {
            Uuid::parse(text).ok_or_else(|| {
                Problem::new(
                    Code::HeaderInvalid,
                    format!(
                        "`x-hbuf-history: {}` is no uuid in lower case.",
                        shown(text)
                    ),
                )
            })
        });
        Ok(Self {
            served,
            start: start(&query, headers, served, of)?,
            limit,
            wait: wait(&query, headers)?,
            filter,
            history: history.transpose()?,
            order: topic_reads::order(query.get("order"))?,
        })
    }
}

fn start(
    query: &Query<'_>,
    headers: &HeaderMap,
    served: Served,
    of: Of,
) -> Result<Start, Box<Problem>> {
    if served == Served::Events
        && let Some(text) = single(headers, &LAST_EVENT_ID)?
    {
        // A browser that comes back sends the same query again; what it has seen counts.
        if of == Of::Topic {
            return Ok(behind(text));
        }
        return parse_seq(text).map(Start::After).ok_or_else(|| {
            Problem::new(
                Code::SeqInvalid,
                format!(
                    "`last-event-id: {}` is no seq: leave it out to start anew.",
                    shown(text)
                ),
            )
        });
    }
    let after = match (query.get("after"), of) {
        (Some("end"), _) => return Ok(Start::End),
        (Some(text), Of::Topic) => match behind(text) {
            Start::After(after) => after,
            // It was given out by a read, so it is no earlier than where that one began.
            cursor => return Ok(cursor),
        },
        (_, Of::Topic | Of::Buffer) => query.seq("after")?.unwrap_or(Seq::ZERO),
    };
    match query.get("from-time") {
        None => Ok(Start::After(after)),
        Some(text) => {
            // An offset such as +01:00 that was not percent-encoded has become a space.
            let time = text.get(..11).zip(text.get(11..));
            let time = time.map_or_else(
                || text.to_owned(),
                |(date, rest)| date.to_owned() + &rest.replace(' ', "+"),
            );
            let start = parse_rfc3339(&time).map(|time| Start::Time(time, after));
            start.ok_or_else(|| {
                Problem::new(
                    Code::QueryInvalid,
                    format!(
                        "`from-time={}` is no time: write it as in RFC 3339, for example 2026-11-20T11:15:22Z.",
                        shown(text)
                    ),
                )
            })
        }
    }
}

/// A seq, which a topic's only buffer has, or a cursor.
fn behind(text: &str) -> Start {
    parse_seq(text).map_or_else(|| Start::Cursor(text.to_owned()), Start::After)
}

/// The wait that is asked for, of which a preference may be cut and a parameter may not.
pub(super) fn wait(
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<Option<Duration>, Box<Problem>> {
    if let Some(seconds) = query.number("wait", 0, WAIT_SECONDS_MAX)? {
        return Ok((seconds > 0).then(|| Duration::from_secs(seconds)));
    }
    let preferred = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split([',', ';']))
        .find_map(|part| {
            part.trim()
                .strip_prefix("wait=")?
                .trim_matches('"')
                .parse()
                .ok()
        });
    let seconds: Option<u64> = preferred.filter(|&seconds| seconds > 0);
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.min(WAIT_SECONDS_MAX))))
}

fn filter(query: &Query<'_>) -> Result<Filter, Box<Problem>> {
    let tags: Vec<Vec<u8>> = query
        .all("tag")
        .map(|tag| tag.trim().as_bytes().to_vec())
        .collect();
    if tags.len() > TAGS_MAX || tags.iter().any(|tag| tag.is_empty() || tag.contains(&b',')) {
        return Err(Problem::new(
            Code::QueryInvalid,
            format!("`tag` is one tag without commas, given at most {TAGS_MAX} times."),
        ));
    }
    let all_kinds = match query.get("kinds") {
        None | Some("data") => false,
        Some("all") => true,
        Some(text) => {
            return Err(Problem::new(
                Code::QueryInvalid,
                format!("`kinds={}` is neither data nor all.", shown(text)),
            ));
        }
    };
    let stored = query.get("filter").map(parse_name).transpose()?;
    let latest = match query.get("latest") {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(text) => {
            return Err(Problem::new(
                Code::QueryInvalid,
                format!("`latest={}` is neither true nor false.", shown(text)),
            ));
        }
    };
    Ok(Filter {
        tags,
        stored: stored.map(|name| name.as_str().to_owned()),
        latest,
        key: query.get("key").map(|key| encode_key(key.as_bytes())),
        all_kinds,
    })
}

async fn read(call: Call, buffer: Arc<Buffer>, wanted: Wanted) -> Reply {
    let (engine, uuid) = (call.app.engine.clone(), buffer.uuid());
    let reply = range(call, buffer, wanted).await;
    reply.map_err(|problem| match problem.code {
        Code::BufferOpening => gone_or_back(&engine, uuid),
        _ => problem,
    })
}

/// What is said of a buffer that was closed while somebody read it: it was deleted, or is opened
/// anew.
pub(super) fn gone_or_back(engine: &Engine, buffer: Uuid) -> Box<Problem> {
    if engine.is_deleted(buffer) {
        let what = "The buffer was deleted while it was read: create it with PUT, or append to it.";
        return Problem::new(Code::BufferNotFound, what);
    }
    ReadError::Closed.into()
}

async fn range(call: Call, buffer: Arc<Buffer>, wanted: Wanted) -> Reply {
    let status = status(&buffer)?;
    if let Some(history) = wanted.history.filter(|history| *history != status.history) {
        return Err(Problem::new(
            Code::HistoryDiffers,
            format!(
                "The buffer's history is {}, not {history}: messages that you know may be lost. Read it anew.",
                status.history
            ),
        )
        .fact("history", status.history.to_string()));
    }
    let readable = Arc::clone(buffer.readable());
    let after = position(&buffer, &wanted.start).await?;
    let pick = wanted.filter.pick(&readable).await?;
    let mut scan = Scan {
        buffer: readable,
        pick,
        after,
        through: buffer.readable().commit(),
        left: wanted.limit,
        filter: wanted.filter.clone(),
        form: wanted.served.form(),
        begun: false,
        source: event_reply::source(&call.app.engine, wanted.served, status.uuid),
    };
    if wanted.served == Served::Events {
        let headers = head(&status, wanted.served, scan.through);
        return Ok(events::follow(&call, status.uuid, scan, headers));
    }
    let mut reply = head(&status, wanted.served, scan.through);
    if wanted.served == Served::CloudEvents && !call.is_head() {
        return event_reply::range(scan, wanted.wait, call.app.stopping.clone(), reply).await;
    }
    let settled = settled(&wanted, &scan);
    if settled {
        let tag = etag(&status, &wanted, &scan);
        let known = etag_is_known(call.headers(), &tag);
        reply.insert(ETAG, tag);
        if known {
            let mut unchanged = Response::new(Body::empty());
            *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
            *unchanged.headers_mut() = reply;
            return Ok(unchanged);
        }
    }
    let cache = if settled {
        "private, no-cache"
    } else {
        "no-store"
    };
    reply.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    let body = if call.is_head() {
        Body::uncounted()
    } else if wanted.served == Served::Raw
        && plain_stream(&wanted)
        && buffer.readable().messages_only()
    {
        raw::stream(&scan, call.ranges.clone()).await?
    } else {
        let first = first_page(&mut scan, wanted.wait, call.app.stopping.clone()).await?;
        // Waiting may have let more come into sight.
        reply.insert(COMMIT, HeaderValue::from(scan.through.0));
        pages(scan, first)
    };
    let mut whole = Response::new(body);
    *whole.headers_mut() = reply;
    Ok(whole)
}

/// What the buffer tells about itself.
fn status(buffer: &Buffer) -> Result<BufferStatus, Box<Problem>> {
    buffer.status().ok_or_else(|| {
        Problem::new(
            Code::BufferOpening,
            "The buffer is being opened again: try again shortly.",
        )
    })
}

/// The seq behind which the read starts. From the start means from the first message that is left.
async fn position(buffer: &Buffer, start: &Start) -> Result<Seq, Box<Problem>> {
    let first = buffer.readable().first();
    let after = match *start {
        Start::After(Seq::ZERO) => first.prev(),
        Start::End => buffer.readable().commit(),
        Start::After(after) if after < first.prev() => {
            return Err(ReadError::BeforeFirst { first }.into());
        }
        Start::After(after) => after,
        Start::Time(time, after) => buffer.readable().seq_at_time(time).await?.max(after),
        Start::Cursor(_) => unreachable!("a cursor was turned into the seq of its one buffer"),
    };
    // What was there is damaged, and nothing will come: that is no end to wait at.
    match buffer.readable().damage_at_end() {
        Some(damage) if after >= buffer.readable().commit() => Err(damage.into()),
        _ => Ok(after),
    }
}

/// Whether the same request will always see these messages, however many follow.
fn settled(wanted: &Wanted, scan: &Scan) -> bool {
    let full = scan
        .left
        .is_some_and(|left| scan.through.0.saturating_sub(scan.after.0) >= left);
    full && scan.buffer.messages_only()
        && wanted.wait.is_none()
        && wanted.filter.is_open()
        && matches!(wanted.start, Start::After(_))
}

/// Names one representation of one range in one history.
fn etag(status: &BufferStatus, wanted: &Wanted, scan: &Scan) -> HeaderValue {
    let kinds = if wanted.filter.all_kinds {
        "all"
    } else {
        "data"
    };
    let limit = scan.left.unwrap_or_default();
    let tag = format!(
        "W/\"{}-{}-{limit}-{kinds}-{:?}\"",
        status.history, scan.after, wanted.served
    );
    HeaderValue::try_from(tag).expect("digits, letters and quotes are visible ASCII")
}

/// What every reply to a read says.
fn head(status: &BufferStatus, served: Served, commit: Seq) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    let content_type = HeaderValue::from_static(served.content_type());
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept, authorization"));
    let uuid = |uuid: &Uuid| HeaderValue::try_from(uuid.to_string()).expect("a uuid is ASCII");
    headers.insert(BUFFER, uuid(&status.uuid));
    headers.insert(HISTORY, uuid(&status.history));
    headers.insert(COMMIT, HeaderValue::from(commit.0));
    confine(&mut headers);
    if served == Served::Raw {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    headers
}

/// A read of everything through the commit of now, without a look at any record.
fn plain_stream(wanted: &Wanted) -> bool {
    wanted.limit.is_none() && wanted.wait.is_none() && wanted.filter == Filter::default()
}

/// The first page, waited for where that was asked; `None` when nothing came.
pub(super) async fn first_page(
    scan: &mut Scan,
    wait: Option<Duration>,
    mut stopping: watch::Receiver<bool>,
) -> Result<Option<Bytes>, Box<Problem>> {
    let deadline = wait.map(|wait| Instant::now() + wait);
    let tailing = wait.map(|_| scan.buffer.tailing());
    let page = loop {
        if let Some(page) = scan.page().await? {
            break Some(page);
        }
        let Some(deadline) = deadline else { break None };
        let came = timeout_at(
            deadline,
            scan.buffer.committed_past(scan.after.max(scan.through)),
        );
        let came = tokio::select! {
            came = came => came.ok(),
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        let Some(came) = came else { break None };
        came?;
        scan.through = scan.buffer.commit();
    };
    drop(tailing);
    Ok(page)
}

fn pages(scan: Scan, first: Option<Bytes>) -> Body {
    match (scan.form, first) {
        (Form::Array, None) => Body::full("[]\n"),
        (_, None) => Body::empty(),
        // Often there is one page: then the reply needs no chunks.
        (form, Some(first)) if scan.after >= scan.through || scan.left == Some(0) => {
            Body::full(if form == Form::Array {
                bracketed(&first)
            } else {
                first
            })
        }
        (form, Some(first)) => {
            let open = if form == Form::Array {
                Bytes::from_static(b"[")
            } else {
                Bytes::new()
            };
            let close = (form == Form::Array).then(|| Bytes::from_static(b"]\n"));
            let ahead = [Some(first), (!open.is_empty()).then_some(open)];
            Body::stream(Box::new(Paged { scan, ahead, close }))
        }
    }
}

fn bracketed(page: &[u8]) -> Bytes {
    let mut whole = Vec::with_capacity(page.len() + 3);
    whole.push(b'[');
    whole.extend_from_slice(page);
    whole.extend_from_slice(b"]\n");
    Bytes::from(whole)
}

struct Paged {
    scan: Scan,
    /// What comes before the next page, the last one first.
    ahead: [Option<Bytes>; 2],
    /// What comes behind the last page.
    close: Option<Bytes>,
}

impl Source for Paged {
    fn next(mut self: Box<Self>) -> Step {
        Box::pin(async move {
            let [later, sooner] = &mut self.ahead;
            let piece = match sooner.take().or_else(|| later.take()) {
                Some(piece) => Some(piece),
                None => {
                    let page = self.scan.page().await;
                    let page = page.map_err(|error| BrokenOff(error.to_string()))?;
                    page.or_else(|| self.close.take())
                }
            };
            Ok(piece.map(|piece| (piece.into(), self as Box<dyn Source>)))
        })
    }
}

const HISTORY: HeaderName = HeaderName::from_static("x-hbuf-history");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const BUFFER: HeaderName = HeaderName::from_static("x-hbuf-buffer");
const COMMIT: HeaderName = HeaderName::from_static("x-hbuf-commit");
