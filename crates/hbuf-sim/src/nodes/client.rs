//! What clients do: they append, read and work for consumers, and write down what they asked.

mod answers;

use std::collections::BTreeMap;

use hbuf_core::append::{AckLevel, AppendRequest, Item};
use hbuf_core::commitment::commitment;
use hbuf_core::ids::{Hash, NodeId, Seq};
use hbuf_core::record::{Kind as RecordKind, Producer};

use super::message::{Ask, Message};
use super::pages::{Page, Seen};
use super::topic_reads::{Follows, LIMIT};
use super::work::Hands;
use super::{About, Due, World, node};
use crate::choices::some_filter;
use crate::draw::{Draw, Purpose, mix};
use crate::history::{
    Append, AppendOp, ClientId, Freshness, Moment, OpId, Outcome, Read, ReadOp, Token,
};
use crate::kinds::Kind;
use crate::model::Content;
use crate::net::Endpoint;
use crate::swarm::Opt;
use crate::tracefile::EventId;

/// How long a client waits for an answer, in microseconds.
const PATIENCE_US: u64 = 700_000;
/// More than a client asks in a run: `c2`'s third request is operation 2000003 of the history.
const OPERATIONS_MAX: u64 = 1_000_000;
/// How often a client asks again.
const TRIES_MAX: u32 = 40;
/// Messages that a read of the tail shows at most.
pub(super) const SHOWN_MAX: u64 = 8;

/// A client.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    /// Whom it takes for a buffer's primary.
    primaries: BTreeMap<usize, NodeId>,
    turns: u64,
    /// Requests so far, each try for itself.
    asked: u64,
    /// Its producer's epoch and next number in each buffer.
    producers: BTreeMap<usize, (u64, u64)>,
    /// The last seq that it was told of in each buffer.
    ends: BTreeMap<usize, Seq>,
    /// What it asks just now.
    pub(super) pending: BTreeMap<u64, Pending>,
    /// The topics that it follows.
    pub(super) follows: Follows,
    /// What it has in mind as a worker.
    pub(super) hands: Hands,
    /// It decides by itself what to ask; else a scenario does.
    wild: bool,
    /// Its process stands still until then.
    pub(super) paused_until: u64,
}

impl Client {
    pub(super) fn new(wild: bool) -> Self {
        Self {
            wild,
            ..Self::default()
        }
    }

    /// Requests so far, each try for itself.
    pub(super) const fn asked(&self) -> u64 {
        self.asked
    }

    /// The number of its next turn.
    pub(super) const fn take_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns - 1
    }
}

/// A request without an answer.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    operation: u64,
    buffer: usize,
    ask: Ask,
    tries: u32,
    /// It asks again until it knows.
    again: bool,
    /// Its place among the appends or reads of the history.
    place: usize,
    /// It may be stored by an earlier try.
    doubtful: bool,
    /// The request of a scenario that it belongs to.
    asked: Option<usize>,
    /// It is for this node alone.
    to: Option<usize>,
}

impl Pending {
    pub(super) const fn asked(&self) -> Option<usize> {
        self.asked
    }

    pub(super) const fn asks(&self) -> &Ask {
        &self.ask
    }

    pub(super) const fn buffer(&self) -> usize {
        self.buffer
    }
}

impl Pending {
    /// Its number, what it is, and the buffer.
    pub(super) const fn told(&self) -> (u64, &'static str, usize) {
        let verb = match self.ask {
            Ask::Append { .. } => "appends to",
            Ask::ReadTail => "reads the tail of",
            Ask::Read { .. } => "reads",
            Ask::Get { .. } => "reads a key of",
            Ask::Page { .. } => "reads by a filter",
            Ask::Topic(_) => "reads a topic, not",
            Ask::Work { .. } => "works for a consumer of",
        };
        (self.operation, verb, self.buffer)
    }
}

/// What a client is to ask.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) buffer: usize,
    pub(super) ask: Ask,
    pub(super) to: Option<usize>,
    pub(super) again: bool,
    /// Its place in the history, when it was asked before: then it is the same request.
    pub(super) place: Option<usize>,
    /// It may be stored already.
    pub(super) doubtful: bool,
    /// The request of a scenario that it belongs to.
    pub(super) asked: Option<usize>,
}

