//! Who is primary: elections, and the hand-over to a member by name.

use super::{Assignment, NodeFacts};
use crate::ids::{Epoch, NodeId, Seq};
use crate::rules::Rules;

/// Why a buffer is not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HandOverRefused {
    /// Only who holds what is committed can lead.
    #[error("the node is not in the buffer's in-sync set; wait until it has caught up")]
    NotMember,
    /// It has restarted and not been seen since, or its session has lapsed.
    #[error("the node is down; start it, or choose another")]
    Down,
    /// It began at the tail and has not filled in the rest.
    #[error("the node does not hold all that is kept; wait until it has filled in the rest")]
    NotWhole,
    /// Its clock is too far off.
    #[error("the node's clock is too far off; set it, or choose another node")]
    ClockOff,
    /// It would have to be replaced at once.
    #[error("the node leaves; choose one that stays")]
    Leaves,
}

impl Assignment {
    /// Whether a member can lead: its session lives under the registration by which it is one, and
    /// it holds all that is kept.
    pub fn is_fit(
        &self,
        rules: &Rules,
        node: NodeId,
        facts: impl Fn(NodeId) -> Option<NodeFacts>,
    ) -> bool {
        let Some(member) = self.in_sync.get(&node) else {
            return false;
        };
        let stamped = |facts: NodeFacts| facts.alive && facts.node_epoch == member.node_epoch;
        self.is_whole(rules, node) && facts(node).is_some_and(stamped)
    }

    /// Whether a member holds all that is kept.
    #[must_use]
    pub fn is_whole(&self, rules: &Rules, node: NodeId) -> bool {
        let member = self.in_sync.get(&node);
        let kept = self.kept_from.max(Seq::FIRST);
        member.is_some_and(|member| member.from <= kept || !rules.whole_members_are_appointed)
    }

    /// Appoints a primary when there is none that is alive (rule 6); says whether it did. Only a
    /// member of the in-sync set that holds all that is kept, and whose clock is right, comes into
    /// question.
    pub fn elect(&mut self, rules: &Rules, facts: impl Fn(NodeId) -> Option<NodeFacts>) -> bool {
        let serves = |node: &NodeId| self.is_fit(rules, *node, &facts);
        if self.primary.as_ref().is_some_and(serves) {
            return false;
        }
        let chosen = self.candidate(rules, &facts, |_| true).or_else(|| {
            let alive = |node: &NodeId| facts(*node).is_some_and(|facts| facts.alive);
            let anybody = self
                .copies
                .iter()
                .filter(|_| !rules.only_members_are_appointed);
            anybody.copied().find(alive)
        });
        if chosen.is_none() && self.primary.is_none() {
            return false;
        }
        self.primary = chosen;
        self.version += 1;
        if chosen.is_some() {
            self.epoch = Epoch(self.epoch.0 + 1);
        }
        true
    }

    /// Makes another member primary on somebody's wish; says whether it was not already.
    ///
    /// # Errors
    /// Why it cannot be; nothing has changed then.
    pub fn hand_over(
        &mut self,
        rules: &Rules,
        to: NodeId,
        facts: impl Fn(NodeId) -> Option<NodeFacts>,
    ) -> Result<bool, HandOverRefused> {
        if self.primary == Some(to) {
            return Ok(false);
        }
        if !self.in_sync.contains_key(&to) {
            return Err(HandOverRefused::NotMember);
        }
        if !self.is_whole(rules, to) {
            return Err(HandOverRefused::NotWhole);
        }
        let known = facts(to).filter(|_| self.is_fit(rules, to, &facts));
        let Some(known) = known else {
            return Err(HandOverRefused::Down);
        };
        if known.clock_off {
            return Err(HandOverRefused::ClockOff);
        }
        if known.draining || self.leaving.contains(&to) {
            return Err(HandOverRefused::Leaves);
        }
        self.appoint(to);
        Ok(true)
    }

    /// The member that is to lead. A node that stays comes before one that leaves, then who is
    /// preferred, then the lower number: the same on every node that applies the same command.
    pub(super) fn candidate(
        &self,
        rules: &Rules,
        facts: &impl Fn(NodeId) -> Option<NodeFacts>,
        among: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let right = |node: &NodeId| facts(*node).is_some_and(|facts| !facts.clock_off);
        let fit = |node: &NodeId| among(*node) && self.is_fit(rules, *node, facts) && right(node);
        let rank = |node: NodeId| {
            let draining = facts(node).is_some_and(|facts| facts.draining);
            let leaves = draining || self.leaving.contains(&node);
            let place = self.preferred.iter().position(|other| *other == node);
            (leaves, place.unwrap_or(self.preferred.len()), node)
        };
        let members = self.in_sync.keys().copied();
        members.filter(fit).min_by_key(|node| rank(*node))
    }

    pub(super) fn appoint(&mut self, node: NodeId) {
        self.primary = Some(node);
        self.epoch = Epoch(self.epoch.0 + 1);
        self.version += 1;
    }
}
