//! Members in a made-up world: a network that loses, delays and parts, disks that are slow and
//! forget what they had not written. Every choice is drawn from a seed.
//!
//! Watched after every step: one leader a term; equal commands and equal catalogs at equal indexes;
//! whatever a member applied stays; what was acknowledged is in the end everywhere.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hbuf_core::ids::{Hash, Micros, Uuid};
use hbuf_core::segment::first_of_name;

use crate::raft::message::Body;
use crate::raft::{
    Change, Effect, FileStep, Group, GroupConfig, Input, LogFile, MemberId, Members, PeerMessage,
    Recovered, Refusal, Role, VOTES_FILE, recover,
};
use crate::{Action, Catalog, Command, State};

pub(super) const GROUP: Uuid = Uuid([7; 16]);
const CLIENT: Uuid = Uuid([9; 16]);

pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What can go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) loss_percent: u64,
    pub(super) delay_ticks: u64,
    pub(super) disk_ticks: u64,
}

pub(super) const CALM: Faults = Faults {
    loss_percent: 0,
    delay_ticks: 1,
    disk_ticks: 1,
};
pub(super) const ROUGH: Faults = Faults {
    loss_percent: 3,
    delay_ticks: 3,
    disk_ticks: 3,
};

#[derive(Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Steps under way, each with the tick at which it is durable and what to report then.
    queue: VecDeque<(u64, Vec<FileStep>, Option<u64>)>,
}

impl Disk {
    pub(super) fn perform(&mut self, step: &FileStep) {
        match step {
            FileStep::Append { file, at, bytes } => {
                let content = self.files.get_mut(file).unwrap();
                assert_eq!(content.len() as u64, *at, "appends go to the end of {file}");
                content.extend_from_slice(bytes);
            }
            FileStep::Cut { file, length } => {
                self.files
                    .get_mut(file)
                    .unwrap()
                    .truncate(usize::try_from(*length).unwrap());
            }
            FileStep::Replace { file, bytes } => {
                self.files.insert(file.clone(), bytes.clone());
            }
        }
    }

    /// The power goes: some of what was under way is there, some is not.
    fn crash(&mut self, rng: &mut Rng) {
        let queue = core::mem::take(&mut self.queue);
        let steps: Vec<FileStep> = queue.into_iter().flat_map(|(_, steps, _)| steps).collect();
        let done = rng.below(steps.len() as u64 + 1);
        for (at, step) in (0..).zip(&steps) {
            if at < done {
                self.perform(step);
                continue;
            }
            if let FileStep::Append { file, bytes, .. } = step {
                let content = self.files.get_mut(file).unwrap();
                let kept = usize::try_from(rng.below(bytes.len() as u64 + 1)).unwrap();
                let start = content.len();
                content.extend_from_slice(&bytes[..kept]);
                // Sectors reach the disk in any order.
                if kept > 700 && rng.percent(50) {
                    let hole = usize::try_from(rng.below(kept as u64 - 600)).unwrap();
                    content[start + hole..start + hole + 512].fill(0);
                }
            }
            break;
        }
    }

    pub(super) fn log(&self) -> (&String, &Vec<u8>) {
        let mut logs = self.files.iter().filter(|(name, _)| *name != VOTES_FILE);
        logs.next_back().unwrap()
    }
}

pub(super) struct Node {
    pub(super) config: GroupConfig,
    pub(super) group: Option<Group>,
    pub(super) disk: Disk,
    log: LogFile,
    pub(super) catalog: Catalog,
    todo: VecDeque<Effect>,
    pub(super) removed: bool,
    pub(super) seen: Vec<Effect>,
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) now: u64,
    pub(super) nodes: BTreeMap<u64, Node>,
    net: BTreeMap<(u64, u64), (u64, Vec<u8>)>,
    sent: u64,
    /// Pairs that cannot reach each other.
    pub(super) cut: BTreeSet<(u64, u64)>,
    /// Whether senders of snapshots hear what came of them.
    pub(super) silent_snapshots: bool,
    leaders: BTreeMap<u64, u64>,
    applied: BTreeMap<u64, (u64, Option<Vec<u8>>)>,
    hashes: BTreeMap<u64, Hash>,
    /// Numbers of commands that some member applied while it led: a client was told so.
    pub(super) acked: BTreeSet<u64>,
    pub(super) number: u64,
    pub(super) trace: u64,
    /// Members that were told that they are removed, as often as they were.
    pub(super) told: Vec<u64>,
}

