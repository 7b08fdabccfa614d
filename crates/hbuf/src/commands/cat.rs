//! `hbuf cat PATH`: messages from disk, without a server.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use hbuf_core::ids::Seq;
use hbuf_core::record::Kind;

use super::render::{FormatArgs, Printer};
use crate::offline::{Found, find, walk};

pub(crate) const EXAMPLES: &str = "Examples:
  hbuf cat hbuf-data/names/-/demo
  hbuf cat hbuf-data/names/-/demo --after 100 --limit 10 --format ndjson
  hbuf cat 00000000000000000001.hbuf --format raw --all-kinds";

/// What to print, and how.
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// A data directory, a buffer's directory (hbuf-data/names/-/NAME) or a segment file
    path: PathBuf,
    /// Only messages behind this seq
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    after: u64,
    /// At most so many messages
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Records that hbuf wrote for itself, too
    #[arg(long)]
    all_kinds: bool,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn command(args: &CatArgs) -> Result<ExitCode> {
    let mut printer = Printer::new(args.format.format());
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut damaged = false;
    for place in &find(&args.path)? {
        walk(place, Seq(args.after), place.durable(), &mut |found| {
            if left == 0 {
                return Ok(ControlFlow::Break(()));
            }
            match found {
                Found::Head { .. } => {}
                Found::Damage(damage) => {
                    damaged = true;
                    eprintln!("hbuf: {damage}");
                }
                Found::Record { record, .. } => {
                    let shown = args.all_kinds || record.facts.kind == Kind::Data;
                    if shown && record.line.seq > Seq(args.after) {
                        printer.print(record)?;
                        left -= 1;
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    printer.finish()?;
    Ok(if damaged {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
