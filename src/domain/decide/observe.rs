//! Observe mode: which denies may be waived, and what the calls that pass then leave behind.
//!
//! In observe mode everything is decided and recorded as ever, and the answer is allow. Three kinds of deny hold
//! nevertheless:
//!
//! - what was not evaluated, or cannot be remembered: stale, overloaded, store or log unavailable, an internal failure;
//! - a stop of anything that takes part in the call, whatever else denies it;
//! - a forbid marked `@mode("enforce")` that is satisfied, or that could not be evaluated.
//!
//! Evidence that fails (an unknown tool, an expired delegation) ends a decision before policies are evaluated. To know
//! whether a forbid of the third kind applies, they are evaluated then on what is there: [`relaxed`]. What is not known
//! counts as the most restricted: an unregistered tool is one of its server that administers, can send data out and
//! yields `untrusted`. A registered tool whose arguments cannot be read is called with any arguments: a forbid that reads
//! them or what they name applies. If even that cannot be evaluated, the deny holds.
//!
//! Invariant: this module only ever turns a waiver into a deny. Nothing is waived without asking it.

use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use callgate_engine::{Evaluations, Overlay, PolicyEvaluation, Snapshot};
use smol_str::SmolStr;

use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::state::Authority;
use crate::domain::decide::call;
use crate::domain::decide::cedar_request::{self, CedarRequest};
use crate::domain::decide::evaluate::{
    ClaimedParties, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::facts::inputs::OperationContext;
use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::decide::tool_input::ToolInput;
use crate::domain::decide::verdict::{SideEffects, Verdict};
use crate::domain::decide::verify::{PrincipalList, VerifiedEvidence};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::registration::RegisteredTool;
use crate::domain::request::call_context::{CallContext, Initiator, Operation, Told};
use crate::domain::request::operation::ToolCall;
use crate::domain::schema::{self, AccessLevel};
use crate::domain::unconfirmed_tool::{self, UNTRUSTED};

/// The facts that the arguments of a call decide: their own, what they name, and how the task takes that.
const FACTS_OF_ARGUMENTS: [&str; 5] = ["arguments", "input", "target", "target_role", "task"];

/// Whether denies with this code can be waived at all: those that were evaluated, other than stops.
pub fn is_waivable(code: ReasonCode) -> bool {
    use ReasonCode::{
        ApprovalInvalid, ApprovalRequired, CallerNotTrusted, ContextInvalid, ContextMissing,
        DelegationChainBroken, DelegationExpired, DelegationOutOfScope, DelegationRevoked,
        DelegatorDenied, EvaluationError, Forbidden, NoPermit, ServerUnknown, SessionEnded,
        SubjectUnknown, TaskBudgetSpent, TaskClosed, TaskOutOfScope, ToolChanged, ToolUnknown,
    };
    // Listed one by one, so that a new code holds until somebody decides otherwise.
    matches!(
        code,
        ApprovalInvalid
            | ApprovalRequired
            | CallerNotTrusted
            | ContextInvalid
            | ContextMissing
            | DelegationChainBroken
            | DelegationExpired
            | DelegationOutOfScope
            | DelegationRevoked
            | DelegatorDenied
            | EvaluationError
            | Forbidden
            | NoPermit
            | ServerUnknown
            | SessionEnded
            | SubjectUnknown
            | TaskBudgetSpent
            | TaskClosed
            | TaskOutOfScope
            | ToolChanged
            | ToolUnknown
    )
}

/// Whether a verdict leaves no doubt about who takes part: it allows, or denies only for what is asked once the evidence is true.
pub fn is_evidence_true(verdict: &Verdict) -> bool {
    use ReasonCode::{
        ApprovalInvalid, ApprovalRequired, DelegatorDenied, EvaluationError, Forbidden, NoPermit,
        TaskBudgetSpent, TaskOutOfScope,
    };
    let is_after = |code| {
        matches!(
            code,
            ApprovalInvalid
                | ApprovalRequired
                | DelegatorDenied
                | EvaluationError
                | Forbidden
                | NoPermit
                | TaskBudgetSpent
                | TaskOutOfScope
        )
    };
    verdict.is_allow() || verdict.reasons.iter().all(|it| is_after(it.code))
}

/// Why a deny holds in observe mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// It was not evaluated, or what it leaves behind cannot be remembered.
    NotEvaluated,
    /// Something that takes part is stopped.
    Stopped(Box<str>),
    /// A forbid marked `@mode("enforce")` applies; `None` if whether one does could not be evaluated.
    AlwaysEnforced(Option<SmolStr>),
}

