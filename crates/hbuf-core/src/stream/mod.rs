//! A stream of the Durable Streams protocol: what a buffer is besides a log when its first record
//! defines it as one.
//!
//! ```text
//!   (empty buffer) ──define──▶ open ──close──▶ closed        each a record of kind `stream`,
//!                                └──────┴── idle too long, or its time has come ──▶ expired
//! ```
//! All of it is in the buffer's own records, so it is atomic with the messages of the same append,
//! survives a restart as they do, and reaches every copy. Invariants: the tail is the last message,
//! or the definition before the first; what readers are shown is committed; an expired stream never
//! comes back.

pub mod control;
pub mod definition;
pub mod request;
mod saved;
pub mod stream_path;

mod judge;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::dedupe::Earlier;
use crate::ids::{Micros, Seq};
use control::Control;
pub use definition::{Definition, DefinitionError, Life};
pub(crate) use judge::Repeat;
pub use request::{StreamAppend, StreamEnd, StreamRefused, StreamWrite, producer_id, writer_seq};
pub(crate) use saved::Saved;

/// What readers may know of a stream: only what is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shown {
    pub(crate) tail: Seq,
    pub(crate) closed: bool,
}

/// A stream as a request sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamView {
    /// Its content type and its life.
    pub definition: Arc<Definition>,
    /// The seq behind which its first message stands, or will.
    pub base: Seq,
    /// The seq behind which the next message will stand.
    pub tail: Seq,
    /// No message will follow the tail.
    pub closed: bool,
}

impl StreamView {
    /// Whether a read that ends with `through` has come to the end of a closed stream.
    #[must_use]
    pub fn closed_at(&self, through: Seq) -> bool {
        self.closed && through == self.tail
    }
}

/// What a look at a buffer's stream finds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StreamSeen {
    /// The buffer is not open: it is being opened anew, or it is gone.
    NotOpen,
    /// The buffer is no stream, or its definition is not committed yet.
    None,
    /// The stream's time is over.
    Expired,
    /// It can be used.
    Live(StreamView),
}

/// The state of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    definition: Arc<Definition>,
    defined: Earlier,
    tail: Seq,
    closed: Option<Earlier>,
    /// The last `Stream-Seq`.
    writer_seq: Option<Box<str>>,
    /// Time of the last record: what a restart will know of the stream's use.
    recorded: Micros,
    /// When it was last used.
    used: Micros,
    /// It was seen expired; a clock that goes back does not revive it.
    gone: bool,
    shown: Option<Shown>,
}

impl Stream {
    pub(crate) fn define(definition: Definition, closed: bool, at: Earlier) -> Self {
        Self {
            definition: Arc::new(definition),
            defined: at,
            tail: at.first,
            closed: closed.then_some(at),
            writer_seq: None,
            recorded: at.time,
            used: at.time,
            gone: false,
            shown: None,
        }
    }

    /// Takes in a record of the stream that came after its definition.
    pub(crate) fn note(&mut self, control: Option<&Control>, seq: Option<&str>, at: Earlier) {
        match control {
            None => self.tail = at.last(),
            Some(Control::Close) => {
                self.closed = Some(at);
                if at.rest > 0 {
                    self.tail = at.last();
                }
            }
            Some(Control::Define { .. }) => {
                if at.rest > 0 {
                    self.tail = at.last();
                }
            }
            Some(Control::Use) => {}
        }
        if let Some(seq) = seq {
            self.writer_seq = Some(seq.into());
        }
        self.recorded = at.time.max(self.recorded);
        self.used(at.time);
    }

    /// Everything that was noted is durable and committed. Readers may have used the stream since
    /// its last record, by as much as goes unrecorded: it lives longer by that, never shorter.
    pub(crate) fn recovered(mut self) -> Self {
        if let Life::Idle { .. } = self.definition.life {
            self.used = Micros(self.recorded.0.saturating_add(self.definition.life.grain()));
        }
        self.shown = Some(self.framed());
        self
    }

    /// What readers will be shown once all that is framed is committed.
    pub(crate) fn framed(&self) -> Shown {
        let (tail, closed) = (self.tail, self.closed.is_some());
        Shown { tail, closed }
    }

    pub(crate) fn show(&mut self, shown: Shown) {
        self.shown = Some(shown);
    }

    /// The stream was used at `now`, if it still lives.
    pub(crate) fn used(&mut self, now: Micros) {
        self.age(now);
        if !self.gone {
            self.used = self.used.max(now);
        }
    }

    /// Notes that the stream's time is over, when it is.
    pub(crate) fn age(&mut self, now: Micros) {
        self.gone |= self.deadline().is_some_and(|deadline| now >= deadline);
    }

    /// When the stream ends unless it is used before; `None` for never.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        self.definition.life.deadline(self.used)
    }

    /// Whether its use should be put on record: seldom, so that readers cost few writes.
    #[must_use]
    pub fn use_due(&self, now: Micros) -> bool {
        let idle = matches!(self.definition.life, Life::Idle { .. });
        idle && !self.gone && now.since(self.recorded) >= self.definition.life.grain()
    }

    /// What a request sees at `now`.
    #[must_use]
    pub fn seen(&self, now: Micros) -> StreamSeen {
        let Some(Shown { tail, closed }) = self.shown else {
            return StreamSeen::None;
        };
        let over = self.deadline().is_some_and(|deadline| now >= deadline);
        if self.gone || over {
            return StreamSeen::Expired;
        }
        StreamSeen::Live(StreamView {
            definition: Arc::clone(&self.definition),
            base: self.defined.first,
            tail,
            closed,
        })
    }
}
