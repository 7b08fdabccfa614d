//! Topics of several buffers, read as one.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use hbuf_core::record::{Kind, decode};
use hbuf_core::skim::skim;
use hbuf_core::topic::RunHead;
use serde_json::Value;

use crate::server::{Connection, Reply, Server};

const LINES: [(&str, &str); 1] = [("accept", "application/x-ndjson")];

/// A server with a topic `t` of buffers `b0`, `b1`, …
fn topic(buffers: usize) -> (Server, Connection) {
    let server = Server::start();
    let mut client = server.connect();
    let names: Vec<String> = (0..buffers).map(|n| format!("b{n}")).collect();
    for name in &names {
        assert_eq!(
            client
                .call("PUT", &format!("/buffers/{name}"), &[], b"")
                .status,
            201
        );
    }
    put_topic(&mut client, &names, 201);
    (server, client)
}

fn put_topic(client: &mut Connection, names: &[String], status: u16) {
    let body = serde_json::json!({ "buffers": names }).to_string();
    let reply = client.call("PUT", "/topics/t", &[], body.as_bytes());
    assert_eq!(reply.status, status, "{}", reply.text());
}

fn get(client: &mut Connection, query: &str) -> Reply {
    let reply = client.call("GET", &format!("/topics/t/messages{query}"), &LINES, b"");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

/// The messages of a reply, and its last line.
fn lines(reply: &Reply) -> (Vec<Value>, Value) {
    let text = reply.text();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let end = lines.pop().unwrap();
    assert!(end.get("cursor").is_some(), "{end}");
    (lines, end)
}

fn bodies(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["body"].as_str().unwrap())
        .collect()
}

/// Appends a message to one of the buffers.
fn append(client: &mut Connection, buffer: usize, body: &str) {
    assert_eq!(
        client.post(&format!("/buffers/b{buffer}"), body).status,
        201
    );
}

#[test]
fn messages_come_by_their_time_over_all_buffers_and_a_cursor_goes_on() {
    let (_server, mut client) = topic(4);
    let order = [2, 0, 0, 3, 1, 2, 2, 0];
    for (n, buffer) in order.into_iter().enumerate() {
        append(&mut client, buffer, &format!("m{n}"));
    }
    let (all, _) = lines(&get(&mut client, ""));
    let expected: Vec<String> = (0..order.len()).map(|n| format!("m{n}")).collect();
    assert_eq!(bodies(&all), expected);
    assert_eq!(all[0]["buffer"], "b2");
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (some, end) = lines(&get(&mut client, &format!("?limit=3{after}")));
        if some.is_empty() {
            break;
        }
        seen.extend(some);
        after = format!("&after={}", end["cursor"].as_str().unwrap());
    }
    assert_eq!(seen, all);
    append(&mut client, 1, "late");
    let (some, _) = lines(&get(&mut client, &format!("?{}", &after[1..])));
    assert_eq!(bodies(&some), ["late"]);
}

#[test]
fn filters_hold_over_all_buffers_and_the_cursor_passes_what_they_leave_out() {
    let (_server, mut client) = topic(3);
    for n in 0..30 {
        let tag = [("x-hbuf-tag", if n % 5 == 0 { "five" } else { "other" })];
        let reply = client.call("POST", &format!("/buffers/b{}", n % 3), &tag, b"x");
        assert_eq!(reply.status, 201);
    }
    let (some, end) = lines(&get(&mut client, "?tag=five"));
    assert_eq!(some.len(), 6);
    let after = end["cursor"].as_str().unwrap();
    let (none, _) = lines(&get(&mut client, &format!("?after={after}")));
    assert_eq!(none.len(), 0, "all was looked at");
}

#[test]
fn a_raw_read_says_of_each_run_which_buffer_it_is_of() {
    let (_server, mut client) = topic(2);
    for (buffer, body) in [(0, "a"), (0, "b"), (1, "c"), (0, "d")] {
        append(&mut client, buffer, body);
    }
    let reply = client.call("GET", "/topics/t/messages", &[], b"");
    assert_eq!(reply.status, 200);
    let (mut rest, mut runs, mut cursor) = (&reply.body[..], Vec::new(), None);
    while let Some(line) = skim(rest) {
        let (record, behind) = rest.split_at(usize::try_from(line.record_len()).unwrap());
        rest = behind;
        let record = decode(record).unwrap();
        match RunHead::of(&record) {
            Some(RunHead::Run { buffer, first, .. }) => runs.push((buffer, first.0, Vec::new())),
            Some(RunHead::End { cursor: end, gaps }) => {
                assert_eq!(gaps, Vec::<String>::new());
                cursor = end;
            }
            None => {
                assert_eq!(record.facts.kind, Kind::Data);
                runs.last_mut().unwrap().2.push(record.body.to_vec());
            }
        }
    }
    assert_eq!(rest, b"");
    let shape: Vec<_> = runs
        .iter()
        .map(|(_, first, bodies)| (*first, bodies.len()))
        .collect();
    assert_eq!(shape, [(1, 2), (1, 1), (3, 1)]);
    assert!(runs[0].0 == runs[2].0 && runs[0].0 != runs[1].0);
    // What was read can be appended as it is.
    let kind = [("content-type", "application/http")];
    let reply = client.call("POST", "/buffers/copy", &kind, &reply.body);
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert!(reply.text().contains("\"count\":4"));
    let (none, _) = lines(&get(&mut client, &format!("?after={}", cursor.unwrap())));
    assert_eq!(none.len(), 0);
}

