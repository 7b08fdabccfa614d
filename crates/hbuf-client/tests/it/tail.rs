use hbuf_client::{Collection, ReadOptions};

use crate::stub::{Reply, Stub, reply};

fn stream(body: &str) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    Reply::Close(format!("{head}{body}").into_bytes())
}

#[tokio::test]
async fn a_tail_goes_on_behind_the_last_event_when_the_connection_breaks() {
    let stub = Stub::start(vec![
        stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: ha"),
        Reply::Close(vec![]),
        stream("id: 3\ndata: half no more\n\n"),
    ])
    .await;
    let options = ReadOptions::after(0);
    let mut tail = stub
        .client()
        .tail(Collection::Buffers, "demo", &options)
        .unwrap();
    let mut data = Vec::new();
    for _ in 0..3 {
        data.push(tail.next().await.unwrap().data);
    }
    assert_eq!(data, ["a", "b", "half no more"]);
    assert_eq!(tail.last_id(), "3");
    let seen = stub.seen();
    assert_eq!(
        seen[0].first_line(),
        "GET /buffers/demo/messages?after=0 HTTP/1.1"
    );
    assert_eq!(seen[0].header("last-event-id"), None);
    assert_eq!(seen[1].header("last-event-id"), Some("2"));
    assert_eq!(seen[2].header("last-event-id"), Some("2"));
}

#[tokio::test]
async fn a_tail_that_is_refused_ends() {
    let stub = Stub::start(vec![Reply::Keep(reply("404 Not Found", "", b""))]).await;
    let mut tail = stub
        .client()
        .tail(Collection::Buffers, "no", &ReadOptions::default())
        .unwrap();
    assert_eq!(
        tail.next().await.unwrap_err().problem().unwrap().status,
        404
    );
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn a_problem_in_the_middle_of_a_stream_is_an_error() {
    let problem =
        "id: 1\ndata: a\n\nevent: problem\ndata: {\"status\":410,\"detail\":\"Gone.\"}\n\n";
    let stub = Stub::start(vec![stream(problem)]).await;
    let mut tail = stub
        .client()
        .tail(Collection::Buffers, "a", &ReadOptions::default())
        .unwrap();
    assert_eq!(tail.next().await.unwrap().data, "a");
    let error = tail.next().await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 410);
}

#[tokio::test]
async fn lines_of_json_come_one_by_one_however_they_are_sent() {
    let body = b"{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}";
    let stub = Stub::start(vec![Reply::Keep(reply("200 OK", "", body))]).await;
    let options = ReadOptions {
        tags: vec!["a&b".into()],
        ..ReadOptions::default().limit(3)
    };
    let mut lines = stub
        .client()
        .read_json(Collection::Topics, "demo", &options)
        .await
        .unwrap();
    let mut seqs = Vec::new();
    while let Some(value) = lines.next().await.unwrap() {
        seqs.push(value["seq"].as_u64().unwrap());
    }
    assert_eq!(seqs, [1, 2, 3]);
    let seen = &stub.seen()[0];
    assert_eq!(
        seen.first_line(),
        "GET /topics/demo/messages?limit=3&tag=a%26b HTTP/1.1"
    );
}
