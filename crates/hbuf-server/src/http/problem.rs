//! Refusals: RFC 9457 problems. One table says of each code its status, title and whether to retry.
//!
//! A code exists only where a client would act differently. Each has a paragraph in `docs/API.md`;
//! a test compares both. The sentence of a problem (`detail`) says what to do.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use super::body::Body;

/// Whether the same request may succeed later, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Not before the request or the state of things is changed by someone.
    No,
    /// After so many seconds.
    After(u64),
}

/// The facts of a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) status: StatusCode,
    /// The last part of the type.
    pub(crate) slug: &'static str,
    pub(crate) title: &'static str,
    pub(crate) retry: Retry,
}

macro_rules! codes {
    ($($code:ident => $status:ident, $slug:literal, $title:literal, $retry:expr;)*) => {
        /// What can be wrong, from the client's point of view.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $($code,)* }

        impl Code {
            /// Every code, in the order of the table.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$code,)*];

            /// The table.
            pub(crate) const fn row(self) -> Row {
                match self {
                    $(Self::$code => Row {
                        status: StatusCode::$status, slug: $slug, title: $title, retry: $retry,
                    },)*
                }
            }

            /// The type of its problems.
            pub(crate) fn kind(self) -> String {
                format!("urn:hbuf:problem:{}", self.row().slug)
            }
        }
    };
}

