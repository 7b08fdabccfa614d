//! `POST` to a buffer or topic: one message, or a batch.
//!
//! The first of these is the path that is measured: it takes the body as it came, writes the stored
//! header lines once, and puts all values of the reply into one piece of memory.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::append::AckLevel;
use hbuf_core::content::parse_batch;
use hbuf_core::content::{Source, stored_lines};
use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::limits::BATCH_BYTES_MAX;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::controls::Controls;
use super::json_reply;
use crate::engine::{Append, AppendReply, Buffer, CatalogError, Content, LookupError};
use crate::http::body::Body;
use crate::http::call::{Call, Reply, parse_name, tenant_or_default};
use crate::http::collect::collect;
use crate::http::ndjson::{self, Lines};
use crate::http::problem::{Code, Problem};

/// `POST /buffers/{buffer}`
pub(super) async fn to_buffer(call: Call) -> Reply {
    append(call, Target::Buffer).await
}

/// `POST /topics/{topic}`
pub(super) async fn to_topic(call: Call) -> Reply {
    append(call, Target::Topic).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Buffer,
    Topic,
}

/// What the body is, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Message,
    Requests,
    Lines(Lines),
}

async fn append(call: Call, target: Target) -> Reply {
    let controls = Controls::read(call.headers())?;
    let query = call.query(&["ids", "lines"])?;
    let (ids, form) = (
        query.flag("ids")?,
        form(call.headers(), query.get("lines"))?,
    );
    drop(query);
    let bytes_max = match form {
        Form::Message => call.app.body_bytes_max,
        Form::Requests | Form::Lines(_) => BATCH_BYTES_MAX,
    };
    let Call {
        app,
        parts,
        body,
        params,
        tenant,
    } = call;
    let collected = collect(body, bytes_max, &app.budget).await?;
    let contents = match form {
        Form::Message => vec![message(&parts.headers, collected.bytes.clone()).await?],
        Form::Requests | Form::Lines(_) => {
            let bytes = collected.bytes.clone();
            let body_bytes_max = app.body_bytes_max;
            off_loop(bytes.len(), move || batch(form, &bytes, body_bytes_max)).await?
        }
    };
    let count = contents.len();
    let name = &params.0[0];
    let owner = tenant_or_default(tenant.as_ref());
    let buffer = match target {
        Target::Buffer => app.engine.buffer_or_create(owner, name).await,
        Target::Topic => app.engine.topic_or_create(owner, name).await,
    };
    let buffer = buffer.map_err(|error| not_created(error, name))?;
    let asked = controls.ack;
    let append = Append {
        contents,
        ack: asked,
        if_match: controls.if_match,
        producer: controls.producer,
        idempotency_key: controls.idempotency_key,
        ids: form != Form::Message && (ids || target == Target::Topic),
    };
    let done = buffer.append(append).await?;
    let place = Place {
        tenant: tenant.as_deref(),
        buffer: &buffer_name(&app, owner, name, target)?,
    };
    Ok(match (form, target) {
        (Form::Message, _) => single_reply(&buffer, &done, asked, &place),
        (_, Target::Buffer) => batch_reply(&buffer, &done, asked, &place, count),
        (_, Target::Topic) => lines_reply(&buffer, &done, asked, &place),
    })
}

/// What is no name could not be made; to say that it does not exist would not help.
fn not_created(error: LookupError, name: &str) -> Box<Problem> {
    match (&error, parse_name(name)) {
        (LookupError::Create(CatalogError::NotAllowed { .. }), Err(no_name)) => no_name,
        _ => error.into(),
    }
}

/// The name of the buffer that took the messages: a topic's name is its own.
fn buffer_name(
    app: &Arc<crate::http::App>,
    tenant: &hbuf_core::name::Name,
    name: &str,
    target: Target,
) -> Result<String, Box<Problem>> {
    match target {
        Target::Buffer => Ok(name.to_owned()),
        Target::Topic => {
            let topic = app.engine.describe_topic(tenant, name)?;
            Ok(topic
                .buffers
                .first()
                .map_or_else(|| name.to_owned(), ToString::to_string))
        }
    }
}

