//! What to read, and reads as lines of JSON and of one message. Raw records: `records`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response};
use hyper::body::Incoming;
use serde_json::Value;

use crate::catalog::Collection;
use crate::client::{Call, CallError, Client, percent_encode};

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Messages behind this seq (on a topic: behind this cursor). Nothing means from the start.
    pub after: Option<String>,
    /// At most so many messages.
    pub limit: Option<u64>,
    /// Wait so many seconds for a message when there is none.
    pub wait_seconds: Option<u64>,
    /// Messages of this server time or later, in RFC 3339.
    pub from_time: Option<String>,
    /// Messages with any of these tags.
    pub tags: Vec<String>,
    /// Messages with this key.
    pub key: Option<String>,
    /// Messages with any tag of this stored filter.
    pub filter: Option<String>,
    /// Only the newest message of each key, as of the read's start.
    pub latest: bool,
    /// Records of hbuf's own kinds, too.
    pub all_kinds: bool,
}

impl ReadOptions {
    /// Messages behind `seq`.
    #[must_use]
    pub fn after(seq: u64) -> Self {
        Self {
            after: Some(seq.to_string()),
            ..Self::default()
        }
    }

    /// At most `limit` messages.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The query that asks for it, with its `?`, or nothing.
    pub(crate) fn query(&self) -> String {
        let mut parts = Vec::new();
        let mut part =
            |name: &str, value: &str| parts.push(format!("{name}={}", percent_encode(value)));
        if let Some(after) = &self.after {
            part("after", after);
        }
        if let Some(limit) = self.limit {
            part("limit", &limit.to_string());
        }
        if let Some(seconds) = self.wait_seconds {
            part("wait", &seconds.to_string());
        }
        if let Some(time) = &self.from_time {
            part("from-time", time);
        }
        for tag in &self.tags {
            part("tag", tag);
        }
        if let Some(key) = &self.key {
            part("key", key);
        }
        if let Some(filter) = &self.filter {
            part("filter", filter);
        }
        if self.latest {
            part("latest", "true");
        }
        if self.all_kinds {
            part("kinds", "all");
        }
        if parts.is_empty() {
            String::new()
        } else {
            format!("?{}", parts.join("&"))
        }
    }
}

/// One message, read by its number.
#[derive(Clone, Debug)]
pub struct SingleMessage {
    /// The headers of the answer, which carry the message's own.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A stream of JSON values, one a line.
#[derive(Debug)]
pub struct JsonLines {
    client: Client,
    body: Incoming,
    buffer: BytesMut,
    /// So far the buffer holds no line end.
    searched: usize,
    ended: bool,
    cursor: Option<String>,
}

impl Client {
    /// Reads messages as JSON, one value a message.
    pub async fn read_json(
        &self,
        collection: Collection,
        name: &str,
        options: &ReadOptions,
    ) -> Result<JsonLines, CallError> {
        let response = self
            .open_read(collection, name, options, "application/x-ndjson")
            .await?;
        let body = response.into_body();
        Ok(JsonLines {
            client: self.clone(),
            body,
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
            cursor: None,
        })
    }

    /// Reads one message.
    pub async fn message(&self, buffer: &str, seq: u64) -> Result<SingleMessage, CallError> {
        let target = self.path(Collection::Buffers, buffer, &format!("/messages/{seq}"));
        let response = self.send(Call::new(Method::GET, target)).await?;
        let (parts, body) = response.into_parts();
        let body = self.collect(body, BODY_BYTES_MAX).await?;
        Ok(SingleMessage {
            headers: parts.headers,
            body,
        })
    }

    pub(crate) async fn open_read(
        &self,
        collection: Collection,
        name: &str,
        options: &ReadOptions,
        accept: &str,
    ) -> Result<Response<Incoming>, CallError> {
        let target = self.path(collection, name, &format!("/messages{}", options.query()));
        let mut call = Call::new(Method::GET, target).header("accept", accept)?;
        call.wait = Duration::from_secs(options.wait_seconds.unwrap_or(0));
        self.send(call).await
    }
}

impl JsonLines {
    /// The next message, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Value>, CallError> {
        while let Some(line) = self.next_line().await? {
            let value: Value = serde_json::from_slice(&line)
                .map_err(|error| self.client.not_ours(format!("bad line of JSON, {error}")))?;
            let Some(cursor) = value.get("cursor") else {
                return Ok(Some(value));
            };
            self.cursor = cursor.as_str().map(str::to_owned);
        }
        Ok(None)
    }

    /// Where a reader of a topic of several buffers goes on; known once [`JsonLines::next`] has
    /// come to the end.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The next line as it came, without its end.
    pub async fn next_line(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let unseen = &self.buffer[self.searched..];
            if let Some(end) = unseen.iter().position(|&byte| byte == b'\n') {
                let end = self.searched + end;
                self.searched = 0;
                let line = self.buffer.split_to(end + 1);
                return Ok(Some(line.freeze().slice(..end)));
            }
            self.searched = self.buffer.len();
            if self.ended {
                self.searched = 0;
                let rest = self.buffer.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            match self
                .client
                .next_piece(&mut self.body, self.client.timeout)
                .await?
            {
                Some(piece) if self.buffer.len() + piece.len() > LINE_BYTES_MAX => {
                    return Err(self.client.not_ours("a line without end"));
                }
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => self.ended = true,
            }
        }
    }
}

/// Longest body of one message.
const BODY_BYTES_MAX: usize = hbuf_core::limits::BODY_BYTES_MAX as usize;
/// Longest line of JSON: the longest body as base64, with its headers, and one piece of the stream.
const LINE_BYTES_MAX: usize = 160 << 20;
