//! `callgate status`: the status of a running server.

use crate::cli::control::ControlArgs;
use crate::cli::output::Exit;
use crate::cli::render::{Details, count, entities, entity, moment};
use crate::proto::v1;

/// Tells what a running server has in service
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub ask: ControlArgs,
}

const EXAMPLES: &str = "\
Examples:
  callgate status
  callgate status --endpoint unix:/run/callgate.sock --output json

Exit codes: 0 done, 1 error or something is wrong with store, decision log or clock, 3 the directory has faults.";

/// Sends the request and prints the response.
///
/// # Errors
///
/// If an argument is invalid, or the request fails.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let asked = v1::GetStatusRequest {};
    let answer = args
        .ask
        .question(asked, async |to, it| to.get_status(it).await)?;
    let exit = args
        .ask
        .answer(&text(&answer), "GetStatusResponse", &answer)?;
    let is_faulty = |it: &v1::DirectoryStatus| !it.faults.is_empty();
    Ok(match answer.directory.as_ref().is_some_and(is_faulty) {
        _ if !answer.store_fault.is_empty() || !answer.clock_fault.is_empty() => Exit::Error,
        _ if answer.audit.as_ref().is_some_and(is_log_faulty) => Exit::Error,
        true => Exit::Faults,
        false => exit,
    })
}

/// Whether the decision log cannot be written or signed, lacks what was in it, or its keys were not where they were.
fn is_log_faulty(it: &v1::AuditStatus) -> bool {
    let has_lost = it.lost_records > 0 || it.lost_capsules > 0;
    let is_unsafe = !it.tree_fault.is_empty() || !it.key_troubles.is_empty();
    it.failing_since.is_some() || is_unsafe || has_lost
}

/// Tools that are denied because a list showed a changed definition, with the changed parts.
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

/// Current load with its limits.
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

/// The adaptive concurrency limit where it is below the configured one, and requests shed since the start.
fn overload(it: &v1::Overload) -> String {
    let limit = match it.is_limited {
        true => format!("{} requests at once are answered in time", it.limit),
        false => String::new(),
    };
    let count = |count: u64, what: &str| match count {
        0 => String::new(),
        count => format!("{count} {what}"),
    };
    let told = [
        limit,
        count(it.shed_requests, "requests shed"),
        count(it.expired_requests, "too late before their turn"),
    ];
    let told: Vec<_> = told.into_iter().filter(|it| !it.is_empty()).collect();
    told.join(", ")
}

/// Requests rejected since the start.
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

/// A size in the unit that fits it.
fn size(bytes: u64) -> String {
    match bytes {
        0..MIB => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{} MiB", bytes.div_ceil(MIB)),
    }
}

/// The decision log: what it holds, and what it lacks.
fn audit(it: &v1::AuditStatus) -> String {
    if it.mode == "off" {
        return "not on record (`audit.mode` is `off`)".to_owned();
    }
    let held = format!(
        "{} records, {}, {} and {} of capsules",
        it.records,
        it.mode,
        size(it.bytes),
        size(it.capsule_bytes)
    );
    let count = |count: u64, what: &str| match count {
        0 => String::new(),
        count => format!("; {count} {what}"),
    };
    let lacking = [
        count(it.unrecorded, "are not on record"),
        count(it.lost_records, "RECORDS ARE LOST"),
        count(it.lost_capsules, "HAVE LOST THEIR CAPSULES"),
    ]
    .concat();
    let failing = match &it.failing_since {
        None => String::new(),
        Some(since) => format!(
            "; it cannot be written since {}: {}",
            moment(since),
            it.fault
        ),
    };
    let tree = match it.tree_fault.as_str() {
        "" => format!("; {} of them signed", it.signed_records),
        fault => format!("; NO NEW CHECKPOINT: {fault}"),
    };
    let keys = it.key_troubles.iter().map(|told| format!("; KEY: {told}"));
    held + &lacking + &failing + &tree + &keys.collect::<String>()
}

