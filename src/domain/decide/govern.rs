//! Decisions on changes of authority: granting a delegation, opening a task, approving a call.
//!
//! Like [`crate::domain::decide::call`], for the actions in the group `govern`.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::approval::ApprovedCall;
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::task::Task;
use crate::domain::decide::cedar_request::{self, CedarRequest};
use crate::domain::decide::challenge;
use crate::domain::decide::combine;
use crate::domain::decide::evaluate::{
    ClaimedParties, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::inputs::Requester;
use crate::domain::decide::verdict::Verdict;
use crate::domain::decide::verify::{self, VerifiedEvidence};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::Initiator;
use crate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject, Workflow};
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::operation::{Listing, OperationKind, ToolCall};
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

/// Decides whether `approver` may approve a call. A party to the call never may, whatever the policies say.
pub fn approve(
    inputs: &DecisionInputs<'_>,
    approved: &ApprovedCall,
    approver: &Subject,
    requester: Requester<'_>,
    now: SystemTime,
) -> Verdict {
    try_approve(inputs, approved, approver, requester, now).unwrap_or_else(Verdict::deny)
}

fn try_approve(
    inputs: &DecisionInputs<'_>,
    approved: &ApprovedCall,
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
    let made = call_of(approved)?;
    let request = cedar_request::from_operation(
        inputs,
        &made.operation,
        inputs.history.definition,
        requester.caller,
    )?;
    let chain = made
        .actor_chain
        .as_ref()
        .map(DelegationChain::asserted)
        .transpose()?;
    let task = approved
        .task
        .as_ref()
        .and_then(|id| inputs.authority.tasks.get(id));
    let evidence = VerifiedEvidence {
        chain,
        task: task.map(std::sync::Arc::as_ref),
    };
    let call = CallContext {
        subject: approver.clone(),
        ..made.clone()
    };
    let request = challenge::approve_request(&request);
    evaluate(inputs, &call, &evidence, &request, requester, now)
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

/// Rebuilds the call that an approval describes.
fn call_of(approved: &ApprovedCall) -> Result<CallContext, Reason> {
    let arguments = serde_json::from_str(&approved.arguments).map_err(unreadable)?;
    let kind = OperationKind::CallTool(ToolCall {
        tool: approved.tool.clone(),
        arguments,
        definition_digest: None,
        target: approved.target.clone(),
    });
    let responses = approved.responses.as_deref().map(serde_json::from_str);
    let responses = responses
        .transpose()
        .map_err(unreadable)?
        .unwrap_or_default();
    let answers = ClientResponses::from_json(&responses).map_err(unreadable)?;
    let operation = Operation {
        answers: answers.map(Box::new),
        request_state: approved.request_state.clone().map(Into::into),
        ..Operation::new(approved.initiator, approved.server.clone(), kind)
    };
    let subject = Subject {
        entity: approved.subject.clone(),
        identity: Default::default(),
        claims: Default::default(),
    };
    Ok(CallContext {
        actor_chain: approved.root.clone().map(|root| ActorChain {
            actors: approved.actors.clone(),
            ..ActorChain::verified_from(root)
        }),
        workflow: Workflow {
            task_id: approved.task.clone(),
            ..Workflow::default()
        },
        ..CallContext::new(subject, operation)
    })
}

fn unreadable(_: impl std::error::Error) -> Reason {
    Reason::new(ReasonCode::Internal, "the approval cannot be read")
}

#[cfg(test)]
#[path = "govern_tests.rs"]
mod tests;
