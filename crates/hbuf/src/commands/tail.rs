//! `hbuf tail`: messages as they arrive. By long polls of raw records, so that any body comes as it
//! is; or by server-sent events, as a browser would.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use hbuf_client::{Client, Collection, ReadOptions, RetryPolicy};
use hbuf_core::limits;

use super::block_on;
use super::read::FilterArgs;
use super::render::{FormatArgs, Printer};
use crate::args::LogArgs;
use crate::output::Out;

pub(crate) const EXAMPLES: &str = "Examples:
  hbuf tail orders
  hbuf tail orders --from start --format ndjson
  hbuf tail orders --from 100 --tag web7
  hbuf tail orders --last 0 --sse";

/// What to follow, and how to print it.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Begin with the last so many messages; of a topic of several buffers, with none
    #[arg(long, short = 'n', default_value_t = 10, value_name = "COUNT")]
    last: u64,
    /// Begin with this seq, or at the start
    #[arg(long, value_name = "SEQ|start", value_parser = parse_from, conflicts_with = "last")]
    from: Option<u64>,
    /// End after so many messages
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Follow by server-sent events, and print their data as it comes
    #[arg(long, conflicts_with_all = ["format", "json"])]
    sse: bool,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn command(args: &TailArgs) -> Result<ExitCode> {
    // A follower outlives a restart of the server.
    let retry = RetryPolicy {
        attempts_max: 30,
        ..RetryPolicy::default()
    };
    let server = &args.log.server;
    let client = Client::builder(&server.url)
        .tenant(server.tenant.clone())
        .retry(retry)
        .build()?;
    block_on(async {
        let after = start(args, &client).await?;
        let options = args.filter.apply(ReadOptions {
            after: Some(after),
            ..ReadOptions::default()
        });
        if args.sse {
            follow_events(args, &client, &options).await
        } else {
            poll(args, &client, options).await
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Behind what to begin: a seq; of a topic of several buffers, whose messages have no common
/// number, what is there already.
async fn start(args: &TailArgs, client: &Client) -> Result<String> {
    let (collection, name) = (args.log.collection(), &args.log.name);
    if let Some(from) = args.from {
        return Ok(from.saturating_sub(1).to_string());
    }
    if collection == Collection::Topics && client.topic(name).await?.buffers.len() > 1 {
        return Ok("end".to_owned());
    }
    let end = client.last_seq(collection, name).await?;
    Ok(end.saturating_sub(args.last).to_string())
}

async fn poll(args: &TailArgs, client: &Client, options: ReadOptions) -> Result<()> {
    let options = options.limit(limits::READ_LIMIT_DEFAULT);
    let mut options = ReadOptions {
        wait_seconds: Some(POLL_SECONDS),
        ..options
    };
    let mut printer = Printer::new(args.format.format());
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let mut records = client
            .read(args.log.collection(), &args.log.name, &options)
            .await?;
        let (mut after, mut count) = (None, 0);
        while let Some(record) = records.next().await? {
            after = Some(record.seq().0);
            count += 1;
            printer.print(&record.view())?;
            left -= 1;
            if left == 0 {
                return printer.finish();
            }
        }
        // With a filter, the server has looked further than the last message that it gave.
        if count < limits::READ_LIMIT_DEFAULT
            && let Some(commit) = records.commit()
        {
            after = after.max(Some(commit));
        }
        if let Some(cursor) = records.cursor() {
            options.after = Some(cursor.to_owned());
        } else if let Some(after) = after {
            options.after = Some(after.to_string());
        }
        printer.flush()?;
    }
    printer.finish()
}

async fn follow_events(args: &TailArgs, client: &Client, options: &ReadOptions) -> Result<()> {
    let mut out = Out::new();
    let mut tail = client.tail(args.log.collection(), &args.log.name, options)?;
    for _ in 0..args.limit.unwrap_or(u64::MAX) {
        let event = tail.next().await?;
        out.foreign(event.data.as_bytes())?;
        out.line("")?;
        out.flush()?;
    }
    Ok(())
}

/// Longest wait of one poll; the server allows more, proxies often do not.
const POLL_SECONDS: u64 = 25;

fn parse_from(text: &str) -> Result<u64, String> {
    match text {
        "start" => Ok(1),
        _ => text
            .parse()
            .map_err(|_| "write a seq, or `start`".to_owned()),
    }
}
