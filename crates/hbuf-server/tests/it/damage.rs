//! What a reader gets of a log that is damaged behind good messages: those, and then no end.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::thread;
use std::time::Duration;

use hbuf_client::{Client, Collection, ReadOptions};

use crate::server::{Connection, Server};

/// A reply whose head or first messages may get lost does not get lost each time.
const TRIES: usize = 30;

/// A buffer of five messages, of which the third has another body than was appended.
fn damaged(server: &Server, name: &str, body: &str) {
    let mut client = server.connect();
    for number in 1..=5 {
        let reply = client.post(&format!("/buffers/{name}"), &format!("{body}{number}"));
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
    flip(server, name, &format!("{body}3"));
}

/// Changes the last byte of the first place where the buffer's first file holds `text`.
pub(crate) fn flip(server: &Server, name: &str, text: &str) {
    let path = server.buffer_dir(name).join("00000000000000000001.hbuf");
    let bytes = std::fs::read(&path).unwrap();
    // Long bodies are told apart by their ends.
    let text = &text[text.len().saturating_sub(9)..];
    let mut places = bytes.windows(text.len());
    let at = places.position(|at| at == text.as_bytes()).unwrap() + text.len() - 1;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"?", at as u64).unwrap();
}

fn ask(server: &Server, name: &str, accept: &str) -> Connection {
    let mut client = server.connect();
    let request = format!("GET {name} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
    client.send(request.as_bytes());
    client
}

/// Takes chunks until there are no more; the error is how the reply ended.
fn chunks(client: &mut Connection) -> (Vec<u8>, std::io::Result<()>) {
    let mut all = Vec::new();
    loop {
        match client.chunk() {
            Ok(Some(chunk)) => all.extend_from_slice(&chunk),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

#[test]
fn sound_messages_before_damage_reach_the_reader_and_the_reply_breaks_off() {
    let server = Server::start();
    damaged(&server, "b", "message ");
    for accept in [
        "application/http",
        "application/x-ndjson",
        "application/json",
    ] {
        for _ in 0..TRIES {
            let mut client = ask(&server, "/buffers/b/messages", accept);
            let head = client.head().expect("a head comes");
            assert_eq!(head.status, 200);
            let (body, end) = chunks(&mut client);
            assert!(end.is_err(), "{accept}: nobody may take it for whole");
            let body = String::from_utf8(body).unwrap();
            assert!(
                body.contains("message 1") && body.contains("message 2"),
                "{body}"
            );
            assert!(!body.contains("message 4"), "{body}");
        }
    }
    // Whoever goes on behind what came is told.
    let reply = server.connect().get("/buffers/b/messages?after=2");
    assert_eq!(reply.status, 500);
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["type"], "urn:hbuf:problem:log-damaged");
    assert_eq!(problem["seq"], 3);
}

#[test]
fn over_http2_sound_messages_come_before_the_stream_is_reset() {
    let server = Server::start();
    damaged(&server, "b", "message ");
    let url = format!("http://{}", server.address);
    let client = Client::builder(&url).http2(true).build().unwrap();
    server.runtime().block_on(async {
        let options = ReadOptions::default();
        for _ in 0..TRIES {
            let mut records = client
                .read(Collection::Buffers, "b", &options)
                .await
                .unwrap();
            for seq in 1..=2 {
                assert_eq!(records.next().await.unwrap().unwrap().seq().0, seq);
            }
            records.next().await.expect_err("it breaks off");
            let lines = client.read_json(Collection::Buffers, "b", &options).await;
            let mut lines = lines.unwrap();
            for seq in 1..=2 {
                assert_eq!(lines.next().await.unwrap().unwrap()["seq"], seq);
            }
            lines.next().await.expect_err("it breaks off");
        }
    });
}

#[test]
fn a_slow_reader_gets_all_that_is_sound() {
    let server = Server::start();
    let body = "x".repeat(3 << 20);
    damaged(&server, "b", &body);
    let mut client = ask(&server, "/buffers/b/messages", "application/http");
    // What the system takes on its own is full by now, and the server waits.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(client.head().unwrap().status, 200);
    let (came, end) = chunks(&mut client);
    assert!(end.is_err());
    let sound = came
        .windows(9)
        // The heads in between have hashes, in which shorter ends stand now and then.
        .filter(|end| end == b"xxxxxxxx1" || end == b"xxxxxxxx2")
        .count();
    assert_eq!(sound, 2, "{} bytes", came.len());
}

#[test]
fn a_tail_says_what_is_damaged_before_it_ends() {
    let server = Server::start();
    damaged(&server, "b", "message ");
    for _ in 0..TRIES {
        let mut client = ask(&server, "/buffers/b/messages", "text/event-stream");
        assert_eq!(client.head().unwrap().status, 200);
        let (events, end) = chunks(&mut client);
        end.unwrap();
        let events = String::from_utf8(events).unwrap();
        assert!(
            events.contains("message 2") && !events.contains("message 4"),
            "{events}"
        );
        let (_, problem) = events.split_once("event: problem\n").unwrap();
        assert!(
            problem.contains("log-damaged") && problem.contains("\"seq\":3"),
            "{problem}"
        );
    }
}

#[test]
fn a_buffer_that_a_read_finds_damaged_is_counted_once_while_it_is_there() {
    let server = Server::start();
    damaged(&server, "b", "message ");
    let count = || {
        let text = server.connect().get("/metrics").text();
        let (_, rest) = text.split_once("\nhbuf_buffers_damaged ").unwrap();
        rest.lines().next().unwrap().to_owned()
    };
    assert_eq!(count(), "0");
    for _ in 0..2 {
        let reply = server.connect().get("/buffers/b/messages?after=2");
        assert_eq!(reply.status, 500);
        assert_eq!(count(), "1");
    }
    let gone = server.connect().call("DELETE", "/buffers/b", &[], b"");
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!(count(), "0");
}
