//! Long polls and server-sent events: what comes while someone waits.

use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Connection, Server};

const EVENTS: [(&str, &str); 1] = [("accept", "text/event-stream")];
const LINES: [(&str, &str); 1] = [("accept", "application/x-ndjson")];

/// Opens a tail and takes its head.
fn follow(server: &Server, target: &str, headers: &[(&str, &str)]) -> Connection {
    let mut connection = server.connect();
    let mut head =
        format!("GET {target} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    connection.send(format!("{head}\r\n").as_bytes());
    let reply = connection.head().unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    connection
}

/// The next events, as many as arrive together.
fn events(connection: &mut Connection) -> String {
    String::from_utf8(connection.chunk().unwrap().unwrap()).unwrap()
}

#[test]
fn a_tail_shows_what_there_is_and_then_each_message_as_it_comes() {
    let server = Server::start();
    let mut writer = server.connect();
    assert_eq!(writer.post("/buffers/t", "one").status, 201);
    let mut tail = follow(&server, "/buffers/t/messages", &[]);
    assert_eq!(events(&mut tail), "retry: 1000\n\n");
    let first = events(&mut tail);
    assert!(first.starts_with("id: 1\ndata: {\"seq\":1,"), "{first}");
    assert!(first.ends_with("\"body\":\"one\"}\n\n"), "{first}");
    let binary = writer.call("POST", "/buffers/t", &[], b"\xff");
    assert_eq!(binary.status, 201);
    let second = events(&mut tail);
    assert!(second.starts_with("id: 2\ndata: {\"seq\":2,"), "{second}");
    assert!(second.contains("\"body_base64\":\"/w==\""), "{second}");
}

#[test]
fn a_tail_goes_on_behind_the_last_event_that_was_seen() {
    let server = Server::start();
    let mut writer = server.connect();
    for body in ["one", "two", "three"] {
        assert_eq!(writer.post("/topics/t", body).status, 201);
    }
    let mut tail = follow(
        &server,
        "/topics/t/messages?after=0",
        &[("last-event-id", "2")],
    );
    events(&mut tail);
    let next = events(&mut tail);
    // On a topic an id is a cursor, which still holds when further buffers join.
    assert!(next.contains("\"seq\":3,"), "{next}");
    assert_eq!(next.matches("id: ").count(), 1, "{next}");
}

#[test]
fn a_tail_with_a_filter_and_a_limit_ends_by_itself() {
    let server = Server::start();
    let mut writer = server.connect();
    let mut tail = {
        assert_eq!(writer.call("PUT", "/buffers/t", &[], b"").status, 201);
        follow(&server, "/buffers/t/messages?tag=b&limit=2", &[])
    };
    for tag in ["a", "b", "a", "b", "b"] {
        let reply = writer.call("POST", "/buffers/t", &[("x-hbuf-tag", tag)], b"x");
        assert_eq!(reply.status, 201);
    }
    let mut seen = String::new();
    while let Some(chunk) = tail.chunk().unwrap() {
        seen.push_str(&String::from_utf8(chunk).unwrap());
    }
    let ids: Vec<_> = seen
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert_eq!(ids, ["2", "4"]);
}

#[test]
fn a_long_poll_answers_as_soon_as_a_message_comes() {
    let server = Server::start();
    let mut writer = server.connect();
    assert_eq!(writer.post("/buffers/t", "one").status, 201);
    let mut poll = server.connect();
    let started = Instant::now();
    let waiting =
        thread::spawn(move || poll.call("GET", "/buffers/t/messages?after=1&wait=15", &LINES, b""));
    thread::sleep(Duration::from_millis(100));
    assert_eq!(writer.post("/buffers/t", "two").status, 201);
    let reply = waiting.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(reply.header("x-hbuf-commit"), Some("2"));
    assert!(reply.text().starts_with("{\"seq\":2,"), "{}", reply.text());
}

#[test]
fn a_long_poll_with_a_filter_waits_for_what_fits() {
    let server = Server::start();
    let mut writer = server.connect();
    assert_eq!(writer.post("/buffers/t", "one").status, 201);
    let mut poll = server.connect();
    let waiting =
        thread::spawn(move || poll.call("GET", "/buffers/t/messages?tag=b&wait=15", &LINES, b""));
    thread::sleep(Duration::from_millis(50));
    assert_eq!(writer.post("/buffers/t", "two").status, 201);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(
        writer
            .call("POST", "/buffers/t", &[("x-hbuf-tag", "b")], b"three")
            .status,
        201
    );
    let reply = waiting.join().unwrap();
    assert!(reply.text().starts_with("{\"seq\":3,"), "{}", reply.text());
}

#[test]
fn a_stopping_server_lets_tails_and_polls_end_and_refuses_nobody_halfway() {
    let mut server = Server::start();
    let mut writer = server.connect();
    assert_eq!(writer.post("/buffers/t", "one").status, 201);
    let mut tail = follow(&server, "/buffers/t/messages", &[]);
    events(&mut tail);
    events(&mut tail);
    let idle = server.connect();
    let mut poll = server.connect();
    let waiting =
        thread::spawn(move || poll.call("GET", "/buffers/t/messages?after=1&wait=60", &LINES, b""));
    thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    server.ask_to_stop();
    server.wait_stopped();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(tail.chunk().unwrap(), None);
    let reply = waiting.join().unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    assert_eq!(writer.rest(), "");
    drop(idle);
}

#[test]
fn many_messages_arrive_once_each_and_in_order() {
    let server = Server::start();
    let mut writer = server.connect();
    assert_eq!(writer.call("PUT", "/buffers/t", &[], b"").status, 201);
    let mut tail = follow(&server, "/buffers/t/messages?limit=600", &[]);
    let writing = thread::spawn(move || {
        for number in 0..600 {
            assert_eq!(writer.post("/buffers/t", &format!("m{number}")).status, 201);
        }
    });
    let mut seen = String::new();
    while let Some(chunk) = tail.chunk().unwrap() {
        seen.push_str(&String::from_utf8(chunk).unwrap());
    }
    writing.join().unwrap();
    let ids: Vec<u64> = seen
        .lines()
        .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
        .collect();
    assert_eq!(ids, (1..=600).collect::<Vec<_>>());
}

#[test]
fn a_head_of_a_tail_ends_at_once() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.post("/buffers/t", "one").status, 201);
    let reply = client.call("HEAD", "/buffers/t/messages", &EVENTS, b"");
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(client.get("/healthz").status, 200);
}

