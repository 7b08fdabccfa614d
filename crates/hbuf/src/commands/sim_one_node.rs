//! `hbuf sim run`, `hbuf sim sweep` of one node, and the hunt for a bug.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use hbuf_sim::{Bug, Fault, Kind, Outcome, Sweep};
use serde_json::{Value, json};

use crate::commands::sim_sweep::{self, Counts, Failure, Report, Sums, say_on_panic};
use crate::output::Out;

/// Seeds from which on a sweep must have seen every fault, crash point and kind of event.
const COMPLETE_FROM: u64 = 400;

pub(crate) fn run(
    seed: u64,
    bug: Option<Bug>,
    trace: Option<&Path>,
    json: bool,
) -> Result<ExitCode> {
    say_on_panic(replay(seed, bug));
    let stdout = trace.is_some_and(|path| path.as_os_str() == "-");
    let outcome = match trace {
        None => hbuf_sim::run(seed, bug, None)?,
        Some(_) if stdout => {
            let mut out = BufWriter::new(io::stdout().lock());
            let outcome = hbuf_sim::run(seed, bug, Some(&mut out))?;
            out.flush()?;
            outcome
        }
        Some(path) => {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            let mut out = BufWriter::new(file);
            let outcome = hbuf_sim::run(seed, bug, Some(&mut out))?;
            out.flush().with_context(|| path.display().to_string())?;
            outcome
        }
    };
    if !stdout {
        let mut out = Out::new();
        if json {
            out.json(&outcome_json(&outcome))?;
        } else {
            show(&mut out, &outcome)?;
        }
        out.flush()?;
    }
    if outcome.broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{}", outcome.replay());
    Ok(ExitCode::FAILURE)
}

fn replay(seed: u64, bug: Option<Bug>) -> String {
    let bug = bug.map(|bug| format!(" --bug {}", bug.name()));
    format!("hbuf sim run --seed {seed}{}", bug.unwrap_or_default())
}

fn show(out: &mut Out, outcome: &Outcome) -> Result<()> {
    out.line(&format!("seed    {}", outcome.seed))?;
    out.line(&format!("plan    {}", outcome.plan))?;
    out.line(&format!(
        "events  {} (hash {:016x})",
        outcome.events, outcome.hash
    ))?;
    for broken in &outcome.broken {
        let (name, event) = (broken.invariant.name(), broken.event);
        out.line(&format!("BROKEN  {name} at event {event}: {}", broken.what))?;
    }
    if outcome.broken.is_empty() {
        out.line("every invariant held")?;
    }
    Ok(())
}

fn outcome_json(outcome: &Outcome) -> Value {
    let broken = outcome.broken.iter().map(|broken| {
        json!({
            "invariant": broken.invariant.name(),
            "event": broken.event,
            "what": broken.what,
        })
    });
    json!({
        "seed": outcome.seed,
        "bug": outcome.bug.map(Bug::name),
        "plan": outcome.plan,
        "events": outcome.events,
        "hash": format!("{:016x}", outcome.hash),
        "broken": broken.collect::<Vec<_>>(),
        "kinds": counts(&outcome.kinds, |kind| kind.name()),
        "faults": counts(&outcome.faults, |fault| fault.name()),
        "crash_points": outcome.crash_points,
        "replay": outcome.replay(),
    })
}

fn counts<K>(counts: &BTreeMap<K, u64>, name: impl Fn(&K) -> &'static str) -> Value {
    counts
        .iter()
        .map(|(key, count)| (name(key).to_owned(), json!(count)))
        .collect::<Value>()
}

/// Runs many seeds.
pub(crate) fn sweep(seeds: Range<u64>, json: bool) -> Result<ExitCode> {
    sim_sweep::sweep(seeds, json, |swept: &mut Sweep, seed| {
        say_on_panic(replay(seed, None));
        let outcome = hbuf_sim::run(seed, None, None);
        swept.add(outcome.expect("without a trace nothing is written"));
    })
}

impl Sums for Sweep {
    fn merge(&mut self, other: Self) {
        self.merge(other);
    }

    fn report(&self) -> Report {
        let faults = Fault::ALL.iter();
        let faults = faults.map(|it| (it.name(), self.faults.get(it).copied().unwrap_or(0)));
        let points = self.crash_points.iter();
        let points = points.map(|(point, times)| (point.as_str(), *times));
        let kinds = Kind::ALL.iter().filter(|kind| !kind.of_several_nodes());
        let kinds = kinds.map(|it| (it.name(), self.kinds.get(it).copied().unwrap_or(0)));
        let failed = self.failed.iter().flat_map(|outcome| {
            outcome.broken.iter().map(|broken| Failure {
                seed: outcome.seed,
                name: broken.invariant.name().to_owned(),
                what: broken.what.clone(),
                replay: outcome.replay(),
            })
        });
        let missed = match self.runs >= COMPLETE_FROM {
            true => self.missed(),
            false => Vec::new(),
        };
        Report {
            totals: vec![("runs", self.runs), ("events", self.events)],
            rate_of: "events",
            tables: vec![
                Counts::new("faults", "FAULT", faults),
                Counts::new("crash_points", "CRASH BEFORE", points),
                Counts::new("kinds", "EVENT", kinds),
            ],
            failed: failed.collect(),
            missed: missed.into_iter().map(str::to_owned).collect(),
        }
    }
}
