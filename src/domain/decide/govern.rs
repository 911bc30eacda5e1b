//! Decisions on changes of authority: granting a delegation, opening a task, approving a call.
//!
//! Like [`crate::domain::decide::call`], for the actions in the group `govern`.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::approval::{ApprovalContext, ApprovedCall};
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::stated_identity::StatedIdentity;
use crate::domain::authority::task::Task;
use crate::domain::decide::approving::{ApproveQuestion, Approver};
use crate::domain::decide::cedar_request::{self, CedarRequest};
use crate::domain::decide::combine;
use crate::domain::decide::described_call::DescribedCall;
use crate::domain::decide::evaluate::{
    ClaimedParties, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::inputs::Requester;
use crate::domain::decide::verdict::Verdict;
use crate::domain::decide::verify::{self, VerifiedEvidence};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::Initiator;
use crate::domain::request::call_context::{CallContext, Operation, Subject};
use crate::domain::request::operation::{Listing, OperationKind};
use crate::domain::schema;

/// A change of authority to decide.
#[derive(Debug, Clone, Copy)]
pub struct GovernRequest<'a> {
    /// The principal that requests the change.
    pub actor: &'a Subject,
    /// The action, e.g. `grant_delegation`.
    pub action: &'static str,
    /// The resource, e.g. the agent that receives a delegation.
    pub resource: &'a EntityUID,
    /// The delegation chain concerned, as `context.delegation`.
    pub chain: Option<&'a DelegationChain<'a>>,
    /// The task concerned, as `context.task`.
    pub task: Option<&'a Task>,
}

/// Decides a change of authority.
pub fn govern(
    inputs: &DecisionInputs<'_>,
    governing: &GovernRequest<'_>,
    requester: Requester<'_>,
    now: SystemTime,
) -> Verdict {
    let request = CedarRequest::new(
        schema::action_uid(governing.action),
        governing.resource.clone(),
    );
    // Only the subject of this call is read; no operation takes place.
    let call = CallContext::new(
        governing.actor.clone(),
        Operation::new(
            Initiator::Client,
            SmolStr::default(),
            OperationKind::List(Listing::Tools),
        ),
    );
    let evidence = VerifiedEvidence {
        chain: governing.chain.cloned(),
        task: governing.task,
    };
    evaluate(inputs, &call, &evidence, &request, requester, now).unwrap_or_else(Verdict::deny)
}

/// Decides whether `approver` may approve a call, on the facts that were recorded with it. A party to the call never may, whatever the policies say.
pub fn approve(
    inputs: &DecisionInputs<'_>,
    (approved, context): (&ApprovedCall, &ApprovalContext),
    approver: &Subject,
    requester: Requester<'_>,
    now: SystemTime,
) -> Verdict {
    try_approve(inputs, (approved, context), approver, requester, now).unwrap_or_else(Verdict::deny)
}

fn try_approve(
    inputs: &DecisionInputs<'_>,
    (approved, context): (&ApprovedCall, &ApprovalContext),
    approver: &Subject,
    requester: Requester<'_>,
    now: SystemTime,
) -> Result<Verdict, Reason> {
    let who = &approver.entity;
    if *who == approved.subject || approved.actors.contains(who) {
        let message = "nobody approves a call of their own";
        let mut reason = Reason::new(ReasonCode::Forbidden, message);
        reason.principal = Some(who.clone());
        return Err(reason);
    }
    verify_actor(inputs, approver, requester, now)?;
    let made = DescribedCall::new(approved, context)?;
    let inputs = &DecisionInputs {
        history: made.history(inputs.history),
        ..*inputs
    };
    let request = cedar_request::from_operation(
        inputs,
        &made.call.operation,
        inputs.history.definition,
        requester.caller,
    )?;
    let evidence = made.evidence(inputs.authority)?;
    let about = (&made.call, &evidence);
    let question = ApproveQuestion::new(inputs, about, &request, requester.claims, now);
    let identity = StatedIdentity::new(&approver.identity, requester.caller);
    let asked = Approver::known(who, &approver.claims, identity);
    question.evaluate(&asked, |request, evaluated| {
        combine::combine(who, request, evaluated)
    })
}

fn evaluate(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    evidence: &VerifiedEvidence<'_>,
    request: &CedarRequest,
    requester: Requester<'_>,
    now: SystemTime,
) -> Result<Verdict, Reason> {
    let actor = &call.subject.entity;
    verify_actor(inputs, &call.subject, requester, now)?;
    let parties = ClaimedParties::from_call(call, evidence);
    let entities = RequestEntities::new(
        inputs.snapshot,
        &call.subject,
        parties,
        evidence.task,
        requester,
    )?;
    check_scopes(inputs.snapshot, &[actor], request)?;
    let evaluator = RequestEvaluator {
        inputs,
        call,
        evidence,
        request,
        entities: &entities,
        approver: None,
        now,
    };
    let principals = [actor];
    let evaluated = evaluator.evaluate(&principals, None, &[])?;
    Ok(combine::combine(actor, request, evaluated))
}

/// Verifies who asks for a change. What the change is about is on record here, and nothing that the caller asserts.
fn verify_actor(
    inputs: &DecisionInputs<'_>,
    actor: &Subject,
    requester: Requester<'_>,
    now: SystemTime,
) -> Result<(), Reason> {
    verify::verify_stated(actor, &requester.caller.rights)?;
    verify::verify_known(inputs.snapshot, &actor.entity)?;
    verify::verify_times(&actor.identity, now)?;
    inputs.authority.verify_not_stopped([&actor.entity])
}

#[cfg(test)]
#[path = "govern_tests.rs"]
mod tests;
