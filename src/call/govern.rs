//! Whether a principal may change authority itself: lend, open a task, approve a call.
//!
//! Like [`crate::call::decide`], for the actions in the group `govern`.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::call::answer;
use crate::call::answers::Answers;
use crate::call::asking::{Asking, Behind, Scene, check_scopes};
use crate::call::chain::Chain;
use crate::call::challenge;
use crate::call::context::{CallContext, Delegation, Operation, Subject, ToolCall, Workflow};
use crate::call::context::{Initiator, OperationKind};
use crate::call::decide::Asker;
use crate::call::decision::{Decision, Reason, ReasonCode};
use crate::call::evidence::{self, Evidence};
use crate::call::live::approval::ApprovedCall;
use crate::call::live::task::Task;
use crate::call::model;
use crate::call::plan::{self, Plan};
use crate::call::world::World;

/// One change of authority, before it is made.
#[derive(Debug, Clone, Copy)]
pub struct Governing<'a> {
    /// Who wants it.
    pub actor: &'a Subject,
    /// The action, e.g. `grant_delegation`.
    pub action: &'static str,
    /// What is changed, e.g. the agent that is lent to.
    pub resource: &'a EntityUID,
    /// The delegation it is about; policies see it as `context.delegation`.
    pub chain: Option<&'a Chain<'a>>,
    /// The task it is about; policies see it as `context.task`.
    pub task: Option<&'a Task>,
}

/// Decides one change of authority. Pure.
pub fn govern(
    world: &World<'_>,
    governing: &Governing<'_>,
    asker: Asker<'_>,
    now: SystemTime,
) -> Decision {
    let plan = Plan::new(model::action(governing.action), governing.resource.clone());
    // Nothing is called: of the call that carries the question only the subject is looked at.
    let call = CallContext::new(
        governing.actor.clone(),
        Operation::new(
            Initiator::Client,
            SmolStr::default(),
            OperationKind::ListTools,
        ),
    );
    let evidence = Evidence {
        chain: governing.chain.cloned(),
        task: governing.task,
    };
    ask(world, &call, &evidence, &plan, asker, now).unwrap_or_else(Decision::deny)
}

/// Whether somebody may approve a call. Who makes the call never may, whatever the policies say.
pub fn approve(
    world: &World<'_>,
    approved: &ApprovedCall,
    approver: &Subject,
    asker: Asker<'_>,
    now: SystemTime,
) -> Decision {
    try_approve(world, approved, approver, asker, now).unwrap_or_else(Decision::deny)
}

fn try_approve(
    world: &World<'_>,
    approved: &ApprovedCall,
    approver: &Subject,
    asker: Asker<'_>,
    now: SystemTime,
) -> Result<Decision, Reason> {
    let who = &approver.entity;
    if *who == approved.subject || approved.actors.contains(who) {
        let message = "nobody approves a call of their own";
        let mut reason = Reason::new(ReasonCode::Forbidden, message);
        reason.principal = Some(who.clone());
        return Err(reason);
    }
    let made = call_of(approved)?;
    let plan = plan::of_call(world, &made.operation, world.past.definition, asker.caller)?;
    let chain = made.delegation.as_ref().map(Chain::asserted).transpose()?;
    let task = approved
        .task
        .as_ref()
        .and_then(|id| world.authority.tasks.get(id));
    let evidence = Evidence {
        chain,
        task: task.map(std::sync::Arc::as_ref),
    };
    let call = CallContext {
        subject: approver.clone(),
        ..made.clone()
    };
    let plan = challenge::approving(&plan);
    ask(world, &call, &evidence, &plan, asker, now)
}

fn ask(
    world: &World<'_>,
    call: &CallContext,
    evidence: &Evidence<'_>,
    plan: &Plan,
    asker: Asker<'_>,
    now: SystemTime,
) -> Result<Decision, Reason> {
    let actor = &call.subject.entity;
    evidence::verify_asserted(call, &asker.caller.rights)?;
    evidence::verify_known(world.snapshot, actor)?;
    world.authority.verify_running([actor])?;
    let behind = Behind::of(call, evidence);
    let scene = Scene::of(world.snapshot, &call.subject, behind, evidence.task, asker)?;
    check_scopes(world.snapshot, &[actor], plan)?;
    let asking = Asking {
        world,
        call,
        evidence,
        plan,
        scene: &scene,
        now,
    };
    let evaluated = asking.ask(&[actor], None, &[])?;
    Ok(answer::combine(actor, plan, evaluated))
}

/// The call that an approval describes, as if it were made again.
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
    let answers = Answers::of(&responses).map_err(unreadable)?;
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
        delegation: approved.root.clone().map(|root| Delegation {
            actors: approved.actors.clone(),
            ..Delegation::verified_from(root)
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
mod tests;
