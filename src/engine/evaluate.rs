//! One request against one snapshot.

use std::borrow::Cow;
use std::sync::Arc;

use cedar_policy_core::ast::{Context, EntityUID, EntityUIDEntry, Request, Value};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use crate::engine::context::ContextSource;
use crate::engine::policy::{Compiled, PolicyInfo};
use crate::engine::quick::QuickEvaluator;
use crate::engine::slice;
use crate::engine::snapshot::Snapshot;
use crate::engine::view::{Name, Sight};

/// Cedar's question but for who asks it, with what this one request adds to the entities.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Does what.
    pub action: &'a EntityUID,
    /// To what.
    pub resource: &'a EntityUID,
    /// Under which circumstances.
    pub context: &'a dyn ContextSource,
    /// Entities known to this request only, and additions to stored ones.
    pub overlays: &'a [Overlay],
    /// Attributes of the context that are not known yet. What a policy that reads one would say is
    /// open.
    pub unknown: &'a [&'a str],
}

/// What one request adds to an entity. It never replaces anything: a stored attribute or tag wins.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// Which entity.
    pub uid: EntityUID,
    /// Further parents.
    pub parents: Vec<EntityUID>,
    /// Attributes, where the stored entity has none of that name.
    pub attributes: Vec<(SmolStr, Value)>,
    /// Tags, where the stored entity has none of that name.
    pub tags: Vec<(SmolStr, Value)>,
}

