//! `hbuf filters …`: the stored filters of a buffer.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::block_on;
use crate::args::ServerArgs;
use crate::output::{Out, table};

pub(crate) const EXAMPLES: &str = "Examples:
  hbuf filters put orders vip tags.txt
  seq -f user-%.0f 1000 | hbuf filters put orders some
  hbuf read orders --filter vip
  hbuf filters list orders";

/// What can be done with filters.
#[derive(Debug, Subcommand)]
pub(crate) enum FiltersCommand {
    /// Store a filter, or replace it: a tag a line
    Put(PutArgs),
    /// List the filters of a buffer
    List(ListArgs),
    /// Show how many tags a filter has, and their checksum
    Describe(WhichArgs),
    /// Delete a filter
    Delete(WhichArgs),
}

/// Which filter, and its tags.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// File with a tag a line; without it, standard input
    file: Option<PathBuf>,
}

/// Which buffer.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Name of the buffer
    buffer: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON, one value a line
    #[arg(long)]
    json: bool,
}

/// Which filter.
#[derive(Debug, Args)]
pub(crate) struct WhichArgs {
    /// Name of the buffer
    buffer: String,
    /// Name of the filter
    filter: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn command(command: &FiltersCommand) -> Result<ExitCode> {
    match command {
        FiltersCommand::Put(args) => put(args)?,
        FiltersCommand::List(args) => list(args)?,
        FiltersCommand::Describe(args) => {
            let client = args.server.client()?;
            let found =
                block_on(async { Ok(client.describe_filter(&args.buffer, &args.filter).await?) })?;
            print(&found)?;
        }
        FiltersCommand::Delete(args) => {
            let client = args.server.client()?;
            block_on(async { Ok(client.delete_filter(&args.buffer, &args.filter).await?) })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn put(args: &PutArgs) -> Result<()> {
    let lines = match &args.file {
        Some(file) => fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => {
            let mut lines = Vec::new();
            io::stdin()
                .lock()
                .read_to_end(&mut lines)
                .context("cannot read standard input")?;
            lines
        }
    };
    let WhichArgs {
        buffer,
        filter,
        server,
    } = &args.which;
    let client = server.client()?;
    let stored = block_on(async { Ok(client.put_filter(buffer, filter, lines.into()).await?) })?;
    print(&stored)
}

fn print(value: &Value) -> Result<()> {
    let mut out = Out::new();
    out.json(value)?;
    out.flush()
}

fn list(args: &ListArgs) -> Result<()> {
    let client = args.server.client()?;
    let filters = block_on(async {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = client.list_filters_page(&args.buffer, &after).await?;
            all.extend(page["filters"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return Ok(all),
            }
        }
    })?;
    let mut out = Out::new();
    if args.json {
        for filter in &filters {
            out.json(filter)?;
        }
        return out.flush();
    }
    let row = |filter: &Value| {
        let text = |name: &str| match &filter[name] {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            value => value.to_string(),
        };
        let sha256 = match filter["damaged"].as_str() {
            Some(what) => format!("damaged: {what}"),
            None => text("sha256"),
        };
        vec![text("name"), text("tags"), text("bytes"), sha256]
    };
    let head = ["NAME", "TAGS", "BYTES", "SHA256"]
        .map(str::to_owned)
        .to_vec();
    let rows: Vec<_> = std::iter::once(head)
        .chain(filters.iter().map(row))
        .collect();
    out.bytes(table(&rows).as_bytes())?;
    out.flush()
}
