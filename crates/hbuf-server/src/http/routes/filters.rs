//! Stored filters of a buffer: uploaded as a stream of lines, described, listed, removed.

use bytes::BytesMut;
use hbuf_core::filter::TagList;
use hbuf_core::limits::{FILTER_BYTES_MAX, LIST_LIMIT_MAX, PIECE_BYTES};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::buffers::no_content;
use super::json_reply;
use crate::http::call::{Call, Reply, parse_name, shown};
use crate::http::collect::Pieces;
use crate::http::problem::{Code, Problem};
use crate::read::{FilterError, FilterForm, FilterUpload, Listed};

/// `PUT /buffers/{buffer}/filters/{filter}`
pub(super) async fn put(call: Call) -> Reply {
    call.query(&[])?;
    let form = form(&call)?;
    let name = parse_name(call.second_name())?;
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    let of = buffer.clone();
    let begin = move || FilterUpload::begin(of.readable(), &name, form, || of.state());
    let mut upload = blocking(begin).await?;
    let mut body = call.into_pieces(FILTER_BYTES_MAX)?;
    let (mut more, mut chunk) = (true, BytesMut::with_capacity(CHUNK_ROOM_BYTES));
    while more {
        let mut paused = upload.paused();
        more = tokio::select! {
            more = gather(&mut body, &mut chunk) => more?,
            // Its file is gone; the client may take long over the rest.
            _ = paused.wait_for(|&paused| paused) => return Err(FilterError::Paused.into()),
        };
        (upload, chunk) = blocking(move || {
            upload.feed(&chunk)?;
            Ok((upload, chunk))
        })
        .await?;
    }
    // It may have been paused meanwhile.
    let (stored, new) = blocking(move || upload.finish(|| buffer.state())).await?;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(json_reply(status, &described(stored.list())))
}

/// Fills the chunk from the body; answers whether there is more.
async fn gather(body: &mut Pieces, chunk: &mut BytesMut) -> Result<bool, Box<Problem>> {
    chunk.clear();
    while chunk.len() < CHUNK_BYTES {
        match body.next().await? {
            Some(piece) => chunk.extend_from_slice(&piece),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// `GET /buffers/{buffer}/filters/{filter}`
pub(super) async fn describe(call: Call) -> Reply {
    call.query(&[])?;
    let name = parse_name(call.second_name())?;
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    let readable = buffer.readable().clone();
    let text = name.as_str().to_owned();
    let list = blocking(move || readable.filter_list(&text)).await?;
    let list = list.ok_or_else(|| not_found(name.as_str()))?;
    Ok(json_reply(StatusCode::OK, &described(&list)))
}

/// `GET /buffers/{buffer}/filters`
pub(super) async fn list(call: Call) -> Reply {
    let query = call.query(&["after", "limit"])?;
    let limit = query.number("limit", 1, LIST_LIMIT_MAX)?;
    let limit = usize::try_from(limit.unwrap_or(LIST_LIMIT_MAX)).unwrap_or(usize::MAX);
    // As names are folded: two that differ only in case are one.
    let after = query.get("after").map(str::to_ascii_lowercase);
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    let readable = buffer.readable().clone();
    let (lists, more) = blocking(move || readable.filter_lists(after.as_deref(), limit)).await?;
    let next = more.then(|| lists.last().map(listed_name)).flatten();
    let filters: Vec<Value> = lists.iter().map(listed).collect();
    let list = json!({ "filters": filters, "next": next });
    Ok(json_reply(StatusCode::OK, &list))
}

/// `DELETE /buffers/{buffer}/filters/{filter}`
pub(super) async fn delete(call: Call) -> Reply {
    call.query(&[])?;
    let name = parse_name(call.second_name())?;
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    let text = name.as_str().to_owned();
    let removed = move || {
        let readable = buffer.readable();
        readable.remove_filter(&text, || buffer.state())
    };
    if !blocking(removed).await? {
        return Err(not_found(name.as_str()));
    }
    Ok(no_content())
}

/// How the lines are written.
fn form(call: &Call) -> Result<FilterForm, Box<Problem>> {
    let text = call.headers().get(CONTENT_TYPE);
    let text = text.map_or(Ok("text/plain"), |value| value.to_str());
    let text = text.unwrap_or("?");
    let media = text.split(';').next().unwrap_or_default().trim();
    match media.to_ascii_lowercase().as_str() {
        "text/plain" | "application/x-www-form-urlencoded" => Ok(FilterForm::Text),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(FilterForm::Json),
        _ => Err(Problem::new(
            Code::ContentTypeUnsupported,
            format!(
                "`{}` is no list of tags: send text/plain with a tag a line, or application/x-ndjson with a JSON \
                 string a line.",
                shown(text)
            ),
        )),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilterError> + Send + 'static,
) -> Result<T, Box<Problem>> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Problem::new(
            Code::Stopping,
            "The node is stopping: nothing was changed.",
        )),
    }
}

fn described(list: &TagList) -> Value {
    let sha256 = list.sha256.to_string();
    json!({ "name": name_of(list), "tags": list.tags, "bytes": list.bytes, "sha256": sha256 })
}

/// A filter in the list: of a damaged one nothing is known but its name.
fn listed(filter: &Listed) -> Value {
    match filter {
        Listed::Good(list) => described(list),
        Listed::Damaged { name, what } => json!({ "name": name, "damaged": what.to_string() }),
    }
}

fn listed_name(filter: &Listed) -> String {
    match filter {
        Listed::Good(list) => name_of(list),
        Listed::Damaged { name, .. } => name.clone(),
    }
}

fn name_of(list: &TagList) -> String {
    String::from_utf8_lossy(&list.name).into_owned()
}

fn not_found(name: &str) -> Box<Problem> {
    Problem::new(
        Code::FilterNotFound,
        format!("The buffer has no filter `{name}`: upload it with PUT, or list what there is."),
    )
}

/// Bytes of an upload that are taken in together, at least.
const CHUNK_BYTES: usize = 2 * PIECE_BYTES;
/// Room for them and the rest of the last piece, of which a connection reads 408 KiB at most: what
/// grows is moved, and leaves the memory it had before.
const CHUNK_ROOM_BYTES: usize = 2 * CHUNK_BYTES;