/// Asks whether the deny of a call may be waived. The result is what the call leaves behind if it passes: labels and
/// counts as if it were allowed, but neither budgets nor uses of approvals.
///
/// # Errors
///
/// [`Hold`] if the deny holds.
pub fn waive(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    requester: Requester<'_>,
    verdict: &Verdict,
    now: SystemTime,
) -> Result<SideEffects, Hold> {
    check_codes(verdict)?;
    let evidence = relaxed_evidence(inputs, call, now);
    check_stops(inputs.authority, call, &evidence)?;
    let evaluated = verdict.principals.iter();
    let mut failed = evaluated.flat_map(|it| {
        let errors = it.errors.iter().map(|(policy, _)| policy);
        it.forbids.iter().chain(errors)
    });
    if let Some(policy) = failed.find(|it| it.is_always_enforced && it.is_forbid) {
        return Err(Hold::AlwaysEnforced(Some(policy.id.clone())));
    }
    let is_undecided = verdict.principals.is_empty() && inputs.snapshot.has_always_enforced();
    if call.denied.is_some() {
        // What it asks is not known, and so not which forbids apply.
        return match is_undecided {
            true => Err(Hold::AlwaysEnforced(None)),
            false => Ok(unknown_effects(call)),
        };
    }
    let request = relaxed_request(inputs, call, requester);
    relaxed(
        inputs,
        call,
        requester,
        (&evidence, request),
        now,
        |it| match it.evaluate_forbids().filter(|_| is_undecided) {
            Some(evaluations) => check_forbids(&evaluations),
            None if is_undecided => Err(Hold::AlwaysEnforced(None)),
            None => Ok(()),
        },
    )
    .unwrap_or_else(|_| match is_undecided {
        true => Err(Hold::AlwaysEnforced(None)),
        false => Ok(unknown_effects(call)),
    })
}

/// Asks whether the deny of Cedar's own request may be waived.
///
/// # Errors
///
/// [`Hold`] if the deny holds.
pub fn waive_request(
    snapshot: &Snapshot,
    authority: &Authority,
    question: &ParcRequest,
    verdict: &Verdict,
) -> Result<(), Hold> {
    check_codes(verdict)?;
    if let Err(reason) = authority.verify_not_stopped(&question.stoppable()) {
        return Err(Hold::Stopped(reason.message.into()));
    }
    let evaluated = verdict.principals.iter();
    let mut failed = evaluated.flat_map(|it| {
        let errors = it.errors.iter().map(|(policy, _)| policy);
        it.forbids.iter().chain(errors)
    });
    match failed.find(|it| it.is_always_enforced && it.is_forbid) {
        Some(policy) => Err(Hold::AlwaysEnforced(Some(policy.id.clone()))),
        // A request that does not fit the schema was not evaluated.
        None if verdict.principals.is_empty() && snapshot.has_always_enforced() => {
            Err(Hold::AlwaysEnforced(None))
        }
        None => Ok(()),
    }
}

/// Asks whether a list may be shown although its evidence fails. Which entries a forbid marked `@mode("enforce")` hides
/// is not known then, so none is shown if there is such a forbid.
///
/// # Errors
///
/// [`Hold`] if the deny holds.
pub fn waive_list(
    snapshot: &Snapshot,
    authority: &Authority,
    call: &CallContext,
    verdict: &Verdict,
) -> Result<(), Hold> {
    check_codes(verdict)?;
    check_stops(authority, call, &VerifiedEvidence::default())?;
    match snapshot.has_always_enforced() {
        true => Err(Hold::AlwaysEnforced(None)),
        false => Ok(()),
    }
}

fn check_codes(verdict: &Verdict) -> Result<(), Hold> {
    match verdict.reasons.iter().find(|it| !is_waivable(it.code)) {
        Some(reason) if reason.code == ReasonCode::Stopped => {
            Err(Hold::Stopped(reason.message.as_str().into()))
        }
        Some(_) => Err(Hold::NotEvaluated),
        None if verdict.reasons.is_empty() => Err(Hold::NotEvaluated),
        None => Ok(()),
    }
}

