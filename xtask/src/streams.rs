//! The conformance suite of the Durable Streams protocol, which others wrote, against the binary:
//! on new data, and again after a SIGKILL on what is left of it.
//!
//! `conformance/durable-streams` says which version of the suite, and which of its tests cannot
//! pass here. A test of that list that passes is as wrong as another that fails or was not run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::node::{Node, debug_binary, target};
use crate::{packages, shell};

/// Where the suite's version, its caller and the list stand.
const SOURCE: &str = "conformance/durable-streams";
/// The tests that cannot pass here.
const LISTED: &str = "cannot-pass.txt";
/// What is copied to where the suite is installed.
const COPIED: [&str; 2] = ["suite.test.mjs", "vitest.config.mjs"];
/// The suite waits for whole long polls, so they are short here.
const WAIT_SECONDS: u64 = 1;
/// Of the other tests so many must have run: less means that the suite is not what it was.
const OTHERS: usize = 250;

/// Runs the suite twice; returns a line that says what passed.
pub(crate) fn run() -> Result<Vec<String>> {
    let begun = Instant::now();
    let place = install()?;
    let binary = debug_binary()?;
    let data = target().join("conformance/durable-streams-data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let listed = listed()?;
    let first = pass(&place, &binary, &data, &listed).context("on new data")?;
    // The server was killed while streams were open; everything must be there again.
    let again = pass(&place, &binary, &data, &listed).context("after SIGKILL, on the same data")?;
    fs::remove_dir_all(&data)?;
    let line = format!(
        "Durable Streams: {first} tests passed, {again} again after SIGKILL; {} of the suite cannot pass here; {:.1} s",
        listed.len(),
        begun.elapsed().as_secs_f64()
    );
    println!("{line}");
    Ok(vec![line])
}

/// Installs the suite below the target directory, with what calls it.
fn install() -> Result<PathBuf> {
    let place = target().join("conformance/durable-streams");
    packages::npm(SOURCE, &place)?;
    for name in COPIED {
        fs::copy(shell::root().join(SOURCE).join(name), place.join(name))?;
    }
    Ok(place)
}

/// The tests that cannot pass, one a line.
fn listed() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(shell::root().join(SOURCE).join(LISTED))?;
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// One run against a server of its own; returns how many tests passed.
fn pass(place: &Path, binary: &Path, data: &Path, listed: &BTreeSet<String>) -> Result<usize> {
    let settings = [
        format!("--stream-wait-seconds={WAIT_SECONDS}"),
        // The suite asks as a page of this origin whether it may call.
        "--cors-origins=https://example.com".to_owned(),
    ];
    let server = Node::start(binary, data, &settings)?;
    let report = place.join("report.json");
    if report.exists() {
        fs::remove_file(&report)?;
    }
    let output = format!("--outputFile={}", report.display());
    let arguments = ["vitest", "run", "--reporter=json", &output];
    let mut vitest = shell::command("npx", &arguments);
    vitest
        .current_dir(place)
        .env("STREAMS_URL", server.url())
        .env("STREAMS_WAIT_MS", (WAIT_SECONDS * 1000).to_string())
        .stdout(Stdio::null());
    // That listed tests fail is no news: the report says which did.
    let _ = vitest.status().context("cannot run npx")?;
    let text = fs::read_to_string(&report).context("the suite left no report")?;
    server.kill()?;
    judge(&serde_json::from_str(&text)?, listed)
}

/// Compares a report with the list.
fn judge(report: &Value, listed: &BTreeSet<String>) -> Result<usize> {
    let (mut passed, mut failed, mut wrong) = (0, BTreeSet::new(), Vec::new());
    let files = report["testResults"].as_array().context("no results")?;
    for test in files
        .iter()
        .filter_map(|file| file["assertionResults"].as_array())
        .flatten()
    {
        let name = name(test);
        match (test["status"].as_str(), listed.contains(&name)) {
            (Some("passed"), false) => passed += 1,
            (Some("failed"), true) => {
                failed.insert(name);
            }
            (Some("passed"), true) => wrong.push(format!("passes, take it off the list: {name}")),
            (status, _) => {
                let status = status.unwrap_or("nothing known");
                let why = test["failureMessages"][0].as_str().unwrap_or_default();
                let why: String = why.chars().take(300).collect();
                wrong.push(format!("{status}: {name}\n    {why}"));
            }
        }
    }
    wrong.extend(
        listed
            .difference(&failed)
            .filter(|name| !wrong.iter().any(|line| line.ends_with(*name)))
            .map(|name| format!("not in the suite: {name}"))
            .collect::<Vec<_>>(),
    );
    ensure!(
        wrong.is_empty(),
        "the suite and {LISTED} disagree:\n{}",
        wrong.join("\n")
    );
    ensure!(
        passed >= OTHERS,
        "only {passed} tests were run, {OTHERS} are expected"
    );
    Ok(passed)
}

/// A test's groups and title, as the list has it.
fn name(test: &Value) -> String {
    let groups = test["ancestorTitles"].as_array().into_iter().flatten();
    let words = groups.chain(std::iter::once(&test["title"]));
    words
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(" > ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(tests: &[(&str, &str)]) -> Value {
        let test = |(title, status): &(&str, &str)| json!({ "ancestorTitles": ["A"], "title": title, "status": status });
        let mut tests: Vec<Value> = tests.iter().map(test).collect();
        let more = (0..OTHERS).map(
            |n| json!({ "ancestorTitles": ["B"], "title": n.to_string(), "status": "passed" }),
        );
        tests.extend(more);
        json!({ "testResults": [{ "assertionResults": tests }] })
    }

    fn check(tests: &[(&str, &str)], says: Option<&str>) {
        let listed = BTreeSet::from(["A > forked".to_owned()]);
        let judged = judge(&report(tests), &listed).map_err(|error| error.to_string());
        match says {
            None => assert_eq!(judged, Ok(OTHERS + tests.len() - 1)),
            Some(says) => assert!(
                judged.as_ref().is_err_and(|text| text.contains(says)),
                "{judged:?}"
            ),
        }
    }

    #[test]
    fn the_list_holds_exactly_what_fails() {
        check(&[("forked", "failed"), ("read", "passed")], None);
        check(
            &[("forked", "passed")],
            Some("take it off the list: A > forked"),
        );
        check(
            &[("forked", "failed"), ("read", "failed")],
            Some("failed: A > read"),
        );
        check(
            &[("forked", "failed"), ("read", "skipped")],
            Some("skipped: A > read"),
        );
        check(&[("forked", "skipped")], Some("skipped: A > forked"));
        check(&[("read", "passed")], Some("not in the suite: A > forked"));
    }

    #[test]
    fn a_suite_that_has_become_shorter_is_noticed() {
        let report = json!({ "testResults": [{ "assertionResults": [] }] });
        assert!(judge(&report, &BTreeSet::new()).is_err());
    }
}
