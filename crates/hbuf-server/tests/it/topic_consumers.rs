//! Consumers of a topic of which some buffers can do nothing: what the others do, and what is said.

use std::fs::OpenOptions;

use serde_json::{Value, json};

use crate::consuming::{ack, append, bodies, item, json_of, made, next, send};
use crate::server::{Connection, Server};

const C: &str = "/topics/t/consumers/c";

/// A topic `t` of the buffers `p` and `q`, each with the messages `1` and `2`.
fn topic() -> (Server, Connection) {
    let server = Server::start();
    let mut client = server.connect();
    for name in ["p", "q"] {
        made(&mut client, &format!("/buffers/{name}"), &json!({}));
        for body in ["1", "2"] {
            append(&mut client, &format!("/buffers/{name}"), &[], body);
        }
    }
    made(&mut client, "/topics/t", &json!({ "buffers": ["p", "q"] }));
    (server, client)
}

fn set_state(client: &mut Connection, buffer: &str, state: &str) {
    let target = format!("/buffers/{buffer}/state");
    let reply = send(client, "PUT", &target, &json!({ "state": state }));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Starts again with a file of `q` that lost its end, so that the buffer is damaged.
fn damage(server: Server) -> (Server, Connection) {
    let file = server.buffer_dir("q").join("00000000000000000001.hbuf");
    let server = server.start_again(|| {
        let length = std::fs::metadata(&file).unwrap().len();
        let file = OpenOptions::new().write(true).open(&file).unwrap();
        file.set_len(length - 40).unwrap();
    });
    let client = server.connect();
    (server, client)
}

/// Starts again without the directory of `q`, so that the buffer cannot be opened.
fn lose(server: Server) -> (Server, Connection) {
    let dir = std::fs::canonicalize(server.buffer_dir("q")).unwrap();
    let server = server.start_again(|| std::fs::remove_dir_all(dir).unwrap());
    let client = server.connect();
    (server, client)
}

/// All four messages, those of `p` first.
fn all_four(client: &mut Connection) -> Vec<Value> {
    let mut given = next(client, C, "?limit=9");
    given.sort_by_key(|message| message["buffer"].to_string());
    assert_eq!(bodies(&given), ["1", "2", "1", "2"]);
    given
}

fn cursors(client: &mut Connection) -> Vec<Option<u64>> {
    let info = json_of(&client.get(C));
    let members = info["members"].as_array().unwrap().iter();
    members.map(|member| member["cursor"].as_u64()).collect()
}

#[test]
fn acks_of_a_buffer_that_stands_still_are_refused_and_the_others_are_done() {
    let (_server, mut client) = topic();
    made(&mut client, C, &json!({}));
    let given = all_four(&mut client);
    set_state(&mut client, "q", "paused");
    let mut later = item(&given[1]);
    later["delay_ms"] = 60_000.into();
    let acks = json!({
        "ack": [item(&given[2]), item(&given[0])],
        "nack": [later],
        "extend": [item(&given[3])],
    });
    let reply = send(&mut client, "POST", &format!("{C}/acks"), &acks);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let results = json_of(&reply);
    assert_eq!(results["ack"][0]["result"], "refused");
    let reason = results["ack"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("paused"), "{reason}");
    assert_eq!(results["ack"][1]["result"], "acked");
    assert_eq!(results["ack"][1]["reason"], Value::Null);
    assert_eq!(results["nack"][0]["result"], "nacked");
    assert_eq!(results["extend"][0]["result"], "refused");
    assert_eq!(cursors(&mut client), [Some(1), Some(0)]);
    // When none can take its part, nothing is hidden by the problem.
    let acks = json!({ "ack": [item(&given[2]), item(&given[3])] });
    let reply = send(&mut client, "POST", &format!("{C}/acks"), &acks);
    assert_eq!(reply.status, 423, "{}", reply.text());
    // What was refused was not settled.
    set_state(&mut client, "q", "open");
    assert_eq!(ack(&mut client, C, &given[2]), "acked");
}

#[test]
fn acks_of_a_buffer_that_is_damaged_or_gone_are_refused_too() {
    for (harm, word) in [(damage as fn(_) -> _, "damaged"), (lose, "missing")] {
        let (server, mut client) = topic();
        made(&mut client, C, &json!({}));
        let given = all_four(&mut client);
        let (_server, mut client) = harm(server);
        let again = next(&mut client, C, "?limit=9");
        assert_eq!(bodies(&again), ["1", "2"]);
        let acks = json!({ "ack": [item(&given[2]), item(&again[0])] });
        let reply = send(&mut client, "POST", &format!("{C}/acks"), &acks);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let results = json_of(&reply);
        assert_eq!(results["ack"][0]["result"], "refused");
        let reason = results["ack"][0]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{reason}");
        assert_eq!(results["ack"][1]["result"], "acked");
    }
}

#[test]
fn a_seek_moves_nothing_unless_all_buffers_can_move() {
    let (server, mut client) = topic();
    made(&mut client, C, &json!({}));
    for message in all_four(&mut client) {
        assert_eq!(ack(&mut client, C, &message), "acked");
    }
    let refused = |client: &mut Connection, status: u16| {
        let seek = json!({ "start": "first" });
        let reply = send(client, "POST", &format!("{C}/seek"), &seek);
        assert_eq!(reply.status, status, "{}", reply.text());
        let problem = json_of(&reply);
        assert_eq!(problem["buffer"], "q");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("`q`") && detail.contains("Nothing was moved"),
            "{detail}"
        );
    };
    set_state(&mut client, "q", "paused");
    refused(&mut client, 423);
    assert_eq!(cursors(&mut client), [Some(2), Some(2)]);
    set_state(&mut client, "q", "open");
    let (server, mut client) = damage(server);
    refused(&mut client, 500);
    assert_eq!(cursors(&mut client)[0], Some(2));
    let (_server, mut client) = lose(server);
    refused(&mut client, 500);
    assert_eq!(cursors(&mut client)[0], Some(2));
}

#[test]
fn a_consumer_is_made_and_configured_while_a_buffer_is_damaged_or_gone() {
    for harm in [damage as fn(_) -> _, lose] {
        let (server, _) = topic();
        let (_server, mut client) = harm(server);
        for (settings, status) in [(json!({}), 201), (json!({ "lease_ms": 500 }), 200)] {
            let reply = send(&mut client, "PUT", C, &settings);
            assert_eq!(reply.status, status, "{}", reply.text());
            let members = &json_of(&reply)["members"];
            assert_eq!(members[0]["cursor"], 0);
            assert!(members[1]["unavailable"].is_string(), "{members}");
        }
        assert_eq!(bodies(&next(&mut client, C, "?limit=9")), ["1", "2"]);
        let own = "/buffers/q/consumers/own";
        let info = made(&mut client, own, &json!({}));
        assert!(info["members"][0]["unavailable"].is_string(), "{info}");
    }
}
