//! A node's part of the manager: a member of the Raft group, its catalog, what it asks of the
//! group, and, while it leads, the sessions of all nodes.
//!
//! Nobody is told what came of a command: every node applies the log, and sees its own commands in
//! it. Until then it asks again.

use std::collections::VecDeque;
use std::sync::Arc;

use hbuf_core::ids::{Micros, NodeId, Uuid};
use hbuf_core::limits::NODE_HEARTBEAT_MICROS;
use hbuf_core::replication::{Assignment, Event, NodeEpoch};
use hbuf_core::rules::Rules;
use hbuf_manager::raft::{
    Effect, FileStep, Group, GroupConfig, Input, LogFile, MemberId, PeerMessage, Role,
};
use hbuf_manager::sessions::{Heartbeat, HeartbeatRefused, Moment, Sessions};
use hbuf_manager::{Action, Catalog, Command, NodeChange, RegisterNode, State};

use super::aimed::Aim;
use super::marks::CHECKPOINT_TICKS;
use super::message::Message;
use super::node_start::TICK_US;
use super::{About, Due, World};
use crate::bugs::Bug;
use crate::draw::{Draws, Purpose, mix};
use crate::group_files::GroupFiles;
use crate::kinds::Kind;
use crate::tracefile::EventId;

/// The group that manages everything.
pub(super) const GROUP: Uuid = Uuid([0x67; 16]);
/// A command that nobody has seen applied is proposed again after so many ticks.
const ASK_AGAIN_TICKS: u64 = 10;
/// Ticks between heartbeats.
const HEARTBEAT_TICKS: u64 = NODE_HEARTBEAT_MICROS / TICK_US;

/// A node's member of the group.
pub(super) struct Manager {
    config: GroupConfig,
    rules: Rules,
    group: Option<Group>,
    log: Option<LogFile>,
    pub(super) catalog: Catalog,
    disk: GroupFiles,
    todo: VecDeque<Effect>,
    /// What this process asks, the first until it is applied.
    outbox: VecDeque<Command>,
    number: u64,
    client: Uuid,
    asked_at: Option<u64>,
    ticks: u64,
    /// While it leads.
    sessions: Option<Sessions>,
    /// From this tick on it registers.
    register_at: Option<u64>,
}

impl Manager {
    /// A member with the files of a new group whose catalog is this.
    pub(super) fn founded(
        config: GroupConfig,
        members: &hbuf_manager::raft::Members,
        catalog: &Catalog,
        rules: Rules,
    ) -> Self {
        let (_, steps) = LogFile::found(GROUP, members, catalog, Micros(0));
        let mut disk = GroupFiles::default();
        steps.iter().for_each(|step| disk.perform(step));
        let catalog = catalog.clone().obeying(rules);
        Self::stopped(config, rules, catalog, disk)
    }

    /// Beside a copy of a disk there is no member: the group's files are on another one.
    pub(super) fn of_a_copy(&self) -> Self {
        let disk = GroupFiles::default();
        Self::stopped(self.config, self.rules, self.catalog.clone(), disk)
    }

    /// Before its process starts.
    fn stopped(config: GroupConfig, rules: Rules, catalog: Catalog, disk: GroupFiles) -> Self {
        Self {
            config,
            rules,
            group: None,
            log: None,
            catalog,
            disk,
            todo: VecDeque::new(),
            outbox: VecDeque::new(),
            number: 0,
            client: Uuid([0; 16]),
            asked_at: None,
            ticks: 0,
            sessions: None,
            register_at: None,
        }
    }

    /// The process starts: the member goes on from its files.
    pub(super) fn start(&mut self, life: Uuid) {
        let recovered = self.disk.recover(GROUP);
        let group = Group::open(self.config, &recovered).expect("it is the disk of this member");
        self.group = Some(group);
        self.log = Some(recovered.log);
        self.catalog = recovered.state.obeying(self.rules);
        (self.client, self.number) = (life, 0);
        self.register_at = Some(0);
    }

    pub(super) fn crash(&mut self, draws: &Draws, power: bool) {
        self.group = None;
        self.todo.clear();
        self.outbox.clear();
        (self.asked_at, self.sessions) = (None, None);
        self.disk.crash(draws, power);
    }

