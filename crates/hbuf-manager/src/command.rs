//! Everything that changes the catalog, and its text form.
//!
//! The text is the body of a record of the manager's log: `name: value` lines, so that
//! `grep -a '^command:' manager/global/*.hbuf` shows a cluster's whole history. The form never
//! changes in place: a new command or field arrives with a new cluster version.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use hbuf_core::consumer;
use hbuf_core::ids::{Hash, Micros, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::limits::COMMAND_BYTES_MAX;
use hbuf_core::name::Name;

use crate::config::{BufferConfig, TenantConfig};
use crate::consumer::{CreateConsumer, read_config, write_config};
use crate::lines::{FieldError, Fields, Layout, Writer};
use crate::mirror::{MirrorChange, MirrorConfig};

/// One change, with what makes it happen at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// Who asks: one life of one proposer.
    pub client: Uuid,
    /// The number that this client gave to the command, counting upwards from 1.
    pub number: u64,
    /// When the proposer asked, by its clock. Shown as the time of creation, never compared.
    pub time: Micros,
    /// What to do.
    pub action: Action,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Gives the cluster its identity. Everything else is refused before it.
    FoundCluster {
        /// The cluster's id.
        cluster: Uuid,
    },
    /// Allows the commands of the next cluster version.
    SetClusterVersion {
        /// The version, one more than the present one.
        version: u32,
    },
    /// A node has started.
    RegisterNode(RegisterNode),
    /// Makes a tenant.
    CreateTenant {
        /// Its name.
        tenant: Name,
        /// Its configuration.
        config: TenantConfig,
    },
    /// Changes a tenant's configuration.
    ConfigureTenant {
        /// Its name.
        tenant: Name,
        /// The version that the caller saw; a different one refuses the command.
        expected: Option<u64>,
        /// Its new configuration.
        config: TenantConfig,
    },
    /// Reserves a name and a uuid; the buffer takes messages once it is confirmed.
    CreateBuffer(Box<CreateBuffer>),
    /// The copies of a reserved buffer exist on disk.
    ConfirmBuffer {
        /// The buffer.
        uuid: Uuid,
    },
    /// Changes a buffer's configuration.
    ConfigureBuffer {
        /// The buffer.
        uuid: Uuid,
        /// The version that the caller saw; a different one refuses the command.
        expected: Option<u64>,
        /// Its new configuration.
        config: BufferConfig,
        /// What becomes of what it follows.
        mirror: MirrorChange,
    },
    /// Opens, closes or pauses a buffer.
    SetBufferState {
        /// The buffer.
        uuid: Uuid,
        /// The version that the caller saw; a different one refuses the command.
        expected: Option<u64>,
        /// The state to take.
        state: BufferState,
    },
    /// First step of a deletion: the buffer takes nothing more, its copies may be removed.
    DeleteBuffer {
        /// The buffer.
        uuid: Uuid,
        /// Take it out of its topics first, and delete it although it is paused.
        force: bool,
    },
    /// Last step of a deletion or of a creation given up: no copy is left, the name is free again.
    DropBuffer {
        /// The buffer.
        uuid: Uuid,
    },
    /// Makes a topic of existing buffers.
    CreateTopic {
        /// Its tenant.
        tenant: Name,
        /// Its name.
        topic: Name,
        /// The names of its buffers.
        buffers: Vec<Name>,
    },
    /// Changes which buffers a topic has. A buffer that leaves its last topic stays without one.
    ConfigureTopic {
        /// Its tenant.
        tenant: Name,
        /// Its name.
        topic: Name,
        /// The version that the caller saw; a different one refuses the command.
        expected: Option<u64>,
        /// The names of its buffers.
        buffers: Vec<Name>,
    },
    /// Removes a topic's name.
    DeleteTopic {
        /// Its tenant.
        tenant: Name,
        /// Its name.
        topic: Name,
        /// What becomes of buffers that are in no other topic.
        buffers: LastTopic,
    },
    /// Makes a consumer of a buffer or topic.
    CreateConsumer(Box<CreateConsumer>),
    /// Changes a consumer's configuration.
    ConfigureConsumer {
        /// The consumer.
        uuid: Uuid,
        /// The version that the caller saw; a different one refuses the command.
        expected: Option<u64>,
        /// Its new configuration; where it starts stays as it was.
        config: Box<consumer::Config>,
    },
    /// Removes a consumer. What the cursors logs hold of it goes when they are next folded.
    DeleteConsumer {
        /// The consumer.
        uuid: Uuid,
        /// The version that the caller saw; a different one refuses the command.
        expected: Option<u64>,
    },
}

/// A node's start: its identity and what it found on its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegisterNode {
    /// The node's name.
    pub node: Name,
    /// The id of the disk that holds its copies; another one means that they are gone.
    pub disk: Uuid,
    /// Whether it stopped in order.
    pub clean: bool,
    /// Buffers whose copy cannot be used.
    pub bad: Vec<Uuid>,
    /// Cluster versions that its binary can apply.
    pub versions: VersionRange,
}

/// A new buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateBuffer {
    /// Its tenant; `-` is made when it is first needed.
    pub tenant: Name,
    /// Its name.
    pub name: Name,
    /// Its registration.
    pub uuid: Uuid,
    /// The id of its log, part of every leaf.
    pub log: Uuid,
    /// The id of its first history.
    pub history: Uuid,
    /// The key of the hash under which idempotency keys are kept; every copy needs the same.
    pub idem_key: Hash,
    /// Its configuration.
    pub config: BufferConfig,
    /// The nodes of its copies; the first is the primary.
    pub copies: Vec<Name>,
    /// Topics to be in from the start; those that do not exist are made.
    pub topics: Vec<Name>,
    /// What it follows from the start.
    pub mirror: Option<Box<MirrorConfig>>,
}