impl World {
    pub(super) fn new(seed: u64, voters: u64, faults: Faults) -> Self {
        let mut world = Self {
            rng: Rng(seed),
            faults,
            now: 0,
            nodes: BTreeMap::new(),
            net: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            silent_snapshots: false,
            leaders: BTreeMap::new(),
            applied: BTreeMap::new(),
            hashes: BTreeMap::new(),
            acked: BTreeSet::new(),
            number: 0,
            trace: 0,
            told: Vec::new(),
        };
        let disks = (1..=voters).map(|id| (MemberId(id), disk_of(id))).collect();
        let members = Members::founding(&disks);
        for id in 1..=voters {
            world.make(id, &members, seed);
        }
        world
    }

    /// A node with new files; without members it waits to be added.
    pub(super) fn make(&mut self, id: u64, members: &Members, seed: u64) {
        let mut catalog = Catalog::new();
        if !members.voters.is_empty() {
            catalog.pass(1);
        }
        let (log, steps) = LogFile::found(GROUP, members, &catalog, Micros(0));
        let mut disk = Disk::default();
        for step in &steps {
            disk.perform(step);
        }
        let config = GroupConfig {
            group: GROUP,
            id: MemberId(id),
            disk: disk_of(id),
            seed: seed ^ 0x5eed,
        };
        let node = Node {
            config,
            group: None,
            disk,
            log,
            catalog,
            todo: VecDeque::new(),
            removed: false,
            seen: Vec::new(),
        };
        self.nodes.insert(id, node);
        self.start(id);
    }

    pub(super) fn recovered(&self, id: u64) -> Recovered {
        let disk = &self.nodes[&id].disk;
        let (name, log) = disk.log();
        recover(
            GROUP,
            first_of_name(name).unwrap(),
            log,
            &disk.files[VOTES_FILE],
        )
        .unwrap()
    }

    pub(super) fn start(&mut self, id: u64) {
        let recovered = self.recovered(id);
        let node = self.nodes.get_mut(&id).unwrap();
        for step in &recovered.steps {
            node.disk.perform(step);
        }
        node.group = Some(Group::open(node.config, &recovered).unwrap());
        node.log = recovered.log;
        node.catalog = recovered.state;
        self.note(1, &id.to_be_bytes());
    }

    pub(super) fn crash(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.group.take().is_none() {
            return;
        }
        node.todo.clear();
        node.disk.crash(&mut self.rng);
        self.note(2, &id.to_be_bytes());
    }

    fn note(&mut self, kind: u64, bytes: &[u8]) {
        for word in [kind, self.now]
            .into_iter()
            .chain(bytes.iter().map(|byte| u64::from(*byte)))
        {
            self.trace = (self.trace ^ word)
                .wrapping_mul(0x0100_0000_01b3)
                .rotate_left(5);
        }
    }

    pub(super) fn part(&mut self, one: u64, other: u64) {
        self.cut.insert((one, other));
        self.cut.insert((other, one));
    }

    pub(super) fn isolate(&mut self, id: u64) {
        let others: Vec<u64> = self
            .nodes
            .keys()
            .copied()
            .filter(|other| *other != id)
            .collect();
        for other in others {
            self.part(id, other);
        }
    }

    /// One input and everything that follows from it.
    pub(super) fn input(&mut self, id: u64, input: Input) -> Result<(), Refusal> {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(group) = &mut node.group else {
            return Ok(());
        };
        let mut effects = Vec::new();
        let result = group.handle(input, &mut effects);
        node.todo.extend(effects);
        while let Some(effect) = self.nodes.get_mut(&id).unwrap().todo.pop_front() {
            self.perform(id, effect);
        }
        result
    }

    fn perform(&mut self, id: u64, effect: Effect) {
        let now = self.now;
        self.note(3, format!("{id} {effect:?}").as_bytes());
        let node = self.nodes.get_mut(&id).unwrap();
        match effect {
            Effect::Send(message) => self.send(&message, 0),
            Effect::SendSnapshot(message) => {
                let group = node.group.as_ref().unwrap();
                let message = group.fill_snapshot(message, &node.catalog);
                self.send(&message, 5);
            }
            Effect::Persist(persist) => {
                let steps = node.log.plan(&persist, Micros(now));
                self.write(id, steps, Some(persist.number()));
            }
            Effect::Roll(roll) => {
                let steps = node.log.plan_roll(&roll, &node.catalog, Micros(now));
                self.write(id, steps, None);
            }
            Effect::Apply(entries) => {
                let last = entries.last().unwrap().index;
                for entry in entries {
                    self.apply(id, entry.index, entry.term, entry.command);
                }
                self.input(id, Input::Applied { index: last }).unwrap();
            }
            Effect::Install { index, state } => {
                node.catalog = *state;
                self.check_hash(id, index);
                self.input(id, Input::Applied { index }).unwrap();
            }
            Effect::Role { role, term, .. } => {
                if role == Role::Leader {
                    let known = *self.leaders.entry(term).or_insert(id);
                    assert_eq!(known, id, "two leaders in term {term}");
                }
            }
            Effect::Removed => {
                node.removed = true;
                node.seen.push(Effect::Removed);
            }
            other => node.seen.push(other),
        }
    }

