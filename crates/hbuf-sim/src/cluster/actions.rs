//! What can happen next, and what follows.

use hbuf_core::ids::{NodeId, Seq};
use hbuf_core::replication::{Alter, Copy, Disk, Log, NodeEpoch, NodeFacts, Primary, ToCopy};
use hbuf_core::rules::Rules;

use super::log_node::{Node, Record, Role, TailRead, index};
use super::{Cluster, Invariant, Packet};

/// Records that one message carries at most.
const RECORDS: u64 = 2;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A client appends at a node that takes itself for the primary.
    Append(NodeId),
    /// A node's disk syncs its log.
    Sync(NodeId),
    /// A primary sends a copy what comes next.
    Send(NodeId, NodeId),
    /// A message arrives.
    Deliver(Packet),
    /// A message arrives, and will once more.
    Repeat(Packet),
    /// A message is lost.
    Lose(Packet),
    /// A node hears what the manager has decided.
    Learn(NodeId),
    /// A node dies. What it had not synced stays, or not.
    Crash(NodeId, bool),
    /// It starts and registers, with its disk or an empty one.
    Start(NodeId, bool),
    /// The manager takes a node for dead.
    Suspect(NodeId),
    /// The manager hears of it again.
    Revive(NodeId),
    /// A primary asks to take a member out.
    AskRemove(NodeId, NodeId),
    /// A primary asks to take a copy in.
    AskAdd(NodeId, NodeId),
    /// A primary asks again what the manager has not decided.
    AskAgain(NodeId),
    /// Somebody reads the tail at a primary.
    AskTail(NodeId),
    /// The answer.
    ShowTail(NodeId),
}

impl Cluster {
    /// Everything that may happen next.
    #[must_use]
    pub fn actions(&self, rules: &Rules) -> Vec<Action> {
        let mut found = Vec::new();
        if self.broken.is_some() {
            return found;
        }
        for (id, node) in &self.nodes {
            self.of_node(*id, node, rules, &mut found);
        }
        let up = |to: &NodeId| self.nodes[to].up;
        for packet in &self.net {
            found.push(match packet {
                Packet::ToCopy { to, .. } | Packet::FromCopy { to, .. } if !up(to) => {
                    Action::Lose(packet.clone())
                }
                packet => Action::Deliver(packet.clone()),
            });
            if self.left.repeats > 0 && matches!(found.last(), Some(Action::Deliver(_))) {
                found.push(Action::Repeat(packet.clone()));
            }
            if self.net.len() >= self.left.packets {
                found.push(Action::Lose(packet.clone()));
            }
        }
        found
    }

    fn of_node(&self, id: NodeId, node: &Node, rules: &Rules, found: &mut Vec<Action>) {
        let facts = self.facts[&id];
        if facts.alive && self.left.suspicions > 0 {
            found.push(Action::Suspect(id));
        }
        if !node.up {
            found.push(Action::Start(id, false));
            let others = self.assignment.in_sync.keys().any(|member| *member != id);
            if self.left.lost_disks > 0 && others {
                found.push(Action::Start(id, true));
            }
            return;
        }
        if !facts.alive && facts.node_epoch == node.node_epoch {
            found.push(Action::Revive(id));
        }
        let unsynced = node.durable() < node.records.len();
        if unsynced {
            found.push(Action::Sync(id));
        }
        if self.left.crashes > 0 {
            found.push(Action::Crash(id, false));
            if unsynced {
                found.push(Action::Crash(id, true));
            }
        }
        let mut learned = node.clone();
        learned.learns(rules, id, &self.assignment);
        if learned != *node {
            found.push(Action::Learn(id));
        }
        self.of_primary(id, node, rules, found);
    }

    fn of_primary(&self, id: NodeId, node: &Node, rules: &Rules, found: &mut Vec<Action>) {
        let Role::Primary(primary) = &node.role else {
            return;
        };
        if primary.appends() && self.left.appends > 0 {
            found.push(Action::Append(id));
        }
        for other in self.nodes.keys().filter(|other| **other != id) {
            let room = self.net.len() < self.left.packets;
            let sent = self.sent(id, *other).filter(|_| room);
            if sent.is_some_and(|(_, packet)| !self.net.contains(&packet)) {
                found.push(Action::Send(id, *other));
            }
            if self.left.alters > 0 && primary.proposal().is_none() {
                let mut asked = primary.clone();
                if asked.ask_remove(*other).is_some() {
                    found.push(Action::AskRemove(id, *other));
                }
                let mut asked = primary.clone();
                if asked.ask_add(rules, *other).is_some() {
                    found.push(Action::AskAdd(id, *other));
                }
            }
        }
        if self.left.alters > 0 && primary.proposal().is_some() {
            found.push(Action::AskAgain(id));
        }
        match node.read {
            None if self.left.reads > 0 && primary.appends() => found.push(Action::AskTail(id)),
            Some(read) if primary.round_is_done(rules, read.round) => {
                found.push(Action::ShowTail(id));
            }
            _ => {}
        }
    }

