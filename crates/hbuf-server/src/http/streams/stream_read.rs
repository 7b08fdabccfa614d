//! `GET`: what is there behind an offset, at once or as soon as there is something; `HEAD`: where
//! the stream stands.

use std::sync::Arc;

use hbuf_core::append::AppendRefused;
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::limits::READ_LIMIT_MAX;
use hbuf_core::stream::{Life, StreamSeen, StreamView};
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderValue, Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::bodies::{Bodies, bodies};
use super::stream_call::{
    CLOSED, CURSOR, EXPIRES_AT, NEXT_OFFSET, TRUE, TTL, UP_TO_DATE, base_headers, content_headers,
    find, live, offset, parse_offset,
};
use super::{cursor, follow};
use crate::clock;
use crate::engine::Buffer;
use crate::http::body::Body;
use crate::http::call::{Call, Reply, decode, etag_is_known, shown};
use crate::http::problem::{Code, Problem};
use crate::read::ReadError;

/// `GET /v1/stream/{path}`
pub(in crate::http) async fn get(call: Call) -> Reply {
    if call.is_head() {
        return head(&call).await;
    }
    let wanted = Wanted::read(call.parts.uri.query().unwrap_or_default())?;
    let buffer = find(&call).await?;
    let view = live(&call, buffer.stream_used().await)?;
    let after = wanted.from.after(&view, buffer.readable().first())?;
    if let Some(damage) = damage(&buffer, &view, after) {
        return Err(damage.into());
    }
    match wanted.live {
        Some(Live::Events) => Ok(follow::follow(&call, buffer, &view, after, wanted.cursor)),
        Some(Live::Poll) => poll(&call, &buffer, after, &wanted).await,
        None => catch_up(&call, &buffer, &view, after, &wanted).await,
    }
}

/// What is damaged right behind `after`, where nothing will ever come: that is no end to wait at.
pub(super) fn damage(buffer: &Buffer, view: &StreamView, after: Seq) -> Option<ReadError> {
    if after < view.tail || view.closed {
        return None;
    }
    buffer.readable().damage_at_end()
}

/// How a read goes on when there is nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    Poll,
    Events,
}

/// Where a read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartAt {
    Start,
    Now,
    Behind(Seq),
}

/// What a read asks for. Unknown parameters mean nothing, as the protocol wants it.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    from: StartAt,
    live: Option<Live>,
    cursor: Option<u64>,
}

impl Wanted {
    fn read(query: &str) -> Result<Self, Box<Problem>> {
        let offset = parameter(query, "offset")?;
        let live = match parameter(query, "live")?.as_deref() {
            None => None,
            Some("long-poll") => Some(Live::Poll),
            Some("sse") => Some(Live::Events),
            Some(other) => {
                let text = format!("`live={}` is neither long-poll nor sse.", shown(other));
                return Err(Problem::new(Code::QueryInvalid, text));
            }
        };
        if live.is_some() && offset.is_none() {
            return Err(Problem::new(
                Code::QueryInvalid,
                "`live` needs `offset`: -1 for the start, now for what comes, or the `stream-next-offset` of \
                 the last reply.",
            ));
        }
        let from = match offset.as_deref() {
            None | Some("-1") => StartAt::Start,
            Some("now") => StartAt::Now,
            Some(text) => StartAt::Behind(parse_offset(text).ok_or_else(|| {
                Problem::new(
                    Code::OffsetInvalid,
                    format!(
                        "`offset={}` is none of this server's: send back the `stream-next-offset` of a reply, \
                         -1 or now.",
                        shown(text)
                    ),
                )
            })?),
        };
        let cursor = parameter(query, "cursor")?.and_then(|text| cursor::parse(&text));
        Ok(Self { from, live, cursor })
    }
}

/// The value of a parameter that may come once.
fn parameter(query: &str, wanted: &str) -> Result<Option<String>, Box<Problem>> {
    let mut found = None;
    for part in query.split('&') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if decode(name, true).as_deref() != Some(wanted) {
            continue;
        }
        let problem = |what: &str| Problem::new(Code::QueryInvalid, format!("`{wanted}` {what}."));
        let value = decode(value, true);
        let value = value.ok_or_else(|| problem("is not percent-encoded UTF-8"))?;
        if found.replace(value.into_owned()).is_some() {
            return Err(problem("stands twice in the query: give it once"));
        }
    }
    Ok(found)
}

impl StartAt {
    /// The seq behind which the read starts, of which `first` is the first that is kept. From the
    /// start means from there.
    fn after(self, view: &StreamView, first: Seq) -> Result<Seq, Box<Problem>> {
        let kept = first.prev().max(view.base).min(view.tail);
        match self {
            Self::Start => Ok(kept),
            Self::Now => Ok(view.tail),
            Self::Behind(seq) if seq > view.tail => Err(Problem::new(
                Code::OffsetInvalid,
                "The offset is behind the stream's end: it is not one of this stream.",
            )),
            Self::Behind(seq) if seq.max(view.base) < kept => {
                Err(ReadError::BeforeFirst { first }.into())
            }
            Self::Behind(seq) => Ok(seq.max(view.base)),
        }
    }
}