fn check_forbids(evaluations: &[PolicyEvaluation]) -> Result<(), Hold> {
    let mut applying = evaluations
        .iter()
        .flat_map(PolicyEvaluation::may_be_always_enforced);
    match applying.next() {
        Some(policy) => Err(Hold::AlwaysEnforced(Some(policy.id.clone()))),
        None => Ok(()),
    }
}

/// Whatever denies a call first, a stop of anything in it holds: every party that it names, and every one of the
/// delegations that it names.
fn check_stops(
    authority: &Authority,
    call: &CallContext,
    evidence: &VerifiedEvidence<'_>,
) -> Result<(), Hold> {
    if authority.stops.is_empty() {
        return Ok(());
    }
    let mut parties = vec![
        call.subject.entity.clone(),
        schema::server_uid(&call.operation.server),
    ];
    parties.extend(call.operation.tool_uid());
    if let Some(chain) = &call.actor_chain {
        parties.extend(chain.root.iter().chain(&chain.actors).cloned());
        let named = chain.delegation_ids.iter();
        let named = named.filter_map(|id| authority.delegations.get(id));
        parties.extend(named.flat_map(|it| [it.from.clone(), it.to.clone()]));
    }
    if let Some(chain) = &evidence.chain {
        parties.push(EntityUID::clone(&chain.root));
        parties.extend(chain.actors.iter().cloned());
    }
    let stopped = authority.verify_not_stopped(&parties);
    stopped.map_err(|reason| Hold::Stopped(reason.message.into()))
}

/// The evidence of a call as far as there is any.
fn relaxed_evidence<'c>(
    inputs: &DecisionInputs<'c>,
    call: &'c CallContext,
    now: SystemTime,
) -> VerifiedEvidence<'c> {
    let authority = inputs.authority;
    let verified = DelegationChain::from_call(authority, call, now)
        .ok()
        .flatten();
    let named = || {
        let stated = call.actor_chain.as_ref()?;
        let last = stated.delegation_ids.last();
        let last = last.and_then(|id| authority.delegations.get(id));
        let stored = last.and_then(|it| DelegationChain::from_delegation(authority, it).ok());
        stored.or_else(|| DelegationChain::asserted(stated).ok())
    };
    let task = call.workflow.task_id.as_ref();
    VerifiedEvidence {
        chain: verified.or_else(named),
        task: task.and_then(|id| authority.tasks.get(id).map(|task| &**task)),
    }
}

/// The Cedar request of a call, and the facts that are not known of it.
struct RelaxedRequest {
    request: CedarRequest,
    unknown: &'static [&'static str],
}

/// The Cedar request of a call: as it is decided, or, if that cannot be, about what its names say.
fn relaxed_request(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    requester: Requester<'_>,
) -> Result<RelaxedRequest, Reason> {
    let (operation, shown) = (&call.operation, inputs.history.definition);
    let exact = cedar_request::from_operation(inputs, operation, shown, requester.caller);
    match (operation.kind.tool_call(), exact) {
        (Some(tool), Err(_)) => {
            let uid = schema::tool_uid(&operation.server, &tool.tool);
            match inputs.tool(&uid) {
                Some(registered) => Ok(about_registered(inputs, operation, tool, registered)),
                None => about_unregistered(inputs, operation, tool, uid),
            }
        }
        (_, exact) => exact.map(|request| RelaxedRequest {
            request,
            unknown: &[],
        }),
    }
}

/// A request about a registered tool whose call cannot be read: its arguments may be any.
fn about_registered(
    inputs: &DecisionInputs<'_>,
    operation: &Operation,
    tool: &ToolCall,
    registered: Arc<RegisteredTool>,
) -> RelaxedRequest {
    let (action, is_declared) = cedar_request::tool_action(inputs.snapshot, operation, &registered);
    let mut request = CedarRequest::new(action.into_owned(), registered.uid.clone());
    request.operation = names_of(tool);
    request.is_declared = is_declared;
    request.access = registered.access;
    request.yields = registered.yields.clone();
    request.is_unnamed = registered.has_targets();
    request.registered_tool = Some(registered);
    RelaxedRequest {
        request,
        unknown: &FACTS_OF_ARGUMENTS,
    }
}

