//! Shows that the power-loss tests notice each missing sync.
//!
//! A copy of the tree is changed in one place: `sync.rs`, through which every durable call goes,
//! leaves out the call at the place that the environment names. That copy is built once; then each
//! call is left out in turn and the tests run until they fail. A call whose absence nothing notices
//! fails the command: either the tests are too weak or the sync is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::shell;

const SERVER: &str = "crates/hbuf-server/src";
const SYNC: &str = "crates/hbuf-server/src/disk/sync.rs";
/// Names the call to leave out, as `file:line`, in the copy only.
const VARIABLE: &str = "TEST_LEAVE_OUT_SYNC";

/// A call that makes something durable.
#[derive(Debug, Eq, PartialEq)]
struct Call {
    /// `file:line` from the root.
    place: String,
    point: String,
}

pub(crate) fn run(seeds: u64) -> Result<()> {
    let calls = calls(&shell::root())?;
    let tree = copy_tree()?;
    mutate(&tree.join(SYNC))?;
    let build = ["test", "--no-run", "--package", "hbuf", "--test", "it"];
    shell::run(&mut in_copy(&tree, &build))?;
    if let Some(seed) = first_failure(&tree, "", 2)? {
        bail!("the tests fail at seed {seed} with nothing left out");
    }
    let mut survivors = Vec::new();
    println!(
        "{:<18} {:<48} {:>10} {:>9}",
        "point", "left out at", "noticed at", "took"
    );
    for Call { place, point } in &calls {
        let begun = Instant::now();
        let noticed = first_failure(&tree, place, seeds)?;
        let said = noticed.map_or_else(|| "NEVER".to_owned(), |seed| format!("seed {seed}"));
        let took = begun.elapsed().as_secs_f64();
        println!("{point:<18} {place:<48} {said:>10} {took:>7.1} s");
        if noticed.is_none() {
            survivors.push(format!("{point} at {place}"));
        }
    }
    if !survivors.is_empty() {
        bail!("{seeds} seeds did not notice: {}", survivors.join(", "));
    }
    println!(
        "each of {} syncs is needed and its absence is noticed",
        calls.len()
    );
    Ok(())
}

/// Every call of the server, outside tests and `sync.rs` itself.
fn calls(root: &Path) -> Result<Vec<Call>> {
    let mut found = Vec::new();
    for path in rust_files(&root.join(SERVER))? {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let shown = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        if shown != SYNC && !shown.contains("tests") {
            found.extend(calls_of(&shown, &text));
        }
    }
    if found.is_empty() {
        bail!("no call of `sync::sync_…` in {SERVER}");
    }
    Ok(found)
}

fn calls_of(shown: &str, text: &str) -> Vec<Call> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("sync::sync_") {
        // The kernel does not pass syncfs on to the tests' file system; the server asks first, so
        // this call is never made there.
        if text[at..].starts_with("sync::sync_file_system") {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let Some((_, rest)) = text[at..].split_once("SyncPoint::") else {
            continue;
        };
        let point = rest
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        found.push(Call {
            place: format!("{shown}:{line}"),
            point,
        });
    }
    found
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

/// Puts an early return at the head of each function that syncs.
fn mutate(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (mutated, count) = with_early_returns(&text);
    if count == 0 {
        bail!("{}: no function `sync_…`", path.display());
    }
    fs::write(path, mutated).with_context(|| path.display().to_string())
}

fn with_early_returns(text: &str) -> (String, usize) {
    let skip = format!(
        "\n    let caller = std::panic::Location::caller();\n    let place = \
         format!(\"{{}}:{{}}\", caller.file(), caller.line());\n    if \
         std::env::var(\"{VARIABLE}\").is_ok_and(|name| name == place) {{\n        return \
         Ok(());\n    }}"
    );
    let mut out = String::new();
    let mut count = 0;
    let mut in_head = false;
    for line in text.split_inclusive('\n') {
        if line.contains("fn sync_") {
            out.push_str("#[track_caller]\n");
            in_head = true;
        }
        out.push_str(line);
        if in_head && line.trim_end().ends_with('{') {
            out.push_str(&skip);
            out.push('\n');
            in_head = false;
            count += 1;
        }
    }
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

/// The tests, each of which forces another commit path.
const TESTS: [&str; 3] = [
    "writes_the_segments",
    "through_the_journal",
    "left_to_the_server",
];
/// Seeds that each test runs before the next one has its turn.
const SEEDS_AT_ONCE: u64 = 5;

/// The first seed found at which a power-loss test fails without the call at `place`.
fn first_failure(tree: &Path, place: &str, seeds: u64) -> Result<Option<u64>> {
    for first in (1..=seeds).step_by(SEEDS_AT_ONCE as usize) {
        let count = SEEDS_AT_ONCE.min(seeds + 1 - first);
        for test in TESTS {
            if let Some(seed) = failure(tree, place, test, (first, count))? {
                return Ok(Some(seed));
            }
        }
    }
    Ok(None)
}

fn failure(tree: &Path, place: &str, test: &str, seeds: (u64, u64)) -> Result<Option<u64>> {
    let mut command = in_copy(
        tree,
        &["test", "--quiet", "--package", "hbuf", "--test", "it", test],
    );
    command.env(VARIABLE, place).env("TEST_DISCARD", "1");
    command
        .env("TEST_SEED", seeds.0.to_string())
        .env("TEST_SEEDS", seeds.1.to_string());
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
    fn every_sync_function_gets_the_early_return() {
        let text = "/// X.\npub fn sync_data(file: &File, point: SyncPoint) -> R {\n    x\n}\n\
                    fn other() {\n}\nfn sync_dir(\n    point: SyncPoint,\n) -> R {\n}\n";
        let (mutated, count) = with_early_returns(text);
        assert_eq!(count, 2);
        assert_eq!(mutated.matches("#[track_caller]").count(), 2);
        assert_eq!(mutated.matches("return Ok(());").count(), 2);
        assert!(mutated.contains("fn other() {\n}"));
    }

    #[test]
    fn calls_are_found_with_their_lines_and_points() {
        let text = "use x;\nsync::sync_data(&file, SyncPoint::Mark)?;\nuse SyncPoint::*;\n";
        let call = Call {
            place: "a.rs:2".to_owned(),
            point: "Mark".to_owned(),
        };
        assert_eq!(calls_of("a.rs", text), [call]);
    }

    #[test]
    fn the_seed_of_a_failure_is_read_off_its_message() {
        assert_eq!(
            failing_seeds("thread panicked:\nseed 17, round 2: lost\n"),
            [17]
        );
    }
}
