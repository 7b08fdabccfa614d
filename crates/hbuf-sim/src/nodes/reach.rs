//! What runs of several nodes can come to, in which of them, and from how many such runs on one
//! that never came to it was not tested.
//!
//! Not everything comes often enough to be there in two hundred runs, of which some do not even
//! have the option that it takes. So each has a number of runs that could have had it, from which
//! on a count of 0 is a failure: large enough that chance alone does not bring that about.

use super::tally::{BEGIN_STEPS, MARK_STEPS};
use super::used_rules::RuleName;
use crate::kinds::Kind;
use crate::swarm::{Opt, Options};

/// In which runs something can happen.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    Always,
    If(fn(&Options) -> bool),
    /// Never in this world, and why.
    Nowhere(&'static str),
}

impl Reach {
    fn holds(self, options: &Options) -> bool {
        match self {
            Self::Always => true,
            Self::If(holds) => holds(options),
            Self::Nowhere(_) => false,
        }
    }
}

/// What is counted in a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Faults that took effect.
    Faults,
    /// What operators and clients did.
    Operations,
    /// What a node was about when it lost power.
    CrashPoints,
    /// Rules of the core that decided something.
    Rules,
    /// Events.
    Events,
}

impl Table {
    /// What one of it is called.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::Faults => "fault",
            Self::Operations => "operation",
            Self::CrashPoints => "crash point",
            Self::Rules => "rule",
            Self::Events => "event",
        }
    }
}

/// Something that runs can come to.
#[derive(Clone, Copy)]
pub(super) struct Countable {
    pub(super) table: Table,
    pub(super) name: &'static str,
    reach: Reach,
    /// So many runs that could have it must not all lack it.
    pub(super) needs: u64,
}

impl Countable {
    /// Whether a run with these options can come to it.
    pub(super) fn within(&self, options: &Options) -> bool {
        self.reach.holds(options)
    }
}

/// How many times as many runs as have it on average must lack it before that is no chance: with
/// fourteen, one time in a million; a half more, for what is measured is not what holds for ever.
const TIMES: u64 = 20;