    fn write(&mut self, id: u64, steps: Vec<FileStep>, number: Option<u64>) {
        let due = self.now + self.rng.below(self.faults.disk_ticks + 1);
        let queue = &mut self.nodes.get_mut(&id).unwrap().disk.queue;
        let due = queue.back().map_or(due, |(last, ..)| due.max(*last));
        queue.push_back((due, steps, number));
    }

    fn send(&mut self, message: &PeerMessage, more_ticks: u64) {
        let (from, to) = (message.from().0, message.to().0);
        if matches!(message.body, Body::Removed { .. }) {
            self.told.push(to);
        }
        let lost = self.rng.percent(self.faults.loss_percent) || self.cut.contains(&(from, to));
        if message.snapshot_index().is_some() && !self.silent_snapshots {
            // Reported when the next tick comes: an effect must not call back.
            let due = self.now + more_ticks + self.faults.delay_ticks + 1;
            self.sent += 1;
            self.net
                .insert((due, self.sent), (from, report(message.to(), !lost)));
        }
        if lost {
            self.sent += 1;
            let due = self.now + 1;
            let unreachable = format!("unreachable {to}").into_bytes();
            self.net.insert((due, self.sent), (from, unreachable));
            return;
        }
        let due = self.now + 1 + more_ticks + self.rng.below(self.faults.delay_ticks);
        self.sent += 1;
        self.net.insert((due, self.sent), (to, message.encode()));
    }

    fn apply(&mut self, id: u64, index: u64, term: u64, command: Option<Vec<u8>>) {
        let node = self.nodes.get_mut(&id).unwrap();
        let leads = node.group.as_ref().unwrap().role().0 == Role::Leader;
        match &command {
            None => node.catalog.pass(index),
            Some(text) => {
                let command = Command::decode(text).unwrap();
                let _ = node.catalog.apply(index, &command);
                if leads {
                    self.acked.insert(command.number);
                }
            }
        }
        let known = self
            .applied
            .entry(index)
            .or_insert_with(|| (term, command.clone()));
        assert_eq!(*known, (term, command), "another entry at index {index}");
        if index.is_multiple_of(16) {
            self.check_hash(id, index);
        }
    }

    pub(super) fn check_hash(&mut self, id: u64, index: u64) {
        let hash = self.nodes[&id].catalog.state_hash();
        let known = *self.hashes.entry(index).or_insert(hash);
        assert_eq!(known, hash, "another catalog at index {index}");
    }

