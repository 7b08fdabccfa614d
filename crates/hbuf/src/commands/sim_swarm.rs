//! `hbuf sim run swarm`, `hbuf sim sweep --scenario swarm`: clusters of several nodes, of which
//! everything is drawn from the seed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use hbuf_sim::nodes::{
    CLUSTER_INVARIANTS, ClusterOutcome, ClusterSetup, ClusterSweep, Table, View, look, run_cluster,
};
use hbuf_sim::{Bug, Kind};
use serde_json::{Value, json};

use crate::commands::sim_hand::{HandArgs, quoted};
use crate::commands::sim_hunt::shown_in;
use crate::commands::sim_scenario;
use crate::commands::sim_shrink;
use crate::commands::sim_sweep::{self, Counts, Failure, Report, Sums, say_on_panic};
use crate::commands::sim_world::World;
use crate::output::Out;

/// A run, as the command line asks for it.
pub(crate) struct Asked<'a> {
    pub(crate) world: &'a World,
    pub(crate) seed: u64,
    /// What is done wrong on purpose.
    pub(crate) bug: Option<Bug>,
    pub(crate) set: &'a [String],
    pub(crate) hand: &'a HandArgs,
}

impl Asked<'_> {
    fn setup(&self) -> Result<ClusterSetup> {
        let options = self.world.options(self.seed);
        let options = self.hand.options(options, self.set)?;
        let setup = self.world.setup(self.seed, options);
        let setup = match self.bug {
            Some(bug) => {
                if matches!(self.world, World::Swarm) {
                    shown_in(bug, "swarm")?;
                }
                setup.with_bug(bug)
            }
            None => setup,
        };
        self.hand.changed(setup)
    }

    /// The line that runs it, without options and changes.
    fn begins(&self) -> String {
        let world = quoted(self.world.name());
        let bug = self.bug.map(|bug| format!(" --bug {}", bug.name()));
        let bug = bug.unwrap_or_default();
        format!("hbuf sim run {world} --seed {}{bug}", self.seed)
    }

    /// The line that runs it.
    fn replay(&self, setup: &ClusterSetup) -> String {
        self.begins() + &self.hand.replay(self.set, setup)
    }
}

/// Runs one seed.
pub(crate) fn run(asked: &Asked<'_>, trace: Option<&Path>, json: bool) -> Result<ExitCode> {
    let scenario = asked.world.scenario().is_some();
    let setup = ClusterSetup {
        // A scenario is told as a story, which is made of its trace.
        lines: trace.is_some() || (scenario && !json),
        ..asked.setup()?
    };
    let replay = asked.replay(&setup);
    say_on_panic(replay.clone());
    if let Some(at) = asked.hand.look_at()? {
        ensure!(
            trace.is_none(),
            "--at shows a moment: a trace is of a whole run"
        );
        return show_moment(&look(&setup, at)?, json);
    }
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
            false if scenario => sim_scenario::show(&mut out, &outcome, asked.world.name())?,
            false => show(&mut out, &outcome)?,
        }
        out.flush()?;
    }
    for unmet in &outcome.unmet {
        eprintln!("{unmet}");
    }
    // A scenario may expect that an invariant is broken.
    let good = match scenario {
        true => sim_scenario::is_good(&outcome),
        false => outcome.broken.is_none(),
    };
    if good {
        // As any other argument that cannot be.
        return Ok(ExitCode::from(if outcome.unmet.is_empty() { 0 } else { 2 }));
    }
    eprintln!("{replay}");
    if let Some(path) = trace.filter(|_| !stdout) {
        eprintln!("its trace: {}", path.display());
    }
    Ok(ExitCode::FAILURE)
}

