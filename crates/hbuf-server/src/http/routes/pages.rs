//! Pages of lists: which entries `?after=` and `limit=` ask for, and where the next page starts.

use hbuf_core::limits::LIST_LIMIT_MAX;
use http::StatusCode;
use serde_json::{Value, json};

use super::json_reply;
use crate::engine::Page;
use crate::http::call::{Call, Reply};

/// Answers with the page that the query asks for, under the list's name; `entry` writes one entry,
/// whose `name` is where the next page starts.
pub(super) fn paged<T>(
    call: &Call,
    list: &'static str,
    page: impl FnOnce(&Call, &str, usize) -> Page<T>,
    entry: impl Fn(&T) -> Value,
) -> Reply {
    let query = call.query(&["after", "limit"])?;
    let limit = query
        .number("limit", 1, LIST_LIMIT_MAX)?
        .unwrap_or(LIST_LIMIT_MAX);
    let after = query.get("after").unwrap_or_default();
    let page = page(call, after, usize::try_from(limit).unwrap_or(usize::MAX));
    let entries: Vec<Value> = page.entries.iter().map(entry).collect();
    let last = entries.last().filter(|_| page.more);
    let next = last.map(|entry| entry["name"].clone());
    Ok(json_reply(
        StatusCode::OK,
        &json!({ list: entries, "next": next }),
    ))
}
