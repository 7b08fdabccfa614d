//! The OpenAPI 3.1 description of the API, made from the table of routes.
//!
//! `operations.rs` says of each route what it takes, gives and refuses; `parameters.rs` and
//! `schemas.rs` say it of each name. Nothing here decides anything: a test holds the description
//! against the table, and the outside check `cargo xtask openapi` against the running server.

mod consumer_operations;
mod operation;
mod operations;
mod parameters;
mod schemas;
mod stream_operations;

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::problem::{Code, MEDIA_TYPE};
use operation::{Gives, Media, Operation};
use operations::operation;

/// One line of the table of routes, as it is described here.
pub(super) struct Described {
    pub(super) method: &'static str,
    pub(super) pattern: &'static str,
    pub(super) help: &'static str,
}

/// The whole document.
pub(super) fn document(routes: impl Iterator<Item = Described>) -> Value {
    let mut paths: BTreeMap<&str, Value> = BTreeMap::new();
    for route in routes {
        let Some(operation) = operation(route.method, route.pattern) else {
            continue;
        };
        let path = paths
            .entry(route.pattern)
            .or_insert_with(|| path_item(route.pattern));
        path[route.method.to_ascii_lowercase()] = describe(&route, operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hbuf",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A replicated log over HTTP. Every refusal is a problem of RFC 9457 whose type is stable.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": schemas::components() },
    })
}

/// What all methods of a path share: its names, and that it also exists below a tenant.
fn path_item(pattern: &str) -> Value {
    let mut item = json!({});
    let names = pattern
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = names.map(parameters::in_path).collect();
    if !parameters.is_empty() {
        item["parameters"] = parameters.into();
    }
    if ["/buffers", "/topics", "/v1/stream"]
        .iter()
        .any(|of_tenants| pattern.starts_with(of_tenants))
    {
        item["servers"] = json!([
            { "url": "/", "description": "the default tenant" },
            {
                "url": "/tenants/{tenant}",
                "description": "a tenant by its name",
                "variables": { "tenant": { "default": "-" } },
            },
        ]);
    }
    item
}

fn describe(route: &Described, operation: &Operation) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": route.help,
        "tags": [tag(route.pattern)],
        "responses": responses(operation),
    });
    let query = operation
        .query
        .iter()
        .map(|name| parameters::in_query(name));
    let headers = operation
        .headers
        .iter()
        .map(|name| parameters::in_header(name));
    let parameters: Vec<Value> = query.chain(headers).collect();
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if !operation.takes.is_empty() {
        described["requestBody"] =
            json!({ "required": operation.body_required, "content": content(operation.takes) });
    }
    described
}

fn tag(pattern: &str) -> &str {
    match pattern.split('/').nth(1) {
        None | Some("") => "node",
        Some(first) if first == "buffers" || first == "topics" => first,
        Some("v1") => "streams",
        Some(_) => "node",
    }
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    for gives in operation.gives {
        responses.insert(gives.status.to_string(), response(gives));
    }
    let mut refusals: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    let codes = operation.refuses.iter().copied().flatten();
    for &code in codes.chain(operations::ALWAYS) {
        let refused = refusals.entry(code.row().status.as_u16()).or_default();
        if !refused.contains(&code) {
            refused.push(code);
        }
    }
    for (status, codes) in refusals {
        responses.insert(status.to_string(), refusal(status, &codes));
    }
    Value::Object(responses)
}

fn response(gives: &Gives) -> Value {
    let mut response = json!({ "description": gives.what });
    if !gives.media.is_empty() {
        response["content"] = content(gives.media);
    }
    if !gives.headers.is_empty() {
        let headers = gives
            .headers
            .iter()
            .map(|name| ((*name).to_owned(), parameters::of_reply(name)));
        response["headers"] = Value::Object(headers.collect());
    }
    response
}

fn content(media: &[Media]) -> Value {
    let entries = media.iter().map(|media| {
        let (name, schema) = match *media {
            Media::Json(schema) => ("application/json", schemas::reference(schema)),
            Media::Bytes(name) => (name, json!({})),
            Media::Text(name) => (name, json!({ "type": "string" })),
        };
        (name.to_owned(), json!({ "schema": schema }))
    });
    Value::Object(entries.collect())
}

fn refusal(status: u16, codes: &[Code]) -> Value {
    let types: Vec<String> = codes.iter().map(|code| code.kind()).collect();
    let mut titles: Vec<&str> = codes.iter().map(|code| code.row().title).collect();
    titles.dedup();
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let schema = json!({
        "allOf": [
            schemas::reference("Problem"),
            { "properties": { "type": { "enum": types }, "status": { "const": status } } },
        ],
    });
    json!({
        "description": format!("{reason}: {}", titles.join("; ")),
        "content": { MEDIA_TYPE: { "schema": schema } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of a value.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    found.push(to);
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_once_and_nothing_else() {
        let routes = super::super::routes::described();
        let mut ids: Vec<&str> = Vec::new();
        for route in routes {
            let found = operation(route.method, route.pattern);
            let found = found
                .unwrap_or_else(|| panic!("{} {} has no operation", route.method, route.pattern));
            ids.push(found.id);
        }
        let count = ids.len();
        assert_eq!(count, operations::count(), "an operation without a route");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an id stands twice");
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document(super::super::routes::described());
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for to in found {
            let place = document.pointer(to.strip_prefix('#').expect("a place in this document"));
            assert!(place.is_some(), "{to} leads nowhere");
        }
    }
}
