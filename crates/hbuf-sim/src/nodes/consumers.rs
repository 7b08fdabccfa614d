//! What a node does for workers: it tells its shard of the consumer as the manager has it, asks,
//! and answers. Which message goes to whom is the core's to say; what it may say is checked by the
//! account of each consumer in `crew.rs`.

use hbuf_core::buffer::{ConsumerAnswer, ConsumerCall, ConsumerRefused, ConsumerTask};
use hbuf_core::consumer::{Given, Settled, Start};
use hbuf_core::effect::Effect;
use hbuf_core::ids::{Epoch, Seq, Uuid};
use hbuf_core::input::{BufferState, Input, Token};

use super::crew::At;
use super::host::Waiting;
use super::message::Answer;
use super::work::{Work, Worked};
use super::{About, Due, World};
use crate::kinds::Kind;
use crate::ledger::{Asked, Ledger};
use crate::net::Endpoint;
use crate::tracefile::EventId;

/// How long a request waits for the first message, in microseconds.
const WAITS_US: u64 = 200_000;

/// What a worker asked of a node.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) worker: Endpoint,
    pub(super) operation: u64,
    pub(super) at: At,
    pub(super) work: Work,
}

/// A call of the shard that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Called {
    call: Call,
    asked: Asked,
    epoch: Epoch,
}

impl Called {
    /// How many messages may be lost with the answer, and whose.
    pub(super) const fn may_lose(&self) -> Option<(At, Epoch, usize)> {
        match self.asked {
            Asked::Next { limit, .. } => Some((self.call.at, self.epoch, limit)),
            _ => None,
        }
    }
}

/// What the answer to a report would go to: nobody waits for it.
const NOBODY: Token = Token(0);

impl World {
    /// A worker asks: the consumer is begun as it is set now, unless it was.
    pub(super) fn work_asked(&mut self, cause: EventId, host: usize, call: Call) {
        let (at, this) = (call.at, &self.hosts[host]);
        let consumer = self.crew.consumers[at.consumer].uuid;
        let led = this.shard.buffer(&self.buffers[at.buffer]);
        let record = this.manager.catalog.consumer(consumer);
        let (Some(led), Some(record)) = (led, record) else {
            let refused = match record {
                Some(_) => ConsumerRefused::NotPrimary,
                None => ConsumerRefused::NotBegun,
            };
            return self.worked(cause, host, &call, Worked::Refused(refused));
        };
        let now = (led.epoch(), record.version);
        if this.begun.get(&at) == Some(&now) {
            let asked = match &call.work {
                Work::Next { limit, waits } => ConsumerCall::Next {
                    limit: *limit,
                    waits: *waits,
                },
                Work::Settle(items) => ConsumerCall::Settle(items.clone()),
                Work::Seek(start) => ConsumerCall::Seek(self.place_of(host, at.buffer, *start)),
            };
            return self.call_shard(cause, host, call, now.1, asked);
        }
        let (config, version) = (Box::new(record.config.clone()), record.version);
        let begin = ConsumerCall::Begin {
            config,
            version,
            after: None,
        };
        self.call_shard(cause, host, call, version, begin);
    }

    /// The shard does not know where it begins.
    fn begin_at_start(&mut self, cause: EventId, host: usize, call: Call) {
        let consumer = self.crew.consumers[call.at.consumer].uuid;
        let record = self.hosts[host].manager.catalog.consumer(consumer);
        let Some((config, version)) = record.map(|it| (it.config.clone(), it.version)) else {
            let refused = Worked::Refused(ConsumerRefused::Deleted);
            return self.worked(cause, host, &call, refused);
        };
        let after = Some(self.place_of(host, call.at.buffer, config.start));
        let begin = ConsumerCall::Begin {
            config: Box::new(config),
            version,
            after,
        };
        self.call_shard(cause, host, call, version, begin);
    }

