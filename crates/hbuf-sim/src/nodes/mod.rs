//! A world of several nodes: the same core as everywhere, each with a disk and a clock of its own,
//! a real manager group between them, and clients that ask over a network that does what it likes.
//!
//! `World = f(options, rules, overrides)`, nothing else. Idle time is skipped.
//!
//! | question | file |
//! |---|---|
//! | the queue, time, what is due | `mod.rs` |
//! | one node: what it has and what a crash leaves | `host.rs`, `files.rs` |
//! | what the core asks for, done | `shell.rs`, `copies.rs` |
//! | how a node starts | `node_start.rs` |
//! | the manager's group, sessions, commands | `manager.rs` |
//! | what nodes and clients say to each other | `message.rs` |
//! | what clients do, and what they are told | `client.rs` |
//! | what goes wrong | `act.rs` |
//! | what operators do to buffers | `states.rs` |
//! | what must hold | `checks.rs` |
//! | a run from begin to end | `cluster_run.rs` |

mod act;
mod checks;
mod client;
mod cluster_run;
mod copies;
mod files;
mod host;
mod manager;
mod message;
mod node_start;
mod shell;
mod states;

use std::collections::BTreeMap;
use std::rc::Rc;

use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::rules::Rules;

use self::checks::Watch;
use self::client::{Client, Wanted};
use self::host::Host;
use self::message::Message;
use crate::draw::{Draw, Draws, Purpose};
use crate::history::LogHistory;
use crate::kinds::Kind;
use crate::net::{Arrival, Delivery, Endpoint, Net, NetFault, Packet};
use crate::scenario::Action;
use crate::swarm::Options;
use crate::tracefile::{EventId, Facts, Ref, TraceWriter};

pub use self::checks::{CLUSTER_INVARIANTS, ClusterBroken};
pub use self::cluster_run::{ClusterOutcome, ClusterSetup, run_cluster};

/// When the simulated clock begins: 2026-01-01.
const EPOCH: Micros = Micros(1_767_225_600_000_000);

/// Something that is due.
#[derive(Clone, Debug)]
enum Due {
    /// A packet arrives.
    Arrive {
        packet: Packet,
        message: Rc<Message>,
    },
    /// A node's tick: its manager group, sessions, timers.
    Tick { host: usize, life: u64 },
    /// A sync of a node's disk ends.
    Synced { host: usize, life: u64 },
    /// What a node's manager group wrote is durable.
    Persisted { host: usize, life: u64 },
    /// A connection to a copy has room.
    Pull {
        host: usize,
        life: u64,
        buffer: usize,
        log: hbuf_core::segment::LogKind,
        to: hbuf_core::ids::NodeId,
    },
    /// A buffer is recovered.
    Recover {
        host: usize,
        life: u64,
        buffer: usize,
    },
    /// A log was cut back or begun anew.
    CutDone {
        host: usize,
        life: u64,
        buffer: usize,
        log: hbuf_core::segment::LogKind,
    },
    /// The process of a node ends and begins anew.
    StartAnew { host: usize, life: u64 },
    /// A client's turn.
    Client(usize),
    /// A client waits no longer.
    GiveUp { client: usize, operation: u64 },
    /// Something goes wrong, or well again.
    Act(Box<Action>),
    /// A client asks again.
    Again {
        client: usize,
        wanted: Box<Wanted>,
        tries: u32,
    },
}

impl Due {
    /// The node whose process does it.
    const fn host(&self) -> Option<usize> {
        match self {
            Self::Tick { host, .. }
            | Self::Synced { host, .. }
            | Self::Persisted { host, .. }
            | Self::Pull { host, .. }
            | Self::Recover { host, .. }
            | Self::CutDone { host, .. } => Some(*host),
            _ => None,
        }
    }
}

