//! The built-in scenarios come out as they say, over a handful of seeds.

use std::sync::Arc;

use hbuf_sim::nodes::{ClusterOutcome, ClusterSetup, run_cluster};
use hbuf_sim::scenario::{Source, built_in};

/// Seeds of each.
const SEEDS: u64 = 10;

fn outcome(source: &Arc<Source>, seed: u64) -> ClusterOutcome {
    let options = source.scenario.options.clone();
    run_cluster(&ClusterSetup::playing(seed, Arc::clone(source), options))
}

fn fails(outcome: &ClusterOutcome) -> Vec<String> {
    let failed = outcome.verdicts.iter().filter(|verdict| !verdict.held);
    let failed = failed.map(|it| format!("line {}: {}: {}", it.line, it.expected, it.found));
    let steps = outcome.unplayed_lines.iter().chain(&outcome.never);
    failed
        .chain(steps.map(|(line, step)| format!("line {line}: {step} was not played")))
        .collect()
}

fn comes_out(name: &str) {
    let source = Arc::new(built_in(name).unwrap());
    for seed in 0..SEEDS {
        let outcome = outcome(&source, seed);
        assert_eq!(fails(&outcome), Vec::<String>::new(), "{name}, seed {seed}");
        assert_eq!(outcome.verdicts.len(), source.scenario.expects.len());
    }
}

/// A test for each, so that they run beside each other.
macro_rules! come_out {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            comes_out($name);
        })*
    };
}

come_out! {
    a_message_is_acknowledged_when_the_in_sync_set_has_it: "hello-replica",
    a_replica_takes_over_and_nothing_acknowledged_is_lost: "primary-dies",
    one_of_two_conditional_writers_wins: "race-two-writers",
    only_one_of_two_primaries_commits: "split-brain-one-way",
    what_is_sent_twice_is_stored_once: "dedupe-and-convoy",
    a_disk_that_lies_is_found_out: "disk-lies",
    a_copy_of_a_machine_is_refused_while_the_first_one_lives: "cloned-vm",
    buffers_move_while_a_node_flaps: "rebalance-under-fire",
    a_late_holder_of_a_lock_is_refused: "locks-pause-upgrade",
    a_topic_is_read_as_one_while_a_buffer_fails_over: "topic-monotonic",
}

#[test]
fn a_bug_of_a_scenario_breaks_what_the_scenario_says() {
    let story = |bug: &str, expect: &str| {
        source(&format!(
            "name forgetful\n{bug}\nsafety 6s\nclients 1\n\
             at 1100ms client c1 append b1 \"once\" idem=one retry=on\n\
             at 1300ms kill primary of b1\nat 1500ms start all\n\
             at 4s client c1 append b1 \"once\" idem=one retry=on\n\
             expect {expect}\n"
        ))
    };
    let wrong = story("bug forget-dedupe", "broken no-dup-append");
    assert_eq!(fails(&outcome(&wrong, 1)), Vec::<String>::new());
    let right = story("", "stored b1 \"once\" count = 1");
    assert_eq!(fails(&outcome(&right, 1)), Vec::<String>::new());
}

/// What is not played fails a run: none is passed over in silence.
#[test]
fn what_cannot_be_played_fails_the_run_with_its_line() {
    let text = "name unplayed\nsafety 1s\nat 500ms client c1 delete b1 key=door\n";
    let outcome = outcome(&source(text), 0);
    let line = "line 3: client c1 delete b1 key=door was not played";
    assert_eq!(fails(&outcome), [line]);
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source::read(text).unwrap())
}

#[test]
fn an_expectation_that_does_not_hold_says_its_line_and_what_was_found() {
    let text = "name wrong\nsafety 2s\nat 1s client c1 append b1 \"one\"\n\
                expect acked b1 = 2\nexpect stored b1 \"one\" count = 1\nexpect refused c1 \"closed\"\n\
                expect slowest append <= 1us\nexpect every tail answered\nexpect node n2 is down\n";
    let outcome = outcome(&source(text), 1);
    let slowest = outcome.verdicts[3].found.clone();
    assert!(slowest.ends_with("us"), "{slowest}");
    let slow = format!("line 7: slowest append <= 1us: {slowest}");
    let expected = [
        "line 4: acked b1 = 2: 1",
        "line 6: refused c1 \"closed\": it was never refused",
        &slow,
        "line 8: every tail answered: 0 of 0 answered",
        "line 9: node n2 is down: it is up",
    ];
    assert_eq!(fails(&outcome), expected);
}

