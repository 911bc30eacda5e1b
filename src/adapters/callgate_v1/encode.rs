//! Encodes verdicts as messages of `callgate.v1`.
//!
//! Only callers with the right `explain` see the policies behind a verdict and their errors; everyone gets
//! the decision, reason codes, messages and obligations.

use std::sync::Arc;

use callgate_engine::PolicyInfo;
use callgate_engine::cedar::EntityUID;

use crate::adapters::input::json;
use crate::domain::decide::listing::HiddenReason;
use crate::domain::decide::verdict::{
    Challenge, Decision, PrincipalVerdict, Reason, ReasonCode, TargetSummary, Verdict,
};
use crate::proto::v1;
use crate::service::request::Response;
use smol_str::SmolStr;

/// How much of what is behind a verdict is disclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disclosure {
    /// The caller may see policies and errors.
    pub is_entitled: bool,
    /// The request asked for the explanation.
    pub is_wanted: bool,
}

/// Encodes the response to one call.
pub fn authorize(answer: Response<Verdict>, detail: Disclosure) -> v1::AuthorizeResponse {
    let explanation = explanation(&answer, detail);
    let Response {
        value: decision,
        decision_id,
        revision,
        observed,
        ..
    } = answer;
    v1::AuthorizeResponse {
        observed: observed.is_some(),
        observed_decision: observed_decision(observed),
        decision: outcome(decision.outcome).into(),
        decision_id: decision_id.to_string(),
        revision,
        obligations: obligations(&decision, detail),
        determining_policies: policy_refs(&decision.determining_policies, detail),
        reasons: decision
            .reasons
            .into_iter()
            .map(|it| reason(it, detail))
            .collect(),
        approval: decision.challenge.as_deref().map(challenge),
        explanation,
    }
}

/// Encodes the challenge that an approval must answer.
fn challenge(challenge: &Challenge) -> v1::ApprovalChallenge {
    v1::ApprovalChallenge {
        digest: challenge.digest.to_string(),
        // Durations and timestamps within the limits fit their wire forms.
        valid_for: challenge.valid_for.try_into().ok(),
        expires_at: Some(challenge.expires_at.into()),
    }
}

/// Encodes the response to a plain Cedar request.
pub fn is_authorized(answer: Response<Verdict>, detail: Disclosure) -> v1::IsAuthorizedResponse {
    let explanation = explanation(&answer, detail);
    let Response {
        value: decision,
        decision_id,
        revision,
        observed,
        ..
    } = answer;
    let errors = if detail.is_entitled {
        decision.principals.iter().flat_map(policy_errors).collect()
    } else {
        Vec::new()
    };
    v1::IsAuthorizedResponse {
        observed: observed.is_some(),
        observed_decision: observed_decision(observed),
        decision: outcome(decision.outcome).into(),
        obligations: obligations(&decision, detail),
        decision_id: decision_id.to_string(),
        revision,
        determining_policies: policy_refs(&decision.determining_policies, detail),
        reasons: decision
            .reasons
            .into_iter()
            .map(|it| reason(it, detail))
            .collect(),
        errors,
        explanation,
    }
}

/// Encodes the response about a list of tools.
pub fn filter_tools(
    tools: Vec<SmolStr>,
    answer: Response<Vec<HiddenReason>>,
) -> v1::FilterToolsResponse {
    let mut response = v1::FilterToolsResponse {
        decision_id: answer.decision_id.to_string(),
        revision: answer.revision,
        observed: answer.observed.is_some(),
        ..v1::FilterToolsResponse::default()
    };
    for (tool, hidden) in tools.into_iter().zip(answer.value) {
        let tool = tool.into();
        match hidden {
            None => response.tools.push(tool),
            Some(code) => response.hidden.push(v1::HiddenTool {
                tool,
                code: reason_code(code).into(),
            }),
        }
    }
    response
}

fn observed_decision(observed: Option<Decision>) -> i32 {
    observed.map_or(v1::Decision::Unspecified, outcome).into()
}

pub(super) fn outcome(outcome: Decision) -> v1::Decision {
    match outcome {
        Decision::Allow => v1::Decision::Allow,
        Decision::Deny => v1::Decision::Deny,
    }
}

pub(super) fn reason(reason: Reason, detail: Disclosure) -> v1::Reason {
    let (policy_ids, detail) = if detail.is_entitled {
        (
            reason.policies.into_iter().map(Into::into).collect(),
            reason.detail.unwrap_or_default(),
        )
    } else {
        (Vec::new(), String::new())
    };
    v1::Reason {
        code: reason_code(reason.code).into(),
        message: reason.message,
        principal: reason.principal.as_ref().map(entity_ref),
        missing: reason.missing,
        policy_ids,
        detail,
    }
}

fn policy_refs(policies: &[Arc<PolicyInfo>], detail: Disclosure) -> Vec<v1::PolicyRef> {
    if !detail.is_entitled {
        return Vec::new();
    }
    let policy_ref = |policy: &Arc<PolicyInfo>| v1::PolicyRef {
        id: policy.id.to_string(),
        owner: policy.owner.as_deref().unwrap_or_default().to_owned(),
        controls: policy.controls.iter().map(ToString::to_string).collect(),
    };
    policies.iter().map(policy_ref).collect()
}

