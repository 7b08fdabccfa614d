//! Swarm runs of several nodes: the rules hold whatever happens, and rules that are bent are
//! noticed by the invariant that they are named for.

use std::collections::BTreeMap;

use hbuf_core::rules::Rules;
use hbuf_sim::Kind;
use hbuf_sim::nodes::{ClusterOutcome, ClusterSetup, run_cluster};
use hbuf_sim::swarm::Options;

/// The first seed; another part of the seeds with each commit that says so.
fn first_seed() -> u64 {
    let given = std::env::var("TEST_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

fn fails(outcome: &ClusterOutcome) -> Option<String> {
    let broken = outcome.broken.as_ref()?;
    let (seed, name) = (outcome.seed, broken.invariant);
    Some(format!("seed {seed}: {name}: {}", broken.what))
}

#[test]
fn whatever_happens_to_several_nodes_the_invariants_hold() {
    let (mut kinds, mut faults) = (BTreeMap::new(), BTreeMap::new());
    let mut acked = 0;
    let first = first_seed();
    for seed in first..first + 60 {
        let outcome = run_cluster(&ClusterSetup::swarm(seed));
        assert_eq!(fails(&outcome), None);
        acked += outcome.acked;
        for (kind, count) in outcome.kinds {
            *kinds.entry(kind).or_insert(0) += count;
        }
        for (fault, count) in outcome.faults {
            *faults.entry(fault).or_insert(0) += count;
        }
    }
    assert!(acked > 3_000, "{acked} messages were acknowledged");
    for kind in [
        Kind::PrimaryAppointed,
        Kind::CopyTook,
        Kind::CopyCut,
        Kind::CopyBegan,
        Kind::CopyRemoved,
        Kind::BufferDamaged,
        Kind::LeaderElected,
        Kind::NodeRefused,
        Kind::TailShown,
        Kind::MarkWritten,
        Kind::CoreHealed,
    ] {
        assert!(kinds.contains_key(&kind), "no run had {}", kind.name());
    }
    for fault in [
        "net.drop",
        "net.dup",
        "net.delay",
        "reset",
        "pause",
        "clock.jump",
    ] {
        assert!(faults.contains_key(fault), "no run had {fault}");
    }
}

#[test]
fn a_seed_gives_the_same_trace_byte_for_byte() {
    let trace = || {
        let setup = ClusterSetup {
            lines: true,
            ..ClusterSetup::swarm(7)
        };
        run_cluster(&setup).trace
    };
    let (one, two) = (trace(), trace());
    assert!(one.lines().count() > 100);
    assert_eq!(one, two);
}

/// Seeds within which a bent rule must be noticed.
const SEEDS: u64 = 200;

fn noticed(name: &str, bend: impl Fn(&mut Rules), breaks: &str) {
    let mut rules = Rules::correct();
    bend(&mut rules);
    let found = (0..SEEDS).find(|seed| {
        // Operations take the time in which faults meet.
        let options = Options::of_seed(*seed).without_operations();
        let setup = ClusterSetup {
            rules,
            ..ClusterSetup::of(*seed, options)
        };
        let broken = run_cluster(&setup).broken;
        broken.is_some_and(|broken| broken.invariant == breaks)
    });
    let seed = found.unwrap_or_else(|| panic!("{name} was not noticed"));
    println!("{name}: {breaks} at seed {seed}");
}

/// A test for each, so that they run beside each other.
macro_rules! bent {
    ($($test:ident: $rule:ident breaks $invariant:literal,)*) => {
        $(#[test]
        fn $test() {
            noticed(stringify!($rule), |rules| rules.$rule = false, $invariant);
        })*
    };
}

bent! {
    a_commit_before_the_in_sync_set_has_it_is_noticed:
        commit_waits_for_in_sync breaks "commit-on-in-sync",
    a_copy_that_answers_before_its_disk_is_noticed:
        copies_answer_by_disk breaks "commit-on-in-sync",
    a_copy_that_takes_what_does_not_follow_is_noticed:
        copies_take_what_follows breaks "seq-dense-unique",
    a_member_dropped_on_local_opinion_is_noticed:
        removal_waits_for_manager breaks "commit-on-in-sync",
    a_primary_that_cuts_its_log_is_noticed:
        appointed_keeps_its_log breaks "committed-never-cut",
    a_copy_cut_back_to_its_commit_is_noticed:
        reconcile_by_epoch breaks "committed-never-cut",
    a_tail_read_before_the_start_is_committed_is_noticed:
        tail_reads_wait_for_the_start breaks "tail-is-fresh",
    a_tail_read_without_a_round_is_noticed:
        tail_reads_ask_a_round breaks "tail-is-fresh",
    tables_that_a_failover_loses_are_noticed:
        dedupe_survives_restart breaks "no-dup-append",
}
