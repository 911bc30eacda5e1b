//! Evaluation of one call for its principals and targets, with or without an approval.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use callgate_engine::{Evaluations, Overlay, PolicyEvaluation, Query, RequestError, Snapshot};
use serde_json::{Map, Value as Json};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::config::claims::ClaimMapping;
use crate::domain::authority::labels::Labels;
use crate::domain::authority::stated_identity::StatedIdentity;
use crate::domain::authority::task::Task;
use crate::domain::decide::cedar_request::CedarRequest;
use crate::domain::decide::facts::Facts;
use crate::domain::decide::facts::approval::{APPROVAL, ApprovalFacts};
use crate::domain::decide::facts::inputs::ContextInputs;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::inputs::Requester;
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};
use crate::domain::decide::verify::VerifiedEvidence;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::{CallContext, Identity, Subject};
use crate::domain::request::claims::{self, AssertedClaims};
use crate::domain::schema::AccessLevel;

/// Evaluates the policies for one call; everything that its Cedar requests have in common.
pub struct RequestEvaluator<'a> {
    /// Policies, authority and history.
    pub inputs: &'a DecisionInputs<'a>,
    /// The call.
    pub call: &'a CallContext,
    /// The verified evidence.
    pub evidence: &'a VerifiedEvidence<'a>,
    /// The Cedar request.
    pub request: &'a CedarRequest,
    /// The entities that exist for this request.
    pub entities: &'a RequestEntities,
    /// The approver, if the question is who may approve the call: the context has this identity instead of the
    /// caller's, and no address of a client.
    pub approver: Option<&'a Identity>,
    /// The time of the decision.
    pub now: SystemTime,
}

/// Evaluations of principals, for each target in turn.
#[derive(Debug)]
pub struct PrincipalEvaluations<'p> {
    principals: &'p [&'p EntityUID],
    evaluations: Evaluations,
}

impl<'p> PrincipalEvaluations<'p> {
    /// Evaluations of these principals, one after the other, and again for each further target.
    pub fn new(principals: &'p [&'p EntityUID], evaluations: Evaluations) -> Self {
        Self {
            principals,
            evaluations,
        }
    }

    /// The evaluations, each with its principal.
    pub fn iter(&self) -> impl Iterator<Item = (&'p EntityUID, &PolicyEvaluation)> {
        self.uids().zip(&self.evaluations)
    }

    /// The evaluations, each with its principal.
    pub fn into_each(self) -> impl Iterator<Item = (&'p EntityUID, PolicyEvaluation)> {
        self.uids().zip(self.evaluations)
    }

    /// The same, where permits that could not be evaluated permit nothing and are otherwise as if they were not there.
    pub fn without_failed_permits(mut self) -> Self {
        for evaluation in &mut self.evaluations {
            evaluation.errors.retain(|error| error.policy.is_forbid);
        }
        self
    }

    fn uids(&self) -> impl Iterator<Item = &'p EntityUID> + use<'p> {
        self.principals.iter().copied().cycle()
    }

    /// Whether all of them allow.
    pub fn is_allow(&self) -> bool {
        self.evaluations.iter().all(PolicyEvaluation::is_allow)
    }
}

