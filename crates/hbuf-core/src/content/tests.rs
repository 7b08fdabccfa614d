//! What is stored, what is refused, and batches that someone tries to read in two ways.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::ids::{Epoch, Hash, Micros, Seq};
use crate::limits::*;
use crate::record::{Facts, Frame, Kind, Producer, Proof, decode, encode, erase};

fn lines(headers: &[(&str, &str)], source: Source<'_>) -> Result<String, ContentError> {
    let mut out = b"before".to_vec();
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    let result = stored_lines(headers, source, &mut out);
    let rest = out.strip_prefix(b"before").unwrap().to_vec();
    if result.is_err() {
        assert!(rest.is_empty(), "an error leaves nothing behind");
    }
    result.map(|()| String::from_utf8(rest).unwrap())
}

#[test]
fn a_plain_append_stores_what_is_listed_and_nothing_else() {
    let stored = lines(
        &[
            ("host", "example.com"),
            ("user-agent", "curl/8"),
            ("accept", "*/*"),
            ("ce-type", "a.b"),
            ("content-length", "3"),
            ("content-type", "text/plain"),
            ("authorization", "Bearer hb1_secret"),
            ("cookie", "a=b"),
            ("forwarded", "for=10.0.0.1"),
            ("traceparent", "00-1"),
            ("x-hbuf-tag", "web7,eu-west-1"),
            ("x-hbuf-ack", "local"),
            ("x-hbuf-producer", "a/1/1"),
            ("idempotency-key", "k"),
            ("if-match", "\"3\""),
            ("x-hbuf-meta-shop", " 7 "),
            ("x-hbuf-key", "user-1717"),
            ("content-encoding", "gzip"),
        ],
        Source::Plain,
    );
    assert_eq!(
        stored.unwrap(),
        "x-hbuf-key: user-1717\r\nx-hbuf-tag: web7, eu-west-1\r\ncontent-type: text/plain\r\n\
         ce-type: a.b\r\ntraceparent: 00-1\r\nx-hbuf-meta-shop: 7\r\ncontent-encoding: gzip\r\n"
    );
    assert_eq!(lines(&[], Source::Plain).unwrap(), "");
}

#[test]
fn an_inner_request_stores_all_but_framing_connection_and_credentials() {
    let stored = lines(
        &[
            ("host", ""),
            ("content-length", "3"),
            ("connection", "close, Upgrade"),
            ("upgrade", "h2c"),
            ("authorization", "secret"),
            ("cookie", "secret"),
            ("proxy-authorization", "secret"),
            ("x-custom", "kept"),
            ("date", "today"),
            ("x-hbuf-id", "00"),
            ("x-hbuf-salt", "00"),
            ("x-hbuf-producer", "a/1/1"),
            ("x-hbuf-idem", "00"),
            ("x-hbuf-origin", "00"),
            ("x-hbuf-origin-id", "00"),
            ("x-hbuf-dek", "00"),
        ],
        Source::Inner,
    );
    assert_eq!(stored.unwrap(), "x-custom: kept\r\ndate: today\r\n");
}

#[test]
fn other_headers_of_ours_are_refused_with_advice() {
    for source in [Source::Plain, Source::Inner] {
        for name in ["x-hbuf-other", "x-hbuf-meta-", "x-hbuf-", "x-hbuf-seq"] {
            let error = lines(&[(name, "1")], source).unwrap_err();
            assert_eq!(error, ContentError::Reserved { name: name.into() });
        }
    }
    for name in [
        "x-hbuf-salt",
        "x-hbuf-id",
        "x-hbuf-kind",
        "x-hbuf-origin",
        "x-hbuf-gone",
    ] {
        let error = lines(&[(name, "1")], Source::Plain).unwrap_err();
        assert_eq!(error, ContentError::Reserved { name: name.into() });
    }
    let control = ContentError::Control {
        kind: "erase".into(),
    };
    assert_eq!(
        lines(&[("x-hbuf-kind", "erase")], Source::Inner),
        Err(control)
    );
    assert_eq!(
        lines(&[("x-hbuf-gone", "0")], Source::Inner),
        Err(ContentError::Erased)
    );
    let connection = ContentError::Connection { name: "x-a".into() };
    assert_eq!(
        lines(&[("connection", "x-a")], Source::Inner),
        Err(connection)
    );
}

