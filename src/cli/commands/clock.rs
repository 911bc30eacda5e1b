//! `callgate clock`: repairs the server's clock.

use crate::cli::control::{ControlArgs, WriteArgs};
use crate::cli::output::Exit;
use crate::cli::render::Details;
use crate::proto::v1;

/// Sets Callgate's time right
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub ask: ControlArgs,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  callgate status                                        what is wrong with the clock?
  callgate clock repair --as user:ines --reason wrong-time-server

Exit codes: 0 done, 1 error, 2 denied.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Repair(Repair),
}

/// Takes the server's clock as it is now for right, whatever it was before
///
/// Where time stands still because the clock was once far ahead, it goes on from now. What ended in between by its time
/// alone may be in force again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Repair {
    /// Why; it goes on record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    write: WriteArgs,
}

/// Sends the request and prints the response.
///
/// # Errors
///
/// If an argument is invalid, or the request fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Verb::Repair(it) = &args.verb;
    let asked = v1::RepairClockRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        reason: it.reason.clone(),
    };
    let again = it.write.once.again();
    let ask = &args.ask;
    let answer = ask.change(again, asked, async |to, it| to.repair_clock(it).await)?;
    let text = Details::new("the clock is taken for right").revision(answer.revision);
    ask.answer(&text, "RepairClockResponse", &answer)
}