    /// Asks the shard. What the account expects of it is written down, unless it is refused at
    /// once, for then it changes nothing.
    fn call_shard(
        &mut self,
        cause: EventId,
        host: usize,
        call: Call,
        version: u64,
        asks: ConsumerCall,
    ) {
        let (at, now) = (call.at, self.wall(host));
        let buffer = self.buffers[at.buffer];
        let consumer = self.crew.consumers[at.consumer].uuid;
        let token = self.hosts[host].token();
        let led = self.hosts[host].shard.buffer(&buffer);
        let (epoch, knew) = led.map_or((Epoch(0), false), |led| {
            (led.epoch(), led.consumer_standing(&consumer).is_some())
        });
        let mut effects = std::mem::take(&mut self.hosts[host].effects);
        let input = Input::Consumer {
            buffer,
            consumer,
            token,
            call: asks.clone(),
        };
        self.hosts[host].shard.handle(now, input, &mut effects);
        let refused = effects.iter().any(|effect| is_refused(effect, token));
        let led = self.hosts[host].shard.buffer(&buffer);
        let knows = led.is_some_and(|led| led.consumer_standing(&consumer).is_some());
        if let ConsumerCall::Begin {
            config,
            after: Some(after),
            ..
        } = &asks
            && knows
            && !knew
        {
            let ledger = Ledger::new((**config).clone(), *after);
            self.crew.begins(at, epoch, ledger);
        }
        if matches!(asks, ConsumerCall::Seek(_)) && !refused {
            self.crew.sought(at, epoch);
        }
        let ledger = self.crew.ledger(at, epoch).filter(|_| !refused);
        let asked = Asked::of(ledger, now, version, &asks);
        let waits = matches!(asks, ConsumerCall::Next { waits: true, .. });
        let called = Called { call, asked, epoch };
        let waiting = Waiting::Worker(Box::new(called));
        self.hosts[host].waiting.insert(token, waiting);
        self.perform_all(cause, host, effects);
        self.check_stands(cause, host, at);
        if waits && self.hosts[host].waiting.contains_key(&token) {
            let life = self.hosts[host].life;
            let due = Due::StopWaiting {
                host,
                life,
                at,
                next: token,
            };
            self.due_on(cause, host, WAITS_US, due);
        }
    }

    /// Tells the shard something that nobody waits for.
    pub(super) fn tell_shard(&mut self, cause: EventId, host: usize, at: At, call: ConsumerCall) {
        let input = Input::Consumer {
            buffer: self.buffers[at.buffer],
            consumer: self.crew.consumers[at.consumer].uuid,
            token: NOBODY,
            call,
        };
        self.shard(cause, host, input);
        self.check_stands(cause, host, at);
    }

    /// Whoever waited for a first message waits no longer.
    pub(super) fn stop_waiting(&mut self, cause: EventId, host: usize, at: At, next: Token) {
        if self.hosts[host].waiting.contains_key(&next) {
            self.tell_shard(cause, host, at, ConsumerCall::Stop { next });
        }
    }

    /// The seq behind which a consumer begins, as a node finds it in its log.
    fn place_of(&mut self, host: usize, buffer: usize, start: Start) -> Seq {
        self.learn_messages(host, buffer);
        let led = self.hosts[host].shard.buffer(&self.buffers[buffer]);
        let Some((first, commit)) = led.map(|led| (led.first(), led.commit())) else {
            return Seq::ZERO;
        };
        match start {
            Start::First => first.prev(),
            Start::Last => commit,
            // What is not there yet is not passed.
            Start::Seq(seq) => seq.prev().max(first.prev()).min(commit),
            Start::Time(time) => {
                let found = self.crew.first_since(buffer, (first, commit), time);
                found.map_or(commit, Seq::prev)
            }
        }
    }