#[test]
fn keys_have_one_form() {
    let key = |key: &str| {
        lines(&[("x-hbuf-key", key)], Source::Plain).map(|line| {
            line.trim_end()
                .trim_start_matches("x-hbuf-key: ")
                .to_string()
        })
    };
    assert_eq!(key("a/b:c,d").unwrap(), "a/b:c,d");
    assert_eq!(key("%61%2f%3A").unwrap(), "a/:");
    assert_eq!(key("%c3%a9%20%25%0a").unwrap(), "%C3%A9%20%25%0A");
    for wrong in ["a b", "100%", "%4", "%zz", "\u{e9}"] {
        assert_eq!(key(wrong), Err(ContentError::KeyEncoding), "{wrong}");
    }
    assert_eq!(key(" "), Err(ContentError::KeyEmpty));
    assert!(key(&"k".repeat(KEY_BYTES_MAX)).is_ok());
    assert_eq!(
        key(&"k".repeat(KEY_BYTES_MAX + 1)),
        Err(ContentError::KeyLong)
    );
    assert!(key(&"%ff".repeat(KEY_BYTES_MAX / 3)).is_ok());
    assert!(key(&"%41".repeat(KEY_BYTES_MAX)).is_ok());
    let twice = [("x-hbuf-key", "a"), ("x-hbuf-key", "a")];
    let error = ContentError::Twice { name: "x-hbuf-key" };
    assert_eq!(lines(&twice, Source::Plain), Err(error));
}

#[test]
fn a_time_of_delivery_has_one_form_and_comes_behind_the_content_type() {
    let with = |value: &str| {
        let mut out = Vec::new();
        let headers = [
            ("x-hbuf-meta-a", &b"1"[..]),
            ("x-hbuf-deliver-at", value.as_bytes()),
            ("content-type", b"a/b"),
        ];
        stored_lines(headers.into_iter(), Source::Plain, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    };
    let stored = "content-type: a/b\r\nx-hbuf-deliver-at: 2026-11-20T11:15:22.500000Z\r\n\
                  x-hbuf-meta-a: 1\r\n";
    for same in ["2026-11-20T11:15:22.5Z", "2026-11-20t12:15:22.50+01:00"] {
        assert_eq!(with(same).unwrap(), stored);
    }
    for bad in [
        "",
        "soon",
        "+60",
        "2026-11-20",
        "1795173322",
        "2026-13-20T11:15:22Z",
    ] {
        assert_eq!(with(bad), Err(ContentError::DeliverAt), "{bad}");
    }
    let twice = [("x-hbuf-deliver-at", &b"2026-11-20T11:15:22Z"[..]); 2];
    let refused = stored_lines(twice.into_iter(), Source::Inner, &mut Vec::new());
    let name = "x-hbuf-deliver-at";
    assert_eq!(refused, Err(ContentError::Twice { name }));
}

#[test]
fn tags_of_several_headers_become_one_line() {
    let tags = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("x-hbuf-tag", *value)).collect();
        lines(&headers, Source::Plain)
    };
    assert_eq!(
        tags(&["a,b", " c ,, d", "e"]).unwrap(),
        "x-hbuf-tag: a, b, c, d, e\r\n"
    );
    assert_eq!(tags(&[" , "]).unwrap(), "");
    assert!(tags(&[&"t".repeat(TAG_BYTES_MAX)]).is_ok());
    assert_eq!(
        tags(&[&"t".repeat(TAG_BYTES_MAX + 1)]),
        Err(ContentError::TagLong)
    );
    let many = vec!["t"; TAGS_MAX].join(",");
    assert!(tags(&[&many]).is_ok());
    assert_eq!(tags(&[&many, "t"]), Err(ContentError::Tags));
    assert_eq!(
        tags(&["a\u{1}"]),
        Err(ContentError::Value {
            name: "x-hbuf-tag".into()
        })
    );
}

