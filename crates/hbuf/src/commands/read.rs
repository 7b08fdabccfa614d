//! `hbuf read`: messages of a running server.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use hbuf_client::ReadOptions;
use hbuf_core::limits;

use super::block_on;
use super::render::{FormatArgs, Printer};
use crate::args::LogArgs;

pub(crate) const EXAMPLES: &str = "Examples:
  hbuf read orders
  hbuf read orders --after 100 --limit 10 --format ndjson
  hbuf read orders --from-time 2026-11-20T11:00:00Z --tag web7
  hbuf read orders --filter vip --latest
  hbuf read orders --format raw > orders.http";

/// What to read, and how to print it.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only messages behind this seq (of a topic: behind this cursor)
    #[arg(long, value_name = "SEQ")]
    after: Option<String>,
    /// At most so many messages
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Only messages of this time or later, in RFC 3339
    #[arg(long, value_name = "TIME")]
    from_time: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Which messages.
#[derive(Clone, Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only messages with this tag; of several, with any of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only messages with any tag of this stored filter
    #[arg(long)]
    filter: Option<String>,
    /// Only messages with this key
    #[arg(long)]
    key: Option<String>,
    /// Only the newest message of each key, as of the start
    #[arg(long)]
    latest: bool,
}

impl FilterArgs {
    pub(crate) fn apply(&self, options: ReadOptions) -> ReadOptions {
        ReadOptions {
            tags: self.tags.clone(),
            filter: self.filter.clone(),
            key: self.key.clone(),
            latest: self.latest,
            ..options
        }
    }
}

pub(crate) fn command(args: &ReadArgs) -> Result<ExitCode> {
    let client = args.log.server.client()?;
    // The server takes small limits; a larger one is a stream that we leave early.
    let limit = args
        .limit
        .filter(|limit| (1..=limits::READ_LIMIT_MAX).contains(limit));
    let options = args.filter.apply(ReadOptions {
        after: args.after.clone(),
        limit,
        from_time: args.from_time.clone(),
        ..ReadOptions::default()
    });
    let mut printer = Printer::new(args.format.format());
    block_on(async {
        let mut left = args.limit.unwrap_or(u64::MAX);
        if left > 0 {
            let mut records = client
                .read(args.log.collection(), &args.log.name, &options)
                .await?;
            while left > 0 {
                let Some(record) = records.next().await? else {
                    break;
                };
                printer.print(&record.view())?;
                left -= 1;
            }
        }
        printer.finish()
    })?;
    Ok(ExitCode::SUCCESS)
}
