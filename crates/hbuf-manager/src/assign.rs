//! Commands about nodes' sessions and about who holds and leads which buffer, the same in every
//! group of the manager, and their text form. What they do is in `assigned.rs`.
//!
//! Nodes are named by their numbers, which are never given twice, and not by names that another
//! node may have tomorrow.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hbuf_core::ids::{Epoch, Hash, NodeId, Seq, Uuid};
use hbuf_core::replication::{Alter, Change, Checkpoint, Force, Member, NodeEpoch};

use crate::lines::{FieldError, Fields, Writer};
use crate::node::NodeChange;

/// A change of nodes' sessions and settings, or of a buffer's assignment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Assign {
    /// The sessions of these nodes have lapsed: their buffers get other primaries. Who has
    /// registered anew since is left alone.
    FenceNodes {
        /// The nodes, each with the registration that has gone silent; at most
        /// [`hbuf_core::limits::NODES_MAX`].
        nodes: Vec<(NodeId, NodeEpoch)>,
    },
    /// A fenced node has spoken again.
    ReviveNode {
        /// The node.
        node: NodeId,
        /// Its registration.
        epoch: NodeEpoch,
    },
    /// A process takes another life, for it saw that somebody has a copy of its disk.
    RenewLife {
        /// The node.
        node: NodeId,
        /// Its registration, which only that process knows.
        epoch: NodeEpoch,
        /// The life, which is on its disk by now.
        life: Uuid,
    },
    /// Sets something on a node.
    SetNode {
        /// The node.
        node: NodeId,
        /// What is set.
        change: NodeChange,
    },
    /// Forgets a node that holds no copy and does not vote. Its number is never given again.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// A primary asks to change a buffer's in-sync set.
    AlterInSync {
        /// The buffer.
        uuid: Uuid,
        /// What is asked, by whom, of which version.
        alter: Alter,
    },
    /// A node has found damage in its copy of a buffer while it ran.
    NoteDamage {
        /// The buffer.
        uuid: Uuid,
        /// The node.
        node: NodeId,
        /// The registration under which it found it: a later one has said itself what is damaged.
        epoch: NodeEpoch,
    },
    /// Sets where a buffer is to be. It moves there copy by copy.
    SetCopies {
        /// The buffer.
        uuid: Uuid,
        /// The version of its assignment that the caller saw; another one refuses the command.
        expected: Option<u64>,
        /// Its nodes, in the order in which they are rather made primary.
        copies: Vec<NodeId>,
    },
    /// Makes another member of the in-sync set primary.
    HandOver {
        /// The buffer.
        uuid: Uuid,
        /// The version of its assignment that the caller saw; another one refuses the command.
        expected: Option<u64>,
        /// Who is to be primary.
        to: NodeId,
    },
    /// Goes on with one copy, and accepts that what it does not hold is lost.
    ForceElect {
        /// The buffer.
        uuid: Uuid,
        /// The version of its assignment that the caller saw; another one refuses the command.
        expected: Option<u64>,
        /// Which copy, and what it holds.
        force: Box<Force>,
    },
    /// What retention has left, as the primaries say. What comes of an older epoch counts for
    /// nothing.
    NoteKept {
        /// The buffers, each with its primary's epoch and the first seq that is left; at most
        /// [`hbuf_core::limits::NOTED_KEPT_MAX`].
        kept: Vec<(Uuid, Epoch, Seq)>,
    },
}

