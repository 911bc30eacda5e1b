//! From one call to one decision, in order: verify evidence, gather facts, ask Cedar for everyone
//! involved, put the answers together.

use std::time::SystemTime;

use crate::call::answer;
use crate::call::asking::{Asking, Behind, Scene, check_scopes};
use crate::call::challenge;
use crate::call::context::{CallContext, OperationKind};
use crate::call::decision::{Decision, Effects, Reason, ReasonCode};
use crate::call::evidence;
use crate::call::facts::live::ApprovalFacts;
use crate::call::model::{self, Effect};
use crate::call::plan;
use crate::call::world::World;
use crate::config::claims::ClaimMapping;
use crate::identity::caller::Caller;

/// Who asks, and how its claims are read.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The enforcement point.
    pub caller: &'a Caller,
    /// Which of the claims it passes on become facts.
    pub claims: &'a ClaimMapping,
}

/// Decides one call. Pure: the same inputs give the same decision. What an allow uses up is told in
/// [`Decision::effects`] and has not happened yet.
pub fn decide<'w>(
    world: impl Into<World<'w>>,
    call: &CallContext,
    asker: Asker<'_>,
    now: SystemTime,
) -> Decision {
    try_decide(&world.into(), call, asker, now).unwrap_or_else(Decision::deny)
}

/// The error is the reason of a deny that no policy was asked about.
fn try_decide(
    world: &World<'_>,
    call: &CallContext,
    asker: Asker<'_>,
    now: SystemTime,
) -> Result<Decision, Reason> {
    let snapshot = world.snapshot;
    let evidence = evidence::verify_call(world, call, &asker.caller.rights, now)?;
    let plan = plan::of_call(world, &call.operation, world.past.definition, asker.caller)?;
    if evidence.is_bounded() {
        let server = model::server(&call.operation.server);
        evidence.covers(snapshot, &plan.reach(&server))?;
        if let (Some(tool), Some(arguments)) = (plan.tool(), call.operation.arguments()) {
            evidence.keeps_terms(world, tool, &plan.targets, arguments)?;
        }
    }
    let describe = || challenge::describe(world, call, evidence.chain.as_ref(), &plan);
    let approvals = evidence.approvals(world, call, describe, now)?;
    // Nobody looks into an entity that no policy can come across.
    let task = evidence.task.filter(|_| snapshot.reads_context("task"));
    let scene = Scene::of(
        snapshot,
        &call.subject,
        Behind::of(call, &evidence),
        task,
        asker,
    )?;
    let principals = evidence.principals(call);
    check_scopes(snapshot, &principals, &plan)?;
    let asking = Asking {
        world,
        call,
        evidence: &evidence,
        plan: &plan,
        scene: &scene,
        now,
    };
    let combine = |evaluated| answer::combine(&call.subject.entity, &plan, evaluated);
    let mut effects = effects(&asking);
    let mut denied = None;
    for approval in approvals {
        if !challenge::may_still_approve(&asking, approval, asker)? {
            let fault = "was given by somebody who may not give it any more";
            return Err(evidence::bad_approval(&approval.id, fault));
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

/// What the call uses up and leaves behind if it is allowed.
fn effects(asking: &Asking<'_>) -> Effects {
    let Asking {
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
    Effects {
        approval: None,
        budget: task.and_then(|task| Some((task.id.clone(), task.call_budget?))),
        tool_budget: task
            .zip(plan.tool())
            .and_then(|(task, tool)| task.tool_budget(tool)),
        tool: plan.tool().cloned(),
        yields: plan.yields.clone(),
        targets: plan.targets.clone(),
        // What a tool that writes gives back, its registration says.
        reads: plan.effect == Effect::Read || !plan.yields.is_empty(),
        writes: (plan.effect != Effect::Read && !plan.targets.is_empty()).then(|| asking.labels()),
    }
}

#[cfg(test)]
mod tests;
