//! `callgate changes`: lists and follows changes.

use crate::cli::control::ControlArgs;
use crate::cli::output::Exit;
use crate::cli::render::{entity, moment, printable};
use crate::cli::views;
use crate::proto::v1;

/// Shows every change after a revision, and then each as it happens, until interrupted
///
/// One line a change. With `--output json` each is one line as well.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub ask: ControlArgs,
    /// Begin after this revision
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    after: u64,
}

const EXAMPLES: &str = "\
Examples:
  callgate changes
  callgate changes --after 1200 --output json

Exit codes: 0 interrupted, 1 error.";

/// Follows the changes and prints them.
///
/// # Errors
///
/// If an argument is invalid, or the request fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let asked = v1::WatchChangesRequest {
        after_revision: args.after,
    };
    args.ask.follow(
        asked,
        "WatchChangesResponse",
        async |to, it| to.watch_changes(it).await,
        line,
    )
}

fn line(it: &v1::WatchChangesResponse) -> String {
    let at = it.at.as_ref().map(moment).unwrap_or_default();
    let actor = match &it.actor {
        Some(actor) => format!(" by {}", entity(actor)),
        None => String::new(),
    };
    let text = format!(
        "{:>6}  {at}  {:17} {}{actor} through {}",
        it.revision,
        it.verb,
        views::change(it),
        it.caller
    );
    format!("{}\n", printable(&text))
}
