//! What operators do to a cluster: stories with fixed times, each rule bent once.

use hbuf_core::rules::Rules;
use hbuf_sim::Kind;
use hbuf_sim::history::Outcome;
use hbuf_sim::nodes::{ClusterOutcome, ClusterSetup, run_cluster};
use hbuf_sim::scenario::{Action, Scenario, Step, When};

/// Runs the timed lines of a scenario.
fn play(text: &str) -> ClusterOutcome {
    play_with(text, Rules::correct())
}

fn play_with(text: &str, rules: Rules) -> ClusterOutcome {
    let scenario: Scenario = format!("name story\n{text}").parse().unwrap();
    let mut acts: Vec<(u64, Action)> = Vec::new();
    for Step { when, action } in scenario.steps {
        match when {
            When::At(at) => acts.push((at, action)),
            When::Every { every, from, until } => {
                let step = usize::try_from(every).unwrap();
                let times = (from.max(every)..until.unwrap()).step_by(step);
                acts.extend(times.map(|at| (at, action.clone())));
            }
            other => panic!("{other:?} has no time"),
        }
    }
    let outcome = run_cluster(&ClusterSetup {
        acts,
        rules,
        lines: true,
        ..ClusterSetup::of(7, scenario.options)
    });
    assert_eq!(outcome.unplayed, Vec::<String>::new());
    outcome
}

fn holds(outcome: &ClusterOutcome) {
    assert_eq!(outcome.broken, None);
}

fn breaks(outcome: &ClusterOutcome, invariant: &str) {
    let broken = outcome.broken.as_ref();
    assert_eq!(broken.map(|it| it.invariant), Some(invariant), "{broken:?}");
}

/// What became of each append, in the order in which they were asked.
fn stored(outcome: &ClusterOutcome) -> Vec<bool> {
    let appends = outcome.history.appends.iter();
    let stored = appends.map(|append| match append.outcome {
        Outcome::Answered { .. } => true,
        Outcome::Failed { .. } => false,
        Outcome::Unknown => panic!("{append:?}"),
    });
    stored.collect()
}

/// A buffer is paused, its primary dies, somebody asks, it is opened; then the same with closed.
const HALTED: &str = "
    at 1400ms client c1 append b1 \"one\" retry=on
    at 1600ms state b1 paused
    at 1700ms client c1 append b1 \"two\" retry=on
    at 1900ms crash primary of b1
    at 2900ms start all
    at 3900ms client c2 append b1 \"three\" retry=on
    at 4100ms state b1 open
    at 4300ms client c2 append b1 \"four\" retry=on
    at 4500ms state b1 closed
    at 4600ms client c2 append b1 \"five\" retry=on
    at 4700ms kill primary of b1
    at 5000ms start all
    at 6500ms client c2 append b1 \"six\" retry=on
    safety 7s
    clients 2";

#[test]
fn what_is_paused_or_closed_takes_nothing_also_under_another_primary() {
    let outcome = play(HALTED);
    holds(&outcome);
    let answers = [true, false, false, true, false, false];
    assert_eq!(stored(&outcome), answers);
    let said = |word: &str| outcome.trace.matches(word).count();
    let paused = "the buffer is paused";
    assert!(said(paused) >= 2, "{}", said(paused));
    assert_eq!(outcome.kinds[&Kind::StateAsked], 3);
}

#[test]
fn a_primary_that_takes_appends_although_it_is_paused_is_noticed() {
    let mut rules = Rules::correct();
    rules.paused_refuses = false;
    breaks(&play_with(HALTED, rules), "halted-takes-nothing");
}

#[test]
fn a_primary_that_takes_appends_although_it_is_closed_is_noticed() {
    let mut rules = Rules::correct();
    rules.closed_refuses = false;
    breaks(&play_with(HALTED, rules), "halted-takes-nothing");
}

/// A node is drained while it and others die; then places are asked for anew.
const MOVED: &str = "
    every 10ms client c1 append b1 retry=on until 4s
    at 1s drain n1
    at 1200ms crash n2
    at 1500ms kill n1
    at 1800ms start all
    at 2500ms crash primary of b2
    at 2900ms start all
    at 4500ms undrain n1
    at 4600ms rebalance even-load
    at 4700ms kill n3
    at 5s start n3
    nodes 4
    copies 2
    buffers 4
    safety 6s
    clients 2";

#[test]
fn a_drain_and_a_rebalance_come_to_their_end_whoever_dies() {
    let outcome = play(MOVED);
    holds(&outcome);
    let applied = |word: &str| {
        let commands = outcome.trace.lines();
        let commands = commands.filter(|line| line.contains("command.applied"));
        commands.filter(|line| line.contains(word)).count()
    };
    assert!(applied("set-copies") >= 4 * 3, "{}", applied("set-copies"));
    assert!(outcome.kinds.contains_key(&Kind::CopyRemoved));
}

/// What those who asked for a node's identity were told.
fn refused<'a>(outcome: &'a ClusterOutcome, node: &str) -> Vec<&'a str> {
    let who = format!("\"node\":\"{node}\"");
    let lines = outcome.trace.lines().filter(|line| line.contains(&who));
    lines.filter(|line| line.contains("node.refused")).collect()
}

