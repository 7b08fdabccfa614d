//! Mirrors over HTTP: what they take, what they refuse, and where they go on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Connection, Reply, Server};

fn put(client: &mut Connection, name: &str, settings: &Value) -> Reply {
    let body = settings.to_string();
    client.call("PUT", &format!("/buffers/{name}"), &[], body.as_bytes())
}

fn made(client: &mut Connection, name: &str, settings: &Value) {
    let reply = put(client, name, settings);
    assert_eq!(reply.status, 201, "{}", reply.text());
}

fn append(client: &mut Connection, name: &str, body: &str, tag: &str) {
    let target = format!("/buffers/{name}");
    let reply = client.call("POST", &target, &[("x-hbuf-tag", tag)], body.as_bytes());
    assert_eq!(reply.status, 201, "{}", reply.text());
}

fn described(client: &mut Connection, name: &str) -> Value {
    let reply = client.get(&format!("/buffers/{name}"));
    serde_json::from_slice(&reply.body).unwrap()
}

/// Waits until something holds of a description.
fn wait_for(client: &mut Connection, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let value = described(client, name);
        if holds(&value) {
            return value;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{value}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn bodies(client: &mut Connection, name: &str) -> Vec<String> {
    let lines = [("accept", "application/x-ndjson")];
    let reply = client.call("GET", &format!("/buffers/{name}/messages"), &lines, b"");
    let text = reply.text();
    let body = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        value["body"].as_str().unwrap().to_owned()
    };
    text.lines().map(body).collect()
}

#[test]
fn a_mirror_takes_what_has_its_tags_in_order_with_its_origin_named() {
    let server = Server::start();
    let mut client = server.connect();
    append(&mut client, "a", "early", "x");
    made(
        &mut client,
        "m",
        &json!({"mirror": {"of": "a", "tags": ["x", "y z"]}}),
    );
    for (body, tag) in [("1", "x"), ("2", "other"), ("3", "y z"), ("4", "q, x")] {
        append(&mut client, "a", body, tag);
    }
    wait_for(&mut client, "m", |it| it["commit"] == 3);
    assert_eq!(
        bodies(&mut client, "m"),
        ["1", "3", "4"],
        "from the tail, by tag"
    );
    let origin = described(&mut client, "a");
    let raw = client.get("/buffers/m/messages").text();
    let named = format!("x-hbuf-origin: {}/2\r\n", origin["uuid"].as_str().unwrap());
    assert!(raw.contains(&named), "{raw}");
    let id = client.get("/buffers/a/messages/2");
    let id = id.header("x-hbuf-id").unwrap();
    assert!(
        raw.contains(&format!("x-hbuf-origin-id: {id}\r\n")),
        "{raw}"
    );
    let said = wait_for(&mut client, "m", |it| it["mirror"]["lag"] == 0);
    assert_eq!(said["mirror"]["of"], "a");
    assert_eq!(
        (&said["mirror"]["place"], &said["mirror"]["follows"]),
        (&json!(5), &json!(true))
    );
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("hbuf_mirrors 1\n") && metrics.contains("hbuf_mirrors_stopped 0\n"));
    assert!(
        metrics.contains("hbuf_mirrored_messages_total 3\n"),
        "{metrics}"
    );
}

