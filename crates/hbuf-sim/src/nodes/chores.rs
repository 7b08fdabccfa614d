//! What a primary does for its consumers beside answering: it looks for messages that match, and
//! puts dead letters where they go, which another node may lead. Each takes its time.

use hbuf_core::buffer::{ConsumerCall, ConsumerTask};
use hbuf_core::consumer::{Candidate, Config, Letter};
use hbuf_core::dedupe::idempotency;
use hbuf_core::ids::{Epoch, Hash, Seq, Uuid};
use hbuf_core::record::decode;

use super::client::{append, digest};
use super::crew::At;
use super::message::{Answer, Message};
use super::reads::each_message;
use super::{Due, World, node};
use crate::draw::{Purpose, key, mix};
use crate::history::{Append, AppendOp, ClientId, Level, Moment, OpId, Outcome, Stored, Token};
use crate::kinds::Kind;
use crate::ledger::Taking;
use crate::model::Content;
use crate::tracefile::EventId;

/// How long a node waits for a letter to be put away, in microseconds.
const PATIENCE_US: u64 = 700_000;
/// Operations of nodes are numbered from here on; those of clients are below.
const NODES_FROM: u64 = 1_000_000_000;
/// More letters than a node puts away in a run.
const LETTERS_MAX: u64 = 1_000_000;

/// What is to be done for a consumer.
#[derive(Clone, Debug)]
pub(super) struct Chore {
    at: At,
    /// The epoch in which it is wanted: whoever leads in another one asks for its own.
    epoch: Epoch,
    task: ConsumerTask,
}

/// A dead letter under way.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    at: At,
    seq: Seq,
    id: Hash,
    into: usize,
    /// Its place among the appends of the history.
    place: usize,
}

impl World {
    /// Something to be done a little later.
    pub(super) fn chore(&mut self, cause: EventId, host: usize, at: At, task: ConsumerTask) {
        let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
        let epoch = led.map_or(Epoch(0), |led| led.epoch());
        let mut event = cause;
        if let ConsumerTask::Bury {
            seq,
            deliveries,
            why,
            ..
        } = task
        {
            let seqs = Some((seq, seq));
            event = self.consumer_event(cause, Kind::MessageGivenUp, Some(host), at, seqs);
            let now = self.wall(host);
            let checked = self.account_with(host, at, epoch, |ledger, seen| {
                ledger.lapse(now);
                ledger.give_up(now, (seq, deliveries, why), seen)
            });
            self.finding(event, at, checked);
        }
        let this = &mut self.hosts[host];
        this.last_chore += 1;
        let (number, life) = (this.last_chore, this.life);
        this.chores.insert(number, Chore { at, epoch, task });
        let draw = self.draw(Purpose::Consumer, host as u64, mix(life, number));
        let slow = draw.next().percent(5);
        let after = draw.within(20, if slow { 20_000 } else { 400 });
        self.due_on(event, host, after, Due::Chore { host, life, number });
    }

    pub(super) fn do_chore(&mut self, cause: EventId, host: usize, number: u64) {
        let Some(Chore { at, epoch, task }) = self.hosts[host].chores.remove(&number) else {
            return;
        };
        let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
        if led.is_none_or(|led| led.epoch() != epoch) {
            return;
        }
        match task {
            ConsumerTask::Look {
                config,
                after,
                through,
                limit,
            } => self.look_for(cause, host, (at, epoch), &config, (after, through, limit)),
            ConsumerTask::Bury {
                into,
                seq,
                deliveries,
                why,
            } => {
                let letter = Letter {
                    consumer: self.crew.consumers[at.consumer].uuid,
                    buffer: self.buffers[at.buffer],
                    seq,
                    deliveries,
                    why,
                };
                self.bury(cause, host, at, into, letter);
            }
            ConsumerTask::Answer { .. } => {}
        }
    }

