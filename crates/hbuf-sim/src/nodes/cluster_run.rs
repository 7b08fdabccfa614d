//! A run: a cluster is founded, clients and faults have their time, then the faults end and
//! everything must come to rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use hbuf_core::ids::Uuid;
use hbuf_core::limits::NODE_PROBATION_MICROS_MAX;
use hbuf_core::replication::FillPace;
use hbuf_core::retention::Retention;
use hbuf_core::rules::Rules;
use hbuf_manager::raft::{GroupConfig, MemberId, Members};
use hbuf_manager::{Action, CLUSTER_VERSIONS, Catalog, RegisterNode};

use super::asks::Asks;
use super::checks::{ClusterBroken, Watch};
use super::client::Client;
use super::created::{buffer_uuid, creation};
use super::enlisted::enlist;
use super::expect::Verdict;
use super::hand::{Hand, Pins, Stop, Unmet};
use super::host::Host;
use super::manager::{GROUP, Manager};
use super::play::Play;
use super::tally::{Counted, Tally};
use super::used_rules::UsedRules;
use super::{About, Due, EPOCH, Names, World};
use crate::bugs::Bug;
use crate::clock::Clock;
use crate::draw::Draws;
use crate::founding::{FOUNDER, give, node_name};
use crate::history::LogHistory;
use crate::kinds::Kind;
use crate::net::{Net, Weather};
use crate::overrides::Overrides;
use crate::scenario::{Action as Act, Source};
use crate::swarm::{Opt, OptionError, Options, Planned, planned};
use crate::tracefile::{EventId, Header, TraceWriter};

/// How long it takes until whatever was asked last is done, in microseconds.
const CLOSING_US: u64 = 3_000_000;
/// How long it may take until a node is taken back that was often away, in microseconds.
const RETURNED_US: u64 = 2 * NODE_PROBATION_MICROS_MAX;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct ClusterSetup {
    /// All draws follow from it.
    pub seed: u64,
    /// Sizes, rates, durations.
    pub options: Options,
    /// The rules; those of a bug are not the right ones.
    pub rules: Rules,
    /// What is done wrong on purpose.
    pub bug: Option<Bug>,
    /// What happens when, in microseconds.
    pub acts: Vec<(u64, Act)>,
    /// The faults that the seed plans.
    pub faults: Vec<Planned>,
    /// What a hand changes.
    pub overrides: Overrides,
    /// The scenario that is played. Whether clients also ask by themselves is an option.
    pub scenario: Option<Arc<Source>>,
    /// Write lines of the trace.
    pub lines: bool,
}