impl World {
    /// A client's turn: something of its own choice.
    pub(super) fn client_turn(&mut self, cause: EventId, eid: EventId, client: usize) {
        if !self.stormy {
            return self.finishing_turn(cause, eid, client);
        }
        let turn = self.clients[client].take_turn();
        let entity = mix(client as u64, turn);
        let draw = |ordinal| self.draw(Purpose::Workload, entity, ordinal);
        let works = draw(8).percent(self.options.get(Opt::Consumers));
        if works && !self.crew.consumers.is_empty() {
            return self.work_turn(cause, eid, client, entity);
        }
        if draw(9).percent(self.options.get(Opt::TopicReads)) {
            let key = ("t1".to_owned(), some_filter(draw(11)));
            let limit = usize::try_from(draw(12).within(1, LIMIT)).unwrap_or(1);
            return self.read_topic((cause, eid), client, key, (limit, None), None);
        }
        if draw(10).percent(self.options.get(Opt::FilteredReads)) {
            return self.read_by_filter((cause, eid), client, entity);
        }
        let buffer = self.some_buffer(draw(0));
        let reads = draw(1).percent(self.options.get(Opt::TailReads));
        let wanted = match reads {
            true => Wanted {
                buffer,
                ask: Ask::ReadTail,
                to: None,
                again: false,
                place: None,
                doubtful: false,
                asked: None,
            },
            false => self.some_append(client, buffer, entity),
        };
        self.ask_as(cause, eid, client, wanted, 0);
    }

    /// A client's turn passes unused.
    pub(super) fn skip_turn(&mut self, cause: EventId, client: usize) {
        self.clients[client].turns += 1;
        self.next_turn(cause, client);
    }

    /// Its next request of its own choice, behind the last one.
    fn turn_after(&mut self, cause: EventId, client: usize, pending: &Pending) {
        if let Ask::Topic(ask) = &pending.ask {
            self.topic_ended(cause, client, ask);
        }
        if pending.asked.is_none() {
            self.next_turn(cause, client);
        }
    }

    /// Plans what a client asks for next.
    pub(super) fn next_turn(&mut self, cause: EventId, client: usize) {
        if !self.clients[client].wild {
            return;
        }
        let entity = mix(client as u64, self.clients[client].turns);
        let pace = self.options.get(Opt::Pace).max(1);
        let after = self.draw(Purpose::Workload, entity, 99).below(2 * pace);
        self.plan_turn(cause, self.t + after + 1, client);
    }

    /// A turn is the same one whenever it comes, and whatever came before.
    pub(super) fn plan_turn(&mut self, cause: EventId, at: u64, client: usize) {
        let turn = self.clients[client].turns;
        let eid = self.trace.reserve_named(mix(client as u64 + 1, turn));
        self.due_as(cause, eid, at, Due::Client(client));
    }

    /// A buffer that there is.
    fn some_buffer(&self, draw: Draw) -> usize {
        let known = self.known_buffers();
        let chosen = usize::try_from(draw.below(known.len() as u64)).unwrap_or(0);
        known.get(chosen).copied().unwrap_or(0)
    }

    /// Some messages that match a filter, from somewhere on.
    fn read_by_filter(&mut self, (cause, eid): (EventId, EventId), client: usize, entity: u64) {
        let draw = |ordinal| self.draw(Purpose::Workload, entity, ordinal);
        let buffer = self.some_buffer(draw(0));
        let end = self.clients[client].ends.get(&buffer).copied();
        let ask = Ask::Page {
            after: Seq(draw(12).below(end.unwrap_or_default().0 + 1)),
            limit: usize::try_from(draw(13).within(1, LIMIT)).unwrap_or(1),
            filter: some_filter(draw(11)),
        };
        let wanted = Wanted {
            buffer,
            ask,
            to: None,
            again: true,
            place: None,
            doubtful: false,
            asked: None,
        };
        self.ask_as(cause, eid, client, wanted, 0);
    }

    /// What a client was shown by a filter.
    fn shown_by_filter(&mut self, client: usize, pending: &Pending, page: &Page) {
        let Ask::Page { filter, after, .. } = &pending.ask else {
            return;
        };
        self.seen.push(Seen {
            who: self.names.clients[client].clone(),
            buffer: pending.buffer,
            filter: filter.clone(),
            after: *after,
            through: page.through,
            messages: page.messages.clone(),
            invariant: "filter-complete",
        });
    }