/// Every caller gets the obligations: an allow does not hold without them.
fn obligations(decision: &Verdict, detail: Disclosure) -> Vec<v1::Obligation> {
    let of_policy = |policy: &Arc<PolicyInfo>| {
        let policy = Arc::clone(policy);
        (0..policy.obligations.len()).map(move |index| {
            let obligation = &policy.obligations[index];
            v1::Obligation {
                id: obligation.id.to_string(),
                policy_id: if detail.is_entitled {
                    policy.id.to_string()
                } else {
                    String::new()
                },
                r#type: obligation.kind.to_owned(),
                properties: Some(json::to_struct(&obligation.properties(decision.about()))),
            }
        })
    };
    decision
        .determining_policies
        .iter()
        .flat_map(of_policy)
        .collect()
}

fn explanation(answer: &Response<Verdict>, detail: Disclosure) -> Option<v1::Explanation> {
    if !(detail.is_entitled && detail.is_wanted) {
        return None;
    }
    let decision = &answer.value;
    let principal = |it: &PrincipalVerdict| v1::PrincipalExplanation {
        principal: Some(entity_ref(&it.principal)),
        action: Some(entity_ref(&it.action)),
        resource: Some(entity_ref(&it.resource)),
        decision: outcome(it.outcome).into(),
        permits: ids(&it.permits),
        forbids: ids(&it.forbids),
        errors: policy_errors(it).collect(),
        policies_evaluated: it.policies_evaluated,
        policies_total: answer.policies_total,
    };
    Some(v1::Explanation {
        principals: decision.principals.iter().map(principal).collect(),
        shadow_policy_ids: ids(&decision.shadow),
        targets: decision.targets.iter().map(target).collect(),
        ..v1::Explanation::default()
    })
}

fn target(target: &TargetSummary) -> v1::TargetExplanation {
    let text = |text: &Option<SmolStr>| text.as_deref().unwrap_or_default().to_owned();
    v1::TargetExplanation {
        id: target.id.to_string(),
        kind: target.kind.to_owned(),
        role: text(&target.role),
        query: text(&target.query),
    }
}

fn policy_errors(principal: &PrincipalVerdict) -> impl Iterator<Item = v1::PolicyError> {
    principal
        .errors
        .iter()
        .map(|(policy, message)| v1::PolicyError {
            policy_id: policy.id.to_string(),
            message: message.clone(),
        })
}

fn ids(policies: &[Arc<PolicyInfo>]) -> Vec<String> {
    policies
        .iter()
        .map(|policy| policy.id.to_string())
        .collect()
}

pub(super) fn entity_ref(uid: &EntityUID) -> v1::EntityRef {
    let id: &str = uid.eid().as_ref();
    v1::EntityRef {
        r#type: uid.entity_type().to_string(),
        id: id.to_owned(),
    }
}

fn reason_code(code: ReasonCode) -> v1::ReasonCode {
    match code {
        ReasonCode::NoPermit => v1::ReasonCode::NoPermit,
        ReasonCode::Forbidden => v1::ReasonCode::Forbidden,
        ReasonCode::EvaluationError => v1::ReasonCode::EvaluationError,
        ReasonCode::ContextMissing => v1::ReasonCode::ContextMissing,
        ReasonCode::ContextInvalid => v1::ReasonCode::ContextInvalid,
        ReasonCode::DelegationExpired => v1::ReasonCode::DelegationExpired,
        ReasonCode::DelegationChainBroken => v1::ReasonCode::DelegationChainBroken,
        ReasonCode::DelegatorDenied => v1::ReasonCode::DelegatorDenied,
        ReasonCode::DelegationRevoked => v1::ReasonCode::DelegationRevoked,
        ReasonCode::DelegationOutOfScope => v1::ReasonCode::DelegationOutOfScope,
        ReasonCode::TaskClosed => v1::ReasonCode::TaskClosed,
        ReasonCode::TaskOutOfScope => v1::ReasonCode::TaskOutOfScope,
        ReasonCode::TaskBudgetSpent => v1::ReasonCode::TaskBudgetSpent,
        ReasonCode::SessionEnded => v1::ReasonCode::SessionEnded,
        ReasonCode::Stopped => v1::ReasonCode::Stopped,
        ReasonCode::ApprovalRequired => v1::ReasonCode::ApprovalRequired,
        ReasonCode::ApprovalInvalid => v1::ReasonCode::ApprovalInvalid,
        ReasonCode::ToolUnknown => v1::ReasonCode::ToolUnknown,
        ReasonCode::ToolChanged => v1::ReasonCode::ToolChanged,
        ReasonCode::ServerUnknown => v1::ReasonCode::ServerUnknown,
        ReasonCode::SubjectUnknown => v1::ReasonCode::SubjectUnknown,
        ReasonCode::CallerNotTrusted => v1::ReasonCode::CallerNotTrusted,
        ReasonCode::Stale => v1::ReasonCode::Stale,
        ReasonCode::Overloaded => v1::ReasonCode::Overloaded,
        ReasonCode::StoreUnavailable => v1::ReasonCode::StoreUnavailable,
        ReasonCode::AuditUnavailable => v1::ReasonCode::AuditUnavailable,
        ReasonCode::Internal => v1::ReasonCode::Internal,
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
