//! Workers: clients that take messages of consumers, say what becomes of them, come too late, say
//! it twice, move the consumer, or do nothing more. When the faults are over, they take and ack
//! all that is left.

use hbuf_core::buffer::ConsumerRefused;
use hbuf_core::consumer::{Given, LeaseId, Settled, Settling, Start};
use hbuf_core::ids::{NodeId, Seq};

use super::World;
use super::client::{Pending, Wanted};
use super::crew::At;
use super::message::Ask;
use crate::choices::{some_settling, some_start};
use crate::draw::{Draw, Purpose, mix};
use crate::kinds::Kind;
use crate::tracefile::EventId;

/// Messages that a worker keeps in mind after it was done with them.
const SETTLED_MAX: usize = 8;
/// Between two looks at whether anything is left, in microseconds.
const LOOK_AGAIN_US: u64 = 50_000;
/// So many messages are taken at once in the end.
const FINISHING: usize = 100;

/// What a worker asks of a consumer.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// For messages.
    Next {
        limit: usize,
        /// Wait for the first one.
        waits: bool,
    },
    /// What is to become of messages.
    Settle(Vec<(Seq, LeaseId, Settling)>),
    /// Begin anew there.
    Seek(Start),
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(super) enum Worked {
    Given(Vec<Given>),
    Settled(Vec<(Seq, Settled)>),
    Moved,
    Refused(ConsumerRefused),
}

impl Work {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Next { .. } => Kind::NextAsked,
            Self::Settle(_) => Kind::SettleAsked,
            Self::Seek(_) => Kind::SeekAsked,
        }
    }
}

/// A message that a worker was handed.
#[derive(Clone, Copy, Debug)]
struct Held {
    at: At,
    seq: Seq,
    lease: LeaseId,
}

/// What a client has in mind as a worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Hands {
    held: Vec<Held>,
    /// What it was done with.
    settled: Vec<Held>,
}

impl World {
    /// A worker's turn; what is not to be asked of a consumer passes unused.
    pub(super) fn work_turn(&mut self, cause: EventId, eid: EventId, client: usize, entity: u64) {
        let draw = |ordinal| self.draw(Purpose::Worker, entity, ordinal);
        let hands = &self.clients[client].hands;
        let places: Vec<At> = self.crew.places().collect();
        let any = usize::try_from(draw(1).below(places.len() as u64)).unwrap_or(0);
        let at = places[any];
        match draw(0).below(100) {
            50..85 if !hands.held.is_empty() => {
                let (at, items) = self.some_settled(client, draw(3));
                self.ask_consumer(cause, eid, client, at, Work::Settle(items));
            }
            85..90 if !hands.settled.is_empty() => {
                // It is done, or somebody else's by now.
                let count = hands.settled.len() as u64;
                let chosen = usize::try_from(draw(4).below(count)).unwrap_or(0);
                let held = hands.settled[chosen];
                let items = vec![(held.seq, held.lease, Settling::Ack)];
                self.ask_consumer(cause, eid, client, held.at, Work::Settle(items));
            }
            90..92 => {
                let end = self.watch.committed_through(at.buffer);
                let start = some_start(draw(5), self.wall(0), end);
                self.ask_consumer(cause, eid, client, at, Work::Seek(start));
            }
            92..97 if !hands.held.is_empty() => {
                // It dies, and with it what it had in hand: its leases lapse.
                let at = hands.held[0].at;
                self.consumer_event(cause, Kind::MessagesForgotten, None, at, None);
                let hands = &mut self.clients[client].hands;
                let gone = std::mem::take(&mut hands.held);
                hands.keep_in_mind(gone);
                self.next_turn(cause, client);
            }
            _ => {
                let limit = match draw(2).percent(50) {
                    true => 1,
                    false => draw(2).next().within(2, 20),
                };
                let work = Work::Next {
                    limit: usize::try_from(limit).unwrap_or(1),
                    waits: draw(6).percent(30),
                };
                self.ask_consumer(cause, eid, client, at, work);
            }
        }
    }

