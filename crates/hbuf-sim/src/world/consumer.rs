//! Consumers as the shell keeps them: which there are, what was asked of them, who waits. Which
//! message goes to whom is the core's to say; what it may say is the ledger's to check.

use std::collections::BTreeMap;

use hbuf_core::buffer::{ConsumerCall, Opening};
use hbuf_core::consumer::{Given, GivenUp, LeaseId, Settling, Start};
use hbuf_core::ids::{Hash, Micros, Seq, Uuid};
use hbuf_core::input::{Input, Token};

use super::consumer_tasks::Task;
use super::topic_next::TopicNext;
use super::{Due, World};
use crate::filters::Tags;
use crate::kinds::Kind;
use crate::ledger::{Asked, Finding, Ledger};
use crate::trace::{EventId, Facts};

/// A timer of the shell is at most so many microseconds late.
const LATE_MAX: u64 = 5_000;
/// And sleeps at most so long: the clock may jump.
const SLEEP_MAX: u64 = 1_000_000;

/// A consumer that an operator made.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) number: u64,
    pub(crate) uuid: Uuid,
    /// The buffers that it reads.
    pub(crate) members: Vec<usize>,
    /// What is known of it in each of them, where it was begun.
    pub(crate) ledgers: BTreeMap<usize, Ledger>,
    pub(crate) used: Micros,
}

/// A consumer in one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) consumer: Uuid,
    pub(crate) buffer: usize,
}

/// A message that a worker was handed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) at: At,
    pub(crate) given: Given,
}

/// A worker; it waits for one answer at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Worker {
    pub(crate) turns: u64,
    pub(crate) waits_for: Option<Token>,
    /// Where a consumer is new, so that it must be said where it begins.
    pub(crate) begins: Option<At>,
    pub(crate) held: Vec<Held>,
    /// What it was done with.
    pub(crate) settled: Vec<Held>,
    /// Its request to a topic's consumer.
    pub(crate) topic: Option<TopicNext>,
}

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: At,
    pub(crate) worker: Option<usize>,
    pub(crate) asked: Asked,
    /// What the ledger was, while the shard may still refuse at once.
    pub(crate) undo: Option<Box<Ledger>>,
}

/// A dead letter that was put away.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) into: usize,
    pub(crate) body: Vec<u8>,
}

/// Consumers, workers, and what is under way between them and the shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crew {
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) made: u64,
    pub(crate) turns: u64,
    pub(crate) calls: BTreeMap<Token, Call>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) last_task: u64,
    /// What the shard was told of each consumer since the buffer was opened: opening and version.
    pub(crate) begun: BTreeMap<(usize, Uuid), (u64, u64)>,
    /// When the timer rings next.
    timer: Option<u64>,
    /// By consumer, buffer and id of the message.
    pub(crate) letters: BTreeMap<(Uuid, usize, Seq, Hash), Put>,
    /// Why each was ever given up. An append that a crash left without an answer may have put the
    /// letter away with its own reason, and by the next try there may be another one.
    pub(crate) reasons: BTreeMap<(Uuid, usize, Seq, Hash), Vec<GivenUp>>,
    /// The faults are over, and all that is left is handed out and acked.
    pub(crate) finishing: bool,
    /// Filters as they were first read, by buffer and number: for a shell that goes by them.
    pub(crate) first_read: BTreeMap<(usize, u64), Tags>,
}

impl Crew {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: vec![Worker::default(); workers],
            ..Self::default()
        }
    }

    pub(super) fn consumer(&self, uuid: Uuid) -> Option<&Consumer> {
        self.consumers.iter().find(|it| it.uuid == uuid)
    }

    pub(super) fn consumer_mut(&mut self, uuid: Uuid) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|it| it.uuid == uuid)
    }

    pub(super) fn ledger(&mut self, at: At) -> Option<&mut Ledger> {
        self.consumer_mut(at.consumer)?.ledgers.get_mut(&at.buffer)
    }
}

