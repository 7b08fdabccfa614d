//! The commands, one file each.

pub(crate) mod append;
pub(crate) mod cat;
pub(crate) mod catalog;
pub(crate) mod completions;
pub(crate) mod consumers;
pub(crate) mod filters;
pub(crate) mod grep;
pub(crate) mod ls;
pub(crate) mod next;
pub(crate) mod prove;
pub(crate) mod read;
pub(crate) mod render;
pub(crate) mod serve;
pub(crate) mod sim;
mod sim_hand;
mod sim_hunt;
mod sim_meta;
pub(crate) mod sim_one_node;
pub(crate) mod sim_scenario;
mod sim_shrink;
pub(crate) mod sim_swarm;
pub(crate) mod sim_sweep;
pub(crate) mod sim_trace;
pub(crate) mod sim_world;
pub(crate) mod tail;
pub(crate) mod verify;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Command;

/// Runs one command to its end.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::command(&args),
        Command::Append(args) => append::command(&args),
        Command::Read(args) => read::command(&args),
        Command::Tail(args) => tail::command(&args),
        Command::Buffers(command) => catalog::buffers(&command),
        Command::Topics(command) => catalog::topics(&command),
        Command::Filters(command) => filters::command(&command),
        Command::Consumers(command) => consumers::command(&command),
        Command::Next(args) => next::command(&args),
        Command::Ack(args) => next::ack(&args),
        Command::Nack(args) => next::nack(&args),
        Command::Cat(args) => cat::command(&args),
        Command::Grep(args) => grep::command(&args),
        Command::Ls(args) => ls::command(&args),
        Command::Verify(args) => verify::command(&args),
        Command::Prove(args) => prove::command(&args),
        Command::Bench(args) => crate::bench::command(args).map(|()| ExitCode::SUCCESS),
        Command::Sim(command) => sim::command(&command),
        Command::Completions(args) => completions::command(&args),
    }
}

/// Runs the calls of a client command. One thread is enough: a command does one thing at a time.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
