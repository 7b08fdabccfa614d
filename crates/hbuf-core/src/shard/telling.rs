//! Damage that the manager is to be told of until its record says that it knows.

use alloc::vec::Vec;

use super::Shard;
use crate::buffer::Buffer;
use crate::effect::{Effect, Effects};
use crate::ids::{Micros, NodeId, Uuid};
use crate::limits::ASK_AGAIN_MICROS;
use crate::replication::{Assignment, NodeEpoch, Wish};

/// Damage in a copy of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Found {
    /// The tenure of the copy.
    tenure: u64,
    /// When the manager is told next.
    pub(super) due: Micros,
}

impl Shard {
    /// Damage was found in what this node holds of a buffer. The manager decides what follows; a
    /// copy says nothing meanwhile, and a primary goes on until somebody else leads, for what it
    /// acknowledges others hold too. A word to the manager may be lost, so it is repeated.
    pub(super) fn on_damaged(&mut self, now: Micros, uuid: Uuid, out: &mut Effects) {
        if let Some(copied) = self.copies.get_mut(&uuid) {
            copied.follower.spoil();
        }
        if let Some((node, assignment)) = self.known(&uuid) {
            let (tenure, due) = (assignment.tenure(node), now);
            self.damaged.insert(uuid, Found { tenure, due });
            self.tell_damaged(now, out);
        }
    }

    /// Tells the manager of what is due.
    pub(super) fn tell_damaged(&mut self, now: Micros, out: &mut Effects) {
        let led = |uuid: &Uuid| self.buffers.get(uuid).map(Buffer::node_epoch);
        let copied = |uuid: &Uuid| self.copies.get(uuid).map(|it| it.follower.node_epoch());
        let due = self.damaged.iter().filter(|(_, found)| found.due <= now);
        let due = due.filter_map(|(uuid, _)| Some((*uuid, led(uuid).or_else(|| copied(uuid))?)));
        for (buffer, node_epoch) in due.collect::<Vec<(Uuid, NodeEpoch)>>() {
            let wish = Wish::TellDamaged(node_epoch);
            out.push(Effect::Replication { buffer, wish });
        }
        for found in self.damaged.values_mut().filter(|found| found.due <= now) {
            found.due = now.plus(ASK_AGAIN_MICROS);
        }
    }

    /// The record may say by now that the manager knows.
    pub(super) fn see_damage_noted(&mut self, uuid: &Uuid, assignment: &Assignment) {
        let Some((node, _)) = self.known(uuid) else {
            return;
        };
        if let Some(found) = self.damaged.get(uuid)
            && assignment.knows_damage(node, found.tenure)
        {
            self.damaged.remove(uuid);
        }
    }

    /// A clock that went back makes nobody wait for longer.
    pub(super) fn hurry_damaged(&mut self, now: Micros) {
        let latest = now.plus(ASK_AGAIN_MICROS);
        for found in self.damaged.values_mut() {
            found.due = found.due.min(latest);
        }
    }

    fn known(&self, uuid: &Uuid) -> Option<(NodeId, &Assignment)> {
        let led = self.buffers.get(uuid).map(Buffer::leader);
        let led = led.map(|leader| (leader.node(), &**leader.assignment()));
        let copied = self.copies.get(uuid);
        led.or_else(|| copied.map(|it| (it.node, &*it.assignment)))
    }
}
