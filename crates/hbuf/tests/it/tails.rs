//! Ten thousand readers that wait at the end of one buffer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::server::Server;

/// What `docs/LIMITS.md` promises.
const READERS: usize = 10_000;
/// Longest silence that is accepted.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Each connection is a file on either side.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let room = limit.current.is_none_or(|most| most > READERS as u64 + 500);
    assert!(
        room,
        "{READERS} connections need more open files than {limit:?}"
    );
}

fn follow(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(SILENCE_MAX)).unwrap();
    let request = "GET /buffers/b/messages?after=1 HTTP/1.1\r\nhost: localhost\r\n\
        accept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    stream
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains(end) {
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "the server closed the connection behind {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    text
}

#[test]
fn ten_thousand_readers_follow_one_buffer_and_each_gets_every_message() {
    raise_open_files();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start(&scratch.path().join("data"), &[]).unwrap();
    let mut http = server.http();
    assert_eq!(http.post("/buffers/b", b"before").unwrap().status, 201);
    let mut readers: Vec<TcpStream> = (0..READERS).map(|_| follow(&server)).collect();
    for body in ["the first of all", "the last of all"] {
        let reply = http.post("/buffers/b", body.as_bytes()).unwrap();
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
    for reader in &mut readers {
        let text = read_until(reader, "the last of all");
        assert_eq!(text.matches("the first of all").count(), 1, "{text}");
        assert!(!text.contains("before"), "{text}");
    }
    let reply = http.post("/buffers/b", b"after").unwrap();
    assert_eq!(reply.status, 201, "others are served beside them");
}
