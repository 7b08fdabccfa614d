//! What the manager holds of a buffer, and how it decides: who is in the in-sync set, who is
//! primary, in which epoch.
//!
//! Every change is a command that names what it was made for: (epoch, version). One that comes late
//! finds another version and is refused, so that no answer of the manager is acted on twice.
//! Everything that a decision needs stands in the record, so that a manager that stops between any
//! two changes goes on from it.
//!
//! Invariants, checked by [`Assignment::broken`]: the in-sync set has members and lies within the
//! copies; so do those that leave; a primary is a member; epoch and version only rise.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::{Epoch, NodeId, Seq, Uuid};
use crate::rules::Rules;

mod damage;
mod election;
mod forced;
mod movement;

pub use election::HandOverRefused;
pub use forced::{Checkpoint, Ended, Force, ForceRefused};
pub use movement::MoveRefused;

/// The number of a node's registration; a node takes a new one at every start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeEpoch(pub u64);

/// A member of the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The registration under which it is a member.
    pub node_epoch: NodeEpoch,
    /// The first seq that it holds: a copy that began at the tail lacks what is before.
    /// [`Member::NOTHING`] when its disk was lost.
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
    /// Its clock is too far off for times that it gives out: it is not made primary. Who is
    /// primary already stays, for no decision of safety asks a clock.
    pub clock_off: bool,
}

impl Member {
    /// The first seq of a member that holds nothing: the last one, whose disk was lost. No message
    /// has it, and retention never comes to it.
    pub const NOTHING: Seq = Seq(u64::MAX);
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
    /// Where the buffer is to be, the primary included, and where it still is while it moves.
    pub copies: BTreeSet<NodeId>,
    /// The copies that go when enough others hold everything.
    pub leaving: BTreeSet<NodeId>,
    /// While copies leave: as many members as the move began with and as a commit needs, those that
    /// it ends with at most, hold all that is kept before one goes. 0 while nobody leaves.
    pub whole_min: usize,
    /// Who must hold a message before it is committed.
    pub in_sync: BTreeMap<NodeId, Member>,
    /// The tenures of copies: as of which version of this record one holds what it says. That is
    /// the version in which it was added, or in which damage was noted that was found while it ran.
    /// It begins anew then, and what it said before counts for nothing. Without an entry it is a
    /// copy since the buffer was made, or since before its registration, which its words name.
    pub tenures: BTreeMap<NodeId, u64>,
    /// Fewer members than this commit nothing.
    pub min_in_sync: usize,
    /// The first seq that retention has left, as the manager was told last.
    pub kept_from: Seq,
    /// Who is rather made primary, the first before the second.
    pub preferred: Vec<NodeId>,
    /// The histories before this one, the oldest first.
    pub ended: Vec<Ended>,
}

/// A change of the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A copy has caught up.
    Add(NodeId, Member),
    /// A member is too slow, or gone.
    Remove(NodeId),
    /// A member has filled in what it lacked, and holds more than it did.
    Holds(NodeId, Member),
    /// The primary takes back what it asked for.
    Nothing,
}

impl Change {
    /// Whether it adds this node.
    #[must_use]
    pub fn adds(&self, node: NodeId) -> bool {
        matches!(self, Self::Add(added, _) if *added == node)
    }
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
    #[error("the buffer has changed meanwhile; read its record again")]
    Stale,
    /// The node is no copy of the buffer.
    #[error("the node is no copy of the buffer; add it to its copies first")]
    NoCopy,
    /// A primary that is no member could commit nothing and be replaced by nobody.
    #[error("a primary does not take itself out; hand the buffer over, or move it")]
    Primary,
    /// The node has restarted since it caught up, is down or leaves.
    #[error("the node is not the one that caught up, is down, or leaves; let it catch up again")]
    Node,
    /// A member never holds less than it did.
    #[error("the member holds more already")]
    From,
}

/// How a node comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disk {
    /// With the disk that it had, and the buffer whole on it.
    Same,
    /// With the disk that it had, and damage in this buffer.
    Damaged,
    /// With another disk, or one that was set back to what it was earlier.
    Lost,
}

impl Assignment {
    /// The record of a new buffer: all copies hold everything, for there is nothing yet, and the
    /// first one is primary in epoch 1. The order says who is rather made primary later.
    #[must_use]
    pub fn new(history: Uuid, copies: &[(NodeId, NodeEpoch)], min_in_sync: usize) -> Self {
        let from = Seq::FIRST;
        let member = |(node, node_epoch)| (node, Member { node_epoch, from });
        Self {
            history,
            epoch: Epoch(1),
            version: 1,
            primary: copies.first().map(|(node, _)| *node),
            copies: copies.iter().map(|(node, _)| *node).collect(),
            leaving: BTreeSet::new(),
            whole_min: 0,
            in_sync: copies.iter().copied().map(member).collect(),
            tenures: BTreeMap::new(),
            min_in_sync,
            kept_from: Seq::FIRST,
            preferred: copies.iter().map(|(node, _)| *node).collect(),
            ended: Vec::new(),
        }
    }

