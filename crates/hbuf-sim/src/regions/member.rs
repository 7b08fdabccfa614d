//! A node's member of one group, whatever state the group keeps: one code for `global` and for
//! regions.
//!
//! Nobody is told what came of a command: every member applies the log, and sees its own commands
//! in it. Until then it asks again, one after the other.

use std::collections::{BTreeMap, VecDeque};

use hbuf_core::ids::{Micros, Uuid};
use hbuf_manager::raft::{
    Effect, Group, GroupConfig, Input, LogFile, MemberId, Members, PeerMessage, Role,
};
use hbuf_manager::region::Region;
use hbuf_manager::{Catalog, Command, Outcome, Refused, State};

use super::{Due, Node, Wire, World};
use crate::draw::{Draws, Purpose};
use crate::group_files::GroupFiles;

/// A command that nobody has seen applied is proposed again after so many ticks.
const ASK_AGAIN_TICKS: u64 = 10;
/// Commands that wait at most: a process that asks more is not answered.
const OUTBOX_MAX: usize = 64;
/// A log is replaced by a snapshot when it has grown by so many entries.
const COMPACT_ENTRIES: u64 = 60;

/// One of the two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Which {
    Global,
    Region,
}

impl Which {
    /// The id of the group.
    pub(super) const fn group(self) -> Uuid {
        match self {
            Self::Global => Uuid([0x67; 16]),
            Self::Region => Uuid([0x72; 16]),
        }
    }
}

/// A state that one of the groups keeps.
pub(super) trait Kept: State {
    const WHICH: Which;
    fn of(node: &mut Node) -> &mut Member<Self>;
}

impl Kept for Catalog {
    const WHICH: Which = Which::Global;
    fn of(node: &mut Node) -> &mut Member<Self> {
        &mut node.global
    }
}

impl Kept for Region {
    const WHICH: Which = Which::Region;
    fn of(node: &mut Node) -> &mut Member<Self> {
        &mut node.region
    }
}

/// What came of a command.
pub(super) type Answer = Result<Outcome, Refused>;

/// A member.
pub(super) struct Member<S: State> {
    config: GroupConfig,
    group: Option<Group<S>>,
    log: Option<LogFile>,
    pub(super) state: S,
    files: GroupFiles,
    todo: VecDeque<Effect<S>>,
    outbox: VecDeque<Command<S::Action>>,
    /// What came of the commands of this process that somebody waits for.
    pub(super) answers: BTreeMap<u64, Option<Answer>>,
    number: u64,
    client: Uuid,
    asked_at: Option<u64>,
    ticks: u64,
    rolled_at: u64,
}

impl<S: State> Member<S> {
    /// A member with the files of a new group whose state is this.
    pub(super) fn founded(config: GroupConfig, members: &Members, state: &S) -> Self {
        let (_, steps) = LogFile::found(config.group, members, state, Micros(0));
        let mut files = GroupFiles::default();
        steps.iter().for_each(|step| files.perform(step));
        Self {
            config,
            group: None,
            log: None,
            state: state.clone(),
            files,
            todo: VecDeque::new(),
            outbox: VecDeque::new(),
            answers: BTreeMap::new(),
            number: 0,
            client: Uuid([0; 16]),
            asked_at: None,
            ticks: 0,
            rolled_at: 0,
        }
    }

    /// The process starts: the member goes on from its files.
    pub(super) fn start(&mut self, life: Uuid) {
        let recovered = self.files.recover::<S>(self.config.group);
        let group = Group::open(self.config, &recovered).expect("it is the disk of this member");
        self.group = Some(group);
        self.log = Some(recovered.log);
        self.state = recovered.state;
        (self.client, self.number, self.asked_at) = (life, 0, None);
        self.rolled_at = self.state.applied();
    }

    pub(super) fn crash(&mut self, draws: &Draws, power: bool) {
        self.group = None;
        self.todo.clear();
        self.outbox.clear();
        self.answers.clear();
        self.files.crash(draws, power);
    }

    /// Puts a command behind those that wait; its number, unless too many do.
    pub(super) fn ask(&mut self, now: Micros, action: S::Action) -> Option<u64> {
        if let Some(known) = self.outbox.iter().find(|known| known.action == action) {
            return Some(known.number);
        }
        if self.outbox.len() >= OUTBOX_MAX {
            return None;
        }
        self.number += 1;
        self.outbox.push_back(Command {
            client: self.client,
            number: self.number,
            time: now,
            action,
        });
        Some(self.number)
    }

    /// Whether it leads its group.
    pub(super) fn leads(&self) -> bool {
        let role = self.group.as_ref().map(|group| group.role().0);
        role == Some(Role::Leader)
    }

    /// The text that is to be proposed now, and to whom.
    fn due(&mut self) -> Option<(MemberId, Vec<u8>)> {
        let command = self.outbox.front()?;
        let leader = self.group.as_ref()?.role().2?;
        let waits = |at: u64| self.ticks < at + ASK_AGAIN_TICKS;
        if self.asked_at.is_some_and(waits) {
            return None;
        }
        let text = command.encode();
        self.asked_at = Some(self.ticks);
        Some((leader, text))
    }

    /// A command of this process is in the log.
    fn answered(&mut self, number: u64, answer: Option<Answer>) {
        self.outbox.retain(|other| other.number > number);
        self.asked_at = None;
        self.answers.insert(number, answer);
        while self.answers.len() > OUTBOX_MAX {
            self.answers.pop_first();
        }
    }
}

