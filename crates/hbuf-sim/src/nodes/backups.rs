//! Disks that are kept, put back, and started a second time beside the first.
//!
//! A copy of a disk stands beside the nodes as one that asks for their identity and does nothing
//! else: the address at which others reach the node is that of the original. If it is let in, it
//! takes the original's place, and that one asks from then on.

use std::collections::BTreeSet;

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_manager::{
    Action as Command, Assign, CLUSTER_VERSIONS, Command as Asked, NodeChange, Outcome, Refused,
    RegisterNode,
};

use super::host::{Host, Lives};
use super::node_start::TICK_US;
use super::{About, Due, World};
use crate::bugs::Bug;
use crate::disk::Disk;
use crate::kinds::Kind;
use crate::scenario::NodeRef;
use crate::tracefile::EventId;

/// Ticks after which somebody who waits for the end of a session asks again.
const ASK_TICKS: u64 = 10;
/// Ticks after which somebody asks again whose disk is old or a copy: the one that knows the
/// process before comes first.
const COPY_TICKS: u64 = 100;

/// What a machine has on its disk.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    disk: Disk,
    id: Uuid,
    lives: Lives,
    bad: BTreeSet<usize>,
}

/// A host that runs a copy of a node's disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyOf {
    /// The node whose identity it has.
    of: usize,
    /// Ticks until it asks again.
    wait: u64,
    /// The number of its last question, and whether it waits for the answer.
    number: u64,
    asked: bool,
}

impl World {
    /// The disk of a node as it is now is kept under a name.
    pub(super) fn snapshot(&mut self, cause: EventId, node: &NodeRef, name: &str) {
        let Some(host) = self.resolve(node) else {
            return;
        };
        let about = About {
            host: Some(host),
            note: name,
            ..About::default()
        };
        self.event(&[cause], Kind::BackupTaken, &about);
        let kept = self.hosts[host].kept();
        self.kept.insert(name.to_owned(), kept);
    }

    /// A node starts next with a disk that was kept; it stops for that.
    pub(super) fn restore(&mut self, cause: EventId, node: &NodeRef, name: &str) {
        let (Some(host), Some(kept)) = (self.resolve(node), self.kept.get(name).cloned()) else {
            return;
        };
        self.crash(cause, host, false);
        let about = About {
            host: Some(host),
            note: name,
            ..About::default()
        };
        self.event(&[cause], Kind::BackupRestored, &about);
        let lives = self.hosts[host].lives.clone();
        self.hosts[host].exchange(kept);
        if self.does(Bug::LivesElsewhere) {
            self.hosts[host].lives = lives;
        }
        self.watch.reformatted(host);
    }

    /// The disk of a node as it is now is started a second time.
    pub(super) fn clone_node(&mut self, cause: EventId, node: &NodeRef, name: &str) {
        let known = self.names.nodes.iter().any(|it| it == name);
        let Some(of) = self.resolve(node).filter(|_| !known) else {
            return;
        };
        let this = &self.hosts[of];
        let number = self.hosts.len();
        let (clock, manager) = (this.clock.clone(), this.manager.of_a_copy());
        let mut host = Host::new(number, this.disk_id, self.rules, clock, manager);
        host.exchange(this.kept());
        // Nobody looks for it: the node of this number is the original.
        host.id = NodeId(u32::MAX - u32::try_from(number).unwrap_or(0));
        host.copy_of = Some(CopyOf {
            of: this.copy_of.map_or(of, |copy| copy.of),
            wait: 0,
            number: 0,
            asked: false,
        });
        self.hosts.push(host);
        self.names.nodes.push(name.to_owned());
        self.start_copy(cause, number);
    }

    /// The process on a copy of a disk begins.
    pub(super) fn start_copy(&mut self, cause: EventId, host: usize) {
        let (event, draw) = self.process_begins(cause, host);
        let this = &mut self.hosts[host];
        let mut life = [0x22; 16];
        life[..8].copy_from_slice(&draw.next().0.to_be_bytes());
        this.lives.begin(Uuid::from_random(life));
        let life = this.life;
        self.due_on(event, host, TICK_US, Due::Tick { host, life });
    }

    /// A tick of a process on a copy of a disk: it asks for the node's identity.
    pub(super) fn tick_of_copy(&mut self, cause: EventId, host: usize) {
        let this = &mut self.hosts[host];
        let Some(copy) = &mut this.copy_of else {
            return;
        };
        let (of, life) = (copy.of, this.life);
        copy.wait = copy.wait.saturating_sub(1);
        if copy.wait == 0 {
            copy.wait = ASK_TICKS;
            copy.number += 1;
            copy.asked = true;
            let number = copy.number;
            let start = RegisterNode {
                node: crate::founding::node_name(of),
                disk: this.disk_id,
                life: this.lives.now,
                earlier: this.lives.earlier.clone(),
                clean: false,
                bad: Vec::new(),
                versions: CLUSTER_VERSIONS,
                change: NodeChange::default(),
            };
            let command = Asked {
                client: this.lives.now.unwrap_or_default(),
                number,
                time: self.wall(host),
                action: Command::RegisterNode(start),
            };
            self.ask_leader(cause, host, &command);
        }
        self.due_on(cause, host, TICK_US, Due::Tick { host, life });
    }

