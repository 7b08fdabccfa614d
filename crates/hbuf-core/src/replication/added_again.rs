//! A copy that is removed and added again under one registration, while its node lags behind what
//! the manager decides.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;

use super::*;
use crate::ids::{Epoch, Micros, NodeId, Seq, Uuid};
use crate::limits::COPY_SILENT_MICROS;
use crate::rules::Rules;
use crate::segment::LogKind;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const REGISTRATION: NodeEpoch = NodeEpoch(2);
const END: Seq = Seq(21);

/// One leads with 21 messages; two becomes a copy.
struct World {
    rules: Rules,
    now: Micros,
    record: Assignment,
    leader: Leader,
}

fn facts(node: NodeId) -> Option<NodeFacts> {
    Some(NodeFacts {
        node_epoch: NodeEpoch(u64::from(node.0)),
        alive: true,
        draining: false,
        clock_off: false,
    })
}

impl World {
    fn new() -> Self {
        let rules = Rules::correct();
        let record = Assignment::new(Uuid([1; 16]), &[(ONE, NodeEpoch(1))], 1);
        let messages = Log {
            from: Seq::FIRST,
            end: END,
            durable: END,
            commit: END,
            epochs: Epochs::of(vec![(Epoch(1), Seq::FIRST)]),
        };
        let shared = Arc::new(record.clone());
        let leader = Leader::appointed(&rules, ONE, &shared, messages, Log::default());
        Self {
            rules,
            now: Micros(1),
            record,
            leader,
        }
    }

    /// The manager decides where the buffer is to be, and the primary hears of it.
    fn decide(&mut self, copies: &[NodeId]) -> Assignment {
        self.record.set_copies(&self.rules, copies, facts).unwrap();
        self.record.settle(&self.rules, facts);
        assert_eq!(self.record.broken(), None);
        self.leader.on_decided(&Arc::new(self.record.clone()));
        self.record.clone()
    }

    /// The empty copy that a node opens which knows this record.
    fn open(record: &Assignment) -> Follower {
        Self::open_under(REGISTRATION, record)
    }

    fn open_under(registration: NodeEpoch, record: &Assignment) -> Follower {
        let known = (record.epoch, record.tenure(TWO));
        Follower::open(registration, known, Log::default(), Log::default())
    }

    /// Says what there is to say, until the primary asks the manager or has said all twice.
    fn talk(&mut self, copy: &mut Follower) -> Option<Alter> {
        for _ in 0..2 {
            let mut news: VecDeque<_> = self.leader.news().into();
            while let Some((to, log)) = news.pop_front() {
                assert_eq!(to, TWO);
                let message = self.leader.pull(self.now, to, log, None);
                let steps = message.map(|it| copy.on_message(&self.rules, log, ONE, &it));
                for step in steps.unwrap_or_default() {
                    self.done(copy, log, step);
                }
                news.extend(self.leader.news());
            }
            let asked = self.leader.on_time(&self.rules, self.now);
            if asked.is_some() {
                return asked;
            }
            self.now = self.now.plus(COPY_SILENT_MICROS);
        }
        None
    }

    fn done(&mut self, copy: &mut Follower, log: LogKind, step: Step) {
        let answer = match step {
            Step::Take(_, through) => copy.on_synced(&self.rules, log, through),
            Step::Answer(to, answer) => Some((to, answer)),
            Step::Commit(_) => None,
            Step::Cut(_) | Step::Begin(_) | Step::Mark(..) | Step::Drop(_) | Step::Fill(_) => {
                panic!("it holds what the primary holds")
            }
        };
        if let Some((to, answer)) = answer {
            assert_eq!(to, ONE);
            self.leader.on_answer(self.now, log, TWO, answer);
        }
    }
}

#[test]
fn what_a_copy_holds_that_will_be_removed_does_not_count_for_the_one_that_was_added_again() {
    let mut world = World::new();
    let first = world.decide(&[ONE, TWO]);
    let mut old = World::open(&first);
    world.decide(&[ONE]);
    let again = world.decide(&[ONE, TWO]);
    // Its node has heard of nothing: it takes what it is sent, if anything, and removes it later.
    assert_eq!(world.talk(&mut old), None);
    assert_eq!(world.leader.primary(LogKind::Messages).holds(TWO), None);
    let mut new = World::open(&again);
    let asked = world.talk(&mut new).expect("it holds all");
    assert!(asked.change.adds(TWO));
    assert_eq!(new.log(LogKind::Messages).durable, END);
}

#[test]
fn what_was_counted_before_the_primary_heard_of_it_is_forgotten() {
    let mut world = World::new();
    let first = world.decide(&[ONE, TWO]);
    let mut old = World::open(&first);
    assert!(world.talk(&mut old).is_some());
    assert_eq!(
        world.leader.primary(LogKind::Messages).holds(TWO),
        Some(END)
    );
    // It hears of the newest record only, and not of the one between.
    let mut record = world.record.clone();
    record.set_copies(&world.rules, &[ONE], facts).unwrap();
    record.settle(&world.rules, facts);
    assert!(!record.copies.contains(&TWO));
    world.record = record;
    let again = world.decide(&[ONE, TWO]);
    assert_eq!(world.leader.primary(LogKind::Messages).holds(TWO), None);
    assert_eq!(world.talk(&mut old), None);
    let mut new = World::open(&again);
    let asked = world.talk(&mut new).expect("it holds all");
    assert_eq!(asked.version, again.version);
    assert_eq!(new.log(LogKind::Messages).durable, END);
}

#[test]
fn a_copy_that_registers_anew_is_heard_although_the_primary_hears_of_that_later() {
    let mut world = World::new();
    let added = world.decide(&[ONE, TWO]);
    let mut copy = World::open(&added);
    assert!(world.talk(&mut copy).is_some());
    // The registration ends the tenure, which its node knows before the primary does.
    let now = NodeEpoch(9);
    let mut record = added;
    record.registered(&world.rules, TWO, now, Disk::Same);
    assert_eq!(record.tenure(TWO), 0);
    let mut copy = World::open_under(now, &record);
    world.leader.on_silence(TWO);
    world.talk(&mut copy);
    assert_eq!(world.leader.registration(TWO), None);
    world.leader.on_decided(&Arc::new(record));
    world.talk(&mut copy).expect("it holds all");
    assert_eq!(world.leader.registration(TWO), Some(now));
    assert_eq!(copy.log(LogKind::Messages).durable, END);
}

#[test]
fn one_that_was_no_copy_when_its_connection_had_room_is_greeted_when_it_is_one_again() {
    let mut world = World::new();
    world.decide(&[ONE, TWO]);
    let news = world.leader.news();
    assert_eq!(news.len(), 2);
    world.decide(&[ONE]);
    for (to, log) in news.iter().copied() {
        assert_eq!(world.leader.pull(world.now, to, log, None), None);
    }
    world.decide(&[ONE, TWO]);
    assert_eq!(world.leader.news(), news);
}
