//! Clients that follow a topic: each keeps the cursor that it was given, and asks for one page at
//! a time.

use std::collections::{BTreeMap, VecDeque};

use hbuf_core::consumer::Filter;
use hbuf_core::ids::Seq;
use hbuf_core::name::Name;
use hbuf_core::topic::TopicCursor;
use hbuf_manager::Action as Command;

use super::asks::Heard;
use super::client::{Pending, Wanted};
use super::message::Ask;
use super::pages::Seen;
use super::topics::{TopicAsk, TopicPage};
use super::{About, Due, World};
use crate::kinds::Kind;
use crate::scenario::{Ask as Scripted, Field};
use crate::tracefile::EventId;

/// Messages that a read of a topic shows at most, unless the scenario says it.
pub(super) const LIMIT: u64 = 20;
/// An operator asks for a topic again until it is there, in microseconds.
const ASK_AGAIN_US: u64 = 50_000;

/// Where a client has come to in a topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Follower {
    cursor: Option<String>,
    /// A page is under way.
    busy: bool,
    /// Requests of a scenario that wait for the cursor.
    waiting: VecDeque<(Scripted, usize)>,
}

/// The topics that each client follows, by what it takes of them.
pub(super) type Follows = BTreeMap<(String, Filter), Follower>;

impl World {
    /// An operator makes a topic, and asks until it is there.
    pub(super) fn make_topic(&mut self, cause: EventId, topic: &str, buffers: &[String]) {
        if self.newest_catalog().resolve_topic("-", topic).is_some() {
            return;
        }
        let name = |text: &str| Name::parse(text).ok();
        let members = buffers.iter().map(|buffer| name(buffer));
        let (Some(name), Some(members)) = (name(topic), members.collect::<Option<Vec<_>>>()) else {
            self.unplayed.push(format!("topic {topic}"));
            return;
        };
        let command = Command::CreateTopic {
            tenant: Name::default_tenant(),
            topic: name,
            buffers: members,
        };
        self.ask_manager(cause, command);
        let due = Due::MakeTopic {
            topic: topic.to_owned(),
            buffers: buffers.to_vec(),
        };
        self.due_as(cause, EventId::default(), self.t + ASK_AGAIN_US, due);
    }

    /// A client of a scenario reads on in a topic, behind what it reads already.
    pub(super) fn scripted_topic(
        &mut self,
        (cause, eid): (EventId, EventId),
        client: usize,
        ask: &Scripted,
        asked: Option<usize>,
    ) {
        let key = (ask.target.clone(), filter_of(ask));
        let follower = self.clients[client].follows.entry(key).or_default();
        if let Some(asked) = asked.filter(|_| follower.busy) {
            follower.waiting.push_back((ask.clone(), asked));
            return;
        }
        let limit = ask.number(Field::Limit).unwrap_or(LIMIT);
        let (topic, filter) = (ask.target.clone(), filter_of(ask));
        let to = ask.with.get(&Field::To);
        let to = to.and_then(|name| self.names.nodes.iter().position(|it| it == name));
        let limit = usize::try_from(limit).unwrap_or(1);
        self.read_topic((cause, eid), client, (topic, filter), (limit, to), asked);
    }

    /// Asks for the next page.
    pub(super) fn read_topic(
        &mut self,
        (cause, eid): (EventId, EventId),
        client: usize,
        key: (String, Filter),
        (limit, to): (usize, Option<usize>),
        asked: Option<usize>,
    ) {
        let follower = self.clients[client].follows.entry(key.clone()).or_default();
        follower.busy = true;
        let (topic, filter) = key;
        let cursor = follower.cursor.clone();
        let ask = TopicAsk {
            topic,
            cursor,
            limit,
            filter,
        };
        let wanted = Wanted {
            buffer: 0,
            ask: Ask::Topic(ask),
            to,
            again: true,
            place: None,
            doubtful: false,
            asked,
        };
        self.ask_as(cause, eid, client, wanted, 0);
    }

    /// A client is shown a page of a topic.
    pub(super) fn topic_shown(
        &mut self,
        cause: EventId,
        client: usize,
        pending: &Pending,
        page: &TopicPage,
    ) {
        let Ask::Topic(ask) = pending.asks() else {
            return;
        };
        let about = About {
            client: Some(client),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::ReadShown, &about);
        self.note_topic_page(event, client, ask, page);
        let key = (ask.topic.clone(), ask.filter.clone());
        let follower = self.clients[client].follows.entry(key).or_default();
        follower.cursor = Some(page.cursor.clone());
        self.client_heard(event, client, pending, Heard::Shown);
    }

    /// A read of a topic is over, well or not: the next one that waits goes on.
    pub(super) fn topic_ended(&mut self, cause: EventId, client: usize, ask: &TopicAsk) {
        let key = (ask.topic.clone(), ask.filter.clone());
        let follower = self.clients[client].follows.entry(key).or_default();
        follower.busy = false;
        if let Some((next, asked)) = follower.waiting.pop_front() {
            let eid = self.reserve(cause, Kind::ReadAsked);
            self.scripted_topic((cause, eid), client, &next, Some(asked));
        }
    }

    /// The messages come in the order of their times; and of each buffer they are what matches
    /// between the one cursor and the other.
    fn note_topic_page(&mut self, cause: EventId, client: usize, ask: &TopicAsk, page: &TopicPage) {
        let who = self.names.clients[client].clone();
        let sorted = page.messages.iter().map(|(_, message)| message.time);
        if !sorted.is_sorted() {
            let what = format!("{who} is shown {:?} of {}", page.messages, ask.topic);
            self.broke(cause, "topic-read-monotonic", what);
        }
        let decode = |text: &str| TopicCursor::decode(text, page.topic);
        let before = ask.cursor.as_deref().map(decode);
        let (before, Ok(then)) = (before.and_then(Result::ok), decode(&page.cursor)) else {
            let what = format!("{who} is given no cursor of {}", ask.topic);
            return self.broke(cause, "topic-read-monotonic", what);
        };
        for (buffer, uuid) in self.buffers.iter().enumerate() {
            let at = |cursor: &TopicCursor| {
                let place = cursor.places.iter().find(|place| place.is_of(uuid))?;
                Some(place.seq)
            };
            let Some(through) = at(&then) else {
                continue;
            };
            let own = page.messages.iter().filter(|(of, _)| *of == buffer);
            self.seen.push(Seen {
                who: who.clone(),
                buffer,
                filter: ask.filter.clone(),
                after: before.as_ref().and_then(at).unwrap_or(Seq::ZERO),
                through,
                messages: own.map(|(_, message)| *message).collect(),
                invariant: "topic-read-monotonic",
            });
        }
    }
}

fn filter_of(ask: &Scripted) -> Filter {
    let tags = ask.with.get(&Field::Tag).into_iter();
    Filter {
        tags: tags.map(|tag| tag.as_bytes().into()).collect(),
        ..Filter::default()
    }
}
