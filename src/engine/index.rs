//! Which policies can apply to a request at all.
//!
//! A policy whose scope does not match is never satisfied and never errs, so leaving it out changes
//! nothing (Cedar proves this of its slicing). The index finds the rest without looking at the others:
//! every policy sits in one place, named by what its scope says of principal and resource, and within
//! that place under each action it names. It is exact: what it finds matches in all three, so nobody
//! has to evaluate a scope again.

use std::collections::HashMap;

use cedar_policy_core::ast::{
    ActionConstraint, Entity, EntityReference, EntityType, EntityUID, PrincipalOrResourceConstraint,
};
use foldhash::fast::RandomState;

use crate::engine::policy::Compiled;

/// What a scope says of one variable: nothing, a type, or an entity. Numbered when the index is built.
type ScopeNo = u32;
/// A scope that says nothing.
const ANY: ScopeNo = 0;

/// A policy's place in the snapshot's list.
pub(super) type PolicyNo = u32;

/// The index over all scopes.
#[derive(Debug, Default)]
pub(super) struct PolicyIndex {
    numbers: ScopeNumbers,
    by_principal: HashMap<ScopeNo, HashMap<ScopeNo, Bucket, RandomState>, RandomState>,
}

/// The policies of one place: sorted by action.
#[derive(Debug, Default)]
struct Bucket(Vec<(ScopeNo, PolicyNo)>);

/// What scopes say, numbered.
#[derive(Debug, Default)]
struct ScopeNumbers {
    /// `is T`
    types: HashMap<EntityType, ScopeNo, RandomState>,
    /// `== e`
    equal: ByEntity,
    /// `in e`
    inside: ByEntity,
    /// `is T in e`
    inside_by_type: HashMap<EntityType, ByEntity, RandomState>,
    last: ScopeNo,
}

type ByEntity = HashMap<EntityUID, ScopeNo, RandomState>;

impl PolicyIndex {
    pub(super) fn build(policies: &[Compiled]) -> Self {
        let mut index = Self::default();
        for (place, compiled) in policies.iter().enumerate() {
            let policy = &compiled.policy;
            let principal = index
                .numbers
                .of_constraint(policy.principal_constraint().as_inner());
            let resource = index
                .numbers
                .of_constraint(policy.resource_constraint().as_inner());
            let bucket = index
                .by_principal
                .entry(principal)
                .or_default()
                .entry(resource)
                .or_default();
            match policy.action_constraint() {
                ActionConstraint::Any => bucket.0.push((ANY, place as PolicyNo)),
                ActionConstraint::Eq(action) => {
                    bucket
                        .0
                        .push((index.numbers.equal_to(action), place as PolicyNo));
                }
                ActionConstraint::In(actions) => {
                    for action in actions {
                        bucket
                            .0
                            .push((index.numbers.inside(action), place as PolicyNo));
                    }
                }
            }
        }
        for bucket in index
            .by_principal
            .values_mut()
            .flat_map(HashMap::values_mut)
        {
            bucket.0.sort_unstable();
            bucket.0.dedup();
            bucket.0.shrink_to_fit();
        }
        index
    }

    /// Every policy whose scope can match, each once, in order.
    pub(super) fn candidates(
        &self,
        principal: Scope<'_>,
        action: Scope<'_>,
        resource: Scope<'_>,
    ) -> Vec<PolicyNo> {
        let principals = self.numbers.of_scope(principal);
        let actions = self.numbers.of_scope(action);
        let resources = self.numbers.of_scope(resource);
        let mut found = Vec::new();
        for number in principals {
            let Some(by_resource) = self.by_principal.get(&number) else {
                continue;
            };
            // Whichever is shorter is walked.
            if by_resource.len() < resources.len() {
                for (resource, bucket) in by_resource {
                    if resources.contains(resource) {
                        bucket.collect(&actions, &mut found);
                    }
                }
            } else {
                for bucket in resources
                    .iter()
                    .filter_map(|resource| by_resource.get(resource))
                {
                    bucket.collect(&actions, &mut found);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// One variable of a request: its uid, and its entity if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) uid: &'a EntityUID,
    pub(super) entity: Option<&'a Entity>,
}

impl Bucket {
    fn collect(&self, actions: &[ScopeNo], found: &mut Vec<PolicyNo>) {
        for &action in actions {
            let start = self.0.partition_point(|&(number, _)| number < action);
            let run = self.0[start..]
                .iter()
                .take_while(|&&(number, _)| number == action);
            found.extend(run.map(|&(_, policy)| policy));
        }
    }
}

impl ScopeNumbers {
    fn of_constraint(&mut self, constraint: &PrincipalOrResourceConstraint) -> ScopeNo {
        use EntityReference::EUID;
        use PrincipalOrResourceConstraint as Constraint;
        match constraint {
            Constraint::Is(ty) => *entry(&mut self.types, ty.as_ref(), &mut self.last),
            Constraint::Eq(EUID(uid)) => self.equal_to(uid),
            Constraint::In(EUID(uid)) => self.inside(uid),
            Constraint::IsIn(ty, EUID(uid)) => {
                let by_entity = self
                    .inside_by_type
                    .entry(EntityType::clone(ty))
                    .or_default();
                *entry(by_entity, uid.as_ref(), &mut self.last)
            }
            Constraint::Any => ANY,
            // A policy is a template with every slot filled, so there are none left here.
            Constraint::Eq(EntityReference::Slot(_))
            | Constraint::In(EntityReference::Slot(_))
            | Constraint::IsIn(_, EntityReference::Slot(_)) => ANY,
        }
    }

    fn equal_to(&mut self, uid: &EntityUID) -> ScopeNo {
        *entry(&mut self.equal, uid, &mut self.last)
    }

    fn inside(&mut self, uid: &EntityUID) -> ScopeNo {
        *entry(&mut self.inside, uid, &mut self.last)
    }

    /// Every number under which a policy about this variable can sit.
    fn of_scope(&self, scope: Scope<'_>) -> Vec<ScopeNo> {
        let ty = scope.uid.entity_type();
        let of_type = self.inside_by_type.get(ty);
        let mut numbers = Vec::with_capacity(8);
        numbers.push(ANY);
        numbers.extend(self.types.get(ty));
        numbers.extend(self.equal.get(scope.uid));
        // An entity is in itself.
        let ancestors = scope.entity.into_iter().flat_map(Entity::ancestors);
        for uid in ancestors.chain([scope.uid]) {
            numbers.extend(self.inside.get(uid));
            numbers.extend(of_type.and_then(|by_entity| by_entity.get(uid)));
        }
        numbers
    }
}

fn entry<'m, K: Clone + Eq + std::hash::Hash>(
    numbers: &'m mut HashMap<K, ScopeNo, RandomState>,
    key: &K,
    last: &mut ScopeNo,
) -> &'m ScopeNo {
    numbers.entry(key.clone()).or_insert_with(|| {
        *last += 1;
        *last
    })
}
