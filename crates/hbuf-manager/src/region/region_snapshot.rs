//! A region as bytes, in the rows of the manager's snapshots.

use hbuf_core::ids::{Hash, Uuid};

use super::{Placed, Region};
use crate::lines::{FieldError, Fields};
use crate::rows::{FORMAT, RowReader, Rows, SnapshotError};
use crate::snapshot::{read_client, write_client};

impl Region {
    /// Writes the region in pieces of whole rows, each about `piece_bytes` long, and tells its
    /// hash: equal at equal indexes on every node.
    ///
    /// # Errors
    /// What `put` says.
    pub fn encode<E>(
        &self,
        piece_bytes: usize,
        put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Hash, E> {
        let mut rows = Rows::new(piece_bytes, put);
        rows.row("region", |out| {
            out.field("format", FORMAT);
            out.field("applied", self.applied);
            out.optional("group", self.group);
            out.field("cluster-version", self.cluster_version);
            out.field("last-node", self.assigned.last_node);
        })?;
        self.assigned.write_nodes(&mut rows)?;
        for (uuid, placed) in &self.placed {
            rows.row("placed", |out| {
                out.field("uuid", uuid);
                out.field("reserved", placed.reserved);
                out.field("version", placed.version);
            })?;
        }
        self.assigned.write_assignments(&mut rows)?;
        for (client, row) in &self.clients.0 {
            rows.row("client", |out| write_client(*client, row, out))?;
        }
        rows.finish()
    }

    /// Takes one row; `false` when its kind is unknown.
    fn take(&mut self, kind: &str, fields: &mut Fields<'_>) -> Result<bool, FieldError> {
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
}

/// Reads a region's snapshot piece by piece.
#[derive(Debug, Default)]
pub struct RegionReader {
    region: Region,
    rows: RowReader,
}

impl RegionReader {
    /// A reader before the first piece.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece, which holds whole rows.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        let Self { region, rows } = self;
        rows.push(piece, |kind, fields, _| region.take(kind, fields))
    }

    /// Whether the last row was read.
    #[must_use]
    pub const fn ended(&self) -> bool {
        self.rows.ended()
    }

    /// The region, when the snapshot was whole and makes sense.
    ///
    /// # Errors
    /// What is missing, or contradicts itself.
    pub fn finish(self) -> Result<Region, SnapshotError> {
        self.rows.check_ended()?;
        match self.region.broken_invariant() {
            None => Ok(self.region),
            Some(broken) => Err(SnapshotError::Broken(broken)),
        }
    }
}
