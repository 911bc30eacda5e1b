//! `callgate stop` and `callgate resume`: takes entities out of service and back.

use crate::cli::control::{ControlArgs, WriteArgs, warn_if};
use crate::cli::output::Exit;
use crate::cli::render::{Details, entity};
use crate::cli::value_parser;
use crate::proto::v1;

/// Takes an agent, a person, a server or a tool out of service at once
///
/// From the next call on, every call that it makes, that is made for it, through it or of it is denied with STOPPED,
/// before any policy is asked, whether the directory defines it or not. It holds across restarts and reloads until
/// `callgate resume`. `callgate status` tells what is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct StopArgs {
    #[command(flatten)]
    pub ask: ControlArgs,
    /// What to stop: `agent:support`, `user:kim`, `server:github`, `tool:github/get_issue` or a whole name
    #[arg(value_parser = value_parser::entity)]
    uid: v1::EntityRef,
    /// Why; whoever is denied is told
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    write: WriteArgs,
}

/// Puts back what was stopped
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub ask: ControlArgs,
    /// What was stopped: `agent:support` or a whole name
    #[arg(value_parser = value_parser::entity)]
    uid: v1::EntityRef,
    #[command(flatten)]
    write: WriteArgs,
}

const EXAMPLES: &str = "\
Examples:
  callgate stop agent:support --as user:ines --reason INC-4711
  callgate stop tool:github/merge --as user:ines --reason review
  callgate status
  callgate resume agent:support --as user:ines

Exit codes: 0 done, 1 error, 2 denied.";

/// Stops an entity and prints the result.
///
/// # Errors
///
/// If the request fails.
pub fn stop(it: &StopArgs) -> anyhow::Result<Exit> {
    let asked = v1::StopEntityRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        uid: Some(it.uid.clone()),
        reason: it.reason.clone(),
    };
    let again = it.write.once.again();
    let ask = &it.ask;
    let answer = ask.change(again, asked, async |to, it| to.stop_entity(it).await)?;
    warn_if(answer.not_durable, answer.not_recorded, &it.write.once);
    let text = Details::new(format!("{} is stopped", entity(&it.uid))).revision(answer.revision);
    ask.answer(&text, "StopEntityResponse", &answer)
}

/// Lifts a stop and prints the result.
///
/// # Errors
///
/// If the request fails.
pub fn resume(it: &ResumeArgs) -> anyhow::Result<Exit> {
    let asked = v1::ResumeEntityRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        uid: Some(it.uid.clone()),
    };
    let again = it.write.once.again();
    let ask = &it.ask;
    let answer = ask.change(again, asked, async |to, it| to.resume_entity(it).await)?;
    let text = Details::new(format!("{} is no longer stopped", entity(&it.uid)));
    let text = text.revision(answer.revision);
    ask.answer(&text, "ResumeEntityResponse", &answer)
}
