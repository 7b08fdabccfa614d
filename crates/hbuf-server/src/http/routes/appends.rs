//! `POST` to a buffer or topic: one message, or a batch.
//!
//! The first of these is the path that is measured: it takes the body as it came, writes the stored
//! header lines once, and puts all values of the reply into one piece of memory.

use bytes::Bytes;
use hbuf_core::cloudevents::{BATCH_TYPE, EventError, Mode, is_type, mode};
use hbuf_core::content::{Source, kept_names, parse_batch, stored_lines};
use hbuf_core::limits::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::controls::Controls;
use super::replies::{Place, batch_reply, lines_reply, single_reply};
use super::topic_appends;
use crate::engine::{Append, Buffer, CatalogError, Content, LookupError};
use crate::http::call::{Call, Reply, is_coded, parse_name, tenant_or_default};
use crate::http::collect::collect;
use crate::http::event_json::{settle, settle_batch};
use crate::http::ndjson::{self, Lines, refused};
use crate::http::problem::{Code, Problem};
use crate::http::refusals::sentence;

/// `POST /buffers/{buffer}`
pub(super) async fn to_buffer(call: Call) -> Reply {
    append(call, Target::Buffer).await
}

/// `POST /topics/{topic}`
pub(super) async fn to_topic(call: Call) -> Reply {
    append(call, Target::Topic).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Buffer,
    Topic,
}

/// What the body is, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Message,
    Requests,
    Lines(Lines),
    Events,
}

async fn append(call: Call, target: Target) -> Reply {
    let controls = Controls::read(call.headers())?;
    let query = call.query(&["ids", "keep", "lines"])?;
    let (ids, form) = (
        query.flag("ids")?,
        form(call.headers(), query.get("lines"))?,
    );
    let keep = query.get("keep").map(str::to_owned);
    drop(query);
    if form != Form::Message {
        no_message_headers(call.headers())?;
        as_it_is(call.headers())?;
        if keep.is_some() {
            return Err(Problem::new(
                Code::QueryInvalid,
                "`keep` is for one message: a batch stores the headers that its messages have.",
            ));
        }
    }
    let bytes_max = match form {
        Form::Message => call.app.body_bytes_max,
        Form::Requests | Form::Lines(_) | Form::Events => BATCH_BYTES_MAX,
    };
    let Call {
        app,
        parts,
        body,
        params,
        tenant,
        ..
    } = call;
    let collected = collect(body, bytes_max, &app.budget).await?;
    let contents = match form {
        Form::Message => {
            vec![message(&parts.headers, keep.as_deref(), collected.bytes.clone()).await?]
        }
        Form::Requests | Form::Lines(_) | Form::Events => {
            let bytes = collected.bytes.clone();
            let body_bytes_max = app.body_bytes_max;
            let json = form != Form::Requests;
            let effort = bytes.len() * if json { JSON_EFFORT } else { 1 };
            off_loop(effort, move || batch(form, &bytes, body_bytes_max)).await?
        }
    };
    let what = Posted {
        contents,
        controls,
        single: form == Form::Message,
        ids,
    };
    let name = &params.0[0];
    match target {
        Target::Buffer => {
            let owner = tenant_or_default(tenant.as_ref());
            let buffer = app
                .engine
                .buffer_or_create(owner, name, what.controls.demands());
            let buffer = buffer.await;
            let buffer = buffer.map_err(|error| not_created(error, name, target))?;
            let place = Place {
                tenant: tenant.as_deref(),
                buffer: name,
            };
            whole(&buffer, what, &place, Target::Buffer).await
        }
        Target::Topic => topic_appends::append(&app, tenant.as_ref(), name, what).await,
    }
}

/// What a client posts.
pub(super) struct Posted {
    pub(super) contents: Vec<Content>,
    pub(super) controls: Controls,
    /// One message that is the request itself, and no batch.
    pub(super) single: bool,
    /// The ids of a batch are wanted.
    pub(super) ids: bool,
}

