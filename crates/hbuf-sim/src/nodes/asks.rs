//! What the clients of a scenario ask, and what came of it.
//!
//! A lock is a key of a buffer of its own: its newest message says who holds it. Whoever wants it
//! reads that message, linearizably, and appends one of its own on the condition that the log still
//! ends where the read saw it end. The seq of that message is the lock's token. What the lock
//! protects is another buffer: an append that relies on the lock is one of the producer of the
//! lock's name, in the epoch of its token, so the buffer refuses whoever has an older one.

use std::collections::BTreeMap;

use hbuf_core::ids::{Micros, Seq};
use hbuf_core::record::Producer;

use super::client::{Pending, Wanted, append, key_of};
use super::message::{Ask, Newest};
use super::{Due, EPOCH, World};
use crate::draw::mix;
use crate::kinds::Kind;
use crate::scenario::{Ask as Scripted, Field, Verb};
use crate::swarm::Unit;
use crate::tracefile::EventId;

/// How long a lock is respected, unless the scenario says it, in microseconds.
const LEASE_US: u64 = 1_000_000;
/// After what time somebody who waits for a lock looks again, in microseconds.
const LOOK_AGAIN_US: u64 = 50_000;
/// How often it looks.
const LOOKS_MAX: u32 = 200;
/// Messages that a read gets, unless the scenario says it.
const LIMIT: u64 = 100;
/// What the message of a lock says that nobody holds.
const FREE: &[u8] = b"free";

/// What a client of a scenario was told in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It is done.
    Done,
    /// It was refused, with these words.
    Refused(String),
    /// No answer came.
    Unknown,
}

/// A request of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) client: usize,
    pub(super) verb: Verb,
    pub(super) begun: u64,
    pub(super) end: Option<(u64, Came)>,
    /// What is asked, for what takes more than one request.
    ask: Scripted,
    looks: u32,
}

/// The requests of a scenario, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Asks {
    all: Vec<Asked>,
    waiting: usize,
    /// Of each buffer and producer: its epoch and next number.
    producers: BTreeMap<(usize, String), (u64, u64)>,
    /// The tokens of the locks that clients believe to hold.
    tokens: BTreeMap<(usize, String), u64>,
}

impl Asks {
    pub(super) const fn all_ended(&self) -> bool {
        self.waiting == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Asked> {
        self.all.iter()
    }
}

/// What a client hears of a request.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// Its messages are stored, the first one here.
    Stored(Seq),
    /// It was shown messages.
    Shown,
    /// The newest message of a key, and where the log ends.
    Newest(Option<Newest>, Seq),
    Refused(String),
    Nothing,
}

impl World {
    /// What a scenario lets a client ask.
    pub(super) fn scripted(&mut self, cause: EventId, eid: EventId, ask: &Scripted) {
        let client = self.names.clients.iter().position(|it| *it == ask.client);
        let buffer = self.names.buffers.iter().position(|it| *it == ask.target);
        if let (Some(client), Verb::ReadTopic) = (client, ask.verb) {
            let asked = self.note_asked(client, ask);
            return self.scripted_topic((cause, eid), client, ask, asked);
        }
        let (Some(client), Some(buffer)) = (client, buffer) else {
            self.unplayed.push(ask.to_string());
            return;
        };
        let key = || ask.with.get(&Field::Key).cloned().unwrap_or_default();
        let after = Seq(ask.number(Field::After).unwrap_or(0));
        let request = match ask.verb {
            Verb::Tail => Ask::ReadTail,
            Verb::Read => Ask::Read {
                after,
                limit: ask.number(Field::Limit).unwrap_or(LIMIT),
            },
            Verb::Get | Verb::Lock | Verb::Unlock => Ask::Get { key: key() },
            Verb::Append => match self.scripted_append(client, buffer, ask) {
                Some(append) => append,
                None => {
                    let asked = self.note_asked(client, ask);
                    let why = "the client has no such lock, so it has no token".to_owned();
                    self.heard_of(cause, client, asked, Heard::Refused(why));
                    return;
                }
            },
            Verb::Delete | Verb::ReadTopic | Verb::Next | Verb::Ack | Verb::Nack => {
                self.unplayed.push(ask.to_string());
                return;
            }
        };
        let asked = self.note_asked(client, ask);
        self.ask_scripted((cause, eid), client, buffer, request, asked);
    }

    fn note_asked(&mut self, client: usize, ask: &Scripted) -> Option<usize> {
        let begun = self.t;
        self.asks.waiting += 1;
        self.asks.all.push(Asked {
            client,
            verb: ask.verb,
            begun,
            end: None,
            ask: ask.clone(),
            looks: 0,
        });
        Some(self.asks.all.len() - 1)
    }