codes! {
    HeaderInvalid => BAD_REQUEST, "header-invalid", "A header cannot be understood", Retry::No;
    QueryInvalid => BAD_REQUEST, "query-invalid", "The query cannot be understood", Retry::No;
    NameInvalid => BAD_REQUEST, "name-invalid", "This is not a name", Retry::No;
    SeqInvalid => BAD_REQUEST, "seq-invalid", "This is not a seq", Retry::No;
    CursorInvalid => BAD_REQUEST, "cursor-invalid", "This is not a cursor of this topic", Retry::No;
    BodyInvalid => BAD_REQUEST, "body-invalid", "The body cannot be understood", Retry::No;
    BodyCut => BAD_REQUEST, "body-cut", "The body ended too early", Retry::No;
    BatchInvalid => BAD_REQUEST, "batch-invalid", "A message of the batch is wrong", Retry::No;
    ConfigInvalid => BAD_REQUEST, "config-invalid", "The configuration is out of range", Retry::No;
    OffsetInvalid => BAD_REQUEST, "offset-invalid", "This is not an offset of the stream", Retry::No;
    ProducerStart => BAD_REQUEST, "producer-start", "A new producer epoch starts at 0", Retry::No;
    FilterInvalid => BAD_REQUEST, "filter-invalid", "A line of the filter is no tag", Retry::No;
    RequestMalformed => BAD_REQUEST, "request-malformed", "This is not HTTP", Retry::No;
    ProducerStale => FORBIDDEN, "producer-stale", "A newer producer writes to the stream", Retry::No;
    OriginRefused => FORBIDDEN, "origin-refused", "This web page may not call this server", Retry::No;
    RouteNotFound => NOT_FOUND, "route-not-found", "There is nothing at this path", Retry::No;
    TenantNotFound => NOT_FOUND, "tenant-not-found", "There is no such tenant", Retry::No;
    BufferNotFound => NOT_FOUND, "buffer-not-found", "There is no such buffer", Retry::No;
    TopicNotFound => NOT_FOUND, "topic-not-found", "There is no such topic", Retry::No;
    StreamNotFound => NOT_FOUND, "stream-not-found", "There is no such stream", Retry::No;
    MessageNotFound => NOT_FOUND, "message-not-found", "There is no such message yet", Retry::No;
    FilterNotFound => NOT_FOUND, "filter-not-found", "There is no such filter", Retry::No;
    ConsumerNotFound => NOT_FOUND, "consumer-not-found", "There is no such consumer", Retry::No;
    ProofInvalid => NOT_FOUND, "proof-invalid", "There is no such proof", Retry::No;
    MethodNotAllowed => METHOD_NOT_ALLOWED, "method-not-allowed", "This path has no such method", Retry::No;
    NotAcceptable => NOT_ACCEPTABLE, "not-acceptable", "None of the accepted types is served here", Retry::No;
    RequestSlow => REQUEST_TIMEOUT, "request-slow", "The request came too slowly", Retry::After(1);
    NameTaken => CONFLICT, "name-taken", "The name is taken", Retry::No;
    NamedMissing => CONFLICT, "named-missing", "What the body names does not exist", Retry::No;
    InTopics => CONFLICT, "in-topics", "The buffer is in a topic", Retry::No;
    LastTopic => CONFLICT, "last-topic", "It is a buffer's last topic", Retry::No;
    VersionDiffers => CONFLICT, "version-differs", "Someone else changed it", Retry::No;
    LimitReached => CONFLICT, "limit-reached", "There are as many as there can be", Retry::No;
    BeingCreated => CONFLICT, "being-created", "It is being created or deleted", Retry::After(1);
    TopicTooWide => CONFLICT, "topic-too-wide", "The topic has more buffers than a cursor holds", Retry::No;
    SeveralBuffers => CONFLICT, "several-buffers", "The topic has several buffers", Retry::No;
    FilterBusy => CONFLICT, "filter-busy", "The filter is being uploaded", Retry::After(1);
    MirrorCycle => CONFLICT, "mirror-cycle", "The buffer to follow follows this one", Retry::No;
    StartFixed => CONFLICT, "start-fixed", "The consumer has started", Retry::No;
    DeadLetterCycle => CONFLICT, "dead-letter-cycle", "Dead letters would come back", Retry::No;
    TakesDeadLetters => CONFLICT, "takes-dead-letters", "The buffer takes dead letters", Retry::No;
    BufferIsMirror => CONFLICT, "buffer-is-mirror", "The buffer is a mirror", Retry::No;
    BufferClosed => CONFLICT, "buffer-closed", "The buffer is closed", Retry::No;
    BufferIsStream => CONFLICT, "buffer-is-stream", "The buffer is a stream", Retry::No;
    StreamClosed => CONFLICT, "stream-closed", "The stream is closed", Retry::No;
    StreamDiffers => CONFLICT, "stream-differs", "The stream exists otherwise", Retry::No;
    StreamTypeDiffers => CONFLICT, "stream-type-differs", "The stream has another content type", Retry::No;
    StreamSeqOld => CONFLICT, "stream-seq-old", "A later Stream-Seq was appended", Retry::No;
    ProducerGap => CONFLICT, "producer-gap", "A producer number was skipped", Retry::No;
    ProducerFenced => CONFLICT, "producer-fenced", "A newer producer has taken over", Retry::No;
    HistoryDiffers => CONFLICT, "history-differs", "The buffer has another history", Retry::No;
    ReplyGone => CONFLICT, "reply-gone", "The earlier reply is gone", Retry::No;
    MessageDropped => GONE, "message-dropped", "Retention dropped the messages", Retry::No;
    MessageErased => GONE, "message-erased", "The message was erased", Retry::No;
    MessageReplaced => GONE, "message-replaced", "Another message has this seq", Retry::No;
    EndDiffers => PRECONDITION_FAILED, "end-differs", "The log ends elsewhere", Retry::No;
    BodyTooLarge => PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large", Retry::No;
    TargetTooLong => URI_TOO_LONG, "target-too-long", "The path or query is too long", Retry::No;
    ContentTypeUnsupported => UNSUPPORTED_MEDIA_TYPE, "content-type-unsupported", "This content type is not taken here", Retry::No;
    HostRefused => MISDIRECTED_REQUEST, "host-refused", "The request names another host", Retry::No;
    NotPrimary => MISDIRECTED_REQUEST, "not-primary", "Another node leads the buffer", Retry::After(1);
    KeyReused => UNPROCESSABLE_ENTITY, "key-reused", "The idempotency key belongs to other content", Retry::No;
    BufferPaused => LOCKED, "buffer-paused", "The buffer is paused", Retry::No;
    HeadTooLarge => REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "The headers are too large", Retry::No;
    LogDamaged => INTERNAL_SERVER_ERROR, "log-damaged", "A file of the log is damaged", Retry::No;
    FilterDamaged => INTERNAL_SERVER_ERROR, "filter-damaged", "A stored filter is damaged", Retry::No;
    ReadFailed => INTERNAL_SERVER_ERROR, "read-failed", "A file could not be read", Retry::After(1);
    Unexpected => INTERNAL_SERVER_ERROR, "unexpected", "This should not have happened", Retry::No;
    NotSupported => NOT_IMPLEMENTED, "not-supported", "This server cannot do that", Retry::No;
    NotReady => SERVICE_UNAVAILABLE, "not-ready", "The node is not ready", Retry::After(1);
    Overloaded => SERVICE_UNAVAILABLE, "overloaded", "The node is busy", Retry::After(1);
    Connections => SERVICE_UNAVAILABLE, "too-many-connections", "The node has too many connections", Retry::After(1);
    BufferOpening => SERVICE_UNAVAILABLE, "buffer-opening", "The buffer is being opened", Retry::After(1);
    PrimaryChanged => SERVICE_UNAVAILABLE, "primary-changed", "The buffer has a new primary", Retry::After(1);
    DiskFailed => SERVICE_UNAVAILABLE, "disk-failed", "The disk failed", Retry::After(30);
    Stopping => SERVICE_UNAVAILABLE, "stopping", "The node is stopping", Retry::After(1);
    DiskFull => INSUFFICIENT_STORAGE, "disk-full", "The disk is full", Retry::After(5);
    LogFull => INSUFFICIENT_STORAGE, "log-full", "The log has no numbers left", Retry::No;
}

