//! Names in paths, queries and headers: what each means, and which values it takes.

use hbuf_core::ids::Seq;
use hbuf_core::limits::{
    IDEMPOTENCY_KEY_BYTES_MAX, LIST_LIMIT_MAX, READ_LIMIT_MAX, RETENTION_SECONDS_MAX,
    WAIT_SECONDS_MAX,
};
use serde_json::{Value, json};

/// The rule of tags, as far as a pattern can say it.
pub(super) const TAG: &str = "^[!-+.-~]{1,200}$";
/// The rule of names.
pub(super) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$";

pub(super) fn in_path(name: &str) -> Value {
    let (what, schema) = match name {
        "seq" => ("A message's number", seq(1)),
        "buffer" => ("A buffer's name", text(NAME)),
        "topic" => ("A topic's name", text(NAME)),
        "filter" => ("A stored filter's name", text(NAME)),
        "consumer" => ("A consumer's name", text(NAME)),
        "path" => (
            "A stream's path, which may hold slashes",
            json!({ "type": "string", "minLength": 1 }),
        ),
        other => unreachable!("the name `{other}` in a path is not described"),
    };
    json!({ "name": name, "in": "path", "required": true, "description": what, "schema": schema })
}

pub(super) fn in_query(name: &str) -> Value {
    let (what, schema) = of_read(name)
        .or_else(|| of_others(name))
        .unwrap_or_else(|| unreachable!("the name `{name}` in a query is not described"));
    // Two names that mean something else in lists.
    let name = match name {
        "after-name" => "after",
        "limit-list" => "limit",
        "after-cursor" => "after",
        name => name,
    };
    let required = matches!(name, "seq" | "from" | "consumer");
    json!({ "name": name, "in": "query", "required": required, "description": what, "schema": schema })
}

/// What a read takes.
fn of_read(name: &str) -> Option<(&'static str, Value)> {
    Some(match name {
        "after" => (
            "The seq behind which to start; 0 is the start of what is kept",
            seq(0),
        ),
        "after-cursor" => (
            "The cursor behind which to start; 0 is the start, `end` what is there now",
            text("^(0|end|[A-Za-z0-9_-]+)$"),
        ),
        "order" => (
            "`strict`: never back in time",
            one_of(&["earliest", "strict"]),
        ),
        "from-time" => (
            "Start at this time; with `after`, whichever is later",
            time(),
        ),
        "limit" => ("At most so many messages", number(1, READ_LIMIT_MAX)),
        "wait" => (
            "Wait so many seconds when there is nothing",
            number(0, WAIT_SECONDS_MAX),
        ),
        "tag" => ("Only messages with one of these tags", tags()),
        "key" => ("Only messages with this key", json!({ "type": "string" })),
        "kinds" => ("`all`: also hbuf's own records", one_of(&["data", "all"])),
        "filter" => ("Only messages with a tag of this stored filter", text(NAME)),
        "latest" => (
            "Leave out messages that a later one of the same key supersedes",
            flag(),
        ),
        "offset" => (
            "The offset behind which to read; -1 is the start",
            one_of(&["-1", "now"]),
        ),
        "live" => ("Wait for what comes", one_of(&["long-poll"])),
        _ => return None,
    })
}

/// What other calls take.
fn of_others(name: &str) -> Option<(&'static str, Value)> {
    Some(match name {
        "id" => ("Only if the message has this id", text("^[0-9a-f]{64}$")),
        "ids" => ("A batch's reply names the id of each message", flag()),
        "keep" => (
            "Further headers to store, separated by commas; with one message only",
            text("^[!#$%&'*+.^_`|~0-9a-z-]+(,[!#$%&'*+.^_`|~0-9a-z-]+){0,15}$"),
        ),
        "lines" => ("What a line of NDJSON is", one_of(&["messages", "bodies"])),
        "consumer" => ("Who hands out the message", text(NAME)),
        "force" => ("Delete it although it is in a topic or paused", flag()),
        "buffers" => (
            "What becomes of buffers without another topic",
            one_of(&["keep", "delete"]),
        ),
        "seq" => ("The message", seq(1)),
        "size" => ("Size of the tree; the commit when absent", seq(0)),
        "from" => ("Size of the earlier tree", seq(0)),
        "to" => ("Size of the later tree; the commit when absent", seq(0)),
        "after-name" => (
            "The name behind which to go on",
            json!({ "type": "string" }),
        ),
        "limit-list" => ("At most so many entries", number(1, LIST_LIMIT_MAX)),
        _ => return None,
    })
}

