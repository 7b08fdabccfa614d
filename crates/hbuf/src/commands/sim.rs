//! `hbuf sim`: the core in a made-up world. Every run is a function of its seed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::panic;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Once;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use hbuf_sim::{Bug, CRASH_POINTS, Fault, Invariant, Kind, Outcome, Sweep};
use serde_json::{Value, json};

use crate::commands::sim_swarm;
use crate::commands::sim_trace::{self, CompareArgs, ExplainArgs, ShowArgs};
use crate::output::{Out, table};

pub(crate) const EXAMPLES: &str =
    "Exit code 0: every invariant held, or the bug was noticed, or the traces are the same; 1: not.

Examples:
  hbuf sim run --seed 7
  hbuf sim run --seed 7 --trace -
  hbuf sim sweep --seeds 10000
  hbuf sim sweep --seeds 300 --bug half-batch
  hbuf sim meta --seed 7
  hbuf sim run swarm --seed 7
  hbuf sim sweep --scenario swarm --seeds 1000
  hbuf sim run swarm --seed 7 --set nodes=5 --set crash=200ms
  hbuf sim run --seed 7 --trace t.jsonl
  hbuf sim show t.jsonl
  hbuf sim explain n:17 --trace t.jsonl
  hbuf sim list";

/// Seeds from which on a sweep must have seen every fault, crash point and kind of event.
const COMPLETE_FROM: u64 = 400;
/// Why a bug cannot be asked for.
const NO_BUG: &str = "the bugs are those of one node: leave the scenario out, or the bug";
/// Failed runs that are shown in words.
const SHOWN_MAX: usize = 10;

/// What to simulate.
#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Run one seed
    Run(RunArgs),
    /// Run many seeds, and count what happened in them: what never happened was not tested
    Sweep(SweepArgs),
    /// Run one seed in two processes and compare their traces byte for byte
    Meta(MetaArgs),
    /// Tell a trace as a story: a lane a node, time down, a line an event, messages as arrows
    Show(ShowArgs),
    /// Say why an event happened, back to the first cause, and what came of it
    Explain(ExplainArgs),
    /// Say where two traces part, and how much only one of them has
    Compare(CompareArgs),
    /// List invariants, bugs, faults, crash points and events
    List(ListArgs),
}

/// What a run is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum World {
    /// One node, with every step of its disk, journal and recovery
    OneNode,
    /// Three to five nodes with a manager, a network and clients
    Swarm,
}

/// One run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What runs
    #[arg(value_enum, default_value = "one-node", value_name = "SCENARIO")]
    world: World,
    /// Change an option that the seed of a swarm draws
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The seed
    #[arg(long)]
    seed: u64,
    /// Do this wrong on purpose
    #[arg(long, value_parser = bugs())]
    bug: Option<String>,
    /// Write the trace to this file: a header, then a line of JSON an event; - for standard output
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Many runs.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// What runs
    #[arg(long, value_enum, default_value = "one-node", value_name = "SCENARIO")]
    scenario: World,
    /// Change an option that the seeds of a swarm draw
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// How many seeds
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Do this wrong on purpose; the sweep ends at the first seed that notices it
    #[arg(long, value_parser = bugs())]
    bug: Option<String>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// One run, twice.
#[derive(Debug, Args)]
pub(crate) struct MetaArgs {
    /// What runs
    #[arg(long, value_enum, default_value = "one-node", value_name = "SCENARIO")]
    scenario: World,
    /// The seed
    #[arg(long)]
    seed: u64,
}

/// What there is.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn bugs() -> PossibleValuesParser {
    PossibleValuesParser::new(Bug::ALL.map(Bug::name))
}

fn bug(name: Option<&String>) -> Option<Bug> {
    name.and_then(|name| Bug::parse(name))
}

pub(crate) fn command(command: &SimCommand) -> Result<ExitCode> {
    match command {
        SimCommand::Run(args) if args.world == World::Swarm => {
            ensure!(args.bug.is_none(), "{NO_BUG}");
            sim_swarm::run(args.seed, &args.set, args.trace.as_deref(), args.json)
        }
        SimCommand::Sweep(args) if args.scenario == World::Swarm => {
            ensure!(args.bug.is_none(), "{NO_BUG}");
            sim_swarm::sweep(args.from, args.seeds, &args.set, args.json)
        }
        SimCommand::Run(RunArgs { set, .. }) | SimCommand::Sweep(SweepArgs { set, .. })
            if !set.is_empty() =>
        {
            bail!("--set changes the options of a swarm: name the scenario `swarm`")
        }
        SimCommand::Run(args) => run(args),
        SimCommand::Sweep(args) => match bug(args.bug.as_ref()) {
            None => sweep(args),
            Some(bug) => hunt(args, bug),
        },
        SimCommand::Meta(args) => meta(args),
        SimCommand::Show(args) => sim_trace::show(args),
        SimCommand::Explain(args) => sim_trace::explain_event(args),
        SimCommand::Compare(args) => sim_trace::compare_two(args),
        SimCommand::List(args) => list(args),
    }
}

