//! Looks at every interleaving of the small cluster, within bounds.
//!
//! `cargo xtask model` runs it; `--help` there says what can be set.
#![expect(clippy::print_stdout, reason = "it is a program")]
#![expect(clippy::disallowed_types, reason = "it says how long it took")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use hbuf_core::rules::Rules;
use hbuf_sim::Bug;
use hbuf_sim::cluster::{Action, Bounds, Cluster, Invariant, WALK_STEPS, mood_of, walk};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// What some interleaving must come to, or the bounds are too small to say much.
const FAILED_OVER: &str = "a message is acknowledged behind a failover";
const TAKEN_OUT: &str = "a member is taken out";

/// The cluster as the checker wants it.
struct Interleavings {
    bounds: Bounds,
    rules: Rules,
}

impl Model for Interleavings {
    type State = Cluster;
    type Action = Action;

    fn init_states(&self) -> Vec<Cluster> {
        vec![Cluster::new(self.bounds)]
    }

    fn actions(&self, state: &Cluster, actions: &mut Vec<Action>) {
        actions.extend(state.actions(&self.rules));
    }

    fn next_state(&self, state: &Cluster, action: Action) -> Option<Cluster> {
        Some(state.after(&self.rules, &action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // The checker takes plain functions, so each rule has its own.
        vec![
            Property::always(Invariant::AckedNeverLost.name(), |_, it: &Cluster| {
                it.broken != Some(Invariant::AckedNeverLost)
            }),
            Property::always(Invariant::CommittedNeverCut.name(), |_, it: &Cluster| {
                it.broken != Some(Invariant::CommittedNeverCut)
            }),
            Property::always(Invariant::PrefixAgreement.name(), |_, it: &Cluster| {
                it.broken != Some(Invariant::PrefixAgreement)
            }),
            Property::always(Invariant::OnePrimaryPerEpoch.name(), |_, it: &Cluster| {
                it.broken != Some(Invariant::OnePrimaryPerEpoch)
            }),
            Property::always(Invariant::TailIsFresh.name(), |_, it: &Cluster| {
                it.broken != Some(Invariant::TailIsFresh)
            }),
            Property::sometimes(FAILED_OVER, |_, it: &Cluster| {
                it.acked.last().is_some_and(|(epoch, _)| epoch.0 > 1)
            }),
            Property::sometimes(TAKEN_OUT, |_, it: &Cluster| it.assignment.in_sync.len() < 3),
        ]
    }
}

fn main() -> ExitCode {
    let mut bounds = Bounds {
        min_in_sync: 1,
        appends: 1,
        crashes: 1,
        lost_disks: 0,
        suspicions: 1,
        alters: 1,
        reads: 0,
        repeats: 0,
        packets: 2,
    };
    let (mut bug, mut seconds) = (None, 1_200);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        if word == "--bug" {
            bug = Bug::parse(&value).filter(|bug| bug.in_walks().is_some());
            if bug.is_none() {
                return wrong(&format!("no bug is called `{value}`"));
            }
            continue;
        }
        if word == "--walks" {
            return match value.parse() {
                Ok(walks) => random(walks, bug),
                Err(_) => wrong(&format!("`--walks` wants a number, not `{value}`")),
            };
        }
        let Ok(number) = value.parse::<u8>() else {
            return wrong(&format!("`{word}` wants a number, not `{value}`"));
        };
        match &word[..] {
            "--min-in-sync" => bounds.min_in_sync = usize::from(number),
            "--appends" => bounds.appends = number,
            "--crashes" => bounds.crashes = number,
            "--lost-disks" => bounds.lost_disks = number,
            "--suspicions" => bounds.suspicions = number,
            "--alters" => bounds.alters = number,
            "--reads" => bounds.reads = number,
            "--packets" => bounds.packets = usize::from(number),
            "--minutes" => seconds = u64::from(number) * 60,
            _ => return wrong(&format!("`{word}` is unknown")),
        }
    }
    let rules = bug.map_or_else(Rules::correct, Bug::rules);
    println!("{bounds:?}");
    let begun = Instant::now();
    let checker = Interleavings { bounds, rules }
        .checker()
        .threads(std::thread::available_parallelism().map_or(1, usize::from))
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(Duration::from_secs(seconds))
        .spawn_bfs()
        .join();
    println!(
        "{} states, {} of them different, depth {}, {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64()
    );
    verdict(
        &checker,
        bug,
        begun.elapsed() < Duration::from_secs(seconds),
    )
}

/// Random walks instead: far more of everything, and not every interleaving of it.
fn random(walks: u64, bug: Option<Bug>) -> ExitCode {
    let rules = bug.map_or_else(Rules::correct, Bug::rules);
    let (mut steps, mut acked) = (0, 0);
    for seed in 0..walks {
        let walk = walk(seed, mood_of(seed), &rules, Bounds::WALK, WALK_STEPS);
        (steps, acked) = (steps + walk.steps, acked + walk.acked);
        if let Some(broken) = walk.broken {
            println!("BROKEN {} at seed {seed}:", broken.name());
            for action in walk.path {
                println!("  {action:?}");
            }
            return ExitCode::from(u8::from(bug.is_none()));
        }
    }
    println!("{walks} walks, {steps} steps, {acked} messages acknowledged: every rule held");
    ExitCode::from(u8::from(bug.is_some()))
}

fn verdict(checker: &impl Checker<Interleavings>, bug: Option<Bug>, whole: bool) -> ExitCode {
    let found = checker.discoveries();
    let breaks = |rule: &Invariant| found.contains_key(rule.name());
    for rule in Invariant::ALL.iter().filter(|rule| breaks(rule)) {
        println!("BROKEN {}:", rule.name());
        for action in found[rule.name()].clone().into_actions() {
            println!("  {action:?}");
        }
    }
    for reached in [FAILED_OVER, TAKEN_OUT] {
        let word = if found.contains_key(reached) {
            "reached"
        } else {
            "not reached"
        };
        println!("{word}: {reached}");
    }
    let broken = Invariant::ALL.iter().any(breaks);
    let right = match bug {
        Some(bug) => bug
            .in_walks()
            .is_some_and(|(_, rule)| found.contains_key(rule.name())),
        None => !broken && whole,
    };
    println!(
        "{}",
        match (bug, right) {
            (Some(_), true) => "the bug was noticed",
            (Some(_), false) => "the bug was NOT noticed",
            (None, true) => "every rule holds in every interleaving",
            (None, false) if broken => "a rule is broken",
            (None, false) => "the time ran out before every interleaving was looked at",
        }
    );
    if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn wrong(what: &str) -> ExitCode {
    println!(
        "{what}. Known: --bug NAME, and with a number: --min-in-sync, --appends, --crashes, \
         --lost-disks, --suspicions, --alters, --reads, --packets, --minutes; last: --walks N."
    );
    ExitCode::from(2)
}