/// Appends all to one buffer: all or nothing.
pub(super) async fn whole(
    buffer: &Buffer,
    what: Posted,
    place: &Place<'_>,
    target: Target,
) -> Reply {
    let Controls {
        ack: asked,
        if_match,
        producer,
        idempotency_key,
    } = what.controls;
    let (count, batch) = (what.contents.len(), !what.single);
    let append = Append {
        contents: what.contents,
        ack: asked,
        if_match,
        producer,
        idempotency_key,
        ids: batch && (what.ids || target == Target::Topic),
        stream: None,
        mirrored: None,
    };
    let done = buffer.append(append).await?;
    Ok(match (batch, target) {
        (false, _) => single_reply(buffer, &done, asked, place),
        (true, Target::Buffer) => batch_reply(buffer, &done, asked, place, count),
        (true, Target::Topic) => lines_reply(buffer, &done, asked, place),
    })
}

/// What is no name could not be made; to say that it does not exist would not help.
pub(super) fn not_created(error: LookupError, name: &str, target: Target) -> Box<Problem> {
    let not_allowed = matches!(error, LookupError::Create(CatalogError::NotAllowed { .. }));
    match (not_allowed, target, parse_name(name)) {
        (true, _, Err(no_name)) => no_name,
        (true, Target::Topic, Ok(_)) => Problem::new(Code::TopicNotFound, sentence(&error)),
        _ => error.into(),
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
    } else if is_type(kind, BATCH_TYPE) {
        Form::Events
    } else {
        Form::Message
    };
    match (form, lines) {
        (form, None) => Ok(form),
        (Form::Lines(_), Some("messages")) => Ok(form),
        (Form::Lines(_), Some("bodies")) => Ok(Form::Lines(Lines::Bodies)),
        (Form::Message | Form::Requests | Form::Events | Form::Lines(_), Some(_)) => {
            Err(Problem::new(
                Code::QueryInvalid,
                "`lines` is messages or bodies, and goes with content-type: application/x-ndjson.",
            ))
        }
    }
}

/// What describes a message stands at each message of a batch: at the batch it would be lost.
fn no_message_headers(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let of_a_message = |name: &&str| {
        matches!(*name, "x-hbuf-key" | "x-hbuf-tag" | "x-hbuf-deliver-at")
            || name.starts_with("x-hbuf-meta-")
    };
    let Some(name) = headers.keys().map(HeaderName::as_str).find(of_a_message) else {
        return Ok(());
    };
    Err(Problem::new(
        Code::HeaderInvalid,
        format!(
            "`{name}` belongs to one message: write it at each message of the batch. Nothing was stored."
        ),
    ))
}