/// A row: the name, where it can be, and in how many of a thousand such runs it was when that was
/// measured.
type Row = (&'static str, Reach, u64);

/// So many runs that could have it must not all lack it.
fn needs(of_thousand: u64) -> u64 {
    TIMES * 1_000 / of_thousand.clamp(1, 1_000)
}

const fn on(opt: fn(&Options) -> bool) -> Reach {
    Reach::If(opt)
}

#[rustfmt::skip]
const FAULTS: [Row; 23] = [
    ("crash", on(|it| it.is_on(Opt::Crash)), 919),
    ("kill", on(|it| it.is_on(Opt::Kill)), 919),
    ("reformat", on(|it| it.is_on(Opt::Reformat)), 752),
    ("slow-disk", on(|it| it.is_on(Opt::SlowDisk)), 918),
    ("sync-fails", on(|it| it.is_on(Opt::SyncFails)), 612),
    ("rot", on(|it| it.is_on(Opt::Rot)), 459),
    ("write.torn", on(|it| it.is_on(Opt::Crash)), 111),
    ("write.lost", on(|it| it.is_on(Opt::Crash)), 151),
    ("write.reordered", on(|it| it.is_on(Opt::Crash)), 58),
    ("name.lost", on(|it| it.is_on(Opt::Crash)), 89),
    ("net.delay", Reach::Always, 1000),
    ("net.reorder", Reach::Always, 1000),
    ("net.drop", on(|it| it.is_on(Opt::Drop)), 986),
    ("net.dup", on(|it| it.is_on(Opt::Dup)), 989),
    ("reset", on(|it| it.is_on(Opt::Reset)), 983),
    ("partition.sym", on(|it| it.is_on(Opt::Partition)), 866),
    ("partition.asym", on(|it| it.is_on(Opt::Partition)), 268),
    ("clog", on(|it| it.is_on(Opt::Clog)), 903),
    ("slow", on(|it| it.is_on(Opt::Bandwidth)), 1000),
    ("capacity", on(|it| it.is_on(Opt::Capacity)), 29),
    ("clock.jump", on(|it| it.is_on(Opt::Jump) || it.is_on(Opt::Skew)), 968),
    ("clock.drift", on(|it| it.is_on(Opt::Drift)), 1000),
    ("pause", on(|it| it.is_on(Opt::Pause)), 934),
];

#[rustfmt::skip]
const OPERATIONS: [Row; 22] = [
    ("move", on(|it| it.is_on(Opt::Move)), 851),
    ("drain", on(|it| it.is_on(Opt::Drain)), 850),
    ("undrain", on(|it| it.is_on(Opt::Drain)), 687),
    ("rebalance.fewest-bytes", on(|it| it.is_on(Opt::Rebalance)), 550),
    ("rebalance.even-load", on(|it| it.is_on(Opt::Rebalance)), 524),
    ("rebalance.even-bytes", on(|it| it.is_on(Opt::Rebalance)), 528),
    ("state.open", on(|it| it.is_on(Opt::State)), 909),
    ("state.paused", on(|it| it.is_on(Opt::State)), 749),
    ("state.closed", on(|it| it.is_on(Opt::State)), 617),
    ("clone", on(|it| it.is_on(Opt::Clone)), 764),
    ("snapshot", on(|it| it.is_on(Opt::Restore)), 740),
    ("restore", on(|it| it.is_on(Opt::Restore)), 740),
    ("stop", on(|it| it.is_on(Opt::Stop)), 906),
    ("version.previous", on(|it| it.is_on(Opt::Upgrade)), 524),
    ("version.current", on(|it| it.is_on(Opt::Upgrade)), 808),
    ("raise", on(|it| it.is_on(Opt::Upgrade)), 808),
    ("elect", on(|it| it.is_on(Opt::Elect) && it.is_on(Opt::Crash)), 15),
    ("tail", on(|it| asks(it) && it.is_on(Opt::TailReads)), 907),
    ("append.batch", on(|it| asks(it) && it.is_on(Opt::Batches)), 940),
    ("append.producer", on(|it| asks(it) && it.is_on(Opt::Producers)), 970),
    ("append.keyed", on(|it| asks(it) && it.is_on(Opt::Keyed)), 946),
    ("append.conditional", on(|it| asks(it) && it.is_on(Opt::Conditional)), 920),
];

#[rustfmt::skip]
const CRASH_POINTS: [Row; 8] = [
    ("sync", on(|it| it.is_on(Opt::Crash)), 128),
    ("write", on(|it| it.is_on(Opt::Crash)), 41),
    ("manager-log", on(|it| it.is_on(Opt::Crash)), 169),
    ("cut", on(|it| it.is_on(Opt::Crash) && it.get(Opt::Copies) > 1), 4),
    ("promote", on(|it| it.is_on(Opt::Crash) && it.get(Opt::Copies) > 1), 12),
    ("register", on(|it| it.is_on(Opt::Crash)), 442),
    ("stopping", on(|it| it.is_on(Opt::Crash) && it.is_on(Opt::Stop)), 86),
    ("at-rest", on(|it| it.is_on(Opt::Crash)), 806),
];

/// The same of each step of a mark; of that of a copy which begins near the tail.
const MARK_STEP: u64 = 12;
const BEGIN_STEP: u64 = 3;

/// Events that only some runs can come to. Those of several nodes that are not here are in all.
#[rustfmt::skip]
const EVENTS: [Row; 12] = [
    ("copy.took", on(|it| it.get(Opt::Copies) > 1), 997),
    ("copy.cut", on(|it| it.get(Opt::Copies) > 1 && it.is_on(Opt::Crash)), 488),
    ("copy.began", on(|it| it.get(Opt::Copies) > 1), 49),
    ("copy.removed", on(|it| it.is_on(Opt::Move)), 532),
    ("node.refused", on(|it| it.is_on(Opt::Kill) || it.is_on(Opt::Clone)), 929),
    ("node.stopped", on(|it| it.is_on(Opt::Stop)), 796),
    ("packet.lost", on(|it| it.is_on(Opt::Drop)), 1000),
    ("tail.asked", on(|it| asks(it) && it.is_on(Opt::TailReads)), 907),
    ("tail.shown", on(|it| asks(it) && it.is_on(Opt::TailReads)), 762),
    ("core.healed", on(|it| it.is_on(Opt::Core)), 1000),
    ("read.asked", Reach::Nowhere("only clients of scenarios ask so"), 0),
    ("read.shown", Reach::Nowhere("only clients of scenarios ask so"), 0),
];

fn asks(options: &Options) -> bool {
    options.is_on(Opt::Workload)
}

/// What never happens in this world although it is counted elsewhere, and why.
#[must_use]
pub fn nowhere() -> Vec<(&'static str, &'static str)> {
    let why = |it: &Countable| match it.reach {
        Reach::Nowhere(why) => Some((it.name, why)),
        _ => None,
    };
    countables().iter().filter_map(why).collect()
}

/// Everything, in the order of the tables.
pub(super) fn countables() -> Vec<Countable> {
    let of = |table, rows: &'static [Row]| {
        rows.iter()
            .map(move |(name, reach, of_thousand)| Countable {
                table,
                name,
                reach: *reach,
                needs: needs(*of_thousand),
            })
    };
    let marks = MARK_STEPS.into_iter().map(|name| Countable {
        table: Table::CrashPoints,
        name,
        reach: on(|it| it.is_on(Opt::Crash)),
        needs: needs(MARK_STEP),
    });
    let begins = BEGIN_STEPS.into_iter().map(|name| Countable {
        table: Table::CrashPoints,
        name,
        reach: on(|it| it.is_on(Opt::Crash) && it.get(Opt::Copies) > 1),
        needs: needs(BEGIN_STEP),
    });
    let rules = RuleName::ALL.into_iter().map(|rule| Countable {
        table: Table::Rules,
        name: rule.name(),
        reach: rule.reach(),
        needs: needs(rule.of_thousand()),
    });
    let shared = [
        Kind::InvariantBroken,
        Kind::ExpectationHeld,
        Kind::ExpectationFailed,
    ];
    let everywhere = Kind::ALL.into_iter().filter(move |kind| {
        let named = EVENTS.iter().any(|(name, ..)| *name == kind.name());
        kind.of_several_nodes() && !named && !shared.contains(kind)
    });
    let everywhere = everywhere.map(|kind| Countable {
        table: Table::Events,
        name: kind.name(),
        reach: Reach::Always,
        needs: needs(1_000),
    });
    of(Table::Faults, &FAULTS)
        .chain(of(Table::Operations, &OPERATIONS))
        .chain(of(Table::CrashPoints, &CRASH_POINTS))
        .chain(marks)
        .chain(begins)
        .chain(rules)
        .chain(of(Table::Events, &EVENTS))
        .chain(everywhere)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::net::NetFault;

    #[test]
    fn everything_is_counted_once_under_a_name_that_there_is() {
        let all = countables();
        let names: BTreeSet<_> = all.iter().map(|it| (it.table, it.name)).collect();
        assert_eq!(names.len(), all.len());
        let events = Kind::ALL.map(Kind::name);
        for (name, ..) in EVENTS {
            assert!(events.contains(&name), "{name}");
        }
        for fault in NetFault::ALL {
            assert!(
                names.contains(&(Table::Faults, fault.name())),
                "{}",
                fault.name()
            );
        }
        assert!(nowhere().iter().all(|(_, why)| !why.is_empty()));
    }

    #[test]
    fn what_two_hundred_seeds_of_all_kinds_can_have_is_mostly_asked_of_them() {
        let options: Vec<Options> = (0..200).map(Options::of_seed).collect();
        let asked = countables().into_iter().filter(|it| {
            let could = options.iter().filter(|options| it.within(options)).count();
            it.needs > 0 && could as u64 >= it.needs
        });
        assert!(asked.count() > 60);
    }
}