    fn look_for(
        &mut self,
        cause: EventId,
        host: usize,
        (at, epoch): (At, Epoch),
        config: &Config,
        (after, through, limit): (Seq, Seq, usize),
    ) {
        let draw = self.draw(Purpose::Consumer, mix(host as u64, 1), cause.0 ^ after.0);
        let fails = self.stormy && draw.percent(2);
        let page = draw.next().within(1, 48);
        let found = match fails {
            true => None,
            false => self.look(host, at.buffer, config, (after, through, limit), page),
        };
        let seqs = found.as_ref().map(|(last, _)| (after.next(), *last));
        let kind = match found {
            Some(_) => Kind::ConsumerLooked,
            None => Kind::LookFailed,
        };
        let event = self.consumer_event(cause, kind, Some(host), at, seqs);
        if let Some((last, _)) = found
            && let Some(ledger) = self.crew.ledger(at, epoch)
        {
            ledger.looked((after, last), Taking::new(config.filter.clone(), None));
        }
        let unreadable = found.is_none() && !fails;
        self.tell_shard(event, host, at, ConsumerCall::Looked { after, found });
        if unreadable {
            self.damage_found(event, host, at.buffer);
        }
    }

    /// The last seq that was looked at, and what matches; nothing when it cannot be read.
    fn look(
        &mut self,
        host: usize,
        buffer: usize,
        config: &Config,
        (after, through, limit): (Seq, Seq, usize),
        page: u64,
    ) -> Option<(Seq, Vec<Candidate>)> {
        let led = self.hosts[host].shard.buffer(&self.buffers[buffer])?;
        let after = after.max(led.first().prev());
        let through = through.min(Seq(after.0 + page));
        let stream = self.stream(host, buffer, after, through);
        let (mut last, mut found) = (after, Vec::new());
        each_message(&stream, |record| {
            if record.line.seq != last.next() || found.len() >= limit {
                return;
            }
            last = record.line.seq;
            if config.filter.takes(record) {
                found.push(Candidate::of(record));
            }
        });
        (last > after || through <= after).then_some((last, found))
    }

    fn bury(&mut self, cause: EventId, host: usize, at: At, into: Option<Uuid>, letter: Letter) {
        let seqs = Some((letter.seq, letter.seq));
        let bytes = self.stream(host, at.buffer, letter.seq.prev(), letter.seq);
        let mut put = None;
        each_message(&bytes, |record| {
            put = decode(record.bytes).ok().and_then(|record| {
                let lines = letter.lines(&record)?;
                Some((
                    lines,
                    record.body.to_vec(),
                    letter.key(&record),
                    record.id()?,
                ))
            });
        });
        let Some(into) = into.map(|into| self.index(into)) else {
            let event = self.consumer_event(cause, Kind::LetterDropped, Some(host), at, seqs);
            return self.buried(event, host, at, letter.seq, true);
        };
        let Some((lines, body, name, id)) = put else {
            let event = self.consumer_event(cause, Kind::LetterFailed, Some(host), at, seqs);
            return self.buried(event, host, at, letter.seq, false);
        };
        let to = self.primary_known(host, into);
        let Some(to) = to.and_then(|to| self.host_of(to)) else {
            let event = self.consumer_event(cause, Kind::LetterFailed, Some(host), at, seqs);
            return self.buried(event, host, at, letter.seq, false);
        };
        let mut salt = [0; 32];
        for (ordinal, word) in (0..).zip(salt.chunks_exact_mut(8)) {
            let drawn = self.draw(Purpose::Salt, key(&name), ordinal).0;
            word.copy_from_slice(&drawn.to_be_bytes());
        }
        let content = Content {
            lines: lines.into(),
            body: body.into(),
            salt,
        };
        let posted = (at, letter.seq, id, into);
        self.post(cause, (host, to), posted, content, &name);
    }

    /// Sends a letter to whoever leads the buffer that it is for.
    fn post(
        &mut self,
        cause: EventId,
        (host, to): (usize, usize),
        (at, seq, id, into): (At, Seq, Hash, usize),
        content: Content,
        name: &str,
    ) {
        let this = &mut self.hosts[host];
        this.last_chore += 1;
        let operation = this.last_chore;
        let unique = NODES_FROM + host as u64 * LETTERS_MAX + operation;
        // A letter that says something else is another message under the same key.
        let token = Token::Key(format!("{name}/{}", digest(&content)));
        self.history.appends.push(AppendOp {
            id: OpId(unique),
            client: ClientId(u32::try_from(unique).unwrap_or(u32::MAX)),
            begin: Moment(self.t),
            call: Append {
                buffer: self.names.buffers[into].clone(),
                token: Some(token),
                messages: vec![digest(&content)],
            },
            outcome: Outcome::Unknown,
        });
        let place = self.history.appends.len() - 1;
        let posted = Posted {
            at,
            seq,
            id,
            into,
            place,
        };
        let this = &mut self.hosts[host];
        this.posted.insert(operation, posted);
        let life = this.life;
        let idem = idempotency::hash(&Hash([1; 32]), name.as_bytes());
        let ask = append(vec![content], None, Some(idem), None);
        let late = Due::LetterLate {
            host,
            life,
            operation,
        };
        self.due_on(cause, host, PATIENCE_US, late);
        if to == host {
            return self.asked(cause, host, node(host), (operation, into), &ask);
        }
        let message = Message::Ask {
            operation,
            buffer: into,
            ask,
        };
        self.send(cause, node(host), node(to), message);
    }

