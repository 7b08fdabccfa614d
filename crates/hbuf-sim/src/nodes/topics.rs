//! A node that reads a topic for a client: it has a page of each buffer fetched, from its own copy
//! or from whoever leads the buffer, and the core's merge says whose message comes next. While one
//! buffer says nothing, nothing is delivered: whoever waits is told to ask again.

use std::collections::VecDeque;

use hbuf_core::consumer::Filter;
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::topic::{BufferPlace, Head, Merge, Order, Step, TopicCursor};

use super::message::{Answer, Ask, Message};
use super::pages::{Matching, Page};
use super::{Due, World, node};
use crate::net::Endpoint;
use crate::tracefile::EventId;

/// How long a node waits for the pages of all buffers, in microseconds.
const PATIENCE_US: u64 = 400_000;

/// What a client wants of a topic.
#[derive(Clone, Debug)]
pub(super) struct TopicAsk {
    pub(super) topic: String,
    /// Where it has come to; none to begin.
    pub(super) cursor: Option<String>,
    pub(super) limit: usize,
    pub(super) filter: Filter,
}

/// What it is shown.
#[derive(Clone, Debug)]
pub(super) struct TopicPage {
    /// The topic's number, of which the cursor is.
    pub(super) topic: u64,
    pub(super) cursor: String,
    /// Buffers and messages, in the order in which they come.
    pub(super) messages: Vec<(usize, Matching)>,
}

/// A read of a topic under way.
#[derive(Clone, Debug)]
pub(super) struct TopicRead {
    client: Endpoint,
    operation: u64,
    topic: u64,
    limit: usize,
    members: Vec<Member>,
}

/// A buffer of it.
#[derive(Clone, Debug)]
struct Member {
    buffer: usize,
    /// The last message that was delivered, or looked at and left out.
    place: Seq,
    /// The request for its page; none when that is there.
    asked: Option<u64>,
    through: Seq,
    more: bool,
    page: VecDeque<Matching>,
}

impl Member {
    fn takes(&mut self, page: &Page) {
        self.asked = None;
        self.place = self.place.max(page.after);
        (self.through, self.more) = (page.through, page.more);
        self.page = page.messages.iter().copied().collect();
    }

    fn head(&self) -> Option<Head> {
        match self.page.front() {
            Some(next) => Some(Head::Next(next.time)),
            None if self.more => None,
            None => Some(Head::Idle { closed: Micros(0) }),
        }
    }
}

impl World {
    /// A client asks for what comes next of a topic.
    pub(super) fn topic_asked(
        &mut self,
        cause: EventId,
        host: usize,
        (client, operation): (Endpoint, u64),
        ask: &TopicAsk,
    ) {
        let nothing = || Answer::Topic(None);
        let Some((topic, members)) = self.topic_members(host, ask) else {
            return self.answer(cause, host, client, operation, nothing());
        };
        let number = self.hosts[host].token().0;
        let mut read = TopicRead {
            client,
            operation,
            topic,
            limit: ask.limit,
            members,
        };
        let mut fetches = Vec::new();
        for (at, member) in read.members.iter_mut().enumerate() {
            let place = (member.place, ask.limit);
            if let Some(page) = self.page(host, member.buffer, place, &ask.filter) {
                member.takes(&page);
                continue;
            }
            let primary = self.primary_known(host, member.buffer);
            let to = primary.and_then(|node| self.host_of(node));
            let Some(to) = to.filter(|to| *to != host) else {
                return self.answer(cause, host, client, operation, nothing());
            };
            let request = self.hosts[host].token().0;
            member.asked = Some(request);
            fetches.push((at, to, request));
        }
        let fetched: Vec<_> = fetches
            .iter()
            .map(|(at, to, request)| {
                (
                    *to,
                    *request,
                    read.members[*at].buffer,
                    read.members[*at].place,
                )
            })
            .collect();
        self.hosts[host].topics.insert(number, read);
        for (to, operation, buffer, after) in fetched {
            let ask = Ask::Page {
                after,
                limit: ask.limit,
                filter: ask.filter.clone(),
            };
            let message = Message::Ask {
                operation,
                buffer,
                ask,
            };
            self.send(cause, node(host), node(to), message);
        }
        let life = self.hosts[host].life;
        let late = Due::TopicLate { host, life, number };
        self.due_on(cause, host, PATIENCE_US, late);
        self.merge_topic(cause, host, number);
    }

