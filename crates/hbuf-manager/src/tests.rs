//! What commands do, told as stories by subject; then any sequence of commands against the
//! invariants. Here stand the commands and the catalog that the stories share.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use hbuf_core::ids::{Epoch, Hash, Micros, NodeId, Seq, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::limits::{BUFFERS_PER_TOPIC_MAX, COMMAND_CLIENTS_MAX, TOPICS_PER_BUFFER_MAX};
use hbuf_core::name::Name;
use hbuf_core::replication::{Assignment, NodeEpoch};
use hbuf_core::topic::Slot;

use super::*;

mod any_assignment;
mod any_sequence;
mod assigning;
mod clients;
mod consumer_stories;
mod creation;
mod lifecycle;
mod lives;
mod moving;
mod node_sessions;
mod registration;
mod sweeping;
mod text;
mod topic_members;

/// A catalog, and commands of one client numbered upwards.
#[derive(Clone)]
struct World {
    catalog: Catalog,
    number: u64,
}

fn uuid(n: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Uuid::from_random(bytes)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn names(text: &str) -> Vec<Name> {
    text.split_whitespace().map(name).collect()
}

fn dash() -> Name {
    Name::default_tenant()
}

/// Founds a cluster at the newest version.
fn found(cluster: u64) -> Action {
    Action::FoundCluster {
        cluster: uuid(cluster),
        version: CLUSTER_VERSIONS.max,
    }
}

fn register(node: &str, disk: u64, bad: &[Uuid]) -> Action {
    Action::RegisterNode(RegisterNode {
        bad: bad.to_vec(),
        ..RegisterNode::new(name(node), uuid(disk), CLUSTER_VERSIONS)
    })
}

fn create_on(buffer: &str, id: u64, copies: &str, topics: &str) -> Action {
    let copies = names(copies);
    let replicas = u8::try_from(copies.len() - 1).unwrap();
    Action::CreateBuffer(Box::new(CreateBuffer {
        tenant: dash(),
        name: name(buffer),
        uuid: uuid(id),
        log: uuid(id + 1_000_000),
        history: uuid(id + 2_000_000),
        idem_key: Hash([7; 32]),
        config: BufferConfig {
            replicas,
            ..BufferConfig::default()
        },
        region: None,
        copies,
        topics: names(topics),
        mirror: None,
    }))
}

fn create(buffer: &str, id: u64, topics: &str) -> Action {
    create_on(buffer, id, "n1", topics)
}

fn confirm(id: u64) -> Action {
    Action::ConfirmBuffer {
        uuid: uuid(id),
        reserved: None,
    }
}

fn set_state(id: u64, state: BufferState) -> Action {
    Action::SetBufferState {
        uuid: uuid(id),
        expected: None,
        state,
    }
}

fn delete(id: u64, force: bool) -> Action {
    Action::DeleteBuffer {
        uuid: uuid(id),
        force,
    }
}

fn drop_buffer(id: u64) -> Action {
    Action::DropBuffer { uuid: uuid(id) }
}

fn topic(topic: &str, buffers: &str) -> Action {
    Action::CreateTopic {
        tenant: dash(),
        topic: name(topic),
        buffers: names(buffers),
    }
}

fn delete_topic(topic: &str, buffers: LastTopic) -> Action {
    Action::DeleteTopic {
        tenant: dash(),
        topic: name(topic),
        buffers,
    }
}

impl World {
    /// A founded cluster with the node `n1`.
    fn new() -> Self {
        let mut world = Self {
            catalog: Catalog::new(),
            number: 0,
        };
        world.ok(found(9));
        world.ok(register("n1", 1, &[]));
        world
    }

    fn with_buffers(buffers: &[(&str, u64, &str)]) -> Self {
        let mut world = Self::new();
        for (buffer, id, topics) in buffers {
            world.ok(create(buffer, *id, topics));
            world.ok(confirm(*id));
        }
        world
    }

    fn send(&mut self, action: Action) -> Result<Outcome, Refused> {
        self.number += 1;
        let command = Command {
            client: uuid(77),
            number: self.number,
            time: Micros(5),
            action,
        };
        let done = self.catalog.apply(self.catalog.applied() + 1, &command);
        assert_eq!(self.catalog.broken_invariant(), None);
        done.map(|applied| applied.outcome)
    }

    fn ok(&mut self, action: Action) -> Outcome {
        self.send(action).unwrap()
    }

    fn refused(&mut self, action: Action) -> Refused {
        self.send(action).unwrap_err()
    }

    fn buffer(&self, id: u64) -> &Buffer {
        self.catalog.buffer(uuid(id)).unwrap()
    }

    fn assignment(&self, id: u64) -> &Assignment {
        self.catalog.assignment(uuid(id)).unwrap()
    }

    fn topics_of(&self, id: u64) -> Vec<&str> {
        self.catalog
            .topics_of_buffer(uuid(id))
            .map(|topic| &*topic.name)
            .collect()
    }
}
