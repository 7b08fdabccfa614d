//! Everything that must pass, in the order of the time it takes to fail.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{Options, cloudevents, fuzz, openapi, shell, simulate, streams, tidy, tools};

/// Time for each fuzz target.
const FUZZ_SECONDS: u64 = 10;
/// Examples of each operation of the API.
const OPENAPI_EXAMPLES: u64 = 15;

pub(crate) fn run(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let mut done = Vec::new();
    let mut tests = Vec::new();
    step(&mut done, "tools", install)?;
    step(&mut done, "format", || cargo(&["fmt", "--all", "--check"]))?;
    step(&mut done, "tidy", || tidy::run(options))?;
    step(&mut done, "lints", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    })?;
    step(&mut done, "crates outside the workspace", lint_apart)?;
    step(&mut done, "tests", || {
        tests = nextest()?;
        Ok(())
    })?;
    step(&mut done, "durable streams", || {
        tests.splice(0..0, streams::run()?);
        Ok(())
    })?;
    step(&mut done, "cloudevents", || {
        tests.splice(0..0, cloudevents::run()?);
        Ok(())
    })?;
    step(&mut done, "description", || {
        tests.splice(
            0..0,
            openapi::run(openapi::SAME_EACH_TIME, OPENAPI_EXAMPLES, 1)?,
        );
        Ok(())
    })?;
    step(&mut done, "documentation tests", || {
        cargo(&["test", "--quiet", "--doc", "--workspace"])
    })?;
    step(&mut done, "documentation", document)?;
    step(&mut done, "dependencies", dependencies)?;
    step(&mut done, "fuzz", || fuzz::run(FUZZ_SECONDS))?;
    step(&mut done, "simulator", simulate::run)?;

    println!("\nall steps passed in {}:", seconds(begun.elapsed()));
    for (name, took) in &done {
        println!("  {:>8}  {name}", seconds(*took));
    }
    // Last, so that a reader of the log's end sees what was tested.
    for line in tests {
        println!("{line}");
    }
    Ok(())
}

fn step(
    done: &mut Vec<(&'static str, Duration)>,
    name: &'static str,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    eprintln!("\n== {name}");
    let begun = Instant::now();
    work().map_err(|error| error.context(format!("the step `{name}` failed")))?;
    done.push((name, begun.elapsed()));
    Ok(())
}

fn install() -> Result<()> {
    tools::debian_program("cc", "gcc")?;
    // For the fuzzer's runtime.
    tools::debian_program("c++", "g++")?;
    // The tests of `bench` start the servers that it compares with.
    tools::debian_program("redis-server", "redis-server")?;
    tools::debian_program("nats-server", "nats-server")?;
    tools::cargo_tool("nextest", "cargo-nextest")?;
    tools::cargo_tool("deny", "cargo-deny")?;
    tools::fuse_device()
}

fn cargo(arguments: &[&str]) -> Result<()> {
    shell::run(&mut shell::command("cargo", arguments))
}

/// `bench` is no member of the workspace, so that a default build does not need what it needs.
fn lint_apart() -> Result<()> {
    let bench = shell::root().join("bench");
    shell::run(shell::command("cargo", &["fmt", "--check"]).current_dir(&bench))?;
    let clippy = [
        "clippy",
        "--quiet",
        "--locked",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    shell::run(shell::command("cargo", &clippy).current_dir(&bench))?;
    shell::run(shell::command("cargo", &["test", "--quiet", "--locked"]).current_dir(&bench))
}

/// Runs the tests; returns the runner's closing lines.
fn nextest() -> Result<Vec<String>> {
    let arguments = [
        "nextest",
        "run",
        "--workspace",
        "--no-fail-fast",
        "--color=never",
    ];
    let (passed, lines) = shell::run_keeping_stderr(&mut shell::command("cargo", &arguments))?;
    let closing = lines
        .iter()
        .rposition(|line| line.trim_start().starts_with("Summary"));
    let closing = closing.map_or_else(Vec::new, |at| lines[at..].to_vec());
    if !passed {
        bail!("tests failed\n{}", closing.join("\n"));
    }
    Ok(closing)
}

fn document() -> Result<()> {
    let arguments = ["doc", "--quiet", "--workspace", "--no-deps"];
    shell::run(shell::command("cargo", &arguments).env("RUSTDOCFLAGS", "-D warnings"))
}

fn dependencies() -> Result<()> {
    let check = [
        "deny",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ];
    cargo(&check)?;
    // Advisories need a clone of the database, which not every network allows.
    if shell::succeeds(&mut shell::command("cargo", &["deny", "fetch", "db"])) {
        cargo(&["deny", "--log-level", "error", "check", "advisories"])
    } else {
        println!("advisories: NOT CHECKED, their database cannot be fetched from here");
        Ok(())
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
