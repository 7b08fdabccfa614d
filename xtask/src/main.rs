//! The tasks of the project, each a small file. `cargo xtask` lists them.

mod billion;
mod ci;
mod cloudevents;
mod faults;
mod fuzz;
mod model;
mod mutate_sync;
mod node;
mod openapi;
mod packages;
mod recovery_time;
mod shell;
mod simulate;
mod streams;
mod tidy;
mod tools;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const HELP: &str = "\
usage: cargo xtask <task>

  ci                        everything that must pass: format, lints, tests, docs, dependencies
  tidy                      the checks of the tree alone (seconds)
  fuzz [--seconds N]        each fuzz target for N seconds (60)
  streams                   the conformance suite of the Durable Streams protocol (needs Node)
  cloudevents               events through the server by the packages of npm and PyPI
  packages                  installs what those and the recipes of docs/RECIPES.md use
  openapi [--examples N]    the server against its description: N examples an operation (500),
                            [--seed S] first
  power-loss [--seeds N]    the power-loss tests with N seeds (200), [--seed S] first
  kill [--rounds N]         the SIGKILL test with N rounds (200)
  model                     every interleaving of the rules of replication, within small bounds
  mutate-sync               leave out each sync of the server in turn: the power-loss tests must
                            fail within [--seeds N] (60) of each; [--jobs N] (2) at once, only
                            [--point NAME,…], only those [--after NAME]
  recovery-time [--megabytes N]
                            how long a start takes after SIGKILL with N MiB (1900) of data that
                            no mark covers
  billion [--messages N]    N small messages (1,000,000,000) in one buffer, of which the newest
                            [--keep-gigabytes G] (20) are kept: append, read, restart, prove,
                            verify
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((task, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(());
    };
    match task.as_str() {
        "ci" => ci::run(&Options::parse(rest, &[])?),
        "tidy" => tidy::run(&Options::parse(rest, &[])?),
        "fuzz" => fuzz::run(Options::parse(rest, &["--seconds"])?.number("--seconds", 60)),
        "streams" => {
            Options::parse(rest, &[])?;
            streams::run().map(drop)
        }
        "cloudevents" => {
            Options::parse(rest, &[])?;
            cloudevents::run().map(drop)
        }
        "packages" => {
            Options::parse(rest, &[])?;
            let packages = packages::for_events()?;
            println!("node: {}", packages.node.display());
            println!("python: {}", packages.python.display());
            Ok(())
        }
        "openapi" => {
            let options = Options::parse(rest, &["--examples", "--seed"])?;
            openapi::run(
                openapi::EVERYTHING,
                options.number("--examples", 500),
                options.number("--seed", 1),
            )
            .map(drop)
        }
        "power-loss" => {
            let options = Options::parse(rest, &["--seeds", "--seed"])?;
            faults::power_loss(options.number("--seeds", 200), options.number("--seed", 1))
        }
        "kill" => faults::kill(Options::parse(rest, &["--rounds"])?.number("--rounds", 200)),
        "model" => {
            Options::parse(rest, &[])?;
            model::run()
        }
        "mutate-sync" => mutate_sync::run(&mutate_sync::Asked::parse(rest)?),
        "recovery-time" => {
            let options = Options::parse(rest, &["--megabytes"])?;
            recovery_time::run(options.number("--megabytes", 1_900))
        }
        "billion" => {
            let options = Options::parse(rest, &["--messages", "--keep-gigabytes"])?;
            let messages = options.number("--messages", 1_000_000_000);
            billion::run(messages, options.number("--keep-gigabytes", 20))
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("no task `{other}`\n{HELP}"),
    }
}

/// `--name N` pairs.
struct Options(Vec<(String, u64)>);

impl Options {
    fn parse(arguments: &[String], known: &[&str]) -> Result<Self> {
        let mut options = Vec::new();
        for pair in arguments.chunks(2) {
            let name = &pair[0];
            if !known.contains(&name.as_str()) {
                bail!("unknown option `{name}`\n{HELP}");
            }
            let value = pair
                .get(1)
                .with_context(|| format!("{name} needs a number"))?;
            let number = value
                .parse()
                .with_context(|| format!("{name} {value}: not a number"))?;
            options.push((name.clone(), number));
        }
        Ok(Self(options))
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map_or(default, |(_, number)| *number)
    }
}