    /// What the manager has decided of a buffer, as far as this node knows.
    pub(super) fn assignment(&self, buffer: Uuid) -> Option<&Assignment> {
        self.catalog.assigned().get(buffer)
    }

    /// What it is in the group, and the term, while it runs.
    pub(super) fn role(&self) -> Option<(Role, u64)> {
        let group = self.group.as_ref()?;
        let (role, term, _) = group.role();
        Some((role, term))
    }

    /// A vote that was given is not on disk.
    pub(super) fn forget_vote(&mut self) {
        self.disk.forget_vote::<Catalog>(GROUP);
    }

    /// Whether something is being written to its files.
    pub(super) fn writes(&self) -> bool {
        self.disk.is_busy()
    }

    /// Ticks so far.
    pub(super) const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Whether it leads the group, as far as it knows.
    pub(super) const fn leads(&self) -> bool {
        self.sessions.is_some()
    }

    pub(super) fn leader(&self) -> Option<MemberId> {
        self.group.as_ref().and_then(|group| group.role().2)
    }
}

impl World {
    /// A node's tick: elections, heartbeats, sessions, what is asked again, what has come due.
    pub(super) fn tick(&mut self, cause: EventId, host: usize) {
        self.hosts[host].ticked_at = self.t;
        if self.hosts[host].copy_of.is_some() {
            return self.tick_of_copy(cause, host);
        }
        let life = self.hosts[host].life;
        let manager = &mut self.hosts[host].manager;
        manager.ticks += 1;
        let ticks = manager.ticks;
        self.waits_no_longer(cause, host);
        if life == 1 || !self.does(Bug::TimerForgotten) {
            self.group_input(cause, host, Input::Tick);
        }
        if self.hosts[host]
            .manager
            .register_at
            .is_some_and(|at| ticks >= at)
        {
            self.register(cause, host);
        }
        if ticks.is_multiple_of(HEARTBEAT_TICKS) {
            self.heartbeat(cause, host);
        }
        self.watch_sessions(cause, host);
        self.ask_first(cause, host);
        let due = self.hosts[host].shard.next_copies_due();
        if due.is_some_and(|due| due <= self.wall(host)) || ticks.is_multiple_of(10) {
            self.shard(cause, host, hbuf_core::input::Input::CopiesDue);
        }
        self.watch_consumers(cause, host);
        self.go_on_stopping(cause, host);
        if !self.lives(host, life) || !self.can_run(cause, host) {
            return;
        }
        self.watch_states(cause, host, ticks);
        self.go_on_draining(cause, host, ticks);
        if ticks.is_multiple_of(25) {
            self.shard(cause, host, hbuf_core::input::Input::Retention);
        }
        self.scrub_once(cause, host);
        if ticks.is_multiple_of(CHECKPOINT_TICKS) {
            self.checkpoint(cause, host);
        }
        let life = self.hosts[host].life;
        self.due_on(cause, host, TICK_US, Due::Tick { host, life });
    }

    fn register(&mut self, cause: EventId, host: usize) {
        let this = &mut self.hosts[host];
        this.manager.register_at = None;
        let damaged = this
            .found
            .iter()
            .filter(|(_, found)| found.damage.is_some());
        let damaged = damaged.map(|(buffer, _)| *buffer).collect::<Vec<_>>();
        this.bad.extend(damaged);
        let bad = this.bad.iter().map(|buffer| self.buffers[*buffer]);
        let bad = bad.collect();
        let start = RegisterNode {
            node: crate::founding::node_name(host),
            disk: this.disk_id,
            life: this.lives.now,
            earlier: this.lives.earlier.clone(),
            clean: this.clean_before,
            bad,
            versions: super::upgrades::versions_of(this.runs),
            change: NodeChange::default(),
        };
        self.propose(cause, host, Action::RegisterNode(start));
    }

    /// Asks the group, after what was asked before.
    pub(super) fn propose(&mut self, cause: EventId, host: usize, action: Action) {
        let now = self.wall(host);
        let manager = &mut self.hosts[host].manager;
        let same = |command: &Command| command.action == action;
        if manager.outbox.iter().any(same) {
            return;
        }
        manager.number += 1;
        let command = Command {
            client: manager.client,
            number: manager.number,
            time: now,
            action,
        };
        manager.outbox.push_back(command);
        self.ask_first(cause, host);
    }

