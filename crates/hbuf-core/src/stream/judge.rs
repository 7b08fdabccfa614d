//! Whether an append to a stream is new, a repetition, or refused.

use super::{Definition, Stream, StreamEnd, StreamRefused, StreamWrite};
use crate::dedupe::Earlier;
use crate::dedupe::producers::{Last, Producers};
use crate::record::Producer;

/// An append that is answered by an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Repeat {
    /// The earlier one; the answer waits until it has reached its level.
    pub(crate) earlier: Earlier,
    /// What the answer says of the stream.
    pub(crate) end: Option<StreamEnd>,
}

/// A producer's number before the stream was looked at.
enum Number {
    New,
    /// Its last number again, or, unless `latest`, one before it.
    Repeated {
        last: Last,
        latest: bool,
    },
    Refused(StreamRefused),
}

impl Stream {
    /// A creation of the stream that is there.
    pub(crate) fn judge_again(
        &self,
        definition: &Definition,
        closed: bool,
    ) -> Result<Repeat, StreamRefused> {
        if self.gone {
            return Err(StreamRefused::Expired);
        }
        if !self.definition.same(definition) || self.closed.is_some() != closed {
            return Err(StreamRefused::Differs);
        }
        Ok(self.repeat(self.defined, None, false))
    }

    /// The record of a use that somebody else put on record meanwhile.
    pub(crate) fn judge_use(
        &self,
        now: crate::ids::Micros,
    ) -> Result<Option<Repeat>, StreamRefused> {
        if self.gone {
            return Err(StreamRefused::Expired);
        }
        let again = || self.repeat(self.defined, None, false);
        Ok((!self.use_due(now)).then(again))
    }

    /// Messages, a closing, or both: `None` when it is new. A closed stream is said before a
    /// content type or number that would not fit either.
    pub(crate) fn judge_write(
        &self,
        producers: &Producers,
        producer: Option<&Producer>,
        write: &StreamWrite,
        data: bool,
    ) -> Result<Option<Repeat>, StreamRefused> {
        if self.gone {
            return Err(StreamRefused::Expired);
        }
        let number = producer.map(|producer| number(producers, producer));
        if let Some(Number::Refused(stale @ StreamRefused::ProducerStale { .. })) = number {
            return Err(stale);
        }
        if let Some(repeat) = self.judge_closed(number.as_ref(), write, data) {
            return Ok(Some(repeat));
        }
        if let Some(Number::Repeated { last, .. }) = number {
            return Ok(Some(self.repeat(last.earlier, Some(last.number), false)));
        }
        let got = write.content_type.as_deref().unwrap_or_default();
        if data && !self.definition.takes(got) {
            return Err(StreamRefused::TypeDiffers {
                stream: self.definition.content_type().into(),
                got: got.into(),
            });
        }
        if let Some(Number::Refused(refused)) = number {
            return Err(refused);
        }
        match (&write.seq, &self.writer_seq) {
            (Some(got), Some(last)) if got.as_bytes() <= last.as_bytes() => {
                Err(StreamRefused::SeqOld {
                    last: last.clone(),
                    got: got.clone(),
                })
            }
            _ => Ok(None),
        }
    }

    /// A closed stream takes nothing; the request that closed it, and a request that only closes,
    /// are answered as the first one was.
    fn judge_closed(
        &self,
        number: Option<&Number>,
        write: &StreamWrite,
        data: bool,
    ) -> Option<Repeat> {
        let closed = self.closed?;
        Some(match number {
            Some(Number::Repeated { last, latest: true }) if last.earlier.first == closed.first => {
                self.repeat(closed, Some(last.number), false)
            }
            None if write.close && !data => self.repeat(closed, None, false),
            _ => self.repeat(closed, None, true),
        })
    }

    fn repeat(&self, earlier: Earlier, number: Option<u64>, refused: bool) -> Repeat {
        let end = StreamEnd {
            tail: if refused {
                self.tail
            } else {
                self.tail.min(earlier.last())
            },
            closed: self.closed.is_some(),
            number,
            refused,
        };
        Repeat {
            earlier,
            end: Some(end),
        }
    }

    /// What the answer to an append says that was just noted.
    pub(crate) fn end_for(&self, producer: Option<&Producer>) -> StreamEnd {
        StreamEnd {
            tail: self.tail,
            closed: self.closed.is_some(),
            number: producer.map(|producer| producer.number),
            refused: false,
        }
    }
}

fn number(producers: &Producers, producer: &Producer) -> Number {
    let got = producer.number;
    let expected = match producers.last(&producer.id) {
        None => 0,
        Some(last) if producer.epoch < last.epoch => {
            return Number::Refused(StreamRefused::ProducerStale {
                current: last.epoch,
                got: producer.epoch,
            });
        }
        Some(last) if producer.epoch > last.epoch => {
            let epoch = producer.epoch;
            return match got {
                0 => Number::New,
                _ => Number::Refused(StreamRefused::ProducerStart { epoch, got }),
            };
        }
        Some(last) if got <= last.number => {
            let latest = got == last.number;
            let last = last.clone();
            return Number::Repeated { last, latest };
        }
        Some(last) => last.number + 1,
    };
    if got == expected {
        return Number::New;
    }
    Number::Refused(StreamRefused::ProducerGap { expected, got })
}
