//! `hbuf sim show`, `explain` and `compare`: what is in the trace of a run.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use hbuf_sim::tracefile::{Show, TraceFile, compare, explain, selected, story};

use crate::output::Out;

/// A trace as a story.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The trace, as `hbuf sim run --trace` writes it; - for standard input
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// Only events with this ref (`msg:b1/17`, `req:c1/4`, `pkt:n1>n2/17`, `epoch:b1/4`, `buf:b1`,
    /// `node:n2`), and those through which one of them led to another; then, where it was seen last
    #[arg(long, value_name = "REF")]
    follow: Option<String>,
    /// Print the events as the trace has them, a line of JSON each
    #[arg(long)]
    json: bool,
}

/// One event of a trace.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The first digits of its id, or n: and its number
    #[arg(value_name = "EVENT")]
    event: String,
    /// The trace; - for standard input
    #[arg(long, value_name = "TRACE")]
    trace: PathBuf,
}

/// Two traces.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A trace
    #[arg(value_name = "A")]
    one: PathBuf,
    /// Another one; - for standard input
    #[arg(value_name = "B")]
    other: PathBuf,
}

pub(crate) fn show(args: &ShowArgs) -> Result<ExitCode> {
    let trace = read(&args.trace)?;
    let show = Show {
        follow: args.follow.clone(),
    };
    let places = selected(&trace, &show);
    let mut out = Out::new();
    if args.json {
        for place in &places {
            out.line(&trace.events[*place].to_line())?;
        }
    } else {
        out.foreign(story(&trace, &show).as_bytes())?;
    }
    out.flush()?;
    // Nothing to follow is most likely a mistyped ref.
    let found = !places.is_empty() || args.follow.is_none();
    Ok(code(found))
}

pub(crate) fn explain_event(args: &ExplainArgs) -> Result<ExitCode> {
    let trace = read(&args.trace)?;
    let place = trace.find(&args.event)?;
    let mut out = Out::new();
    out.foreign(explain(&trace, place).as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn compare_two(args: &CompareArgs) -> Result<ExitCode> {
    let (one, other) = (read(&args.one)?, read(&args.other)?);
    let difference = compare(&one, &other);
    let mut out = Out::new();
    match &difference {
        None => out.line(&format!("the same {} events", one.events.len()))?,
        Some(difference) => out.foreign(format!("{difference}\n").as_bytes())?,
    }
    out.flush()?;
    Ok(code(difference.is_none()))
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn read(path: &Path) -> Result<TraceFile> {
    let name = path.display().to_string();
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text.with_context(|| name.clone())?;
    TraceFile::parse(&text).context(name)
}
