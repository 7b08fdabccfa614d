//! Consumers over HTTP: what they hand out, to whom, and what becomes of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Connection, Reply, Server};

const C: &str = "/buffers/a/consumers/c";

pub(crate) fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
}

pub(crate) fn send(client: &mut Connection, method: &str, target: &str, body: &Value) -> Reply {
    client.call(method, target, &[], body.to_string().as_bytes())
}

pub(crate) fn made(client: &mut Connection, target: &str, settings: &Value) -> Value {
    let reply = send(client, "PUT", target, settings);
    assert_eq!(reply.status, 201, "{}", reply.text());
    json_of(&reply)
}

pub(crate) fn append(client: &mut Connection, target: &str, headers: &[(&str, &str)], body: &str) {
    let reply = client.call("POST", target, headers, body.as_bytes());
    assert_eq!(reply.status, 201, "{}", reply.text());
}

pub(crate) fn next(client: &mut Connection, target: &str, query: &str) -> Vec<Value> {
    let reply = client.post(&format!("{target}/next{query}"), "");
    assert_eq!(reply.status, 200, "{}", reply.text());
    json_of(&reply)["messages"].as_array().unwrap().clone()
}

pub(crate) fn bodies(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|it| it["body"].as_str().unwrap())
        .collect()
}

pub(crate) fn item(message: &Value) -> Value {
    json!({ "buffer": message["buffer"], "seq": message["seq"], "lease": message["lease"] })
}