fn form(headers: &HeaderMap, lines: Option<&str>) -> Result<Form, Box<Problem>> {
    let kind = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let form = if kind.eq_ignore_ascii_case(b"application/http") {
        Form::Requests
    } else if NDJSON
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(kind))
    {
        Form::Lines(Lines::Messages)
    } else if kind.eq_ignore_ascii_case(b"application/cloudevents-batch+json") {
        return Err(Problem::new(
            Code::ContentTypeUnsupported,
            "Batches of CloudEvents are not taken yet: send one event a request, or \
             application/x-ndjson.",
        ));
    } else {
        Form::Message
    };
    match (form, lines) {
        (form, None) => Ok(form),
        (Form::Lines(_), Some("messages")) => Ok(form),
        (Form::Lines(_), Some("bodies")) => Ok(Form::Lines(Lines::Bodies)),
        (Form::Message | Form::Requests | Form::Lines(_), Some(_)) => Err(Problem::new(
            Code::QueryInvalid,
            "`lines` is messages or bodies, and goes with content-type: application/x-ndjson.",
        )),
    }
}

/// The message that a request itself is.
async fn message(headers: &HeaderMap, body: Bytes) -> Result<Content, Box<Problem>> {
    let mut lines = Vec::with_capacity(LINES_GUESS);
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    stored_lines(pairs, Source::Plain, &mut lines).map_err(|error| {
        Problem::new(Code::HeaderInvalid, format!("{error}. Nothing was stored."))
    })?;
    off_loop(body.len(), move || {
        Ok(Content::seal(Bytes::from(lines), body))
    })
    .await
}

/// The messages of a batch, each sealed.
fn batch(form: Form, body: &Bytes, body_bytes_max: u64) -> Result<Vec<Content>, Box<Problem>> {
    let messages = match form {
        Form::Lines(lines) => ndjson::parse(body, lines)?,
        Form::Message | Form::Requests => requests(body)?,
    };
    let too_long = |(_, body): &ndjson::Parsed| body.len() as u64 > body_bytes_max;
    if let Some(index) = messages.iter().position(too_long) {
        return Err(Problem::new(
            Code::BodyTooLarge,
            format!(
                "message {index} of the batch (counting from 0): the body has more than \
                 {body_bytes_max} bytes, the most that this server takes. Nothing was stored."
            ),
        )
        .fact("index", index)
        .fact("max", body_bytes_max));
    }
    Ok(messages
        .into_iter()
        .map(|(lines, body)| Content::seal(lines, body))
        .collect())
}

fn requests(body: &Bytes) -> Result<Vec<ndjson::Parsed>, Box<Problem>> {
    let batch = parse_batch(body).map_err(|error| {
        Problem::new(Code::BatchInvalid, format!("{error}. Nothing was stored."))
            .fact("index", error.index)
    })?;
    let places: Vec<_> = batch
        .messages
        .iter()
        .map(|inner| {
            (
                inner.lines.clone(),
                inner.offset..inner.offset + inner.body.len(),
            )
        })
        .collect();
    let lines = Bytes::from(batch.lines);
    let cut = |(at, place)| (lines.slice(at), body.slice(place));
    Ok(places.into_iter().map(cut).collect())
}

/// Runs hashing: at once when it is short, else on a thread that may be busy for long.
async fn off_loop<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, Box<Problem>> + Send + 'static,
) -> Result<T, Box<Problem>> {
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Problem::new(
            Code::Stopping,
            "The node is stopping: send it again.",
        )),
    }
}

/// Where a message can be read, for `location`.
struct Place<'a> {
    tenant: Option<&'a str>,
    buffer: &'a str,
}

fn single_reply(
    buffer: &Buffer,
    done: &AppendReply,
    asked: AckLevel,
    place: &Place<'_>,
) -> Response<Body> {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status(done, asked);
    *reply.headers_mut() = headers(buffer.uuid(), done, asked, place);
    reply
}

fn batch_reply(
    buffer: &Buffer,
    done: &AppendReply,
    asked: AckLevel,
    place: &Place<'_>,
    count: usize,
) -> Response<Body> {
    let appended = &done.appended;
    let mut value = json!({
        "first": appended.first.0,
        "last": appended.last.0,
        "count": count,
        "replayed": appended.replayed,
    });
    if !done.ids.is_empty() {
        value["ids"] = done.ids.iter().map(Hash::to_string).collect();
    }
    let mut reply = json_reply(status(done, asked), &value);
    reply
        .headers_mut()
        .extend(headers(buffer.uuid(), done, asked, place));
    reply
}