/// A batch is read as it is: whatever says that its bytes mean something else is refused.
fn as_it_is(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let refused = |what: &str| {
        Err(Problem::new(
            Code::ContentTypeUnsupported,
            format!("{what} Nothing was stored."),
        ))
    };
    if is_coded(headers) {
        return refused("A batch is taken without `content-encoding`: send it as it is.");
    }
    let kind = headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    for parameter in kind.split(';').skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        let is = |wanted: &str| value.eq_ignore_ascii_case(wanted);
        match name.trim().to_ascii_lowercase().as_str() {
            "msgtype" if !is("request") => {
                return refused("A batch is of requests: send it with `msgtype=request`, or none.");
            }
            "charset" if !is("utf-8") && !is("us-ascii") => {
                return refused("A batch of lines is UTF-8: send it in that charset.");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The message that a request itself is.
async fn message(
    headers: &HeaderMap,
    keep: Option<&str>,
    body: Bytes,
) -> Result<Content, Box<Problem>> {
    let names = keep.map(kept_names).transpose();
    let names = names.map_err(|error| {
        Problem::new(Code::QueryInvalid, format!("{error}. Nothing was stored."))
    })?;
    let source = names.as_deref().map_or(Source::Plain, Source::Keeping);
    let mut lines = Vec::with_capacity(LINES_GUESS);
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    stored_lines(pairs, source, &mut lines).map_err(|error| {
        Problem::new(Code::HeaderInvalid, format!("{error}. Nothing was stored."))
    })?;
    let mode = mode(&lines);
    let json = mode == Mode::Structured;
    off_loop(body.len() * if json { JSON_EFFORT } else { 1 }, move || {
        let (lines, body) = settle((Bytes::from(lines), body)).map_err(|error| {
            let code = match mode {
                Mode::Structured | Mode::Batch => Code::BodyInvalid,
                Mode::Coded => Code::ContentTypeUnsupported,
                Mode::None | Mode::Binary => Code::HeaderInvalid,
            };
            Problem::new(
                code,
                format!("As a CloudEvent: {error}. Nothing was stored."),
            )
        })?;
        Ok(Content::seal(lines, body))
    })
    .await
}

/// The messages of a batch, each sealed.
fn batch(form: Form, body: &Bytes, body_bytes_max: u64) -> Result<Vec<Content>, Box<Problem>> {
    let messages = match form {
        Form::Lines(lines) => each_settled(ndjson::parse(body, lines)?)?,
        Form::Message | Form::Requests => each_settled(requests(body)?)?,
        Form::Events => events(body)?,
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

/// Messages of a batch that may be events.
fn each_settled(messages: Vec<ndjson::Parsed>) -> Result<Vec<ndjson::Parsed>, Box<Problem>> {
    let settled = messages.into_iter().enumerate();
    settled
        .map(|(index, message)| settle(message).map_err(|error| no_event(index, &error)))
        .collect()
}

fn events(body: &Bytes) -> Result<Vec<ndjson::Parsed>, Box<Problem>> {
    let messages = settle_batch(body).map_err(|(index, error)| match error {
        EventError::NoArray { .. } => {
            let text = format!("As a batch of CloudEvents: {error}. Nothing was stored.");
            Problem::new(Code::BatchInvalid, text).fact("index", index)
        }
        error => no_event(index, &error),
    })?;
    match messages.len() {
        0 => Err(refused(0, "the batch is empty: send at least one event")),
        1..=BATCH_MESSAGES_MAX => Ok(messages),
        _ => {
            let most = format!("more than {BATCH_MESSAGES_MAX} messages: send several batches");
            Err(refused(BATCH_MESSAGES_MAX, &most))
        }
    }
}

fn no_event(index: usize, error: &EventError) -> Box<Problem> {
    refused(index, &error.to_string())
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
pub(in crate::http) async fn off_loop<T: Send + 'static>(
    effort: usize,
    work: impl FnOnce() -> Result<T, Box<Problem>> + Send + 'static,
) -> Result<T, Box<Problem>> {
    if effort <= INLINE_BYTES_MAX {
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

/// JSON takes several times as long to read as it takes to hash.
const JSON_EFFORT: usize = 8;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_the_most_events_is_taken_and_one_more_refused() {
        let event = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t"}"#;
        let batch = |count: usize| Bytes::from(format!("[{}]", vec![event; count].join(",")));
        let most = events(&batch(BATCH_MESSAGES_MAX)).unwrap();
        assert_eq!(most.len(), BATCH_MESSAGES_MAX);
        for count in [BATCH_MESSAGES_MAX + 1, 2 * BATCH_MESSAGES_MAX] {
            let problem = events(&batch(count)).unwrap_err();
            assert_eq!(problem.code, Code::BatchInvalid);
            assert_eq!(problem.document()["index"], BATCH_MESSAGES_MAX);
        }
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
            "application/CloudEvents-batch+json; charset=utf-8",
            None,
            Ok(Form::Events),
        );
        check("application/cloudevents+json", None, Ok(Form::Message));
        check(
            "application/cloudevents-batch+json",
            Some("bodies"),
            Err(Code::QueryInvalid),
        );
    }
}