pub(crate) fn ack(client: &mut Connection, target: &str, message: &Value) -> String {
    let acks = json!({ "ack": [item(message)] });
    let reply = send(client, "POST", &format!("{target}/acks"), &acks);
    assert_eq!(reply.status, 200, "{}", reply.text());
    json_of(&reply)["ack"][0]["result"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A server, and a buffer `a` with so many messages `1`, `2`, ….
fn with_messages(count: usize) -> (Server, Connection) {
    let server = Server::start();
    let mut client = server.connect();
    for n in 1..=count {
        append(&mut client, "/buffers/a", &[], &n.to_string());
    }
    (server, client)
}

#[test]
fn two_workers_share_a_consumer_and_acks_move_its_cursor() {
    let (server, mut one) = with_messages(4);
    let mut two = server.connect();
    let info = made(&mut one, C, &json!({}));
    assert_eq!((&info["lag"], &info["buffer"]), (&4.into(), &"a".into()));
    let first = next(&mut one, C, "?limit=2");
    let second = next(&mut two, C, "?limit=9");
    assert_eq!(bodies(&first), ["1", "2"]);
    assert_eq!(bodies(&second), ["3", "4"]);
    assert!(next(&mut one, C, "").is_empty());
    assert_eq!(ack(&mut one, C, &first[1]), "acked");
    assert_eq!(json_of(&one.get(C))["members"][0]["cursor"], 0);
    assert_eq!(ack(&mut one, C, &first[0]), "acked");
    assert_eq!(ack(&mut one, C, &first[0]), "already-acked");
    let info = json_of(&one.get(C));
    assert_eq!(info["members"][0]["cursor"], 2);
    assert_eq!((&info["lag"], &info["in_flight"]), (&2.into(), &2.into()));
    let unknown = json!({ "ack": [{ "seq": 9, "lease": "0000000000000001" }] });
    let reply = send(&mut one, "POST", &format!("{C}/acks"), &unknown);
    assert_eq!(json_of(&reply)["ack"][0]["result"], "unknown");
    let other = json!({ "ack": [{ "buffer": "z", "seq": 1, "lease": "0000000000000001" }] });
    let reply = send(&mut one, "POST", &format!("{C}/acks"), &other);
    assert_eq!(json_of(&reply)["ack"][0]["result"], "unknown");
}

#[test]
fn a_lapsed_lease_is_another_workers_and_counts() {
    let (_server, mut client) = with_messages(1);
    made(&mut client, C, &json!({ "lease_ms": 100 }));
    let first = next(&mut client, C, "");
    let again = next(&mut client, C, "?wait=5");
    assert_eq!(again[0]["deliveries"], 2);
    assert_eq!(ack(&mut client, C, &first[0]), "lease-lost");
    let mut extend = item(&again[0]);
    extend["lease_ms"] = 60_000.into();
    let body = json!({ "extend": [extend] });
    let reply = send(&mut client, "POST", &format!("{C}/acks"), &body);
    assert_eq!(json_of(&reply)["extend"][0]["result"], "extended");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ack(&mut client, C, &again[0]), "acked");
    assert_eq!(json_of(&client.get(C))["redelivered"], 1);
}

#[test]
fn a_nack_comes_again_and_what_is_delivered_too_often_is_a_dead_letter() {
    let (_server, mut client) = with_messages(1);
    made(&mut client, "/buffers/dead", &json!({}));
    let settings = json!({ "deliveries_max": 2, "dead_letter": "dead" });
    made(&mut client, C, &settings);
    for n in 1..=2 {
        let given = next(&mut client, C, "?wait=5");
        assert_eq!(given[0]["deliveries"], n);
        let body = json!({ "nack": [item(&given[0])] });
        let reply = send(&mut client, "POST", &format!("{C}/acks"), &body);
        assert_eq!(json_of(&reply)["nack"][0]["result"], "nacked");
    }
    assert!(next(&mut client, C, "").is_empty());
    let dead = client.get("/buffers/dead/messages?wait=5&limit=1");
    let text = dead.text();
    assert!(text.contains("reason=deliveries, deliveries=2"), "{text}");
    let started = Instant::now();
    while json_of(&client.get(C))["dead_lettered"] != 1 {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(json_of(&client.get(C))["members"][0]["cursor"], 1);
    // A loop, also by way of a third buffer, is refused, and so is the deletion.
    let back = send(
        &mut client,
        "PUT",
        "/buffers/dead/consumers/x",
        &json!({
            "deliveries_max": 1, "dead_letter": "a",
        }),
    );
    assert_eq!(
        (back.status, json_of(&back)["type"].as_str()),
        (409, Some("urn:hbuf:problem:dead-letter-cycle"))
    );
    let deleted = client.call("DELETE", "/buffers/dead", &[], b"");
    assert_eq!(
        json_of(&deleted)["type"],
        "urn:hbuf:problem:takes-dead-letters"
    );
}

#[test]
fn filters_keys_and_times_choose_what_is_handed_out() {
    let (_server, mut client) = with_messages(0);
    append(
        &mut client,
        "/buffers/a",
        &[("x-hbuf-tag", "x"), ("x-hbuf-key", "k")],
        "1",
    );
    append(
        &mut client,
        "/buffers/a",
        &[("x-hbuf-tag", "y"), ("x-hbuf-key", "k")],
        "2",
    );
    append(&mut client, "/buffers/a", &[("x-hbuf-tag", "x, y")], "3");
    let later = "2999-01-01T00:00:00Z";
    append(
        &mut client,
        "/buffers/a",
        &[("x-hbuf-deliver-at", later)],
        "4",
    );
    let stored = client.call("PUT", "/buffers/a/filters/f", &[], b"y\n");
    assert_eq!(stored.status, 201);
    for (name, settings, expected) in [
        ("all", json!({}), &["1", "2", "3"][..]),
        ("tags", json!({ "tags": ["x"] }), &["1", "3"]),
        ("key", json!({ "key": "k" }), &["1", "2"]),
        ("stored", json!({ "filter": "f" }), &["2", "3"]),
        ("both", json!({ "filter": "f", "tags": ["x"] }), &["3"]),
        ("seq", json!({ "start": { "seq": 3 } }), &["3"]),
        ("last", json!({ "start": "last" }), &[]),
        ("time", json!({ "start": { "time": later } }), &[]),
        ("ordered", json!({ "order_by_key": true }), &["1", "3"]),
        ("few", json!({ "in_flight_max": 1 }), &["1"]),
    ] {
        let target = format!("/buffers/a/consumers/{name}");
        made(&mut client, &target, &settings);
        assert_eq!(
            bodies(&next(&mut client, &target, "?limit=9")),
            expected,
            "{name}"
        );
    }
    let bad = client.call("POST", "/buffers/a", &[("x-hbuf-deliver-at", "soon")], b"5");
    assert_eq!(bad.status, 400);
    // A filter that is not there is named, and what waits is told.
    made(&mut client, C, &json!({ "filter": "none" }));
    let reply = client.post(&format!("{C}/next"), "");
    assert_eq!(reply.status, 404, "{}", reply.text());
}

#[test]
fn one_message_is_its_own_reply_and_done_by_delivery() {
    let (_server, mut client) = with_messages(2);
    made(&mut client, C, &json!({ "ack": "on-delivery" }));
    let reply = client.get("/buffers/a/next?consumer=c");
    assert_eq!((reply.status, reply.text().as_str()), (200, "1"));
    assert_eq!(reply.header("x-hbuf-lease"), None);
    let reply = client.get("/buffers/a/next?consumer=c");
    assert_eq!(reply.text(), "2");
    assert_eq!(client.get("/buffers/a/next?consumer=c").status, 204);
    assert_eq!(json_of(&client.get(C))["lag"], 0);
    assert_eq!(client.get("/buffers/a/next?consumer=z").status, 404);
    assert_eq!(client.get("/buffers/a/next").status, 400);
    assert_eq!(
        client
            .call("HEAD", "/buffers/a/next?consumer=c", &[], b"")
            .status,
        405
    );
    // A consumer of a topic, by the first curl.
    append(&mut client, "/topics/t", &[], "t1");
    made(&mut client, "/topics/t/consumers/e", &json!({}));
    let reply = client.get("/topics/t/next?consumer=e");
    assert_eq!(reply.text(), "t1");
    assert!(reply.header("x-hbuf-lease").is_some());
}

#[test]
fn who_waits_gets_what_comes_and_leaves_empty_handed_in_time() {
    let (server, mut client) = with_messages(0);
    made(&mut client, "/buffers/a", &json!({}));
    made(&mut client, C, &json!({}));
    let started = Instant::now();
    assert!(next(&mut client, C, "?wait=1").is_empty());
    assert!(started.elapsed() >= Duration::from_secs(1));
    let mut other = server.connect();
    let appends = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        append(&mut other, "/buffers/a", &[], "late");
    });
    assert_eq!(bodies(&next(&mut client, C, "?wait=20")), ["late"]);
    appends.join().unwrap();
}

