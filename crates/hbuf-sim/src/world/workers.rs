//! Workers' turns: they ask for messages, say what becomes of them, come too late, say it twice,
//! move the consumer, or do nothing more. In the end they take and ack all that is left.

use hbuf_core::buffer::ConsumerCall;
use hbuf_core::consumer::{LeaseId, Settling};
use hbuf_core::ids::Seq;
use hbuf_core::input::Token;

use super::consumer::{At, Held};
use super::{Due, World};
use crate::choices::{some_settling, some_start};
use crate::draw::{Draw, Purpose, mix};
use crate::kinds::Kind;
use crate::trace::EventId;

/// Messages that a worker keeps in mind after it was done with them.
const SETTLED_MAX: usize = 8;

impl World<'_> {
    pub(super) fn worker_turn(&mut self, cause: EventId, worker: usize) {
        if self.crew.workers[worker].waits_for.is_some() {
            return;
        }
        self.crew.workers[worker].turns += 1;
        if self.crew.finishing {
            return self.finishing_turn(cause, worker);
        }
        if self.draining {
            return;
        }
        let turn = mix(worker as u64, self.crew.workers[worker].turns);
        let draw = |ordinal| self.draws.draw(Purpose::Worker, turn, ordinal);
        let rest = draw(9).within(200, 1_500 * self.plan.pace);
        let rest = if draw(10).percent(4) {
            rest + draw(11).within(50_000, 300_000)
        } else {
            rest
        };
        if let Some(at) = self.crew.workers[worker].begins.take() {
            let start = self.registry.consumer(at.consumer).map(|it| it.0.start);
            if let Some(start) = start {
                let after = self.place_of(at.buffer, start);
                return self.begin(cause, worker, at, Some(after));
            }
        }
        if self.crew.workers[worker].topic.is_some() {
            return self.go_on_asking(cause, worker);
        }
        let place = self.any_place(draw(1));
        match (draw(0).below(100), place) {
            (0..45, Some(at)) => {
                let (of_all, of_one) = (draw(6), draw(2));
                if !self.ask_topic(cause, worker, at, of_all) {
                    self.ask_next(cause, worker, at, of_one);
                }
                return;
            }
            (45..80, _) if !self.crew.workers[worker].held.is_empty() => {
                return self.settle_held(cause, worker, draw(3));
            }
            (80..85, _) if !self.crew.workers[worker].settled.is_empty() => {
                return self.settle_again(cause, worker, draw(4));
            }
            (85..87, Some(at)) => return self.seek(cause, worker, at, draw(5)),
            (87..92, _) => self.forget_held(cause, worker),
            _ => {}
        }
        self.due(cause, rest, Due::Worker(worker));
    }

    fn any_place(&self, draw: Draw) -> Option<At> {
        let count = self.crew.consumers.len() as u64;
        let chosen = usize::try_from(draw.below(count.max(1))).expect("few consumers");
        let consumer = self.crew.consumers.get(chosen)?;
        let members = consumer.members.len() as u64;
        let member = usize::try_from(draw.next().below(members)).expect("few buffers");
        Some(At {
            consumer: consumer.uuid,
            buffer: consumer.members[member],
        })
    }

    /// Whether the shard knows the consumer as it is set now; otherwise it is told first.
    pub(super) fn has_begun(&mut self, cause: EventId, worker: usize, at: At) -> bool {
        if self.is_begun(at) {
            return true;
        }
        self.begin(cause, worker, at, None);
        false
    }

    pub(super) fn is_begun(&self, at: At) -> bool {
        let version = self.registry.consumer(at.consumer).map_or(0, |it| it.1);
        let now = (self.node.opened[at.buffer], version);
        self.crew.begun.get(&(at.buffer, at.consumer)) == Some(&now)
    }

    fn begin(&mut self, cause: EventId, worker: usize, at: At, after: Option<Seq>) {
        let Some((config, version)) = self.registry.consumer(at.consumer) else {
            self.due(cause, 1_000, Due::Worker(worker));
            return;
        };
        let config = Box::new(config.clone());
        self.call_consumer(
            cause,
            Some(worker),
            at,
            ConsumerCall::Begin {
                config,
                version,
                after,
            },
        );
    }

    fn ask_next(&mut self, cause: EventId, worker: usize, at: At, draw: Draw) {
        if !self.has_begun(cause, worker, at) {
            return;
        }
        let limit = if draw.percent(50) {
            1
        } else {
            draw.next().within(2, 20)
        };
        let waits = draw.next().next().percent(40);
        let event = self.consumer_event(cause, Kind::NextAsked, at, None);
        let call = ConsumerCall::Next {
            limit: usize::try_from(limit).expect("twenty at most"),
            waits,
        };
        self.call_consumer(event, Some(worker), at, call);
        let after = draw.next().next().next().within(1_000, 40_000);
        if let Some(token) = self.crew.workers[worker].waits_for.filter(|_| waits) {
            self.due(event, after, Due::StopWaiting(token));
        }
    }

    pub(super) fn stop_waiting(&mut self, cause: EventId, next: Token) {
        if let Some(call) = self.crew.calls.get(&next) {
            let at = call.at;
            self.tell_consumer(cause, at, Token(0), ConsumerCall::Stop { next });
        }
    }

    /// Says what becomes of the messages of one consumer in one buffer.
    fn settle_held(&mut self, cause: EventId, worker: usize, draw: Draw) {
        let at = self.crew.workers[worker].held[0].at;
        if !self.has_begun(cause, worker, at) {
            return;
        }
        let mut items = Vec::new();
        let (mut kept, mut done) = (Vec::new(), Vec::new());
        let mut draw = draw;
        for held in std::mem::take(&mut self.crew.workers[worker].held) {
            draw = draw.next();
            let what = if held.at == at {
                some_settling(draw)
            } else {
                None
            };
            match what {
                Some(what) => {
                    items.push(item(&held, what));
                    match what {
                        Settling::Extend { .. } => kept.push(held),
                        _ => done.push(held),
                    }
                }
                None => kept.push(held),
            }
        }
        let this = &mut self.crew.workers[worker];
        this.held = kept;
        this.settled.extend(done);
        let spare = this.settled.len().saturating_sub(SETTLED_MAX);
        this.settled.drain(..spare);
        if items.is_empty() {
            self.due(cause, 500, Due::Worker(worker));
            return;
        }
        self.settle_items(cause, worker, at, items);
    }

    fn settle_items(
        &mut self,
        cause: EventId,
        worker: usize,
        at: At,
        items: Vec<(Seq, LeaseId, Settling)>,
    ) {
        let seqs = items.first().zip(items.last());
        let seqs = seqs.map(|(first, last)| (first.0, last.0));
        let event = self.consumer_event(cause, Kind::SettleAsked, at, seqs);
        self.call_consumer(event, Some(worker), at, ConsumerCall::Settle(items));
    }

    /// Acks what is done, or is somebody else's by now.
    fn settle_again(&mut self, cause: EventId, worker: usize, draw: Draw) {
        let settled = &self.crew.workers[worker].settled;
        let chosen = usize::try_from(draw.below(settled.len() as u64)).expect("few messages");
        let held = settled[chosen];
        if self.has_begun(cause, worker, held.at) {
            let items = vec![item(&held, Settling::Ack)];
            self.settle_items(cause, worker, held.at, items);
        }
    }

    fn seek(&mut self, cause: EventId, worker: usize, at: At, draw: Draw) {
        if !self.has_begun(cause, worker, at) {
            return;
        }
        let start = some_start(draw, self.now(), self.models[at.buffer].commit);
        let after = self.place_of(at.buffer, start);
        self.call_consumer(cause, Some(worker), at, ConsumerCall::Seek(after));
    }

    /// Its leases lapse.
    fn forget_held(&mut self, cause: EventId, worker: usize) {
        let held = std::mem::take(&mut self.crew.workers[worker].held);
        if let Some(first) = held.first() {
            let seqs = Some((first.given.seq, first.given.seq));
            self.consumer_event(cause, Kind::MessagesForgotten, first.at, seqs);
        }
        let this = &mut self.crew.workers[worker];
        this.settled.extend(held.into_iter().take(SETTLED_MAX));
    }

    /// Takes and acks what is left.
    fn finishing_turn(&mut self, cause: EventId, worker: usize) {
        self.crew.workers[worker].topic = None;
        if let Some(at) = self.crew.workers[worker].begins.take()
            && let Some((config, _)) = self.registry.consumer(at.consumer)
        {
            let after = self.place_of(at.buffer, config.start);
            return self.begin(cause, worker, at, Some(after));
        }
        let held = std::mem::take(&mut self.crew.workers[worker].held);
        if let Some(first) = held.first().copied() {
            let (own, others): (Vec<Held>, Vec<Held>) =
                held.into_iter().partition(|it| it.at == first.at);
            self.crew.workers[worker].held = others;
            if self.crew.consumer(first.at.consumer).is_some()
                && self.has_begun(cause, worker, first.at)
            {
                let items = own.iter().map(|held| item(held, Settling::Ack));
                self.settle_items(cause, worker, first.at, items.collect());
            } else if self.crew.workers[worker].waits_for.is_none() {
                self.due(cause, 100, Due::Worker(worker));
            }
            return;
        }
        let unfinished = self.unfinished();
        let turn = usize::try_from(self.crew.workers[worker].turns).expect("turns fit");
        let Some(at) = unfinished.get(turn % unfinished.len().max(1)).copied() else {
            // What clients still wait for is committed behind this.
            self.due(cause, 20_000, Due::Worker(worker));
            return;
        };
        if self.has_begun(cause, worker, at) {
            let (limit, waits) = (100, false);
            let event = self.consumer_event(cause, Kind::NextAsked, at, None);
            self.call_consumer(event, Some(worker), at, ConsumerCall::Next { limit, waits });
        }
    }
}

fn item(held: &Held, what: Settling) -> (Seq, LeaseId, Settling) {
    let lease = held.given.lease.expect("only what is leased is held");
    (held.given.seq, lease, what)
}
