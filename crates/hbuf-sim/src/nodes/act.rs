//! What scenarios, seeds and hands make happen.

use hbuf_core::ids::{NodeId, Seq, Uuid};
use hbuf_manager::{Action as Command, Assign};

use super::{About, World, node};
use crate::disk::PowerLoss;
use crate::draw::{Purpose, key, mix};
use crate::kinds::Kind;
use crate::net::{Cut, Endpoint, Link, NetFault, Weather};
use crate::scenario::{Action, DiskFault, EndRef, NodeRef};
use crate::tracefile::EventId;

impl World {
    /// Makes it happen.
    pub(super) fn act(&mut self, cause: EventId, action: &Action) {
        let eid = self.reserve_act(self.t, action);
        self.act_as(eid, cause, action);
    }

    /// What is to happen at a time is told by that: leaving another one out does not change its id.
    pub(super) fn reserve_act(&mut self, at: u64, action: &Action) -> EventId {
        self.trace.reserve_named(mix(key(&action.to_string()), at))
    }

    /// Makes it happen, as the event of this id.
    pub(super) fn act_as(&mut self, eid: EventId, cause: EventId, action: &Action) {
        let event = match action {
            Action::Client(ask) => return self.scripted(cause, eid, ask),
            _ => eid,
        };
        let note = self.words(action);
        let about = About {
            note: &note,
            ..About::default()
        };
        self.happens(eid, &[cause], Kind::ActionTaken, &about);
        self.count_action(action);
        match action {
            Action::Crash(node) => self.at_node(node, |world, host| world.lose_power(event, host)),
            Action::Kill(node) => self.at_node(node, |world, host| world.crash(event, host, false)),
            Action::Stop(node) => self.at_node(node, |world, host| world.stop(event, host)),
            Action::Version { node, version } => self.set_version(node, *version),
            Action::Raise => self.raise_version(event),
            Action::Start(node) => self.at_node(node, |it, host| it.start_if_down(event, host)),
            Action::StartAll => self.start_all(event),
            Action::Pause { node, last } => self.pause(node, last.unwrap_or(10_000_000)),
            Action::Resume(node) => match self.client_named(node) {
                Some(client) => self.clients[client].paused_until = self.t,
                None => self.at_node(node, Self::go_on),
            },
            Action::Reformat(node) => self.at_node(node, |world, host| world.reformat(event, host)),
            Action::Jump { node, by } => {
                self.at_node(node, |world, host| world.hosts[host].clock.jump(*by));
            }
            Action::Drift { node, ppm } => {
                let now = self.t;
                self.at_node(node, |world, host| world.hosts[host].clock.drift(now, *ppm));
            }
            Action::Disk { node, fault } => {
                self.at_node(node, |world, host| world.disk_fault(event, host, *fault));
            }
            Action::SlowDisk { node, by } => {
                self.at_node(node, |world, host| world.hosts[host].slow_us = *by);
            }
            Action::Move { buffer, to } => self.move_buffer(event, buffer, to),
            Action::HandOver { buffer, to } => self.hand_over(event, buffer, to),
            Action::Elect(buffer) => self.force_any(event, buffer),
            Action::Force { buffer, node } => self.force_named(event, buffer, node),
            Action::Clone { node, name } => self.clone_node(event, node, name),
            Action::Snapshot { node, name } => self.snapshot(event, node, name),
            Action::Restore { node, name } => self.restore(event, node, name),
            Action::Drain(node) => self.set_draining(event, node, true),
            Action::Undrain(node) => self.set_draining(event, node, false),
            Action::Rebalance(placement) => self.rebalance(event, *placement),
            Action::Create { buffer, copies } => self.create_buffer(event, buffer, *copies),
            Action::Topic { topic, buffers } => self.make_topic(event, topic, buffers),
            Action::State { buffer, state } => self.set_state(event, buffer, *state),
            Action::Partition(_)
            | Action::Cut { .. }
            | Action::Isolate(_)
            | Action::Heal
            | Action::Clog { .. }
            | Action::Slow { .. }
            | Action::Reset { .. }
            | Action::Net(_) => self.net_action(event, action),
            other => self.unplayed.push(other.to_string()),
        }
    }

