//! How a run that fails becomes a small one that fails in the same way: faults and habits of
//! clients are left out, what stays becomes shorter, and the cluster smaller.
//!
//! The faults that the seed plans become actions at their times, so that what is left can be read
//! in the line that replays it. What is tried is whatever [`shrink`] wants; a try is a run.

use std::collections::BTreeSet;

use super::cluster_run::{ClusterSetup, run_cluster};
use crate::overrides::{Change, Override, Overrides, Place};
use crate::scenario::Action;
use crate::shrink::shrink;
use crate::swarm::{Opt, Options, Planned, planned};

/// A run that fails, with as little as it needs for that.
#[derive(Clone, Debug)]
pub struct Smaller {
    /// The run.
    pub setup: ClusterSetup,
    /// The invariant that it breaks, as the first one did.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
    /// Events until then: before, and now.
    pub events: (u64, u64),
    /// Faults and changes by hand: before, and now.
    pub faults: (usize, usize),
    /// How often it was tried.
    pub runs: u64,
    /// Nothing that is left can be left out or be made smaller by itself. Otherwise it was tried as
    /// often as it may be.
    pub minimal: bool,
}

/// Something that a run has and could be without.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Actions that belong together, at their times.
    Fault(Vec<Override>),
    /// Something that a seed may leave out, with its value.
    Habit(Opt, u64),
    /// A change by hand.
    Hand(Override),
}

/// Makes a run that fails smaller, with so many tries at most; `None` when it does not fail.
#[must_use]
pub fn smaller(setup: &ClusterSetup, runs_max: u64) -> Option<Smaller> {
    let setup = ClusterSetup {
        lines: false,
        ..setup.clone()
    };
    let first = run_cluster(&setup);
    let invariant = first.broken.as_ref()?.invariant;
    let mut search = Search {
        setup,
        invariant,
        left: runs_max.saturating_sub(1),
        options: Options::default(),
    };
    let (options, parts) = search.begin();
    search.options = options;
    let (parts, minimal) = search.run(parts);
    let setup = search.made_of(&parts);
    let last = run_cluster(&setup);
    let broken = last.broken.expect("it failed when it was tried");
    let hands =
        |setup: &ClusterSetup| setup.faults.len() + setup.acts.len() + setup.overrides.all().len();
    Some(Smaller {
        events: (first.events, last.events),
        faults: (hands(&search.setup), hands(&setup)),
        setup,
        invariant,
        what: broken.what,
        runs: runs_max - search.left,
        minimal,
    })
}

struct Search {
    /// The run as it was.
    setup: ClusterSetup,
    invariant: &'static str,
    /// Tries that are left.
    left: u64,
    /// The options without habits.
    options: Options,
}

impl Search {
    /// Options without what can be left out, and that.
    fn begin(&self) -> (Options, Vec<Part>) {
        let mut options = self.setup.options.clone();
        let timed: BTreeSet<&str> = self.setup.faults.iter().map(|it| it.fault).collect();
        let mut parts: Vec<Part> = self.setup.faults.iter().map(as_actions).collect();
        let hand = self.setup.overrides.all().iter();
        // What leaves out a planned fault is done with it.
        let (left_out, hand): (Vec<_>, Vec<_>) = hand
            .cloned()
            .partition(|it| matches!(it.at, Place::Fault(..)));
        let names = self.setup.faults.iter().map(Planned::name);
        let kept = names.map(|name| !left_out.iter().any(|it| it.at.to_string() == name));
        let mut kept = kept.collect::<Vec<_>>().into_iter();
        parts.retain(|_| kept.next().unwrap_or(true));
        parts.extend(hand.into_iter().map(Part::Hand));
        parts.extend(
            self.setup
                .acts
                .iter()
                .map(|act| Part::Fault(vec![at_time(act)])),
        );
        for opt in Opt::all().filter(|opt| opt.can_be_off()) {
            let value = options.get(opt);
            if value > 0 && !timed.contains(opt.name()) {
                parts.push(Part::Habit(opt, value));
            }
            options.set(opt, 0);
        }
        (options, parts)
    }

    /// The run that is made of these.
    fn made_of(&self, parts: &[Part]) -> ClusterSetup {
        let mut options = self.options.clone();
        let mut overrides = Vec::new();
        for part in parts {
            match part {
                Part::Fault(actions) => overrides.extend(actions.iter().cloned()),
                Part::Habit(opt, value) => options.set(*opt, *value),
                Part::Hand(change) => overrides.push(change.clone()),
            }
        }
        ClusterSetup {
            faults: planned(self.setup.seed, &options),
            acts: Vec::new(),
            overrides: Overrides::new(overrides),
            options,
            ..self.setup.clone()
        }
    }

    fn fails(&self, setup: &ClusterSetup) -> bool {
        let broken = run_cluster(setup).broken;
        broken.is_some_and(|broken| broken.invariant == self.invariant)
    }

    /// Fewer parts, then a smaller cluster, until neither gives anything.
    fn run(&mut self, mut parts: Vec<Part>) -> (Vec<Part>, bool) {
        loop {
            let tries = self.left;
            let shrunk = shrink(&parts, tries, |it| self.fails(&self.made_of(it)), simpler);
            // As actions at their times they do not fail: nothing is left out.
            let Some(shrunk) = shrunk else {
                return (parts, false);
            };
            self.left -= shrunk.runs;
            parts = shrunk.items;
            if !shrunk.minimal {
                return (parts, false);
            }
            match self.smaller_cluster(&parts) {
                Some(true) => {}
                Some(false) => return (parts, true),
                None => return (parts, false),
            }
        }
    }

    /// Says whether anything became smaller; `None` when it may not be tried any more.
    fn smaller_cluster(&mut self, parts: &[Part]) -> Option<bool> {
        let mut changed = false;
        // With fewer copies it could fail since nothing was promised.
        let promised = [Opt::Copies, Opt::MinInSync];
        let sizes = Opt::all().filter(|opt| !opt.can_be_off() && !promised.contains(opt));
        for opt in sizes {
            for value in opt.smaller(self.options.get(opt)) {
                let before = self.options.clone();
                self.options.set(opt, value);
                if self.options.check().is_ok() {
                    self.left = self.left.checked_sub(1)?;
                    if self.fails(&self.made_of(parts)) {
                        changed = true;
                        break;
                    }
                }
                self.options = before;
            }
        }
        Some(changed)
    }
}

/// A planned fault as actions at their times.
fn as_actions(planned: &Planned) -> Part {
    Part::Fault(planned.actions.iter().map(at_time).collect())
}

fn at_time((at, action): &(u64, Action)) -> Override {
    Override {
        at: Place::Time(*at),
        change: Change::Act(action.clone()),
    }
}

/// Forms of a part that do less.
fn simpler(part: &Part) -> Vec<Part> {
    match part {
        Part::Habit(..) => Vec::new(),
        Part::Hand(change) => change.simpler().into_iter().map(Part::Hand).collect(),
        Part::Fault(actions) => {
            let mut forms = Vec::new();
            for at in 0..actions.len() {
                if actions.len() > 1 {
                    let mut fewer = actions.clone();
                    fewer.remove(at);
                    forms.push(Part::Fault(fewer));
                }
            }
            for (at, action) in actions.iter().enumerate() {
                for form in action.simpler() {
                    let mut shorter = actions.clone();
                    shorter[at] = form;
                    forms.push(Part::Fault(shorter));
                }
            }
            forms
        }
    }
}
