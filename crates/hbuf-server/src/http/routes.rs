//! The table of routes, one line each, and the way from a request to its line.

mod appends;
mod buffers;
mod consumer_acks;
mod consumer_events;
mod consumer_next;
mod consumers;
mod controls;
mod event_reply;
mod events;
mod filters;
mod health;
mod message;
mod pages;
mod proof;
mod raw;
mod read;
mod replies;
mod state;
mod topic_appends;
mod topic_reads;
mod topics;

pub(super) use appends::off_loop;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use hbuf_core::name::Name;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Value, json};

use super::body::Body;
use super::browser::{open_reply, preflight};
use super::call::{Call, Params, Reply, decode, shown};
use super::file_ranges::FileRanges;
use super::openapi::{self, Described};
use super::problem::{Code, Problem};
use super::upload::Upload;
use super::{App, accept, streams};

type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Reply> + Send>>;

/// One line of the table.
struct Route {
    method: Method,
    /// Segments; one in braces is a name of the client's.
    pattern: &'static str,
    handler: Handler,
    /// What it does, for people.
    help: &'static str,
}

macro_rules! routes {
    ($($method:ident $pattern:literal => $handler:path, $help:literal;)*) => {
        /// Every route. The first that fits is taken, so the most frequent ones come first.
        static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            pattern: $pattern,
            handler: |call| Box::pin($handler(call)),
            help: $help,
        },)*];
    };
}

routes! {
    POST "/buffers/{buffer}" => appends::to_buffer, "append a message, or a batch: all or nothing (?ids)";
    POST "/topics/{topic}" => appends::to_topic, "append a message, or a batch that gets a reply per message";
    GET "/buffers/{buffer}/messages" => read::from_buffer, "read or follow: ?after= limit= wait= from-time= tag= filter= key= latest= kinds=all";
    GET "/topics/{topic}/messages" => read::from_topic, "read or follow all buffers of a topic as one: ?after=CURSOR order=strict";
    GET "/buffers/{buffer}/messages/{seq}" => message::read, "one message (?id= to be sure that it is the one)";
    DELETE "/buffers/{buffer}/messages/{seq}" => message::erase, "erase a message (not supported yet)";
    POST "/buffers/{buffer}/consumers/{consumer}/next" => consumer_next::many_of_buffer, "lease messages: ?limit= wait=";
    POST "/buffers/{buffer}/consumers/{consumer}/acks" => consumer_acks::acks_of_buffer, "ack, nack or extend leases";
    POST "/topics/{topic}/consumers/{consumer}/next" => consumer_next::many_of_topic, "lease messages of all buffers of a topic: ?limit= wait=";
    POST "/topics/{topic}/consumers/{consumer}/acks" => consumer_acks::acks_of_topic, "ack, nack or extend leases";
    GET "/buffers/{buffer}/next" => consumer_next::one_of_buffer, "take one message: ?consumer= wait=";
    GET "/topics/{topic}/next" => consumer_next::one_of_topic, "take one message: ?consumer= wait=";
    GET "/buffers/{buffer}/consumers" => consumers::list_of_buffer, "list the consumers: ?after=NAME limit=";
    PUT "/buffers/{buffer}/consumers/{consumer}" => consumers::put_of_buffer, "create or configure a consumer";
    GET "/buffers/{buffer}/consumers/{consumer}" => consumers::describe_of_buffer, "describe a consumer and where it stands";
    DELETE "/buffers/{buffer}/consumers/{consumer}" => consumers::delete_of_buffer, "delete a consumer";
    POST "/buffers/{buffer}/consumers/{consumer}/seek" => consumer_acks::seek_of_buffer, "move a consumer: {\"start\": \"first\"}";
    GET "/topics/{topic}/consumers" => consumers::list_of_topic, "list the consumers: ?after=NAME limit=";
    PUT "/topics/{topic}/consumers/{consumer}" => consumers::put_of_topic, "create or configure a consumer";
    GET "/topics/{topic}/consumers/{consumer}" => consumers::describe_of_topic, "describe a consumer and where it stands";
    DELETE "/topics/{topic}/consumers/{consumer}" => consumers::delete_of_topic, "delete a consumer";
    POST "/topics/{topic}/consumers/{consumer}/seek" => consumer_acks::seek_of_topic, "move a consumer: {\"start\": \"first\"}";
    GET "/buffers" => buffers::list, "list the buffers: ?after=NAME limit=";
    PUT "/buffers/{buffer}" => buffers::put, "create or configure a buffer";
    GET "/buffers/{buffer}" => buffers::describe, "describe a buffer";
    DELETE "/buffers/{buffer}" => buffers::delete, "delete a buffer and its messages (?force when it is in a topic)";
    GET "/buffers/{buffer}/filters" => filters::list, "list the stored filters: ?after=NAME limit=";
    PUT "/buffers/{buffer}/filters/{filter}" => filters::put, "store a filter: a tag a line (text/plain, or NDJSON)";
    GET "/buffers/{buffer}/filters/{filter}" => filters::describe, "describe a stored filter";
    DELETE "/buffers/{buffer}/filters/{filter}" => filters::delete, "delete a stored filter";
    GET "/buffers/{buffer}/state" => state::get, "whether a buffer takes messages";
    PUT "/buffers/{buffer}/state" => state::put, "set it: open, closed or paused";
    GET "/buffers/{buffer}/checkpoint" => proof::checkpoint, "size and root of the buffer's tree";
    GET "/buffers/{buffer}/proof/inclusion" => proof::inclusion, "prove that a message is in the tree: ?seq= size=";
    GET "/buffers/{buffer}/proof/consistency" => proof::consistency, "prove that a tree continues another: ?from= to=";
    GET "/topics" => topics::list, "list the topics: ?after=NAME limit=";
    PUT "/topics/{topic}" => topics::put, "create a topic of buffers, or change which it has: {\"buffers\": [NAME, …], \"version\": N}";
    GET "/topics/{topic}" => topics::describe, "describe a topic";
    DELETE "/topics/{topic}" => topics::delete, "delete a topic: ?buffers=keep or delete";
    POST "/v1/stream/{path}" => streams::post, "append to a stream, or close it (Durable Streams)";
    GET "/v1/stream/{path}" => streams::get, "read a stream: ?offset= live=long-poll or sse";
    PUT "/v1/stream/{path}" => streams::put, "create a stream, perhaps with content";
    DELETE "/v1/stream/{path}" => streams::delete, "delete a stream and its messages";
    GET "/healthz" => health::alive, "whether the process is alive";
    GET "/readyz" => health::ready, "whether the node takes requests";
    PUT "/readyz" => health::drain, "{\"ready\": false} drains the node, true undoes it";
    GET "/metrics" => health::metrics, "counters for Prometheus";
    GET "/openapi.json" => openapi_document, "this API in OpenAPI 3.1, for programs";
    GET "/" => list, "this list";
}

