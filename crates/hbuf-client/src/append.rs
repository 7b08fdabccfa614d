//! Appends: one message, a batch, lines of JSON; and what makes a retry safe.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;

use crate::catalog::Collection;
use crate::client::{Call, CallError, Client};
use crate::message::{Message, encode_batch};
use crate::problem::Problem;
use crate::retry::{Repeat, random};

/// When the server answers an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// On disk on every in-sync copy.
    #[default]
    Insync,
    /// On the primary's disk.
    Local,
    /// As soon as it has a seq; a crash may take it.
    None,
}

impl Ack {
    /// The level as it is written in `x-hbuf-ack`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insync => "insync",
            Self::Local => "local",
            Self::None => "none",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Insync, Self::Local, Self::None]
            .into_iter()
            .find(|level| level.as_str() == text)
    }
}

/// The numbers under which one writer appends. A call repeated under its number is taken once.
///
/// Numbers count calls, not messages: a batch has one. They start at 0 and leave no gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    id: String,
    epoch: u32,
    next: u64,
}

impl Producer {
    /// A producer that nobody else is.
    #[must_use]
    pub fn unique() -> Self {
        Self::named(format!("{:016x}{:016x}", random(), random()), 0)
    }

    /// A producer that can be continued later under the same id; a higher epoch fences a lower one.
    #[must_use]
    pub fn named(id: String, epoch: u32) -> Self {
        Self {
            id,
            epoch,
            next: FIRST_NUMBER,
        }
    }

    /// Goes on from a number, the one that the next append shall have.
    #[must_use]
    pub fn starting_at(mut self, next: u64) -> Self {
        self.next = next;
        self
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The number of its next append.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Counts an append that the server took.
    pub fn advance(&mut self) {
        self.next += 1;
    }
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.id, self.epoch, self.next)
    }
}

/// The number of a producer's first append.
const FIRST_NUMBER: u64 = 0;

/// A condition on the log's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfMatch {
    /// The append is taken only if this is the last seq of the log; 0 when it must be empty.
    pub last_seq: u64,
}

/// How an append shall be taken.
#[derive(Clone, Debug, Default)]
pub struct AppendOptions {
    /// When the server answers.
    pub ack: Ack,
    /// Under which producer number, so that retries are safe.
    pub producer: Option<Producer>,
    /// Under which idempotency key, so that retries are safe.
    pub idempotency_key: Option<String>,
    /// Only if the log still ends there.
    pub if_match: Option<IfMatch>,
}

/// What the server says about an append that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendReply {
    /// Seq of the message; of a batch, of its first message.
    pub seq: u64,
    /// Seq of the last message.
    pub last_seq: u64,
    /// `x-hbuf-id` of the message; of a batch, of its last message when the server names it.
    pub id: String,
    /// Uuid of the buffer.
    pub buffer: String,
    /// Server time.
    pub time: String,
    /// Epoch of the primary.
    pub epoch: u64,
    /// The level that was really reached.
    pub ack: Ack,
    /// This is the reply of an earlier append under the same number or key.
    pub replayed: bool,
    /// Where each message of a batch went that a topic of several buffers took, in the order of the
    /// batch; nothing otherwise. Then `seq`, `id` and `buffer` are those of the first, `last_seq`
    /// of the last message.
    pub placed: Vec<Placed>,
}

/// Where one message of a batch went.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Placed {
    /// 201, 202, or 200 when it was there already.
    pub status: u16,
    /// Name of its buffer.
    pub buffer: String,
    /// Its seq there.
    pub seq: u64,
    /// Its `x-hbuf-id`.
    pub id: String,
}

impl Client {
    /// Appends one message.
    pub async fn append(
        &self,
        collection: Collection,
        name: &str,
        message: &Message,
        options: &AppendOptions,
    ) -> Result<AppendReply, CallError> {
        let mut call = Call::new(Method::POST, self.path(collection, name, ""));
        for (header, value) in message.headers() {
            call = call.header(header, &value)?;
        }
        call.body = message.body().clone();
        self.send_append(call, options, 1).await
    }

    /// Appends messages as one batch: all or nothing, under one number.
    pub async fn append_batch(
        &self,
        collection: Collection,
        name: &str,
        messages: &[Message],
        options: &AppendOptions,
    ) -> Result<AppendReply, CallError> {
        self.append_encoded(
            collection,
            name,
            encode_batch(messages),
            messages.len(),
            options,
        )
        .await
    }