    fn some_append(&mut self, client: usize, buffer: usize, entity: u64) -> Wanted {
        let draw = |ordinal| self.draw(Purpose::Workload, entity, ordinal);
        let count = match draw(2).percent(self.options.get(Opt::Batches)) {
            true => draw(3).within(2, 6),
            false => 1,
        };
        let numbered = draw(4).percent(self.options.get(Opt::Producers));
        let keyed = !numbered && draw(5).percent(self.options.get(Opt::Keyed));
        let conditional = draw(6).percent(self.options.get(Opt::Conditional));
        let key = draw(7).0;
        let this = &self.clients[client];
        let producer = numbered.then(|| {
            let (epoch, number) = this.producers.get(&buffer).copied().unwrap_or((1, 0));
            Producer {
                id: format!("c{}", client + 1).into(),
                epoch,
                number,
            }
        });
        let idem = keyed.then(|| idempotency(key));
        let if_match = conditional.then(|| this.ends.get(&buffer).copied().unwrap_or_default());
        let contents = (0..count).map(|at| self.content(mix(entity, at))).collect();
        let again = producer.is_some() || idem.is_some();
        let ask = append(contents, producer, idem, if_match);
        Wanted {
            buffer,
            ask,
            to: None,
            again,
            place: None,
            doubtful: false,
            asked: None,
        }
    }

    fn content(&self, entity: u64) -> Content {
        let draw = |ordinal| self.draw(Purpose::Content, entity, ordinal);
        let mut salt = [0; 32];
        for (ordinal, word) in (0..).zip(salt.chunks_exact_mut(8)) {
            let word_drawn = self.draw(Purpose::Salt, entity, ordinal).0;
            word.copy_from_slice(&word_drawn.to_be_bytes());
        }
        let length = draw(0).below(self.options.get(Opt::BodyMax) + 1);
        let letters = draw(1).0;
        let letter = |at: u64| b'a' + u8::try_from((letters >> (at % 56)) % 26).unwrap_or(0);
        let key = draw(2).below(self.options.get(Opt::Keys).max(1));
        let tags = match (
            draw(3).percent(self.options.get(Opt::Tagged)),
            draw(4).below(3),
        ) {
            (false, _) => "",
            (true, 0) => "x-hbuf-tag: c\r\n",
            (true, 1) => "x-hbuf-tag: b, c\r\n",
            (true, _) => "x-hbuf-tag: b\r\n",
        };
        Content {
            lines: format!("x-hbuf-key: k{key}\r\n{tags}").into_bytes().into(),
            body: (0..length).map(letter).collect(),
            salt,
        }
    }

    /// A message of a scenario.
    pub(super) fn content_of(&self, entity: u64, text: &str) -> Content {
        let mut content = self.content(entity);
        content.body = text.as_bytes().into();
        content
    }

    /// Sends a request and writes it down: the event of this id.
    pub(super) fn ask_as(
        &mut self,
        cause: EventId,
        event: EventId,
        client: usize,
        wanted: Wanted,
        tries: u32,
    ) {
        let Wanted {
            buffer,
            ask,
            to,
            again,
            place,
            doubtful,
            asked,
        } = wanted;
        self.count_ask(&ask, tries);
        self.clients[client].asked += 1;
        let operation = self.clients[client].asked;
        let place = match place {
            Some(place) => place,
            None => self.write_down(client, operation, buffer, &ask),
        };
        let kind = ask.kind();
        let note = self.words_asked(asked.filter(|_| tries == 0));
        let about = About {
            client: Some(client),
            buffer: Some(buffer),
            operation: Some(operation),
            note: &note,
            ..About::default()
        };
        self.happens(event, &[cause], kind, &about);
        let host = to.unwrap_or_else(|| self.whom(client, buffer, event));
        let pending = Pending {
            operation,
            buffer,
            ask: ask.clone(),
            tries,
            again,
            place,
            doubtful,
            asked,
            to,
        };
        self.clients[client].pending.insert(operation, pending);
        let message = Message::Ask {
            operation,
            buffer,
            ask,
        };
        let from = Endpoint::Client(u32::try_from(client + 1).unwrap_or(1));
        let once = message.is_unrepeatable();
        // What is refused now may be taken when it arrives again.
        if self.send(event, from, node(host), message) && !once {
            let pending = self.clients[client].pending.get_mut(&operation);
            pending.expect("it was just asked").doubtful = true;
        }
        let eid = self.reserve(event, Kind::AppendUnknown);
        let at = self.t + PATIENCE_US;
        self.due_as(event, eid, at, Due::GiveUp { client, operation });
    }