/// The patterns, for counting.
pub(super) fn patterns() -> Vec<(&'static str, &'static str)> {
    ROUTES
        .iter()
        .map(|route| (method_text(route), route.pattern))
        .collect()
}

/// The table, for its description.
pub(super) fn described() -> impl Iterator<Item = Described> {
    ROUTES.iter().map(|route| Described {
        method: method_text(route),
        pattern: route.pattern,
        help: route.help,
    })
}

/// A transfer coding that is named twice leaves open where the body ends (RFC 9112, section 6.1):
/// whoever stands in between may read it otherwise.
fn framed_once(parts: &Parts) -> Result<(), Box<Problem>> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let named = codings.next().map(HeaderValue::as_bytes);
    let once = named.is_none_or(|named| named.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if once && codings.next().is_none() {
        return Ok(());
    }
    let what = "`transfer-encoding` is `chunked`, once, or is not there. Nothing was stored.";
    Err(Problem::new(Code::RequestMalformed, what)
        .header(CONNECTION, HeaderValue::from_static("close")))
}

/// Answers one request. `ranges` are those of the connection, if it can send ranges of files.
pub(super) async fn answer(
    app: Arc<App>,
    ranges: Option<FileRanges>,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let body = Upload::new(body, parts.version);
    let metrics = Arc::clone(&app.metrics);
    let passed = match framed_once(&parts).and_then(|()| app.doors.check(&parts)) {
        Ok(passed) => passed,
        Err(problem) => {
            let reply = problem.into_reply();
            metrics.request(None, reply.status(), started);
            return reply;
        }
    };
    if let Some(mut reply) = preflight(&parts, &passed) {
        open_reply(&passed, reply.headers_mut());
        return reply;
    }
    let (route, reply) = match find(&parts) {
        Ok(found) => {
            let call = Call {
                app,
                parts,
                body,
                params: found.params,
                tenant: found.tenant,
                ranges,
            };
            (Some(found.route), (ROUTES[found.route].handler)(call).await)
        }
        Err(problem) => (None, Err(problem)),
    };
    let mut reply = reply.unwrap_or_else(|problem| problem.into_reply());
    open_reply(&passed, reply.headers_mut());
    metrics.request(route, reply.status(), started);
    reply
}

#[derive(Debug)]
struct Found {
    route: usize,
    params: Params,
    tenant: Option<Name>,
}