    /// What another node answers.
    pub(super) fn node_answered(
        &mut self,
        cause: EventId,
        host: usize,
        operation: u64,
        answer: &Answer,
    ) {
        match answer {
            Answer::Page(page, _) => self.page_fetched(cause, host, operation, page.as_deref()),
            answer => self.letter_answered(cause, host, operation, answer),
        }
    }

    /// What a node hears of a letter.
    pub(super) fn letter_answered(
        &mut self,
        cause: EventId,
        host: usize,
        operation: u64,
        answer: &Answer,
    ) {
        let Some(posted) = self.hosts[host].posted.remove(&operation) else {
            return;
        };
        let (at, seq) = (posted.at, posted.seq);
        let appended = match answer {
            Answer::Appended(outcome, _, history) => match &**outcome {
                Ok(appended) => Some((appended, *history)),
                Err(_) => None,
            },
            _ => None,
        };
        let kind = match appended {
            Some(_) => Kind::LetterPut,
            None => Kind::LetterFailed,
        };
        let event = self.consumer_event(cause, kind, Some(host), at, Some((seq, seq)));
        if let Some((appended, history)) = appended {
            // One that was there already may say something else.
            if !appended.replayed {
                let answer = Stored {
                    level: Level::InSync,
                    first: appended.first,
                    epoch: appended.epoch,
                    history,
                    ids: appended.id.into_iter().collect(),
                };
                let end = Moment(self.t);
                self.history.appends[posted.place].outcome = Outcome::Answered { end, answer };
            }
            let letter = (at, seq, posted.id);
            self.crew.letters.insert(letter, posted.into);
        }
        self.buried(event, host, at, seq, appended.is_some());
    }

    /// No answer came: the letter may be there or not.
    pub(super) fn letter_late(&mut self, cause: EventId, host: usize, operation: u64) {
        if let Some(posted) = self.hosts[host].posted.remove(&operation) {
            let (at, seq) = (posted.at, posted.seq);
            let seqs = Some((seq, seq));
            let event = self.consumer_event(cause, Kind::LetterFailed, Some(host), at, seqs);
            self.buried(event, host, at, seq, false);
        }
    }

    fn buried(&mut self, cause: EventId, host: usize, at: At, seq: Seq, done: bool) {
        let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
        let epoch = led.map(|led| led.epoch());
        if done
            && let Some(epoch) = epoch
            && let Some(ledger) = self.crew.ledger(at, epoch)
        {
            ledger.buried(seq);
        }
        self.tell_shard(cause, host, at, ConsumerCall::Buried { seq, done });
    }

    /// Every dead letter that was put away is there once.
    pub(super) fn judge_letters(&mut self) {
        for ((at, seq, id), into) in self.crew.letters.clone() {
            let primary = self.newest(into).and_then(|it| it.primary);
            let Some(host) = primary.and_then(|node| self.host_of(node)) else {
                continue;
            };
            let (buffer, consumer) = (self.buffers[at.buffer], &self.crew.consumers[at.consumer]);
            let facts = format!(
                "buffer={buffer}, seq={seq}, id={id}, consumer={}",
                consumer.uuid
            );
            let name = consumer.name.clone();
            let stream = self.stream(host, into, Seq::ZERO, Seq::MAX);
            let mut count = 0;
            each_message(&stream, |record| {
                let lines = String::from_utf8_lossy(record.lines);
                count += u32::from(lines.contains(&facts));
            });
            if count != 1 && !self.lost_some(into) && !self.lost_some(at.buffer) {
                let what = format!("the letter of {name} for {seq} is there {count} times");
                self.broke(EventId(0), "dead-letter-once", what);
            }
        }
    }
}
