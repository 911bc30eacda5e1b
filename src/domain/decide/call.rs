//! The decision on one call, in order: verify evidence, build the Cedar request, gather facts, evaluate the
//! policies for every principal, combine the results.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;

use crate::domain::authority::approval::Approval;
use crate::domain::decide::approving::{ApproveQuestion, StillApproves};
use crate::domain::decide::cedar_request;
use crate::domain::decide::challenge;
use crate::domain::decide::combine;
use crate::domain::decide::evaluate::{
    ClaimedParties, PrincipalEvaluations, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::facts::approval::ApprovalFacts;
use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::decide::verdict::{SideEffects, Verdict};
use crate::domain::decide::verify;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::CallContext;
use crate::domain::schema::{self, AccessLevel};

/// Decides one call. The side effects of an allow are returned in [`Verdict::effects`] and not applied.
pub fn decide<'w>(
    inputs: impl Into<DecisionInputs<'w>>,
    call: &CallContext,
    requester: Requester<'_>,
    now: SystemTime,
) -> Verdict {
    try_decide(&inputs.into(), call, requester, now).unwrap_or_else(Verdict::deny)
}

/// The error is the reason of a deny without policy evaluation.
fn try_decide(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    requester: Requester<'_>,
    now: SystemTime,
) -> Result<Verdict, Reason> {
    if let Some(reason) = &call.denied {
        return Err(Reason::clone(reason));
    }
    let snapshot = inputs.snapshot;
    let evidence = verify::verify_call(inputs, call, &requester.caller.rights, now)?;
    let request = cedar_request::from_operation(
        inputs,
        &call.operation,
        inputs.history.definition,
        requester.caller,
    )?;
    if evidence.is_bounded() {
        let server = schema::server_uid(&call.operation.server);
        evidence.covers(snapshot, &request.requested_access(&server))?;
        if let Some(tool) = request.tool() {
            let registered = request.registered_tool.as_deref();
            evidence.check_terms(inputs, tool, registered, &request.targets, &call.operation)?;
        }
    }
    let describe = || challenge::describe(call, evidence.chain.as_ref(), &request);
    let approvals = evidence.approvals(inputs, call, describe, now)?;
    // Skip the task entity when no policy reads it.
    let task = evidence.task.filter(|_| snapshot.reads_context("task"));
    let entities = RequestEntities::new(
        snapshot,
        &call.subject,
        ClaimedParties::from_call(call, &evidence),
        task,
        requester,
    )?;
    let principals = evidence.principals(call);
    check_scopes(snapshot, &principals, &request.action, &request.resource)?;
    let evaluator = RequestEvaluator {
        inputs,
        call,
        evidence: &evidence,
        request: &request,
        entities: &entities,
        approver: None,
        now,
    };
    match decide_with_approvals(&evaluator, &principals, &approvals, requester)? {
        Some(verdict) => Ok(verdict),
        None => decide_without_approval(&evaluator, &principals, requester),
    }
}

/// The verdict with the first approval that turns it into an allow, else with the last one; `None` if the call
/// names no approval.
fn decide_with_approvals(
    evaluator: &RequestEvaluator<'_>,
    principals: &[&EntityUID],
    approvals: &[&Arc<Approval>],
    requester: Requester<'_>,
) -> Result<Option<Verdict>, Reason> {
    let mut denied = None;
    for approval in approvals {
        let question = ApproveQuestion::of_call(evaluator, requester.claims);
        let still = match &approval.word {
            Some(word) => question.may_still(word)?,
            None => StillApproves::No,
        };
        let fault = match still {
            StillApproves::Yes => None,
            StillApproves::No => Some("was given by somebody who may not give it any more"),
            StillApproves::Unknown => Some(
                "was given when the approver's identity was not recorded: it has to be given again",
            ),
        };
        if let Some(fault) = fault {
            return Err(verify::invalid_approval(&approval.id, fault));
        }
        let facts = ApprovalFacts::from_approval(approval, evaluator.now);
        let evaluations = evaluator.evaluate(principals, facts, &[])?;
        let mut verdict = combine(evaluator, evaluations);
        if verdict.is_allow() {
            let uses = approval.word.as_ref().map_or(0, |word| word.uses);
            verdict.effects = effects(evaluator);
            verdict.effects.approval = Some((approval.id.clone(), uses));
            return Ok(Some(verdict));
        }
        denied = Some(verdict);
    }
    Ok(denied)
}

/// The verdict without an approval. A deny that an approval would turn into an allow has a challenge.
fn decide_without_approval(
    evaluator: &RequestEvaluator<'_>,
    principals: &[&EntityUID],
    requester: Requester<'_>,
) -> Result<Verdict, Reason> {
    let evaluations = evaluator.evaluate_open_to_approval(principals)?;
    let challenge = match evaluations.is_allow() {
        true => None,
        false => challenge::find(evaluator, principals, &evaluations, requester),
    };
    let mut verdict = combine(evaluator, evaluations);
    if verdict.is_allow() {
        verdict.effects = effects(evaluator);
    } else if let Some(challenge) = challenge {
        let message = "a person has to approve this call first";
        let reason = Reason::new(ReasonCode::ApprovalRequired, message);
        verdict.reasons.insert(0, reason);
        verdict.challenge = Some(Box::new(challenge));
    }
    Ok(verdict)
}

fn combine(evaluator: &RequestEvaluator<'_>, evaluations: PrincipalEvaluations<'_>) -> Verdict {
    let subject = &evaluator.call.subject.entity;
    combine::combine(subject, evaluator.request, evaluations)
}

/// The side effects of the call if it is allowed.
pub(super) fn effects(evaluator: &RequestEvaluator<'_>) -> SideEffects {
    let RequestEvaluator {
        call,
        evidence,
        request,
        ..
    } = evaluator;
    let task = evidence.task.filter(|_| call.operation.kind.uses_budget());
    let is_write = request.access != AccessLevel::Read && !request.targets.is_empty();
    SideEffects {
        approval: None,
        budget: task.and_then(|task| task.budget()),
        tool_budget: task
            .zip(request.tool())
            .and_then(|(task, tool)| task.tool_budget(tool)),
        tool: request.tool().cloned(),
        yields: request.yields.clone(),
        targets: request.targets.clone(),
        // For a tool that writes, the registration alone says which labels its result has.
        reads: request.access == AccessLevel::Read
            || !request.yields.is_empty()
            || request.tool().is_none(),
        writes: is_write.then(|| evaluator.labels()),
        on_server: (is_write || request.is_unnamed)
            .then(|| schema::everything_on(&call.operation.server)),
        is_unnamed: request.is_unnamed,
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