#[test]
fn a_disk_that_is_started_twice_goes_on_once_and_the_other_one_is_told_why() {
    let outcome = play(
        "every 10ms client c1 append b1 retry=on until 3s
         at 1s clone n2 as n2x
         at 2s crash n2
         at 2100ms start n2
         safety 4s
         clients 1",
    );
    holds(&outcome);
    let told = refused(&outcome, "n2x");
    assert!(told[0].contains("is in use by the node n2"), "{told:?}");
    // The original has seen it and taken a life that the copy does not know.
    assert!(told[1].contains("identity of this disk"), "{told:?}");
    assert!(outcome.trace.contains("renew-life"));
    assert!(refused(&outcome, "n2").len() <= 5);
    assert!(stored(&outcome).iter().all(|stored| *stored));
}

#[test]
fn a_disk_that_was_set_back_counts_as_lost_and_is_filled_again() {
    let outcome = play(
        "every 10ms client c1 append b1 retry=on until 4s
         at 1s kill n2
         at 1s snapshot n2 as old
         at 1100ms start n2
         at 3s restore n2 from old
         at 3s start n2
         safety 5s
         clients 1",
    );
    holds(&outcome);
    assert_eq!(outcome.kinds[&Kind::BackupRestored], 1);
    assert!(stored(&outcome).iter().all(|stored| *stored));
    // It is taken in anew: by itself it would have stayed a member.
    let after = outcome
        .trace
        .lines()
        .skip_while(|line| !line.contains("backup.restored"));
    assert!(after.filter(|line| line.contains("alter-in-sync")).count() > 0);
}

/// The longest time between two acknowledgements, in microseconds of simulated time.
fn longest_silence(outcome: &ClusterOutcome) -> u64 {
    let appends = outcome.history.appends.iter();
    let mut ends: Vec<u64> = appends
        .filter_map(|append| match &append.outcome {
            Outcome::Answered { end, .. } => Some(end.0),
            _ => None,
        })
        .collect();
    ends.sort_unstable();
    let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap()
}

#[test]
fn who_stops_in_order_hands_over_and_nobody_waits_for_an_election() {
    let story = |ends: &str| {
        let outcome = play(&format!(
            "every 10ms client c1 append b1 retry=on from 500ms until 4s
             at 1s {ends} primary of b1
             at 2500ms start all
             safety 5s
             clients 1"
        ));
        holds(&outcome);
        assert!(stored(&outcome).iter().all(|stored| *stored));
        outcome
    };
    let (stopped, killed) = (story("stop"), story("kill"));
    assert_eq!(stopped.kinds[&Kind::NodeStopped], 1);
    // What is left is the time until the member that went is no more waited for.
    let (stopped, killed) = (longest_silence(&stopped), longest_silence(&killed));
    assert!(stopped < killed, "{stopped} {killed}");
}

#[test]
fn nodes_run_the_program_before_until_the_next_cluster_version_is_allowed() {
    let outcome = play(
        "every 10ms client c1 append b1 retry=on until 8s
         at 1s stop n1
         at 1s version n1 previous
         at 1500ms start n1
         at 2500ms raise
         at 3s stop n1
         at 3s version n1 current
         at 3500ms start n1
         at 4500ms raise
         at 5500ms stop n2
         at 5500ms version n2 previous
         at 6s start n2
         at 6500ms version n2 current
         at 6500ms start n2
         safety 9s
         cluster-version 2
         clients 1",
    );
    holds(&outcome);
    assert!(stored(&outcome).iter().all(|stored| *stored));
    let told = refused(&outcome, "n2");
    let too_old = told
        .iter()
        .filter(|line| line.contains("the cluster is at version 3"));
    assert_eq!(too_old.count(), 1, "{told:?}");
    assert!(
        !refused(&outcome, "n1")
            .iter()
            .any(|line| line.contains("cluster is at"))
    );
}

/// The primary's disk is full, then a copy's: the one refuses, the other keeps a commit waiting.
#[test]
fn a_full_disk_takes_nothing_until_there_is_room() {
    let outcome = play(
        "safety 5s
    at 1s client c1 append b1 \"one\"
    at 1200ms disk n1 full
    at 1300ms client c1 append b1 \"two\"
    at 1500ms disk n1 room
    at 1600ms client c1 append b1 \"three\"
    at 2s disk n2 full
    at 2100ms client c1 append b1 \"four\" retry=on
    at 3s disk n2 room
    at 4s client c1 append b1 \"five\"
",
    );
    holds(&outcome);
    assert_eq!(stored(&outcome), [true, false, true, true, true]);
    assert_eq!(outcome.kinds[&Kind::DiskFull], 2);
    assert_eq!(outcome.kinds[&Kind::DiskRoom], 2);
}

/// One of its copies is down when it is reserved: it is confirmed when all of them are there.
#[test]
fn a_buffer_is_created_while_everything_goes_on() {
    let outcome = play(
        "safety 5s
    at 500ms kill n2
    at 600ms create b2 copies 3
    at 1500ms start n2
    at 3s client c1 append b2 \"one\" retry=on
    at 3500ms crash n1
    at 4s start n1
",
    );
    holds(&outcome);
    assert_eq!(stored(&outcome), [true]);
}
