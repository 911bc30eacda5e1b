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

/// Cedar's question but for who asks it, with what this one request adds to the entities.
#[derive(Debug, Clone)]
pub struct Query<'a> {
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
    pub fn evaluate(&self, query: &Query<'_>, principal: &EntityUID) -> Evaluation {
        self.evaluate_each(query, &[principal])
            .pop()
            .unwrap_or_default()
    }

    /// The same for several principals who ask the same; what they all see is unpacked once.
    pub fn evaluate_each(&self, query: &Query<'_>, principals: &[&EntityUID]) -> Vec<Evaluation> {
        let view = |uid: &EntityUID| slice::view(self, query.overlays, uid);
        let action = view(&query.action);
        let resource = view(&query.resource);
        let asking: Vec<_> = principals.iter().map(|principal| view(principal)).collect();
        let candidates: Vec<Vec<&Compiled>> = principals
            .iter()
            .zip(&asking)
            .map(|(principal, entity)| {
                let numbers = self.index().candidates(
                    Scope {
                        uid: principal,
                        entity: entity.as_deref(),
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
                numbers
                    .into_iter()
                    .map(|number| self.policy(number))
                    .collect()
            })
            .collect();
        let known = asking.into_iter().chain([action, resource]).flatten();
        let visible = slice::slice(self, query, candidates.iter().flatten().copied(), known);
        let entities_in_slice = visible.len() as u32;
        let extensions = Extensions::all_available();
        let entities = Entities::new().add_entities(
            visible,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            extensions,
        );
        principals
            .iter()
            .zip(&candidates)
            .map(|(principal, candidates)| {
                let mut evaluation = Evaluation {
                    policies_evaluated: candidates.len() as u32,
                    entities_in_slice,
                    ..Evaluation::default()
                };
                let evaluator = entities.as_ref().map(|entities| {
                    Evaluator::new(query.to_request(principal), entities, extensions)
                });
                for compiled in candidates {
                    let verdict = match &evaluator {
                        Ok(evaluator) => compiled.verdict(evaluator, query.unknown),
                        // No uid is unpacked twice, so this cannot happen; were it to, nothing
                        // may be allowed.
                        Err(error) => Verdict::Failed(error.to_string()),
                    };
                    evaluation.count(compiled, verdict);
                }
                evaluation
            })
            .collect()
    }
}

impl Query<'_> {
    fn to_request(&self, principal: &EntityUID) -> Request {
        Request::new_unchecked(
            EntityUIDEntry::known(principal.clone(), None),
            EntityUIDEntry::known(self.action.clone(), None),
            EntityUIDEntry::known(self.resource.clone(), None),
            Some(self.context.clone()),
        )
    }
}

impl Compiled {
    /// What the policy says, given that its scope matches.
    fn verdict(&self, evaluator: &Evaluator<'_>, unknown: &[&str]) -> Verdict {
        let Some(condition) = &self.condition else {
            return Verdict::Satisfied;
        };
        if unknown
            .iter()
            .any(|attribute| self.context.reads(attribute))
        {
            return Verdict::Open;
        }
        let outcome = match evaluator.interpret(condition, self.policy.env()) {
            Ok(value) => match value.value {
                ValueKind::Lit(Literal::Bool(satisfied)) => Ok(satisfied),
                // Cedar says what is wrong with it.
                _ => evaluator.evaluate(&self.policy),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok(true) => Verdict::Satisfied,
            Ok(false) => Verdict::Unsatisfied,
            Err(error) => Verdict::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
