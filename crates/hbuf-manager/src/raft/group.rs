//! The group: the one owner of the library's node, and its one door.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use ::raft::{Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole, Storage as _};
use hbuf_core::ids::Uuid;
use hbuf_core::limits::{
    COMMAND_BYTES_MAX, COMMITTED_BYTES, READS_WAITING_MAX, TRAILING_ENTRIES, UNCOMMITTED_BYTES_MAX,
    VOTER_APPEND_BYTES, VOTER_APPENDS_IN_FLIGHT_MAX,
};

use super::change::{Change, ChangeRefused};
use super::check::{MessageRefused, Own, check_numbers};
use super::effect::{Effect, Role};
use super::entry::Vote;
use super::input::{Input, Refusal};
use super::log_file::{Base, Roll, state_text};
use super::members::{MemberChange, MemberId, Members};
use super::message::{Body, PeerMessage, split_snapshot};
use super::reads::Reads;
use super::ready::{Pending, vote_of};
use super::recover::Recovered;
use super::storage::Mirror;
use super::timeout::{ELECTION_TICKS, ELECTION_TICKS_END, HEARTBEAT_TICKS, election_ticks};
use crate::catalog::Catalog;
use crate::rows::SnapshotReader;
use crate::state::State;

/// Ticks after which a snapshot of which nothing was heard counts as lost (P2).
const SNAPSHOT_TICKS: u64 = 600;

/// Who a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupConfig {
    /// The group.
    pub group: Uuid,
    /// This member.
    pub id: MemberId,
    /// This member's disk.
    pub disk: Uuid,
    /// Election timeouts are drawn from it. Members need not have the same.
    pub seed: u64,
}

/// Why a group cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The id is that of another disk (P11).
    #[error("the member {id} has the disk {known}, and this is the disk {disk}; give it a new id")]
    OtherDisk {
        /// The id.
        id: MemberId,
        /// The disk that it is bound to.
        known: Uuid,
        /// The disk that it was started with.
        disk: Uuid,
    },
    /// The library refuses the configuration.
    #[error("the group cannot start: {0}")]
    Library(alloc::string::String),
}

/// One member of one group.
pub struct Group<S = Catalog> {
    pub(super) node: RawNode<Mirror>,
    pub(super) config: GroupConfig,
    /// Readies that are not finished, oldest first.
    pub(super) pending: VecDeque<Pending<S>>,
    /// The number of the last ready.
    pub(super) number: u64,
    pub(super) persisted: u64,
    /// Term, vote and commit as of the last ready.
    pub(super) vote: Vote,
    /// Committed changes of members that wait for the state to come to their index.
    pub(super) changes: VecDeque<(u64, MemberChange)>,
    /// The last index that was given out to be applied.
    pub(super) handed_out: u64,
    /// The snapshot that is to be installed and was not reported yet.
    pub(super) installing: Option<u64>,
    /// The state of a snapshot that came, until the library takes or drops it.
    pub(super) incoming: Option<S>,
    pub(super) reads: Reads,
    /// Snapshots on their way, with their ages in ticks.
    pub(super) sending: BTreeMap<MemberId, u64>,
    pub(super) role: (Role, u64, Option<MemberId>),
    /// Ticks since each member was heard of.
    pub(super) heard: BTreeMap<MemberId, u64>,
    /// The change that is under way, and the index of its entry.
    pub(super) change: Option<(u64, Change)>,
    pub(super) joint_ticks: u64,
    removed: bool,
}

