//! `hbuf buffers …` and `hbuf topics …`: the same calls on two collections, and a buffer's state.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use hbuf_client::{Client, Collection, State};
use serde_json::{Map, Value};

use super::block_on;
use crate::args::ServerArgs;
use crate::output::{Out, table};

/// What can be done with buffers.
#[derive(Debug, Subcommand)]
pub(crate) enum BuffersCommand {
    /// List the buffers
    List(ListArgs),
    /// Create a buffer that does not exist yet
    #[command(after_help = BUFFER_SETTINGS)]
    Create(ConfigureArgs),
    /// Show everything about a buffer
    Describe(DescribeArgs),
    /// Change settings of a buffer, or create it with them
    #[command(after_help = BUFFER_SETTINGS)]
    Configure(ConfigureArgs),
    /// Delete a buffer and all its messages
    Delete(DeleteBufferArgs),
    /// Show the state of a buffer, or set it: open, closed (no more messages), paused (files stand
    /// still)
    State(StateArgs),
}

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// List the topics
    List(ListArgs),
    /// Create a topic that does not exist yet
    #[command(after_help = TOPIC_SETTINGS)]
    Create(ConfigureArgs),
    /// Show everything about a topic
    Describe(DescribeArgs),
    /// Change settings of a topic, or create it with them
    #[command(after_help = TOPIC_SETTINGS)]
    Configure(ConfigureArgs),
    /// Add buffers to a topic; messages of some keys go to them from then on
    Add(MembersArgs),
    /// Take buffers out of a topic; they and their messages stay
    Remove(MembersArgs),
    /// Delete a topic
    Delete(DeleteTopicArgs),
}

const BUFFER_SETTINGS: &str = "Settings are those of PUT /buffers/NAME (docs/API.md).

Examples:
  hbuf buffers create orders
  hbuf buffers configure orders --set retention_seconds=604800
  hbuf buffers create archive --set mirror='{\"of\": \"orders\", \"from\": \"start\"}'";

const TOPIC_SETTINGS: &str = "Settings are those of PUT /topics/NAME (docs/API.md).

Examples:
  hbuf topics create shop --set buffers='[\"orders\", \"returns\"]'";

/// Which server, and how to print.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON, one value a line
    #[arg(long)]
    json: bool,
}

/// Which one.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

/// Which one, and its settings.
#[derive(Debug, Args)]
pub(crate) struct ConfigureArgs {
    #[command(flatten)]
    which: DescribeArgs,
    /// A setting; VALUE is JSON, or else a text
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

/// Which topic, and which of its buffers.
#[derive(Debug, Args)]
pub(crate) struct MembersArgs {
    /// The topic's name
    name: String,
    /// Names of buffers
    #[arg(required = true)]
    buffers: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

/// Which buffer to delete.
#[derive(Debug, Args)]
pub(crate) struct DeleteBufferArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Delete it although topics still name it
    #[arg(long)]
    force: bool,
}

/// Which topic to delete.
#[derive(Debug, Args)]
pub(crate) struct DeleteTopicArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    server: ServerArgs,
    /// What becomes of buffers that are in no other topic
    #[arg(long, value_enum)]
    buffers: Option<Fate>,
}

/// What becomes of the buffers of a deleted topic.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Fate {
    /// They stay, reachable by their own names
    Keep,
    /// They are deleted with all their messages
    Delete,
}

/// Which buffer, and perhaps its new state.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    #[command(flatten)]
    which: DescribeArgs,
    /// The new state; without it the present one is shown
    #[arg(value_enum)]
    state: Option<StateName>,
}

/// A buffer's state, as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StateName {
    /// Takes messages
    Open,
    /// Takes no more messages; reading and erasure still work
    Closed,
    /// Its files stand still and may be copied
    Paused,
}

