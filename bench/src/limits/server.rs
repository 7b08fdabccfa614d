//! The bare HTTP server: hyper with a handler that does as good as nothing.
//!
//! It runs as a process of its own (this program, started again) with as many threads as there are
//! cores, reads the same requests and gives the same replies as hbuf, and stores nothing.
//!
//! - `answer`: replies at once;
//! - `hop`: hands each request to another thread and back by channels, then replies;
//! - `stream`: replies with files, read in pieces by a blocking thread.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context as TaskContext, Poll};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// First argument of this program when it is to be this server.
pub(crate) const ARGUMENT: &str = "bare-server";
/// Bytes read from a file at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that may wait for the socket.
const PIECES_AHEAD: usize = 4;

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// How it answers.
enum Mode {
    Answer(Template),
    Hop(Template, mpsc::Sender<oneshot::Sender<()>>),
    Stream(Arc<Vec<(PathBuf, u64)>>),
}

/// The reply of every append.
struct Template {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Serves until it is killed. Arguments: the mode, and the file that it answers from.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mode = args.next().context("no mode")?;
    let file = args.next().context("no file")?;
    let mode = Arc::new(match mode.as_str() {
        "answer" => Mode::Answer(Template::read(&file)?),
        "hop" => Mode::Hop(Template::read(&file)?, other_thread()),
        "stream" => Mode::Stream(Arc::new(files(&file)?)),
        other => bail!("no mode {other}"),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("listening on http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let mode = Arc::clone(&mode);
            tokio::spawn(async move {
                let service = service_fn(move |request| handle(Arc::clone(&mode), request));
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn handle(mode: Arc<Mode>, request: Request<Incoming>) -> Result<Reply, hyper::Error> {
    // The same work as with hbuf: the whole body is received.
    let body = request.into_body().collect().await?.to_bytes();
    std::hint::black_box(&body);
    let template = match &*mode {
        Mode::Answer(template) => template,
        Mode::Hop(template, other) => {
            let (back, answer) = oneshot::channel();
            let _ = other.send(back);
            let _ = answer.await;
            template
        }
        Mode::Stream(files) => return Ok(stream(Arc::clone(files))),
    };
    let mut reply = Response::new(Full::new(template.body.clone()).boxed_unsync());
    *reply.status_mut() = template.status;
    *reply.headers_mut() = template.headers.clone();
    Ok(reply)
}

/// Starts the thread that hands each request back.
fn other_thread() -> mpsc::Sender<oneshot::Sender<()>> {
    let (send, receive) = mpsc::channel::<oneshot::Sender<()>>();
    std::thread::spawn(move || {
        while let Ok(back) = receive.recv() {
            let _ = back.send(());
        }
    });
    send
}

impl Template {
    /// Reads a reply as it was on the wire.
    fn read(path: &str) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.to_owned())?;
        let end = memchr::memmem::find(&bytes, b"\r\n\r\n").context("no whole reply")?;
        let mut lines = std::str::from_utf8(&bytes[..end])?.split("\r\n");
        let first = lines.next().context("no status line")?;
        let status = first.get(9..12).context("no status")?.parse()?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').context("a bad header line")?;
            // Hyper writes these itself.
            if !["date", "content-length", "connection"].contains(&name) {
                let name: HeaderName = name.parse()?;
                headers.append(name, HeaderValue::from_str(value.trim())?);
            }
        }
        Ok(Self {
            status,
            headers,
            body: Bytes::copy_from_slice(&bytes[end + 4..]),
        })
    }
}

/// Files to stream: a line each with the bytes that count and the path.
fn files(list: &str) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let text = std::fs::read_to_string(list)?;
    let line = |line: &str| {
        let (bytes, path) = line.split_once(' ').context("a bad line")?;
        Ok((PathBuf::from(path), bytes.parse()?))
    };
    text.lines().map(line).collect()
}

fn stream(files: Arc<Vec<(PathBuf, u64)>>) -> Reply {
    let bytes = files.iter().map(|&(_, bytes)| bytes).sum();
    let (send, pieces) = tokio::sync::mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        for (path, bytes) in files.iter() {
            // The receiver sees an end that comes too early.
            let Ok(file) = File::open(path) else { return };
            let mut file = file.take(*bytes);
            while file.limit() > 0 {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                match file
                    .by_ref()
                    .take(PIECE_BYTES as u64)
                    .read_to_end(&mut piece)
                {
                    Ok(read) if read > 0 && send.blocking_send(Bytes::from(piece)).is_ok() => {}
                    _ => return,
                }
            }
        }
    });
    Response::new(
        Pieces {
            pieces,
            left: bytes,
        }
        .boxed_unsync(),
    )
}

/// A body of known length that arrives through a channel.
struct Pieces {
    pieces: tokio::sync::mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(cx).map(|piece| {
            let piece = piece?;
            self.left -= piece.len() as u64;
            Some(Ok(Frame::data(piece)))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
