//! One request against one snapshot.

use std::sync::Arc;

use cedar_policy_core::ast::{
    Context, EntityUID, EntityUIDEntry, Literal, Request, Value, ValueKind,
};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use crate::engine::index::Scope;
use crate::engine::policy::{Compiled, PolicyInfo};
use crate::engine::slice;
use crate::engine::snapshot::Snapshot;

/// Cedar's question, with what this one request adds to its entities.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Who.
    pub principal: EntityUID,
    /// Does what.
    pub action: EntityUID,
    /// To what.
    pub resource: EntityUID,
    /// Under which circumstances.
    pub context: Context,
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
    /// How many entities the request could see.
    pub entities_in_slice: u32,
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
    pub fn evaluate(&self, query: &Query<'_>) -> Evaluation {
        let view = |uid: &EntityUID| slice::view(self, query.overlays, uid);
        let principal = view(&query.principal);
        let action = view(&query.action);
        let resource = view(&query.resource);
        let candidates = self.index().candidates(
            Scope {
                uid: &query.principal,
                entity: principal.as_deref(),
            },
            Scope {
                uid: &query.action,
                entity: action.as_deref(),
            },
            Scope {
                uid: &query.resource,
                entity: resource.as_deref(),
            },
        );
        let mut evaluation = Evaluation::default();
        if candidates.is_empty() {
            return evaluation;
        }
        let policies = candidates.iter().map(|&place| self.policy(place));
        let mut known: Vec<_> = [principal, action].into_iter().flatten().collect();
        // The same entity may stand in two places.
        known.extend(
            resource.filter(|entity| known.iter().all(|other| other.uid() != entity.uid())),
        );
        let visible = slice::slice(self, query, policies.clone(), known);
        evaluation.entities_in_slice = visible.len() as u32;
        evaluation.policies_evaluated = candidates.len() as u32;

        let extensions = Extensions::all_available();
        let entities = Entities::new().add_entities(
            visible,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            extensions,
        );
        let entities = match entities {
            Ok(entities) => entities,
            // Cannot happen, since no uid is unpacked twice; were it to, nothing may be allowed.
            Err(error) => {
                let message = error.to_string();
                policies.for_each(|compiled| {
                    evaluation.count(compiled, Verdict::Failed(message.clone()));
                });
                return evaluation;
            }
        };
        let evaluator = Evaluator::new(query.to_request(), &entities, extensions);
        for compiled in policies {
            evaluation.count(compiled, compiled.verdict(&evaluator, query.unknown));
        }
        evaluation
    }
}

impl Query<'_> {
    fn to_request(&self) -> Request {
        Request::new_unchecked(
            EntityUIDEntry::known(self.principal.clone(), None),
            EntityUIDEntry::known(self.action.clone(), None),
            EntityUIDEntry::known(self.resource.clone(), None),
            Some(self.context.clone()),
        )
    }
}

impl Compiled {
    fn verdict(&self, evaluator: &Evaluator<'_>, unknown: &[&str]) -> Verdict {
        if unknown
            .iter()
            .any(|attribute| self.context.reads(attribute))
        {
            return Verdict::Open;
        }
        match evaluator.interpret(&self.condition, self.policy.env()) {
            Ok(value) => match value.value {
                ValueKind::Lit(Literal::Bool(true)) => Verdict::Satisfied,
                ValueKind::Lit(Literal::Bool(false)) => Verdict::Unsatisfied,
                _ => Verdict::Failed(format!("the condition is `{value}`, not a boolean")),
            },
            Err(error) => Verdict::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
