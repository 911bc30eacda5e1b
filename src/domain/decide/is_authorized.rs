//! Cedar's own request (principal, action, resource and context: PARC), and the decision on it.
//!
//! Callgate's rule holds for it as well: any error denies.

use callgate_engine::cedar::{Context, EntityUID};
use callgate_engine::{AssertedEntity, Overlay, Query, RequestError, Snapshot, for_each_entity};
use smallvec::smallvec;
use smol_str::SmolStr;

use crate::domain::authority::state::Authority;
use crate::domain::decide::cedar_request::{CedarRequest, OverlayList};
use crate::domain::decide::combine;
use crate::domain::decide::evaluate::PrincipalEvaluations;
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};
use crate::domain::decide::verdict::{Reason, ReasonCode, Verdict};
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema::{self, TYPES};
use crate::domain::unconfirmed_tool;

/// The facts of a call that name who takes part in it.
const PARTIES: [&str; 2] = ["delegation", "server"];

/// Cedar's own request, a principal, action, resource and context, for anything that is not an MCP call.
#[derive(Debug, Clone)]
pub struct ParcRequest {
    /// The principal.
    pub principal: EntityUID,
    /// The action.
    pub action: EntityUID,
    /// The resource.
    pub resource: EntityUID,
    /// The context.
    pub context: Context,
    /// What the caller asserts of principal and resource, where nothing stored says otherwise.
    pub asserted: Vec<AssertedEntity>,
    /// Why it is denied whatever the policies say: it names something that no policy can name.
    pub denied: Option<Reason>,
    /// The caller's trace.
    pub trace: TraceContext,
}

impl ParcRequest {
    /// Every entity that the request names: in its parts, its context and what is asserted.
    pub fn named_entities(&self) -> Vec<EntityUID> {
        let mut named = vec![self.principal.clone(), self.resource.clone()];
        named.extend(self.asserted.iter().map(|it| it.uid.clone()));
        let mut each = |uid: &EntityUID| named.push(uid.clone());
        if let Context::Value(values) = &self.context {
            values
                .values()
                .for_each(|value| for_each_entity(value, &mut each));
        }
        let asserted = self.asserted.iter().flat_map(|it| &it.attributes);
        asserted.for_each(|(_, value)| for_each_entity(value, &mut each));
        named
    }

    /// The server of the resource, if that is a tool, by the tool's id.
    pub fn tool_server(&self) -> Option<EntityUID> {
        let id: &str = self.resource.eid().as_ref();
        let (server, _) = id.split_once('/')?;
        let is_tool = *self.resource.entity_type() == TYPES.tool;
        is_tool.then(|| schema::server_uid(&SmolStr::new(server)))
    }

    /// The name of the server that it is about: that of a tool, or the resource itself.
    pub fn server_name(&self) -> Option<&str> {
        let id: &str = self.resource.eid().as_ref();
        match self.resource.entity_type() {
            of if *of == TYPES.tool => id.split_once('/').map(|(server, _)| server),
            of => (*of == TYPES.server).then_some(id),
        }
    }

    /// The entities whose stop denies the request: principal and resource, the server of a tool, and whom the context names
    /// as the server and in the delegation, where a call has them.
    pub fn stoppable(&self) -> Vec<EntityUID> {
        let mut named = vec![self.principal.clone(), self.resource.clone()];
        named.extend(self.tool_server());
        if let Context::Value(values) = &self.context {
            let parties = PARTIES.iter().filter_map(|name| values.get(*name));
            let mut each = |uid: &EntityUID| named.push(uid.clone());
            parties.for_each(|value| for_each_entity(value, &mut each));
        }
        named
    }
}

/// Decides one request.
pub fn decide(snapshot: &Snapshot, authority: &Authority, question: &ParcRequest) -> Verdict {
    decide_observed(snapshot, authority, question, None)
}

/// The same, and shows the evaluation to an observer.
pub fn decide_observed(
    snapshot: &Snapshot,
    authority: &Authority,
    question: &ParcRequest,
    observer: Option<&dyn EvaluationObserver>,
) -> Verdict {
    let ParcRequest {
        principal,
        action,
        resource,
        context,
        asserted,
        denied,
        ..
    } = question;
    if let Some(reason) = denied {
        return Verdict::deny(reason.clone());
    }
    if !authority.stops.is_empty()
        && let Err(reason) = authority.verify_not_stopped(&question.stoppable())
    {
        return Verdict::deny(reason);
    }
    let checked = snapshot
        .check_scope(principal, action, resource)
        .and_then(|()| snapshot.check_context(action, context));
    if let Err(fault) = checked {
        return Verdict::deny(reason_from(fault, principal));
    }
    let overlays = asserted.iter().map(|it| snapshot.overlay(it));
    let overlays: Result<Vec<Overlay>, RequestError> = overlays
        .map(|overlay| overlay.map(unconfirmed_tool::asserted_in_force))
        .collect();
    let overlays = match overlays {
        Ok(overlays) => overlays,
        Err(fault) => return Verdict::deny(reason_from(fault, principal)),
    };
    let query = Query {
        action,
        resource,
        context,
        overlays: &OverlayList::from_iter(&overlays),
        unknown: &[],
    };
    let evaluation = snapshot.evaluate(&query, principal);
    if let Some(observer) = observer {
        observer.evaluated(ObservedEvaluation {
            snapshot,
            query: &query,
            principal,
            result: &evaluation,
        });
    }
    let has_errors = !evaluation.errors.is_empty();
    let plan = CedarRequest::new(action.clone(), resource.clone());
    let mut decision = combine::combine(
        principal,
        &plan,
        PrincipalEvaluations::new(&[principal], smallvec![evaluation]),
    );
    if has_errors {
        name_unknown_entity(snapshot, question, &mut decision);
    }
    decision
}

/// A policy that reads a required attribute fails if the entity does not exist: then the reason names the entity
/// rather than the policy.
fn name_unknown_entity(snapshot: &Snapshot, question: &ParcRequest, decision: &mut Verdict) {
    let is_unknown = |uid: &EntityUID| {
        !snapshot.contains(uid) && !question.asserted.iter().any(|it| it.uid == *uid)
    };
    let (principal, resource) = (&question.principal, &question.resource);
    let failed = |it: &&mut Reason| it.code == ReasonCode::EvaluationError;
    for reason in decision.reasons.iter_mut().filter(failed) {
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
