//! What requests and replies of streams have in common: the path, the headers, the offsets.

use std::sync::Arc;

use hbuf_core::append::AppendRefused;
use hbuf_core::ids::Seq;
use hbuf_core::limits::{STREAM_PRODUCER_MAX, STREAM_SEQ_BYTES_MAX};
use hbuf_core::name::Name;
use hbuf_core::record::Producer;
use hbuf_core::stream::{StreamSeen, StreamView, producer_id, stream_path, writer_seq};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

use crate::engine::Buffer;
use crate::http::browser::{confine, may_show};
use crate::http::call::{Call, is_coded, shown, single};
use crate::http::problem::{Code, Problem};

pub(super) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(super) const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
pub(super) const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(super) const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
pub(super) const TTL: HeaderName = HeaderName::from_static("stream-ttl");
pub(super) const EXPIRES_AT: HeaderName = HeaderName::from_static("stream-expires-at");
pub(super) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(super) const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
const STREAM_SEQ: HeaderName = HeaderName::from_static("stream-seq");
pub(super) const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The name of the buffer that the path means. What is reserved, and forks, are refused here for
/// every method alike.
pub(super) fn buffer_name(call: &Call) -> Result<Name, Box<Problem>> {
    let path = call.name();
    if path == RESERVED || path.starts_with("__ds/") {
        return Err(Problem::new(
            Code::NotSupported,
            "Paths below `__ds` are reserved for subscriptions, which this server does not have: follow \
             the stream itself, with ?offset=now&live=sse.",
        ));
    }
    stream_path::buffer_name(path).map_err(|error| {
        Problem::new(
            Code::NameInvalid,
            format!("`{}` is no path of a stream: {error}.", shown(path)),
        )
    })
}

/// The first segment that the protocol keeps for itself.
const RESERVED: &str = "__ds";

/// The stream that the request means, for an append or a read; it may be gone when it is used.
pub(super) async fn find(call: &Call) -> Result<Arc<Buffer>, Box<Problem>> {
    let name = buffer_name(call)?;
    let found = call.app.engine.stream(call.tenant(), &name).await?;
    found.ok_or_else(|| not_found(call))
}

/// The stream that was seen, or why there is none.
pub(super) fn live(call: &Call, seen: StreamSeen) -> Result<StreamView, Box<Problem>> {
    match seen {
        StreamSeen::Live(view) => Ok(view),
        StreamSeen::NotOpen => Err(AppendRefused::NotOpen.into()),
        StreamSeen::None | StreamSeen::Expired => Err(not_found(call)),
    }
}

pub(super) fn not_found(call: &Call) -> Box<Problem> {
    Problem::new(
        Code::StreamNotFound,
        format!(
            "There is no stream at `{}`, or it has expired: create it with PUT.",
            shown(call.name())
        ),
    )
}

/// `stream-closed`: only `true` counts, whatever its case; other values say nothing.
pub(super) fn closes(headers: &HeaderMap) -> bool {
    let closed = headers.get(&CLOSED).map(HeaderValue::as_bytes);
    closed.is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
}

/// The three headers of a producer: all of them or none.
pub(super) fn producer(headers: &HeaderMap) -> Result<Option<Producer>, Box<Problem>> {
    let given = [&PRODUCER_ID, &PRODUCER_EPOCH, &PRODUCER_SEQ].map(|name| single(headers, name));
    let [id, epoch, seq] = given;
    let (id, epoch, seq) = match (id?, epoch?, seq?) {
        (None, None, None) => return Ok(None),
        (Some(id), Some(epoch), Some(seq)) => (id, epoch, seq),
        _ => {
            return Err(invalid(
                "`producer-id`, `producer-epoch` and `producer-seq` go together: send all three or none.",
            ));
        }
    };
    let id = producer_id(id).ok_or_else(|| {
        invalid("`producer-id` is empty, or has more than 128 bytes, percent-encoded: send a short name.")
    })?;
    Ok(Some(Producer {
        id,
        epoch: number(&PRODUCER_EPOCH, epoch)?,
        number: number(&PRODUCER_SEQ, seq)?,
    }))
}

fn number(name: &HeaderName, text: &str) -> Result<u64, Box<Problem>> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok();
    number
        .filter(|&number| digits && number <= STREAM_PRODUCER_MAX)
        .ok_or_else(|| {
            invalid(&format!(
                "`{name}: {}` is no number: send decimal digits, 0 to {STREAM_PRODUCER_MAX}.",
                shown(text)
            ))
        })
}

