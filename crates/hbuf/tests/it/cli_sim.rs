//! `hbuf sim` as a person types it.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::server::hbuf;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_run_says_what_it_was_and_writes_its_trace() {
    let directory = TempDir::new().unwrap();
    let trace = directory.path().join("trace.jsonl");
    let output = hbuf(&[
        "sim",
        "run",
        "--seed",
        "7",
        "--trace",
        trace.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("every invariant held"));
    let printed = hbuf(&["sim", "run", "--seed", "7", "--trace", "-"]);
    assert!(printed.stdout == fs::read(&trace).unwrap());
    let json = hbuf(&["sim", "run", "--seed", "7", "--json"]);
    let outcome: Value = serde_json::from_slice(&json.stdout).unwrap();
    let lines = printed.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(outcome["events"], lines - 1, "the first line is the header");
    assert!(printed.stdout.starts_with(b"{\"hbuf-trace\":1,"));
}

#[test]
fn a_run_that_fails_prints_the_line_that_runs_it_again_and_exits_with_1() {
    let arguments = ["sim", "run", "--seed", "0", "--bug", "ack-before-sync"];
    let output = hbuf(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let replay = text(&output.stderr);
    assert_eq!(replay.trim(), format!("hbuf {}", arguments.join(" ")));
    assert!(text(&output.stdout).contains("BROKEN  ack-never-ahead-of-disk"));
}

#[test]
fn a_sweep_counts_and_a_hunt_ends_at_the_first_seed_that_notices() {
    let output = hbuf(&["sim", "sweep", "--seeds", "6", "--from", "40", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let swept: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(swept["runs"], 6);
    assert!(swept["kinds"]["append.framed"].as_u64().unwrap() > 0);
    let output = hbuf(&["sim", "sweep", "--seeds", "3", "--bug", "ack-before-sync"]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("hbuf sim run --seed 0 --bug ack-before-sync"));
    let unknown = hbuf(&["sim", "sweep", "--bug", "none-such"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn two_processes_make_the_same_trace() {
    for more in [
        &["--seed", "11"][..],
        &["--scenario", "swarm", "--from", "11", "--seeds", "2"],
    ] {
        let output = hbuf(&[&["sim", "meta"], more].concat());
        assert!(output.status.success(), "{output:?}");
        assert!(text(&output.stdout).contains("byte for byte"));
    }
}

/// The arguments of a short run of three nodes, and more.
fn swarm<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let options = "workload=1 safety=600ms liveness=1s crash=200ms";
    let begins = ["sim", "run", "swarm", "--seed", "7", "--options", options];
    [&begins, more].concat()
}

#[test]
fn a_run_is_looked_at_and_changed_at_a_moment() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (one, two) = (path("one.jsonl"), path("two.jsonl"));
    assert!(hbuf(&swarm(&["--trace", &one])).status.success());
    let view = text(&hbuf(&swarm(&["--at", "n:900"])).stdout);
    assert!(
        view.contains("right before ") && view.contains("packets under way"),
        "{view}"
    );
    let json = hbuf(&swarm(&["--at", "n:900", "--json"]));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(view.contains(json["next"].as_str().unwrap()), "{view}");
    // The same prefix, byte for byte, but for the header.
    let fork = hbuf(&swarm(&[
        "--at",
        "n:900",
        "--override",
        "kill n2",
        "--trace",
        &two,
    ]));
    assert!(fork.status.success(), "{fork:?}");
    let (one, two) = (
        fs::read_to_string(one).unwrap(),
        fs::read_to_string(two).unwrap(),
    );
    let both = one.lines().zip(two.lines()).skip(1);
    let same = both.take_while(|(one, two)| one == two).count();
    assert!((880..900).contains(&same), "{same}");
    let header: Value = serde_json::from_str(two.lines().next().unwrap()).unwrap();
    let change = format!("at={} kill n2", json["next"].as_str().unwrap());
    assert_eq!(header["overrides"], serde_json::json!([change]));
}

#[test]
fn a_change_that_changes_nothing_is_an_error_that_says_what_could_be_there() {
    let says = |more: &[&str]| {
        let output = hbuf(&swarm(more));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        text(&output.stderr)
    };
    let none = says(&["--override", "at=00000000000000aa drop"]);
    assert!(
        none.contains("no event 00000000000000aa comes in this run; allowed"),
        "{none}"
    );
    assert!(says(&["--override", "drop"]).contains("write at= before it, or --at"));
    assert!(says(&["--override", "at=1s explode"]).contains("allowed: crash, "));
    assert!(says(&["--at", "never"]).contains("is no moment: write n: and"));
    assert!(says(&["--at", "n:999999"]).contains("the run has no such event: it has "));
    let one_node = hbuf(&["sim", "run", "--seed", "7", "--at", "1s"]);
    assert!(text(&one_node.stderr).contains("name the scenario `swarm`"));
    let good = hbuf(&[
        "sim",
        "shrink",
        "--seed",
        "7",
        "--options",
        "safety=100ms liveness=1s",
    ]);
    assert!(
        text(&good.stderr).contains("the run does not fail"),
        "{good:?}"
    );
}

#[test]
fn the_list_names_invariants_bugs_faults_and_events() {
    let output = hbuf(&["sim", "list"]);
    let list = text(&output.stdout);
    for name in [
        "acked-never-lost",
        "half-batch",
        "power-loss",
        "append.framed",
    ] {
        assert!(list.contains(name), "{name}");
    }
}

/// The trace of seed 7 in a file of its own.
fn traced(directory: &TempDir, name: &str, more: &[&str]) -> String {
    let path = directory.path().join(name).to_str().unwrap().to_owned();
    let words = [&["sim", "run", "--trace", &path], more].concat();
    hbuf(&words);
    path
}

#[test]
fn a_trace_is_told_as_a_story_and_as_its_lines() {
    let directory = TempDir::new().unwrap();
    let path = traced(&directory, "trace.jsonl", &["--seed", "7"]);
    let output = hbuf(&["sim", "show", &path]);
    assert!(output.status.success(), "{output:?}");
    let story = text(&output.stdout);
    assert!(story.starts_with("one-node, seed 7, hbuf "));
    assert!(story.contains("  time  run  n1\n"));
    assert!(story.contains("append.framed b0 1"));
    let json = hbuf(&["sim", "show", "--json", &path]);
    let written = fs::read_to_string(&path).unwrap();
    let (_, events) = written.split_once('\n').unwrap();
    assert!(text(&json.stdout) == events);
    let life = text(&hbuf(&["sim", "show", "--follow", "msg:b0/1", &path]).stdout);
    assert!(life.contains("append.asked b0") && life.contains("last seen of msg:b0/1"));
    let nothing = hbuf(&["sim", "show", "--follow", "msg:b9/1", &path]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stdout).contains("no event has the ref msg:b9/1"));
}

#[test]
fn an_event_of_a_trace_is_explained_by_its_causes() {
    let directory = TempDir::new().unwrap();
    let path = traced(&directory, "trace.jsonl", &["--seed", "7"]);
    let output = hbuf(&["sim", "explain", "n:9", "--trace", &path]);
    assert!(output.status.success(), "{output:?}");
    let explained = text(&output.stdout);
    assert!(
        explained.contains("why, from the first cause on:\n"),
        "{explained}"
    );
    assert!(explained.contains("run: run.started"), "{explained}");
    let id = &explained["event ".len()..][..8];
    assert_eq!(
        text(&hbuf(&["sim", "explain", id, "--trace", &path]).stdout),
        explained
    );
    let missing = hbuf(&["sim", "explain", "n:0", "--trace", &path]);
    assert!(!missing.status.success());
    assert!(text(&missing.stderr).contains("the trace has no event `n:0`"));
    let other = directory.path().join("other.txt");
    fs::write(&other, "hello\n").unwrap();
    let other = hbuf(&["sim", "show", other.to_str().unwrap()]);
    assert!(
        text(&other.stderr).contains("this is no trace of hbuf"),
        "{other:?}"
    );
}

#[test]
fn two_traces_are_compared() {
    let directory = TempDir::new().unwrap();
    let one = traced(&directory, "one.jsonl", &["--seed", "0"]);
    let two = traced(
        &directory,
        "two.jsonl",
        &["--seed", "0", "--bug", "ack-before-sync"],
    );
    let same = hbuf(&["sim", "compare", &one, &one]);
    assert!(same.status.success());
    assert!(text(&same.stdout).starts_with("the same "));
    let differ = hbuf(&["sim", "compare", &one, &two]);
    assert_eq!(differ.status.code(), Some(1));
    assert!(text(&differ.stdout).starts_with("bug: none | ack-before-sync\nthe first "));
}

#[test]
fn a_swarm_runs_is_changed_by_options_and_gives_the_same_trace_in_two_processes() {
    let run = hbuf(&[
        "sim", "run", "swarm", "--seed", "3", "--set", "nodes=4", "--json",
    ]);
    assert!(run.status.success(), "{run:?}");
    let outcome: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(outcome["acked"].as_u64().unwrap() > 0);
    let options = outcome["options"].as_str().unwrap();
    assert!(options.starts_with("nodes=4 "), "{options}");
    let swept = hbuf(&["sim", "sweep", "--scenario", "swarm", "--seeds", "3"]);
    assert!(text(&swept.stdout).contains("3 runs, "), "{swept:?}");
    let meta = hbuf(&["sim", "meta", "--scenario", "swarm", "--seed", "3"]);
    assert!(text(&meta.stdout).contains("byte for byte"), "{meta:?}");
}

#[test]
fn an_option_that_there_is_not_is_refused_with_those_that_there_are() {
    let unknown = hbuf(&["sim", "run", "swarm", "--seed", "3", "--set", "knodes=4"]);
    assert!(!unknown.status.success());
    let said = text(&unknown.stderr);
    assert!(
        said.contains("knodes") && said.contains("min-in-sync"),
        "{said}"
    );
    let elsewhere = hbuf(&["sim", "run", "--seed", "3", "--set", "nodes=4"]);
    assert!(text(&elsewhere.stderr).contains("swarm"), "{elsewhere:?}");
    let bug = hbuf(&["sim", "run", "swarm", "--seed", "3", "--bug", "half-batch"]);
    assert!(text(&bug.stderr).contains("(one-node)"), "{bug:?}");
}
