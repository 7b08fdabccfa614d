//! Buffers that operators create while everything goes on: reserved, set up on the nodes of their
//! copies, confirmed. Whoever creates one asks for the next step until it is done.

use hbuf_core::ids::{Hash, Uuid};
use hbuf_core::name::Name;
use hbuf_core::replication::Assignment;
use hbuf_manager::{Action as Command, BufferConfig, CreateBuffer, Lifecycle};

use super::{Due, World};
use crate::draw::{Purpose, key};
use crate::founding::node_name;
use crate::swarm::{Opt, Options};
use crate::tracefile::EventId;

/// An operator asks for the next step again, in microseconds.
const ASK_AGAIN_US: u64 = 50_000;
/// More buffers than that are not created in a run.
const BUFFERS_MAX: usize = 64;

impl World {
    /// An operator creates a buffer of this name.
    pub(super) fn create_buffer(&mut self, cause: EventId, name: &str, copies: u64) {
        let known = self.names.buffers.iter().any(|known| known == name);
        if known || self.buffers.len() >= BUFFERS_MAX || Name::parse(name).is_err() {
            return;
        }
        let buffer = self.buffers.len();
        self.buffers.push(buffer_uuid(buffer));
        self.names.buffers.push(name.to_owned());
        self.acked.push(0);
        self.go_on_creating(cause, buffer, copies);
    }

    /// Asks for its next step, until the buffer is there.
    pub(super) fn go_on_creating(&mut self, cause: EventId, buffer: usize, copies: u64) {
        let uuid = self.buffers[buffer];
        let row = self.newest_catalog().buffer(uuid);
        match row.map(|row| row.lifecycle) {
            None => {
                let create = self.creation(buffer, copies);
                self.ask_manager(cause, Command::CreateBuffer(Box::new(create)));
            }
            Some(Lifecycle::Reserved) if self.stands(buffer) => {
                let reserved = None;
                self.ask_manager(cause, Command::ConfirmBuffer { uuid, reserved });
            }
            Some(Lifecycle::Reserved) => {}
            Some(Lifecycle::Live | Lifecycle::Deleting) => return,
        }
        let due = Due::Create { buffer, copies };
        self.due_as(cause, EventId::default(), self.t + ASK_AGAIN_US, due);
    }

    /// Which nodes get its copies: any so many, the first of them leads.
    fn creation(&self, buffer: usize, copies: u64) -> CreateBuffer {
        let name = &self.names.buffers[buffer];
        // A node that is drained takes none.
        let hosts = 0..self.founders;
        let hosts: Vec<usize> = hosts
            .filter(|host| !self.drains(self.hosts[*host].id))
            .collect();
        let nodes = hosts.len().max(1) as u64;
        let first = self.draw(Purpose::Faults, key(name), 0).below(nodes);
        let on = (0..copies.clamp(1, nodes)).map(|at| {
            let chosen = usize::try_from((first + at) % nodes).unwrap_or(0);
            node_name(hosts.get(chosen).copied().unwrap_or(0))
        });
        creation(&self.options, name, self.buffers[buffer], on.collect())
    }

    /// Whether all of its copies are there.
    fn stands(&self, buffer: usize) -> bool {
        let uuid = self.buffers[buffer];
        let there = |assignment: &Assignment| {
            assignment.copies.iter().all(|node| {
                let host = self.host_of(*node).map(|host| &self.hosts[host]);
                host.is_some_and(|host| {
                    host.shard.buffer(&uuid).is_some() || host.shard.copy(&uuid).is_some()
                })
            })
        };
        self.newest(buffer).is_some_and(there)
    }

    /// The buffers that clients know of.
    pub(super) fn known_buffers(&self) -> Vec<usize> {
        let catalog = self.newest_catalog();
        let live = |buffer: &usize| {
            let row = catalog.buffer(self.buffers[*buffer]);
            row.is_some_and(|row| row.lifecycle == Lifecycle::Live)
        };
        (0..self.buffers.len()).filter(live).collect()
    }

    /// Whether all that operators create is there.
    pub(super) fn created_all(&self) -> Result<(), String> {
        match self.known_buffers().len() == self.buffers.len() {
            true => Ok(()),
            false => Err("a buffer is not created yet".to_owned()),
        }
    }
}

/// The command that reserves a buffer.
pub(super) fn creation(
    options: &Options,
    name: &str,
    uuid: Uuid,
    copies: Vec<Name>,
) -> CreateBuffer {
    let min = options.count(Opt::MinInSync).min(copies.len());
    CreateBuffer {
        tenant: Name::default_tenant(),
        name: Name::parse(name).expect("a letter and digits are a name"),
        uuid,
        log: uuid,
        history: uuid,
        idem_key: Hash([1; 32]),
        config: BufferConfig {
            replicas: u8::try_from(copies.len() - 1).unwrap_or(0),
            min_insync: u8::try_from(min).ok(),
            ..BufferConfig::default()
        },
        copies,
        topics: Vec::new(),
        mirror: None,
        region: None,
    }
}

/// The registration of the buffer of this number.
pub(super) fn buffer_uuid(at: usize) -> Uuid {
    Uuid::from_random([u8::try_from(at + 1).unwrap_or(u8::MAX); 16])
}