pub(super) fn in_header(name: &str) -> Value {
    let (what, schema) = match name {
        "x-hbuf-ack" => ("When to answer", one_of(&["insync", "local", "none"])),
        "if-match" => (
            "Only if the log's last seq is this",
            text("^\"(0|[1-9][0-9]{0,17})\"$"),
        ),
        "if-none-match" => ("The etag that is known", json!({ "type": "string" })),
        "x-hbuf-producer" => (
            "`id/epoch/number`: a safe retry",
            text("^[!-.0-~]{1,128}/(0|[1-9][0-9]{0,8})/(0|[1-9][0-9]{0,17})$"),
        ),
        "idempotency-key" => (
            "A safe retry, of any name",
            json!({ "type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_BYTES_MAX, "pattern": "^[!-~]([\t -~]*[!-~])?$" }),
        ),
        "x-hbuf-key" => (
            "The message's key, percent-encoded",
            text("^([!-$&-~]|%[0-9A-F]{2}){1,200}$"),
        ),
        "x-hbuf-tag" => (
            "The message's tags",
            text("^([!-+.-~]{1,200}(, [!-+.-~]{1,200}){0,9})?$"),
        ),
        "x-hbuf-deliver-at" => ("Consumers are not handed the message before", time()),
        "stream-ttl" => (
            "Seconds without use after which it expires",
            number(0, RETENTION_SECONDS_MAX),
        ),
        "stream-closed" => (
            "`true` closes it; anything else is nothing",
            json!({ "type": "string" }),
        ),
        "producer-id" => ("Who appends", text("^[A-Za-z0-9-]{1,64}$")),
        "producer-epoch" | "producer-seq" => ("Its incarnation, its number", number(0, 1_000_000)),
        "x-hbuf-history" => ("The history that the reader knows", uuid()),
        other => unreachable!("the request header `{other}` is not described"),
    };
    json!({ "name": name, "in": "header", "required": false, "description": what, "schema": schema })
}

/// A header of a reply.
pub(super) fn of_reply(name: &str) -> Value {
    let (what, schema) = match name {
        "stream-next-offset" => ("Where to go on", json!({ "type": "string" })),
        "location" => ("Where it can be read", json!({ "type": "string" })),
        "etag" => ("For `if-none-match`", json!({ "type": "string" })),
        "x-hbuf-seq" => ("Seq of the first message", seq(1)),
        "x-hbuf-id" => ("Id of the last message", text("^[0-9a-f]{64}$")),
        "x-hbuf-buffer" | "x-hbuf-history" => ("An id of the log", uuid()),
        "x-hbuf-time" => ("The server's time of the message", time()),
        "x-hbuf-epoch" => ("Epoch of the primary", number(0, u64::from(u32::MAX))),
        "x-hbuf-ack" => (
            "The level that was reached",
            one_of(&["insync", "local", "none"]),
        ),
        "x-hbuf-commit" => ("The commit that was seen", seq(0)),
        other => unreachable!("the reply header `{other}` is not described"),
    };
    json!({ "description": what, "required": true, "schema": schema })
}

pub(super) fn seq(least: u64) -> Value {
    number(least, Seq::MAX.0)
}

pub(super) fn number(least: u64, most: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

pub(super) fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

pub(super) fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

pub(super) fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

pub(super) fn one_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn tags() -> Value {
    json!({ "type": "array", "items": text(TAG), "maxItems": hbuf_core::limits::TAGS_MAX })
}
