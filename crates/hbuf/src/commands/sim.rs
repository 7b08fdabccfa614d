//! `hbuf sim`: the core in a made-up world. Every run is a function of its seed.

use std::ops::Range;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use hbuf_sim::{Bug, CRASH_POINTS, Fault, Invariant, Kind};
use serde_json::json;

use crate::commands::sim_trace::{self, CompareArgs, ExplainArgs, ShowArgs};
use crate::commands::{sim_one_node, sim_swarm};
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

/// Why a bug cannot be asked for.
const NO_BUG: &str = "the bugs are those of one node: leave the scenario out, or the bug";

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

impl SweepArgs {
    fn seeds(&self) -> Range<u64> {
        self.from..self.from.saturating_add(self.seeds)
    }
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
            sim_swarm::sweep(args.seeds(), &args.set, args.json)
        }
        SimCommand::Run(RunArgs { set, .. }) | SimCommand::Sweep(SweepArgs { set, .. })
            if !set.is_empty() =>
        {
            bail!("--set changes the options of a swarm: name the scenario `swarm`")
        }
        SimCommand::Run(args) => {
            let (bug, trace) = (bug(args.bug.as_ref()), args.trace.as_deref());
            sim_one_node::run(args.seed, bug, trace, args.json)
        }
        SimCommand::Sweep(args) => match bug(args.bug.as_ref()) {
            None => sim_one_node::sweep(args.seeds(), args.json),
            Some(bug) => sim_one_node::hunt(args.seeds(), bug, args.json),
        },
        SimCommand::Meta(args) => meta(args),
        SimCommand::Show(args) => sim_trace::show(args),
        SimCommand::Explain(args) => sim_trace::explain_event(args),
        SimCommand::Compare(args) => sim_trace::compare_two(args),
        SimCommand::List(args) => list(args),
    }
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
