use std::time::{Duration, Instant};

use hbuf_client::{
    Ack, AppendOptions, CallError, Client, Collection, IfMatch, Message, Producer, RetryPolicy,
};

use crate::stub::{Reply, Stub, reply};

const TAKEN: &str = "x-hbuf-seq: 7\r\nx-hbuf-id: 00\r\nx-hbuf-buffer: u\r\nx-hbuf-time: t\r\n\
                     x-hbuf-epoch: 3\r\nx-hbuf-ack: insync\r\n";

fn taken() -> Reply {
    Reply::Keep(reply("201 Created", TAKEN, b""))
}

fn numbered() -> AppendOptions {
    AppendOptions {
        producer: Some(Producer::named("p".into(), 0)),
        ..AppendOptions::default()
    }
}

async fn append(stub: &Stub, options: &AppendOptions) -> Result<u64, CallError> {
    let message = Message::new("body");
    let reply = stub
        .client()
        .append(Collection::Buffers, "demo", &message, options)
        .await?;
    Ok(reply.seq)
}

#[tokio::test]
async fn an_append_carries_its_options_and_brings_back_the_facts() {
    let stub = Stub::start(vec![Reply::Keep(reply(
        "202 Accepted",
        "x-hbuf-seq: 7\r\nx-hbuf-ack: local\r\nx-hbuf-replayed: true\r\n",
        b"",
    ))])
    .await;
    let options = AppendOptions {
        ack: Ack::Local,
        producer: Some(Producer::named("p".into(), 2).starting_at(9)),
        idempotency_key: Some("k".into()),
        if_match: Some(IfMatch { last_seq: 6 }),
    };
    let message = Message::new("body").key("a b").tag("x").unwrap();
    let reply = stub
        .client()
        .append(Collection::Topics, "demo", &message, &options)
        .await
        .unwrap();
    assert_eq!(
        (reply.seq, reply.last_seq, reply.ack, reply.replayed),
        (7, 7, Ack::Local, true)
    );
    let seen = &stub.seen()[0];
    assert_eq!(seen.first_line(), "POST /topics/demo HTTP/1.1");
    for (name, value) in [
        ("x-hbuf-ack", "local"),
        ("x-hbuf-producer", "p/2/9"),
        ("idempotency-key", "k"),
        ("if-match", "\"6\""),
        ("x-hbuf-key", "a%20b"),
        ("x-hbuf-tag", "x"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.body, b"body");
}

#[tokio::test]
async fn a_batch_is_counted_into_its_last_seq() {
    let stub = Stub::start(vec![taken()]).await;
    let messages = [Message::new("a"), Message::new("b"), Message::new("c")];
    let client = stub.client();
    let options = AppendOptions::default();
    let reply = client
        .append_batch(Collection::Buffers, "demo", &messages, &options)
        .await
        .unwrap();
    assert_eq!((reply.seq, reply.last_seq, reply.epoch), (7, 9, 3));
    let seen = &stub.seen()[0];
    assert_eq!(
        seen.header("content-type"),
        Some("application/http; msgtype=request")
    );
    assert_eq!(seen.body, hbuf_client::encode_batch(&messages));
}

#[tokio::test]
async fn a_broken_connection_repeats_a_numbered_append_under_the_same_number() {
    let stub = Stub::start(vec![Reply::Close(vec![]), Reply::Close(vec![]), taken()]).await;
    assert_eq!(append(&stub, &numbered()).await.unwrap(), 7);
    let seen = stub.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|seen| seen.header("x-hbuf-producer") == Some("p/0/0"))
    );
}

#[tokio::test]
async fn a_broken_connection_never_repeats_an_append_without_a_number() {
    let stub = Stub::start(vec![Reply::Close(vec![]), taken()]).await;
    let error = append(&stub, &AppendOptions::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Broken { .. }), "{error}");
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn too_many_requests_is_repeated_after_the_time_that_the_server_names() {
    let busy = Reply::Keep(reply("429 Too Many Requests", "retry-after: 1\r\n", b""));
    let stub = Stub::start(vec![busy, taken()]).await;
    let start = Instant::now();
    assert_eq!(append(&stub, &AppendOptions::default()).await.unwrap(), 7);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn unavailable_is_repeated_only_where_it_cannot_append_twice() {
    let unavailable = || Reply::Keep(reply("503 Service Unavailable", "", b""));
    let stub = Stub::start(vec![unavailable(), taken()]).await;
    assert_eq!(append(&stub, &numbered()).await.unwrap(), 7);
    let stub = Stub::start(vec![unavailable(), taken()]).await;
    let error = append(&stub, &AppendOptions::default()).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 503);
}

#[tokio::test]
async fn repeats_end() {
    let unavailable = Reply::Keep(reply("503 Service Unavailable", "", b""));
    let stub = Stub::start(vec![unavailable; 9]).await;
    append(&stub, &numbered()).await.unwrap_err();
    assert_eq!(stub.seen().len(), 4);
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_its_facts_and_is_not_repeated() {
    let body =
        br#"{"type":"/problems/producer-gap","title":"Gap","detail":"Send 3.","expected":3}"#;
    let stub = Stub::start(vec![Reply::Keep(reply("409 Conflict", "", body))]).await;
    let error = append(&stub, &numbered()).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code(), problem.status), ("producer-gap", 409));
    assert_eq!(problem.facts["expected"], 3);
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn without_a_server_the_error_says_what_to_do() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::builder(&url)
        .retry(RetryPolicy::NEVER)
        .build()
        .unwrap();
    let error = client
        .describe(Collection::Buffers, "demo")
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }));
    let text = error.to_string();
    assert!(text.contains(&url) && text.contains("hbuf serve"), "{text}");
}

#[tokio::test]
async fn an_answer_of_another_program_is_said_to_be_one() {
    let stub = Stub::start(vec![Reply::Keep(reply("200 OK", "", b"<html>"))]).await;
    let error = append(&stub, &AppendOptions::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Reply { .. }), "{error}");
    let stub = Stub::start(vec![Reply::Keep(reply("200 OK", "", b"<html>"))]).await;
    let error = stub.client().checkpoint("demo").await.unwrap_err();
    assert!(error.to_string().contains("bad JSON"), "{error}");
}
