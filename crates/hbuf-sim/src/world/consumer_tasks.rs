//! What the shard wants for a consumer: messages that match, and a place for dead letters. Each
//! takes its time, and a crash may come before it.

use hbuf_core::append::AckLevel;
use hbuf_core::buffer::{ConsumerCall, ConsumerTask};
use hbuf_core::consumer::{Candidate, Given, Letter};
use hbuf_core::dedupe::idempotency;
use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::input::Token;
use hbuf_core::record::decode;

use super::consumer::{At, Put};
use super::{Due, World};
use crate::bugs::Bug;
use crate::clients::{Ask, LETTERS};
use crate::draw::Purpose;
use crate::kinds::Kind;
use crate::ledger::Taking;
use crate::model::Content;
use crate::trace::EventId;

/// Something that is done later.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Shard(At, ConsumerTask),
    /// A worker is gone.
    Return(At, Vec<Given>),
}

/// What the answer to a report would go to: nobody waits for it.
const NOBODY: Token = Token(0);

impl World<'_> {
    pub(super) fn on_consumer_task(
        &mut self,
        cause: EventId,
        buffer: usize,
        consumer: Uuid,
        task: ConsumerTask,
    ) {
        let at = At { consumer, buffer };
        match task {
            ConsumerTask::Answer { token, answer } => {
                self.on_consumer_answer(cause, token, answer);
            }
            ConsumerTask::Bury {
                seq,
                deliveries,
                why,
                ..
            } => {
                let event = self.consumer_event(cause, Kind::MessageGivenUp, at, Some((seq, seq)));
                let (now, model) = (self.now(), &self.models[buffer]);
                if let Some(ledger) = self.crew.ledger(at) {
                    let checked = ledger.give_up(now, (seq, deliveries, why), model);
                    self.finding(at, checked);
                }
                self.later(event, Task::Shard(at, task));
            }
            ConsumerTask::Look { .. } => self.later(cause, Task::Shard(at, task)),
        }
    }

    pub(super) fn later(&mut self, cause: EventId, task: Task) {
        self.crew.last_task += 1;
        let number = self.crew.last_task;
        self.crew.tasks.insert(number, task);
        let draw = self.delay();
        let slow = draw.next().percent(5);
        let after = draw.within(20, if slow { 20_000 } else { 400 });
        self.due(cause, after, Due::ConsumerTask { number });
    }

    pub(super) fn consumer_task(&mut self, cause: EventId, number: u64) {
        // A crash takes the tasks along.
        let Some(task) = self.crew.tasks.remove(&number) else {
            return;
        };
        match task {
            Task::Return(at, given) => self.return_given(cause, at, &given),
            Task::Shard(
                at,
                ConsumerTask::Look {
                    config,
                    after,
                    through,
                    limit,
                },
            ) => {
                let draw = self.draws.draw(Purpose::Consumer, 1, number);
                // By the account of what is stored, whatever the shell goes by.
                let taking = self.taking(at, &config.filter);
                let fails = !self.crew.finishing && draw.percent(2);
                let page = draw.next().within(1, 48);
                let stored = self.filter_of_look(at, &config.filter);
                let cause = match stored {
                    Ok(_) => cause,
                    Err(()) => self.filter_missing(cause, at),
                };
                let found = stored.ok().filter(|_| !fails).map(|stored| {
                    let taking = Taking::new(config.filter, stored);
                    self.look(at, &taking, (after, through), limit, page)
                });
                let seqs = found.as_ref().map(|(last, _)| (after.next(), *last));
                let kind = match found {
                    Some(_) => Kind::ConsumerLooked,
                    None => Kind::LookFailed,
                };
                let event = self.consumer_event(cause, kind, at, seqs);
                if let Some((last, _)) = found
                    && let Some(ledger) = self.crew.ledger(at)
                {
                    ledger.looked((after, last), taking);
                }
                let call = ConsumerCall::Looked { after, found };
                self.tell_consumer(event, at, NOBODY, call);
            }
            Task::Shard(
                at,
                ConsumerTask::Bury {
                    into,
                    seq,
                    deliveries,
                    why,
                },
            ) => {
                let letter = Letter {
                    consumer: at.consumer,
                    buffer: self.registry.uuid(at.buffer),
                    seq,
                    deliveries,
                    why,
                };
                self.bury(cause, at, into, letter);
            }
            Task::Shard(_, ConsumerTask::Answer { .. }) => unreachable!("it is given at once"),
        }
    }

    /// The last seq that was looked at, and what matches.
    fn look(
        &self,
        at: At,
        taking: &Taking,
        (after, through): (Seq, Seq),
        limit: usize,
        page: u64,
    ) -> (Seq, Vec<Candidate>) {
        let model = &self.models[at.buffer];
        let mut last = after.max(model.first.prev());
        let through = through.min(Seq(last.0 + page)).min(model.end());
        let mut found = Vec::new();
        while last < through && found.len() < limit {
            last = last.next();
            let record = self
                .framed_again(at.buffer, last)
                .expect("it is in the log");
            let record = decode(&record).expect("it was just framed");
            if taking.filter.takes(&record) && taking.stored_takes(record.tags()) {
                found.push(Candidate::of(&record));
            }
        }
        (last, found)
    }

    fn bury(&mut self, cause: EventId, at: At, into: Option<Uuid>, letter: Letter) {
        let seqs = Some((letter.seq, letter.seq));
        // What retention dropped meanwhile leaves nothing to put away.
        let dropped = letter.seq < self.models[at.buffer].first;
        let record = self.framed_again(at.buffer, letter.seq);
        let (Some(into), Some(record)) = (into, record.filter(|_| !dropped)) else {
            let event = self.consumer_event(cause, Kind::LetterDropped, at, seqs);
            return self.buried(event, at, letter.seq, true);
        };
        let record = decode(&record).expect("it was just framed");
        let id = record.id().expect("nothing is erased here");
        let place = (at.consumer, at.buffer, letter.seq, id);
        self.crew.reasons.entry(place).or_default().push(letter.why);
        let lines = letter.lines(&record).expect("nothing is erased here");
        let mut salt = [0; 32];
        for (ordinal, word) in (0..).zip(salt.chunks_exact_mut(8)) {
            let draw = self.draws.draw(Purpose::Salt, cause.0, ordinal);
            word.copy_from_slice(&draw.0.to_be_bytes());
        }
        let content = Content {
            lines: lines.into(),
            body: record.body.into(),
            salt,
        };
        let buffer = self.registry.index(into);
        let ask = Ask {
            client: LETTERS,
            buffer,
            contents: vec![content],
            ack: AckLevel::InSync,
            if_match: None,
            producer: None,
            idem: Some(idempotency::hash(
                &Hash([1; 32]),
                letter.key(&record).as_bytes(),
            )),
            framed: None,
            letter: Some(letter),
        };
        if self.bug == Some(Bug::LetterLost) {
            return self.letter_answered(cause, &ask, true);
        }
        self.send(cause, ask);
    }

    pub(super) fn letter_answered(&mut self, cause: EventId, ask: &Ask, done: bool) {
        let letter = ask.letter.expect("it is a letter's append");
        let buffer = self.registry.index(letter.buffer);
        let at = At {
            consumer: letter.consumer,
            buffer,
        };
        let kind = if done {
            Kind::LetterPut
        } else {
            Kind::LetterFailed
        };
        let event = self.consumer_event(cause, kind, at, Some((letter.seq, letter.seq)));
        if let Some(entry) = self.models[buffer].entry(letter.seq)
            && done
        {
            let put = Put {
                into: ask.buffer,
                body: entry.content.body.to_vec(),
            };
            let place = (letter.consumer, buffer, letter.seq, entry.id);
            self.crew.letters.entry(place).or_insert(put);
        }
        self.buried(event, at, letter.seq, done);
    }

    fn buried(&mut self, cause: EventId, at: At, seq: Seq, done: bool) {
        if done && let Some(ledger) = self.crew.ledger(at) {
            ledger.buried(seq);
        }
        self.tell_consumer(cause, at, NOBODY, ConsumerCall::Buried { seq, done });
    }
}