/// Deletes something soon after a request began to wait for it.
fn deleted_meanwhile(server: &Server, target: &'static str) -> thread::JoinHandle<()> {
    let mut operator = server.connect();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        let reply = operator.call("DELETE", target, &[], b"");
        assert!(reply.status < 300, "{}", reply.text());
    })
}

#[test]
fn a_long_poll_on_what_is_deleted_is_told_so_and_holds_up_nobody() {
    let server = Server::start();
    let mut client = server.connect();
    let two = br#"{"buffers": ["d", "e"]}"#;
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(client.post(&format!("/buffers/{name}"), "x").status, 201);
    }
    assert_eq!(client.post("/topics/one", "x").status, 201);
    assert_eq!(client.call("PUT", "/topics/two", &[], two).status, 201);
    for (target, deleted, code) in [
        (
            "/buffers/a/messages?after=1&wait=20",
            "/buffers/a",
            "buffer-not-found",
        ),
        (
            "/buffers/b/messages?tag=t&wait=20",
            "/buffers/b",
            "buffer-not-found",
        ),
        (
            "/topics/one/messages?after=1&wait=20",
            "/topics/one?buffers=delete",
            "not-found",
        ),
        (
            "/topics/two/messages?after=end&wait=20",
            "/topics/two?buffers=keep",
            "topic-not-found",
        ),
    ] {
        let deleting = deleted_meanwhile(&server, deleted);
        let started = Instant::now();
        let reply = client.call("GET", target, &LINES, b"");
        deleting.join().unwrap();
        assert_eq!(reply.status, 404, "{target}: {}", reply.text());
        assert!(reply.text().contains(code), "{target}: {}", reply.text());
        assert!(started.elapsed() < Duration::from_secs(15), "{target}");
    }
}

#[test]
fn a_tail_of_what_is_deleted_ends_with_the_problem() {
    let server = Server::start();
    let mut client = server.connect();
    for name in ["a", "d", "e"] {
        assert_eq!(client.post(&format!("/buffers/{name}"), "x").status, 201);
    }
    let two = br#"{"buffers": ["d", "e"]}"#;
    assert_eq!(client.call("PUT", "/topics/two", &[], two).status, 201);
    for (target, deleted, code) in [
        (
            "/buffers/a/messages?after=1",
            "/buffers/a",
            "buffer-not-found",
        ),
        (
            "/topics/two/messages?after=end",
            "/topics/two?buffers=keep",
            "topic-not-found",
        ),
    ] {
        let mut tail = follow(&server, target, &[]);
        let deleting = deleted_meanwhile(&server, deleted);
        let mut rest = String::new();
        while let Some(chunk) = tail.chunk().unwrap() {
            rest.push_str(&String::from_utf8(chunk).unwrap());
        }
        deleting.join().unwrap();
        assert!(rest.contains("event: problem\ndata: {"), "{target}: {rest}");
        assert!(rest.contains(code), "{target}: {rest}");
    }
}
