//! What only bytes on a socket can say: broken framing, slow clients, half-closed connections.

use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use hbuf_server::http::HttpSettings;

use crate::server::{Connection, Server};

/// Sends bytes on a connection of their own and reads the one reply.
fn refusal(server: &Server, bytes: &[u8]) -> (u16, String) {
    let mut connection = server.connect();
    connection.send(bytes);
    let reply = connection.reply("GET").unwrap();
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    (reply.status, reply.text())
}

fn check(server: &Server, bytes: &[u8], status: u16, code: &str) {
    let (found, text) = refusal(server, bytes);
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    assert_eq!(found, status, "{shown}\n{text}");
    assert!(
        text.contains(&format!("urn:hbuf:problem:{code}\"")),
        "{shown}\n{text}"
    );
}

/// How many messages the buffer holds.
fn commit(server: &Server, buffer: &str) -> Option<String> {
    let reply = server
        .connect()
        .call("HEAD", &format!("/buffers/{buffer}/messages"), &[], b"");
    reply.header("x-hbuf-commit").map(str::to_owned)
}

#[test]
fn broken_framing_is_refused_with_a_problem() {
    let server = Server::start();
    let malformed = |bytes: &[u8]| check(&server, bytes, 400, "request-malformed");
    malformed(b"this is not HTTP\r\n\r\n");
    malformed(b"GET / HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n");
    malformed(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n");
    malformed(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\rb: c\r\n\r\n");
    malformed(b"GET / HTTP/1.1\r\nhost: localhost\r\n folded: x\r\n\r\n");
    malformed(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx");
    malformed(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n");
    malformed(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: +1\r\n\r\nx");
    malformed(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1, 2\r\n\r\nx");
    malformed(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n");
    malformed(
        b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
    );
    malformed(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    malformed(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    malformed(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    malformed(b"POST /buffers/b HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(commit(&server, "b"), None);
}

#[test]
fn heads_that_are_too_large_are_refused_with_a_problem() {
    let server = Server::start();
    let long = "x".repeat(90 << 10);
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n");
    check(&server, head.as_bytes(), 431, "head-too-large");
    let many = "x: y\r\n".repeat(101);
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    check(&server, head.as_bytes(), 431, "head-too-large");
    let head = format!(
        "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        &long[..70_000]
    );
    check(&server, head.as_bytes(), 414, "target-too-long");
}

#[test]
fn the_largest_header_block_is_stored_and_a_larger_one_refused() {
    let server = Server::start();
    let mut client = server.connect();
    let value = "v".repeat(820 - "x-hbuf-meta-00: \r\n".len());
    let names: Vec<String> = (0..80).map(|n| format!("x-hbuf-meta-{n:02}")).collect();
    let headers: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), &value[..value.len() - 1]))
        .collect();
    assert_eq!(
        client.call("POST", "/buffers/h", &headers, b"x").status,
        201
    );
    let reply = client.get("/buffers/h/messages/1");
    assert_eq!(reply.header("x-hbuf-meta-79"), Some(headers[79].1));
    let headers: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), value.as_str()))
        .collect();
    let reply = client.call("POST", "/buffers/h", &headers, b"x");
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(
        reply.text().contains("65536 bytes of headers"),
        "{}",
        reply.text()
    );
    let more = [&headers[..], &[("ce-id", "1")]].concat();
    let more: Vec<_> = more.iter().map(|(name, _)| (*name, "1")).collect();
    let reply = client.call("POST", "/buffers/h", &more, b"x");
    assert!(
        reply.text().contains("more than 80 headers"),
        "{}",
        reply.text()
    );
    assert_eq!(commit(&server, "h").as_deref(), Some("1"));
}

#[test]
fn a_request_must_name_its_host_once() {
    let server = Server::start();
    check(&server, b"GET / HTTP/1.1\r\n\r\n", 400, "header-invalid");
    check(
        &server,
        b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
        400,
        "header-invalid",
    );
    check(
        &server,
        b"GET / HTTP/1.1\r\nhost:\r\n\r\n",
        421,
        "host-refused",
    );
    check(
        &server,
        b"GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        421,
        "host-refused",
    );
    let mut old = server.connect();
    old.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert!(old.rest().starts_with("HTTP/1.0 200 OK\r\n"));
}

#[test]
fn two_equal_lengths_are_one_and_a_length_beside_a_transfer_coding_ends_the_connection() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\none");
    assert_eq!(client.reply("POST").unwrap().status, 201);
    // The chunks say where the body ends. What the length would have hidden is not looked at: the
    // connection ends, as RFC 9112 §6.1 wants it.
    client.send(
        b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 43\r\ntransfer-encoding: chunked\r\n\r\n\
          3\r\ntwo\r\n0\r\n\r\nGET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n",
    );
    assert_eq!(client.reply("POST").unwrap().status, 201);
    assert_eq!(client.rest(), "");
    let reply = server.connect().get("/buffers/b/messages/2");
    assert_eq!(reply.text(), "two");
}

#[test]
fn broken_chunks_store_nothing() {
    let server = Server::start();
    let head = "POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in [
        "x\r\n",
        "5\r\nab\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "-1\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
    ] {
        check(
            &server,
            format!("{head}{chunks}").as_bytes(),
            400,
            "body-cut",
        );
    }
    assert_eq!(commit(&server, "b"), None);
}

#[test]
fn a_body_that_ends_early_stores_nothing() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf");
    client.stream().shutdown(Shutdown::Write).unwrap();
    let reply = client.reply("POST").unwrap();
    assert_eq!(reply.status, 400);
    assert!(
        reply.text().contains("urn:hbuf:problem:body-cut"),
        "{}",
        reply.text()
    );
    assert_eq!(commit(&server, "b"), None);
}

#[test]
fn a_client_that_closed_its_half_still_gets_its_reply() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\none");
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply("POST").unwrap().status, 201);
    assert_eq!(client.rest(), "");
    assert_eq!(commit(&server, "b").as_deref(), Some("1"));
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.connect();
    let one = "POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx";
    client.send(one.repeat(20).as_bytes());
    for seq in 1..=20 {
        let reply = client.reply("POST").unwrap();
        assert_eq!(reply.header("x-hbuf-seq"), Some(seq.to_string().as_str()));
    }
}

