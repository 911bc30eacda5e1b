//! `callgate approval`: approvals of single calls.

use anyhow::bail;
use prost_types::Timestamp;

use crate::cli::call_args::{self, CallArgs};
use crate::cli::control::{ControlArgs, IdempotencyArgs, LimitArgs, ListPage, WriteArgs, warn_if};
use crate::cli::output::Exit;
use crate::cli::value_parser;
use crate::cli::{args, views};
use crate::proto::v1;

/// Asks for approvals of calls, gives them, and refuses them
///
/// An approval is for exactly one call, arguments included, and for a short time. A call relies on it by
/// its id (`callgate authorize --approval ID`).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub ask: ControlArgs,
    /// Show long texts whole, not only how they begin
    #[arg(long, global = true, help_heading = "The answer", display_order = 911)]
    full: bool,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  A call was denied with APPROVAL_REQUIRED. The same description of it asks for the approval:
    callgate approval request --agent support --user sam --server github \\
        --tool close_issue --arg issue_number=7

  callgate approval list --status pending
  callgate approval approve approval-1 --as user:sam
  callgate approval reject approval-1 --as user:sam --comment no
  callgate approval revoke approval-1 --as user:sam --comment later
  callgate approval watch --status pending --full

Exit codes: 0 done, 1 error, 2 denied.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Request(Box<RequestArgs>),
    Approve(Approve),
    Reject(Reject),
    Revoke(Revoke),
    List(List),
    Watch(Watch),
}

/// Asks for a person's approval of a call
///
/// The call is described as for `callgate authorize`. Its subject asks.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("cedar", call_args::cedar_is_elsewhere))]
struct RequestArgs {
    #[command(flatten)]
    call: CallArgs,
    /// The digest that came with the deny; without one the server makes a new one
    #[arg(
        long,
        value_name = "DIGEST",
        requires = "expires",
        help_heading = "The challenge"
    )]
    challenge: Option<String>,
    /// When that challenge ends
    #[arg(long, value_name = "TIME", requires = "challenge", value_parser = args::moment, help_heading = "The challenge")]
    expires: Option<Timestamp>,
    #[command(flatten, next_help_heading = "Who asks")]
    once: IdempotencyArgs,
}

/// Says yes to a call
///
/// Without `--digest` the approval is looked up, the call is shown, and the yes is to what was shown.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Approve {
    /// The approval
    #[arg(value_name = "ID")]
    id: String,
    /// What you have seen: the approval's digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// How often the call may be made
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Says no to a call
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Reject {
    /// The approval
    #[arg(value_name = "ID")]
    id: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Revokes an approval that was given: as far as the call was not made, it may not be made any more
///
/// Whoever gave it may, and whoever may approve the call.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Revoke {
    #[command(flatten)]
    no: Reject,
}

/// Which approvals.
#[derive(Debug, clap::Args)]
struct Filter {
    /// Only of calls by this agent: its id, or any name
    #[arg(long, value_name = "AGENT", value_parser = value_parser::agent)]
    agent: Option<v1::EntityRef>,
    /// Only of calls for this person: the id, or any name
    #[arg(long, value_name = "USER", value_parser = value_parser::user)]
    user: Option<v1::EntityRef>,
    /// Only of calls in this task
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Only those that stand so: pending, approved, rejected, expired, used, task-over or agent-gone
    #[arg(long, value_name = "STATUS", value_parser = args::approval_status)]
    status: Option<v1::ApprovalStatus>,
}

/// Lists approvals in the order in which they were asked for
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Only this one
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Shows approvals as they are, and whenever they change, until interrupted
///
/// With `--output json` each is one line.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Watch {
    #[command(flatten)]
    filter: Filter,
}

/// Sends the request and prints the response.
///
/// # Errors
///
/// If an argument is invalid, or the request fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let (ask, is_full) = (&args.ask, args.full);
    match &args.verb {
        Verb::Request(it) => {
            let asked = it.request()?;
            let answer = ask.change(it.once.again(), asked, async |to, it| {
                to.request_approval(it).await
            })?;
            let text = shown(answer.approval.as_ref(), answer.revision, is_full);
            ask.answer(&text, "RequestApprovalResponse", &answer)
        }
        Verb::Approve(it) => approve(ask, it, is_full),
        Verb::Reject(it) | Verb::Revoke(Revoke { no: it }) => reject(ask, it, is_full),
        Verb::List(it) => list(ask, it, is_full),
        Verb::Watch(it) => {
            let asked = v1::WatchApprovalsRequest {
                subject: it.filter.agent.clone(),
                root: it.filter.user.clone(),
                task_id: it.filter.task.clone().unwrap_or_default(),
                status: it.filter.status.unwrap_or_default().into(),
            };
            ask.follow(
                asked,
                "WatchApprovalsResponse",
                async |to, it| to.watch_approvals(it).await,
                |it| format!("{}\n", shown(it.approval.as_ref(), it.revision, is_full)),
            )
        }
    }
}