    /// The shard wants something for a consumer.
    pub(super) fn consumer_task(
        &mut self,
        cause: EventId,
        host: usize,
        (buffer, consumer): (usize, Uuid),
        task: ConsumerTask,
    ) {
        let Some(consumer) = self.crew.number(consumer) else {
            return;
        };
        let at = At { consumer, buffer };
        match task {
            ConsumerTask::Answer { token, answer } => {
                let waiting = self.hosts[host].waiting.remove(&token);
                if let Some(Waiting::Worker(called)) = waiting {
                    self.shard_answered(cause, host, *called, answer);
                }
            }
            task => self.chore(cause, host, at, task),
        }
    }

    fn shard_answered(
        &mut self,
        cause: EventId,
        host: usize,
        called: Called,
        answer: ConsumerAnswer,
    ) {
        let Called { call, asked, epoch } = called;
        let at = call.at;
        match (asked, answer) {
            (asked, ConsumerAnswer::Refused(refused)) => {
                let event = self.consumer_refused(cause, host, at, refused);
                if refused == ConsumerRefused::NotBegun {
                    self.hosts[host].begun.remove(&at);
                }
                if let Asked::Next { limit, .. } = asked {
                    self.crew.gone(at, epoch, limit);
                }
                self.worked(event, host, &call, Worked::Refused(refused));
            }
            (Asked::Begin { version }, ConsumerAnswer::Done) => {
                self.hosts[host].begun.insert(at, (epoch, version));
                self.crew.proved(at, epoch);
                if let Some(ledger) = self.crew.ledger(at, epoch) {
                    ledger.sure = true;
                }
                let event = self.consumer_event(cause, Kind::ConsumerBegun, Some(host), at, None);
                self.work_asked(event, host, call);
            }
            (Asked::Begin { .. }, ConsumerAnswer::NeedsStart) => {
                self.begin_at_start(cause, host, call);
            }
            (Asked::Next { moves, .. }, ConsumerAnswer::Given(given)) => {
                let event = self.gave(cause, host, (at, epoch), moves, &given);
                self.worked(event, host, &call, Worked::Given(given));
            }
            (Asked::Settle { wanted, moves }, ConsumerAnswer::Settled(settled)) => {
                let event = self.settled(cause, host, (at, epoch), (&wanted, moves), &settled);
                let seqs = wanted.iter().map(|wanted| wanted.seq);
                let settled = seqs.zip(settled).collect();
                self.worked(event, host, &call, Worked::Settled(settled));
            }
            (Asked::Seek { moves }, ConsumerAnswer::Done) => {
                let event = self.consumer_event(cause, Kind::ConsumerMoved, Some(host), at, None);
                self.crew.proved(at, epoch);
                if let Some(ledger) = self.crew.ledger(at, epoch) {
                    ledger.sought(moves);
                }
                self.worked(event, host, &call, Worked::Moved);
            }
            _ => {}
        }
    }

    fn consumer_refused(
        &mut self,
        cause: EventId,
        host: usize,
        at: At,
        refused: ConsumerRefused,
    ) -> EventId {
        let consumer = &self.crew.consumers[at.consumer].name;
        let note = self.words(&format_args!("{consumer}: {refused}"));
        let about = About {
            host: Some(host),
            buffer: Some(at.buffer),
            note: &note,
            ..About::default()
        };
        self.event(&[cause], Kind::ConsumerRefused, &about)
    }

    fn gave(
        &mut self,
        cause: EventId,
        host: usize,
        (at, epoch): (At, Epoch),
        moves: u64,
        given: &[Given],
    ) -> EventId {
        let (Some(first), Some(last)) = (given.first(), given.last()) else {
            return self.consumer_event(cause, Kind::NextEmpty, Some(host), at, None);
        };
        let seqs = Some((first.seq.min(last.seq), first.seq.max(last.seq)));
        let event = self.consumer_event(cause, Kind::MessagesGiven, Some(host), at, seqs);
        let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
        // What is done by being handed out may be answered with the record that a pause waits for.
        let now = first.lease.is_some();
        if now && led.is_some_and(|led| led.state() == BufferState::Paused) {
            let name = self.names.buffers[at.buffer].clone();
            let what = format!("{name}: {first:?} is handed out while it is paused");
            self.broke(event, "pause-stops-consumers", what);
        }
        if first.lease.is_none() {
            self.crew.proved(at, epoch);
            self.crew.given_before(at, epoch, given);
        }
        let now = self.wall(host);
        let checked = self.account_with(host, at, epoch, |ledger, seen| {
            ledger.lapse(now);
            ledger.gave(now, given, moves, seen)
        });
        self.finding(event, at, checked);
        event
    }