    /// Appends a batch of `count` messages that [`encode_batch`] made, which may be kept and sent
    /// again.
    pub async fn append_encoded(
        &self,
        collection: Collection,
        name: &str,
        batch: Bytes,
        count: usize,
        options: &AppendOptions,
    ) -> Result<AppendReply, CallError> {
        let call = Call::new(Method::POST, self.path(collection, name, ""));
        let mut call = call.header("content-type", "application/http; msgtype=request")?;
        call.body = batch;
        self.send_append(call, options, count).await
    }

    /// Appends lines of JSON, a message a line, as one batch of `count` messages.
    pub async fn append_ndjson(
        &self,
        collection: Collection,
        name: &str,
        lines: Bytes,
        count: usize,
        options: &AppendOptions,
    ) -> Result<AppendReply, CallError> {
        let call = Call::new(Method::POST, self.path(collection, name, ""));
        let mut call = call.header("content-type", "application/x-ndjson")?;
        call.body = lines;
        self.send_append(call, options, count).await
    }

    async fn send_append(
        &self,
        mut call: Call,
        options: &AppendOptions,
        count: usize,
    ) -> Result<AppendReply, CallError> {
        if options.ack != Ack::default() {
            call = call.header("x-hbuf-ack", options.ack.as_str())?;
        }
        if let Some(producer) = &options.producer {
            call = call.header("x-hbuf-producer", &producer.to_string())?;
            call.repeat = Repeat::Harmless;
        }
        if let Some(key) = &options.idempotency_key {
            call = call.header("idempotency-key", key)?;
            call.repeat = Repeat::Harmless;
        }
        if let Some(IfMatch { last_seq }) = options.if_match {
            call = call.header("if-match", &format!("\"{last_seq}\""))?;
        }
        let response = self.send(call).await?;
        let (parts, body) = response.into_parts();
        // Reading the body to its end gives the connection back to the pool.
        let body = self.collect(body, APPEND_ANSWER_BYTES_MAX).await?;
        let lines = parts
            .headers
            .get("content-type")
            .is_some_and(|it| it == "application/x-ndjson");
        if lines && !parts.headers.contains_key("x-hbuf-seq") {
            return self.split_reply(&body, &parts.headers);
        }
        self.append_reply(parts.status, &parts.headers, count)
    }

    /// The reply of a topic of several buffers. When one refused its messages, that is the error;
    /// the others are stored all the same, and a repetition under the same key leaves them as they
    /// are.
    fn split_reply(&self, body: &[u8], headers: &HeaderMap) -> Result<AppendReply, CallError> {
        let mut placed: Vec<Placed> = Vec::new();
        for line in body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_slice::<Placed>(line) {
                Ok(one) => placed.push(one),
                Err(_) => return Err(CallError::Problem(Box::new(Problem::from_line(line)))),
            }
        }
        let (Some(first), Some(last)) = (placed.first(), placed.last()) else {
            return Err(self.not_ours("an append without `x-hbuf-seq` and without lines"));
        };
        Ok(AppendReply {
            seq: first.seq,
            last_seq: last.seq,
            id: first.id.clone(),
            buffer: first.buffer.clone(),
            time: String::new(),
            epoch: 0,
            ack: if placed.iter().all(|one| one.status != 202) {
                Ack::Insync
            } else {
                let asked = headers
                    .get("x-hbuf-ack")
                    .and_then(|value| value.to_str().ok());
                asked.and_then(Ack::parse).unwrap_or(Ack::None)
            },
            replayed: placed.iter().all(|one| one.status == 200),
            placed,
        })
    }

    fn append_reply(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        count: usize,
    ) -> Result<AppendReply, CallError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
        let seq = number("x-hbuf-seq")
            .ok_or_else(|| self.not_ours(format!("{status} to an append without `x-hbuf-seq`")))?;
        let ack = text("x-hbuf-ack").and_then(Ack::parse).unwrap_or_default();
        Ok(AppendReply {
            seq,
            last_seq: number("x-hbuf-last-seq")
                .unwrap_or_else(|| seq + (count as u64).saturating_sub(1)),
            id: text("x-hbuf-id").unwrap_or_default().to_owned(),
            buffer: text("x-hbuf-buffer").unwrap_or_default().to_owned(),
            time: text("x-hbuf-time").unwrap_or_default().to_owned(),
            epoch: number("x-hbuf-epoch").unwrap_or_default(),
            ack,
            replayed: text("x-hbuf-replayed") == Some("true"),
            placed: Vec::new(),
        })
    }
}

/// Longest body of an append's answer.
const APPEND_ANSWER_BYTES_MAX: usize = 16 << 20;
