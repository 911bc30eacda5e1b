//! `callgate delegation`: creates, narrows, revokes and lists delegations.

use std::time::{Duration, SystemTime};

use anyhow::bail;
use prost_types::Timestamp;

use crate::cli::args::{self, ExpiryArgs, ScopeArgs};
use crate::cli::control::{ControlArgs, LimitArgs, ListPage, WriteArgs, warn_if};
use crate::cli::output::Exit;
use crate::cli::render;
use crate::cli::value_parser;
use crate::cli::views;
use crate::proto::v1;

/// Delegates authority to agents, narrows and revokes it
///
/// A delegation lets an agent act for whoever delegates: with some tools, doing so much at most, until some
/// time. A call relies on it by its id (`callgate authorize --delegation ID`).
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
  Sam delegates reading issues for two hours:
    callgate delegation grant --as user:sam --to support --tool github/get_issue \\
        --access read --for 2h

  Everything in a group, in one place, for one task, to be redelegated once:
    callgate delegation grant --as user:sam --to support --group messaging --access write \\
        --target /srv/app --task task-1 --max-redelegations 1 --until 2030-01-31T15:00:00Z

  The agent redelegates what was delegated to it:
    callgate delegation grant --as agent:support --to helper --parent delegation-1 \\
        --tool github/get_issue --access read --for 10m

  callgate delegation narrow delegation-1 --as user:sam --for 10m
  callgate delegation revoke delegation-1 --as user:sam
  callgate delegation list --to support --status active

Exit codes: 0 done, 1 error, 2 denied.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Grant(Box<Grant>),
    Narrow(Narrow),
    Revoke(Revoke),
    List(List),
}

/// Delegates authority to an agent
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("end").args(["lasting", "until"]).required(true))]
struct Grant {
    /// The agent that may act: its id, or any name
    #[arg(long, value_name = "AGENT", value_parser = value_parser::agent)]
    to: v1::EntityRef,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    end: ExpiryArgs,
    /// Not before this time in UTC, e.g. `2030-01-31T15:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = args::moment, help_heading = "How long")]
    not_before: Option<Timestamp>,
    /// The task it is for; it ends with the task
    #[arg(long, value_name = "ID", help_heading = "How long")]
    task: Option<String>,
    /// The delegation that is redelegated; without one, who asks delegates their own authority
    #[arg(long, value_name = "ID", help_heading = "What is covered")]
    parent: Option<String>,
    /// How many times it may be redelegated, one after the other
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        help_heading = "What is covered"
    )]
    max_redelegations: u32,
    #[command(flatten)]
    write: WriteArgs,
}

/// Narrows a delegation
///
/// What is given replaces what was, and must lie within it. A scope is replaced whole.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Narrow {
    /// The delegation
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    end: ExpiryArgs,
    /// How many times it may still be redelegated
    #[arg(long, value_name = "N", help_heading = "What is covered")]
    max_redelegations: Option<u32>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Revokes a delegation, and with it whatever was redelegated from it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Revoke {
    /// The delegation
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    write: WriteArgs,
}

/// Lists delegations in the order in which they were made
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct List {
    /// Only what this person or agent delegated: a person's id, or any name
    #[arg(long, value_name = "NAME", value_parser = value_parser::user)]
    from: Option<v1::EntityRef>,
    /// Only what was delegated to this agent: its id, or any name
    #[arg(long, value_name = "AGENT", value_parser = value_parser::agent)]
    to: Option<v1::EntityRef>,
    /// Only what is for this task
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Only what stands so: active, not-yet, expired, revoked, task-over or agent-gone
    #[arg(long, value_name = "STATUS", value_parser = args::delegation_status)]
    status: Option<v1::DelegationStatus>,
    /// Only this one
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Sends the request and prints the response.
///
/// # Errors
///
/// If an argument is invalid, or the request fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let ask = &args.ask;
    match &args.verb {
        Verb::Grant(it) => {
            let asked = it.request()?;
            let again = it.write.once.again();
            let answer = ask.change(again, asked, async |to, it| to.grant_delegation(it).await)?;
            let text = shown(answer.delegation.as_ref(), answer.revision);
            ask.answer(&text, "GrantDelegationResponse", &answer)
        }
        Verb::Narrow(it) => {
            let asked = it.request()?;
            let again = it.write.once.again();
            let sent = asked.clone();
            let answer = ask.change(again, sent, async |to, it| to.narrow_delegation(it).await)?;
            warn_if(answer.not_durable, answer.not_recorded, &it.write.once);
            if let Some(unmet) = unmet(&asked, answer.delegation.as_ref(), SystemTime::now()) {
                bail!("the server has answered, and {unmet}");
            }
            let text = shown(answer.delegation.as_ref(), answer.revision);
            ask.answer(&text, "NarrowDelegationResponse", &answer)
        }
        Verb::Revoke(it) => {
            let again = it.write.once.again();
            let asked = v1::RevokeDelegationRequest {
                actor: it.write.actor(),
                idempotency_key: it.write.key(),
                id: it.id.clone(),
            };
            let answer = ask.change(again, asked, async |to, it| to.revoke_delegation(it).await)?;
            warn_if(answer.not_durable, answer.not_recorded, &it.write.once);
            let text = shown(answer.delegation.as_ref(), answer.revision);
            ask.answer(&text, "RevokeDelegationResponse", &answer)
        }
        Verb::List(it) => list(ask, it),
    }
}