    fn whom(&self, client: usize, buffer: usize, event: EventId) -> usize {
        let known = self.clients[client].primaries.get(&buffer);
        let known = known.and_then(|id| self.hosts.iter().position(|host| host.id == *id));
        let nodes = self.founders as u64;
        let any = self.draw(Purpose::Workload, event.0, 50).below(nodes);
        known.unwrap_or_else(|| usize::try_from(any).unwrap_or(0))
    }

    /// Its place in the history; nothing is known of its end yet.
    fn write_down(&mut self, client: usize, operation: u64, buffer: usize, ask: &Ask) -> usize {
        let busy = !self.clients[client].pending.is_empty();
        // Who does several things at once counts as several.
        let unique = (client as u64 + 1) * OPERATIONS_MAX + operation;
        let number = if busy { unique } else { client as u64 };
        let (id, client) = (OpId(unique), ClientId(u32::try_from(number).unwrap_or(0)));
        let begin = Moment(self.t);
        let buffer = self.names.buffers[buffer].clone();
        match ask {
            Ask::Append { request, contents } => {
                let token = request.producer.as_ref().map(|producer| Token::Producer {
                    id: producer.id.to_string(),
                    epoch: producer.epoch,
                    number: producer.number,
                });
                let key = request.idem.map(|key| Token::Key(key.to_string()));
                self.history.appends.push(AppendOp {
                    id,
                    client,
                    begin,
                    call: Append {
                        buffer,
                        token: token.or(key),
                        messages: contents.iter().map(digest).collect(),
                    },
                    outcome: Outcome::Unknown,
                });
                self.history.appends.len() - 1
            }
            // These have accounts of their own.
            Ask::Work { .. } | Ask::Page { .. } | Ask::Topic(_) => usize::MAX,
            Ask::ReadTail | Ask::Read { .. } | Ask::Get { .. } => {
                let (after, freshness, filtered) = match ask {
                    Ask::Read { after, .. } => (*after, Freshness::Any, false),
                    Ask::Get { .. } => (Seq::ZERO, Freshness::Linearizable, true),
                    _ => (Seq::ZERO, Freshness::Linearizable, false),
                };
                self.history.reads.push(ReadOp {
                    id,
                    client,
                    begin,
                    call: Read {
                        buffer,
                        after,
                        freshness,
                        filtered,
                    },
                    outcome: Outcome::Unknown,
                });
                self.history.reads.len() - 1
            }
        }
    }
}

/// By what contents are told apart.
pub(super) fn digest(content: &Content) -> Hash {
    commitment(&content.salt, &content.lines, &content.body)
}

fn idempotency(key: u64) -> Hash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    Hash(bytes)
}

/// The request that appends these contents.
pub(super) fn append(
    contents: Vec<Content>,
    producer: Option<Producer>,
    idem: Option<Hash>,
    if_match: Option<Seq>,
) -> Ask {
    let item = |content: &Content| Item {
        kind: RecordKind::Data,
        lines_len: u32::try_from(content.lines.len()).expect("a few lines"),
        body_len: u32::try_from(content.body.len()).expect("a short body"),
        commitment: digest(content),
    };
    let request = AppendRequest {
        items: contents.iter().map(item).collect(),
        ack: AckLevel::InSync,
        if_match,
        producer,
        idem,
        stream: None,
        mirrored: None,
    };
    Ask::Append { request, contents }
}

/// The key of an append of a scenario.
pub(super) fn key_of(text: &str) -> Hash {
    let words = text
        .bytes()
        .fold(0, |hash, byte| mix(hash, u64::from(byte)));
    idempotency(words)
}
