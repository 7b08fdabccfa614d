//! The nodes of a group of the manager, and who holds and leads each of its buffers.
//!
//! The rules are those of `hbuf_core::replication::Assignment`, for each buffer alone; here is only
//! what a command means for many of them. Each group has one of these: `global` in its catalog, any
//! other region in its own state.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use hbuf_core::ids::{Epoch, NodeId, Seq, Uuid};
use hbuf_core::limits::{NODES_MAX, NOTED_KEPT_MAX};
use hbuf_core::replication::{Alter, Assignment, Force, NodeEpoch, NodeFacts};
use hbuf_core::rules::Rules;

use crate::apply::{Outcome, Refused, check_version};
use crate::assign::Assign;
use crate::node::{Node, NodeChange};

mod starts;

pub use starts::DiskFound;

/// Nodes, and the assignments of buffers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assigned {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) buffers: BTreeMap<Uuid, Assignment>,
    /// The highest number ever given to a node: one up to it that is no node is retired.
    pub(crate) last_node: u32,
    /// Those of the product; a simulator bends them.
    pub(crate) rules: Rules,
}

impl Default for Assigned {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            buffers: BTreeMap::new(),
            last_node: 0,
            rules: Rules::correct(),
        }
    }
}

impl Assigned {
    /// A node by its number.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// All nodes, in the order of their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// A buffer's assignment.
    #[must_use]
    pub fn get(&self, buffer: Uuid) -> Option<&Assignment> {
        self.buffers.get(&buffer)
    }

    /// All assignments, in the order of the buffers' uuids.
    pub fn all(&self) -> impl Iterator<Item = (Uuid, &Assignment)> {
        self.buffers.iter().map(|(uuid, it)| (*uuid, it))
    }

    /// What decides where buffers are led.
    #[must_use]
    pub fn facts(&self, node: NodeId) -> Option<NodeFacts> {
        self.nodes.get(&node).map(Node::facts)
    }

    /// A new buffer on these nodes, which are known.
    pub(crate) fn create(&mut self, uuid: Uuid, history: Uuid, copies: &[NodeId], min: usize) {
        let epoch = |node: &NodeId| self.nodes.get(node).map(|known| (*node, known.epoch));
        let copies: alloc::vec::Vec<(NodeId, NodeEpoch)> =
            copies.iter().filter_map(epoch).collect();
        self.buffers
            .insert(uuid, Assignment::new(history, &copies, min));
        self.settle_one(uuid);
    }

    pub(crate) fn remove(&mut self, uuid: Uuid) {
        self.buffers.remove(&uuid);
    }

    pub(crate) fn set_min_in_sync(&mut self, uuid: Uuid, min: usize) {
        let changed = self.buffers.get_mut(&uuid);
        if changed.is_some_and(|it| it.set_min_in_sync(min)) {
            self.settle_one(uuid);
        }
    }

    /// Does what a command says.
    pub(crate) fn assign(&mut self, command: &Assign) -> Result<Outcome, Refused> {
        let rules = self.rules;
        match command {
            Assign::FenceNodes { nodes } => {
                check_count("nodes", nodes.len(), NODES_MAX)?;
                Ok(self.fence(nodes))
            }
            Assign::ReviveNode { node, epoch } => self.revive(*node, *epoch),
            Assign::RenewLife { node, epoch, life } => self.renew_life(*node, *epoch, *life),
            Assign::SetNode { node, change } => self.set_node(*node, change),
            Assign::RemoveNode { node } => self.remove_node(*node),
            Assign::AlterInSync { uuid, alter } => self.alter(*uuid, alter),
            Assign::NoteDamage { uuid, node, epoch } => self.note_damage(*uuid, *node, *epoch),
            Assign::SetCopies {
                uuid,
                expected,
                copies,
            } => self.of_buffer(*uuid, *expected, |it, facts| {
                it.set_copies(&rules, copies, facts)?;
                Ok(())
            }),
            Assign::HandOver { uuid, expected, to } => {
                self.of_buffer(*uuid, *expected, |it, facts| {
                    it.hand_over(&rules, *to, facts)?;
                    Ok(())
                })
            }
            Assign::ForceElect {
                uuid,
                expected,
                force,
            } => self.force(*uuid, *expected, force),
            Assign::NoteKept { kept } => {
                check_count("buffers", kept.len(), NOTED_KEPT_MAX)?;
                Ok(self.note_kept(kept))
            }
        }
    }

    /// One batch: all of them are out before anybody is elected, so that no buffer goes from one
    /// dead node to the next.
    fn fence(&mut self, nodes: &[(NodeId, NodeEpoch)]) -> Outcome {
        for (id, epoch) in nodes {
            if let Some(node) = self.nodes.get_mut(id)
                && node.epoch == *epoch
            {
                node.alive = false;
            }
        }
        self.settle_where(|it| nodes.iter().any(|(node, _)| it.copies.contains(node)));
        Outcome::Done
    }

    fn revive(&mut self, id: NodeId, epoch: NodeEpoch) -> Result<Outcome, Refused> {
        let node = self.node_mut(id)?;
        if node.epoch != epoch {
            return Err(Refused::NodeSuperseded { node: id });
        }
        node.alive = true;
        self.settle_where(|it| it.copies.contains(&id));
        Ok(Outcome::Done)
    }

