//! SIGKILL at random moments. The page cache survives it, so this proves less than a power loss; it
//! finds what a process leaves half-done, on a real file system and at full speed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::power::draw::Draws;
use crate::support::http::Http;
use crate::support::ledger::Ledger;
use crate::support::server::Server;
use crate::support::settings::CommitPath;
use crate::support::workload::{self, Flight, Plan};
use crate::support::{check, derived, settings};

/// Seeds of the short form; the rounds are shared out among them.
const SEEDS: u64 = 5;
/// A path counts as hit when it was active within this time before the kill.
const WINDOW: Duration = Duration::from_millis(60);
/// The longest that a round waits for the path that it wants to hit.
const LIFE_MAX: Duration = Duration::from_secs(4);
/// The counters of the server that tell which path is active.
const COUNTERS: [(&str, &str); 4] = [
    ("direct", "hbuf_commit_batches_total{path=\"direct\"}"),
    ("journal", "hbuf_commit_batches_total{path=\"journal\"}"),
    ("roll", "hbuf_segment_rolls_total"),
    ("checkpoint", "hbuf_checkpoints_total"),
];

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let rounds = settings::rounds(20);
    let mut hits = BTreeMap::new();
    for seed in settings::seeds(SEEDS) {
        let share = rounds.div_ceil(SEEDS).max(1);
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut ledger = Ledger::default();
        for round in 0..share {
            let draws = Draws::new(seed);
            let data = scratch.path().join("data");
            kill_once(draws, round, &data, &mut ledger, &mut hits);
            let wrong = recover(&data, &mut ledger, round);
            if !wrong.is_empty() {
                let kept = scratch.keep();
                panic!(
                    "seed {seed}, round {round}:\n  {}\nfiles: {}",
                    wrong[..wrong.len().min(12)].join("\n  "),
                    kept.display()
                );
            }
        }
    }
    println!("kills that hit each path: {hits:?}");
    if settings::seeds(SEEDS).count() < SEEDS as usize {
        // A replay of one seed need not hit everything.
        return;
    }
    for path in ["single", "batch", "direct", "journal", "roll", "checkpoint"] {
        assert!(
            hits.contains_key(path),
            "no kill hit the path {path}: {hits:?}"
        );
    }
}

fn kill_once(
    draws: Draws,
    round: u64,
    data: &Path,
    ledger: &mut Ledger,
    hits: &mut BTreeMap<&'static str, u64>,
) {
    let mut server =
        Server::start(data, &CommitPath::ALL[(round % 3) as usize].settings()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flight = Arc::new(Flight::default());
    let plan = Plan {
        address: server.address(),
        draws,
        client: 0,
        round,
        stop: Arc::clone(&stop),
        flight: Arc::clone(&flight),
        busy: draws.chance(20, "busy", 0, round),
    };
    let clients = workload::start(&plan);
    let life = Duration::from_millis(150 + draws.below(700, "life", 0, round));
    let active = watch(&mut server, life, wanted(draws, round));
    let in_flight = (
        flight.singles.load(Ordering::Relaxed),
        flight.batches.load(Ordering::Relaxed),
    );
    server.kill();
    stop.store(true, Ordering::Relaxed);
    workload::finish(clients, ledger);
    for path in active {
        *hits.entry(path).or_default() += 1;
    }
    if in_flight.0 > 0 {
        *hits.entry("single").or_default() += 1;
    }
    if in_flight.1 > 0 {
        *hits.entry("batch").or_default() += 1;
    }
}

/// The path that a round wants to hit: the rare ones would be missed by chance alone.
fn wanted(draws: Draws, round: u64) -> Option<usize> {
    let rare = ["roll", "checkpoint"];
    let name = rare.get(draws.below(4, "wanted", 0, round) as usize)?;
    COUNTERS.iter().position(|(path, _)| path == name)
}

/// Lets the server live, reading its counters, and on until the wanted path has just been active.
/// Returns the paths that moved at the very end.
fn watch(server: &mut Server, life: Duration, wanted: Option<usize>) -> Vec<&'static str> {
    let mut http = server.http();
    let begun = Instant::now();
    let mut samples = vec![(begun, counters(&mut http))];
    while begun.elapsed() < LIFE_MAX {
        std::thread::sleep(Duration::from_millis(3));
        let now = counters(&mut http);
        let before = samples
            .last()
            .map_or([0; COUNTERS.len()], |(_, counts)| *counts);
        samples.push((Instant::now(), now));
        let moved = wanted.is_none_or(|path| now[path] > before[path]);
        if moved && begun.elapsed() >= life {
            break;
        }
    }
    let (_, last) = samples.last().expect("one was just taken");
    let before = samples.iter().rev().find(|(at, _)| at.elapsed() >= WINDOW);
    let before = before.map_or([0; COUNTERS.len()], |(_, counts)| *counts);
    (0..COUNTERS.len())
        .filter(|i| last[*i] > before[*i])
        .map(|i| COUNTERS[i].0)
        .collect()
}

fn counters(http: &mut Http) -> [u64; COUNTERS.len()] {
    let text = http
        .get("/metrics")
        .map(|reply| reply.text())
        .unwrap_or_default();
    COUNTERS.map(|(_, name)| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse::<f64>().ok())
            .unwrap_or(0.0) as u64
    })
}

fn recover(data: &Path, ledger: &mut Ledger, round: u64) -> Vec<String> {
    let server = match Server::start(data, &[]) {
        Ok(server) => server,
        Err(output) => return vec![format!("the server does not start again:\n{output}")],
    };
    let mut wrong = check::check_server(&server, ledger);
    wrong.extend(check::check_appends(&server, ledger, round));
    wrong.extend(derived::check_mirror(&mut server.http(), ledger, true));
    wrong.extend(server.stop().err());
    wrong.extend(check::check_verify(data));
    wrong
}
