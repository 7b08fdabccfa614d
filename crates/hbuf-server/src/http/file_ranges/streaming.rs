//! Replies made of memory and of files, through real sockets, byte for byte.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use rustix::net::sockopt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::http::body::{Body, Data, Source, Step};
use crate::http::socket::Socket;

#[derive(Clone)]
enum Piece {
    Memory(Bytes),
    File {
        path: PathBuf,
        offset: u64,
        len: usize,
    },
    /// Replaces the file by another of the same length, as erasure does.
    Replace(PathBuf),
}

struct Pieces {
    left: std::vec::IntoIter<Piece>,
    ranges: FileRanges,
}

impl Source for Pieces {
    fn next(mut self: Box<Self>) -> Step {
        Box::pin(async move {
            while let Some(piece) = self.left.next() {
                let data = match piece {
                    Piece::Memory(bytes) => Data::Memory(bytes),
                    Piece::File { path, offset, len } => {
                        let file = Arc::new(File::open(path).unwrap());
                        Data::File(self.ranges.push(FileRange { file, offset, len }))
                    }
                    Piece::Replace(path) => {
                        let len = fs::metadata(&path).unwrap().len() as usize;
                        fs::write(path.with_extension("new"), vec![b'!'; len]).unwrap();
                        fs::rename(path.with_extension("new"), path).unwrap();
                        continue;
                    }
                };
                return Ok(Some((data, self as Box<dyn Source>)));
            }
            Ok(None)
        })
    }
}

/// Answers every request on one connection with the same pieces. Ends with whether hyper was
/// content.
async fn serve(pieces: Vec<Piece>, send_buffer: Option<usize>) -> (SocketAddr, JoinHandle<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        if let Some(bytes) = send_buffer {
            sockopt::set_socket_send_buffer_size(&stream, bytes).unwrap();
        }
        let ranges = FileRanges::default();
        let patience = std::time::Duration::from_secs(60);
        let socket = Socket::new(stream, patience, Some(ranges.clone()));
        let service = service_fn(move |_| {
            let left = pieces.clone().into_iter();
            let ranges = ranges.clone();
            let body = Body::stream(Box::new(Pieces { left, ranges }));
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let mut http = http1::Builder::new();
        http.half_close(true).writev(true);
        http.serve_connection(socket, service).await.is_ok()
    });
    (address, served)
}

/// Sends requests at once and takes everything that comes back, `step` bytes at a time.
async fn replies(address: SocketAddr, requests: &str, step: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let (mut all, mut piece) = (Vec::new(), vec![0; step]);
    // A connection that is broken off may be reset.
    while let Ok(count) = stream.read(&mut piece).await
        && count > 0
    {
        all.extend_from_slice(&piece[..count]);
    }
    all
}

/// Takes one reply off the front: its body, and whether that came to its end.
fn body(reply: &mut &[u8]) -> (Vec<u8>, bool) {
    let end = reply
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let head = String::from_utf8(reply[..end].to_vec()).unwrap();
    *reply = &reply[end..];
    let mut whole = Vec::new();
    if !head.contains("transfer-encoding: chunked") {
        whole.extend_from_slice(std::mem::take(reply));
        return (whole, true);
    }
    loop {
        let Some(line) = reply.iter().position(|byte| *byte == b'\n') else {
            return (whole, false);
        };
        let size = std::str::from_utf8(&reply[..line - 1]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        *reply = &reply[line + 1..];
        if reply.len() < size + 2 {
            whole.extend_from_slice(&reply[..reply.len().min(size)]);
            return (whole, false);
        }
        whole.extend_from_slice(&reply[..size]);
        assert_eq!(&reply[size..size + 2], b"\r\n");
        *reply = &reply[size + 2..];
        if size == 0 {
            return (whole, true);
        }
    }
}

/// Bytes that differ everywhere, and never look like the stand-in.
fn content(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| ((at * 31 + at / 251 + seed * 7) % 255 + 1) as u8)
        .collect()
}

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn range(path: &Path, offset: u64, len: usize) -> Piece {
    let path = path.to_owned();
    Piece::File { path, offset, len }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Memory and files by turns: neighbours of each kind, single bytes, more than one call takes.
fn mixture(dir: &TempDir) -> (Vec<Piece>, Vec<u8>) {
    let (one, two) = (content(1, 3_000_000), content(2, 70_000));
    let (first, second) = (file(dir, "one", &one), file(dir, "two", &two));
    let memory = content(3, 5_000);
    let pieces = vec![
        Piece::Memory(memory.clone().into()),
        range(&first, 17, 1_000_000),
        range(&first, 1_000_017, 1_999_983),
        range(&second, 0, 1),
        Piece::Memory(memory.clone().into()),
        Piece::Memory(memory.clone().into()),
        range(&second, 69_999, 1),
        range(&second, 5, 65_000),
    ];
    let all = [
        &memory[..],
        &one[17..],
        &two[..1],
        &memory,
        &memory,
        &two[69_999..],
        &two[5..65_005],
    ];
    (pieces, all.concat())
}

#[test]
fn every_byte_arrives_in_its_place_however_slowly_it_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (pieces, expected) = mixture(&dir);
    run(async {
        for (send_buffer, step) in [(None, 1 << 20), (None, 3_001), (Some(1), 70_000)] {
            let (address, served) = serve(pieces.clone(), send_buffer).await;
            // Pipelined: the second reply follows at once.
            let came = replies(address, &[GET, GET].concat(), step).await;
            let mut rest = &came[..];
            for _ in 0..2 {
                let (body, ended) = body(&mut rest);
                assert!(ended && body == expected, "{send_buffer:?} {step}");
            }
            assert!(rest.is_empty() && served.await.unwrap());
        }
    });
}

