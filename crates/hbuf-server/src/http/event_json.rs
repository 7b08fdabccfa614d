//! CloudEvents as JSON: an object or an array of them taken apart, and a message written as one.
//! What is an event, and what becomes of it, is decided in `hbuf_core::cloudevents`.

use std::fmt;
use std::io::Write as _;

use bytes::Bytes;
use hbuf_core::cloudevents::{
    Data, EventError, Member, Mode, Payload, Value, mode, present, settle_binary, unfold,
};
use hbuf_core::limits::{BATCH_MESSAGES_MAX, EVENT_MEMBERS_MAX};
use hbuf_core::record::Record;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json::to_base64;
use super::ndjson::Parsed;

/// What a message is stored as: one that is an event in JSON as its headers and data, one that says
/// in its headers that it is an event as it came, once it was checked, and any other as it is.
pub(crate) fn settle((lines, body): Parsed) -> Result<Parsed, EventError> {
    match mode(&lines) {
        Mode::None => Ok((lines, body)),
        Mode::Binary => {
            let with_key = settle_binary(&lines)?;
            Ok((with_key.map_or(lines, Bytes::from), body))
        }
        Mode::Structured => take(&lines, &body, &body),
        Mode::Coded => Err(EventError::Encoded),
        Mode::Batch => Err(EventError::BatchInside),
    }
}

/// The events of a batch, each as a message; an error says which of them is wrong.
pub(crate) fn settle_batch(body: &Bytes) -> Result<Vec<Parsed>, (usize, EventError)> {
    let events: Elements<'_> = serde_json::from_slice(body).map_err(|error| {
        let what = error.to_string().into();
        (0, EventError::NoArray { what })
    })?;
    let events = events.0.iter().enumerate();
    let taken = events.map(|(index, event)| {
        take(b"", body, event.get().as_bytes()).map_err(|error| (index, error))
    });
    taken.collect()
}

/// Makes a message of the event that stands in `json`, a part of `whole`.
fn take(lines: &[u8], whole: &Bytes, json: &[u8]) -> Result<Parsed, EventError> {
    let object: Object<'_> = serde_json::from_slice(json).map_err(|error| EventError::Json {
        what: error.to_string().into(),
    })?;
    let event = unfold(&object.0, lines, |text| serde_json::from_str(text).ok())?;
    let body = match event.payload {
        Payload::None => Bytes::new(),
        Payload::Json(json) => whole.slice_ref(json.as_bytes()),
        Payload::Text(text) => text.into(),
        Payload::Bytes(bytes) => bytes.into(),
    };
    Ok((event.lines.into(), body))
}

/// Appends the event that a message is, an object of JSON; false when it is none.
pub(crate) fn push_event(source: &str, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    let is_json = |body: &[u8]| serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let Some(event) = present(record, source, is_json) else {
        return false;
    };
    let mut before = b'{';
    for (name, value) in &event.attributes {
        out.push(before);
        push(name, out);
        out.push(b':');
        match value {
            Value::Text(text) => push(text, out),
            Value::Boolean(value) => push(value, out),
            Value::Integer(value) => push(value, out),
        }
        before = b',';
    }
    match event.data {
        Data::None => {}
        Data::Json(json) => {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(json);
        }
        Data::Text(text) => {
            out.extend_from_slice(b",\"data\":");
            push(text, out);
        }
        // Writing into a vector cannot fail.
        Data::Bytes(bytes) => {
            let _ = write!(out, ",\"data_base64\":\"{}\"", to_base64(bytes));
        }
    }
    out.push(b'}');
    true
}

fn push<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text, numbers and truth are JSON");
}

/// The elements of an array, not looked into; no more than a batch has.
struct Elements<'a>(Vec<&'a RawValue>);

