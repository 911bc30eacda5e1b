//! The decision on Cedar's own request, a principal, action, resource and context, by Callgate's rule: any error denies.

use callgate_engine::cedar::{Context, EntityUID};
use callgate_engine::{AssertedEntity, Overlay, Query, RequestError};
use smol_str::SmolStr;

use crate::domain::decide::cedar_request::CedarRequest;
use crate::domain::decide::combine;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::observe::ObservedEvaluation;
use crate::domain::decide::verdict::{Reason, ReasonCode, Verdict};
use crate::domain::schema::{self, TYPES};

/// Cedar's own request.
#[derive(Debug, Clone, Copy)]
pub struct Parc<'a> {
    /// The principal.
    pub principal: &'a EntityUID,
    /// The action.
    pub action: &'a EntityUID,
    /// The resource.
    pub resource: &'a EntityUID,
    /// The context.
    pub context: &'a Context,
    /// What the caller asserts of principal and resource, where nothing stored says otherwise.
    pub asserted: &'a [AssertedEntity],
}

/// Decides one request. Of the inputs, only policies, entities and stops are read.
pub fn decide_parc(inputs: &DecisionInputs<'_>, parc: &Parc<'_>) -> Verdict {
    try_decide(inputs, parc).unwrap_or_else(Verdict::deny)
}

fn try_decide(inputs: &DecisionInputs<'_>, parc: &Parc<'_>) -> Result<Verdict, Reason> {
    let snapshot = inputs.snapshot;
    let Parc {
        principal,
        action,
        resource,
        context,
        asserted,
    } = *parc;
    let server = tool_server(resource);
    let named = [principal, resource].into_iter().chain(&server);
    inputs.authority.verify_not_stopped(named)?;
    snapshot
        .check_scope(principal, action, resource)
        .and_then(|()| snapshot.check_context(action, context))
        .map_err(|fault| reason_from(fault, principal))?;
    let overlays: Result<Vec<Overlay>, RequestError> =
        asserted.iter().map(|it| snapshot.overlay(it)).collect();
    let overlays = overlays.map_err(|fault| reason_from(fault, principal))?;
    let query = Query {
        action,
        resource,
        context,
        overlays: &overlays,
        unknown: &[],
    };
    let evaluation = snapshot.evaluate(&query, principal);
    if let Some(observer) = inputs.observer {
        observer.evaluated(ObservedEvaluation {
            snapshot,
            query: &query,
            principal,
            result: &evaluation,
        });
    }
    let has_errors = !evaluation.errors.is_empty();
    let plan = CedarRequest::new(action.clone(), resource.clone());
    let mut verdict = combine::combine(principal, &plan, vec![(principal.clone(), evaluation)]);
    if has_errors {
        name_unknown_entity(inputs, parc, &mut verdict);
    }
    Ok(verdict)
}

/// The server of a tool, by the tool's id.
fn tool_server(resource: &EntityUID) -> Option<EntityUID> {
    let id: &str = resource.eid().as_ref();
    let (server, _) = id.split_once('/')?;
    let is_tool = *resource.entity_type() == TYPES.tool;
    is_tool.then(|| schema::server_uid(&SmolStr::new(server)))
}

/// A policy that reads a required attribute fails if the entity does not exist: then the reason names the entity
/// rather than the policy.
fn name_unknown_entity(inputs: &DecisionInputs<'_>, parc: &Parc<'_>, verdict: &mut Verdict) {
    let is_unknown = |uid: &EntityUID| {
        !inputs.snapshot.contains(uid) && !parc.asserted.iter().any(|it| it.uid == *uid)
    };
    let (principal, resource) = (parc.principal, parc.resource);
    let failed = |it: &&mut Reason| it.code == ReasonCode::EvaluationError;
    for reason in verdict.reasons.iter_mut().filter(failed) {
        if is_unknown(principal) {
            reason.code = ReasonCode::SubjectUnknown;
            reason.message = format!("`{principal}` is not known");
        } else if is_unknown(resource) {
            reason.message =
                format!("`{resource}` is not known, and a policy that applies reads of it");
        }
    }
}

/// A caller that asks in Cedar's terms gets the reason in Cedar's terms.
fn reason_from(fault: RequestError, principal: &EntityUID) -> Reason {
    let (code, missing) = match &fault {
        RequestError::ContextMissing(missing) => (ReasonCode::ContextMissing, missing.clone()),
        RequestError::Invalid(_) => (ReasonCode::ContextInvalid, Vec::new()),
    };
    let mut reason = Reason::new(code, fault.to_string());
    reason.principal = Some(principal.clone());
    reason.missing = missing;
    reason
}
