//! The JSON objects of the API.

use hbuf_core::limits::{
    BUFFERS_PER_TOPIC_MAX, CONSUMER_DELAY_MS_MAX, CONSUMER_DELIVERIES_MAX, CONSUMER_EXPIRE_MS_MAX,
    CONSUMER_IN_FLIGHT_MAX, CONSUMER_LEASE_MS_MAX, CONSUMER_LEASE_MS_MIN, CONSUMER_TAGS_MAX,
    CONSUMER_TTL_SECONDS_MAX, KEY_BYTES_MAX, MIRROR_TAGS_MAX, RETENTION_SECONDS_MAX,
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
use serde_json::{Map, Value, json};

use super::parameters::{NAME, TAG, number, one_of, seq, text, time, uuid};

/// Where a schema stands.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// All of them.
pub(super) fn components() -> Value {
    let mut all = Map::new();
    let parts = [
        requests(),
        consumers(),
        catalog(),
        messages(),
        proofs(),
        of_the_node(),
    ];
    for (name, schema) in parts.into_iter().flatten() {
        all.insert(name.to_owned(), schema);
    }
    Value::Object(all)
}

fn requests() -> Vec<(&'static str, Value)> {
    let limit = |most: u64| json!({ "type": ["integer", "null"], "minimum": 0, "maximum": most });
    let segment = json!({
        "type": ["integer", "null"], "minimum": SEGMENT_BYTES_MIN, "maximum": SEGMENT_BYTES_MAX,
    });
    // A node alone has no copy to give.
    let replicas = json!({ "type": ["integer", "null"], "minimum": 0, "maximum": 0 });
    let min_insync = json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 1 });
    let settings = json!({
        "segment_bytes": segment, "retention_seconds": limit(RETENTION_SECONDS_MAX), "retention_bytes": limit(u64::MAX),
        "retention_count": limit(u64::MAX), "replicas": replicas, "min_insync": min_insync,
        "mirror": { "anyOf": [{ "type": "null" }, reference("Follows")] },
    });
    let follows = json!({
        "of": text(NAME), "from": one_of(&["tail", "start"]),
        "tags": { "type": "array", "items": text(TAG), "maxItems": MIRROR_TAGS_MAX },
    });
    let names = json!({
        "type": ["array", "null"], "items": text(NAME), "minItems": 1,
        "maxItems": BUFFERS_PER_TOPIC_MAX, "uniqueItems": true,
    });
    vec![
        ("BufferSettings", closed(&[], settings)),
        ("Follows", closed(&["of"], follows)),
        (
            "TopicSettings",
            closed(
                &[],
                json!({ "buffers": names, "version": { "type": ["integer", "null"], "minimum": 0, "maximum": u64::MAX } }),
            ),
        ),
        (
            "State",
            closed(
                &["state"],
                json!({ "state": one_of(&["open", "closed", "paused"]) }),
            ),
        ),
        (
            "Wanted",
            closed(&["ready"], json!({ "ready": { "type": "boolean" } })),
        ),
    ]
}

fn catalog() -> Vec<(&'static str, Value)> {
    let maybe = json!({ "type": ["integer", "null"] });
    let count = json!({ "type": "integer", "minimum": 0 });
    let buffer = json!({
        "name": text(NAME), "uuid": uuid(), "state": one_of(&["open", "closed", "paused"]),
        "topics": { "type": "array", "items": text(NAME) }, "created": time(), "version": count,
        "segment_bytes": count, "retention_seconds": maybe, "retention_bytes": maybe,
        "retention_count": maybe, "replicas": count, "min_insync": count, "log": uuid(), "history": uuid(),
        "epoch": count, "first": seq(1), "commit": seq(0), "messages": count, "bytes": count,
        "segments": count, "damaged_at": maybe, "cursors_damaged_at": maybe,
    });
    let topic = json!({
        "name": text(NAME), "buffers": { "type": "array", "items": text(NAME) },
        "created": time(), "version": count,
    });
    vec![
        (
            "Buffer",
            open(
                &["name", "uuid", "state", "topics", "created", "version"],
                buffer,
            ),
        ),
        (
            "Topic",
            open(&["name", "buffers", "created", "version"], topic),
        ),
        ("FilterList", page("filters", "ListedFilter")),
        ("BufferList", page("buffers", "Buffer")),
        ("TopicList", page("topics", "Topic")),
    ]
}