    fn ask_first(&mut self, cause: EventId, host: usize) {
        let manager = &mut self.hosts[host].manager;
        let Some(command) = manager.outbox.front() else {
            return;
        };
        let again = |at: u64| manager.ticks >= at + ASK_AGAIN_TICKS;
        let Some(leader) = manager.leader() else {
            return;
        };
        if !manager.asked_at.is_none_or(again) {
            return;
        }
        let text = command.encode();
        manager.asked_at = Some(manager.ticks);
        let to = usize::try_from(leader.0).unwrap_or(1) - 1;
        let about = About {
            host: Some(host),
            note: command.action.name(),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::CommandProposed, &about);
        if to == host {
            self.proposed(event, host, text);
        } else {
            self.say(event, host, Some(to), Message::Propose(text));
        }
    }

    /// Somebody wants a command in the log. Who does not lead says nothing.
    pub(super) fn proposed(&mut self, cause: EventId, host: usize, command: Vec<u8>) {
        self.group_input(cause, host, Input::Propose(command));
    }

    pub(super) fn raft_message(&mut self, cause: EventId, host: usize, bytes: &[u8]) {
        let message = PeerMessage::decode(bytes).expect("the network of this world alters nothing");
        self.group_input(cause, host, Input::Message(message.into()));
    }

    /// What the group refuses changes nothing; whoever asked asks again.
    pub(super) fn group_input(&mut self, cause: EventId, host: usize, input: Input) {
        let manager = &mut self.hosts[host].manager;
        let Some(group) = &mut manager.group else {
            return;
        };
        let mut effects = Vec::new();
        let _ = group.handle(input, &mut effects);
        manager.todo.extend(effects);
        while let Some(effect) = self.hosts[host].manager.todo.pop_front() {
            self.group_effect(cause, host, effect);
        }
    }

    fn group_effect(&mut self, cause: EventId, host: usize, effect: Effect) {
        let now = self.wall(host);
        let manager = &mut self.hosts[host].manager;
        match effect {
            Effect::Send(message) => self.send_raft(cause, host, &message),
            Effect::SendSnapshot(message) => {
                let group = manager.group.as_ref().expect("it has an effect");
                let message = group.fill_snapshot(message, &manager.catalog);
                let to = message.to();
                self.send_raft(cause, host, &message);
                // Taken or not: what was not is sent again when the member answers.
                let taken = Input::SnapshotSent { to, taken: true };
                self.group_input(cause, host, taken);
            }
            Effect::Persist(persist) => {
                let log = manager.log.as_mut().expect("it runs");
                let steps = log.plan(&persist, now);
                self.persist(cause, host, steps, Some(persist.number()));
            }
            Effect::Roll(roll) => {
                let log = manager.log.as_mut().expect("it runs");
                let steps = log.plan_roll(&roll, &manager.catalog, now);
                self.persist(cause, host, steps, None);
            }
            Effect::Apply(entries) => {
                let last = entries.last().map_or(0, |entry| entry.index);
                for entry in entries {
                    self.apply(cause, host, entry.index, entry.command.as_deref());
                }
                self.group_input(cause, host, Input::Applied { index: last });
            }
            Effect::Install { index, state } => {
                manager.catalog = state.obeying(manager.rules);
                self.group_input(cause, host, Input::Applied { index });
                self.caught_up(cause, host);
            }
            Effect::Role { role, term, .. } => self.role(cause, host, role, term),
            Effect::Read { .. }
            | Effect::ReadFailed { .. }
            | Effect::Members(_)
            | Effect::Changed
            | Effect::ChangeFailed(_)
            | Effect::Removed => {}
        }
    }

    fn send_raft(&mut self, cause: EventId, host: usize, message: &PeerMessage) {
        let to = usize::try_from(message.to().0).unwrap_or(1) - 1;
        if self.hosts[to].up {
            self.say(cause, host, Some(to), Message::Raft(message.encode()));
        } else {
            let to = message.to();
            self.group_input(cause, host, Input::Unreachable { to });
        }
    }

