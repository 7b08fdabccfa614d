//! Buffers and topics: create, configure, describe, list, delete, and a buffer's state.

use std::fmt;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Call, CallError, Client, percent_encode};

/// The two things that have names and take messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// One ordered log.
    Buffers,
    /// A named group of buffers.
    Topics,
}

impl Collection {
    /// Its place in the path.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buffers => "buffers",
            Self::Topics => "topics",
        }
    }
}

/// What a buffer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages.
    Open,
    /// No more messages; reading and erasure still work.
    Closed,
    /// Nothing: its files stand still and may be copied.
    Paused,
}

impl State {
    /// The state as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The buffers of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TopicBuffers {
    /// Their names, in the topic's order.
    pub buffers: Vec<String>,
    /// Grows with every change of the list.
    pub version: u64,
}

impl Client {
    /// Creates or configures: the settings given here replace those of the same name.
    pub async fn configure(
        &self,
        collection: Collection,
        name: &str,
        settings: &Value,
    ) -> Result<Value, CallError> {
        let call = Call::new(Method::PUT, self.path(collection, name, "")).json(settings);
        self.finish_json_or_null(call).await
    }

    /// Everything the server says about one of them.
    pub async fn describe(&self, collection: Collection, name: &str) -> Result<Value, CallError> {
        self.finish_json(Call::new(Method::GET, self.path(collection, name, "")))
            .await
    }

    /// One page of the list, starting behind the name `after`; an empty `after` starts it.
    pub async fn list_page(&self, collection: Collection, after: &str) -> Result<Value, CallError> {
        let query = if after.is_empty() {
            String::new()
        } else {
            format!("?after={}", percent_encode(after))
        };
        self.finish_json(Call::new(Method::GET, self.path(collection, "", &query)))
            .await
    }

    /// Deletes it. `query` is what the API asks for in doubtful cases, such as `force` or
    /// `buffers=keep`.
    pub async fn delete(
        &self,
        collection: Collection,
        name: &str,
        query: &str,
    ) -> Result<(), CallError> {
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("?{query}")
        };
        let call = Call::new(Method::DELETE, self.path(collection, name, &query));
        self.finish(call).await.map(drop)
    }

    /// The buffers of a topic, and the version of their list.
    pub async fn topic(&self, name: &str) -> Result<TopicBuffers, CallError> {
        let described = self.describe(Collection::Topics, name).await?;
        serde_json::from_value(described)
            .map_err(|error| self.not_ours(format!("no description of a topic, {error}")))
    }

    /// Sets the buffers of a topic if their list still has the version that was read.
    pub async fn set_topic_buffers(
        &self,
        name: &str,
        buffers: &[String],
        version: u64,
    ) -> Result<Value, CallError> {
        let settings = json!({ "buffers": buffers, "version": version });
        self.configure(Collection::Topics, name, &settings).await
    }

    /// Sets a buffer's state.
    pub async fn set_state(&self, buffer: &str, state: State) -> Result<(), CallError> {
        let call = Call::new(
            Method::PUT,
            self.path(Collection::Buffers, buffer, "/state"),
        )
        .json(&json!({ "state": state.as_str() }));
        self.finish(call).await.map(drop)
    }

    /// The last seq that readers may see; 0 when the log is empty. Of a topic, its one buffer's.
    pub async fn last_seq(&self, collection: Collection, name: &str) -> Result<u64, CallError> {
        let buffer = match collection {
            Collection::Buffers => name.to_owned(),
            Collection::Topics => {
                let topic = self.describe(collection, name).await?;
                let buffers = topic.get("buffers").and_then(Value::as_array);
                match buffers.map(Vec::as_slice) {
                    Some([Value::String(only)]) => only.clone(),
                    _ => {
                        let reason =
                            format!("topic `{name}` has no single end; name one of its buffers");
                        return Err(CallError::Request { reason });
                    }
                }
            }
        };
        Ok(self.checkpoint(&buffer).await?.size)
    }

    async fn finish_json_or_null(&self, call: Call) -> Result<Value, CallError> {
        let body = self.finish(call).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| self.not_ours(format!("bad JSON, {error}")))
    }
}
