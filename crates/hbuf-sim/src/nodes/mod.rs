//! A world of several nodes: the same core as everywhere, each with a disk and a clock of its own,
//! a real manager group between them, and clients that ask over a network that does what it likes.
//!
//! `World = f(options, rules, overrides)`, nothing else. Idle time is skipped.
//!
//! | question | file |
//! |---|---|
//! | the queue, time, what is due | `mod.rs` |
//! | one node: what it has and what a crash leaves | `host.rs`, `files.rs` |
//! | what a node answers to reads | `reads.rs` |
//! | what the core asks for, done | `shell.rs`, `copies.rs`, `fills.rs`, `marks.rs` |
//! | how a node starts | `node_start.rs` |
//! | the manager's group, sessions, commands | `manager.rs` |
//! | what nodes and clients say to each other | `message.rs` |
//! | how it gets there, or is lost | `packets.rs` |
//! | what clients do, and what they are told | `client.rs` |
//! | workers of consumers | `work.rs` |
//! | what nodes do for consumers, and what they may | `consumers.rs`, `chores.rs`, `crew.rs` |
//! | reads by filters, and of topics | `pages.rs`, `topics.rs`, `topic_reads.rs` |
//! | a scenario: its steps, its clients' requests, its ends | `play.rs`, `asks.rs`, `expect.rs` |
//! | what goes wrong | `act.rs`, `aimed.rs` |
//! | what operators do to buffers | `states.rs` |
//! | buffers that they create | `created.rs` |
//! | drains and rebalances | `moves.rs` |
//! | elections that accept a loss | `forced.rs` |
//! | disks that are full | `room.rs` |
//! | disks that are kept, put back, copied | `backups.rs` |
//! | nodes that stop in order, and which program they run | `upgrades.rs` |
//! | what a hand changes, where somebody stops to look | `hand.rs` |
//! | what there is to see at a moment | `look.rs`, `view.rs` |
//! | what must hold | `checks.rs` |
//! | what is counted of a run, and which rules it used | `tally.rs`, `used_rules.rs` |
//! | sums over many runs, and what they should have had | `cluster_sweep.rs`, `reach.rs` |
//! | a run from begin to end | `cluster_run.rs` |
//! | its phase in which only a majority is healed | `healed_core.rs` |
//! | how one that fails becomes small | `smaller.rs` |

mod act;
mod aimed;
mod asks;
mod backups;
mod checks;
mod chores;
mod client;
mod cluster_run;
mod cluster_sweep;
mod consumers;
mod copies;
mod created;
mod crew;
mod enlisted;
mod expect;
mod files;
mod fills;
mod forced;
mod hand;
mod healed_core;
mod host;
mod look;
mod manager;
mod marks;
mod message;
mod moves;
mod node_start;
mod packets;
mod pages;
mod play;
mod reach;
mod reads;
mod room;
mod shell;
mod smaller;
mod states;
mod tally;
mod topic_reads;
mod topics;
mod upgrades;
mod used_rules;
mod view;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::input::Token;
use hbuf_core::rules::Rules;

use self::asks::Asks;
use self::backups::Kept;
use self::checks::Watch;
use self::client::{Client, Wanted};
use self::crew::Crew;
use self::hand::Hand;
use self::host::Host;
use self::message::Message;
use self::play::Play;
use self::tally::Tally;
use self::used_rules::UsedRules;
use crate::bugs::Bug;
use crate::draw::{Draw, Draws, Purpose, mix};
use crate::history::LogHistory;
use crate::kinds::Kind;
use crate::net::{Endpoint, Net, Packet};
use crate::scenario::{Action, Placement};
use crate::swarm::Options;
use crate::tracefile::{Detail, EventId, Facts, Ref, TraceWriter};

