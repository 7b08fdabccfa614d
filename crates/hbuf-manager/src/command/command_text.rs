//! The text of commands: what each writes and reads.

use alloc::boxed::Box;
use alloc::string::ToString;

use hbuf_core::ids::{Hash, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::name::Name;

use super::{Action, CommandError, CreateBuffer, LastTopic};
use crate::assign::Assign;
use crate::config::{BufferConfig, TenantConfig};
use crate::consumer::{CreateConsumer, read_config, write_config};
use crate::lines::{FieldError, Fields, Writer};
use crate::mirror::{MirrorChange, MirrorConfig};
use crate::node::RegisterNode;
use crate::region::supported;
use crate::state::CommandAction;

impl CommandAction for Action {
    fn name(&self) -> &'static str {
        Self::name(self)
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::FoundCluster { cluster, version } => {
                out.field("cluster", cluster);
                // The first version has no field for itself.
                out.optional("cluster-version", Some(*version).filter(|it| *it > 1));
            }
            Self::SetClusterVersion { version } => out.field("cluster-version", version),
            Self::RegisterNode(node) => node.write(out),
            Self::Assign(command) => command.write(out),
            Self::CreateRegion { region, group } => write_region(out, region, Some(*group)),
            Self::DeleteRegion { region } => write_region(out, region, None),
            Self::CreateTenant { tenant, config } => {
                out.field("tenant", tenant);
                config.write(out);
            }
            Self::ConfigureTenant {
                tenant,
                expected,
                config,
            } => {
                out.field("tenant", tenant);
                out.optional("expected", *expected);
                config.write(out);
            }
            Self::CreateBuffer(create) => create.write(out),
            Self::ConfirmBuffer { .. }
            | Self::DropBuffer { .. }
            | Self::ConfigureBuffer { .. }
            | Self::SetBufferState { .. }
            | Self::DeleteBuffer { .. } => self.write_buffer(out),
            Self::CreateTopic {
                tenant,
                topic,
                buffers,
            } => write_topic(out, tenant, topic, None, buffers),
            Self::ConfigureTopic {
                tenant,
                topic,
                expected,
                buffers,
            } => write_topic(out, tenant, topic, *expected, buffers),
            Self::DeleteTopic {
                tenant,
                topic,
                buffers,
            } => {
                out.field("tenant", tenant);
                out.field("topic", topic);
                out.field("buffers", buffers.as_str());
            }
            Self::CreateConsumer(create) => create.write(out),
            Self::ConfigureConsumer {
                uuid,
                expected,
                config,
            } => {
                out.field("uuid", uuid);
                out.optional("expected", *expected);
                write_config(config, out);
            }
            Self::DeleteConsumer { uuid, expected } => {
                out.field("uuid", uuid);
                out.optional("expected", *expected);
            }
        }
    }

    fn read(name: &str, fields: &mut Fields<'_>) -> Result<Self, CommandError> {
        if let Some(command) = Assign::read(name, fields)? {
            return Ok(Self::Assign(command));
        }
        Ok(match name {
            "found-cluster" => Self::FoundCluster {
                cluster: fields.uuid("cluster")?,
                version: supported(fields.parse_optional("cluster-version")?.unwrap_or(1))?,
            },
            "set-cluster-version" => Self::SetClusterVersion {
                version: supported(fields.parse("cluster-version")?)?,
            },
            "create-region" => Self::CreateRegion {
                region: fields.name("region")?,
                group: fields.uuid("group")?,
            },
            "delete-region" => Self::DeleteRegion {
                region: fields.name("region")?,
            },
            "register-node" => Self::RegisterNode(RegisterNode::read(fields)?),
            "create-buffer" => Self::CreateBuffer(Box::new(CreateBuffer::read(fields)?)),
            "create-tenant" | "configure-tenant" => Self::read_tenant(name, fields)?,
            "create-topic" | "configure-topic" | "delete-topic" => Self::read_topic(name, fields)?,
            "create-consumer" => Self::CreateConsumer(Box::new(CreateConsumer::read(fields)?)),
            "configure-consumer" => Self::ConfigureConsumer {
                uuid: fields.uuid("uuid")?,
                expected: fields.parse_optional("expected")?,
                config: Box::new(read_config(fields)?),
            },
            "delete-consumer" => Self::DeleteConsumer {
                uuid: fields.uuid("uuid")?,
                expected: fields.parse_optional("expected")?,
            },
            _ => Self::read_buffer(name, fields)?,
        })
    }
}

