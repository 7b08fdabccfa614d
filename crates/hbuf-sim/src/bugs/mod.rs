//! Wrong rules and wrong shells, made only here, to see each invariant fail.
//!
//! An invariant that was never seen to fail proves nothing: for each there is a bug that breaks it,
//! and a test that finds it within a few seeds. A bug is shown in one world or several; the table
//! says in which, and by which invariant.

mod known;

use std::ops::Range;

use crate::cluster::{Bounds, Invariant as Rule, Mood, WALK_STEPS, walk};
use crate::invariants::Invariant;
use crate::nodes::{ClusterSetup, run_cluster};
use crate::run::run;
use crate::swarm::Opt;

pub use known::Bug;

/// Where a bug is shown, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// In the world of one node.
    OneNode(Invariant),
    /// In random walks of this mood through the small cluster.
    Walk(Mood, Rule),
    /// In the world of several nodes: one of [`crate::nodes::CLUSTER_INVARIANTS`], or the name of a
    /// [`crate::history::Check`]. Then options that make what it takes likely, as `name=value` with
    /// spaces between them; all others are drawn.
    Swarm(&'static str, &'static str),
}

impl Shows {
    /// The invariant that the bug breaks there.
    #[must_use]
    pub const fn invariant(self) -> &'static str {
        match self {
            Self::OneNode(invariant) => invariant.name(),
            Self::Walk(_, rule) => rule.name(),
            Self::Swarm(name, _) => name,
        }
    }

    /// What was seen when a run of this seed broke what the bug is to break there.
    #[must_use]
    pub fn notices(self, bug: Bug, seed: u64) -> Option<String> {
        match self {
            Self::OneNode(invariant) => {
                let outcome = run(seed, Some(bug), None).expect("nothing is written");
                let mut broken = outcome.broken.into_iter();
                let broken = broken.find(|broken| broken.invariant == invariant)?;
                Some(broken.what)
            }
            Self::Walk(mood, rule) => {
                let walk = walk(seed, mood, &bug.rules(), Bounds::WALK, WALK_STEPS);
                let steps = walk.steps;
                (walk.broken == Some(rule)).then(|| format!("broken at step {steps}"))
            }
            Self::Swarm(name, _) => {
                let setup = ClusterSetup::swarm_set(seed, &self.set());
                let setup = setup.expect("the table's options go together");
                let broken = run_cluster(&setup.with_bug(bug)).broken?;
                (broken.invariant == name).then_some(broken.what)
            }
        }
    }

    /// The options that are set in a swarm: nothing that operators do, which takes the time in
    /// which faults meet, and what the table says.
    #[must_use]
    pub fn set(self) -> Vec<String> {
        let Self::Swarm(_, set) = self else {
            return Vec::new();
        };
        let off = Opt::operations().map(|operation| format!("{}=0", operation.name()));
        off.chain(set.split_whitespace().map(str::to_owned))
            .collect()
    }

    /// The line that runs this seed with the bug.
    #[must_use]
    pub fn replay(self, bug: Bug, seed: u64) -> String {
        let name = bug.name();
        match self {
            Self::OneNode(_) => format!("hbuf sim run --seed {seed} --bug {name}"),
            Self::Walk(..) => format!("cargo xtask model --bug {name} --walks {}", seed + 1),
            Self::Swarm(..) => {
                let set = self.set();
                let set: String = set
                    .iter()
                    .map(|change| format!(" --set {change}"))
                    .collect();
                format!("hbuf sim run swarm --seed {seed} --bug {name}{set}")
            }
        }
    }

    /// The world's name.
    #[must_use]
    pub const fn world(self) -> &'static str {
        match self {
            Self::OneNode(_) => "one-node",
            Self::Walk(..) => "walks",
            Self::Swarm(..) => "swarm",
        }
    }
}

