//! What a consumer is given of a log that is damaged behind good messages.

use std::os::unix::fs::FileExt as _;

use serde_json::{Value, json};

use crate::consuming::{ack, append, bodies, json_of, made, next, send};
use crate::damage::flip;
use crate::server::{Connection, Server};

/// A buffer of five messages, of which the third is damaged where `text` of it stands.
fn damaged(server: &Server, name: &str, text: &str) -> Connection {
    let mut client = server.connect();
    for number in 1..=5 {
        let target = format!("/buffers/{name}");
        let labels = [("x-hbuf-tag", "t"), ("x-hbuf-key", "k")];
        append(&mut client, &target, &labels, &format!("message {number}"));
    }
    let filter = client.call("PUT", &format!("/buffers/{name}/filters/f"), &[], b"t\n");
    assert_eq!(filter.status, 201);
    flip(server, name, text);
    client
}

/// The body of the third message, and its request line, the seq in it.
const PLACES: [&str; 2] = ["message 3", "/b/00000000000000000003"];

/// Where a request line says how long the body is.
const BODY_LENGTH_AT: usize = 99;

fn problem(client: &mut Connection, target: &str) -> (u16, Value) {
    let reply = client.post(target, "");
    (reply.status, json_of(&reply))
}

#[test]
fn whatever_it_wants_it_gets_what_is_sound_and_is_told_of_the_damage() {
    for place in PLACES {
        let server = Server::start();
        let mut client = damaged(&server, "b", place);
        for (name, settings) in [
            ("all", json!({})),
            ("tags", json!({ "tags": ["t"] })),
            ("key", json!({ "key": "k" })),
            ("stored", json!({ "filter": "f" })),
        ] {
            let c = format!("/buffers/b/consumers/{name}");
            made(&mut client, &c, &settings);
            let sound = next(&mut client, &c, "?limit=9");
            assert_eq!(bodies(&sound), ["message 1", "message 2"], "{name}");
            // The damage is named at once, while the good ones are still out, and not only then.
            for _ in 0..2 {
                for wait in ["", "&wait=1"] {
                    let (status, problem) =
                        problem(&mut client, &format!("{c}/next?limit=9{wait}"));
                    assert_eq!(status, 500, "{name}: {problem}");
                    assert_eq!(problem["type"], "urn:hbuf:problem:log-damaged");
                    assert_eq!(problem["seq"], 3);
                }
                sound.iter().for_each(|message| {
                    ack(&mut client, &c, message);
                });
            }
            // Behind a request line that cannot be read nothing is found before the next file.
            if place != PLACES[0] {
                continue;
            }
            let seek = json!({ "start": { "seq": 4 } });
            let seek = send(&mut client, "POST", &format!("{c}/seek"), &seek);
            assert_eq!(seek.status, 200, "{}", seek.text());
            let behind = next(&mut client, &c, "?limit=9");
            assert_eq!(bodies(&behind), ["message 4", "message 5"], "{name}");
        }
    }
}

#[test]
fn a_length_that_is_damaged_hides_nothing_that_stands_before() {
    for length in ["00001000", "0000ffff", "00000001", "7fffffff"] {
        let server = Server::start();
        let mut client = damaged(&server, "b", PLACES[0]);
        let path = server.buffer_dir("b").join("00000000000000000001.hbuf");
        let bytes = std::fs::read(&path).unwrap();
        let mut lines = bytes.windows(26);
        let line = lines.position(|at| at == b"POST /00000000000000000003");
        let at = line.unwrap() + BODY_LENGTH_AT;
        assert_eq!(&bytes[at - 3..at], b"&b=");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(length.as_bytes(), at as u64).unwrap();
        for (name, settings) in [
            ("all", json!({})),
            ("tags", json!({ "tags": ["t"] })),
            ("stored", json!({ "filter": "f" })),
        ] {
            let c = format!("/buffers/b/consumers/{name}");
            made(&mut client, &c, &settings);
            let sound = next(&mut client, &c, "?limit=9");
            assert_eq!(
                bodies(&sound),
                ["message 1", "message 2"],
                "{name} {length}"
            );
            let (status, problem) = problem(&mut client, &format!("{c}/next"));
            assert_eq!((status, &problem["seq"]), (500, &json!(3)), "{problem}");
        }
    }
}

#[test]
fn a_topics_consumer_passes_the_damaged_buffer_with_its_reason() {
    let server = Server::start();
    let mut client = damaged(&server, "b", PLACES[0]);
    made(&mut client, "/buffers/a", &json!({}));
    made(&mut client, "/topics/t", &json!({ "buffers": ["a", "b"] }));
    let c = "/topics/t/consumers/c";
    made(&mut client, c, &json!({ "tags": ["t"] }));
    let sound = next(&mut client, c, "?limit=9");
    assert_eq!(bodies(&sound), ["message 1", "message 2"]);
    let tag = [("x-hbuf-tag", "t")];
    let mut worker = server.connect();
    worker.send(
        format!(
            "POST {c}/next?limit=1 HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
             content-length: 0\r\n\r\n"
        )
        .as_bytes(),
    );
    assert_eq!(worker.head().unwrap().status, 200);
    append(&mut client, "/buffers/a", &tag, "for the worker");
    let mut text = String::new();
    while let Ok(Some(chunk)) = worker.chunk() {
        text += &String::from_utf8(chunk).unwrap();
    }
    let told = text.split_once("event: passed\ndata: [{\"buffer\":\"b\",\"why\":");
    assert!(
        told.is_some_and(|(_, why)| why.starts_with("\"message 3")),
        "{text}"
    );
    assert_eq!(text.matches("event: passed").count(), 1, "{text}");
    assert!(text.contains("for the worker"), "{text}");
    append(&mut client, "/buffers/a", &tag, "elsewhere");
    let reply = json_of(&client.post(&format!("{c}/next?limit=9"), ""));
    assert_eq!(reply["messages"][0]["body"], "elsewhere");
    let passed = &reply["passed"][0];
    assert_eq!(passed["buffer"], "b");
    let why = passed["why"].as_str().unwrap_or_default();
    assert!(
        why.contains("message 3") && why.contains("damaged"),
        "{reply}"
    );
}

#[test]
fn a_worker_by_events_gets_the_sound_ones_and_then_the_problem() {
    let server = Server::start();
    let mut client = damaged(&server, "b", PLACES[0]);
    let c = "/buffers/b/consumers/c";
    made(&mut client, c, &json!({ "tags": ["t"] }));
    let mut worker = server.connect();
    worker.send(
        format!(
            "POST {c}/next HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
             content-length: 0\r\n\r\n"
        )
        .as_bytes(),
    );
    assert_eq!(worker.head().unwrap().status, 200);
    let mut text = String::new();
    while let Ok(Some(chunk)) = worker.chunk() {
        text += &String::from_utf8(chunk).unwrap();
    }
    let (events, problem) = text.split_once("event: problem\n").expect(&text);
    assert!(events.contains("message 1") && events.contains("message 2"));
    assert!(
        problem.contains("log-damaged") && problem.contains("\"seq\":3"),
        "{problem}"
    );
}
