//! Where the server is, and the one door through which every call goes.
//!
//! Invariant: only [`Client::send`] retries, and it asks `retry::may_repeat` each time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::catalog::Collection;
use crate::problem::Problem;
use crate::retry::{Failure, Repeat, RetryPolicy, may_repeat, random, retry_after};
use crate::transport::{Transport, TransportOptions};

/// A client of one server, for one tenant. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    tenant: Option<String>,
    transport: Transport,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Duration,
}

/// The settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    url: String,
    tenant: Option<String>,
    retry: RetryPolicy,
    timeout: Duration,
    transport: TransportOptions,
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The base URL is none.
    #[error("`{url}` is no URL; write it as http://HOST:PORT")]
    Url {
        /// What was given.
        url: String,
    },
    /// The scheme of the base URL is not spoken.
    #[error("scheme `{scheme}` is not supported; write the URL as http://HOST:PORT")]
    Scheme {
        /// What was given.
        scheme: String,
    },
}

/// Why a call brought no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// No connection; nothing was sent.
    #[error(
        "no server answers at {url}: {reason}; start one with `hbuf serve` or name it with --url"
    )]
    Connect {
        /// The base URL.
        url: String,
        /// The system's words.
        reason: String,
    },
    /// The connection broke: whether the call was taken is unknown.
    #[error("connection to {url} broke: {reason}")]
    Broken {
        /// The base URL.
        url: String,
        /// The system's words.
        reason: String,
    },
    /// No answer in time: whether the call was taken is unknown.
    #[error("{url} did not answer within {} s", .after.as_secs())]
    Timeout {
        /// The base URL.
        url: String,
        /// How long the client waited.
        after: Duration,
    },
    /// The answer is not what hbuf says.
    #[error("{url} gave an answer that is not hbuf's: {reason}")]
    Reply {
        /// The base URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The call cannot be put into HTTP.
    #[error("{reason}")]
    Request {
        /// What is wrong with it.
        reason: String,
    },
}

impl CallError {
    /// The refusal, if the server gave one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    fn failure(&self) -> Option<Failure> {
        match self {
            Self::Problem(problem) => Some(Failure::Refused(problem.status)),
            Self::Connect { .. } => Some(Failure::Unsent),
            Self::Broken { .. } | Self::Timeout { .. } => Some(Failure::Unknown),
            Self::Reply { .. } | Self::Request { .. } => None,
        }
    }
}

impl ClientBuilder {
    /// Names of this tenant instead of the credential's own.
    #[must_use]
    pub fn tenant(mut self, tenant: Option<String>) -> Self {
        self.tenant = tenant;
        self
    }

    /// How failed calls are repeated.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Longest wait for an answer's head, and between two pieces of a stream.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// HTTP/2 without negotiation, many calls on one connection.
    #[must_use]
    pub fn http2(mut self, http2: bool) -> Self {
        self.transport.http2 = http2;
        self
    }

    /// Most idle connections that are kept.
    #[must_use]
    pub fn idle_connections_max(mut self, count: usize) -> Self {
        self.transport.idle_connections_max = count;
        self
    }

    /// Checks the settings; no connection is made yet.
    pub fn build(self) -> Result<Client, ClientError> {
        let bad = || ClientError::Url {
            url: self.url.clone(),
        };
        let uri: Uri = self.url.parse().map_err(|_| bad())?;
        let scheme = uri.scheme_str().ok_or_else(bad)?;
        if uri.authority().is_none() || uri.query().is_some() {
            return Err(bad());
        }
        let transport =
            Transport::for_scheme(scheme, self.transport).ok_or_else(|| ClientError::Scheme {
                scheme: scheme.to_owned(),
            })?;
        Ok(Client {
            base: self.url.trim_end_matches('/').to_owned(),
            tenant: self.tenant,
            transport,
            retry: self.retry,
            timeout: self.timeout,
        })
    }
}

/// One call, ready to be sent as often as allowed.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query behind the base URL, starting with `/`.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) repeat: Repeat,
    /// How long the server was asked to wait before it answers.
    pub(crate) wait: Duration,
}

impl Call {
    pub(crate) fn new(method: Method, target: String) -> Self {
        let repeat = if method == Method::POST {
            Repeat::Doubles
        } else {
            Repeat::Harmless
        };
        Self {
            method,
            target,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            repeat,
            wait: Duration::ZERO,
        }
    }

    /// Adds a header; a value with a line end is refused here, so it can never become two headers.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Result<Self, CallError> {
        let refuse = || CallError::Request {
            reason: format!(
                "header `{name}: {}` cannot be sent; take out line ends and control characters",
                value.escape_debug()
            ),
        };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse())?;
        let value = HeaderValue::from_str(value).map_err(|_| refuse())?;
        self.headers.append(parsed, value);
        Ok(self)
    }

    pub(crate) fn json(mut self, body: &serde_json::Value) -> Self {
        let json = HeaderValue::from_static("application/json");
        self.headers.insert(http::header::CONTENT_TYPE, json);
        self.body = Bytes::from(body.to_string());
        self
    }
}