impl Bug {
    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }

    /// The invariant that it breaks in the world of one node; `None` when it is not shown there.
    #[must_use]
    pub fn in_one_node(self) -> Option<Invariant> {
        self.shows().iter().find_map(|shows| match shows {
            Shows::OneNode(invariant) => Some(*invariant),
            _ => None,
        })
    }

    /// In walks of which mood it is shown, and what it breaks there.
    #[must_use]
    pub fn in_walks(self) -> Option<(Mood, Rule)> {
        self.shows().iter().find_map(|shows| match shows {
            Shows::Walk(mood, rule) => Some((*mood, *rule)),
            _ => None,
        })
    }

    /// The invariant that it breaks in the world of several nodes, and under which options.
    #[must_use]
    pub fn in_swarm(self) -> Option<(&'static str, &'static str)> {
        self.shows().iter().find_map(|shows| match shows {
            Shows::Swarm(invariant, set) => Some((*invariant, *set)),
            _ => None,
        })
    }

    /// What it breaks and where, in words.
    #[must_use]
    pub fn breaks(self) -> String {
        let shown = self.shows().iter();
        let shown = shown.map(|shows| format!("{} ({})", shows.invariant(), shows.world()));
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// The seeds that notice a bug.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hunt {
    /// Seeds that were run.
    pub tried: u64,
    /// Those that noticed it, in order.
    pub found: Vec<u64>,
}

impl Hunt {
    /// Runs these seeds in order, until so many have noticed the bug.
    #[must_use]
    pub fn of(bug: Bug, shows: Shows, seeds: Range<u64>, enough: usize) -> Self {
        let mut hunt = Self::default();
        for seed in seeds {
            if hunt.found.len() >= enough {
                break;
            }
            hunt.tried += 1;
            if shows.notices(bug, seed).is_some() {
                hunt.found.push(seed);
            }
        }
        hunt
    }

    /// The first seed that noticed it.
    #[must_use]
    pub fn least(&self) -> Option<u64> {
        self.found.first().copied()
    }

    /// The one in the middle of those that noticed it.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        self.found.get(self.found.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hbuf_core::rules::Rules;

    use super::*;
    use crate::history::Check;
    use crate::nodes::CLUSTER_INVARIANTS;

    #[test]
    fn every_bug_has_a_name_of_its_own_and_is_shown_somewhere() {
        let names: BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        for bug in Bug::ALL {
            assert_eq!(Bug::parse(bug.name()), Some(bug));
            assert!(!bug.shows().is_empty(), "{}", bug.name());
        }
    }

    #[test]
    fn what_is_shown_in_walks_bends_a_rule() {
        for bug in Bug::ALL.into_iter().filter(|bug| bug.in_walks().is_some()) {
            assert_ne!(bug.rules(), Rules::correct(), "{}", bug.name());
        }
    }

    #[test]
    fn every_invariant_of_clusters_is_broken_by_a_switch_in_a_swarm() {
        // What breaks the first breaks `consumer-ack-not-lost` before it; the others are broken in
        // the world of one node alone.
        const UNBROKEN: [&str; 3] = [
            "ack-cursor-monotonic",
            "not-before-its-time",
            "dead-letter-once",
        ];
        for (name, _) in CLUSTER_INVARIANTS {
            if UNBROKEN.contains(&name) {
                continue;
            }
            let mut shown = Bug::ALL.into_iter().filter_map(Bug::in_swarm);
            assert!(shown.any(|(breaks, _)| breaks == name), "{name}");
        }
    }

    #[test]
    fn what_a_swarm_shows_is_an_invariant_that_there_is() {
        let known = |name: &str| {
            CLUSTER_INVARIANTS.iter().any(|known| known.0 == name)
                || Check::ALL.iter().any(|check| check.name() == name)
        };
        for (name, set) in Bug::ALL.into_iter().filter_map(Bug::in_swarm) {
            assert!(known(name), "{name}");
            let set = Shows::Swarm(name, set).set();
            assert!(ClusterSetup::swarm_set(0, &set).is_ok(), "{set:?}");
        }
    }
}
