//! Events of the Open Cybersecurity Schema Framework (OCSF).
//!
//! A decision is an *API Activity* (6003) with the profile `security_control`, and `trace` if the caller has one. A control
//! write is an *Entity Management* (3004). Outcomes and notices have no class. The agent is an `ai_agent`: a member of the
//! event in 1.9, where the profile `ai_operation` has it; in 1.8, the newest published schema, below `unmapped`.

use callgate_engine::cedar::EntityUID;
use serde_json::{Map, Value, json};

use crate::audit::export::unmapped::{self, object};
use crate::audit::filter;
use crate::audit::json;
use crate::audit::record::Record;
use crate::audit::record::schema::{AccessLevel, ControlWrite, Decision, Policy, Verdict, record};
use crate::domain::request::canonical::hex;

/// The version of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// 1.8.0.
    #[default]
    V1_8,
    /// 1.9.0, of which the development version is known.
    V1_9,
}

impl Version {
    fn as_str(self) -> &'static str {
        match self {
            Self::V1_8 => "1.8.0",
            Self::V1_9 => "1.9.0-dev",
        }
    }
}

/// The event of a record of a log with this origin; `None` for an outcome or a notice.
pub fn event(record: &Record, log: &str, version: Version) -> Option<Value> {
    let mut event = match record.kind.as_ref()? {
        record::Kind::Decision(it) => decision(record, it, version),
        record::Kind::Write(it) => write(record, it, version),
        record::Kind::Outcome(_) | record::Kind::Notice(_) => return None,
    };
    if !log.is_empty() {
        event["metadata"]["log_provider"] = log.into();
    }
    Some(event)
}

