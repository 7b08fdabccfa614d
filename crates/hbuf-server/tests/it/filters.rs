//! Stored filters at their limits.

use std::fmt::Write as _;
use std::fs;

use hbuf_core::limits::{FILTER_BYTES_MAX, FILTER_TAGS_MAX, FILTERS_PER_BUFFER_MAX};

use crate::server::Server;

#[test]
fn a_filter_of_five_million_tags_is_stored_and_matches() {
    let server = Server::start();
    let mut client = server.connect();
    let lines = [("content-type", "application/x-ndjson")];
    let last = FILTER_TAGS_MAX - 1;
    let messages = format!(
        "{{\"body\":\"first\",\"tags\":[\"t0\"]}}\n{{\"body\":\"none\",\"tags\":[\"u0\"]}}\n\
         {{\"body\":\"last\",\"tags\":[\"x\",\"t{last}\"]}}\n"
    );
    assert_eq!(
        client
            .call("POST", "/buffers/b", &lines, messages.as_bytes())
            .status,
        201
    );
    let mut tags = String::with_capacity(48 << 20);
    for tag in 0..FILTER_TAGS_MAX {
        writeln!(tags, "t{tag}").unwrap();
    }
    // What comes again does not count.
    tags.push_str("t5\nt6\n");
    let text = [("content-type", "text/plain")];
    let reply = client.call("PUT", "/buffers/b/filters/big", &text, tags.as_bytes());
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert!(
        reply.text().contains("\"tags\":5000000"),
        "{}",
        reply.text()
    );
    let json = [("accept", "application/json")];
    let found = client
        .call("GET", "/buffers/b/messages?filter=big", &json, b"")
        .text();
    let seqs: Vec<_> = found.matches("\"seq\":").collect();
    assert!(
        seqs.len() == 2 && found.contains("first") && found.contains("last"),
        "{found}"
    );
}

const TEXT: [(&str, &str); 1] = [("content-type", "text/plain")];

#[test]
fn a_buffer_has_ten_thousand_filters_and_not_one_more() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.post("/buffers/b", "x").status, 201);
    let first = client.call("PUT", "/buffers/b/filters/f0", &TEXT, b"t\n");
    assert_eq!(first.status, 201, "{}", first.text());
    let directory = server.buffer_dir("b").join("filters");
    let name = fs::read_dir(&directory).unwrap().next().unwrap();
    let name = name.unwrap().file_name().into_string().unwrap();
    let suffix = name.strip_prefix("f0").unwrap();
    for n in 1..FILTERS_PER_BUFFER_MAX {
        fs::copy(
            directory.join(&name),
            directory.join(format!("f{n}{suffix}")),
        )
        .unwrap();
    }
    let more = client.call("PUT", "/buffers/b/filters/more", &TEXT, b"t\n");
    assert_eq!(more.status, 409, "{}", more.text());
    assert!(more.text().contains("10000 filters"), "{}", more.text());
    let again = client.call("PUT", "/buffers/b/filters/f7", &TEXT, b"u\n");
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(
        client
            .call("DELETE", "/buffers/b/filters/f8", &[], b"")
            .status,
        204
    );
    let more = client.call("PUT", "/buffers/b/filters/more", &TEXT, b"t\n");
    assert_eq!(more.status, 201, "{}", more.text());
}

#[test]
fn a_body_that_claims_more_than_a_filter_may_have_is_refused_before_it_is_read() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.post("/buffers/b", "x").status, 201);
    let length = FILTER_BYTES_MAX + 1;
    let head = format!(
        "PUT /buffers/b/filters/f HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
         content-length: {length}\r\n\r\n"
    );
    client.send(head.as_bytes());
    let reply = client.reply("PUT").unwrap();
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert_eq!(server.connect().get("/buffers/b/filters/f").status, 404);
}

#[test]
fn a_pause_ends_an_upload_at_once_and_leaves_nothing_of_it() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.post("/buffers/b", "x").status, 201);
    let mut slow = server.connect();
    let head = format!(
        "PUT /buffers/b/filters/f HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
         content-length: {FILTER_BYTES_MAX}\r\n\r\n"
    );
    slow.send(head.as_bytes());
    let unfinished = server.buffer_dir("b").join("filters/f.filter.tmp");
    let mut tag = 0;
    while !fs::metadata(&unfinished).is_ok_and(|file| file.len() > 1 << 20) {
        let lines =
            (tag..tag + 1000).fold(String::new(), |lines, tag| lines + &format!("t{tag}\n"));
        slow.send(lines.as_bytes());
        tag += 1000;
    }
    let state = client.call("PUT", "/buffers/b/state", &[], b"{\"state\":\"paused\"}");
    assert_eq!(state.status, 200, "{}", state.text());
    assert!(!unfinished.exists());
    // The client sends no more.
    let reply = slow.reply("PUT").unwrap();
    assert_eq!(reply.status, 423, "{}", reply.text());
    assert!(reply.text().contains("buffer-paused"), "{}", reply.text());
    let state = client.call("PUT", "/buffers/b/state", &[], b"{\"state\":\"open\"}");
    assert_eq!(state.status, 200, "{}", state.text());
    let again = client.call("PUT", "/buffers/b/filters/f", &TEXT, b"t\n");
    assert_eq!(again.status, 201, "{}", again.text());
}

#[test]
fn a_tag_is_bytes_and_a_filter_of_lines_may_name_any() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(
        b"POST /buffers/b HTTP/1.1\r\nhost: localhost\r\nx-hbuf-tag: \xe9t\xe9\r\ncontent-length: 3\r\n\r\none",
    );
    assert_eq!(client.reply("POST").unwrap().status, 201);
    assert_eq!(client.post("/buffers/b", "two").status, 201);
    let stored = client.call("PUT", "/buffers/b/filters/f", &TEXT, b"\xe9t\xe9\n");
    assert_eq!(stored.status, 201, "{}", stored.text());
    let json = [("accept", "application/json")];
    let found = client.call("GET", "/buffers/b/messages?filter=f", &json, b"");
    assert!(found.text().contains("one") && !found.text().contains("two"));
}
