//! An operator makes, changes and deletes consumers, and in the end waits until all that they take
//! was handed out.

use std::collections::BTreeSet;

use hbuf_core::buffer::ConsumerCall;
use hbuf_core::consumer::{AckMode, Config};
use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::input::BufferState;

use super::consumer::{At, Consumer, Put};
use super::filter_store::FILTERS;
use super::{Due, World};
use crate::choices::{some_config, some_start};
use crate::draw::{Draw, Purpose};
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::registry::consumer_uuid;
use crate::trace::EventId;

/// Steps that handing out the rest may take before it counts as stuck.
const FINISH_STEPS_MAX: u64 = 20_000;

impl World<'_> {
    pub(super) fn operator_turn(&mut self, cause: EventId) {
        if self.crew.finishing {
            self.open_one(cause);
            self.store_missing(cause);
            self.due(cause, 20_000, Due::Operator);
            return;
        }
        if self.draining {
            return;
        }
        self.crew.turns += 1;
        let turn = self.crew.turns;
        let draw = |ordinal| self.draws.draw(Purpose::Consumer, 2 + turn, ordinal);
        let (what, which, how) = (draw(0).below(100), draw(1), draw(2));
        let after = draw(3).within(500, 12_000 * self.plan.pace);
        self.due(cause, after, Due::Operator);
        self.delete_unused(cause);
        let count = self.crew.consumers.len();
        if count < self.plan.consumers && (what < 50 || count == 0) {
            return self.create(cause, how);
        }
        let chosen = usize::try_from(which.below(count.max(1) as u64)).expect("few consumers");
        let Some(uuid) = self.crew.consumers.get(chosen).map(|it| it.uuid) else {
            return;
        };
        match what {
            50..85 => self.configure(cause, uuid, how),
            85..93 => self.delete(cause, Kind::ConsumerDeleted, uuid),
            _ => {}
        }
    }

    fn create(&mut self, cause: EventId, draw: Draw) {
        self.crew.made += 1;
        let number = self.crew.made;
        let uuid = consumer_uuid(number);
        let buffers = self.plan.buffers;
        let one = usize::try_from(draw.below(buffers as u64)).expect("few buffers");
        let of = (buffers == 1 || draw.next().percent(75)).then_some(one);
        let mut config = self.any_config(draw, of);
        let draws = |ordinal: u64| {
            self.draws
                .draw(Purpose::Consumer, 1 << 32, number + (ordinal << 16))
        };
        let commit = self.models[one].commit;
        config.start = some_start(draws(0), self.now(), commit);
        if draws(1).percent(20) {
            config.ack = AckMode::OnDelivery;
        }
        self.registry.create_consumer(number, of, config);
        let used = self.now();
        self.crew.consumers.push(Consumer {
            number,
            uuid,
            members: of.map_or_else(|| (0..buffers).collect(), |one| vec![one]),
            ledgers: Default::default(),
            used,
        });
        let at = At {
            consumer: uuid,
            buffer: one,
        };
        self.consumer_event(cause, Kind::ConsumerCreated, at, None);
    }

    /// What may be changed: all but where it begins and when a message counts as done.
    fn any_config(&self, draw: Draw, of: Option<usize>) -> Config {
        let later = of.map_or(usize::MAX, |of| of + 1)..self.plan.buffers;
        // Never back to where the consumer reads, and a mirror takes none.
        let into = later.filter(|into| self.mirror() != Some(*into));
        let into: Vec<Uuid> = into.map(|into| self.registry.uuid(into)).collect();
        let stored = if self.plan.filters { FILTERS } else { 0 };
        some_config(&self.draws, draw.0, &into, stored)
    }

    fn configure(&mut self, cause: EventId, uuid: Uuid, draw: Draw) {
        let Some((present, _)) = self.registry.consumer(uuid) else {
            return;
        };
        let (start, ack, filter) = (present.start, present.ack, present.filter.clone());
        let consumer = self.crew.consumer(uuid).expect("it is in the registry");
        let members = &consumer.members;
        let of = (members.len() == 1).then(|| members[0]);
        let at = At {
            consumer: uuid,
            buffer: members[0],
        };
        let mut config = self.any_config(draw, of);
        (config.start, config.ack) = (start, ack);
        if draw.percent(60) {
            config.filter = filter;
        }
        self.registry.configure_consumer(uuid, config);
        self.consumer_event(cause, Kind::ConsumerConfigured, at, None);
    }

    fn delete_unused(&mut self, cause: EventId) {
        let now = self.now();
        let unused = self.crew.consumers.iter().filter(|one| {
            let config = self.registry.consumer(one.uuid);
            config.is_some_and(|(config, _)| config.is_unused(one.used, now))
        });
        let unused: Vec<Uuid> = unused.map(|one| one.uuid).collect();
        for uuid in unused {
            self.delete(cause, Kind::ConsumerUnused, uuid);
        }
    }

    /// The manager forgets it at once; the buffers that are open are told.
    fn delete(&mut self, cause: EventId, kind: Kind, uuid: Uuid) {
        let Some(place) = self.crew.consumers.iter().position(|it| it.uuid == uuid) else {
            return;
        };
        self.registry.delete_consumer(uuid);
        let members = self.crew.consumers[place].members.clone();
        let at = |buffer| At {
            consumer: uuid,
            buffer,
        };
        let event = self.consumer_event(cause, kind, at(members[0]), None);
        self.crew.consumers.remove(place);
        for buffer in members {
            if self.stands(at(buffer)).is_some() {
                self.call_consumer(event, None, at(buffer), ConsumerCall::Forget);
            }
        }
    }

    /// What stands still goes on, so that all can be handed out.
    fn open_one(&mut self, cause: EventId) {
        let shut = |buffer: &usize| {
            let asked = self.state_asks.values().any(|(_, of)| of == buffer);
            self.models[*buffer].state != BufferState::Open && !asked
        };
        let shut: Vec<usize> = (0..self.plan.buffers).filter(shut).collect();
        for buffer in shut {
            self.set_state(cause, 0, buffer, BufferState::Open);
        }
    }

    /// With the faults over: all that consumers take is handed out and acked, or given up.
    pub(super) fn finish_consumers(&mut self, root: EventId) {
        if self.crew.consumers.is_empty() {
            return;
        }
        self.crew.finishing = true;
        self.due(root, 100, Due::Operator);
        self.wake_workers(root);
        let bound = self.steps + FINISH_STEPS_MAX;
        while self.steps < bound && !self.over() && self.is_unfinished() && self.step() {}
        if self.over() {
            return;
        }
        if let Some(at) = self.unfinished().first().copied() {
            let commit = self.models[at.buffer].commit;
            let what = format!(
                "waits for ever: stands at {:?} of {commit}",
                self.stands(at)
            );
            let stuck = crate::ledger::Finding(Invariant::ConsumerPassesNothing, what);
            self.finding(at, Err(stuck));
            return;
        }
        self.check_nothing_left();
        self.check_letters();
    }

    /// Looked at now and then: it is not cheap.
    fn is_unfinished(&self) -> bool {
        let idle = self.crew.workers.iter().all(|it| it.waits_for.is_none());
        !idle || !self.steps.is_multiple_of(16) || !self.unfinished().is_empty()
    }

    /// Where a consumer has not come to the end, and can.
    pub(super) fn unfinished(&self) -> Vec<At> {
        let mut unfinished = Vec::new();
        for consumer in &self.crew.consumers {
            for buffer in consumer.members.iter().copied() {
                let at = At {
                    consumer: consumer.uuid,
                    buffer,
                };
                let behind = |cursor: Seq| cursor < self.models[buffer].commit;
                if self.can_finish(at) && self.stands(at).is_none_or(behind) {
                    unfinished.push(at);
                }
            }
        }
        unfinished
    }

    /// What rot has damaged stands still for ever.
    fn can_finish(&self, at: At) -> bool {
        let rotted = |buffer: usize| self.models[buffer].rotted;
        let config = self.registry.consumer(at.consumer).map(|it| it.0);
        let into = config.and_then(|config| config.dead_letter);
        !rotted(at.buffer) && !into.is_some_and(|into| rotted(self.registry.index(into)))
    }

    fn check_nothing_left(&mut self) {
        for consumer in 0..self.crew.consumers.len() {
            let one = &self.crew.consumers[consumer];
            let uuid = one.uuid;
            let left = one.ledgers.iter().find_map(|(buffer, ledger)| {
                let at = At {
                    consumer: uuid,
                    buffer: *buffer,
                };
                let left = ledger.left(&self.models[*buffer]);
                left.filter(|_| self.can_finish(at)).map(|seq| (at, seq))
            });
            if let Some((at, seq)) = left {
                let what = format!("{seq} was never handed out, nor given up");
                let left = crate::ledger::Finding(Invariant::ConsumerPassesNothing, what);
                self.finding(at, Err(left));
            }
        }
    }

    /// Each dead letter is where it goes once, unless an operator put an older copy there.
    fn check_letters(&mut self) {
        let wrong = self.crew.letters.iter().find_map(|(place, put)| {
            let into = &self.models[put.into];
            let count = self.letters_of(place, put);
            let right = count == 1 || (count == 0 && (into.restored || into.rotted));
            (!right).then(|| format!("{place:?} is in buffer {} {count} times", put.into))
        });
        if let Some(what) = wrong {
            self.broke(Invariant::DeadLetterOnce, what);
        }
    }

    fn letters_of(&self, place: &(Uuid, usize, Seq, Hash), put: &Put) -> usize {
        let (consumer, buffer, seq, id) = place;
        let origin = self.registry.uuid(*buffer);
        let begin = format!(
            "x-hbuf-meta-dead-letter: buffer={origin}, seq={seq}, id={id}, consumer={consumer}, "
        );
        let tried = self.crew.reasons.get(place).into_iter().flatten();
        let texts: BTreeSet<String> = tried
            .map(|why| format!("{begin}reason={},", why.as_str()))
            .collect();
        let into = &self.models[put.into];
        let entries = (1..=into.end().0).filter_map(|seq| into.entry(Seq(seq)));
        let same = entries.filter(|entry| {
            let lines = String::from_utf8_lossy(&entry.content.lines);
            texts.iter().any(|text| lines.contains(text)) && *entry.content.body == put.body[..]
        });
        same.count()
    }
}
