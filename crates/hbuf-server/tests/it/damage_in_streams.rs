//! What a reader of a stream gets when it is damaged behind good messages.

use crate::damage::flip;
use crate::server::{Connection, Reply, Server};

/// A closed stream of five messages of so many bytes, of which the third is damaged in its body.
fn damaged(len: usize) -> (Server, Connection) {
    let server = Server::start();
    let mut client = server.connect();
    let text = [("content-type", "application/json")];
    assert_eq!(client.call("PUT", "/v1/stream/s", &text, b"").status, 201);
    for number in 1..=5 {
        let body = format!("\"{}message {number}\"", "x".repeat(len));
        let reply = client.call("POST", "/v1/stream/s", &text, body.as_bytes());
        assert_eq!(reply.status, 204, "{}", reply.text());
    }
    let close = [("stream-closed", "true")];
    assert_eq!(client.call("POST", "/v1/stream/s", &close, b"").status, 204);
    flip(&server, "stream.s", "message 3");
    (server, client)
}

fn is_sound(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let bodies: Vec<String> = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].ends_with("message 1") && bodies[1].ends_with("message 2"));
    for absent in ["stream-closed", "stream-up-to-date"] {
        assert_eq!(
            reply.header(absent),
            None,
            "there is more behind the damage"
        );
    }
}

fn is_named(reply: &Reply) {
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert!(reply.text().contains("urn:hbuf:problem:log-damaged"));
}

#[test]
fn reads_and_polls_give_what_is_sound_and_then_the_problem() {
    for poll in ["", "&live=long-poll"] {
        // Known from the second time on.
        let (_server, mut client) = damaged(1);
        for _ in 0..3 {
            let reply = client.get(&format!("/v1/stream/s?offset=-1{poll}"));
            is_sound(&reply);
            let next = reply.header("stream-next-offset").unwrap();
            is_named(&client.get(&format!("/v1/stream/s?offset={next}{poll}")));
        }
    }
}

#[test]
fn an_etag_names_what_was_given() {
    let (_server, mut client) = damaged(1);
    for _ in 0..2 {
        let reply = client.get("/v1/stream/s");
        is_sound(&reply);
        let tag = [("if-none-match", reply.header("etag").unwrap())];
        let again = client.call("GET", "/v1/stream/s", &tag, b"");
        assert_eq!(again.status, 304);
        assert_eq!(
            again.header("stream-next-offset"),
            reply.header("stream-next-offset")
        );
    }
}

#[test]
fn a_reply_that_broke_off_is_sound_when_it_is_asked_for_again() {
    let (server, mut client) = damaged(1 << 20);
    client.send(b"GET /v1/stream/s HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let (mut came, head) = (0, client.head().unwrap());
    assert_eq!(head.status, 200);
    let broken = loop {
        match client.chunk() {
            Ok(Some(chunk)) => came += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken && came > 1 << 20, "{came} bytes");
    is_sound(&server.connect().get("/v1/stream/s"));
}
