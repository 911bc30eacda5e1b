//! Encodes verdicts as AuthZEN responses.
//!
//! Only callers with the right `explain` see the policies behind a verdict; everyone gets reason codes,
//! messages and obligations.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value as Json, json};

use crate::adapters::authzen::parse::action_name;
use crate::adapters::decision_metadata;
use crate::adapters::input::field_error::FieldError;
use crate::domain::decide::verdict::{Challenge, Reason, Verdict};
use crate::service::request::Response;
use crate::service::search::SearchHit;

const OBLIGATIONS: &str = "obligations";

/// Encodes one verdict. `context` is included if `with_context`; obligations always are, because an allow
/// does not hold without them.
pub(super) fn decision(
    answer: &Response<Box<Verdict>>,
    with_context: bool,
    may_explain: bool,
) -> Json {
    let decision = &answer.value;
    let mut encoded = json!({"decision": decision.is_allow()});
    if with_context {
        encoded["context"] = context(answer, may_explain);
    } else {
        let obligations = obligations(decision);
        if !obligations.is_empty() {
            encoded["context"] = json!({OBLIGATIONS: obligations});
        }
        for (name, value) in observed(answer) {
            encoded["context"][name] = value;
        }
    }
    encoded
}

/// Encodes one invalid item of a batch as a deny with its error.
pub(super) fn item_error(invalid: &FieldError) -> Json {
    let error = json!({"status": 400, "message": invalid.to_string()});
    json!({"decision": false, "context": {"error": error}})
}

/// Encodes one search result with the obligations of its allow. `named` is the requested entity type, or
/// `None` for an action.
pub(super) fn found(named: Option<&str>, hit: &SearchHit) -> Json {
    let id: &str = hit.uid.eid().as_ref();
    let mut found = match named {
        None => json!({"name": action_name(&hit.uid)}),
        Some(named) => json!({"type": named, "id": id}),
    };
    let obligations = obligations(&hit.decision);
    if !obligations.is_empty() {
        found[OBLIGATIONS] = obligations.into();
    }
    found
}

fn context(answer: &Response<Box<Verdict>>, may_explain: bool) -> Json {
    let decision = &answer.value;
    let mut context = Map::new();
    let id = answer.decision_id.to_string();
    context.insert("id".into(), id.clone().into());
    context.insert("evaluation_id".into(), id.into());
    if let Some(at) = evaluated_at(answer) {
        context.insert("evaluated_at".into(), at.into());
    }
    context.insert("revision".into(), answer.revision.into());
    if let Some(first) = decision.reasons.first() {
        context.insert("reason".into(), first.code.as_str().into());
    }
    if !decision.reasons.is_empty() {
        let reasons = decision.reasons.iter();
        let reasons: Vec<Json> = reasons.map(|it| reason(it, may_explain)).collect();
        context.insert("reasons".into(), reasons.into());
    }
    for (name, value) in observed(answer) {
        context.insert(name.into(), value);
    }
    let obligations = obligations(decision);
    if !obligations.is_empty() {
        context.insert(OBLIGATIONS.into(), obligations.into());
    }
    if let Some(asked) = &decision.challenge {
        context.insert("approval".into(), challenge(asked));
    }
    if may_explain && !decision.determining_policies.is_empty() {
        let policies = decision.determining_policies.iter();
        let policies: Vec<Json> = policies
            .map(|it| json!({"id": it.id, "owner": it.owner, "controls": it.controls}))
            .collect();
        context.insert("policies".into(), policies.into());
    }
    Json::Object(context)
}

/// What a response says that was only observed: that it is not enforced, and what would have been.
fn observed(answer: &Response<Box<Verdict>>) -> impl Iterator<Item = (&'static str, Json)> {
    let said = answer.observed.map(|decision| {
        [
            ("enforced", Json::from(false)),
            ("observed_decision", Json::from(decision.as_str())),
        ]
    });
    said.into_iter().flatten()
}

/// Encodes the challenge that an approval must answer, with its expiry.
fn challenge(challenge: &Challenge) -> Json {
    let expires_at = humantime::format_rfc3339_seconds(challenge.expires_at);
    json!({"digest": challenge.digest.as_str(), "expires_at": expires_at.to_string()})
}

/// The time of the decision, taken from its UUIDv7.
fn evaluated_at(answer: &Response<Box<Verdict>>) -> Option<String> {
    let (seconds, nanos) = answer.decision_id.get_timestamp()?.to_unix();
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))?;
    Some(humantime::format_rfc3339_millis(at).to_string())
}

/// Encodes the obligations, each once, as in AuthZEN's draft profile. Every caller gets them: an allow does
/// not hold without them.
fn obligations(decision: &Verdict) -> Vec<Json> {
    let each = decision.obligations();
    each.map(|it| decision_metadata::obligation_json(it, decision).into())
        .collect()
}

fn reason(reason: &Reason, may_explain: bool) -> Json {
    let mut encoded = json!({"code": reason.code.as_str(), "message": reason.message});
    if !reason.missing.is_empty() {
        encoded["missing"] = json!(reason.missing);
    }
    if may_explain {
        encoded["policies"] = json!(reason.policies);
        if let Some(detail) = &reason.detail {
            encoded["detail"] = json!(detail);
        }
    }
    encoded
}