    fn ask_scripted(
        &mut self,
        (cause, eid): (EventId, EventId),
        client: usize,
        buffer: usize,
        ask: Ask,
        asked: Option<usize>,
    ) {
        let scripted = self.asked_of(asked).map(|asked| &asked.ask);
        let field = |field| {
            scripted
                .and_then(|it| it.with.get(&field))
                .map(String::as_str)
        };
        let to = field(Field::To);
        let to = to.and_then(|name| self.names.nodes.iter().position(|it| it == name));
        let again = field(Field::Retry) == Some("on");
        let wanted = Wanted {
            buffer,
            ask,
            to,
            again,
            place: None,
            doubtful: false,
            asked,
        };
        self.ask_as(cause, eid, client, wanted, 0);
    }

    /// What a person is told of a request: nothing of one that says nothing.
    pub(super) fn words_asked(&self, asked: Option<usize>) -> String {
        let asked = self.asked_of(asked).map(|asked| &asked.ask);
        let plain = |ask: &&Scripted| {
            let verb = matches!(ask.verb, Verb::Append | Verb::Tail | Verb::Read);
            verb && ask.text.is_none()
        };
        let asked = asked.filter(|ask| !plain(ask));
        asked.map_or_else(String::new, |ask| self.words(ask))
    }

    fn asked_of(&self, asked: Option<usize>) -> Option<&Asked> {
        self.asks.all.get(asked?)
    }

    /// None when it relies on a lock that the client never had.
    fn scripted_append(&mut self, client: usize, buffer: usize, ask: &Scripted) -> Option<Ask> {
        // What is sent under one key is one message, however often.
        let entity = match ask.with.get(&Field::Idem) {
            Some(key) => crate::draw::key(key),
            None => mix(
                mix(client as u64, buffer as u64),
                self.clients[client].asked(),
            ),
        };
        let count = ask.number(Field::Batch).unwrap_or(1);
        let bytes = ask.number(Field::Bytes).unwrap_or(24);
        let filler = || "x".repeat(usize::try_from(bytes).unwrap_or(24));
        let text = ask.text.clone().unwrap_or_else(filler);
        let lines = header_lines(ask);
        let contents = (0..count).map(|at| {
            let mut content = self.content_of(mix(entity, at), &text);
            content.lines = lines.as_bytes().into();
            content
        });
        let contents = contents.collect();
        let producer = match (ask.with.get(&Field::Token), ask.with.get(&Field::Producer)) {
            (Some(lock), _) => {
                let token = *self.asks.tokens.get(&(client, lock.clone()))?;
                Some(self.next_of_producer(buffer, lock, Some(token)))
            }
            (None, Some(name)) => Some(self.next_of_producer(buffer, name, None)),
            (None, None) => None,
        };
        let idem = ask.with.get(&Field::Idem).map(|key| key_of(key));
        // Whoever asks again must be known by something.
        let again = ask
            .with
            .get(&Field::Retry)
            .is_some_and(|retry| retry == "on");
        let own = || key_of(&format!("{client}/{}", self.clients[client].asked()));
        let idem = idem.or_else(|| (again && producer.is_none()).then(own));
        let idem = idem.filter(|_| producer.is_none());
        let if_match = ask.number(Field::IfMatch).map(Seq);
        Some(append(contents, producer, idem, if_match))
    }

    /// The next number of a producer; one that relies on a lock is in the epoch of its token.
    fn next_of_producer(&mut self, buffer: usize, name: &str, token: Option<u64>) -> Producer {
        let producers = &mut self.asks.producers;
        let owner = token.map_or_else(|| name.to_owned(), |token| format!("{name}/{token}"));
        let first = (token.unwrap_or(1), 0);
        let next = producers.entry((buffer, owner)).or_insert(first);
        let (epoch, number) = *next;
        next.1 += 1;
        Producer {
            id: name.into(),
            epoch,
            number,
        }
    }

    /// An append of a producer came to nothing: what it appends next is of another epoch, for
    /// its number may be stored or not.
    fn producer_begins_anew(&mut self, pending: &Pending) {
        let Ask::Append { request, .. } = pending.asks() else {
            return;
        };
        let Some(producer) = &request.producer else {
            return;
        };
        let key = (pending.buffer(), producer.id.to_string());
        if let Some(next) = self.asks.producers.get_mut(&key)
            && next.0 == producer.epoch
        {
            *next = (producer.epoch + 1, 0);
        }
    }

    /// A client hears what came of a request of a scenario.
    pub(super) fn client_heard(
        &mut self,
        cause: EventId,
        client: usize,
        pending: &Pending,
        heard: Heard,
    ) {
        if pending.asked().is_none() {
            return;
        }
        if matches!(heard, Heard::Refused(_) | Heard::Nothing) {
            self.producer_begins_anew(pending);
        }
        self.heard_of(cause, client, pending.asked(), heard);
    }

