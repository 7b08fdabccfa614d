//! Consumers on the command line and in the client library, against a running server.

use std::process::{Command, Output, Stdio};

use hbuf_client::{Acks, Client, Collection, NextOptions};
use serde_json::{Value, json};

use crate::support::server::Server;

struct Node {
    _scratch: tempfile::TempDir,
    server: Server,
}

impl Node {
    fn new() -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = Server::start(&scratch.path().join("data"), &[]).unwrap();
        Self {
            _scratch: scratch,
            server,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Runs a command, its words separated by spaces.
    fn run(&self, words: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hbuf"))
            .args(words.split(' '))
            .env("HBUF_URL", self.url())
            .env_remove("HBUF_TENANT")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command prints that must succeed.
    fn say(&self, words: &str) -> String {
        let output = self.run(words);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.say(words)).unwrap()
    }

    /// Runs a command that must end with this code and complain with these words.
    fn refused(&self, words: &str, code: i32, hint: &str) {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        assert!(said.contains(hint), "{hint} is not in: {said}");
    }
}

#[test]
fn a_worker_takes_acks_and_gives_back() {
    let node = Node::new();
    for text in ["one", "two", "three"] {
        node.say(&format!("append orders --message {text}"));
    }
    let made = node.json("consumers create orders billing --set lease_ms=60000 --json");
    assert_eq!(
        (&made["lease_ms"], &made["lag"]),
        (&json!(60_000), &json!(3))
    );
    node.refused("consumers create orders billing", 2, "exists already");
    node.refused("consumers create nothing billing", 2, "nothing");

    let line = node.say("next orders billing");
    let (first, body) = line.split_once('\t').unwrap();
    assert_eq!(body, "one\n");
    assert!(first.starts_with("orders/1/"), "{first}");
    let second = node.json("next orders billing --json");
    assert_eq!(
        (&second["seq"], &second["body"]),
        (&json!(2), &json!("two"))
    );
    assert_eq!(second["deliveries"], 1);
    node.say(&format!("ack orders billing {first}"));
    // To ack again is fine; to give back what is acked is not.
    node.say(&format!("ack orders billing {first}"));
    node.refused(&format!("nack orders billing {first}"), 1, "already-acked");
    let lease = second["lease"].as_str().unwrap();
    node.say(&format!("nack orders billing orders/2/{lease}"));
    node.refused(
        &format!("ack orders billing orders/2/{lease}"),
        1,
        "lease-lost",
    );
    node.refused("ack orders billing 2", 2, "BUFFER/SEQ/LEASE");

    let rest = node.say("next orders billing --limit 10 --wait 1 --ack");
    assert_eq!(rest, "two\nthree\n");
    assert_eq!(node.say("next orders billing"), "");
    let stands = node.json("consumers describe orders billing --json");
    let numbers = (&stands["lag"], &stands["in_flight"], &stands["redelivered"]);
    assert_eq!(numbers, (&json!(0), &json!(0), &json!(1)));
}

#[test]
fn consumers_are_listed_moved_configured_and_deleted() {
    let node = Node::new();
    for text in ["one", "two", "three"] {
        node.say(&format!("append orders --message {text}"));
    }
    node.say("topics create shop --set buffers=[\"orders\"]");
    node.say("consumers create shop audit --topic --set ack=on-delivery");
    node.say("consumers create orders billing");
    let listed = node.say("consumers ls orders");
    assert!(listed.starts_with("NAME"), "{listed}");
    assert!(listed.contains("billing") && !listed.contains("audit"));
    assert_eq!(
        node.json("consumers list shop --topic --json")["name"],
        "audit"
    );

    assert_eq!(node.say("next shop audit --topic"), "one\n");
    node.say("consumers seek shop audit --topic 3");
    assert_eq!(node.say("next shop audit --topic --limit 5"), "three\n");
    node.say("consumers seek shop audit --topic first");
    assert_eq!(node.say("next shop audit --topic"), "one\n");
    node.say("consumers seek shop audit --topic 2100-01-01T00:00:00Z");
    assert_eq!(node.say("next shop audit --topic"), "");
    node.refused("consumers seek shop audit --topic middle", 2, "RFC 3339");

    node.say("consumers configure shop audit --topic --set ack=explicit");
    let found = node.json("consumers describe shop audit --topic --json");
    assert_eq!(found["ack"], "explicit");
    node.say("consumers delete shop audit --topic");
    node.refused("next shop audit --topic", 2, "consumer");
}

#[test]
fn a_deleted_dead_letter_buffer_is_listed_as_deleted() {
    let node = Node::new();
    node.say("append orders --message one");
    node.say("buffers create dead");
    node.say("consumers create orders billing --set dead_letter=dead --set deliveries_max=2");
    assert!(node.say("consumers list orders").contains("dead\n"));
    node.say("buffers delete dead --force");
    assert!(node.say("consumers list orders").contains("(deleted)\n"));
}

#[test]
fn what_a_paused_buffer_refuses_is_told_with_the_reason() {
    let node = Node::new();
    node.say("append p --message one");
    node.say("append q --message two");
    node.say("topics create shop --set buffers=[\"p\",\"q\"]");
    node.say("consumers create shop audit --topic");
    let lines = node.say("next shop audit --topic --limit 2");
    let leased: Vec<&str> = lines
        .lines()
        .map(|line| line.split_once('\t').unwrap().0)
        .collect();
    node.say("buffers state q paused");
    node.refused(
        &format!("ack shop audit --topic {}", leased.join(" ")),
        1,
        "message 1 of `q`: refused: the buffer is paused",
    );
    let stands = node.json("consumers describe shop audit --topic --json");
    assert_eq!(stands["members"][0]["cursor"], 1);
    let seek = "consumers seek shop audit --topic first";
    node.refused(seek, 2, "Nothing was moved");
}

#[tokio::test]
async fn the_library_extends_a_lease_and_takes_bodies_byte_by_byte() {
    let node = Node::new();
    let client = Client::new(&node.url()).unwrap();
    let body = b"\r\n\r\n\xff\0".as_slice();
    let (buffers, none) = (Collection::Buffers, hbuf_client::AppendOptions::default());
    let message = hbuf_client::Message::new(body);
    client.append(buffers, "b", &message, &none).await.unwrap();
    client.append(buffers, "b", &message, &none).await.unwrap();
    let settings = json!({ "lease_ms": 60_000 });
    client
        .put_consumer(buffers, "b", "c", &settings)
        .await
        .unwrap();
    let options = NextOptions {
        limit: 10,
        ..NextOptions::default()
    };
    let handed = client.next(buffers, "b", "c", options).await.unwrap();
    assert_eq!((handed.messages.len(), handed.passed.len()), (2, 0));
    let leased: Vec<_> = handed
        .messages
        .iter()
        .map(|message| {
            assert_eq!((&message.record.body()[..], message.deliveries), (body, 1));
            message.leased().unwrap()
        })
        .collect();
    let acks = Acks {
        ack: leased[..1].to_vec(),
        extend: vec![(leased[1].clone(), 90_000)],
        ..Acks::default()
    };
    let acked = client.ack(buffers, "b", "c", &acks).await.unwrap();
    assert_eq!((&*acked.ack[0].result, acked.ack[0].seq), ("acked", 1));
    assert_eq!(
        (&*acked.extend[0].result, acked.extend[0].seq),
        ("extended", 2)
    );
}