pub(crate) fn buffers(command: &BuffersCommand) -> Result<ExitCode> {
    let collection = Collection::Buffers;
    block_on(async {
        match command {
            BuffersCommand::List(args) => list(collection, args).await?,
            BuffersCommand::Create(args) => create(collection, args).await?,
            BuffersCommand::Describe(args) => describe(collection, args).await?,
            BuffersCommand::Configure(args) => configure(collection, args).await?,
            BuffersCommand::Delete(args) => {
                let query = if args.force { "force" } else { "" };
                args.server
                    .client()?
                    .delete(collection, &args.name, query)
                    .await?;
            }
            BuffersCommand::State(args) => state(args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

pub(crate) fn topics(command: &TopicsCommand) -> Result<ExitCode> {
    let collection = Collection::Topics;
    block_on(async {
        match command {
            TopicsCommand::List(args) => list(collection, args).await?,
            TopicsCommand::Create(args) => create(collection, args).await?,
            TopicsCommand::Describe(args) => describe(collection, args).await?,
            TopicsCommand::Configure(args) => configure(collection, args).await?,
            TopicsCommand::Add(args) => members(args, Membership::Joins).await?,
            TopicsCommand::Remove(args) => members(args, Membership::Leaves).await?,
            TopicsCommand::Delete(args) => {
                let query = match args.buffers {
                    None => "",
                    Some(Fate::Keep) => "buffers=keep",
                    Some(Fate::Delete) => "buffers=delete",
                };
                args.server
                    .client()?
                    .delete(collection, &args.name, query)
                    .await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(collection: Collection, args: &ListArgs) -> Result<()> {
    let client = args.server.client()?;
    let mut out = Out::new();
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let page = client.list_page(collection, &after).await?;
        let entries = entries(&page, collection);
        for entry in entries {
            if args.json {
                out.json(entry)?
            } else {
                rows.push(row(entry))
            }
        }
        let last = entries
            .last()
            .and_then(name_of)
            .unwrap_or_default()
            .to_owned();
        // Names come in order, so a page that does not move on is the end, whatever the server
        // says.
        if entries.is_empty() || page.get("next").is_none_or(Value::is_null) || last <= after {
            break;
        }
        after = last;
    }
    if !args.json {
        out.bytes(table(&rows).as_bytes())?;
    }
    out.flush()
}

async fn create(collection: Collection, args: &ConfigureArgs) -> Result<()> {
    let client = args.which.server.client()?;
    match client.describe(collection, &args.which.name).await {
        Ok(_) => bail!(
            "`{}` exists already; change it with `configure`",
            args.which.name
        ),
        Err(error) if error.problem().is_some_and(|problem| problem.status == 404) => {}
        Err(error) => return Err(error.into()),
    }
    put(&client, collection, args).await
}

async fn configure(collection: Collection, args: &ConfigureArgs) -> Result<()> {
    let client = args.which.server.client()?;
    put(&client, collection, args).await
}

async fn put(client: &Client, collection: Collection, args: &ConfigureArgs) -> Result<()> {
    let settings = settings(&args.settings)?;
    let mut described = client
        .configure(collection, &args.which.name, &settings)
        .await?;
    if described.is_null() {
        described = client.describe(collection, &args.which.name).await?;
    }
    print(&described, args.which.json)
}

/// What becomes of the buffers that are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Joins,
    Leaves,
}

/// Changes a topic's list of buffers by what it is now, again when somebody else changed it
/// meanwhile.
async fn members(args: &MembersArgs, membership: Membership) -> Result<()> {
    let client = args.server.client()?;
    for _ in 0..ATTEMPTS_MAX {
        let topic = client.topic(&args.name).await?;
        let mut buffers = topic.buffers;
        for name in &args.buffers {
            let has = buffers.contains(name);
            match membership {
                Membership::Joins if !has => buffers.push(name.clone()),
                Membership::Leaves if has => buffers.retain(|other| other != name),
                Membership::Joins | Membership::Leaves => {
                    let is = if has { "is" } else { "is not" };
                    bail!("`{name}` {is} in the topic `{}`", args.name);
                }
            }
        }
        match client
            .set_topic_buffers(&args.name, &buffers, topic.version)
            .await
        {
            Ok(described) => return print(&described, args.json),
            Err(error)
                if error
                    .problem()
                    .is_some_and(|it| it.code() == "version-differs") => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!(
        "others change the topic `{}` all the time; try again",
        args.name
    )
}

/// How often a change is tried while others change the same topic.
const ATTEMPTS_MAX: usize = 8;

async fn describe(collection: Collection, args: &DescribeArgs) -> Result<()> {
    let described = args
        .server
        .client()?
        .describe(collection, &args.name)
        .await?;
    print(&described, args.json)
}

async fn state(args: &StateArgs) -> Result<()> {
    let client = args.which.server.client()?;
    let name = &args.which.name;
    if let Some(state) = args.state {
        let state = match state {
            StateName::Open => State::Open,
            StateName::Closed => State::Closed,
            StateName::Paused => State::Paused,
        };
        client.set_state(name, state).await?;
    }
    let described = client.describe(Collection::Buffers, name).await?;
    let state = described.get("state").cloned().unwrap_or(Value::Null);
    let mut out = Out::new();
    if args.which.json {
        out.json(&serde_json::json!({ "name": name, "state": state }))?;
    } else {
        out.line(state.as_str().unwrap_or("unknown"))?;
    }
    out.flush()
}

pub(super) fn print(described: &Value, json: bool) -> Result<()> {
    let mut out = Out::new();
    if json {
        out.json(described)?;
    } else {
        let facts = described.as_object().into_iter().flatten();
        let rows: Vec<_> = facts
            .map(|(name, value)| vec![name.clone(), cell(value)])
            .collect();
        out.bytes(table(&rows).as_bytes())?;
    }
    out.flush()
}

fn entries(page: &Value, collection: Collection) -> &[Value] {
    page.as_array()
        .or_else(|| page.get(collection.as_str())?.as_array())
        .map_or(&[], Vec::as_slice)
}

fn name_of(entry: &Value) -> Option<&str> {
    entry.as_str().or_else(|| entry.get("name")?.as_str())
}

/// The name first, then whatever else the list tells and is set.
fn row(entry: &Value) -> Vec<String> {
    let mut cells = vec![name_of(entry).unwrap_or("?").to_owned()];
    let facts = entry.as_object().into_iter().flatten();
    for (name, value) in facts.filter(|(name, _)| *name != "name") {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        cells.push(if empty {
            String::new()
        } else {
            format!("{name}={}", cell(value))
        });
    }
    cells
}

pub(super) fn cell(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn settings(texts: &[String]) -> Result<Value> {
    let mut settings = Map::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            bail!("`--set {text}` has no `=`; write --set NAME=VALUE");
        };
        ensure!(!settings.contains_key(name), "`{name}` is set twice");
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        settings.insert(name.to_owned(), value);
    }
    Ok(Value::Object(settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_setting_is_json_or_else_a_text() {
        let texts = ["a=1", "b=true", "c=x=y", "d=[\"e\"]"].map(str::to_owned);
        let expected = json!({ "a": 1, "b": true, "c": "x=y", "d": ["e"] });
        assert_eq!(settings(&texts).unwrap(), expected);
        assert!(settings(&["a".to_owned()]).is_err());
        assert!(settings(&["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }
}