    /// What a primary sends next, and how it stands then.
    fn sent(&self, from: NodeId, to: NodeId) -> Option<(Role, Packet)> {
        let node = &self.nodes[&from];
        let Role::Primary(primary) = &node.role else {
            return None;
        };
        let mut primary = primary.clone();
        let message = primary.next_for(to, RECORDS, None)?;
        let records: Vec<Record> = match &message {
            ToCopy::Append { prev, through, .. } => {
                // With rules that are bent, a copy may hold more than its primary.
                let found = node.records.get(index(prev.seq)..index(*through));
                found.unwrap_or_default().to_vec()
            }
            ToCopy::Greet { .. }
            | ToCopy::Lead { .. }
            | ToCopy::Begin { .. }
            | ToCopy::Mark { .. }
            | ToCopy::Fill { .. } => Vec::new(),
        };
        let packet = Packet::ToCopy {
            from,
            to,
            message,
            records,
        };
        Some((Role::Primary(primary), packet))
    }

    /// The cluster behind a step.
    #[must_use]
    pub fn after(&self, rules: &Rules, action: &Action) -> Self {
        let mut next = self.clone();
        next.take(rules, action);
        next.check();
        next
    }

    fn take(&mut self, rules: &Rules, action: &Action) {
        match action {
            Action::Append(id) => self.append(*id),
            Action::Sync(id) => self.sync(rules, *id),
            Action::Send(from, to) => {
                let (role, packet) = self.sent(*from, *to).expect("it was offered");
                self.node(*from).role = role;
                self.net.insert(packet);
            }
            Action::Deliver(packet) => {
                self.net.remove(packet);
                self.deliver(rules, packet);
            }
            Action::Repeat(packet) => {
                self.left.repeats -= 1;
                self.deliver(rules, packet);
            }
            Action::Lose(packet) => {
                self.net.remove(packet);
            }
            Action::Learn(id) => {
                let assignment = self.assignment.clone();
                self.node(*id).learns(rules, *id, &assignment);
            }
            Action::Crash(id, keeps) => self.crash(*id, *keeps),
            Action::Start(id, lost) => self.start(rules, *id, *lost),
            Action::Suspect(id) => {
                self.left.suspicions -= 1;
                self.alive(rules, *id, false);
            }
            Action::Revive(id) => self.alive(rules, *id, true),
            Action::AskRemove(id, other) => self.ask(*id, |primary| primary.ask_remove(*other)),
            Action::AskAdd(id, other) => {
                self.ask(*id, |primary| primary.ask_add(rules, *other));
            }
            Action::AskAgain(id) => self.ask(*id, |primary| primary.proposal()),
            Action::AskTail(id) => {
                self.left.reads -= 1;
                let floor = self.acked.len();
                let node = self.node(*id);
                if let Role::Primary(primary) = &mut node.role {
                    let round = primary.ask_round();
                    node.read = Some(TailRead { round, floor });
                }
            }
            Action::ShowTail(id) => self.show_tail(*id),
        }
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("nodes stay")
    }

    fn append(&mut self, id: NodeId) {
        self.left.appends -= 1;
        let value = self.next_value;
        self.next_value += 1;
        let node = self.node(id);
        if let Role::Primary(primary) = &mut node.role {
            node.records.push((primary.epoch(), value));
            primary.on_framed(Seq(node.records.len() as u64));
        }
    }

