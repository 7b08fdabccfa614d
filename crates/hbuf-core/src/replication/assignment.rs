//! What the manager holds of a buffer, and how it decides: who is in the in-sync set, who is
//! primary, in which epoch.
//!
//! Every change is a command that names what it was made for: (epoch, version). One that comes late
//! finds another version and is refused, so that no answer of the manager is acted on twice.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::ids::{Epoch, NodeId, Seq, Uuid};
use crate::rules::Rules;

/// The number of a node's registration; a node takes a new one at every start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeEpoch(pub u64);

/// A member of the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The registration under which it is a member.
    pub node_epoch: NodeEpoch,
    /// The first seq that it holds: a copy that began at the tail lacks what is before.
    pub from: Seq,
}

/// What the manager knows of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeFacts {
    /// Its registration.
    pub node_epoch: NodeEpoch,
    /// Its session has not lapsed.
    pub alive: bool,
    /// It is about to leave: nothing new is put there.
    pub draining: bool,
}

/// The manager's record of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assignment {
    /// Changes only when committed data may have been lost.
    pub history: Uuid,
    /// The number of the last appointment of a primary.
    pub epoch: Epoch,
    /// Rises with every change of this record.
    pub version: u64,
    /// Who is primary in `epoch`; nobody while no member can be.
    pub primary: Option<NodeId>,
    /// Where the buffer is to be, the primary included.
    pub copies: BTreeSet<NodeId>,
    /// Who must hold a message before it is committed.
    pub in_sync: BTreeMap<NodeId, Member>,
    /// Fewer members than this commit nothing.
    pub min_in_sync: usize,
    /// The first seq that retention has left, as the manager was told last.
    pub kept_from: Seq,
}

/// A change of the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A copy has caught up.
    Add(NodeId, Member),
    /// A member is too slow, or gone.
    Remove(NodeId),
    /// The primary takes back what it asked for.
    Nothing,
}

/// A primary asks the manager to change the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alter {
    /// The primary.
    pub by: NodeId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The version that it goes by.
    pub version: u64,
    /// What is to change.
    pub change: Change,
}

/// Why a change is refused. What is refused stays asked for until the version changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AlterRefused {
    /// It was made for an older epoch or version, or by who is not primary.
    #[error("the buffer has changed meanwhile")]
    Stale,
    /// The node is no copy of the buffer.
    #[error("the node is no copy of the buffer")]
    NoCopy,
    /// A set without members could never go on.
    #[error("it is the last member of the in-sync set")]
    LastMember,
    /// The node has restarted since it caught up, is down or leaves.
    #[error("the node is not the one that caught up, is down, or leaves")]
    Node,
}

/// How a node comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disk {
    /// With the disk that it had, and the buffer whole on it.
    Same,
    /// With another disk, or with damage in this buffer.
    Lost,
}

impl Assignment {
    /// A change that its primary asks for (PROTOCOL rules 4 and 5).
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub fn alter(
        &mut self,
        rules: &Rules,
        alter: &Alter,
        facts: impl Fn(NodeId) -> Option<NodeFacts>,
    ) -> Result<(), AlterRefused> {
        let current = self.primary == Some(alter.by) && alter.epoch == self.epoch;
        if !current || (alter.version != self.version && rules.changes_name_their_version) {
            return Err(AlterRefused::Stale);
        }
        match alter.change {
            Change::Remove(node) => {
                if self.in_sync.len() == 1 && self.in_sync.contains_key(&node) {
                    return Err(AlterRefused::LastMember);
                }
                self.in_sync.remove(&node);
            }
            Change::Add(node, member) => {
                if !self.copies.contains(&node) {
                    return Err(AlterRefused::NoCopy);
                }
                let same = |facts: &NodeFacts| {
                    !rules.members_are_stamped || facts.node_epoch == member.node_epoch
                };
                let fit = |facts: &NodeFacts| facts.alive && !facts.draining && same(facts);
                if !facts(node).as_ref().is_some_and(fit) {
                    return Err(AlterRefused::Node);
                }
                self.in_sync.insert(node, member);
            }
            Change::Nothing => {}
        }
        self.version += 1;
        Ok(())
    }

    /// A node has registered anew (rule 9). Its membership goes on under its new number when its
    /// disk is the one that it had; a member that lost it is removed, or, as the last one, keeps
    /// the buffer offline, for only it can say what was committed. Call [`Self::elect`] behind it.
    pub fn registered(&mut self, rules: &Rules, node: NodeId, now: NodeEpoch, disk: Disk) {
        let last = self.in_sync.len() == 1;
        let Some(member) = self.in_sync.get_mut(&node) else {
            return;
        };
        match disk {
            Disk::Same => member.node_epoch = now,
            Disk::Lost if !rules.members_are_stamped => member.node_epoch = now,
            Disk::Lost if last => {}
            Disk::Lost => {
                self.in_sync.remove(&node);
            }
        }
        // Its log may have lost a tail that copies hold: as primary it needs another epoch.
        if self.primary == Some(node) && rules.restart_takes_a_new_epoch {
            self.primary = None;
        }
        self.version += 1;
    }

