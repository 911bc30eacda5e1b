//! Verification of evidence: whether what the call claims about itself is true. Invalid evidence denies; no
//! policy can override that.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::authn::caller::Rights;
use crate::domain::authority::approval::{Approval, ApprovalStatus, ApprovedCall};
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::labels;
use crate::domain::authority::scope::RequestedAccess;
use crate::domain::authority::task::{Task, TaskStatus};
use crate::domain::decide::inputs;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::ids::ApprovalId;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::registration::{RegisteredTool, string_set_attribute};
use crate::domain::request::call_context::{ActorChain, CallContext, Identity, Operation, Subject};
use crate::domain::request::definition::DefinitionDigests;
use crate::domain::request::target::Target;
use crate::domain::schema::{self, TYPES};
use crate::domain::shared_list::SharedList;

/// Everybody for whom Cedar is asked about one call.
pub type PrincipalList<'e> = SmallVec<[&'e EntityUID; 4]>;

/// The verified evidence of a call.
#[derive(Debug, Clone, Default)]
pub struct VerifiedEvidence<'c> {
    /// The delegation chain; `None` if the subject acts on its own authority.
    pub chain: Option<DelegationChain<'c>>,
    /// The open task the call belongs to.
    pub task: Option<&'c Task>,
}

/// Verifies everything about a call that does not depend on its operation.
///
/// # Errors
///
/// The reason of the deny: an assertion the caller may not make, an unknown or stopped party, an invalid
/// chain, task, session or server.
pub fn verify_call<'c>(
    inputs: &DecisionInputs<'c>,
    call: &'c CallContext,
    rights: &Rights,
    now: SystemTime,
) -> Result<VerifiedEvidence<'c>, Reason> {
    let snapshot = inputs.snapshot;
    verify_asserted(call, rights)?;
    verify_known(snapshot, &call.subject.entity)?;
    let chain = DelegationChain::from_call(inputs.authority, call, now)?;
    verify_times(&call.subject.identity, now)?;
    verify_user_named(call, chain.as_ref(), rights)?;
    verify_not_stopped(inputs, call, chain.as_ref())?;
    if let Some(chain) = &chain {
        verify_known(snapshot, &chain.root)?;
        for actor in &*chain.actors {
            verify_known(snapshot, actor)?;
        }
        chain.verify_agents(snapshot)?;
    }
    let task = verify_task(inputs, call, chain.as_ref(), now)?;
    if inputs
        .history
        .session
        .is_some_and(|session| session.is_ended)
    {
        let message = "the session has ended";
        return Err(Reason::new(ReasonCode::SessionEnded, message));
    }
    verify_server(snapshot, &call.operation.server)?;
    Ok(VerifiedEvidence { chain, task })
}

/// Verifies that neither the subject, a delegator nor the server is stopped.
fn verify_not_stopped(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    chain: Option<&DelegationChain<'_>>,
) -> Result<(), Reason> {
    if inputs.authority.stops.is_empty() {
        return Ok(());
    }
    let server = schema::server_uid(&call.operation.server);
    let parties = chain.map(|chain| std::iter::once(&*chain.root).chain(chain.actors.iter()));
    let concerned = [&call.subject.entity, &server].into_iter();
    let concerned = concerned.chain(parties.into_iter().flatten());
    inputs.authority.verify_not_stopped(concerned)
}

impl<'c> VerifiedEvidence<'c> {
    /// Whether a stored delegation or a task restricts the call.
    pub fn is_bounded(&self) -> bool {
        let has_delegations = |chain: &DelegationChain<'_>| !chain.delegations.is_empty();
        self.task.is_some() || self.chain.as_ref().is_some_and(has_delegations)
    }

    /// Verifies that every stored delegation and the task cover the requested access.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationOutOfScope`] or [`ReasonCode::TaskOutOfScope`].
    pub fn covers(&self, snapshot: &Snapshot, access: &RequestedAccess<'_>) -> Result<(), Reason> {
        if let Some(chain) = &self.chain {
            chain.covers(snapshot, access)?;
        }
        let Some(task) = self.task else {
            return Ok(());
        };
        let step = task.step().map(|step| &step.scope);
        for scope in task.scope.iter().chain(step) {
            if let Err(outside) = scope.covers(snapshot, access) {
                return Err(outside_task(format!("the task does not cover {outside}")));
            }
        }
        Ok(())
    }