fn find(parts: &Parts) -> Result<Found, Box<Problem>> {
    let path = parts.uri.path();
    if let Some((tenant, rest)) = stream_path(path) {
        let tenant = tenant.map(parse_tenant).transpose()?;
        // A stream's path is one name, however many slashes it has.
        return choose(parts, &["v1", "stream", rest], tenant);
    }
    let mut segments = [""; SEGMENTS_MAX];
    let count = split(path, &mut segments).ok_or_else(|| not_found(path))?;
    let mut segments = &segments[..count];
    let mut tenant = None;
    if let ["tenants", name, rest @ ..] = segments
        && matches!(rest.first(), Some(&("buffers" | "topics")))
    {
        tenant = Some(parse_tenant(name)?);
        segments = rest;
    }
    choose(parts, segments, tenant)
}

/// The tenant, when the path names one, and the path of the stream that it leads to.
fn stream_path(path: &str) -> Option<(Option<&str>, &str)> {
    if let Some(rest) = path.strip_prefix("/v1/stream/") {
        return Some((None, rest));
    }
    let (tenant, rest) = path.strip_prefix("/tenants/")?.split_once('/')?;
    Some((Some(tenant), rest.strip_prefix("v1/stream/")?))
}

/// The route of these segments, by the method.
fn choose(parts: &Parts, segments: &[&str], tenant: Option<Name>) -> Result<Found, Box<Problem>> {
    let mut others = Vec::new();
    for (index, route) in ROUTES.iter().enumerate() {
        if !fits(route.pattern, segments) {
            continue;
        }
        let head = parts.method == Method::HEAD && route.method == Method::GET;
        if route.method == parts.method || head {
            return Ok(Found {
                route: index,
                params: params(route.pattern, segments)?,
                tenant,
            });
        }
        others.push(method_text(route));
    }
    if others.is_empty() {
        return Err(not_found(parts.uri.path()));
    }
    Err(method_not_allowed(&parts.method, others))
}

/// The segments between the slashes; `None` when there are more than any route has.
fn split<'a>(path: &'a str, segments: &mut [&'a str; SEGMENTS_MAX]) -> Option<usize> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(0);
    }
    let mut count = 0;
    for segment in path.split('/') {
        *segments.get_mut(count)? = segment;
        count += 1;
    }
    Some(count)
}

