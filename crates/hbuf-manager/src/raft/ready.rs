//! From what the library has ready to effects, in the one safe order (P3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use ::raft::eraftpb::{Entry, EntryType, Message};
use ::raft::{Ready, StateRole};

use super::effect::{Committed, Effect, Role};
use super::entry::{Vote, change_of, epoch};
use super::group::Group;
use super::log_file::{Base, Persist};
use super::members::MemberId;
use super::message::{Body, PeerMessage, is_sent, split_snapshot};
use crate::state::State;

/// A ready that is not known to be durable, with the messages that wait for it.
#[derive(Clone, Debug)]
pub(super) struct Pending<S> {
    pub(super) number: u64,
    /// Whether there is anything to make durable.
    pub(super) writes: bool,
    messages: Vec<Message>,
    /// The snapshot in it, whose state may be used once it is durable.
    install: Option<(u64, Box<S>)>,
}

impl<S: State> Group<S> {
    /// Takes out of the library whatever it has, until there is nothing more.
    pub(super) fn drain(&mut self, effects: &mut Vec<Effect<S>>) {
        loop {
            if self.node.has_ready() {
                self.take_ready(effects);
            } else if !self.complete_one(effects) {
                break;
            }
        }
        if self.installing.is_none() {
            self.reads.answer(self.applied(), effects);
        }
    }

    fn take_ready(&mut self, effects: &mut Vec<Effect<S>>) {
        let mut ready = self.call(|node| node.ready());
        // P3 (a): a leader's appends go out while its own disk still writes them.
        for message in ready.take_messages() {
            self.send(message, effects);
        }
        for read in ready.take_read_states() {
            self.reads.prove(&read.request_ctx, read.index);
        }
        let number = ready.number();
        let messages = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        // P3 (b): readable from the storage before the library goes on.
        let writes = self.store(&mut ready, effects);
        let install = self.take_state(&ready);
        self.call(|node| node.advance_append_async(ready));
        self.pending.push_back(Pending {
            number,
            writes,
            messages,
            install,
        });
        self.number = number;
        self.report_role(effects);
        self.hand_out(&committed, effects);
    }

    /// Puts what is ready into the storage and asks for it to be made durable. Whether there was
    /// anything.
    fn store(&mut self, ready: &mut Ready, effects: &mut Vec<Effect<S>>) -> bool {
        let entries = ready.take_entries();
        let mut installed = None;
        let snapshot = ready.snapshot();
        if !snapshot.is_empty() {
            let meta = snapshot.get_metadata();
            let (members, state) =
                split_snapshot(&snapshot.data).expect("it was read when it came");
            let base = Base {
                index: meta.index,
                term: meta.term,
                members: members.clone(),
            };
            // P5: before the entries of the same ready, and all of it at once.
            self.node
                .mut_store()
                .install(meta.index, meta.term, members);
            self.changes.clear();
            self.installing = Some(meta.index);
            self.handed_out = meta.index;
            installed = Some((base, state.to_vec()));
        }
        let mirror = self.node.mut_store();
        if let Some(hard) = ready.hs() {
            mirror.hard = hard.clone();
        }
        mirror.append(&entries);
        let vote = vote_of(mirror.hard.term, mirror.hard.vote, mirror.hard.commit);
        // P4: a commit that moved alone needs no sync; it goes along with the next entries.
        let voted = (vote.term, vote.vote) != (self.vote.term, self.vote.vote);
        let writes = voted || installed.is_some() || !entries.is_empty();
        self.vote = vote;
        if !writes {
            return false;
        }
        effects.push(Effect::Persist(Persist {
            number: ready.number(),
            vote,
            members: None,
            snapshot: installed,
            entries,
        }));
        true
    }

    fn take_state(&mut self, ready: &Ready) -> Option<(u64, Box<S>)> {
        let index = ready.snapshot().get_metadata().index;
        let known = self.incoming.take_if(|_| index > 0);
        let state = known.filter(|state| state.applied() == index);
        assert!(
            state.is_some() || index == 0,
            "the state was read when the snapshot came"
        );
        state.map(|state| (index, Box::new(state)))
    }

    /// Finishes the oldest ready if it is durable. Whether it was.
    fn complete_one(&mut self, effects: &mut Vec<Effect<S>>) -> bool {
        let done = |first: &Pending<S>| !first.writes || first.number <= self.persisted;
        let Some(first) = self.pending.pop_front_if(|first| done(first)) else {
            return false;
        };
        self.call(|node| node.on_persist_ready(first.number));
        // P3 (c): votes and acks, now that what they promise cannot be lost.
        for message in first.messages {
            self.send(message, effects);
        }
        if let Some((index, state)) = first.install {
            effects.push(Effect::Install { index, state });
            effects.push(Effect::Members(self.members().clone()));
        }
        true
    }

    fn send(&mut self, message: Message, effects: &mut Vec<Effect<S>>) {
        // P13: whatever would only forward a wish to the leader does not travel.
        if !is_sent(&message) {
            return;
        }
        let message = PeerMessage {
            group: self.config.group,
            body: Body::Raft(Box::new(message)),
        };
        if message.snapshot_index().is_none() {
            effects.push(Effect::Send(message));
            return;
        }
        self.sending.insert(message.to(), 0);
        effects.push(Effect::SendSnapshot(message));
    }

    fn hand_out(&mut self, committed: &[Entry], effects: &mut Vec<Effect<S>>) {
        let Some(last) = committed.last() else {
            return;
        };
        self.handed_out = last.index;
        for entry in committed {
            if let Some(change) = change_of(entry) {
                self.changes.push_back((entry.index, change));
            }
        }
        let entries = committed.iter().map(|entry| {
            let is_command =
                entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty();
            Committed {
                index: entry.index,
                term: entry.term,
                command: is_command.then(|| entry.data.to_vec()),
            }
        });
        effects.push(Effect::Apply(entries.collect()));
    }

    fn report_role(&mut self, effects: &mut Vec<Effect<S>>) {
        let raft = &self.node.raft;
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower => Role::Follower,
        };
        let leader = Some(MemberId(raft.leader_id)).filter(|id| id.0 != 0);
        let now = (role, raft.term, leader);
        if now == self.role {
            return;
        }
        let before = core::mem::replace(&mut self.role, now);
        if before.0 == Role::Leader && (role != Role::Leader || before.1 != now.1) {
            self.stop_leading(effects);
        }
        effects.push(Effect::Role {
            role,
            term: now.1,
            leader,
        });
    }
}

pub(super) fn vote_of(term: u64, vote: u64, commit: u64) -> Vote {
    Vote {
        term: epoch(term),
        vote: Some(MemberId(vote)).filter(|id| id.0 != 0),
        commit,
    }
}