    fn persist(&mut self, cause: EventId, host: usize, steps: Vec<FileStep>, number: Option<u64>) {
        let entity = mix(host as u64 | 1 << 40, self.scope);
        let after = 60 + self.draw(Purpose::Delay, entity, cause.0).below(200);
        let this = &mut self.hosts[host];
        this.manager.disk.begin(steps, number);
        let life = this.life;
        self.is_about(cause, host, Aim::ManagerLog);
        self.due_on(cause, host, after, Due::Persisted { host, life });
    }

    pub(super) fn persisted(&mut self, cause: EventId, host: usize) {
        if let Some(number) = self.hosts[host].manager.disk.end() {
            self.group_input(cause, host, Input::Persisted { number });
        }
    }

    fn role(&mut self, cause: EventId, host: usize, role: Role, term: u64) {
        let moment = self.moment(host);
        let manager = &mut self.hosts[host].manager;
        let led = manager.sessions.is_some();
        if role != Role::Leader {
            manager.sessions = None;
            return;
        }
        if led {
            return;
        }
        manager.sessions = Some(Sessions::begin(moment, manager.catalog.assigned()));
        self.check_leader(host, term);
        let about = About {
            host: Some(host),
            epoch: u32::try_from(term).ok(),
            ..About::default()
        };
        self.event(&[cause], Kind::LeaderElected, &about);
    }

    /// A node's own time, which never goes back.
    fn moment(&self, host: usize) -> Moment {
        Moment(self.hosts[host].clock.monotonic(self.t))
    }

    fn apply(&mut self, cause: EventId, host: usize, index: u64, command: Option<&[u8]>) {
        let moment = self.moment(host);
        let entity = mix(host as u64, index);
        let passes =
            self.does(Bug::CommandPassed) && self.draw(Purpose::Faults, entity, 0).below(50) == 0;
        let manager = &mut self.hosts[host].manager;
        let Some(command) = command.filter(|_| !passes) else {
            manager.catalog.pass(index);
            self.check_moves(cause, host, index);
            return;
        };
        let command = Command::decode(command).expect("this binary wrote it");
        self.used.ask_manager(&manager.catalog, index, &command);
        let result = manager.catalog.apply(index, &command);
        if let Some(sessions) = &mut manager.sessions {
            sessions.on_applied(moment, manager.catalog.assigned());
        }
        let own = command.client == manager.client;
        if own {
            let number = command.number;
            manager.outbox.retain(|other| other.number != number);
            manager.asked_at = None;
        }
        let about = About {
            host: Some(host),
            seqs: Some((index, index)),
            note: command.action.name(),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::CommandApplied, &about);
        self.check_catalog(host, index);
        self.check_moves(event, host, index);
        if let Action::RegisterNode(start) = &command.action {
            let result = result.as_ref().map(|applied| &applied.outcome);
            match result {
                Ok(outcome) if own => self.registration_applied(event, host, outcome),
                Err(refused) if own => self.registration_refused(event, host, refused),
                _ => {
                    let asked = (command.client, command.number);
                    self.start_seen(event, host, asked, start, result);
                }
            }
        }
        self.tell_decisions(event, host);
        self.ask_first(event, host);
    }

    /// The catalog jumped: what this process asked may be in it.
    fn caught_up(&mut self, cause: EventId, host: usize) {
        let manager = &mut self.hosts[host].manager;
        let known = manager.catalog.last_number(manager.client);
        manager.outbox.retain(|command| command.number > known);
        manager.asked_at = None;
        self.tell_decisions(cause, host);
        let this = &self.hosts[host];
        let node = this.manager.catalog.assigned().node(this.id);
        let registered = node.filter(|node| node.life == this.lives.now && node.life.is_some());
        if let Some(epoch) = registered.map(|node| node.epoch)
            && this.node_epoch.is_none()
        {
            self.registered(cause, host, epoch);
        }
    }

    fn registration_applied(
        &mut self,
        cause: EventId,
        host: usize,
        outcome: &hbuf_manager::Outcome,
    ) {
        if let hbuf_manager::Outcome::Node { epoch, .. } = outcome {
            self.registered(cause, host, NodeEpoch(*epoch));
        }
    }

    /// Another process with this disk may live: wait until its session has ended, and ask again.
    fn registration_refused(
        &mut self,
        cause: EventId,
        host: usize,
        refused: &hbuf_manager::Refused,
    ) {
        self.told_refused(cause, host, &refused.to_string());
        let manager = &mut self.hosts[host].manager;
        manager.register_at = Some(manager.ticks + super::backups::wait_ticks(refused));
    }

