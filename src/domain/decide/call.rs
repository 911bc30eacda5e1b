//! The decision on one call, in order: verify evidence, build the Cedar request, gather facts, evaluate the
//! policies for every principal, combine the results.

use std::time::SystemTime;

use crate::domain::decide::cedar_request;
use crate::domain::decide::challenge;
use crate::domain::decide::combine;
use crate::domain::decide::evaluate::{
    ClaimedParties, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::facts::approval::ApprovalFacts;
use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::decide::verdict::{SideEffects, Verdict};
use crate::domain::decide::verify;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::{CallContext, OperationKind};
use crate::domain::schema::{self, AccessLevel};

/// Decides one call. The side effects of an allow are returned in [`Verdict::side_effects`] and not applied.
pub fn decide<'w>(
    world: impl Into<DecisionInputs<'w>>,
    call: &CallContext,
    asker: Requester<'_>,
    now: SystemTime,
) -> Verdict {
    try_decide(&world.into(), call, asker, now).unwrap_or_else(Verdict::deny)
}

/// The error is the reason of a deny without policy evaluation.
fn try_decide(
    world: &DecisionInputs<'_>,
    call: &CallContext,
    asker: Requester<'_>,
    now: SystemTime,
) -> Result<Verdict, Reason> {
    let snapshot = world.snapshot;
    let evidence = verify::verify_call(world, call, &asker.caller.rights, now)?;
    let plan = cedar_request::of_call(world, &call.operation, world.past.definition, asker.caller)?;
    if evidence.is_bounded() {
        let server = schema::server(&call.operation.server);
        evidence.covers(snapshot, &plan.reach(&server))?;
        if let (Some(tool), Some(arguments)) = (plan.tool(), call.operation.arguments()) {
            evidence.check_terms(world, tool, &plan.targets, arguments)?;
        }
    }
    let describe = || challenge::describe(world, call, evidence.chain.as_ref(), &plan);
    let approvals = evidence.approvals(world, call, describe, now)?;
    // Skip the task entity when no policy reads it.
    let task = evidence.task.filter(|_| snapshot.reads_context("task"));
    let scene = RequestEntities::of(
        snapshot,
        &call.subject,
        ClaimedParties::of(call, &evidence),
        task,
        asker,
    )?;
    let principals = evidence.principals(call);
    check_scopes(snapshot, &principals, &plan)?;
    let asking = RequestEvaluator {
        world,
        call,
        evidence: &evidence,
        plan: &plan,
        scene: &scene,
        now,
    };
    let combine = |evaluated| combine::combine(&call.subject.entity, &plan, evaluated);
    let mut effects = effects(&asking);
    let mut denied = None;
    for approval in approvals {
        if !challenge::may_still_approve(&asking, approval, asker)? {
            let fault = "was given by somebody who may not give it any more";
            return Err(verify::invalid_approval(&approval.id, fault));
        }
        let facts = ApprovalFacts::of(approval, now);
        let mut decision = combine(asking.ask(&principals, facts, &[])?);
        if decision.is_allow() {
            let uses = approval.word.as_ref().map_or(0, |word| word.uses);
            effects.approval = Some((approval.id.clone(), uses));
            decision.effects = effects;
            return Ok(decision);
        }
        denied = Some(decision);
    }
    if let Some(decision) = denied {
        return Ok(decision);
    }
    let mut decision = combine(asking.ask(&principals, None, &[])?);
    if decision.is_allow() {
        decision.effects = effects;
    } else if let Some(challenge) = challenge::find(&asking, &principals) {
        let message = "a person has to approve this call first";
        let reason = Reason::new(ReasonCode::ApprovalRequired, message);
        decision.reasons.insert(0, reason);
        decision.challenge = Some(Box::new(challenge));
    }
    Ok(decision)
}

/// The side effects of the call if it is allowed.
fn effects(asking: &RequestEvaluator<'_>) -> SideEffects {
    let RequestEvaluator {
        call,
        evidence,
        plan,
        ..
    } = asking;
    let is_listing = matches!(
        call.operation.kind,
        OperationKind::Connect { .. }
            | OperationKind::ListTools
            | OperationKind::ListPrompts
            | OperationKind::ListResources
    );
    let task = evidence.task.filter(|_| !is_listing);
    SideEffects {
        approval: None,
        budget: task.and_then(|task| Some((task.id.clone(), task.call_budget?))),
        tool_budget: task
            .zip(plan.tool())
            .and_then(|(task, tool)| task.tool_budget(tool)),
        tool: plan.tool().cloned(),
        yields: plan.yields.clone(),
        targets: plan.targets.clone(),
        // For a tool that writes, the registration alone says which labels its result has.
        reads: plan.access == AccessLevel::Read || !plan.yields.is_empty(),
        writes: (plan.access != AccessLevel::Read && !plan.targets.is_empty())
            .then(|| asking.labels()),
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