/// So short that a test can wait for it; only where it is the point, for a busy machine is slow.
const SHORT: Duration = Duration::from_millis(300);

/// Sends a byte now and then until the server has enough of it.
fn drip(connection: &mut Connection, bytes: &[u8]) -> Duration {
    use std::io::Write as _;
    let started = Instant::now();
    for byte in bytes {
        if connection.stream().write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    started.elapsed()
}

/// Reads the refusal of a head that came too slowly, and the end of the connection behind it.
fn slow_head_refused(mut connection: Connection) {
    let reply = connection.reply("GET").unwrap();
    assert_eq!(reply.status, 408);
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(
        reply.text().contains("urn:hbuf:problem:request-slow"),
        "{}",
        reply.text()
    );
    assert_eq!(connection.rest(), "");
}

#[test]
fn a_head_that_comes_too_slowly_is_refused_and_ends_the_connection() {
    let server = Server::with(HttpSettings {
        head_timeout: SHORT,
        ..HttpSettings::default()
    });
    let mut slow = server.connect();
    drip(&mut slow, b"GET /buffers/b HTTP/1.1\r\nhost");
    slow_head_refused(slow);
    let mut second = server.connect();
    assert_eq!(second.get("/healthz").status, 200);
    second.send(b"GET /healthz HTTP/1.1\r\nhost: local");
    slow_head_refused(second);
}

#[test]
fn a_connection_without_a_request_is_closed_without_a_word() {
    let server = Server::with(HttpSettings {
        head_timeout: SHORT,
        ..HttpSettings::default()
    });
    let mut silent = server.connect();
    let started = Instant::now();
    assert_eq!(silent.rest(), "");
    assert!(started.elapsed() < Duration::from_secs(5));
    // It may be the start of HTTP/2 as well, where an answer of HTTP/1.1 is noise.
    let mut undecided = server.connect();
    undecided.send(b"PR");
    assert_eq!(undecided.rest(), "");
    let mut idle = server.connect();
    assert_eq!(idle.get("/healthz").status, 200);
    assert_eq!(idle.rest(), "");
    // An empty line before a request is no part of it (RFC 9112 §2.2).
    let mut empty = server.connect();
    empty.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n\r\n");
    assert_eq!(empty.reply("GET").unwrap().status, 200);
    assert_eq!(empty.rest(), "");
}

#[test]
fn a_body_that_comes_too_slowly_is_refused_and_nothing_stored() {
    let server = Server::with(HttpSettings {
        body_timeout: SHORT,
        ..HttpSettings::default()
    });
    let mut slow = server.connect();
    slow.send(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n");
    drip(&mut slow, &[b'x'; 12]);
    let reply = slow.reply("POST").unwrap();
    assert_eq!(reply.status, 408);
    assert!(
        reply.text().contains("urn:hbuf:problem:request-slow"),
        "{}",
        reply.text()
    );
    assert_eq!(commit(&server, "b"), None);
}

#[test]
fn a_client_that_takes_nothing_of_its_reply_is_let_go() {
    let server = Server::with(HttpSettings {
        stall_timeout: SHORT,
        ..HttpSettings::default()
    });
    let mut writer = server.connect();
    let body = vec![b'x'; 8 << 20];
    for _ in 0..4 {
        assert_eq!(writer.call("POST", "/buffers/b", &[], &body).status, 201);
    }
    drop(writer);
    let mut lazy = server.connect();
    lazy.send(b"GET /buffers/b/messages HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(lazy.head().unwrap().status, 200);
    let started = Instant::now();
    loop {
        let text = server.connect().get("/metrics").text();
        // The one that asks is open, too.
        if text.contains("hbuf_http_connections_open 1\n") {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{text}");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(lazy.rest().len() < 4 * body.len());
}

#[test]
fn a_message_of_the_largest_size_is_taken_and_one_byte_more_refused() {
    let server = Server::start();
    let mut client = server.connect();
    let body = vec![b'x'; 64 << 20];
    assert_eq!(client.call("POST", "/buffers/b", &[], &body).status, 201);
    let reply = client.get("/buffers/b/messages/1");
    assert!(reply.body == body, "{} bytes came back", reply.body.len());
    client.send(b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 67108865\r\n\r\n");
    let reply = client.reply("POST").unwrap();
    assert_eq!(reply.status, 413);
    assert_eq!(commit(&server, "b").as_deref(), Some("1"));
}

#[test]
fn a_batch_of_the_most_messages_is_taken_and_one_more_refused() {
    let server = Server::start();
    let mut client = server.connect();
    let lines = [("content-type", "application/x-ndjson")];
    let requests = [("content-type", "application/http")];
    let most = "{\"body\":\"x\"}\n".repeat(10_000);
    let reply = client.call("POST", "/buffers/b", &lines, most.as_bytes());
    assert_eq!(
        (reply.status, reply.header("x-hbuf-last-seq")),
        (201, Some("10000"))
    );
    let more = format!("{most}{{\"body\":\"x\"}}\n");
    let reply = client.call("POST", "/buffers/b", &lines, more.as_bytes());
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("\"index\":10000"), "{}", reply.text());
    let most = "POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\nx\r\n".repeat(10_000);
    let reply = client.call("POST", "/topics/t", &requests, most.as_bytes());
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text().lines().count(), 10_000);
    let more = format!("{most}POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
    let reply = client.call("POST", "/topics/t", &requests, more.as_bytes());
    assert_eq!(reply.status, 400);
    assert_eq!(commit(&server, "b").as_deref(), Some("10000"));
    let raw = client.get("/buffers/b/messages").body;
    let reply = client.call("POST", "/buffers/copy", &requests, &raw);
    assert_eq!(
        reply.header("x-hbuf-last-seq"),
        Some("10000"),
        "a raw read is a batch"
    );
}

#[test]
fn a_read_of_the_most_messages_is_taken_and_walks_pages() {
    let server = Server::start();
    let mut client = server.connect();
    let body = "y".repeat(300);
    let lines = format!("{{\"body\":\"{body}\",\"tags\":[\"t\"]}}\n").repeat(5_000);
    let headers = [("content-type", "application/x-ndjson")];
    for _ in 0..2 {
        let reply = client.call("POST", "/buffers/b", &headers, lines.as_bytes());
        assert_eq!(reply.status, 201);
    }
    for accept in [
        "application/json",
        "application/x-ndjson",
        "application/http",
    ] {
        let target = "/buffers/b/messages?limit=10000&tag=t";
        let reply = client.call("GET", target, &[("accept", accept)], b"");
        let text = reply.text();
        assert_eq!(text.matches(&body).count(), 10_000, "{accept}");
        if accept == "application/json" {
            let messages: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(messages[9_999]["seq"], 10_000);
        }
    }
}

#[test]
fn a_batch_that_claims_too_much_is_refused_before_it_is_read() {
    let server = Server::start();
    let mut client = server.connect();
    let length = (128_u64 << 20) + 1;
    let head = format!(
        "POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {length}\r\n\r\n"
    );
    client.send(head.as_bytes());
    let reply = client.reply("POST").unwrap();
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert_eq!(commit(&server, "b"), None);
}

#[test]
fn chunks_that_add_up_to_too_much_are_refused() {
    let server = Server::with(HttpSettings {
        body_bytes_max: 10_000,
        ..HttpSettings::default()
    });
    let mut client = server.connect();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let head = "POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(format!("{head}{}0\r\n\r\n", chunk.repeat(3)).as_bytes());
    let reply = client.reply("POST").unwrap();
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert_eq!(commit(&server, "b"), None);
    let mut client = server.connect();
    client.send(format!("{head}{}0\r\n\r\n", chunk.repeat(2)).as_bytes());
    assert_eq!(client.reply("POST").unwrap().status, 201);
}

#[test]
fn a_connection_too_many_is_told_so_and_one_that_ends_makes_room() {
    let server = Server::with(HttpSettings {
        connections_max: 2,
        ..HttpSettings::default()
    });
    let mut two = [server.connect(), server.connect()];
    for client in &mut two {
        assert_eq!(client.get("/healthz").status, 200);
    }
    let mut third = server.connect();
    let refused = third.reply("GET").unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused.text().contains("2 connections are open"),
        "{}",
        refused.text()
    );
    drop(two);
    let started = Instant::now();
    while server.connect().call("GET", "/healthz", &[], b"").status != 200 {
        assert!(started.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(10));
    }
}
