//! Consumers: create, configure, describe, list, delete, move; and what becomes of the messages
//! that they handed out. How messages are taken: `handed`.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::Collection;
use crate::client::{Call, CallError, Client, percent_encode};
use crate::retry::Repeat;

/// Where a consumer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first message.
    First,
    /// Behind the last message: what comes from now on.
    Last,
    /// At the message of this seq.
    Seq(u64),
    /// At the first message of this server time or later, in RFC 3339.
    Time(String),
}

/// A message that was handed out, and the lease under which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leased {
    /// Name of its buffer.
    pub buffer: String,
    /// Its number.
    pub seq: u64,
    /// What it came with.
    pub lease: String,
}

/// What to do with messages that were handed out; at most 10,000 in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    /// Done: never handed out again.
    pub ack: Vec<Leased>,
    /// Not done: handed out again after so many milliseconds.
    pub nack: Vec<(Leased, u64)>,
    /// Still at work: the lease ends so many milliseconds from now.
    pub extend: Vec<(Leased, u64)>,
}

/// What came of each message, in the order of [`Acks`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Acked {
    /// Of those to ack: `acked`, `already-acked`, `lease-lost`, `unknown` or `refused`.
    pub ack: Vec<Outcome>,
    /// Of those to give back: `nacked`, `already-acked`, `lease-lost`, `unknown` or `refused`.
    pub nack: Vec<Outcome>,
    /// Of those to keep: `extended`, `already-acked`, `lease-lost`, `unknown` or `refused`.
    pub extend: Vec<Outcome>,
}

/// What came of one message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    /// Name of its buffer.
    pub buffer: String,
    /// Its number.
    pub seq: u64,
    /// The server's word for it.
    pub result: String,
    /// Why its buffer refused it.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Start {
    /// The start as it is written on the wire.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::First => json!("first"),
            Self::Last => json!("last"),
            Self::Seq(seq) => json!({ "seq": seq }),
            Self::Time(time) => json!({ "time": time }),
        }
    }
}

impl Acks {
    pub(crate) fn to_json(&self) -> Value {
        let with = |list: &[(Leased, u64)], name: &str| -> Vec<Value> {
            let item = |(leased, ms): &(Leased, u64)| {
                let mut item = json!(leased);
                item[name] = json!(ms);
                item
            };
            list.iter().map(item).collect()
        };
        json!({
            "ack": self.ack,
            "nack": with(&self.nack, "delay_ms"),
            "extend": with(&self.extend, "lease_ms"),
        })
    }
}

/// Each call names the consumer by what it reads, a buffer or a topic, and its own name.
impl Client {
    /// Creates or configures: the settings given here replace those of the same name.
    pub async fn put_consumer(
        &self,
        collection: Collection,
        of: &str,
        consumer: &str,
        settings: &Value,
    ) -> Result<Value, CallError> {
        let path = self.consumer_path(collection, of, consumer, "");
        self.finish_json(Call::new(Method::PUT, path).json(settings))
            .await
    }

    /// Its settings, and where it stands.
    pub async fn describe_consumer(
        &self,
        collection: Collection,
        of: &str,
        consumer: &str,
    ) -> Result<Value, CallError> {
        let path = self.consumer_path(collection, of, consumer, "");
        self.finish_json(Call::new(Method::GET, path)).await
    }

    /// One page of the consumers of a buffer or a topic, starting behind the name `after`; an
    /// empty `after` starts the list.
    pub async fn list_consumers_page(
        &self,
        collection: Collection,
        of: &str,
        after: &str,
    ) -> Result<Value, CallError> {
        let query = if after.is_empty() {
            String::new()
        } else {
            format!("?after={}", percent_encode(after))
        };
        let path = self.path(collection, of, &format!("/consumers{query}"));
        self.finish_json(Call::new(Method::GET, path)).await
    }

    /// Deletes it, and with it its place.
    pub async fn delete_consumer(
        &self,
        collection: Collection,
        of: &str,
        consumer: &str,
    ) -> Result<(), CallError> {
        let path = self.consumer_path(collection, of, consumer, "");
        self.finish(Call::new(Method::DELETE, path)).await.map(drop)
    }

    /// Lets it begin anew at `start`; leases end. Answers its description.
    pub async fn seek_consumer(
        &self,
        collection: Collection,
        of: &str,
        consumer: &str,
        start: &Start,
    ) -> Result<Value, CallError> {
        let path = self.consumer_path(collection, of, consumer, "/seek");
        let body = json!({ "start": start.to_json() });
        self.finish_json(Call::new(Method::POST, path).json(&body))
            .await
    }

    /// Acks, gives back and keeps messages that were handed out. What the reply calls acked is on
    /// disk.
    pub async fn ack(
        &self,
        collection: Collection,
        of: &str,
        consumer: &str,
        acks: &Acks,
    ) -> Result<Acked, CallError> {
        let path = self.consumer_path(collection, of, consumer, "/acks");
        let mut call = Call::new(Method::POST, path).json(&acks.to_json());
        // A lease is settled once: sent again, it is told so and changes nothing.
        call.repeat = Repeat::Harmless;
        self.finish_json(call).await
    }

    pub(crate) fn consumer_path(
        &self,
        collection: Collection,
        of: &str,
        consumer: &str,
        rest: &str,
    ) -> String {
        let rest = format!("/consumers/{}{rest}", percent_encode(consumer));
        self.path(collection, of, &rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_are_three_lists_each_with_its_own_time() {
        let leased = Leased {
            buffer: "b".into(),
            seq: 1,
            lease: "00".into(),
        };
        let acks = Acks {
            ack: vec![leased.clone()],
            nack: vec![(leased.clone(), 5)],
            extend: vec![(leased, 6)],
        };
        let expected = json!({
            "ack": [{ "buffer": "b", "seq": 1, "lease": "00" }],
            "nack": [{ "buffer": "b", "seq": 1, "lease": "00", "delay_ms": 5 }],
            "extend": [{ "buffer": "b", "seq": 1, "lease": "00", "lease_ms": 6 }],
        });
        assert_eq!(acks.to_json(), expected);
    }
}