/// A run.
pub(crate) struct World {
    draws: Draws,
    options: Options,
    rules: Rules,
    trace: TraceWriter,
    t: u64,
    queue: BTreeMap<(u64, u64), (EventId, Due)>,
    queued: u64,
    steps: u64,
    net: Net,
    hosts: Vec<Host>,
    clients: Vec<Client>,
    /// The registrations of the buffers.
    buffers: Vec<Uuid>,
    watch: Watch,
    history: LogHistory,
    operations: u64,
    /// Faults happen; when they end, everything is to come to rest.
    stormy: bool,
    /// Nobody asks anything more.
    closing: bool,
    /// Nodes that the cluster began with.
    founders: usize,
    /// Messages that were acknowledged, by buffer.
    acked: Vec<u64>,
    /// What was to happen and this world cannot play.
    unplayed: Vec<String>,
    names: Names,
}

/// The names of nodes, clients and buffers, as events have them.
#[derive(Clone, Debug, Default)]
struct Names {
    nodes: Vec<String>,
    clients: Vec<String>,
    buffers: Vec<String>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Default)]
struct About<'a> {
    host: Option<usize>,
    client: Option<usize>,
    buffer: Option<usize>,
    epoch: Option<u32>,
    seqs: Option<(u64, u64)>,
    /// The request of a client.
    operation: Option<u64>,
    note: &'a str,
}

impl World {
    fn event(&mut self, causes: &[EventId], kind: Kind, about: &About<'_>) -> EventId {
        let node = about.host.map(|host| self.names.nodes[host].as_str());
        let client = about
            .client
            .map(|client| self.names.clients[client].as_str());
        let note = [("note", crate::tracefile::Detail::Text(about.note))];
        let asked = [Ref::Numbered("req", "op", about.operation.unwrap_or(0))];
        let facts = Facts {
            node: node.or(client),
            buffer: about
                .buffer
                .map(|buffer| self.names.buffers[buffer].as_str()),
            epoch: about.epoch,
            seqs: about.seqs,
            refs: if about.operation.is_some() {
                &asked
            } else {
                &[]
            },
            details: if about.note.is_empty() { &[] } else { &note },
        };
        self.trace.event(self.t, causes, kind, &facts)
    }

    fn due(&mut self, cause: EventId, after: u64, due: Due) {
        self.due_at(cause, self.t + after, due);
    }

    fn due_at(&mut self, cause: EventId, at: u64, due: Due) {
        self.queued += 1;
        self.queue
            .insert((at.max(self.t), self.queued), (cause, due));
    }

    /// After so much of a node's own time, unless it stands still.
    fn due_on(&mut self, cause: EventId, host: usize, after: u64, due: Due) {
        let at = self.hosts[host].clock.fires(self.t, after);
        // Nobody resumes what stands still for ever but the end of all faults, which asks again.
        self.due_at(cause, at.unwrap_or(self.t + after), due);
    }

    fn draw(&self, purpose: Purpose, entity: u64, ordinal: u64) -> Draw {
        self.draws.draw(purpose, entity, ordinal)
    }