pub use self::checks::{CLUSTER_INVARIANTS, ClusterBroken};
pub use self::cluster_run::{ClusterOutcome, ClusterSetup, run_cluster};
pub use self::cluster_sweep::{ClusterSweep, Reached};
pub use self::expect::Verdict;
pub use self::hand::Unmet;
pub use self::look::{At, LookError, event_at, look};
pub use self::reach::{Table, nowhere};
pub use self::smaller::{Smaller, smaller};
pub use self::tally::Counted;
pub use self::view::{BufferView, ClientView, CopyRole, CopyView, NodeView, PlannedView, View};

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
    /// There is time for old records to a copy.
    Fill {
        host: usize,
        life: u64,
        buffer: usize,
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
    /// Something that is to be done for a consumer.
    Chore { host: usize, life: u64, number: u64 },
    /// A node waits no longer for the pages of a topic.
    TopicLate { host: usize, life: u64, number: u64 },
    /// An operator asks for the next step of a buffer's creation.
    Create { buffer: usize, copies: u64 },
    /// An operator asks for a topic that is not there yet.
    MakeTopic { topic: String, buffers: Vec<String> },
    /// A node waits no longer until a dead letter is put away.
    LetterLate {
        host: usize,
        life: u64,
        operation: u64,
    },
    /// A worker's request waits no longer for a first message.
    StopWaiting {
        host: usize,
        life: u64,
        at: crew::At,
        next: Token,
    },
    /// A client's turn.
    Client(usize),
    /// A client waits no longer.
    GiveUp { client: usize, operation: u64 },
    /// A copy of a disk was let in: it takes the place of the original.
    TakeOver { copy: usize },
    /// An operator looks at what is left of a rebalance.
    Rebalance,
    /// Something goes wrong, or well again.
    Act(Box<Action>),
    /// A step of the scenario.
    Step(usize),
    /// An expectation of the scenario that has a time.
    Judge(usize),
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
            | Self::Fill { host, .. }
            | Self::Recover { host, .. }
            | Self::CutDone { host, .. }
            | Self::Chore { host, .. }
            | Self::LetterLate { host, .. }
            | Self::TopicLate { host, .. }
            | Self::StopWaiting { host, .. } => Some(*host),
            _ => None,
        }
    }

    /// The client whose process does it.
    const fn client(&self) -> Option<usize> {
        match self {
            Self::Client(client) | Self::GiveUp { client, .. } | Self::Again { client, .. } => {
                Some(*client)
            }
            Self::Arrive { packet, .. } => match packet.link.to {
                Endpoint::Client(number) => Some(number as usize - 1),
                Endpoint::Node(_) => None,
            },
            _ => None,
        }
    }

    /// The node whose process it waits for while that stands still.
    fn waits_for(&self) -> Option<usize> {
        match self {
            Self::Arrive { packet, .. } => node_of(packet.link.to),
            due => due.host(),
        }
    }

    /// What tells it from others with the same cause when it is no event by itself; 0 for nothing.
    fn scope(&self, hosts: &[Host]) -> u64 {
        match self {
            Self::Tick { host, .. } => 1 << 32 | hosts[*host].manager.ticks(),
            Self::Chore { number, .. } => mix(4 << 32, *number),
            Self::LetterLate { operation, .. } => mix(5 << 32, *operation),
            Self::StopWaiting { next, .. } => mix(6 << 32, next.0),
            Self::TopicLate { number, .. } => mix(7 << 32, *number),
            Self::Pull {
                buffer, log, to, ..
            } => mix(
                2 << 32 | *buffer as u64,
                (*log as u64) << 32 | u64::from(to.0),
            ),
            _ => 0,
        }
    }
}

/// Something that is due, with its cause.
#[derive(Clone, Debug)]
struct Planned {
    cause: EventId,
    /// The id of the event that it will be; none for what is no event by itself.
    eid: EventId,
    /// A hand has moved it: it is not moved again.
    moved: bool,
    /// When it comes if nobody stands still.
    meant: u64,
    due: Due,
}

