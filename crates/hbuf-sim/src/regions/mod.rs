//! A world with two groups of the manager on every node: `global`, which has the names, and a
//! region, which has the assignments. Makers create, configure and delete buffers by the steps of
//! both, nodes and makers crash between any two of them, and what is left half done is swept up by
//! whoever leads the region's group (PROTOCOL rule 15).
//!
//! The run of a seed is a function of the seed and of what is bent. Faults end, then both states
//! must agree, and what clients were told must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hbuf_core::ids::{Hash, Micros, NodeId, Uuid};
use hbuf_core::name::Name;
use hbuf_manager::raft::{GroupConfig, MemberId, Members};
use hbuf_manager::region::{Region, RegionAction};
use hbuf_manager::{Action, CLUSTER_VERSIONS, Catalog, RegisterNode, State};

use self::makers::Maker;
use self::member::{Member, Which};
use crate::draw::{Draw, Draws, Purpose};
use crate::founding::{FOUNDER, give, node_name};
use crate::net::{Cut, Delivery, Endpoint, Net, Packet, Weather};

mod makers;
mod member;
#[cfg(test)]
mod tests;

/// When the simulated clock begins: 2026-01-01.
const EPOCH: Micros = Micros(1_767_225_600_000_000);
/// A tick of a node in microseconds.
const TICK_US: u64 = 20_000;
/// How long faults happen, in microseconds.
const STORM_US: u64 = 12_000_000;
/// How long it may take afterwards until all is at rest, in microseconds.
const CALM_US: u64 = 20_000_000;
/// The name of the region.
const REGION: &str = "eu";

/// What a run leaves out, to show that the checks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionsBent {
    /// Nobody sweeps up.
    Unswept,
    /// A deletion in the region names no reservation, so that one which comes late hits what was
    /// made since.
    DropsAnything,
    /// A confirmation names whatever reservation there is, so that one which comes late confirms
    /// what nobody has placed.
    ConfirmsAnything,
}

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct RegionsOutcome {
    /// What did not hold.
    pub broken: Option<String>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// The hashes of both states in the end.
    pub hashes: Option<(Hash, Hash)>,
}

/// A node: a process, its two members, and who is at work on it.
struct Node {
    up: bool,
    life: u64,
    global: Member<Catalog>,
    region: Member<Region>,
    makers: Vec<Maker>,
    /// Since when a reservation was seen without having become a buffer.
    reserved_since: BTreeMap<(Uuid, u64), u64>,
    /// The registration in `global`, and that in the region, still to be asked for.
    registers: bool,
}

/// What nodes say to each other.
#[derive(Clone, Debug)]
enum Wire {
    Raft(Which, Vec<u8>),
    Propose(Which, Vec<u8>),
}

/// Something that is due.
#[derive(Clone, Debug)]
enum Due {
    Arrive {
        packet: Packet,
        wire: Rc<Wire>,
    },
    Tick {
        host: usize,
        life: u64,
    },
    Persisted {
        host: usize,
        life: u64,
        which: Which,
    },
    Start {
        host: usize,
        life: u64,
    },
    Fault {
        nth: u64,
    },
    Heal,
}

/// A run.
struct World {
    draws: Draws,
    bent: Option<RegionsBent>,
    t: u64,
    steps: u64,
    queue: BTreeMap<(u64, u64), Due>,
    queued: u64,
    net: Net,
    nodes: Vec<Node>,
    /// Makers begin, and faults happen.
    stormy: bool,
    leaders: BTreeMap<(Which, u64), usize>,
    hashes: BTreeMap<(Which, u64), Hash>,
    /// Buffers, with their reservations, that somebody was told are there.
    told: BTreeSet<(Uuid, u64)>,
    /// Those of which somebody was told that they are gone, or that may be.
    deleted: BTreeSet<(Uuid, u64)>,
    outcome: RegionsOutcome,
}

/// Runs the world of a seed.
#[must_use]
pub fn run_regions(seed: u64, bent: Option<RegionsBent>) -> RegionsOutcome {
    let mut world = World::new(seed, bent);
    for host in 0..world.nodes.len() {
        world.start(host);
    }
    world.due(0, Due::Fault { nth: 0 });
    world.until(STORM_US);
    world.calm();
    while world.outcome.broken.is_none() && world.t < STORM_US + CALM_US {
        world.until(world.t + 500_000);
        if world.at_rest().is_ok() {
            break;
        }
    }
    if let Err(what) = world.at_rest() {
        world.broke(what);
    }
    let (global, region) = (&world.nodes[0].global.state, &world.nodes[0].region.state);
    world.outcome.hashes = Some((global.state_hash(), region.state_hash()));
    world.outcome
}