fn pattern_segments(pattern: &'static str) -> impl Iterator<Item = &'static str> {
    pattern.split('/').filter(|segment| !segment.is_empty())
}

fn fits(pattern: &'static str, segments: &[&str]) -> bool {
    let mut given = segments.iter();
    for wanted in pattern_segments(pattern) {
        match given.next() {
            Some(segment) if wanted.starts_with('{') => {
                if segment.is_empty() {
                    return false;
                }
            }
            Some(segment) if *segment == wanted => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

fn params(pattern: &'static str, segments: &[&str]) -> Result<Params, Box<Problem>> {
    let mut params = Params::default();
    let named = pattern_segments(pattern)
        .zip(segments)
        .filter(|(wanted, _)| wanted.starts_with('{'));
    for (place, (_, segment)) in params.0.iter_mut().zip(named) {
        let name = decode(segment, false).ok_or_else(|| {
            Problem::new(
                Code::NameInvalid,
                format!("`{}` is not percent-encoded UTF-8.", shown(segment)),
            )
        })?;
        *place = name.into();
    }
    Ok(params)
}

fn parse_tenant(segment: &str) -> Result<Name, Box<Problem>> {
    let name = decode(segment, false).unwrap_or_default();
    Name::parse_tenant(&name).map_err(|error| {
        Problem::new(
            Code::NameInvalid,
            format!("`{}` is no name of a tenant: {error}.", shown(segment)),
        )
    })
}

fn not_found(path: &str) -> Box<Problem> {
    Problem::new(
        Code::RouteNotFound,
        format!(
            "There is nothing at `{}`: `GET /` lists all paths.",
            shown(path)
        ),
    )
}

fn method_not_allowed(method: &Method, mut others: Vec<&'static str>) -> Box<Problem> {
    if others.contains(&"GET") {
        others.push("HEAD");
    }
    let allowed = others.join(", ");
    let value = HeaderValue::from_str(&allowed).expect("names of methods are ASCII");
    Problem::new(
        Code::MethodNotAllowed,
        format!("`{method}` does nothing here: use {allowed}."),
    )
    .header(ALLOW, value)
}

fn method_text(route: &Route) -> &'static str {
    ["GET", "POST", "PUT", "DELETE"]
        .into_iter()
        .find(|text| route.method.as_str() == *text)
        .unwrap_or("?")
}

/// `GET /openapi.json`
async fn openapi_document(call: Call) -> Reply {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document(described()));
    call.query(&[])?;
    Ok(json_reply(StatusCode::OK, &*DOCUMENT))
}

/// `GET /`
async fn list(call: Call) -> Reply {
    call.query(&[])?;
    let offers = [
        ("application/json", Form::Json),
        ("text/plain", Form::Text),
        ("text/html", Form::Text),
    ];
    let text = match accept::choose(call.headers(), &offers)? {
        Form::Json => {
            let routes: Vec<Value> = ROUTES
                .iter()
                .map(|route| {
                    json!({ "method": method_text(route), "path": route.pattern, "help": route.help })
                })
                .collect();
            let list = json!({ "hbuf": env!("CARGO_PKG_VERSION"), "tenants": TENANTS_HELP, "routes": routes });
            return Ok(json_reply(StatusCode::OK, &list));
        }
        Form::Text => {
            let width = ROUTES
                .iter()
                .map(|route| route.pattern.len())
                .max()
                .unwrap_or_default();
            let line = |route: &Route| {
                format!(
                    "{:6} {:width$}  {}\n",
                    method_text(route),
                    route.pattern,
                    route.help
                )
            };
            let lines: String = ROUTES.iter().map(line).collect();
            format!(
                "hbuf {}\n\n{lines}\n{TENANTS_HELP}\n",
                env!("CARGO_PKG_VERSION")
            )
        }
    };
    Ok(text_reply(StatusCode::OK, text))
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Text,
}

/// A reply in JSON.
fn json_reply(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_string(value).expect("what is answered can be written");
    text.push('\n');
    typed_reply(status, text, "application/json")
}

/// A reply in plain text.
fn text_reply(status: StatusCode, text: String) -> Response<Body> {
    typed_reply(status, text, "text/plain; charset=utf-8")
}

fn typed_reply(status: StatusCode, text: String, content_type: &'static str) -> Response<Body> {
    let mut reply = Response::new(Body::full(text));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    reply
}

const TENANTS_HELP: &str =
    "every path below /buffers, /topics and /v1/stream also exists below /tenants/{tenant}";

/// More segments than any pattern has behind a tenant.
const SEGMENTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Result<(&'static str, Vec<String>, Option<String>), u16> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        match find(&parts) {
            Ok(found) => Ok((
                ROUTES[found.route].pattern,
                found.params.0.iter().map(ToString::to_string).collect(),
                found.tenant.map(|tenant| tenant.to_string()),
            )),
            Err(problem) => Err(problem.code.row().status.as_u16()),
        }
    }

    fn check(
        method: &str,
        path: &str,
        pattern: &'static str,
        names: [&str; 2],
        tenant: Option<&str>,
    ) {
        let names = names.map(str::to_owned).to_vec();
        assert_eq!(
            found(method, path),
            Ok((pattern, names, tenant.map(str::to_owned))),
            "{path}"
        );
    }

    #[test]
    fn paths_find_their_routes() {
        check("POST", "/buffers/a", "/buffers/{buffer}", ["a", ""], None);
        check(
            "HEAD",
            "/buffers/a/messages/7",
            "/buffers/{buffer}/messages/{seq}",
            ["a", "7"],
            None,
        );
        check(
            "GET",
            "/tenants/t/topics/a%2Eb/messages",
            "/topics/{topic}/messages",
            ["a.b", ""],
            Some("t"),
        );
        check(
            "GET",
            "/tenants/-/buffers/",
            "/buffers",
            ["", ""],
            Some("-"),
        );
        check("GET", "/", "/", ["", ""], None);
        let stream = "/v1/stream/{path}";
        check(
            "PUT",
            "/v1/stream/a/b%20c/d/e/f/g/h/i/",
            stream,
            ["a/b c/d/e/f/g/h/i/", ""],
            None,
        );
        check(
            "HEAD",
            "/tenants/t/v1/stream/a",
            stream,
            ["a", ""],
            Some("t"),
        );
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        for path in [
            "/x",
            "/buffers//messages",
            "/tenants/t",
            "/tenants/t/healthz",
            "/a/b/c/d/e/f/g/h/i/j",
            "/v1/stream",
            "/v1/stream/",
        ] {
            assert_eq!(found("GET", path), Err(404), "{path}");
        }
        assert_eq!(found("PATCH", "/buffers/a"), Err(405));
        assert_eq!(found("POST", "/healthz"), Err(405));
        assert_eq!(found("GET", "/buffers/%ff"), Err(400));
        assert_eq!(found("GET", "/tenants/%20/buffers"), Err(400));
    }

    #[test]
    fn every_route_is_described_in_the_reference() {
        let api = include_str!("../../../../docs/API.md");
        for route in ROUTES {
            let line = format!("`{} {}`", method_text(route), route.pattern);
            assert!(api.contains(&line), "{line} is missing");
        }
    }
}