impl<'a> RequestEvaluator<'a> {
    /// Evaluates the policies for every principal and every target. Attributes in `unknown` are treated as
    /// unknown, all others as known.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::ContextMissing`] or [`ReasonCode::ContextInvalid`] if the context does not conform to a
    /// declared action.
    pub fn evaluate<'p>(
        &self,
        principals: &'p [&'p EntityUID],
        approval: Option<ApprovalFacts<'_>>,
        unknown: &[&str],
    ) -> Result<PrincipalEvaluations<'p>, Reason> {
        self.evaluate_targets(principals, approval, unknown, Snapshot::evaluate_each)
    }

    /// The same without an approval, and whether one might help
    /// ([`PolicyEvaluation::may_allow_otherwise`]).
    ///
    /// # Errors
    ///
    /// As [`RequestEvaluator::evaluate`].
    pub fn evaluate_open_to_approval<'p>(
        &self,
        principals: &'p [&'p EntityUID],
    ) -> Result<PrincipalEvaluations<'p>, Reason> {
        self.evaluate_targets(principals, None, &[], |snapshot, query, principals| {
            snapshot.evaluate_each_open_to(query, principals, APPROVAL)
        })
    }

    fn evaluate_targets<'p>(
        &self,
        principals: &'p [&'p EntityUID],
        approval: Option<ApprovalFacts<'_>>,
        unknown: &[&str],
        evaluate: impl Fn(&Snapshot, &Query<'_>, &[&EntityUID]) -> Evaluations,
    ) -> Result<PrincipalEvaluations<'p>, Reason> {
        let (snapshot, request) = (self.inputs.snapshot, self.request);
        let context = ContextInputs {
            approval,
            ..self.context_inputs()
        };
        let targets = request.targets.len().max(1);
        let mut evaluated = Evaluations::new();
        // A call without a target is evaluated once.
        for target in 0..targets {
            let target = request.targets.get(target);
            let facts = Facts::new(context, &request.operation, target);
            // Each target has an overlay of its own: two targets may have the same name and different
            // attributes.
            let overlays = request.overlays(&self.entities.overlays, target);
            // A context of which a part is not known does not conform, and need not: who reads that part is not evaluated.
            if request.is_declared && unknown.is_empty() {
                snapshot
                    .check_context_like(&request.action, call_action(), &facts)
                    .map_err(invalid_request)?;
            }
            let query = Query {
                action: &request.action,
                resource: &request.resource,
                context: &facts,
                overlays: &overlays,
                unknown,
            };
            let evaluations = evaluate(snapshot, &query, principals);
            if let Some(observer) = self.inputs.observer {
                show(observer, snapshot, &query, principals, &evaluations);
            }
            match evaluated.is_empty() {
                true => evaluated = evaluations,
                false => evaluated.extend(evaluations),
            }
        }
        Ok(PrincipalEvaluations::new(principals, evaluated))
    }

    /// The server, if the context type of the action has one.
    fn server(&self) -> Option<&SmolStr> {
        let server = &self.call.operation.server;
        Some(server).filter(|name| !name.is_empty() && self.has_fact("server"))
    }

    /// Whether the context type of the action has this attribute. Built-in actions have all attributes.
    fn has_fact(&self, name: &str) -> bool {
        let (snapshot, request) = (self.inputs.snapshot, self.request);
        !request.is_declared || snapshot.declares_context_attribute(&request.action, name)
    }

    /// The labels of everything the call carries.
    pub fn labels(&self) -> Arc<Labels> {
        self.context_inputs().labels()
    }

    /// The inputs of the context, without an approval.
    pub fn context_inputs(&self) -> ContextInputs<'_> {
        let (identity, source_address) = match self.approver {
            Some(approver) => (approver, None),
            None => {
                let address = self.call.environment.source_address;
                (&self.call.subject.identity, address)
            }
        };
        ContextInputs {
            identity,
            asserted: &self.entities.asserted,
            through_agent: self.entities.through_agent,
            initiator: self.call.operation.initiator,
            server: self.server(),
            has_labels: self.has_fact("labels"),
            purpose: self.call.workflow.purpose.as_deref(),
            source_address,
            gateway: &self.entities.gateway,
            chain: self.evidence.chain.as_ref(),
            task: self.evidence.task,
            tool: self.request.tool(),
            arguments: self.call.operation.arguments(),
            snapshot: self.inputs.snapshot,
            history: self.inputs.history,
            approval: None,
            answers: self.call.operation.answers.as_deref(),
            has_request_state: self.call.operation.request_state.is_some(),
            now: self.now,
        }
    }
}

/// A built-in action of tool calls. Facts of calls conform to what it declares by construction, which a test
/// holds; the action of a typed tool declares much the same.
fn call_action() -> &'static EntityUID {
    static CALL: LazyLock<EntityUID> = LazyLock::new(|| AccessLevel::Write.call_action());
    &CALL
}

fn show(
    observer: &dyn EvaluationObserver,
    snapshot: &Snapshot,
    query: &Query<'_>,
    principals: &[&EntityUID],
    evaluations: &[PolicyEvaluation],
) {
    for (principal, result) in principals.iter().zip(evaluations) {
        observer.evaluated(ObservedEvaluation {
            snapshot,
            query,
            principal,
            result,
        });
    }
}

/// The root of the chain and the claims about its parties.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClaimedParties<'a> {
    /// The root of the authority.
    pub root: Option<&'a EntityUID>,
    /// The claims about parties of the chain, each with its party.
    pub claims: &'a [(EntityUID, Map<String, Json>)],
}

impl<'a> ClaimedParties<'a> {
    /// The parties of a call whose chain is verified.
    pub fn from_call(call: &'a CallContext, evidence: &'a VerifiedEvidence<'_>) -> Self {
        let chain = evidence.chain.as_ref();
        let delegation = call.actor_chain.as_ref().filter(|_| chain.is_some());
        Self {
            root: chain.map(|chain| &*chain.root),
            claims: delegation.map_or(&[], |delegation| &delegation.claims),
        }
    }
}

/// The groups and tags that the claims about a principal map to.
fn map_claims(
    uid: &EntityUID,
    claims: &Map<String, Json>,
    mapping: &ClaimMapping,
) -> Result<AssertedClaims, Reason> {
    claims::read(claims, mapping).map_err(|fault| {
        let mut reason = Reason::new(ReasonCode::ContextInvalid, fault.to_string());
        reason.principal = Some(uid.clone());
        reason
    })
}