impl ClusterSetup {
    /// The run of a seed: everything is drawn.
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        Self::of(seed, Options::of_seed(seed))
    }

    /// The run of a seed with these options instead of those that it draws.
    #[must_use]
    pub fn of(seed: u64, mut options: Options) -> Self {
        // Never every copy of a message: a commit that one disk makes is lost with it.
        if options.get(Opt::MinInSync) < 2 {
            options.set(Opt::Rot, 0);
            options.set(Opt::Reformat, 0);
            options.set(Opt::Clone, 0);
            options.set(Opt::Restore, 0);
        }
        Self {
            seed,
            rules: Rules::correct(),
            bug: None,
            acts: Vec::new(),
            faults: planned(seed, &options),
            overrides: Overrides::default(),
            options,
            scenario: None,
            lines: false,
        }
    }

    /// A scenario with the faults that its options plan for this seed.
    #[must_use]
    pub fn playing(seed: u64, scenario: Arc<Source>, options: Options) -> Self {
        let bug = scenario.scenario.bug.as_deref().and_then(Bug::parse);
        Self {
            rules: bug.map_or_else(Rules::correct, Bug::rules),
            bug,
            scenario: Some(scenario),
            ..Self::of(seed, options)
        }
    }

    /// The run of a seed, some of whose options are set: each as `name=value`.
    pub fn swarm_set(seed: u64, set: &[String]) -> Result<Self, OptionError> {
        let mut options = Options::of_seed(seed);
        for change in set {
            options.change(change)?;
        }
        options.check()?;
        Ok(Self::of(seed, options))
    }

    /// The same with this done wrong.
    #[must_use]
    pub fn with_bug(self, bug: Bug) -> Self {
        Self {
            rules: bug.rules(),
            bug: Some(bug),
            ..self
        }
    }
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct ClusterOutcome {
    /// Its seed.
    pub seed: u64,
    /// Its options.
    pub options: Options,
    /// What did not hold.
    pub broken: Option<ClusterBroken>,
    /// Steps of the queue.
    pub steps: u64,
    /// Events.
    pub events: u64,
    /// A hash over all of them.
    pub hash: u64,
    /// Events by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Faults by name, as often as they took effect.
    pub faults: Counted,
    /// What operators and clients did.
    pub operations: Counted,
    /// What nodes were about when they lost power.
    pub crash_points: Counted,
    /// The rules of the core that decided something: 1 each.
    pub rules: Counted,
    /// Messages acknowledged.
    pub acked: u64,
    /// Actions that this world cannot play.
    pub unplayed: Vec<String>,
    /// What a hand changed, as it is written.
    pub overrides: Vec<String>,
    /// Changes of a hand that changed nothing.
    pub unmet: Vec<Unmet>,
    /// Lines of the scenario whose action this world cannot play, and the action.
    pub unplayed_lines: Vec<(usize, String)>,
    /// Steps of the scenario that never came: their lines.
    pub never: Vec<(usize, String)>,
    /// What became of the scenario's expectations, in the order of their lines.
    pub verdicts: Vec<Verdict>,
    /// The trace, when lines were wanted.
    pub trace: String,
    /// What clients were told, and what is there.
    pub history: LogHistory,
}

/// Runs a cluster.
#[must_use]
pub fn run_cluster(setup: &ClusterSetup) -> ClusterOutcome {
    played(setup, Stop::Never).outcome(setup)
}

/// The world of a run that was played to its end, or to where it stops.
pub(super) fn played(setup: &ClusterSetup, stop: Stop) -> World {
    let mut pins = Pins::new();
    loop {
        let hand = Hand::new(setup.overrides.clone(), pins.clone(), stop);
        let mut world = World::new(setup, hand);
        // Whether it came to its end is for whoever wanted it to stop.
        let _ = world.run(setup);
        match world.hand.late {
            Some(late) => pins.entry(late.step).or_default().push(late.eid),
            None => return world,
        }
    }
}

impl World {
    fn new(setup: &ClusterSetup, hand: Hand) -> Self {
        let options = setup.options.clone();
        let nodes = options.count(Opt::Nodes);
        let uuids: Vec<Uuid> = (0..options.count(Opt::Buffers)).map(buffer_uuid).collect();
        let mut catalog = founded(&options, &uuids);
        let crew = enlist(&mut catalog, &Draws::new(setup.seed), &options, &uuids);
        let disks = (0..nodes).map(|host| (MemberId(host as u64 + 1), disk_of(host)));
        let disks: BTreeMap<MemberId, Uuid> = disks.collect();
        let members = Members::founding(&disks);
        let host = |number| founder(setup, number, &members, &catalog);
        let numbered = |letter: &str, count: usize| {
            let names = (1..=count).map(|number| format!("{letter}{number}"));
            names.collect::<Vec<_>>()
        };
        let clients = options.count(Opt::Clients);
        let wild = options.is_on(Opt::Workload);
        Self {
            draws: Draws::new(setup.seed),
            rules: setup.rules,
            bug: setup.bug,
            trace: match setup.lines {
                true => TraceWriter::writing(&header(setup)),
                false => TraceWriter::counting(),
            },
            t: 0,
            queue: BTreeMap::new(),
            queued: 0,
            steps: 0,
            scope: 0,
            root: EventId::default(),
            hand,
            net: Net::new(setup.seed, Weather::of(&options)),
            hosts: (0..nodes).map(host).collect(),
            clients: (0..clients).map(|_| Client::new(wild)).collect(),
            acked: vec![0; uuids.len()],
            names: Names {
                nodes: numbered("n", nodes),
                clients: numbered("c", clients),
                buffers: numbered("b", uuids.len()),
            },
            buffers: uuids,
            watch: Watch::default(),
            tally: Tally::default(),
            used: UsedRules::default(),
            history: LogHistory::default(),
            stormy: true,
            closing: false,
            founders: nodes,
            kept: BTreeMap::new(),
            rebalancing: None,
            unplayed: Vec::new(),
            play: setup.scenario.clone().map(Play::new),
            asks: Asks::default(),
            crew,
            seen: Vec::new(),
            refusals: BTreeMap::new(),
            options,
        }
    }