impl<S: State> Group<S> {
    /// Starts from what was found on disk. Entries that are known to be committed come as effects
    /// of the first input.
    pub fn start(config: GroupConfig, recovered: Mirror) -> Result<Self, StartError> {
        if let Some(known) = recovered.members.disks.get(&config.id)
            && *known != config.disk
        {
            let GroupConfig { id, disk, .. } = config;
            let known = *known;
            return Err(StartError::OtherDisk { id, known, disk });
        }
        let (applied, hard) = (recovered.applied.0, &recovered.hard);
        let vote = vote_of(hard.term, hard.vote, hard.commit);
        // P17: the library must have a logger; formatting what nobody reads would cost time.
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&library_config(config.id, applied), recovered, &logger);
        let node = node.map_err(|why| StartError::Library(alloc::format!("{why}")))?;
        let mut group = Self {
            role: (Role::Follower, node.raft.term, None),
            node,
            config,
            pending: VecDeque::new(),
            number: 0,
            persisted: 0,
            vote,
            changes: VecDeque::new(),
            handed_out: applied,
            installing: None,
            incoming: None,
            reads: Reads::default(),
            sending: BTreeMap::new(),
            heard: BTreeMap::new(),
            change: None,
            joint_ticks: 0,
            removed: false,
        };
        group.call(|_| ());
        Ok(group)
    }

    /// The same from what [`super::recover`] gave.
    pub fn open(config: GroupConfig, recovered: &Recovered<S>) -> Result<Self, StartError> {
        Self::start(config, recovered.mirror.clone())
    }

    /// The one door. Effects are added in the order in which they are to be performed.
    pub fn handle(&mut self, input: Input, effects: &mut Vec<Effect<S>>) -> Result<(), Refusal> {
        if self.removed {
            return Err(Refusal::Removed);
        }
        let result = self.take(input, effects);
        self.drain(effects);
        result
    }

    /// Completes a snapshot that is to be sent, as of what was applied by now: the library asked
    /// for it before the state went on.
    ///
    /// # Panics
    /// When the state is not as of the last reported index.
    #[must_use]
    pub fn fill_snapshot(&self, mut message: PeerMessage, state: &S) -> PeerMessage {
        assert_eq!(
            state.applied(),
            self.applied(),
            "what was applied was reported"
        );
        let snapshot = self.node.store().snapshot(0, message.to().0);
        let snapshot = snapshot.expect("the library saw one before");
        message.attach(snapshot, &state_text(state));
        message
    }

    /// The members as of the applied index.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.node.store().members
    }

    /// The index up to which the state was reported.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.node.store().applied.0
    }

    /// The highest index known to be committed.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// Role, term and leader.
    #[must_use]
    pub const fn role(&self) -> (Role, u64, Option<MemberId>) {
        self.role
    }

    /// Calls the library, then sets the election timeout: see `timeout.rs`.
    pub(super) fn call<T>(&mut self, with: impl FnOnce(&mut RawNode<Mirror>) -> T) -> T {
        let result = with(&mut self.node);
        let GroupConfig {
            group, id, seed, ..
        } = self.config;
        let raft = &mut self.node.raft;
        let ticks = election_ticks(seed, group, id, raft.term, raft.state);
        raft.set_randomized_election_timeout(ticks);
        result
    }

    fn take(&mut self, input: Input, effects: &mut Vec<Effect<S>>) -> Result<(), Refusal> {
        match input {
            Input::Tick => self.tick(effects),
            Input::Message(message) => return self.on_message(*message, effects),
            Input::Propose(command) => return self.propose(command),
            Input::Read { token } => return self.read(token),
            Input::Change(change) => return self.start_change(change),
            Input::Persisted { number } => {
                assert!(
                    number <= self.number,
                    "nothing of this number was asked for"
                );
                self.persisted = self.persisted.max(number);
            }
            Input::Applied { index } => self.on_applied(index, effects),
            Input::SnapshotSent { to, taken } => self.report_snapshot(to, taken),
            Input::Unreachable { to } => self.call(|node| node.report_unreachable(to.0)),
            Input::Transfer => return self.transfer().map(drop),
            Input::Campaign => return self.campaign(),
            Input::Compact => return self.compact(effects),
        }
        Ok(())
    }

    pub(super) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    pub(super) fn must_lead(&self) -> Result<(), Refusal> {
        if self.is_leader() {
            return Ok(());
        }
        let leader = Some(MemberId(self.node.raft.leader_id)).filter(|id| id.0 != 0);
        Err(Refusal::NotLeader { leader })
    }

    fn tick(&mut self, effects: &mut Vec<Effect<S>>) {
        // A lone voter would win at once, while the library takes it for granted that whoever wins
        // had time to persist what it had followed.
        if !self.is_leader() && self.is_lone() && self.pending.iter().any(|it| it.writes) {
            return;
        }
        self.call(|node| node.tick());
        for age in self.heard.values_mut() {
            *age += 1;
        }
        // P2: a snapshot of which nothing is heard stalls its member for ever.
        for age in self.sending.values_mut() {
            *age += 1;
        }
        let lost: Vec<MemberId> = self
            .sending
            .iter()
            .filter(|(_, age)| **age >= SNAPSHOT_TICKS)
            .map(|(id, _)| *id)
            .collect();
        for to in lost {
            self.report_snapshot(to, false);
        }
        if self.is_leader() {
            for context in self.reads.tick(effects) {
                self.call(|node| node.read_index(context));
            }
            self.watch_joint();
        }
    }

    fn is_lone(&self) -> bool {
        let members = self.members();
        members.voters.len() == 1 && members.voters.contains(&self.config.id) && !members.is_joint()
    }

    fn on_message(
        &mut self,
        message: PeerMessage,
        effects: &mut Vec<Effect<S>>,
    ) -> Result<(), Refusal> {
        let (from, to) = (message.from(), message.to());
        if message.group != self.config.group {
            let group = message.group;
            return Err(MessageRefused::OtherGroup { group }.into());
        }
        if to != self.config.id {
            return Err(MessageRefused::OtherMember { to }.into());
        }
        let message = match message.body {
            // P10: true whenever it comes, since an id that was removed is never given again.
            Body::Removed { .. } => {
                self.leave(effects);
                return Ok(());
            }
            Body::Raft(message) => message,
        };
        // P10: who was removed may never get the entry that says so, and would ask for votes.
        if self.members().is_retired(from) {
            effects.push(Effect::Send(self.removed_notice(from)));
            return Err(MessageRefused::FromRemoved { from }.into());
        }
        let own = Own {
            term: self.node.raft.term,
            role: self.node.raft.state,
            last: self.node.raft.raft_log.last_index(),
        };
        check_numbers(&message, own)?;
        if !message.get_snapshot().is_empty() {
            self.incoming = Some(read_state(message.get_snapshot())?);
        }
        self.heard.insert(from, 0);
        // An answer of someone who is no member any more changes nothing.
        let _ = self.call(|node| node.step(*message));
        Ok(())
    }

    pub(super) fn leave(&mut self, effects: &mut Vec<Effect<S>>) {
        self.removed = true;
        self.stop_leading(effects);
        effects.push(Effect::Removed);
    }

    /// What the leader had under way, it has no longer.
    pub(super) fn stop_leading(&mut self, effects: &mut Vec<Effect<S>>) {
        self.reads.fail(effects);
        self.sending.clear();
        self.joint_ticks = 0;
        if self.change.take().is_some() {
            effects.push(Effect::ChangeFailed(ChangeRefused::Lost));
        }
    }

    fn propose(&mut self, command: Vec<u8>) -> Result<(), Refusal> {
        // P13: the library would forward it to the leader without a word, or not.
        self.must_lead()?;
        let length = command.len();
        if length > COMMAND_BYTES_MAX {
            return Err(Refusal::TooLong { length });
        }
        if command.is_empty() || MemberChange::decode(&command).is_some() {
            return Err(Refusal::NoCommand);
        }
        let taken = self.call(|node| node.propose(Vec::new(), command));
        taken.map_err(|_| Refusal::Busy)
    }

    fn read(&mut self, token: u64) -> Result<(), Refusal> {
        self.must_lead()?;
        if self.reads.len() >= READS_WAITING_MAX {
            return Err(Refusal::Busy);
        }
        let context = self.reads.start(token);
        self.call(|node| node.read_index(context));
        Ok(())
    }

    fn campaign(&mut self) -> Result<(), Refusal> {
        if self.pending.iter().any(|it| it.writes) {
            return Err(Refusal::Busy);
        }
        self.call(|node| node.campaign()).map_err(|_| Refusal::Busy)
    }

    fn report_snapshot(&mut self, to: MemberId, taken: bool) {
        self.sending.remove(&to);
        let status = if taken {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.call(|node| node.report_snapshot(to.0, status));
    }

    fn on_applied(&mut self, index: u64, effects: &mut Vec<Effect<S>>) {
        assert!(
            index <= self.handed_out,
            "nothing of this index was given out"
        );
        if let Some(snapshot) = self.installing {
            // What was applied before the snapshot came is reported behind its back.
            if index < snapshot {
                return;
            }
            self.installing = None;
        }
        let mut changed = None;
        let before = self.members().clone();
        while let Some((at, change)) = self.changes.pop_front_if(|(at, _)| *at <= index) {
            if self.apply_change(&change) {
                changed = Some(at);
            }
        }
        self.node.mut_store().set_applied(index);
        // Behind the change itself: the library leaves a joint configuration from in here.
        self.call(|node| node.advance_apply_to(index));
        if let Some(at) = changed {
            self.on_members(at, &before, effects);
        }
        self.confirm_change(index, effects);
    }

    fn compact(&mut self, effects: &mut Vec<Effect<S>>) -> Result<(), Refusal> {
        // The state must be as of the index that the roll will say.
        let busy = self.installing.is_some() || self.applied() != self.handed_out;
        if busy || self.applied() == 0 {
            return Err(Refusal::Busy);
        }
        let mirror = self.node.mut_store();
        let (index, term) = mirror.applied;
        // A window of entries stays in memory, so that a slow member need not take a snapshot.
        mirror.compact(index.saturating_sub(TRAILING_ENTRIES));
        let base = Base {
            index,
            term,
            members: mirror.members.clone(),
        };
        let entries = mirror.behind(index);
        let vote = self.vote;
        effects.push(Effect::Roll(Roll {
            base,
            vote,
            entries,
        }));
        Ok(())
    }
}