impl Assign {
    /// The name in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FenceNodes { .. } => "fence-nodes",
            Self::ReviveNode { .. } => "revive-node",
            Self::RenewLife { .. } => "renew-life",
            Self::SetNode { .. } => "set-node",
            Self::RemoveNode { .. } => "remove-node",
            Self::AlterInSync { .. } => "alter-in-sync",
            Self::NoteDamage { .. } => "note-damage",
            Self::SetCopies { .. } => "set-copies",
            Self::HandOver { .. } => "hand-over",
            Self::ForceElect { .. } => "force-elect",
            Self::NoteKept { .. } => "note-kept",
        }
    }

    /// The buffer that it is about; `None` when it is about nodes, or about many buffers.
    #[must_use]
    pub const fn buffer(&self) -> Option<Uuid> {
        match self {
            Self::AlterInSync { uuid, .. }
            | Self::NoteDamage { uuid, .. }
            | Self::SetCopies { uuid, .. }
            | Self::HandOver { uuid, .. }
            | Self::ForceElect { uuid, .. } => Some(*uuid),
            _ => None,
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            Self::FenceNodes { nodes } => {
                let nodes = nodes.iter();
                out.list("nodes", nodes.map(|(id, epoch)| pair(*id, *epoch)));
            }
            Self::ReviveNode { node, epoch } => out.field("node", pair(*node, *epoch)),
            Self::RenewLife { node, epoch, life } => {
                out.field("node", pair(*node, *epoch));
                out.field("life", life);
            }
            Self::SetNode { node, change } => {
                out.field("node", node.0);
                change.write(out);
            }
            Self::RemoveNode { node } => out.field("node", node.0),
            Self::AlterInSync { uuid, alter } => {
                out.field("uuid", uuid);
                write_alter(alter, out);
            }
            Self::NoteDamage { uuid, node, epoch } => {
                out.field("uuid", uuid);
                out.field("node", pair(*node, *epoch));
            }
            Self::SetCopies {
                uuid,
                expected,
                copies,
            } => {
                out.field("uuid", uuid);
                out.optional("expected", *expected);
                out.list("copies", copies.iter().map(|node| node.0));
            }
            Self::HandOver { uuid, expected, to } => {
                out.field("uuid", uuid);
                out.optional("expected", *expected);
                out.field("to", to.0);
            }
            Self::ForceElect {
                uuid,
                expected,
                force,
            } => {
                out.field("uuid", uuid);
                out.optional("expected", *expected);
                write_force(force, out);
            }
            Self::NoteKept { kept } => {
                let row =
                    |(uuid, epoch, from): &(Uuid, Epoch, Seq)| format!("{uuid}:{epoch}:{from}");
                out.list("kept", kept.iter().map(row));
            }
        }
    }

    /// Reads the fields of a command; `None` when its name is none of these.
    pub(crate) fn read(name: &str, fields: &mut Fields<'_>) -> Result<Option<Self>, FieldError> {
        Ok(Some(match name {
            "fence-nodes" => Self::FenceNodes {
                nodes: fields.list("nodes", read_pair)?,
            },
            "revive-node" => {
                let (node, epoch) = fields.with("node", read_pair)?;
                Self::ReviveNode { node, epoch }
            }
            "renew-life" => {
                let (node, epoch) = fields.with("node", read_pair)?;
                let life = fields.uuid("life")?;
                Self::RenewLife { node, epoch, life }
            }
            "set-node" => Self::SetNode {
                node: NodeId(fields.parse("node")?),
                change: NodeChange::read(fields)?,
            },
            "remove-node" => Self::RemoveNode {
                node: NodeId(fields.parse("node")?),
            },
            "alter-in-sync" => Self::AlterInSync {
                uuid: fields.uuid("uuid")?,
                alter: read_alter(fields)?,
            },
            "note-damage" => {
                let (node, epoch) = fields.with("node", read_pair)?;
                let uuid = fields.uuid("uuid")?;
                Self::NoteDamage { uuid, node, epoch }
            }
            "set-copies" => Self::SetCopies {
                uuid: fields.uuid("uuid")?,
                expected: fields.parse_optional("expected")?,
                copies: fields.list("copies", read_node)?,
            },
            "hand-over" => Self::HandOver {
                uuid: fields.uuid("uuid")?,
                expected: fields.parse_optional("expected")?,
                to: fields.with("to", read_node)?,
            },
            "force-elect" => Self::ForceElect {
                uuid: fields.uuid("uuid")?,
                expected: fields.parse_optional("expected")?,
                force: Box::new(read_force(fields)?),
            },
            "note-kept" => Self::NoteKept {
                kept: fields.list("kept", read_kept)?,
            },
            _ => return Ok(None),
        }))
    }
}