impl World<'_> {
    pub(super) fn start_crew(&mut self, root: EventId) {
        if self.plan.consumers > 0 {
            self.due(root, 300, Due::Operator);
            self.wake_workers(root);
        }
    }

    pub(super) fn wake_workers(&mut self, cause: EventId) {
        for worker in 0..self.crew.workers.len() {
            self.due(cause, 700, Due::Worker(worker));
        }
    }

    /// Asks the shard for something. What the ledger expects of it is written down before.
    pub(super) fn call_consumer(
        &mut self,
        cause: EventId,
        worker: Option<usize>,
        at: At,
        call: ConsumerCall,
    ) {
        let now = self.now();
        let token = self.token();
        let undo = self.crew.ledger(at).map(|ledger| Box::new(ledger.clone()));
        let asked = self.write_down(now, at, &call);
        if let Some(worker) = worker {
            self.crew.workers[worker].waits_for = Some(token);
        }
        let call_of = Call {
            at,
            worker,
            asked,
            undo,
        };
        self.crew.calls.insert(token, call_of);
        self.tell_consumer(cause, at, token, call);
        if let Some(call) = self.crew.calls.get_mut(&token) {
            call.undo = None;
        }
    }

    fn write_down(&mut self, now: Micros, at: At, call: &ConsumerCall) -> Asked {
        let version = self.registry.consumer(at.consumer).map_or(0, |it| it.1);
        if let Some(consumer) = self.crew.consumer_mut(at.consumer) {
            consumer.used = now;
        }
        Asked::of(self.crew.ledger(at), now, version, call)
    }

    /// Tells the shard something, and looks where the consumer stands then.
    pub(super) fn tell_consumer(
        &mut self,
        cause: EventId,
        at: At,
        token: Token,
        call: ConsumerCall,
    ) {
        let buffer = self.registry.uuid(at.buffer);
        let begins = match &call {
            ConsumerCall::Begin { config, after, .. } => after.map(|after| (config.clone(), after)),
            _ => None,
        };
        let knew = self.stands(at).is_some();
        let input = Input::Consumer {
            buffer,
            consumer: at.consumer,
            token,
            call,
        };
        self.shard(cause, input);
        if let Some((config, after)) = begins
            && !knew
            && self.stands(at).is_some()
            && let Some(consumer) = self.crew.consumer_mut(at.consumer)
        {
            let ledger = consumer.ledgers.get(&at.buffer);
            // Where its beginning was answered, the shard should have known it.
            if ledger.is_none_or(|ledger| !ledger.sure) {
                let ledger = Ledger::new(*config, after);
                consumer.ledgers.insert(at.buffer, ledger);
            }
        }
        self.check_stands(at);
    }

    /// The cursor by the shard's word.
    pub(super) fn stands(&self, at: At) -> Option<Seq> {
        let buffer = self.registry.uuid(at.buffer);
        let buffer = self.node.shard.buffer(&buffer)?;
        let standing = buffer.consumer_standing(&at.consumer)?;
        Some(standing.cursor)
    }

    fn check_stands(&mut self, at: At) {
        let Some(cursor) = self.stands(at) else {
            return;
        };
        let model = &self.models[at.buffer];
        // Behind damage that was told of it stands where the rest of the log says.
        if model.damaged {
            return;
        }
        let Some(ledger) = self.crew.ledger(at) else {
            return;
        };
        let checked = ledger.stands(cursor, model);
        self.finding(at, checked);
    }

    pub(super) fn finding(&mut self, at: At, checked: Result<(), Finding>) {
        if let Err(Finding(invariant, what)) = checked {
            let number = self.crew.consumer(at.consumer).map_or(0, |it| it.number);
            self.broke(
                invariant,
                format!("consumer {number} in buffer {}: {what}", at.buffer),
            );
        }
    }

    /// Something happens to a consumer.
    pub(super) fn consumer_event(
        &mut self,
        cause: EventId,
        kind: Kind,
        at: At,
        seqs: Option<(Seq, Seq)>,
    ) -> EventId {
        let number = self.crew.consumer(at.consumer).map_or(0, |it| it.number);
        let note = format!("consumer {number}");
        let facts = Facts {
            buffer: Some(at.buffer),
            seqs: seqs.map(|(first, last)| (first.0, last.0)),
            note: &note,
        };
        self.event(cause, kind, &facts)
    }

    /// Sets the timer for what the consumers of the shard have to do next.
    pub(super) fn keep_consumers_time(&mut self, cause: EventId) {
        let Some(due) = self.node.shard.next_due() else {
            return;
        };
        let wait = due.0.saturating_sub(self.now().0).min(SLEEP_MAX);
        let rings = self.t + wait;
        if self
            .crew
            .timer
            .is_some_and(|timer| timer <= rings + LATE_MAX)
        {
            return;
        }
        let late = self.delay().within(0, LATE_MAX);
        self.crew.timer = Some(rings + late);
        self.due(cause, wait + late, Due::ConsumersTime { life: self.life });
    }

    pub(super) fn consumers_time(&mut self, cause: EventId) {
        self.crew.timer = None;
        let now = self.now();
        for consumer in 0..self.crew.consumers.len() {
            let one = &mut self.crew.consumers[consumer];
            let uuid = one.uuid;
            let lapsed: Vec<(usize, Seq)> = one
                .ledgers
                .iter_mut()
                .flat_map(|(buffer, ledger)| {
                    let lapsed = ledger.lapse(now).into_iter();
                    lapsed.map(|seq| (*buffer, seq))
                })
                .collect();
            for (buffer, seq) in lapsed {
                let at = At {
                    consumer: uuid,
                    buffer,
                };
                self.consumer_event(cause, Kind::LeaseLapsed, at, Some((seq, seq)));
            }
        }
        self.shard(cause, Input::ConsumersDue);
        for at in self.begun_everywhere() {
            self.check_stands(at);
        }
    }

    fn begun_everywhere(&self) -> Vec<At> {
        let of = |consumer: &Consumer| {
            let uuid = consumer.uuid;
            let buffers = consumer.ledgers.keys().copied();
            let at = move |buffer| At {
                consumer: uuid,
                buffer,
            };
            buffers.map(at).collect::<Vec<_>>()
        };
        self.crew.consumers.iter().flat_map(of).collect()
    }

    /// What a worker that is gone was handed goes back.
    pub(super) fn return_given(&mut self, cause: EventId, at: At, given: &[Given]) {
        let leased = given
            .iter()
            .filter_map(|one| Some((one.seq, one.lease?, Settling::Return)));
        let items: Vec<(Seq, LeaseId, Settling)> = leased.collect();
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return;
        };
        let seqs = Some((first.0, last.0));
        let event = self.consumer_event(cause, Kind::MessagesReturned, at, seqs);
        self.call_consumer(event, None, at, ConsumerCall::Settle(items));
    }

    /// The seq behind which a consumer begins, as the server finds it.
    pub(super) fn place_of(&self, buffer: usize, start: Start) -> Seq {
        let model = &self.models[buffer];
        let before = model.first.prev();
        match start {
            Start::First => before,
            Start::Last => model.commit,
            // What is not there yet is not passed.
            Start::Seq(seq) => seq.prev().max(before).min(model.commit),
            Start::Time(time) => {
                let later = |seq: &u64| model.entry(Seq(*seq)).is_some_and(|it| it.time >= time);
                let found = (model.first.0..=model.commit.0).find(later);
                found.map_or(model.commit, |seq| Seq(seq).prev())
            }
        }
    }

    /// The buffer is opened anew: is what it knows of its consumers what was answered?
    pub(super) fn reopen_ledgers(&mut self, buffer: usize, opening: &Opening) {
        for consumer in 0..self.crew.consumers.len() {
            let consumer = &mut self.crew.consumers[consumer];
            let at = At {
                consumer: consumer.uuid,
                buffer,
            };
            let Some(ledger) = consumer.ledgers.get_mut(&buffer) else {
                continue;
            };
            ledger.reopened();
            if opening.damaged.is_none() {
                let found = opening.consumers.get(&at.consumer);
                let checked = ledger.check_recovered(found, &self.models[buffer]);
                self.finding(at, checked);
            }
        }
    }

    pub(super) fn ledgers_of(&self, buffer: usize) -> BTreeMap<Uuid, Ledger> {
        let of = |consumer: &Consumer| {
            let ledger = consumer.ledgers.get(&buffer)?;
            Some((consumer.uuid, ledger.clone()))
        };
        self.crew.consumers.iter().filter_map(of).collect()
    }

    /// An operator put an older copy of the directory in its place.
    pub(super) fn restore_ledgers(&mut self, buffer: usize, mut kept: BTreeMap<Uuid, Ledger>) {
        for consumer in &mut self.crew.consumers {
            match kept.remove(&consumer.uuid) {
                Some(ledger) => consumer.ledgers.insert(buffer, ledger),
                None => consumer.ledgers.remove(&buffer),
            };
        }
    }

    /// A crash takes what is in memory, and the answers.
    pub(super) fn lose_crew(&mut self, cause: EventId) {
        self.crew.timer = None;
        self.crew.tasks.clear();
        self.crew.begun.clear();
        for (_, call) in std::mem::take(&mut self.crew.calls) {
            self.consumer_event(cause, Kind::ConsumerUnknown, call.at, None);
            if let (Asked::Next { limit, .. }, Some(ledger)) =
                (&call.asked, self.crew.ledger(call.at))
            {
                ledger.unknown(*limit);
            }
        }
        for worker in &mut self.crew.workers {
            (worker.waits_for, worker.begins, worker.topic) = (None, None, None);
        }
    }
}
