//! `hbuf consumers …`: the consumers of a buffer or a topic. Their messages: `next`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use hbuf_client::Start;
use serde_json::Value;

use super::block_on;
use super::catalog::{cell, print, settings};
use crate::args::LogArgs;
use crate::output::{Out, table};

pub(crate) const EXAMPLES: &str = "Examples:
  hbuf consumers create orders billing --set lease_ms=60000 --set deliveries_max=5
  hbuf consumers create shop audit --topic --set ack=on-delivery --set start=last
  hbuf consumers list orders
  hbuf consumers seek orders billing 2026-11-20T11:00:00Z";

const SETTINGS: &str = "Settings are those of PUT /buffers/NAME/consumers/CONSUMER (docs/API.md).

Examples:
  hbuf consumers create orders billing --set tags='[\"paid\"]' --set order_by_key=true
  hbuf consumers configure orders billing --set dead_letter=orders-failed";

/// What can be done with consumers.
#[derive(Debug, Subcommand)]
pub(crate) enum ConsumersCommand {
    /// List the consumers of a buffer or a topic
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Create a consumer that does not exist yet
    #[command(after_help = SETTINGS)]
    Create(ConfigureArgs),
    /// Show the settings of a consumer and where it stands
    Describe(DescribeArgs),
    /// Change settings of a consumer, or create it with them
    #[command(after_help = SETTINGS)]
    Configure(ConfigureArgs),
    /// Delete a consumer and its place
    Delete(ConsumerArgs),
    /// Let a consumer begin anew elsewhere; leases end
    Seek(SeekArgs),
}

/// Which consumer.
#[derive(Debug, Args)]
pub(crate) struct ConsumerArgs {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Name of the consumer
    pub(crate) consumer: String,
}

/// Whose consumers.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Print JSON, one value a line
    #[arg(long)]
    json: bool,
}

/// Which consumer, and how to print it.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    which: ConsumerArgs,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

/// Which consumer, and its settings.
#[derive(Debug, Args)]
pub(crate) struct ConfigureArgs {
    #[command(flatten)]
    described: DescribeArgs,
    /// A setting; VALUE is JSON, or else a text
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

/// Which consumer, and where it begins anew.
#[derive(Debug, Args)]
pub(crate) struct SeekArgs {
    #[command(flatten)]
    described: DescribeArgs,
    /// `first`, `last` (what comes from now on), a seq, or a time in RFC 3339
    #[arg(value_name = "first|last|SEQ|TIME", value_parser = parse_start)]
    start: Start,
}

pub(crate) fn command(command: &ConsumersCommand) -> Result<ExitCode> {
    block_on(async {
        match command {
            ConsumersCommand::List(args) => list(args).await?,
            ConsumersCommand::Create(args) => create(args).await?,
            ConsumersCommand::Describe(args) => {
                let ConsumerArgs { log, consumer } = &args.which;
                let client = log.server.client()?;
                let described = client.describe_consumer(log.collection(), &log.name, consumer);
                print(&described.await?, args.json)?;
            }
            ConsumersCommand::Configure(args) => put(args).await?,
            ConsumersCommand::Delete(ConsumerArgs { log, consumer }) => {
                let client = log.server.client()?;
                let deleted = client.delete_consumer(log.collection(), &log.name, consumer);
                deleted.await?;
            }
            ConsumersCommand::Seek(args) => {
                let ConsumerArgs { log, consumer } = &args.described.which;
                let client = log.server.client()?;
                let sought =
                    client.seek_consumer(log.collection(), &log.name, consumer, &args.start);
                print(&sought.await?, args.described.json)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(args: &ListArgs) -> Result<()> {
    let client = args.log.server.client()?;
    let mut out = Out::new();
    let mut rows = vec![COLUMNS.map(str::to_uppercase).to_vec()];
    let mut after = String::new();
    loop {
        let page = client
            .list_consumers_page(args.log.collection(), &args.log.name, &after)
            .await?;
        for consumer in page["consumers"].as_array().into_iter().flatten() {
            if args.json {
                out.json(consumer)?;
            } else {
                rows.push(row(consumer));
            }
        }
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    if !args.json {
        out.bytes(table(&rows).as_bytes())?;
    }
    out.flush()
}

async fn create(args: &ConfigureArgs) -> Result<()> {
    let ConsumerArgs { log, consumer } = &args.described.which;
    let client = log.server.client()?;
    let found = client.describe_consumer(log.collection(), &log.name, consumer);
    match found.await {
        Ok(_) => bail!("`{consumer}` exists already; change it with `configure`"),
        Err(error)
            if error
                .problem()
                .is_some_and(|it| it.code() == "consumer-not-found") => {}
        Err(error) => return Err(error.into()),
    }
    put(args).await
}

async fn put(args: &ConfigureArgs) -> Result<()> {
    let ConsumerArgs { log, consumer } = &args.described.which;
    let settings = settings(&args.settings)?;
    let client = log.server.client()?;
    let put = client.put_consumer(log.collection(), &log.name, consumer, &settings);
    print(&put.await?, args.described.json)
}

/// What the list shows of a consumer.
const COLUMNS: [&str; 6] = [
    "name",
    "ack",
    "lease_ms",
    "in_flight_max",
    "deliveries_max",
    "dead_letter",
];

fn row(consumer: &Value) -> Vec<String> {
    let facts = COLUMNS.map(|name| match (name, &consumer["dead_letter_deleted"]) {
        // Not as if nothing took its dead letters: they are kept until something does.
        ("dead_letter", Value::String(_)) => "(deleted)".to_owned(),
        _ => fact(&consumer[name]),
    });
    facts.to_vec()
}

fn fact(value: &Value) -> String {
    if value.is_null() {
        return "-".to_owned();
    }
    cell(value)
}

fn parse_start(text: &str) -> Result<Start, String> {
    Ok(match (text, text.parse()) {
        ("first", _) => Start::First,
        ("last", _) => Start::Last,
        (_, Ok(seq)) => Start::Seq(seq),
        _ if text.contains('T') => Start::Time(text.to_owned()),
        _ => return Err("write `first`, `last`, a seq, or a time as in RFC 3339".to_owned()),
    })
}
