//! `hbuf bench`: a workload generator for one or several nodes over plain HTTP.
//!
//! It speaks only the public API. Rates and latencies are measured at the client, over a window
//! that begins after a warm-up; a run may be repeated, and the table then shows medians and the
//! spread.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use plan::{KeyDraw, Mix, Plan, Sizes};
use report::Report;

mod follow;
mod frames;
mod machine;
mod payload;
mod plan;
mod prepare;
mod problem;
mod report;
mod run;
mod stats;

mod transport;
mod wire;
mod worker;

/// Examples, shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  hbuf bench
  hbuf bench --mix append=9,read=1 --connections 64 --buffers 100
  hbuf bench --mix batch --batch 1000 --connections 4 --runs 5 --json
  hbuf bench --rate 1000 --tails 1";

/// Measure a running server: append, read and tail at a rate of your choice or as fast as it goes.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct BenchArgs {
    /// Address of a node; repeat it to spread the connections over several nodes
    #[arg(
        long,
        env = "HBUF_URL",
        default_value = "http://127.0.0.1:4283",
        hide_env_values = true
    )]
    pub(crate) url: Vec<String>,
    /// Operations and their weights: append, batch, ndjson, read, read-ndjson
    #[arg(long, default_value = "append", value_name = "OP=WEIGHT,...")]
    pub(crate) mix: Mix,
    /// Buffer to use; with several buffers, the beginning of their names
    #[arg(long, default_value = "bench")]
    pub(crate) buffer: String,
    /// Number of buffers; each append goes to any of them
    #[arg(long, default_value_t = 1, value_parser = count(1, 1_000_000))]
    pub(crate) buffers: usize,
    /// Bytes of a body: one size, or a range to draw from
    #[arg(long, default_value = "256", value_name = "BYTES|MIN-MAX")]
    pub(crate) size: Sizes,
    /// Messages of a batch request
    #[arg(long, default_value_t = 1_000, value_parser = count(1, 10_000))]
    pub(crate) batch: usize,
    /// Number of different keys (`x-hbuf-key`); 0 for messages without a key
    #[arg(long, default_value_t = 0, value_parser = count(0, 10_000_000))]
    pub(crate) keys: usize,
    /// How keys are drawn: uniform, zipf, or zipf=EXPONENT
    #[arg(long, default_value = "uniform", value_name = "DISTRIBUTION")]
    pub(crate) key_draw: KeyDraw,
    /// Tags per message
    #[arg(long, default_value_t = 0, value_parser = count(0, 64))]
    pub(crate) tags: usize,
    /// Number of different tags to draw from
    #[arg(long, default_value_t = 1_000, value_parser = count(1, 10_000_000))]
    pub(crate) tag_pool: usize,
    /// When an append is acknowledged: insync, local or none [default: the server's]
    #[arg(long, value_parser = ["insync", "local", "none"])]
    pub(crate) ack: Option<String>,
    /// Connections, each with one outstanding request
    #[arg(long, default_value_t = 16, value_parser = count(1, 60_000))]
    pub(crate) connections: usize,
    /// Requests per second over all connections [default: each sends when its reply is there]
    #[arg(long, value_name = "PER SECOND", value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Tailing readers (SSE), measured from the sending of a message to its arrival
    #[arg(long, default_value_t = 0, value_parser = count(0, 60_000))]
    pub(crate) tails: usize,
    /// Messages of one read; 0 to stream to the end of the buffer
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub(crate) read_limit: u64,
    /// Append so many messages to each buffer before measuring
    #[arg(long, default_value_t = 0, value_name = "MESSAGES")]
    pub(crate) fill: u64,
    /// Speak HTTP/2 (cleartext, with prior knowledge) instead of HTTP/1.1
    #[arg(long)]
    pub(crate) http2: bool,
    /// Header line for every request, such as "authorization: Bearer hb1_..."; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = header_line)]
    #[serde(skip)]
    pub(crate) header: Vec<String>,
    /// Threads of the client
    #[arg(long, default_value_t = 1, value_parser = count(1, 256))]
    pub(crate) threads: usize,
    /// Seconds before measuring begins
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    pub(crate) warm: f64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Runs; the table shows their medians
    #[arg(long, default_value_t = 1, value_parser = count(1, 1_000))]
    pub(crate) runs: usize,
    /// Seconds that a reply may take beyond the end of a run
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub(crate) timeout: f64,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measures, and prints a table or JSON.
pub(crate) fn command(args: BenchArgs) -> anyhow::Result<()> {
    let json = args.json;
    let report = measure(args)?;
    let text = match json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.table(),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    report.check()
}

fn measure(args: BenchArgs) -> anyhow::Result<Report> {
    let plan = Arc::new(Plan::new(args)?);
    let shape = Arc::new(payload::Shape::new(&plan));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(prepare::probe(&plan))?;
    if plan.args.fill > 0 {
        runtime.block_on(prepare::buffers(&plan, &shape, plan.args.fill))?;
    }
    if plan.args.mix.reads() && !plan.args.mix.appends() {
        runtime.block_on(prepare::readable(&plan, &shape))?;
    }
    let origin = Instant::now();
    let mut runs = Vec::new();
    for _ in 0..plan.args.runs {
        let last = runtime.block_on(prepare::buffers(&plan, &shape, 0))?;
        runs.push(run::run(&plan, &shape, origin, last)?);
    }
    Ok(Report::new(&plan, runs))
}

/// A whole number in a range, refused with the range.
fn count(min: usize, max: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let parsed = text
            .parse()
            .map_err(|_| format!("`{text}` is no whole number"))?;
        if (min..=max).contains(&parsed) {
            return Ok(parsed);
        }
        Err(format!("{parsed} is not in {min}..={max}"))
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err(format!("`{text}` is no number above 0")),
    }
}

fn header_line(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && !text.contains(['\r', '\n']) => Ok(format!(
            "{}: {}",
            name.trim().to_ascii_lowercase(),
            value.trim()
        )),
        _ => Err("write it as \"name: value\"".to_owned()),
    }
}

#[cfg(test)]
mod tests;
