//! Scenarios on the command line.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::server::hbuf;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn file(directory: &TempDir, text: &str) -> String {
    let path = directory.path().join("some.scenario");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_scenario_is_told_judged_and_summed_up() {
    let output = hbuf(&["sim", "run", "primary-dies", "--seed", "3"]);
    assert!(output.status.success(), "{output:?}");
    let told = text(&output.stdout);
    for part in [
        "action.taken crash primary of b1",
        "primary.appointed b1, epoch 3",
        "append.acked b1 through ",
        "held  stored b1 \"once and not twice\" count = 1",
        "primary-dies, seed 3: 12 of 12 expectations held",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.lines().count() < 60, "one screen: {told}");
    let json = hbuf(&["sim", "run", "hello-replica", "--seed", "1", "--json"]);
    let outcome: Value = serde_json::from_slice(&json.stdout).unwrap();
    let expectations = outcome["scenario"]["expectations"].as_array().unwrap();
    assert!(expectations.iter().all(|it| it["held"] == true));
}

#[test]
fn what_does_not_come_out_is_said_with_the_line_that_replays_it() {
    let directory = TempDir::new().unwrap();
    let path = file(
        &directory,
        "name x\nsafety 2s\nat 1s client c1 append b1 \"one\"\n\
         when acked b1 >= 9 then heal\nat 1s client c1 delete b1 key=k\nexpect acked b1 = 2\n",
    );
    let run = hbuf(&["sim", "run", &path, "--seed", "4", "--set", "clients=1"]);
    assert_eq!(run.status.code(), Some(1));
    let told = text(&run.stdout);
    for part in [
        "6     FAILED  acked b1 = 2  1",
        "FAILED  line 5: `client c1 delete b1 key=k` cannot be played yet",
        "FAILED  line 4: this never came: when acked b1 >= 9 then heal",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let replay = format!("hbuf sim run {path} --seed 4 --set clients=1");
    assert!(text(&run.stderr).contains(&replay), "{run:?}");
    let swept = hbuf(&["sim", "sweep", "--scenario", &path, "--seeds", "2"]);
    assert_eq!(swept.status.code(), Some(1));
    assert!(text(&swept.stdout).contains("BROKEN  seed 1: line 6: acked b1 = 2: 1"));
    assert!(text(&swept.stdout).contains(", 2 failed"));
}

#[test]
fn what_is_no_scenario_is_refused_with_what_would_be_one() {
    let unknown = hbuf(&["sim", "run", "primary-lives", "--seed", "1"]);
    assert_eq!(unknown.status.code(), Some(2));
    let said = text(&unknown.stderr);
    assert!(
        said.contains("swarm, hello-replica, primary-dies"),
        "{said}"
    );
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "name x\nat 1s crash n9\n");
    let wrong = hbuf(&["sim", "sweep", "--scenario", &path]);
    let said = text(&wrong.stderr);
    assert!(
        said.contains("line 2: `n9` cannot stand here; allowed: n1, n2, n3"),
        "{said}"
    );
}

#[test]
fn scenarios_and_options_are_listed() {
    let list = text(&hbuf(&["sim", "list"]).stdout);
    for part in [
        "primary-dies",
        "What is acknowledged survives",
        "min-in-sync",
        "net.drop",
    ] {
        assert!(list.contains(part), "{part}");
    }
    let swept = hbuf(&[
        "sim",
        "sweep",
        "--scenario",
        "hello-replica",
        "--seeds",
        "2",
    ]);
    assert!(swept.status.success(), "{swept:?}");
    let meta = hbuf(&[
        "sim",
        "meta",
        "--scenario",
        "race-two-writers",
        "--seed",
        "2",
    ]);
    assert!(meta.status.success(), "{meta:?}");
}
