//! `callgate task`: opens, advances, closes and lists tasks.

use crate::cli::args::{self, ExpiryArgs, ScopeArgs};
use crate::cli::control::{ControlArgs, LimitArgs, ListPage, WriteArgs, warn_if};
use crate::cli::output::Exit;
use crate::cli::value_parser;
use crate::cli::views;
use crate::proto::v1;

/// Opens tasks, moves them on and closes them
///
/// A task bounds one piece of work of an agent for a person: which calls belong to it, how many there may
/// be, and until when. Its delegations and approvals end with it. A call belongs to it by its id
/// (`callgate authorize --task ID`).
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
  callgate task open --as user:sam --agent support --user sam --purpose triage \\
      --server github --access write --budget 20 --for 2h

  In steps. Each has a name, then its own scope: access, and any number of tool, server, group, target:
    callgate task open --as user:sam --agent support --user sam --purpose triage --for 2h \\
        --step gather:access=read,server=github,server=git \\
        --step answer:access=write,tool=github/add_issue_comment

  With what its tools are for, and places that the person has named:
    callgate task open --as user:sam --agent support --user sam --purpose refund --for 2h --access write \\
        --use bank/send_money:target=bank:GB29NWBK60161331926819,max=1 --read https://larkwood.example/refunds

  With a target that is not known yet: an invitation of Dora, whatever her address turns out to be, once:
    callgate task open --as user:sam --agent support --user sam --purpose invitation --for 2h --access write \\
        --use chat/invite:any-target,argument.name=Dora,max=1

  callgate task advance task-1 --as agent:support
  callgate task close task-1 --as user:sam
  callgate task list --agent support --status open

Exit codes: 0 done, 1 error, 2 denied.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Open(Box<Open>),
    Advance(Advance),
    Close(Close),
    List(List),
}

/// Opens a task for an agent and a person
///
/// Without a scope any call may belong to it; the budget, the end and the steps bound it all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("end").args(["lasting", "until"]).required(true))]
struct Open {
    /// The agent that works: its id, or any name
    #[arg(long, value_name = "AGENT", value_parser = value_parser::agent)]
    agent: v1::EntityRef,
    /// The person it works for: the id, or any name
    #[arg(long, value_name = "USER", value_parser = value_parser::user)]
    user: v1::EntityRef,
    /// What the work is
    #[arg(long, value_name = "TEXT")]
    purpose: String,
    #[command(flatten)]
    scope: ScopeArgs,
    /// A step, in order: NAME:access=LEVEL,tool=SERVER/TOOL,server=NAME,group=NAME,target=PLACE (may be
    /// repeated)
    #[arg(long = "step", value_name = "STEP", value_parser = args::step, help_heading = "What is covered")]
    steps: Vec<v1::TaskStep>,
    /// What a tool is for: SERVER/TOOL:target=PLACE,max=N,argument.NAME=VALUE (may be repeated, as may its parts but
    /// for max). It may act upon these places only, be called so often, and have one of these values, JSON or text.
    /// With any-target in place of targets it may act upon any one that is not known yet, each time; max and the
    /// values of all its other arguments are needed then
    #[arg(long = "use", value_name = "USE", value_parser = args::tool_use, help_heading = "What is covered")]
    uses: Vec<v1::ToolUse>,
    /// A place that the person has named, to read from (may be repeated): a URL, a host, a mail address, a path
    #[arg(long = "read", value_name = "PLACE", help_heading = "What is covered")]
    read: Vec<String>,
    /// A place that the person has named, to send or write to (may be repeated)
    #[arg(long = "send", value_name = "PLACE", help_heading = "What is covered")]
    send: Vec<String>,
    /// How many calls may be allowed in it
    #[arg(long, value_name = "N", help_heading = "What is covered")]
    budget: Option<u64>,
    #[command(flatten)]
    end: ExpiryArgs,
    #[command(flatten)]
    write: WriteArgs,
}

/// Moves a task on to its next step, or to a later one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Advance {
    /// The task
    #[arg(value_name = "ID")]
    id: String,
    /// The step to go to
    #[arg(long, value_name = "NAME")]
    step: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Closes a task; its delegations and approvals end with it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Close {
    /// The task
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    write: WriteArgs,
}

