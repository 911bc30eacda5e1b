//! `callgate completions`: completion scripts for shells.

use clap_complete::Shell;

use crate::cli::output::{Exit, Output};

/// Prints a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  callgate completions bash    to be written to /etc/bash_completion.d/callgate
  callgate completions zsh     to be written to _callgate in a directory of $fpath
  callgate completions fish    to be written to ~/.config/fish/completions/callgate.fish";

/// Prints the script.
///
/// # Errors
///
/// If it cannot be printed.
pub fn run(args: &Args, mut command: clap::Command) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "callgate", &mut script);
    Output::verbatim(&String::from_utf8(script)?)?;
    Ok(Exit::Done)
}
