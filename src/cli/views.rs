//! Text form of delegations, tasks, approvals, entities and changes.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::cli::render::{Details, count, entities, entity, folded, moment, word};
use crate::proto::{json, v1};

/// A delegation.
pub fn delegation(it: &v1::StoredDelegation) -> Details {
    let facts = Details::new(format!("delegation {}", it.id))
        .fact("status", delegation_status(it))
        .maybe("from", it.from.as_ref().map(entity))
        .maybe("to", it.to.as_ref().map(entity));
    let facts = scope(facts, it.scope.as_ref())
        .fact("task", &it.task_id)
        .fact("made from", &it.parent_id);
    let facts = match it.max_redelegations {
        0 => facts,
        times => facts.fact("delegable", count(times as usize, "time")),
    };
    let starts = it.not_before.filter(|at| it.created_at != Some(*at));
    facts
        .maybe("starts", starts.as_ref().map(moment))
        .maybe("until", it.expires_at.as_ref().map(moment))
        .maybe("made", it.created_at.as_ref().map(moment))
        .maybe("revoked", it.revoked_at.as_ref().map(moment))
}

/// The status of a delegation.
pub fn delegation_status(it: &v1::StoredDelegation) -> String {
    word(it.status().as_str_name(), "DELEGATION_STATUS_")
}

/// A task.
pub fn task(it: &v1::Task) -> Details {
    let facts = Details::new(format!("task {}", it.id))
        .fact("status", task_status(it))
        .maybe("agent", it.agent.as_ref().map(entity))
        .maybe("for", it.person.as_ref().map(entity))
        .fact("purpose", &it.purpose);
    let mut facts = scope(facts, it.scope.as_ref());
    if let Some(budget) = it.call_budget {
        let left = it.calls_left.unwrap_or(budget);
        facts = facts.fact("calls", format!("{left} of {budget} left"));
    }
    for named in &it.tool_uses {
        facts = facts.fact("use", tool_use(named));
    }
    for place in &it.places {
        let ways = [(place.read, "read"), (place.send, "send")];
        let ways = ways.into_iter().filter(|(is, _)| *is);
        let ways: Vec<_> = ways.map(|(_, way)| way).collect();
        facts = facts.fact(
            "place",
            format!("{}, to {}", place.place, ways.join(" and ")),
        );
    }
    for step in &it.steps {
        let here = if step.name == it.step {
            ", it is here"
        } else {
            ""
        };
        let covered = step.scope.as_ref().map(in_one_line).unwrap_or_default();
        facts = facts.fact("step", format!("{}: {covered}{here}", step.name));
    }
    facts
        .maybe("opened", it.opened_at.as_ref().map(moment))
        .maybe("until", it.deadline.as_ref().map(moment))
        .maybe("closed", it.closed_at.as_ref().map(moment))
}

/// Terms of use of a tool within a task, in one line.
fn tool_use(it: &v1::ToolUse) -> String {
    let targets = it.targets.iter().map(|place| format!("on {place}"));
    let arguments = it.arguments.iter();
    let arguments = arguments.map(|it| format!("{} {}", it.argument, it.values_json.join(" or ")));
    let calls = it.max_calls.map(|most| {
        let left = it.calls_left.unwrap_or(most);
        format!("{left} of {most} calls left")
    });
    let open = it.any_target.then(|| "on any one target".to_owned());
    let parts: Vec<_> = targets.chain(open).chain(arguments).chain(calls).collect();
    format!("{}: {}", it.tool, parts.join(", "))
}

/// The status of a task.
pub fn task_status(it: &v1::Task) -> String {
    word(it.status().as_str_name(), "TASK_STATUS_")
}