/// Adds asserted groups and tags to the overlay of a principal: to what is said of it already, and not in its place.
fn add_to_overlay(
    overlays: &mut Overlays,
    uid: &EntityUID,
    asserted: AssertedClaims,
) -> Result<(), Reason> {
    if asserted.groups.is_empty() && asserted.tags.is_empty() {
        return Ok(());
    }
    let added = Overlay {
        parents: asserted.groups,
        tags: asserted.tags,
        ..Overlay::bare(uid.clone())
    };
    match overlays.iter_mut().find(|overlay| overlay.uid == *uid) {
        Some(known) => known.merge(added).map_err(|contradiction| {
            let mut reason = invalid_request(contradiction);
            reason.principal = Some(uid.clone());
            reason
        }),
        None => {
            overlays.push(added);
            Ok(())
        }
    }
}

/// Entities that exist for the requests of one caller about one subject.
pub struct RequestEntities {
    /// The groups and tags that claims about the subject map to.
    pub asserted: AssertedClaims,
    /// Whether the subject is a user and an agent may be acting with the user's credential.
    pub through_agent: bool,
    /// The `Mcp::Gateway` entity of the caller.
    pub gateway: EntityUID,
    /// Overlays for every Cedar request of the call.
    pub overlays: Overlays,
}

/// Most calls have one: a caller that is no stored gateway.
type Overlays = SmallVec<[Overlay; 1]>;

impl RequestEntities {
    /// The entities for a subject, its delegators and its task.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::ContextInvalid`] if claims are malformed.
    pub fn new(
        snapshot: &Snapshot,
        subject: &Subject,
        parties: ClaimedParties<'_>,
        task: Option<&Task>,
        requester: Requester<'_>,
    ) -> Result<Self, Reason> {
        let identity = StatedIdentity::new(&subject.identity, requester.caller);
        let Subject { entity, claims, .. } = subject;
        Self::seen_through(
            snapshot,
            (entity, claims),
            parties,
            task,
            &identity,
            requester.claims,
        )
    }

    /// The same for a principal whose identity was stated earlier, or is not known yet.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::ContextInvalid`] if claims are malformed.
    pub fn seen_through(
        snapshot: &Snapshot,
        (principal, claims): (&EntityUID, &Map<String, Json>),
        parties: ClaimedParties<'_>,
        task: Option<&Task>,
        identity: &StatedIdentity,
        mapping: &ClaimMapping,
    ) -> Result<Self, Reason> {
        let asserted = map_claims(principal, claims, mapping)?;
        let gateway = identity.gateway.clone();
        let mut overlays = Overlays::new();
        // Users may be known to the identity provider only, and gateways are configured: neither has to be
        // stored.
        for uid in [Some(principal), parties.root, Some(&gateway)]
            .into_iter()
            .flatten()
        {
            if !snapshot.contains(uid) && overlays.iter().all(|known| known.uid != *uid) {
                overlays.push(Overlay::bare(uid.clone()));
            }
        }
        add_to_overlay(&mut overlays, principal, asserted.clone())?;
        for (uid, claims) in parties.claims {
            add_to_overlay(&mut overlays, uid, map_claims(uid, claims, mapping)?)?;
        }
        overlays.extend(task.map(Task::overlay));
        Ok(Self {
            asserted,
            through_agent: identity.through_agent,
            gateway,
            overlays,
        })
    }

    /// Adds the claims about a further principal.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::ContextInvalid`] if claims are malformed.
    pub fn add_claims(
        &mut self,
        uid: &EntityUID,
        claims: &Map<String, Json>,
        mapping: &ClaimMapping,
    ) -> Result<(), Reason> {
        add_to_overlay(&mut self.overlays, uid, map_claims(uid, claims, mapping)?)
    }
}

/// Verifies that the action applies to every principal and to the resource.
///
/// # Errors
///
/// [`ReasonCode::ContextInvalid`] for the first principal it does not apply to.
pub fn check_scopes(
    snapshot: &Snapshot,
    principals: &[&EntityUID],
    action: &EntityUID,
    resource: &EntityUID,
) -> Result<(), Reason> {
    for principal in principals {
        snapshot
            .check_scope(principal, action, resource)
            .map_err(|fault| {
                let mut reason = invalid_request(fault);
                reason.principal = Some(EntityUID::clone(principal));
                reason
            })?;
    }
    Ok(())
}

fn invalid_request(fault: RequestError) -> Reason {
    match fault {
        RequestError::ContextMissing(missing) => Reason::context_missing(missing),
        RequestError::Invalid(message) => {
            let mut reason = Reason::new(
                ReasonCode::ContextInvalid,
                "the call does not fit the action's schema",
            );
            reason.detail = Some(message);
            reason
        }
    }
}
