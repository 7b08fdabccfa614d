//! Buffers: create, configure, describe, list, delete.

use hbuf_core::ids::Seq;
use hbuf_manager::{MirrorChange, MirrorConfig};
use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::json_reply;
use super::pages::paged;
use crate::engine::{BufferInfo, BufferSettings, BufferStatus, MirrorSettings, MirrorStatus};
use crate::http::body::Body;
use crate::http::call::{Call, Reply, shown};
use crate::http::object::Object;
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
    #[serde(default, deserialize_with = "named")]
    min_insync: Option<Option<u64>>,
    #[serde(default, deserialize_with = "named")]
    mirror: Option<Option<Object<Follows>>>,
}

/// What a mirror follows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Follows {
    of: String,
    #[serde(default)]
    tags: Vec<String>,
    from: Option<String>,
}

impl Follows {
    fn settings(self) -> Result<MirrorSettings, Box<Problem>> {
        let from_start = match self.from.as_deref() {
            None | Some("tail") => false,
            Some("start") => true,
            Some(text) => {
                return Err(Problem::new(
                    Code::BodyInvalid,
                    format!("`from` is tail or start, not `{}`.", shown(text)),
                ));
            }
        };
        let tags = self
            .tags
            .into_iter()
            .map(|tag| tag.trim().as_bytes().into());
        Ok(MirrorSettings {
            of: self.of,
            tags: tags.collect(),
            from_start,
        })
    }
}

/// Something that is named, `null` being nothing.
pub(super) fn named<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
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
    let mut settings: Settings = call.json("{}").await?;
    // The origin is looked up first: without it nothing is made.
    let mirror = match settings.mirror.take() {
        None => MirrorChange::Keep,
        Some(None) => MirrorChange::End,
        Some(Some(Object(follows))) => {
            let wanted = follows.settings()?;
            let config = app.engine.mirror_config(&tenant, &wanted).await?;
            MirrorChange::Follow(Box::new(config))
        }
    };
    let copies = |copies: u64| u8::try_from(copies).unwrap_or(u8::MAX);
    let settings = BufferSettings {
        segment_bytes: settings.segment_bytes,
        retention_seconds: settings.retention_seconds,
        retention_bytes: settings.retention_bytes,
        retention_count: settings.retention_count,
        replicas: settings.replicas.map(copies),
        min_insync: settings.min_insync.map(|it| it.map(copies)),
    };
    let created = app.engine.create_buffer(&tenant, &name, &settings, mirror);
    let (info, created) = created.await?;
    let buffer = app.engine.buffer(&tenant, name.as_str()).await?;
    let status = app.engine.mirror_status(info.uuid);
    let value = description(&info, buffer.status().as_ref(), status.as_deref());
    Ok(created_reply(&value, created, &location))
}

/// `GET /buffers/{buffer}`
pub(super) async fn describe(call: Call) -> Reply {
    call.query(&[])?;
    let engine = &call.app.engine;
    let info = engine.describe_buffer(call.tenant(), call.name())?;
    let buffer = engine.buffer(call.tenant(), call.name()).await?;
    let mirror = engine.mirror_status(info.uuid);
    Ok(json_reply(
        StatusCode::OK,
        &description(&info, buffer.status().as_ref(), mirror.as_deref()),
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
        "min_insync": info.config.effective_min_insync(),
    })
}

/// What the manager and the open buffer know. Nothing here tells of a message that is not
/// committed.
fn description(
    info: &BufferInfo,
    status: Option<&BufferStatus>,
    mirror: Option<&MirrorStatus>,
) -> Value {
    let mut value = entry(info);
    value["log"] = info.log.to_string().into();
    value["history"] = info.history.to_string().into();
    value["epoch"] = info.epoch.0.into();
    if let Some(config) = &info.mirror {
        value["mirror"] = following(config, mirror);
    }
    if let Some(status) = status {
        value["state"] = status.state.as_str().into();
        value["epoch"] = status.epoch.0.into();
        value["first"] = status.first.0.into();
        value["commit"] = status.commit.0.into();
        value["messages"] = (status.commit.next().0 - status.first.0).into();
        value["bytes"] = status.bytes.into();
        value["segments"] = status.segments.into();
        let maybe = |seq: Option<Seq>| seq.map_or(Value::Null, |seq| seq.0.into());
        value["damaged_at"] = maybe(status.damaged);
        value["cursors_damaged_at"] = maybe(status.cursors_damaged);
    }
    value
}

/// What a mirror follows and how far it has come.
fn following(config: &MirrorConfig, status: Option<&MirrorStatus>) -> Value {
    let tags = config.tags.iter().map(|tag| String::from_utf8_lossy(tag));
    let reason = status.and_then(MirrorStatus::reason);
    json!({
        "of": config.name.as_str(),
        "uuid": config.of.to_string(),
        "tags": tags.collect::<Vec<_>>(),
        "after": config.after.0,
        "follows": status.is_some() && reason.is_none(),
        "reason": reason,
        "place": status.map(|status| status.place().0),
        "lag": status.map(MirrorStatus::lag),
        "missed": status.map(MirrorStatus::dropped),
    })
}

/// Says what `?buffers=` may be.
pub(super) fn bad_choice(name: &str, text: &str, choices: &str) -> Box<Problem> {
    Problem::new(
        Code::QueryInvalid,
        format!(
            "`{name}={}` is not understood: give {choices}.",
            shown(text)
        ),
    )
}