impl Overlay {
    /// An entity of which only the name is known.
    pub fn bare(uid: EntityUID) -> Self {
        Self {
            uid,
            parents: Vec::new(),
            attributes: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// What the policies say. Policies in `@mode("shadow")` appear in the `shadow` lists only.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// Satisfied permits.
    pub permits: Vec<Arc<PolicyInfo>>,
    /// Satisfied forbids.
    pub forbids: Vec<Arc<PolicyInfo>>,
    /// Policies that could not be evaluated.
    pub errors: Vec<PolicyError>,
    /// Permits that depend on what is not known yet.
    pub open_permits: Vec<Arc<PolicyInfo>>,
    /// Satisfied shadow permits.
    pub shadow_permits: Vec<Arc<PolicyInfo>>,
    /// Satisfied shadow forbids, and shadow policies that could not be evaluated.
    pub shadow_forbids: Vec<Arc<PolicyInfo>>,
    /// How many policies were evaluated.
    pub policies_evaluated: u32,
}

/// A policy that could not be evaluated.
#[derive(Debug, Clone)]
pub struct PolicyError {
    /// Which.
    pub policy: Arc<PolicyInfo>,
    /// Cedar's message.
    pub message: String,
}

impl Evaluation {
    /// Callgate's rule: some permit, no forbid, no error.
    pub fn is_allow(&self) -> bool {
        !self.permits.is_empty() && self.forbids.is_empty() && self.errors.is_empty()
    }

    /// Whether the answer could still be an allow once the unknown is known.
    pub fn may_allow(&self) -> bool {
        let has_permit = !self.permits.is_empty() || !self.open_permits.is_empty();
        has_permit && self.forbids.is_empty() && self.errors.is_empty()
    }

    /// Shadow policies that would have changed the outcome, had they been enforced.
    pub fn shadow_flips(&self) -> &[Arc<PolicyInfo>] {
        if self.is_allow() {
            &self.shadow_forbids
        } else if self.forbids.is_empty()
            && self.errors.is_empty()
            && self.shadow_forbids.is_empty()
        {
            &self.shadow_permits
        } else {
            &[]
        }
    }

    fn count(&mut self, compiled: &Compiled, verdict: Verdict) {
        let info = &compiled.info;
        let list = match (verdict, info.is_shadow, info.is_forbid) {
            (Verdict::Unsatisfied, _, _) => return,
            (Verdict::Satisfied, false, false) => &mut self.permits,
            (Verdict::Satisfied, false, true) => &mut self.forbids,
            (Verdict::Satisfied, true, false) => &mut self.shadow_permits,
            (Verdict::Satisfied | Verdict::Failed(_), true, _) => &mut self.shadow_forbids,
            (Verdict::Failed(message), false, _) => {
                self.errors.push(PolicyError {
                    policy: Arc::clone(info),
                    message,
                });
                return;
            }
            (Verdict::Open, false, false) => &mut self.open_permits,
            // A forbid that may or may not apply settles nothing.
            (Verdict::Open, _, _) => return,
        };
        list.push(Arc::clone(info));
    }
}

/// What one policy says.
enum Verdict {
    Satisfied,
    Unsatisfied,
    Failed(String),
    Open,
}

impl Snapshot {
    /// Evaluates every policy that can apply.
    ///
    /// The permits, forbids and errors are those of Cedar's own evaluation of the whole policy set
    /// over all entities. The cost depends on the policies that can apply and the entities they can
    /// see, not on how many there are.
    ///
    /// Under [`Reach::Level`](crate::engine::snapshot::Reach::Level) this holds for requests that
    /// [`Snapshot::check_scope`] and [`Snapshot::check_context`] accept: the proof of a level speaks
    /// of no others.
    pub fn evaluate(&self, query: &Query<'_>, principal: &EntityUID) -> Evaluation {
        self.evaluate_each(query, &[principal])
            .pop()
            .unwrap_or_default()
    }

    /// The same for several principals who ask the same.
    pub fn evaluate_each<'q>(
        &'q self,
        query: &'q Query<'_>,
        principals: &[&'q EntityUID],
    ) -> Vec<Evaluation> {
        let sight = Sight {
            snapshot: self,
            overlays: query.overlays,
        };
        let action = sight.view(Name::Given(query.action));
        let resource = sight.view(Name::Given(query.resource));
        let actions = match self.action(query.action) {
            Some(known) => Cow::Borrowed(&known.scopes),
            None => Cow::Owned(self.index().numbers(&action, sight)),
        };
        let resources = self.index().numbers(&resource, sight);
        let evaluate = |principal: &'q EntityUID| {
            let view = sight.view(Name::Given(principal));
            let numbers = self.index().numbers(&view, sight);
            let candidates = self.index().candidates(&numbers, &actions, &resources);
            let quick = QuickEvaluator {
                sight,
                principal: &view,
                action: &action,
                resource: &resource,
                context: query.context,
            };
            let mut evaluation = Evaluation {
                policies_evaluated: candidates.len() as u32,
                ..Evaluation::default()
            };
            let mut left_to_cedar = Vec::new();
            for number in candidates {
                let compiled = self.policy(number);
                match compiled.quick_verdict(&quick, query) {
                    Some(verdict) => evaluation.count(compiled, verdict),
                    None => left_to_cedar.push(compiled),
                }
            }
            if !left_to_cedar.is_empty() {
                self.ask_cedar(query, principal, &left_to_cedar, &mut evaluation);
            }
            evaluation
        };
        principals.iter().copied().map(evaluate).collect()
    }

    /// Has Cedar's own evaluator say what these policies say.
    fn ask_cedar(
        &self,
        query: &Query<'_>,
        principal: &EntityUID,
        policies: &[&Compiled],
        evaluation: &mut Evaluation,
    ) {
        let asked = [principal, query.action, query.resource];
        let known = asked
            .into_iter()
            .filter_map(|uid| slice::view(self, query.overlays, uid));
        let context = query.context.to_context();
        let candidates = policies.iter().copied();
        let visible = slice::slice(self, query.overlays, &context, candidates, known);
        let extensions = Extensions::all_available();
        let entities = Entities::new().add_entities(
            visible,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            extensions,
        );
        let evaluator = entities.as_ref().map(|entities| {
            Evaluator::new(query.request_of(principal, context), entities, extensions)
        });
        for compiled in policies {
            let verdict = match &evaluator {
                Ok(evaluator) => compiled.verdict(evaluator),
                // No uid is unpacked twice, so this cannot happen; were it to, nothing may be allowed.
                Err(error) => Verdict::Failed(error.to_string()),
            };
            evaluation.count(compiled, verdict);
        }
    }
}

impl Query<'_> {
    fn request_of(self, principal: &EntityUID, context: Context) -> Request {
        Request::new_unchecked(
            EntityUIDEntry::known(principal.clone(), None),
            EntityUIDEntry::known(self.action.clone(), None),
            EntityUIDEntry::known(self.resource.clone(), None),
            Some(context),
        )
    }
}

impl Compiled {
    /// What the policy says, given that its scope matches; `None` if Cedar has to be asked.
    fn quick_verdict<'a>(
        &'a self,
        quick: &QuickEvaluator<'_, 'a>,
        query: &Query<'_>,
    ) -> Option<Verdict> {
        let Some(condition) = &self.condition else {
            return Some(Verdict::Satisfied);
        };
        if query
            .unknown
            .iter()
            .any(|attribute| self.context.reads(attribute))
        {
            return Some(Verdict::Open);
        }
        let holds = quick.holds(condition, self.policy.env())?;
        Some(if holds {
            Verdict::Satisfied
        } else {
            Verdict::Unsatisfied
        })
    }

    /// What the policy says in Cedar's own words.
    fn verdict(&self, evaluator: &Evaluator<'_>) -> Verdict {
        match evaluator.evaluate(&self.policy) {
            Ok(true) => Verdict::Satisfied,
            Ok(false) => Verdict::Unsatisfied,
            Err(error) => Verdict::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
