//! `hbuf completions SHELL`.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory as _;

use crate::args::Args;
use crate::output::Out;

pub(crate) const EXAMPLES: &str = "Examples:
  hbuf completions bash > ~/.local/share/bash-completion/completions/hbuf
  hbuf completions zsh > ~/.zfunc/_hbuf
  hbuf completions fish > ~/.config/fish/completions/hbuf.fish";

/// Which shell.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn command(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "hbuf", &mut text);
    let mut out = Out::new();
    out.bytes(&text)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