    fn pause(&mut self, node: &NodeRef, last: u64) {
        let until = self.t + last;
        match self.client_named(node) {
            Some(client) => self.clients[client].paused_until = until,
            None => self.at_node(node, |world, host| {
                world.hosts[host].clock.pause(Some(until));
            }),
        }
    }

    fn at_node(&mut self, node: &NodeRef, act: impl FnOnce(&mut Self, usize)) {
        if let Some(host) = self.resolve(node) {
            act(self, host);
        }
    }

    /// Which node is meant now.
    pub(super) fn resolve(&self, node: &NodeRef) -> Option<usize> {
        let buffer = |name: &String| self.names.buffers.iter().position(|it| it == name);
        match node {
            NodeRef::Named(name) => self.names.nodes.iter().position(|it| it == name),
            NodeRef::PrimaryOf(of) => {
                let primary = self.newest(buffer(of)?)?.primary?;
                self.hosts.iter().position(|host| host.id == primary)
            }
            NodeRef::ReplicaOf(of) => {
                let assignment = self.newest(buffer(of)?)?;
                let mut copies = assignment.copies.iter();
                let replica = copies.find(|node| assignment.primary != Some(**node))?;
                self.hosts.iter().position(|host| host.id == *replica)
            }
        }
    }

    fn end(&self, end: &EndRef) -> Option<Endpoint> {
        if let Some(client) = self.client_named(end) {
            return Some(Endpoint::Client(u32::try_from(client + 1).ok()?));
        }
        self.resolve(end).map(node)
    }

    fn client_named(&self, end: &EndRef) -> Option<usize> {
        let NodeRef::Named(name) = end else {
            return None;
        };
        self.names.clients.iter().position(|it| it == name)
    }

    pub(super) fn start_if_down(&mut self, cause: EventId, host: usize) {
        if !self.hosts[host].up {
            self.start(cause, host);
        } else if let Some(leaving) = &mut self.hosts[host].leaving {
            leaving.again = true;
        }
    }

    pub(super) fn start_all(&mut self, cause: EventId) {
        for host in 0..self.founders {
            self.start_if_down(cause, host);
        }
    }

    /// The node has an empty disk from now on; its member of the manager's group keeps its files,
    /// for they are on another one.
    fn reformat(&mut self, cause: EventId, host: usize) {
        self.crash(cause, host, true);
        let draw = self.draw(Purpose::Rot, host as u64, self.hosts[host].life);
        let mut bytes = [0xdd; 16];
        bytes[..8].copy_from_slice(&draw.0.to_be_bytes());
        let this = &mut self.hosts[host];
        this.disk = crate::disk::Disk::new();
        this.disk_id = Uuid::from_random(bytes);
        this.lives = Default::default();
        this.bad.clear();
        self.watch.reformatted(host);
    }

    fn disk_fault(&mut self, cause: EventId, host: usize, fault: DiskFault) {
        match fault {
            DiskFault::SyncFails => self.hosts[host].fail_sync = true,
            DiskFault::Rots => self.rot(cause, host),
            DiskFault::Fast => self.hosts[host].slow_us = 0,
            DiskFault::LosesUnsynced => self.hosts[host].power_loss = PowerLoss::All,
            DiskFault::Tears => self.hosts[host].power_loss = PowerLoss::EndOfLast,
            DiskFault::Full => self.fill(cause, host),
            DiskFault::Room => self.make_room(cause, host),
        }
    }