    fn sync(&mut self, rules: &Rules, id: NodeId) {
        let node = self.node(id);
        let end = Seq(node.records.len() as u64);
        let answer = match &mut node.role {
            Role::Primary(primary) => {
                primary.on_synced(end);
                commits(rules, primary);
                None
            }
            Role::Copy(copy) => copy.on_synced(rules, end),
        };
        // It goes to whoever leads the copy: primaries of other epochs ignore it.
        if let Some(answer) = answer {
            let epoch = answer.epoch;
            let leads =
                |node: &Node| matches!(&node.role, Role::Primary(it) if it.epoch() == epoch);
            let leader = self.nodes.iter().find(|(_, node)| leads(node));
            if let Some(to) = leader.map(|(to, _)| *to) {
                self.net.insert(Packet::FromCopy {
                    from: id,
                    to,
                    answer,
                });
            }
        }
    }

    fn deliver(&mut self, rules: &Rules, packet: &Packet) {
        match packet {
            Packet::ToCopy {
                from,
                to,
                message,
                records,
            } => {
                // Who is in no in-sync set may hold, and lose, what others have committed.
                let member = self.assignment.in_sync.contains_key(to);
                let acked = if member {
                    self.acked.clone()
                } else {
                    Vec::new()
                };
                match self.node(*to).takes(rules, message, records, &acked) {
                    Ok(Some(answer)) => {
                        self.net.insert(Packet::FromCopy {
                            from: *to,
                            to: *from,
                            answer,
                        });
                    }
                    Ok(None) => {}
                    Err(broken) => self.broke(broken),
                }
            }
            Packet::FromCopy { from, to, answer } => {
                if let Role::Primary(primary) = &mut self.node(*to).role {
                    primary.on_answer(*from, *answer);
                    commits(rules, primary);
                }
            }
            Packet::Alter(alter) => {
                let facts = self.facts.clone();
                let facts = |node: NodeId| facts.get(&node).copied();
                // A refusal changes nothing; the primary goes on waiting for a decision.
                let _ = self.assignment.alter(rules, alter, facts);
            }
        }
    }

    fn crash(&mut self, id: NodeId, keeps: bool) {
        self.left.crashes -= 1;
        let node = self.node(id);
        node.up = false;
        node.read = None;
        let mut log = node.log().clone();
        if !keeps {
            node.records.truncate(index(log.durable));
            log.end = log.durable;
            log.epochs.cut(log.end);
        }
        log.commit = log.commit.min(log.durable);
        log.durable = log.end;
        // What it had heard of is forgotten; at its start it begins with what the manager says.
        let known = log.epochs.at(log.end);
        node.role = Role::Copy(Copy::open(node.node_epoch, known, log));
    }

    fn start(&mut self, rules: &Rules, id: NodeId, lost: bool) {
        let now = NodeEpoch(self.next_registration);
        self.next_registration += 1;
        let node = self.node(id);
        node.up = true;
        node.node_epoch = now;
        let mut log = node.log().clone();
        if lost {
            node.records.clear();
            log = Log::default();
        }
        let disk = if lost { Disk::Lost } else { Disk::Same };
        self.left.lost_disks -= u8::from(lost);
        self.facts.insert(
            id,
            NodeFacts {
                node_epoch: now,
                alive: true,
                draining: false,
                clock_off: false,
            },
        );
        self.assignment.registered(rules, id, now, disk);
        let epoch = match rules.registration_tells_the_epoch {
            true => self.assignment.epoch.max(log.epochs.at(log.end)),
            false => log.epochs.at(log.end),
        };
        self.node(id).role = Role::Copy(Copy::open(now, epoch, log));
        self.elect(rules);
    }

    fn alive(&mut self, rules: &Rules, id: NodeId, alive: bool) {
        if let Some(facts) = self.facts.get_mut(&id) {
            facts.alive = alive;
        }
        self.elect(rules);
    }

    fn ask(&mut self, id: NodeId, ask: impl FnOnce(&mut Primary) -> Option<Alter>) {
        self.left.alters -= 1;
        if let Role::Primary(primary) = &mut self.node(id).role
            && let Some(alter) = ask(primary)
        {
            self.net.insert(Packet::Alter(alter));
        }
    }

    fn show_tail(&mut self, id: NodeId) {
        let node = self.node(id);
        let read = node.read.take();
        let commit = index(node.log().commit);
        if read.is_some_and(|read| commit < read.floor) {
            self.broken = self.broken.or(Some(Invariant::TailIsFresh));
        }
    }
}

/// Here every record is an append of its own: the commit stops at any.
pub(super) fn commits(rules: &Rules, primary: &mut Primary) {
    let agreed = primary.agreed(rules);
    primary.on_committed(agreed);
}
