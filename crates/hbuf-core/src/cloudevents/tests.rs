use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;

use super::attribute::decode_value;
use super::*;
use crate::ids::{Epoch, Hash, Micros, Seq};
use crate::record::{Facts, Frame, Proof, Record, decode, encode};

/// Strings of these tests have no escapes but these.
fn text_of(json: &str) -> Option<String> {
    let text = json.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.replace("\\n", "\n").replace("\\\"", "\""))
}

fn members<'a>(more: &[(&str, &'a str)]) -> Vec<Member<'a>> {
    let own = [
        ("specversion", "\"1.0\""),
        ("id", "\"7\""),
        ("source", "\"/s\""),
        ("type", "\"t\""),
    ];
    let set = |(name, _): &&(&str, &str)| more.iter().all(|(other, _)| other != name);
    let own: Vec<_> = own.iter().filter(set).chain(more).collect();
    let member = |(name, json): &&(&str, &'a str)| Member {
        name: (*name).to_string(),
        json,
    };
    own.iter().map(member).collect()
}

fn unfolded(
    more: &[(&str, &'static str)],
    lines: &str,
) -> Result<(String, Payload<'static>), String> {
    let event = unfold(&members(more), lines.as_bytes(), text_of);
    let event = event.map_err(|error| error.to_string())?;
    Ok((String::from_utf8(event.lines).unwrap(), event.payload))
}

/// What the event says besides what each of them says.
fn check(more: &[(&str, &'static str)], lines: &str, payload: Payload<'_>) {
    let own = "ce-specversion: 1.0\r\nce-id: 7\r\nce-source: /s\r\nce-type: t\r\n";
    let (stored, body) = unfolded(more, "").unwrap();
    let rest = stored.replace(own, "");
    assert_eq!((rest.as_str(), body), (lines, payload));
}

fn refused(more: &[(&str, &'static str)], part: &str) {
    let error = unfolded(more, "").unwrap_err();
    assert!(error.contains(part), "{error}");
}

#[test]
fn the_content_type_and_the_version_say_how_a_message_holds_an_event() {
    let check = |lines: &str, expected| assert_eq!(mode(lines.as_bytes()), expected, "{lines}");
    check("", Mode::None);
    check(
        "content-type: application/json\r\nce-type: t\r\n",
        Mode::None,
    );
    check(
        "content-type: text/plain\r\nce-specversion: 1.0\r\n",
        Mode::Binary,
    );
    check(
        "content-type: Application/CloudEvents+JSON; charset=utf-8\r\nce-specversion: 1.0\r\n",
        Mode::Structured,
    );
    check(
        "content-type: application/cloudevents-batch+json\r\n",
        Mode::Batch,
    );
    check(
        "content-type: application/cloudevents+json\r\ncontent-encoding: gzip\r\n",
        Mode::Coded,
    );
    check(
        "content-type: application/cloudevents+jsonx\r\n",
        Mode::None,
    );
}

#[test]
fn attributes_become_headers_and_data_the_body() {
    check(&[], "", Payload::None);
    check(
        &[("data", "{\"a\": 1}")],
        "content-type: application/json\r\n",
        Payload::Json("{\"a\": 1}"),
    );
    check(
        &[("data", "null"), ("datacontenttype", "\"a/b+json; x=1\"")],
        "content-type: a/b+json; x=1\r\n",
        Payload::Json("null"),
    );
    check(
        &[
            ("data", "\"<x/>\""),
            ("datacontenttype", "\"application/xml\""),
        ],
        "content-type: application/xml\r\n",
        Payload::Text("<x/>".into()),
    );
    check(
        &[
            ("data_base64", "\"/wA=\""),
            ("datacontenttype", "\"image/png\""),
            ("data", "null"),
        ][..2],
        "content-type: image/png\r\n",
        Payload::Bytes(vec![0xff, 0]),
    );
    check(
        &[("data_base64", "\"/w==\"")],
        "",
        Payload::Bytes(vec![0xff]),
    );
    check(
        &[
            ("subject", "\"Grö ße\\\"%\""),
            ("time", "\"2026-11-20T11:15:22.5+01:00\""),
            ("x", "null"),
        ],
        "ce-subject: Gr%C3%B6%20%C3%9Fe%22%25\r\nce-time: 2026-11-20T11:15:22.5+01:00\r\n",
        Payload::None,
    );
}

#[test]
fn types_that_headers_do_not_have_are_noted() {
    check(
        &[("n", "-5"), ("b", "true"), ("s", "\"5\"")],
        "ce-n: -5\r\nce-b: true\r\nce-s: 5\r\nx-hbuf-meta-ce-types: n=integer, b=boolean\r\n",
        Payload::None,
    );
    check(
        &[("data", "\"x\""), ("datacontenttype", "\"a/b\"")],
        "content-type: a/b\r\nx-hbuf-meta-ce-types: data=string\r\n",
        Payload::Text("x".into()),
    );
    check(
        &[
            ("data_base64", "\"MQ==\""),
            ("datacontenttype", "\"text/json\""),
        ],
        "content-type: text/json\r\nx-hbuf-meta-ce-types: data=binary\r\n",
        Payload::Bytes(b"1".to_vec()),
    );
}

#[test]
fn what_the_request_says_of_the_message_stays_and_what_the_event_says_wins() {
    let lines = "x-hbuf-tag: a\r\ncontent-type: application/cloudevents+json\r\nce-id: other\r\n\
        x-hbuf-meta-m: 1\r\n";
    let (stored, _) = unfolded(&[("partitionkey", "\"a b\"")], lines).unwrap();
    assert_eq!(
        stored,
        "x-hbuf-key: a%20b\r\nx-hbuf-tag: a\r\nx-hbuf-meta-m: 1\r\nce-specversion: 1.0\r\nce-id: 7\r\n\
         ce-source: /s\r\nce-type: t\r\nce-partitionkey: a%20b\r\n"
    );
    let (stored, _) = unfolded(&[("partitionkey", "\"a\"")], "x-hbuf-key: own\r\n").unwrap();
    assert!(stored.starts_with("x-hbuf-key: own\r\n"), "{stored}");
}

#[test]
fn an_event_that_is_none_is_refused_with_what_to_do() {
    for name in ["specversion", "id", "source", "type"] {
        refused(&[(name, "null")], &format!("`{name}` is missing"));
    }
    refused(
        &[("specversion", "\"0.3\"")],
        "`specversion` is not \"1.0\"",
    );
    for (name, json, part) in [
        ("id", "\"\"", "is empty"),
        ("source", "\"\"", "is empty"),
        ("subject", "\"\"", "is empty"),
        ("partitionkey", "\"\"", "is empty"),
        ("datacontenttype", "\"\"", "is empty"),
        ("id", "7", "is no string"),
        ("partitionkey", "7", "is no string"),
        ("datacontenttype", "7", "is no string"),
        ("datacontenttype", "\"json\"", "no media type"),
        ("datacontenttype", "\"a/b\\nc\"", "no media type"),
        ("datacontenttype", "\"a/é\"", "no media type"),
        (
            "datacontenttype",
            "\"application/cloudevents+json\"",
            "within another",
        ),
        ("source", "\"a b\"", "space"),
        ("dataschema", "\"a b\"", "space"),
        ("time", "\"yesterday\"", "RFC 3339"),
        ("x", "1.0", "32 bits"),
        ("x", "2147483648", "32 bits"),
        ("x", "[]", "neither a string"),
        ("x", "{}", "neither a string"),
        ("x", "\"a\\nb\"", "control character"),
        ("x", "\"\u{9f}\"", "control character"),
        ("x", "\"\u{ffff}\"", "stands for nothing"),
        ("X", "\"a\"", "no name of an attribute"),
        ("X", "null", "no name of an attribute"),
        ("a-b", "\"a\"", "no name of an attribute"),
        ("", "\"a\"", "no name of an attribute"),
        ("data_base64", "\"a\"", "not a string of base64"),
        ("data_base64", "1", "not a string of base64"),
    ] {
        refused(&[(name, json)], part);
    }
    refused(&[("x", "1"), ("x", "2")], "`x` came twice");
    refused(&[("data", "1"), ("data_base64", "\"\"")], "both");
    refused(
        &[("data", "1"), ("datacontenttype", "\"a/b\"")],
        "no string",
    );
    refused(
        &[
            ("data", "\"a\""),
            ("datacontenttype", "\"text/plain; charset=latin1\""),
        ],
        "charset",
    );
    let long = format!("\"{}\"", "v".repeat(64 << 10));
    let long = unfold(&members(&[("x", &long)]), b"", text_of);
    assert_eq!(long, Err(EventError::Content(ContentError::Bytes)));
}

#[test]
fn the_members_of_an_event_are_bounded() {
    let names: Vec<String> = (0..EVENT_MEMBERS_MAX).map(|at| format!("x{at}")).collect();
    let unset: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "null")).collect();
    let most = members(&unset[..EVENT_MEMBERS_MAX - 4]);
    assert!(unfold(&most, b"", text_of).is_ok());
    let one_more = members(&unset[..EVENT_MEMBERS_MAX - 3]);
    assert_eq!(unfold(&one_more, b"", text_of), Err(EventError::Members));
}

const BINARY: &str = "ce-specversion: 1.0\r\nce-id: 7\r\nce-source: /s\r\nce-type: t\r\n";

#[test]
fn an_event_in_headers_is_checked_and_kept() {
    assert_eq!(settle_binary(BINARY.as_bytes()), Ok(None));
    let keyed = format!("x-hbuf-key: k\r\n{BINARY}ce-partitionkey: a\r\n");
    assert_eq!(settle_binary(keyed.as_bytes()), Ok(None));
    let settled = settle_binary(format!("{BINARY}ce-partitionkey: a%20b\r\n").as_bytes());
    let settled = String::from_utf8(settled.unwrap().unwrap()).unwrap();
    assert_eq!(
        settled,
        format!("x-hbuf-key: a%20b\r\n{BINARY}ce-partitionkey: a%20b\r\n")
    );
    let refused = |line: &str, part: &str| {
        let error = settle_binary(format!("{BINARY}{line}\r\n").as_bytes()).unwrap_err();
        assert!(error.to_string().contains(part), "{line}: {error}");
    };
    refused("ce-id: 8", "twice");
    refused("ce-a-b: 8", "no name of an attribute");
    refused("ce-datacontenttype: a/b", "content-type");
    refused("ce-subject: ", "is empty");
    refused("ce-time: now", "RFC 3339");
    refused("ce-x: %C0%A0", "no UTF-8");
    refused("ce-x: %00", "control character");
    refused("content-type: json", "no media type");
    for missing in ["id", "source", "type"] {
        let lines = BINARY.replace(&format!("ce-{missing}: "), "x: ");
        let error = settle_binary(lines.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
    }
    let old = settle_binary(BINARY.replace("1.0", "0.3").as_bytes());
    assert_eq!(old, Err(EventError::Version));
}

#[test]
fn header_values_are_encoded_as_the_binding_says_and_older_ones_understood() {
    let mut out = Vec::new();
    encode_value("Euro € 😀", &mut out);
    assert_eq!(out, b"Euro%20%E2%82%AC%20%F0%9F%98%80");
    let check = |value: &[u8], expected: &str| assert_eq!(decode_value(value).unwrap(), expected);
    check(&out, "Euro € 😀");
    check(b"%e2%82%ac%41", "€A");
    check(b"\"a \\\"b\\\\\"", "a \"b\\");
    check("plain é".as_bytes(), "plain é");
    check(b"100%, %4", "100%, %4");
    check(b"%2541", "%41");
    for broken in [&b"%C0%A0"[..], b"%ff", b"\xff"] {
        assert_eq!(decode_value(broken), Err(Fault::Encoding));
    }
}

fn record(lines: &str, body: &[u8], out: &mut Vec<u8>) {
    let frame = Frame {
        seq: Seq(42),
        time: Micros(1_795_173_322_123_456),
        epoch: Epoch(3),
        distance: 1,
        rest: 0,
        facts: &Facts::default(),
        lines: lines.as_bytes(),
        proof: Proof::Salted {
            salt: [7; 32],
            id: Hash([0xa9; 32]),
        },
        body,
    };
    encode(&frame, out);
}

fn presented<'a>(record: &Record<'a>) -> (Vec<String>, Data<'a>) {
    let event = present(record, "/buffers/b", |body| body.starts_with(b"{")).unwrap();
    let text = |(name, value): &(String, Value)| match value {
        Value::Text(text) => format!("{name}={text}"),
        Value::Boolean(value) => format!("{name}:{value}"),
        Value::Integer(value) => format!("{name}:{value}"),
    };
    (event.attributes.iter().map(text).collect(), event.data)
}

fn check_presented(lines: &str, body: &[u8], attributes: &[&str], data: Data<'_>) {
    let mut bytes = Vec::new();
    record(lines, body, &mut bytes);
    let (shown, found) = presented(&decode(&bytes).unwrap());
    assert_eq!(shown, attributes);
    assert_eq!(found, data);
}

#[test]
fn a_source_is_the_path_of_the_buffer() {
    let name = |text| Name::parse(text).unwrap();
    assert_eq!(source_of(&Name::default_tenant(), &name("b")), "/buffers/b");
    assert_eq!(
        source_of(&name("coke"), &name("b")),
        "/tenants/coke/buffers/b"
    );
}

#[test]
fn a_message_that_is_no_event_becomes_one() {
    let id = format!("id={}", "a9".repeat(32));
    let own = [
        "specversion=1.0",
        &id,
        "source=/buffers/b",
        "type=hbuf.message",
        "time=2026-11-20T11:15:22.123456Z",
    ];
    let bytes = [&own[..], &["datacontenttype=application/octet-stream"]].concat();
    check_presented("", b"hi", &bytes, Data::Bytes(b"hi"));
    check_presented("", b"", &own, Data::None);
    let text = [
        &own[..],
        &["partitionkey=\"a b\"", "datacontenttype=text/plain"],
    ]
    .concat();
    check_presented(
        "x-hbuf-key: \"a%20b\"\r\ncontent-type: text/plain\r\nx: 1\r\n",
        b"hi",
        &text,
        Data::Text("hi"),
    );
    let mut named = own.to_vec();
    named[3] = "type=order";
    check_presented("ce-type: order\r\nce-a-b: 1\r\n", b"", &named, Data::None);
    let coded = [
        &own[..],
        &["datacontenttype=text/plain", "contentencoding=gzip"],
    ]
    .concat();
    check_presented(
        "content-type: text/plain\r\ncontent-encoding: gzip\r\n",
        b"hi",
        &coded,
        Data::Bytes(b"hi"),
    );
}

#[test]
fn what_is_erased_or_hbufs_own_is_no_event() {
    let shown = |facts: &Facts, lines: &[u8], proof| {
        let frame = Frame {
            seq: Seq(42),
            time: Micros(0),
            epoch: Epoch(3),
            distance: 1,
            rest: 0,
            facts,
            lines,
            proof,
            body: b"0000",
        };
        let mut bytes = Vec::new();
        encode(&frame, &mut bytes);
        present(&decode(&bytes).unwrap(), "/buffers/b", |_| true).is_some()
    };
    let id = Hash([0xa9; 32]);
    let live = Proof::Salted { salt: [7; 32], id };
    let gone = Proof::Gone {
        commitment: Hash([1; 32]),
        id,
    };
    let own = Facts {
        kind: crate::record::Kind::Tombstone,
        ..Facts::default()
    };
    assert!(shown(&Facts::default(), BINARY.as_bytes(), live));
    assert!(!shown(&Facts::default(), b"xxx: 000\r\n", gone));
    assert!(!shown(&own, BINARY.as_bytes(), live));
}

#[test]
fn an_event_is_given_back_with_its_types() {
    let own = ["specversion=1.0", "id=7", "source=/s", "type=t"];
    let check = |lines: &str, body: &[u8], more: &[&str], data| {
        let all = [&own[..], more].concat();
        check_presented(&format!("{lines}{BINARY}"), body, &all, data);
    };
    check("", b"", &[], Data::None);
    check("", b"{}", &[], Data::Bytes(b"{}"));
    check("x-hbuf-key: k\r\n", b"", &[], Data::None);
    let json = ["datacontenttype=application/json"];
    let of_json = "content-type: application/json\r\n";
    check(
        of_json,
        b" {\"a\":1}\n",
        &json,
        Data::Bytes(b" {\"a\":1}\n"),
    );
    check(of_json, b"{\"a\":1}\n", &json, Data::Json(b"{\"a\":1}"));
    check(of_json, b"no", &json, Data::Bytes(b"no"));
    check(
        "content-type: text/csv\r\n",
        b"\xff",
        &["datacontenttype=text/csv"],
        Data::Bytes(b"\xff"),
    );
    let all = [&own[..], &["n:-5", "b:true", "s=5"]].concat();
    check_presented(
        &format!("{BINARY}ce-n: -5\r\nce-b: true\r\nce-s: 5\r\n{TYPES}: n=integer, b=boolean\r\n"),
        b"",
        &all,
        Data::None,
    );
    check_presented(
        &format!("{BINARY}{TYPES}: data=binary, id=integer\r\n"),
        b"",
        &["specversion=1.0", "id:7", "source=/s", "type=t"],
        Data::Bytes(b""),
    );
}

proptest! {
    #[test]
    fn what_is_taken_in_headers_is_given_back_whole(
        pairs in prop::collection::vec(("[a-z0-9]{1,3}", r#"([!-~]|%[0-9A-Fa-f]{2}|é| ){0,6}"#), 0..4),
    ) {
        let value = |text: &String| text.trim().to_string();
        let more: String = pairs
            .iter()
            .map(|(name, text)| format!("ce-{name}: {}\r\n", value(text)))
            .collect();
        let lines = format!("{BINARY}{more}");
        if settle_binary(lines.as_bytes()).is_err() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        record(&lines, b"", &mut bytes);
        let (shown, _) = presented(&decode(&bytes).unwrap());
        prop_assert_eq!(shown.len(), 4 + pairs.len());
        for (name, text) in &pairs {
            let expected = format!("{name}={}", decode_value(value(text).as_bytes()).unwrap());
            prop_assert!(shown.contains(&expected), "{} in {:?}", expected, shown);
        }
    }
}

#[test]
fn what_is_stored_of_an_event_gives_the_same_event() {
    let all = [
        ("subject", "\"Grö ße \\\"100%\\\"\""),
        ("n", "5"),
        ("b", "false"),
        ("s", "\"false\""),
        ("empty", "\"\""),
        ("datacontenttype", "\"application/x-own\""),
        ("data", "\"Text\""),
    ];
    let event = unfold(&members(&all), b"", text_of).unwrap();
    let mut bytes = Vec::new();
    record(
        core::str::from_utf8(&event.lines).unwrap(),
        b"Text",
        &mut bytes,
    );
    let (mut shown, data) = presented(&decode(&bytes).unwrap());
    assert_eq!(data, Data::Text("Text"));
    shown.sort_unstable();
    let mut expected = [
        "specversion=1.0",
        "id=7",
        "source=/s",
        "type=t",
        "subject=Grö ße \"100%\"",
        "n:5",
        "b:false",
        "s=false",
        "empty=",
        "datacontenttype=application/x-own",
    ];
    expected.sort_unstable();
    assert_eq!(shown, expected);
}
