//! One request in Cedar's own form: what its policies are evaluated on, for tools that look inside an
//! evaluation.

use std::sync::Arc;

use crate::cedar::{
    Entities, EntityUID, Evaluator, Extensions, NoEntitiesSchema, Policy, Request, TCComputation,
};
use crate::error::RequestError;
use crate::evaluate::Query;
use crate::evaluation::PolicyEvaluation;
use crate::index::{Candidates, PolicyIndex};
use crate::key::EntityRef;
use crate::overlay::UnitedOverlays;
use crate::policy::{CompiledPolicy, PolicyInfo};
use crate::slice;
use crate::snapshot::Snapshot;
use crate::view::RequestView;

/// One request with the entities that policies can see in it, and the policies whose scope matches.
///
/// It costs more than evaluating the request, so it is for analysis and not for a decision.
#[derive(Debug, Clone)]
pub struct MaterializedRequest<'s> {
    /// Principal, action, resource and context.
    pub request: Request,
    /// The entities within reach of the policies, with all their ancestors.
    pub entities: Entities,
    /// The policies whose scope matches, shadow policies among them, in the order of their ids.
    pub candidates: Vec<Candidate<'s>>,
}

/// A policy whose scope matches a request.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'s> {
    /// The policy; a template link with its slots filled.
    pub policy: &'s Policy,
    /// Its id and annotations.
    pub info: &'s Arc<PolicyInfo>,
}

impl<'s> Candidate<'s> {
    pub(crate) fn new(compiled: &'s CompiledPolicy) -> Self {
        Self {
            policy: &compiled.policy,
            info: &compiled.info,
        }
    }
}

impl MaterializedRequest<'_> {
    /// Cedar's evaluator over this request.
    pub fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(
            self.request.clone(),
            &self.entities,
            Extensions::all_available(),
        )
    }
}

impl Snapshot {
    /// Materializes one request. `None` if its entities cannot be put together, which happens only if
    /// overlays of one entity contradict each other.
    pub fn materialize(
        &self,
        query: &Query<'_>,
        principal: &EntityUID,
    ) -> Option<MaterializedRequest<'_>> {
        let united = UnitedOverlays::new(query.overlays);
        if united.contradiction.is_some() {
            return None;
        }
        let overlays = united.or_given(query.overlays);
        let view = self.view(&overlays);
        let compiled = self.applicable_in(view, [principal, query.action, query.resource]);
        let known = [principal, query.action, query.resource]
            .into_iter()
            .filter_map(|uid| slice::unpack(view, uid));
        let context = query.context.to_context();
        let policies = compiled.iter().copied();
        let visible = slice::slice(view, self.reach(), &context, policies, known);
        let entities = Entities::new().add_entities(
            visible,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        );
        let mut candidates: Vec<Candidate<'_>> = compiled
            .iter()
            .map(|compiled| Candidate::new(compiled))
            .collect();
        candidates.sort_by(|one, other| one.info.id.cmp(&other.info.id));
        Some(MaterializedRequest {
            request: query.to_request(principal, context),
            entities: entities.ok()?,
            candidates,
        })
    }

    /// The evaluation of a request that contradicts itself: every policy that applies fails.
    pub(crate) fn all_failed(
        &self,
        query: &Query<'_>,
        principal: &EntityUID,
        contradiction: &RequestError,
    ) -> PolicyEvaluation {
        let view = self.view(query.overlays);
        let policies = self.applicable_in(view, [principal, query.action, query.resource]);
        let mut evaluation = PolicyEvaluation {
            policies_evaluated: policies.len() as u32,
            ..PolicyEvaluation::default()
        };
        for policy in policies {
            evaluation.count(policy, Err(contradiction.to_string()));
        }
        evaluation
    }

    /// The policies whose scope matches principal, action and resource, each once.
    pub(crate) fn applicable_in(
        &self,
        view: RequestView<'_>,
        uids: [&EntityUID; 3],
    ) -> Vec<&CompiledPolicy> {
        let [principal, action, resource] = uids.map(|uid| view.entity(EntityRef::Given(uid)));
        let index = self.index();
        let mut numbers = Candidates::new();
        PolicyIndex::candidates(
            &index.of_principal(&principal),
            &index.scopes_matching(&action),
            &index.scopes_matching(&resource),
            &mut numbers,
        );
        numbers.into_iter().map(|no| self.policy(no)).collect()
    }

    /// Every policy with its id and annotations, template links among them, in the order of their ids.
    pub fn policies(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.compiled_policies().iter().map(Candidate::new)
    }
}