    /// That of a buffer with one copy, of which this node is the primary.
    #[must_use]
    pub fn solo(node: NodeId, node_epoch: NodeEpoch, epoch: Epoch, history: Uuid) -> Self {
        Self {
            epoch,
            ..Self::new(history, &[(node, node_epoch)], 1)
        }
    }

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
            Change::Remove(node) if node == alter.by => return Err(AlterRefused::Primary),
            Change::Remove(node) => {
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
            Change::Holds(node, now) => {
                let member = self.in_sync.get_mut(&node).ok_or(AlterRefused::NoCopy)?;
                if member.node_epoch != now.node_epoch && rules.members_are_stamped {
                    return Err(AlterRefused::Node);
                }
                if member.from < now.from {
                    return Err(AlterRefused::From);
                }
                member.from = now.from;
            }
            Change::Nothing => {}
        }
        self.version += 1;
        Ok(())
    }

    /// A node has registered anew (rule 9). Its membership goes on under its new number when its
    /// disk is the one that it had; a member that lost it is removed, or, as the last one, keeps
    /// the buffer offline, for only it can say what was committed. One that was merely damaged is
    /// good again when it registers without that damage; one that lost its disk never is, or the
    /// next start of the empty disk would pass for the log that is lost. Call [`Self::settle`]
    /// behind it.
    pub fn registered(&mut self, rules: &Rules, node: NodeId, now: NodeEpoch, disk: Disk) {
        // Words name their registration, so those of before count for nothing in any case; and a
        // node knows of all that was decided before it.
        if self.tenures.remove(&node).is_some() {
            self.version += 1;
        }
        let last = self.in_sync.len() == 1;
        let Some(member) = self.in_sync.get_mut(&node) else {
            return;
        };
        match disk {
            Disk::Same => member.node_epoch = now,
            _ if !rules.members_are_stamped => member.node_epoch = now,
            Disk::Damaged if last => {}
            Disk::Lost if last => member.from = Member::NOTHING,
            Disk::Damaged | Disk::Lost => {
                self.in_sync.remove(&node);
            }
        }
        // Its log may have lost a tail that copies hold: as primary it needs another epoch.
        if self.primary == Some(node) && rules.restart_takes_a_new_epoch {
            self.primary = None;
        }
        self.version += 1;
    }

    /// Retention has left nothing below `from`, as the primary of `epoch` says; says whether that
    /// is news. One that is primary no more may have dropped what the log of the next one kept.
    pub fn note_kept(&mut self, epoch: Epoch, from: Seq) -> bool {
        let news = epoch == self.epoch && self.primary.is_some() && from > self.kept_from;
        if news {
            self.kept_from = from;
            self.version += 1;
        }
        news
    }

    /// Sets how many members a commit needs; says whether that is news.
    pub fn set_min_in_sync(&mut self, min_in_sync: usize) -> bool {
        let news = min_in_sync != self.min_in_sync;
        self.min_in_sync = min_in_sync;
        self.version += u64::from(news);
        news
    }

    /// The first invariant that does not hold, in words.
    #[must_use]
    pub fn broken(&self) -> Option<&'static str> {
        let copy = |node: &NodeId| self.copies.contains(node);
        let primary = self.primary;
        if primary.is_some_and(|node| !self.in_sync.contains_key(&node)) {
            return Some("has a primary outside its in-sync set");
        }
        if !self.in_sync.keys().all(copy) {
            return Some("has an in-sync member that is no copy");
        }
        if self.in_sync.is_empty() {
            return Some("has nobody in its in-sync set");
        }
        let noted = |(node, version): (&NodeId, &u64)| copy(node) && *version <= self.version;
        if !self.tenures.iter().all(noted) {
            return Some("has a tenure of what is no copy, or of a later version");
        }
        if !self.leaving.iter().all(copy) || self.leaving.len() == self.copies.len() {
            return Some("is left by what is no copy, or by all copies");
        }
        if self.min_in_sync == 0 || self.version == 0 || self.epoch == Epoch(0) {
            return Some("has an assignment out of range");
        }
        None
    }
}

#[cfg(test)]
mod any_walk;
#[cfg(test)]
mod tests;