#[test]
fn headers_that_the_url_names_are_kept_and_no_credentials() {
    let headers = [
        ("x-hub-signature-256", "sha256=1"),
        ("x-other", "2"),
        ("content-type", "application/json"),
        ("authorization", "secret"),
    ];
    let names = kept_names("x-hub-signature-256,x-missing").unwrap();
    assert_eq!(
        lines(&headers, Source::Keeping(&names)).unwrap(),
        "content-type: application/json\r\nx-hub-signature-256: sha256=1\r\n"
    );
    let reserved = lines(&[("x-hbuf-kind", "erase")], Source::Keeping(&names));
    assert!(matches!(reserved, Err(ContentError::Reserved { .. })));
    for name in [
        "authorization",
        "cookie",
        "host",
        "connection",
        "x-hbuf-id",
        "content-length",
    ] {
        let never = Err(KeepError::Never { name: name.into() });
        assert_eq!(kept_names(name), never);
    }
    for name in ["", "X-Upper", "a b", "a,,b", "a, b"] {
        let refused = kept_names(name);
        assert!(matches!(refused, Err(KeepError::Name { .. })), "{name}");
    }
    let names = ["a"; KEEP_NAMES_MAX + 1];
    assert!(kept_names(&names[1..].join(",")).is_ok());
    assert_eq!(kept_names(&names.join(",")), Err(KeepError::Many));
}

#[test]
fn header_lines_and_bytes_are_bounded() {
    let names: Vec<String> = (0..=HEADER_LINES_MAX)
        .map(|at| format!("ce-{at}"))
        .collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert!(lines(&headers[1..], Source::Plain).is_ok());
    assert_eq!(lines(&headers, Source::Plain), Err(ContentError::Lines));
    let with_key = [&headers[1..], &[("x-hbuf-key", "k")]].concat();
    assert_eq!(lines(&with_key, Source::Plain), Err(ContentError::Lines));

    let room = HEADERS_BYTES_MAX as usize - "ce-a: \r\n".len();
    let long = "v".repeat(room + 1);
    assert!(lines(&[("ce-a", &long[1..])], Source::Plain).is_ok());
    assert_eq!(
        lines(&[("ce-a", &long)], Source::Plain),
        Err(ContentError::Bytes)
    );
}

#[test]
fn names_and_values_that_break_lines_are_refused() {
    for value in ["a\rb", "a\nb", "a\0b", "a\r\nx: y", "\u{7f}"] {
        for name in ["ce-a", "x-hbuf-meta-a", "content-type"] {
            let error = lines(&[(name, value)], Source::Plain).unwrap_err();
            assert_eq!(error, ContentError::Value { name: name.into() });
        }
        assert!(lines(&[("x-hbuf-key", value)], Source::Plain).is_err());
    }
    for name in ["ce-a b", "ce-\u{e9}", "ce-a:", "ce-A"] {
        let error = lines(&[(name, "1")], Source::Plain).unwrap_err();
        assert_eq!(error, ContentError::Name { name: name.into() });
    }
    assert!(lines(&[("ce-a", "tab\tand \u{e9}")], Source::Plain).is_ok());
}

