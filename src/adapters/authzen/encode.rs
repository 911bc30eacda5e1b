//! From decisions to AuthZEN's answers.
//!
//! Which policies are behind an answer is for callers with the right `explain`; everyone gets the reasons'
//! codes and sentences, and the obligations.

use cedar_policy_core::ast::EntityUID;
use serde_json::{Map, Value as Json, json};

use crate::adapters::authzen::parse::action_name;
use crate::adapters::invalid::Invalid;
use crate::call::decision::{Decision, Reason};
use crate::service::decisions::Answer;
use crate::service::search::Sought;

/// The type of every obligation: what it means is between the policies and the enforcement point.
pub(super) const CUSTOM: &str = "custom";

/// One decision, with its circumstances if they are wanted.
pub(super) fn decision(answer: &Answer<Decision>, with_context: bool, may_explain: bool) -> Json {
    let decision = &answer.value;
    let mut encoded = json!({"decision": decision.is_allow()});
    if with_context {
        encoded["context"] = context(answer, may_explain);
    }
    encoded
}

/// A question among several that could not be read: denied, and why.
pub(super) fn item_error(invalid: &Invalid) -> Json {
    let error = json!({"status": 400, "message": invalid.to_string()});
    json!({"decision": false, "context": {"error": error}})
}

/// Something found.
pub(super) fn found(sought: &Sought, uid: &EntityUID) -> Json {
    let id: &str = uid.eid().as_ref();
    match sought {
        Sought::Action => json!({"name": action_name(uid)}),
        Sought::Subject(ty) | Sought::Resource(ty) => json!({"type": ty.to_string(), "id": id}),
    }
}

fn context(answer: &Answer<Decision>, may_explain: bool) -> Json {
    let decision = &answer.value;
    let mut context = Map::new();
    context.insert("id".into(), answer.decision_id.to_string().into());
    context.insert("revision".into(), answer.revision.into());
    if !decision.reasons.is_empty() {
        let reasons = decision.reasons.iter();
        let reasons: Vec<Json> = reasons.map(|it| reason(it, may_explain)).collect();
        context.insert("reasons".into(), reasons.into());
    }
    let obligations = obligations(decision);
    if !obligations.is_empty() {
        context.insert("obligations".into(), obligations.into());
    }
    if may_explain && !decision.determining.is_empty() {
        let policies = decision.determining.iter();
        let policies: Vec<Json> = policies
            .map(|it| json!({"id": it.id, "owner": it.owner, "controls": it.controls}))
            .collect();
        context.insert("policies".into(), policies.into());
    }
    Json::Object(context)
}

/// An answer does not hold without its obligations, so every caller gets them, each once. They are named by
/// whoever writes the policies, which the draft profile calls `custom`.
fn obligations(decision: &Decision) -> Vec<Json> {
    let named = decision.determining.iter().flat_map(|it| &it.obligations);
    let mut names: Vec<&str> = Vec::new();
    for name in named {
        if !names.contains(&&**name) {
            names.push(name);
        }
    }
    let object = |name: &str| json!({"id": name, "type": CUSTOM, "properties": {"name": name}});
    names.into_iter().map(object).collect()
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