impl World {
    /// A tick of one of the groups.
    pub(super) fn group_tick<S: Kept>(&mut self, host: usize) {
        let member = S::of(&mut self.nodes[host]);
        member.ticks += 1;
        self.group_input::<S>(host, Input::Tick);
        let member = S::of(&mut self.nodes[host]);
        if member.state.applied() >= member.rolled_at + COMPACT_ENTRIES {
            member.rolled_at = member.state.applied();
            self.group_input::<S>(host, Input::Compact);
        }
        self.propose_first::<S>(host);
    }

    fn propose_first<S: Kept>(&mut self, host: usize) {
        let Some((leader, text)) = S::of(&mut self.nodes[host]).due() else {
            return;
        };
        let to = usize::try_from(leader.0).unwrap_or(1) - 1;
        if to == host {
            self.group_input::<S>(host, Input::Propose(text));
        } else {
            self.send(host, to, Wire::Propose(S::WHICH, text));
        }
    }

    /// What the group refuses changes nothing; whoever asked asks again.
    pub(super) fn group_input<S: Kept>(&mut self, host: usize, input: Input) {
        let member = S::of(&mut self.nodes[host]);
        let Some(group) = &mut member.group else {
            return;
        };
        let mut effects = Vec::new();
        let _ = group.handle(input, &mut effects);
        member.todo.extend(effects);
        while let Some(effect) = S::of(&mut self.nodes[host]).todo.pop_front() {
            self.group_effect::<S>(host, effect);
        }
    }

    pub(super) fn raft_message<S: Kept>(&mut self, host: usize, bytes: &[u8]) {
        let message = PeerMessage::decode(bytes).expect("the network of this world alters nothing");
        self.group_input::<S>(host, Input::Message(message.into()));
    }

    fn group_effect<S: Kept>(&mut self, host: usize, effect: Effect<S>) {
        let now = self.wall();
        let member = S::of(&mut self.nodes[host]);
        match effect {
            Effect::Send(message) => self.send_raft::<S>(host, &message),
            Effect::SendSnapshot(message) => {
                let group = member.group.as_ref().expect("it has an effect");
                let message = group.fill_snapshot(message, &member.state);
                let to = message.to();
                self.send_raft::<S>(host, &message);
                // Taken or not: what was not is sent again when the member answers.
                self.group_input::<S>(host, Input::SnapshotSent { to, taken: true });
            }
            Effect::Persist(persist) => {
                let log = member.log.as_mut().expect("it runs");
                let steps = log.plan(&persist, now);
                member.files.begin(steps, Some(persist.number()));
                self.write_soon(host, S::WHICH);
            }
            Effect::Roll(roll) => {
                let log = member.log.as_mut().expect("it runs");
                let steps = log.plan_roll(&roll, &member.state, now);
                member.files.begin(steps, None);
                self.count("rolled");
                self.write_soon(host, S::WHICH);
            }
            Effect::Apply(entries) => {
                let last = entries.last().map_or(0, |entry| entry.index);
                for entry in entries {
                    self.group_apply::<S>(host, entry.index, entry.command.as_deref());
                }
                self.group_input::<S>(host, Input::Applied { index: last });
            }
            Effect::Install { index, state } => {
                member.state = *state;
                // What this process asked may be in it.
                let known = member.state.last_number(member.client);
                if known > 0 {
                    member.answered(known, None);
                }
                self.count("installed");
                self.group_input::<S>(host, Input::Applied { index });
            }
            Effect::Role {
                role: Role::Leader,
                term,
                ..
            } => {
                self.check_leader(S::WHICH, host, term);
            }
            Effect::Role { .. }
            | Effect::Read { .. }
            | Effect::ReadFailed { .. }
            | Effect::Members(_)
            | Effect::Changed
            | Effect::ChangeFailed(_)
            | Effect::Removed => {}
        }
    }

    fn send_raft<S: Kept>(&mut self, host: usize, message: &PeerMessage) {
        let to = usize::try_from(message.to().0).unwrap_or(1) - 1;
        self.send(host, to, Wire::Raft(S::WHICH, message.encode()));
    }

    fn write_soon(&mut self, host: usize, which: Which) {
        let entity = host as u64 | (which as u64) << 32;
        let after = 60 + self.draw(Purpose::Delay, entity, self.steps).below(400);
        let life = self.nodes[host].life;
        self.due(after, Due::Persisted { host, life, which });
    }

    pub(super) fn persisted<S: Kept>(&mut self, host: usize) {
        if let Some(number) = S::of(&mut self.nodes[host]).files.end() {
            self.group_input::<S>(host, Input::Persisted { number });
        }
    }

    fn group_apply<S: Kept>(&mut self, host: usize, index: u64, command: Option<&[u8]>) {
        let member = S::of(&mut self.nodes[host]);
        let Some(command) = command else {
            member.state.pass(index);
            return;
        };
        let command = Command::<S::Action>::decode(command).expect("this binary wrote it");
        let result = member.state.apply(index, &command);
        let result = result.map(|applied| applied.outcome);
        let own = command.client == member.client;
        if own {
            member.answered(command.number, Some(result));
        }
        // Rarely, for it costs much.
        if index.is_multiple_of(8) {
            let hash = member.state.state_hash();
            self.check_state(S::WHICH, host, index, hash);
        }
        if own {
            self.propose_first::<S>(host);
        }
    }
}
