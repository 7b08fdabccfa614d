//! One binary: server, command line, load generator, simulator.
//!
//! - `args`: what may be typed; one variant a command, one file a command in `commands/`;
//! - `config`: the settings of `hbuf serve` and where each value came from;
//! - `output`: the only way to stdout; `offline`: data on disk, read without a server.
//!
//! Exit codes of every command: 0 done; 1 the answer is no (damage, no match, a proof that fails);
//! 2 it could not be done (wrong usage, no such file, no server).

mod args;
mod bench;
mod commands;
mod config;
mod offline;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

/// Each message is freed on another thread than the one that made it, which costs glibc's arenas
/// their locks: about a tenth of an append.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args.command) {
        Ok(code) => code,
        // `hbuf read … | head` is no failure.
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hbuf: {error:#}");
            ExitCode::from(2)
        }
    }
}
