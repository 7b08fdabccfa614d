//! What consumers answer, and what follows from it for the workers.

use hbuf_core::buffer::{ConsumerAnswer, ConsumerRefused};
use hbuf_core::consumer::{Given, Settled};
use hbuf_core::input::Token;

use super::consumer::{At, Call, Held};
use super::consumer_tasks::Task;
use super::{Due, World};
use crate::draw::Purpose;
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::ledger::{Asked, Wanted};
use crate::trace::EventId;

impl World<'_> {
    pub(super) fn on_consumer_answer(
        &mut self,
        cause: EventId,
        token: Token,
        answer: ConsumerAnswer,
    ) {
        let Some(call) = self.crew.calls.remove(&token) else {
            return;
        };
        if let Some(worker) = call.worker {
            self.crew.workers[worker].waits_for = None;
        }
        let at = call.at;
        let mut event = cause;
        let mut after = 200;
        match (&call.asked, answer) {
            (_, ConsumerAnswer::Refused(refused)) => {
                event = self.on_refused(cause, &call, refused);
                let worker = call.worker.map(|worker| &mut self.crew.workers[worker]);
                if let Some(topic) = worker.and_then(|worker| worker.topic.as_mut()) {
                    topic.passed();
                }
                after = 3_000;
            }
            (Asked::Begin { version }, ConsumerAnswer::Done) => {
                event = self.on_begun(cause, at, *version);
                after = 10;
            }
            (Asked::Begin { .. }, ConsumerAnswer::NeedsStart) => {
                if let Some(worker) = call.worker {
                    self.crew.workers[worker].begins = Some(at);
                }
                after = 10;
            }
            (Asked::Next { moves, .. }, ConsumerAnswer::Given(given)) => {
                (event, after) = self.on_given(cause, (at, call.worker), *moves, &given);
            }
            (Asked::Settle { wanted, moves }, ConsumerAnswer::Settled(settled)) => {
                event = self.on_settled(cause, at, (wanted, *moves), &settled);
            }
            (Asked::Seek { moves }, ConsumerAnswer::Done) => {
                event = self.consumer_event(cause, Kind::ConsumerMoved, at, None);
                if let Some(ledger) = self.crew.ledger(at) {
                    ledger.sought(*moves);
                }
            }
            _ => {}
        }
        if let Some(worker) = call.worker {
            let pace = self.plan.pace;
            let after = self.delay().within(after, after * 2 * pace);
            self.due(event, after, Due::Worker(worker));
        }
    }

    fn on_begun(&mut self, cause: EventId, at: At, version: u64) -> EventId {
        let opening = self.node.opened[at.buffer];
        let place = (at.buffer, at.consumer);
        self.crew.begun.insert(place, (opening, version));
        if let Some(ledger) = self.crew.ledger(at) {
            ledger.sure = true;
        }
        self.consumer_event(cause, Kind::ConsumerBegun, at, None)
    }

    /// A refusal that comes at once changes nothing; a later one leaves open what was done.
    fn on_refused(&mut self, cause: EventId, call: &Call, refused: ConsumerRefused) -> EventId {
        let (at, event) = (
            call.at,
            self.consumer_event(cause, Kind::ConsumerRefused, call.at, None),
        );
        if refused == ConsumerRefused::NotBegun {
            self.crew.begun.remove(&(at.buffer, at.consumer));
        }
        if let Some(ledger) = self.crew.ledger(at) {
            match (&call.undo, &call.asked) {
                (Some(undo), _) => *ledger = (**undo).clone(),
                (None, Asked::Next { limit, .. }) => ledger.unknown(*limit),
                _ => {}
            }
        }
        event
    }

    fn on_given(
        &mut self,
        cause: EventId,
        (at, worker): (At, Option<usize>),
        moves: u64,
        given: &[Given],
    ) -> (EventId, u64) {
        let topic = worker.map(|worker| &mut self.crew.workers[worker].topic);
        let of_topic = match topic {
            Some(Some(topic)) => {
                topic.gave(given);
                true
            }
            _ => false,
        };
        let (Some(first), Some(last)) = (given.first(), given.last()) else {
            let event = self.consumer_event(cause, Kind::NextEmpty, at, None);
            let after = match (of_topic, self.crew.finishing) {
                (true, _) => 20,
                (false, true) => 20_000,
                (false, false) => 2_000,
            };
            return (event, after);
        };
        let seqs = Some((first.seq.min(last.seq), first.seq.max(last.seq)));
        let event = self.consumer_event(cause, Kind::MessagesGiven, at, seqs);
        let still = self.models[at.buffer].stands_still();
        self.check(!still, Invariant::PauseStopsConsumers, || {
            format!("buffer {}: {given:?} while it is paused", at.buffer)
        });
        let (now, model) = (self.now(), &self.models[at.buffer]);
        if let Some(ledger) = self.crew.ledger(at) {
            let checked = ledger.gave(now, given, moves, model);
            self.finding(at, checked);
        }
        let draw = self.draws.draw(Purpose::Worker, event.0, 0);
        if of_topic {
            return (event, 20);
        }
        let gone = !self.crew.finishing && draw.percent(5);
        match worker.filter(|_| !gone) {
            Some(worker) => {
                let held = given.iter().filter(|one| one.lease.is_some());
                let held = held.map(|given| Held { at, given: *given });
                self.crew.workers[worker].held.extend(held);
            }
            None => self.later(event, Task::Return(at, given.to_vec())),
        }
        (event, 100)
    }

    fn on_settled(
        &mut self,
        cause: EventId,
        at: At,
        (wanted, moves): (&[Wanted], u64),
        settled: &[Settled],
    ) -> EventId {
        let mut event = cause;
        for (wanted, settled) in wanted.iter().zip(settled) {
            let seqs = Some((wanted.seq, wanted.seq));
            event = self.consumer_event(cause, Kind::of_settled(*settled), at, seqs);
            let buffer = self.registry.uuid(at.buffer);
            let buffer = self.node.shard.buffer(&buffer);
            let recorded = buffer.and_then(|buffer| buffer.consumer_recorded(&at.consumer));
            let on_record = recorded.is_none_or(|recorded| recorded.is_done(wanted.seq));
            if let Some(ledger) = self.crew.ledger(at) {
                let checked = ledger.settled_as((wanted, moves), *settled, on_record);
                self.finding(at, checked);
            }
        }
        event
    }
}