impl Action {
    /// The commands that name a buffer by its uuid.
    fn write_buffer(&self, out: &mut Writer) {
        match self {
            Self::ConfirmBuffer { uuid, reserved } => {
                out.field("uuid", uuid);
                out.optional("reserved", *reserved);
            }
            Self::DropBuffer { uuid } => out.field("uuid", uuid),
            Self::ConfigureBuffer {
                uuid,
                expected,
                config,
                mirror,
            } => {
                out.field("uuid", uuid);
                out.optional("expected", *expected);
                config.write(out);
                mirror.write(out);
            }
            Self::SetBufferState {
                uuid,
                expected,
                state,
            } => {
                out.field("uuid", uuid);
                out.optional("expected", *expected);
                out.field("state", state.as_str());
            }
            Self::DeleteBuffer { uuid, force } => {
                out.field("uuid", uuid);
                out.field("force", force);
            }
            _ => {}
        }
    }

    fn read_tenant(name: &str, fields: &mut Fields<'_>) -> Result<Self, CommandError> {
        let tenant = fields.tenant("tenant")?;
        if name == "create-tenant" {
            return Ok(Self::CreateTenant {
                tenant,
                config: TenantConfig::read(fields)?,
            });
        }
        let expected = fields.parse_optional("expected")?;
        Ok(Self::ConfigureTenant {
            tenant,
            expected,
            config: TenantConfig::read(fields)?,
        })
    }

    fn read_topic(name: &str, fields: &mut Fields<'_>) -> Result<Self, CommandError> {
        let tenant = fields.tenant("tenant")?;
        let topic = fields.name("topic")?;
        if name == "delete-topic" {
            let buffers = fields.with("buffers", LastTopic::parse)?;
            return Ok(Self::DeleteTopic {
                tenant,
                topic,
                buffers,
            });
        }
        let buffers = fields.list("buffers", |value| Name::parse(value).ok())?;
        if name == "create-topic" {
            return Ok(Self::CreateTopic {
                tenant,
                topic,
                buffers,
            });
        }
        let expected = fields.parse_optional("expected")?;
        Ok(Self::ConfigureTopic {
            tenant,
            topic,
            expected,
            buffers,
        })
    }

    /// The commands that name a buffer by its uuid; any other name is unknown.
    fn read_buffer(name: &str, fields: &mut Fields<'_>) -> Result<Self, CommandError> {
        Ok(match name {
            "confirm-buffer" => Self::ConfirmBuffer {
                uuid: fields.uuid("uuid")?,
                reserved: fields.parse_optional("reserved")?,
            },
            "drop-buffer" => Self::DropBuffer {
                uuid: fields.uuid("uuid")?,
            },
            "configure-buffer" => Self::ConfigureBuffer {
                uuid: fields.uuid("uuid")?,
                expected: fields.parse_optional("expected")?,
                config: BufferConfig::read(fields)?,
                mirror: MirrorChange::read(fields)?,
            },
            "set-buffer-state" => Self::SetBufferState {
                uuid: fields.uuid("uuid")?,
                expected: fields.parse_optional("expected")?,
                state: fields.with("state", BufferState::parse)?,
            },
            "delete-buffer" => Self::DeleteBuffer {
                uuid: fields.uuid("uuid")?,
                force: fields.parse("force")?,
            },
            unknown => {
                return Err(CommandError::Unknown {
                    name: unknown.to_string(),
                });
            }
        })
    }
}

fn write_region(out: &mut Writer, region: &Name, group: Option<Uuid>) {
    out.field("region", region);
    out.optional("group", group);
}

fn write_topic(
    out: &mut Writer,
    tenant: &Name,
    topic: &Name,
    expected: Option<u64>,
    buffers: &[Name],
) {
    out.field("tenant", tenant);
    out.field("topic", topic);
    out.optional("expected", expected);
    out.list("buffers", buffers);
}

impl CreateBuffer {
    fn write(&self, out: &mut Writer) {
        out.field("tenant", &self.tenant);
        out.field("buffer", &self.name);
        out.field("uuid", self.uuid);
        out.field("log", self.log);
        out.field("history", self.history);
        out.field("idem-key", self.idem_key);
        out.optional("region", self.region.as_ref());
        out.list("copies", &self.copies);
        out.list("topics", &self.topics);
        self.config.write(out);
        if let Some(mirror) = &self.mirror {
            mirror.write(out);
        }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            tenant: fields.tenant("tenant")?,
            name: fields.name("buffer")?,
            uuid: fields.uuid("uuid")?,
            log: fields.uuid("log")?,
            history: fields.uuid("history")?,
            idem_key: fields.with("idem-key", |value| Hash::parse_hex(value.as_bytes()))?,
            region: fields.with_optional("region", |value| Name::parse(value).ok())?,
            copies: fields.list("copies", |value| Name::parse(value).ok())?,
            topics: fields.list("topics", |value| Name::parse(value).ok())?,
            config: BufferConfig::read(fields)?,
            mirror: MirrorConfig::read(fields)?,
        })
    }
}
