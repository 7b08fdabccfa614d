//! `GET /topics/{topic}/messages`: all buffers of a topic as one stream, in a range, a long poll or
//! a tail that never ends.

use std::time::Duration;

use bytes::Bytes;
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::limits::{
    CURSOR_BUFFERS_MAX, EVENTS_READ_BYTES, GAP_SECONDS_MAX, HEARTBEAT_SECONDS,
};
use hbuf_core::topic::Order;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::buffers::bad_choice;
use super::event_reply;
use super::read::{Served, Wanted};
use crate::clock;
use crate::engine::TopicView;
use crate::http::body::{Body, BrokenOff, Source, Step};
use crate::http::browser::confine;
use crate::http::call::{Call, Reply};
use crate::http::problem::{Code, Problem};
use crate::http::sse::{HELLO, STILL_HERE, problem_event};
use crate::http::topic_scan::{Found, TopicScan, Wants, gap_text, gaps_json};
use crate::http::topic_start::Start;
use crate::metrics::Open;
use crate::read::ReadError;

/// Reads a topic of several buffers, or follows one of any number.
pub(super) async fn read(call: Call, view: TopicView, wanted: Wanted) -> Reply {
    let follows = wanted.served == Served::Events;
    if follows && view.buffers > CURSOR_BUFFERS_MAX {
        return Err(too_wide(&view));
    }
    if wanted.history.is_some() {
        return Err(Problem::new(
            Code::SeveralBuffers,
            "`x-hbuf-history` is that of one buffer: a cursor holds those of a topic. Leave it out.",
        ));
    }
    let start = start(&wanted, &view)?;
    let wants = Wants {
        order: wanted.order,
        filter: wanted.filter.clone(),
        form: wanted.served.form(),
        limit: wanted.limit,
        follows: follows || wanted.wait.is_some(),
    };
    let engine = &call.app.engine;
    let scan = TopicScan::open(engine, &view, wants, &start).await?;
    let mut reading = Reading {
        scan,
        tenant: call.tenant().clone(),
        name: call.name().to_owned(),
        stopping: call.app.stopping.clone(),
        waited_for_gaps: None,
    };
    let mut headers = head(&view, wanted.served);
    note_gaps(&reading.scan, &mut headers);
    let body = if call.is_head() {
        Body::uncounted()
    } else if follows {
        Body::stream(Box::new(Tail {
            _open: Open::tail(&call.app.metrics),
            reading,
            gaps: String::new(),
            begun: false,
            ended: false,
        }))
    } else {
        let deadline = wanted.wait.map(|wait| Instant::now() + wait);
        let first = reading.first(deadline).await;
        let first = first.map_err(|error| reading.problem(error))?;
        // Looking may have met more.
        note_gaps(&reading.scan, &mut headers);
        if wanted.served == Served::CloudEvents {
            return event_batch(reading, first, headers).await;
        }
        match first {
            None => Body::full(reading.scan.end()),
            Some(page) => Body::stream(Box::new(Paged {
                open: (wanted.served == Served::Json).then(|| Bytes::from_static(b"[")),
                first: Some(page),
                reading,
                ended: false,
            })),
        }
    };
    let mut reply = Response::new(body);
    *reply.headers_mut() = headers;
    Ok(reply)
}

fn start(wanted: &Wanted, view: &TopicView) -> Result<Start, Box<Problem>> {
    use super::read::Start as From;
    match &wanted.start {
        From::After(Seq::ZERO) => Ok(Start::Beginning),
        From::Time(time, _) => Ok(Start::Time(*time)),
        From::Cursor(text) => Start::cursor(text, view.id),
        // The seqs of a topic's only buffer, while it was the only one.
        From::After(seq) if view.buffers == 1 => Ok(Start::Seq(*seq)),
        From::End => Ok(Start::End),
        From::After(seq) => Err(Problem::new(
            Code::CursorInvalid,
            format!(
                "`{seq}` is a seq, and the topic has {} buffers with seqs of their own: send a cursor as it \
                 came in a reply, or nothing to start at the beginning.",
                view.buffers
            ),
        )),
    }
}

