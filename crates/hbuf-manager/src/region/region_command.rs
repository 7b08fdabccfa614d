//! Everything that changes a region, and its text form, which is that of the manager's commands.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use hbuf_core::ids::{NodeId, Uuid};

use crate::CLUSTER_VERSIONS;
use crate::assign::{Assign, read_node};
use crate::command::{Command, CommandError};
use crate::lines::{Fields, Writer};
use crate::node::RegisterNode;
use crate::state::CommandAction;

/// One change of a region.
pub type RegionCommand = Command<RegionAction>;

/// What a command of a region does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegionAction {
    /// Gives the region its identity. Everything else is refused before it.
    FoundRegion {
        /// The id of its group, as `global` has it.
        group: Uuid,
        /// The cluster version of `global` at that time.
        version: u32,
    },
    /// Allows the commands of the next cluster version, behind `global`.
    SetClusterVersion {
        /// The version, one more than the present one.
        version: u32,
    },
    /// A node has started.
    RegisterNode {
        /// Its number, as `global` has given it.
        id: NodeId,
        /// What it says of itself.
        start: RegisterNode,
    },
    /// The second step of a creation: the buffer gets its copies and its primary.
    PlaceBuffer(Box<PlaceBuffer>),
    /// The second step of a deletion: nobody holds it any more.
    DropBuffer {
        /// The buffer.
        uuid: Uuid,
        /// Its reservation; what was placed for a later one stays.
        reserved: u64,
    },
    /// The settings in `global` have changed how many members a commit needs.
    SetMinInSync {
        /// The buffer.
        uuid: Uuid,
        /// Its reservation; versions count anew for each.
        reserved: u64,
        /// The version of the settings.
        version: u64,
        /// The members, 1 to [`hbuf_core::limits::COPIES_MAX`].
        min_in_sync: usize,
    },
    /// Changes a node's session or settings, or a buffer's assignment.
    Assign(Assign),
}

/// A buffer that `global` has reserved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlaceBuffer {
    /// Its registration.
    pub uuid: Uuid,
    /// The id of its first history.
    pub history: Uuid,
    /// Its nodes; the first is the primary.
    pub copies: Vec<NodeId>,
    /// The members that a commit needs.
    pub min_in_sync: usize,
    /// The index of its reservation in the log of `global`.
    pub reserved: u64,
    /// The version of its settings in `global`.
    pub version: u64,
}

impl RegionAction {
    /// The name in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FoundRegion { .. } => "found-region",
            Self::SetClusterVersion { .. } => "set-cluster-version",
            Self::RegisterNode { .. } => "register-node",
            Self::PlaceBuffer(_) => "place-buffer",
            Self::DropBuffer { .. } => "drop-buffer",
            Self::SetMinInSync { .. } => "set-min-in-sync",
            Self::Assign(command) => command.name(),
        }
    }
}

impl CommandAction for RegionAction {
    fn name(&self) -> &'static str {
        Self::name(self)
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::FoundRegion { group, version } => {
                out.field("group", group);
                out.field("cluster-version", version);
            }
            Self::SetClusterVersion { version } => out.field("cluster-version", version),
            Self::RegisterNode { id, start } => {
                out.field("id", id.0);
                start.write(out);
            }
            Self::PlaceBuffer(place) => {
                out.field("uuid", place.uuid);
                out.field("history", place.history);
                out.list("copies", place.copies.iter().map(|node| node.0));
                out.field("min-in-sync", place.min_in_sync);
                out.field("reserved", place.reserved);
                out.field("version", place.version);
            }
            Self::DropBuffer { uuid, reserved } => {
                out.field("uuid", uuid);
                out.field("reserved", reserved);
            }
            Self::SetMinInSync {
                uuid,
                reserved,
                version,
                min_in_sync,
            } => {
                out.field("uuid", uuid);
                out.field("reserved", reserved);
                out.field("version", version);
                out.field("min-in-sync", min_in_sync);
            }
            Self::Assign(command) => command.write(out),
        }
    }

    fn read(name: &str, fields: &mut Fields<'_>) -> Result<Self, CommandError> {
        if let Some(command) = Assign::read(name, fields)? {
            return Ok(Self::Assign(command));
        }
        Ok(match name {
            "found-region" => Self::FoundRegion {
                group: fields.uuid("group")?,
                version: supported(fields.parse("cluster-version")?)?,
            },
            "set-cluster-version" => Self::SetClusterVersion {
                version: supported(fields.parse("cluster-version")?)?,
            },
            "register-node" => Self::RegisterNode {
                id: fields.with("id", read_node)?,
                start: RegisterNode::read(fields)?,
            },
            "place-buffer" => Self::PlaceBuffer(Box::new(PlaceBuffer {
                uuid: fields.uuid("uuid")?,
                history: fields.uuid("history")?,
                copies: fields.list("copies", read_node)?,
                min_in_sync: fields.parse("min-in-sync")?,
                reserved: fields.parse("reserved")?,
                version: fields.parse("version")?,
            })),
            "drop-buffer" => Self::DropBuffer {
                uuid: fields.uuid("uuid")?,
                reserved: fields.parse("reserved")?,
            },
            "set-min-in-sync" => Self::SetMinInSync {
                uuid: fields.uuid("uuid")?,
                reserved: fields.parse("reserved")?,
                version: fields.parse("version")?,
                min_in_sync: fields.parse("min-in-sync")?,
            },
            unknown => {
                return Err(CommandError::Unknown {
                    name: unknown.to_string(),
                });
            }
        })
    }
}

/// A version that this binary does not support stops the node before anything of it is applied.
pub(crate) const fn supported(version: u32) -> Result<u32, CommandError> {
    match version <= CLUSTER_VERSIONS.max {
        true => Ok(version),
        false => Err(CommandError::ClusterVersion { version }),
    }
}
