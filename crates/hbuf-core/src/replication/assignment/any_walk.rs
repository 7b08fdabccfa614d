//! Any sequence of events, against what the disks really hold: who leads holds everything that is
//! kept and committed, whatever fails, moves and comes back.

use alloc::format;
use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;

const NODES: u32 = 6;

/// What a disk holds of the log: nothing when it ends before it begins.
#[derive(Clone, Copy, Debug)]
struct Held {
    from: u64,
    through: u64,
    sound: bool,
}

#[derive(Clone, Debug)]
enum Event {
    /// So many messages are appended; they are committed when the whole set is there.
    Commit(u64),
    Down(NodeId),
    Up(NodeId),
    Restart(NodeId, Disk),
    /// A copy has caught up, from so many messages before the end on.
    Join(NodeId, u64),
    /// A member has filled in so many messages more.
    Fill(NodeId, u64),
    Drop(NodeId),
    Move(Vec<NodeId>),
    HandOver(NodeId),
    /// Retention leaves so many messages.
    Keep(u64),
    Clock(NodeId, bool),
    Drain(NodeId, bool),
    Force(NodeId, bool),
    /// Damage is found while the node runs.
    Damage(NodeId),
}

#[derive(Clone)]
struct World {
    rules: Rules,
    it: Assignment,
    facts: BTreeMap<NodeId, NodeFacts>,
    disks: BTreeMap<NodeId, Held>,
    committed: u64,
    registrations: u64,
    histories: u8,
}

impl World {
    /// So many nodes in sync, of six.
    fn new(rules: Rules, copies: u32, min_in_sync: usize) -> Self {
        let nodes = || (1..=NODES).map(NodeId);
        let registration = |node: NodeId| NodeEpoch(u64::from(node.0));
        let facts = |node| NodeFacts {
            node_epoch: registration(node),
            alive: true,
            draining: false,
            clock_off: false,
        };
        let held = Held {
            from: 1,
            through: 0,
            sound: true,
        };
        let copies: Vec<_> = (1..=copies)
            .map(|node| (NodeId(node), registration(NodeId(node))))
            .collect();
        Self {
            rules,
            it: Assignment::new(Uuid([1; 16]), &copies, min_in_sync),
            facts: nodes().map(|node| (node, facts(node))).collect(),
            disks: nodes().map(|node| (node, held)).collect(),
            committed: 0,
            registrations: u64::from(NODES),
            histories: 1,
        }
    }

    fn lives(&self, node: NodeId) -> bool {
        self.facts[&node].alive
    }

    fn alter(&mut self, change: Change) -> bool {
        let Some(by) = self.it.primary.filter(|by| self.lives(*by)) else {
            return false;
        };
        let (epoch, version) = (self.it.epoch, self.it.version);
        let alter = Alter {
            by,
            epoch,
            version,
            change,
        };
        let facts = self.facts.clone();
        let facts = |node: NodeId| facts.get(&node).copied();
        self.it.alter(&self.rules, &alter, facts).is_ok()
    }

    fn commit(&mut self, count: u64) {
        let stamped = |(node, member): (&NodeId, &Member)| {
            self.lives(*node) && self.facts[node].node_epoch == member.node_epoch
        };
        let there = self.it.in_sync.iter().all(stamped);
        let enough = self.it.in_sync.len() >= self.it.min_in_sync;
        if self.it.primary.is_some() && there && enough {
            self.committed += count;
            for node in self.it.in_sync.keys() {
                self.disks.get_mut(node).unwrap().through = self.committed;
            }
        }
    }

    fn restart(&mut self, node: NodeId, disk: Disk) {
        self.registrations += 1;
        let now = NodeEpoch(self.registrations);
        let facts = self.facts.get_mut(&node).unwrap();
        (facts.node_epoch, facts.alive) = (now, true);
        let held = self.disks.get_mut(&node).unwrap();
        match disk {
            Disk::Same => held.sound = true,
            Disk::Damaged => held.sound = false,
            Disk::Lost => (held.from, held.through, held.sound) = (1, 0, true),
        }
        self.it.registered(&self.rules, node, now, disk);
    }

    fn join(&mut self, node: NodeId, back: u64) {
        let from = (self.committed + 1).saturating_sub(back).max(1);
        let known = self.it.in_sync.contains_key(&node);
        if known || !self.it.copies.contains(&node) || !self.lives(node) {
            return;
        }
        let member = Member {
            node_epoch: self.facts[&node].node_epoch,
            from: Seq(from),
        };
        let before = self.disks.insert(
            node,
            Held {
                from,
                through: self.committed,
                sound: true,
            },
        );
        if !self.alter(Change::Add(node, member)) {
            self.disks.insert(node, before.unwrap());
        }
    }