    /// Appoints a primary when there is none that is alive (rule 6); says whether it did. Only a
    /// member of the in-sync set that holds all that is kept comes into question.
    pub fn elect(&mut self, rules: &Rules, facts: impl Fn(NodeId) -> Option<NodeFacts>) -> bool {
        let fit = |node: NodeId, member: &Member| {
            let stamped = |facts: &NodeFacts| facts.alive && facts.node_epoch == member.node_epoch;
            member.from <= self.kept_from.max(Seq::FIRST)
                && facts(node).as_ref().is_some_and(stamped)
        };
        let primary = self.primary.filter(|node| {
            let member = self.in_sync.get(node);
            member.is_some_and(|member| fit(*node, member))
        });
        if primary.is_some() {
            return false;
        }
        let members = self.in_sync.iter();
        let mut fit: BTreeSet<(bool, NodeId)> = members
            .filter(|(node, member)| fit(**node, member))
            .map(|(node, _)| (facts(*node).is_some_and(|facts| facts.draining), *node))
            .collect();
        // A node that stays comes before one that leaves.
        let chosen = fit.pop_first().map(|(_, node)| node).or_else(|| {
            let alive = |node: &&NodeId| facts(**node).is_some_and(|facts| facts.alive);
            let anybody = self
                .copies
                .iter()
                .filter(|_| !rules.only_members_are_appointed);
            anybody.copied().find(|node| alive(&node))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    fn member(node_epoch: u64) -> Member {
        Member {
            node_epoch: NodeEpoch(node_epoch),
            from: Seq::FIRST,
        }
    }

    fn assignment() -> Assignment {
        Assignment {
            history: Uuid([1; 16]),
            epoch: Epoch(1),
            version: 1,
            primary: Some(ONE),
            copies: BTreeSet::from([ONE, TWO, NodeId(3)]),
            in_sync: BTreeMap::from([(ONE, member(1)), (TWO, member(2))]),
            min_in_sync: 2,
            kept_from: Seq::FIRST,
        }
    }

    fn up(node: NodeId) -> Option<NodeFacts> {
        Some(NodeFacts {
            node_epoch: NodeEpoch(u64::from(node.0)),
            alive: true,
            draining: false,
        })
    }

    fn alter(version: u64, change: Change) -> Alter {
        Alter {
            by: ONE,
            epoch: Epoch(1),
            version,
            change,
        }
    }

    #[test]
    fn a_change_counts_once_and_only_for_its_version() {
        let (rules, mut it) = (Rules::correct(), assignment());
        let shrink = alter(1, Change::Remove(TWO));
        assert_eq!(it.alter(&rules, &shrink, up), Ok(()));
        assert_eq!(it.alter(&rules, &shrink, up), Err(AlterRefused::Stale));
        let last = alter(2, Change::Remove(ONE));
        assert_eq!(it.alter(&rules, &last, up), Err(AlterRefused::LastMember));
        let other = Alter { by: TWO, ..last };
        assert_eq!(it.alter(&rules, &other, up), Err(AlterRefused::Stale));
    }

    #[test]
    fn only_a_copy_that_is_still_the_one_that_caught_up_joins() {
        let (rules, mut it) = (Rules::correct(), assignment());
        let add = |node, node_epoch| alter(1, Change::Add(NodeId(node), member(node_epoch)));
        let refused = it.alter(&rules, &add(4, 4), up);
        assert_eq!(refused, Err(AlterRefused::NoCopy));
        let refused = it.alter(&rules, &add(3, 2), up);
        assert_eq!(refused, Err(AlterRefused::Node), "it has restarted");
        let down = |node| {
            up(node).map(|facts| NodeFacts {
                alive: node != NodeId(3),
                ..facts
            })
        };
        let refused = it.alter(&rules, &add(3, 3), down);
        assert_eq!(refused, Err(AlterRefused::Node), "it is down");
        assert_eq!(it.alter(&rules, &add(3, 3), up), Ok(()));
        assert_eq!(it.in_sync.len(), 3);
    }

    #[test]
    fn a_primary_that_restarts_gets_another_epoch() {
        let (rules, mut it) = (Rules::correct(), assignment());
        it.registered(&rules, ONE, NodeEpoch(9), Disk::Same);
        let again = |node: NodeId| {
            up(node).map(|facts| NodeFacts {
                node_epoch: if node == ONE {
                    NodeEpoch(9)
                } else {
                    facts.node_epoch
                },
                ..facts
            })
        };
        assert!(it.elect(&rules, again));
        assert_eq!((it.primary, it.epoch), (Some(ONE), Epoch(2)));
        assert!(!it.elect(&rules, again), "it is alive");
    }

    #[test]
    fn a_member_that_lost_its_disk_goes_and_the_last_one_keeps_the_buffer_offline() {
        let (rules, mut it) = (Rules::correct(), assignment());
        it.registered(&rules, ONE, NodeEpoch(9), Disk::Lost);
        assert!(it.elect(&rules, up));
        assert_eq!((it.primary, it.in_sync.len()), (Some(TWO), 1));
        it.registered(&rules, TWO, NodeEpoch(10), Disk::Lost);
        let back = |node: NodeId| {
            up(node).map(|facts| NodeFacts {
                node_epoch: NodeEpoch(10),
                ..facts
            })
        };
        assert!(!it.elect(&rules, back));
        assert_eq!((it.primary, it.in_sync.len()), (None, 1));
    }

    #[test]
    fn a_copy_that_began_at_the_tail_is_not_elected() {
        let (rules, mut it) = (Rules::correct(), assignment());
        let tail = Member {
            from: Seq(7),
            ..member(2)
        };
        it.in_sync.insert(TWO, tail);
        let one_down = |node: NodeId| {
            up(node).map(|facts| NodeFacts {
                alive: node != ONE,
                ..facts
            })
        };
        assert!(it.elect(&rules, one_down));
        assert_eq!(it.primary, None);
        it.kept_from = Seq(7);
        assert!(
            it.elect(&rules, one_down),
            "retention dropped what it lacks"
        );
        assert_eq!((it.primary, it.epoch), (Some(TWO), Epoch(2)));
    }
}
