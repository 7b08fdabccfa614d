//! The replication rule: what is committed, given how far each in-sync copy's disk has come.
//!
//! On one node the in-sync set is {self}; the rule is the same for any number of copies.

use alloc::collections::BTreeMap;

use crate::ids::{NodeId, Seq};

/// The in-sync set with each member's highest durable seq.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InSync {
    durable: BTreeMap<NodeId, Seq>,
}

impl InSync {
    /// A set with one member, the primary, durable through `durable`.
    #[must_use]
    pub fn solo(node: NodeId, durable: Seq) -> Self {
        Self::of([(node, durable)])
    }

    /// A set of members, each with its durable seq.
    #[must_use]
    pub fn of(members: impl IntoIterator<Item = (NodeId, Seq)>) -> Self {
        Self {
            durable: members.into_iter().collect(),
        }
    }

    /// Notes that a member's disk holds everything through `through`; it never goes back.
    pub fn acked(&mut self, node: NodeId, through: Seq) {
        if let Some(durable) = self.durable.get_mut(&node) {
            *durable = through.max(*durable);
        }
    }

    /// A member's durable seq.
    #[must_use]
    pub fn durable(&self, node: NodeId) -> Seq {
        self.durable.get(&node).copied().unwrap_or_default()
    }

    /// The highest seq that every member holds durably.
    #[must_use]
    pub fn on_all(&self) -> Seq {
        self.durable.values().min().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_is_the_lowest_durable_seq_of_the_set() {
        assert_eq!(InSync::solo(NodeId(1), Seq(5)).on_all(), Seq(5));
        let mut set = InSync::of([(NodeId(1), Seq(5)), (NodeId(2), Seq(3))]);
        assert_eq!(set.on_all(), Seq(3));
        set.acked(NodeId(2), Seq(9));
        assert_eq!(set.on_all(), Seq(5));
    }

    #[test]
    fn an_ack_never_goes_back_and_strangers_are_ignored() {
        let mut set = InSync::solo(NodeId(1), Seq(5));
        set.acked(NodeId(1), Seq(4));
        set.acked(NodeId(7), Seq(9));
        assert_eq!(set.on_all(), Seq(5));
        assert_eq!(set.durable(NodeId(7)), Seq::ZERO);
    }
}