/// `HEAD /v1/stream/{path}`: a look, which does not keep the stream alive.
async fn head(call: &Call) -> Reply {
    let buffer = find(call).await?;
    let view = live(call, buffer.stream_seen())?;
    let mut headers = base_headers(view.definition.content_type());
    headers.insert(NEXT_OFFSET, offset(view.tail));
    match view.definition.life {
        Life::Lasting => {}
        Life::Idle { seconds } => {
            headers.insert(TTL, HeaderValue::from(seconds));
        }
        Life::Until(moment) => {
            let text = HeaderValue::try_from(moment.to_string());
            headers.insert(EXPIRES_AT, text.expect("a time is visible ASCII"));
        }
    }
    if view.closed {
        headers.insert(CLOSED, TRUE);
    }
    let mut reply = Response::new(Body::uncounted());
    *reply.headers_mut() = headers;
    Ok(reply)
}

/// What is there now.
async fn catch_up(
    call: &Call,
    buffer: &Arc<Buffer>,
    view: &StreamView,
    after: Seq,
    wanted: &Wanted,
) -> Reply {
    let mut through = end(buffer, view, after);
    let tagged = wanted.from != StartAt::Now;
    let tag = etag(buffer.log(), after, through, view.closed_at(through));
    let mut reply = Response::new(Body::empty());
    if tagged && etag_is_known(call.headers(), &tag) {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        (*reply.body_mut(), through) = content(buffer, view, after, through).await?;
    }
    let mut headers = content_headers(view);
    let tail = through == view.tail;
    let cache = match (wanted.from, tail) {
        (StartAt::Now, _) => "no-store",
        (StartAt::Start | StartAt::Behind(_), true) => "private, no-cache",
        // What is behind it will not change what is here.
        (StartAt::Start | StartAt::Behind(_), false) => {
            "private, max-age=60, stale-while-revalidate=300"
        }
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(NEXT_OFFSET, offset(through));
    if tail {
        headers.insert(UP_TO_DATE, TRUE);
    }
    let closed = view.closed_at(through);
    if closed {
        headers.insert(CLOSED, TRUE);
    }
    if tagged {
        headers.insert(ETAG, etag(buffer.log(), after, through, closed));
    }
    *reply.headers_mut() = headers;
    Ok(reply)
}

/// The seq with which a reply ends. The bound is one of seqs, so that the same offset always gives
/// the same reply; but what stands before damage that is known comes by itself.
fn end(buffer: &Buffer, view: &StreamView, after: Seq) -> Seq {
    let end = view.tail.min(after.plus(READ_LIMIT_MAX));
    let damage = buffer.readable().damage();
    let sound = damage.and_then(|damage| sound_before(damage.seq, after, end));
    sound.unwrap_or(end)
}

/// The last message of a range before a damaged one, if there is any.
fn sound_before(damaged: Seq, after: Seq, through: Seq) -> Option<Seq> {
    (after < damaged.prev() && damaged <= through).then(|| damaged.prev())
}

/// Names one run of messages of one stream; a closed end is another thing than an open one.
fn etag(log: Uuid, after: Seq, through: Seq, closed: bool) -> HeaderValue {
    let end = if closed { ":c" } else { "" };
    let tag = format!("\"{log}:{after}:{through}{end}\"");
    HeaderValue::try_from(tag).expect("hex digits and marks are visible ASCII")
}

/// The content behind `after`, and the seq with which it ends: `through`, or the one before damage
/// that is met at once.
async fn content(
    buffer: &Arc<Buffer>,
    view: &StreamView,
    after: Seq,
    through: Seq,
) -> Result<(Body, Seq), ReadError> {
    let json = view.definition.is_json();
    if after >= through {
        return Ok((Body::full(if json { "[]" } else { "" }), through));
    }
    let content = async |through| {
        let pieces = buffer.readable().stream(after, through);
        Ok((bodies(Bodies::new(pieces, json)).await?, through))
    };
    match content(through).await {
        Err(ReadError::Damaged { seq, file, what }) => match sound_before(seq, after, through) {
            Some(sound) => content(sound).await,
            None => Err(ReadError::Damaged { seq, file, what }),
        },
        whole => whole,
    }
}

/// What is there, or comes within the wait.
async fn poll(call: &Call, buffer: &Arc<Buffer>, after: Seq, wanted: &Wanted) -> Reply {
    let view = wait(call, buffer, after).await?;
    let mut through = end(buffer, &view, after);
    let mut reply = Response::new(Body::empty());
    if after < through {
        (*reply.body_mut(), through) = content(buffer, &view, after, through).await?;
    } else {
        *reply.status_mut() = StatusCode::NO_CONTENT;
    }
    let mut headers = content_headers(&view);
    headers.insert(NEXT_OFFSET, offset(through));
    if through == view.tail {
        headers.insert(UP_TO_DATE, TRUE);
    }
    if view.closed_at(through) {
        headers.insert(CLOSED, TRUE);
    } else {
        let cursor = cursor::cursor(clock::now(), wanted.cursor, random());
        headers.insert(CURSOR, HeaderValue::from(cursor));
    }
    if reply.status() == StatusCode::NO_CONTENT {
        headers.remove(http::header::CONTENT_TYPE);
        headers.remove(http::header::CONTENT_DISPOSITION);
    }
    *reply.headers_mut() = headers;
    Ok(reply)
}

/// Waits until the stream goes on behind `after`, is closed, or time is over.
async fn wait(call: &Call, buffer: &Arc<Buffer>, after: Seq) -> Result<StreamView, Box<Problem>> {
    let deadline = Instant::now() + call.app.stream_wait;
    let mut stopping = call.app.stopping.clone();
    let readable = buffer.readable();
    let _tailing = readable.tailing();
    loop {
        // In this order: what is committed behind the look wakes the wait.
        let commit = readable.commit();
        let view = match buffer.stream_seen() {
            StreamSeen::NotOpen => return Err(gone_or_back(call).await),
            seen => live(call, seen)?,
        };
        if view.tail > after || view.closed {
            return Ok(view);
        }
        let came = tokio::select! {
            came = timeout_at(deadline, readable.committed_past(commit)) => came.ok(),
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        match came {
            None => return Ok(view),
            Some(Err(_)) => return Err(gone_or_back(call).await),
            Some(Ok(())) => {}
        }
    }
}

/// The buffer was deleted, which is told as such; or opened anew, for which the client comes back.
async fn gone_or_back(call: &Call) -> Box<Problem> {
    match find(call).await {
        Ok(_) => AppendRefused::NotOpen.into(),
        Err(problem) => problem,
    }
}

pub(super) fn random() -> u64 {
    let bytes = clock::random_32();
    u64::from_le_bytes(*bytes.first_chunk().expect("32 bytes hold 8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Wanted, Code> {
        Wanted::read(query).map_err(|problem| problem.code)
    }

    #[test]
    fn a_query_says_where_to_start_and_how_to_go_on() {
        let check = |query, from, live, cursor| {
            assert_eq!(read(query), Ok(Wanted { from, live, cursor }), "{query}");
        };
        check("", StartAt::Start, None, None);
        check("offset=-1&foo=bar&foo=baz", StartAt::Start, None, None);
        check(
            "offset=now&live=sse&cursor=7",
            StartAt::Now,
            Some(Live::Events),
            Some(7),
        );
        check(
            "live=long-poll&offset=00000000000000000042",
            StartAt::Behind(Seq(42)),
            Some(Live::Poll),
            None,
        );
    }

    #[test]
    fn a_query_that_means_nothing_is_refused() {
        for query in [
            "live=sse",
            "live=long-poll",
            "offset=1&offset=2",
            "offset=%ff",
            "offset=1&live=x",
        ] {
            assert_eq!(read(query), Err(Code::QueryInvalid), "{query}");
        }
        for query in [
            "offset=",
            "offset=1",
            "offset=0,1",
            "offset=a%20b",
            "offset=NOW",
            "offset=-2",
        ] {
            assert_eq!(read(query), Err(Code::OffsetInvalid), "{query}");
        }
    }

    #[test]
    fn a_read_starts_where_it_is_asked_unless_that_is_dropped_or_was_never_there() {
        let definition = hbuf_core::stream::Definition::new("a/b", Life::Lasting).unwrap();
        let view = StreamView {
            definition: Arc::new(definition),
            base: Seq(1),
            tail: Seq(9),
            closed: false,
        };
        let check = |start: StartAt, first, expected: Result<u64, Code>| {
            let after = start.after(&view, Seq(first));
            assert_eq!(
                after.map(|seq| seq.0).map_err(|problem| problem.code),
                expected
            );
        };
        check(StartAt::Start, 1, Ok(1));
        check(StartAt::Start, 6, Ok(5));
        check(StartAt::Start, 12, Ok(9));
        check(StartAt::Now, 6, Ok(9));
        check(StartAt::Behind(Seq(0)), 1, Ok(1));
        check(StartAt::Behind(Seq(5)), 6, Ok(5));
        check(StartAt::Behind(Seq(4)), 6, Err(Code::MessageDropped));
        check(StartAt::Behind(Seq(9)), 12, Ok(9));
        check(StartAt::Behind(Seq(10)), 1, Err(Code::OffsetInvalid));
    }

    #[test]
    fn an_etag_changes_with_the_range_and_when_the_stream_is_closed() {
        let tags = [
            etag(Uuid([1; 16]), Seq(1), Seq(2), false),
            etag(Uuid([1; 16]), Seq(1), Seq(2), true),
            etag(Uuid([1; 16]), Seq(1), Seq(3), false),
            etag(Uuid([2; 16]), Seq(1), Seq(2), false),
        ];
        let different: std::collections::BTreeSet<_> =
            tags.iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(different.len(), tags.len());
    }
}
