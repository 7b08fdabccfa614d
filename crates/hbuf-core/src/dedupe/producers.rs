//! The table of producers: who appended last under which number.
//!
//! A producer counts its appends from 0 in each of its epochs, without gaps. The rule is that of
//! Kafka's idempotent producer (KIP-98), with the table in the log's own records.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::Earlier;
use crate::append::AppendRefused;
use crate::ids::Seq;
use crate::limits::PRODUCERS_MAX;
use crate::record::Producer;

/// What one producer did last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Last {
    /// The producer's epoch.
    pub epoch: u64,
    /// Its last number.
    pub number: u64,
    /// The append with that number.
    pub earlier: Earlier,
}

/// Whether an append is new.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// The next number: append it.
    New,
    /// The last number again.
    Repeated(Earlier),
}

/// At most [`PRODUCERS_MAX`] producers; the one that appended longest ago makes room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Producers {
    by_id: BTreeMap<Box<str>, Last>,
    by_seq: BTreeMap<Seq, Box<str>>,
}

impl Producers {
    /// What a producer did last.
    #[must_use]
    pub fn last(&self, id: &str) -> Option<&Last> {
        self.by_id.get(id)
    }

    /// Judges a producer's number.
    pub fn judge(&self, producer: &Producer) -> Result<Seen, AppendRefused> {
        let last = self.by_id.get(&producer.id);
        let expected = match last {
            Some(last) if producer.epoch < last.epoch => {
                return Err(AppendRefused::ProducerFenced {
                    current: last.epoch,
                    got: producer.epoch,
                });
            }
            Some(last) if producer.epoch == last.epoch => {
                if producer.number == last.number {
                    return Ok(Seen::Repeated(last.earlier));
                }
                if producer.number < last.number {
                    return Err(AppendRefused::ProducerOld {
                        number: producer.number,
                        last: last.number,
                        before: last.earlier.first,
                    });
                }
                last.number + 1
            }
            _ => 0,
        };
        if producer.number == expected {
            Ok(Seen::New)
        } else {
            Err(AppendRefused::ProducerGap {
                expected,
                got: producer.number,
            })
        }
    }

    /// Notes an append that was judged new, or one read back from the log.
    pub fn note(&mut self, producer: &Producer, earlier: Earlier) {
        let last = Last {
            epoch: producer.epoch,
            number: producer.number,
            earlier,
        };
        if let Some(before) = self.by_id.insert(producer.id.clone(), last) {
            self.by_seq.remove(&before.earlier.first);
        }
        self.by_seq.insert(earlier.first, producer.id.clone());
        if self.by_id.len() > PRODUCERS_MAX
            && let Some((_, id)) = self.by_seq.pop_first()
        {
            self.by_id.remove(&id);
        }
    }

    /// All producers in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Last)> {
        self.by_id.iter().map(|(id, last)| (&**id, last))
    }

    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True when no producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Micros};
    use alloc::format;

    fn producer(id: &str, epoch: u64, number: u64) -> Producer {
        Producer {
            id: id.into(),
            epoch,
            number,
        }
    }

    fn at(first: u64) -> Earlier {
        Earlier {
            first: Seq(first),
            rest: 0,
            time: Micros(0),
            epoch: Epoch(1),
        }
    }

    #[test]
    fn numbers_are_contiguous_from_zero_in_each_epoch() {
        let mut table = Producers::default();
        assert_eq!(
            table.judge(&producer("a", 1, 3)),
            Err(AppendRefused::ProducerGap {
                expected: 0,
                got: 3
            })
        );
        assert_eq!(table.judge(&producer("a", 1, 0)), Ok(Seen::New));
        table.note(&producer("a", 1, 0), at(7));
        assert_eq!(table.judge(&producer("a", 1, 0)), Ok(Seen::Repeated(at(7))));
        assert_eq!(table.judge(&producer("a", 1, 1)), Ok(Seen::New));
        assert_eq!(
            table.judge(&producer("a", 1, 2)),
            Err(AppendRefused::ProducerGap {
                expected: 1,
                got: 2
            })
        );
        assert_eq!(table.judge(&producer("a", 2, 0)), Ok(Seen::New));
        assert_eq!(
            table.judge(&producer("a", 0, 1)),
            Err(AppendRefused::ProducerFenced { current: 1, got: 0 })
        );
    }

    #[test]
    fn an_old_number_is_looked_up_in_the_log() {
        let mut table = Producers::default();
        table.note(&producer("a", 1, 4), at(9));
        assert_eq!(
            table.judge(&producer("a", 1, 2)),
            Err(AppendRefused::ProducerOld {
                number: 2,
                last: 4,
                before: Seq(9)
            })
        );
    }

    #[test]
    fn the_least_recent_producer_makes_room_at_the_limit() {
        let mut table = Producers::default();
        for n in 0..=PRODUCERS_MAX as u64 {
            table.note(&producer(&format!("p{n}"), 1, 0), at(n + 1));
        }
        assert_eq!(table.len(), PRODUCERS_MAX);
        assert_eq!(table.judge(&producer("p0", 1, 0)), Ok(Seen::New));
        assert_eq!(
            table.judge(&producer("p1", 1, 0)),
            Ok(Seen::Repeated(at(2)))
        );
    }
}