#[test]
fn a_reply_without_chunks_is_the_bytes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (pieces, expected) = mixture(&dir);
    run(async {
        let (address, served) = serve(pieces, None).await;
        let came = replies(address, "GET / HTTP/1.0\r\n\r\n", 1 << 16).await;
        assert!(body(&mut &came[..]).0 == expected && served.await.unwrap());
    });
}

#[test]
fn a_file_that_is_too_short_breaks_the_reply_off() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(4, 300_000);
    let path = file(&dir, "short", &bytes);
    run(async {
        let pieces = vec![
            range(&path, 0, 300_001),
            Piece::Memory(Bytes::from_static(b"more")),
        ];
        let (address, served) = serve(pieces, None).await;
        let came = replies(address, GET, 1 << 16).await;
        let (body, ended) = body(&mut &came[..]);
        assert!(!ended && bytes.starts_with(&body), "{} bytes", body.len());
        assert!(!served.await.unwrap());
    });
}

#[test]
fn a_file_that_is_replaced_meanwhile_is_sent_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(5, 2_000_000);
    let path = file(&dir, "replaced", &bytes);
    run(async {
        let replace = Piece::Replace(path.clone());
        let pieces = vec![range(&path, 0, 100_000), replace, Piece::Memory("!".into())];
        let (address, served) = serve(pieces, Some(1)).await;
        let came = replies(address, GET, 1_000).await;
        let (body, ended) = body(&mut &came[..]);
        assert!(ended && body == [&bytes[..100_000], b"!"].concat());
        assert!(served.await.unwrap());
    });
}

#[test]
fn a_client_that_goes_away_lets_go_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "long", &content(6, 8_000_000));
    run(async {
        let pieces = vec![range(&path, 0, 8_000_000); 8];
        let (address, served) = serve(pieces, None).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 1_000]).await.unwrap();
        drop(stream);
        assert!(!served.await.unwrap());
    });
}

#[test]
fn a_range_that_is_copied_dropped_or_out_of_turn_breaks_the_connection_off() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "any", &content(7, 1_000));
    let pushed = || {
        let ranges = FileRanges::default();
        let file = Arc::new(File::open(&path).unwrap());
        let range = FileRange {
            file,
            offset: 0,
            len: 100,
        };
        let (first, second) = (ranges.push(range.clone()), ranges.push(range));
        (ranges, first, second)
    };

    let (ranges, mut copied, _second) = pushed();
    assert!(ranges.check().is_ok());
    copied.copy_to_bytes(10);
    assert!(ranges.check().is_err());

    let (ranges, dropped, _second) = pushed();
    drop(dropped);
    assert!(ranges.check().is_err());

    let (ranges, _first, mut out_of_turn) = pushed();
    assert_eq!(ranges.send(&near, 10).unwrap(), 10);
    out_of_turn.advance(10);
    assert!(ranges.check().is_err());

    let (ranges, mut first, _second) = pushed();
    assert_eq!(ranges.send(&near, 10).unwrap(), 10);
    first.advance(9);
    assert!(ranges.check().is_err());

    let (ranges, _first, _second) = pushed();
    assert_eq!(ranges.send(&near, 10).unwrap(), 10);
    assert!(ranges.check().is_err(), "sent twice");

    let (ranges, mut first, mut second) = pushed();
    for (is_first, most, sent) in [(true, 60, 60), (true, 60, 40), (false, 500, 100)] {
        assert_eq!(ranges.send(&near, most).unwrap(), sent);
        let buffer = if is_first { &mut first } else { &mut second };
        buffer.advance(sent);
        assert!(ranges.check().is_ok());
    }
    assert!(ranges.send(&near, 1).is_err(), "nothing is left");
    drop(far);
}

#[test]
fn the_stand_in_is_known_by_its_address_alone() {
    let memory = [0; 64];
    let (own, zeros) = (IoSlice::new(&STAND_IN[5..9]), IoSlice::new(&memory));
    assert!(stands_in(&own) && !stands_in(&zeros) && !stands_in(b""));
    assert_eq!(front(&[own, own, zeros]), Front::File(8));
    assert_eq!(front(&[zeros, zeros, own]), Front::Memory(2, true));
    assert_eq!(front(&[zeros]), Front::Memory(1, false));
}
