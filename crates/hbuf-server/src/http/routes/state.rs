//! A buffer's state: whether it takes messages.

use hbuf_core::input::BufferState;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::json_reply;
use crate::http::call::{Call, Reply, shown};
use crate::http::problem::{Code, Problem};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    state: String,
}

/// `GET /buffers/{buffer}/state`
pub(super) async fn get(call: Call) -> Reply {
    call.query(&[])?;
    let info = call
        .app
        .engine
        .describe_buffer(call.tenant(), call.name())?;
    Ok(json_reply(
        StatusCode::OK,
        &json!({ "state": info.state.as_str() }),
    ))
}

/// `PUT /buffers/{buffer}/state`
pub(super) async fn put(call: Call) -> Reply {
    call.query(&[])?;
    let (app, tenant, name) = (
        call.app.clone(),
        call.tenant().clone(),
        call.name().to_owned(),
    );
    let Wanted { state } = call.json("{}").await?;
    let state = BufferState::parse(&state).ok_or_else(|| {
        Problem::new(
            Code::BodyInvalid,
            format!(
                "`{}` is no state: send {{\"state\": \"open\"}}, closed or paused.",
                shown(&state)
            ),
        )
    })?;
    let info = app.engine.set_state(&tenant, &name, state).await?;
    Ok(json_reply(
        StatusCode::OK,
        &json!({ "state": info.state.as_str() }),
    ))
}