    /// A process that registers is told no.
    pub(super) fn told_refused(&mut self, cause: EventId, host: usize, refused: &str) {
        let about = About {
            host: Some(host),
            note: refused,
            ..About::default()
        };
        self.event(&[cause], Kind::NodeRefused, &about);
        self.refusals
            .entry(host)
            .or_default()
            .insert(refused.to_string());
    }

    /// The shard is told what is new of its buffers; what has come here is opened.
    pub(super) fn tell_decisions(&mut self, cause: EventId, host: usize) {
        if self.hosts[host].node_epoch.is_none() {
            return;
        }
        for buffer in 0..self.buffers.len() {
            let uuid = self.buffers[buffer];
            let this = &self.hosts[host];
            let Some(assignment) = this.manager.assignment(uuid) else {
                continue;
            };
            let told = this.decided.get(&buffer).copied();
            if told >= Some(assignment.version) {
                continue;
            }
            let assignment = Arc::new(self.as_told(host, assignment));
            if told.is_none() {
                self.open_assigned(cause, host, buffer);
                continue;
            }
            self.hosts[host].decided.insert(buffer, assignment.version);
            self.replication(cause, host, buffer, Event::Decided(assignment));
        }
        self.tell_states(cause, host);
    }

    /// What a node is told that the manager has decided.
    pub(super) fn as_told(&self, host: usize, assignment: &Assignment) -> Assignment {
        let mut told = assignment.clone();
        let me = self.hosts[host].id;
        if self.does(Bug::TakesAppointments) && told.in_sync.contains_key(&me) {
            told.primary = told.primary.map(|_| me);
        }
        told
    }

    fn heartbeat(&mut self, cause: EventId, host: usize) {
        let this = &self.hosts[host];
        let (Some(epoch), Some(leader)) = (this.node_epoch, this.manager.leader()) else {
            return;
        };
        // Nothing is gained by a node that keeps nothing: others are to lead what it led.
        if this.failed {
            return;
        }
        let (node, to) = (this.id, usize::try_from(leader.0).unwrap_or(1) - 1);
        let clock = self.wall(host);
        let beat = Heartbeat { node, epoch, clock };
        if to == host {
            self.heard(cause, host, host, beat);
        } else {
            self.say(cause, host, Some(to), Message::Heartbeat(beat));
        }
    }

    /// A process that another one took the place of must stop.
    pub(super) fn heard(&mut self, cause: EventId, host: usize, from: usize, beat: Heartbeat) {
        let (moment, clock) = (self.moment(host), self.wall(host));
        let Some(sessions) = &mut self.hosts[host].manager.sessions else {
            return;
        };
        if sessions.heartbeat(moment, clock, beat) == Err(HeartbeatRefused::Superseded) {
            self.say(cause, host, Some(from), Message::Superseded(beat.epoch));
        }
    }

    /// A node has stopped in order: nobody waits until its session lapses.
    pub(super) fn ended(&mut self, host: usize, from: usize, epoch: NodeEpoch) {
        let node = self.hosts[from].id;
        if let Some(sessions) = &mut self.hosts[host].manager.sessions {
            let _ = sessions.end(node, epoch);
        }
    }

    pub(super) fn superseded(&mut self, cause: EventId, host: usize, epoch: NodeEpoch) {
        if self.hosts[host].node_epoch == Some(epoch) {
            self.crash(cause, host, false);
        }
    }

    /// Who leads the group says who has not been heard of for a session, and who is back.
    fn watch_sessions(&mut self, cause: EventId, host: usize) {
        let moment = self.moment(host);
        let sessions = self.hosts[host].manager.sessions.as_mut();
        for assign in sessions.map_or_else(Vec::new, |sessions| sessions.due(moment)) {
            self.propose(cause, host, Action::Assign(assign));
        }
    }

    /// Whom a node takes for a buffer's primary.
    pub(super) fn primary_known(&self, host: usize, buffer: usize) -> Option<NodeId> {
        let assignment = self.hosts[host].manager.assignment(self.buffers[buffer]);
        assignment.and_then(|assignment| assignment.primary)
    }
}