    /// `None` when it stops before its end.
    fn run(&mut self, setup: &ClusterSetup) -> Option<()> {
        let root = self.event(&[], Kind::RunStarted, &About::default());
        self.root = root;
        for host in 0..self.hosts.len() {
            self.start(root, host);
        }
        let faults = setup.faults.iter();
        let kept = faults.filter(|planned| !self.hand.skips(planned));
        let faults: Vec<_> = kept.flat_map(|planned| &planned.actions).collect();
        for (at, act) in faults.into_iter().chain(&setup.acts) {
            let eid = self.reserve_act(*at, act);
            self.due_as(root, eid, *at, Due::Act(Box::new(act.clone())));
        }
        self.begin_play(root);
        if self.options.is_on(Opt::Workload) {
            for client in 0..self.clients.len() {
                self.plan_turn(root, 300_000 + client as u64, client);
            }
        }
        let safety = self.options.get(Opt::Safety);
        self.until(safety)?;
        self.heal_core(root)?;
        self.begin_step()?;
        self.calm(root);
        let last = self.t + self.options.get(Opt::Liveness);
        self.settle(last)?;
        // Nobody asks anything more: what is under way comes to its end.
        self.closing = true;
        if self
            .play
            .as_ref()
            .is_none_or(|play| play.rested_at.is_none())
        {
            self.until(last + CLOSING_US)?;
        }
        // Who was often away is watched for long before it is taken back.
        while self.at_rest().is_err() && self.t < last + RETURNED_US && self.watch.broken.is_none()
        {
            self.until(self.t + 1_000_000)?;
        }
        self.begin_step()?;
        if self.watch.broken.is_none() {
            if let Err(what) = self.at_rest() {
                self.broke(root, "converges", what);
            } else {
                self.judge();
            }
        }
        self.judge_expectations(root);
        self.event(&[root], Kind::RunEnded, &About::default());
        Some(())
    }

    /// Takes steps through this time, or until something did not hold.
    pub(super) fn until(&mut self, end: u64) -> Option<()> {
        while self.watch.broken.is_none() && self.next_due().is_some_and(|at| at <= end) {
            self.step()?;
            self.look_at_conditions();
        }
        if self.hand.stops_at(end, self.steps) {
            return None;
        }
        self.t = self.t.max(end);
        Some(())
    }

    /// The faults end: everything is healed and must come to its end.
    fn calm(&mut self, cause: EventId) {
        self.stormy = false;
        let event = self.event(&[cause], Kind::FaultsEnded, &About::default());
        for opt in [
            Opt::Drop,
            Opt::Dup,
            Opt::Reset,
            Opt::Bandwidth,
            Opt::Capacity,
        ] {
            self.options.set(opt, 0);
        }
        self.net.heal_all();
        self.net.set_weather(Weather::of(&self.options));
        let wall = EPOCH.plus(self.t);
        let now = self.t;
        for host in 0..self.hosts.len() {
            self.go_on(host);
            let this = &mut self.hosts[host];
            this.clock.correct(now, wall);
            (this.fail_sync, this.slow_us, this.doom) = (false, 0, None);
            self.make_room(event, host);
            let this = &mut self.hosts[host];
            // An operator restarts what stopped using its disk.
            if this.failed {
                self.crash(event, host, false);
            }
        }
        self.start_all(event);
        self.stop_copies(event);
        for host in 0..self.hosts.len() {
            self.scrub(event, host);
        }
    }

