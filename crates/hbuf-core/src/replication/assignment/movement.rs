//! A buffer moves to other nodes, by steps that follow from its record alone.
//!
//! ```text
//!  copies 1 2 3      4 catches up, 1 goes    5 …, 2 goes     6 …, 3 hands over, then goes
//!  in sync 1 2 3 ──▶ in sync 2 3 4 ────────▶ in sync 3 4 5 ─────────────────▶ in sync 4 5 6
//! ```
//! Nobody goes before as many members as the move began with, and as a commit needs, hold
//! everything without him. Where a move stands is in the record, so it survives every stop, and
//! other wishes end it at any time.

use alloc::collections::BTreeSet;

use super::{Assignment, NodeFacts};
use crate::ids::NodeId;
use crate::limits::COPIES_MAX;
use crate::rules::Rules;

/// Why a buffer is not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MoveRefused {
    /// No node, too many, or fewer than a commit needs.
    #[error("{got} nodes are named; name {least} to {COPIES_MAX}")]
    Count {
        /// Different nodes that are named.
        got: usize,
        /// The members that a commit needs.
        least: usize,
    },
    /// A node stands twice in the list.
    #[error("node {} is named twice; name it once", .0.0)]
    Twice(NodeId),
    /// A node that is not registered.
    #[error("node {} is not registered; start it first", .0.0)]
    Unknown(NodeId),
    /// A node that leaves gets nothing new.
    #[error("node {} leaves; choose one that stays", .0.0)]
    Leaves(NodeId),
    /// Too many moves were begun and not ended.
    #[error("too many nodes are on their way in or out; wait, or name the nodes of before")]
    Unfinished,
}

impl Assignment {
    /// Sets where the buffer is to be, in the order in which its nodes are to be made primary. New
    /// nodes are copies at once; the others leave by [`Self::progress`]. The nodes of before, named
    /// again, take a move back. Says whether anything changed.
    ///
    /// # Errors
    /// Why it cannot be; nothing has changed then.
    pub fn set_copies(
        &mut self,
        rules: &Rules,
        wanted: &[NodeId],
        facts: impl Fn(NodeId) -> Option<NodeFacts>,
    ) -> Result<bool, MoveRefused> {
        let nodes: BTreeSet<NodeId> = wanted.iter().copied().collect();
        let (got, least) = (nodes.len(), self.min_in_sync.max(1));
        let twice = |at: &usize| wanted[..*at].contains(&wanted[*at]);
        if let Some(at) = (0..wanted.len()).find(twice) {
            return Err(MoveRefused::Twice(wanted[at]));
        }
        if !(least..=COPIES_MAX).contains(&got) {
            return Err(MoveRefused::Count { got, least });
        }
        for node in nodes.difference(&self.copies).copied() {
            match facts(node) {
                None => return Err(MoveRefused::Unknown(node)),
                Some(facts) if facts.draining => return Err(MoveRefused::Leaves(node)),
                Some(_) => {}
            }
        }
        let copies: BTreeSet<NodeId> = nodes.union(&self.copies).copied().collect();
        // Everybody who is on the way may hold what nobody else does: nobody is forgotten.
        if copies.len() > 2 * COPIES_MAX && copies.len() > self.copies.len() {
            return Err(MoveRefused::Unfinished);
        }
        let leaving: BTreeSet<NodeId> = copies.difference(&nodes).copied().collect();
        if copies == self.copies && leaving == self.leaving && wanted == self.preferred {
            return Ok(false);
        }
        let whole = self.in_sync.keys();
        let whole = whole.filter(|node| self.is_whole(rules, **node)).count();
        self.whole_min = match leaving.is_empty() {
            true => 0,
            false => whole.max(self.whole_min).max(least).min(got),
        };
        self.version += 1;
        for node in copies.difference(&self.copies).copied() {
            if rules.added_begin_a_tenure {
                self.tenures.insert(node, self.version);
            }
        }
        (self.copies, self.leaving, self.preferred) = (copies, leaving, wanted.into());
        Ok(true)
    }

    /// One step of a move, if it can be taken now; says whether it was. A primary that leaves is
    /// replaced by a member that stays, in the next epoch, when all others that leave are gone.
    pub fn progress(&mut self, rules: &Rules, facts: impl Fn(NodeId) -> Option<NodeFacts>) -> bool {
        let fit = |node: &NodeId| self.is_fit(rules, *node, &facts);
        let goes = |node: &NodeId| self.can_spare(rules, *node, &facts);
        // Who is of no use goes before who is: a member that is down holds up every commit.
        let rank = |node: &NodeId| (self.in_sync.contains_key(node), fit(node), *node);
        let others = self.leaving.iter().copied();
        let others = others.filter(|node| self.primary != Some(*node));
        if let Some(node) = others.filter(goes).min_by_key(rank) {
            self.copies.remove(&node);
            self.leaving.remove(&node);
            self.in_sync.remove(&node);
            self.tenures.remove(&node);
            if self.leaving.is_empty() {
                self.whole_min = 0;
            }
            self.version += 1;
            return true;
        }
        let primary = self.primary.filter(|node| self.leaving.contains(node));
        if !primary.as_ref().is_some_and(goes) {
            return false;
        }
        let stays = |node: NodeId| !self.leaving.contains(&node);
        match self.candidate(rules, &facts, stays) {
            Some(next) => self.appoint(next),
            None => return false,
        }
        true
    }

    /// What follows from the record and from what is known of the nodes: a primary when there is
    /// none, and every step that a move can take. To be called behind every change of either;
    /// says whether the record changed.
    pub fn settle(&mut self, rules: &Rules, facts: impl Fn(NodeId) -> Option<NodeFacts>) -> bool {
        let mut changed = self.elect(rules, &facts);
        // Each step takes away one that leaves, or replaces the primary, which happens once.
        while self.progress(rules, &facts) {
            changed = true;
        }
        changed
    }

    /// Whether the buffer is as safe without a node as its move may make it.
    fn can_spare(
        &self,
        rules: &Rules,
        node: NodeId,
        facts: &impl Fn(NodeId) -> Option<NodeFacts>,
    ) -> bool {
        let rest = self.in_sync.keys().filter(|member| **member != node);
        let whole = rest.clone().filter(|it| self.is_fit(rules, **it, facts));
        let enough = whole.count() >= self.whole_min.max(1) || !rules.moves_wait_for_whole;
        let members = rest.count();
        enough && members >= self.min_in_sync.max(1)
    }
}
