//! Records as a parser of HTTP sees them: requests in a pipeline, with an empty line between that
//! RFC 9112 §2.2 lets a server pass over.

use hbuf_core::content::parse_batch;
use hbuf_core::record::{decode, erase};
use httparse::{EMPTY_HEADER, Request, Status};

use crate::vectors::{facts_record, plain_record, segment_head};

/// Reads one request the way a server on httparse (hyper) does, and returns what is behind it.
fn read(bytes: &[u8], check: impl FnOnce(&Request<'_, '_>, &[u8])) -> &[u8] {
    let mut headers = [EMPTY_HEADER; 96];
    let mut request = Request::new(&mut headers);
    let Status::Complete(head_len) = request.parse(bytes).unwrap() else {
        panic!("the head is whole");
    };
    let lengths: Vec<_> = request
        .headers
        .iter()
        .filter(|header| header.name == "content-length")
        .collect();
    assert_eq!(lengths.len(), 1, "one length");
    let length: usize = std::str::from_utf8(lengths[0].value)
        .unwrap()
        .parse()
        .unwrap();
    check(&request, &bytes[head_len..head_len + length]);
    &bytes[head_len + length..]
}

#[test]
fn a_file_is_a_pipeline_of_requests_to_another_parser() {
    let mut gone = plain_record();
    erase(&mut gone).unwrap();
    let records = [segment_head(), plain_record(), facts_record(), gone];
    let file = records.concat();
    let mut rest = &file[..];
    for bytes in &records {
        let record = decode(bytes).unwrap();
        rest = read(rest, |request, body| {
            assert_eq!(request.method, Some("POST"));
            assert_eq!(request.version, Some(1));
            assert_eq!(request.headers[0].name, "host");
            assert_eq!(body, record.body);
            for (name, value) in record.headers() {
                let found = request
                    .headers
                    .iter()
                    .any(|header| header.name.as_bytes() == name && header.value == value);
                assert!(found, "{}", String::from_utf8_lossy(name));
            }
        });
    }
    assert_eq!(rest, b"\r\n", "the last CRLF");
}

#[test]
fn the_reader_of_batches_and_another_parser_see_the_same_bodies() {
    let file = [plain_record(), facts_record()].concat();
    let batch = parse_batch(&file).unwrap();
    let mut rest = &file[..];
    for inner in &batch.messages {
        rest = read(rest, |_, body| assert_eq!(body, inner.body));
    }
}
