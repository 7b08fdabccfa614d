//! Probes, metrics, and taking a node out of service.

use hbuf_core::input::DiskHealth;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{json_reply, typed_reply};
use crate::engine::NodeStatus;
use crate::http::call::{Call, Reply};
use crate::http::problem::{Code, Problem};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    ready: bool,
}

/// `GET /healthz`
pub(super) async fn alive(_: Call) -> Reply {
    Ok(json_reply(StatusCode::OK, &json!({ "status": "alive" })))
}

/// `GET /readyz`
pub(super) async fn ready(call: Call) -> Reply {
    let status = call.app.engine.status();
    if status.ready {
        return Ok(json_reply(StatusCode::OK, &description(&status)));
    }
    let why = match (status.draining, status.disk) {
        (true, _) => {
            "the node is drained: PUT {\"ready\": true} to /readyz puts it back".to_owned()
        }
        (false, _) => status.reasons.join("; "),
    };
    let mut problem = Problem::new(Code::NotReady, format!("Use another node for now: {why}."));
    if let Value::Object(facts) = description(&status) {
        for (name, value) in facts {
            problem = problem.fact(&name, value);
        }
    }
    Err(problem)
}

/// `PUT /readyz`
pub(super) async fn drain(call: Call) -> Reply {
    let app = call.app.clone();
    let Wanted { ready } = call.json("").await?;
    app.engine.set_draining(!ready);
    tracing::info!(event = "drain_set", draining = !ready);
    Ok(json_reply(
        StatusCode::OK,
        &description(&app.engine.status()),
    ))
}

/// `GET /metrics`
pub(super) async fn metrics(call: Call) -> Reply {
    let app = &call.app;
    let text = app.metrics.text(
        app.engine.counters(),
        &app.engine.status(),
        app.engine.damaged_buffers(),
        app.engine.consumer_load(),
    );
    Ok(typed_reply(StatusCode::OK, text, OPENMETRICS))
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn description(status: &NodeStatus) -> Value {
    let disk = match status.disk {
        DiskHealth::Sound => "sound",
        DiskHealth::Full => "full",
        DiskHealth::Failed => "failed",
    };
    json!({
        "ready": status.ready,
        "draining": status.draining,
        "disk": disk,
        "reasons": status.reasons,
        "buffers": status.buffers,
        "open_buffers": status.open_buffers,
        "started": status.started.to_string(),
    })
}
