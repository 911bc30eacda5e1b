//! `callgate status`: what is in service.

use crate::cli::control::Ask;
use crate::cli::output::Exit;
use crate::cli::shown::{Facts, entities, moment};
use crate::proto::v1;

/// Tells what a running server has in service
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub ask: Ask,
}

const EXAMPLES: &str = "\
Examples:
  callgate status
  callgate status --endpoint unix:/run/callgate.sock --output json

Exit codes: 0 done, 1 error or something is wrong with the store.";

/// Asks, and prints the answer.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let asked = v1::GetStatusRequest {};
    let answer = args
        .ask
        .question(asked, async |to, it| to.get_status(it).await)?;
    let exit = args
        .ask
        .answer(&text(&answer), "GetStatusResponse", &answer)?;
    Ok(if answer.store_fault.is_empty() {
        exit
    } else {
        Exit::Error
    })
}

/// Tools whose calls are denied because a list has shown another definition, and what differs.
fn changed(tools: &[v1::ChangedTool]) -> String {
    let one = |it: &v1::ChangedTool| {
        let parts = match it.fields.as_slice() {
            [] => String::new(),
            fields => format!(": {}", fields.join(", ")),
        };
        format!("{}/{} through {}{parts}", it.server, it.tool, it.gateway)
    };
    let told: Vec<_> = tools.iter().map(one).collect();
    told.join("; ")
}

const MIB: u64 = 1 << 20;

/// What the server carries, each with what it may.
fn load(it: &v1::ServerLoad) -> String {
    format!(
        "{} of {} requests, {} of {} MiB of bodies, {} of {} connections, {} of {} by strangers",
        it.requests,
        it.most_requests,
        it.body_bytes.div_ceil(MIB),
        it.most_body_bytes / MIB,
        it.connections,
        it.most_connections,
        it.stranger_connections,
        it.most_stranger_connections,
    )
}

/// What the server has turned away since its start.
fn turned_away(it: &v1::ServerLoad) -> String {
    let counts = [
        (
            it.not_entitled_requests,
            "requests of those who may not ask",
        ),
        (it.refused_requests, "requests without a place"),
        (it.refused_bodies, "messages without room"),
        (it.late_bodies, "late messages"),
        (it.refused_connections, "connections without room"),
        (it.pushed_out_connections, "connections to make room"),
        (it.silent_connections, "silent connections"),
        (it.refused_public_calls, "calls of health and reflection"),
    ];
    let told: Vec<_> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    told.join(", ")
}

/// What telemetry lost since the start.
fn lost(losses: &[v1::TelemetryLoss]) -> String {
    let one =
        |it: &v1::TelemetryLoss| format!("{} {} {} {}", it.signal, it.kind, it.reason, it.count);
    let told: Vec<_> = losses.iter().map(one).collect();
    told.join(", ")
}

fn text(it: &v1::GetStatusResponse) -> Facts {
    let stored = match it.stored_entities {
        0 => String::new(),
        count => format!(", {count} of them put here"),
    };
    let store = match it.store_fault.as_str() {
        "" => "in order",
        fault => fault,
    };
    Facts::new(format!("callgate {}", it.version))
        .revision(it.revision)
        .fact("policies", it.policies)
        .fact("digest", &it.policy_set_digest)
        .fact("entities", format!("{}{stored}", it.entities))
        .fact("shadowed", entities(&it.shadowed_entities))
        .fact("lent", it.delegations)
        .fact("tasks", format!("{} open", it.open_tasks))
        .fact("approvals", format!("{} pending", it.pending_approvals))
        .fact("sessions", it.sessions)
        .fact("labels", format!("kept with {} more", it.carriers))
        .fact("store", store)
        .fact("changed", changed(&it.changed_tools))
        .fact("load", it.load.as_ref().map(load).unwrap_or_default())
        .fact(
            "refused",
            it.load.as_ref().map(turned_away).unwrap_or_default(),
        )
        .fact("lost", lost(&it.telemetry_losses))
        .maybe("time", it.now.as_ref().map(moment))
}

#[cfg(test)]
mod tests;