/// `stream-seq`.
pub(super) fn seq(headers: &HeaderMap) -> Result<Option<Box<str>>, Box<Problem>> {
    let Some(text) = single(headers, &STREAM_SEQ)? else {
        return Ok(None);
    };
    writer_seq(text).map(Some).ok_or_else(|| {
        invalid(&format!(
            "`stream-seq` is 1 to {STREAM_SEQ_BYTES_MAX} bytes of visible ASCII."
        ))
    })
}

/// Refuses what means something on buffers and nothing here: it would be a promise not kept.
pub(super) fn refuse_buffer_controls(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    for name in [
        "x-hbuf-producer",
        "x-hbuf-ack",
        "idempotency-key",
        "if-match",
    ] {
        if headers.contains_key(name) {
            return Err(invalid(&format!(
                "`{name}` goes with /buffers and /topics. Streams have `producer-id`, `producer-epoch` and \
                 `producer-seq` for safe retries, `stream-seq` for order, and answer when a message is durable."
            )));
        }
    }
    if is_coded(headers) {
        return Err(Problem::new(
            Code::ContentTypeUnsupported,
            "A stream's messages are one run of bytes without an encoding of their own: send them without \
             `content-encoding`.",
        ));
    }
    Ok(())
}

pub(super) fn invalid(detail: &str) -> Box<Problem> {
    Problem::new(Code::HeaderInvalid, detail)
}

/// An offset as clients see it: as long for every seq, so that it sorts as text.
pub(super) fn offset(seq: Seq) -> HeaderValue {
    HeaderValue::try_from(offset_text(seq)).expect("digits are visible ASCII")
}

pub(super) fn offset_text(seq: Seq) -> String {
    format!("{:020}", seq.0)
}

/// Reads what [`offset`] wrote.
pub(super) fn parse_offset(text: &str) -> Option<Seq> {
    let digits = text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    let seq = text.parse().ok().map(Seq).filter(|_| digits)?;
    (seq <= Seq::MAX).then_some(seq)
}

/// What every good reply says.
pub(super) fn base_headers(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("authorization"));
    confine(&mut headers);
    headers
}

/// What a reply with the stream's content says.
pub(super) fn content_headers(view: &StreamView) -> HeaderMap {
    let content_type = view.definition.content_type();
    let mut headers = base_headers(content_type);
    if !may_show(content_type.as_bytes()) {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn offsets_sort_as_their_seqs_and_nothing_else_is_one() {
        assert!(offset_text(Seq(9)) < offset_text(Seq(10)));
        assert_eq!(parse_offset(&offset_text(Seq::MAX)), Some(Seq::MAX));
        for text in [
            "",
            "0",
            "-1",
            "now",
            "0000000000000000001",
            "+0000000000000000001",
            "99999999999999999999",
        ] {
            assert_eq!(parse_offset(text), None, "{text}");
        }
    }

    #[test]
    fn a_producer_has_three_headers_or_none() {
        assert_eq!(producer(&headers(&[])).unwrap(), None);
        let all = [
            ("producer-id", "a b/c"),
            ("producer-epoch", "0"),
            ("producer-seq", "9007199254740991"),
        ];
        let read = producer(&headers(&all)).unwrap().unwrap();
        assert_eq!(
            (&*read.id, read.epoch, read.number),
            ("a%20b%2Fc", 0, STREAM_PRODUCER_MAX)
        );
        for bad in [
            &all[..2],
            &all[1..],
            &[("producer-id", ""), all[1], all[2]],
            &[all[0], ("producer-epoch", "1e3"), all[2]],
            &[all[0], ("producer-epoch", "-1"), all[2]],
            &[all[0], all[1], ("producer-seq", "9007199254740992")],
            &[all[0], all[1], ("producer-seq", "")],
        ] {
            let refused = producer(&headers(bad)).unwrap_err();
            assert_eq!(refused.code, Code::HeaderInvalid, "{bad:?}");
        }
    }

    #[test]
    fn only_true_closes() {
        assert!(closes(&headers(&[("stream-closed", "TRUE")])));
        for value in ["", "1", "yes", "false", "true, true"] {
            assert!(!closes(&headers(&[("stream-closed", value)])), "{value}");
        }
    }

    #[test]
    fn what_only_buffers_understand_is_refused() {
        for name in [
            "x-hbuf-ack",
            "if-match",
            "idempotency-key",
            "x-hbuf-producer",
        ] {
            let refused = refuse_buffer_controls(&headers(&[(name, "x")])).unwrap_err();
            assert_eq!(refused.code, Code::HeaderInvalid, "{name}");
        }
        let refused =
            refuse_buffer_controls(&headers(&[("content-encoding", "gzip")])).unwrap_err();
        assert_eq!(refused.code, Code::ContentTypeUnsupported);
    }
}