/// One refusal.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    detail: String,
    facts: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A refusal with the sentence that says what to do.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            code,
            detail: detail.into(),
            facts: Map::new(),
            headers: Vec::new(),
        })
    }

    /// Adds a fact that programs may want.
    pub(crate) fn fact(mut self: Box<Self>, name: &str, value: impl Into<Value>) -> Box<Self> {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Says it in other words.
    pub(crate) fn reworded(mut self: Box<Self>, detail: String) -> Box<Self> {
        self.detail = detail;
        self
    }

    /// Adds a header to the reply.
    pub(crate) fn header(mut self: Box<Self>, name: HeaderName, value: HeaderValue) -> Box<Self> {
        self.headers.push((name, value));
        self
    }

    /// The document.
    pub(crate) fn document(&self) -> Value {
        let row = self.code.row();
        let mut document = Map::new();
        document.insert("type".into(), self.code.kind().into());
        document.insert("title".into(), row.title.into());
        document.insert("status".into(), row.status.as_u16().into());
        document.insert("detail".into(), self.detail.as_str().into());
        document.insert("retry".into(), (row.retry != Retry::No).into());
        for (name, value) in &self.facts {
            document.insert(name.clone(), value.clone());
        }
        Value::Object(document)
    }

    /// The reply.
    pub(crate) fn into_reply(self) -> Response<Body> {
        let row = self.code.row();
        let mut text = self.document().to_string();
        text.push('\n');
        let mut reply = Response::new(Body::full(Bytes::from(text)));
        *reply.status_mut() = row.status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Retry::After(seconds) = row.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        reply
    }
}

/// The media type of problems.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const API: &str = include_str!("../../../../docs/API.md");

    #[test]
    fn every_code_has_a_paragraph_and_every_paragraph_a_code() {
        let codes: BTreeSet<String> = Code::ALL
            .iter()
            .map(|code| {
                let row = code.row();
                format!("`{}` ({})", row.slug, row.status.as_u16())
            })
            .collect();
        assert_eq!(codes.len(), Code::ALL.len(), "no slug stands twice");
        let (_, section) = API
            .split_once("\n## Problems\n")
            .expect("a section on problems");
        let section = section.split("\n## ").next().expect("a section has a text");
        let written: BTreeSet<String> = section
            .lines()
            .filter_map(|line| line.strip_prefix("**")?.split_once("**"))
            .map(|(title, _)| title.to_owned())
            .collect();
        assert_eq!(written, codes);
    }

    #[test]
    fn a_problem_says_type_status_detail_facts_and_when_to_retry() {
        let reply = Problem::new(Code::Overloaded, "Try again.")
            .fact("bytes", 7)
            .into_reply();
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.headers()[RETRY_AFTER], "1");
        assert_eq!(reply.headers()[CONTENT_TYPE], MEDIA_TYPE);
        let document = Problem::new(Code::Overloaded, "Try again.")
            .fact("bytes", 7)
            .document();
        assert_eq!(
            document.to_string(),
            "{\"bytes\":7,\"detail\":\"Try again.\",\"retry\":true,\"status\":503,\
             \"title\":\"The node is busy\",\"type\":\"urn:hbuf:problem:overloaded\"}"
        );
    }
}