impl Client {
    /// A client with the usual settings for the server at `url`, such as `http://127.0.0.1:4283`.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::builder(url).build()
    }

    /// A client with settings of your own.
    #[must_use]
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.to_owned(),
            tenant: None,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(60),
            transport: TransportOptions {
                http2: false,
                connect_timeout: Duration::from_secs(5),
                idle_connections_max: 1_024,
            },
        }
    }

    /// The base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Reads any path of the server, such as `/metrics`, as text.
    pub async fn get_text(&self, path: &str) -> Result<String, CallError> {
        let body = self.finish(Call::new(Method::GET, path.to_owned())).await?;
        String::from_utf8(body.to_vec()).map_err(|_| self.not_ours("the text is not UTF-8"))
    }

    /// `/buffers/{name}` or `/topics/{name}` with the tenant's prefix and what follows.
    pub(crate) fn path(&self, collection: Collection, name: &str, rest: &str) -> String {
        let tenant = match &self.tenant {
            Some(tenant) => format!("/tenants/{}", percent_encode(tenant)),
            None => String::new(),
        };
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("/{}", percent_encode(name))
        };
        format!("{tenant}/{}{name}{rest}", collection.as_str())
    }

    /// Sends a call, repeats it where that is harmless, and turns refusals into problems.
    pub(crate) async fn send(&self, call: Call) -> Result<Response<Incoming>, CallError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (error, asked) = match self.attempt(&call).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            let repeatable = error
                .failure()
                .is_some_and(|failure| may_repeat(call.repeat, failure));
            let spread = random().to_le_bytes()[0];
            match self.retry.pause_after(attempt, asked, spread) {
                Some(pause) if repeatable => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// Sends a call and reads the whole answer.
    pub(crate) async fn finish(&self, call: Call) -> Result<Bytes, CallError> {
        let response = self.send(call).await?;
        self.collect(response.into_body(), ANSWER_BYTES_MAX).await
    }

    /// Sends a call and reads its answer as JSON.
    pub(crate) async fn finish_json<T: DeserializeOwned>(
        &self,
        call: Call,
    ) -> Result<T, CallError> {
        let body = self.finish(call).await?;
        serde_json::from_slice(&body).map_err(|error| self.not_ours(format!("bad JSON, {error}")))
    }

    /// Reads a whole body of at most `bytes_max`.
    pub(crate) async fn collect(
        &self,
        mut body: Incoming,
        bytes_max: usize,
    ) -> Result<Bytes, CallError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next_piece(&mut body, self.timeout).await? {
            if whole.len() + piece.len() > bytes_max {
                return Err(self.not_ours(format!("more than {bytes_max} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The next piece of a body, or `None` at its end.
    pub(crate) async fn next_piece(
        &self,
        body: &mut Incoming,
        timeout: Duration,
    ) -> Result<Option<Bytes>, CallError> {
        loop {
            let frame = match tokio::time::timeout(timeout, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(self.broken(&error)),
                Ok(None) => return Ok(None),
                Err(_) => return Err(self.late(timeout)),
            };
            // Trailers carry nothing for us.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// An answer that is not hbuf's.
    pub(crate) fn not_ours(&self, reason: impl Into<String>) -> CallError {
        CallError::Reply {
            url: self.base.clone(),
            reason: reason.into(),
        }
    }

    async fn attempt(
        &self,
        call: &Call,
    ) -> Result<Response<Incoming>, (CallError, Option<Duration>)> {
        let request = self.request(call).map_err(|error| (error, None))?;
        let patience = self.timeout + call.wait;
        let response = match tokio::time::timeout(patience, self.transport.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.unsent => {
                let reason = innermost(&error.source);
                return Err((
                    CallError::Connect {
                        url: self.base.clone(),
                        reason,
                    },
                    None,
                ));
            }
            Ok(Err(error)) => return Err((self.broken(&error.source), None)),
            Err(_) => return Err((self.late(patience), None)),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let asked = retry_after(response.headers());
        let body = match self.collect(response.into_body(), PROBLEM_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return Err((error, None)),
        };
        Err((
            CallError::Problem(Box::new(Problem::from_reply(status, &body))),
            asked,
        ))
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, CallError> {
        let uri = format!("{}{}", self.base, call.target);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(uri)
            .body(Full::new(call.body.clone()))
            .map_err(|error| CallError::Request {
                reason: error.to_string(),
            })?;
        *request.headers_mut() = call.headers.clone();
        Ok(request)
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> CallError {
        CallError::Broken {
            url: self.base.clone(),
            reason: innermost(error),
        }
    }

    fn late(&self, after: Duration) -> CallError {
        CallError::Timeout {
            url: self.base.clone(),
            after,
        }
    }
}

/// Longest answer that is read as a whole; streams have no such bound.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Longest problem document.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

/// Percent-encodes one segment of a path or one value of a query.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The last cause in a chain of errors, which names what the system said.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_must_be_http_with_a_host() {
        for url in ["", "127.0.0.1:4283", "/x", "http://", "http://h/?a=b"] {
            assert!(
                matches!(Client::new(url), Err(ClientError::Url { .. })),
                "{url}"
            );
        }
        assert_eq!(
            Client::new("https://h").unwrap_err(),
            ClientError::Scheme {
                scheme: "https".into()
            }
        );
        assert_eq!(Client::new("http://h:1/").unwrap().url(), "http://h:1");
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        let client = Client::new("http://h").unwrap();
        assert_eq!(
            client.path(Collection::Buffers, "a/../b?x", "/state"),
            "/buffers/a%2F..%2Fb%3Fx/state"
        );
        let client = Client::builder("http://h")
            .tenant(Some("t".into()))
            .build()
            .unwrap();
        assert_eq!(client.path(Collection::Topics, "", ""), "/tenants/t/topics");
    }

    #[test]
    fn a_header_value_with_a_line_end_is_refused() {
        let call = Call::new(Method::GET, "/".into());
        let error = call.header("x-a", "1\r\nx-b: 2").unwrap_err();
        assert!(error.to_string().contains("line ends"), "{error}");
    }
}