impl World {
    fn new(seed: u64, bent: Option<RegionsBent>) -> Self {
        let draws = Draws::new(seed);
        let count = draws.draw(Purpose::Plan, 0, 0).within(3, 5);
        let count = usize::try_from(count).unwrap_or(3);
        let (catalog, region) = founded(count);
        let disks = (0..count).map(|host| (MemberId(host as u64 + 1), disk_of(host)));
        let members = Members::founding(&disks.collect());
        let config = |which: Which, host: usize| GroupConfig {
            group: which.group(),
            id: MemberId(host as u64 + 1),
            disk: disk_of(host),
            seed: seed ^ 0x5eed,
        };
        let node = |host: usize| Node {
            up: false,
            life: 0,
            global: Member::founded(config(Which::Global, host), &members, &catalog),
            region: Member::founded(config(Which::Region, host), &members, &region),
            makers: Vec::new(),
            reserved_since: BTreeMap::new(),
            registers: false,
        };
        let weather = Weather {
            delay_mean_us: 800,
            drop_ppm: 10_000,
            dup_ppm: 10_000,
            ..Weather::CALM
        };
        Self {
            draws,
            bent,
            t: 0,
            steps: 0,
            queue: BTreeMap::new(),
            queued: 0,
            net: Net::new(seed, weather),
            nodes: (0..count).map(node).collect(),
            stormy: true,
            leaders: BTreeMap::new(),
            hashes: BTreeMap::new(),
            told: BTreeSet::new(),
            deleted: BTreeSet::new(),
            outcome: RegionsOutcome::default(),
        }
    }

    fn draw(&self, purpose: Purpose, entity: u64, ordinal: u64) -> Draw {
        self.draws.draw(purpose, entity, ordinal)
    }

    fn wall(&self) -> Micros {
        EPOCH.plus(self.t)
    }

    fn count(&mut self, what: &'static str) {
        *self.outcome.counts.entry(what).or_default() += 1;
    }

    fn broke(&mut self, what: String) {
        self.outcome.broken.get_or_insert(what);
    }

    fn due(&mut self, after: u64, due: Due) {
        self.queued += 1;
        self.queue.insert((self.t + after, self.queued), due);
    }

    fn until(&mut self, end: u64) {
        while self.outcome.broken.is_none()
            && let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= end
        {
            self.t = entry.key().0;
            let due = entry.remove();
            self.steps += 1;
            self.step(due);
        }
        self.t = self.t.max(end);
    }

    fn lives(&self, host: usize, life: u64) -> bool {
        self.nodes[host].up && self.nodes[host].life == life
    }

    fn step(&mut self, due: Due) {
        match due {
            Due::Arrive { packet, wire } => match self.net.deliver(self.t, packet) {
                Delivery::Arrived => self.arrive(packet, &wire),
                Delivery::Later(at) => self.due(at - self.t, Due::Arrive { packet, wire }),
                Delivery::Lost(_) => self.count("lost"),
            },
            Due::Tick { host, life } if self.lives(host, life) => {
                self.group_tick::<Catalog>(host);
                self.group_tick::<Region>(host);
                self.work(host);
                self.due(TICK_US, Due::Tick { host, life });
            }
            Due::Persisted { host, life, which } if self.lives(host, life) => match which {
                Which::Global => self.persisted::<Catalog>(host),
                Which::Region => self.persisted::<Region>(host),
            },
            Due::Tick { .. } | Due::Persisted { .. } => {}
            Due::Start { host, life } => {
                if !self.nodes[host].up && self.nodes[host].life == life {
                    self.start(host);
                }
            }
            Due::Fault { nth } => self.fault(nth),
            Due::Heal => self.net.heal_all(),
        }
    }

    fn send(&mut self, from: usize, to: usize, wire: Wire) {
        let (Wire::Raft(_, bytes) | Wire::Propose(_, bytes)) = &wire;
        let length = bytes.len() as u64;
        let sent = self.net.send(self.t, end(from), end(to), length);
        let wire = Rc::new(wire);
        for arrival in sent.arrivals {
            let (packet, wire) = (arrival.packet, Rc::clone(&wire));
            self.due(arrival.at - self.t, Due::Arrive { packet, wire });
        }
    }

    fn arrive(&mut self, packet: Packet, wire: &Wire) {
        let Endpoint::Node(number) = packet.link.to else {
            return;
        };
        let host = number as usize - 1;
        if !self.nodes[host].up {
            return;
        }
        match wire {
            Wire::Raft(Which::Global, bytes) => self.raft_message::<Catalog>(host, bytes),
            Wire::Raft(Which::Region, bytes) => self.raft_message::<Region>(host, bytes),
            Wire::Propose(Which::Global, text) => {
                let input = hbuf_manager::raft::Input::Propose(text.clone());
                self.group_input::<Catalog>(host, input);
            }
            Wire::Propose(Which::Region, text) => {
                let input = hbuf_manager::raft::Input::Propose(text.clone());
                self.group_input::<Region>(host, input);
            }
        }
    }

