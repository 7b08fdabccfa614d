//! The catalog as bytes: one row of text a thing, in a fixed order, ended by a count and a hash.
//!
//! Equal catalogs give equal bytes, so nodes compare the hash at the same index and stop when they
//! differ. What can be derived (names to things, a buffer's topics) is not written.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hbuf_core::ids::{Epoch, Hash, Micros, NodeId, Seq, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::topic::SlotTable;
use sha2::{Digest, Sha256};

use crate::apply::Outcome;
use crate::catalog::{
    Buffer, Catalog, ClientRow, Consumer, Lifecycle, Member, Node, Tenant, TenantId, Topic, TopicId,
};
use crate::config::{BufferConfig, TenantConfig};
use crate::consumer::{ConsumerOwner, read_config, write_config};
use crate::lines::{FieldError, Fields, Layout, Writer};
use crate::mirror::MirrorConfig;
use crate::name::folded;

/// The version of the rows below.
const FORMAT: u32 = 1;

/// Why a snapshot cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A newer format.
    #[error(
        "the snapshot has format {format}, and this hbuf reads {FORMAT}; start a newer version"
    )]
    Format {
        /// Its format.
        format: u32,
    },
    /// A row that cannot be read.
    #[error("row {row} of the snapshot cannot be read: {why}")]
    Row {
        /// Its number, counting from 1.
        row: u64,
        /// What is wrong.
        why: FieldError,
    },
    /// A row of an unknown kind.
    #[error("row {row} of the snapshot is of the unknown kind `{kind}`")]
    Kind {
        /// Its number, counting from 1.
        row: u64,
        /// Its first word.
        kind: String,
    },
    /// The end is missing, or its count or hash is another.
    #[error("the snapshot is not whole: {what}")]
    NotWhole {
        /// What is missing.
        what: &'static str,
    },
    /// The rows contradict each other.
    #[error("the snapshot contradicts itself: {0}")]
    Broken(String),
}

impl Catalog {
    /// Writes the catalog in pieces of whole rows, each about `piece_bytes` long, and tells its
    /// hash.
    pub fn encode<E>(
        &self,
        piece_bytes: usize,
        put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Hash, E> {
        let mut rows = Rows::new(piece_bytes, put);
        rows.row("catalog", |out| {
            out.field("format", FORMAT);
            out.field("applied", self.applied);
            out.optional("cluster", self.cluster);
            out.field("cluster-version", self.cluster_version);
            out.field("last-topic", self.last_topic);
        })?;
        for (id, node) in &self.nodes {
            rows.row("node", |out| write_node(*id, node, out))?;
        }
        for (id, tenant) in &self.tenants {
            rows.row("tenant", |out| write_tenant(*id, tenant, out))?;
        }
        for buffer in self.buffers.values() {
            rows.row("buffer", |out| write_buffer(buffer, out))?;
        }
        for topic in self.topics.values() {
            rows.row("topic", |out| write_topic(topic, out))?;
        }
        for consumer in self.consumers() {
            rows.row("consumer", |out| write_consumer(consumer, out))?;
        }
        for (client, row) in &self.clients {
            rows.row("client", |out| write_client(*client, row, out))?;
        }
        rows.finish()
    }

    /// The hash of the catalog: equal at equal indexes on every node.
    #[must_use]
    pub fn state_hash(&self) -> Hash {
        let hash = self.encode(64 << 10, |_| Ok::<(), core::convert::Infallible>(()));
        hash.unwrap_or_else(|never| match never {})
    }
}

/// Collects rows into pieces and hashes them.
struct Rows<P> {
    out: Writer,
    count: u64,
    hash: Sha256,
    piece_bytes: usize,
    put: P,
}

impl<E, P: FnMut(&[u8]) -> Result<(), E>> Rows<P> {
    fn new(piece_bytes: usize, put: P) -> Self {
        Self {
            out: Writer::new(Layout::Row),
            count: 0,
            hash: Sha256::new(),
            piece_bytes,
            put,
        }
    }