fn consumers() -> Vec<(&'static str, Value)> {
    let start = json!({ "anyOf": [
        one_of(&["first", "last"]),
        closed(&["seq"], json!({ "seq": seq(1) })),
        closed(&["time"], json!({ "time": time() })),
    ] });
    let maybe_start = json!({ "anyOf": [{ "type": "null" }, start] });
    let maybe = |least: u64, most: u64| json!({ "type": ["integer", "null"], "minimum": least, "maximum": most });
    let maybe_name = json!({ "type": ["string", "null"], "pattern": NAME });
    let settings = json!({
        "tags": { "type": ["array", "null"], "items": text(TAG), "maxItems": CONSUMER_TAGS_MAX },
        "key": { "type": ["string", "null"], "minLength": 1, "maxLength": KEY_BYTES_MAX / 12 },
        "filter": maybe_name, "start": maybe_start,
        "ack": { "enum": ["explicit", "on-delivery", null] },
        "lease_ms": maybe(CONSUMER_LEASE_MS_MIN, CONSUMER_LEASE_MS_MAX),
        "deliveries_max": maybe(1, CONSUMER_DELIVERIES_MAX.into()), "dead_letter": maybe_name.clone(),
        "in_flight_max": maybe(1, CONSUMER_IN_FLIGHT_MAX.into()),
        "order_by_key": { "type": ["boolean", "null"] },
        "expire_ms": maybe(1, CONSUMER_EXPIRE_MS_MAX),
        "ttl_seconds": maybe(1, CONSUMER_TTL_SECONDS_MAX), "version": maybe(0, u64::MAX),
    });
    let item = |more: Value| {
        let mut names = json!({
            "buffer": { "type": ["string", "null"] }, "seq": seq(1),
            "lease": text("^[0-9a-f]{16}$"),
        });
        for (name, schema) in more.as_object().into_iter().flatten() {
            names[name] = schema.clone();
        }
        let item = closed(&["seq", "lease"], names);
        json!({ "type": "array", "items": item, "maxItems": 100 })
    };
    let acks = json!({
        "ack": item(json!({})),
        "nack": item(json!({ "delay_ms": maybe(0, CONSUMER_DELAY_MS_MAX) })),
        "extend": item(json!({ "lease_ms": maybe(CONSUMER_LEASE_MS_MIN, CONSUMER_LEASE_MS_MAX) })),
    });
    let results = json!({ "type": "array", "items": open(&["seq", "result"], json!({
        "seq": seq(1), "result": words(), "reason": words(),
    })) });
    let consumer = json!({
        "name": text(NAME), "uuid": uuid(), "created": time(), "version": count(),
        "lag": count(), "pending": count(), "in_flight": count(), "redelivered": count(),
        "dead_lettered": count(), "lost": count(), "members": { "type": "array" },
        "dead_letter": maybe_name, "dead_letter_deleted": uuid(),
    });
    let handed = json!({
        "messages": { "type": "array", "items": reference("Message") },
        "passed": { "type": "array" },
        "settled": reference("Settled"),
    });
    let settled = json!({ "ack": results, "nack": results, "extend": results });
    vec![
        ("ConsumerSettings", closed(&[], settings)),
        (
            "Consumer",
            open(&["name", "uuid", "created", "version"], consumer),
        ),
        ("ConsumerList", page("consumers", "Consumer")),
        ("Handed", closed(&["messages", "passed"], handed)),
        ("Acks", closed(&[], acks)),
        ("Settled", closed_of_all(settled)),
        ("Seek", closed(&["start"], json!({ "start": start }))),
    ]
}

/// A SHA-256 in hex digits.
fn hash() -> Value {
    text("^[0-9a-f]{64}$")
}

fn hashes() -> Value {
    json!({ "type": "array", "items": hash() })
}

