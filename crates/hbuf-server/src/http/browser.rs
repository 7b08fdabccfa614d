//! What keeps web pages of strangers away from a server without login, and stored content from
//! running.
//!
//! A page in a browser on this machine can send requests to loopback. So the `host` must be ours
//! (else a foreign name may have been pointed at this address), a foreign `origin` is refused
//! unless configured, and so is whatever the browser itself marks as cross-site.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_SECURITY_POLICY, HOST, ORIGIN, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::body::Body;
use super::problem::{Code, Problem};

/// Who may call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doors {
    /// Names besides loopback, each `NAME` or `NAME:PORT`, in lower case; `*` is every name.
    hosts: Vec<String>,
    /// Origins of pages that may call, in lower case.
    origins: Vec<String>,
}

/// What a request that may pass was seen to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// No page of another origin sent it.
    Own,
    /// A page of this configured origin sent it.
    Cors(HeaderValue),
}

impl Doors {
    pub(crate) fn new(hosts: &[String], origins: &[String]) -> Self {
        let lower = |texts: &[String]| {
            let texts = texts
                .iter()
                .map(|text| text.trim_end_matches('/').to_ascii_lowercase());
            texts.collect()
        };
        Self {
            hosts: lower(hosts),
            origins: lower(origins),
        }
    }

    /// Checks host, origin and the browser's own mark.
    pub(crate) fn check(&self, request: &Parts) -> Result<Passed, Box<Problem>> {
        let host = host(request)?;
        if !self.is_ours(host) {
            return Err(Problem::new(
                Code::HostRefused,
                format!(
                    "The host `{}` is not this server's: call it by a loopback name such as localhost, or \
                     start the server with --allowed-hosts and this name.",
                    shown(host)
                ),
            ));
        }
        let headers = &request.headers;
        if let Some(origin) = headers.get(ORIGIN) {
            return self.check_origin(origin, host);
        }
        if headers
            .get(SEC_FETCH_SITE)
            .is_some_and(|site| site == "cross-site")
        {
            return Err(Problem::new(
                Code::OriginRefused,
                "A page of another site caused this request: open the address yourself, or start the \
                 server with --cors-origins and the page's origin.",
            ));
        }
        Ok(Passed::Own)
    }

    fn check_origin(&self, origin: &HeaderValue, host: &str) -> Result<Passed, Box<Problem>> {
        let text = origin.to_str().unwrap_or("null");
        let own = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        if own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
            return Ok(Passed::Own);
        }
        let lower = text.to_ascii_lowercase();
        if self.origins.contains(&lower) {
            return Ok(Passed::Cors(origin.clone()));
        }
        Err(Problem::new(
            Code::OriginRefused,
            format!(
                "Pages of the origin `{}` may not call this server: start it with --cors-origins and this \
                 origin if they should.",
                shown(text)
            ),
        ))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        if is_loopback(name) {
            return true;
        }
        self.hosts.iter().any(|allowed| {
            allowed == "*"
                || allowed.eq_ignore_ascii_case(host)
                || allowed.eq_ignore_ascii_case(name)
        })
    }
}

/// The reply to a preflight of a configured origin; `None` when the request is none.
pub(crate) fn preflight(request: &Parts, passed: &Passed) -> Option<Response<Body>> {
    if request.method != Method::OPTIONS
        || !request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        || !matches!(passed, Passed::Cors(_))
    {
        return None;
    }
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE"),
    );
    if let Some(wanted) = request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Some(reply)
}

