//! Writes as the functions of the schema take them: one JSON object each.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use callgate_engine::cedar::EntityUID;
use serde_json::{Value, json};
use smol_str::SmolStr;

use crate::domain::authority::change::{Change, ChangeRecord};
use crate::domain::authority::form;
use crate::domain::authority::labels::LabelCarrier;
use crate::domain::authority::session::Session;
use crate::domain::ids::SessionId;
use crate::store::backend::{
    LabelTimes, ORPHAN_MILLIS, PUBLISHED_KEPT, StoreError, StoreWrite, StoredDefinition,
};
use crate::store::columns;

/// The writes of one commit, and the latest moment that they name.
pub(super) fn all(writes: &[StoreWrite]) -> Result<(Option<SystemTime>, String), StoreError> {
    let at = writes.iter().filter_map(StoreWrite::at).max();
    let rows: Vec<Value> = writes
        .iter()
        .filter(|write| !matches!(write, StoreWrite::Clock(_)))
        .map(row)
        .collect::<Result<_, _>>()?;
    Ok((at, Value::Array(rows).to_string()))
}

fn row(write: &StoreWrite) -> Result<Value, StoreError> {
    Ok(match write {
        StoreWrite::Entry { entry, id } => of_entry(entry, id)?,
        StoreWrite::Bundle { id, archive, at } => {
            json!({"k": "bundle", "id": id, "at": form::millis(*at), "archive": BASE64.encode(archive)})
        }
        StoreWrite::ApprovalUsed { id, uses } => {
            json!({"k": "approval_used", "id": id, "uses": uses})
        }
        StoreWrite::ApprovalTaken { id, most } => {
            json!({"k": "approval_taken", "id": id, "most": most})
        }
        StoreWrite::BudgetTaken { id, calls, most } => {
            let most = number(*most);
            json!({"k": "budget_taken", "id": id, "calls": number(*calls), "most": most})
        }
        StoreWrite::BudgetReturned { id, calls } => {
            json!({"k": "budget_returned", "id": id, "calls": number(*calls)})
        }
        StoreWrite::TaskSpent {
            id,
            spent,
            is_exact,
            lost,
        } => json!({
            "k": "task_spent", "id": id, "spent": number(*spent), "exact": is_exact,
            "lost": number(*lost),
        }),
        StoreWrite::SessionLabels { id, labels, at } => {
            json!({"k": "session_labels", "id": id, "labels": labels, "at": form::millis(*at)})
        }
        StoreWrite::DecidedAs(id) => json!({"k": "decided_as", "id": id}),
        StoreWrite::LabelsSeen { fact, carriers } => of_labels_seen(*fact, carriers)?,
        StoreWrite::Labels {
            carrier, labels, ..
        } => of_labels(carrier, labels)?,
        StoreWrite::Session {
            id,
            calls,
            tools,
            last,
            at,
        } => of_session(id, *calls, (tools, last), *at)?,
        StoreWrite::SessionReleased {
            id,
            session,
            turn,
            at,
        } => of_released(id, session, *turn, *at)?,
        StoreWrite::Usage {
            actor,
            tool,
            counters,
            at,
        } => of_usage(actor, tool.as_ref(), counters, *at),
        StoreWrite::UsageCounted(counts) => {
            json!({"k": "usage_counted", "counts": columns::json(counts)?})
        }
        StoreWrite::Clock(_) => Value::Null,
        StoreWrite::Lease(until) => json!({"k": "lease", "at": form::millis(*until)}),
        StoreWrite::ToolShown {
            gateway,
            tool,
            shown,
        } => of_shown(gateway, tool, shown.as_ref())?,
    })
}

fn of_labels_seen(fact: u64, carriers: &[LabelCarrier]) -> Result<Value, StoreError> {
    let carriers = carriers.iter().map(columns::of_carrier);
    let carriers: Vec<_> = carriers.collect::<Result<_, _>>()?;
    Ok(json!({"k": "labels_seen", "seen": number(fact), "carriers": carriers}))
}

fn of_shown(
    gateway: &SmolStr,
    tool: &EntityUID,
    shown: Option<&StoredDefinition>,
) -> Result<Value, StoreError> {
    let (ty, id) = columns::of_uid(tool);
    let body = shown.map(columns::json).transpose()?;
    Ok(json!({"k": "tool_shown", "gateway": gateway, "type": ty, "id": id, "body": body}))
}

fn of_usage(actor: &EntityUID, tool: Option<&EntityUID>, counters: &[u8], at: SystemTime) -> Value {
    let (actor_type, actor_id) = columns::of_uid(actor);
    let (tool_type, tool_id) = tool.map(columns::of_uid).unwrap_or_default();
    json!({
        "k": "usage", "actor_type": actor_type, "actor_id": actor_id,
        "tool_type": tool_type, "tool_id": tool_id, "counters": BASE64.encode(counters),
        "at": form::millis(at),
    })
}

