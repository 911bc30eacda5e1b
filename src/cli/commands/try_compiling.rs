//! `callgate try-compiling`: compiles a bundle in a separate process on behalf of the server. Internal.

use anyhow::Context;

use crate::cli::output::Exit;
use crate::reload::trial;

/// Compiles what comes on stdin, under limits
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// MiB of address space
    #[arg(long)]
    pub memory_mib: u64,
    /// Seconds of each processor
    #[arg(long)]
    pub seconds: u64,
}

const EXAMPLES: &str = "\
Examples:
  callgate try-compiling --memory-mib 4096 --seconds 60    what the server starts, with the files on stdin";

/// Compiles the bundle on stdin. The exit status is the only output.
///
/// # Errors
///
/// If compiling does not end normally.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let input = std::io::stdin().lock();
    trial::run_trial(input, args.memory_mib, args.seconds).context("compiling did not end well")?;
    Ok(Exit::Done)
}
