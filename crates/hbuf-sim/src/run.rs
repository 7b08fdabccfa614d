//! One run, and many.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::bugs::Bug;
use crate::draw::Draws;
use crate::invariants::Broken;
use crate::kinds::Kind;
use crate::plan::{CRASH_POINTS, Fault, Plan};
use crate::trace::Trace;
use crate::tracefile::Header;
use crate::world::World;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was done wrong on purpose.
    pub bug: Option<Bug>,
    /// What the seed made: options and faults.
    pub plan: String,
    /// Events of the trace.
    pub events: u64,
    /// A hash over all events.
    pub hash: u64,
    /// The invariants that did not hold.
    pub broken: Vec<Broken>,
    /// Events by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Faults that took place.
    pub faults: BTreeMap<Fault, u64>,
    /// Crashes by what they came before.
    pub crash_points: BTreeMap<String, u64>,
}

impl Outcome {
    /// The line that runs it again.
    #[must_use]
    pub fn replay(&self) -> String {
        let bug = self
            .bug
            .map(|bug| format!(" --bug {}", bug.name()))
            .unwrap_or_default();
        format!("hbuf sim run --seed {}{bug}", self.seed)
    }
}

/// Runs a seed; the trace goes to `out`. An error is one of writing to it.
pub fn run(seed: u64, bug: Option<Bug>, out: Option<&mut dyn io::Write>) -> io::Result<Outcome> {
    let header = || {
        let plan = Plan::new(&Draws::new(seed)).to_string();
        Header::new("one-node", seed, bug.map(Bug::name), plan)
    };
    let mut world = World::new(seed, bug, Trace::new(out, header));
    let plan = world.plan().to_string();
    world.run();
    let outcome = Outcome {
        seed,
        bug,
        plan,
        events: world.trace.events(),
        hash: world.trace.writer().hash(),
        broken: world.broken.values().cloned().collect(),
        kinds: world.trace.writer().counts(),
        faults: world.faults_done.clone(),
        crash_points: world.crash_points.clone(),
    };
    world.trace.finish()?;
    Ok(outcome)
}

/// Sums over many runs.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Runs.
    pub runs: u64,
    /// Events of all of them.
    pub events: u64,
    /// Runs in which an invariant did not hold.
    pub failed: Vec<Outcome>,
    /// Events by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Crashes by what they came before.
    pub crash_points: BTreeMap<String, u64>,
}

impl Sweep {
    /// Takes a run in.
    pub fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.events += outcome.events;
        sum(&mut self.kinds, &outcome.kinds);
        sum(&mut self.faults, &outcome.faults);
        sum(&mut self.crash_points, &outcome.crash_points);
        if !outcome.broken.is_empty() {
            self.failed.push(outcome);
        }
    }

    /// Takes another sweep in.
    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.events += other.events;
        sum(&mut self.kinds, &other.kinds);
        sum(&mut self.faults, &other.faults);
        sum(&mut self.crash_points, &other.crash_points);
        self.failed.extend(other.failed);
        self.failed.sort_by_key(|outcome| outcome.seed);
    }

    /// Kinds of events, faults and crash points that no run had: what they would show is not shown.
    #[must_use]
    pub fn missed(&self) -> Vec<&'static str> {
        let kinds = Kind::ALL
            .iter()
            .filter(|kind| **kind != Kind::InvariantBroken && !kind.of_several_nodes());
        let kinds = kinds
            .filter(|kind| !self.kinds.contains_key(kind))
            .map(|kind| kind.name());
        let faults = Fault::ALL
            .iter()
            .filter(|fault| !self.faults.contains_key(fault));
        let points = CRASH_POINTS
            .iter()
            .filter(|point| !self.crash_points.contains_key(**point));
        kinds
            .chain(faults.map(|fault| fault.name()))
            .chain(points.copied())
            .collect()
    }
}

fn sum<K: Clone + Ord>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(key.clone()).or_insert(0) += count;
    }
}

/// Runs seeds one after the other.
#[must_use]
pub fn sweep(seeds: Range<u64>, bug: Option<Bug>) -> Sweep {
    let mut sweep = Sweep::default();
    for seed in seeds {
        sweep.add(run(seed, bug, None).expect("nothing is written"));
    }
    sweep
}
