//! Workers that are at work while their consumer, or what it reads, is changed.

use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Connection, Server};

fn put(client: &mut Connection, target: &str, body: &str) {
    let reply = client.call("PUT", target, &[], body.as_bytes());
    assert!(reply.status < 300, "{target}: {}", reply.text());
}

fn append(client: &mut Connection, target: &str, tag: &str, body: &str) {
    let reply = client.call("POST", target, &[("x-hbuf-tag", tag)], body.as_bytes());
    assert_eq!(reply.status, 201, "{}", reply.text());
}

/// A worker that takes events.
fn worker(server: &Server, consumer: &str) -> Connection {
    let mut worker = server.connect();
    let head = format!(
        "POST {consumer}/next HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
         content-length: 0\r\n\r\n"
    );
    worker.send(head.as_bytes());
    assert_eq!(worker.head().unwrap().status, 200);
    worker
}

/// The next event that says something; nothing at the end.
fn event(worker: &mut Connection) -> Option<String> {
    while let Some(chunk) = worker.chunk().unwrap() {
        let text = String::from_utf8(chunk).unwrap();
        if text.contains("data: ") {
            return Some(text);
        }
    }
    None
}

#[test]
fn a_worker_goes_by_what_was_set_after_it_began() {
    let server = Server::start();
    let mut client = server.connect();
    put(&mut client, "/buffers/a", "{}");
    let consumer = "/buffers/a/consumers/c";
    put(&mut client, consumer, r#"{"lease_ms": 60000}"#);
    let mut worker = worker(&server, consumer);
    append(&mut client, "/buffers/a", "any", "first");
    assert!(event(&mut worker).unwrap().contains("\"body\":\"first\""));
    put(&mut client, consumer, r#"{"tags": ["only"]}"#);
    for (tag, body) in [
        ("other", "second"),
        ("only", "third"),
        ("other", "fourth"),
        ("only", "fifth"),
    ] {
        append(&mut client, "/buffers/a", tag, body);
    }
    let mut seen = String::new();
    while !seen.contains("fifth") {
        seen += &event(&mut worker).unwrap();
    }
    assert!(
        seen.contains("third") && !seen.contains("second") && !seen.contains("fourth"),
        "{seen}"
    );
}

#[test]
fn a_worker_of_a_topic_hears_of_buffers_that_join_and_of_those_that_leave() {
    let server = Server::start();
    let mut client = server.connect();
    for name in ["f1", "f2", "f3"] {
        put(&mut client, &format!("/buffers/{name}"), "{}");
    }
    put(&mut client, "/topics/t", r#"{"buffers": ["f1"]}"#);
    put(&mut client, "/topics/t/consumers/c", "{}");
    let mut worker = worker(&server, "/topics/t/consumers/c");
    append(&mut client, "/buffers/f1", "x", "of the first");
    assert!(event(&mut worker).unwrap().contains("of the first"));
    put(&mut client, "/topics/t", r#"{"buffers": ["f1", "f2"]}"#);
    append(&mut client, "/buffers/f2", "x", "of the second");
    assert!(event(&mut worker).unwrap().contains("of the second"));
    put(&mut client, "/topics/t", r#"{"buffers": ["f2", "f3"]}"#);
    append(&mut client, "/buffers/f1", "x", "of one that left");
    append(&mut client, "/buffers/f3", "x", "of the third");
    assert!(event(&mut worker).unwrap().contains("of the third"));
}

#[test]
fn whoever_waits_for_what_is_deleted_is_told_so() {
    let server = Server::start();
    let mut client = server.connect();
    for (n, (deleted, force)) in [
        ("/buffers/{b}", "?force"),
        ("/topics/{t}", "?buffers=keep"),
        ("/topics/{t}", "?buffers=delete"),
        ("/topics/{t}/consumers/c", ""),
        ("/buffers/{b}/consumers/c", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let (buffer, topic) = (format!("b{n}"), format!("t{n}"));
        put(&mut client, &format!("/buffers/{buffer}"), "{}");
        let of_topic = deleted.contains("{t}");
        let consumer = match of_topic {
            true => {
                let other = format!("other{n}");
                put(&mut client, &format!("/buffers/{other}"), "{}");
                let members = format!(r#"{{"buffers": ["{buffer}", "{other}"]}}"#);
                put(&mut client, &format!("/topics/{topic}"), &members);
                format!("/topics/{topic}/consumers/c")
            }
            false => format!("/buffers/{buffer}/consumers/c"),
        };
        put(&mut client, &consumer, "{}");
        let mut tail = worker(&server, &consumer);
        let deleted = deleted.replace("{b}", &buffer).replace("{t}", &topic) + force;
        let mut operator = server.connect();
        let deleting = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            let reply = operator.call("DELETE", &deleted, &[], b"");
            assert!(reply.status < 300, "{deleted}: {}", reply.text());
        });
        let begun = Instant::now();
        let reply = client.post(&format!("{consumer}/next?wait=30"), "");
        assert_eq!(reply.status, 404, "{consumer}: {}", reply.text());
        assert!(begun.elapsed() < Duration::from_secs(20), "{consumer}");
        deleting.join().unwrap();
        let said = event(&mut tail).unwrap();
        assert!(
            said.contains("event: problem") && said.contains("not-found"),
            "{consumer}: {said}"
        );
    }
}