#[test]
fn events_hand_out_until_the_worker_goes_and_what_it_had_comes_again() {
    let (server, mut client) = with_messages(2);
    made(&mut client, C, &json!({ "lease_ms": 300 }));
    let mut worker = server.connect();
    worker.send(
        format!("POST {C}/next HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\ncontent-length: 0\r\n\r\n")
            .as_bytes(),
    );
    let head = worker.head().unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let mut text = String::new();
    while !text.contains("id: a/2") {
        text += &String::from_utf8(worker.chunk().unwrap().unwrap()).unwrap();
    }
    assert!(text.contains("\"lease\":\""), "{text}");
    drop(worker);
    // The server may have written to the closed connection once more.
    let again = next(&mut client, C, "?limit=9&wait=10");
    assert!(again[0]["deliveries"].as_u64() >= Some(2), "{again:?}");
}

#[test]
fn a_paused_buffers_consumers_stand_still() {
    let (_server, mut client) = with_messages(2);
    made(&mut client, C, &json!({}));
    let given = next(&mut client, C, "");
    let state = |client: &mut Connection, state: &str| {
        let reply = send(
            client,
            "PUT",
            "/buffers/a/state",
            &json!({ "state": state }),
        );
        assert_eq!(reply.status, 200);
    };
    state(&mut client, "paused");
    assert_eq!(client.post(&format!("{C}/next"), "").status, 423);
    let acks = json!({ "ack": [item(&given[0])] });
    assert_eq!(
        send(&mut client, "POST", &format!("{C}/acks"), &acks).status,
        423
    );
    assert_eq!(json_of(&client.get(C))["in_flight"], 1);
    state(&mut client, "open");
    assert_eq!(ack(&mut client, C, &given[0]), "acked");
    assert_eq!(bodies(&next(&mut client, C, "")), ["2"]);
}

#[test]
fn a_topics_consumer_hands_out_the_earliest_of_all_and_passes_what_is_paused() {
    let (_server, mut client) = with_messages(0);
    for name in ["p", "q"] {
        made(&mut client, &format!("/buffers/{name}"), &json!({}));
    }
    made(&mut client, "/topics/t", &json!({ "buffers": ["p", "q"] }));
    for (buffer, body) in [("q", "1"), ("p", "2"), ("q", "3"), ("p", "4")] {
        append(&mut client, &format!("/buffers/{buffer}"), &[], body);
        std::thread::sleep(Duration::from_millis(2));
    }
    let c = "/topics/t/consumers/c";
    made(&mut client, c, &json!({}));
    assert_eq!(bodies(&next(&mut client, c, "?limit=3")), ["1", "2", "3"]);
    let last = next(&mut client, c, "?limit=3");
    assert_eq!(bodies(&last), ["4"]);
    assert_eq!(
        last[0]["deliveries"], 1,
        "what was given back does not count"
    );
    assert_eq!(ack(&mut client, c, &last[0]), "acked");
    let paused = send(
        &mut client,
        "PUT",
        "/buffers/q/state",
        &json!({ "state": "paused" }),
    );
    assert_eq!(paused.status, 200);
    append(&mut client, "/buffers/p", &[], "5");
    let reply = client.post(&format!("{c}/next"), "");
    let reply = json_of(&reply);
    assert_eq!(reply["messages"][0]["body"], "5");
    assert_eq!(reply["passed"][0]["buffer"], "q");
    let deleted = client.call("DELETE", "/topics/t?buffers=keep", &[], b"");
    assert_eq!(deleted.status, 204);
    assert_eq!(client.post(&format!("{c}/next"), "").status, 404);
}