#[test]
fn an_array_ends_with_the_cursor_and_lines_can_be_appended_again() {
    let (_server, mut client) = topic(2);
    let json = [("accept", "application/json")];
    let empty = client.call("GET", "/topics/t/messages", &json, b"");
    assert_eq!(
        serde_json::from_slice::<Value>(&empty.body)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    append(&mut client, 0, "a");
    append(&mut client, 1, "b");
    let reply = client.call("GET", "/topics/t/messages", &json, b"");
    let array: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((array.len(), array[2]["cursor"].is_string()), (3, true));
    let text = get(&mut client, "").body;
    let kind = [("content-type", "application/x-ndjson")];
    let reply = client.call("POST", "/buffers/copy", &kind, &text);
    assert!(reply.text().contains("\"count\":2"), "{}", reply.text());
}

#[test]
fn a_long_poll_is_answered_by_whichever_buffer_has_something() {
    let (server, mut client) = topic(3);
    let (_, end) = lines(&get(&mut client, ""));
    let query = format!("?after={}&wait=15", end["cursor"].as_str().unwrap());
    let mut poll = server.connect();
    let started = Instant::now();
    let waiting = thread::spawn(move || get(&mut poll, &query));
    thread::sleep(Duration::from_millis(100));
    append(&mut client, 2, "now");
    let (some, _) = lines(&waiting.join().unwrap());
    assert_eq!(bodies(&some), ["now"]);
    assert!(started.elapsed() < Duration::from_secs(10));
}

fn follow(server: &Server, query: &str, headers: &[(&str, &str)]) -> Connection {
    let mut connection = server.connect();
    let mut head = format!(
        "GET /topics/t/messages{query} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    connection.send(format!("{head}\r\n").as_bytes());
    assert_eq!(connection.head().unwrap().status, 200);
    connection
}

/// Reads events until so many messages came: ids and bodies.
fn events(tail: &mut Connection, count: usize) -> Vec<(String, String)> {
    let mut text = String::new();
    let mut seen = Vec::new();
    while seen.len() < count {
        text.push_str(&String::from_utf8(tail.chunk().unwrap().unwrap()).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            if let Some((id, data)) = event
                .strip_prefix("id: ")
                .and_then(|it| it.split_once('\n'))
            {
                let data = data.strip_prefix("data: ").unwrap();
                let data: Value = serde_json::from_str(data).unwrap();
                seen.push((id.to_owned(), data["body"].as_str().unwrap().to_owned()));
            }
            text = rest.to_owned();
        }
    }
    seen
}

#[test]
fn a_tail_follows_all_buffers_those_too_that_join_and_goes_on_from_any_event() {
    let (server, mut client) = topic(2);
    append(&mut client, 0, "a");
    append(&mut client, 1, "b");
    let mut tail = follow(&server, "", &[]);
    let mut seen = events(&mut tail, 2);
    append(&mut client, 1, "c");
    seen.extend(events(&mut tail, 1));
    assert_eq!(client.call("PUT", "/buffers/b2", &[], b"").status, 201);
    append(&mut client, 2, "d");
    put_topic(&mut client, &["b0".into(), "b1".into(), "b2".into()], 200);
    append(&mut client, 0, "e");
    seen.extend(events(&mut tail, 2));
    let said: Vec<&str> = seen.iter().map(|(_, body)| body.as_str()).collect();
    assert_eq!(said[..3], ["a", "b", "c"]);
    let (mut rest, expected) = (said[3..].to_vec(), ["d", "e"]);
    rest.sort_unstable();
    assert_eq!(rest, expected, "whichever was seen first");
    for (n, (id, _)) in seen.iter().enumerate().take(3) {
        let mut again = follow(&server, "?after=0", &[("last-event-id", id)]);
        let missed = events(&mut again, seen.len() - 1 - n);
        let missed: Vec<&str> = missed.iter().map(|(_, body)| body.as_str()).collect();
        let mut expected: Vec<&str> = said[n + 1..].to_vec();
        expected.sort_unstable();
        let mut sorted = missed.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
    }
}

#[test]
fn strict_order_gives_all_that_idle_buffers_have_closed() {
    let (server, mut client) = topic(4);
    for n in 0..8 {
        append(&mut client, n % 2, &format!("m{n}"));
    }
    let (all, _) = lines(&get(&mut client, "?order=strict"));
    assert_eq!(
        all.len(),
        8,
        "two buffers never had a message and hold up nothing"
    );
    let times: Vec<&str> = all
        .iter()
        .map(|line| line["time"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted());
    let mut tail = follow(&server, "?order=strict&after=end", &[]);
    events(&mut tail, 0);
    append(&mut client, 3, "live");
    assert_eq!(events(&mut tail, 1)[0].1, "live");
}

#[test]
fn a_paused_buffer_is_named_read_and_holds_up_strict_order_for_a_while_only() {
    let (_server, mut client) = topic(2);
    append(&mut client, 0, "a");
    append(&mut client, 1, "b");
    let state = br#"{"state": "paused"}"#;
    assert_eq!(
        client.call("PUT", "/buffers/b1/state", &[], state).status,
        200
    );
    append(&mut client, 0, "c");
    let reply = get(&mut client, "");
    assert_eq!(reply.header("x-hbuf-gaps"), Some("b1; reason=paused"));
    let (all, end) = lines(&reply);
    assert_eq!(bodies(&all), ["a", "b", "c"]);
    assert_eq!(end["gaps"][0]["reason"], "paused");
    let started = Instant::now();
    let (all, _) = lines(&get(&mut client, "?order=strict"));
    assert_eq!(bodies(&all), ["a", "b", "c"], "passed after a while");
    assert!(started.elapsed() >= Duration::from_secs(4));
}

#[test]
fn what_retention_dropped_behind_a_cursor_is_named() {
    let (server, mut client) = topic(2);
    let small = br#"{"segment_bytes": 4096, "retention_count": 1}"#;
    assert_eq!(client.call("PUT", "/buffers/b0", &[], small).status, 200);
    append(&mut client, 0, "first");
    let (_, end) = lines(&get(&mut client, ""));
    for _ in 0..40 {
        append(&mut client, 0, &"x".repeat(1_000));
    }
    append(&mut client, 1, "other");
    let runtime = server.runtime();
    let first = || -> u64 {
        let mut client = server.connect();
        let text = client.call("GET", "/buffers/b0", &[], b"").text();
        serde_json::from_str::<Value>(&text).unwrap()["first"]
            .as_u64()
            .unwrap()
    };
    let waited = Instant::now();
    while first() <= 2 {
        assert!(
            waited.elapsed() < Duration::from_secs(60),
            "retention runs every 10 s"
        );
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
    }
    let reply = get(
        &mut client,
        &format!("?after={}", end["cursor"].as_str().unwrap()),
    );
    assert_eq!(reply.header("x-hbuf-gaps"), Some("b0; reason=dropped"));
    assert_eq!(lines(&reply).0.last().unwrap()["body"], "other");
}

#[test]
fn a_topic_of_more_buffers_than_a_cursor_holds_is_read_but_not_followed() {
    let (server, mut client) = topic(65);
    for n in 0..65 {
        append(&mut client, n, &n.to_string());
    }
    let (all, end) = lines(&get(&mut client, ""));
    assert_eq!((all.len(), end["cursor"].is_null()), (65, true));
    let mut tail = server.connect();
    let accept = [("accept", "text/event-stream")];
    let reply = tail.call("GET", "/topics/t/messages", &accept, b"");
    assert_eq!(reply.status, 409);
    assert!(reply.text().contains("topic-too-wide"), "{}", reply.text());
}

#[test]
fn messages_longer_than_a_page_come_in_their_turn() {
    let (_server, mut client) = topic(40);
    // Forty buffers share the bytes that a read holds, so each of these is read alone.
    let long = "y".repeat(200_000);
    for n in 0..8 {
        append(&mut client, n, &format!("{n}{long}"));
        append(&mut client, n, &format!("{n} short"));
    }
    let (all, _) = lines(&get(&mut client, ""));
    let firsts: Vec<char> = bodies(&all)
        .iter()
        .map(|body| body.chars().next().unwrap())
        .collect();
    let expected: Vec<char> = (0..16)
        .map(|n| char::from_digit(n / 2, 10).unwrap())
        .collect();
    assert_eq!(firsts, expected);
    let lengths: Vec<usize> = bodies(&all).iter().map(|body| body.len()).collect();
    assert!(lengths.chunks(2).all(|pair| pair == [200_001, 7]));
}

#[test]
fn many_messages_of_many_buffers_keep_each_buffers_order() {
    let (_server, mut client) = topic(16);
    let batch: String = (0..2_000)
        .map(|n| format!("{{\"body\":\"{n}\",\"key\":\"k{n}\"}}\n"))
        .collect();
    let kind = [("content-type", "application/x-ndjson")];
    for _ in 0..4 {
        assert_eq!(
            client
                .call("POST", "/topics/t", &kind, batch.as_bytes())
                .status,
            200
        );
    }
    let (all, end) = lines(&get(&mut client, "?limit=10000"));
    assert_eq!(all.len(), 8_000);
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for line in &all {
        let due = next.entry(line["buffer"].as_str().unwrap()).or_insert(1);
        assert_eq!(line["seq"].as_u64(), Some(*due));
        *due += 1;
    }
    let times: Vec<&str> = all
        .iter()
        .map(|line| line["time"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted());
    assert!(end["gaps"].is_null());
}