fn check_batch(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let batch = parse_batch(text.as_bytes());
    let batch = batch.map_err(|error| (error.index, error.reason.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let message = |inner: &Inner<'_>| (text(batch.lines(inner)), text(inner.body));
    Ok(batch.messages.iter().map(message).collect())
}

const GOOD: &str = "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_batch_is_taken_apart_with_or_without_crlf_between() {
    let one = "POST /any?thing HTTP/1.1\r\nHost: x\r\nContent-Type:text/plain\r\n\
        X-Hbuf-Key: k\r\nContent-Length: 5\r\n\r\nhello";
    let two = "POST * HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
    for between in ["", "\r\n", "\r\n\r\n"] {
        let messages = check_batch(&[one, two, one, ""].join(between)).unwrap();
        let first = "x-hbuf-key: k\r\ncontent-type: text/plain\r\n".to_string();
        let expected = [
            (first.clone(), "hello".into()),
            (String::new(), String::new()),
            (first, "hello".into()),
        ];
        assert_eq!(messages, expected);
    }
    let batch = parse_batch(one.as_bytes()).unwrap();
    assert_eq!(&one[batch.messages[0].offset..], "hello");
}

/// A good message, then `text`, which is refused for `reason`.
fn check(text: &str, reason: BatchReason) {
    let batch = [GOOD, "\r\n", text].concat();
    let refused = Err((1, reason.to_string()));
    assert_eq!(check_batch(&batch), refused, "{text:?}");
}

/// A message with these headers and a body of three bytes.
fn head(headers: &str) -> String {
    format!("POST / HTTP/1.1\r\n{headers}\r\n\r\nabc")
}

/// The same of a message with these headers.
fn check_head(headers: &str, reason: BatchReason) {
    check(&head(headers), reason);
}

#[test]
fn other_request_lines_and_cut_heads_are_refused() {
    for start in [
        "GET / HTTP/1.1",
        "POST / HTTP/1.0",
        "POST  HTTP/1.1",
        "POST /a b HTTP/1.1",
    ] {
        let text = format!("{start}\r\ncontent-length: 0\r\n\r\n");
        check(&text, BatchReason::RequestLine);
    }
    for text in ["POST / HTTP/1.1\ncontent-length: 0\r\n\r\n", "POST /", "\n"] {
        check(text, BatchReason::RequestLine);
    }
    for end in ["", "\r\n"] {
        let text = format!("POST / HTTP/1.1\r\ncontent-length: 3{end}");
        check(&text, BatchReason::HeadCut);
    }
    let longer = [GOOD, "\r\n", &head("content-length: 2")].concat();
    let behind = Err((2, BatchReason::RequestLine.to_string()));
    assert_eq!(check_batch(&longer), behind);
}

#[test]
fn header_lines_that_two_parsers_may_read_differently_are_refused() {
    for lines in ["content-length: 3\n\r\nabc", "content-length: 3\r\n\nabc"] {
        check(&format!("POST / HTTP/1.1\r\n{lines}"), BatchReason::BareLf);
    }
    for folded in ["x-a: 1\r\n folded", "\tfolded"] {
        check_head(
            &format!("content-length: 3\r\n{folded}"),
            BatchReason::Folded,
        );
    }
    for line in [
        "no colon",
        "name : 1",
        ": no name",
        "host: a\rb",
        "te: a\0b",
    ] {
        check_head(
            &format!("content-length: 3\r\n{line}"),
            BatchReason::HeaderLine,
        );
    }
    let value = ContentError::Value { name: "x-a".into() };
    let control = head("content-length: 3\r\nx-a: b\u{1}");
    check(&control, BatchReason::Content(value));
    let reserved = ContentError::Reserved {
        name: "x-hbuf-seq".into(),
    };
    let own = head("content-length: 3\r\nx-hbuf-seq: 1");
    check(&own, BatchReason::Content(reserved));
}

#[test]
fn lengths_that_two_parsers_may_read_differently_are_refused() {
    check_head("x-a: 1", BatchReason::LengthMissing);
    for second in ["content-length: 3", "Content-Length: 4"] {
        check_head(
            &format!("content-length: 3\r\n{second}"),
            BatchReason::LengthTwice,
        );
    }
    for length in [
        "",
        "+3",
        "-3",
        "0x3",
        "3, 3",
        "3 3",
        "3.0",
        "99999999999999999999999",
    ] {
        check_head(
            &format!("content-length: {length}"),
            BatchReason::LengthNumber,
        );
    }
    for headers in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: x",
    ] {
        check_head(headers, BatchReason::TransferEncoding);
    }
    check_head("content-length: 67108865", BatchReason::BodyLong);
    check_head("content-length: 7", BatchReason::BodyCut { missing: 4 });
}

#[test]
fn empty_and_overlong_batches_are_refused() {
    let empty = (0, BatchReason::Empty.to_string());
    assert_eq!(check_batch(""), Err(empty.clone()));
    assert_eq!(check_batch("\r\n\r\n"), Err(empty));
    let most = GOOD.repeat(BATCH_MESSAGES_MAX);
    assert_eq!(check_batch(&most).unwrap().len(), BATCH_MESSAGES_MAX);
    let error = (BATCH_MESSAGES_MAX, BatchReason::Messages.to_string());
    assert_eq!(check_batch(&[&most, GOOD].concat()), Err(error));
}

