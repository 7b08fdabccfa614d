//! Every interleaving of the small cluster (`crates/hbuf-sim/src/cluster`), within several bounds:
//! with the rules as they are nothing may break, and each that is bent must be noticed.

use anyhow::Result;

use crate::shell;

/// Bounds in which each combination of faults is looked at to its end. More of everything at once
/// outgrows the memory of a machine; random walks go there.
const BOUNDS: [&str; 5] = [
    "--appends 1 --crashes 1 --suspicions 1 --alters 0 --reads 0 --packets 1",
    "--appends 1 --crashes 0 --suspicions 1 --alters 1 --reads 0 --packets 1",
    "--appends 1 --crashes 1 --suspicions 0 --alters 1 --reads 0 --packets 1",
    "--appends 1 --crashes 0 --suspicions 1 --alters 0 --reads 1 --packets 1",
    "--appends 1 --crashes 1 --lost-disks 1 --suspicions 0 --alters 0 --reads 0 --packets 1",
];

/// And so many random walks.
const WALKS: &str = "--walks 100000";

/// A rule that is bent, and bounds in which that shows.
const BENT: [(&str, &str); 7] = [
    ("ack-before-disk", BOUNDS[0]),
    ("ack-before-in-sync", BOUNDS[0]),
    ("cut-to-commit", BOUNDS[0]),
    (
        "added-too-late",
        "--appends 1 --crashes 0 --suspicions 1 --alters 2 --reads 0 --packets 1",
    ),
    (
        "dropped-too-early",
        "--appends 1 --crashes 0 --suspicions 1 --alters 2 --reads 0 --packets 1",
    ),
    ("tail-unasked", BOUNDS[3]),
    ("reused-member", BOUNDS[4]),
];

pub(crate) fn run() -> Result<()> {
    check(WALKS, None)?;
    for bounds in BOUNDS {
        check(bounds, None)?;
    }
    for (bug, bounds) in BENT {
        check(bounds, Some(bug))?;
    }
    Ok(())
}

fn check(bounds: &str, bug: Option<&str>) -> Result<()> {
    println!("== {}", bug.unwrap_or("the rules as they are"));
    let program = "run --quiet --release --locked -p hbuf-sim --example model --";
    let bug = bug.map(|bug| ["--bug", bug]);
    let arguments = program.split(' ').chain(bounds.split(' '));
    let arguments: Vec<&str> = arguments.chain(bug.into_iter().flatten()).collect();
    shell::run(&mut shell::command("cargo", &arguments))
}
