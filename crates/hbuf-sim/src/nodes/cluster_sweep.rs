//! Sums over many runs of several nodes, and what none of them had that they could have had.

use std::collections::BTreeMap;

use super::ClusterOutcome;
use super::reach::{Table, countables};
use super::tally::Counted;

/// Sums over many runs.
#[derive(Clone, Debug, Default)]
pub struct ClusterSweep {
    /// Runs.
    pub runs: u64,
    /// Steps of their queues.
    pub steps: u64,
    /// Their events.
    pub events: u64,
    /// Messages acknowledged.
    pub acked: u64,
    counts: BTreeMap<Table, Counted>,
    /// In how many runs something was, and how many could have had it.
    reached: BTreeMap<(Table, &'static str), Reached>,
}

/// How many runs had something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Runs that had it.
    pub had: u64,
    /// Runs whose options allow it.
    pub could: u64,
}

impl ClusterSweep {
    /// Takes a run in.
    pub fn add(&mut self, outcome: &ClusterOutcome) {
        self.runs += 1;
        self.steps += outcome.steps;
        self.events += outcome.events;
        self.acked += outcome.acked;
        let kinds = outcome.kinds.iter();
        let kinds: Counted = kinds.map(|(kind, count)| (kind.name(), *count)).collect();
        let tables = [
            (Table::Faults, &outcome.faults),
            (Table::Operations, &outcome.operations),
            (Table::CrashPoints, &outcome.crash_points),
            (Table::Rules, &outcome.rules),
            (Table::Events, &kinds),
        ];
        for (table, counted) in tables {
            sum(self.counts.entry(table).or_default(), counted);
        }
        for it in countables() {
            let counted = tables.iter().find(|(table, _)| *table == it.table);
            let counted = counted.and_then(|(_, counted)| counted.get(it.name));
            let reached = self.reached.entry((it.table, it.name)).or_default();
            let could = it.within(&outcome.options);
            reached.could += u64::from(could);
            reached.had += u64::from(could && counted.is_some());
        }
    }

    /// Takes another sweep in.
    pub fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.events += other.events;
        self.acked += other.acked;
        for (table, counted) in &other.counts {
            sum(self.counts.entry(*table).or_default(), counted);
        }
        for (key, Reached { had, could }) in &other.reached {
            let reached = self.reached.entry(*key).or_default();
            reached.had += had;
            reached.could += could;
        }
    }

    /// What there is of a table, and how often it was, also what never was and could have been.
    #[must_use]
    pub fn table(&self, table: Table) -> Counted {
        let mut counted = self.counts.get(&table).cloned().unwrap_or_default();
        for ((of, name), reached) in &self.reached {
            if *of == table && reached.could > 0 {
                counted.entry(name).or_default();
            }
        }
        counted
    }

    /// In how many runs everything that can be was, of how many that could have had it.
    #[must_use]
    pub const fn reached(&self) -> &BTreeMap<(Table, &'static str), Reached> {
        &self.reached
    }

    /// What no run had, although so many could have had it that one should have.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let missed = countables().into_iter().filter(|it| {
            let reached = self.reached.get(&(it.table, it.name));
            let Reached { had, could } = reached.copied().unwrap_or_default();
            had == 0 && could >= it.needs.max(1)
        });
        missed
            .map(|it| format!("{} {}", it.table.one(), it.name))
            .collect()
    }
}

fn sum(into: &mut Counted, from: &Counted) {
    for (name, count) in from {
        *into.entry(name).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{ClusterSetup, run_cluster};

    #[test]
    fn what_no_run_had_is_missed_when_enough_could_have_had_it() {
        let setup = ClusterSetup::of(1, "workload=1 safety=500ms liveness=1s".parse().unwrap());
        let outcome = run_cluster(&setup);
        assert_eq!(outcome.broken, None);
        let mut sweep = ClusterSweep::default();
        for _ in 0..200 {
            sweep.add(&outcome);
        }
        assert!(!sweep.missed().contains(&"operation tail".to_owned()));
        let silent = ClusterOutcome {
            operations: Counted::new(),
            rules: Counted::new(),
            ..outcome
        };
        let mut sweep = ClusterSweep::default();
        for _ in 0..200 {
            sweep.add(&silent);
        }
        let missed = sweep.missed();
        assert!(missed.contains(&"operation tail".to_owned()), "{missed:?}");
        assert!(
            missed.contains(&"rule commit_waits_for_disk".to_owned()),
            "{missed:?}"
        );
        assert!(!missed.iter().any(|it| it.contains("crash")), "{missed:?}");
        assert_eq!(sweep.table(Table::Operations)["tail"], 0);
    }
}