#[test]
fn too_many_headers_in_one_message_refuse_the_batch() {
    let headers: String = (0..=HEADER_LINES_MAX)
        .map(|at| format!("x-{at}: 1\r\n"))
        .collect();
    let text = format!("{GOOD}POST / HTTP/1.1\r\n{headers}content-length: 0\r\n\r\n");
    let reason = BatchReason::Content(ContentError::Lines).to_string();
    assert_eq!(check_batch(&text), Err((1, reason)));
}

fn record(facts: &Facts, proof: Proof, body: &[u8]) -> Vec<u8> {
    let frame = Frame {
        seq: Seq(7),
        time: Micros(1),
        epoch: Epoch(1),
        distance: 1,
        rest: 0,
        facts,
        lines: if facts.kind.is_head() {
            b""
        } else {
            b"x-hbuf-key: k\r\nx-a: 1\r\n"
        },
        proof,
        body,
    };
    let mut out = Vec::new();
    encode(&frame, &mut out);
    out
}

#[test]
fn records_of_ours_are_taken_as_inner_requests_with_their_content() {
    let facts = Facts {
        producer: Some(Producer {
            id: "p".into(),
            epoch: 1,
            number: 9,
        }),
        idem: Some(Hash([4; 32])),
        ..Facts::default()
    };
    let proof = Proof::Salted {
        salt: [1; 32],
        id: Hash([2; 32]),
    };
    let one = record(&facts, proof, b"POST /planted HTTP/1.1\r\n\r\n");
    let head = record(&Facts::of(Kind::Segment), Proof::None, b"size: 0\n");
    let file = [&head[..], &one, &one].concat();
    let batch = parse_batch(&file).unwrap();
    let kept = decode(&one).unwrap();
    assert_eq!(batch.messages.len(), 2);
    for inner in &batch.messages {
        assert_eq!(batch.lines(inner), kept.lines);
        assert_eq!(inner.body, kept.body);
    }
}

#[test]
fn erased_and_control_records_are_refused_as_messages() {
    let proof = Proof::Salted {
        salt: [1; 32],
        id: Hash([2; 32]),
    };
    let mut gone = record(&Facts::default(), proof, b"secret");
    erase(&mut gone).unwrap();
    let error = parse_batch(&gone).unwrap_err();
    assert_eq!(error.reason, BatchReason::Content(ContentError::Erased));
    let tombstone = record(&Facts::of(Kind::Tombstone), proof, b"");
    let error = parse_batch(&tombstone).unwrap_err();
    let control = ContentError::Control {
        kind: "tombstone".into(),
    };
    assert_eq!(error.reason, BatchReason::Content(control));
}

proptest! {
    /// Whatever is accepted stores lines that the record's reader accepts too.
    #[test]
    fn stored_lines_always_make_a_record(
        headers in prop::collection::vec(("[a-z-]{1,12}|x-hbuf-(key|tag|meta-[a-z]+)|content-type",
            prop::collection::vec(any::<u8>(), 0..20)), 0..8),
        inner in any::<bool>(),
    ) {
        let mut lines = Vec::new();
        let source = if inner { Source::Inner } else { Source::Plain };
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        if stored_lines(headers, source, &mut lines).is_ok() {
            let frame = Frame {
                seq: Seq(7),
                time: Micros(1),
                epoch: Epoch(1),
                distance: 1,
                rest: 0,
                facts: &Facts::default(),
                lines: &lines,
                proof: Proof::Salted { salt: [1; 32], id: Hash([2; 32]) },
                body: b"",
            };
            let mut out = Vec::new();
            encode(&frame, &mut out);
            let decoded = decode(&out);
            prop_assert!(decoded.is_ok(), "{:?}", decoded);
            prop_assert_eq!(decoded.unwrap().lines, &lines);
            let batch = parse_batch(&out).unwrap();
            prop_assert_eq!(batch.lines(&batch.messages[0]), &lines);
        }
    }

    #[test]
    fn any_bytes_are_parsed_as_a_batch_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0..40_usize,
    ) {
        let mut text = GOOD.as_bytes()[..cut.min(GOOD.len())].to_vec();
        text.extend_from_slice(&bytes);
        let _ = parse_batch(&text);
    }
}
