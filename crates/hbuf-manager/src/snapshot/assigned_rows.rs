//! The rows of nodes and assignments, the same in every group of the manager.

use alloc::format;
use alloc::string::String;

use hbuf_core::ids::{Epoch, NodeId, Seq, Uuid};
use hbuf_core::replication::{Assignment, Ended};

use crate::assign::{checkpoint_text, member_text, read_checkpoint, read_member, read_node};
use crate::assigned::Assigned;
use crate::lines::{FieldError, Fields, Writer};
use crate::node::Node;
use crate::rows::Rows;

impl Assigned {
    pub(crate) fn write_nodes<E, P: FnMut(&[u8]) -> Result<(), E>>(
        &self,
        rows: &mut Rows<P>,
    ) -> Result<(), E> {
        let mut nodes = self.nodes.iter();
        nodes.try_for_each(|(id, node)| rows.row("node", |out| node.write(*id, out)))
    }

    pub(crate) fn write_assignments<E, P: FnMut(&[u8]) -> Result<(), E>>(
        &self,
        rows: &mut Rows<P>,
    ) -> Result<(), E> {
        let mut all = self.buffers.iter();
        all.try_for_each(|(uuid, it)| rows.row("assignment", |out| write(*uuid, it, out)))
    }

    /// Takes a row; `false` when its kind is none of these.
    pub(crate) fn take(&mut self, kind: &str, fields: &mut Fields<'_>) -> Result<bool, FieldError> {
        match kind {
            "node" => {
                let (id, node) = Node::read(fields)?;
                // The first format does not say how far numbers were given.
                self.last_node = self.last_node.max(id.0);
                self.nodes.insert(id, node);
            }
            "assignment" => {
                let (uuid, it) = read(fields)?;
                self.buffers.insert(uuid, it);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn write(uuid: Uuid, it: &Assignment, out: &mut Writer) {
    out.field("uuid", uuid);
    out.field("history", it.history);
    out.field("epoch", it.epoch);
    out.field("version", it.version);
    out.optional("primary", it.primary.map(|node| node.0));
    out.list("copies", it.copies.iter().map(|node| node.0));
    out.list("leaving", it.leaving.iter().map(|node| node.0));
    out.field("whole-min", it.whole_min);
    let members = it.in_sync.iter();
    out.list(
        "in-sync",
        members.map(|(node, member)| member_text(*node, *member)),
    );
    let tenures = it.tenures.iter();
    out.list(
        "tenures",
        tenures.map(|(node, version)| format!("{}:{version}", node.0)),
    );
    out.field("min-in-sync", it.min_in_sync);
    out.field("kept-from", it.kept_from);
    out.list("preferred", it.preferred.iter().map(|node| node.0));
    out.list("ended", it.ended.iter().map(ended_text));
}

fn read(fields: &mut Fields<'_>) -> Result<(Uuid, Assignment), FieldError> {
    let uuid = fields.uuid("uuid")?;
    let it = Assignment {
        history: fields.uuid("history")?,
        epoch: Epoch(fields.parse("epoch")?),
        version: fields.parse("version")?,
        primary: fields.with_optional("primary", read_node)?,
        copies: fields.list("copies", read_node)?.into_iter().collect(),
        leaving: fields.list("leaving", read_node)?.into_iter().collect(),
        whole_min: fields.parse("whole-min")?,
        in_sync: fields.list("in-sync", read_member)?.into_iter().collect(),
        tenures: fields.list("tenures", read_tenure)?.into_iter().collect(),
        min_in_sync: fields.parse("min-in-sync")?,
        kept_from: Seq(fields.parse("kept-from")?),
        preferred: fields.list("preferred", read_node)?,
        ended: fields.list("ended", read_ended)?,
    };
    Ok((uuid, it))
}

/// What the first format has of it, in the row of its buffer.
pub(super) fn read_first_assignment(
    fields: &mut Fields<'_>,
    version: u64,
    min_in_sync: usize,
) -> Result<Assignment, FieldError> {
    let copies = fields.list("copies", read_node)?;
    Ok(Assignment {
        epoch: Epoch(fields.parse("epoch")?),
        version,
        primary: fields.with_optional("primary", read_node)?,
        copies: copies.iter().copied().collect(),
        in_sync: fields.list("in-sync", read_member)?.into_iter().collect(),
        preferred: copies,
        ..Assignment::new(fields.uuid("history")?, &[], min_in_sync)
    })
}

fn read_tenure(text: &str) -> Option<(NodeId, u64)> {
    let (node, version) = text.split_once(':')?;
    Some((read_node(node)?, version.parse().ok()?))
}

fn ended_text(ended: &Ended) -> String {
    let last = ended.last.map(checkpoint_text).unwrap_or_default();
    format!(
        "{}:{}:{}:{}:{}:{last}",
        ended.history, ended.epoch, ended.kept_from, ended.kept_through, ended.folded,
    )
}

fn read_ended(text: &str) -> Option<Ended> {
    let mut parts = text.splitn(6, ':');
    Some(Ended {
        history: Uuid::parse(parts.next()?)?,
        epoch: Epoch(parts.next()?.parse().ok()?),
        kept_from: Seq(parts.next()?.parse().ok()?),
        kept_through: Seq(parts.next()?.parse().ok()?),
        folded: parts.next()?.parse().ok()?,
        last: match parts.next()? {
            "" => None,
            last => Some(read_checkpoint(last)?),
        },
    })
}