#[test]
fn steps_come_when_their_line_says() {
    let text = "name steps\nsafety 3s\nclients 2\n\
                at 1s client c1 append b1 \"one\"\n\
                after 200ms client c1 append b1 \"two\"\n\
                every 100ms client c2 append b1 \"again\" from 1500ms until 2s\n\
                when stored b1 \"again\" count >= 3 then client c1 append b1 \"three\"\n\
                when event append.acked count >= 7 then stop n3\n\
                when node n3 is down then client c2 append b1 \"down\"\n\
                when acked b1 >= 1000 then heal\n\
                expect stored b1 \"two\" count = 0 at 1199ms\n\
                expect stored b1 \"two\" count = 1 at 1250ms\n\
                expect stored b1 \"again\" count = 5\n\
                expect stored b1 \"three\" count = 1\n\
                expect stored b1 \"down\" count = 1\n\
                expect node n3 is down at 2500ms\n";
    let outcome = outcome(&source(text), 3);
    let never = "line 10: when acked b1 >= 1000 then heal was not played";
    assert_eq!(fails(&outcome), [never]);
}

#[test]
fn a_client_that_stands_still_asks_and_hears_nothing() {
    let text = "name still\nsafety 3s\nclients 2\n\
                at 1s pause c1 for 1s\n\
                at 1200ms client c1 append b1 \"late\"\n\
                at 1200ms client c2 append b1 \"soon\"\n\
                expect stored b1 \"soon\" count = 1 at 1300ms\n\
                expect stored b1 \"late\" count = 0 at 1900ms\n\
                expect stored b1 \"late\" count = 1\n";
    assert_eq!(fails(&outcome(&source(text), 1)), Vec::<String>::new());
}

/// A holder that stands still while somebody else takes the lock finds out when it writes.
#[test]
fn whoever_has_an_old_token_is_refused() {
    let text = "name lock\nsafety 5s\nclients 3\nbuffers 2\n\
                at 1s client c1 lock b1 key=door\n\
                at 1100ms client c1 append b2 \"first\" token=door\n\
                at 1200ms client c2 lock b1 key=door\n\
                at 1300ms client c3 append b2 \"without\" token=door\n\
                at 1400ms client c2 lock b1 key=door retry=on\n\
                at 3s client c2 append b2 \"second\" token=door\n\
                at 3100ms client c1 append b2 \"late\" token=door\n\
                at 3200ms client c2 unlock b1 key=door\n\
                at 3300ms client c1 lock b1 key=door lease=10s\n\
                at 3400ms client c1 append b2 \"third\" token=door\n\
                at 3500ms client c2 unlock b1 key=door\n\
                expect refused c2 \"held by c1\"\n\
                expect refused c1 \"fenced\"\n\
                expect refused c3 \"no such lock\"\n\
                expect refused c2 \"not held by this client\"\n\
                expect stored b2 \"late\" count = 0\n\
                expect stored b2 \"third\" count = 1\n\
                expect acked b2 = 3\n\
                expect every lock answered\n\
                expect invariants hold\n";
    for seed in 0..8 {
        assert_eq!(fails(&outcome(&source(text), seed)), Vec::<String>::new());
    }
}

#[test]
fn reads_show_what_is_committed_and_keys_their_newest_message() {
    let text = "name reads\nsafety 3s\nclients 2\n\
                every 10ms client c1 append b1 key=door from 1s until 2s\n\
                every 30ms client c2 read b1 after=3 limit=20 to=n2 from 1100ms until 2s\n\
                every 30ms client c2 get b1 key=door from 1100ms until 2s\n\
                at 1500ms client c2 get b1 key=none\n\
                expect every read answered\n\
                expect every get answered\n\
                expect invariants hold\n";
    for seed in 0..4 {
        assert_eq!(fails(&outcome(&source(text), seed)), Vec::<String>::new());
    }
}

#[test]
fn names_of_nothing_are_refused_with_their_line_and_those_that_there_are() {
    let read = |text: &str| Source::read(text).map_err(|error| error.to_string());
    let cases = [
        (
            "at 1s crash n4",
            "line 3: `n4` cannot stand here; allowed: n1, n2, n3",
        ),
        (
            "at 1s move b2 to n1",
            "line 3: `b2` cannot stand here; allowed: b1",
        ),
        (
            "at 1s client c3 tail b1",
            "line 3: `c3` cannot stand here; allowed: c1, c2",
        ),
        (
            "at 1s client c1 read-topic t1",
            "line 3: `t1` cannot stand here; allowed: nothing: the scenario makes none",
        ),
        (
            "at 3s heal",
            "line 3: `3s` cannot stand here; allowed: a time within the first phase, up to \
             safety=2s",
        ),
        (
            "expect refused n4 \"text\"",
            "line 3: `n4` cannot stand here; allowed: n1, n2, n3, c1, c2",
        ),
    ];
    for (line, says) in cases {
        let text = format!("name x\nsafety 2s\n{line}\n");
        assert_eq!(read(&text), Err(says.to_owned()), "{line}");
    }
    for line in [
        "expect event append.lost",
        "expect broken acked-sometimes",
        "bug none-such",
    ] {
        let error = read(&format!("name x\n{line}\n")).unwrap_err();
        assert!(error.starts_with("line 2: `"), "{error}");
    }
}
