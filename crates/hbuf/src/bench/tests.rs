//! Runs of the generator against a server of a few lines that keeps what it gets in memory.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::plan::Op;
use super::report::Report;
use super::{BenchArgs, measure};

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What the server keeps: bodies in order, and who tails.
#[derive(Default)]
struct Kept {
    bodies: Vec<Bytes>,
    tails: Vec<mpsc::UnboundedSender<Bytes>>,
    /// Refuse every append.
    full: bool,
}

type Shared = Arc<Mutex<Kept>>;

/// Starts the server on a thread of its own; it lives as long as the test process.
fn server(full: bool) -> SocketAddr {
    let (send, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            send.send(listener.local_addr().unwrap()).unwrap();
            let kept = Arc::new(Mutex::new(Kept {
                full,
                ..Kept::default()
            }));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let kept = Arc::clone(&kept);
                let service = service_fn(move |request| answer(Arc::clone(&kept), request));
                tokio::spawn(async move {
                    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    address.recv().unwrap()
}

async fn answer(kept: Shared, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let path = request.uri().path().to_owned();
    let header = |name: &str| {
        let value = request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (kind, accept) = (header("content-type"), header("accept"));
    let query = request.uri().query().unwrap_or_default().to_owned();
    if path == "/readyz" {
        return Ok(reply(StatusCode::OK, "ready"));
    }
    if request.method() == Method::GET {
        return Ok(read(&kept, &query, &accept));
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(append(&kept, &kind, body))
}

fn append(kept: &Shared, kind: &str, body: Bytes) -> Reply {
    let mut kept = kept.lock().unwrap();
    if kept.full {
        return reply(
            StatusCode::INSUFFICIENT_STORAGE,
            r#"{"type":"/problems/disk-full"}"#,
        );
    }
    let bodies: Vec<Bytes> = match kind {
        "application/x-ndjson" => body
            .split(|&b| b == b'\n')
            .filter(|l| !l.is_empty())
            .map(Bytes::copy_from_slice)
            .collect(),
        "" | "text/plain" => vec![body],
        batch => {
            assert_eq!(batch, "application/http; msgtype=request");
            inner(&body)
        }
    };
    for body in &bodies {
        let event = format!("data: {}\n\n", String::from_utf8_lossy(body));
        kept.tails
            .retain(|tail| tail.send(Bytes::from(event.clone())).is_ok());
    }
    kept.bodies.extend(bodies);
    let mut created = reply(StatusCode::CREATED, "");
    created
        .headers_mut()
        .insert("x-hbuf-seq", kept.bodies.len().into());
    created
}

/// Bodies of a batch.
fn inner(mut batch: &[u8]) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    while !batch.is_empty() {
        let end = memchr::memmem::find(batch, b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&batch[..end]).unwrap();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        bodies.push(Bytes::copy_from_slice(&batch[end..end + length]));
        batch = batch[end + length..].strip_prefix(b"\r\n").unwrap();
    }
    bodies
}

fn read(kept: &Shared, query: &str, accept: &str) -> Reply {
    let mut kept = kept.lock().unwrap();
    let number = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name));
        found.map(|digits| digits.parse::<usize>().unwrap())
    };
    let after = number("after=").unwrap();
    if accept == "text/event-stream" {
        let (send, events) = mpsc::unbounded_channel();
        kept.tails.push(send);
        return Response::new(Events(events).boxed_unsync());
    }
    let limit = number("limit=").unwrap_or(usize::MAX);
    let mut text = String::new();
    for (n, body) in kept.bodies.iter().enumerate().skip(after).take(limit) {
        let body = String::from_utf8_lossy(body);
        if accept == "application/http" {
            text.push_str(&format!(
                "POST /{:020}?t=2026-11-20T11:15:22.123456Z&e=00000003&d=00000001&r=0000\
                 &h={:08x}&b={:08x}&c=2e734682&s=live HTTP/1.1\r\n\r\n{body}\r\n",
                n + 1,
                138,
                body.len()
            ));
        } else {
            text.push_str(&format!("{{\"body\":\"{body}\"}}\n"));
        }
    }
    Response::new(Full::new(Bytes::from(text)).boxed_unsync())
}

/// A body that ends with the server.
struct Events(mpsc::UnboundedReceiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

fn reply(status: StatusCode, body: &'static str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *reply.status_mut() = status;
    reply
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: BenchArgs,
}

fn args(address: SocketAddr, more: &str) -> BenchArgs {
    let url = format!("http://{address}");
    let fixed = ["bench", "--url", &url, "--warm", "0.05", "--seconds", "0.2"];
    Line::parse_from(fixed.into_iter().chain(more.split_whitespace())).args
}

fn run(more: &str) -> Report {
    measure(args(server(false), more)).unwrap()
}

/// Messages of `op` in the first run, and errors of all.
fn check(report: &Report, op: Op) -> u64 {
    let json = serde_json::to_value(report).unwrap();
    let run = &json["runs"][0];
    assert_eq!(
        run[op.name()]["errors"],
        serde_json::json!({}),
        "{}",
        report.table()
    );
    run[op.name()]["messages"].as_u64().unwrap_or(0)
}

#[test]
fn a_closed_loop_appends() {
    let report = run("--connections 4 --threads 2 --runs 2");
    assert!(check(&report, Op::Append) > 0);
    assert!(report.table().contains("lowest"), "{}", report.table());
}

#[test]
fn http2_does_the_same() {
    let report = run("--connections 2 --http2 --mix append,batch,read --batch 10 --fill 50");
    for op in [Op::Append, Op::Batch, Op::Read] {
        assert!(check(&report, op) > 0);
    }
}

#[test]
fn a_mix_appends_batches_and_reads() {
    let more = "--mix append=4,batch=1,ndjson=1,read=2,read-ndjson=2 --batch 5 --fill 100 \
                --keys 10 --key-draw zipf --tags 3 --size 30-60 --read-limit 20";
    let report = run(more);
    for op in [Op::Append, Op::Batch, Op::Ndjson, Op::Read, Op::ReadNdjson] {
        assert!(check(&report, op) > 0, "{}", report.table());
    }
}

#[test]
fn tails_see_every_message() {
    let report = run("--tails 3 --rate 500 --connections 2");
    let sent = check(&report, Op::Append);
    // Sent and received differ at the edges of the window only.
    assert!(
        check(&report, Op::Tail).abs_diff(sent * 3) <= 6,
        "{}",
        report.table()
    );
}

#[test]
fn a_rate_is_kept() {
    let messages = check(&run("--rate 200 --connections 4"), Op::Append);
    assert!((30..=45).contains(&messages), "{messages} in 0.2 s");
}

#[test]
fn refusals_are_counted_by_problem_type_or_end_the_run() {
    let e = measure(args(server(true), "")).err().unwrap();
    assert!(
        format!("{e:#}").contains("507 (/problems/disk-full)"),
        "{e:#}"
    );
}

#[test]
fn a_missing_server_is_named() {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let e = measure(args(address, "")).err().unwrap();
    let said = format!("{e:#}");
    assert!(
        said.contains(&format!("no server at http://{address}")),
        "{said}"
    );
    assert!(said.contains("hbuf serve"), "{said}");
}

#[test]
fn reading_an_empty_buffer_is_refused_with_a_way_out() {
    let e = measure(args(server(false), "--mix read")).err().unwrap();
    assert!(format!("{e:#}").contains("--fill"), "{e:#}");
}
