//! How bytes reach the server. The only file that knows the connector, so TLS is added here and
//! nowhere else: another arm of [`Transport`], chosen by the scheme of the base URL.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A pool of connections to one server.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// HTTP in clear text.
    Plain(legacy::Client<HttpConnector, Full<Bytes>>),
}

/// What the transport may be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransportOptions {
    pub(crate) http2: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_connections_max: usize,
}

/// A failure below HTTP.
#[derive(Debug)]
pub(crate) struct TransportError {
    /// No connection was made, so nothing was sent.
    pub(crate) unsent: bool,
    pub(crate) source: legacy::Error,
}

impl Transport {
    /// The transport for a scheme, or `None` when there is none.
    pub(crate) fn for_scheme(scheme: &str, options: TransportOptions) -> Option<Self> {
        match scheme {
            "http" => Some(Self::plain(options)),
            _ => None,
        }
    }

    /// Sends one request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TransportError> {
        let Self::Plain(client) = self;
        client
            .request(request)
            .await
            .map_err(|source| TransportError {
                unsent: source.is_connect(),
                source,
            })
    }

    fn plain(options: TransportOptions) -> Self {
        let mut connector = HttpConnector::new();
        // Small appends must not wait for an acknowledgement of the packet before.
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(options.idle_connections_max)
            .http2_only(options.http2)
            .retry_canceled_requests(false)
            .build(connector);
        Self::Plain(client)
    }
}