/// A run.
pub(crate) struct World {
    draws: Draws,
    options: Options,
    rules: Rules,
    /// What is done wrong on purpose.
    bug: Option<Bug>,
    trace: TraceWriter,
    t: u64,
    queue: BTreeMap<(u64, u64), Planned>,
    queued: u64,
    steps: u64,
    /// What tells the events of this step from those of another one with the same first cause, as
    /// the ticks of a node: their ids stay what they are, whatever came before.
    scope: u64,
    /// The event with which the run began.
    root: EventId,
    hand: Hand,
    net: Net,
    hosts: Vec<Host>,
    clients: Vec<Client>,
    /// The registrations of the buffers.
    buffers: Vec<Uuid>,
    watch: Watch,
    tally: Tally,
    used: UsedRules,
    history: LogHistory,
    /// Faults happen; when they end, everything is to come to rest.
    stormy: bool,
    /// Nobody asks anything more.
    closing: bool,
    /// Nodes that the cluster began with.
    founders: usize,
    /// Messages that were acknowledged, by buffer.
    acked: Vec<u64>,
    /// Disks that were kept, by name.
    kept: BTreeMap<String, Kept>,
    /// A rebalance that is not done.
    rebalancing: Option<Placement>,
    /// What was to happen and this world cannot play.
    unplayed: Vec<String>,
    /// The scenario that is played.
    play: Option<Play>,
    asks: Asks,
    crew: Crew,
    /// What clients were shown by filters and of topics, to be judged in the end.
    seen: Vec<pages::Seen>,
    /// With what words the manager refused nodes.
    refusals: BTreeMap<usize, BTreeSet<String>>,
    names: Names,
}

/// The names of nodes, clients and buffers, as events have them.
#[derive(Clone, Debug, Default)]
struct Names {
    nodes: Vec<String>,
    clients: Vec<String>,
    buffers: Vec<String>,
}

impl Names {
    fn of(&self, end: Endpoint) -> &str {
        let (names, number) = match end {
            Endpoint::Node(number) => (&self.nodes, number),
            Endpoint::Client(number) => (&self.clients, number),
        };
        &names[number as usize - 1]
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Default)]
struct About<'a> {
    host: Option<usize>,
    client: Option<usize>,
    buffer: Option<usize>,
    epoch: Option<u32>,
    seqs: Option<(u64, u64)>,
    /// Which log of the buffer; of its messages unless it says so.
    log: Option<hbuf_core::segment::LogKind>,
    /// The request of a client.
    operation: Option<u64>,
    packet: Option<Packet>,
    note: &'a str,
}

impl World {
    /// Something happens.
    fn event(&mut self, causes: &[EventId], kind: Kind, about: &About<'_>) -> EventId {
        let eid = self.reserve(causes.first().copied().unwrap_or_default(), kind);
        self.happens(eid, causes, kind, about);
        eid
    }

    /// The id of what will follow from `cause`.
    fn reserve(&mut self, cause: EventId, kind: Kind) -> EventId {
        let family = match self.scope {
            0 => cause.0,
            scope => mix(cause.0, scope),
        };
        self.trace.reserve(Some(EventId(family)), kind)
    }

    /// Something happens whose id was reserved.
    fn happens(&mut self, eid: EventId, causes: &[EventId], kind: Kind, about: &About<'_>) {
        let bare = Facts {
            epoch: about.epoch,
            seqs: about.seqs,
            ..Facts::default()
        };
        if self.trace.wants_lines() {
            self.write_event(eid, causes, kind, about, bare);
        } else {
            self.trace.reserved_event(eid, self.t, causes, kind, &bare);
        }
        self.hand
            .happened(eid, kind, self.trace.events(), self.steps);
    }