    fn row(&mut self, kind: &str, write: impl FnOnce(&mut Writer)) -> Result<(), E> {
        let start = self.out.text.len();
        self.out.text.push_str(kind);
        write(&mut self.out);
        self.out.text.push('\n');
        self.hash.update(&self.out.text.as_bytes()[start..]);
        self.count += 1;
        if self.out.text.len() < self.piece_bytes {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), E> {
        (self.put)(self.out.text.as_bytes())?;
        self.out.text.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Hash, E> {
        let hash = Hash(self.hash.finalize().into());
        self.out.text.push_str("end");
        self.out.field("rows", self.count);
        self.out.field("hash", hash);
        self.out.text.push('\n');
        (self.put)(self.out.text.as_bytes())?;
        Ok(hash)
    }
}

/// Reads a snapshot piece by piece.
#[derive(Debug, Default)]
pub struct SnapshotReader {
    catalog: Catalog,
    rows: u64,
    hash: Sha256,
    ended: bool,
}

impl SnapshotReader {
    /// A reader before the first piece.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece, which holds whole rows.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        let not_text = |_| SnapshotError::Row {
            row: self.rows + 1,
            why: FieldError::NotText,
        };
        let text = core::str::from_utf8(piece).map_err(not_text)?;
        for line in text.split_inclusive('\n') {
            if self.ended {
                return Err(SnapshotError::NotWhole {
                    what: "there is something behind its end",
                });
            }
            self.line(line)?;
        }
        Ok(())
    }

