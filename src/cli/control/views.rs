//! How delegations, tasks, approvals and entities look to people.

use std::fmt::Display;

use serde_json::Value as Json;

use crate::cli::shown::{Facts, count, entities, entity, moment, word};
use crate::proto::{json, v1};

/// A delegation.
pub fn delegation(it: &v1::StoredDelegation) -> Facts {
    let facts = Facts::new(format!("delegation {}", it.id))
        .fact("status", delegation_status(it))
        .maybe("from", it.from.as_ref().map(entity))
        .maybe("to", it.to.as_ref().map(entity));
    let facts = scope(facts, it.scope.as_ref())
        .fact("task", &it.task_id)
        .fact("lent on", &it.parent_id);
    let facts = match it.lend_depth {
        0 => facts,
        times => facts.fact("lends on", count(times as usize, "time")),
    };
    let starts = it.not_before.filter(|at| it.created_at != Some(*at));
    facts
        .maybe("starts", starts.as_ref().map(moment))
        .maybe("until", it.expires_at.as_ref().map(moment))
        .maybe("made", it.created_at.as_ref().map(moment))
        .maybe("revoked", it.revoked_at.as_ref().map(moment))
}

/// How a delegation stands.
pub fn delegation_status(it: &v1::StoredDelegation) -> String {
    word(it.status().as_str_name(), "DELEGATION_STATUS_")
}

/// A task.
pub fn task(it: &v1::Task) -> Facts {
    let facts = Facts::new(format!("task {}", it.id))
        .fact("status", task_status(it))
        .maybe("agent", it.agent.as_ref().map(entity))
        .maybe("for", it.person.as_ref().map(entity))
        .fact("purpose", &it.purpose);
    let mut facts = scope(facts, it.scope.as_ref());
    if let Some(budget) = it.call_budget {
        let left = it.calls_left.unwrap_or(budget);
        facts = facts.fact("calls", format!("{left} of {budget} left"));
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

/// How a task stands.
pub fn task_status(it: &v1::Task) -> String {
    word(it.status().as_str_name(), "TASK_STATUS_")
}

/// An approval, and the call it is for.
pub fn approval(it: &v1::Approval) -> Facts {
    let tool = if it.tool.is_empty() {
        it.server.clone()
    } else {
        format!("{}/{}", it.server, it.tool)
    };
    Facts::new(format!("approval {}", it.id))
        .fact("status", approval_status(it))
        .maybe("agent", it.subject.as_ref().map(entity))
        .maybe("for", it.root.as_ref().map(entity))
        .fact("through", entities(&it.actors))
        .fact("tool", tool)
        .fact("with", String::from_utf8_lossy(&it.arguments_json))
        .fact("target", &it.target)
        .fact("task", &it.task_id)
        .fact("pinned", &it.definition_digest)
        .fact("digest", &it.digest)
        .maybe("asked", it.requested_at.as_ref().map(moment))
        .maybe("until", it.expires_at.as_ref().map(moment))
        .maybe("decided", it.decided_at.as_ref().map(moment))
        .maybe("by", it.decided_by.as_ref().map(entity))
        .fact("comment", &it.comment)
        .maybe("used", uses(it))
}

fn uses(it: &v1::Approval) -> Option<String> {
    (it.uses > 0).then(|| format!("{} of {}", it.used, count(it.uses as usize, "time")))
}

/// How an approval stands.
pub fn approval_status(it: &v1::Approval) -> String {
    word(it.status().as_str_name(), "APPROVAL_STATUS_")
}

/// An entity.
pub fn stored_entity(it: &v1::Entity) -> anyhow::Result<Facts> {
    let title = it.uid.as_ref().map(entity).unwrap_or_default();
    let mut facts = Facts::new(title)
        .fact("source", source(it.source()))
        .fact("in", entities(&it.parents));
    // The protocol's own JSON is how a Struct is best read.
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

/// Several things, and how many they are.
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

/// What a change did.
pub fn change(it: &v1::WatchChangesResponse) -> String {
    use v1::watch_changes_response::Change;
    match &it.change {
        None => String::new(),
        Some(Change::BundleDigest(digest)) => format!("directory {digest}"),
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
    }
}

fn scope(facts: Facts, scope: Option<&v1::Scope>) -> Facts {
    let Some(scope) = scope else {
        return facts;
    };
    facts
        .fact("tools", scope.tools.join(", "))
        .fact("servers", scope.servers.join(", "))
        .fact("groups", scope.groups.join(", "))
        .fact("effect", format!("{} at most", effect(scope)))
        .fact("targets", scope.targets.join(", "))
}

fn in_one_line(scope: &v1::Scope) -> String {
    let lists = [&scope.tools, &scope.servers, &scope.groups, &scope.targets];
    let named: Vec<&str> = lists.into_iter().flatten().map(String::as_str).collect();
    format!("{} at most, {}", effect(scope), named.join(", "))
}

fn effect(scope: &v1::Scope) -> String {
    word(scope.effect().as_str_name(), "EFFECT_")
}

#[cfg(test)]
mod tests;
