//! `hbuf ls PATH`: what a data directory holds, without a server.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use hbuf_core::ids::Seq;
use serde_json::{Value, json};

use crate::offline::{BufferPlace, find};
use crate::output::{Out, table};

pub(crate) const EXAMPLES: &str = "Examples:
  hbuf ls hbuf-data
  hbuf ls hbuf-data/names/-/demo --segments
  hbuf ls hbuf-data --json";

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// A data directory, a buffer's directory or a segment file
    #[arg(default_value = "./hbuf-data")]
    path: PathBuf,
    /// A line a segment, too
    #[arg(long)]
    segments: bool,
    /// Print a line of JSON a buffer
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(args: &LsArgs) -> Result<ExitCode> {
    let mut out = Out::new();
    let header = ["BUFFER", "SEGMENTS", "BYTES", "FIRST", "LAST", "UUID"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for place in &find(&args.path)? {
        let last = place.last_seq()?;
        if args.json {
            out.json(&to_json(place, last))?;
            continue;
        }
        let first = place.segments.first().and_then(|segment| segment.first);
        rows.push(vec![
            place.title(),
            place.segments.len().to_string(),
            bytes(place).to_string(),
            first.map_or_else(|| "-".to_owned(), |seq| seq.to_string()),
            last.to_string(),
            place
                .uuid
                .map_or_else(|| "-".to_owned(), |uuid| uuid.to_string()),
        ]);
        if args.segments {
            for segment in &place.segments {
                let name = segment
                    .path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy();
                rows.push(vec![
                    format!("  {name}"),
                    String::new(),
                    segment.bytes.to_string(),
                ]);
            }
        }
    }
    if !args.json {
        out.bytes(table(&rows).as_bytes())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn bytes(place: &BufferPlace) -> u64 {
    place.segments.iter().map(|segment| segment.bytes).sum()
}

fn to_json(place: &BufferPlace, last: Seq) -> Value {
    let segments: Vec<Value> = place
        .segments
        .iter()
        .map(|segment| {
            json!({
                "file": segment.path.display().to_string(),
                "first_seq": segment.first.map(|seq| seq.0),
                "bytes": segment.bytes,
            })
        })
        .collect();
    let (tenant, name) = place.name.clone().unzip();
    json!({
        "tenant": tenant,
        "name": name,
        "uuid": place.uuid.map(|uuid| uuid.to_string()),
        "directory": place.dir.display().to_string(),
        "bytes": bytes(place),
        "first_seq": place.segments.first().and_then(|segment| segment.first).map(|seq| seq.0),
        "last_seq": last.0,
        "segments": segments,
    })
}
