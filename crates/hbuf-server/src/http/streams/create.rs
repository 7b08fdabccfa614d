//! `PUT` makes a stream with its first messages; `DELETE` removes it with all of them.

use hbuf_core::stream::{Definition, StreamAppend, StreamEnd};
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::stream_append::contents;
use super::stream_call::{
    CLOSED, EXPIRES_AT, NEXT_OFFSET, TRUE, TTL, base_headers, buffer_name, closes, invalid, offset,
    refuse_buffer_controls,
};
use crate::engine::Append;
use crate::http::body::Body;
use crate::http::call::{Call, Reply, single};
use crate::http::problem::{Code, Problem};

/// The content type of a stream that names none.
const CONTENT_TYPE_DEFAULT: &str = "application/octet-stream";

/// `PUT /v1/stream/{path}`
pub(in crate::http) async fn put(call: Call) -> Reply {
    let name = buffer_name(&call)?;
    refuse_buffer_controls(call.headers())?;
    refuse_forks(call.headers())?;
    let headers = call.headers();
    let content_type = single(headers, &CONTENT_TYPE)?.unwrap_or(CONTENT_TYPE_DEFAULT);
    let (ttl, expires_at) = (single(headers, &TTL)?, single(headers, &EXPIRES_AT)?);
    let definition = Definition::parse(content_type, ttl, expires_at)
        .map_err(|error| invalid(&format!("{error}.")))?;
    let closed = closes(headers);
    let location = location(&call);
    let headers = call.parts.headers.clone();
    let content_type = Some(definition.content_type());
    let contents = contents(&call.app, &headers, content_type, call.body).await?;
    let reply_headers = base_headers(definition.content_type());
    let append = Append {
        contents: contents.unwrap_or_default(),
        stream: Some(StreamAppend::Define { definition, closed }),
        ..Append::default()
    };
    let engine = &call.app.engine;
    let tenant = crate::http::call::tenant_or_default(call.tenant.as_ref());
    let (_, appended) = engine.create_stream(tenant, &name, append).await?;
    let end = appended.stream.expect("the append meant a stream");
    Ok(made(
        reply_headers,
        &end,
        (!appended.replayed).then_some(location),
    ))
}

/// 201 with the address of a new stream, or 200 when it was there.
fn made(headers: HeaderMap, end: &StreamEnd, location: Option<HeaderValue>) -> Response<Body> {
    let mut reply = Response::new(Body::empty());
    *reply.headers_mut() = headers;
    let headers = reply.headers_mut();
    headers.insert(NEXT_OFFSET, offset(end.tail));
    if end.closed {
        headers.insert(CLOSED, TRUE);
    }
    if let Some(location) = location {
        headers.insert(LOCATION, location);
        *reply.status_mut() = StatusCode::CREATED;
    }
    reply
}

/// The address by which the client called, which the doors have checked.
fn location(call: &Call) -> HeaderValue {
    let uri = &call.parts.uri;
    let host = call.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map_or(host, |host| Some(host.as_str()));
    let scheme = uri.scheme_str().unwrap_or("http");
    let address = format!("{scheme}://{}{}", host.unwrap_or("localhost"), uri.path());
    HeaderValue::try_from(address).expect("a target and a host are visible ASCII")
}

fn refuse_forks(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let forks = [
        "stream-forked-from",
        "stream-fork-offset",
        "stream-fork-sub-offset",
    ];
    if forks.iter().any(|name| headers.contains_key(*name)) {
        return Err(Problem::new(
            Code::NotSupported,
            "This server does not fork streams: create a new one and append to it what it should start with.",
        ));
    }
    Ok(())
}

/// `DELETE /v1/stream/{path}`
pub(in crate::http) async fn delete(call: Call) -> Reply {
    let name = buffer_name(&call)?;
    call.app.engine.delete_stream(call.tenant(), &name).await?;
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    *reply.headers_mut() = base_headers("");
    reply.headers_mut().remove(CONTENT_TYPE);
    Ok(reply)
}