    fn fill(&mut self, node: NodeId, count: u64) {
        let Some(member) = self.it.in_sync.get(&node).copied() else {
            return;
        };
        let from = Seq(member.from.0.saturating_sub(count).max(1));
        if self.lives(node) && self.alter(Change::Holds(node, Member { from, ..member })) {
            self.disks.get_mut(&node).unwrap().from = from.0;
        }
    }

    fn force(&mut self, node: NodeId, although_fit: bool) -> Result<(), String> {
        let (held, facts) = (self.disks[&node], self.facts.clone());
        let from = Seq(held.from);
        let node_epoch = facts[&node].node_epoch;
        self.histories += 1;
        let force = Force {
            node,
            member: Member { node_epoch, from },
            through: Seq(held.through),
            history: Uuid([self.histories; 16]),
            last: None,
            although_fit,
        };
        let primary = self.it.primary.filter(|it| *it != node && self.lives(*it));
        let facts = |node: NodeId| facts.get(&node).copied();
        if self.it.force(&self.rules, &force, facts).is_ok() {
            if primary.is_some() {
                return Err("a history ended while its primary went on".into());
            }
            self.committed = held.through;
            self.disks.get_mut(&node).unwrap().sound = true;
        }
        Ok(())
    }

    /// Whoever is none of the set any more begins anew, with nothing.
    fn damage(&mut self, node: NodeId) {
        let member = self.it.in_sync.get(&node).copied();
        if !self.lives(node) || !self.it.found_damaged(node) {
            return;
        }
        let held = self.disks.get_mut(&node).unwrap();
        match member.filter(|_| self.it.in_sync.contains_key(&node)) {
            Some(_) => held.sound = false,
            None => (held.from, held.through, held.sound) = (1, 0, true),
        }
    }

    fn take(&mut self, event: &Event) -> Result<(), String> {
        let facts = self.facts.clone();
        let facts = |node: NodeId| facts.get(&node).copied();
        let rules = self.rules;
        match event {
            Event::Commit(count) => self.commit(*count),
            Event::Down(node) => self.facts.get_mut(node).unwrap().alive = false,
            Event::Up(node) => self.facts.get_mut(node).unwrap().alive = true,
            Event::Restart(node, disk) => self.restart(*node, *disk),
            Event::Join(node, back) => self.join(*node, *back),
            Event::Fill(node, count) => self.fill(*node, *count),
            Event::Drop(node) => {
                self.alter(Change::Remove(*node));
            }
            Event::Move(nodes) => {
                let _ = self.it.set_copies(&rules, nodes, facts);
            }
            Event::HandOver(node) => {
                let _ = self.it.hand_over(&rules, *node, facts);
            }
            Event::Keep(count) => {
                let from = (self.committed + 1).saturating_sub(*count).max(1);
                self.it.note_kept(self.it.epoch, Seq(from));
            }
            Event::Clock(node, off) => self.facts.get_mut(node).unwrap().clock_off = *off,
            Event::Drain(node, drains) => self.facts.get_mut(node).unwrap().draining = *drains,
            Event::Force(node, although) => self.force(*node, *although)?,
            Event::Damage(node) => self.damage(*node),
        }
        Ok(())
    }

    fn fit(&self) -> usize {
        let fit = |node: &&NodeId| {
            let facts = |node: NodeId| self.facts.get(&node).copied();
            self.it.is_fit(&self.rules, **node, facts)
        };
        self.it.in_sync.keys().filter(fit).count()
    }

    /// An event, what follows from it, and whether all is well then.
    fn step(&mut self, event: &Event) -> Result<(), String> {
        let before = (self.it.epoch, self.it.version);
        self.take(event)?;
        let (fit, least) = (self.fit(), self.it.whole_min);
        let facts = self.facts.clone();
        let facts = |node: NodeId| facts.get(&node).copied();
        self.it.settle(&self.rules, facts);
        if self.it.settle(&self.rules, facts) {
            return Err("what follows from the record does not come to an end".into());
        }
        if self.fit() < fit.min(least) {
            return Err("a move left fewer whole members than it found".into());
        }
        if (self.it.epoch, self.it.version) < before || self.it.version < before.1 {
            return Err("an epoch or version fell".into());
        }
        self.wrong().map_or(Ok(()), Err)
    }

    fn wrong(&self) -> Option<String> {
        if let Some(broken) = self.it.broken() {
            return Some(broken.into());
        }
        for (node, member) in &self.it.in_sync {
            let held = self.disks[node];
            let holds = held.from <= member.from.0 && held.through >= self.committed;
            if member.from != Member::NOTHING && held.sound && !holds {
                return Some(format!("member {} does not hold what it should", node.0));
            }
        }
        let primary = self.it.primary?;
        let held = self.disks[&primary];
        let (kept, committed) = (self.it.kept_from.0, self.committed);
        let lacks = held.from > kept || held.through < committed || !held.sound;
        lacks.then(|| format!("primary {} lacks what is kept", primary.0))
    }

