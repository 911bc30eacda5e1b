//! Combines the evaluations of all principals into one verdict: all have to allow.

use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use callgate_engine::{PolicyEvaluation, PolicyInfo, PolicyList};

use crate::domain::decide::cedar_request::CedarRequest;
use crate::domain::decide::evaluate::PrincipalEvaluations;
use crate::domain::decide::verdict::{
    Decision, PrincipalVerdict, SideEffects, TargetSummary, Verdict,
};
use crate::domain::reason::{Reason, ReasonCode};

/// Combines evaluations. Those of the subject come first, then those of its delegators.
pub fn combine(
    subject: &EntityUID,
    request: &CedarRequest,
    evaluated: PrincipalEvaluations<'_>,
) -> Verdict {
    let is_allow = evaluated.is_allow();
    let mut reasons: Vec<Reason> = Vec::new();
    let mut determining_policies = PolicyList::new();
    for (principal, evaluation) in evaluated.iter() {
        if is_allow {
            add_new(&mut determining_policies, &evaluation.permits);
        } else if !evaluation.is_allow() {
            add_new(&mut determining_policies, &evaluation.forbids);
            let reason = reason_of(principal, principal == subject, evaluation);
            // A call with several targets is evaluated once for each.
            if !reasons.iter().any(|known| known.says_the_same_as(&reason)) {
                reasons.push(reason);
            }
        }
    }
    let shadow = shadow_flips(is_allow, &evaluated);
    let principals = evaluated
        .into_each()
        .map(|(principal, evaluation)| principal_verdict(principal, request, evaluation))
        .collect();
    let outcome = if is_allow {
        Decision::Allow
    } else {
        Decision::Deny
    };
    Verdict {
        outcome,
        reasons,
        determining_policies,
        shadow,
        principals,
        targets: request.targets.iter().map(TargetSummary::from).collect(),
        challenge: None,
        effects: SideEffects::default(),
    }
}

/// The reason code of an evaluation that does not allow.
pub fn code_of(evaluation: &PolicyEvaluation, is_subject: bool) -> ReasonCode {
    if !is_subject {
        return ReasonCode::DelegatorDenied;
    }
    own_code(evaluation)
}

fn own_code(evaluation: &PolicyEvaluation) -> ReasonCode {
    if !evaluation.forbids.is_empty() {
        ReasonCode::Forbidden
    } else if !evaluation.errors.is_empty() {
        ReasonCode::EvaluationError
    } else {
        ReasonCode::NoPermit
    }
}

fn reason_of(principal: &EntityUID, is_subject: bool, evaluation: &PolicyEvaluation) -> Reason {
    let forbidding = evaluation
        .forbids
        .iter()
        .find_map(|policy| policy.reason.as_deref());
    let why = match own_code(evaluation) {
        ReasonCode::Forbidden => forbidding.unwrap_or("a policy forbids this call"),
        ReasonCode::EvaluationError => "a policy that applies to this call could not be evaluated",
        _ => "no policy permits this call",
    };
    let message = if is_subject {
        why.to_owned()
    } else {
        format!("someone for whom this call is made may not make it: {why}")
    };
    let mut reason = Reason::new(code_of(evaluation, is_subject), "");
    // The `@reason` of a policy is shown as its author wrote it, including line breaks.
    reason.message = message;
    reason.principal = Some(principal.clone());
    let errors = evaluation.errors.iter();
    reason.policies = evaluation
        .forbids
        .iter()
        .chain(errors.clone().map(|error| &error.policy))
        .map(|policy| policy.id.clone())
        .collect();
    let details: Vec<String> = errors
        .map(|error| format!("{}: {}", error.policy.id, error.message))
        .collect();
    reason.detail = (!details.is_empty()).then(|| details.join("; "));
    reason
}

/// Shadow policies that would have changed the decision. For an allow, one principal suffices; for a deny,
/// every denied principal has to be permitted.
fn shadow_flips(is_allow: bool, evaluated: &PrincipalEvaluations<'_>) -> PolicyList {
    let mut flips = PolicyList::new();
    for (_, evaluation) in evaluated.iter() {
        let own = evaluation.shadow_flips();
        if !is_allow && own.is_empty() && !evaluation.is_allow() {
            return PolicyList::new();
        }
        if is_allow || !evaluation.is_allow() {
            add_new(&mut flips, own);
        }
    }
    flips
}

fn add_new(known: &mut PolicyList, policies: &[Arc<PolicyInfo>]) {
    for policy in policies {
        if !known.iter().any(|other| Arc::ptr_eq(other, policy)) {
            known.push(Arc::clone(policy));
        }
    }
}

fn principal_verdict(
    principal: &EntityUID,
    request: &CedarRequest,
    evaluation: PolicyEvaluation,
) -> PrincipalVerdict {
    let outcome = if evaluation.is_allow() {
        Decision::Allow
    } else {
        Decision::Deny
    };
    PrincipalVerdict {
        principal: principal.clone(),
        action: request.action.clone(),
        resource: request.resource.clone(),
        outcome,
        permits: evaluation.permits,
        forbids: evaluation.forbids,
        errors: evaluation
            .errors
            .into_iter()
            .map(|error| (error.policy, error.message))
            .collect(),
        policies_evaluated: evaluation.policies_evaluated,
    }
}

impl Reason {
    fn says_the_same_as(&self, other: &Self) -> bool {
        self.code == other.code
            && self.principal == other.principal
            && self.policies == other.policies
    }
}
