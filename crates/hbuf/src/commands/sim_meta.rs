//! `hbuf sim meta`: the same seed gives the same run, in two processes, and whether or not somebody
//! reads lines.

use std::io;
use std::ops::Range;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hbuf_sim::nodes::{ClusterSetup, run_cluster};

use crate::commands::sim_world::World;
use crate::output::Out;

/// Runs, twice.
#[derive(Debug, Args)]
pub(crate) struct MetaArgs {
    /// What runs
    #[arg(long, value_parser = World::parse, default_value = "one-node", value_name = "SCENARIO")]
    scenario: World,
    /// One seed
    #[arg(long, required_unless_present = "seeds")]
    seed: Option<u64>,
    /// So many seeds
    #[arg(long, conflicts_with = "seed", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first one of them
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    from: u64,
}

impl MetaArgs {
    fn seeds(&self) -> Range<u64> {
        match (self.seed, self.seeds) {
            (Some(seed), _) => seed..seed.saturating_add(1),
            (None, count) => self.from..self.from.saturating_add(count.unwrap_or(1)),
        }
    }
}

pub(crate) fn meta(args: &MetaArgs) -> Result<ExitCode> {
    let mut out = Out::new();
    let (mut all, mut differ) = (0, false);
    let seeds = args.seeds();
    for seed in seeds.clone() {
        match compared(&args.scenario, seed)? {
            Ok(events) => all += events,
            Err(what) => {
                differ = true;
                out.line(&format!("seed {seed}: {what}"))?;
            }
        }
    }
    if !differ {
        let count = seeds.end - seeds.start;
        let which = match count {
            1 => format!("seed {}", seeds.start),
            count => format!("{count} seeds"),
        };
        out.line(&format!(
            "{which}: two processes, the same {all} events, byte for byte; with lines and without \
             the same hash"
        ))?;
    }
    out.flush()?;
    Ok(match differ {
        false => ExitCode::SUCCESS,
        true => ExitCode::FAILURE,
    })
}

/// How many events a seed has each time, or what differs. Two processes, since one would share
/// whatever a global could hold.
fn compared(world: &World, seed: u64) -> Result<Result<usize, String>> {
    let processes = [traced(world, seed)?, traced(world, seed)?];
    let [silent, told] = hashes(world, seed)?;
    let mut traces = Vec::new();
    for process in processes {
        let output = process.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.stdout.is_empty(), "{}", said.trim());
        traces.push(output.stdout);
    }
    let lines = |at: usize| traces[at].split(|byte| *byte == b'\n');
    if traces[0] != traces[1] {
        let same = lines(0).zip(lines(1)).take_while(|(one, two)| one == two);
        let line = same.count() + 1;
        return Ok(Err(format!("the traces differ from line {line} on")));
    }
    if silent != told {
        return Ok(Err(
            "whether somebody reads lines changes the run".to_owned()
        ));
    }
    // The first line is the header, and behind the last one is nothing.
    Ok(Ok(lines(0).count() - 2))
}

fn traced(world: &World, seed: u64) -> Result<Child> {
    let binary = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(binary);
    let seed = seed.to_string();
    command.args(["sim", "run", world.name(), "--trace", "-", "--seed", &seed]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// The hash of a run of which nobody reads lines, and of one of which somebody does.
fn hashes(world: &World, seed: u64) -> Result<[u64; 2]> {
    let hash = |lines: bool| -> Result<u64> {
        Ok(match world {
            World::OneNode => {
                let mut nowhere = io::sink();
                let out: Option<&mut dyn io::Write> = match lines {
                    true => Some(&mut nowhere),
                    false => None,
                };
                hbuf_sim::run(seed, None, out)?.hash
            }
            several => {
                let setup = ClusterSetup {
                    lines,
                    ..several.setup(seed, several.options(seed))
                };
                run_cluster(&setup).hash
            }
        })
    };
    Ok([hash(false)?, hash(true)?])
}
