//! The reply to an append: where the messages stand, and how far they came.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::append::AckLevel;
use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::name::Name;
use http::header::{HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{json_reply, typed_reply};
use crate::engine::{AppendReply, Buffer};
use crate::http::body::Body;
use crate::http::problem::Problem;

/// Where a message can be read, for `location`.
pub(super) struct Place<'a> {
    pub(super) tenant: Option<&'a str>,
    pub(super) buffer: &'a str,
}

pub(super) fn single_reply(
    buffer: &Buffer,
    done: &AppendReply,
    asked: AckLevel,
    place: &Place<'_>,
) -> Response<Body> {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status(done, asked);
    *reply.headers_mut() = headers(buffer.uuid(), done, asked, place);
    reply
}

pub(super) fn batch_reply(
    buffer: &Buffer,
    done: &AppendReply,
    asked: AckLevel,
    place: &Place<'_>,
    count: usize,
) -> Response<Body> {
    let appended = &done.appended;
    let mut value = json!({
        "first": appended.first.0,
        "last": appended.last.0,
        "count": count,
        "replayed": appended.replayed,
    });
    if !done.ids.is_empty() {
        value["ids"] = done.ids.iter().map(Hash::to_string).collect();
    }
    let mut reply = json_reply(status(done, asked), &value);
    reply
        .headers_mut()
        .extend(headers(buffer.uuid(), done, asked, place));
    reply
}

