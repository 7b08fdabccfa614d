//! `hbuf sim run swarm`, `hbuf sim sweep --scenario swarm`: clusters of several nodes, of which
//! everything is drawn from the seed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use hbuf_sim::Kind;
use hbuf_sim::nodes::{CLUSTER_INVARIANTS, ClusterOutcome, ClusterSetup, run_cluster};
use hbuf_sim::swarm::Options;
use serde_json::{Value, json};

use crate::output::{Out, table};

/// Failed runs that are shown in words.
const SHOWN_MAX: usize = 10;

/// What is changed of the options that a seed draws.
fn setup(seed: u64, set: &[String]) -> Result<ClusterSetup> {
    let mut options = Options::of_seed(seed);
    for change in set {
        options.change(change)?;
    }
    options.check()?;
    Ok(ClusterSetup::of(seed, options))
}

/// Runs one seed.
pub(crate) fn run(seed: u64, set: &[String], trace: Option<&Path>, json: bool) -> Result<ExitCode> {
    let setup = ClusterSetup {
        lines: trace.is_some(),
        ..setup(seed, set)?
    };
    let outcome = run_cluster(&setup);
    let stdout = trace.is_some_and(|path| path.as_os_str() == "-");
    match trace {
        Some(_) if stdout => io::stdout().lock().write_all(outcome.trace.as_bytes())?,
        Some(path) => {
            fs::write(path, &outcome.trace).with_context(|| path.display().to_string())?;
        }
        None => {}
    }
    if !stdout {
        let mut out = Out::new();
        match json {
            true => out.json(&outcome_json(&outcome))?,
            false => show(&mut out, &outcome)?,
        }
        out.flush()?;
    }
    if outcome.broken.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{}", replay(seed, set));
    Ok(ExitCode::FAILURE)
}

fn replay(seed: u64, set: &[String]) -> String {
    let set: String = set
        .iter()
        .map(|change| format!(" --set {change}"))
        .collect();
    format!("hbuf sim run swarm --seed {seed}{set}")
}

fn show(out: &mut Out, outcome: &ClusterOutcome) -> Result<()> {
    out.line(&format!("seed    {}", outcome.seed))?;
    out.line(&format!("options {}", outcome.options))?;
    let (events, hash, acked) = (outcome.events, outcome.hash, outcome.acked);
    out.line(&format!("events  {events} (hash {hash:016x})"))?;
    out.line(&format!("acked   {acked} messages"))?;
    match &outcome.broken {
        None => out.line("every invariant held"),
        Some(broken) => {
            let (name, event) = (broken.invariant, broken.event);
            out.line(&format!("BROKEN  {name} at event {event}: {}", broken.what))
        }
    }
}

fn outcome_json(outcome: &ClusterOutcome) -> Value {
    let broken = outcome.broken.as_ref().map(|broken| {
        json!({
            "invariant": broken.invariant,
            "event": broken.event,
            "what": broken.what,
        })
    });
    json!({
        "seed": outcome.seed,
        "options": outcome.options.to_string(),
        "events": outcome.events,
        "hash": format!("{:016x}", outcome.hash),
        "acked": outcome.acked,
        "broken": broken,
        "kinds": kinds_json(&outcome.kinds),
        "faults": outcome.faults,
    })
}

fn kinds_json(kinds: &BTreeMap<Kind, u64>) -> Value {
    let named = kinds
        .iter()
        .map(|(kind, count)| (kind.name().to_owned(), json!(count)));
    named.collect()
}

/// What many runs came to.
#[derive(Default)]
struct Swept {
    runs: u64,
    steps: u64,
    events: u64,
    acked: u64,
    kinds: BTreeMap<Kind, u64>,
    faults: BTreeMap<&'static str, u64>,
    failed: Vec<(u64, &'static str, String)>,
}

impl Swept {
    fn add(&mut self, outcome: ClusterOutcome) {
        self.runs += 1;
        self.steps += outcome.steps;
        self.events += outcome.events;
        self.acked += outcome.acked;
        sum(&mut self.kinds, outcome.kinds);
        sum(&mut self.faults, outcome.faults);
        let seed = outcome.seed;
        let broken = outcome.broken.into_iter();
        self.failed
            .extend(broken.map(|broken| (seed, broken.invariant, broken.what)));
    }

    fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.events += other.events;
        self.acked += other.acked;
        sum(&mut self.kinds, other.kinds);
        sum(&mut self.faults, other.faults);
        self.failed.extend(other.failed);
        self.failed.sort_unstable();
    }
}

fn sum<K: Ord>(into: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(key).or_default() += count;
    }
}

/// Runs many seeds, a thread a core.
pub(crate) fn sweep(from: u64, seeds: u64, set: &[String], json: bool) -> Result<ExitCode> {
    // Whether the changes go together with what each seed draws is seen before any of them runs.
    setup(from, set)?;
    let begun = Instant::now();
    let swept = sweep_in_threads(from, seeds, set);
    let seconds = begun.elapsed().as_secs_f64();
    let mut out = Out::new();
    match json {
        true => out.json(&sweep_json(&swept, seconds))?,
        false => show_sweep(&mut out, &swept, seconds)?,
    }
    out.flush()?;
    for (seed, ..) in swept.failed.iter().take(SHOWN_MAX) {
        eprintln!("{}", replay(*seed, set));
    }
    Ok(match swept.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn sweep_in_threads(from: u64, seeds: u64, set: &[String]) -> Swept {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let all = from..from.saturating_add(seeds);
    thread::scope(|scope| {
        let spawn = |first: usize| {
            let mine = all.clone().skip(first).step_by(threads);
            scope.spawn(move || {
                let mut swept = Swept::default();
                for seed in mine {
                    if let Ok(setup) = setup(seed, set) {
                        swept.add(run_cluster(&setup));
                    }
                }
                swept
            })
        };
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        let mut all = Swept::default();
        for worker in workers {
            match worker.join() {
                Ok(swept) => all.merge(swept),
                Err(cause) => panic::resume_unwind(cause),
            }
        }
        all
    })
}

fn sweep_json(swept: &Swept, seconds: f64) -> Value {
    let failed = swept.failed.iter().map(
        |(seed, invariant, what)| json!({ "seed": seed, "invariant": invariant, "what": what }),
    );
    json!({
        "runs": swept.runs,
        "steps": swept.steps,
        "events": swept.events,
        "acked": swept.acked,
        "seconds": seconds,
        "kinds": kinds_json(&swept.kinds),
        "faults": swept.faults,
        "failed": failed.collect::<Vec<_>>(),
    })
}

fn show_sweep(out: &mut Out, swept: &Swept, seconds: f64) -> Result<()> {
    let rows = |title: &str, counts: Vec<(&str, u64)>| {
        let header = vec![title.to_owned(), "COUNT".to_owned()];
        let rows = counts.into_iter();
        let rows = rows.map(|(name, count)| vec![name.to_owned(), count.to_string()]);
        std::iter::once(header).chain(rows).collect::<Vec<_>>()
    };
    let faults = swept.faults.iter().map(|(name, count)| (*name, *count));
    let kinds = swept
        .kinds
        .iter()
        .map(|(kind, count)| (kind.name(), *count));
    out.line(&table(&rows("FAULT", faults.collect())))?;
    out.line(&table(&rows("EVENT", kinds.collect())))?;
    let (runs, steps, acked) = (swept.runs, swept.steps, swept.acked);
    let (rate, failed) = (steps as f64 / seconds, swept.failed.len());
    out.line(&format!(
        "{runs} runs, {steps} steps in {seconds:.1} s ({rate:.0}/s), {acked} messages \
         acknowledged, {failed} failed"
    ))?;
    for (seed, invariant, what) in swept.failed.iter().take(SHOWN_MAX) {
        out.line(&format!("BROKEN  seed {seed}: {invariant}: {what}"))?;
    }
    Ok(())
}

/// The invariants of clusters, for the list.
pub(crate) fn invariants() -> Vec<(&'static str, String)> {
    let all = CLUSTER_INVARIANTS.iter();
    all.map(|(name, about)| (*name, (*about).to_owned()))
        .collect()
}
