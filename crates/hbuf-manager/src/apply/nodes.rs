//! A node's start: its in-sync entries get its new epoch, then buffers without a leader get one.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use hbuf_core::ids::{Epoch, NodeId, Uuid};

use super::{Outcome, Refused};
use crate::catalog::{Buffer, Catalog, Node};
use crate::command::RegisterNode;

impl Catalog {
    pub(super) fn register_node(
        &mut self,
        index: u64,
        start: &RegisterNode,
    ) -> Result<Outcome, Refused> {
        self.check_node(start)?;
        let known = self.node(&start.node).map(|(id, node)| (id, node.disk));
        let id = known.map_or_else(|| self.next_node_id(), |(id, _)| id);
        // Another disk under the same name holds none of the copies that the name stood for.
        let disk_lost = known.is_some_and(|(_, disk)| disk != start.disk);
        let bad: BTreeSet<Uuid> = start.bad.iter().copied().collect();
        self.nodes.insert(id, start.as_node(index));
        for buffer in self.buffers.values_mut() {
            if !buffer.in_sync.iter().any(|member| member.node == id) {
                continue;
            }
            if disk_lost || bad.contains(&buffer.uuid) {
                buffer.lose_copy(id);
            } else {
                buffer.restamp(id, index);
            }
        }
        Ok(Outcome::Node { id, epoch: index })
    }

    fn check_node(&self, start: &RegisterNode) -> Result<(), Refused> {
        if !start.versions.contains(self.cluster_version) {
            let (versions, current) = (start.versions, self.cluster_version);
            return Err(Refused::NodeVersions { versions, current });
        }
        let same_disk = |node: &&Node| node.disk == start.disk && node.name != start.node;
        match self.nodes.values().find(same_disk) {
            Some(node) => Err(Refused::DiskTaken {
                disk: start.disk,
                node: node.name.clone(),
            }),
            None => Ok(()),
        }
    }

    fn next_node_id(&self) -> NodeId {
        NodeId(
            self.nodes
                .last_key_value()
                .map_or(1, |(last, _)| last.0 + 1),
        )
    }
}

impl RegisterNode {
    fn as_node(&self, epoch: u64) -> Node {
        Node {
            name: self.node.clone(),
            disk: self.disk,
            epoch,
            clean: self.clean,
            versions: self.versions,
        }
    }
}

impl Buffer {
    /// The copy is usable: it counts again once it acks in its new node epoch. A primary that has
    /// restarted never goes on in its old epoch, and an offline buffer gets this copy as primary.
    fn restamp(&mut self, node: NodeId, node_epoch: u64) {
        for member in self.in_sync.iter_mut().filter(|member| member.node == node) {
            member.node_epoch = node_epoch;
        }
        self.version += 1;
        if self.primary.is_none_or(|primary| primary == node) {
            self.appoint(Some(node));
        }
    }

    /// The copy is gone. The last one stays on the list, so that it is known which node could bring
    /// the buffer back; without a primary the buffer is offline.
    fn lose_copy(&mut self, node: NodeId) {
        self.version += 1;
        if self.in_sync.len() == 1 {
            self.appoint(None);
            return;
        }
        let rest: Vec<_> = self
            .in_sync
            .iter()
            .copied()
            .filter(|m| m.node != node)
            .collect();
        self.in_sync = rest.into_boxed_slice();
        if self.primary == Some(node) {
            let in_sync = |copy: &&NodeId| self.in_sync.iter().any(|m| m.node == **copy);
            let next = self.copies.iter().find(in_sync).copied();
            self.appoint(next);
        }
    }

    fn appoint(&mut self, primary: Option<NodeId>) {
        self.primary = primary;
        self.epoch = Epoch(self.epoch.0 + 1);
    }
}