/// How far the clocks of this machine and of the server may be apart before an end is taken for another than was asked for.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// What of a narrowing the answer to it does not carry: an older server leaves out what it does not know.
fn unmet(
    asked: &v1::NarrowDelegationRequest,
    narrowed: Option<&v1::StoredDelegation>,
    now: SystemTime,
) -> Option<String> {
    let Some(narrowed) = narrowed else {
        return Some("it does not say what the delegation is now".to_owned());
    };
    let lasts = asked.lasts.map(Duration::try_from).transpose();
    let until = asked.expires_at.map(SystemTime::try_from).transpose();
    let latest = match (lasts, until) {
        (Ok(lasts), Ok(until)) => lasts.and_then(|it| now.checked_add(it)).or(until),
        // No server takes such a time.
        _ => None,
    };
    let ends_at = narrowed.expires_at.map(SystemTime::try_from);
    if let Some(latest) = latest.and_then(|it| it.checked_add(CLOCKS_APART))
        && !matches!(ends_at, Some(Ok(ends_at)) if ends_at <= latest)
    {
        let ends = narrowed.expires_at.as_ref().map(render::moment);
        let ends = ends.unwrap_or_else(|| "never".to_owned());
        return Some(format!(
            "the delegation ends later than was asked for, {ends}: the server is older and does not know `--for`, or its clock is \
             another. Say `--until TIME`, or revoke the delegation"
        ));
    }
    let left = narrowed.max_redelegations;
    asked.max_redelegations.filter(|most| left > *most).map(|_| {
        format!("the delegation may still be redelegated {left} times: the server is older and does not know `--max-redelegations`")
    })
}

fn shown(delegation: Option<&v1::StoredDelegation>, revision: u64) -> String {
    let shown = delegation.map(views::delegation);
    shown.map_or_else(String::new, |it| it.revision(revision).to_string())
}

fn list(ask: &ControlArgs, it: &List) -> anyhow::Result<Exit> {
    let all = ask.pages(it.limit.limit, |page_size, page_token| {
        let asked = v1::ListDelegationsRequest {
            from: it.from.clone(),
            to: it.to.clone(),
            task_id: it.task.clone().unwrap_or_default(),
            status: it.status.unwrap_or_default().into(),
            id: it.id.clone().unwrap_or_default(),
            page_size,
            page_token,
        };
        let answer = ask.question(asked, async |to, it| to.list_delegations(it).await)?;
        Ok(ListPage {
            items: answer.delegations,
            next: answer.next_page_token,
            revision: answer.revision,
        })
    })?;
    let shown: Vec<_> = all.items.iter().map(views::delegation).collect();
    let text = views::list(&shown, "delegation", !all.next.is_empty(), all.revision);
    let answer = v1::ListDelegationsResponse {
        delegations: all.items,
        next_page_token: all.next,
        revision: all.revision,
    };
    ask.answer(&text, "ListDelegationsResponse", &answer)
}

impl Grant {
    fn request(&self) -> anyhow::Result<v1::GrantDelegationRequest> {
        let (expires_at, lasts) = self.end.required()?;
        Ok(v1::GrantDelegationRequest {
            actor: self.write.actor(),
            idempotency_key: self.write.key(),
            to: Some(self.to.clone()),
            scope: Some(self.scope.required()?),
            task_id: self.task.clone().unwrap_or_default(),
            parent_id: self.parent.clone().unwrap_or_default(),
            max_redelegations: self.max_redelegations,
            not_before: self.not_before,
            expires_at,
            lasts,
        })
    }
}

impl Narrow {
    fn request(&self) -> anyhow::Result<v1::NarrowDelegationRequest> {
        let (expires_at, lasts) = self.end.end();
        let is_ended = expires_at.is_some() || lasts.is_some();
        let asked = v1::NarrowDelegationRequest {
            actor: self.write.actor(),
            idempotency_key: self.write.key(),
            id: self.id.clone(),
            scope: self.scope.scope()?,
            expires_at,
            lasts,
            max_redelegations: self.max_redelegations,
        };
        if asked.scope.is_none() && !is_ended && asked.max_redelegations.is_none() {
            bail!(
                "say what is narrowed: a smaller scope, a nearer end with `--for` or `--until`, or `--max-redelegations`"
            );
        }
        Ok(asked)
    }
}

#[cfg(test)]
#[path = "delegation_tests.rs"]
mod tests;
