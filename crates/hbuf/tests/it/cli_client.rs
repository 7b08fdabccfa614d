//! The client library against a running server, over HTTP/1.1 and HTTP/2.

use hbuf_client::{
    Ack, AppendOptions, Client, Collection, IfMatch, Message, Producer, ReadOptions, State,
};
use hbuf_core::tree::{verify_consistency, verify_inclusion};

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

    fn client(&self, http2: bool) -> Client {
        let url = format!("http://{}", self.server.address());
        Client::builder(&url).http2(http2).build().unwrap()
    }
}

#[tokio::test]
async fn append_read_and_tail_over_both_versions_of_http() {
    let node = Node::new();
    for (http2, name) in [(false, "one"), (true, "two")] {
        let client = node.client(http2);
        let buffers = Collection::Buffers;
        let options = AppendOptions::default();
        let message = Message::new("a").key("k 1").tag("t").unwrap();
        let reply = client
            .append(buffers, name, &message, &options)
            .await
            .unwrap();
        assert_eq!(
            (reply.seq, reply.ack, reply.replayed),
            (1, Ack::Insync, false)
        );
        let lines = b"{\"body\":\"b\"}\n{\"body\":\"c\"}\n".as_slice();
        let reply = client
            .append_ndjson(buffers, name, lines.into(), 2, &options)
            .await
            .unwrap();
        assert_eq!((reply.seq, reply.last_seq), (2, 3));

        let mut records = client
            .read(buffers, name, &ReadOptions::after(0))
            .await
            .unwrap();
        let first = records.next().await.unwrap().unwrap();
        assert_eq!(
            (first.body(), first.id().unwrap().to_string().len()),
            ("a".into(), 64)
        );
        assert_eq!(records.next().await.unwrap().unwrap().seq().0, 2);
        let mut values = client
            .read_json(buffers, name, &ReadOptions::after(1))
            .await
            .unwrap();
        assert_eq!(values.next().await.unwrap().unwrap()["body"], "b");
        let single = client.message(name, 1).await.unwrap();
        assert_eq!(single.body, "a");

        let mut tail = client.tail(buffers, name, &ReadOptions::after(2)).unwrap();
        assert_eq!(tail.next().await.unwrap().id, "3");
        client
            .append(buffers, name, &Message::new("d"), &options)
            .await
            .unwrap();
        let event = tail.next().await.unwrap();
        assert!(event.id == "4" && event.data.contains("\"d\""), "{event:?}");
    }
}

#[tokio::test]
async fn repeated_appends_are_taken_once_and_conditions_hold() {
    let node = Node::new();
    let client = node.client(false);
    let mut producer = Producer::unique();
    let numbered = AppendOptions {
        producer: Some(producer.clone()),
        ..AppendOptions::default()
    };
    let keyed = AppendOptions {
        idempotency_key: Some("k".into()),
        ..AppendOptions::default()
    };
    for (options, seq) in [(&numbered, 1), (&keyed, 2)] {
        for replayed in [false, true] {
            let message = Message::new("x");
            let reply = client
                .append(Collection::Buffers, "b", &message, options)
                .await
                .unwrap();
            assert_eq!((reply.seq, reply.replayed), (seq, replayed));
        }
    }
    producer.advance();
    producer.advance();
    let skipped = AppendOptions {
        producer: Some(producer),
        ..AppendOptions::default()
    };
    let error = client
        .append(Collection::Buffers, "b", &Message::new("x"), &skipped)
        .await;
    assert_eq!(error.unwrap_err().problem().unwrap().code(), "producer-gap");
    let wrong = IfMatch { last_seq: 1 };
    let guarded = AppendOptions {
        if_match: Some(wrong),
        ..AppendOptions::default()
    };
    let error = client
        .append(Collection::Buffers, "b", &Message::new("x"), &guarded)
        .await;
    assert_eq!(error.unwrap_err().problem().unwrap().code(), "end-differs");
    client.set_state("b", State::Closed).await.unwrap();
    let error = client
        .append(
            Collection::Buffers,
            "b",
            &Message::new("x"),
            &AppendOptions::default(),
        )
        .await;
    assert_eq!(
        error.unwrap_err().problem().unwrap().code(),
        "buffer-closed"
    );
}

#[tokio::test]
async fn the_servers_proofs_hold() {
    let node = Node::new();
    let client = node.client(false);
    let mut roots = Vec::new();
    for number in 0..9 {
        let message = Message::new(number.to_string());
        let options = AppendOptions::default();
        client
            .append(Collection::Buffers, "b", &message, &options)
            .await
            .unwrap();
        roots.push(client.checkpoint("b").await.unwrap());
    }
    let mut records = client
        .read(Collection::Buffers, "b", &ReadOptions::after(0))
        .await
        .unwrap();
    while let Some(record) = records.next().await.unwrap() {
        let (seq, id) = (record.seq().0, record.id().unwrap());
        for checkpoint in roots.iter().filter(|checkpoint| checkpoint.size >= seq) {
            let proof = client
                .prove_inclusion("b", seq, checkpoint.size)
                .await
                .unwrap();
            let (size, root) = (checkpoint.size, &checkpoint.root);
            assert!(
                verify_inclusion(&id, seq - 1, size, &proof.hashes, root),
                "{seq} in {size}"
            );
        }
    }
    let last = roots.last().unwrap();
    for old in &roots {
        let proof = client
            .prove_consistency("b", old.size, last.size)
            .await
            .unwrap();
        let holds = verify_consistency(old.size, last.size, &old.root, &last.root, &proof.hashes);
        assert!(holds, "{} to {}", old.size, last.size);
    }
}

#[tokio::test]
async fn a_filter_is_stored_used_listed_and_removed() {
    let node = Node::new();
    let client = node.client(false);
    let buffers = Collection::Buffers;
    for tag in ["a", "b", "a"] {
        let message = Message::new(tag).tag(tag).unwrap().key("k");
        let options = AppendOptions::default();
        client
            .append(buffers, "f", &message, &options)
            .await
            .unwrap();
    }
    let stored = client
        .put_filter("f", "Some", "a\nlater\n".into())
        .await
        .unwrap();
    assert_eq!(
        (&stored["name"], &stored["tags"]),
        (&"Some".into(), &2.into())
    );
    assert_eq!(client.describe_filter("f", "some").await.unwrap(), stored);
    let page = client.list_filters_page("f", "").await.unwrap();
    assert_eq!(
        (&page["filters"][0], &page["next"]),
        (&stored, &serde_json::Value::Null)
    );
    let filter = Some("some".to_owned());
    let options = ReadOptions {
        filter,
        ..ReadOptions::default()
    };
    let mut records = client.read(buffers, "f", &options).await.unwrap();
    assert_eq!(records.next().await.unwrap().unwrap().seq().0, 1);
    assert_eq!(records.next().await.unwrap().unwrap().seq().0, 3);
    assert!(records.next().await.unwrap().is_none());
    let latest = ReadOptions {
        latest: true,
        ..ReadOptions::default()
    };
    let mut records = client.read(buffers, "f", &latest).await.unwrap();
    assert_eq!(records.next().await.unwrap().unwrap().seq().0, 3);
    assert!(records.next().await.unwrap().is_none());
    client.delete_filter("f", "some").await.unwrap();
    let gone = client.describe_filter("f", "some").await.unwrap_err();
    assert_eq!(gone.problem().unwrap().status, 404);
    let bad = client
        .put_filter("f", "some", "a,b".into())
        .await
        .unwrap_err();
    assert!(bad.to_string().contains("ine 1"), "{bad}");
}
