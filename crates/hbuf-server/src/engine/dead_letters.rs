//! Putting messages that consumers give up where dead letters go.

use std::sync::Arc;

use hbuf_core::consumer::Letter;
use hbuf_core::ids::Uuid;
use hbuf_core::record::decode;

use super::Engine;
use super::append::{Append, AppendError, Content};
use super::buffer::Buffer;
use super::counters::Counters;
use crate::read::ReadError;

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
            buffer,
            seq,
            deliveries,
            ..
        } = letter;
        let why = letter.why.as_str();
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
        let Some(lines) = letter.lines(&record) else {
            return Ok(());
        };
        let body = page.bytes.slice_ref(record.body);
        let into = self.open(into).await.map_err(|error| error.to_string())?;
        let append = Append {
            contents: vec![Content::seal(lines.into(), body)],
            // The same letter twice is one.
            idempotency_key: Some(letter.key(&record).into_bytes()),
            ..Append::default()
        };
        match into.append(append).await {
            Ok(_) | Err(AppendError::KeyReused { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
