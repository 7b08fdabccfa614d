//! Streams where other buffers may stand: as a place for dead letters, as a mirror, in a topic.

use serde_json::Value;

use crate::server::{Connection, Reply, Server};

fn with_stream() -> (Server, Connection) {
    let server = Server::start();
    let mut client = server.connect();
    let text = [("content-type", "text/plain")];
    let made = client.call("PUT", "/v1/stream/s", &text, b"");
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(client.call("PUT", "/buffers/a", &[], b"").status, 201);
    (server, client)
}

fn refused_as_stream(reply: &Reply, detail: &str) {
    let text = reply.text();
    assert_eq!(reply.status, 409, "{text}");
    assert!(text.contains("urn:hbuf:problem:buffer-is-stream"), "{text}");
    assert!(text.contains(detail), "{text}");
}

#[test]
fn a_stream_takes_no_dead_letters() {
    let (_server, mut client) = with_stream();
    let consumer = "/buffers/a/consumers/c";
    let into_stream = br#"{"deliveries_max": 1, "dead_letter": "stream.s"}"#;
    let refused = client.call("PUT", consumer, &[], into_stream);
    refused_as_stream(&refused, "`stream.s` has the name of a Durable Stream");
    assert_eq!(client.get(consumer).status, 404, "nothing was made");
    assert_eq!(client.call("PUT", consumer, &[], b"{}").status, 201);
    let changed = client.call("PUT", consumer, &[], into_stream);
    refused_as_stream(&changed, "takes no dead letters");
}

#[test]
fn a_stream_becomes_no_mirror_and_goes_on_taking_messages() {
    let (_server, mut client) = with_stream();
    let mirror = br#"{"mirror": {"of": "a"}}"#;
    let refused = client.call("PUT", "/buffers/stream.s", &[], mirror);
    refused_as_stream(&refused, "follows no other buffer");
    let text = [("content-type", "text/plain")];
    let appended = client.call("POST", "/v1/stream/s", &text, b"on");
    assert_eq!(appended.status, 204, "{}", appended.text());
    let new = client.call("PUT", "/buffers/stream.new", &[], mirror);
    refused_as_stream(&new, "`stream.new`");
    assert_eq!(client.get("/buffers/stream.new").status, 404);
    // What is no mirror's business is set as before.
    let limits = br#"{"retention_count": 9, "mirror": null}"#;
    let set = client.call("PUT", "/buffers/stream.s", &[], limits);
    assert_eq!(set.status, 200, "{}", set.text());
}

#[test]
fn a_topic_sends_messages_without_a_key_past_its_streams() {
    let (_server, mut client) = with_stream();
    let names = br#"{"buffers": ["stream.s", "a"]}"#;
    assert_eq!(client.call("PUT", "/topics/t", &[], names).status, 201);
    for number in 0..16 {
        let reply = client.post("/topics/t", "in turn");
        assert_eq!(reply.status, 201, "{}", reply.text());
        let token = [("idempotency-key", format!("token {number}"))];
        let token = token
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let reply = client.call("POST", "/topics/t", &token, b"once");
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
    let shown: Value = serde_json::from_slice(&client.get("/buffers/a").body).unwrap();
    assert_eq!(shown["commit"], 32);
    // A key has its buffer, whatever that is.
    let keyed = (0..16).map(|number| format!("key-{number}"));
    let replies: Vec<Reply> = keyed
        .map(|key| client.call("POST", "/topics/t", &[("x-hbuf-key", &*key)], b"of a key"))
        .collect();
    assert!(replies.iter().any(|reply| reply.status == 201));
    let refused = replies.iter().find(|reply| reply.status != 201);
    refused_as_stream(refused.unwrap(), "stream");
}