/// A member of an in-sync set as one word: node, registration, first seq.
pub(crate) fn member_text(node: NodeId, member: Member) -> String {
    format!("{}:{}:{}", node.0, member.node_epoch.0, member.from)
}

pub(crate) fn read_member(text: &str) -> Option<(NodeId, Member)> {
    let mut parts = text.split(':');
    let node = read_node(parts.next()?)?;
    let member = Member {
        node_epoch: NodeEpoch(parts.next()?.parse().ok()?),
        from: Seq(parts.next()?.parse().ok()?),
    };
    parts.next().is_none().then_some((node, member))
}

pub(crate) fn read_node(text: &str) -> Option<NodeId> {
    text.parse().ok().map(NodeId)
}

/// A checkpoint as one word: size and root.
pub(crate) fn checkpoint_text(checkpoint: Checkpoint) -> String {
    format!("{}:{}", checkpoint.size, checkpoint.root)
}

pub(crate) fn read_checkpoint(text: &str) -> Option<Checkpoint> {
    let (size, root) = text.split_once(':')?;
    Some(Checkpoint {
        size: Seq(size.parse().ok()?),
        root: Hash::parse_hex(root.as_bytes())?,
    })
}

fn pair(node: NodeId, epoch: NodeEpoch) -> String {
    format!("{}:{}", node.0, epoch.0)
}

fn read_pair(text: &str) -> Option<(NodeId, NodeEpoch)> {
    let (node, epoch) = text.split_once(':')?;
    Some((read_node(node)?, NodeEpoch(epoch.parse().ok()?)))
}

fn read_kept(text: &str) -> Option<(Uuid, Epoch, Seq)> {
    let (uuid, rest) = text.split_once(':')?;
    let (epoch, from) = rest.split_once(':')?;
    let (epoch, from) = (Epoch(epoch.parse().ok()?), Seq(from.parse().ok()?));
    Some((Uuid::parse(uuid)?, epoch, from))
}

fn write_alter(alter: &Alter, out: &mut Writer) {
    out.field("by", alter.by.0);
    out.field("epoch", alter.epoch);
    out.field("version", alter.version);
    match alter.change {
        Change::Add(node, member) => out.field("add", member_text(node, member)),
        Change::Holds(node, member) => out.field("holds", member_text(node, member)),
        Change::Remove(node) => out.field("remove", node.0),
        Change::Nothing => {}
    }
}

fn read_alter(fields: &mut Fields<'_>) -> Result<Alter, FieldError> {
    let add = fields.with_optional("add", read_member)?;
    let holds = fields.with_optional("holds", read_member)?;
    let remove = fields.with_optional("remove", read_node)?;
    let change = match (add, holds, remove) {
        (Some((node, member)), None, None) => Change::Add(node, member),
        (None, Some((node, member)), None) => Change::Holds(node, member),
        (None, None, Some(node)) => Change::Remove(node),
        (None, None, None) => Change::Nothing,
        _ => {
            let field = "add, holds, remove".into();
            return Err(FieldError::Unknown { field });
        }
    };
    Ok(Alter {
        by: fields.with("by", read_node)?,
        epoch: Epoch(fields.parse("epoch")?),
        version: fields.parse("version")?,
        change,
    })
}

fn write_force(force: &Force, out: &mut Writer) {
    out.field("copy", member_text(force.node, force.member));
    out.field("through", force.through);
    out.field("history", force.history);
    out.optional("last", force.last.map(checkpoint_text));
    out.field("although-fit", force.although_fit);
    // The words with which somebody has answered for it, for those who read the log later.
    out.field("accept-data-loss", true);
}

fn read_force(fields: &mut Fields<'_>) -> Result<Force, FieldError> {
    let (node, member) = fields.with("copy", read_member)?;
    fields.with("accept-data-loss", |value| (value == "true").then_some(()))?;
    Ok(Force {
        node,
        member,
        through: Seq(fields.parse("through")?),
        history: fields.uuid("history")?,
        last: fields.with_optional("last", read_checkpoint)?,
        although_fit: fields.parse("although-fit")?,
    })
}