fn shown(approval: Option<&v1::Approval>, revision: u64, is_full: bool) -> String {
    let shown = approval.map(|it| views::approval(it, is_full));
    shown.map_or_else(String::new, |it| it.revision(revision).to_string())
}

/// Approves a call. Without a digest the approval is shown before, so that nobody approves an unseen call.
fn reject(ask: &ControlArgs, it: &Reject, is_full: bool) -> anyhow::Result<Exit> {
    let asked = v1::RejectCallRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        id: it.id.clone(),
        comment: it.comment.clone().unwrap_or_default(),
    };
    let again = it.write.once.again();
    let answer = ask.change(again, asked, async |to, it| to.reject_call(it).await)?;
    warn_if(answer.not_durable, answer.not_recorded, &it.write.once);
    let text = shown(answer.approval.as_ref(), answer.revision, is_full);
    ask.answer(&text, "RejectCallResponse", &answer)
}

fn approve(ask: &ControlArgs, it: &Approve, is_full: bool) -> anyhow::Result<Exit> {
    let digest = match &it.digest {
        Some(digest) => digest.clone(),
        None => {
            let found = by_id(ask, &it.id)?;
            // JSON output is one document, which contains the call.
            if ask.output == crate::cli::output::Output::Text {
                ask.output
                    .next(&format!("{}\n", views::approval(&found, is_full)), &())?;
            }
            found.digest
        }
    };
    let asked = v1::ApproveCallRequest {
        actor: it.write.actor(),
        idempotency_key: it.write.key(),
        id: it.id.clone(),
        digest,
        uses: it.uses,
        comment: it.comment.clone().unwrap_or_default(),
    };
    let again = it.write.once.again();
    let answer = ask.change(again, asked, async |to, it| to.approve_call(it).await)?;
    let text = shown(answer.approval.as_ref(), answer.revision, is_full);
    ask.answer(&text, "ApproveCallResponse", &answer)
}

fn by_id(ask: &ControlArgs, id: &str) -> anyhow::Result<v1::Approval> {
    let asked = v1::ListApprovalsRequest {
        id: id.to_owned(),
        ..v1::ListApprovalsRequest::default()
    };
    let answer = ask.question(asked, async |to, it| to.list_approvals(it).await)?;
    match answer.approvals.into_iter().find(|it| it.id == id) {
        Some(found) => Ok(found),
        None => bail!("there is no approval `{id}`"),
    }
}

fn list(ask: &ControlArgs, it: &List, is_full: bool) -> anyhow::Result<Exit> {
    let all = ask.pages(it.limit.limit, |page_size, page_token| {
        let asked = v1::ListApprovalsRequest {
            subject: it.filter.agent.clone(),
            root: it.filter.user.clone(),
            task_id: it.filter.task.clone().unwrap_or_default(),
            status: it.filter.status.unwrap_or_default().into(),
            id: it.id.clone().unwrap_or_default(),
            page_size,
            page_token,
        };
        let answer = ask.question(asked, async |to, it| to.list_approvals(it).await)?;
        Ok(ListPage {
            items: answer.approvals,
            next: answer.next_page_token,
            revision: answer.revision,
        })
    })?;
    let shown: Vec<_> = all
        .items
        .iter()
        .map(|it| views::approval(it, is_full))
        .collect();
    let text = views::list(&shown, "approval", !all.next.is_empty(), all.revision);
    let answer = v1::ListApprovalsResponse {
        approvals: all.items,
        next_page_token: all.next,
        revision: all.revision,
    };
    ask.answer(&text, "ListApprovalsResponse", &answer)
}

impl RequestArgs {
    fn request(&self) -> anyhow::Result<v1::RequestApprovalRequest> {
        let challenge = self.challenge.clone().map(|digest| v1::ApprovalChallenge {
            digest,
            valid_for: None,
            expires_at: self.expires,
        });
        Ok(v1::RequestApprovalRequest {
            call_context: Some(self.call.context()?),
            idempotency_key: self.once.key(),
            challenge,
        })
    }
}
