//! Everything that changes the catalog, and its text form.
//!
//! The text is the body of a record of the manager's log: `name: value` lines, so that
//! `grep -a '^command:' manager/global/*.hbuf` shows a cluster's whole history. The form never
//! changes in place: a new command or field arrives with a new cluster version.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use hbuf_core::consumer;
use hbuf_core::ids::{Hash, Micros, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::limits::COMMAND_BYTES_MAX;
use hbuf_core::name::Name;

use crate::CLUSTER_VERSIONS;
use crate::assign::Assign;
use crate::config::{BufferConfig, TenantConfig};
use crate::consumer::CreateConsumer;
use crate::lines::{FieldError, Fields, Layout, Writer};
use crate::mirror::{MirrorChange, MirrorConfig};
use crate::node::RegisterNode;
use crate::state::CommandAction;

mod command_text;

/// One change of a group's state, with what makes it happen at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command<A = Action> {
    /// Who asks: one life of one proposer.
    pub client: Uuid,
    /// The number that this client gave to the command, counting upwards from 1.
    pub number: u64,
    /// When the proposer asked, by its clock. Shown as the time of creation, never compared.
    pub time: Micros,
    /// What to do.
    pub action: A,
}

/// What a command of the catalog does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Gives the cluster its identity. Everything else is refused before it.
    FoundCluster {
        /// The cluster's id.
        cluster: Uuid,
        /// The cluster version at which it begins: the newest that its founder supports.
        version: u32,
    },
    /// Allows the commands of the next cluster version.
    SetClusterVersion {
        /// The version, one more than the present one.
        version: u32,
    },
    /// A node has started.
    RegisterNode(RegisterNode),
    /// Changes a node's session or settings, or a buffer's assignment.
    Assign(Assign),
    /// Makes a region. Its group is founded behind it, with the same id.
    CreateRegion {
        /// Its name.
        region: Name,
        /// The id of its group.
        group: Uuid,
    },
    /// Forgets a region that has no buffers.
    DeleteRegion {
        /// Its name.
        region: Name,
    },
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
        /// The reservation by which its region placed it; `None` in `global`. A uuid that was given
        /// up and is reserved anew has another.
        reserved: Option<u64>,
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
    /// The region that places it; `None` for `global`.
    pub region: Option<Name>,
    /// The nodes of its copies; the first is the primary. None in a region other than `global`,
    /// which places it itself.
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
    /// The cluster is at a version that this binary does not support.
    #[error(
        "the cluster is at version {version}, and this hbuf supports {CLUSTER_VERSIONS}; start a newer version"
    )]
    ClusterVersion {
        /// The cluster's version.
        version: u32,
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
            Self::Assign(command) => command.name(),
            Self::CreateRegion { .. } => "create-region",
            Self::DeleteRegion { .. } => "delete-region",
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
    pub fn since_cluster_version(&self) -> u32 {
        match self {
            Self::Assign(Assign::RenewLife { .. }) => 3,
            Self::Assign(_) | Self::CreateRegion { .. } | Self::DeleteRegion { .. } => 2,
            Self::CreateBuffer(create) if create.region.is_some() => 2,
            Self::ConfirmBuffer { reserved, .. } if reserved.is_some() => 2,
            Self::RegisterNode(start) if start.life.is_some() || !start.change.is_empty() => 2,
            _ => 1,
        }
    }
}

impl<A: CommandAction> Command<A> {
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
    ///
    /// # Errors
    /// What is wrong; the node must stop then.
    pub fn decode(text: &[u8]) -> Result<Self, CommandError> {
        if text.len() > COMMAND_BYTES_MAX {
            return Err(CommandError::TooLong { length: text.len() });
        }
        let mut fields = Fields::read_lines(text)?;
        let name = fields.take("command")?;
        let client = fields.uuid("client")?;
        let number = fields.parse("number")?;
        let time = Micros(fields.parse("time")?);
        let action = A::read(name, &mut fields)?;
        fields.finish()?;
        Ok(Self {
            client,
            number,
            time,
            action,
        })
    }
}
