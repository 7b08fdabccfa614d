//! Runs the conversations in `conversations/*.txt`, each against a server of its own.
//!
//! ```text
//! == title of an exchange
//! METHOD /target
//! header: value               \r \n \0 \t \\ \xNN and ${name} stand for what they say, everywhere
//! @body: crlf                   lines of the body end with CRLF in place of LF
//!
//! body, without a line end behind it
//! ----
//! 201
//! header: value                 exactly this; `~ part` contains it; `*` is there; `$name` keeps it
//! !header                       is not there
//!
//! body                          exactly this, but for a line end behind it; or lines `~ part`
//! ```

use std::collections::BTreeMap;

use crate::server::{Reply, Server};
use hbuf_server::http::HttpSettings;

#[test]
fn appending_follows_the_conversation() {
    run(include_str!("conversations/append.txt"));
}

#[test]
fn batches_follow_the_conversation() {
    run(include_str!("conversations/batch.txt"));
}

#[test]
fn cloud_events_follow_the_conversation() {
    run(include_str!("conversations/events.txt"));
}

#[test]
fn safe_retries_follow_the_conversation() {
    run(include_str!("conversations/retry.txt"));
}

#[test]
fn reading_follows_the_conversation() {
    run(include_str!("conversations/read.txt"));
}

#[test]
fn filters_follow_the_conversation() {
    run(include_str!("conversations/filter.txt"));
}

#[test]
fn single_messages_follow_the_conversation() {
    run(include_str!("conversations/message.txt"));
}

#[test]
fn buffers_and_topics_follow_the_conversation() {
    run(include_str!("conversations/catalog.txt"));
}

#[test]
fn topics_of_several_buffers_follow_the_conversation() {
    run(include_str!("conversations/topics.txt"));
}

#[test]
fn proofs_follow_the_conversation() {
    run(include_str!("conversations/proof.txt"));
}

#[test]
fn bad_input_follows_the_conversation() {
    run(include_str!("conversations/bad.txt"));
}

#[test]
fn browsers_follow_the_conversation() {
    run(include_str!("conversations/browser.txt"));
}

#[test]
fn operating_follows_the_conversation() {
    run(include_str!("conversations/operate.txt"));
}

#[test]
fn streams_follow_the_conversation() {
    run(include_str!("conversations/streams.txt"));
}

fn run(text: &str) {
    let server = Server::with(HttpSettings {
        allowed_hosts: vec!["hbuf.example".into()],
        cors_origins: vec!["https://app.example".into()],
        body_bytes_max: 1_000_000,
        ..HttpSettings::default()
    });
    let mut kept = BTreeMap::new();
    let mut connection = server.connect();
    let mut exchanges = 0;
    for exchange in text.split("\n== ").skip(1) {
        let (title, exchange) = exchange
            .split_once('\n')
            .expect("a title has a line of its own");
        let (request, expected) = exchange.split_once("\n----\n").expect(title);
        let request = Request::parse(request, &kept);
        let headers: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let reply = connection.call(&request.method, &request.target, &headers, &request.body);
        if let Err(why) = check(&reply, expected, &mut kept) {
            panic!(
                "{title}: {why}\n\n{}\n{:#?}\n\n{}",
                reply.status,
                reply.headers,
                reply.text()
            );
        }
        if reply.header("connection") == Some("close") {
            connection = server.connect();
        }
        exchanges += 1;
    }
    assert!(exchanges > 0, "the file holds an exchange");
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn parse(text: &str, kept: &BTreeMap<String, String>) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines().filter(|line| !line.starts_with('#'));
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Self {
            method: method.to_owned(),
            target: text_of(target, kept),
            headers: Vec::new(),
            body: bytes_of(body, kept),
        };
        for line in lines {
            let (name, value) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("header {line:?}"));
            match name {
                "@body" if value == "crlf" => {
                    request.body = bytes_of(&body.replace('\n', "\r\n"), kept);
                }
                _ => request
                    .headers
                    .push((name.to_owned(), text_of(value, kept))),
            }
        }
        request
    }
}

fn check(reply: &Reply, expected: &str, kept: &mut BTreeMap<String, String>) -> Result<(), String> {
    let expected = expected.trim_end_matches('\n');
    let (head, body) = match expected.split_once("\n\n") {
        Some((head, body)) => (head, Some(body)),
        None => (expected, None),
    };
    let mut lines = head.lines().filter(|line| !line.starts_with('#'));
    let status = lines.next().unwrap_or_default();
    if reply.status.to_string() != status {
        return Err(format!("expected {status}"));
    }
    for line in lines {
        if let Some(name) = line.strip_prefix('!') {
            if reply.header(name).is_some() {
                return Err(format!("`{name}` should not be there"));
            }
            continue;
        }
        let (name, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("header {line:?}"));
        let found = reply
            .header(name)
            .ok_or_else(|| format!("`{name}` is missing"))?;
        check_value(found, value, kept).map_err(|()| format!("expected `{line}`"))?;
    }
    let Some(body) = body else { return Ok(()) };
    let found = reply.text();
    if body.lines().all(|line| line.starts_with("~ ")) {
        for part in body.lines().map(|line| text_of(&line[2..], kept)) {
            if !found.contains(&part) {
                return Err(format!("the body should contain `{part}`"));
            }
        }
        return Ok(());
    }
    let wanted = bytes_of(body, kept);
    if reply.body == wanted || reply.body.strip_suffix(b"\n") == Some(&wanted[..]) {
        Ok(())
    } else {
        Err(format!("expected the body\n{body}"))
    }
}

fn check_value(found: &str, value: &str, kept: &mut BTreeMap<String, String>) -> Result<(), ()> {
    if let Some(name) = value
        .strip_prefix('$')
        .filter(|name| !name.starts_with('{'))
    {
        kept.insert(name.to_owned(), found.to_owned());
        return Ok(());
    }
    let fits = match value.strip_prefix("~ ") {
        Some(part) => found.contains(&text_of(part, kept)),
        None => value == "*" || found == text_of(value, kept),
    };
    if fits { Ok(()) } else { Err(()) }
}

fn text_of(text: &str, kept: &BTreeMap<String, String>) -> String {
    String::from_utf8(bytes_of(text, kept)).unwrap()
}

fn bytes_of(text: &str, kept: &BTreeMap<String, String>) -> Vec<u8> {
    let mut text = text.to_owned();
    for (name, value) in kept {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escaped, tail) = rest.split_first().expect("something is escaped");
        rest = tail;
        out.push(match escaped {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'x' => {
                let (digits, tail) = rest.split_at(2);
                rest = tail;
                u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    out
}
