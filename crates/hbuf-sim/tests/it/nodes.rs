//! Swarm runs of several nodes: the rules hold whatever happens, and rules that are bent are
//! noticed by the invariant that they are named for.

use std::collections::BTreeMap;

use hbuf_core::rules::Rules;
use hbuf_sim::Kind;
use hbuf_sim::nodes::{ClusterOutcome, ClusterSetup, run_cluster};

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

fn noticed(name: &str, bend: impl Fn(&mut Rules), breaks: &[&str]) {
    let mut rules = Rules::correct();
    bend(&mut rules);
    let found = (0..SEEDS).find(|seed| {
        let setup = ClusterSetup {
            rules,
            ..ClusterSetup::swarm(*seed)
        };
        let broken = run_cluster(&setup).broken;
        broken.is_some_and(|broken| breaks.contains(&broken.invariant))
    });
    let seed = found.unwrap_or_else(|| panic!("{name} was not noticed"));
    println!("{name}: seed {seed}");
}

#[test]
fn a_commit_before_the_in_sync_set_has_it_is_noticed() {
    let bend = |rules: &mut Rules| rules.commit_waits_for_in_sync = false;
    noticed("ack-before-in-sync", bend, &["commit-on-in-sync"]);
}

#[test]
fn a_copy_that_answers_before_its_disk_is_noticed() {
    let bend = |rules: &mut Rules| rules.copies_answer_by_disk = false;
    noticed("ack-before-disk", bend, &["commit-on-in-sync"]);
}

#[test]
fn a_copy_that_takes_what_does_not_follow_is_noticed() {
    let bend = |rules: &mut Rules| rules.copies_take_what_follows = false;
    let breaks = [
        "commit-on-in-sync",
        "prefix-agreement",
        "committed-never-cut",
    ];
    noticed("gap-taken", bend, &breaks);
}
