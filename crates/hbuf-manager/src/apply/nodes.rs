//! What commands about nodes and assignments do to the catalog: names and lifecycles are looked at
//! here, the rest is in `assigned.rs`.

use hbuf_core::ids::Uuid;

use super::{Outcome, Refused};
use crate::assign::Assign;
use crate::catalog::{Catalog, Lifecycle};
use crate::node::RegisterNode;

impl Catalog {
    pub(super) fn register_node(
        &mut self,
        index: u64,
        start: &RegisterNode,
    ) -> Result<Outcome, Refused> {
        if !start.versions.contains(self.cluster_version) {
            let (versions, current) = (start.versions, self.cluster_version);
            return Err(Refused::NodeVersions { versions, current });
        }
        let known = self.node(&start.node).map(|(id, _)| id);
        let id = known.unwrap_or_else(|| self.assigned.next_node());
        self.assigned.register(index, id, start)
    }

    pub(super) fn assign(&mut self, command: &Assign) -> Result<Outcome, Refused> {
        if let Some(uuid) = command.buffer() {
            self.check_assigned(uuid, command)?;
        }
        self.assigned.assign(command)
    }

    /// What is being deleted stays where it is, and a buffer has no more copies than configured.
    fn check_assigned(&self, uuid: Uuid, command: &Assign) -> Result<(), Refused> {
        let buffer = self.buffers.get(&uuid);
        let buffer = buffer.filter(|it| it.lifecycle != Lifecycle::Deleting);
        let buffer = buffer.ok_or(Refused::NoSuchBuffer { uuid })?;
        if let Some(region) = buffer.region.and_then(|id| self.regions.get(&id)) {
            let region = region.name.clone();
            return Err(Refused::InRegion { uuid, region });
        }
        let Assign::SetCopies { copies, .. } = command else {
            return Ok(());
        };
        let wanted = buffer.config.copies();
        match copies.len() <= usize::from(wanted) {
            true => Ok(()),
            false => Err(Refused::Copies {
                got: copies.len(),
                wanted,
            }),
        }
    }
}
