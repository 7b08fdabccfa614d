//! `GET /metrics`

use http::StatusCode;

use super::typed_reply;
use crate::http::call::{Call, Reply};

pub(super) async fn metrics(call: Call) -> Reply {
    let app = &call.app;
    let text = app
        .metrics
        .text(app.engine.counters(), &app.engine.status());
    Ok(typed_reply(
        StatusCode::OK,
        text,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    ))
}