#[test]
fn a_seek_begins_anew_and_a_deleted_consumer_is_gone() {
    let (_server, mut client) = with_messages(3);
    made(&mut client, C, &json!({}));
    let given = next(&mut client, C, "?limit=9");
    for none in [0_u64, (1 << 63) + 1] {
        let seek = json!({ "start": { "seq": none } });
        let reply = send(&mut client, "POST", &format!("{C}/seek"), &seek);
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    let seek = json!({ "start": { "seq": 2 } });
    let reply = send(&mut client, "POST", &format!("{C}/seek"), &seek);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(ack(&mut client, C, &given[2]), "unknown");
    assert_eq!(bodies(&next(&mut client, C, "?limit=9")), ["2", "3"]);
    assert_eq!(
        json_of(&client.get("/buffers/a/consumers"))["consumers"][0]["name"],
        "c"
    );
    assert_eq!(client.call("DELETE", C, &[], b"").status, 204);
    assert_eq!(client.post(&format!("{C}/next"), "").status, 404);
    // One of the same name is another one.
    made(&mut client, C, &json!({}));
    assert_eq!(bodies(&next(&mut client, C, "?limit=9")), ["1", "2", "3"]);
}

#[test]
fn an_unused_consumer_goes_after_its_time() {
    let (_server, mut client) = with_messages(1);
    made(&mut client, C, &json!({ "ttl_seconds": 1 }));
    std::thread::sleep(Duration::from_millis(3_500));
    assert_eq!(client.get(C).status, 404);
}

#[test]
fn settings_out_of_range_are_refused_with_advice() {
    let (_server, mut client) = with_messages(0);
    made(&mut client, "/buffers/a", &json!({}));
    for (settings, status) in [
        (json!({ "lease_ms": 99 }), 400),
        (json!({ "in_flight_max": 0 }), 400),
        (json!({ "deliveries_max": 0 }), 400),
        (json!({ "expire_ms": 0 }), 400),
        (json!({ "ttl_seconds": 0 }), 400),
        (json!({ "start": "middle" }), 400),
        (json!({ "ack": "never" }), 400),
        (json!({ "tags": ["a,b"] }), 400),
        (json!({ "other": 1 }), 400),
        (json!({ "deliveries_max": 1, "dead_letter": "none" }), 409),
        (json!({ "deliveries_max": 1, "dead_letter": "a" }), 409),
    ] {
        let reply = send(&mut client, "PUT", C, &settings);
        assert_eq!(reply.status, status, "{settings} {}", reply.text());
        assert_eq!(client.get(C).status, 404, "nothing was made");
    }
    made(&mut client, C, &json!({}));
    let moved = send(&mut client, "PUT", C, &json!({ "start": "last" }));
    assert_eq!(moved.status, 409);
    let stale = send(
        &mut client,
        "PUT",
        C,
        &json!({ "lease_ms": 500, "version": 7 }),
    );
    assert_eq!(stale.status, 409);
    let changed = send(
        &mut client,
        "PUT",
        C,
        &json!({ "lease_ms": 500, "version": 1 }),
    );
    assert_eq!(
        (changed.status, json_of(&changed)["version"].as_u64()),
        (200, Some(2))
    );
    assert_eq!(
        send(&mut client, "PUT", "/buffers/none/consumers/c", &json!({})).status,
        404
    );
}

#[test]
fn who_names_a_version_of_a_consumer_that_is_gone_makes_none() {
    let (_server, mut client) = with_messages(1);
    made(&mut client, C, &json!({}));
    assert_eq!(client.call("DELETE", C, &[], b"").status, 204);
    let reply = send(&mut client, "PUT", C, &json!({ "version": 1 }));
    assert_eq!(reply.status, 404, "{}", reply.text());
    let problem = json_of(&reply);
    assert_eq!(problem["type"], "urn:hbuf:problem:consumer-not-found");
    assert_eq!(client.get(C).status, 404, "none was made");
}

#[test]
fn a_dead_letter_buffer_that_was_deleted_by_force_is_told_as_deleted() {
    let (_server, mut client) = with_messages(1);
    let dead = made(&mut client, "/buffers/dead", &json!({}));
    let settings = json!({ "deliveries_max": 2, "dead_letter": "dead" });
    let info = made(&mut client, C, &settings);
    assert_eq!(info["dead_letter"], "dead");
    assert_eq!(info["dead_letter_deleted"], Value::Null);
    let deleted = client.call("DELETE", "/buffers/dead?force", &[], b"");
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    let info = json_of(&client.get(C));
    assert_eq!(info["dead_letter"], Value::Null);
    assert_eq!(info["dead_letter_deleted"], dead["uuid"]);
    let reply = send(&mut client, "PUT", C, &json!({ "dead_letter": null }));
    assert_eq!(json_of(&reply)["dead_letter_deleted"], Value::Null);
}
