//! `…/messages/{seq}`: one message, as the reply's own body and headers.

use hbuf_core::ids::Hash;
use hbuf_core::record::{Record, State, decode};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, HeaderName, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::event_reply;
use crate::http::body::Body;
use crate::http::browser::{confine, may_show};
use crate::http::call::{Call, Reply, etag_is_known, shown};
use crate::http::problem::{Code, Problem};
use hbuf_core::ids::Uuid;

/// `GET /buffers/{buffer}/messages/{seq}`
pub(super) async fn read(call: Call) -> Reply {
    let seq = call.seq()?;
    let id = id(&call)?;
    let buffer = call.app.engine.buffer(call.tenant(), call.name()).await?;
    let commit = buffer.readable().commit();
    if seq > commit {
        if let Some(damage) = buffer.readable().damage_at_end() {
            return Err(damage.into());
        }
        return Err(Problem::new(
            Code::MessageNotFound,
            format!("There is no message {seq} yet, the last one is {commit}: wait for it with ?after= and wait=."),
        )
        .fact("commit", commit.0));
    }
    let records = buffer.readable().read(seq.prev(), 1, 0).await?;
    let damaged = |what: String| buffer.readable().found_damaged(seq, what);
    let record = decode(&records.bytes).map_err(|error| damaged(error.to_string()))?;
    if let Some(wanted) = id.filter(|wanted| record.id() != Some(*wanted)) {
        return Err(Problem::new(
            Code::MessageReplaced,
            format!("Message {seq} is not the one with the id {wanted}: that one was lost before it was committed."),
        )
        .fact("seq", seq.0));
    }
    if record.line.state == State::Gone {
        return Err(Problem::new(
            Code::MessageErased,
            format!("The content of message {seq} was erased for good; its id and place remain."),
        )
        .fact("seq", seq.0)
        .fact("id", record.id().unwrap_or_default().to_string())
        .fact("time", record.line.time.to_string()));
    }
    let shown = event_reply::one(
        &call.app.engine,
        call.headers(),
        buffer.uuid(),
        &record,
        &records.bytes,
    );
    let mut headers = shown.headers;
    let form = if shown.is_event { "-event" } else { "" };
    let tag = format!("\"{}{form}\"", record.id().unwrap_or_default());
    let tag = HeaderValue::try_from(tag).expect("hex digits and quotes are visible ASCII");
    let known = etag_is_known(call.headers(), &tag);
    headers.insert(ETAG, tag);
    let mut reply = if known {
        let mut reply = Response::new(Body::empty());
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    } else {
        Response::new(Body::full(shown.body))
    };
    *reply.headers_mut() = headers;
    Ok(reply)
}

/// `DELETE /buffers/{buffer}/messages/{seq}`
pub(super) async fn erase(call: Call) -> Reply {
    call.seq()?;
    call.app.engine.buffer(call.tenant(), call.name()).await?;
    Err(Problem::new(
        Code::NotSupported,
        "This version of hbuf cannot erase single messages yet, and nothing was erased: delete the buffer, \
         or let retention drop old messages.",
    ))
}

fn id(call: &Call) -> Result<Option<Hash>, Box<Problem>> {
    let query = call.query(&["id"])?;
    let Some(text) = query.get("id") else {
        return Ok(None);
    };
    let id = Hash::parse_hex(text.as_bytes()).ok_or_else(|| {
        Problem::new(
            Code::QueryInvalid,
            format!(
                "`id={}` is no id: it is the `x-hbuf-id` of the append, 64 lower-case hex digits.",
                shown(text)
            ),
        )
    })?;
    Ok(Some(id))
}

/// The message's own headers, such that none of them commands the browser, and hbuf's facts.
pub(super) fn headers(buffer: Uuid, record: &Record<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in record.headers() {
        let Ok(value) = HeaderValue::from_bytes(value) else {
            continue;
        };
        if let Some(name) = reflected(name) {
            headers.append(name, value);
        }
    }
    let mut fact = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    fact("x-hbuf-seq", record.line.seq.to_string());
    fact("x-hbuf-id", record.id().unwrap_or_default().to_string());
    fact("x-hbuf-buffer", buffer.to_string());
    fact("x-hbuf-time", record.line.time.to_string());
    fact("x-hbuf-epoch", record.line.epoch.to_string());
    if record.facts.kind != hbuf_core::record::Kind::Data {
        fact("x-hbuf-kind", record.facts.kind.text().to_owned());
    }
    let shown = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| may_show(kind.as_bytes()));
    // An event without a content type has none, which is another event than one with a type.
    if !headers.contains_key(CONTENT_TYPE) && !headers.contains_key("ce-specversion") {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
    }
    if !shown {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept, authorization"));
    confine(&mut headers);
    headers
}

/// Under which name a stored header comes back: its own only when it describes the body.
fn reflected(name: &[u8]) -> Option<HeaderName> {
    let own = matches!(
        name,
        b"content-type" | b"content-encoding" | b"content-language"
    ) || name.starts_with(b"ce-")
        || name.starts_with(b"x-hbuf-");
    if own {
        return HeaderName::from_bytes(name).ok();
    }
    HeaderName::from_bytes(&[b"x-hbuf-meta-", name].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_command_a_browser_come_back_under_another_name() {
        let check = |name: &str, expected: &str| {
            assert_eq!(reflected(name.as_bytes()).unwrap().as_str(), expected);
        };
        check("content-type", "content-type");
        check("ce-id", "ce-id");
        check("x-hbuf-meta-own", "x-hbuf-meta-own");
        check("x-hbuf-key", "x-hbuf-key");
        check("set-cookie", "x-hbuf-meta-set-cookie");
        check("location", "x-hbuf-meta-location");
        check(
            "access-control-allow-origin",
            "x-hbuf-meta-access-control-allow-origin",
        );
        check(
            "content-security-policy",
            "x-hbuf-meta-content-security-policy",
        );
        check("content-disposition", "x-hbuf-meta-content-disposition");
        check("content-range", "x-hbuf-meta-content-range");
        check("traceparent", "x-hbuf-meta-traceparent");
    }
}
