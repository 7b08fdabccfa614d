//! Putting messages that consumers give up where dead letters go.

use std::sync::Arc;

use hbuf_core::consumer::GivenUp;
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::limits::{HEADER_LINES_MAX, HEADERS_BYTES_MAX};
use hbuf_core::record::{Record, State, decode};

use super::Engine;
use super::append::{Append, AppendError, Content};
use super::buffer::Buffer;
use super::counters::Counters;
use crate::read::ReadError;

/// A message that is given up.
pub(super) struct Letter {
    pub(super) consumer: Uuid,
    pub(super) seq: Seq,
    pub(super) deliveries: u32,
    pub(super) why: GivenUp,
}

impl Engine {
    /// Puts a message where dead letters go. False when it is to be tried again.
    pub(super) async fn bury(
        &self,
        open: &Arc<Buffer>,
        into: Option<Uuid>,
        letter: &Letter,
    ) -> bool {
        let Letter {
            consumer,
            seq,
            deliveries,
            ..
        } = letter;
        let (buffer, why) = (open.uuid(), letter.reason());
        let Some(into) = into else {
            Counters::add(&self.inner.counters.consumer_dead_letters, 1);
            tracing::warn!(event = "message_given_up", %buffer, %consumer, %seq, deliveries, why);
            return true;
        };
        match self.append_dead_letter(open, into, letter).await {
            Ok(()) => {
                Counters::add(&self.inner.counters.consumer_dead_letters, 1);
                tracing::info!(event = "dead_letter", %buffer, %consumer, %seq, deliveries, why);
                true
            }
            Err(error) => {
                tracing::warn!(event = "dead_letter_failed", %buffer, %consumer, %seq, error);
                false
            }
        }
    }

    async fn append_dead_letter(
        &self,
        open: &Arc<Buffer>,
        into: Uuid,
        letter: &Letter,
    ) -> Result<(), String> {
        let page = open.readable().read(letter.seq.prev(), 1, 0).await;
        let page = match page {
            Ok(page) => page,
            // Nothing is left to put away.
            Err(ReadError::BeforeFirst { .. }) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let record = decode(&page.bytes).map_err(|error| error.to_string())?;
        if record.line.state == State::Gone {
            return Ok(());
        }
        let lines = letter.lines(open.uuid(), &record);
        let body = page.bytes.slice_ref(record.body);
        let into = self.open(into).await.map_err(|error| error.to_string())?;
        // The same letter twice is one: also when a crash came between the append and the ack.
        let key = format!(
            "dead-letter/{}/{}/{}",
            letter.consumer,
            open.uuid(),
            letter.seq
        );
        let append = Append {
            contents: vec![Content::seal(lines.into(), body)],
            idempotency_key: Some(key.into_bytes()),
            ..Append::default()
        };
        match into.append(append).await {
            Ok(_) | Err(AppendError::KeyReused { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Letter {
    const fn reason(&self) -> &'static str {
        match self.why {
            GivenUp::Deliveries => "deliveries",
            GivenUp::Expired => "expired",
        }
    }

    /// The header lines of the message with one more, which says where it is from and why it is
    /// here. A message that has no room for one goes without.
    fn lines(&self, buffer: Uuid, record: &Record<'_>) -> Vec<u8> {
        let mut lines = record.lines.to_vec();
        let id = record.id().unwrap_or_default();
        let line = format!(
            "x-hbuf-meta-dead-letter: buffer={buffer}, seq={}, id={id}, consumer={}, reason={}, deliveries={}\r\n",
            self.seq,
            self.consumer,
            self.reason(),
            self.deliveries
        );
        let room = (lines.len() + line.len()) as u64 <= HEADERS_BYTES_MAX
            && record.headers().count() < HEADER_LINES_MAX;
        if room {
            lines.extend_from_slice(line.as_bytes());
        }
        lines
    }
}