fn too_wide(view: &TopicView) -> Box<Problem> {
    Problem::new(
        Code::TopicTooWide,
        format!(
            "The topic has {} buffers, and a cursor holds the places of {CURSOR_BUFFERS_MAX}: follow its buffers \
             one by one, or read it by a consumer.",
            view.buffers
        ),
    )
    .fact("buffers", view.buffers)
}

fn head(view: &TopicView, served: Served) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(10);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(served.content_type()),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept, authorization"));
    headers.insert(TOPIC_VERSION, HeaderValue::from(view.version));
    confine(&mut headers);
    if served == Served::Raw {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    headers
}

fn note_gaps(scan: &TopicScan, headers: &mut HeaderMap) {
    let gaps: Vec<String> = scan
        .gaps()
        .iter()
        .map(|(name, why)| gap_text(name, why))
        .collect();
    let text: String = gaps
        .join(", ")
        .chars()
        .take(GAPS_HEADER_BYTES_MAX)
        .collect();
    if !text.is_empty()
        && let Ok(value) = HeaderValue::try_from(text)
    {
        headers.insert(GAPS, value);
    }
}

/// A batch of events: what fits into one, and behind what to go on.
async fn event_batch(mut reading: Reading, first: Option<Bytes>, mut headers: HeaderMap) -> Reply {
    let mut events = vec![b'['];
    let mut page = first;
    while let Some(more) = page {
        events.extend_from_slice(&more);
        page = if events.len() < EVENTS_READ_BYTES {
            reading.next().await?
        } else {
            None
        };
    }
    note_gaps(&reading.scan, &mut headers);
    if let Some(cursor) = reading.scan.cursor() {
        let cursor = HeaderValue::try_from(cursor).expect("a cursor is visible ASCII");
        headers.insert(event_reply::AFTER, cursor);
    }
    Ok(event_reply::batch(events, headers))
}

/// A read with what it needs to wait.
struct Reading {
    scan: TopicScan,
    tenant: hbuf_core::name::Name,
    name: String,
    stopping: watch::Receiver<bool>,
    /// Until when a read that does not wait for messages waits for gaps.
    waited_for_gaps: Option<Instant>,
}

/// Why a wait ended.
#[derive(PartialEq, Eq)]
enum Woken {
    /// Something may be there.
    Looked,
    /// Its time is over.
    Late,
    /// The node stops.
    Stopping,
}