    /// Verifies that the call respects what the task says of its tool.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::TaskOutOfScope`] or [`ReasonCode::TaskBudgetSpent`].
    pub fn check_terms(
        &self,
        inputs: &DecisionInputs<'_>,
        tool: &EntityUID,
        registered: Option<&RegisteredTool>,
        targets: &[Target],
        operation: &Operation,
    ) -> Result<(), Reason> {
        let Some(arguments) = operation.arguments() else {
            return Ok(());
        };
        let Some(task) = self.task else {
            return Ok(());
        };
        let Some(named) = task.terms.for_tool(tool) else {
            return Ok(());
        };
        let goes_back = operation.answers.is_some() || operation.request_state.is_some();
        let covered = named.covers(inputs.snapshot, registered, targets, arguments, goes_back);
        if let Err(outside) = covered {
            return Err(outside_task(format!("in task `{}`, {outside}", task.id)));
        }
        match inputs.history.tool_calls_left {
            Some(0) => Err(inputs::tool_budget_spent(&task.id, tool)),
            _ => Ok(()),
        }
    }

    /// The principals that need permission: the subject first, then its delegators up to the root. Operations
    /// that only servers initiate are evaluated for the server alone.
    pub fn principals<'e>(&'e self, call: &'e CallContext) -> PrincipalList<'e> {
        let mut principals = PrincipalList::new();
        principals.push(&call.subject.entity);
        let is_own_request = call.operation.kind.is_server_only();
        if let Some(chain) = self.chain.as_ref().filter(|_| !is_own_request) {
            principals.extend(chain.actors.iter().rev());
            principals.push(&chain.root);
        }
        principals
    }

    /// The approvals of the call. Each of them has to be valid for exactly this call.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::ApprovalInvalid`] for the first that is not.
    pub fn approvals(
        &self,
        inputs: &DecisionInputs<'c>,
        call: &'c CallContext,
        described: impl FnOnce() -> Option<ApprovedCall>,
        now: SystemTime,
    ) -> Result<Vec<&'c Arc<Approval>>, Reason> {
        if call.approval_ids.is_empty() {
            return Ok(Vec::new());
        }
        let described = described();
        let each = call.approval_ids.iter().enumerate();
        each.map(|(index, id)| {
            let uses = inputs
                .history
                .approval_uses
                .get(index)
                .copied()
                .unwrap_or(u32::MAX);
            let approval = inputs.authority.approvals.get(id);
            let fault = match (approval, &described) {
                (None, _) => "is not known",
                (_, None) => "is not for this kind of call",
                (Some(approval), Some(described)) => {
                    let authority = inputs.authority;
                    match authority.approval_status(inputs.snapshot, approval, uses, now) {
                        ApprovalStatus::Approved if approval.is_for(described) => {
                            return verify_approver(inputs, approval).map(|()| approval);
                        }
                        ApprovalStatus::Approved => "is for another call",
                        ApprovalStatus::Pending => "has not been given yet",
                        ApprovalStatus::Rejected => "was refused",
                        ApprovalStatus::Expired => "has expired",
                        ApprovalStatus::Used => "has been used",
                        ApprovalStatus::TaskEnded => "was for a task that is over",
                        ApprovalStatus::AgentGone => {
                            "was for an agent that is gone, or belongs to somebody else by now"
                        }
                    }
                }
            };
            Err(invalid_approval(id, fault))
        })
        .collect()
    }
}

/// Verifies that the approver is still active and not stopped.
fn verify_approver(inputs: &DecisionInputs<'_>, approval: &Approval) -> Result<(), Reason> {
    let by = approval.word.as_ref().map(|word| &word.by);
    inputs.authority.verify_not_stopped(by)?;
    let approver = by.and_then(|by| inputs.snapshot.entity(by));
    match approver.and_then(|approver| approver.bool("active")) {
        Some(false) => Err(invalid_approval(
            &approval.id,
            "was given by somebody who has left",
        )),
        _ => Ok(()),
    }
}

/// The reason for an invalid approval.
pub fn invalid_approval(id: &ApprovalId, fault: &str) -> Reason {
    Reason::new(
        ReasonCode::ApprovalInvalid,
        format!("approval `{id}` {fault}"),
    )
}

fn outside_task(message: String) -> Reason {
    Reason::new(ReasonCode::TaskOutOfScope, message)
}

fn task_missing(step: &SmolStr) -> Reason {
    let message = format!("the call names step `{step}` and no task that it is of");
    let mut reason = Reason::new(ReasonCode::ContextMissing, message);
    reason.missing = vec!["task".to_owned()];
    reason
}