/// Lists tasks in the order in which they were opened
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct List {
    /// Only of this agent: its id, or any name
    #[arg(long, value_name = "AGENT", value_parser = value_parser::agent)]
    agent: Option<v1::EntityRef>,
    /// Only for this person: the id, or any name
    #[arg(long, value_name = "USER", value_parser = value_parser::user)]
    user: Option<v1::EntityRef>,
    /// Only those that stand so: open, closed, overdue or agent-gone
    #[arg(long, value_name = "STATUS", value_parser = args::task_status)]
    status: Option<v1::TaskStatus>,
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
        Verb::Open(it) => {
            let asked = it.request()?;
            let again = it.write.once.again();
            let answer = ask.change(again, asked, async |to, it| to.open_task(it).await)?;
            let text = shown(answer.task.as_ref(), answer.revision);
            ask.answer(&text, "OpenTaskResponse", &answer)
        }
        Verb::Advance(it) => {
            let again = it.write.once.again();
            let asked = v1::AdvanceTaskRequest {
                actor: it.write.actor(),
                idempotency_key: it.write.key(),
                id: it.id.clone(),
                step: it.step.clone().unwrap_or_default(),
            };
            let answer = ask.change(again, asked, async |to, it| to.advance_task(it).await)?;
            let text = shown(answer.task.as_ref(), answer.revision);
            ask.answer(&text, "AdvanceTaskResponse", &answer)
        }
        Verb::Close(it) => {
            let again = it.write.once.again();
            let asked = v1::CloseTaskRequest {
                actor: it.write.actor(),
                idempotency_key: it.write.key(),
                id: it.id.clone(),
            };
            let answer = ask.change(again, asked, async |to, it| to.close_task(it).await)?;
            warn_if(answer.not_durable, answer.not_recorded, &it.write.once);
            let text = shown(answer.task.as_ref(), answer.revision);
            ask.answer(&text, "CloseTaskResponse", &answer)
        }
        Verb::List(it) => list(ask, it),
    }
}

fn shown(task: Option<&v1::Task>, revision: u64) -> String {
    let shown = task.map(views::task);
    shown.map_or_else(String::new, |it| it.revision(revision).to_string())
}

fn list(ask: &ControlArgs, it: &List) -> anyhow::Result<Exit> {
    let all = ask.pages(it.limit.limit, |page_size, page_token| {
        let asked = v1::ListTasksRequest {
            agent: it.agent.clone(),
            person: it.user.clone(),
            status: it.status.unwrap_or_default().into(),
            id: it.id.clone().unwrap_or_default(),
            page_size,
            page_token,
        };
        let answer = ask.question(asked, async |to, it| to.list_tasks(it).await)?;
        Ok(ListPage {
            items: answer.tasks,
            next: answer.next_page_token,
            revision: answer.revision,
        })
    })?;
    let shown: Vec<_> = all.items.iter().map(views::task).collect();
    let text = views::list(&shown, "task", !all.next.is_empty(), all.revision);
    let answer = v1::ListTasksResponse {
        tasks: all.items,
        next_page_token: all.next,
        revision: all.revision,
    };
    ask.answer(&text, "ListTasksResponse", &answer)
}

impl Open {
    /// The places without duplicates.
    fn places(&self) -> Vec<v1::TaskPlace> {
        let mut places: Vec<v1::TaskPlace> = Vec::new();
        let named = self.read.iter().map(|place| (place, true));
        for (place, is_read) in named.chain(self.send.iter().map(|place| (place, false))) {
            let index = places.iter().position(|it| it.place == *place);
            let index = index.unwrap_or_else(|| {
                places.push(v1::TaskPlace {
                    place: place.clone(),
                    ..v1::TaskPlace::default()
                });
                places.len() - 1
            });
            if let Some(named) = places.get_mut(index) {
                named.read |= is_read;
                named.send |= !is_read;
            }
        }
        places
    }

    fn request(&self) -> anyhow::Result<v1::OpenTaskRequest> {
        let (deadline, lasts) = self.end.required()?;
        Ok(v1::OpenTaskRequest {
            actor: self.write.actor(),
            idempotency_key: self.write.key(),
            agent: Some(self.agent.clone()),
            person: Some(self.user.clone()),
            purpose: self.purpose.clone(),
            scope: self.scope.with_tools(&self.uses).scope()?,
            tool_uses: self.uses.clone(),
            places: self.places(),
            call_budget: self.budget,
            steps: self.steps.clone(),
            deadline,
            lasts,
        })
    }
}