    /// One tick of everything: disks, network, clocks.
    pub(super) fn tick(&mut self) {
        self.now += 1;
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in &ids {
            self.tick_disk(*id);
        }
        while let Some(first) = self.net.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let (to, bytes) = first.remove();
            self.deliver(to, &bytes);
        }
        for id in ids {
            let _ = self.input(id, Input::Tick);
        }
    }

    fn tick_disk(&mut self, id: u64) {
        let now = self.now;
        loop {
            let node = self.nodes.get_mut(&id).unwrap();
            if node.group.is_none() {
                return;
            }
            let Some((_, steps, number)) = node.disk.queue.pop_front_if(|(due, ..)| *due <= now)
            else {
                return;
            };
            for step in &steps {
                node.disk.perform(step);
            }
            if let Some(number) = number {
                let _ = self.input(id, Input::Persisted { number });
            }
        }
    }

    fn deliver(&mut self, to: u64, bytes: &[u8]) {
        if let Some((member, taken)) = read_report(bytes) {
            let _ = self.input(to, Input::SnapshotSent { to: member, taken });
            return;
        }
        if let Some(member) = bytes.strip_prefix(b"unreachable ") {
            let member = core::str::from_utf8(member).unwrap().parse().unwrap();
            let member = MemberId(member);
            let _ = self.input(to, Input::Unreachable { to: member });
            return;
        }
        let message = PeerMessage::decode(bytes).unwrap();
        if !self.nodes.contains_key(&to) || self.cut.contains(&(message.from().0, to)) {
            return;
        }
        match self.input(to, Input::Message(message.into())) {
            Ok(()) | Err(Refusal::Removed) => {}
            Err(Refusal::Message(crate::raft::MessageRefused::FromRemoved { .. })) => {}
            Err(other) => panic!("{to} refused a message: {other}"),
        }
    }

    pub(super) fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.tick();
        }
    }

    /// The member that leads in the highest term, of those that are up.
    pub(super) fn leader(&self) -> Option<u64> {
        let leading = self.nodes.iter().filter_map(|(id, node)| {
            let (role, term, _) = node.group.as_ref()?.role();
            (role == Role::Leader && !node.removed).then_some((term, *id))
        });
        leading.max().map(|(_, id)| id)
    }

    /// Goes on until someone leads.
    pub(super) fn elect(&mut self) -> u64 {
        self.until("a leader", |world| world.leader().is_some());
        self.leader().unwrap()
    }

    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..5_000 {
            if done(self) {
                return;
            }
            self.tick();
        }
        panic!("no {what} after 5000 ticks");
    }

    pub(super) fn command(&self, number: u64) -> Vec<u8> {
        let action = match number {
            1 => Action::FoundCluster {
                cluster: Uuid([1; 16]),
                version: 1,
            },
            _ => Action::SetClusterVersion { version: 1 },
        };
        let command = Command {
            client: CLIENT,
            number,
            time: Micros(number),
            action,
        };
        command.encode()
    }

    /// Proposes the next command at whoever leads. Whether it was taken.
    pub(super) fn propose(&mut self) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        let text = self.command(self.number + 1);
        let taken = self.input(leader, Input::Propose(text)).is_ok();
        self.number += u64::from(taken);
        taken
    }

    /// Proposes until so many more are acknowledged. A client gives a number once and again.
    pub(super) fn commit(&mut self, count: u64) {
        let goal = self.number + count;
        let mut turns = 0;
        while !(1..=goal).all(|number| self.acked.contains(&number)) {
            if self.number < goal {
                // Some together, so that messages and writes carry more than one.
                for _ in 0..self.rng.below(20).min(goal - self.number) + 1 {
                    self.propose();
                }
            } else if turns % 50 == 49 {
                self.repeat(goal);
            }
            self.tick();
            turns += 1;
            assert!(turns < 20_000, "the group takes no commands");
        }
    }

    fn repeat(&mut self, goal: u64) {
        let missing = (1..=goal).filter(|number| !self.acked.contains(number));
        for number in missing.collect::<Vec<_>>() {
            if let Some(leader) = self.leader() {
                let text = self.command(number);
                let _ = self.input(leader, Input::Propose(text));
            }
        }
    }

    /// Who has crashed.
    pub(super) fn down(&self) -> Vec<u64> {
        let down = self.nodes.iter().filter(|(_, node)| node.group.is_none());
        down.map(|(id, _)| *id).collect()
    }

    /// All faults end; everyone is started, catches up, and holds whatever was acknowledged.
    pub(super) fn heal_and_check(&mut self) {
        self.faults = CALM;
        self.cut.clear();
        for id in self.down() {
            self.start(id);
        }
        self.commit(1);
        self.until("agreement", |world| {
            let commit = world.leader().map(|id| world.group(id).commit());
            let applied = |id: &u64| Some(world.nodes[id].catalog.applied()) == commit;
            commit.is_some() && world.live().iter().all(applied)
        });
        for id in self.live() {
            let index = self.nodes[&id].catalog.applied();
            self.check_hash(id, index);
        }
        let held: BTreeSet<u64> = self
            .applied
            .values()
            .filter_map(|(_, command)| <Command>::decode(command.as_ref()?).ok())
            .map(|command| command.number)
            .collect();
        assert!(
            self.acked.is_subset(&held),
            "acknowledged commands are lost"
        );
    }

    /// The members as the leader knows them, of those that know it themselves.
    pub(super) fn live(&self) -> Vec<u64> {
        let Some(leader) = self.leader() else {
            return Vec::new();
        };
        let members = self.group(leader).members();
        let ids = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.removed)
            .map(|(id, _)| *id);
        ids.filter(|id| members.contains(MemberId(*id))).collect()
    }

    pub(super) fn group(&self, id: u64) -> &Group {
        self.nodes[&id].group.as_ref().unwrap()
    }

    /// Asks the leader for a change until it is done.
    pub(super) fn change(&mut self, change: &Change) {
        for _ in 0..5_000 {
            if let Some(leader) = self.leader() {
                let _ = self.input(leader, Input::Change(change.clone()));
                if change.is_done(self.group(leader).members()) {
                    return;
                }
            }
            self.tick();
        }
        panic!("the change {change:?} was not made in 5000 ticks");
    }
}

pub(super) fn disk_of(id: u64) -> Uuid {
    Uuid([u8::try_from(id).unwrap() + 100; 16])
}

fn report(to: MemberId, taken: bool) -> Vec<u8> {
    format!("report {to} {taken}").into_bytes()
}

fn read_report(bytes: &[u8]) -> Option<(MemberId, bool)> {
    let text = core::str::from_utf8(bytes.strip_prefix(b"report ")?).ok()?;
    let (to, taken) = text.split_once(' ')?;
    Some((MemberId(to.parse().ok()?), taken.parse().ok()?))
}