    fn start(&mut self, host: usize) {
        let node = &mut self.nodes[host];
        node.up = true;
        node.life += 1;
        let mut life = [0x11; 16];
        life[0] = u8::try_from(host + 1).unwrap_or(0);
        life[8..].copy_from_slice(&node.life.to_be_bytes());
        let client = Uuid::from_random(life);
        node.global.start(client);
        node.region.start(client);
        node.registers = true;
        let life = node.life;
        let after = self.draw(Purpose::Delay, host as u64, life).below(TICK_US);
        self.due(after, Due::Tick { host, life });
    }

    fn crash(&mut self, host: usize, power: bool) {
        if !self.nodes[host].up {
            return;
        }
        self.count(if power { "power lost" } else { "killed" });
        let entity = (host as u64) << 32 | self.nodes[host].life;
        let of = |group| Draws::new(self.draw(Purpose::Crash, entity, group).0);
        let (global, region) = (of(1), of(2));
        let node = &mut self.nodes[host];
        node.up = false;
        node.life += 1;
        node.global.crash(&global, power);
        node.region.crash(&region, power);
        node.reserved_since.clear();
        let at_work = node.makers.len() as u64;
        node.makers.clear();
        *self.outcome.counts.entry("makers lost").or_default() += at_work;
        self.net.reset_all(end(host));
    }

    /// Something goes wrong, for a while.
    fn fault(&mut self, nth: u64) {
        if !self.stormy {
            return;
        }
        let draw = self.draw(Purpose::Faults, 0, nth);
        let host = usize::try_from(draw.next().below(self.nodes.len() as u64)).unwrap_or(0);
        let lasts = draw.next().next().within(50_000, 2_500_000);
        match draw.below(4) {
            0 | 1 => {
                self.net.cut(Cut::Isolate(end(host)));
                self.due(lasts, Due::Heal);
            }
            kind => {
                self.crash(host, kind == 2);
                let life = self.nodes[host].life;
                self.due(lasts, Due::Start { host, life });
            }
        }
        let next = self.draw(Purpose::Faults, 1, nth).within(100_000, 900_000);
        self.due(next, Due::Fault { nth: nth + 1 });
    }

    /// Faults end: everybody is there, nobody begins anything.
    fn calm(&mut self) {
        self.stormy = false;
        self.net.heal_all();
        self.net.set_weather(Weather::CALM);
        for host in 0..self.nodes.len() {
            if !self.nodes[host].up {
                self.start(host);
            }
            self.nodes[host].makers.clear();
        }
    }

    fn check_leader(&mut self, which: Which, host: usize, term: u64) {
        let known = *self.leaders.entry((which, term)).or_insert(host);
        if known != host {
            self.broke(format!("two members lead {which:?} in term {term}"));
        }
    }

    fn check_state(&mut self, which: Which, host: usize, index: u64, hash: Hash) {
        let known = *self.hashes.entry((which, index)).or_insert(hash);
        if known != hash {
            self.broke(format!("n{} has another {which:?} at {index}", host + 1));
        }
    }
}

/// The states of a cluster with a region, whose nodes are known in both.
fn founded(nodes: usize) -> (Catalog, Region) {
    let (mut catalog, mut region) = (Catalog::new(), Region::new());
    let version = CLUSTER_VERSIONS.max;
    let (cluster, group) = (FOUNDER, Which::Region.group());
    give(&mut catalog, Action::FoundCluster { cluster, version });
    give(&mut region, RegionAction::FoundRegion { group, version });
    for host in 0..nodes {
        let (start, id) = (start_of(host), id_of(host));
        give(&mut catalog, Action::RegisterNode(start.clone()));
        give(&mut region, RegionAction::RegisterNode { id, start });
    }
    let name = Name::parse(REGION).expect("letters are a name");
    let region_row = Action::CreateRegion {
        region: name,
        group,
    };
    give(&mut catalog, region_row);
    (catalog, region)
}

fn start_of(host: usize) -> RegisterNode {
    RegisterNode::new(node_name(host), disk_of(host), CLUSTER_VERSIONS)
}

fn id_of(host: usize) -> NodeId {
    NodeId(u32::try_from(host + 1).expect("few nodes"))
}

fn disk_of(host: usize) -> Uuid {
    Uuid::from_random([0xd0 | u8::try_from(host + 1).unwrap_or(0); 16])
}

fn end(host: usize) -> Endpoint {
    Endpoint::Node(u32::try_from(host + 1).expect("few nodes"))
}