fn verify_task<'c>(
    inputs: &DecisionInputs<'c>,
    call: &CallContext,
    chain: Option<&DelegationChain<'_>>,
    now: SystemTime,
) -> Result<Option<&'c Task>, Reason> {
    let Some(id) = &call.workflow.task_id else {
        return match &call.workflow.step {
            // A step without its task holds nobody to anything.
            Some(step) => Err(task_missing(step)),
            None => Ok(None),
        };
    };
    let closed = |why: &str| {
        Err(Reason::new(
            ReasonCode::TaskClosed,
            format!("task `{id}` {why}"),
        ))
    };
    let Some(task) = inputs.authority.tasks.get(id).map(Arc::as_ref) else {
        return closed("is not known");
    };
    match task.status_in(inputs.snapshot, now) {
        TaskStatus::Open => {}
        TaskStatus::Closed => return closed("is closed"),
        TaskStatus::Overdue => return closed("is over"),
        TaskStatus::AgentGone => {
            let whose = "is for an agent that is gone, or belongs to somebody else by now";
            return Err(outside_task(format!("task `{id}` {whose}")));
        }
    }
    let actors = chain.map_or(&[] as &[EntityUID], |chain| &chain.actors);
    if task.agent != call.subject.entity && !actors.contains(&task.agent) {
        let who = &call.subject.entity;
        return Err(outside_task(format!("task `{id}` is not for `{who}`")));
    }
    if chain.is_none_or(|chain| *chain.root != task.person) {
        let message = format!("task `{id}` is for another person than the call");
        return Err(outside_task(message));
    }
    let at = task.step().map(|step| &step.name);
    if call.workflow.step.is_some() && call.workflow.step.as_ref() != at {
        let at = at.map_or("at no step", SmolStr::as_str);
        return Err(outside_task(format!(
            "task `{id}` is at another step: {at}"
        )));
    }
    // The result of the last call may come late.
    if inputs.history.calls_left == Some(0) && !call.operation.kind.is_unasked() {
        return Err(inputs::budget_spent(id));
    }
    Ok(Some(task))
}

fn verify_server(snapshot: &Snapshot, name: &SmolStr) -> Result<(), Reason> {
    let unknown = |message: String| Err(Reason::new(ReasonCode::ServerUnknown, message));
    match snapshot.entity(&schema::server_uid(name)) {
        None => unknown(format!("server `{name}` is not registered")),
        Some(server) if server.bool("active") == Some(false) => {
            unknown(format!("server `{name}` is out of service"))
        }
        Some(_) => Ok(()),
    }
}

/// Verifies that the caller has the rights to assert what the call asserts.
///
/// # Errors
///
/// [`ReasonCode::CallerNotTrusted`].
pub fn verify_asserted(call: &CallContext, rights: &Rights) -> Result<(), Reason> {
    verify_stated(&call.subject, rights)?;
    call.actor_chain
        .as_ref()
        .map_or(Ok(()), |chain| verify_asserted_chain(chain, rights))
}

/// Verifies the same of an actor chain. One of stored delegations needs no assertion by the caller, but no stored delegation
/// has scopes: those are the caller's word, and count as verified.
fn verify_asserted_chain(chain: &ActorChain, rights: &Rights) -> Result<(), Reason> {
    let is_verified = rights.assert_delegation && chain.verified;
    if chain.delegation_ids.is_empty() {
        if !rights.assert_delegation {
            return untrusted("for whom a call is made");
        }
    } else if !is_verified && !chain.scopes.is_empty() {
        return untrusted(
            "scopes beside stored delegations, unless it may state delegations and has verified them",
        );
    }
    let is_said = chain.claims.iter().any(|(_, it)| !it.is_empty());
    if is_said && !rights.assert_claims {
        return untrusted("claims about those for whom a call is made");
    }
    Ok(())
}

/// Verifies that the caller has the rights to assert a subject.
///
/// # Errors
///
/// [`ReasonCode::CallerNotTrusted`].
pub fn verify_stated(subject: &Subject, rights: &Rights) -> Result<(), Reason> {
    if !rights.assert_identity {
        return untrusted("who is calling");
    }
    if !subject.claims.is_empty() && !rights.assert_claims {
        return untrusted("claims about the subject");
    }
    Ok(())
}

fn untrusted(what: &str) -> Result<(), Reason> {
    let message = format!("the gateway is not trusted to state {what}");
    Err(Reason::new(ReasonCode::CallerNotTrusted, message))
}

/// Verifies the validity period of the token that carries the identity, with or without a delegation chain.
///
/// # Errors
///
/// [`ReasonCode::DelegationExpired`] or [`ReasonCode::DelegationOutOfScope`].
pub fn verify_times(identity: &Identity, now: SystemTime) -> Result<(), Reason> {
    let (code, message) = if identity.expires_at.is_some_and(|end| end <= now) {
        (
            ReasonCode::DelegationExpired,
            "the token that says who acts has expired",
        )
    } else if identity.not_before.is_some_and(|start| start > now) {
        (
            ReasonCode::DelegationOutOfScope,
            "the token that says who acts does not count yet",
        )
    } else {
        return Ok(());
    };
    Err(Reason::new(code, message))
}