fn of_entry(entry: &ChangeRecord, id: &SmolStr) -> Result<Value, StoreError> {
    let asker = &entry.asker;
    let key = asker.key.as_ref();
    let principal = asker.principal.as_ref().map(columns::of_uid);
    Ok(json!({
        "k": "entry",
        "revision": entry.revision,
        "at": form::millis(entry.at),
        "verb": entry.verb,
        "caller": asker.caller,
        "principal_type": principal.as_ref().map(|it| &it.0),
        "principal_id": principal.as_ref().map(|it| &it.1),
        "key_text": key.map(|key| &key.text),
        "key_request": key.map(|key| BASE64.encode(key.request)),
        "change": columns::json(&entry.change)?,
        "id": id,
        "row": of_change(&entry.change, entry.at)?,
    }))
}

fn of_change(change: &Change, at: SystemTime) -> Result<Value, StoreError> {
    let named = |uid| {
        let (ty, id) = columns::of_uid(uid);
        (json!(ty), json!(id))
    };
    Ok(match change {
        Change::Bundle { digest } => json!({"t": "bundle", "id": digest}),
        Change::Published(bundle) => json!({
            "t": "bundle", "id": bundle.digest,
            "published": {
                "id": bundle.id, "body": columns::json(bundle)?, "kept": PUBLISHED_KEPT,
                "orphans": moment(at) - number(ORPHAN_MILLIS),
            },
        }),
        Change::Entity { uid, json } => {
            let (ty, id) = named(uid);
            json!({"t": "entity", "type": ty, "id": id, "body": json})
        }
        Change::EntityGone { uid } => {
            let (ty, id) = named(uid);
            json!({"t": "entity_gone", "type": ty, "id": id})
        }
        Change::Grant(it) => {
            let ends_at = columns::earlier(it.revoked_at, it.expires_at);
            json!({
                "t": "grant", "id": it.id, "task": it.task, "ends_at": moment(ends_at),
                "body": columns::json(it)?,
            })
        }
        Change::Task(it) => {
            let ends_at = columns::earlier(it.closed_at, it.deadline);
            json!({
                "t": "task", "id": it.id, "ends_at": moment(ends_at),
                "closed": it.closed_at.is_some(), "body": columns::json(it)?,
            })
        }
        Change::Approval(it) => {
            let refused = it.word.as_ref().filter(|word| word.uses == 0);
            let ends_at = columns::earlier(refused.map(|word| word.at), it.expires_at);
            json!({
                "t": "approval", "id": it.id, "task": it.call.task, "ends_at": moment(ends_at),
                "body": columns::json(it)?,
            })
        }
        Change::Stopped(stop) => {
            let (ty, id) = named(&stop.uid);
            json!({"t": "stop", "type": ty, "id": id, "body": columns::json(stop)?})
        }
        Change::Resumed { uid } => {
            let (ty, id) = named(uid);
            json!({"t": "resumed", "type": ty, "id": id})
        }
        Change::ClockRepaired { to, .. } => json!({"t": "clock_repaired", "to": moment(*to)}),
        Change::SessionEnded { session } => {
            json!({"t": "session_ended", "id": session, "at": moment(at)})
        }
    })
}

fn of_labels(carrier: &LabelCarrier, labels: &[LabelTimes]) -> Result<Value, StoreError> {
    let (kind, name) = columns::of_carrier(carrier)?;
    let labels: Vec<Value> = labels
        .iter()
        .map(|it| json!([it.label, moment(it.through), it.loose_through.map(moment)]))
        .collect();
    Ok(json!({"k": "labels", "kind": kind, "carrier": name, "labels": labels}))
}

fn of_session(
    id: &SessionId,
    calls: u64,
    (tools, last): (&[EntityUID], &[EntityUID]),
    at: SystemTime,
) -> Result<Value, StoreError> {
    Ok(json!({
        "k": "session", "id": id, "calls": number(calls), "at": moment(at),
        "tools": columns::of_uids(tools)?, "last": columns::of_uids(last)?,
    }))
}

fn of_released(
    id: &SessionId,
    session: &Session,
    turn: u64,
    at: SystemTime,
) -> Result<Value, StoreError> {
    let last: Vec<_> = session.last_tools().cloned().collect();
    Ok(json!({
        "k": "session_released", "id": id, "calls": number(session.calls), "at": moment(at),
        "tools": columns::of_uids(session.tools.items())?, "last": columns::of_uids(&last)?,
        "labels": session.labels.items(), "turn": turn,
    }))
}

/// A number as a `bigint` holds it. No count exceeds its range.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn moment(at: SystemTime) -> i64 {
    number(form::millis(at))
}
