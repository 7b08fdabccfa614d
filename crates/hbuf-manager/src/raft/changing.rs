//! Changes of members as the group makes them: propose, apply, confirm, leave what is joint.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::change::{Change, ChangeRefused, Standing};
use super::effect::Effect;
use super::group::Group;
use super::input::Refusal;
use super::log_file::Persist;
use super::members::{MemberChange, MemberId, Members};
use super::message::{Body, PeerMessage};
use super::timeout::ELECTION_TICKS;
use crate::state::State;

/// Ticks after which a joint configuration that nobody leaves is left (P8).
const JOINT_TICKS: u64 = ELECTION_TICKS as u64;

impl<S: State> Group<S> {
    pub(super) fn start_change(&mut self, change: Change) -> Result<(), Refusal> {
        self.must_lead()?;
        // P7: the library takes a second change with a smile and puts nothing in its place.
        let raft = &self.node.raft;
        if self.change.is_some() || self.members().is_joint() || raft.has_pending_conf() {
            return Err(ChangeRefused::InProgress.into());
        }
        let (id, commit) = (self.config.id, self.commit());
        let planned = change.plan(self.members(), id, commit, &self.standings())?;
        // P9: a leader that removes itself goes on leading a group that it is no part of.
        if change.remove.contains(&id) || change.demote.contains(&id) {
            let to = self.transfer().map_err(|_| ChangeRefused::NobodyToLead)?;
            return Err(ChangeRefused::LeadershipMoves { to }.into());
        }
        let entry = planned.conf_change();
        let taken = self.call(|node| node.propose_conf_change(planned.encode(), entry));
        taken.map_err(|_| Refusal::Busy)?;
        self.change = Some((self.node.raft.raft_log.last_index(), change));
        Ok(())
    }

    fn standings(&self) -> BTreeMap<MemberId, Standing> {
        let progress = self.node.raft.prs().iter();
        let others = progress.filter(|(id, _)| **id != self.config.id.0);
        let standing = |(id, progress): (&u64, &::raft::Progress)| {
            let age = self.heard.get(&MemberId(*id));
            let standing = Standing {
                matched: progress.matched,
                live: age.is_some_and(|age| *age < ELECTION_TICKS as u64),
            };
            (MemberId(*id), standing)
        };
        others.map(standing).collect()
    }

    pub(super) fn transfer(&mut self) -> Result<MemberId, Refusal> {
        self.must_lead()?;
        let voters = &self.members().voters;
        let best = self
            .standings()
            .into_iter()
            .filter(|(id, standing)| voters.contains(id) && standing.live)
            .max_by_key(|(id, standing)| (standing.matched, core::cmp::Reverse(*id)));
        let (to, _) = best.ok_or(Refusal::NobodyToLead)?;
        self.call(|node| node.transfer_leader(to.0));
        Ok(to)
    }

    /// P8: the library leaves a joint configuration only when the leader that entered it applies
    /// it. After a change of leadership at the wrong moment nobody does.
    pub(super) fn watch_joint(&mut self) {
        let waits = self.members().is_joint() && !self.node.raft.has_pending_conf();
        self.joint_ticks = if waits { self.joint_ticks + 1 } else { 0 };
        if self.joint_ticks >= JOINT_TICKS {
            self.joint_ticks = 0;
            // Refused only when too much waits to be committed: then the next turn tries again.
            let leave = MemberChange::default().conf_change();
            let _ = self.call(|node| node.propose_conf_change(Vec::new(), leave));
        }
    }

    /// Whether the change was made. All members decide alike, since their members are the same.
    pub(super) fn apply_change(&mut self, change: &MemberChange) -> bool {
        if !self.members().takes(change) {
            return false;
        }
        let Ok(state) = self.call(|node| node.apply_conf_change(&change.conf_change())) else {
            return false;
        };
        let after = self.members().after(&state, change);
        self.node.mut_store().members = after;
        true
    }

    pub(super) fn on_members(
        &mut self,
        index: u64,
        before: &Members,
        effects: &mut Vec<Effect<S>>,
    ) {
        let members = self.members().clone();
        // P8: with the number of what was asked for before, so that it holds nothing up.
        effects.push(Effect::Persist(Persist {
            number: self.number,
            vote: self.vote,
            members: Some((index, members.clone())),
            snapshot: None,
            entries: Vec::new(),
        }));
        self.tell_removed(before, effects);
        let left = members.is_retired(self.config.id);
        self.heard.retain(|id, _| members.contains(*id));
        self.sending.retain(|id, _| members.contains(*id));
        effects.push(Effect::Members(members));
        if left {
            self.leave(effects);
        }
    }

    /// P7: a change is done when the members say so, not when its entry was taken.
    pub(super) fn confirm_change(&mut self, applied: u64, effects: &mut Vec<Effect<S>>) {
        let Some((index, change)) = &self.change else {
            return;
        };
        if applied < *index || self.members().is_joint() {
            return;
        }
        let done = change.is_done(self.members());
        self.change = None;
        effects.push(if done {
            Effect::Changed
        } else {
            Effect::ChangeFailed(ChangeRefused::Lost)
        });
    }

    /// P10: nobody sends the entry that says so to who is removed by it. This once, and again when
    /// anything is heard of them.
    fn tell_removed(&mut self, before: &Members, effects: &mut Vec<Effect<S>>) {
        if !self.is_leader() {
            return;
        }
        let gone = before
            .disks
            .keys()
            .filter(|id| self.members().is_retired(**id));
        let own = self.config.id;
        let notices: Vec<PeerMessage> = gone
            .filter(|id| **id != own)
            .map(|id| self.removed_notice(*id))
            .collect();
        effects.extend(notices.into_iter().map(Effect::Send));
    }

    pub(super) fn removed_notice(&self, to: MemberId) -> PeerMessage {
        PeerMessage {
            group: self.config.group,
            body: Body::Removed {
                from: self.config.id,
                to,
                term: self.node.raft.term,
            },
        }
    }
}
