//! What operators set and see of buffers and topics, and how it maps onto the manager's records.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use hbuf_core::ids::{Micros, NodeId, Uuid};
use hbuf_core::input::{BufferConfig, BufferState};
use hbuf_core::name::Name;
use hbuf_core::retention::Retention;
use hbuf_manager as manager;
use hbuf_manager::MirrorConfig;

use super::consumer_calls::ConsumerError;
use super::consumer_catalog::ConsumerLookupError;
use super::open::LookupError;
use crate::disk::recovery::Expected;
use crate::manager::ProposeError;

/// What a caller may set on a buffer; what is not set keeps its value or its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferSettings {
    /// Size at which a segment rolls, in bytes.
    pub segment_bytes: Option<u64>,
    /// Age of messages that may go, in seconds; 0 keeps them.
    pub retention_seconds: Option<u64>,
    /// Bytes that the log may be cut down to; 0 keeps all.
    pub retention_bytes: Option<u64>,
    /// Messages that the log may be cut down to; 0 keeps all.
    pub retention_count: Option<u64>,
    /// Copies besides the primary.
    pub replicas: Option<u8>,
    /// Copies, the primary included, that must hold a message before it is committed: 1 to
    /// `replicas` + 1; named as `None` for two, or all when there are fewer.
    pub min_insync: Option<Option<u8>>,
}

/// A buffer as the manager knows it.
#[derive(Clone, Debug)]
pub struct BufferInfo {
    /// Its name.
    pub name: Name,
    /// Its registration.
    pub uuid: Uuid,
    /// Its log's id.
    pub log: Uuid,
    /// Its history.
    pub history: Uuid,
    /// Its configuration.
    pub config: manager::BufferConfig,
    /// Whether it takes messages.
    pub state: BufferState,
    /// Grows with every change of this record.
    pub version: u64,
    /// The primary's epoch.
    pub epoch: hbuf_core::ids::Epoch,
    /// When it was made.
    pub created: Micros,
    /// The topics that it is in.
    pub topics: Vec<Name>,
    /// What it follows, when it is a mirror.
    pub mirror: Option<MirrorConfig>,
}

/// What a caller wants a buffer to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorSettings {
    /// The origin's name.
    pub of: String,
    /// Only messages with any of these tags; none is all messages.
    pub tags: Vec<Box<[u8]>>,
    /// Begin with what the origin has, not only with what it gets.
    pub from_start: bool,
}

/// A topic as the manager knows it.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// Its name.
    pub name: Name,
    /// Its buffers in order.
    pub buffers: Vec<Name>,
    /// Grows with every change.
    pub version: u64,
    /// When it was made.
    pub created: Micros,
}

/// A buffer of a topic.
#[derive(Clone, Debug)]
pub struct MemberInfo {
    /// Its name.
    pub name: Name,
    /// Whether it takes messages.
    pub state: BufferState,
    /// Slots of keys that are its own.
    pub slots: usize,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The entries in the order of their names.
    pub entries: Vec<T>,
    /// True when more follow behind the last one.
    pub more: bool,
}

/// Why a change of the catalog was refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The manager refused it, or cannot be reached.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The files could not be made or removed.
    #[error("the buffer's files cannot be changed: {0}")]
    Files(Arc<io::Error>),
    /// The name leads nowhere.
    #[error("{0}")]
    Lookup(Box<LookupError>),
    /// The consumer cannot begin.
    #[error(transparent)]
    Consumer(Box<ConsumerError>),
    /// The buffer that a mirror shall follow is not there.
    #[error("there is no buffer `{name}` to follow: create it first")]
    NoOrigin {
        /// The name.
        name: String,
    },
    /// There is no consumer of this name.
    #[error("there is no consumer `{name}`: create it with PUT")]
    NoConsumer {
        /// The name.
        name: String,
    },
    /// A topic's append would create a buffer, but the tenant does not allow that.
    #[error(
        "`{name}` does not exist, and this tenant does not create on append: create it with PUT"
    )]
    NotAllowed {
        /// The name.
        name: String,
    },
    /// This node cannot hold so many copies.
    #[error(
        "{wanted} replicas need {wanted} more nodes, and this cluster has one: set replicas to 0"
    )]
    NotEnoughNodes {
        /// Replicas asked for.
        wanted: u8,
    },
}