/// P12: the library's own defaults send one entry a message, let a member that comes back disturb
/// the others, let a leader without followers lead on, and bound nothing.
fn library_config(id: MemberId, applied: u64) -> Config {
    Config {
        id: id.0,
        applied,
        election_tick: ELECTION_TICKS,
        min_election_tick: ELECTION_TICKS,
        max_election_tick: ELECTION_TICKS_END,
        heartbeat_tick: HEARTBEAT_TICKS,
        max_size_per_msg: VOTER_APPEND_BYTES,
        max_inflight_msgs: VOTER_APPENDS_IN_FLIGHT_MAX,
        check_quorum: true,
        pre_vote: true,
        batch_append: true,
        // P14: a lease would trust clocks.
        read_only_option: ReadOnlyOption::Safe,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: COMMITTED_BYTES,
        ..Config::default()
    }
}

fn read_state<S: State>(snapshot: &::raft::eraftpb::Snapshot) -> Result<S, MessageRefused> {
    let (_, text) = split_snapshot(&snapshot.data)?;
    let mut reader = SnapshotReader::new();
    reader.push(text)?;
    let state: S = reader.finish()?;
    let (index, applied) = (snapshot.get_metadata().index, state.applied());
    if index != applied {
        return Err(MessageRefused::OtherState { index, applied });
    }
    Ok(state)
}