/// Verifies that the call names a user, if the caller's rights require one: a gateway that omits the user
/// must not pass for an agent acting on its own.
fn verify_user_named(
    call: &CallContext,
    chain: Option<&DelegationChain<'_>>,
    rights: &Rights,
) -> Result<(), Reason> {
    let subject = &call.subject.entity;
    if !rights.require_delegation || *subject.entity_type() == TYPES.user {
        return Ok(());
    }
    let missing = match chain {
        Some(chain) if *chain.root.entity_type() == TYPES.user => return Ok(()),
        Some(_) => "delegation.root",
        None => "delegation",
    };
    let message =
        format!("the call names no person for whom `{subject}` acts, as its gateway has to");
    let mut reason = Reason::new(ReasonCode::ContextMissing, message);
    reason.principal = Some(subject.clone());
    reason.missing = vec![missing.to_owned()];
    Err(reason)
}

/// Verifies that a principal is known. Users may be known to the identity provider only; all others have to
/// be stored.
///
/// # Errors
///
/// [`ReasonCode::SubjectUnknown`].
pub fn verify_known(snapshot: &Snapshot, uid: &EntityUID) -> Result<(), Reason> {
    if *uid.entity_type() == TYPES.user || snapshot.contains(uid) {
        return Ok(());
    }
    let mut reason = Reason::new(ReasonCode::SubjectUnknown, format!("`{uid}` is not known"));
    reason.principal = Some(uid.clone());
    Err(reason)
}

/// Looks up a registered tool and compares `seen`, the definition in use, with the pinned one.
///
/// # Errors
///
/// [`ReasonCode::ToolUnknown`], [`ReasonCode::Stopped`] or [`ReasonCode::ToolChanged`].
pub fn verify_tool(
    inputs: &DecisionInputs<'_>,
    server: &str,
    name: &str,
    seen: Option<&DefinitionDigests>,
) -> Result<Arc<RegisteredTool>, Reason> {
    let uid = schema::tool_uid(server, name);
    let Some(tool) = inputs.tool(&uid) else {
        let message = format!("tool `{name}` is not registered for server `{server}`");
        return Err(Reason::new(ReasonCode::ToolUnknown, message));
    };
    inputs.authority.verify_not_stopped([&uid])?;
    match (&tool.digest, seen) {
        (Some(pinned), Some(seen)) if !seen.are(pinned) => {
            let message = format!("the definition of tool `{name}` has changed");
            Err(Reason::new(ReasonCode::ToolChanged, message))
        }
        _ => Ok(tool),
    }
}

/// The labels that the result of any call of a server may have: those of its resources and prompts, and of all its tools.
pub fn labels_of_any_call(inputs: &DecisionInputs<'_>, server: &SmolStr) -> SharedList<SmolStr> {
    let stated = stated_server_labels(inputs.snapshot, server);
    with_labels_of_tools(inputs, server, stated)
}

/// The labels of a server's resources and prompts. If the registration says nothing, they may be whatever its tools yield:
/// a resource is often what a tool reads, by another name.
pub fn server_labels(inputs: &DecisionInputs<'_>, server: &SmolStr) -> SharedList<SmolStr> {
    match stated_server_labels(inputs.snapshot, server) {
        Some(stated) => stated,
        None => with_labels_of_tools(inputs, server, None),
    }
}

fn stated_server_labels(snapshot: &Snapshot, server: &SmolStr) -> Option<SharedList<SmolStr>> {
    let stored = snapshot.entity(&schema::server_uid(server))?;
    stored.attribute("yields")?;
    Some(string_set_attribute(stored, "yields").into())
}

/// What a server is known to yield, `untrusted` if that is nothing, and what its tools yield.
fn with_labels_of_tools(
    inputs: &DecisionInputs<'_>,
    server: &SmolStr,
    stated: Option<SharedList<SmolStr>>,
) -> SharedList<SmolStr> {
    let own = stated.unwrap_or_else(|| [SmolStr::new_static("untrusted")].into());
    let unknown = labels::UNKNOWN_ORIGIN.map(SmolStr::new_static);
    let of_tools = match inputs.tools {
        Some(tools) => tools.labels_of_server(server),
        None => &unknown,
    };
    let mut more = of_tools.iter().filter(|label| !own.contains(label));
    match more.next() {
        None => own,
        Some(first) => (own.iter().chain([first]).chain(more)).cloned().collect(),
    }
}