/// Tells the browser that the page may see the reply.
pub(crate) fn open_reply(passed: &Passed, headers: &mut HeaderMap) {
    let Passed::Cors(origin) = passed else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.append(VARY, HeaderValue::from_static("origin"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
}

/// Headers of every reply that carries stored content: it is shown or saved, never run on our
/// origin.
pub(crate) fn confine(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
}

/// Whether a browser may show content of this type in place of saving it.
pub(crate) fn may_show(content_type: &[u8]) -> bool {
    let kind = content_type
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default();
    let kind = kind.trim_ascii();
    SHOWN
        .iter()
        .any(|shown| shown.as_bytes().eq_ignore_ascii_case(kind))
}

/// Types that a browser shows without running anything of them.
const SHOWN: [&str; 9] = [
    "application/json",
    "application/x-ndjson",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/csv",
    "text/markdown",
    "text/plain",
];

const EXPOSED: &str = "ce-dataschema, ce-id, ce-source, ce-specversion, ce-subject, ce-time, ce-type, \
    content-disposition, etag, location, retry-after, x-hbuf-ack, x-hbuf-after, x-hbuf-buffer, \
    x-hbuf-commit, x-hbuf-deliver-at, x-hbuf-deliveries, x-hbuf-epoch, x-hbuf-history, \
    x-hbuf-lease, x-hbuf-id, x-hbuf-key, x-hbuf-last-seq, \
    x-hbuf-replayed, x-hbuf-seq, x-hbuf-tag, x-hbuf-time, producer-epoch, producer-expected-seq, \
    producer-received-seq, producer-seq, stream-closed, stream-cursor, stream-expires-at, \
    stream-next-offset, stream-sse-data-encoding, stream-ttl, stream-up-to-date";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The host that the request names: the target's own, as in HTTP/2, or the header's.
fn host(request: &Parts) -> Result<&str, Box<Problem>> {
    let missing = || {
        Problem::new(
            Code::HeaderInvalid,
            "The request needs exactly one `host` header with the name and port that you call.",
        )
    };
    let mut values = request.headers.get_all(HOST).iter();
    let header = values.next();
    if values.next().is_some() {
        return Err(missing());
    }
    if let Some(authority) = request.uri.authority() {
        return Ok(authority.as_str());
    }
    match header {
        Some(value) => value.to_str().map_err(|_| missing()),
        // A client of HTTP/1.0 names no host and is no browser of today.
        None if request.version == Version::HTTP_10 => Ok("localhost"),
        None => Err(missing()),
    }
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback(name: &str) -> bool {
    if name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost") || name == "[::1]" {
        return true;
    }
    let address = name.parse::<std::net::Ipv4Addr>();
    address.is_ok_and(|address| address.is_loopback())
        || name
            .to_ascii_lowercase()
            .trim_end_matches('.')
            .ends_with(".localhost")
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn check(doors: &Doors, headers: &[(&str, &str)]) -> Result<Passed, u16> {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        doors
            .check(&parts)
            .map_err(|problem| problem.code.row().status.as_u16())
    }

    #[test]
    fn only_loopback_and_configured_hosts_pass() {
        let doors = Doors::new(&["hbuf.example".into(), "Other:8080".into()], &[]);
        for host in [
            "localhost",
            "localhost:4283",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:4283",
            "a.localhost",
        ] {
            assert_eq!(check(&doors, &[("host", host)]), Ok(Passed::Own), "{host}");
        }
        for host in ["hbuf.example", "HBUF.example:99", "other:8080"] {
            assert_eq!(check(&doors, &[("host", host)]), Ok(Passed::Own), "{host}");
        }
        for host in [
            "evil.example",
            "other:81",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "10.0.0.1",
            "",
        ] {
            assert_eq!(check(&doors, &[("host", host)]), Err(421), "{host}");
        }
        assert_eq!(check(&doors, &[]), Err(400));
        assert_eq!(
            check(&doors, &[("host", "localhost"), ("host", "localhost")]),
            Err(400)
        );
    }

    #[test]
    fn pages_of_other_origins_are_refused_unless_configured() {
        let doors = Doors::new(&[], &["https://App.example/".into()]);
        let with = |name, value| check(&doors, &[("host", "localhost:4283"), (name, value)]);
        assert_eq!(with("origin", "http://localhost:4283"), Ok(Passed::Own));
        assert_eq!(with("origin", "http://localhost:3000"), Err(403));
        assert_eq!(with("origin", "null"), Err(403));
        assert_eq!(with("origin", "https://evil.example"), Err(403));
        let allowed = HeaderValue::from_static("https://app.example");
        assert_eq!(
            with("origin", "https://app.example"),
            Ok(Passed::Cors(allowed))
        );
        assert_eq!(with("sec-fetch-site", "cross-site"), Err(403));
        assert_eq!(with("sec-fetch-site", "none"), Ok(Passed::Own));
        assert_eq!(with("sec-fetch-site", "same-origin"), Ok(Passed::Own));
    }

    #[test]
    fn a_page_that_was_let_in_may_read_the_reply() {
        let mut headers = HeaderMap::new();
        open_reply(&Passed::Own, &mut headers);
        assert!(headers.is_empty());
        open_reply(
            &Passed::Cors(HeaderValue::from_static("https://a")),
            &mut headers,
        );
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a");
        assert_eq!(headers[VARY], "origin");
    }

    #[test]
    fn only_types_that_run_nothing_are_shown() {
        assert!(may_show(b"text/plain; charset=utf-8"));
        assert!(may_show(b"Image/PNG"));
        for kind in [
            &b"text/html"[..],
            b"image/svg+xml",
            b"application/pdf",
            b"",
            b"text/xml",
        ] {
            assert!(!may_show(kind));
        }
    }
}
