//! From decisions to AuthZEN's answers.
//!
//! Which policies are behind an answer is for callers with the right `explain`; everyone gets the reasons'
//! codes and sentences, and the obligations.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value as Json, json};

use crate::adapters::authzen::parse::action_name;
use crate::adapters::decision_metadata;
use crate::adapters::input::field_error::FieldError;
use crate::domain::decide::verdict::{Challenge, Reason, Verdict};
use crate::service::request::Response;
use crate::service::search::SearchHit;

const OBLIGATIONS: &str = "obligations";

/// One decision, with its circumstances if they are wanted. What obliges is always there: an allow does not hold
/// without it.
pub(super) fn decision(answer: &Response<Verdict>, with_context: bool, may_explain: bool) -> Json {
    let decision = &answer.value;
    let mut encoded = json!({"decision": decision.is_allow()});
    if with_context {
        encoded["context"] = context(answer, may_explain);
    } else {
        let obligations = obligations(decision);
        if !obligations.is_empty() {
            encoded["context"] = json!({OBLIGATIONS: obligations});
        }
    }
    encoded
}

/// A question among several that could not be read: denied, and why.
pub(super) fn item_error(invalid: &FieldError) -> Json {
    let error = json!({"status": 400, "message": invalid.to_string()});
    json!({"decision": false, "context": {"error": error}})
}

/// Something found, with what its allow obliges to. `named` is what its type was called, unless it is an action.
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

fn context(answer: &Response<Verdict>, may_explain: bool) -> Json {
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

/// What an approval of the call has to answer, and until when.
fn challenge(challenge: &Challenge) -> Json {
    let expires_at = humantime::format_rfc3339_seconds(challenge.expires_at);
    json!({"digest": challenge.digest.as_str(), "expires_at": expires_at.to_string()})
}

/// When it was decided, as the id of the decision tells.
fn evaluated_at(answer: &Response<Verdict>) -> Option<String> {
    let (seconds, nanos) = answer.decision_id.get_timestamp()?.to_unix();
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))?;
    Some(humantime::format_rfc3339_millis(at).to_string())
}

/// An answer does not hold without its obligations, so every caller gets them, each once, as the draft profile has
/// them.
fn obligations(decision: &Verdict) -> Vec<Json> {
    let each = decision.obligations();
    each.map(|it| decision_metadata::whole(it, decision).into())
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