/// A line for each message, in the order in which they came.
pub(super) fn lines_reply(
    buffer: &Buffer,
    done: &AppendReply,
    asked: AckLevel,
    place: &Place<'_>,
) -> Response<Body> {
    let status = status(done, asked).as_u16();
    let mut text = String::with_capacity(done.ids.len() * LINE_GUESS);
    for (index, id) in done.ids.iter().enumerate() {
        let seq = done.appended.first.plus(index as u64);
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{{\"status\":{status},\"buffer\":\"{}\",\"seq\":{seq},\"id\":\"{id}\"}}",
            place.buffer
        );
    }
    let mut reply = typed_reply(StatusCode::OK, text, "application/x-ndjson");
    reply
        .headers_mut()
        .extend(headers(buffer.uuid(), done, asked, place));
    reply
}

/// What became of one message of a batch that was split.
pub(super) struct LineOf {
    /// The name of its buffer.
    pub(super) buffer: Name,
    /// Its number within what the buffer got, counting from 0.
    pub(super) index: usize,
    /// What became of all that the buffer got.
    pub(super) done: Result<Arc<AppendReply>, Arc<Problem>>,
}

/// A line for each message of a batch that was split over buffers; a refusal is a problem in a
/// line. `x-hbuf-ack` is the lowest level that any of them reached.
pub(super) fn split_reply(lines: impl Iterator<Item = LineOf>, asked: AckLevel) -> Response<Body> {
    let mut text = String::new();
    let mut level = AckLevel::InSync;
    for LineOf {
        buffer,
        index,
        done,
    } in lines
    {
        match done {
            Ok(done) => {
                let status = status(&done, asked).as_u16();
                level = level.min(done.appended.level);
                let seq = done.appended.first.plus(index as u64);
                let id = done.ids.get(index).copied().unwrap_or_default();
                // Writing into a string cannot fail.
                let _ = writeln!(
                    text,
                    "{{\"status\":{status},\"buffer\":\"{buffer}\",\"seq\":{seq},\"id\":\"{id}\"}}"
                );
            }
            Err(problem) => {
                let mut line = problem.document();
                line["buffer"] = buffer.as_str().into();
                let _ = writeln!(text, "{line}");
            }
        }
    }
    let mut reply = typed_reply(StatusCode::OK, text, "application/x-ndjson");
    let level = HeaderValue::from_static(level.as_str());
    reply.headers_mut().insert(ACK, level);
    reply
}

fn status(done: &AppendReply, asked: AckLevel) -> StatusCode {
    match (done.appended.replayed, asked) {
        (true, _) => StatusCode::OK,
        (false, AckLevel::InSync) => StatusCode::CREATED,
        (false, AckLevel::Local | AckLevel::None) => StatusCode::ACCEPTED,
    }
}

/// What every reply to an append says. All values are slices of one piece of memory.
fn headers(buffer: Uuid, done: &AppendReply, asked: AckLevel, place: &Place<'_>) -> HeaderMap {
    let appended = &done.appended;
    let mut values = Values {
        text: String::with_capacity(VALUES_GUESS),
        ends: [0; VALUES],
    };
    values.push(0, |text| {
        location(text, place, appended.last, &done.id, asked)
    });
    values.push(1, |text| write!(text, "{}", appended.first));
    values.push(2, |text| write!(text, "{}", done.id));
    values.push(3, |text| write!(text, "{buffer}"));
    values.push(4, |text| write!(text, "{}", appended.time));
    values.push(5, |text| write!(text, "{}", appended.epoch));
    values.push(6, |text| write!(text, "{}", appended.last));
    let cut = values.cut();
    let mut headers = HeaderMap::with_capacity(HEADERS_GUESS);
    for (name, value) in NAMES.iter().zip(cut) {
        if *name == LAST_SEQ && appended.first == appended.last {
            continue;
        }
        headers.insert(name, value);
    }
    headers.insert(ACK, HeaderValue::from_static(appended.level.as_str()));
    if appended.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    headers
}

/// Values of headers on their way, one behind the other.
struct Values {
    text: String,
    ends: [usize; VALUES],
}

impl Values {
    fn push(&mut self, index: usize, write: impl FnOnce(&mut String) -> std::fmt::Result) {
        // Writing into a string cannot fail.
        let _ = write(&mut self.text);
        self.ends[index] = self.text.len();
    }

    fn cut(self) -> [HeaderValue; VALUES] {
        let text = Bytes::from(self.text);
        let mut start = 0;
        self.ends.map(|end| {
            let value = HeaderValue::from_maybe_shared(text.slice(start..end));
            start = end;
            value.expect("names, digits and times are visible ASCII")
        })
    }
}

fn location(
    text: &mut String,
    place: &Place<'_>,
    seq: Seq,
    id: &Hash,
    asked: AckLevel,
) -> std::fmt::Result {
    if let Some(tenant) = place.tenant {
        write!(text, "/tenants/{tenant}")?;
    }
    write!(text, "/buffers/{}/messages/{seq}", place.buffer)?;
    if asked != AckLevel::InSync {
        write!(text, "?id={id}")?;
    }
    Ok(())
}

const VALUES: usize = 7;
const LAST_SEQ: HeaderName = HeaderName::from_static("x-hbuf-last-seq");
const ACK: HeaderName = HeaderName::from_static("x-hbuf-ack");
const REPLAYED: HeaderName = HeaderName::from_static("x-hbuf-replayed");
static NAMES: [HeaderName; VALUES] = [
    LOCATION,
    HeaderName::from_static("x-hbuf-seq"),
    HeaderName::from_static("x-hbuf-id"),
    HeaderName::from_static("x-hbuf-buffer"),
    HeaderName::from_static("x-hbuf-time"),
    HeaderName::from_static("x-hbuf-epoch"),
    LAST_SEQ,
];

/// Room for the values of a reply's headers.
const VALUES_GUESS: usize = 320;
/// Headers of a reply, those that hyper adds included.
const HEADERS_GUESS: usize = 12;
/// Room for a line of a topic's reply.
const LINE_GUESS: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use hbuf_core::append::Appended;
    use hbuf_core::ids::{Epoch, Micros};

    fn done(first: u64, last: u64, level: AckLevel, replayed: bool) -> AppendReply {
        let appended = Appended {
            first: Seq(first),
            last: Seq(last),
            id: None,
            time: Micros(1_795_173_322_123_456),
            epoch: Epoch(3),
            level,
            replayed,
            stream: None,
        };
        AppendReply {
            appended,
            id: Hash([0xa9; 32]),
            ids: Vec::new(),
        }
    }

    fn check(done: &AppendReply, asked: AckLevel, tenant: Option<&str>, expected: &[(&str, &str)]) {
        let place = Place {
            tenant,
            buffer: "orders",
        };
        let headers = headers(Uuid([0x11; 16]), done, asked, &place);
        let mut found: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .filter(|(name, _)| {
                !matches!(
                    *name,
                    "x-hbuf-id" | "x-hbuf-buffer" | "x-hbuf-time" | "x-hbuf-epoch"
                )
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(headers["x-hbuf-id"], "a9".repeat(32));
        assert_eq!(headers["x-hbuf-time"], "2026-11-20T11:15:22.123456Z");
        assert_eq!(headers["x-hbuf-epoch"], "3");
        assert_eq!(
            headers["x-hbuf-buffer"],
            "11111111-1111-1111-1111-111111111111"
        );
    }

    #[test]
    fn a_reply_says_where_the_message_stands_and_how_far_it_came() {
        let one = done(42, 42, AckLevel::InSync, false);
        let expected = [
            ("location", "/buffers/orders/messages/42"),
            ("x-hbuf-ack", "insync"),
            ("x-hbuf-seq", "42"),
        ];
        check(&one, AckLevel::InSync, None, &expected);
        assert_eq!(status(&one, AckLevel::InSync), 201);
        let id = "a9".repeat(32);
        let location = format!("/tenants/t/buffers/orders/messages/42?id={id}");
        let expected = [
            ("location", &location[..]),
            ("x-hbuf-ack", "none"),
            ("x-hbuf-seq", "42"),
        ];
        let framed = done(42, 42, AckLevel::None, false);
        check(&framed, AckLevel::None, Some("t"), &expected);
        assert_eq!(status(&framed, AckLevel::None), 202);
    }

    #[test]
    fn a_batch_names_its_last_seq_and_a_repeat_says_so() {
        let again = done(42, 44, AckLevel::InSync, true);
        let expected = [
            ("location", "/buffers/orders/messages/44"),
            ("x-hbuf-ack", "insync"),
            ("x-hbuf-last-seq", "44"),
            ("x-hbuf-replayed", "true"),
            ("x-hbuf-seq", "42"),
        ];
        check(&again, AckLevel::InSync, None, &expected);
        assert_eq!(status(&again, AckLevel::InSync), 200);
        assert_eq!(status(&again, AckLevel::None), 200);
    }
}