    fn set_node(&mut self, id: NodeId, change: &NodeChange) -> Result<Outcome, Refused> {
        if self.node_mut(id)?.change(change) {
            self.settle_where(|it| it.copies.contains(&id));
        }
        Ok(Outcome::Done)
    }

    fn remove_node(&mut self, id: NodeId) -> Result<Outcome, Refused> {
        let node = match self.nodes.get(&id) {
            None if id.0 <= self.last_node => return Ok(Outcome::Done),
            None => return Err(Refused::NoSuchNodeId { node: id }),
            Some(node) => node.name.clone(),
        };
        let holds = |it: &&Assignment| it.copies.contains(&id);
        let copies = self.buffers.values().filter(holds).count();
        if copies > 0 {
            return Err(Refused::NodeHolds { node, copies });
        }
        if self.nodes[&id].roles.manager {
            return Err(Refused::NodeVotes { node });
        }
        self.nodes.remove(&id);
        Ok(Outcome::Done)
    }

    fn alter(&mut self, uuid: Uuid, alter: &Alter) -> Result<Outcome, Refused> {
        let rules = self.rules;
        self.of_buffer(uuid, None, |it, facts| {
            it.alter(&rules, alter, facts)?;
            Ok(())
        })
    }

    fn note_damage(
        &mut self,
        uuid: Uuid,
        id: NodeId,
        epoch: NodeEpoch,
    ) -> Result<Outcome, Refused> {
        if self.node_mut(id)?.epoch != epoch {
            return Err(Refused::NodeSuperseded { node: id });
        }
        self.of_buffer(uuid, None, |it, _| {
            it.found_damaged(id);
            Ok(())
        })
    }

    fn force(
        &mut self,
        uuid: Uuid,
        expected: Option<u64>,
        force: &Force,
    ) -> Result<Outcome, Refused> {
        // Done already: the history tells.
        if let Some(it) = self.buffers.get(&uuid)
            && it.history == force.history
            && it.primary == Some(force.node)
        {
            return Ok(outcome(uuid, it));
        }
        let rules = self.rules;
        self.of_buffer(uuid, expected, |it, facts| {
            it.force(&rules, force, facts)?;
            Ok(())
        })
    }

    fn note_kept(&mut self, kept: &[(Uuid, Epoch, Seq)]) -> Outcome {
        for (uuid, epoch, from) in kept {
            let it = self.buffers.get_mut(uuid);
            if it.is_some_and(|it| it.note_kept(*epoch, *from)) {
                self.settle_one(*uuid);
            }
        }
        Outcome::Done
    }

    /// Changes one buffer's assignment, and does what follows from that.
    fn of_buffer(
        &mut self,
        uuid: Uuid,
        expected: Option<u64>,
        change: impl FnOnce(
            &mut Assignment,
            &dyn Fn(NodeId) -> Option<NodeFacts>,
        ) -> Result<(), Refused>,
    ) -> Result<Outcome, Refused> {
        let it = self.buffers.get_mut(&uuid);
        let it = it.ok_or(Refused::NoSuchBuffer { uuid })?;
        check_version(expected, it.version)?;
        let nodes = &self.nodes;
        let facts = |node: NodeId| nodes.get(&node).map(Node::facts);
        change(it, &facts)?;
        it.settle(&self.rules, facts);
        Ok(outcome(uuid, it))
    }

    fn settle_one(&mut self, uuid: Uuid) {
        let nodes = &self.nodes;
        if let Some(it) = self.buffers.get_mut(&uuid) {
            it.settle(&self.rules, |node| nodes.get(&node).map(Node::facts));
        }
    }

    /// Elects and moves what can be, of the buffers that are asked for.
    fn settle_where(&mut self, which: impl Fn(&Assignment) -> bool) {
        let Self {
            nodes,
            buffers,
            rules,
            ..
        } = self;
        let facts = |node: NodeId| nodes.get(&node).map(Node::facts);
        for it in buffers.values_mut().filter(|it| which(it)) {
            it.settle(rules, facts);
        }
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Refused> {
        let node = self.nodes.get_mut(&id);
        node.ok_or(Refused::NoSuchNodeId { node: id })
    }

    /// The first invariant that does not hold, in words.
    pub(crate) fn broken(&self) -> Option<String> {
        let says = |uuid: &Uuid, what: &str| Some(format!("the assignment of {uuid} {what}"));
        for (uuid, it) in &self.buffers {
            if let Some(what) = it.broken() {
                return says(uuid, what);
            }
            if !it.copies.iter().all(|node| self.nodes.contains_key(node)) {
                return says(uuid, "has a copy on an unknown node");
            }
            let mut settled = it.clone();
            if settled.settle(&self.rules, |node| self.facts(node)) {
                return says(uuid, "has not become what follows from it");
            }
        }
        let last = self.nodes.last_key_value();
        if last.is_some_and(|(id, _)| id.0 > self.last_node) {
            return Some("a node has a number that was never given".into());
        }
        None
    }
}

const fn check_count(what: &'static str, got: usize, most: usize) -> Result<(), Refused> {
    match got > most {
        true => Err(Refused::TooManyNamed { what, got, most }),
        false => Ok(()),
    }
}

pub(crate) fn outcome(uuid: Uuid, it: &Assignment) -> Outcome {
    Outcome::Assignment {
        uuid,
        version: it.version,
        epoch: it.epoch,
    }
}
