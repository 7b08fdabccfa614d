//! Topics: create, describe, list, delete.

use hbuf_core::name::Name;
use hbuf_manager::LastTopic;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::buffers::{bad_choice, created_reply, no_content};
use super::json_reply;
use super::pages::paged;
use crate::engine::{MemberInfo, TopicInfo};
use crate::http::call::{Call, Reply, parse_name};
use crate::http::whole::whole;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    buffers: Option<Vec<String>>,
    #[serde(default, deserialize_with = "whole")]
    version: Option<u64>,
}

/// `GET /topics`
pub(super) async fn list(call: Call) -> Reply {
    let page =
        |call: &Call, after: &str, limit| call.app.engine.list_topics(call.tenant(), after, limit);
    paged(&call, "topics", page, description)
}

/// `PUT /topics/{topic}`
pub(super) async fn put(call: Call) -> Reply {
    call.query(&[])?;
    let name = call.new_name()?;
    let (app, tenant) = (call.app.clone(), call.tenant().clone());
    let location = call.parts.uri.path().to_owned();
    let settings: Settings = call.json("{}").await?;
    let buffers = settings
        .buffers
        .map(|names| names.iter().map(|name| parse_name(name)).collect());
    let buffers: Option<Vec<Name>> = buffers.transpose()?;
    let engine = &app.engine;
    let made = engine.create_topic(&tenant, &name, buffers, settings.version);
    let (info, created) = made.await?;
    let members = engine.topic_members(&tenant, name.as_str())?;
    Ok(created_reply(
        &described(&info, &members),
        created,
        &location,
    ))
}

/// `GET /topics/{topic}`
pub(super) async fn describe(call: Call) -> Reply {
    call.query(&[])?;
    let engine = &call.app.engine;
    let info = engine.describe_topic(call.tenant(), call.name())?;
    let members = engine.topic_members(call.tenant(), call.name())?;
    Ok(json_reply(StatusCode::OK, &described(&info, &members)))
}

/// `DELETE /topics/{topic}`
pub(super) async fn delete(call: Call) -> Reply {
    let query = call.query(&["buffers"])?;
    let buffers = match query.get("buffers") {
        None => LastTopic::Refuse,
        Some("keep") => LastTopic::Keep,
        Some("delete") => LastTopic::Delete,
        Some(text) => return Err(bad_choice("buffers", text, "keep or delete")),
    };
    let engine = &call.app.engine;
    let info = engine.describe_topic(call.tenant(), call.name())?;
    engine
        .delete_topic(call.tenant(), &info.name, buffers)
        .await?;
    Ok(no_content())
}

fn description(info: &TopicInfo) -> Value {
    json!({
        "name": info.name.as_str(),
        "buffers": info.buffers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "created": info.created.to_string(),
        "version": info.version,
    })
}

/// The same, with what each of its buffers takes.
fn described(info: &TopicInfo, members: &[MemberInfo]) -> Value {
    let member = |member: &MemberInfo| {
        json!({
            "buffer": member.name.as_str(),
            "state": member.state.as_str(),
            "slots": member.slots,
        })
    };
    let mut value = description(info);
    value["members"] = members.iter().map(member).collect();
    value
}