/// An approval with the call that it is for.
pub fn approval(it: &v1::Approval, is_full: bool) -> Details {
    let tool = if it.tool.is_empty() {
        it.server.clone()
    } else {
        format!("{}/{}", it.server, it.tool)
    };
    let facts = Details::new(format!("approval {}", it.id))
        .fact("status", approval_status(it))
        .maybe("agent", it.subject.as_ref().map(entity))
        .maybe("for", it.root.as_ref().map(entity))
        .fact("through", entities(&it.actors))
        .fact("set off", initiator(it))
        .fact("tool", tool);
    let facts = call(facts, it, is_full);
    let facts = match &it.circumstances {
        Some(so) => circumstances(facts, so, is_full),
        None => facts,
    };
    facts
        .fact("task", &it.task_id)
        .fact("pinned", &it.definition_digest)
        .fact("digest", &it.digest)
        .maybe("asked", it.requested_at.as_ref().map(moment))
        .maybe("until", it.expires_at.as_ref().map(moment))
        .maybe("decided", it.decided_at.as_ref().map(moment))
        .maybe("by", it.decided_by.as_ref().map(entity))
        .fact("comment", folded(&it.comment, is_full))
        .maybe("used", uses(it))
}

/// The approved call: one line per argument, and what is sent back to the server.
fn call(facts: Details, it: &v1::Approval, is_full: bool) -> Details {
    let order = it.circumstances.as_ref();
    let order = order.map_or(&[] as &[String], |so| &so.argument_order);
    let facts = match it
        .circumstances
        .as_ref()
        .map(v1::ApprovalCircumstances::access)
    {
        None | Some(v1::AccessLevel::Unspecified) => facts,
        Some(access) => facts.fact("access", word(access.as_str_name(), "ACCESS_LEVEL_")),
    };
    let facts = facts.fact("target", folded(&it.target, is_full));
    let facts = members(facts, "argument", &it.arguments_json, order, is_full);
    let facts = members(facts, "answer", &it.input_responses_json, &[], is_full);
    match it.request_state.is_empty() {
        true => facts,
        false => facts.fact(
            "state",
            folded(&Json::from(&*it.request_state).to_string(), is_full),
        ),
    }
}

/// The members of a JSON object verbatim, one per line, those in `order` first.
fn members(facts: Details, label: &str, json: &[u8], order: &[String], is_full: bool) -> Details {
    if json.is_empty() {
        return facts;
    }
    let Ok(mut left) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(json) else {
        return facts.fact(label, folded(&String::from_utf8_lossy(json), is_full));
    };
    let line = |name: &str, value: &RawValue| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let name = match !name.is_empty() && name.chars().all(is_plain) {
            true => name.to_owned(),
            false => Json::from(name).to_string(),
        };
        format!(
            "{}: {}",
            folded(&name, is_full),
            folded(value.get(), is_full)
        )
    };
    let mut lines = Vec::with_capacity(left.len());
    for name in order {
        if let Some(value) = left.remove(name) {
            lines.push(line(name, &value));
        }
    }
    lines.extend(left.iter().map(|(name, value)| line(name, value)));
    lines
        .iter()
        .fold(facts, |facts, line| facts.fact(label, line))
}

/// The circumstances at the time of the request.
fn circumstances(facts: Details, so: &v1::ApprovalCircumstances, is_full: bool) -> Details {
    let acts_on = so.targets.iter().map(entity);
    let facts = acts_on.fold(facts, |facts, target| {
        facts.fact("acts on", folded(&target, is_full))
    });
    let policies = so.policies.iter().map(|policy| {
        let owner = match policy.owner.as_str() {
            "" => String::new(),
            owner => format!(", owned by {owner}"),
        };
        let said = match (format!("{}{owner}", policy.id), policy.reason.as_str()) {
            (who, "") => who,
            (who, reason) if who.is_empty() => reason.to_owned(),
            (who, reason) => format!("{who}: {reason}"),
        };
        folded(&said, is_full)
    });
    policies
        .fold(facts, |facts, policy| facts.fact("asks", policy))
        .fact("labels", so.session_labels.join(", "))
        .fact("purpose", folded(&so.purpose, is_full))
}

fn initiator(it: &v1::Approval) -> &'static str {
    match it.initiator() {
        v1::Initiator::Unspecified => "",
        v1::Initiator::Client => "by the client",
        v1::Initiator::Server => "by a server",
        v1::Initiator::Ui => "by a user interface",
    }
}

fn uses(it: &v1::Approval) -> Option<String> {
    (it.uses > 0).then(|| format!("{} of {}", it.used, count(it.uses as usize, "time")))
}

