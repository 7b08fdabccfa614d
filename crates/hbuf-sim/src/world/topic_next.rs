//! A worker's request for messages of a topic's consumer: the buffers are asked one after the
//! other, and what is not among the earliest goes back, as the core picks it.

use std::collections::BTreeMap;

use hbuf_core::buffer::ConsumerCall;
use hbuf_core::consumer::{Given, TopicPick, TopicTurn};
use hbuf_core::ids::Uuid;

use super::consumer::{At, Held};
use super::consumer_tasks::Task;
use super::{Due, World};
use crate::draw::Draw;
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::trace::EventId;

/// Such a request, between its answers.
#[derive(Clone, Debug)]
pub(crate) struct TopicNext {
    consumer: Uuid,
    members: Vec<usize>,
    turn: TopicTurn,
    /// The buffer that is being asked, and for how many.
    asking: Option<(usize, usize)>,
}

impl TopicNext {
    /// A buffer gave this.
    pub(super) fn gave(&mut self, given: &[Given]) {
        if let Some((member, _)) = self.asking.take() {
            self.turn.gave(member, given.iter().copied());
        }
    }

    /// A buffer is passed.
    pub(super) const fn passed(&mut self) {
        self.asking = None;
    }
}

impl World<'_> {
    /// Begins one, when the consumer reads several buffers.
    pub(super) fn ask_topic(&mut self, cause: EventId, worker: usize, at: At, draw: Draw) -> bool {
        let Some(consumer) = self.crew.consumer(at.consumer) else {
            return false;
        };
        let (members, uuid) = (consumer.members.clone(), consumer.uuid);
        let Some((config, _)) = self.registry.consumer(uuid) else {
            return false;
        };
        if members.len() < 2 || draw.percent(40) {
            return false;
        }
        let limit = usize::try_from(draw.next().within(1, 12)).expect("twelve at most");
        let turn = TopicTurn::new(config.ack, members.len(), draw.next().next().0, limit);
        self.crew.workers[worker].topic = Some(TopicNext {
            consumer: uuid,
            members,
            turn,
            asking: None,
        });
        self.go_on_asking(cause, worker);
        true
    }

    /// Asks the next buffer, or picks what is handed out.
    pub(super) fn go_on_asking(&mut self, cause: EventId, worker: usize) {
        let Some(mut next) = self.crew.workers[worker].topic.take() else {
            return;
        };
        let gone = self.crew.consumer(next.consumer).is_none();
        let asking = next.asking.or_else(|| next.turn.ask());
        let Some((member, limit)) = asking.filter(|_| !gone) else {
            self.pick(cause, worker, next);
            return;
        };
        let at = At {
            consumer: next.consumer,
            buffer: next.members[member],
        };
        next.asking = asking;
        self.crew.workers[worker].topic = Some(next);
        if self.has_begun(cause, worker, at) {
            let event = self.consumer_event(cause, Kind::NextAsked, at, None);
            let waits = false;
            self.call_consumer(event, Some(worker), at, ConsumerCall::Next { limit, waits });
        }
    }

    fn pick(&mut self, cause: EventId, worker: usize, next: TopicNext) {
        let at = |member: usize| At {
            consumer: next.consumer,
            buffer: next.members[member],
        };
        let TopicPick { handed, back } = next.turn.pick();
        let last = handed.last().map(|(_, given)| given.time);
        let early = back.iter().find(|(_, given)| Some(given.time) < last);
        let early = early.map(|(member, given)| (at(*member), given.seq));
        let sorted = handed.is_sorted_by_key(|(_, given)| given.time);
        self.check(sorted && early.is_none(), Invariant::TopicInOrder, || {
            format!("{handed:?} is handed out and {early:?} goes back")
        });
        let leased = handed.iter().filter(|(_, given)| given.lease.is_some());
        let held = leased.map(|(member, given)| Held {
            at: at(*member),
            given: *given,
        });
        self.crew.workers[worker].held.extend(held);
        let mut of_member: BTreeMap<usize, Vec<Given>> = BTreeMap::new();
        for (member, given) in back {
            of_member.entry(member).or_default().push(given);
        }
        for (member, given) in of_member {
            self.later(cause, Task::Return(at(member), given));
        }
        self.due(cause, 500, Due::Worker(worker));
    }
}
