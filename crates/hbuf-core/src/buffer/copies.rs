//! The buffer's copies: what they say, what they are told, and what the manager has decided.

use alloc::sync::Arc;

use super::Buffer;
use crate::append::AppendRefused;
use crate::effect::{Effect, Effects};
use crate::ids::{Epoch, Micros, NodeId, Seq};
use crate::input::Token;
use crate::replication::{Assignment, Base, Follower, FromCopy, Leader, NodeEpoch, Wish};
use crate::rules::Rules;
use crate::segment::LogKind;

impl Buffer {
    /// Both logs and their copies.
    #[must_use]
    pub const fn leader(&self) -> &Leader {
        &self.leader
    }

    /// This node's registration.
    #[must_use]
    pub const fn node_epoch(&self) -> NodeEpoch {
        self.node_epoch
    }

    /// A newer decision of the manager, in which this node is still the primary of this epoch.
    pub(crate) fn on_decided(
        &mut self,
        rules: &Rules,
        assignment: &Arc<Assignment>,
        out: &mut Effects,
    ) {
        self.leader.on_decided(assignment);
        self.advance_both(rules, out);
    }

    /// What a copy says of one of the logs.
    pub(crate) fn on_copy_answer(
        &mut self,
        rules: &Rules,
        now: Micros,
        log: LogKind,
        (from, answer): (NodeId, FromCopy),
        out: &mut Effects,
    ) {
        self.leader.on_answer(now, log, from, answer);
        self.advance_both(rules, out);
    }

    fn advance_both(&mut self, rules: &Rules, out: &mut Effects) {
        self.advance(rules, out);
        self.advance_cursors(rules, out);
        self.settle_state(out);
        for token in self.leader.tails(rules) {
            let commit = Some(self.commit);
            out.push(Effect::Tail { token, commit });
        }
    }

    /// The connection to a copy has room.
    pub(crate) fn on_pull(&mut self, now: Micros, to: NodeId, log: LogKind, out: &mut Effects) {
        let base = match log {
            LogKind::Cursors => self.cursors_base(),
            _ => self.messages_base(),
        };
        if let Some(message) = self.leader.pull(now, to, log, base) {
            self.wish(Wish::ToCopy { log, to, message }, out);
        }
    }

    /// There is room and time for old records to a copy. Those of the segment that holds the one
    /// before its first come next.
    pub(crate) fn on_pull_fill(
        &mut self,
        now: Micros,
        to: NodeId,
        records: u64,
        out: &mut Effects,
    ) {
        let Some(from) = self.leader.begins_late(to) else {
            return;
        };
        let before = self.segments.iter().rev().find(|it| it.first < from);
        let message = before.and_then(|it| self.leader.pull_fill(now, to, (it.first, records)));
        if let Some(message) = message {
            let log = LogKind::Messages;
            self.wish(Wish::ToCopy { log, to, message }, out);
        }
    }

    /// Where a copy begins that lacks so much that it would drag old segments through the cache:
    /// behind the newest mark, which has the tables of the log before.
    fn messages_base(&self) -> Option<Base> {
        let at = self.written_mark?;
        let before_last = self.segments.len().checked_sub(2);
        let recent = before_last.map_or(Seq::FIRST, |index| self.segments[index].first);
        Some(Base {
            at,
            behind: recent.max(self.first).prev(),
            members: false,
        })
    }

    /// The last file of the cursors log says all that those before it said: whoever lacks its
    /// beginning needs nothing of them.
    fn cursors_base(&self) -> Option<Base> {
        let at = self.cursors.file().prev();
        (at > Seq::ZERO).then_some(Base {
            at,
            behind: at,
            members: true,
        })
    }

    /// The connection to a copy was lost.
    pub(crate) fn on_silence(&mut self, node: NodeId) {
        self.leader.on_silence(node);
    }

    /// A mark was written that covers the log through `through`.
    pub(crate) fn on_marked(&mut self, through: Seq) {
        self.written_mark = self.written_mark.max(Some(through));
        self.leader.primary(LogKind::Messages).on_marked(through);
    }

    /// When [`Self::on_copies_due`] has something to do next.
    pub(crate) fn copies_due(&self) -> Option<Micros> {
        self.leader.due()
    }

    pub(crate) fn on_clock_back(&mut self, now: Micros) {
        self.leader.on_clock_back(now);
    }

    /// Copies may have been silent, or behind, for too long.
    pub(crate) fn on_copies_due(&mut self, rules: &Rules, now: Micros, out: &mut Effects) {
        if let Some(alter) = self.leader.on_time(rules, now) {
            self.wish(Wish::Ask(alter), out);
        }
    }

    /// Somebody wants to know where the log ends, whoever else may have been appointed (rule 11).
    pub(crate) fn on_read_tail(&mut self, rules: &Rules, token: Token, out: &mut Effects) {
        if !self.leader.read_tail(token) {
            let commit = None;
            out.push(Effect::Tail { token, commit });
        }
        self.advance_both(rules, out);
    }

    /// Who joins later holds what is left, and can lead only when the manager knows that this is
    /// all there is.
    pub(crate) fn tell_kept(&self, out: &mut Effects) {
        let assignment = self.leader.assignment();
        if assignment.copies.len() > 1 && self.first > assignment.kept_from {
            self.wish(Wish::TellKept(self.epoch, self.first), out);
        }
    }

    /// Says for whom there is something to tell, unless it was said.
    pub(crate) fn tell(&mut self, out: &mut Effects) {
        for (to, log) in self.leader.news() {
            self.wish(Wish::News { log, to }, out);
        }
        for to in self.leader.fills() {
            self.wish(Wish::Fill { to }, out);
        }
    }

    fn wish(&self, wish: Wish, out: &mut Effects) {
        let buffer = self.buffer;
        out.push(Effect::Replication { buffer, wish });
    }

    /// Another primary was appointed: this node is a copy from now on. What was appended and is not
    /// committed may still be, by whoever comes next.
    pub(crate) fn step_down(&mut self, epoch: Epoch, out: &mut Effects) -> Follower {
        for token in self.leader.give_up_reads() {
            let commit = None;
            out.push(Effect::Tail { token, commit });
        }
        self.refuse_waiting(&AppendRefused::PrimaryChanged, out);
        let log = |log| self.leader.log(log).clone();
        let epoch = epoch.max(self.epoch);
        let tenure = self.leader.assignment().tenure(self.leader.node());
        Follower::open(
            self.node_epoch,
            (epoch, tenure),
            log(LogKind::Messages),
            log(LogKind::Cursors),
        )
    }
}
