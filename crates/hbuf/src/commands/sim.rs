//! `hbuf sim`: the core in a made-up world. Every run is a function of its seed.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use hbuf_sim::history::Check;
use hbuf_sim::net::NetFault;
use hbuf_sim::nodes::nowhere;
use hbuf_sim::scenario::{BUILT_IN, built_in};
use hbuf_sim::swarm::Opt;
use hbuf_sim::{Bug, CRASH_POINTS, Fault, Invariant, Kind};
use serde_json::json;

use crate::commands::sim_hand::HandArgs;
use crate::commands::sim_meta::{MetaArgs, meta};
use crate::commands::sim_swarm::Asked;
use crate::commands::sim_trace::{self, CompareArgs, ExplainArgs, ShowArgs};
use crate::commands::sim_world::World;
use crate::commands::{sim_hunt, sim_one_node, sim_swarm};
use crate::output::{Out, table};

pub(crate) const EXAMPLES: &str =
    "Exit code 0: every invariant and expectation held, or the bug was noticed, or the traces are the
same; 1: not.

Examples:
  hbuf sim run --seed 7
  hbuf sim run --seed 7 --trace -
  hbuf sim sweep --seeds 10000
  hbuf sim sweep --seeds 300 --bug half-batch
  hbuf sim meta --seed 7
  hbuf sim run swarm --seed 7
  hbuf sim sweep --scenario swarm --seeds 1000
  hbuf sim run primary-dies --seed 7
  hbuf sim sweep --scenario primary-dies --seeds 100
  hbuf sim run my.scenario --seed 7
  hbuf sim run swarm --seed 7 --set nodes=5 --set crash=200ms
  hbuf sim run swarm --seed 7 --at 1500ms
  hbuf sim run swarm --seed 7 --at n:1841 --override 'crash primary of b1'
  hbuf sim shrink --seed 7
  hbuf sim run --seed 7 --trace t.jsonl
  hbuf sim show t.jsonl
  hbuf sim explain n:17 --trace t.jsonl
  hbuf sim list";

/// What to simulate.
#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Run one seed
    Run(RunArgs),
    /// Run many seeds, and count what happened in them: what never happened was not tested
    Sweep(SweepArgs),
    /// Make a run that fails smaller: fewer faults and changes, a smaller cluster
    Shrink(ShrinkArgs),
    /// Run seeds in two processes each and compare their traces byte for byte
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

/// One run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What runs: one-node, swarm, a scenario that `hbuf sim list` names, or a file with one
    #[arg(value_parser = World::parse, default_value = "one-node", value_name = "SCENARIO")]
    world: World,
    /// Change an option that the seed of a swarm draws, or the scenario sets
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The seed
    #[arg(long)]
    seed: u64,
    /// Do this wrong on purpose
    #[arg(long, value_parser = bugs())]
    bug: Option<String>,
    #[command(flatten)]
    hand: HandArgs,
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
    /// What runs: one-node, swarm, a scenario that `hbuf sim list` names, or a file with one
    #[arg(long, value_parser = World::parse, default_value = "one-node", value_name = "SCENARIO")]
    scenario: World,
    /// Change an option that the seeds of a swarm draw, or the scenario sets
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

impl RunArgs {
    fn asked(&self) -> Asked<'_> {
        Asked {
            world: &self.world,
            seed: self.seed,
            bug: bug(self.bug.as_ref()),
            set: &self.set,
            hand: &self.hand,
        }
    }
}

impl SweepArgs {
    fn seeds(&self) -> Range<u64> {
        self.from..self.from.saturating_add(self.seeds)
    }
}

