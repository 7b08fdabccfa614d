//! HTTP: what the wire says becomes one input to the engine, and its output becomes a reply.
//!
//! ```text
//! connection.rs  accept, versions, drain       socket.rs   slow clients, hyper's own refusals
//! browser.rs     hosts and origins             routes.rs   the table of routes; bodies in routes/
//! call.rs        a request taken apart         collect.rs  its body, within bounds, from upload.rs
//! accept.rs      which type to serve           problem.rs  refusals: the table of codes
//! streams/       the Durable Streams protocol  refusals.rs refusals of the engine as problems
//! scan.rs        records for a read, filtered  json.rs     records as JSON; ndjson.rs back again,
//! object.rs      objects alone as structs                  whole.rs numbers
//! openapi/       the description of all routes for programs
//! topic_scan.rs  a read over several buffers,  member.rs   one of them; member_page.rs what is
//!                placed by topic_start.rs                  fetched of it
//! body.rs        what a reply consists of      file_ranges.rs  what of it is sent by sendfile
//! under_way.rs   what of it has not left yet   open_streams.rs  those of HTTP/2, counted
//! ```
//!
//! Architecture invariant: a route parses, sends one input, awaits one output, renders. It never
//! branches on replication state.

mod accept;
mod body;
mod browser;
mod call;
mod collect;
mod connection;
mod event_json;
mod file_ranges;
mod json;
mod member;
mod member_page;
mod ndjson;
mod object;
mod open_streams;
mod openapi;
mod problem;
mod refusals;
mod routes;
mod scan;
mod socket;
mod sse;
mod streams;
mod topic_scan;
mod topic_start;
mod under_way;
mod upload;
mod whole;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hbuf_core::limits::{
    BODY_BYTES_MAX, BODY_SECONDS_MAX, CONNECTIONS_MAX, HEAD_SECONDS_MAX, STREAM_WAIT_SECONDS,
    WRITE_STALL_SECONDS_MAX,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::metrics::Metrics;
use browser::Doors;
use collect::Budget;

/// What an operator may set about HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Names besides loopback that `host` may carry, each `NAME` or `NAME:PORT`; `*` is every name.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call.
    pub cors_origins: Vec<String>,
    /// Longest body of one message.
    pub body_bytes_max: u64,
    /// Connections that may be open; more are told so and closed.
    pub connections_max: usize,
    /// How long running requests may take to end once the server stops.
    pub drain: Duration,
    /// How long the head of a request may take to arrive.
    pub head_timeout: Duration,
    /// How long a body may take to arrive; a long one gets more, by a least rate.
    pub body_timeout: Duration,
    /// How long a client may take nothing of its reply.
    pub stall_timeout: Duration,
    /// How long a long poll of a stream waits.
    pub stream_wait: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            cors_origins: Vec::new(),
            body_bytes_max: BODY_BYTES_MAX,
            connections_max: CONNECTIONS_MAX,
            drain: Duration::from_secs(10),
            head_timeout: Duration::from_secs(HEAD_SECONDS_MAX),
            body_timeout: Duration::from_secs(BODY_SECONDS_MAX),
            stall_timeout: Duration::from_secs(WRITE_STALL_SECONDS_MAX),
            stream_wait: Duration::from_secs(STREAM_WAIT_SECONDS),
        }
    }
}

/// What every request needs.
struct App {
    engine: Engine,
    doors: Doors,
    budget: Budget,
    metrics: Arc<Metrics>,
    body_bytes_max: u64,
    /// How long a long poll of a stream waits.
    stream_wait: Duration,
    /// Turns true when the server stops: whoever waits for messages ends then.
    stopping: watch::Receiver<bool>,
}

/// Serves clients on the listener until `shutdown` is ready and the running requests have ended, or
/// the time for that is over.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    settings: HttpSettings,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(false);
    let app = Arc::new(App {
        metrics: Arc::new(Metrics::new(&routes::patterns())),
        doors: Doors::new(&settings.allowed_hosts, &settings.cors_origins),
        budget: Budget::new(settings.body_timeout),
        body_bytes_max: settings.body_bytes_max.min(BODY_BYTES_MAX),
        stream_wait: settings.stream_wait,
        engine,
        stopping,
    });
    connection::accept(listener, app, &settings, stop, shutdown).await;
}
