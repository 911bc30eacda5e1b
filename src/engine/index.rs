//! Which policies can apply to a request at all.
//!
//! A policy whose scope does not match is never satisfied and never errs, so leaving it out changes
//! nothing (Cedar proves this of its slicing). The index finds the rest without looking at the others:
//! every policy sits in one place, named by what its scope says of principal and resource, and within
//! that place under each action it names.

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

/// The types and entities that scopes mention.
#[derive(Debug, Default)]
struct ScopeNumbers {
    types: HashMap<EntityType, ScopeNo, RandomState>,
    entities: HashMap<EntityUID, ScopeNo, RandomState>,
    last: ScopeNo,
}

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
                        .push((index.numbers.of_entity(action), place as PolicyNo));
                }
                ActionConstraint::In(actions) => {
                    for action in actions {
                        bucket
                            .0
                            .push((index.numbers.of_entity(action), place as PolicyNo));
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
        match constraint {
            PrincipalOrResourceConstraint::Any => ANY,
            PrincipalOrResourceConstraint::Is(ty) => self.of_type(ty),
            PrincipalOrResourceConstraint::Eq(reference)
            | PrincipalOrResourceConstraint::In(reference)
            | PrincipalOrResourceConstraint::IsIn(_, reference) => match reference {
                EntityReference::EUID(uid) => self.of_entity(uid),
                // A link fills every slot; a scope still open is looked at for every request.
                EntityReference::Slot(_) => ANY,
            },
        }
    }

    fn of_type(&mut self, ty: &EntityType) -> ScopeNo {
        *self.types.entry(ty.clone()).or_insert_with(|| {
            self.last += 1;
            self.last
        })
    }

    fn of_entity(&mut self, uid: &EntityUID) -> ScopeNo {
        *self.entities.entry(uid.clone()).or_insert_with(|| {
            self.last += 1;
            self.last
        })
    }

    /// Every number under which a policy about this variable can sit.
    fn of_scope(&self, scope: Scope<'_>) -> Vec<ScopeNo> {
        let mut numbers = Vec::with_capacity(8);
        numbers.push(ANY);
        numbers.extend(self.types.get(scope.uid.entity_type()));
        numbers.extend(self.entities.get(scope.uid));
        if let Some(entity) = scope.entity {
            numbers.extend(entity.ancestors().filter_map(|uid| self.entities.get(uid)));
        }
        numbers
    }
}
