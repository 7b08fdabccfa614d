//! Why the manager refuses a command. Each text says what the caller can do.

use alloc::format;
use alloc::string::String;

use hbuf_core::consumer;
use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::limits::{
    BUFFERS_MAX, BUFFERS_PER_TOPIC_MAX, CONSUMERS_PER_BUFFER_MAX, COPIES_MAX, NODE_LIVES_MAX,
    NODES_MAX, REGIONS_MAX, TOPICS_PER_BUFFER_MAX,
};
use hbuf_core::name::Name;
use hbuf_core::replication::{AlterRefused, ForceRefused, HandOverRefused, MoveRefused};

use crate::catalog::{Lifecycle, TopicId};
use crate::command::VersionRange;
use crate::config::ConfigError;

/// Why a command is refused; the catalog is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// There is no cluster yet.
    #[error("the cluster is not founded yet; start one node with --bootstrap")]
    NotFounded,
    /// There is another cluster already.
    #[error("this log belongs to the cluster {cluster}; join that one, or use an empty directory")]
    AlreadyFounded {
        /// Its id.
        cluster: Uuid,
    },
    /// The command belongs to a later cluster version.
    #[error(
        "this needs cluster version {needed}, and the cluster is at {current}; upgrade every node, then raise the cluster version"
    )]
    ClusterVersion {
        /// The version that allows it.
        needed: u32,
        /// The present version.
        current: u32,
    },
    /// Cluster versions are taken one by one.
    #[error(
        "the cluster version is {current}; it can only be set to the next one, not to {version}"
    )]
    ClusterVersionStep {
        /// The version asked for.
        version: u32,
        /// The present version.
        current: u32,
    },
    /// A registered node could not apply the next version's commands.
    #[error("the node {node} does not know cluster version {version}; upgrade or remove it first")]
    NodeTooOld {
        /// Its name.
        node: Name,
        /// The version asked for.
        version: u32,
    },
    /// A node whose binary cannot apply this cluster's commands.
    #[error(
        "this hbuf knows cluster versions {versions}, and the cluster is at {current}; run a version of hbuf that knows it"
    )]
    NodeVersions {
        /// What the node's binary knows.
        versions: VersionRange,
        /// The present version.
        current: u32,
    },
    /// The disk is registered under another node's name.
    #[error(
        "the disk {disk} belongs to the node {node}; a copied data directory must get an id of its own"
    )]
    DiskTaken {
        /// The disk.
        disk: Uuid,
        /// Its node.
        node: Name,
    },
    /// The process that registered with this disk last is taken to be alive.
    #[error(
        "the disk {disk} is in use by the node {node}, or was until a moment ago; wait until its session has lapsed, and see that no copy of this directory runs elsewhere"
    )]
    DiskInUse {
        /// The disk.
        disk: Uuid,
        /// Its node.
        node: Name,
    },
    /// The process that registered with this disk last is taken to be alive, and this disk does not
    /// know it: another one does.
    #[error(
        "the node {node} lives with the identity of this disk {disk}, which does not know its process: the disk is a copy, or was set back; give a copy an identity of its own or take it away, or wait until the session of that process has lapsed: then this disk counts as lost"
    )]
    DiskCopied {
        /// The disk.
        disk: Uuid,
        /// Its node.
        node: Name,
    },
    /// A process with this name and another disk is taken to be alive.
    #[error(
        "a node {node} with another disk is alive, or was until a moment ago; choose another name, or stop it and wait until its session has lapsed"
    )]
    NameInUse {
        /// The name.
        node: Name,
    },
    /// The disk has registered with lives before, which tell a disk that was set back.
    #[error(
        "the node {node} registers without a life; start the version of hbuf that it ran before"
    )]
    NoLife {
        /// Its name.
        node: Name,
    },
    /// More lives than a disk remembers.
    #[error("the disk names too many earlier lives; it remembers at most {NODE_LIVES_MAX}")]
    TooManyLives,
    /// More nodes than allowed.
    #[error("there are {NODES_MAX} nodes, the most that a cluster can have; remove some")]
    TooManyNodes,
    /// A command is about more at once than it may be.
    #[error("the command names {got} {what}; name at most {most} in one")]
    TooManyNamed {
        /// What is named.
        what: &'static str,
        /// How many of them.
        got: usize,
        /// How many it may be.
        most: usize,
    },
    /// A later process has registered for this node.
    #[error("node {} has registered anew since; this process must stop", node.0)]
    NodeSuperseded {
        /// Its number.
        node: NodeId,
    },
    /// No node has this number.
    #[error("there is no node {}", node.0)]
    NoSuchNodeId {
        /// The number.
        node: NodeId,
    },
    /// A node with copies cannot be forgotten.
    #[error("the node {node} holds copies of {copies} buffers; move them away first")]
    NodeHolds {
        /// Its name.
        node: Name,
        /// The buffers.
        copies: usize,
    },
    /// A node that may vote cannot be forgotten.
    #[error(
        "the node {node} has the role `manager`; take it off, and wait until it is out of the voters"
    )]
    NodeVotes {
        /// Its name.
        node: Name,
    },
    /// A change of an in-sync set.
    #[error(transparent)]
    Alter(#[from] AlterRefused),
    /// A move.
    #[error(transparent)]
    Move(#[from] MoveRefused),
    /// A hand-over.
    #[error(transparent)]
    HandOver(#[from] HandOverRefused),
    /// A forced election.
    #[error(transparent)]
    Force(#[from] ForceRefused),
    /// No such region.
    #[error("there is no region `{region}`; create it first")]
    NoSuchRegion {
        /// The name.
        region: Name,
    },
    /// The name is taken.
    #[error("the region `{region}` exists already; names must differ in more than case")]
    RegionExists {
        /// The name.
        region: Name,
    },
    /// More regions than allowed.
    #[error("there are {REGIONS_MAX} regions, the most that a cluster can have; delete one")]
    TooManyRegions,
    /// A region with buffers stays.
    #[error("the region `{region}` has {buffers} buffers; delete them first")]
    RegionInUse {
        /// Its name.
        region: Name,
        /// How many.
        buffers: usize,
    },
    /// The buffer is assigned elsewhere.
    #[error("the buffer {uuid} belongs to the region `{region}`; ask its group")]
    InRegion {
        /// The buffer.
        uuid: Uuid,
        /// Its region.
        region: Name,
    },
    /// The buffer was reserved anew since, or its region is another.
    #[error("the buffer {uuid} was not placed for the reservation that it has; create it again")]
    OtherReservation {
        /// The buffer.
        uuid: Uuid,
    },
    /// `global` names no copies of what another region places.
    #[error("a buffer of a region other than `global` gets its copies there; name none here")]
    PlacedByRegion,
    /// The log of another region.
    #[error("this log belongs to the region's group {group}; use an empty directory")]
    OtherGroup {
        /// Its id.
        group: Uuid,
    },
    /// No such node.
    #[error("there is no node `{node}`")]
    NoSuchNode {
        /// The name.
        node: Name,
    },
    /// No such tenant.
    #[error("there is no tenant `{tenant}`; create it first")]
    NoSuchTenant {
        /// The name.
        tenant: Name,
    },
    /// The name is taken.
    #[error("the tenant `{existing}` exists already; names must differ in more than case")]
    TenantExists {
        /// The name that stands in the way.
        existing: Name,
    },
    /// A value of the configuration is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The caller saw an older version.
    #[error("the version is {current}, not {expected}; read it again and decide anew")]
    Version {
        /// The version that the caller named.
        expected: u64,
        /// The present one.
        current: u64,
    },
    /// The uuid belongs to another buffer.
    #[error("the uuid {uuid} belongs to another buffer; take a new one")]
    UuidTaken {
        /// The uuid.
        uuid: Uuid,
    },
    /// The name is taken.
    #[error("the buffer `{existing}` exists already; names must differ in more than case")]
    BufferExists {
        /// The name that stands in the way.
        existing: Name,
        /// Its registration.
        uuid: Uuid,
        /// How far its creation or deletion has come.
        lifecycle: Lifecycle,
    },
    /// More buffers than allowed.
    #[error("there are {BUFFERS_MAX} buffers, the most that a cluster can have; delete some")]
    TooManyBuffers,
    /// No copy, or more copies than the configuration asks for, or a node twice.
    #[error(
        "{got} different nodes are named for {wanted} copies; name 1 to {wanted} (at most {COPIES_MAX}), each once"
    )]
    Copies {
        /// Different nodes named.
        got: usize,
        /// Copies that the configuration asks for.
        wanted: u8,
    },
    /// No buffer with this uuid.
    #[error("there is no buffer {uuid}")]
    NoSuchBuffer {
        /// The uuid.
        uuid: Uuid,
    },
    /// No buffer with this name.
    #[error("there is no buffer `{buffer}`; create it first")]
    NoSuchBufferName {
        /// The name.
        buffer: Name,
    },
    /// The buffer is still being created.
    #[error("the buffer {uuid} is being created; try again")]
    NotConfirmed {
        /// The buffer.
        uuid: Uuid,
    },
    /// The buffer is in use.
    #[error("the buffer {uuid} is in use; delete it before dropping it")]
    NotDeleting {
        /// The buffer.
        uuid: Uuid,
    },
    /// The origin follows the buffer, be it through others.
    #[error(
        "the buffer `{origin}` follows this one itself, so what it takes would come back without end; follow another"
    )]
    MirrorCycle {
        /// The origin's name.
        origin: Name,
    },
    /// A paused buffer is being copied.
    #[error("the buffer `{buffer}` is paused; open it first, or use force")]
    Paused {
        /// Its name.
        buffer: Name,
    },
    /// The buffer is in topics.
    #[error("the buffer is in {}, or use force", in_topics(topic, *count))]
    InTopics {
        /// One of them.
        topic: Name,
        /// How many.
        count: usize,
    },
    /// The name is taken.
    #[error("the topic `{existing}` exists already; names must differ in more than case")]
    TopicExists {
        /// The name that stands in the way.
        existing: Name,
    },
    /// No topic with this name.
    #[error("there is no topic `{topic}`")]
    NoSuchTopic {
        /// The name.
        topic: Name,
    },
    /// A topic without buffers, or with too many.
    #[error("the topic would have {got} buffers; choose 1 to {BUFFERS_PER_TOPIC_MAX}")]
    TopicSize {
        /// How many it would have.
        got: usize,
    },
    /// A buffer in too many topics.
    #[error(
        "the buffer `{buffer}` would be in more than {TOPICS_PER_BUFFER_MAX} topics; take it out of some"
    )]
    TooManyTopics {
        /// Its name.
        buffer: Name,
    },
    /// A name stands twice in a list.
    #[error("`{name}` is named twice; name it once")]
    NamedTwice {
        /// The name.
        name: Name,
    },
    /// The topic is some buffer's last one.
    #[error(
        "the topic is the last one of the buffer `{buffer}`; say buffers=keep or buffers=delete"
    )]
    LastTopic {
        /// The buffer's name.
        buffer: Name,
    },
    /// The topic is gone.
    #[error("the topic was deleted meanwhile")]
    NoSuchTopicId {
        /// Its number.
        id: TopicId,
    },
    /// No consumer with this uuid.
    #[error("there is no consumer {uuid}")]
    NoSuchConsumer {
        /// The uuid.
        uuid: Uuid,
    },
    /// A version is expected of a consumer that is not there.
    #[error(
        "there is no consumer `{name}` that has version {expected}: leave the version out to make one"
    )]
    NoConsumerToConfigure {
        /// The name.
        name: Name,
        /// What the caller saw.
        expected: u64,
    },
    /// The name is taken.
    #[error("the consumer `{existing}` exists already; names must differ in more than case")]
    ConsumerExists {
        /// The name that stands in the way.
        existing: Name,
        /// The name of its records.
        uuid: Uuid,
    },
    /// More consumers than allowed.
    #[error(
        "a buffer has at most {CONSUMERS_PER_BUFFER_MAX} consumers, those of its topics counted; delete some"
    )]
    TooManyConsumers,
    /// A setting of a consumer is out of range.
    #[error(transparent)]
    Consumer(#[from] consumer::ConfigError),
    /// The dead-letter buffer is not there.
    #[error("there is no buffer {uuid} of this tenant to take dead letters; create it first")]
    NoDeadLetterBuffer {
        /// Its registration.
        uuid: Uuid,
    },
    /// Where a consumer starts is decided when it is made.
    #[error("a consumer's start is decided when it is made; move its place with seek")]
    ConsumerStart,
    /// A dead letter would come back.
    #[error(
        "what is put into the buffer `{buffer}` as a dead letter would come back into what the consumer reads, without end; choose another buffer"
    )]
    DeadLetterCycle {
        /// The dead-letter buffer's name.
        buffer: Name,
    },
    /// A mirror takes nothing of its own.
    #[error("the buffer `{buffer}` is a mirror, which takes no dead letters; choose another")]
    IsMirror {
        /// Its name.
        buffer: Name,
    },
    /// The buffer may be a stream, which takes nothing but what is appended to it as one.
    #[error(
        "the buffer `{buffer}` has the name of a Durable Stream (`stream.…`), which takes no dead letters and follows no other buffer; choose another name"
    )]
    NamedAsStream {
        /// Its name.
        buffer: Name,
    },
    /// The buffer takes what consumers give up.
    #[error(
        "{count} consumers, `{consumer}` among them, put their dead letters into the buffer; configure them first, or delete it by force"
    )]
    TakesDeadLetters {
        /// One of the consumers.
        consumer: Name,
        /// How many they are.
        count: usize,
    },
    /// A later command of the same client was applied.
    #[error("command {number} comes after {last} of the same client; give it a new number")]
    Superseded {
        /// Its number.
        number: u64,
        /// The client's last number.
        last: u64,
    },
    /// The same command was refused before.
    #[error("command {number} was refused before; give a new attempt a new number")]
    RefusedBefore {
        /// Its number.
        number: u64,
    },
}

fn in_topics(one: &Name, count: usize) -> String {
    match count {
        1 => format!("the topic `{one}`; take it out of it"),
        _ => format!("{count} topics, `{one}` among them; take it out of them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn one_topic_is_named_and_of_several_one() {
        let text = |count| {
            let topic = Name::parse("t").unwrap();
            Refused::InTopics { topic, count }.to_string()
        };
        assert_eq!(
            text(1),
            "the buffer is in the topic `t`; take it out of it, or use force"
        );
        assert_eq!(
            text(3),
            "the buffer is in 3 topics, `t` among them; take it out of them, or use force"
        );
    }
}
