//! `callgate man`: manual pages.

use std::path::PathBuf;

use crate::cli::file;
use crate::cli::output::{Exit, Output};
use crate::cli::render::count;

/// Writes a manual page for each command, `callgate.1` and `callgate-COMMAND.1`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  callgate man /usr/local/share/man/man1    then: man callgate-check";

/// Writes the pages and prints their number.
///
/// # Errors
///
/// If a page cannot be written.
pub fn run(args: &Args, command: clap::Command) -> anyhow::Result<Exit> {
    file::check_name(&args.dir)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut written = 0;
    write(args, &command, "callgate", &mut written)?;
    let said = format!("{}: {}\n", args.dir.display(), count(written, "page"));
    Output::Text.answer(&said, &"")?;
    Ok(Exit::Done)
}

fn write(
    args: &Args,
    command: &clap::Command,
    name: &str,
    written: &mut usize,
) -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(command.clone().display_name(name)).title(name);
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8(text)?;
    file::replace(&args.dir.join(format!("{name}.1")), &text)?;
    *written += 1;
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        write(
            args,
            below,
            &format!("{name}-{}", below.get_name()),
            written,
        )?;
    }
    Ok(())
}
