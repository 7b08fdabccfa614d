//! Connections: accepting them, HTTP/1.1 or HTTP/2 in clear text, and their end.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hbuf_core::limits::{HTTP2_STREAMS_MAX, LINGER_SECONDS_MAX, REQUEST_HEAD_BYTES_MAX};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::body::Body;
use super::file_ranges::FileRanges;
use super::open_streams::OpenStreams;
use super::problem::{Code, Problem};
use super::socket::{Socket, plain_reply};
use super::{App, HttpSettings, routes};
use crate::metrics::Open;

/// Accepts connections until `shutdown`, then lets the running requests end.
pub(super) async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    settings: &HttpSettings,
    stop: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(settings.connections_max));
    let protocols = Arc::new(Protocols::new(settings));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: connections that end make room.
                tracing::warn!(event = "accept_failed", %error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tokio::spawn(refuse(stream, settings.connections_max));
            continue;
        };
        let connection = Connection {
            app: Arc::clone(&app),
            _permit: permit,
        };
        tokio::spawn(connection.serve(stream, Arc::clone(&protocols), graceful.watcher()));
    }
    drop(listener);
    // A tail has no end of its own.
    stop.send_replace(true);
    if timeout(settings.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            event = "drain_cut",
            "requests that were still running are broken off"
        );
    }
}

/// How each version is spoken.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    head_timeout: Duration,
    stall_timeout: Duration,
}

impl Protocols {
    fn new(settings: &HttpSettings) -> Self {
        let mut http1 = http1::Builder::new();
        // A client may close its half and still read the reply: `nc -N` does.
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(settings.head_timeout)
            .max_header_size(REQUEST_HEAD_BYTES_MAX)
            .half_close(true)
            // Slices that stand for ranges of files must not be copied into one.
            .writev(true);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        // A client that takes nothing does not answer pings either: the connection ends.
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(u32::try_from(REQUEST_HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .keep_alive_interval(settings.stall_timeout)
            .keep_alive_timeout(settings.stall_timeout);
        Self {
            http1,
            http2,
            head_timeout: settings.head_timeout,
            stall_timeout: settings.stall_timeout,
        }
    }
}

/// One client's connection.
struct Connection {
    app: Arc<App>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, protocols: Arc<Protocols>, watcher: Watcher) {
        // A reply must not wait for the acknowledgement of the packet before.
        let _ = stream.set_nodelay(true);
        let _open = Open::connection(&self.app.metrics);
        let mut stopping = self.app.stopping.clone();
        let version = tokio::select! {
            version = timeout(protocols.head_timeout, version(&stream)) => version,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let app = Arc::clone(&self.app);
        // Frames of HTTP/2 are cut and mixed with others: its replies hold bytes alone.
        let ranges = matches!(version, Ok(Some(Version::Http1))).then(FileRanges::default);
        let known = ranges.clone();
        let socket = Socket::new(stream, protocols.stall_timeout, known);
        let ended = match version {
            Ok(Some(Version::Http1)) => {
                let service = service_fn(move |request| {
                    let (app, ranges) = (Arc::clone(&app), ranges.clone());
                    async move { Ok::<_, Infallible>(routes::answer(app, ranges, request).await) }
                });
                http1(protocols.http1.serve_connection(socket, service), stopping).await
            }
            // Boxed, so that the many connections of HTTP/1.1 need no room for the state of HTTP/2.
            Ok(Some(Version::Http2)) => Box::pin(http2(&protocols, socket, app, stopping)).await,
            // Nothing came in time, or the client went away.
            Ok(None) | Err(_) => return,
        };
        // The server waits for the end of whoever holds one.
        drop(watcher);
        if let Err(error) = ended {
            tracing::debug!(event = "connection_broken", %error);
        }
    }
}

/// Serves a connection of HTTP/1.1 until it ends, or until the server stops and its running request
/// has ended. hyper closes without a word when a head comes too slowly; whoever sent a part of one
/// is told why, and whoever sent nothing was idle.
async fn http1<S>(
    mut connection: http1::Connection<Socket, S>,
    mut stopping: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let first = tokio::select! {
        ended = &mut connection => Some(ended),
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    let ended = match first {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    if let Err(error) = &ended
        && error.is_timeout()
    {
        let parts = connection.into_parts();
        // Empty lines before a request are no part of it.
        if !parts.read_buf.iter().all(|byte| b"\r\n".contains(byte)) {
            let problem = Problem::new(
                Code::RequestSlow,
                "The head of the request did not arrive in time: send it again, at once.",
            );
            parts.io.refuse(&problem).await;
        }
    }
    ended
}

/// Serves a connection of HTTP/2 until it ends, the server stops, or no stream was open for as long
/// as a head may take; then the client is told to open no more. Pings keep nothing open.
async fn http2(
    protocols: &Protocols,
    socket: Socket,
    app: Arc<App>,
    mut stopping: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let streams = OpenStreams::default();
    let counted = streams.clone();
    let service = service_fn(move |request| {
        let (app, stream) = (Arc::clone(&app), counted.enter());
        async move {
            let reply = routes::answer(app, None, request).await;
            Ok::<_, Infallible>(stream.until_sent(reply))
        }
    });
    let mut connection = protocols.http2.serve_connection(socket, service);
    tokio::select! {
        ended = &mut connection => return ended,
        () = streams.idle_for(protocols.head_timeout) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    Pin::new(&mut connection).graceful_shutdown();
    // It ends when the client has heard of it and what is under way has ended. Whoever does not
    // hear is not waited for.
    tokio::select! {
        ended = &mut connection => ended,
        () = streams.idle_for(GOODBYE_TIME) => Ok(()),
    }
}

enum Version {
    Http1,
    Http2,
}

/// Looks at the first bytes without taking them: HTTP/2 starts with `PRI`, which is no method.
/// `None` when the client sends nothing and goes.
async fn version(stream: &TcpStream) -> Option<Version> {
    let mut start = [0; HTTP2_START.len()];
    loop {
        let count = stream
            .peek(&mut start)
            .await
            .ok()
            .filter(|&count| count > 0)?;
        if start[..count] != HTTP2_START[..count] {
            return Some(Version::Http1);
        }
        if count == HTTP2_START.len() {
            return Some(Version::Http2);
        }
        // A byte of it is there, and peeking again would return at once.
        sleep(PEEK_PAUSE).await;
    }
}

/// Tells a client that there is no room for it.
async fn refuse(mut stream: TcpStream, most: usize) {
    let problem = Problem::new(
        Code::Connections,
        format!("{most} connections are open, the most there can be: close some, or try later."),
    );
    // Whoever does not take it is gone all the same.
    let _ = timeout(REFUSAL_TIME, stream.write_all(&plain_reply(&problem))).await;
}

const HTTP2_START: &[u8; 3] = b"PRI";
const PEEK_PAUSE: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long an idle client of HTTP/2 may take to hear that its connection ends.
const GOODBYE_TIME: Duration = Duration::from_secs(LINGER_SECONDS_MAX);
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Bytes of one request's body that may be on their way.
const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
/// Bytes of all bodies of a connection that may be on their way.
const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;