/// The status of an approval.
pub fn approval_status(it: &v1::Approval) -> String {
    word(it.status().as_str_name(), "APPROVAL_STATUS_")
}

/// An entity.
///
/// # Errors
///
/// If the entity has no JSON form.
pub fn stored_entity(it: &v1::Entity) -> anyhow::Result<Details> {
    let title = it.uid.as_ref().map(entity).unwrap_or_default();
    let mut facts = Details::new(title)
        .fact("source", source(it.source()))
        .fact("in", entities(&it.parents));
    // Protobuf's JSON form is the most readable one of a Struct.
    let json = json::write("Entity", it)?;
    for (label, part) in [("attribute", "attributes"), ("tag", "tags")] {
        let values = json.get(part).and_then(Json::as_object);
        for (name, value) in values.into_iter().flatten() {
            facts = facts.fact(label, format!("{name} = {value}"));
        }
    }
    Ok(facts)
}

fn source(source: v1::EntitySource) -> &'static str {
    match source {
        v1::EntitySource::Unspecified => "",
        v1::EntitySource::Bundle => "the directory",
        v1::EntitySource::Stored => "put here",
        v1::EntitySource::Shadowed => "put here, but the directory's is in force",
    }
}

/// A list of items with their number.
pub fn list(items: &[impl Display], noun: &str, has_more: bool, revision: u64) -> String {
    let mut text: String = items.iter().map(|item| format!("{item}\n")).collect();
    let more = if has_more {
        ", and there are more: raise `--limit`"
    } else {
        ""
    };
    let count = count(items.len(), noun);
    text.push_str(&format!("{count} at revision {revision}{more}\n"));
    text
}

/// One change in one line.
pub fn change(it: &v1::WatchChangesResponse) -> String {
    use v1::watch_changes_response::Change;
    match &it.change {
        None => String::new(),
        Some(Change::BundleDigest(digest)) => format!("directory {digest}"),
        Some(Change::Published(it)) => match it.back_to_revision {
            0 => format!("bundle version {} is published", it.version),
            revision => format!(
                "bundle version {} of revision {revision} is back",
                it.version
            ),
        },
        Some(Change::Entity(it)) => {
            format!("entity {}", it.uid.as_ref().map(entity).unwrap_or_default())
        }
        Some(Change::EntityDeleted(uid)) => format!("entity {} is gone", entity(uid)),
        Some(Change::Delegation(it)) => {
            format!("delegation {} is {}", it.id, delegation_status(it))
        }
        Some(Change::Task(it)) => format!("task {} is {}", it.id, task_status(it)),
        Some(Change::Approval(it)) => format!("approval {} is {}", it.id, approval_status(it)),
        Some(Change::SessionEnded(id)) => format!("session {id} is over"),
        Some(Change::Stopped(it)) => {
            let uid = it.uid.as_ref().map(entity).unwrap_or_default();
            format!("{uid} is stopped: {}", it.reason)
        }
        Some(Change::Resumed(uid)) => format!("{} is no longer stopped", entity(uid)),
        Some(Change::ClockRepaired(it)) => {
            let at =
                |at: &Option<prost_types::Timestamp>| at.as_ref().map(moment).unwrap_or_default();
            format!(
                "the clock was set from {} to {}: {}",
                at(&it.from),
                at(&it.to),
                it.reason
            )
        }
    }
}

fn scope(facts: Details, scope: Option<&v1::Scope>) -> Details {
    let Some(scope) = scope else {
        return facts;
    };
    facts
        .fact("tools", scope.tools.join(", "))
        .fact("servers", scope.servers.join(", "))
        .fact("groups", scope.groups.join(", "))
        .fact("access", format!("{} at most", access(scope)))
        .fact("targets", scope.targets.join(", "))
}

fn in_one_line(scope: &v1::Scope) -> String {
    let lists = [&scope.tools, &scope.servers, &scope.groups, &scope.targets];
    let named: Vec<&str> = lists.into_iter().flatten().map(String::as_str).collect();
    format!("{} at most, {}", access(scope), named.join(", "))
}

fn access(scope: &v1::Scope) -> String {
    word(scope.access().as_str_name(), "ACCESS_LEVEL_")
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