/// A run that fails, to be made smaller.
#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// What runs: one-node, swarm, a scenario that `hbuf sim list` names, or a file with one
    #[arg(long, value_parser = World::parse, default_value = "swarm", value_name = "SCENARIO")]
    scenario: World,
    /// Change an option that the seed of a swarm draws, or the scenario sets
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The seed
    #[arg(long)]
    seed: u64,
    /// Do this wrong on purpose
    #[arg(long, value_parser = bugs())]
    bug: Option<String>,
    #[command(flatten)]
    hand: HandArgs,
    /// How often it is tried at most
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    tries: u64,
    /// Print what is left as JSON
    #[arg(long)]
    json: bool,
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
        SimCommand::Run(args) if !args.world.is_one_node() => {
            sim_swarm::run(&args.asked(), args.trace.as_deref(), args.json)
        }
        SimCommand::Sweep(args) if !args.scenario.is_one_node() => {
            let Some(bug) = bug(args.bug.as_ref()) else {
                return sim_swarm::sweep(&args.scenario, args.seeds(), &args.set, args.json);
            };
            ensure!(args.set.is_empty(), "a bug in a swarm brings its options");
            ensure!(
                matches!(args.scenario, World::Swarm),
                "bugs are looked for in one node or in a swarm: a scenario names its own"
            );
            sim_hunt::hunt(args.seeds(), bug, "swarm", args.json)
        }
        SimCommand::Run(RunArgs { set, .. }) | SimCommand::Sweep(SweepArgs { set, .. })
            if !set.is_empty() =>
        {
            bail!(
                "--set changes the options of several nodes: name the scenario `swarm`, or another one"
            )
        }
        SimCommand::Run(args) => {
            args.hand.refuse()?;
            let (bug, trace) = (bug(args.bug.as_ref()), args.trace.as_deref());
            sim_one_node::run(args.seed, bug, trace, args.json)
        }
        SimCommand::Sweep(args) => match bug(args.bug.as_ref()) {
            None => sim_one_node::sweep(args.seeds(), args.json),
            Some(bug) => sim_hunt::hunt(args.seeds(), bug, "one-node", args.json),
        },
        SimCommand::Shrink(args) if matches!(args.scenario, World::Swarm) => {
            let asked = Asked {
                world: &args.scenario,
                seed: args.seed,
                bug: bug(args.bug.as_ref()),
                set: &args.set,
                hand: &args.hand,
            };
            sim_swarm::shrink(&asked, args.tries, args.json)
        }
        SimCommand::Shrink(_) => {
            bail!("only a run of a swarm is made smaller: its plan is of single faults")
        }
        SimCommand::Meta(args) => meta(args),
        SimCommand::Show(args) => sim_trace::show(args),
        SimCommand::Explain(args) => sim_trace::explain_event(args),
        SimCommand::Compare(args) => sim_trace::compare_two(args),
        SimCommand::List(args) => list(args),
    }
}

/// The built-in scenarios, and what else can run.
fn scenarios() -> Vec<(&'static str, String)> {
    let worlds = [
        (
            "one-node",
            "One node, with every step of its disk, journal and recovery.",
        ),
        (
            "swarm",
            "Three to five nodes, a manager, a network, clients: all drawn from the seed.",
        ),
    ];
    let worlds = worlds.map(|(name, about)| (name, about.to_owned()));
    let built_in = BUILT_IN.iter().filter_map(|(name, _)| {
        let scenario = built_in(name)?.scenario;
        Some((*name, format!("{} {}", scenario.about, scenario.teaches)))
    });
    worlds.into_iter().chain(built_in).collect()
}

fn list(args: &ListArgs) -> Result<ExitCode> {
    let invariants = Invariant::ALL.map(|it| (it.name(), it.about().to_owned()));
    let bugs = Bug::ALL.map(|it| (it.name(), format!("{}; breaks {}", it.about(), it.breaks())));
    let faults = Fault::ALL.map(|it| (it.name(), it.about().to_owned()));
    let points = CRASH_POINTS.map(|it| (it, String::new()));
    let kinds = Kind::ALL.map(|it| (it.name(), it.about().to_owned()));
    let of_clusters = sim_swarm::invariants();
    let of_histories = Check::ALL.map(|it| (it.name(), it.about().to_owned()));
    let scenarios = scenarios();
    let options: Vec<_> = Opt::all()
        .map(|opt| (opt.name(), format!("{} ({})", opt.about(), opt.allowed())))
        .collect();
    let net = NetFault::ALL.map(|it| (it.name(), it.about().to_owned()));
    let nowhere: Vec<_> = nowhere()
        .into_iter()
        .map(|(name, why)| (name, why.to_owned()))
        .collect();
    let groups: [(&str, &[(&str, String)]); 11] = [
        ("SCENARIO", &scenarios),
        ("OPTION", &options),
        ("INVARIANT", &invariants),
        ("INVARIANT OF CLUSTERS", &of_clusters),
        ("INVARIANT OF HISTORIES", &of_histories),
        ("BUG", &bugs),
        ("FAULT", &faults),
        ("FAULT OF THE NETWORK", &net),
        ("CRASH POINT", &points),
        ("EVENT", &kinds),
        ("NEVER IN A SWARM", &nowhere),
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