    /// A durable byte of a message changes; noticed when it is read next. Only of one that a later
    /// record or a mark vouches for: the last ones look like what a loss of power tears.
    fn rot(&mut self, cause: EventId, host: usize) {
        let draw = self.draw(Purpose::Rot, host as u64, self.t);
        let buffer = usize::try_from(draw.below(self.buffers.len() as u64)).unwrap_or(0);
        let id = super::files::LogId {
            buffer,
            log: hbuf_core::segment::LogKind::Messages,
        };
        self.hosts[host].log(id);
        let this = &mut self.hosts[host];
        let marked = this
            .disk
            .mark(buffer)
            .map_or(Seq::ZERO, |mark| mark.durable);
        let vouched = this.files[&id].vouched(&this.disk).max(marked);
        let seq = Seq(1 + draw.next().below(vouched.0.max(1)));
        let Some((name, at, len)) = this.files[&id].place(seq).filter(|_| seq <= vouched) else {
            return;
        };
        if this.disk.rot(name, at + draw.next().next().below(len)) {
            self.watch.halts.disturbed(host, buffer);
            let about = About {
                host: Some(host),
                buffer: Some(buffer),
                seqs: Some((seq.0, seq.0)),
                ..About::default()
            };
            self.event(&[cause], Kind::DiskRotted, &about);
        }
    }

    pub(super) fn ask_manager(&mut self, cause: EventId, action: Command) {
        if let Some(host) = self.any_registered() {
            self.propose(cause, host, action);
        }
    }

    /// Some node that an operator can ask.
    pub(super) fn any_registered(&self) -> Option<usize> {
        let up = |host: &usize| self.hosts[*host].up && self.hosts[*host].node_epoch.is_some();
        (0..self.hosts.len()).find(up)
    }

    fn move_buffer(&mut self, cause: EventId, buffer: &str, to: &[NodeRef]) {
        let Some(at) = self.names.buffers.iter().position(|it| it == buffer) else {
            return;
        };
        let hosts: Vec<usize> = to.iter().filter_map(|node| self.resolve(node)).collect();
        let copies: Vec<NodeId> = hosts.into_iter().map(|host| self.hosts[host].id).collect();
        let uuid = self.buffers[at];
        let expected = None;
        let action = Assign::SetCopies {
            uuid,
            expected,
            copies,
        };
        self.ask_manager(cause, Command::Assign(action));
    }

    fn hand_over(&mut self, cause: EventId, buffer: &str, to: &NodeRef) {
        let at = self.names.buffers.iter().position(|it| it == buffer);
        let (Some(at), Some(host)) = (at, self.resolve(to)) else {
            return;
        };
        let (uuid, to) = (self.buffers[at], self.hosts[host].id);
        let expected = None;
        let action = Assign::HandOver { uuid, expected, to };
        self.ask_manager(cause, Command::Assign(action));
    }

    fn net_action(&mut self, cause: EventId, action: &Action) {
        match action {
            Action::Partition(groups) => {
                let ends =
                    |group: &Vec<EndRef>| group.iter().filter_map(|end| self.end(end)).collect();
                let groups = groups.iter().map(ends).collect();
                self.net.cut(Cut::Groups(groups));
            }
            Action::Cut { from, to } => {
                if let (Some(from), Some(to)) = (self.end(from), self.end(to)) {
                    self.net.cut(Cut::OneWay(Link::new(from, to)));
                }
            }
            Action::Isolate(end) => {
                if let Some(end) = self.end(end) {
                    self.net.cut(Cut::Isolate(end));
                }
            }
            Action::Heal => self.net.heal_all(),
            Action::Clog { from, to, last } => {
                if let (Some(from), Some(to)) = (self.end(from), self.end(to)) {
                    let until = self.t + last;
                    self.net.clog(Link::new(from, to), until);
                }
            }
            Action::Slow { from, to, bytes } => {
                if let (Some(from), Some(to)) = (self.end(from), self.end(to)) {
                    let weather = Weather {
                        bytes_per_second: Some(*bytes),
                        ..self.net.weather()
                    };
                    self.net
                        .set_link_weather(Link::new(from, to), Some(weather));
                }
            }
            Action::Reset { one, other } => {
                if let (Some(one), Some(other)) = (self.end(one), self.end(other)) {
                    for packet in self.net.reset(one, other) {
                        self.lost(cause, packet, NetFault::Reset.name());
                    }
                    self.connection_lost(cause, one, other);
                }
            }
            Action::Net(changes) => {
                for (opt, value) in changes {
                    self.options.set(*opt, *value);
                }
                self.net.set_weather(Weather::of(&self.options));
            }
            _ => {}
        }
    }
}
