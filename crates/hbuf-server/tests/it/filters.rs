//! A stored filter at its limit.

use std::fmt::Write as _;

use hbuf_core::limits::FILTER_TAGS_MAX;

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
