//! What may be typed: one variant a command. The arguments of a command stand in its own file.

use clap::{Args as ClapArgs, Parser, Subcommand};

use hbuf_client::{Client, Collection};

use crate::commands::{
    append, cat, catalog, completions, consumers, filters, grep, ls, next, prove, read, serve, sim,
    tail, verify,
};

/// A replicated log you can curl, grep and prove.
#[derive(Debug, Parser)]
#[command(
    name = "hbuf",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 the answer is no (damage, no match, a proof that fails); \
                  2 it could not be done."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, the server's first, then those of a client, then those that need no server.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::ServeArgs),
    /// Append messages: a file, many files, standard input, whole or line by line
    #[command(after_help = append::EXAMPLES)]
    Append(append::AppendArgs),
    /// Read messages
    #[command(after_help = read::EXAMPLES)]
    Read(read::ReadArgs),
    /// Follow messages as they arrive
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::TailArgs),
    /// Create, configure, describe, list and delete buffers; set their state
    #[command(subcommand)]
    Buffers(catalog::BuffersCommand),
    /// Create, configure, describe, list and delete topics
    #[command(subcommand)]
    Topics(catalog::TopicsCommand),
    /// Store, describe, list and delete filters: sets of tags with a name
    #[command(subcommand, after_help = filters::EXAMPLES)]
    Filters(filters::FiltersCommand),
    /// Create, configure, describe, list, delete and move consumers: workers that share a log
    #[command(subcommand, after_help = consumers::EXAMPLES)]
    Consumers(consumers::ConsumersCommand),
    /// Take the next messages of a consumer
    #[command(after_help = next::EXAMPLES)]
    Next(next::NextArgs),
    /// Tell a consumer that messages are done
    #[command(after_help = next::ACK_EXAMPLES)]
    Ack(next::AckArgs),
    /// Give messages back to a consumer, which hands them out again
    #[command(after_help = next::NACK_EXAMPLES)]
    Nack(next::NackArgs),
    /// Print messages from files, without a server
    #[command(after_help = cat::EXAMPLES)]
    Cat(cat::CatArgs),
    /// Find lines in messages from files, without a server
    #[command(after_help = grep::EXAMPLES)]
    Grep(grep::GrepArgs),
    /// List what a data directory holds, without a server
    #[command(after_help = ls::EXAMPLES)]
    Ls(ls::LsArgs),
    /// Check that nothing was lost or altered: files, or a running server
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Prove that a message is in the log, or check a proof
    #[command(after_help = prove::EXAMPLES)]
    Prove(prove::ProveArgs),
    /// Measure a running server
    #[command(after_help = crate::bench::EXAMPLES)]
    Bench(crate::bench::BenchArgs),
    /// Run the core in a made-up world with faults, and check that nothing is lost
    #[command(subcommand, after_help = sim::EXAMPLES)]
    Sim(sim::SimCommand),
    /// Print the completions of a shell
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::CompletionsArgs),
}

/// Which server, and for whom.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ServerArgs {
    /// The server
    #[arg(long, env = "HBUF_URL", default_value = DEFAULT_URL, hide_env_values = true, value_name = "URL")]
    pub(crate) url: String,
    /// The tenant that the names belong to, instead of the default one
    #[arg(long, env = "HBUF_TENANT", hide_env_values = true)]
    pub(crate) tenant: Option<String>,
}

/// Which log on that server.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct LogArgs {
    /// Name of the buffer, or of the topic with --topic
    pub(crate) name: String,
    /// The name is a topic's
    #[arg(long)]
    pub(crate) topic: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

const DEFAULT_URL: &str = "http://127.0.0.1:4283";

impl ServerArgs {
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::builder(&self.url)
            .tenant(self.tenant.clone())
            .build()?)
    }
}

impl LogArgs {
    pub(crate) const fn collection(&self) -> Collection {
        if self.topic {
            Collection::Topics
        } else {
            Collection::Buffers
        }
    }
}
