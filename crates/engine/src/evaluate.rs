//! Evaluates one request against one snapshot.

use std::borrow::Cow;
use std::ops::Deref;

use smallvec::SmallVec;

use crate::cedar::{
    Context, Entities, EntityUID, EntityUIDEntry, Evaluator, Extensions, NoEntitiesSchema, Request,
    TCComputation,
};
use crate::context::ContextSource;
use crate::evaluation::{Evaluations, Outcome, PolicyEvaluation, PolicyOutcome};
use crate::index::{ByResource, Candidates, PolicyIndex, PolicyNo, USUAL_CANDIDATES};
use crate::interpreter::{Interpreter, RequestVariables};
use crate::key::EntityRef;
use crate::openness::Openness;
use crate::overlay::{Overlay, UnitedOverlays};
use crate::policy::{AttributeBloom, CompiledPolicy, VariesWith};
use crate::scope::ScopeNo;
use crate::scratch::Scratch;
use crate::shared_query::{SharedFindings, SharedQuery};
use crate::slice;
use crate::snapshot::Snapshot;
use crate::view::{EntityView, LookedUp, RequestView};

/// A request without its principal, and what it adds to the stored entities.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The action.
    pub action: &'a EntityUID,
    /// The resource.
    pub resource: &'a EntityUID,
    /// The context.
    pub context: &'a dyn ContextSource,
    /// Entities known to this request only, and additions to stored ones.
    pub overlays: &'a [&'a Overlay],
    /// Attributes of the context that are not known yet, or of a record in it (`record.attribute`). The outcome of a policy
    /// that reads one of them is undetermined.
    pub unknown: &'a [&'a str],
}

/// A query under way.
#[derive(Clone, Copy)]
struct Asked<'a> {
    query: &'a Query<'a>,
    view: RequestView<'a>,
    scratch: &'a Scratch,
    /// Of `query.unknown`.
    unknown: AttributeBloom,
    /// The attribute of [`Snapshot::evaluate_each_open_to`].
    open_to: Option<&'a str>,
}

/// A principal of a query, with the policies whose principal scope it matches.
struct PrincipalScope<'a, P> {
    uid: &'a EntityUID,
    view: EntityView<'a>,
    policies: P,
    /// What its requests have in common, if there are several.
    shared: Option<&'a SharedFindings>,
}

/// The action of a query, with the scopes that it matches.
struct ActionScope<'a> {
    view: EntityView<'a>,
    scopes: Cow<'a, [ScopeNo]>,
    /// Its number among the actions of a shared query, if that keeps it.
    number: Option<usize>,
}

/// Outcomes for the first of several principals, of policies that do not read the principal: the same for all of them.
#[derive(Default)]
struct FirstOutcomes {
    /// Whether all of them are known.
    is_complete: bool,
    /// In the order of the policies.
    outcomes: SmallVec<[(PolicyNo, Outcome); USUAL_CANDIDATES]>,
    /// The next one that another principal may have.
    next: usize,
}

impl FirstOutcomes {
    /// Goes on to the next principal.
    fn go_on(&mut self) {
        self.is_complete = true;
        self.next = 0;
    }

    /// The outcome of a policy, by `evaluate` unless it is known. Each principal asks for policies in their order.
    fn outcome(
        &mut self,
        policy: PolicyNo,
        evaluate: impl FnOnce() -> Option<Outcome>,
    ) -> Option<Outcome> {
        if !self.is_complete {
            let outcome = evaluate()?;
            self.outcomes.push((policy, outcome));
            return Some(outcome);
        }
        let rest = self.outcomes.get(self.next..).unwrap_or_default();
        self.next += rest.iter().take_while(|(known, _)| *known < policy).count();
        match self.outcomes.get(self.next) {
            Some(&(known, outcome)) if known == policy => Some(outcome),
            _ => evaluate(),
        }
    }
}

