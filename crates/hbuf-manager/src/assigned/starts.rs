//! A node's start: whether it may, whether its disk is the one that is known, and what becomes of
//! its copies.
//!
//! A life is one process. Its id is on the disk before the manager hears of it, beside those of
//! before, so a disk that does not know the manager's last life is an older state of itself: what
//! it acknowledged since is not on it. A copied disk is told in the same way, as soon as one of the
//! two has registered, or as the process that lives has seen the other one try: then it takes
//! another life, which the copy does not know.

use alloc::collections::BTreeSet;

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::limits::{NODE_LIVES_MAX, NODES_MAX};
use hbuf_core::replication::{Disk, NodeEpoch};

use super::Assigned;
use crate::apply::{Outcome, Refused};
use crate::node::{Node, RegisterNode};

/// What a registration found of the node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskFound {
    /// The disk that the node had, as it left it.
    Same,
    /// The node is new.
    New,
    /// Another disk: it holds none of the copies that the node had.
    Replaced,
    /// The disk as it was at an earlier time: a snapshot that was put back, or a copy of a disk of
    /// which the other one went on. Its copies count for nothing.
    SetBack,
}

impl DiskFound {
    const ALL: [Self; 4] = [Self::Same, Self::New, Self::Replaced, Self::SetBack];

    /// The word in snapshots and descriptions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::New => "new",
            Self::Replaced => "replaced",
            Self::SetBack => "set-back",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    const fn is_lost(self) -> bool {
        matches!(self, Self::Replaced | Self::SetBack)
    }
}

impl Assigned {
    /// The number of the next new node.
    pub(crate) const fn next_node(&self) -> NodeId {
        NodeId(self.last_node + 1)
    }

    /// A node starts at an index of the log, which becomes its epoch.
    pub(crate) fn register(
        &mut self,
        index: u64,
        id: NodeId,
        start: &RegisterNode,
    ) -> Result<Outcome, Refused> {
        self.check_start(id, start)?;
        let known = self.nodes.get(&id);
        if let Some(node) = known.filter(|node| start.life.is_some() && node.life == start.life) {
            // The same process asks again, for it does not know whether it was heard.
            return Ok(registered(id, node.epoch, DiskFound::Same));
        }
        let found = found(known, start);
        let now = NodeEpoch(index);
        let mut node = as_node(known, now, start);
        node.change(&start.change);
        self.nodes.insert(id, node);
        self.last_node = self.last_node.max(id.0);
        let bad: BTreeSet<Uuid> = start.bad.iter().copied().collect();
        for (uuid, it) in &mut self.buffers {
            let disk = match found.is_lost() {
                true => Disk::Lost,
                false if bad.contains(uuid) => Disk::Damaged,
                false => Disk::Same,
            };
            it.registered(&self.rules, id, now, disk);
        }
        self.settle_where(|it| it.copies.contains(&id));
        Ok(registered(id, now, found))
    }

    /// The process of a registration goes on under another life: only its own disk knows that.
    pub(super) fn renew_life(
        &mut self,
        id: NodeId,
        epoch: NodeEpoch,
        life: Uuid,
    ) -> Result<Outcome, Refused> {
        let node = self.node_mut(id)?;
        if node.epoch != epoch {
            return Err(Refused::NodeSuperseded { node: id });
        }
        node.life = Some(life);
        Ok(Outcome::Done)
    }

    fn check_start(&self, id: NodeId, start: &RegisterNode) -> Result<(), Refused> {
        if start.earlier.len() > NODE_LIVES_MAX {
            return Err(Refused::TooManyLives);
        }
        let of_other = |(other, node): &(NodeId, &Node)| *other != id && node.disk == start.disk;
        if let Some((_, node)) = self.nodes().find(of_other) {
            return Err(Refused::DiskTaken {
                disk: start.disk,
                node: node.name.clone(),
            });
        }
        let Some(node) = self.nodes.get(&id) else {
            return match self.nodes.len() < NODES_MAX {
                true => Ok(()),
                false => Err(Refused::TooManyNodes),
            };
        };
        let (name, disk) = (node.name.clone(), start.disk);
        match node.life {
            None => Ok(()),
            Some(life) if start.life == Some(life) => match node.disk == disk {
                true => Ok(()),
                false => Err(Refused::NameInUse { node: name }),
            },
            // Its own process of before, of which it waits for the end; or the one of another disk.
            Some(life) if node.alive && node.disk == disk => {
                Err(match start.earlier.contains(&life) {
                    true => Refused::DiskInUse { disk, node: name },
                    false => Refused::DiskCopied { disk, node: name },
                })
            }
            Some(_) if node.alive => Err(Refused::NameInUse { node: name }),
            Some(_) if start.life.is_none() => Err(Refused::NoLife { node: name }),
            Some(_) => Ok(()),
        }
    }
}

fn found(known: Option<&Node>, start: &RegisterNode) -> DiskFound {
    match known {
        None => DiskFound::New,
        Some(node) if node.disk != start.disk => DiskFound::Replaced,
        Some(node) => match node.life {
            Some(life) if !start.earlier.contains(&life) => DiskFound::SetBack,
            _ => DiskFound::Same,
        },
    }
}

fn as_node(known: Option<&Node>, epoch: NodeEpoch, start: &RegisterNode) -> Node {
    Node {
        name: start.node.clone(),
        disk: start.disk,
        epoch,
        life: start.life,
        clean: start.clean,
        versions: start.versions,
        alive: true,
        // Not known before the first heartbeat.
        clock_off: false,
        draining: known.is_some_and(|node| node.draining),
        zone: known.and_then(|node| node.zone.clone()),
        roles: known.map(|node| node.roles).unwrap_or_default(),
        address: known.and_then(|node| node.address.clone()),
    }
}

fn registered(id: NodeId, epoch: NodeEpoch, disk: DiskFound) -> Outcome {
    Outcome::Node {
        id,
        epoch: epoch.0,
        disk,
    }
}
