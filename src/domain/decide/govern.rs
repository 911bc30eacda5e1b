//! Decisions on changes of authority: granting a delegation, opening a task, approving a call.
//!
//! Like [`crate::domain::decide::call`], for the actions in the group `govern`.

use std::time::SystemTime;

use callgate_engine::Overlay;
use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::approval::{ApprovalContext, ApprovedCall};
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stated_identity::StatedIdentity;
use crate::domain::authority::task::Task;
use crate::domain::decide::approving::{ApproveQuestion, Approver};
use crate::domain::decide::cedar_request::{self, CedarRequest};
use crate::domain::decide::combine;
use crate::domain::decide::described_call::{self, DescribedCall};
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
    /// What is known of entities concerned that are gone.
    pub remembered: &'a [Overlay],
}

/// The actions that take something away. A permit that cannot be evaluated permits none of them, and is no reason against
/// them: what a failing policy read may be gone, as an agent is that was deleted before what was delegated to it was revoked.
const TAKING_AWAY: [&str; 4] = [
    "revoke_delegation",
    "close_task",
    "end_session",
    "stop_entity",
];

impl GovernRequest<'_> {
    fn takes_away(&self) -> bool {
        TAKING_AWAY.contains(&self.action)
    }

    /// Verifies that nobody is stopped who takes part in what is made, besides the actor. What takes something away is as good
    /// for those who are.
    fn verify_parties(&self, authority: &Authority) -> Result<(), Reason> {
        if self.takes_away() {
            return Ok(());
        }
        let delegate = (self.action == "grant_delegation").then_some(self.resource);
        let chain = self.chain.into_iter();
        let chain = chain.flat_map(|it| std::iter::once(&*it.root).chain(it.actors.iter()));
        let task = self.task.into_iter().flat_map(|it| [&it.person, &it.agent]);
        authority.verify_not_stopped(delegate.into_iter().chain(chain).chain(task))
    }
}

/// Decides a change of authority.
pub fn govern(
    inputs: &DecisionInputs<'_>,
    governing: &GovernRequest<'_>,
    requester: Requester<'_>,
    now: SystemTime,
) -> Verdict {
    let request = CedarRequest {
        overlays: governing.remembered.to_vec(),
        ..CedarRequest::new(
            schema::action_uid(governing.action),
            governing.resource.clone(),
        )
    };
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
    let about = (governing, &request);
    evaluate(inputs, &call, &evidence, about, requester, now).unwrap_or_else(Verdict::deny)
}

/// Whether a call is approved or rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApproverWish {
    /// It may be made.
    Approve,
    /// It may not be made, whatever has become of its tool and its parties.
    Reject,
}

/// Decides whether `approver` may approve or reject a call, on the facts that were recorded with it: it takes the same right. A
/// party to the call never may, whatever the policies say.
pub fn approve(
    inputs: &DecisionInputs<'_>,
    about: (&ApprovedCall, &ApprovalContext),
    (approver, wish): (&Subject, ApproverWish),
    requester: Requester<'_>,
    now: SystemTime,
) -> Verdict {
    try_approve(inputs, about, (approver, wish), requester, now).unwrap_or_else(Verdict::deny)
}

fn try_approve(
    inputs: &DecisionInputs<'_>,
    (approved, context): (&ApprovedCall, &ApprovalContext),
    (approver, wish): (&Subject, ApproverWish),
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
    let operation = &made.call.operation;
    let shown = inputs.history.definition;
    let request = match cedar_request::from_operation(inputs, operation, shown, requester.caller) {
        Err(_) if wish == ApproverWish::Reject => {
            described_call::recorded_request(inputs.snapshot, approved, context)
        }
        request => request?,
    };
    if wish == ApproverWish::Approve {
        verify_call_parties(inputs.authority, approved)?;
    }
    let evidence = made.evidence(inputs.authority)?;
    let about = (&made.call, &evidence);
    let question = ApproveQuestion::new(inputs, about, &request, requester.claims, now);
    let identity = StatedIdentity::new(&approver.identity, requester.caller);
    let asked = Approver::known(who, &approver.claims, identity);
    question.evaluate(&asked, |request, evaluated| {
        let evaluated = match wish {
            ApproverWish::Approve => evaluated,
            ApproverWish::Reject => evaluated.without_failed_permits(),
        };
        combine::combine(who, request, evaluated)
    })
}

/// Verifies that nobody is stopped who takes part in a call that is to be approved.
fn verify_call_parties(authority: &Authority, approved: &ApprovedCall) -> Result<(), Reason> {
    let server = schema::server_uid(&approved.server);
    let parties = [&approved.subject, &server].into_iter();
    let parties = parties.chain(&approved.root).chain(&approved.actors);
    authority.verify_not_stopped(parties)
}

fn evaluate(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    evidence: &VerifiedEvidence<'_>,
    (governing, request): (&GovernRequest<'_>, &CedarRequest),
    requester: Requester<'_>,
    now: SystemTime,
) -> Result<Verdict, Reason> {
    let actor = &call.subject.entity;
    verify_actor(inputs, &call.subject, requester, now)?;
    governing.verify_parties(inputs.authority)?;
    let parties = ClaimedParties::from_call(call, evidence);
    let entities = RequestEntities::new(
        inputs.snapshot,
        &call.subject,
        parties,
        evidence.task,
        requester,
    )?;
    check_scopes(
        inputs.snapshot,
        &[actor],
        &request.action,
        &request.resource,
    )?;
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
    let mut evaluated = evaluator.evaluate(&principals, None, &[])?;
    if governing.takes_away() {
        evaluated = evaluated.without_failed_permits();
    }
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
