//! A reader of all buffers as one topic: pages that arrive one by one, cursors that are kept as
//! text, and a naive look for what should have come next.

use hbuf_core::ids::{Micros, Seq};
use hbuf_core::topic::{BufferPlace, Head, Merge, Order, Step, TopicCursor};

use super::{Due, World};
use crate::draw::Purpose;
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::trace::{EventId, Facts};

/// What the reader keeps between its turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicReader {
    cursor: Option<String>,
    turns: u64,
}

/// One turn: a read that ends at the commits of its start.
struct Reading {
    /// The buffers in the order of their uuids.
    buffers: Vec<usize>,
    /// By member: the last message delivered, the last one that a page has, the last one of the
    /// read.
    places: Vec<Seq>,
    seen: Vec<Seq>,
    through: Vec<Seq>,
}

/// The number of the topic.
const TOPIC: u64 = 1;

impl World<'_> {
    pub(super) fn topic_turn(&mut self, cause: EventId) {
        if self.draining {
            return;
        }
        self.topic_reader.turns += 1;
        let turn = self.topic_reader.turns;
        let draw = |ordinal| self.draws.draw(Purpose::Topic, turn, ordinal);
        let (after, page, limit) = (
            draw(0).within(500, 6_000),
            draw(1).within(1, 5),
            draw(2).within(1, 60),
        );
        self.due(cause, after, Due::TopicRead);
        let mut reading = self.start_reading();
        let count = match self.read_topic(&mut reading, page, limit) {
            Ok(count) => count,
            Err(what) => return self.broke(Invariant::TopicInOrder, what),
        };
        self.keep_cursor(&reading);
        if count > 0 {
            let note = format!("{count} messages");
            let facts = Facts {
                note: &note,
                ..Facts::default()
            };
            self.event(cause, Kind::TopicRead, &facts);
        }
    }

    fn start_reading(&self) -> Reading {
        let mut buffers: Vec<usize> = (0..self.plan.buffers).collect();
        buffers.sort_by_key(|buffer| self.registry.uuid(*buffer));
        let cursor = self.topic_reader.cursor.as_deref();
        let cursor = cursor.map(|text| TopicCursor::decode(text, TOPIC).expect("it was kept"));
        let place = |buffer: &usize| {
            let (uuid, model) = (self.registry.uuid(*buffer), &self.models[*buffer]);
            let of = |place: &&BufferPlace| place.is_of(&uuid);
            let kept = cursor
                .as_ref()
                .and_then(|cursor| cursor.places.iter().find(of));
            // An operator may have put an older copy back, and retention dropped what was not read.
            let kept = kept.map_or(Seq::ZERO, |place| place.seq.min(model.commit));
            kept.max(model.first.prev())
        };
        let places: Vec<Seq> = buffers.iter().map(place).collect();
        Reading {
            through: buffers
                .iter()
                .map(|buffer| self.models[*buffer].commit)
                .collect(),
            seen: places.clone(),
            places,
            buffers,
        }
    }

    fn keep_cursor(&mut self, reading: &Reading) {
        let members = reading.buffers.iter().zip(&reading.places);
        let places = members.map(|(buffer, seq)| {
            let uuid = self.registry.uuid(*buffer);
            BufferPlace::new(&uuid, &uuid, *seq)
        });
        let cursor = TopicCursor {
            topic: TOPIC,
            places: places.collect(),
        };
        self.topic_reader.cursor = Some(cursor.encode());
    }

    /// Delivers up to `limit` messages, or says what came out of its turn.
    fn read_topic(&self, reading: &mut Reading, page: u64, limit: u64) -> Result<u64, String> {
        let members = reading.buffers.len();
        let mut merge = Merge::new(Order::Earliest, members, &self.rules());
        let mut count = 0;
        while count < limit {
            match merge.step(self.now()) {
                Step::Look => {
                    // One page arrives at a time.
                    let unknown = (0..members).find(|at| merge.head(*at) == Head::Unknown);
                    let at = unknown.expect("a look is for somebody");
                    let more = Seq(reading.seen[at].0 + page);
                    reading.seen[at] = more.min(reading.through[at]).max(reading.seen[at]);
                    merge.set(at, self.topic_head(reading, at));
                }
                Step::Deliver { member, bound } => {
                    while let Head::Next(time) = self.topic_head(reading, member)
                        && bound.admits(time, member)
                        && count < limit
                    {
                        self.check_turn(reading, (time, member))?;
                        reading.places[member] = reading.places[member].next();
                        count += 1;
                    }
                    merge.set(member, self.topic_head(reading, member));
                }
                Step::Nothing => break,
                other => return Err(format!("{other:?} without strict order")),
            }
        }
        Ok(count)
    }

    fn topic_head(&self, reading: &Reading, at: usize) -> Head {
        let next = reading.places[at].next();
        if next <= reading.seen[at] {
            return Head::Next(self.topic_time(reading, at));
        }
        if next <= reading.through[at] {
            return Head::Unknown;
        }
        Head::Idle { closed: Micros(0) }
    }

    /// The time of a member's next message.
    fn topic_time(&self, reading: &Reading, at: usize) -> Micros {
        let (model, next) = (&self.models[reading.buffers[at]], reading.places[at].next());
        model.entry(next).map_or(Micros::MAX, |entry| entry.time)
    }

    /// The naive rule: nothing that is there is earlier.
    fn check_turn(&self, reading: &Reading, turn: (Micros, usize)) -> Result<(), String> {
        let members = 0..reading.buffers.len();
        let there = members.filter(|at| reading.places[*at] < reading.through[*at]);
        let earliest = there.map(|at| (self.topic_time(reading, at), at)).min();
        if earliest == Some(turn) {
            return Ok(());
        }
        Err(format!("delivered {turn:?} before {earliest:?}"))
    }
}
