//! Buffers: create, configure, describe, list, delete.

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::json_reply;
use super::pages::paged;
use crate::engine::{BufferInfo, BufferSettings, BufferStatus};
use crate::http::body::Body;
use crate::http::call::{Call, Reply};
use crate::http::problem::{Code, Problem};
use crate::http::whole::{limit, whole};

/// What a client may set. A name that is not there leaves the value as it is; `null` is the
/// default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default, deserialize_with = "whole")]
    segment_bytes: Option<u64>,
    #[serde(default, deserialize_with = "limit")]
    retention_seconds: Option<u64>,
    #[serde(default, deserialize_with = "limit")]
    retention_bytes: Option<u64>,
    #[serde(default, deserialize_with = "limit")]
    retention_count: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    replicas: Option<u64>,
}

/// `GET /buffers`
pub(super) async fn list(call: Call) -> Reply {
    let page =
        |call: &Call, after: &str, limit| call.app.engine.list_buffers(call.tenant(), after, limit);
    paged(&call, "buffers", page, entry)
}

/// `PUT /buffers/{buffer}`
pub(super) async fn put(call: Call) -> Reply {
    call.query(&[])?;
    let name = call.new_name()?;
    let (app, tenant) = (call.app.clone(), call.tenant().clone());
    let location = call.parts.uri.path().to_owned();
    let settings: Settings = call.json("{}").await?;
    let settings = BufferSettings {
        segment_bytes: settings.segment_bytes,
        retention_seconds: settings.retention_seconds,
        retention_bytes: settings.retention_bytes,
        retention_count: settings.retention_count,
        replicas: settings
            .replicas
            .map(|copies| u8::try_from(copies).unwrap_or(u8::MAX)),
    };
    let (info, created) = app.engine.create_buffer(&tenant, &name, &settings).await?;
    let buffer = app.engine.buffer(&tenant, name.as_str()).await?;
    let value = description(&info, buffer.status().as_ref());
    Ok(created_reply(&value, created, &location))
}

/// `GET /buffers/{buffer}`
pub(super) async fn describe(call: Call) -> Reply {
    call.query(&[])?;
    let engine = &call.app.engine;
    let info = engine.describe_buffer(call.tenant(), call.name())?;
    let buffer = engine.buffer(call.tenant(), call.name()).await?;
    Ok(json_reply(
        StatusCode::OK,
        &description(&info, buffer.status().as_ref()),
    ))
}

/// `DELETE /buffers/{buffer}`
pub(super) async fn delete(call: Call) -> Reply {
    let force = call.query(&["force"])?.flag("force")?;
    call.app
        .engine
        .delete_buffer(call.tenant(), call.name(), force)
        .await?;
    Ok(no_content())
}

/// A reply with `location` when something was made.
pub(super) fn created_reply(value: &Value, created: bool, location: &str) -> Response<Body> {
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut reply = json_reply(status, value);
    if created && let Ok(location) = HeaderValue::from_str(location) {
        reply.headers_mut().insert(LOCATION, location);
    }
    reply
}

pub(super) fn no_content() -> Response<Body> {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// What the manager knows of a buffer.
fn entry(info: &BufferInfo) -> Value {
    let keep = &info.config.retention;
    json!({
        "name": info.name.as_str(),
        "uuid": info.uuid.to_string(),
        "state": info.state.as_str(),
        "topics": info.topics.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "created": info.created.to_string(),
        "version": info.version,
        "segment_bytes": info.config.segment_bytes,
        "retention_seconds": keep.age_seconds,
        "retention_bytes": keep.bytes,
        "retention_count": keep.count,
        "replicas": info.config.replicas,
    })
}

/// What the manager and the open buffer know. Nothing here tells of a message that is not
/// committed.
fn description(info: &BufferInfo, status: Option<&BufferStatus>) -> Value {
    let mut value = entry(info);
    value["log"] = info.log.to_string().into();
    value["history"] = info.history.to_string().into();
    value["epoch"] = info.epoch.0.into();
    if let Some(status) = status {
        value["state"] = status.state.as_str().into();
        value["epoch"] = status.epoch.0.into();
        value["first"] = status.first.0.into();
        value["commit"] = status.commit.0.into();
        value["messages"] = (status.commit.next().0 - status.first.0).into();
        value["bytes"] = status.bytes.into();
        value["segments"] = status.segments.into();
        value["damaged_at"] = status.damaged.map_or(Value::Null, |seq| seq.0.into());
    }
    value
}

/// Says what `?buffers=` may be.
pub(super) fn bad_choice(name: &str, text: &str, choices: &str) -> Box<Problem> {
    Problem::new(
        Code::QueryInvalid,
        format!(
            "`{name}={}` is not understood: give {choices}.",
            super::shown(text)
        ),
    )
}
