//! Which policies can apply to a request at all.
//!
//! A policy whose scope does not match is never satisfied and never errs, so leaving it out changes
//! nothing (Cedar proves this of its slicing). The index finds the rest without looking at the others:
//! every policy sits in one place, named by what its scope says of principal and resource, and within
//! that place under each action it names. It is exact: what it finds matches in all three, so nobody
//! has to evaluate a scope again.

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityUID, PrincipalOrResourceConstraint,
};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::engine::names::{Names, TypeNo};
use crate::engine::packed::{Key, KeyRef};
use crate::engine::policy::Compiled;
use crate::engine::view::{Sight, View};

/// What a scope says of one variable: nothing, a type, or an entity. Numbered when the index is built.
pub(super) type ScopeNo = u32;
/// A scope that says nothing.
const ANY: ScopeNo = 0;

/// As many policies as apply to most requests, with some to spare.
const USUAL_CANDIDATES: usize = 64;

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
    types: HashMap<TypeNo, ScopeNo, RandomState>,
    /// `== e`
    equal: ByEntity,
    /// `in e`
    inside: ByEntity,
    /// `is T in e`
    inside_by_type: HashMap<TypeNo, ByEntity, RandomState>,
    last: ScopeNo,
}

type ByEntity = HashMap<Key, ScopeNo, RandomState>;

impl PolicyIndex {
    /// `names` learns the names that scopes mention.
    pub(super) fn build(policies: &[Compiled], names: &mut Names) -> Self {
        let mut index = Self::default();
        for (place, compiled) in policies.iter().enumerate() {
            let policy = &compiled.policy;
            let principal = index
                .numbers
                .of_constraint(policy.principal_constraint().as_inner(), names);
            let resource = index
                .numbers
                .of_constraint(policy.resource_constraint().as_inner(), names);
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
                        .push((index.numbers.equal_to(action, names), place as PolicyNo));
                }
                ActionConstraint::In(actions) => {
                    for action in actions {
                        bucket
                            .0
                            .push((index.numbers.inside(action, names), place as PolicyNo));
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

    /// Every number under which a policy about this entity can sit.
    pub(super) fn numbers(&self, entity: &View<'_>, sight: Sight<'_>) -> Vec<ScopeNo> {
        self.numbers.of_entity(entity, sight)
    }

    /// Every policy whose scope matches, each once, in order.
    pub(super) fn candidates(
        &self,
        principals: &[ScopeNo],
        actions: &[ScopeNo],
        resources: &[ScopeNo],
    ) -> Vec<PolicyNo> {
        let mut found = Vec::with_capacity(USUAL_CANDIDATES);
        for number in principals {
            let Some(by_resource) = self.by_principal.get(number) else {
                continue;
            };
            // Whichever is shorter is walked.
            if by_resource.len() < resources.len() {
                for (resource, bucket) in by_resource {
                    if resources.contains(resource) {
                        bucket.collect(actions, &mut found);
                    }
                }
            } else {
                for bucket in resources
                    .iter()
                    .filter_map(|resource| by_resource.get(resource))
                {
                    bucket.collect(actions, &mut found);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
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
    fn of_constraint(
        &mut self,
        constraint: &PrincipalOrResourceConstraint,
        names: &mut Names,
    ) -> ScopeNo {
        use EntityReference::{EUID, Slot};
        use PrincipalOrResourceConstraint as Constraint;
        match constraint {
            Constraint::Is(ty) => entry(&mut self.types, names.intern_type(ty), &mut self.last),
            Constraint::Eq(EUID(uid)) => self.equal_to(uid, names),
            Constraint::In(EUID(uid)) => self.inside(uid, names),
            Constraint::IsIn(ty, EUID(uid)) => {
                let by_entity = self
                    .inside_by_type
                    .entry(names.intern_type(ty))
                    .or_default();
                entry(by_entity, Key::pack(uid, names), &mut self.last)
            }
            // A policy is a template with every slot filled, so there are no slots here.
            Constraint::Any
            | Constraint::Eq(Slot(_))
            | Constraint::In(Slot(_))
            | Constraint::IsIn(_, Slot(_)) => ANY,
        }
    }

    fn equal_to(&mut self, uid: &EntityUID, names: &mut Names) -> ScopeNo {
        entry(&mut self.equal, Key::pack(uid, names), &mut self.last)
    }

    fn inside(&mut self, uid: &EntityUID, names: &mut Names) -> ScopeNo {
        entry(&mut self.inside, Key::pack(uid, names), &mut self.last)
    }

    fn of_entity(&self, entity: &View<'_>, sight: Sight<'_>) -> Vec<ScopeNo> {
        let mut numbers = Vec::with_capacity(8);
        numbers.push(ANY);
        let own_key = sight.key_of(entity.name);
        let of_type = own_key.and_then(|key| self.inside_by_type.get(&key.ty));
        if let Some(key) = own_key {
            numbers.extend(self.types.get(&key.ty));
            numbers.extend(self.equal.get(&key));
        }
        let mut add_inside = |key: KeyRef<'_>| {
            numbers.extend(self.inside.get(&key));
            numbers.extend(of_type.and_then(|by_entity| by_entity.get(&key)));
        };
        // An entity is in itself.
        own_key.into_iter().for_each(&mut add_inside);
        for ancestor in entity.ancestors() {
            sight
                .key_of(*ancestor)
                .into_iter()
                .for_each(&mut add_inside);
        }
        numbers
    }
}

fn entry<K: Eq + std::hash::Hash>(
    numbers: &mut HashMap<K, ScopeNo, RandomState>,
    key: K,
    last: &mut ScopeNo,
) -> ScopeNo {
    *numbers.entry(key).or_insert_with(|| {
        *last += 1;
        *last
    })
}