impl Snapshot {
    /// Evaluates every policy that can apply.
    ///
    /// The permits, forbids and errors are those of Cedar's own evaluation of the whole policy set
    /// over all entities. The cost depends on the policies that can apply and the entities they can
    /// see, not on the number of policies or entities.
    ///
    /// Under [`Reach::Level`](crate::Reach::Level) this holds only for requests that
    /// [`Snapshot::check_scope`] and [`Snapshot::check_context`] accept: the proof of a level covers no
    /// others.
    pub fn evaluate(&self, query: &Query<'_>, principal: &EntityUID) -> PolicyEvaluation {
        self.evaluate_each(query, &[principal])
            .pop()
            .unwrap_or_default()
    }

    /// The same for several principals with the same action, resource and context.
    pub fn evaluate_each(&self, query: &Query<'_>, principals: &[&EntityUID]) -> Evaluations {
        self.evaluate_uids(query, principals, None)
    }

    /// The same, and whether each request might be allowed if `attribute` of the context had another value
    /// ([`PolicyEvaluation::may_allow_otherwise`]).
    pub fn evaluate_each_open_to(
        &self,
        query: &Query<'_>,
        principals: &[&EntityUID],
        attribute: &str,
    ) -> Evaluations {
        self.evaluate_uids(query, principals, Some(attribute))
    }

    fn evaluate_uids(
        &self,
        query: &Query<'_>,
        principals: &[&EntityUID],
        open_to: Option<&str>,
    ) -> Evaluations {
        let united = UnitedOverlays::new(query.overlays);
        let query = &Query {
            overlays: &united.or_given(query.overlays),
            ..*query
        };
        if let Some(contradiction) = &united.contradiction {
            let failed = |uid: &&EntityUID| self.all_failed(query, uid, contradiction);
            return principals.iter().map(failed).collect();
        }
        let view = self.view(query.overlays);
        let asked = Asked {
            query,
            view,
            scratch: &Scratch::default(),
            unknown: AttributeBloom::of(query.unknown.iter().copied()),
            open_to,
        };
        let principals = principals.iter().map(|uid| {
            let entity = view.entity(EntityRef::Given(uid));
            PrincipalScope {
                uid,
                policies: self.index().of_principal(&entity),
                view: entity,
                shared: None,
            }
        });
        let action = self.action_scope(view, query.action);
        self.evaluate_all(asked, &action, principals, |_| false)
    }