/// What is not enforced.
fn observed(it: &v1::ObserveStatus) -> String {
    let callers = it.callers.iter().map(|id| format!("caller {id}"));
    let servers = it.servers.iter().map(|name| format!("server {name}"));
    let what: Vec<String> = match it.service {
        true => vec!["the whole service".to_owned()],
        false => callers.chain(servers).collect(),
    };
    let shown = match it.shown_entries {
        0 => String::new(),
        shown => format!(
            ", {} of lists shown that would be hidden",
            count(shown, "entry")
        ),
    };
    match what.is_empty() {
        true => String::new(),
        false => format!(
            "NOT ENFORCED: {}; {} denies waived{shown}",
            what.join(", "),
            it.waived
        ),
    }
}

fn stopped(stops: &[v1::Stop]) -> String {
    let one = |it: &v1::Stop| {
        let uid = it.uid.as_ref().map(entity).unwrap_or_default();
        format!("{uid}: {}", it.reason)
    };
    stops.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The state of the directory where it differs from the bundle in service.
fn directory(facts: Details, it: Option<&v1::DirectoryStatus>) -> Details {
    let Some(it) = it else {
        return facts;
    };
    let names = |word: &str, names: &[String]| match names {
        [] => None,
        names => Some(format!("{word} {}", names.join(", "))),
    };
    let loaded = [
        names("came", &it.came),
        names("changed", &it.changed),
        names("went", &it.went),
    ];
    let loaded: Vec<String> = loaded.into_iter().flatten().collect();
    let facts = facts.fact("loaded", loaded.join("; "));
    if it.faults.is_empty() {
        return facts.fact("directory", "in order");
    }
    let failed = it.failed_at.as_ref().map(moment).unwrap_or_default();
    let standing = format!(
        "faulty at {failed}, revision {} stays in service",
        it.revision
    );
    let faults = it.faults.iter();
    let told = faults.fold(facts.fact("directory", standing), |facts, fault| {
        facts.fact("fault", fault)
    });
    let more = (it.fault_count as usize).saturating_sub(it.faults.len());
    match more {
        0 => told,
        more => told.fact("fault", format!("and {more} more")),
    }
}

/// Telemetry lost since the start.
fn lost(losses: &[v1::TelemetryLoss]) -> String {
    let one =
        |it: &v1::TelemetryLoss| format!("{} {} {} {}", it.signal, it.kind, it.reason, it.count);
    let told: Vec<_> = losses.iter().map(one).collect();
    told.join(", ")
}

fn text(it: &v1::GetStatusResponse) -> Details {
    let stored = match it.stored_entities {
        0 => String::new(),
        count => format!(", {count} of them put here"),
    };
    let store = match it.store_fault.as_str() {
        "" => "in order",
        fault => fault,
    };
    let facts = Details::new(format!("callgate {}", it.version))
        .revision(it.revision)
        .fact("policies", it.policies)
        .fact("digest", &it.policy_set_digest)
        .fact("entities", format!("{}{stored}", it.entities))
        .fact("shadowed", entities(&it.shadowed_entities))
        .fact("delegations", it.delegations)
        .fact("tasks", format!("{} open", it.open_tasks))
        .fact("approvals", format!("{} pending", it.pending_approvals))
        .fact("sessions", it.sessions)
        .fact(
            "labels",
            format!(
                "kept for {} tasks, delegations, pairs and places",
                it.carriers
            ),
        )
        .fact("store", store)
        .fact(
            "decisions",
            it.audit.as_ref().map(audit).unwrap_or_default(),
        )
        .fact("clock", &it.clock_fault)
        .fact("changed", changed(&it.changed_tools))
        .fact("load", it.load.as_ref().map(load).unwrap_or_default())
        .fact(
            "refused",
            it.load.as_ref().map(turned_away).unwrap_or_default(),
        )
        .fact(
            "overload",
            it.overload.as_ref().map(overload).unwrap_or_default(),
        )
        .fact(
            "observed",
            it.observe.as_ref().map(observed).unwrap_or_default(),
        )
        .fact("stopped", stopped(&it.stopped))
        .fact("lost", lost(&it.telemetry_losses));
    directory(facts, it.directory.as_ref()).maybe("time", it.now.as_ref().map(moment))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