    /// Takes the next event; `false` when there is none.
    fn step(&mut self) -> bool {
        let Some(((t, _), (cause, due))) = self.queue.pop_first() else {
            return false;
        };
        self.t = t;
        self.steps += 1;
        if let Some(host) = due.host()
            && let Some(at) = self.hosts[host].clock.runs_at(t)
            && at > t
        {
            // The process stands still.
            self.due_at(cause, at, due);
            return true;
        }
        match due {
            Due::Arrive { packet, message } => self.arrive(cause, packet, &message),
            Due::Tick { host, life } if self.lives(host, life) => self.tick(cause, host),
            Due::Synced { host, life } if self.lives(host, life) => self.synced(cause, host),
            Due::Persisted { host, life } if self.lives(host, life) => {
                self.persisted(cause, host);
            }
            Due::Pull {
                host,
                life,
                buffer,
                log,
                to,
            } if self.lives(host, life) => self.pull(cause, host, buffer, log, to),
            Due::Recover { host, life, buffer } if self.lives(host, life) => {
                self.recover_and_open(cause, host, buffer);
            }
            Due::CutDone {
                host,
                life,
                buffer,
                log,
            } if self.lives(host, life) => self.cut_done(cause, host, buffer, log),
            Due::Tick { .. }
            | Due::Synced { .. }
            | Due::Persisted { .. }
            | Due::Pull { .. }
            | Due::Recover { .. }
            | Due::CutDone { .. } => {}
            Due::StartAnew { host, life } => {
                if self.lives(host, life) {
                    self.crash(cause, host, false);
                    self.start(cause, host);
                }
            }
            Due::Client(client) => self.client_turn(cause, client),
            Due::GiveUp { client, operation } => self.give_up(cause, client, operation),
            Due::Act(act) => self.act(cause, &act),
            Due::Again {
                client,
                wanted,
                tries,
            } if !self.closing => self.ask(cause, client, *wanted, tries),
            Due::Again { .. } => {}
        }
        true
    }

    /// Whether something that was begun in a life of a process still counts. A process that stands
    /// still does it when it goes on.
    fn lives(&self, host: usize, life: u64) -> bool {
        let host = &self.hosts[host];
        host.up && host.life == life
    }

    fn send(&mut self, cause: EventId, from: Endpoint, to: Endpoint, message: Message) {
        let message = Rc::new(message);
        let sent = self.net.send(self.t, from, to, message.bytes());
        for Arrival { at, packet } in sent.arrivals {
            let message = Rc::clone(&message);
            self.due_at(cause, at, Due::Arrive { packet, message });
        }
        if sent.reset {
            self.connection_lost(cause, from, to);
        }
    }

    fn arrive(&mut self, cause: EventId, packet: Packet, message: &Rc<Message>) {
        if let Endpoint::Node(number) = packet.link.to {
            let host = number as usize - 1;
            if let Some(at) = self.hosts[host].clock.runs_at(self.t)
                && at > self.t
            {
                let message = Rc::clone(message);
                self.due_at(cause, at, Due::Arrive { packet, message });
                return;
            }
        }
        match self.net.deliver(self.t, packet) {
            // Nobody on the way repeats what cannot be told from another one.
            Delivery::Arrived if packet.copy > 0 && message.is_unrepeatable() => {}
            Delivery::Arrived => self.take(cause, packet.link.from, packet.link.to, message),
            Delivery::Later(at) => {
                let message = Rc::clone(message);
                self.due_at(cause, at, Due::Arrive { packet, message });
            }
            Delivery::Lost(fault) => self.lost(cause, packet, fault),
        }
    }

    fn lost(&mut self, cause: EventId, packet: Packet, fault: NetFault) {
        let about = About {
            host: node_of(packet.link.from),
            note: fault.name(),
            ..About::default()
        };
        self.event(&[cause], Kind::PacketLost, &about);
    }

    /// A message is there.
    fn take(&mut self, cause: EventId, from: Endpoint, to: Endpoint, message: &Message) {
        match to {
            Endpoint::Node(number) => {
                let host = number as usize - 1;
                if self.hosts[host].up {
                    self.host_takes(cause, host, from, message);
                }
            }
            Endpoint::Client(number) => self.client_takes(cause, number as usize - 1, message),
        }
    }

    /// All connections of a node are gone, or that between two.
    fn connection_lost(&mut self, cause: EventId, one: Endpoint, other: Endpoint) {
        let (Some(one), Some(other)) = (node_of(one), node_of(other)) else {
            return;
        };
        self.silence(cause, one, other);
        self.silence(cause, other, one);
    }
}

const fn node_of(end: Endpoint) -> Option<usize> {
    match end {
        Endpoint::Node(number) => Some(number as usize - 1),
        Endpoint::Client(_) => None,
    }
}

const fn node(host: usize) -> Endpoint {
    Endpoint::Node(host as u32 + 1)
}