    /// What is to become of the messages of one consumer in one buffer that a worker has.
    fn some_settled(
        &mut self,
        client: usize,
        mut draw: Draw,
    ) -> (At, Vec<(Seq, LeaseId, Settling)>) {
        let hands = &mut self.clients[client].hands;
        let at = hands.held[0].at;
        let (mut items, mut kept, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for held in std::mem::take(&mut hands.held) {
            draw = draw.next();
            match some_settling(draw).filter(|_| held.at == at) {
                Some(what) => {
                    items.push((held.seq, held.lease, what));
                    match what {
                        Settling::Extend { .. } => kept.push(held),
                        _ => done.push(held),
                    }
                }
                None => kept.push(held),
            }
        }
        hands.held = kept;
        hands.keep_in_mind(done);
        (at, items)
    }

    fn ask_consumer(
        &mut self,
        cause: EventId,
        eid: EventId,
        client: usize,
        At { consumer, buffer }: At,
        work: Work,
    ) {
        let wanted = Wanted {
            buffer,
            ask: Ask::Work { consumer, work },
            to: None,
            again: false,
            place: None,
            doubtful: false,
            asked: None,
        };
        self.ask_as(cause, eid, client, wanted, 0);
    }

    /// What a worker is answered.
    pub(super) fn work_done(
        &mut self,
        client: usize,
        pending: &Pending,
        worked: &Worked,
        hint: Option<NodeId>,
    ) {
        let buffer = pending.buffer();
        let Ask::Work { consumer, work } = pending.asks() else {
            return;
        };
        let at = At {
            consumer: *consumer,
            buffer,
        };
        self.learn(client, buffer, hint);
        let stormy = self.stormy;
        let hands = &mut self.clients[client].hands;
        match (work, worked) {
            (_, Worked::Given(given)) => {
                let leased = given.iter().filter_map(|one| {
                    let (seq, lease) = (one.seq, one.lease?);
                    Some(Held { at, seq, lease })
                });
                hands.held.extend(leased);
            }
            // What is somebody else's by now is not extended again.
            (_, Worked::Settled(settled)) => {
                let lost = |held: &Held| {
                    let lost = |(seq, settled): &(Seq, Settled)| {
                        *seq == held.seq && *settled == Settled::LeaseLost
                    };
                    held.at == at && settled.iter().any(lost)
                };
                hands.held.retain(|held| !lost(held));
            }
            // It is still in its hands: it says so again, elsewhere.
            (Work::Settle(items), Worked::Refused(refused)) if stormy && is_elsewhere(*refused) => {
                let again = |held: &Held| {
                    let mut items = items.iter();
                    held.at == at && items.any(|it| (it.0, it.1) == (held.seq, held.lease))
                };
                let (back, mind) = std::mem::take(&mut hands.settled)
                    .into_iter()
                    .partition(again);
                hands.settled = mind;
                let mut back: Vec<Held> = back;
                back.retain(|held| !hands.held.iter().any(|it| it.lease == held.lease));
                hands.held.extend(back);
            }
            _ => {}
        }
    }

    /// A turn when the faults are over: what is left is taken and acked.
    pub(super) fn finishing_turn(&mut self, cause: EventId, eid: EventId, client: usize) {
        if self.crew.consumers.is_empty() {
            return;
        }
        let turn = self.clients[client].take_turn();
        let hands = &mut self.clients[client].hands;
        if let Some(at) = hands.held.first().map(|held| held.at) {
            let (own, others) = std::mem::take(&mut hands.held)
                .into_iter()
                .partition(|held| held.at == at);
            (hands.held, hands.settled) = (others, own);
            let items = hands.settled.iter();
            let items = items.map(|held| (held.seq, held.lease, Settling::Ack));
            let work = Work::Settle(items.collect());
            return self.ask_consumer(cause, eid, client, at, work);
        }
        let places = self.crew.places();
        let left: Vec<At> = places.filter(|at| self.left_for(*at).is_some()).collect();
        if left.is_empty() {
            // What is under way is committed behind this.
            return self.plan_turn(cause, self.t + LOOK_AGAIN_US, client);
        }
        let chosen = mix(client as u64, turn) % left.len() as u64;
        let at = left[usize::try_from(chosen).unwrap_or(0)];
        let work = Work::Next {
            limit: FINISHING,
            waits: false,
        };
        self.ask_consumer(cause, eid, client, at, work);
    }
}

impl Hands {
    fn keep_in_mind(&mut self, done: Vec<Held>) {
        self.settled.extend(done);
        let spare = self.settled.len().saturating_sub(SETTLED_MAX);
        self.settled.drain(..spare);
    }
}

/// Nothing was done: another node may lead, or this one later.
const fn is_elsewhere(refused: ConsumerRefused) -> bool {
    matches!(
        refused,
        ConsumerRefused::NotPrimary
            | ConsumerRefused::NotOpen
            | ConsumerRefused::Paused
            | ConsumerRefused::DiskFull
    )
}