    fn write_event(
        &mut self,
        eid: EventId,
        causes: &[EventId],
        kind: Kind,
        about: &About<'_>,
        bare: Facts<'_>,
    ) {
        let names = &self.names;
        let node = about.host.map(|host| names.nodes[host].as_str());
        let client = about.client.map(|client| names.clients[client].as_str());
        let mut details = Vec::new();
        if about.log == Some(hbuf_core::segment::LogKind::Cursors) {
            details.push(("log", Detail::Text("cursors")));
        }
        if !about.note.is_empty() {
            details.push(("note", Detail::Text(about.note)));
        }
        let mut refs = Vec::new();
        if let (Some(client), Some(operation)) = (client, about.operation) {
            refs.push(Ref::Numbered("req", client, operation));
        }
        if let Some(Packet { link, nth, .. }) = about.packet {
            let name = |end| names.of(end);
            refs.push(Ref::Between("pkt", name(link.from), name(link.to), nth));
        }
        let facts = Facts {
            node: node.or(client),
            buffer: about.buffer.map(|buffer| names.buffers[buffer].as_str()),
            refs: &refs,
            details: &details,
            ..bare
        };
        self.trace.reserved_event(eid, self.t, causes, kind, &facts);
    }

    /// What will be an event of this id.
    fn due_as(&mut self, cause: EventId, eid: EventId, at: u64, due: Due) {
        self.due_unless(cause, eid, (at, at), due);
    }

    /// The same, at the second time, for somebody stands still at the first.
    fn due_unless(&mut self, cause: EventId, eid: EventId, (meant, at): (u64, u64), due: Due) {
        let planned = Planned {
            cause,
            eid,
            moved: false,
            meant,
            due,
        };
        self.plan(at, planned);
    }

    fn plan(&mut self, at: u64, planned: Planned) {
        self.queued += 1;
        self.queue.insert((at.max(self.t), self.queued), planned);
    }

    /// After so much of a node's own time, unless it stands still.
    fn due_on(&mut self, cause: EventId, host: usize, after: u64, due: Due) {
        self.due_as_on(cause, EventId::default(), host, after, due);
    }

    fn due_as_on(&mut self, cause: EventId, eid: EventId, host: usize, after: u64, due: Due) {
        let clock = &self.hosts[host].clock;
        let meant = clock.would_fire(self.t, after);
        let at = clock.runs_at(meant).unwrap_or(meant);
        self.due_unless(cause, eid, (meant, at), due);
    }

    /// The process of a node goes on, if it stood still: what was put off comes now.
    fn go_on(&mut self, host: usize) {
        self.hosts[host].clock.resume();
        let now = self.t;
        let put_off = |planned: &Planned, at: u64| {
            at > planned.meant.max(now) && planned.due.waits_for() == Some(host)
        };
        let queue = self.queue.iter();
        let put_off = queue.filter(|((at, _), planned)| put_off(planned, *at));
        for place in put_off.map(|(place, _)| *place).collect::<Vec<_>>() {
            if let Some(planned) = self.queue.remove(&place) {
                self.plan(planned.meant, planned);
            }
        }
    }