    fn action_scope<'a>(&'a self, view: RequestView<'a>, action: &'a EntityUID) -> ActionScope<'a> {
        let entity = view.entity(EntityRef::Given(action));
        let scopes = match self.action(action) {
            Some(known) => Cow::Borrowed(&*known.scopes),
            None => Cow::Owned(self.index().scopes_matching(&entity).into_vec()),
        };
        ActionScope {
            view: entity,
            scopes,
            number: None,
        }
    }

    fn evaluate_all<'a>(
        &'a self,
        asked: Asked<'a>,
        action: &ActionScope<'a>,
        principals: impl ExactSizeIterator<
            Item = PrincipalScope<'a, impl Deref<Target = [&'a ByResource]>>,
        >,
        is_last: impl Fn(&PolicyEvaluation) -> bool,
    ) -> Evaluations {
        let Asked { query, view, .. } = asked;
        let resource = view.entity(EntityRef::Given(query.resource));
        let resources = self.index().scopes_matching(&resource);
        let mut candidates = Candidates::new();
        let looked_up = LookedUp::default();
        // One principal alone shares nothing.
        let is_shared = principals.len() > 1;
        let mut first = FirstOutcomes::default();
        let mut evaluations = Evaluations::with_capacity(principals.len());
        for principal in principals {
            candidates.clear();
            let policies = &*principal.policies;
            let mut unsatisfied = 0;
            match principal.shared {
                Some(shared) => {
                    let action = (action.number, &*action.scopes);
                    unsatisfied = shared.candidates(policies, action, &resources, &mut candidates);
                }
                None => {
                    PolicyIndex::candidates(policies, &action.scopes, &resources, &mut candidates);
                }
            }
            let variables = RequestVariables {
                view,
                principal: &principal.view,
                action: &action.view,
                resource: &resource,
                context: query.context,
                looked_up: &looked_up,
                scratch: asked.scratch,
            };
            let first_of_all = is_shared.then_some(&mut first);
            let mut evaluation =
                self.evaluate_policies(asked, &principal, &variables, &candidates, first_of_all);
            evaluation.policies_evaluated += unsatisfied;
            first.go_on();
            let is_last = is_last(&evaluation);
            evaluations.push(evaluation);
            if is_last {
                break;
            }
        }
        evaluations
    }

    /// Evaluates the policies that can apply to one principal, whose view is among the variables.
    fn evaluate_policies<'a, P>(
        &'a self,
        asked: Asked<'_>,
        principal: &PrincipalScope<'_, P>,
        variables: &RequestVariables<'_, 'a>,
        policies: &[PolicyNo],
        mut first: Option<&mut FirstOutcomes>,
    ) -> PolicyEvaluation {
        let Asked { query, open_to, .. } = asked;
        let mut evaluation = PolicyEvaluation {
            policies_evaluated: policies.len() as u32,
            ..PolicyEvaluation::default()
        };
        let mut openness = open_to.map(Openness::new);
        let mut left_to_cedar = Vec::new();
        for &number in policies {
            let compiled = self.policy(number);
            let reads_unknown = || {
                let mut unknown = query.unknown.iter();
                unknown.any(|it| compiled.reads_unknown(it))
            };
            let interpret = || {
                let may_read = compiled.reads.may_share(asked.unknown);
                let is_undetermined = match principal.shared {
                    Some(shared) if may_read => shared.is_undetermined(number, reads_unknown),
                    _ => may_read && reads_unknown(),
                };
                compiled.interpret(variables, is_undetermined)
            };
            let VariesWith {
                principal: is_own,
                action_or_resource: is_specific,
            } = compiled.varies_with;
            let outcome = match (principal.shared, &mut first) {
                (Some(shared), _) if !is_specific => shared.outcome(number, interpret),
                (_, Some(first)) if !is_own => first.outcome(number, interpret),
                _ => interpret(),
            };
            match outcome.map(Ok) {
                Some(outcome) => {
                    if let Some(openness) = &mut openness {
                        openness.count(compiled, &outcome);
                    }
                    evaluation.count(compiled, outcome);
                }
                None => left_to_cedar.push(compiled),
            }
        }
        if !left_to_cedar.is_empty() {
            let outcomes = self.evaluate_by_cedar(query, principal.uid, &left_to_cedar);
            for (compiled, outcome) in left_to_cedar.into_iter().zip(outcomes) {
                if let Some(openness) = &mut openness {
                    openness.count(compiled, &outcome);
                }
                evaluation.count(compiled, outcome);
            }
        }
        evaluation.may_allow_otherwise = openness.is_some_and(|openness| openness.may_allow());
        evaluation
    }

    /// The outcomes of these policies by Cedar's own evaluator.
    fn evaluate_by_cedar(
        &self,
        query: &Query<'_>,
        principal: &EntityUID,
        policies: &[&CompiledPolicy],
    ) -> Vec<PolicyOutcome> {
        let view = self.view(query.overlays);
        let known = [principal, query.action, query.resource]
            .into_iter()
            .filter_map(|uid| slice::unpack(view, uid));
        let context = query.context.to_context();
        let candidates = policies.iter().copied();
        let visible = slice::slice(view, self.reach(), &context, candidates, known);
        let extensions = Extensions::all_available();
        let entities = Entities::new().add_entities(
            visible,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            extensions,
        );
        let evaluator = entities.as_ref().map(|entities| {
            Evaluator::new(query.to_request(principal, context), entities, extensions)
        });
        let outcome = |compiled: &&CompiledPolicy| match &evaluator {
            Ok(evaluator) => compiled.evaluate(evaluator),
            // Cannot happen, as no uid is unpacked twice. If it did, the request would be denied.
            Err(error) => Err(error.to_string()),
        };
        policies.iter().map(outcome).collect()
    }
}

