//! What the server says about a buffer's tree: its head, and proofs over it.

use hbuf_core::ids::Hash;
use hbuf_core::tree::Checkpoint;
use http::StatusCode;
use serde_json::json;

use super::{json_reply, text_reply};
use crate::http::accept;
use crate::http::call::{Call, Query, Reply};
use crate::http::problem::{Code, Problem};

/// `GET /buffers/{buffer}/checkpoint`
pub(super) async fn checkpoint(call: Call) -> Reply {
    call.query(&[])?;
    let offers = [
        ("application/json", Form::Json),
        ("text/plain", Form::Note),
        ("text/html", Form::Note),
    ];
    let form = accept::choose(call.headers(), &offers)?;
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    let size = buffer.readable().commit().0;
    let root = buffer.readable().root(size).await?;
    let log = buffer.log().to_string();
    Ok(match form {
        Form::Json => json_reply(
            StatusCode::OK,
            &json!({ "log": log, "size": size, "root": root.to_string() }),
        ),
        Form::Note => {
            let mut text = Vec::new();
            Checkpoint {
                origin: log,
                size,
                root,
            }
            .encode(&mut text);
            text_reply(StatusCode::OK, String::from_utf8_lossy(&text).into_owned())
        }
    })
}

/// `GET /buffers/{buffer}/proof/inclusion`
pub(super) async fn inclusion(call: Call) -> Reply {
    let query = call.query(&["seq", "size"])?;
    let seq = query.seq("seq")?.ok_or_else(|| missing("seq"))?;
    let size = size(&query, "size")?;
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    let size = size.unwrap_or_else(|| buffer.readable().commit().0);
    let proof = buffer.readable().inclusion(seq, size).await?;
    Ok(json_reply(
        StatusCode::OK,
        &json!({
            "log": buffer.log().to_string(),
            "seq": proof.seq.0,
            "id": proof.id.to_string(),
            "size": proof.size,
            "root": proof.root.to_string(),
            "hashes": texts(&proof.path),
        }),
    ))
}

/// `GET /buffers/{buffer}/proof/consistency`
pub(super) async fn consistency(call: Call) -> Reply {
    let query = call.query(&["from", "to"])?;
    let from = size(&query, "from")?.ok_or_else(|| missing("from"))?;
    let to = size(&query, "to")?;
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    let to = to.unwrap_or_else(|| buffer.readable().commit().0);
    let proof = buffer.readable().consistency(from, to).await?;
    Ok(json_reply(
        StatusCode::OK,
        &json!({
            "log": buffer.log().to_string(),
            "from": proof.from,
            "from_root": proof.from_root.to_string(),
            "to": proof.to,
            "to_root": proof.to_root.to_string(),
            "hashes": texts(&proof.path),
        }),
    ))
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Note,
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(ToString::to_string).collect()
}

fn size(query: &Query<'_>, name: &str) -> Result<Option<u64>, Box<Problem>> {
    Ok(query.seq(name)?.map(|seq| seq.0))
}

fn missing(name: &str) -> Box<Problem> {
    Problem::new(
        Code::QueryInvalid,
        format!("`{name}` is missing in the query: give a seq or a size."),
    )
}