    /// Whether the last row was read.
    #[must_use]
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// The catalog, when the snapshot was whole and makes sense.
    pub fn finish(mut self) -> Result<Catalog, SnapshotError> {
        if !self.ended {
            return Err(SnapshotError::NotWhole {
                what: "its last row is missing",
            });
        }
        self.link()?;
        match self.catalog.broken_invariant() {
            None => Ok(self.catalog),
            Some(broken) => Err(SnapshotError::Broken(broken)),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), SnapshotError> {
        let row = self.rows + 1;
        let text = line.strip_suffix('\n').unwrap_or(line);
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut fields = Fields::read_row(rest).map_err(|why| SnapshotError::Row { row, why })?;
        if kind == "end" {
            return self
                .end(&mut fields)
                .map_err(|why| SnapshotError::Row { row, why })?;
        }
        if kind == "catalog" {
            let format = fields
                .parse("format")
                .map_err(|why| SnapshotError::Row { row, why })?;
            if format != FORMAT {
                return Err(SnapshotError::Format { format });
            }
        }
        let unreadable = |why| SnapshotError::Row { row, why };
        if !self.take(kind, &mut fields).map_err(unreadable)? {
            return Err(SnapshotError::Kind {
                row,
                kind: kind.to_string(),
            });
        }
        fields.finish().map_err(unreadable)?;
        self.hash.update(line.as_bytes());
        self.rows = row;
        Ok(())
    }

    fn end(&mut self, fields: &mut Fields<'_>) -> Result<Result<(), SnapshotError>, FieldError> {
        let rows: u64 = fields.parse("rows")?;
        let hash = fields.with("hash", |value| Hash::parse_hex(value.as_bytes()))?;
        self.ended = true;
        let counted: [u8; 32] = core::mem::take(&mut self.hash).finalize().into();
        if rows != self.rows || hash.0 != counted {
            let what = "the hash at its end is another";
            return Ok(Err(SnapshotError::NotWhole { what }));
        }
        Ok(Ok(()))
    }

    /// Takes one row; `false` when its kind is unknown.
    fn take(&mut self, kind: &str, fields: &mut Fields<'_>) -> Result<bool, FieldError> {
        let catalog = &mut self.catalog;
        match kind {
            "catalog" => {
                catalog.applied = fields.parse("applied")?;
                catalog.cluster = fields.with_optional("cluster", Uuid::parse)?;
                catalog.cluster_version = fields.parse("cluster-version")?;
                catalog.last_topic = fields.parse("last-topic")?;
            }
            "node" => {
                let (id, node) = read_node(fields)?;
                catalog.nodes.insert(id, node);
            }
            "tenant" => {
                let (id, tenant) = read_tenant(fields)?;
                catalog.tenant_names.insert(folded(&tenant.name), id);
                catalog.tenants.insert(id, tenant);
            }
            "buffer" => {
                let buffer = read_buffer(fields)?;
                catalog.buffers.insert(buffer.uuid, buffer);
            }
            "topic" => {
                let topic = read_topic(fields)?;
                catalog.topics.insert(topic.id, topic);
            }
            "consumer" => catalog.consumers.insert(read_consumer(fields)?),
            "client" => {
                let (client, row) = read_client(fields)?;
                catalog.clients.insert(client, row);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Derives what the rows leave out.
    fn link(&mut self) -> Result<(), SnapshotError> {
        let Catalog {
            tenants,
            buffers,
            topics,
            mirrors,
            ..
        } = &mut self.catalog;
        let no_tenant = || SnapshotError::Broken("a name belongs to no tenant".to_string());
        for buffer in buffers.values() {
            let tenant = tenants.get_mut(&buffer.tenant).ok_or_else(no_tenant)?;
            tenant.buffers.insert(folded(&buffer.name), buffer.uuid);
            if buffer.mirror.is_some() {
                mirrors.insert(buffer.uuid);
            }
        }
        for topic in topics.values() {
            let tenant = tenants.get_mut(&topic.tenant).ok_or_else(no_tenant)?;
            tenant.topics.insert(folded(&topic.name), topic.id);
            for uuid in &topic.buffers {
                let no_buffer = || SnapshotError::Broken(format!("there is no buffer {uuid}"));
                buffers.get_mut(uuid).ok_or_else(no_buffer)?.join(topic.id);
            }
        }
        Ok(())
    }
}

fn write_node(id: NodeId, node: &Node, out: &mut Writer) {
    out.field("id", id.0);
    out.field("name", &node.name);
    out.field("disk", node.disk);
    out.field("epoch", node.epoch);
    out.field("clean", node.clean);
    out.field("versions", node.versions);
}

fn read_node(fields: &mut Fields<'_>) -> Result<(NodeId, Node), FieldError> {
    let id = NodeId(fields.parse("id")?);
    let node = Node {
        name: fields.name("name")?,
        disk: fields.uuid("disk")?,
        epoch: fields.parse("epoch")?,
        clean: fields.parse("clean")?,
        versions: fields.parse("versions")?,
    };
    Ok((id, node))
}

fn write_tenant(id: TenantId, tenant: &Tenant, out: &mut Writer) {
    out.field("id", id.0);
    out.field("name", &tenant.name);
    out.field("version", tenant.version);
    out.field("created", tenant.created.0);
    tenant.config.write(out);
}

fn read_tenant(fields: &mut Fields<'_>) -> Result<(TenantId, Tenant), FieldError> {
    let id = TenantId(fields.parse("id")?);
    let (buffers, topics) = Default::default();
    let tenant = Tenant {
        name: fields.tenant("name")?,
        version: fields.parse("version")?,
        created: Micros(fields.parse("created")?),
        config: TenantConfig::read(fields)?,
        buffers,
        topics,
    };
    Ok((id, tenant))
}

fn write_buffer(buffer: &Buffer, out: &mut Writer) {
    out.field("uuid", buffer.uuid);
    out.field("tenant", buffer.tenant.0);
    out.field("name", &buffer.name);
    out.field("log", buffer.log);
    out.field("history", buffer.history);
    out.field("idem-key", buffer.idem_key);
    out.field("lifecycle", buffer.lifecycle.as_str());
    out.field("state", buffer.state.as_str());
    out.field("version", buffer.version);
    out.field("epoch", buffer.epoch);
    out.optional("primary", buffer.primary.map(|node| node.0));
    out.list("copies", buffer.copies.iter().map(|node| node.0));
    let member = |m: &Member| format!("{}:{}:{}", m.node.0, m.node_epoch, m.from);
    out.list("in-sync", buffer.in_sync.iter().map(member));
    out.field("created", buffer.created.0);
    buffer.config.write(out);
    if let Some(mirror) = &buffer.mirror {
        mirror.write(out);
    }
}

fn read_buffer(fields: &mut Fields<'_>) -> Result<Buffer, FieldError> {
    let node = |value: &str| value.parse().ok().map(NodeId);
    Ok(Buffer {
        uuid: fields.uuid("uuid")?,
        tenant: TenantId(fields.parse("tenant")?),
        name: fields.name("name")?,
        log: fields.uuid("log")?,
        history: fields.uuid("history")?,
        idem_key: fields.with("idem-key", |value| Hash::parse_hex(value.as_bytes()))?,
        lifecycle: fields.with("lifecycle", Lifecycle::parse)?,
        state: fields.with("state", BufferState::parse)?,
        version: fields.parse("version")?,
        epoch: Epoch(fields.parse("epoch")?),
        primary: fields.with_optional("primary", node)?,
        copies: fields.list("copies", node)?.into_boxed_slice(),
        in_sync: fields.list("in-sync", read_member)?.into_boxed_slice(),
        created: Micros(fields.parse("created")?),
        config: BufferConfig::read(fields)?,
        mirror: MirrorConfig::read(fields)?,
        topics: Box::default(),
    })
}

fn read_member(text: &str) -> Option<Member> {
    let mut parts = text.split(':');
    let member = Member {
        node: NodeId(parts.next()?.parse().ok()?),
        node_epoch: parts.next()?.parse().ok()?,
        from: Seq(parts.next()?.parse().ok()?),
    };
    parts.next().is_none().then_some(member)
}

fn write_topic(topic: &Topic, out: &mut Writer) {
    out.field("id", topic.id.0);
    out.field("tenant", topic.tenant.0);
    out.field("name", &topic.name);
    out.field("version", topic.version);
    out.field("created", topic.created.0);
    out.list("buffers", topic.buffers.iter());
    out.optional("slots", topic.slots.to_hex());
}

fn read_topic(fields: &mut Fields<'_>) -> Result<Topic, FieldError> {
    Ok(Topic {
        id: TopicId(fields.parse("id")?),
        tenant: TenantId(fields.parse("tenant")?),
        name: fields.name("name")?,
        version: fields.parse("version")?,
        created: Micros(fields.parse("created")?),
        buffers: fields.list("buffers", Uuid::parse)?.into_boxed_slice(),
        slots: fields
            .with_optional("slots", SlotTable::parse_hex)?
            .unwrap_or_default(),
    })
}

fn write_consumer(consumer: &Consumer, out: &mut Writer) {
    out.field("uuid", consumer.uuid);
    consumer.owner.write(out);
    out.field("name", &consumer.name);
    out.field("version", consumer.version);
    out.field("created", consumer.created.0);
    write_config(&consumer.config, out);
}

fn read_consumer(fields: &mut Fields<'_>) -> Result<Consumer, FieldError> {
    Ok(Consumer {
        uuid: fields.uuid("uuid")?,
        owner: ConsumerOwner::read(fields)?,
        name: fields.name("name")?,
        version: fields.parse("version")?,
        created: Micros(fields.parse("created")?),
        config: read_config(fields)?,
    })
}

fn write_client(client: Uuid, row: &ClientRow, out: &mut Writer) {
    out.field("id", client);
    out.field("number", row.number);
    out.field("index", row.index);
    out.optional("outcome", row.outcome.as_ref().map(outcome_text));
}

fn read_client(fields: &mut Fields<'_>) -> Result<(Uuid, ClientRow), FieldError> {
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
        Outcome::Node { id, epoch } => format!("node:{}:{epoch}", id.0),
        Outcome::Tenant { version } => format!("tenant:{version}"),
        Outcome::Buffer {
            uuid,
            version,
            epoch,
        } => format!("buffer:{uuid}:{version}:{epoch}"),
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