/// A line for each message, in the order in which they came.
fn lines_reply(
    buffer: &Buffer,
    done: &AppendReply,
    asked: AckLevel,
    place: &Place<'_>,
) -> Response<Body> {
    let status = status(done, asked).as_u16();
    let mut text = String::with_capacity(done.ids.len() * LINE_GUESS);
    for (index, id) in done.ids.iter().enumerate() {
        let seq = done.appended.first.plus(index as u64);
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{{\"status\":{status},\"buffer\":\"{}\",\"seq\":{seq},\"id\":\"{id}\"}}",
            place.buffer
        );
    }
    let mut reply = super::typed_reply(StatusCode::OK, text, "application/x-ndjson");
    reply
        .headers_mut()
        .extend(headers(buffer.uuid(), done, asked, place));
    reply
}

fn status(done: &AppendReply, asked: AckLevel) -> StatusCode {
    match (done.appended.replayed, asked) {
        (true, _) => StatusCode::OK,
        (false, AckLevel::InSync) => StatusCode::CREATED,
        (false, AckLevel::Local | AckLevel::None) => StatusCode::ACCEPTED,
    }
}

/// What every reply to an append says. All values are slices of one piece of memory.
fn headers(buffer: Uuid, done: &AppendReply, asked: AckLevel, place: &Place<'_>) -> HeaderMap {
    let appended = &done.appended;
    let mut values = Values {
        text: String::with_capacity(VALUES_GUESS),
        ends: [0; VALUES],
    };
    values.push(0, |text| {
        location(text, place, appended.last, &done.id, asked)
    });
    values.push(1, |text| write!(text, "{}", appended.first));
    values.push(2, |text| write!(text, "{}", done.id));
    values.push(3, |text| write!(text, "{buffer}"));
    values.push(4, |text| write!(text, "{}", appended.time));
    values.push(5, |text| write!(text, "{}", appended.epoch));
    values.push(6, |text| write!(text, "{}", appended.last));
    let cut = values.cut();
    let mut headers = HeaderMap::with_capacity(HEADERS_GUESS);
    for (name, value) in NAMES.iter().zip(cut) {
        if *name == LAST_SEQ && appended.first == appended.last {
            continue;
        }
        headers.insert(name, value);
    }
    headers.insert(ACK, HeaderValue::from_static(appended.level.as_str()));
    if appended.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    headers
}

/// Values of headers on their way, one behind the other.
struct Values {
    text: String,
    ends: [usize; VALUES],
}

impl Values {
    fn push(&mut self, index: usize, write: impl FnOnce(&mut String) -> std::fmt::Result) {
        // Writing into a string cannot fail.
        let _ = write(&mut self.text);
        self.ends[index] = self.text.len();
    }

    fn cut(self) -> [HeaderValue; VALUES] {
        let text = Bytes::from(self.text);
        let mut start = 0;
        self.ends.map(|end| {
            let value = HeaderValue::from_maybe_shared(text.slice(start..end));
            start = end;
            value.expect("names, digits and times are visible ASCII")
        })
    }
}

fn location(
    text: &mut String,
    place: &Place<'_>,
    seq: Seq,
    id: &Hash,
    asked: AckLevel,
) -> std::fmt::Result {
    if let Some(tenant) = place.tenant {
        write!(text, "/tenants/{tenant}")?;
    }
    write!(text, "/buffers/{}/messages/{seq}", place.buffer)?;
    if asked != AckLevel::InSync {
        write!(text, "?id={id}")?;
    }
    Ok(())
}

const VALUES: usize = 7;
const LAST_SEQ: HeaderName = HeaderName::from_static("x-hbuf-last-seq");
const ACK: HeaderName = HeaderName::from_static("x-hbuf-ack");
const REPLAYED: HeaderName = HeaderName::from_static("x-hbuf-replayed");
static NAMES: [HeaderName; VALUES] = [
    LOCATION,
    HeaderName::from_static("x-hbuf-seq"),
    HeaderName::from_static("x-hbuf-id"),
    HeaderName::from_static("x-hbuf-buffer"),
    HeaderName::from_static("x-hbuf-time"),
    HeaderName::from_static("x-hbuf-epoch"),
    LAST_SEQ,
];

/// Media types of lines of JSON.
const NDJSON: [&str; 3] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];
/// Bytes up to which hashing takes less time than handing it to another thread and back.
const INLINE_BYTES_MAX: usize = 1 << 20;
/// Room for the header lines of a usual message.
const LINES_GUESS: usize = 128;
/// Room for the values of a reply's headers.
const VALUES_GUESS: usize = 320;
/// Headers of a reply, those that hyper adds included.
const HEADERS_GUESS: usize = 12;
/// Room for a line of a topic's reply.
const LINE_GUESS: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use hbuf_core::append::Appended;
    use hbuf_core::ids::{Epoch, Micros};

    fn done(first: u64, last: u64, level: AckLevel, replayed: bool) -> AppendReply {
        let appended = Appended {
            first: Seq(first),
            last: Seq(last),
            id: None,
            time: Micros(1_795_173_322_123_456),
            epoch: Epoch(3),
            level,
            replayed,
        };
        AppendReply {
            appended,
            id: Hash([0xa9; 32]),
            ids: Vec::new(),
        }
    }

    fn check(done: &AppendReply, asked: AckLevel, tenant: Option<&str>, expected: &[(&str, &str)]) {
        let place = Place {
            tenant,
            buffer: "orders",
        };
        let headers = headers(Uuid([0x11; 16]), done, asked, &place);
        let mut found: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .filter(|(name, _)| {
                !matches!(
                    *name,
                    "x-hbuf-id" | "x-hbuf-buffer" | "x-hbuf-time" | "x-hbuf-epoch"
                )
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(headers["x-hbuf-id"], "a9".repeat(32));
        assert_eq!(headers["x-hbuf-time"], "2026-11-20T11:15:22.123456Z");
        assert_eq!(headers["x-hbuf-epoch"], "3");
        assert_eq!(
            headers["x-hbuf-buffer"],
            "11111111-1111-1111-1111-111111111111"
        );
    }

    #[test]
    fn a_reply_says_where_the_message_stands_and_how_far_it_came() {
        let one = done(42, 42, AckLevel::InSync, false);
        let expected = [
            ("location", "/buffers/orders/messages/42"),
            ("x-hbuf-ack", "insync"),
            ("x-hbuf-seq", "42"),
        ];
        check(&one, AckLevel::InSync, None, &expected);
        assert_eq!(status(&one, AckLevel::InSync), 201);
        let id = "a9".repeat(32);
        let location = format!("/tenants/t/buffers/orders/messages/42?id={id}");
        let expected = [
            ("location", &location[..]),
            ("x-hbuf-ack", "none"),
            ("x-hbuf-seq", "42"),
        ];
        let framed = done(42, 42, AckLevel::None, false);
        check(&framed, AckLevel::None, Some("t"), &expected);
        assert_eq!(status(&framed, AckLevel::None), 202);
    }

    #[test]
    fn a_batch_names_its_last_seq_and_a_repeat_says_so() {
        let again = done(42, 44, AckLevel::InSync, true);
        let expected = [
            ("location", "/buffers/orders/messages/44"),
            ("x-hbuf-ack", "insync"),
            ("x-hbuf-last-seq", "44"),
            ("x-hbuf-replayed", "true"),
            ("x-hbuf-seq", "42"),
        ];
        check(&again, AckLevel::InSync, None, &expected);
        assert_eq!(status(&again, AckLevel::InSync), 200);
        assert_eq!(status(&again, AckLevel::None), 200);
    }

    #[test]
    fn the_content_type_says_what_a_body_is() {
        let check = |kind: &'static str, lines, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(
                form(&headers, lines).map_err(|problem| problem.code),
                expected,
                "{kind}"
            );
        };
        check("text/plain", None, Ok(Form::Message));
        check("application/json", None, Ok(Form::Message));
        check(
            "Application/HTTP; msgtype=request",
            None,
            Ok(Form::Requests),
        );
        check(
            "application/x-ndjson",
            None,
            Ok(Form::Lines(Lines::Messages)),
        );
        check(
            "application/jsonl",
            Some("bodies"),
            Ok(Form::Lines(Lines::Bodies)),
        );
        check("application/jsonl", Some("words"), Err(Code::QueryInvalid));
        check("text/plain", Some("bodies"), Err(Code::QueryInvalid));
        check(
            "application/cloudevents-batch+json",
            None,
            Err(Code::ContentTypeUnsupported),
        );
    }
}
