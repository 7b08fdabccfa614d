//! `POST`: messages, the end of the stream, or both.

use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::append::Appended;
use hbuf_core::content::{Source, stored_lines};
use hbuf_core::limits::BATCH_BYTES_MAX;
use hbuf_core::stream::definition::is_json;
use hbuf_core::stream::{StreamAppend, StreamEnd, StreamWrite};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::elements;
use super::stream_call::{
    CLOSED, NEXT_OFFSET, PRODUCER_EPOCH, PRODUCER_SEQ, TRUE, base_headers, closes, find, invalid,
    not_found, offset, producer, refuse_buffer_controls, seq,
};
use crate::engine::{Append, AppendError, Buffer, Content};
use crate::http::App;
use crate::http::body::Body;
use crate::http::call::{Call, Reply, single};
use crate::http::collect::collect;
use crate::http::problem::{Code, Problem};
use crate::http::routes::off_loop;
use crate::http::upload::Upload;

/// `POST /v1/stream/{path}`
pub(in crate::http) async fn post(call: Call) -> Reply {
    refuse_buffer_controls(call.headers())?;
    let producer = producer(call.headers())?;
    let write = StreamWrite {
        content_type: single(call.headers(), &CONTENT_TYPE)?.map(Box::from),
        seq: seq(call.headers())?,
        close: closes(call.headers()),
    };
    let buffer = find(&call).await?;
    let missing = not_found(&call);
    let contents = messages(call, write.content_type.as_deref(), write.close).await?;
    let epoch = producer.as_ref().map(|producer| producer.epoch);
    let append = Append {
        contents,
        producer,
        stream: Some(StreamAppend::Write(write)),
        ..Append::default()
    };
    let appended = append_to(&buffer, append, missing).await?;
    let end = appended.stream.expect("the append meant a stream");
    if end.refused {
        return Err(closed(&end));
    }
    Ok(answer(&appended, &end, epoch))
}

/// What was refused because the stream went meanwhile is told as if it had never been there.
async fn append_to(
    buffer: &Arc<Buffer>,
    append: Append,
    missing: Box<Problem>,
) -> Result<Appended, Box<Problem>> {
    use hbuf_core::append::AppendRefused::Stream;
    use hbuf_core::stream::StreamRefused::{Expired, NotStream};
    match buffer.append_stream(append).await {
        Ok(appended) => Ok(appended),
        Err(AppendError::Refused(Stream(Expired | NotStream))) => Err(missing),
        Err(error) => Err(error.into()),
    }
}

/// The messages of the body. None are fine when the stream is to be closed.
async fn messages(
    call: Call,
    content_type: Option<&str>,
    close: bool,
) -> Result<Vec<Content>, Box<Problem>> {
    let headers = call.parts.headers.clone();
    let contents = contents(&call.app, &headers, content_type, call.body).await?;
    match contents {
        Some(contents) if !contents.is_empty() => Ok(contents),
        None if close => Ok(Vec::new()),
        None => Err(Problem::new(
            Code::BodyInvalid,
            "The body is empty: send the message, or `stream-closed: true` to close the stream.",
        )),
        Some(_) => Err(Problem::new(
            Code::BodyInvalid,
            "The array is empty, so there is no message: send at least one value. Nothing was stored.",
        )),
    }
}

/// The messages of a body, sealed; `None` when there is no body at all. An empty one needs no
/// content type, any other does.
pub(super) async fn contents(
    app: &App,
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: Upload,
) -> Result<Option<Vec<Content>>, Box<Problem>> {
    let json = content_type.is_some_and(is_json);
    let message_max = app.body_bytes_max;
    let bytes_max = if json { BATCH_BYTES_MAX } else { message_max };
    let collected = collect(body, bytes_max, &app.budget).await?;
    if collected.bytes.is_empty() {
        return Ok(None);
    }
    if content_type.is_none() {
        return Err(invalid(
            "A message needs `content-type`, the same as its stream's: send it, or no body at all.",
        ));
    }
    let lines = lines(headers)?;
    let body = collected.bytes.clone();
    // JSON takes several times as long to read as it takes to hash.
    let effort = body.len() * if json { 8 } else { 1 };
    let seal = move || {
        let bodies = if json {
            elements::split(&body)?
        } else {
            vec![body]
        };
        if bodies.iter().any(|body| body.len() as u64 > message_max) {
            return Err(Problem::new(
                Code::BodyTooLarge,
                format!("A value has more than {message_max} bytes, the most that this server takes: split it."),
            )
            .fact("max", message_max));
        }
        let seal = |body| Content::seal(lines.clone(), body);
        Ok(bodies.into_iter().map(seal).collect())
    };
    off_loop(effort, seal).await.map(Some)
}

/// The header lines that are stored with each message: as those of a plain append.
fn lines(headers: &HeaderMap) -> Result<Bytes, Box<Problem>> {
    let mut lines = Vec::new();
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    stored_lines(pairs, Source::Plain, &mut lines)
        .map_err(|error| invalid(&format!("{error}. Nothing was stored.")))?;
    Ok(Bytes::from(lines))
}

/// 204, or 200 when a producer appended something new.
fn answer(appended: &Appended, end: &StreamEnd, epoch: Option<u64>) -> Response<Body> {
    let mut headers = base_headers("");
    headers.remove(CONTENT_TYPE);
    headers.insert(NEXT_OFFSET, offset(end.tail));
    if end.closed {
        headers.insert(CLOSED, TRUE);
    }
    if let (Some(epoch), Some(number)) = (epoch, end.number) {
        headers.insert(PRODUCER_EPOCH, HeaderValue::from(epoch));
        headers.insert(PRODUCER_SEQ, HeaderValue::from(number));
    }
    // Only messages move the tail to the end of what was appended; a closing alone does not.
    let messages = end.tail == appended.last;
    let new = epoch.is_some() && !appended.replayed && messages;
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = if new {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    *reply.headers_mut() = headers;
    reply
}

/// The stream was closed before: its end is told, so that the writer knows what it holds.
fn closed(end: &StreamEnd) -> Box<Problem> {
    Problem::new(
        Code::StreamClosed,
        "The stream is closed and takes no more messages: write to another one.",
    )
    .header(CLOSED, TRUE)
    .header(NEXT_OFFSET, offset(end.tail))
}