fn words() -> Value {
    json!({ "type": "string" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn yes_or_no() -> Value {
    json!({ "type": "boolean" })
}

fn messages() -> Vec<(&'static str, Value)> {
    let message = json!({
        "seq": seq(1), "time": time(), "epoch": count(), "id": hash(), "kind": words(),
        "key": words(), "key_base64": words(), "tags": { "type": "array", "items": words() },
        "headers": { "type": "object", "additionalProperties": words() }, "body": words(),
        "body_base64": words(), "erased": yes_or_no(),
    });
    let batch = json!({
        "first": seq(1), "last": seq(1), "count": count(), "replayed": yes_or_no(),
        "ids": hashes(),
    });
    let filter = json!({
        "name": text(NAME), "tags": count(), "bytes": count(), "sha256": hash(),
    });
    let damaged = json!({ "name": text(NAME), "damaged": words() });
    let list = json!({ "type": "array", "items": reference("Message") });
    // Behind the messages stands where to go on.
    let end = open(
        &["cursor"],
        json!({ "cursor": { "type": ["string", "null"] } }),
    );
    let topic_list = json!({
        "type": "array", "items": { "anyOf": [reference("Message"), end] },
    });
    vec![
        ("Message", open(&["seq", "time", "epoch"], message)),
        ("Messages", list),
        ("TopicMessages", topic_list),
        (
            "BatchReply",
            open(&["first", "last", "count", "replayed"], batch),
        ),
        (
            "Filter",
            closed(&["name", "tags", "bytes", "sha256"], filter),
        ),
        (
            "ListedFilter",
            json!({ "anyOf": [reference("Filter"), closed(&["name", "damaged"], damaged)] }),
        ),
    ]
}

fn proofs() -> Vec<(&'static str, Value)> {
    let checkpoint = json!({ "log": uuid(), "size": seq(0), "root": hash() });
    let inclusion = json!({
        "log": uuid(), "seq": seq(1), "id": hash(), "size": seq(1), "root": hash(),
        "hashes": hashes(),
    });
    let consistency = json!({
        "log": uuid(), "from": seq(0), "from_root": hash(), "to": seq(0), "to_root": hash(),
        "hashes": hashes(),
    });
    vec![
        ("Checkpoint", closed_of_all(checkpoint)),
        ("InclusionProof", closed_of_all(inclusion)),
        ("ConsistencyProof", closed_of_all(consistency)),
    ]
}

fn of_the_node() -> Vec<(&'static str, Value)> {
    let node = json!({
        "ready": yes_or_no(), "draining": yes_or_no(),
        "disk": one_of(&["sound", "full", "failed"]),
        "reasons": { "type": "array", "items": words() },
        "buffers": count(), "open_buffers": count(), "started": time(),
    });
    let problem = json!({
        "type": words(), "title": words(), "status": number(400, 599), "detail": words(),
        "retry": yes_or_no(),
    });
    let routes = json!({ "hbuf": words(), "routes": { "type": "array" } });
    let document = json!({ "openapi": words(), "paths": { "type": "object" } });
    vec![
        (
            "Alive",
            closed_of_all(json!({ "status": { "const": "alive" } })),
        ),
        ("Node", closed_of_all(node)),
        (
            "Problem",
            open(&["type", "title", "status", "detail", "retry"], problem),
        ),
        ("Routes", open(&["hbuf", "routes"], routes)),
        ("Document", open(&["openapi", "paths"], document)),
    ]
}

/// An object that has all of these names and no others.
fn closed_of_all(properties: Value) -> Value {
    let names = properties.as_object().into_iter().flatten();
    let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    closed(&names, properties)
}

/// An object that may grow.
fn open(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

/// An object that has these names and no others.
fn closed(required: &[&str], properties: Value) -> Value {
    json!({
        "type": "object", "required": required, "properties": properties,
        "additionalProperties": false,
    })
}

fn page(list: &str, entry: &str) -> Value {
    let mut properties = json!({ "next": { "type": ["string", "null"] } });
    properties[list] = json!({ "type": "array", "items": reference(entry) });
    closed(&[list, "next"], properties)
}