impl Reading {
    /// The first page, waited for until the deadline where there is one.
    async fn first(&mut self, deadline: Option<Instant>) -> Result<Option<Bytes>, ReadError> {
        loop {
            match self.scan.page().await? {
                Found::Page(page) => {
                    // What comes later belongs to the next read.
                    return Ok(Some(page));
                }
                Found::End => return Ok(None),
                Found::Wait(until) => {
                    let deadline = deadline.unwrap_or_else(|| self.patience());
                    if self.wait(until, deadline).await? != Woken::Looked {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The next page of a read that does not follow; it waits for gaps alone.
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            match self.scan.page().await? {
                Found::Page(page) => return Ok(Some(page)),
                Found::End => return Ok(None),
                Found::Wait(None) if self.scan.follows => return Ok(None),
                Found::Wait(until) => {
                    let deadline = self.patience();
                    if self.wait(until, deadline).await? != Woken::Looked {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What is said of an error: only a topic that is gone is closed as a whole.
    fn problem(&self, error: ReadError) -> Box<Problem> {
        match error {
            ReadError::Closed => Problem::new(
                Code::TopicNotFound,
                format!(
                    "The topic `{}` was deleted while it was read: create it with PUT, or append to it.",
                    self.name
                ),
            ),
            error => error.into(),
        }
    }

    fn patience(&mut self) -> Instant {
        let patience = Duration::from_secs(GAP_SECONDS_MAX + 1);
        *self
            .waited_for_gaps
            .get_or_insert_with(|| Instant::now() + patience)
    }

    /// Waits until a buffer moves, the topic changes, a gap is passed, or the deadline.
    async fn wait(&mut self, until: Option<Micros>, deadline: Instant) -> Result<Woken, ReadError> {
        let passed = until.map(|until| {
            Instant::now() + Duration::from_micros(until.since(clock::now()).max(1_000))
        });
        let wake = passed.map_or(deadline, |passed| passed.min(deadline));
        let engine = self.scan.engine.clone();
        let changed = engine.topic_changed(&self.tenant, &self.name, self.scan.stamp);
        let changed = tokio::select! {
            () = self.scan.rung() => false,
            () = sleep_until(wake) => {
                if wake == deadline {
                    return Ok(Woken::Late);
                }
                false
            }
            () = changed => true,
            _ = self.stopping.wait_for(|stopping| *stopping) => return Ok(Woken::Stopping),
        };
        if changed {
            let view = engine.topic_view(&self.tenant, &self.name).ok();
            if !self.scan.refresh(view).await {
                return Err(ReadError::Closed);
            }
        }
        self.scan.look_again();
        Ok(Woken::Looked)
    }
}

/// Pages, then where to go on.
struct Paged {
    reading: Reading,
    open: Option<Bytes>,
    first: Option<Bytes>,
    ended: bool,
}

impl Source for Paged {
    fn next(mut self: Box<Self>) -> Step {
        Box::pin(async move {
            let ahead = self.open.take().or_else(|| self.first.take());
            let piece = match ahead {
                Some(piece) => piece,
                None if self.ended => return Ok(None),
                None => match self.reading.next().await {
                    Ok(Some(page)) => page,
                    Ok(None) => {
                        self.ended = true;
                        self.reading.scan.end()
                    }
                    Err(error) => return Err(BrokenOff(error.to_string())),
                },
            };
            Ok(Some((piece.into(), self as Box<dyn Source>)))
        })
    }
}

/// Events: what there is, then each message as it is committed.
struct Tail {
    reading: Reading,
    /// Counted while it lives.
    _open: Open,
    /// The gaps that were told.
    gaps: String,
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
            let found = self.reading.scan.page().await;
            if let Some(gaps) = self.new_gaps() {
                // The page, if there was one, comes behind them.
                let Ok(Found::Page(page)) = found else {
                    return Some(gaps);
                };
                return Some([gaps, page].concat().into());
            }
            let until = match found {
                Ok(Found::Page(page)) => return Some(page),
                Ok(Found::End) => return None,
                Ok(Found::Wait(until)) => until,
                Err(error) => return Some(self.problem(error)),
            };
            let deadline = Instant::now() + Duration::from_secs(HEARTBEAT_SECONDS);
            match self.reading.wait(until, deadline).await {
                Ok(Woken::Looked) => {}
                Ok(Woken::Late) => {
                    self.retry_gaps().await;
                    return Some(STILL_HERE);
                }
                Ok(Woken::Stopping) => return None,
                Err(error) => return Some(self.problem(error)),
            }
        }
    }

    /// Tries once more what could not be opened.
    async fn retry_gaps(&mut self) {
        if self.reading.scan.gaps().is_empty() {
            return;
        }
        let reading = &mut self.reading;
        let view = reading
            .scan
            .engine
            .topic_view(&reading.tenant, &reading.name);
        if let Ok(view) = view {
            reading.scan.refresh(Some(view)).await;
        }
    }

    /// An event that names what is missing, when that has changed.
    fn new_gaps(&mut self) -> Option<Bytes> {
        let gaps = gaps_json(&self.reading.scan.gaps()).to_string();
        let none_yet = self.gaps.is_empty() && gaps == "[]";
        if gaps == self.gaps || none_yet {
            return None;
        }
        let event = format!("event: gaps\ndata: {gaps}\n\n");
        self.gaps = gaps;
        Some(event.into())
    }

    fn problem(&mut self, error: ReadError) -> Bytes {
        self.ended = true;
        problem_event(&self.reading.problem(error))
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

/// The order of a read by its name.
pub(super) fn order(text: Option<&str>) -> Result<Order, Box<Problem>> {
    match text {
        None | Some("earliest") => Ok(Order::Earliest),
        Some("strict") => Ok(Order::Strict {
            patience: GAP_SECONDS_MAX * 1_000_000,
        }),
        Some(text) => Err(bad_choice("order", text, "earliest or strict")),
    }
}

/// More gaps than this header holds are named behind the messages.
const GAPS_HEADER_BYTES_MAX: usize = 4_096;
const GAPS: HeaderName = HeaderName::from_static("x-hbuf-gaps");
const TOPIC_VERSION: HeaderName = HeaderName::from_static("x-hbuf-topic-version");
