//! `callgate session`: ends sessions.

use crate::cli::control::{ControlArgs, WriteArgs, warn_if};
use crate::cli::output::Exit;
use crate::cli::render::Details;
use crate::proto::v1;

/// Ends sessions
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
  callgate session end session-1 --as user:sam

Exit codes: 0 done, 1 error, 2 denied.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    End(End),
}

/// Ends a session: nothing is allowed in it any more
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct End {
    /// The session, by its name or by the digest that stands for a long one
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    write: WriteArgs,
}

/// Sends the request and prints the response.
///
/// # Errors
///
/// If an argument is invalid, or the request fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Verb::End(it) = &args.verb;
    let asked = v1::EndSessionRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        session_id: it.id.clone(),
    };
    let again = it.write.once.again();
    let answer = args
        .ask
        .change(again, asked, async |to, it| to.end_session(it).await)?;
    warn_if(answer.not_durable, answer.not_recorded, &it.write.once);
    let text = Details::new(format!("session {} is over", it.id)).revision(answer.revision);
    args.ask.answer(&text, "EndSessionResponse", &answer)
}
