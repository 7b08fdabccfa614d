//! The forced election: somebody accepts that committed messages are lost, and a new history
//! begins.

use super::{Assignment, Member, NodeFacts};
use crate::ids::{Epoch, Hash, NodeId, Seq, Uuid};
use crate::limits::HISTORIES_MAX;
use crate::replication::message::HistoryEnd;
use crate::rules::Rules;

/// How a log was at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checkpoint {
    /// Its last seq.
    pub size: Seq,
    /// The root of its tree over everything up to there.
    pub root: Hash,
}

/// A history that has ended. A reader that knows it is told what the next one has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ended {
    /// Its id.
    pub history: Uuid,
    /// The last epoch in it.
    pub epoch: Epoch,
    /// The newest checkpoint that is known of it. A copy whose tree says otherwise has forked.
    pub last: Option<Checkpoint>,
    /// The first seq that the next history has of it.
    pub kept_from: Seq,
    /// The last seq that the next history surely has of it; what it held behind this is lost.
    pub kept_through: Seq,
    /// How many older histories were folded into this entry, for there are too many.
    pub folded: u32,
}

/// Somebody's decision to go on with one copy, whatever is lost by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Force {
    /// The node whose copy it is.
    pub node: NodeId,
    /// Its registration, and the first seq that it holds: what is kept below it is lost.
    pub member: Member,
    /// The last seq that it knows as committed in the history that ends
    /// ([`Assignment::known_in_history`]): what was committed behind it is lost. It may hold
    /// more, of which nobody knows any more whether it is what was committed there; it stays, and
    /// is of the new history.
    pub through: Seq,
    /// The id of the history that begins.
    pub history: Uuid,
    /// The newest checkpoint that is known of the history that ends.
    pub last: Option<Checkpoint>,
    /// Go on with it although a member holds everything.
    pub although_fit: bool,
}

/// Why an election is not forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ForceRefused {
    /// Another node's disk may hold part of the log; this one's does not.
    #[error("the node is no copy of the buffer; name one that is")]
    NoCopy,
    /// It has restarted since it said what it holds, or its session has lapsed.
    #[error("the node is down, or has restarted since it was looked at; look at it again")]
    Node,
    /// Writes are fenced by the members of the in-sync set, and the node need not be one.
    #[error(
        "node {} is primary and its session lives: what it acknowledges meanwhile would be lost; stop it first",
        .0.0
    )]
    PrimaryLives(NodeId),
    /// Nothing need be lost.
    #[error("node {} holds everything that is committed; hand over to it, or say `although-fit`", .0.0)]
    Fit(NodeId),
    /// An id of a history is used once.
    #[error("the buffer had this history before; take a new id")]
    History,
    /// What is said of the copy contradicts itself.
    #[error("the copy is said to end before it begins; look at it again")]
    Range,
}

impl Ended {
    /// What copies are told of it.
    #[must_use]
    pub const fn end(&self) -> HistoryEnd {
        HistoryEnd {
            epoch: self.epoch,
            kept_through: self.kept_through,
        }
    }

    /// Two entries in one: what is known of the newer one, and how many it stands for.
    const fn fold(self, newer: Self) -> Self {
        Self {
            folded: self.folded + newer.folded + 1,
            ..newer
        }
    }
}

impl Assignment {
    /// Makes one copy the whole in-sync set and primary of the next epoch, in a new history. The
    /// others cut their logs back to its log, or are sent it.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub fn force(
        &mut self,
        rules: &Rules,
        force: &Force,
        facts: impl Fn(NodeId) -> Option<NodeFacts>,
    ) -> Result<(), ForceRefused> {
        let (node, from) = (force.node, force.member.from);
        if !self.copies.contains(&node) {
            return Err(ForceRefused::NoCopy);
        }
        // Nothing that it begins with is unknown; a log without messages begins behind its end.
        if force.through > Seq::MAX || !(Seq::FIRST..=force.through.next()).contains(&from) {
            return Err(ForceRefused::Range);
        }
        if self.history == force.history || self.ended.iter().any(|it| it.history == force.history)
        {
            return Err(ForceRefused::History);
        }
        let same = |facts: NodeFacts| facts.alive && facts.node_epoch == force.member.node_epoch;
        if !facts(node).is_some_and(same) {
            return Err(ForceRefused::Node);
        }
        let lives = |other: &NodeId| {
            let alive = facts(*other).is_some_and(|facts| facts.alive);
            alive && *other != node && rules.forced_waits_for_primary
        };
        if let Some(primary) = self.primary.filter(lives) {
            return Err(ForceRefused::PrimaryLives(primary));
        }
        let mut members = self.in_sync.keys().copied();
        let fit = members.find(|member| self.is_fit(rules, *member, &facts));
        if let Some(fit) = fit.filter(|_| !force.although_fit) {
            return Err(ForceRefused::Fit(fit));
        }
        self.end_history(force);
        self.in_sync = [(node, force.member)].into();
        // Somebody has looked at it; its tenure stays, for words of before may still be under way.
        // Also when retention had left less: the new history keeps what this log holds.
        self.kept_from = from;
        self.appoint(node);
        Ok(())
    }

    /// How much of what a copy knows as committed through `commit` the present history has, when
    /// the record there is of this epoch. A copy may be of a history that ended long ago: what was
    /// committed since is not what it holds.
    #[must_use]
    pub fn known_in_history(&self, commit: Seq, epoch: Epoch) -> Seq {
        HistoryEnd::kept_of(self.ended.iter().map(Ended::end), commit, epoch)
    }

    fn end_history(&mut self, force: &Force) {
        self.ended.push(Ended {
            history: self.history,
            epoch: self.epoch,
            last: force.last,
            kept_from: force.member.from,
            kept_through: force.through,
            folded: 0,
        });
        self.history = force.history;
        if self.ended.len() > HISTORIES_MAX {
            let oldest = self.ended.remove(0);
            self.ended[0] = oldest.fold(self.ended[0]);
        }
    }
}
