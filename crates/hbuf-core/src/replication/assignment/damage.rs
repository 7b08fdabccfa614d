//! Damage that is found while a node runs.

use super::{Assignment, NodeEpoch};
use crate::ids::NodeId;

impl Assignment {
    /// A node has found damage in its copy, under its present registration (rule 9). It is none of
    /// the in-sync set any more, leads no more, and begins anew. The last member stays, for only it
    /// can say what was committed; the buffer is offline until it registers without the damage, or
    /// somebody forces an election. Says whether the record changed. Call [`Self::settle`] behind
    /// it.
    pub fn found_damaged(&mut self, node: NodeId) -> bool {
        if !self.copies.contains(&node) {
            return false;
        }
        let last = self.in_sync.len() == 1;
        match self.in_sync.get_mut(&node) {
            // No registration has this number.
            Some(member) if last => member.node_epoch = NodeEpoch(0),
            _ => {
                self.in_sync.remove(&node);
                self.tenures.insert(node, self.version + 1);
            }
        }
        if self.primary == Some(node) {
            self.primary = None;
        }
        self.version += 1;
        true
    }

    /// Whether the damage is known that was found in a copy of this tenure, or nothing is to be
    /// known of it: it is no copy any more.
    #[must_use]
    pub fn knows_damage(&self, node: NodeId, tenure: u64) -> bool {
        let member = self.in_sync.get(&node);
        let last = member.is_some_and(|member| member.node_epoch == NodeEpoch(0));
        last || self.tenure(node) > tenure || !self.copies.contains(&node)
    }

    /// A copy's tenure, as in [`Self::tenures`]; 0 without an entry.
    #[must_use]
    pub fn tenure(&self, node: NodeId) -> u64 {
        self.tenures.get(&node).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ONE, TWO, of, up};
    use super::*;
    use crate::ids::Epoch;
    use crate::replication::{Disk, NodeFacts};
    use crate::rules::Rules;

    #[test]
    fn a_damaged_primary_is_replaced_and_begins_anew() {
        let (rules, mut it) = (Rules::correct(), of(&[ONE, TWO], 1));
        assert!(it.found_damaged(ONE));
        it.settle(&rules, up);
        assert_eq!((it.primary, it.epoch), (Some(TWO), Epoch(2)));
        assert_eq!((it.in_sync.len(), it.copies.len()), (1, 2));
        assert_eq!((it.tenure(ONE), it.tenure(TWO)), (2, 0));
        assert_eq!(it.broken(), None);
        // A second time, before it is back.
        assert!(it.found_damaged(ONE));
        assert_eq!(it.tenure(ONE), it.version);
        it.registered(&rules, ONE, NodeEpoch(7), Disk::Same);
        assert_eq!(it.tenure(ONE), 0, "its words name that registration");
        assert!(!it.found_damaged(NodeId(9)), "it has no copy");
    }

    #[test]
    fn the_last_member_stays_and_leads_again_when_it_registers_without_the_damage() {
        let (rules, mut it) = (Rules::correct(), of(&[ONE], 1));
        assert!(it.found_damaged(ONE));
        it.settle(&rules, up);
        assert_eq!((it.primary, it.in_sync.len()), (None, 1));
        it.registered(&rules, ONE, NodeEpoch(7), Disk::Damaged);
        it.settle(&rules, up);
        assert_eq!(it.primary, None);
        let back = |node| {
            up(node).map(|facts| NodeFacts {
                node_epoch: NodeEpoch(8),
                ..facts
            })
        };
        it.registered(&rules, ONE, NodeEpoch(8), Disk::Same);
        it.settle(&rules, back);
        assert_eq!((it.primary, it.epoch), (Some(ONE), Epoch(2)));
    }
}