    /// The topic's number, and its buffers in the order of their uuids, each at its place.
    fn topic_members(&self, host: usize, ask: &TopicAsk) -> Option<(u64, Vec<Member>)> {
        let catalog = &self.hosts[host].manager.catalog;
        let topic = catalog.resolve_topic("-", &ask.topic)?;
        let id = topic.id.0;
        let mut uuids = topic.buffers.to_vec();
        uuids.sort_unstable();
        let cursor = ask.cursor.as_deref();
        let cursor = cursor.and_then(|text| TopicCursor::decode(text, id).ok());
        let member = |uuid| {
            let mut places = cursor.iter().flat_map(|cursor| &cursor.places);
            let place = places.find(|place| place.is_of(uuid));
            Member {
                buffer: self.index(*uuid),
                place: place.map_or(Seq::ZERO, |place| place.seq),
                asked: None,
                through: Seq::ZERO,
                more: true,
                page: VecDeque::new(),
            }
        };
        Some((id, uuids.iter().map(member).collect()))
    }

    /// A page of a buffer has come.
    pub(super) fn page_fetched(
        &mut self,
        cause: EventId,
        host: usize,
        request: u64,
        page: Option<&Page>,
    ) {
        let reads = self.hosts[host].topics.iter_mut();
        let found = reads.filter_map(|(number, read)| {
            let mut members = read.members.iter_mut();
            let member = members.find(|member| member.asked == Some(request))?;
            Some((*number, member))
        });
        let Some((number, member)) = found.into_iter().next() else {
            return;
        };
        match page {
            Some(page) => {
                member.takes(page);
                self.merge_topic(cause, host, number);
            }
            None => self.topic_late(cause, host, number),
        }
    }

    /// Not all buffers have said what they have.
    pub(super) fn topic_late(&mut self, cause: EventId, host: usize, number: u64) {
        if let Some(read) = self.hosts[host].topics.remove(&number) {
            let answer = Answer::Topic(None);
            self.answer(cause, host, read.client, read.operation, answer);
        }
    }

    fn merge_topic(&mut self, cause: EventId, host: usize, number: u64) {
        let read = self.hosts[host].topics.get(&number);
        if read.is_none_or(|read| read.members.iter().any(|it| it.asked.is_some())) {
            return;
        }
        let Some(mut read) = self.hosts[host].topics.remove(&number) else {
            return;
        };
        let messages = self.merged(host, &mut read);
        let places = read.members.iter().map(|member| {
            let (uuid, place) = (self.buffers[member.buffer], member.place);
            let known = self.hosts[host].manager.assignment(uuid);
            let history = known.map_or(uuid, |assignment| assignment.history);
            BufferPlace::new(&uuid, &history, place)
        });
        let cursor = TopicCursor {
            topic: read.topic,
            places: places.collect(),
        };
        let page = TopicPage {
            topic: read.topic,
            cursor: cursor.encode(),
            messages,
        };
        let answer = Answer::Topic(Some(Box::new(page)));
        self.answer(cause, host, read.client, read.operation, answer);
    }

    /// The messages in their order, up to where more would have to be fetched.
    fn merged(&self, host: usize, read: &mut TopicRead) -> Vec<(usize, Matching)> {
        let members = &mut read.members;
        let mut merge = Merge::new(Order::Earliest, members.len(), &self.rules);
        let mut delivered = Vec::new();
        while delivered.len() < read.limit {
            match merge.step(self.wall(host)) {
                Step::Look => {
                    let unknown = (0..members.len()).find(|at| merge.head(*at) == Head::Unknown);
                    let at = unknown.expect("a look is for somebody");
                    match members[at].head() {
                        Some(head) => merge.set(at, head),
                        None => break,
                    }
                }
                Step::Deliver { member: at, bound } => {
                    while let Some(next) = members[at].page.front().copied()
                        && bound.admits(next.time, at)
                        && delivered.len() < read.limit
                    {
                        members[at].page.pop_front();
                        members[at].place = next.seq;
                        delivered.push((members[at].buffer, next));
                    }
                    merge.set(at, members[at].head().unwrap_or(Head::Unknown));
                }
                _ => break,
            }
        }
        for member in members.iter_mut().filter(|member| member.page.is_empty()) {
            member.place = member.place.max(member.through);
        }
        delivered
    }
}