/// What becomes of buffers whose last topic is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LastTopic {
    /// Refuse to delete the topic.
    Refuse,
    /// Keep them without a topic.
    Keep,
    /// Delete them too.
    Delete,
}

/// A range of cluster versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionRange {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

/// Why the text of a command cannot be read. Each of these must stop the node: a catalog that left
/// the command out would no longer be the others' catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The command's name is not known.
    #[error(
        "the manager's log holds the command `{name}`, which this version of hbuf does not know; start the version that wrote it, or a newer one"
    )]
    Unknown {
        /// Its name.
        name: String,
    },
    /// The text is longer than a command may be.
    #[error("the command has {length} bytes; at most {COMMAND_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The fields cannot be read.
    #[error("the manager's log holds a command that cannot be read: {0}")]
    Fields(#[from] FieldError),
}

impl VersionRange {
    /// Whether `version` is in the range.
    #[must_use]
    pub const fn contains(self, version: u32) -> bool {
        self.min <= version && version <= self.max
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

impl FromStr for VersionRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (min, max) = text.split_once('-').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(Self {
            min: number(min)?,
            max: number(max)?,
        })
    }
}

impl LastTopic {
    /// The word in commands and requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Keep => "keep",
            Self::Delete => "delete",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Refuse, Self::Keep, Self::Delete]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

impl Action {
    /// The name in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FoundCluster { .. } => "found-cluster",
            Self::SetClusterVersion { .. } => "set-cluster-version",
            Self::RegisterNode(_) => "register-node",
            Self::CreateTenant { .. } => "create-tenant",
            Self::ConfigureTenant { .. } => "configure-tenant",
            Self::CreateBuffer(_) => "create-buffer",
            Self::ConfirmBuffer { .. } => "confirm-buffer",
            Self::ConfigureBuffer { .. } => "configure-buffer",
            Self::SetBufferState { .. } => "set-buffer-state",
            Self::DeleteBuffer { .. } => "delete-buffer",
            Self::DropBuffer { .. } => "drop-buffer",
            Self::CreateTopic { .. } => "create-topic",
            Self::ConfigureTopic { .. } => "configure-topic",
            Self::DeleteTopic { .. } => "delete-topic",
            Self::CreateConsumer(_) => "create-consumer",
            Self::ConfigureConsumer { .. } => "configure-consumer",
            Self::DeleteConsumer { .. } => "delete-consumer",
        }
    }

    /// The cluster version from which on the command may be applied.
    #[must_use]
    pub const fn since_cluster_version(&self) -> u32 {
        1
    }
}

impl Command {
    /// The command as text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(Layout::Lines);
        out.field("command", self.action.name());
        out.field("client", self.client);
        out.field("number", self.number);
        out.field("time", self.time.0);
        self.action.write(&mut out);
        out.text.into_bytes()
    }

    /// Reads the text of a command.
    pub fn decode(text: &[u8]) -> Result<Self, CommandError> {
        if text.len() > COMMAND_BYTES_MAX {
            return Err(CommandError::TooLong { length: text.len() });
        }
        let mut fields = Fields::read_lines(text)?;
        let name = fields.take("command")?;
        let client = fields.uuid("client")?;
        let number = fields.parse("number")?;
        let time = Micros(fields.parse("time")?);
        let action = Action::read(name, &mut fields)?;
        fields.finish()?;
        Ok(Self {
            client,
            number,
            time,
            action,
        })
    }
}

impl Action {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::FoundCluster { cluster } => out.field("cluster", cluster),
            Self::SetClusterVersion { version } => out.field("cluster-version", version),
            Self::RegisterNode(node) => node.write(out),
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
            } => {
                write_topic(out, tenant, topic, None, buffers);
            }
            Self::ConfigureTopic {
                tenant,
                topic,
                expected,
                buffers,
            } => {
                write_topic(out, tenant, topic, *expected, buffers);
            }
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

    /// The commands that name a buffer by its uuid.
    fn write_buffer(&self, out: &mut Writer) {
        match self {
            Self::ConfirmBuffer { uuid } | Self::DropBuffer { uuid } => out.field("uuid", uuid),
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

    fn read(name: &str, fields: &mut Fields<'_>) -> Result<Self, CommandError> {
        Ok(match name {
            "found-cluster" => Self::FoundCluster {
                cluster: fields.uuid("cluster")?,
            },
            "set-cluster-version" => Self::SetClusterVersion {
                version: fields.parse("cluster-version")?,
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

impl RegisterNode {
    fn write(&self, out: &mut Writer) {
        out.field("node", &self.node);
        out.field("disk", self.disk);
        out.field("clean", self.clean);
        out.list("bad", &self.bad);
        out.field("versions", self.versions);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            node: fields.name("node")?,
            disk: fields.uuid("disk")?,
            clean: fields.parse("clean")?,
            bad: fields.list("bad", Uuid::parse)?,
            versions: fields.parse("versions")?,
        })
    }
}

impl CreateBuffer {
    fn write(&self, out: &mut Writer) {
        out.field("tenant", &self.tenant);
        out.field("buffer", &self.name);
        out.field("uuid", self.uuid);
        out.field("log", self.log);
        out.field("history", self.history);
        out.field("idem-key", self.idem_key);
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
            copies: fields.list("copies", |value| Name::parse(value).ok())?,
            topics: fields.list("topics", |value| Name::parse(value).ok())?,
            config: BufferConfig::read(fields)?,
            mirror: MirrorConfig::read(fields)?,
        })
    }
}