    fn outcome(mut self, setup: &ClusterSetup) -> ClusterOutcome {
        let faults = self.faults_counted();
        let rules = self.used.names().map(|rule| (rule, 1)).collect();
        let tally = std::mem::take(&mut self.tally);
        let play = self.play.as_mut();
        let (unplayed_lines, never, verdicts) = play.map_or_else(Default::default, |play| {
            let verdicts = std::mem::take(&mut play.verdicts);
            (std::mem::take(&mut play.unplayed), play.never(), verdicts)
        });
        ClusterOutcome {
            seed: setup.seed,
            options: setup.options.clone(),
            broken: self.watch.broken.take(),
            steps: self.steps,
            events: self.trace.events(),
            hash: self.trace.hash(),
            kinds: self.trace.counts(),
            faults,
            operations: tally.operations,
            crash_points: tally.crash_points,
            rules,
            acked: self.acked.iter().sum(),
            unplayed: self.unplayed,
            overrides: setup.overrides.texts(),
            unmet: self.hand.unmet(self.t, |fault| {
                let planned = setup.faults.iter().filter(|it| it.fault == fault);
                planned.count() as u64
            }),
            unplayed_lines,
            never,
            verdicts,
            trace: self.trace.take_lines(),
            history: self.history,
        }
    }

    pub(super) fn retention(&self) -> Retention {
        Retention::default()
    }
}

/// A node of those that the cluster began with.
fn founder(setup: &ClusterSetup, number: usize, members: &Members, catalog: &Catalog) -> Host {
    let config = GroupConfig {
        group: GROUP,
        id: MemberId(number as u64 + 1),
        disk: disk_of(number),
        seed: setup.seed ^ 0x5eed,
    };
    let manager = Manager::founded(config, members, catalog, setup.rules);
    let clock = Clock::new(0, EPOCH);
    Host {
        fill_pace: FillPace::new(setup.options.get(Opt::FillRate)),
        ..Host::new(number, disk_of(number), setup.rules, clock, manager)
    }
}

fn header(setup: &ClusterSetup) -> Header {
    let played = setup.scenario.as_ref().map(|source| &source.scenario);
    let scenario = played.map_or("swarm", |scenario| &scenario.name);
    Header {
        overrides: setup.overrides.texts(),
        ..Header::new(
            scenario,
            setup.seed,
            setup.bug.map(Bug::name),
            setup.options.to_string(),
        )
    }
}

/// The catalog of a cluster whose nodes and buffers are known.
fn founded(options: &Options, buffers: &[Uuid]) -> Catalog {
    let mut catalog = Catalog::new();
    let version = match u32::try_from(options.get(Opt::ClusterVersion)) {
        Ok(version) if version > 0 => version,
        _ => CLUSTER_VERSIONS.max,
    };
    let cluster = FOUNDER;
    give(&mut catalog, Action::FoundCluster { cluster, version });
    let nodes = options.count(Opt::Nodes);
    for host in 0..nodes {
        let start = RegisterNode {
            clean: true,
            ..RegisterNode::new(node_name(host), disk_of(host), CLUSTER_VERSIONS)
        };
        give(&mut catalog, Action::RegisterNode(start));
    }
    let copies = options.count(Opt::Copies).min(nodes);
    for (at, uuid) in buffers.iter().enumerate() {
        let on = (0..copies).map(|copy| node_name((at + copy) % nodes));
        let create = creation(options, &format!("b{}", at + 1), *uuid, on.collect());
        give(&mut catalog, Action::CreateBuffer(Box::new(create)));
        let confirmed = Action::ConfirmBuffer {
            uuid: *uuid,
            reserved: None,
        };
        give(&mut catalog, confirmed);
    }
    catalog
}

fn disk_of(host: usize) -> Uuid {
    Uuid::from_random([0xd0 | u8::try_from(host + 1).unwrap_or(0); 16])
}
