//! CloudEvents through the binary: batches as large as they may be, and the command line.

use serde_json::{Value, json};

use crate::support::http::{Http, Reply};
use crate::support::server::{Server, hbuf};

const BATCH: &str = "application/cloudevents-batch+json";
/// Where a batch that is read ends, as docs/LIMITS.md has it.
const BATCH_BYTES: usize = 4 << 20;

fn server() -> (tempfile::TempDir, Server) {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start(&scratch.path().join("data"), &[]).unwrap();
    (scratch, server)
}

fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some(BATCH));
    serde_json::from_slice(&reply.body).unwrap()
}

/// Reads everything, batch by batch; returns the ids in order and how many batches there were.
fn read_all(http: &mut Http, path: &str) -> (Vec<u64>, usize) {
    let (mut after, mut ids, mut batches) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let path = format!("{path}/messages?after={after}");
        let reply = http.send("GET", &path, &[("accept", BATCH)], b"").unwrap();
        let events = events(&reply);
        if events.is_empty() {
            return (ids, batches);
        }
        // Two messages of each page of a topic, and one of a buffer, may come behind the bound.
        assert!(reply.body.len() < BATCH_BYTES + (1 << 20));
        ids.extend(
            events
                .iter()
                .map(|event| -> u64 { event["id"].as_str().unwrap().parse().unwrap() }),
        );
        after = reply.header("x-hbuf-after").unwrap().to_owned();
        batches += 1;
    }
}

#[test]
fn a_batch_of_events_ends_behind_its_bound_and_says_where_to_go_on() {
    let (_scratch, server) = server();
    let mut http = server.http();
    let text = "t".repeat(300 << 10);
    let event = |id: u64| {
        json!({
            "specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "t",
            "datacontenttype": "text/plain", "data": text,
        })
    };
    let headers = [("content-type", BATCH)];
    for buffer in ["a", "b"] {
        let ids = if buffer == "a" { 1..=20 } else { 21..=40 };
        let batch: Vec<Value> = ids.map(event).collect();
        let batch = serde_json::to_vec(&batch).unwrap();
        let reply = http.send("POST", &format!("/buffers/{buffer}"), &headers, &batch);
        assert_eq!(reply.unwrap().status, 201);
    }
    http.put_json("/topics/both", r#"{"buffers": ["a", "b"]}"#)
        .unwrap();

    let (ids, batches) = read_all(&mut http, "/buffers/a");
    assert_eq!(ids, (1..=20).collect::<Vec<_>>());
    assert_eq!(batches, 2, "6 MiB are two batches");
    let (mut ids, batches) = read_all(&mut http, "/topics/both");
    ids.sort_unstable();
    assert_eq!(ids, (1..=40).collect::<Vec<_>>());
    assert!(
        batches >= 3,
        "12 MiB are three batches or four, not {batches}"
    );
}

#[test]
fn a_batch_of_events_waits_for_the_first() {
    let (_scratch, server) = server();
    let mut http = server.http();
    for buffer in ["a", "b"] {
        http.put_json(&format!("/buffers/{buffer}"), "{}").unwrap();
    }
    http.put_json("/topics/both", r#"{"buffers": ["a", "b"]}"#)
        .unwrap();
    let mut waiting = server.http();
    for (path, id) in [("/buffers/a", 1), ("/topics/both", 2)] {
        let target = format!("{path}/messages?after=end&wait=30");
        let first = std::thread::scope(|scope| {
            let read = scope.spawn(|| waiting.send("GET", &target, &[("accept", BATCH)], b""));
            // Appended again until the reader is there: it sees what comes behind its start.
            while !read.is_finished() {
                let event = json!({
                    "specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "t",
                });
                let headers = [("content-type", "application/cloudevents+json")];
                http.send("POST", "/buffers/a", &headers, event.to_string().as_bytes())
                    .unwrap();
            }
            events(&read.join().unwrap().unwrap())
        });
        assert_eq!(first[0]["id"], id.to_string(), "{path}");
    }
}

#[test]
fn the_command_line_appends_events_line_by_line() {
    let (scratch, server) = server();
    let file = scratch.path().join("events.ndjson");
    let lines = [
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#,
        r#"{"specversion":"1.0","id":"2","source":"/s","type":"t","partitionkey":"k"}"#,
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let url = format!("http://{}", server.address());
    let append = |file: &str| {
        hbuf(&[
            "append",
            "e",
            "--url",
            &url,
            "--lines",
            "--quiet",
            "--content-type",
            "application/cloudevents+json",
            file,
        ])
    };
    let output = append(file.to_str().unwrap());
    assert!(output.status.success(), "{output:?}");
    let reply = server
        .http()
        .send("GET", "/buffers/e/messages", &[("accept", BATCH)], b"");
    let expected = format!(
        "[{},\n{}]\n",
        lines[0].replace(
            "\"data\"",
            "\"datacontenttype\":\"application/json\",\"data\""
        ),
        lines[1]
    );
    assert_eq!(String::from_utf8(reply.unwrap().body).unwrap(), expected);

    std::fs::write(&file, "{\"specversion\":\"1.0\"}").unwrap();
    let output = append(file.to_str().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("`id` is missing"),
        "{said}"
    );
}
