//! A region as a state of a group, and as rows of the manager's snapshots.

use hbuf_core::ids::{Micros, Uuid};

use super::{Placed, Region, RegionAction};
use crate::apply::{Outcome, Refused};
use crate::dedupe::Clients;
use crate::lines::{FieldError, Fields};
use crate::rows::{FORMAT, Rows, SnapshotError};
use crate::snapshot::{read_client, write_client};
use crate::state::StateParts;

impl StateParts for Region {
    type Action = RegionAction;

    fn place(&self) -> (u64, &Clients) {
        (self.applied, &self.clients)
    }

    fn place_mut(&mut self) -> (&mut u64, &mut Clients) {
        (&mut self.applied, &mut self.clients)
    }

    fn act(&mut self, index: u64, _: Micros, action: &RegionAction) -> Result<Outcome, Refused> {
        self.obey(index, action)
    }

    fn write_rows<E, P: FnMut(&[u8]) -> Result<(), E>>(&self, rows: &mut Rows<P>) -> Result<(), E> {
        rows.row("region", |out| {
            out.field("format", FORMAT);
            out.field("applied", self.applied);
            out.optional("group", self.group);
            out.field("cluster-version", self.cluster_version);
            out.field("last-node", self.assigned.last_node);
        })?;
        self.assigned.write_nodes(rows)?;
        for (uuid, placed) in &self.placed {
            rows.row("placed", |out| {
                out.field("uuid", uuid);
                out.field("reserved", placed.reserved);
                out.field("version", placed.version);
            })?;
        }
        self.assigned.write_assignments(rows)?;
        for (client, row) in &self.clients.0 {
            rows.row("client", |out| write_client(*client, row, out))?;
        }
        Ok(())
    }

    fn take_row(
        &mut self,
        kind: &str,
        fields: &mut Fields<'_>,
        _: u32,
    ) -> Result<bool, FieldError> {
        match kind {
            "region" => {
                self.applied = fields.parse("applied")?;
                self.group = fields.with_optional("group", Uuid::parse)?;
                self.cluster_version = fields.parse("cluster-version")?;
                self.assigned.last_node = fields.parse("last-node")?;
            }
            "placed" => {
                let uuid = fields.uuid("uuid")?;
                let placed = Placed {
                    reserved: fields.parse("reserved")?,
                    version: fields.parse("version")?,
                };
                self.placed.insert(uuid, placed);
            }
            "client" => {
                let (client, row) = read_client(fields)?;
                self.clients.0.insert(client, row);
            }
            _ => return self.assigned.take(kind, fields),
        }
        Ok(true)
    }

    fn finish_rows(&mut self) -> Result<(), SnapshotError> {
        match self.broken_invariant() {
            None => Ok(()),
            Some(broken) => Err(SnapshotError::Broken(broken)),
        }
    }
}