/// The members of an object, in order; not many more than an event has.
struct Object<'a>(Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Elements<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = from.next_element::<&RawValue>()? {
                    if elements.len() <= BATCH_MESSAGES_MAX {
                        elements.push(element);
                    }
                }
                Ok(Elements(elements))
            }
        }
        from.deserialize_seq(Reader)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Object<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, json)) = from.next_entry::<String, &RawValue>()? {
                    if members.len() <= EVENT_MEMBERS_MAX {
                        let json = json.get();
                        members.push(Member { name, json });
                    }
                }
                Ok(Object(members))
            }
        }
        from.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json::tests::{LIVE, framed};
    use hbuf_core::record::decode;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The event of a message with these lines and this body.
    fn event(lines: &[u8], body: &[u8]) -> String {
        let bytes = framed(lines, body, LIVE);
        let mut out = Vec::new();
        assert!(push_event("/buffers/b", &decode(&bytes).unwrap(), &mut out));
        String::from_utf8(out).unwrap()
    }

    /// An event that is appended as JSON and read as JSON is the same JSON, members in this order.
    fn comes_back(members: &str) {
        let own = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t""#;
        let json = format!("{own}{members}}}");
        let lines = Bytes::from_static(b"content-type: application/cloudevents+json\r\n");
        let (lines, body) = settle((lines, Bytes::from(json.clone()))).unwrap();
        assert_eq!(event(&lines, &body), json);
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        comes_back("");
        comes_back(
            r#","datacontenttype":"application/json","data":{"a":[1.0,12345678901234567890123]}"#,
        );
        comes_back(r#","datacontenttype":"application/json","data":null"#);
        comes_back(r#","datacontenttype":"application/json","data":"text""#);
        comes_back(r#","datacontenttype":"application/json","data_base64":"MQ==""#);
        comes_back(r#","datacontenttype":"text/plain","data":"a\n\"b\"ü""#);
        comes_back(r#","datacontenttype":"text/plain","data":"""#);
        comes_back(r#","datacontenttype":"text/plain","data_base64":"""#);
        comes_back(r#","datacontenttype":"text/plain","data_base64":"MQ==""#);
        comes_back(r#","datacontenttype":"text/plain; charset=latin1","data_base64":"MQ==""#);
        comes_back(r#","datacontenttype":"a/b","data":"text""#);
        comes_back(r#","datacontenttype":"a/b","data_base64":"/w==""#);
        comes_back(
            r#","subject":"Größe \"5\" %41","time":"2026-11-20T11:15:22Z","n":-5,"s":"-5","b":true"#,
        );
        comes_back(r#","data_base64":"/w==""#);
    }

    proptest! {
        #[test]
        fn any_event_comes_back_as_it_was(
            id in r#"[^\p{Cc}\p{Cn}\p{Co}]{1,20}"#,
            text in r#"[^\p{Cc}\p{Cn}\p{Co}]{0,40}"#,
            number: i32,
            truth: bool,
            data in prop_oneof![
                any::<f64>().prop_filter("JSON has no such number", |n| n.is_finite()).prop_map(|n| json!(n)),
                ".*".prop_map(Value::String),
                prop::collection::btree_map(".*", any::<i64>(), 0..5).prop_map(|map| json!(map)),
            ],
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            kind in prop::sample::select(vec![
                "application/json", "a/b+json", "text/plain", "text/csv; charset=latin1", "a/b", "",
            ]),
        ) {
            let mut sent = json!({
                "specversion": "1.0", "id": id, "source": "/s", "type": "t",
                "text": text, "number": number, "truth": truth,
            });
            if !kind.is_empty() {
                sent["datacontenttype"] = kind.into();
            }
            match &data {
                Value::String(_) if kind == "text/plain" || kind == "a/b" => sent["data"] = data,
                _ if kind.ends_with("json") => sent["data"] = data,
                _ => sent["data_base64"] = to_base64(&bytes).into(),
            }
            if kind.is_empty() && bytes.is_empty() {
                sent["data_base64"] = "AA==".into();
            }
            let lines = Bytes::from_static(b"content-type: application/cloudevents+json\r\n");
            let sent = sent.to_string();
            let (lines, body) = settle((lines, Bytes::from(sent.clone()))).unwrap();
            // Both are read here, since a number that is written may read as its neighbour.
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(read(&event(&lines, &body)), read(&sent));
        }
    }

    #[test]
    fn data_without_a_type_is_json() {
        let lines = Bytes::from_static(b"content-type: application/cloudevents+json\r\n");
        let json = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t", "data": [ 1 ] }"#;
        let (lines, body) = settle((lines, Bytes::from(json))).unwrap();
        assert_eq!(body, "[ 1 ]");
        let shown = event(&lines, &body);
        assert!(
            shown.ends_with(r#""datacontenttype":"application/json","data":[ 1 ]}"#),
            "{shown}"
        );
    }

    #[test]
    fn what_is_no_event_is_refused_and_named_in_a_batch() {
        let good = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t"}"#;
        let check = |text: &str, index: usize, part: &str| {
            let (at, error) = settle_batch(&Bytes::from(text.to_owned())).unwrap_err();
            let error = error.to_string();
            assert!(at == index && error.contains(part), "{text}: {at} {error}");
        };
        assert_eq!(
            settle_batch(&Bytes::from(format!(" [{good}, {good}]")))
                .unwrap()
                .len(),
            2
        );
        check(good, 0, "a batch is a JSON array of events");
        check("{}", 0, "invalid type: map, expected an array of events");
        check("[{}", 0, "EOF");
        check("[{}]", 0, "specversion");
        check(&format!("[{good},1]"), 1, "object");
        check(&format!("[{good},{{\"id\":1}}]"), 1, "no string");
        let twice = r#"[{"id":"1","i\u0064":"2"}]"#;
        check(twice, 0, "`id` came twice");
        let surrogate = r#"[{"id":"\ud800"}]"#;
        check(surrogate, 0, "`id` holds");
        let (_, error) = settle_batch(&Bytes::from_static(b"[\"\xff\"]")).unwrap_err();
        assert!(matches!(error, EventError::NoArray { .. }));
    }

    #[test]
    fn deep_json_is_kept_and_many_members_are_not_held() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        comes_back(&format!(
            r#","datacontenttype":"application/json","data":{deep}"#
        ));
        let members: Vec<String> = (0..100_000).map(|at| format!("\"x{at}\":null")).collect();
        let body = Bytes::from(format!("[{{{}}}]", members.join(",")));
        assert_eq!(settle_batch(&body).unwrap_err(), (0, EventError::Members));
    }
}