/// What every event has.
fn base(
    record: &Record,
    (class, class_name): (u64, &str),
    (activity, activity_name): (u64, &str),
    uid: &str,
    version: Version,
    profiles: &[&str],
) -> Map<String, Value> {
    let (category, category_name) = match class {
        6003 => (6, "Application Activity"),
        _ => (3, "Identity & Access Management"),
    };
    let metadata = object(json!({
        "version": version.as_str(),
        "product": {
            "name": "Callgate",
            "vendor_name": "Callgate",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "profiles": profiles,
        "uid": uid,
        "sequence": record.index,
        "log_name": "decision log",
        "original_time": json::time(record.at),
        "is_truncated": record.is_cut.then_some(true),
    }));
    let event = json!({
        "metadata": metadata,
        "category_uid": category,
        "category_name": category_name,
        "class_uid": class,
        "class_name": class_name,
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": class * 100 + activity,
        "type_name": format!("{class_name}: {activity_name}"),
        "time": record.at / 1_000_000,
    });
    match event {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn decision(record: &Record, it: &Decision, version: Version) -> Value {
    let id = json::uuid(&it.id);
    let mut profiles = vec!["security_control"];
    if !it.trace_id.is_empty() {
        profiles.push("trace");
    }
    let agent = agent(it);
    if version == Version::V1_9 && agent.is_some() {
        profiles.push("ai_operation");
    }
    let class = (6003, "API Activity");
    let mut event = base(record, class, activity(it), &id, version, &profiles);
    let reason = it.reasons.first().map_or("", |reason| reason.code.as_str());
    let verdict = verdict(it);
    let unmapped_agent = agent.as_ref().filter(|_| version == Version::V1_8);
    let unmapped = unmapped::of_decision(it, unmapped_agent);
    event.extend([
        ("severity_id".to_owned(), json!(verdict.severity)),
        ("severity".to_owned(), json!(verdict.severity_name)),
        ("status_id".to_owned(), json!(verdict.status)),
        ("status".to_owned(), json!(verdict.status_name)),
        ("action_id".to_owned(), json!(verdict.action)),
        ("action".to_owned(), json!(verdict.action_name)),
        ("disposition_id".to_owned(), json!(verdict.disposition)),
        ("disposition".to_owned(), json!(verdict.disposition_name)),
        ("duration".to_owned(), json!(it.took_nanos / 1_000_000)),
        ("message".to_owned(), json!(message(it))),
        ("actor".to_owned(), actor(it)),
        ("api".to_owned(), api(it, &id, reason)),
        ("src_endpoint".to_owned(), endpoint(&it.caller, &it.adapter)),
        ("unmapped".to_owned(), unmapped),
    ]);
    let optional = json!({
        "status_code": reason,
        "status_detail": without_effect(it),
        "policy": it.determining_policies.first().map(policy),
        "authorizations": authorizations(it),
        "resources": resources(it),
        "trace": (!it.trace_id.is_empty()).then(|| json!({"uid": hex(&it.trace_id)})),
        "ai_agent": agent.filter(|_| version == Version::V1_9),
    });
    if let Value::Object(optional) = object(optional) {
        event.extend(optional);
    }
    Value::Object(event)
}

/// The activity of a call: what Cedar's action says it does, or, if it is one of the tool's own, the level on record.
fn activity(it: &Decision) -> (u64, &'static str) {
    let first = it.principals.first();
    let access = first.map_or(AccessLevel::Unspecified, |it| it.access());
    let action = first.map_or("", |it| it.action.as_str());
    let action = if action.is_empty() {
        &it.cedar_action
    } else {
        action
    };
    let action = action
        .rsplit("::")
        .next()
        .unwrap_or_default()
        .trim_matches('"');
    let is_listing = ["list", "filter", "read", "get"]
        .iter()
        .any(|word| it.operation.ends_with(word));
    match (access, action) {
        (AccessLevel::Read, _) | (_, "call_read") => (2, "Read"),
        (AccessLevel::Write, _) | (_, "call_write") => (3, "Update"),
        (AccessLevel::Admin, _) => (99, "Other"),
        _ if is_listing => (2, "Read"),
        _ => (99, "Other"),
    }
}

struct VerdictIds {
    severity: u64,
    severity_name: &'static str,
    status: u64,
    status_name: &'static str,
    action: u64,
    action_name: &'static str,
    disposition: u64,
    disposition_name: &'static str,
}

fn verdict(it: &Decision) -> VerdictIds {
    let is_allow = it.verdict() == Verdict::Allow;
    // Of a dry run nothing comes, and what is observed passes whatever was decided.
    let is_without_effect = it.is_dry_run || it.is_observed;
    let (action, action_name) = match (is_without_effect, is_allow) {
        (true, _) => (3, "Observed"),
        (false, true) => (1, "Allowed"),
        (false, false) => (2, "Denied"),
    };
    let (disposition, disposition_name) = match (is_without_effect, is_allow) {
        (true, _) => (17, "Logged"),
        (false, true) => (1, "Allowed"),
        (false, false) if json::is_challenged(it) => (23, "Challenge"),
        (false, false) => (2, "Blocked"),
    };
    let (severity, severity_name) = match is_allow {
        true => (1, "Informational"),
        false => (2, "Low"),
    };
    // The status is that of the call, which goes through if nothing is enforced.
    let (status, status_name) = match is_allow || it.is_observed && !it.is_dry_run {
        true => (1, "Success"),
        false => (2, "Failure"),
    };
    VerdictIds {
        severity,
        severity_name,
        status,
        status_name,
        action,
        action_name,
        disposition,
        disposition_name,
    }
}

/// Why a decision had no effect on the call; empty if it had.
fn without_effect(it: &Decision) -> &'static str {
    match (it.is_dry_run, it.is_observed) {
        (true, _) => "dry run: no call was made",
        (false, true) => "observed: not enforced, the call went through",
        (false, false) => "",
    }
}

fn message(it: &Decision) -> String {
    let joined = |texts: &[&str], with: &str| {
        let texts: Vec<_> = texts.iter().copied().filter(|it| !it.is_empty()).collect();
        texts.join(with)
    };
    let what = joined(&[&it.server, &it.tool, &it.prompt], "/");
    let labeled = |word: &str, text: &str| match text {
        "" => String::new(),
        text => format!("{word} {text}"),
    };
    let sought = labeled("for", &it.sought);
    let resource = labeled("on", &it.cedar_resource);
    // A search for subjects has none itself.
    let by = labeled("by", &it.subject);
    let found = match json::counts(it) {
        Some((kept, hidden)) if it.sought.is_empty() => match it.is_observed {
            true => format!("(would have kept {kept}, hidden {hidden})"),
            false => format!("({kept} kept, {hidden} hidden)"),
        },
        Some((kept, _)) => format!("({kept} found)"),
        None => String::new(),
    };
    let effect = match without_effect(it) {
        "" => String::new(),
        why => format!("({why})"),
    };
    let verdict = json::verdict(it.verdict());
    let asked = [&what, &sought, &it.cedar_action, &resource, &by, &found];
    let asked = joined(&asked.map(String::as_str), " ");
    joined(&[verdict, &it.operation, &asked, &effect], " ")
}

/// The type and the id of an entity, as it is written in a record.
fn entity(uid: &str) -> (String, String) {
    match uid.parse::<EntityUID>() {
        Ok(uid) => {
            let id: &str = uid.eid().as_ref();
            (uid.entity_type().to_string(), id.to_owned())
        }
        Err(_) => (String::new(), uid.to_owned()),
    }
}

/// An entity as a user: the type of Cedar is its domain. Nobody is none, as a user has a name.
fn user(uid: &str) -> Option<Value> {
    if uid.is_empty() {
        return None;
    }
    let (of_type, id) = entity(uid);
    let (type_id, type_name) = match of_type.as_str() {
        "Mcp::User" => (1, "User"),
        "Mcp::Agent" | "Mcp::Server" | "Mcp::Gateway" => (4, "Service"),
        _ => (99, of_type.as_str()),
    };
    Some(object(json!({
        "uid": id,
        "name": id,
        "domain": of_type,
        "type_id": type_id,
        "type": type_name,
    })))
}

fn actor(it: &Decision) -> Value {
    let root = it.chain.as_ref().map_or("", |chain| chain.root.as_str());
    let on_behalf = if root.is_empty() { &it.subject } else { root };
    object(json!({
        "user": user(on_behalf),
        "session": object(json!({"uid": it.session_id})),
        "app_name": entity(&it.subject).1,
        "app_uid": it.subject,
        "invoked_by": it.caller,
    }))
}

/// The agent that acts: the subject, or the nearest actor that is one.
fn agent(it: &Decision) -> Option<Value> {
    let actors = it.chain.iter().flat_map(|chain| chain.actors.iter().rev());
    let mut parties = [&it.subject].into_iter().chain(actors).map(|it| entity(it));
    let (_, id) = parties.find(|(of_type, _)| of_type == "Mcp::Agent")?;
    Some(object(json!({
        "uid": id,
        "name": id,
        "instance_uid": it.session_id,
        "type_id": 0,
        "type": "Unknown",
    })))
}

fn api(it: &Decision, id: &str, reason: &str) -> Value {
    let request = match it.request_id.as_str() {
        "" => id,
        given => given,
    };
    let service = (!it.server.is_empty()).then(|| json!({"name": it.server, "uid": it.server}));
    object(json!({
        "operation": it.operation,
        "service": service,
        "request": {"uid": request},
        "response": object(json!({"error": reason, "message": json::verdict(it.verdict())})),
    }))
}

fn endpoint(caller: &str, adapter: &str) -> Value {
    object(json!({"name": caller, "uid": caller, "svc_name": adapter}))
}

fn policy(it: &Policy) -> Value {
    let owner = (!it.owner.is_empty()).then(|| json!({"name": it.owner}));
    let controls = (!it.controls.is_empty()).then(|| json!({"controls": it.controls}));
    object(json!({
        "uid": it.id,
        "name": it.id,
        "type": "Cedar",
        "group": owner,
        "data": controls,
        "is_applied": true,
    }))
}

/// One for each principal and the policies that were satisfied for it.
fn authorizations(it: &Decision) -> Vec<Value> {
    let mut authorizations = Vec::new();
    for principal in &it.principals {
        let decision = format!(
            "{} for {}",
            json::verdict(principal.verdict()),
            principal.principal
        );
        let policies = principal.forbids.iter().chain(&principal.permits);
        for id in policies {
            authorizations.push(json!({
                "decision": decision,
                "policy": {"uid": id, "name": id, "type": "Cedar", "is_applied": true},
            }));
        }
        if principal.forbids.is_empty() && principal.permits.is_empty() {
            authorizations.push(json!({"decision": decision}));
        }
    }
    authorizations
}

fn resources(it: &Decision) -> Vec<Value> {
    let named = [("tool", &it.tool), ("prompt", &it.prompt)];
    let named = named.into_iter().filter(|(_, name)| !name.is_empty());
    let named = named.map(|(kind, name)| {
        object(json!({"name": name, "uid": name, "type": kind, "namespace": it.server}))
    });
    let targets = it
        .targets
        .iter()
        .filter(|target| !target.name_hmac.is_empty());
    let targets = targets.map(|target| {
        object(json!({"uid": target.name_hmac, "type": target.kind, "role": target.role}))
    });
    let asked = (!it.cedar_resource.is_empty()).then(|| {
        let (of_type, id) = entity(&it.cedar_resource);
        object(json!({"name": id, "uid": it.cedar_resource, "type": of_type}))
    });
    named.chain(asked).chain(targets).collect()
}

fn write(record: &Record, it: &ControlWrite, version: Version) -> Value {
    let verbs: [(&str, (u64, &str)); 9] = [
        ("Grant", (1, "Create")),
        ("Open", (1, "Create")),
        ("Put", (3, "Update")),
        ("Approve", (10, "Activate")),
        ("Reject", (11, "Deactivate")),
        ("Revoke", (4, "Delete")),
        ("Delete", (4, "Delete")),
        ("Stop", (12, "Suspend")),
        ("Resume", (13, "Resume")),
    ];
    let found = verbs.iter().find(|(start, _)| it.verb.starts_with(start));
    let activity = found.map_or((3, "Update"), |(_, activity)| *activity);
    let uid = format!("{}", record.index.unwrap_or_default());
    let mut event = base(
        record,
        (3004, "Entity Management"),
        activity,
        &uid,
        version,
        &[],
    );
    let (status, status_name, severity, severity_name) = match filter::verdict_of(it) {
        Verdict::Allow => (1, "Success", 1, "Informational"),
        _ => (2, "Failure", 2, "Low"),
    };
    let entity = match it.id.as_str() {
        "" => json!({"name": it.verb, "type_id": 99, "type": it.verb}),
        id => json!({"uid": id, "name": id, "type_id": 99, "type": it.verb}),
    };
    let reason = it.reasons.first().map_or("", |reason| reason.code.as_str());
    let rest = json!({
        "severity_id": severity,
        "severity": severity_name,
        "status_id": status,
        "status": status_name,
        "status_code": reason,
        "status_detail": it.outcome,
        "message": format!("{} {} by {}", it.verb, it.outcome, it.actor),
        "entity": entity,
        "actor": object(json!({"user": user(&it.actor), "invoked_by": it.caller})),
        "unmapped": unmapped::of_write(it),
    });
    if let Value::Object(rest) = object(rest) {
        event.extend(rest);
    }
    Value::Object(event)
}

#[cfg(test)]
#[path = "ocsf_tests.rs"]
mod tests;
