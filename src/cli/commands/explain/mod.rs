//! `callgate explain`: why a call is decided as it is, and what would allow it.
//!
//! [`recorded`] explains a decision of the decision log, [`text`] is the explanation as text.

mod recorded;
mod text;

use std::path::PathBuf;

use anyhow::bail;
use uuid::Uuid;

use crate::cli::call_args::{self, CallArgs};
use crate::cli::commands::authorize::{self, DecisionPointArgs};
use crate::cli::commands::explain::text::ExplainText;
use crate::cli::output::{Exit, Output, note_observed};
use crate::cli::render::printable;
use crate::proto::{json, v1};

/// The id of a decision.
fn decision_id(text: &str) -> Result<Uuid, String> {
    let said =
        || format!("`{text}` is no id of a decision, such as 01a1fd8a-65ac-7365-ba26-e6ba1e14d1c3");
    Uuid::parse_str(text).map_err(|_| said())
}

/// Explains the decision on one call, and what would allow it
///
/// Shows the parties of the call link by link, the facts that policies read, every policy that could apply with the
/// condition that decided and the values it saw, and for a deny the smallest changes that would allow the call. Each of
/// them was tried: the changed call is allowed, and denied with any part left out. The call is decided as a dry run. It
/// comes from flags or a file, as for `callgate authorize`; a server explains only to callers with the right `explain`.
///
/// Given the id of a decision in place of a call, it explains that one, as it was: from its capsule in the decision log,
/// with the policies of the directory; or by a running server, from its log and with the policies in service.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_group("who", |group| group.arg("decision")))]
#[command(mut_arg("server", |server| server.required_unless_present("decision")))]
#[command(mut_arg("cedar", call_args::cedar_is_elsewhere))]
pub struct Args {
    /// The id of a recorded decision, in place of a call
    #[arg(value_name = "DECISION", value_parser = decision_id, conflicts_with_all = call_args::all())]
    decision: Option<Uuid>,
    /// The decision log, in place of the one that the configuration says
    #[arg(
        long,
        value_name = "DIRECTORY",
        requires = "decision",
        conflicts_with = "endpoint",
        help_heading = "A recorded decision"
    )]
    log: Option<PathBuf>,
    /// The key of the capsules, in place of the one that the configuration says
    #[arg(
        long,
        value_name = "FILE",
        requires = "decision",
        conflicts_with = "endpoint",
        help_heading = "A recorded decision"
    )]
    key: Option<PathBuf>,
    #[command(flatten)]
    call: CallArgs,
    #[command(flatten)]
    place: DecisionPointArgs,
    /// Only what the agent may hear: no policies, groups, entities or other people
    #[arg(long, help_heading = "The answer")]
    for_agent: bool,
    /// Also the forbids that do not apply
    #[arg(long, help_heading = "The answer")]
    all: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t, help_heading = "The answer")]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  Why may the support agent, working for Sam, not merge, and what would allow it?
    callgate explain --agent support --user sam --server github --tool merge_pull_request \\
        --arg owner=acme --arg repo=shop --arg pull_number=7

  The same as a running server would decide it, with its delegations, tasks and sessions:
    callgate explain --endpoint http://127.0.0.1:50051 --agent support --user sam \\
        --server github --tool get_issue --arg owner=acme --arg repo=shop --arg issue_number=7

  Why was it denied last night?
    callgate explain 0190a9c2-7d9b-7c51-8a64-3c5d8c1c9f11 --log /var/lib/callgate/audit

  The same, by the server that decided it:
    callgate explain 0190a9c2-7d9b-7c51-8a64-3c5d8c1c9f11 --endpoint https://callgate.example.org:50051

  What to tell the agent:
    callgate explain --file call.json --for-agent

Exit codes: 0 allowed, 1 error, 2 denied, 3 the directory has faults.";

/// Has the call decided and prints the explanation.
///
/// # Errors
///
/// If the call is invalid, the server does not answer, it does not explain, or the decision log does not have what it
/// takes.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(decision) = args.decision {
        return recorded::run(args, decision);
    }
    let request = v1::AuthorizeRequest {
        call_context: Some(Box::new(args.call.context()?)),
        explain: true,
        dry_run: true,
        ..v1::AuthorizeRequest::default()
    };
    let response = match authorize::ask(&args.call, &args.place, request, args.output)? {
        Ok(answered) => {
            note_observed(&answered.observed);
            answered.response
        }
        Err(exit) => return Ok(exit),
    };
    let Some(explanation) = &response.explanation else {
        bail!("the server does not explain to this caller: it needs the right `explain`");
    };
    if explanation.for_agent.is_empty() {
        bail!("the state changed while the call was explained: try again");
    }
    match args.for_agent {
        true => {
            let text = format!("{}\n", printable(&explanation.for_agent));
            let json = serde_json::json!({ "forAgent": explanation.for_agent });
            args.output.answer(&text, &json)?;
        }
        false => {
            let text = ExplainText {
                response: &response,
                explanation,
                is_all: args.all,
            };
            let json = json::write("AuthorizeResponse", &response)?;
            args.output.answer(&text, &json)?;
        }
    }
    Ok(authorize::exit(&response))
}
