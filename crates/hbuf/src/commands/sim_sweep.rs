//! The frame of all sweeps: many seeds in threads, sums, tables, what failed, what never happened.

use std::cell::RefCell;
use std::ops::Range;
use std::panic;
use std::process::ExitCode;
use std::sync::Once;
use std::thread;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::output::{Out, table};

/// Failed runs that are shown in words.
const SHOWN_MAX: usize = 10;

/// Sums over runs: each thread has one, and they are put together in the end.
pub(crate) trait Sums: Default + Send {
    /// Takes another one in.
    fn merge(&mut self, other: Self);

    /// What many runs came to.
    fn report(&self) -> Report;
}

/// What many runs came to, to be shown.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What is counted over all: `runs` first; names and numbers.
    pub(crate) totals: Vec<(&'static str, u64)>,
    /// Which of them is told as so many a second.
    pub(crate) rate_of: &'static str,
    /// A table each.
    pub(crate) tables: Vec<Counts>,
    /// Runs that failed, by seed.
    pub(crate) failed: Vec<Failure>,
    /// What no run had, and one of so many should have had: it was not tested.
    pub(crate) missed: Vec<String>,
}

/// Names, and how often each was seen.
#[derive(Debug)]
pub(crate) struct Counts {
    /// What they are called in JSON.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) counts: Vec<(String, u64)>,
}

impl Counts {
    pub(crate) fn new<'a>(
        name: &'static str,
        title: &'static str,
        counts: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Self {
        let counts = counts.into_iter();
        Self {
            name,
            title,
            counts: counts
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        }
    }
}

/// One thing that did not hold in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    /// The name of what should have held.
    pub(crate) name: String,
    /// What was seen.
    pub(crate) what: String,
    /// The line that runs it again.
    pub(crate) replay: String,
}

/// Runs these seeds, a thread a core, each with every n-th seed, so that all end at about the same
/// time; then shows what came of it. Fails when a run did, or when something was missed.
pub(crate) fn sweep<S: Sums>(
    seeds: Range<u64>,
    as_json: bool,
    run: impl Fn(&mut S, u64) + Sync,
) -> Result<ExitCode> {
    let begun = Instant::now();
    let sums = in_threads(seeds, run);
    let seconds = begun.elapsed().as_secs_f64();
    let report = sums.report();
    let mut out = Out::new();
    match as_json {
        true => out.json(&report.json(seconds))?,
        false => report.show(&mut out, seconds)?,
    }
    out.flush()?;
    let mut replays: Vec<&str> = report.failed.iter().map(|it| it.replay.as_str()).collect();
    replays.dedup();
    for replay in replays.into_iter().take(SHOWN_MAX) {
        eprintln!("{replay}");
    }
    Ok(match report.failed.is_empty() && report.missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn in_threads<S: Sums>(seeds: Range<u64>, run: impl Fn(&mut S, u64) + Sync) -> S {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let spawn = |first: usize| {
            let (mine, run) = (seeds.clone().skip(first).step_by(threads), &run);
            scope.spawn(move || {
                let mut sums = S::default();
                mine.for_each(|seed| run(&mut sums, seed));
                sums
            })
        };
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        let mut all = S::default();
        for worker in workers {
            match worker.join() {
                Ok(sums) => all.merge(sums),
                Err(cause) => panic::resume_unwind(cause),
            }
        }
        all
    })
}

impl Report {
    fn rate(&self, seconds: f64) -> f64 {
        let total = self.totals.iter().find(|(name, _)| *name == self.rate_of);
        total.map_or(0.0, |(_, count)| *count as f64 / seconds)
    }

    fn show(&self, out: &mut Out, seconds: f64) -> Result<()> {
        for Counts { title, counts, .. } in &self.tables {
            let header = vec![(*title).to_owned(), "COUNT".to_owned()];
            let rows = counts.iter();
            let rows = rows.map(|(name, count)| vec![name.clone(), count.to_string()]);
            let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
            out.line(&table(&rows))?;
        }
        let totals = self.totals.iter();
        let totals: Vec<String> = totals.map(|(name, n)| format!("{n} {name}")).collect();
        let mut seeds: Vec<u64> = self.failed.iter().map(|failure| failure.seed).collect();
        seeds.dedup();
        let (totals, rate, failed) = (totals.join(", "), self.rate(seconds), seeds.len());
        let of = self.rate_of;
        out.line(&format!(
            "{totals} in {seconds:.1} s ({rate:.0} {of}/s), {failed} failed"
        ))?;
        let shown = |failure: &&Failure| seeds.iter().take(SHOWN_MAX).any(|it| *it == failure.seed);
        for failure in self.failed.iter().filter(shown) {
            let Failure {
                seed, name, what, ..
            } = failure;
            out.line(&format!("BROKEN  seed {seed}: {name}: {what}"))?;
        }
        for missed in &self.missed {
            out.line(&format!("MISSED  no run had {missed}"))?;
        }
        Ok(())
    }

    fn json(&self, seconds: f64) -> Value {
        let mut fields = Map::new();
        for (name, count) in &self.totals {
            fields.insert((*name).to_owned(), json!(count));
        }
        fields.insert("seconds".to_owned(), json!(seconds));
        for Counts { name, counts, .. } in &self.tables {
            let counts = counts
                .iter()
                .map(|(name, count)| (name.clone(), json!(count)));
            fields.insert((*name).to_owned(), counts.collect());
        }
        let failed = self.failed.iter().map(
            |it| json!({ "seed": it.seed, "name": it.name, "what": it.what, "replay": it.replay }),
        );
        fields.insert("failed".to_owned(), failed.collect());
        fields.insert("missed".to_owned(), json!(self.missed));
        Value::Object(fields)
    }
}

thread_local! {
    static RUNNING: RefCell<String> = const { RefCell::new(String::new()) };
}

/// An assertion of the core that fails is a finding too: say which line runs it again.
pub(crate) fn say_on_panic(replay: String) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            let replay = RUNNING.with_borrow(Clone::clone);
            if !replay.is_empty() {
                eprintln!("{replay}");
            }
        }));
    });
    RUNNING.replace(replay);
}
