//! The rows of clients, and outcomes as one word.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hbuf_core::ids::{Epoch, NodeId, Uuid};

use crate::apply::Outcome;
use crate::assigned::DiskFound;
use crate::catalog::{RegionId, TopicId};
use crate::dedupe::ClientRow;
use crate::lines::{FieldError, Fields, Writer};

pub(crate) fn write_client(client: Uuid, row: &ClientRow, out: &mut Writer) {
    out.field("id", client);
    out.field("number", row.number);
    out.field("index", row.index);
    out.optional("outcome", row.outcome.as_ref().map(outcome_text));
}

pub(crate) fn read_client(fields: &mut Fields<'_>) -> Result<(Uuid, ClientRow), FieldError> {
    let client = fields.uuid("id")?;
    let row = ClientRow {
        number: fields.parse("number")?,
        index: fields.parse("index")?,
        outcome: fields.with_optional("outcome", read_outcome)?,
    };
    Ok((client, row))
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".to_string(),
        Outcome::Node { id, epoch, disk } => format!("node:{}:{epoch}:{}", id.0, disk.as_str()),
        Outcome::Tenant { version } => format!("tenant:{version}"),
        Outcome::Buffer {
            uuid,
            version,
            epoch,
        } => format!("buffer:{uuid}:{version}:{epoch}"),
        Outcome::Region { id } => format!("region:{}", id.0),
        Outcome::Assignment {
            uuid,
            version,
            epoch,
        } => format!("assignment:{uuid}:{version}:{epoch}"),
        Outcome::Topic { id, version } => format!("topic:{}:{version}", id.0),
        Outcome::Consumer { uuid, version } => format!("consumer:{uuid}:{version}"),
        Outcome::Deleting { buffers } => {
            let uuids = buffers.iter().map(|uuid| format!(":{uuid}"));
            format!("deleting{}", uuids.collect::<String>())
        }
    }
}

fn read_outcome(text: &str) -> Option<Outcome> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let parts: Vec<&str> = rest.split(':').filter(|part| !part.is_empty()).collect();
    Some(match (kind, parts.as_slice()) {
        ("done", []) => Outcome::Done,
        ("node", [id, epoch]) => Outcome::Node {
            id: NodeId(id.parse().ok()?),
            epoch: epoch.parse().ok()?,
            // The first format does not say.
            disk: DiskFound::Same,
        },
        ("node", [id, epoch, disk]) => Outcome::Node {
            id: NodeId(id.parse().ok()?),
            epoch: epoch.parse().ok()?,
            disk: DiskFound::parse(disk)?,
        },
        ("region", [id]) => Outcome::Region {
            id: RegionId(id.parse().ok()?),
        },
        ("assignment", [uuid, version, epoch]) => Outcome::Assignment {
            uuid: Uuid::parse(uuid)?,
            version: version.parse().ok()?,
            epoch: Epoch(epoch.parse().ok()?),
        },
        ("tenant", [version]) => Outcome::Tenant {
            version: version.parse().ok()?,
        },
        ("buffer", [uuid, version, epoch]) => Outcome::Buffer {
            uuid: Uuid::parse(uuid)?,
            version: version.parse().ok()?,
            epoch: Epoch(epoch.parse().ok()?),
        },
        ("topic", [id, version]) => Outcome::Topic {
            id: TopicId(id.parse().ok()?),
            version: version.parse().ok()?,
        },
        ("consumer", [uuid, version]) => Outcome::Consumer {
            uuid: Uuid::parse(uuid)?,
            version: version.parse().ok()?,
        },
        ("deleting", uuids) => Outcome::Deleting {
            buffers: uuids
                .iter()
                .map(|u| Uuid::parse(u))
                .collect::<Option<_>>()?,
        },
        _ => return None,
    })
}
