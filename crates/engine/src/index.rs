//! Finds the policies that can apply to a request.
//!
//! A policy whose scope does not match is never satisfied and never errs, so leaving it out changes
//! nothing (Cedar proves this of its slicing). Every policy sits in exactly one bucket, named by what
//! its scope says of principal and resource, and within the bucket under each action it names. A lookup
//! visits the few buckets that the request's entities and their ancestors name, never the other
//! policies. The result is exact: every policy found matches in all three, so no scope is evaluated.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::cedar::ActionConstraint;
use crate::interner::Interner;
use crate::key::KeyHasher;
use crate::policy::CompiledPolicy;
use crate::scope::{ANY, ScopeNo, ScopeNumbers};
use crate::view::EntityView;

/// Room for what the scopes name of an entity with a few ancestors.
const USUAL_SCOPES: usize = 8;

/// As many policies as apply to most requests, with some to spare.
pub(crate) const USUAL_CANDIDATES: usize = 64;

/// So many policies of a bucket are looked through rather than searched.
const FEW_POLICIES: usize = 8;

/// A policy's position in the snapshot's list.
pub(crate) type PolicyNo = u32;

/// Scopes that one entity matches.
pub(crate) type MatchingScopes = SmallVec<[ScopeNo; USUAL_SCOPES]>;

/// The policies whose principal scope one entity matches.
pub(crate) type PrincipalPolicies<'i> = SmallVec<[&'i ByResource; USUAL_SCOPES]>;

/// The policies whose scope one request matches.
pub(crate) type Candidates = SmallVec<[PolicyNo; USUAL_CANDIDATES]>;

/// The index over all scopes: principal, then resource, then action.
#[derive(Debug)]
pub(crate) struct PolicyIndex {
    numbers: ScopeNumbers,
    by_principal: HashMap<ScopeNo, ByResource, RandomState>,
}

/// The policies with the same principal scope.
pub(crate) type ByResource = HashMap<ScopeNo, Bucket, RandomState>;

/// The policies with the same principal and resource scopes, sorted by action.
#[derive(Debug, Default)]
pub(crate) struct Bucket(Vec<(ScopeNo, PolicyNo)>);

impl PolicyIndex {
    /// Indexes the policies. `interner` receives the names that their scopes mention.
    pub(crate) fn build(
        policies: &[CompiledPolicy],
        hasher: KeyHasher,
        interner: &mut Interner,
    ) -> Self {
        let mut index = Self {
            numbers: ScopeNumbers::new(hasher),
            by_principal: HashMap::default(),
        };
        for (position, compiled) in policies.iter().enumerate() {
            index.insert(compiled, position as PolicyNo, interner);
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

    fn insert(&mut self, compiled: &CompiledPolicy, policy: PolicyNo, interner: &mut Interner) {
        let (numbers, scope) = (&mut self.numbers, &compiled.policy);
        let principal = numbers.intern(scope.principal_constraint().as_inner(), interner);
        let resource = numbers.intern(scope.resource_constraint().as_inner(), interner);
        let bucket = self.by_principal.entry(principal).or_default();
        let bucket = &mut bucket.entry(resource).or_default().0;
        match scope.action_constraint() {
            ActionConstraint::Any => bucket.push((ANY, policy)),
            ActionConstraint::Eq(action) => {
                bucket.push((numbers.intern_equal(action, interner), policy));
            }
            ActionConstraint::In(actions) => {
                let mut inside = |action| (numbers.intern_inside(action, interner), policy);
                bucket.extend(actions.iter().map(|action| inside(action)));
            }
        }
    }

    /// The numbers of all scopes that this entity matches.
    pub(crate) fn scopes_matching(&self, entity: &EntityView<'_>) -> MatchingScopes {
        let mut numbers = MatchingScopes::new();
        self.numbers
            .each_matching(entity.key(), entity.ancestor_keys(), |it| numbers.push(it));
        numbers
    }

    /// The policies whose principal scope this entity matches.
    pub(crate) fn of_principal(&self, entity: &EntityView<'_>) -> PrincipalPolicies<'_> {
        let mut found = PrincipalPolicies::new();
        self.numbers
            .each_matching(entity.key(), entity.ancestor_keys(), |number| {
                found.extend(self.by_principal.get(&number));
            });
        found
    }

    /// Adds every policy whose scope matches to a list of others, each once, in order.
    pub(crate) fn candidates(
        of_principal: &[&ByResource],
        actions: &[ScopeNo],
        resources: &[ScopeNo],
        found: &mut Candidates,
    ) {
        let others = found.len();
        for by_resource in of_principal {
            // Walk whichever is shorter.
            if by_resource.len() < resources.len() {
                for (resource, bucket) in *by_resource {
                    if resources.contains(resource) {
                        bucket.collect(actions, found);
                    }
                }
            } else {
                for bucket in resources
                    .iter()
                    .filter_map(|resource| by_resource.get(resource))
                {
                    bucket.collect(actions, found);
                }
            }
        }
        if found.len() > others {
            found.sort_unstable();
            found.dedup();
        }
    }
}

impl Bucket {
    /// Adds the policies whose action scope is one of these.
    fn collect(&self, actions: &[ScopeNo], found: &mut Candidates) {
        if self.0.len() <= FEW_POLICIES {
            for &(number, policy) in &self.0 {
                if actions.contains(&number) {
                    found.push(policy);
                }
            }
            return;
        }
        for &action in actions {
            let start = self.0.partition_point(|&(number, _)| number < action);
            for &(number, policy) in &self.0[start..] {
                if number != action {
                    break;
                }
                found.push(policy);
            }
        }
    }
}
