//! `next`: messages that a consumer hands out, each in a request of its own whose head says under
//! which lease.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::catalog::Collection;
use crate::client::{Call, CallError, Client};
use crate::consumers::{Acks, Leased};
use crate::records::Record;

/// How many messages to take, and how long to wait for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextOptions {
    /// At most so many messages, 1 to 10,000.
    pub limit: u64,
    /// Wait so many seconds when there is none; 0 does not wait.
    pub wait_seconds: u64,
}

impl Default for NextOptions {
    fn default() -> Self {
        Self {
            limit: 1,
            wait_seconds: 0,
        }
    }
}

/// What a consumer handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The messages, the earliest first.
    pub messages: Vec<HandedMessage>,
    /// Buffers that were passed, being paused or unavailable.
    pub passed: Vec<String>,
    /// What came of what the request settled: the server's words, and how often each.
    pub settled: BTreeMap<String, u64>,
}

/// A message that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedMessage {
    /// Name of its buffer.
    pub buffer: String,
    /// What settles it; `None` when it was acked by being handed out.
    pub lease: Option<String>,
    /// How often it was handed out, this time included.
    pub deliveries: u64,
    /// The message.
    pub record: Record,
}

impl HandedMessage {
    /// What acks, gives back or keeps it; `None` when it is acked already.
    #[must_use]
    pub fn leased(&self) -> Option<Leased> {
        self.lease.as_ref().map(|lease| Leased {
            buffer: self.buffer.clone(),
            seq: self.record.seq().0,
            lease: lease.clone(),
        })
    }
}

impl Client {
    /// Takes messages of a consumer. A reply that is lost on its way is not asked for again: what
    /// was in it comes back when its leases lapse.
    pub async fn next(
        &self,
        collection: Collection,
        of: &str,
        consumer: &str,
        options: NextOptions,
    ) -> Result<Handed, CallError> {
        let acks = Acks::default();
        self.next_with(collection, of, consumer, options, &acks)
            .await
    }

    /// Settles messages that were handed out before, and takes the next ones, in one request. What
    /// the reply calls acked is on disk. After an error all may be settled or none: sent once more,
    /// they are told as `already-acked`, or are settled now.
    pub async fn next_with(
        &self,
        collection: Collection,
        of: &str,
        consumer: &str,
        options: NextOptions,
        acks: &Acks,
    ) -> Result<Handed, CallError> {
        let NextOptions {
            limit,
            wait_seconds,
        } = options;
        let rest = format!("/next?limit={limit}&wait={wait_seconds}");
        let path = self.consumer_path(collection, of, consumer, &rest);
        let mut call = Call::new(Method::POST, path);
        if *acks != Acks::default() {
            call = call.json(&acks.to_json());
        }
        let mut call = call.header("accept", "application/http")?;
        call.wait = Duration::from_secs(wait_seconds);
        let response = self.send(call).await?;
        let list = |name: &str| -> Vec<String> {
            let value = response.headers().get(name);
            let value = value.and_then(|value| value.to_str().ok());
            value.map_or_else(Vec::new, |names| {
                names.split(',').map(|name| name.trim().into()).collect()
            })
        };
        let passed = list("x-hbuf-gaps");
        let settled = list("x-hbuf-settled");
        let settled = settled.iter().filter_map(|count| {
            let (word, count) = count.split_once('=')?;
            Some((word.to_owned(), count.parse().ok()?))
        });
        let settled = settled.collect();
        let mut rest = self.collect(response.into_body(), HANDED_BYTES_MAX).await?;
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let message = cut(&mut rest).map_err(|reason| self.not_ours(reason))?;
            messages.push(message);
        }
        Ok(Handed {
            messages,
            passed,
            settled,
        })
    }
}

/// Cuts the first message off.
fn cut(rest: &mut Bytes) -> Result<HandedMessage, String> {
    let part = || "a message that was handed out is cut short".to_owned();
    let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
    let head = rest.split_to(end.ok_or_else(part)? + 4);
    let head = std::str::from_utf8(&head).map_err(|error| error.to_string())?;
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    };
    let number = |name: &str| -> Result<u64, String> {
        let number = field(name).and_then(|text| text.parse().ok());
        number.ok_or_else(|| format!("a message that was handed out has no `{name}`"))
    };
    let length = usize::try_from(number("content-length")?).map_err(|_| part())?;
    if length > rest.len() {
        return Err(part());
    }
    let record = Record::decode(rest.split_to(length));
    Ok(HandedMessage {
        buffer: field("x-hbuf-buffer-name").unwrap_or_default().to_owned(),
        lease: field("x-hbuf-lease").map(str::to_owned),
        deliveries: number("x-hbuf-deliveries")?,
        record: record.map_err(|error| error.to_string())?,
    })
}

/// Longest reply that is taken: of large messages, ask for few at once.
const HANDED_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_without_its_lines_or_its_body_is_refused() {
        for (bad, why) in [
            ("POST /1 HTTP/1.1\r\nhost:\r\n", "cut short"),
            ("POST /1 HTTP/1.1\r\nhost:\r\n\r\n", "content-length"),
            (
                "POST /1 HTTP/1.1\r\ncontent-length: 9\r\n\r\nshort",
                "cut short",
            ),
        ] {
            let error = cut(&mut Bytes::from_static(bad.as_bytes())).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
