//! The stream that a buffer may be: appends to it, uses of it, what readers see.

use super::{Buffer, Context};
use crate::append::{AppendRefused, AppendRequest};
use crate::dedupe::Earlier;
use crate::effect::{Effect, Effects};
use crate::ids::{Micros, Seq};
use crate::input::Token;
use crate::stream::{Repeat, Stream, StreamAppend, StreamRefused, StreamSeen};

impl Buffer {
    /// What a request finds of the buffer's stream.
    #[must_use]
    pub fn stream_seen(&self, now: Micros) -> StreamSeen {
        let seen = |stream: &Stream| stream.seen(now);
        self.stream.as_ref().map_or(StreamSeen::None, seen)
    }

    /// When the buffer's stream ends unless it is used before; `None` for never, or no stream.
    #[must_use]
    pub fn stream_deadline(&self) -> Option<Micros> {
        self.stream.as_ref().and_then(Stream::deadline)
    }

    /// Whether the buffer is a stream, perhaps one whose definition is not committed yet.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Somebody reads the stream: it lives on, and now and then that is put on record.
    pub(crate) fn on_stream_used(&mut self, now: Micros, token: Token, out: &mut Effects) {
        let mut due = false;
        if let Some(stream) = &mut self.stream {
            stream.used(now);
            due = stream.use_due(now);
        }
        let seen = self.stream_seen(now);
        out.push(Effect::StreamUsed { token, seen, due });
    }

    /// The part of the judgement that differs between logs and streams: `Some` for an append that
    /// an earlier one answers.
    pub(super) fn judge_stream(
        &self,
        context: &Context<'_>,
        request: &AppendRequest,
        append: &StreamAppend,
    ) -> Result<Option<Repeat>, AppendRefused> {
        let stream = self.stream.as_ref();
        match append {
            StreamAppend::Define { definition, closed } => match stream {
                Some(stream) => Ok(Some(stream.judge_again(definition, *closed)?)),
                None if self.end == Seq::ZERO => Ok(None),
                None => Err(StreamRefused::Occupied.into()),
            },
            StreamAppend::Write(write) => {
                let stream = stream.ok_or(StreamRefused::NotStream)?;
                let data = request.items.len() > usize::from(write.close);
                let producer = request.producer.as_ref();
                Ok(stream.judge_write(&self.producers, producer, write, data)?)
            }
            StreamAppend::Use => {
                let stream = stream.ok_or(StreamRefused::NotStream)?;
                Ok(stream.judge_use(context.now)?)
            }
        }
    }

    /// Takes in an append that was just placed.
    pub(super) fn note_stream(&mut self, append: &StreamAppend, at: Earlier) {
        if let StreamAppend::Define { definition, closed } = append {
            self.stream = Some(Stream::define(definition.clone(), *closed, at));
        }
        let stream = self.stream.as_mut().expect("judged to be one");
        stream.note(append.control().as_ref(), append.seq(), at);
    }
}
