//! Sweeps of the simulator: other seeds with each commit, the same ones for the same commit.

use std::process::Command;

use anyhow::Result;

use crate::shell;

/// Worlds, and how many seeds of each.
const SWEEPS: [(&str, &str); 2] = [("one-node", "1000"), ("swarm", "200")];
/// First seeds lie below this, so that they stay short enough to type.
const FIRST_SEEDS: u64 = 1_000_000;

pub(crate) fn run() -> Result<()> {
    let from = first_seed().to_string();
    for (world, seeds) in SWEEPS {
        let program = "run --quiet --package hbuf -- sim sweep --scenario";
        let mut arguments: Vec<&str> = program.split(' ').collect();
        arguments.extend([world, "--seeds", seeds, "--from", &from]);
        println!("== {world}, {seeds} seeds from {from}");
        shell::run(&mut shell::command("cargo", &arguments))?;
    }
    Ok(())
}

/// From the commit that is checked out; without one, as in an unpacked archive, the first of all.
fn first_seed() -> u64 {
    let head = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(shell::root())
        .output();
    let name = head.ok().filter(|it| it.status.success());
    let name = name.and_then(|it| String::from_utf8(it.stdout).ok());
    let name = name.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    name.map_or(0, |it| it % FIRST_SEEDS)
}