    /// An operator finds the copies of disks that run, and stops all of them but one: with several,
    /// each of which takes the node's place as soon as that stops to do so, there is no end.
    pub(super) fn stop_copies(&mut self, cause: EventId) {
        let copies = (0..self.hosts.len()).filter(|at| self.hosts[*at].copy_of.is_some());
        let copies: Vec<usize> = copies.collect();
        let Some((_, others)) = copies.split_last() else {
            return;
        };
        for copy in others {
            self.crash(cause, *copy, false);
        }
    }

    fn ask_leader(&mut self, cause: EventId, host: usize, command: &Asked) {
        let answers = |at: usize| self.hosts[at].up && self.stands_still(at).is_none();
        let leads = |at: &usize| answers(*at) && self.hosts[*at].manager.leads();
        let about = About {
            host: Some(host),
            note: command.action.name(),
            ..About::default()
        };
        if let Some(leader) = (0..self.hosts.len()).find(leads) {
            let event = self.event(&[cause], Kind::CommandProposed, &about);
            self.proposed(event, leader, command.encode());
        }
    }

    /// A node has applied somebody's registration.
    pub(super) fn start_seen(
        &mut self,
        cause: EventId,
        host: usize,
        (client, number): (Uuid, u64),
        start: &RegisterNode,
        result: Result<&Outcome, &Refused>,
    ) {
        let this = &mut self.hosts[host];
        if result.is_err()
            && let (Some(epoch), Some(life)) = (this.node_epoch, this.lives.now)
            && start.is_of_a_copy(this.disk_id, life)
        {
            let mut bytes = life.0;
            bytes[0] = bytes[0].wrapping_add(1);
            let life = Uuid::from_random(bytes);
            let node = this.id;
            this.lives.begin(life);
            let renew = Assign::RenewLife { node, epoch, life };
            self.propose(cause, host, Command::Assign(renew));
        }
        let answered = self.hosts.iter().position(|it| {
            let waits = |copy: &CopyOf| copy.asked && copy.number == number;
            it.up && it.lives.now == Some(client) && it.copy_of.as_ref().is_some_and(waits)
        });
        if let Some(copy) = answered {
            self.copy_answered(cause, copy, result);
        }
    }

    fn copy_answered(&mut self, cause: EventId, copy: usize, result: Result<&Outcome, &Refused>) {
        let Some(known) = &mut self.hosts[copy].copy_of else {
            return;
        };
        known.asked = false;
        match result {
            Ok(_) => {
                let at = self.t;
                self.due_as(cause, EventId::default(), at, Due::TakeOver { copy });
            }
            Err(refused) => {
                known.wait = wait_ticks(refused);
                self.told_refused(cause, copy, &refused.to_string());
            }
        }
    }

    /// The copy is the node from now on: it starts anew with what it has, at the node's address.
    pub(super) fn take_over(&mut self, cause: EventId, copy: usize) {
        let Some(CopyOf { of, .. }) = self.hosts[copy].copy_of else {
            return;
        };
        self.crash(cause, of, false);
        self.crash(cause, copy, false);
        let kept = self.hosts[copy].kept();
        let other = self.hosts[of].exchange(kept);
        self.hosts[copy].exchange(other);
        self.watch.reformatted(of);
        self.start(cause, of);
        self.start_copy(cause, copy);
    }
}

/// When somebody who was refused asks again.
pub(super) const fn wait_ticks(refused: &Refused) -> u64 {
    match refused {
        Refused::DiskCopied { .. } => COPY_TICKS,
        _ => ASK_TICKS,
    }
}

impl Lives {
    /// A process, or a life that it takes, is on the disk before anybody hears of it.
    pub(super) fn begin(&mut self, life: Uuid) {
        let earlier = self.now.replace(life);
        self.earlier.extend(earlier);
        // The first is the one that the manager has confirmed.
        let much = self
            .earlier
            .len()
            .saturating_sub(hbuf_core::limits::NODE_LIVES_MAX);
        if much > 0 {
            self.earlier.drain(1..=much);
        }
    }
}

impl Host {
    /// The node of whose disk it runs a copy.
    pub(super) fn copies(&self) -> Option<usize> {
        self.copy_of.map(|copy| copy.of)
    }

    fn kept(&self) -> Kept {
        Kept {
            disk: self.disk.clone(),
            id: self.disk_id,
            lives: self.lives.clone(),
            bad: self.bad.clone(),
        }
    }

    /// Another disk takes the place of this one, which is given back.
    fn exchange(&mut self, kept: Kept) -> Kept {
        let before = self.kept();
        self.disk = kept.disk;
        self.disk_id = kept.id;
        self.lives = kept.lives;
        self.bad = kept.bad;
        before
    }
}
