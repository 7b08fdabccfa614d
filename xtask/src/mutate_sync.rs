//! Shows that the power-loss tests notice each missing sync.
//!
//! A copy of the tree is changed in one place: `sync.rs`, through which every durable call goes,
//! leaves out the call at the place that the environment names, and tells the tests' file system
//! of it, which then lets the power go soon after. That copy is built once; then each call is left
//! out in turn and the tests run until they fail. A call whose absence nothing notices fails the
//! command: either the tests are too weak or the sync is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::shell;

const SERVER: &str = "crates/hbuf-server/src";
const SYNC: &str = "crates/hbuf-server/src/disk/sync.rs";
/// Names the call to leave out, as `file:line`, in the copy only.
const VARIABLE: &str = "TEST_LEFT_OUT";

/// A call that makes something durable.
#[derive(Debug, Eq, PartialEq)]
struct Call {
    /// `file:line` from the root.
    place: String,
    point: String,
}

/// What is asked of the command.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Seeds that each test may take to notice.
    pub(crate) seeds: u64,
    /// Calls that are tried at once.
    pub(crate) jobs: usize,
    /// Only these points.
    pub(crate) points: Vec<String>,
    /// Only points after this one, in the order of the table: to go on where a run was ended.
    pub(crate) after: Option<String>,
}

impl Asked {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut asked = Self {
            seeds: 60,
            jobs: 2,
            ..Self::default()
        };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                bail!("{} needs a value", pair[0]);
            };
            let bad = || format!("{name} {value}: not a number");
            match name.as_str() {
                "--seeds" => asked.seeds = value.parse().with_context(bad)?,
                "--jobs" => asked.jobs = value.parse().with_context(bad)?,
                "--point" => asked.points = value.split(',').map(str::to_owned).collect(),
                "--after" => asked.after = Some(value.clone()),
                _ => {
                    bail!("unknown option `{name}`: --seeds, --jobs, --point and --after are known")
                }
            }
        }
        Ok(asked)
    }
}

/// How it went with one call.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Verdict {
    Noticed {
        seed: u64,
        why: String,
    },
    /// The call was left out so often, and nothing was noticed.
    Missed {
        times: u64,
    },
}

/// Tries all calls, or those that are asked for.
pub(crate) fn run(asked: &Asked) -> Result<()> {
    let calls = calls(&shell::root())?;
    run_calls(&chosen(calls, asked)?, asked)
}

fn chosen(mut calls: Vec<Call>, asked: &Asked) -> Result<Vec<Call>> {
    if let Some(after) = &asked.after {
        let last = calls.iter().rposition(|call| call.point == *after);
        let last = last.with_context(|| format!("no point `{after}`"))?;
        calls.drain(..=last);
    }
    for point in &asked.points {
        if !calls.iter().any(|call| call.point == *point) {
            bail!("no point `{point}`");
        }
    }
    if !asked.points.is_empty() {
        calls.retain(|call| asked.points.contains(&call.point));
    }
    Ok(calls)
}