#[test]
fn mirrors_are_chained_and_read_as_a_topic_and_refuse_cycles_and_other_messages() {
    let server = Server::start();
    let mut client = server.connect();
    append(&mut client, "a", "0", "x");
    made(
        &mut client,
        "b",
        &json!({"mirror": {"of": "a", "from": "start"}}),
    );
    made(
        &mut client,
        "c",
        &json!({"mirror": {"of": "b", "from": "start"}}),
    );
    append(&mut client, "a", "1", "x");
    wait_for(&mut client, "c", |it| it["commit"] == 2);
    assert_eq!(bodies(&mut client, "c"), ["0", "1"]);
    let both = json!({"mirror": {"of": "c"}, "retention_count": 7});
    let cycle = put(&mut client, "a", &both);
    assert_eq!(cycle.status, 409, "{}", cycle.text());
    assert!(cycle.text().contains("mirror-cycle"));
    let kept = &described(&mut client, "a")["retention_count"];
    assert_eq!(kept, &Value::Null, "nothing was half done");
    let refused = client.post("/buffers/b", "mine");
    assert_eq!(refused.status, 409);
    assert!(
        refused.text().contains("buffer-is-mirror"),
        "{}",
        refused.text()
    );
    let names = br#"{"buffers": ["b", "c"]}"#;
    assert_eq!(client.call("PUT", "/topics/t", &[], names).status, 201);
    let refused = client.post("/topics/t", "mine");
    assert!(
        refused.text().contains("buffer-is-mirror"),
        "{}",
        refused.text()
    );
    let lines = [("accept", "application/x-ndjson")];
    let all = client.call("GET", "/topics/t/messages", &lines, b"");
    assert_eq!(
        all.text().lines().count(),
        5,
        "four messages and the cursor"
    );
    let nowhere = put(&mut client, "d", &json!({"mirror": {"of": "nowhere"}}));
    assert_eq!(nowhere.status, 409);
    let text = nowhere.text();
    assert!(text.contains("named-missing"), "{text}");
    assert!(text.contains("no buffer `nowhere` to follow"), "{text}");
    assert_eq!(client.get("/buffers/d").status, 404, "nothing was made");
}

#[test]
fn closing_either_side_holds_a_mirror_up_and_opening_lets_it_go_on() {
    let server = Server::start();
    let mut client = server.connect();
    made(&mut client, "a", &json!({}));
    made(&mut client, "m", &json!({"mirror": {"of": "a"}}));
    let set = |client: &mut Connection, name: &str, state: &str| {
        let body = json!({ "state": state }).to_string();
        let target = format!("/buffers/{name}/state");
        assert_eq!(
            client.call("PUT", &target, &[], body.as_bytes()).status,
            200
        );
    };
    for state in ["closed", "paused"] {
        set(&mut client, "m", state);
        append(&mut client, "a", state, "x");
        let says = |it: &Value| {
            let reason = it["mirror"]["reason"].as_str();
            reason.is_some_and(|reason| reason.contains(state))
        };
        let said = wait_for(&mut client, "m", says);
        assert_eq!(said["mirror"]["follows"], false);
        assert_eq!(said["mirror"]["lag"], 1);
        set(&mut client, "m", "open");
        wait_for(&mut client, "m", |it| it["mirror"]["lag"] == 0);
    }
    set(&mut client, "a", "closed");
    wait_for(&mut client, "m", |it| it["mirror"]["follows"] == true);
    assert_eq!(bodies(&mut client, "m"), ["closed", "paused"]);
}

#[test]
fn a_deleted_origin_stops_the_mirror_which_says_so_and_may_take_messages_again() {
    let server = Server::start();
    let mut client = server.connect();
    append(&mut client, "a", "kept", "x");
    made(
        &mut client,
        "m",
        &json!({"mirror": {"of": "a", "from": "start"}}),
    );
    wait_for(&mut client, "m", |it| it["commit"] == 1);
    assert_eq!(client.call("DELETE", "/buffers/a", &[], b"").status, 204);
    wait_for(&mut client, "m", |it| {
        let reason = it["mirror"]["reason"].as_str();
        reason.is_some_and(|reason| reason.contains("`a` was deleted"))
    });
    assert_eq!(
        client.post("/buffers/a", "another").status,
        201,
        "the name is another's now"
    );
    let reply = put(&mut client, "m", &json!({"mirror": null}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(client.post("/buffers/m", "own").status, 201);
    assert_eq!(bodies(&mut client, "m"), ["kept", "own"]);
}

#[test]
fn a_batch_of_the_origin_is_one_in_the_mirror_and_large_ones_pass_too() {
    let server = Server::start();
    let mut client = server.connect();
    made(&mut client, "a", &json!({}));
    made(&mut client, "m", &json!({"mirror": {"of": "a"}}));
    let batch: String = (0..5_000)
        .map(|n| format!("{{\"body\":\"{n}\"}}\n"))
        .collect();
    let kind = [("content-type", "application/x-ndjson")];
    assert_eq!(
        client
            .call("POST", "/buffers/a", &kind, batch.as_bytes())
            .status,
        201
    );
    wait_for(&mut client, "m", |it| it["commit"] == 5_000);
    let raw = client.get("/buffers/m/messages?limit=1").text();
    assert!(raw.contains("&r=1387&"), "5,000 in one: {raw}");
}
