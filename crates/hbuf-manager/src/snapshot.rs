//! The catalog as bytes: one row of text a thing, in a fixed order, ended by a count and a hash.
//!
//! Equal catalogs give equal bytes, so nodes compare the hash at the same index and stop when they
//! differ. What can be derived (names to things, a buffer's topics) is not written.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;

use hbuf_core::ids::{Hash, Micros, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::topic::SlotTable;

use crate::apply::{Outcome, Refused};
use crate::catalog::{
    Buffer, Catalog, Consumer, Lifecycle, RegionId, RegionRow, Tenant, TenantId, Topic, TopicId,
};
use crate::command::Action;
use crate::config::{BufferConfig, TenantConfig};
use crate::consumer::{ConsumerOwner, read_config, write_config};
use crate::dedupe::Clients;
use crate::lines::{FieldError, Fields, Writer};
use crate::mirror::MirrorConfig;
use crate::name::folded;
use crate::rows::{FORMAT, Rows, SnapshotError};
use crate::state::StateParts;

mod assigned_rows;
mod client_rows;

use assigned_rows::read_first_assignment;
pub(crate) use client_rows::{read_client, write_client};

impl StateParts for Catalog {
    type Action = Action;

    fn place(&self) -> (u64, &Clients) {
        (self.applied, &self.clients)
    }

    fn place_mut(&mut self) -> (&mut u64, &mut Clients) {
        (&mut self.applied, &mut self.clients)
    }

    fn act(&mut self, index: u64, time: Micros, action: &Action) -> Result<Outcome, Refused> {
        self.obey(index, time, action)
    }

    fn write_rows<E, P: FnMut(&[u8]) -> Result<(), E>>(&self, rows: &mut Rows<P>) -> Result<(), E> {
        rows.row("catalog", |out| {
            out.field("format", FORMAT);
            out.field("applied", self.applied);
            out.optional("cluster", self.cluster);
            out.field("cluster-version", self.cluster_version);
            out.field("last-topic", self.last_topic);
            out.field("last-node", self.assigned.last_node);
            out.field("last-region", self.last_region);
        })?;
        for (id, region) in &self.regions {
            rows.row("region", |out| write_region(*id, region, out))?;
        }
        self.assigned.write_nodes(rows)?;
        for (id, tenant) in &self.tenants {
            rows.row("tenant", |out| write_tenant(*id, tenant, out))?;
        }
        for buffer in self.buffers.values() {
            rows.row("buffer", |out| write_buffer(buffer, out))?;
        }
        self.assigned.write_assignments(rows)?;
        for topic in self.topics.values() {
            rows.row("topic", |out| write_topic(topic, out))?;
        }
        for consumer in self.consumers() {
            rows.row("consumer", |out| write_consumer(consumer, out))?;
        }
        for (client, row) in &self.clients.0 {
            rows.row("client", |out| write_client(*client, row, out))?;
        }
        Ok(())
    }

    fn take_row(
        &mut self,
        kind: &str,
        fields: &mut Fields<'_>,
        format: u32,
    ) -> Result<bool, FieldError> {
        let catalog = self;
        match kind {
            "catalog" => {
                catalog.applied = fields.parse("applied")?;
                catalog.cluster = fields.with_optional("cluster", Uuid::parse)?;
                catalog.cluster_version = fields.parse("cluster-version")?;
                catalog.last_topic = fields.parse("last-topic")?;
                catalog.last_region = fields.parse_optional("last-region")?.unwrap_or(0);
                catalog.assigned.last_node = fields.parse_optional("last-node")?.unwrap_or(0);
            }
            "region" => {
                let (id, region) = read_region(fields)?;
                catalog.regions.insert(id, region);
            }
            "node" | "assignment" => return catalog.assigned.take(kind, fields),
            "tenant" => {
                let (id, tenant) = read_tenant(fields)?;
                catalog.tenant_names.insert(folded(&tenant.name), id);
                catalog.tenants.insert(id, tenant);
            }
            "buffer" => {
                let buffer = read_buffer(fields)?;
                if format == 1 {
                    let min = usize::from(buffer.config.effective_min_insync());
                    let assignment = read_first_assignment(fields, buffer.version, min)?;
                    catalog.assigned.buffers.insert(buffer.uuid, assignment);
                }
                catalog.buffers.insert(buffer.uuid, buffer);
            }
            "topic" => {
                let topic = read_topic(fields)?;
                catalog.topics.insert(topic.id, topic);
            }
            "consumer" => catalog.consumers.insert(read_consumer(fields)?),
            "client" => {
                let (client, row) = read_client(fields)?;
                catalog.clients.0.insert(client, row);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish_rows(&mut self) -> Result<(), SnapshotError> {
        self.link()?;
        match self.broken_invariant() {
            None => Ok(()),
            Some(broken) => Err(SnapshotError::Broken(broken)),
        }
    }
}

impl Catalog {
    /// Derives what the rows leave out.
    fn link(&mut self) -> Result<(), SnapshotError> {
        let Self {
            tenants,
            buffers,
            topics,
            mirrors,
            ..
        } = self;
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

fn write_region(id: RegionId, region: &RegionRow, out: &mut Writer) {
    out.field("id", id.0);
    out.field("name", &region.name);
    out.field("group", region.group);
    out.field("created", region.created.0);
}

fn read_region(fields: &mut Fields<'_>) -> Result<(RegionId, RegionRow), FieldError> {
    let id = RegionId(fields.parse("id")?);
    let region = RegionRow {
        name: fields.name("name")?,
        group: fields.uuid("group")?,
        created: Micros(fields.parse("created")?),
    };
    Ok((id, region))
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
    out.optional("region", buffer.region.map(|id| id.0));
    out.field("reserved", buffer.reserved);
    out.field("log", buffer.log);
    out.field("idem-key", buffer.idem_key);
    out.field("lifecycle", buffer.lifecycle.as_str());
    out.field("state", buffer.state.as_str());
    out.field("version", buffer.version);
    out.field("created", buffer.created.0);
    buffer.config.write(out);
    if let Some(mirror) = &buffer.mirror {
        mirror.write(out);
    }
}

fn read_buffer(fields: &mut Fields<'_>) -> Result<Buffer, FieldError> {
    Ok(Buffer {
        uuid: fields.uuid("uuid")?,
        tenant: TenantId(fields.parse("tenant")?),
        name: fields.name("name")?,
        region: fields.parse_optional("region")?.map(RegionId),
        reserved: fields.parse_optional("reserved")?.unwrap_or(0),
        log: fields.uuid("log")?,
        idem_key: fields.with("idem-key", |value| Hash::parse_hex(value.as_bytes()))?,
        lifecycle: fields.with("lifecycle", Lifecycle::parse)?,
        state: fields.with("state", BufferState::parse)?,
        version: fields.parse("version")?,
        created: Micros(fields.parse("created")?),
        config: BufferConfig::read(fields)?,
        mirror: MirrorConfig::read(fields)?,
        topics: Box::default(),
    })
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
