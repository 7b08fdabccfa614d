//! Shows that the power-loss tests notice each missing sync.
//!
//! A copy of the tree is changed in one place: `sync.rs`, through which every durable call goes,
//! leaves out the call whose point the environment names. That copy is built once; then each point
//! is left out in turn and the tests run until they fail. A point that survives fails the command:
//! either the tests are too weak or the sync is not needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::shell;

const DISK: &str = "crates/hbuf-server/src/disk";
/// Names the point to leave out, in the copy only.
const VARIABLE: &str = "HBUF_MUTATE_SYNC";

pub(crate) fn run(seeds: u64) -> Result<()> {
    let points = points(&shell::root().join(DISK))?;
    println!("{} sync points: {}", points.len(), points.join(", "));
    let tree = copy_tree()?;
    mutate(&tree.join(DISK).join("sync.rs"))?;
    let build = ["test", "--no-run", "--package", "hbuf", "--test", "it"];
    shell::run(&mut in_copy(&tree, &build))?;
    if let Some(seed) = first_failure(&tree, "", 2)? {
        bail!("the tests fail at seed {seed} with nothing left out");
    }
    let mut survivors = Vec::new();
    println!("{:<32} {:>12} {:>9}", "left out", "noticed at", "took");
    for point in &points {
        let begun = Instant::now();
        let noticed = first_failure(&tree, point, seeds)?;
        let said = noticed.map_or_else(|| "NEVER".to_owned(), |seed| format!("seed {seed}"));
        println!(
            "{point:<32} {said:>12} {:>7.1} s",
            begun.elapsed().as_secs_f64()
        );
        if noticed.is_none() {
            survivors.push(point.as_str());
        }
    }
    if !survivors.is_empty() {
        bail!("{seeds} seeds did not notice: {}", survivors.join(", "));
    }
    Ok(())
}

/// Every `SyncPoint::…` that a call outside `sync.rs` names, each at one call.
fn points(disk: &Path) -> Result<Vec<String>> {
    let mut points = BTreeSet::new();
    for path in rust_files(disk)? {
        if path.ends_with("sync.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for point in points_of(&text) {
            points.insert(point);
        }
    }
    if points.is_empty() {
        bail!("no `SyncPoint::` in {DISK}");
    }
    Ok(points.into_iter().collect())
}

fn points_of(text: &str) -> Vec<String> {
    let after = text.split("SyncPoint::").skip(1);
    after
        .map(|rest| {
            rest.chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect::<String>()
        })
        .filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))
        .collect()
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Copies every file that git knows or would know; unchanged files keep their times, so that a
/// second run builds little.
fn copy_tree() -> Result<PathBuf> {
    let root = shell::root();
    let tree = root.join("target/mutate-sync/tree");
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    for name in shell::output(&mut shell::command("git", &list))?.lines() {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(bytes) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|found| found == bytes) {
            continue;
        }
        let parent = to.parent().context("a file has a directory")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        fs::write(&to, bytes).with_context(|| to.display().to_string())?;
    }
    Ok(tree)
}

/// Puts the early return at the head of each function that takes a point.
fn mutate(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (mutated, count) = with_early_returns(&text);
    if count == 0 {
        bail!("{}: no function takes a `point: SyncPoint`", path.display());
    }
    fs::write(path, mutated).with_context(|| path.display().to_string())
}

fn with_early_returns(text: &str) -> (String, usize) {
    let skip = format!(
        "\n    if std::env::var(\"{VARIABLE}\").is_ok_and(|name| name == format!(\"{{point:?}}\")) \
         {{\n        return Ok(());\n    }}"
    );
    let mut out = String::new();
    let mut count = 0;
    let mut rest = text;
    while let Some(at) = rest.find("fn sync_") {
        let Some(open) = rest[at..].find('{') else {
            break;
        };
        let (head, tail) = rest.split_at(at + open + 1);
        out.push_str(head);
        if head[at..].contains("point: SyncPoint") {
            out.push_str(&skip);
            count += 1;
        }
        rest = tail;
    }
    out.push_str(rest);
    (out, count)
}

/// A cargo command in the copy. Its lints would object to what was put in.
fn in_copy(tree: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = shell::command("cargo", arguments);
    command
        .current_dir(tree)
        .env(
            "CARGO_TARGET_DIR",
            shell::root().join("target/mutate-sync/target"),
        )
        .env("RUSTFLAGS", "--cap-lints=warn");
    command
}

/// The first seed at which the power-loss tests fail without `point`.
fn first_failure(tree: &Path, point: &str, seeds: u64) -> Result<Option<u64>> {
    let arguments = [
        "test",
        "--quiet",
        "--package",
        "hbuf",
        "--test",
        "it",
        "power_loss",
    ];
    let mut command = in_copy(tree, &arguments);
    command
        .env(VARIABLE, point)
        .env("HBUF_TEST_SEEDS", seeds.to_string());
    let output = command.output().context("cannot run cargo test")?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    match failing_seeds(&said).into_iter().min() {
        Some(seed) => Ok(Some(seed)),
        None => bail!("the tests failed without a seed:\n{said}"),
    }
}

/// The seeds of lines such as `seed 7, round 1: …`.
fn failing_seeds(said: &str) -> Vec<u64> {
    said.lines()
        .filter_map(|line| {
            line.trim_start()
                .strip_prefix("seed ")?
                .split(',')
                .next()?
                .parse()
                .ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_that_takes_a_point_gets_the_early_return() {
        let text = "pub fn sync_data(file: &File, point: SyncPoint) -> R {\n    x\n}\n\
                    fn sync_other(a: u8) {\n}\nfn sync_dir(\n    point: SyncPoint,\n) -> R {\n}\n";
        let (mutated, count) = with_early_returns(text);
        assert_eq!(count, 2);
        assert_eq!(mutated.matches("return Ok(());").count(), 2);
        assert!(mutated.contains("fn sync_other(a: u8) {\n}"));
    }

    #[test]
    fn points_are_read_off_the_calls() {
        let text = "sync::sync_data(&file, SyncPoint::Mark)?;\nuse SyncPoint::*;\n";
        assert_eq!(points_of(text), ["Mark"]);
    }

    #[test]
    fn the_seed_of_a_failure_is_read_off_its_message() {
        assert_eq!(
            failing_seeds("thread panicked:\nseed 17, round 2: lost\n"),
            [17]
        );
    }
}