impl From<ConsumerLookupError> for CatalogError {
    fn from(error: ConsumerLookupError) -> Self {
        match error {
            ConsumerLookupError::Owner(error) => error.into(),
            ConsumerLookupError::NoConsumer { name } => Self::NoConsumer { name },
        }
    }
}

impl From<LookupError> for CatalogError {
    fn from(error: LookupError) -> Self {
        Self::Lookup(Box::new(error))
    }
}

/// What recovery must know of a buffer; `None` for one that another group of the manager assigns.
pub(super) fn expected(
    catalog: &manager::Catalog,
    buffer: &manager::Buffer,
    node: NodeId,
) -> Option<Expected> {
    let assignment = catalog.assignment(buffer.uuid)?;
    let registered = catalog.node_by_id(node)?;
    Some(Expected {
        buffer: buffer.uuid,
        log: buffer.log,
        node,
        node_epoch: registered.epoch,
        assignment: Arc::new(assignment.clone()),
        config: core_config(&buffer.config, buffer.mirror.as_deref()),
        state: buffer.state,
    })
}

pub(super) fn core_config(
    config: &manager::BufferConfig,
    mirror: Option<&MirrorConfig>,
) -> BufferConfig {
    let keep = &config.retention;
    BufferConfig {
        follows: mirror.map(|mirror| mirror.of),
        segment_bytes: config.segment_bytes,
        retention: Retention {
            age_micros: keep
                .age_seconds
                .map(|seconds| seconds.get().saturating_mul(1_000_000)),
            bytes: keep.bytes.map(NonZeroU64::get),
            count: keep.count.map(NonZeroU64::get),
        },
    }
}

impl BufferSettings {
    /// These settings over a configuration.
    pub(super) fn over(&self, mut config: manager::BufferConfig) -> manager::BufferConfig {
        let limit = |set: Option<u64>, before| set.map_or(before, NonZeroU64::new);
        config.segment_bytes = self.segment_bytes.unwrap_or(config.segment_bytes);
        config.replicas = self.replicas.unwrap_or(config.replicas);
        config.min_insync = self.min_insync.unwrap_or(config.min_insync);
        let keep = &mut config.retention;
        keep.age_seconds = limit(self.retention_seconds, keep.age_seconds);
        keep.bytes = limit(self.retention_bytes, keep.bytes);
        keep.count = limit(self.retention_count, keep.count);
        config
    }
}

pub(super) fn info(catalog: &manager::Catalog, buffer: &manager::Buffer) -> BufferInfo {
    let assigned = catalog.assignment(buffer.uuid);
    BufferInfo {
        name: buffer.name.clone(),
        uuid: buffer.uuid,
        log: buffer.log,
        history: assigned.map(|it| it.history).unwrap_or_default(),
        config: buffer.config,
        state: buffer.state,
        version: buffer.version,
        epoch: assigned.map(|it| it.epoch).unwrap_or_default(),
        created: buffer.created,
        topics: catalog
            .topics_of_buffer(buffer.uuid)
            .map(|topic| topic.name.clone())
            .collect(),
        mirror: buffer.mirror.as_deref().cloned(),
    }
}

pub(super) fn topic_info(catalog: &manager::Catalog, topic: &manager::Topic) -> TopicInfo {
    TopicInfo {
        name: topic.name.clone(),
        buffers: catalog
            .buffers_of_topic(topic)
            .map(|buffer| buffer.name.clone())
            .collect(),
        version: topic.version,
        created: topic.created,
    }
}

pub(super) fn page<T>(entries: impl Iterator<Item = T>, limit: usize) -> Page<T> {
    let mut entries: Vec<T> = entries.take(limit + 1).collect();
    let more = entries.len() > limit;
    entries.truncate(limit);
    Page { entries, more }
}
