//! The manager: who owns which name, where each buffer's copies are, and who leads it.
//!
//! A [`Catalog`] changes only by [`State::apply`] of a [`Command`]; commands are kept as records
//! of a log, so every node that applies the same log holds the same catalog, byte for byte.
//!
//! Architecture invariants: nothing here reads a clock, a file, a socket or a random number; maps
//! are ordered; `apply` looks at `cluster_version` and never at the version of the binary; a
//! command that this binary does not know is [`CommandError::Unknown`], upon which the node must
//! stop.
//!
//! | question | file |
//! |---|---|
//! | what can be configured, in which range | `config.rs`, `mirror.rs`, `consumer.rs` |
//! | what can be asked of the manager; its text form | `command.rs`, `lines.rs` |
//! | what is known, how to look it up | `catalog.rs` |
//! | what a command does, why it is refused | `apply.rs`, `apply/` |
//! | nodes; who holds and leads which buffer | `node.rs`, `assign.rs`, `assigned.rs` |
//! | a region's own state; what crashes left between it and `global` | `region.rs`, `region/` |
//! | which nodes are to be fenced and taken back | `sessions.rs` |
//! | a command as a record of the log | `record.rs` |
//! | the catalog as bytes | `snapshot.rs`, `rows.rs` |
//! | what a node does before it ends in order | `stopping.rs` |
//! | what a drain or a rebalance does next | `moves.rs` |
//! | several nodes that keep one catalog | `raft/` |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod apply;
mod assign;
mod assigned;
mod catalog;
mod command;
mod config;
mod consumer;
mod dedupe;
mod lines;
mod mirror;
pub mod moves;
mod name;
mod node;
pub mod raft;
mod record;
pub mod region;
mod rows;
pub mod sessions;
mod snapshot;
mod state;
mod stopping;

pub use apply::{Applied, Outcome, Refused};
pub use assign::Assign;
pub use assigned::{Assigned, DiskFound};
pub use catalog::{
    Buffer, Catalog, Consumer, Lifecycle, RegionId, RegionRow, Tenant, TenantId, Topic, TopicId,
};
pub use command::{Action, Command, CommandError, CreateBuffer, LastTopic, VersionRange};
pub use config::{BufferConfig, ConfigError, Retention, TenantConfig};
pub use consumer::{ConsumerOwner, CreateConsumer};
pub use lines::FieldError;
pub use mirror::{MirrorChange, MirrorConfig};
pub use node::{Address, Node, NodeChange, RegisterNode, Roles};
pub use record::{Entry, EntryError, Place, decode_entry, encode_command, encode_snapshot};
pub use rows::{SnapshotError, SnapshotReader};
pub use state::{CommandAction, State};
pub use stopping::{Stopping, stopping};

/// Cluster versions whose commands this binary can apply.
pub const CLUSTER_VERSIONS: VersionRange = VersionRange { min: 1, max: 3 };

#[cfg(test)]
mod tests;