impl SharedQuery<'_> {
    /// Evaluates one of the requests, for one principal after the other, as [`Snapshot::evaluate_each`] does. None is
    /// evaluated after the first for whose evaluation `is_last` holds.
    ///
    /// Neither `is_last` nor the context may ask this query again: that panics.
    pub fn evaluate(
        &self,
        action: &EntityUID,
        resource: &EntityUID,
        is_last: impl Fn(&PolicyEvaluation) -> bool,
    ) -> Evaluations {
        let query = &Query {
            action,
            resource,
            context: self.parts.context,
            overlays: self.parts.overlays,
            unknown: self.parts.unknown,
        };
        if !self.has_one_overlay_each {
            return self.evaluate_apart(query, is_last);
        }
        let view = self.snapshot.view(self.parts.overlays);
        let asked = Asked {
            query,
            view,
            scratch: &Scratch::default(),
            unknown: self.unknown,
            open_to: None,
        };
        let kept = self.kept_action(action);
        let action = match &kept {
            Some((number, known)) => ActionScope {
                view: known.entity.in_request(view),
                scopes: Cow::Borrowed(known.scopes),
                number: Some(*number),
            },
            None => self.snapshot.action_scope(view, action),
        };
        let principals = self.principals.iter().map(|known| PrincipalScope {
            uid: known.uid,
            view: known.entity.in_request(view),
            policies: &*known.policies,
            shared: Some(&known.found),
        });
        self.snapshot
            .evaluate_all(asked, &action, principals, is_last)
    }

    /// The same, with nothing that is kept: overlays of one entity have to be united first.
    fn evaluate_apart(
        &self,
        query: &Query<'_>,
        is_last: impl Fn(&PolicyEvaluation) -> bool,
    ) -> Evaluations {
        let mut evaluations = Evaluations::with_capacity(self.principals.len());
        for principal in &self.principals {
            let evaluation = self.snapshot.evaluate(query, principal.uid);
            let is_last = is_last(&evaluation);
            evaluations.push(evaluation);
            if is_last {
                break;
            }
        }
        evaluations
    }
}

impl Query<'_> {
    pub(crate) fn to_request(self, principal: &EntityUID, context: Context) -> Request {
        Request::new_unchecked(
            EntityUIDEntry::known(principal.clone(), None),
            EntityUIDEntry::known(self.action.clone(), None),
            EntityUIDEntry::known(self.resource.clone(), None),
            Some(context),
        )
    }
}

impl CompiledPolicy {
    /// The outcome of the policy, given that its scope matches, and whether it reads what is not known; `None` if Cedar has to be
    /// asked.
    fn interpret<'a>(
        &'a self,
        request: &RequestVariables<'_, 'a>,
        is_undetermined: bool,
    ) -> Option<Outcome> {
        let Some(condition) = &self.condition else {
            return Some(Outcome::Satisfied);
        };
        if is_undetermined {
            return Some(Outcome::Undetermined);
        }
        let interpreter = Interpreter {
            request,
            slots: self.policy.env(),
        };
        let holds = interpreter.holds(condition)?;
        Some(if holds {
            Outcome::Satisfied
        } else {
            Outcome::Unsatisfied
        })
    }

    /// The outcome by Cedar's own evaluator.
    fn evaluate(&self, evaluator: &Evaluator<'_>) -> PolicyOutcome {
        match evaluator.evaluate(&self.policy) {
            Ok(true) => Ok(Outcome::Satisfied),
            Ok(false) => Ok(Outcome::Unsatisfied),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
