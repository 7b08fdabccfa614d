//! Measures hbuf beside the limits of the machine and beside peers, in the same run.
//!
//! - `rows`: one file per row of the table, each with its targets and its bounds;
//! - `servers`: how each server is started, asked for its settings and spoken to;
//! - `drive`: the closed loops and the paced ones, the same for every target;
//! - `limits`: the bare HTTP server and the bare disk;
//! - `report`: the table and the raw figures.
//!
//! The HTTP client, the walk over records and the histogram are the load generator's own files.

// Each is used in part: the load generator uses the rest.
#[allow(dead_code)]
#[path = "../../crates/hbuf/src/bench/frames.rs"]
mod frames;
#[allow(dead_code)]
#[path = "../../crates/hbuf/src/bench/machine.rs"]
mod machine;
#[allow(dead_code)]
#[path = "../../crates/hbuf/src/bench/stats.rs"]
mod stats;
#[allow(dead_code)]
#[path = "../../crates/hbuf/src/bench/wire.rs"]
mod wire;

mod build;
mod drive;
mod limits;
mod paced;
mod report;
mod rows;
mod servers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;

/// Measure hbuf beside the machine's limits, Redis and NATS.
#[derive(Parser)]
struct Args {
    /// Rows to measure; all of them when none is named
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(rows::NAMES))]
    rows: Vec<String>,
    /// Alternating runs: in each, every target of the row is measured once
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds measured in each run
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before measuring begins
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// Seconds without load before memory is read
    #[arg(long, default_value_t = 30.0)]
    idle: f64,
    /// Buffers of the rows that have many
    #[arg(long, default_value_t = 100_000)]
    many: usize,
    /// Messages that the filtered catch-up passes
    #[arg(long, default_value_t = 10_000_000, value_name = "COUNT")]
    filtered_messages: u64,
    /// Distinct tags of a stored filter
    #[arg(long, default_value_t = 5_000_000, value_name = "COUNT")]
    filter_tags: u64,
    /// Write the raw figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table here too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Put the table between the marks of this document
    #[arg(long, value_name = "FILE")]
    docs: Option<PathBuf>,
    /// Measure this binary instead of building the workspace's
    #[arg(long, value_name = "FILE")]
    hbuf: Option<PathBuf>,
    /// Where the servers keep their data, each in a directory of its own
    #[arg(long, default_value = "data", value_name = "DIRECTORY")]
    dir: PathBuf,
}

/// What every row needs to know.
pub(crate) struct Settings {
    pub(crate) runs: usize,
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
    pub(crate) idle: Duration,
    pub(crate) many: usize,
    pub(crate) filtered_messages: u64,
    pub(crate) filter_tags: u64,
    pub(crate) hbuf: PathBuf,
    pub(crate) dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let mut given = std::env::args().skip(1);
    if given.next().as_deref() == Some(limits::server::ARGUMENT) {
        return limits::server::run(given);
    }
    let args = Args::parse();
    ensure!(args.runs > 0, "--runs 0 measures nothing");
    ensure!(args.filter_tags > 0, "a filter has tags: --filter-tags 0");
    let seconds = |value| Duration::try_from_secs_f64(value).context("not a number of seconds");
    servers::raise_file_limit()?;
    std::fs::create_dir_all(&args.dir)?;
    servers::child::remove_leftovers(&args.dir)?;
    let settings = Settings {
        runs: args.runs,
        warm: seconds(args.warm)?,
        measured: seconds(args.seconds)?,
        idle: seconds(args.idle)?,
        many: args.many,
        filtered_messages: args.filtered_messages,
        filter_tags: args.filter_tags,
        hbuf: build::hbuf(args.hbuf)?,
        dir: args.dir.canonicalize()?,
    };
    build::peers()?;
    let chosen: Vec<&str> = match args.rows.is_empty() {
        true => rows::NAMES.to_vec(),
        false => args.rows.iter().map(String::as_str).collect(),
    };
    let mut report = report::Report::begin(&settings)?;
    let mut many = rows::Many::default();
    for name in chosen {
        eprintln!("== {name}");
        let row = rows::measure(name, &settings, &mut many);
        let row = row.with_context(|| format!("row {name}"))?;
        eprint!("{}", report::row_text(&row));
        report.rows.push(row);
        // After each row, so that an interrupted measurement is not lost.
        if let Some(path) = &args.json {
            std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
        }
    }
    let table = report.markdown();
    print!("{table}");
    if let Some(path) = &args.markdown {
        std::fs::write(path, &table)?;
    }
    if let Some(path) = &args.docs {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let text = report::between_marks(&text, &table);
        std::fs::write(path, text.with_context(|| path.display().to_string())?)?;
    }
    Ok(())
}