fn run_calls(calls: &[Call], asked: &Asked) -> Result<()> {
    let tree = copy_tree()?;
    let tests = build(&tree)?;
    if let Verdict::Noticed { seed, why } = tests.try_without("", "", 2)? {
        bail!("the tests fail at seed {seed} with nothing left out: {why}");
    }
    println!(
        "{:<16} {:<46} {:>9} {:>8}  said",
        "point", "left out at", "noticed", "took"
    );
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    let worker = || -> Result<()> {
        while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
            let begun = Instant::now();
            let verdict = tests.try_without(&call.place, &call.point, asked.seeds)?;
            println!("{}", line(call, &verdict, begun.elapsed().as_secs_f64()));
            if matches!(verdict, Verdict::Missed { .. }) {
                let mut survivors = survivors
                    .lock()
                    .expect("no worker panics while it holds it");
                survivors.push(format!("{} at {}", call.point, call.place));
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..asked.jobs.max(1))
            .map(|_| scope.spawn(worker))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    let survivors = survivors.into_inner().context("a worker panicked")?;
    if !survivors.is_empty() {
        bail!(
            "{} seeds did not notice: {}",
            asked.seeds,
            survivors.join(", ")
        );
    }
    println!(
        "each of {} syncs is needed and its absence is noticed",
        calls.len()
    );
    Ok(())
}

fn line(call: &Call, verdict: &Verdict, took: f64) -> String {
    let (noticed, said) = match verdict {
        Verdict::Noticed { seed, why } => (format!("seed {seed}"), why.clone()),
        Verdict::Missed { times: 0 } => ("NEVER".to_owned(), "the tests never make it".to_owned()),
        Verdict::Missed { times } => ("NEVER".to_owned(), format!("left out {times} times")),
    };
    let place = call.place.strip_prefix(SERVER).unwrap_or(&call.place);
    let place = place.trim_start_matches('/');
    format!(
        "{:<16} {place:<46} {noticed:>9} {took:>6.1} s  {said}",
        call.point
    )
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

/// Copies every file that git knows or would know, `sync.rs` changed; unchanged files keep their
/// times, so that a second run builds little.
fn copy_tree() -> Result<PathBuf> {
    let root = shell::root();
    let tree = root.join("target/mutate-sync/tree");
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    for name in shell::output(&mut shell::command("git", &list))?.lines() {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(mut bytes) = fs::read(&from) else {
            continue;
        };
        if name == SYNC {
            bytes = mutated(&bytes)?;
        }
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
fn mutated(sync: &[u8]) -> Result<Vec<u8>> {
    let (mutated, count) = with_early_returns(std::str::from_utf8(sync)?);
    if count == 0 {
        bail!("{SYNC}: no function `sync_…`");
    }
    Ok(mutated.into_bytes())
}

fn with_early_returns(text: &str) -> (String, usize) {
    let mut out = String::new();
    let mut count = 0;
    let mut head: Option<String> = None;
    for line in text.split_inclusive('\n') {
        if line.contains("fn sync_") {
            out.push_str("#[track_caller]\n");
            head = Some(String::new());
        }
        out.push_str(line);
        let Some(so_far) = &mut head else { continue };
        so_far.push_str(line);
        if line.trim_end().ends_with('{') {
            out.push_str(&early_return(so_far));
            head = None;
            count += 1;
        }
    }
    (out, count)
}

/// The question for the attribute tells the tests' file system (`power/mount.rs`).
fn early_return(head: &str) -> String {
    let ask = if head.contains("file: &File") {
        "fgetxattr(file"
    } else if head.contains("directory: &File") {
        "fgetxattr(directory"
    } else {
        "getxattr(directory"
    };
    format!(
        "    let caller = std::panic::Location::caller();\n    let place = \
         format!(\"{{}}:{{}}\", caller.file(), caller.line());\n    if \
         std::env::var(\"{VARIABLE}\").is_ok_and(|name| name == place) {{\n        let _ = \
         rustix::fs::{ask}, c\"user.left_out_sync\", &mut [0_u8; 1][..]);\n        let _ = \
         point;\n        return Ok(());\n    }}\n"
    )
}

/// The tests, each of which forces another commit path.
const TESTS: [&str; 3] = [
    "left_to_the_server",
    "writes_the_segments",
    "through_the_journal",
];
/// No call stands there; the tests draw all the same as if one were left out.
const NOWHERE: &str = "nowhere:0";
/// What the tests say when their own file system fails, or when a story ends before its point.
const BROKEN: [&str; 2] = ["cannot mount, or unmount:", "the story did not get there:"];
/// So often is a story told: it draws nothing, but a machine may be too slow for it once.
const TELLINGS: u64 = 2;
/// Seeds that each test runs before the next one has its turn.
const SEEDS_AT_ONCE: u64 = 2;

/// The program that holds the tests, built from the changed copy.
struct Tests {
    program: PathBuf,
    directory: PathBuf,
}

/// Builds the copy.
fn build(tree: &Path) -> Result<Tests> {
    let arguments = [
        "test",
        "--no-run",
        "--package",
        "hbuf",
        "--test",
        "it",
        "--message-format=json-render-diagnostics",
    ];
    let mut command = shell::command("cargo", &arguments);
    let target = shell::root().join("target/mutate-sync/target");
    command.current_dir(tree).env("CARGO_TARGET_DIR", target);
    let said = shell::output(&mut command)?;
    let mut programs = said.lines().filter_map(program);
    Ok(Tests {
        program: programs.next_back().context("cargo built no test `it`")?,
        directory: tree.join("crates/hbuf"),
    })
}

/// The program that a line of cargo's messages speaks of, if it is that of the tests.
fn program(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    let path = PathBuf::from(rest.split('"').next()?);
    let name = path.file_name()?.to_str()?;
    name.starts_with("it-").then(|| path.clone())
}

impl Tests {
    /// Runs the tests without the call at `place` until one fails.
    fn try_without(&self, place: &str, point: &str, seeds: u64) -> Result<Verdict> {
        let mut times = 0;
        for first in (1..=seeds).step_by(SEEDS_AT_ONCE as usize) {
            let count = SEEDS_AT_ONCE.min(seeds + 1 - first);
            let stories = stories(point).iter().filter(|_| first <= TELLINGS);
            for test in stories.copied().chain(in_order(point)) {
                match self.run(place, test, (first, count))? {
                    Verdict::Missed { times: more } => times += more,
                    Verdict::Noticed { seed, why } => {
                        self.blame(test, seed, &why)?;
                        return Ok(Verdict::Noticed { seed, why });
                    }
                }
            }
        }
        Ok(Verdict::Missed { times })
    }

    /// The same seed must pass when nothing is left out: else it found something else.
    fn blame(&self, test: &str, seed: u64, noticed: &str) -> Result<()> {
        if let Verdict::Noticed { why, .. } = self.run(NOWHERE, test, (seed, 1))? {
            bail!("{test} fails at seed {seed} with nothing left out: {why} (and: {noticed})");
        }
        Ok(())
    }

    fn run(&self, place: &str, test: &str, seeds: (u64, u64)) -> Result<Verdict> {
        let mut command = Command::new(&self.program);
        command
            .args([test, "--nocapture"])
            .current_dir(&self.directory)
            .env("TEST_DISCARD", "1")
            .env("RUST_BACKTRACE", "0")
            .env("TEST_SEED", seeds.0.to_string())
            .env("TEST_SEEDS", seeds.1.to_string());
        if !place.is_empty() {
            command.env(VARIABLE, place);
        }
        let output = command.output().context("cannot run the tests")?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            let times = times_left_out(&said).with_context(|| format!("no totals in:\n{said}"))?;
            return Ok(Verdict::Missed { times });
        }
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        if BROKEN.iter().any(|broken| said.contains(broken)) {
            bail!("the tests themselves failed, which says nothing of the sync:\n{said}");
        }
        failure(&said).with_context(|| format!("the tests failed without a seed:\n{said}"))
    }
}

/// Tests that lead to the one place where a sync is needed: those of `needed_syncs.rs`, and one
/// that draws nothing either.
fn stories(point: &str) -> &'static [&'static str] {
    match point {
        "Checkpoint" => &["what_was_journaled_is_durable_before_its_file"],
        "FilterDirectory" => &["a_directory_of_filters_that_a_start_found"],
        "FilterEntry" => &["a_filter_that_a_start_found"],
        "JournalFound" => &["what_a_start_shows_of_the_journal"],
        "JournalFoundEntry" => &["a_journal_file_that_a_start_relies_on"],
        "ManagerEntry" => &["a_first_start_that_ended_anywhere"],
        "ManagerLog" => &["commands_that_a_start_found_are_durable"],
        "MarkEntry" => &[
            "a_key_is_known_when_the_first_mark",
            "where_a_consumer_of_an_empty_buffer_begins",
        ],
        "Recovery" => &["a_refused_message_does_not_come_back"],
        "RecoveryEntry" => &["a_refused_segment_does_not_come_back"],
        "Seal" => &["the_zeros_of_a_sealed_segment"],
        "Unapplied" | "UnappliedDirectory" | "UnappliedEntry" => &[
            "what_only_the_journal_proves",
            "what_is_set_aside_of_a_missing_directory",
        ],
        _ => &[],
    }
}

/// The tests in the order in which they are likely to notice a point.
fn in_order(point: &str) -> [&'static str; 3] {
    let [auto, direct, journal] = TESTS;
    match point {
        "Seal" | "SegmentDirect" | "SegmentEntry" => [direct, auto, journal],
        "Journal" | "JournalEntry" | "Checkpoint" | "Mark" | "MarkEntry" | "Recovery"
        | "RecoveryEntry" => [journal, auto, direct],
        _ => [auto, direct, journal],
    }
}

/// The number behind `left_out:` in what a test that passed says.
fn times_left_out(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("left_out: ")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Seed and complaint of a message such as `seed 7, round 1: …`.
fn failure(said: &str) -> Option<Verdict> {
    let (at, line) = said
        .lines()
        .enumerate()
        .find(|(_, line)| line.trim_start().starts_with("seed "))?;
    let (seed, rest) = line.trim_start().strip_prefix("seed ")?.split_once(',')?;
    let same_line = rest.split_once(": ").map_or("", |(_, why)| why).trim();
    let next_line = said.lines().nth(at + 1).unwrap_or_default().trim();
    let why = if same_line.is_empty() || same_line.ends_with(':') {
        next_line
    } else {
        same_line
    };
    Some(Verdict::Noticed {
        seed: seed.parse().ok()?,
        why: why.chars().take(90).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_function_gets_the_early_return() {
        let text = "/// X.\npub fn sync_data(file: &File, point: SyncPoint) -> R {\n    x\n}\n\
                    fn other() {\n}\nfn sync_dir(\n    directory: &Path,\n) -> R {\n}\n\
                    fn sync_file_system(directory: &File) -> R {\n}\n";
        let (mutated, count) = with_early_returns(text);
        assert_eq!(count, 3);
        assert_eq!(mutated.matches("#[track_caller]").count(), 3);
        assert_eq!(mutated.matches("return Ok(());").count(), 3);
        assert_eq!(mutated.matches("fgetxattr(directory").count(), 1);
        assert_eq!(mutated.matches("fgetxattr(file").count(), 1);
        assert_eq!(mutated.matches("::getxattr(directory").count(), 1);
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
    fn calls_of_every_part_of_the_server_are_found() {
        let calls = calls(&shell::root()).unwrap();
        for part in ["disk", "engine", "manager"] {
            let of_part = format!("{SERVER}/{part}/");
            assert!(
                calls.iter().any(|call| call.place.starts_with(&of_part)),
                "{part}"
            );
        }
    }

    #[test]
    fn each_story_is_told_by_a_test() {
        let tests = rust_files(&shell::root().join("crates/hbuf/tests/it")).unwrap();
        let texts: String = tests
            .iter()
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        let calls = calls(&shell::root()).unwrap();
        for story in calls.iter().flat_map(|call| stories(&call.point)) {
            assert!(texts.contains(&format!("fn {story}")), "{story}");
        }
    }

    #[test]
    fn seed_and_complaint_of_a_failure_are_read_off_its_message() {
        let noticed = |seed, why: &str| {
            Some(Verdict::Noticed {
                seed,
                why: why.to_owned(),
            })
        };
        let said = "thread panicked:\nseed 17, round 2: \n  b: seq 3 is lost\n";
        assert_eq!(failure(said), noticed(17, "b: seq 3 is lost"));
        let said = "thread panicked:\nseed 2, round 0: cannot mount: no\n";
        assert_eq!(failure(said), noticed(2, "cannot mount: no"));
        assert_eq!(failure("thread panicked"), None);
        assert_eq!(
            times_left_out("Totals { names: 4, left_out: 12 }"),
            Some(12)
        );
    }

    #[test]
    fn what_is_asked_is_read_and_the_rest_refused() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            Asked::parse(&words)
        };
        let asked = parse(&["--seeds", "7", "--point", "Mark"]).unwrap();
        assert_eq!((asked.seeds, asked.jobs), (7, 2));
        assert_eq!(asked.points, ["Mark"]);
        for wrong in [&["--seeds"][..], &["--seeds", "x"], &["--none", "1"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_run_goes_on_after_a_point() {
        let call = |point: &str| Call {
            place: String::new(),
            point: point.to_owned(),
        };
        let asked = Asked {
            after: Some("B".to_owned()),
            ..Asked::default()
        };
        let all = ["A", "B", "B", "C"].map(call).into_iter().collect();
        assert_eq!(chosen(all, &asked).unwrap(), [call("C")]);
        assert!(chosen(vec![call("A")], &asked).is_err());
    }
}
