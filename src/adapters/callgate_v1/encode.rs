//! Encodes verdicts as messages of `callgate.v1`, straight into the bytes of the response.
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
use crate::proto::codec::EncodedMessage;
use crate::proto::{v1, wire};
use crate::service::request::Response;
use smol_str::SmolStr;
use uuid::Uuid;

/// How much of what is behind a verdict is disclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disclosure {
    /// The caller may see policies and errors.
    pub is_entitled: bool,
    /// The request asked for the explanation.
    pub is_wanted: bool,
}

/// Encodes the response to one call, as `AuthorizeResponse`.
pub fn authorize(
    answer: &Response<Box<Verdict>>,
    detail: Disclosure,
) -> EncodedMessage<v1::AuthorizeResponse> {
    EncodedMessage::write(|out| write_authorize(out, answer, detail))
}

fn write_authorize(out: &mut Vec<u8>, answer: &Response<Box<Verdict>>, detail: Disclosure) {
    let verdict = &answer.value;
    write_verdict(out, answer, detail);
    for obligation in obligations(verdict, detail) {
        wire::message(out, 6, &obligation);
    }
    if let Some(challenge) = &verdict.challenge {
        wire::message(out, 7, &approval_challenge(challenge));
    }
    if let Some(explanation) = explanation(answer, detail) {
        wire::message(out, 8, &explanation);
    }
    write_observed(out, answer);
}

/// Encodes the responses to several calls, as `AuthorizeBatchResponse`.
pub fn authorize_batch<'a>(
    answers: impl IntoIterator<Item = (&'a Response<Box<Verdict>>, Disclosure)>,
) -> EncodedMessage<v1::AuthorizeBatchResponse> {
    EncodedMessage::write(|out| {
        for (answer, detail) in answers {
            wire::nested(out, 1, |out| write_authorize(out, answer, detail));
        }
    })
}

/// Encodes the response to a plain Cedar request, as `IsAuthorizedResponse`.
pub fn is_authorized(
    answer: &Response<Box<Verdict>>,
    detail: Disclosure,
) -> EncodedMessage<v1::IsAuthorizedResponse> {
    EncodedMessage::write(|out| {
        let verdict = &answer.value;
        write_verdict(out, answer, detail);
        if detail.is_entitled {
            for error in verdict.principals.iter().flat_map(policy_errors) {
                wire::message(out, 6, &error);
            }
        }
        if let Some(explanation) = explanation(answer, detail) {
            wire::message(out, 7, &explanation);
        }
        for obligation in obligations(verdict, detail) {
            wire::message(out, 8, &obligation);
        }
        write_observed(out, answer);
    })
}

/// Encodes the response about a list of tools, as `FilterToolsResponse`.
pub fn filter_tools(
    tools: &[SmolStr],
    answer: &Response<Vec<HiddenReason>>,
) -> EncodedMessage<v1::FilterToolsResponse> {
    let tools = || tools.iter().zip(&answer.value);
    EncodedMessage::write(|out| {
        for (tool, _) in tools().filter(|(_, hidden)| hidden.is_none()) {
            wire::bytes(out, 1, tool.as_bytes());
        }
        for (tool, hidden) in tools() {
            if let Some(code) = *hidden {
                wire::nested(out, 2, |out| {
                    wire::text(out, 1, tool);
                    wire::number(out, 2, reason_code(code) as u64);
                });
            }
        }
        write_id(out, 3, answer.decision_id);
        wire::number(out, 4, answer.revision);
        wire::number(out, 5, answer.observed.is_some().into());
    })
}

/// What the responses to calls and to plain Cedar requests begin with: the fields 1 to 5.
fn write_verdict(out: &mut Vec<u8>, answer: &Response<Box<Verdict>>, detail: Disclosure) {
    let verdict = &answer.value;
    wire::number(out, 1, outcome(verdict.outcome) as u64);
    write_id(out, 2, answer.decision_id);
    wire::number(out, 3, answer.revision);
    for reason in &verdict.reasons {
        wire::nested(out, 4, |out| write_reason(out, reason, detail));
    }
    if detail.is_entitled {
        for policy in &verdict.determining_policies {
            wire::nested(out, 5, |out| write_policy(out, policy));
        }
    }
}

/// What both end with: the fields 9 and 10.
fn write_observed(out: &mut Vec<u8>, answer: &Response<Box<Verdict>>) {
    if let Some(observed) = answer.observed {
        wire::number(out, 9, 1);
        wire::number(out, 10, outcome(observed) as u64);
    }
}

fn write_id(out: &mut Vec<u8>, field: u32, decision: Uuid) {
    let mut text = Uuid::encode_buffer();
    wire::text(out, field, decision.hyphenated().encode_lower(&mut text));
}

/// Appends a `Reason`.
pub(super) fn write_reason(out: &mut Vec<u8>, reason: &Reason, detail: Disclosure) {
    wire::number(out, 1, reason_code(reason.code) as u64);
    wire::text(out, 2, &reason.message);
    if let Some(principal) = &reason.principal {
        wire::message(out, 3, &entity_ref(principal));
    }
    for missing in &reason.missing {
        wire::bytes(out, 4, missing.as_bytes());
    }
    if detail.is_entitled {
        for policy in &reason.policies {
            wire::bytes(out, 5, policy.as_bytes());
        }
        wire::text(out, 6, reason.detail.as_deref().unwrap_or_default());
    }
}

fn write_policy(out: &mut Vec<u8>, policy: &PolicyInfo) {
    wire::text(out, 1, &policy.id);
    wire::text(out, 2, policy.owner.as_deref().unwrap_or_default());
    for control in &policy.controls {
        wire::bytes(out, 3, control.as_bytes());
    }
}

/// The challenge that an approval must answer.
fn approval_challenge(challenge: &Challenge) -> v1::ApprovalChallenge {
    v1::ApprovalChallenge {
        digest: challenge.digest.to_string(),
        // Durations and timestamps within the limits fit their wire forms.
        valid_for: challenge.valid_for.try_into().ok(),
        expires_at: Some(challenge.expires_at.into()),
    }
}

pub(super) fn outcome(outcome: Decision) -> v1::Decision {
    match outcome {
        Decision::Allow => v1::Decision::Allow,
        Decision::Deny => v1::Decision::Deny,
    }
}

/// Every caller gets the obligations: an allow does not hold without them.
fn obligations(
    verdict: &Verdict,
    detail: Disclosure,
) -> impl Iterator<Item = v1::Obligation> + use<'_> {
    let of_policy = move |policy: &'_ Arc<PolicyInfo>| {
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
                properties: Some(json::to_struct(&obligation.properties(verdict.about()))),
            }
        })
    };
    verdict.determining_policies.iter().flat_map(of_policy)
}

fn explanation(answer: &Response<Box<Verdict>>, detail: Disclosure) -> Option<v1::Explanation> {
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