    fn heard_of(&mut self, cause: EventId, client: usize, asked: Option<usize>, heard: Heard) {
        let Some(known) = self.asked_of(asked) else {
            return;
        };
        let ask = known.ask.clone();
        match (ask.verb, heard) {
            (Verb::Lock, Heard::Newest(newest, end)) => {
                self.lock_seen(cause, client, asked, (newest, end));
            }
            (Verb::Lock, Heard::Stored(seq)) => {
                let lock = ask.with.get(&Field::Key).cloned().unwrap_or_default();
                self.asks.tokens.insert((client, lock), seq.0);
                self.ends(asked, Came::Done);
            }
            (Verb::Unlock, Heard::Newest(newest, end)) => {
                let lock = ask.with.get(&Field::Key).cloned().unwrap_or_default();
                let token = self.asks.tokens.remove(&(client, lock));
                let holds = newest.is_some_and(|it| Some(it.seq.0) == token);
                match holds {
                    true => self.append_lock(cause, client, asked, (FREE.to_vec(), end)),
                    false => {
                        let why = "the lock is not held by this client".to_owned();
                        self.ends(asked, Came::Refused(why));
                    }
                }
            }
            (_, Heard::Stored(_) | Heard::Shown | Heard::Newest(..)) => {
                self.ends(asked, Came::Done);
            }
            (Verb::Lock, Heard::Refused(_)) if self.looks_again(cause, client, asked) => {}
            (_, Heard::Refused(why)) => self.ends(asked, Came::Refused(why)),
            (_, Heard::Nothing) => self.ends(asked, Came::Unknown),
        }
    }

    /// Who holds a lock is known: it is taken when nobody does, or not any more.
    fn lock_seen(
        &mut self,
        cause: EventId,
        client: usize,
        asked: Option<usize>,
        (newest, end): (Option<Newest>, Seq),
    ) {
        let Some(known) = self.asked_of(asked) else {
            return;
        };
        let lease = known.ask.with.get(&Field::Lease);
        let lease = lease.and_then(|text| Unit::Micros.parse(text));
        let own = holder(&self.names.clients[client]);
        // The clients' clocks are right; a wrong one costs no safety, only the lock.
        let now = EPOCH.plus(self.t);
        let held = newest.filter(|it| {
            let until = Micros(it.time.0.saturating_add(lease.unwrap_or(LEASE_US)));
            it.body != FREE && it.body != own && now < until
        });
        match held {
            None => self.append_lock(cause, client, asked, (own, end)),
            Some(_) if self.looks_again(cause, client, asked) => {}
            Some(held) => {
                let why = format!("the lock is {}", String::from_utf8_lossy(&held.body));
                self.ends(asked, Came::Refused(why));
            }
        }
    }

    fn append_lock(
        &mut self,
        cause: EventId,
        client: usize,
        asked: Option<usize>,
        (body, end): (Vec<u8>, Seq),
    ) {
        let Some(known) = self.asked_of(asked) else {
            return;
        };
        let target = known.ask.target.clone();
        let Some(buffer) = self.names.buffers.iter().position(|it| *it == target) else {
            return;
        };
        let (lines, entity) = (
            header_lines(&known.ask),
            mix(client as u64, self.clients[client].asked()),
        );
        let mut content = self.content_of(entity, &String::from_utf8_lossy(&body));
        content.lines = lines.as_bytes().into();
        let idem = Some(key_of(&format!(
            "lock {client}/{}",
            self.clients[client].asked()
        )));
        let ask = append(vec![content], None, idem, Some(end));
        let eid = self.reserve(cause, ask.kind());
        self.ask_scripted((cause, eid), client, buffer, ask, asked);
    }

    /// Whoever asks again waits for the lock, up to a bound.
    fn looks_again(&mut self, cause: EventId, client: usize, asked: Option<usize>) -> bool {
        let known = asked.and_then(|at| self.asks.all.get_mut(at));
        let Some(known) = known else {
            return false;
        };
        let again = known
            .ask
            .with
            .get(&Field::Retry)
            .is_some_and(|it| it == "on");
        known.looks += 1;
        if !again || known.looks > LOOKS_MAX {
            return false;
        }
        let key = known.ask.with.get(&Field::Key).cloned().unwrap_or_default();
        let target = known.ask.target.clone();
        let buffer = self.names.buffers.iter().position(|it| *it == target);
        let wanted = Wanted {
            buffer: buffer.unwrap_or(0),
            ask: Ask::Get { key },
            to: None,
            again: true,
            place: None,
            doubtful: false,
            asked,
        };
        let due = Due::Again {
            client,
            wanted: Box::new(wanted),
            tries: 0,
        };
        let eid = self.reserve(cause, Kind::ReadAsked);
        self.due_as(cause, eid, self.t + LOOK_AGAIN_US, due);
        true
    }

    fn ends(&mut self, asked: Option<usize>, came: Came) {
        let now = self.t;
        if let Some(asked) = asked.and_then(|at| self.asks.all.get_mut(at))
            && asked.end.is_none()
        {
            asked.end = Some((now, came));
            self.asks.waiting -= 1;
        }
    }
}

/// What the message of a lock says of who holds it.
fn holder(client: &str) -> Vec<u8> {
    format!("held by {client}").into_bytes()
}

fn header_lines(ask: &Scripted) -> String {
    let headers = [(Field::Key, "x-hbuf-key"), (Field::Tag, "x-hbuf-tag")];
    let lines = headers.into_iter().filter_map(|(field, name)| {
        let value = ask.with.get(&field)?;
        Some(format!("{name}: {value}\r\n"))
    });
    lines.collect()
}