fn show_moment(view: &View, json: bool) -> Result<ExitCode> {
    let mut out = Out::new();
    match json {
        true => out.json(&view.to_json())?,
        false => out.line(&view.to_string())?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a run that fails smaller.
pub(crate) fn shrink(asked: &Asked<'_>, tries: u64, json: bool) -> Result<ExitCode> {
    let setup = asked.setup()?;
    sim_shrink::shrink(&setup, &asked.begins(), tries, json)
}

fn show(out: &mut Out, outcome: &ClusterOutcome) -> Result<()> {
    out.line(&format!("seed    {}", outcome.seed))?;
    out.line(&format!("options {}", outcome.options))?;
    for change in &outcome.overrides {
        out.line(&format!("change  {change}"))?;
    }
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
    let mut fields = json!({
        "seed": outcome.seed,
        "options": outcome.options.to_string(),
        "overrides": outcome.overrides,
        "unmet": outcome.unmet.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "events": outcome.events,
        "hash": format!("{:016x}", outcome.hash),
        "acked": outcome.acked,
        "broken": broken,
        "kinds": kinds_json(&outcome.kinds),
        "faults": outcome.faults,
        "operations": outcome.operations,
        "crash_points": outcome.crash_points,
        "rules": outcome.rules,
    });
    if !outcome.verdicts.is_empty() {
        fields["scenario"] = sim_scenario::json(outcome);
    }
    fields
}

fn kinds_json(kinds: &BTreeMap<Kind, u64>) -> Value {
    let named = kinds
        .iter()
        .map(|(kind, count)| (kind.name().to_owned(), json!(count)));
    named.collect()
}

/// Seeds from which on a sweep must have seen all that its options can bring about.
const COMPLETE_FROM: u64 = 200;

/// What many runs came to.
#[derive(Default)]
struct Swept {
    sums: ClusterSweep,
    /// A scenario is one story, which need not have everything in it.
    is_scenario: bool,
    failed: Vec<Failure>,
}

impl Swept {
    fn add(&mut self, outcome: ClusterOutcome, replay: String, scenario: bool) {
        self.sums.add(&outcome);
        self.is_scenario |= scenario;
        if scenario {
            self.failed
                .extend(sim_scenario::failures(&outcome, &replay));
        }
        // What a scenario says of broken invariants is among its expectations.
        let broken = outcome.broken.filter(|_| !scenario).map(|broken| Failure {
            seed: outcome.seed,
            name: broken.invariant.to_owned(),
            what: broken.what,
            replay,
        });
        self.failed.extend(broken);
    }
}

/// Runs many seeds.
pub(crate) fn sweep(
    world: &World,
    seeds: Range<u64>,
    set: &[String],
    json: bool,
) -> Result<ExitCode> {
    let hand = HandArgs::default();
    let asked = |seed| Asked {
        world,
        seed,
        bug: None,
        set,
        hand: &hand,
    };
    // Whether the changes go together with what each seed draws is seen before any of them runs.
    asked(seeds.start).setup()?;
    sim_sweep::sweep(seeds, json, |swept: &mut Swept, seed| {
        if let Ok(setup) = asked(seed).setup() {
            let replay = asked(seed).replay(&setup);
            say_on_panic(replay.clone());
            swept.add(run_cluster(&setup), replay, world.scenario().is_some());
        }
    })
}

impl Sums for Swept {
    fn merge(&mut self, other: Self) {
        self.sums.merge(&other.sums);
        self.is_scenario |= other.is_scenario;
        self.failed.extend(other.failed);
        self.failed.sort_unstable();
    }

    fn report(&self) -> Report {
        let sums = &self.sums;
        let tables = [
            (Table::Faults, "faults", "FAULT"),
            (Table::Operations, "operations", "OPERATION"),
            (Table::CrashPoints, "crash_points", "POWER LOST DURING"),
            (Table::Rules, "rules", "RULE, RUNS THAT IT DECIDED IN"),
            (Table::Events, "kinds", "EVENT"),
        ];
        let tables = tables.map(|(table, name, title)| Counts::new(name, title, sums.table(table)));
        let complete = sums.runs >= COMPLETE_FROM && !self.is_scenario;
        Report {
            totals: vec![
                ("runs", sums.runs),
                ("messages acknowledged", sums.acked),
                ("events", sums.events),
                ("steps", sums.steps),
            ],
            rate_of: "steps",
            tables: tables.into(),
            failed: self.failed.clone(),
            missed: match complete {
                true => sums.missed(),
                false => Vec::new(),
            },
        }
    }
}

/// The invariants of clusters, for the list.
pub(crate) fn invariants() -> Vec<(&'static str, String)> {
    let all = CLUSTER_INVARIANTS.iter();
    all.map(|(name, about)| (*name, (*about).to_owned()))
        .collect()
}