    /// Whether this is done wrong on purpose.
    fn does(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// A text for the notes of events, made only when somebody reads lines.
    fn words(&self, what: &impl std::fmt::Display) -> String {
        match self.trace.wants_lines() {
            true => what.to_string(),
            false => String::new(),
        }
    }

    fn draw(&self, purpose: Purpose, entity: u64, ordinal: u64) -> Draw {
        self.draws.draw(purpose, entity, ordinal)
    }

    /// Takes what is due next; `None` where the run stops.
    fn step(&mut self) -> Option<()> {
        let t = self.next_due()?;
        if let Some(action) = self.hand.take_due(t) {
            self.t = t;
            self.begin_step()?;
            let root = self.root;
            self.act(root, &action);
            return Some(());
        }
        self.t = t;
        self.begin_step()?;
        let (_, planned) = self.queue.pop_first()?;
        let waits = match &planned.due {
            Due::Arrive { packet, .. } => self.packet_waits(*packet),
            due => due.host().and_then(|host| self.stands_still(host)),
        };
        let waits = waits.or_else(|| self.client_stands_still(planned.due.client()?));
        if let Some(at) = waits {
            // The process stands still, or the link does.
            self.plan(at, planned);
            return Some(());
        }
        self.come(planned);
        Some(())
    }

    /// When the next step is to be taken.
    fn next_due(&self) -> Option<u64> {
        let planned = self.queue.first_key_value().map(|((t, _), _)| *t);
        let by_hand = self.hand.next_time().map(|at| at.max(self.t));
        match (planned, by_hand) {
            (Some(planned), Some(by_hand)) => Some(planned.min(by_hand)),
            (planned, by_hand) => planned.or(by_hand),
        }
    }

    /// Until when a process stands still, if it does.
    fn stands_still(&self, host: usize) -> Option<u64> {
        let runs = self.hosts[host].clock.runs_at(self.t);
        runs.filter(|at| *at > self.t)
    }

    /// The same of a client's process.
    fn client_stands_still(&self, client: usize) -> Option<u64> {
        let until = self.clients[client].paused_until;
        Some(until).filter(|until| *until > self.t)
    }

    /// Does what is due.
    fn carry_out(&mut self, planned: Planned) {
        let Planned {
            cause, eid, due, ..
        } = planned;
        self.scope = due.scope(&self.hosts);
        match due {
            Due::Arrive { packet, message } => self.arrive(cause, eid, packet, &message),
            Due::Client(client) => self.client_turn(cause, eid, client),
            Due::GiveUp { client, operation } => self.give_up(cause, eid, client, operation),
            Due::TakeOver { copy } => self.take_over(cause, copy),
            Due::Rebalance => self.go_on_rebalancing(cause),
            Due::Act(act) => self.act_as(eid, cause, &act),
            Due::Create { buffer, copies } => self.go_on_creating(cause, buffer, copies),
            Due::MakeTopic { topic, buffers } => self.make_topic(cause, &topic, &buffers),
            Due::Step(step) => self.take_step(cause, eid, step),
            Due::Judge(expectation) => self.judge_timed(cause, expectation),
            Due::Again {
                client,
                wanted,
                tries,
            } if !self.closing => self.ask_as(cause, eid, client, *wanted, tries),
            Due::Again { client, .. } => self.next_turn(cause, client),
            due => self.carry_out_on_host(cause, eid, due),
        }
        self.scope = 0;
    }

    /// What the process of a node does, if it still is the one that was to do it.
    fn carry_out_on_host(&mut self, cause: EventId, eid: EventId, due: Due) {
        match due {
            Due::Tick { host, life } if self.lives(host, life) => self.tick(cause, host),
            Due::Synced { host, life } if self.lives(host, life) => self.synced(cause, eid, host),
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
            Due::Fill {
                host,
                life,
                buffer,
                to,
            } if self.lives(host, life) => {
                self.pull_fill(cause, host, buffer, to);
            }
            Due::Recover { host, life, buffer } if self.lives(host, life) => {
                self.recover_and_open(cause, host, buffer);
            }
            Due::CutDone {
                host,
                life,
                buffer,
                log,
            } if self.lives(host, life) => self.cut_done(cause, host, buffer, log),
            Due::Chore { host, life, number } if self.lives(host, life) => {
                self.do_chore(cause, host, number);
            }
            Due::TopicLate { host, life, number } if self.lives(host, life) => {
                self.topic_late(cause, host, number);
            }
            Due::LetterLate {
                host,
                life,
                operation,
            } if self.lives(host, life) => self.letter_late(cause, host, operation),
            Due::StopWaiting {
                host,
                life,
                at,
                next,
            } if self.lives(host, life) => self.stop_waiting(cause, host, at, next),
            _ => {}
        }
    }

    /// Whether something that was begun in a life of a process still counts. A process that stands
    /// still does it when it goes on.
    fn lives(&self, host: usize, life: u64) -> bool {
        let host = &self.hosts[host];
        host.up && host.life == life && !host.cut_off
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