fn run(args: &RunArgs) -> Result<ExitCode> {
    let bug = bug(args.bug.as_ref());
    say_seed_on_panic(args.seed, bug);
    let stdout = args
        .trace
        .as_ref()
        .is_some_and(|path| path.as_os_str() == "-");
    let outcome = match &args.trace {
        None => hbuf_sim::run(args.seed, bug, None)?,
        Some(_) if stdout => {
            let mut out = BufWriter::new(io::stdout().lock());
            let outcome = hbuf_sim::run(args.seed, bug, Some(&mut out))?;
            out.flush()?;
            outcome
        }
        Some(path) => {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            let mut out = BufWriter::new(file);
            let outcome = hbuf_sim::run(args.seed, bug, Some(&mut out))?;
            out.flush().with_context(|| path.display().to_string())?;
            outcome
        }
    };
    if !stdout {
        let mut out = Out::new();
        if args.json {
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

fn sweep(args: &SweepArgs) -> Result<ExitCode> {
    let begun = Instant::now();
    let swept = sweep_in_threads(args);
    let seconds = begun.elapsed().as_secs_f64();
    let missed = if args.seeds >= COMPLETE_FROM {
        swept.missed()
    } else {
        Vec::new()
    };
    let mut out = Out::new();
    if args.json {
        out.json(&sweep_json(&swept, &missed, seconds))?;
    } else {
        show_sweep(&mut out, &swept, &missed, seconds)?;
    }
    out.flush()?;
    for outcome in swept.failed.iter().take(SHOWN_MAX) {
        eprintln!("{}", outcome.replay());
    }
    let good = swept.failed.is_empty() && missed.is_empty();
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A thread a core, each with every n-th seed, so that all end at about the same time.
fn sweep_in_threads(args: &SweepArgs) -> Sweep {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let seeds = args.from..args.from.saturating_add(args.seeds);
    thread::scope(|scope| {
        let spawn = |first: usize| {
            let seeds = seeds.clone().skip(first).step_by(threads);
            scope.spawn(move || {
                let mut swept = Sweep::default();
                for seed in seeds {
                    say_seed_on_panic(seed, None);
                    let outcome = hbuf_sim::run(seed, None, None);
                    swept.add(outcome.expect("without a trace nothing is written"));
                }
                swept
            })
        };
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        let mut all = Sweep::default();
        for worker in workers {
            match worker.join() {
                Ok(swept) => all.merge(swept),
                Err(cause) => panic::resume_unwind(cause),
            }
        }
        all
    })
}

fn show_sweep(out: &mut Out, swept: &Sweep, missed: &[&str], seconds: f64) -> Result<()> {
    let rows = |title: &str, counts: Vec<(String, u64)>| {
        let header = vec![title.to_owned(), "COUNT".to_owned()];
        let rows = counts
            .into_iter()
            .map(|(name, count)| vec![name, count.to_string()]);
        std::iter::once(header).chain(rows).collect::<Vec<_>>()
    };
    let faults = Fault::ALL.iter().map(|fault| {
        (
            fault.name().to_owned(),
            swept.faults.get(fault).copied().unwrap_or(0),
        )
    });
    let points = swept
        .crash_points
        .iter()
        .map(|(point, count)| (point.clone(), *count));
    let kinds = Kind::ALL.iter().filter(|kind| !kind.of_several_nodes());
    let kinds = kinds.map(|kind| {
        (
            kind.name().to_owned(),
            swept.kinds.get(kind).copied().unwrap_or(0),
        )
    });
    for rows in [
        rows("FAULT", faults.collect()),
        rows("CRASH BEFORE", points.collect()),
        rows("EVENT", kinds.collect()),
    ] {
        out.line(&table(&rows))?;
    }
    let rate = swept.events as f64 / seconds;
    let (runs, events, failed) = (swept.runs, swept.events, swept.failed.len());
    out.line(&format!(
        "{runs} runs, {events} events in {seconds:.1} s ({rate:.0}/s), {failed} failed"
    ))?;
    for outcome in swept.failed.iter().take(SHOWN_MAX) {
        for broken in &outcome.broken {
            let (seed, name) = (outcome.seed, broken.invariant.name());
            out.line(&format!("BROKEN  seed {seed}: {name}: {}", broken.what))?;
        }
    }
    for missed in missed {
        out.line(&format!("MISSED  no run had {missed}"))?;
    }
    Ok(())
}

fn sweep_json(swept: &Sweep, missed: &[&str], seconds: f64) -> Value {
    json!({
        "runs": swept.runs,
        "events": swept.events,
        "seconds": seconds,
        "kinds": counts(&swept.kinds, |kind| kind.name()),
        "faults": counts(&swept.faults, |fault| fault.name()),
        "crash_points": swept.crash_points,
        "missed": missed,
        "failed": swept.failed.iter().map(outcome_json).collect::<Vec<_>>(),
    })
}

/// Looks for the first seed at which a bug breaks the invariant that it is known to break.
fn hunt(args: &SweepArgs, bug: Bug) -> Result<ExitCode> {
    let mut out = Out::new();
    let breaks = bug.breaks();
    for seed in args.from..args.from.saturating_add(args.seeds) {
        say_seed_on_panic(seed, Some(bug));
        let outcome = hbuf_sim::run(seed, Some(bug), None)?;
        let Some(broken) = outcome
            .broken
            .iter()
            .find(|broken| broken.invariant == breaks)
        else {
            continue;
        };
        if args.json {
            out.json(&outcome_json(&outcome))?;
        } else {
            out.line(&format!(
                "{} breaks {}: {}",
                bug.name(),
                breaks.name(),
                broken.what
            ))?;
            out.line(&outcome.replay())?;
        }
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let (name, seeds) = (bug.name(), args.seeds);
    out.line(&format!(
        "{seeds} seeds did not notice {name}: {} held",
        breaks.name()
    ))?;
    out.flush()?;
    Ok(ExitCode::FAILURE)
}

/// Two processes, since one would share whatever a global could hold.
fn meta(args: &MetaArgs) -> Result<ExitCode> {
    let seed = args.seed.to_string();
    let world = match args.scenario {
        World::OneNode => "one-node",
        World::Swarm => "swarm",
    };
    let trace = || -> Result<Vec<u8>> {
        let binary = std::env::current_exe().context("the path of this program")?;
        let mut command = process::Command::new(binary);
        let output = command
            .args(["sim", "run", world, "--trace", "-", "--seed", &seed])
            .output()?;
        ensure!(
            !output.stdout.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(output.stdout)
    };
    let (one, two) = (trace()?, trace()?);
    let mut out = Out::new();
    let lines = one.iter().filter(|byte| **byte == b'\n').count();
    let same = one == two;
    if same {
        // The first line is the header.
        let events = lines - 1;
        out.line(&format!(
            "seed {seed}: two processes, the same {events} events, byte for byte"
        ))?;
    } else {
        let first = one
            .split(|byte| *byte == b'\n')
            .zip(two.split(|byte| *byte == b'\n'));
        let line = first.take_while(|(a, b)| a == b).count() + 1;
        out.line(&format!(
            "seed {seed}: the traces differ from line {line} on"
        ))?;
    }
    out.flush()?;
    Ok(if same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn list(args: &ListArgs) -> Result<ExitCode> {
    let invariants = Invariant::ALL.map(|it| (it.name(), it.about().to_owned()));
    let bugs = Bug::ALL.map(|it| {
        (
            it.name(),
            format!("{}; breaks {}", it.about(), it.breaks().name()),
        )
    });
    let faults = Fault::ALL.map(|it| (it.name(), it.about().to_owned()));
    let points = CRASH_POINTS.map(|it| (it, String::new()));
    let kinds = Kind::ALL.map(|it| (it.name(), it.about().to_owned()));
    let of_clusters = sim_swarm::invariants();
    let groups: [(&str, &[(&str, String)]); 6] = [
        ("INVARIANT", &invariants),
        ("INVARIANT OF CLUSTERS", &of_clusters),
        ("BUG", &bugs),
        ("FAULT", &faults),
        ("CRASH POINT", &points),
        ("EVENT", &kinds),
    ];
    let mut out = Out::new();
    for (title, entries) in groups {
        if args.json {
            for (name, about) in entries {
                let what = title.to_lowercase().replace(' ', "-");
                out.json(&json!({ "what": what, "name": name, "about": about }))?;
            }
            continue;
        }
        let mut rows = vec![vec![title.to_owned(), "MEANS".to_owned()]];
        rows.extend(
            entries
                .iter()
                .map(|(name, about)| vec![(*name).to_owned(), about.clone()]),
        );
        out.line(&table(&rows))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

thread_local! {
    static RUNNING: Cell<Option<(u64, Option<Bug>)>> = const { Cell::new(None) };
}

/// An assertion of the core that fails is a finding too: say which seed it was.
fn say_seed_on_panic(seed: u64, bug: Option<Bug>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            if let Some((seed, bug)) = RUNNING.get() {
                let bug = bug
                    .map(|bug| format!(" --bug {}", bug.name()))
                    .unwrap_or_default();
                eprintln!("hbuf sim run --seed {seed}{bug}");
            }
        }));
    });
    RUNNING.set(Some((seed, bug)));
}