    /// Everybody is there and catches up: then every move ends.
    fn heal(&mut self) -> Result<(), String> {
        for node in (1..=NODES).map(NodeId) {
            self.step(&Event::Up(node))?;
            self.step(&Event::Clock(node, false))?;
            self.step(&Event::Drain(node, false))?;
        }
        let wanted: Vec<NodeId> = self
            .it
            .copies
            .difference(&self.it.leaving)
            .copied()
            .collect();
        for node in &wanted {
            self.step(&Event::Join(*node, u64::MAX))?;
            self.step(&Event::Fill(*node, u64::MAX))?;
        }
        let moved = self.it.leaving.is_empty() && self.it.copies.iter().eq(&wanted);
        match self.it.primary.is_none() || moved || wanted.len() < self.it.min_in_sync {
            true => Ok(()),
            false => Err("a move did not end".into()),
        }
    }
}

fn run(rules: Rules, copies: u32, min: usize, events: &[Event]) -> Result<(), String> {
    let mut world = World::new(rules, copies, min);
    events.iter().try_for_each(|event| world.step(event))?;
    world.heal()
}

fn any_event() -> impl Strategy<Value = Event> {
    let node = || (1..=NODES).prop_map(NodeId);
    let nodes = prop::collection::vec(node(), 1..4);
    let disk = prop_oneof![4 => Just(Disk::Same), 1 => Just(Disk::Damaged), 1 => Just(Disk::Lost)];
    prop_oneof![
        4 => (1_u64..4).prop_map(Event::Commit),
        3 => node().prop_map(Event::Down),
        4 => node().prop_map(Event::Up),
        3 => (node(), disk).prop_map(|(node, disk)| Event::Restart(node, disk)),
        6 => (node(), 0_u64..9).prop_map(|(node, back)| Event::Join(node, back)),
        4 => (node(), 1_u64..9).prop_map(|(node, count)| Event::Fill(node, count)),
        2 => node().prop_map(Event::Drop),
        3 => nodes.prop_map(Event::Move),
        1 => node().prop_map(Event::HandOver),
        1 => (0_u64..6).prop_map(Event::Keep),
        1 => (node(), any::<bool>()).prop_map(|(node, off)| Event::Clock(node, off)),
        1 => (node(), any::<bool>()).prop_map(|(node, drains)| Event::Drain(node, drains)),
        1 => (node(), any::<bool>()).prop_map(|(node, although)| Event::Force(node, although)),
        2 => node().prop_map(Event::Damage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn who_leads_holds_everything_and_a_move_ends_whatever_happens_on_the_way(
        events in prop::collection::vec(any_event(), 1..80),
        copies in 1_u32..4,
        min in 1_usize..3,
    ) {
        let min = min.min(copies as usize);
        prop_assert_eq!(run(Rules::correct(), copies, min, &events), Ok(()));
    }
}

fn with(bend: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules::correct();
    bend(&mut rules);
    rules
}

/// What is noticed with a rule that is bent, and only then.
fn notices(bend: impl FnOnce(&mut Rules), copies: u32, events: &[Event]) -> String {
    assert_eq!(run(Rules::correct(), copies, 1, events), Ok(()));
    run(with(bend), copies, 1, events).unwrap_err()
}

#[test]
fn a_copy_that_leaves_too_early_is_noticed() {
    let events = [Event::Commit(3), Event::Move([NodeId(1), NodeId(3)].into())];
    let noticed = notices(|rules| rules.moves_wait_for_whole = false, 2, &events);
    assert!(noticed.contains("fewer whole members"), "{noticed}");
}

#[test]
fn a_primary_that_began_at_the_tail_is_noticed() {
    let events = [
        Event::Commit(3),
        Event::Move([NodeId(1), NodeId(2)].into()),
        Event::Join(NodeId(2), 1),
        Event::Down(NodeId(1)),
    ];
    let noticed = notices(
        |rules| rules.whole_members_are_appointed = false,
        1,
        &events,
    );
    assert!(noticed.contains("lacks what is kept"), "{noticed}");
}

#[test]
fn a_history_that_ends_under_its_primary_is_noticed() {
    let events = [Event::Commit(3), Event::Force(NodeId(2), true)];
    let noticed = notices(|rules| rules.forced_waits_for_primary = false, 2, &events);
    assert!(noticed.contains("its primary went on"), "{noticed}");
}
