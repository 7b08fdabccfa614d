//! The way of a consumer's request to its shard, and of the answer back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hbuf_core::buffer::{ConsumerAnswer, ConsumerCall, ConsumerRefused};
use hbuf_core::ids::Uuid;
use hbuf_core::input::Token;
use tokio::sync::oneshot;

use super::buffer::Buffer;
use super::consumer_calls::ConsumerError;
use super::host::Mail;
use crate::read::ReadError;

/// Tokens of consumers' requests; a shard's own are counted from 1.
static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1 << 63);

/// A request that stands in a consumer's queue; whoever drops it takes it out again.
pub(super) struct Asked {
    buffer: Arc<Buffer>,
    consumer: Uuid,
    token: Token,
    pub(super) answer: oneshot::Receiver<ConsumerAnswer>,
    /// It waits in the queue.
    pub(super) waits: bool,
}

impl Asked {
    /// The answer to a call that does not wait.
    pub(super) async fn answered(mut self) -> Result<ConsumerAnswer, ConsumerError> {
        let answer = (&mut self.answer).await;
        answered(answer.map_err(|_| ConsumerError::Stopping)?)
    }

    /// Asks for what there is, instead of waiting on.
    pub(super) fn stop(&self) {
        let next = self.token;
        let call = ConsumerCall::Stop { next };
        self.buffer.tell_consumer(self.consumer, call);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // What is handed out into nothing goes back by itself.
        if self.waits {
            self.stop();
        }
    }
}

impl Buffer {
    pub(super) fn ask_consumer(self: &Arc<Self>, consumer: Uuid, call: ConsumerCall) -> Asked {
        let (reply, answer) = oneshot::channel();
        let token = Token(NEXT_TOKEN.fetch_add(1, Ordering::Relaxed));
        let waits = matches!(call, ConsumerCall::Next { waits: true, .. });
        self.shards().host(self.shard()).post(Mail::Consumer {
            buffer: self.uuid(),
            consumer,
            token,
            call,
            reply: Some(reply),
        });
        Asked {
            buffer: Arc::clone(self),
            consumer,
            token,
            answer,
            waits,
        }
    }

    pub(super) fn tell_consumer(&self, consumer: Uuid, call: ConsumerCall) {
        self.shards().host(self.shard()).post(Mail::Consumer {
            buffer: self.uuid(),
            consumer,
            token: Token(0),
            call,
            reply: None,
        });
    }

    pub(super) async fn call_consumer(
        self: &Arc<Self>,
        consumer: Uuid,
        call: ConsumerCall,
    ) -> Result<ConsumerAnswer, ConsumerError> {
        self.ask_consumer(consumer, call).answered().await
    }
}

pub(super) fn answered(answer: ConsumerAnswer) -> Result<ConsumerAnswer, ConsumerError> {
    match answer {
        ConsumerAnswer::Refused(refused) => Err(refused.into()),
        answer => Ok(answer),
    }
}

impl From<ConsumerRefused> for ConsumerError {
    fn from(refused: ConsumerRefused) -> Self {
        match refused {
            ConsumerRefused::NotOpen | ConsumerRefused::NotBegun => Self::Read(ReadError::Closed),
            ConsumerRefused::NotPrimary => Self::NotPrimary(refused),
            ConsumerRefused::PrimaryChanged => Self::PrimaryChanged(refused),
            ConsumerRefused::Deleted => Self::Gone,
            ConsumerRefused::Paused => Self::Paused,
            ConsumerRefused::Busy => Self::Busy,
            ConsumerRefused::Unreadable { after } => Self::Unreadable { after },
            ConsumerRefused::Damaged => Self::Damaged,
            ConsumerRefused::DiskFull => Self::Full,
            ConsumerRefused::DiskFailed => Self::Failed,
        }
    }
}

impl From<ConsumerError> for super::CatalogError {
    fn from(error: ConsumerError) -> Self {
        Self::Consumer(Box::new(error))
    }
}