/// A request about a tool that is not registered: the most restricted one of its server. Which arguments name targets is
/// not known of it; what the gateway states is.
fn about_unregistered(
    inputs: &DecisionInputs<'_>,
    operation: &Operation,
    tool: &ToolCall,
    uid: EntityUID,
) -> Result<RelaxedRequest, Reason> {
    let (server, access) = (&operation.server, AccessLevel::Admin);
    let action = match operation.initiator {
        Initiator::Server => access.reverse_call_action(),
        Initiator::Client | Initiator::Ui => access.call_action(),
    };
    let mut request = CedarRequest::new(action, uid.clone());
    request.operation = names_of(tool);
    request.access = access;
    request.yields = [UNTRUSTED].into();
    request.overlays.push(Overlay {
        parents: vec![schema::server_uid(server)],
        attributes: unconfirmed_tool::attributes(),
        ..Overlay::bare(uid)
    });
    if let Some(stated) = &tool.target {
        request.targets = cedar_request::stated_targets(inputs, server, stated)?.into();
    }
    let unknown: &[&str] = match operation.told {
        Told::All => &[],
        Told::Part => &FACTS_OF_ARGUMENTS,
    };
    Ok(RelaxedRequest { request, unknown })
}

fn names_of(tool: &ToolCall) -> OperationContext {
    let names = tool.arguments.keys().map(SmolStr::new);
    OperationContext::Arguments(ToolInput::of_names(names))
}

/// A request that can be evaluated.
struct Relaxed<'a> {
    evaluator: RequestEvaluator<'a>,
    principals: PrincipalList<'a>,
    unknown: &'a [&'a str],
}

impl Relaxed<'_> {
    /// The evaluations; `None` if the request does not fit the schema.
    fn evaluate_forbids(&self) -> Option<Evaluations> {
        let (snapshot, request) = (self.evaluator.inputs.snapshot, self.evaluator.request);
        let CedarRequest {
            action, resource, ..
        } = request;
        check_scopes(snapshot, &self.principals, action, resource).ok()?;
        let evaluated = self
            .evaluator
            .evaluate(&self.principals, None, self.unknown)
            .ok()?;
        Some(
            evaluated
                .into_each()
                .map(|(_, evaluation)| evaluation)
                .collect(),
        )
    }
}

/// Builds the request, lets `check` look at it, and returns what the call leaves behind. The outer error says that no
/// request can be built.
fn relaxed(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    requester: Requester<'_>,
    (evidence, request): (&VerifiedEvidence<'_>, Result<RelaxedRequest, Reason>),
    now: SystemTime,
    check: impl FnOnce(&Relaxed<'_>) -> Result<(), Hold>,
) -> Result<Result<SideEffects, Hold>, Reason> {
    let RelaxedRequest { request, unknown } = request?;
    let snapshot = inputs.snapshot;
    let mut entities = RequestEntities::new(
        snapshot,
        &call.subject,
        ClaimedParties::from_call(call, evidence),
        evidence.task,
        requester,
    )?;
    // Actors that are not registered exist for this request.
    let actors = evidence.chain.iter().flat_map(|chain| chain.actors.iter());
    for actor in actors.filter(|uid| !snapshot.contains(uid)) {
        if !entities.overlays.iter().any(|it| it.uid == *actor) {
            entities.overlays.push(Overlay::bare(actor.clone()));
        }
    }
    let asked = Relaxed {
        evaluator: RequestEvaluator {
            inputs,
            call,
            evidence,
            request: &request,
            entities: &entities,
            approver: None,
            now,
        },
        principals: evidence.principals(call),
        unknown,
    };
    Ok(check(&asked).map(|()| SideEffects {
        approval: None,
        budget: None,
        tool_budget: None,
        ..call::effects(&asked.evaluator)
    }))
}

/// What a call leaves behind of which no request can be built.
fn unknown_effects(call: &CallContext) -> SideEffects {
    SideEffects {
        tool: call.operation.tool_uid(),
        yields: [UNTRUSTED].into(),
        reads: true,
        ..SideEffects::default()
    }
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