    fn settled(
        &mut self,
        cause: EventId,
        host: usize,
        (at, epoch): (At, Epoch),
        (wanted, moves): (&[crate::ledger::Wanted], u64),
        settled: &[Settled],
    ) -> EventId {
        self.crew.proved(at, epoch);
        let mut event = cause;
        for (wanted, settled) in wanted.iter().zip(settled) {
            let seqs = Some((wanted.seq, wanted.seq));
            let kind = Kind::of_settled(*settled);
            event = self.consumer_event(cause, kind, Some(host), at, seqs);
            let consumer = self.crew.consumers[at.consumer].uuid;
            let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
            let recorded = led.and_then(|led| led.consumer_recorded(&consumer));
            let on_record = recorded.is_none_or(|recorded| recorded.is_done(wanted.seq));
            let checked = self.crew.ledger(at, epoch).map_or(Ok(()), |ledger| {
                ledger.settled_as((wanted, moves), *settled, on_record)
            });
            self.finding(event, at, checked);
            if matches!(settled, Settled::Acked | Settled::AlreadyAcked) {
                self.acked_in(event, at, epoch, wanted.seq);
            }
        }
        event
    }

    fn worked(&mut self, cause: EventId, host: usize, call: &Call, worked: Worked) {
        let hint = self.primary_known(host, call.at.buffer);
        let answer = Answer::Worked(Box::new(worked), hint);
        self.answer(cause, host, call.worker, call.operation, answer);
    }

    /// Leases that lapse by this node's clock, and whatever else has come due.
    pub(super) fn watch_consumers(&mut self, cause: EventId, host: usize) {
        let now = self.wall(host);
        let due = self.hosts[host].shard.next_due();
        if due.is_none_or(|due| due > now) {
            return;
        }
        for at in self.led_places(host) {
            let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
            let epoch = led.map_or(Epoch(0), |led| led.epoch());
            let ledger = self.crew.ledger(at, epoch);
            for seq in ledger.map_or_else(Vec::new, |ledger| ledger.lapse(now)) {
                let seqs = Some((seq, seq));
                self.consumer_event(cause, Kind::LeaseLapsed, Some(host), at, seqs);
            }
        }
        self.shard(cause, host, Input::ConsumersDue);
        for at in self.led_places(host) {
            self.check_stands(cause, host, at);
        }
    }

    fn led_places(&self, host: usize) -> Vec<At> {
        let shard = &self.hosts[host].shard;
        let places = self.crew.places();
        let led = places.filter(|at| shard.buffer(&self.buffers[at.buffer]).is_some());
        led.collect()
    }

    /// The process is gone, and with it the answers that workers waited for.
    pub(super) fn lose_calls(&mut self, cause: EventId, host: usize) {
        let waiting = std::mem::take(&mut self.hosts[host].waiting);
        for called in waiting.into_values() {
            if let Waiting::Worker(called) = called {
                let at = called.call.at;
                self.consumer_event(cause, Kind::ConsumerUnknown, Some(host), at, None);
                if let Some((at, epoch, limit)) = called.may_lose() {
                    self.crew.gone(at, epoch, limit);
                }
            }
        }
    }
}

fn is_refused(effect: &Effect, of: Token) -> bool {
    let Effect::Consumer {
        task: ConsumerTask::Answer { token, answer },
        ..
    } = effect
    else {
        return false;
    };
    *token == of && matches!(answer, ConsumerAnswer::Refused(_))
}
