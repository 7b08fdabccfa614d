//! `next` with acks in its body: settled first, then handed out.

use hbuf_client::{Acks, Client, Collection, HandedMessage, NextOptions};
use serde_json::{Value, json};

use crate::consuming::{append, bodies, item, json_of, made, next, send};
use crate::damage::flip;
use crate::server::{Connection, Server};

const C: &str = "/buffers/a/consumers/c";

fn with_messages(server: &Server, count: usize) -> Connection {
    let mut client = server.connect();
    for n in 1..=count {
        append(&mut client, "/buffers/a", &[], &format!("message {n}"));
    }
    client
}

fn next_with(client: &mut Connection, query: &str, acks: &Value) -> Value {
    let reply = send(client, "POST", &format!("{C}/next{query}"), acks);
    assert_eq!(reply.status, 200, "{}", reply.text());
    json_of(&reply)
}

#[test]
fn what_was_done_is_acked_and_makes_room_for_what_comes() {
    let server = Server::start();
    let mut client = with_messages(&server, 5);
    made(&mut client, C, &json!({ "in_flight_max": 2 }));
    let first = next(&mut client, C, "?limit=9");
    assert_eq!(bodies(&first), ["message 1", "message 2"]);
    let acks = json!({ "ack": [item(&first[0])], "nack": [item(&first[1])] });
    let reply = next_with(&mut client, "?limit=9", &acks);
    let handed = reply["messages"].as_array().unwrap();
    assert_eq!(bodies(handed), ["message 2", "message 3"]);
    assert_eq!(reply["settled"]["ack"][0]["result"], "acked");
    assert_eq!(reply["settled"]["nack"][0]["result"], "nacked");
    assert_eq!(reply["settled"]["extend"], json!([]));
    // What is on disk by the reply is so after a restart.
    let done = json!({ "ack": handed.iter().map(item).collect::<Vec<_>>() });
    let reply = next_with(&mut client, "?limit=1", &done);
    assert_eq!(reply["messages"][0]["body"], "message 4");
    let server = server.start_again(|| ());
    let mut client = server.connect();
    let again = next(&mut client, C, "?limit=9");
    assert_eq!(bodies(&again), ["message 4", "message 5"]);
    // Once more is no ack, and is told so; what is there comes all the same.
    let reply = next_with(&mut client, "?limit=9", &done);
    assert_eq!(reply["settled"]["ack"][1]["result"], "already-acked");
}

#[test]
fn other_forms_count_what_came_of_it_in_a_header() {
    let server = Server::start();
    let mut client = with_messages(&server, 4);
    made(&mut client, C, &json!({}));
    let first = next(&mut client, C, "?limit=2");
    let items: Vec<Value> = first.iter().chain(&first[..1]).map(item).collect();
    let acks = json!({ "ack": items }).to_string();
    for (accept, counted) in [
        ("application/x-ndjson", "acked=2, already-acked=1"),
        ("application/http", "already-acked=3"),
    ] {
        let accept = [("accept", accept)];
        let reply = client.call("POST", &format!("{C}/next"), &accept, acks.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-hbuf-settled"), Some(counted));
        assert!(reply.text().contains("message"), "{}", reply.text());
    }
    let plain = client.post(&format!("{C}/next"), "");
    assert_eq!(plain.header("x-hbuf-settled"), None);
    assert_eq!(json_of(&plain).get("settled"), None);
}

#[test]
fn a_bad_body_settles_and_hands_out_nothing() {
    let server = Server::start();
    let mut client = with_messages(&server, 2);
    made(&mut client, C, &json!({}));
    let first = next(&mut client, C, "");
    let good = json!({ "ack": [item(&first[0])] }).to_string();
    let events = [("accept", "text/event-stream")];
    for (headers, body) in [
        (&[][..], "{\"ack\": [{}]}"),
        (&[], "7"),
        (&[], "ack"),
        (&events, good.as_str()),
    ] {
        let reply = client.call("POST", &format!("{C}/next"), headers, body.as_bytes());
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        assert!(reply.text().contains("urn:hbuf:problem:body-invalid"));
    }
    let shown = json_of(&client.get(C));
    assert_eq!(
        (&shown["in_flight"], &shown["pending"]),
        (&json!(1), &json!(2))
    );
}

#[test]
fn what_was_settled_is_told_also_when_nothing_more_can_be_read() {
    let server = Server::start();
    let mut client = with_messages(&server, 3);
    made(&mut client, C, &json!({}));
    flip(&server, "a", "message 3");
    let sound = next(&mut client, C, "?limit=9");
    assert_eq!(bodies(&sound), ["message 1", "message 2"]);
    let acks = json!({ "ack": sound.iter().map(item).collect::<Vec<_>>() });
    let reply = next_with(&mut client, "?limit=9", &acks);
    assert_eq!(reply["messages"], json!([]));
    assert_eq!(reply["settled"]["ack"][1]["result"], "acked");
    assert_eq!(reply["passed"][0]["buffer"], "a");
    let why = reply["passed"][0]["why"].as_str().unwrap();
    assert!(
        why.contains("message 3") && why.contains("damaged"),
        "{why}"
    );
    // Whoever comes back is told it as a problem.
    assert_eq!(client.post(&format!("{C}/next"), "").status, 500);
    // Nor does a body hide it that settles nothing.
    for nothing in [json!({}), json!({ "ack": [] }), acks.clone()] {
        let reply = send(&mut client, "POST", &format!("{C}/next?wait=1"), &nothing);
        assert_eq!(reply.status, 500, "{}", reply.text());
    }
    // A paused buffer settles nothing, and says so for both.
    let paused = json!({ "state": "paused" });
    assert_eq!(
        send(&mut client, "PUT", "/buffers/a/state", &paused).status,
        200
    );
    assert_eq!(
        send(&mut client, "POST", &format!("{C}/next"), &acks).status,
        423
    );
}

#[test]
fn the_client_settles_with_next() {
    let server = Server::start();
    let mut connection = with_messages(&server, 3);
    made(&mut connection, C, &json!({}));
    let client = Client::new(&format!("http://{}", server.address)).unwrap();
    server.runtime().block_on(async {
        let options = NextOptions {
            limit: 2,
            wait_seconds: 0,
        };
        let mut acks = Acks::default();
        let mut bodies = Vec::new();
        loop {
            let next = client.next_with(Collection::Buffers, "a", "c", options, &acks);
            let handed = next.await.unwrap();
            let acked = handed.settled.get("acked").copied().unwrap_or(0);
            assert_eq!(acked, acks.ack.len() as u64);
            let leased = handed.messages.iter().filter_map(HandedMessage::leased);
            acks.ack = leased.collect();
            if handed.messages.is_empty() {
                break;
            }
            let records = handed.messages.iter().map(|one| one.record.view());
            bodies.extend(records.map(|record| String::from_utf8(record.body.to_vec()).unwrap()));
        }
        assert_eq!(bodies, ["message 1", "message 2", "message 3"]);
    });
}
