//! Requests that differ in action and resource alone: what they have in common is worked out once.
//!
//! Principals are looked up once, and so are the policies whose principal scope they match. A policy whose condition reads
//! neither action nor resource has the same outcome in all of these requests of one principal, and is evaluated in the first
//! that it applies to.
//!
//! Invariant: none of it depends on a request, so a request has the outcome that it has alone.

use std::cell::{Ref, RefCell};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::cedar::EntityUID;
use crate::context::ContextSource;
use crate::evaluation::Outcome;
use crate::index::{
    ByResource, Candidates, MatchingScopes, PolicyIndex, PolicyNo, PrincipalPolicies,
};
use crate::key::EntityRef;
use crate::overlay::{Overlay, is_one_each};
use crate::policy::AttributeBloom;
use crate::scope::{ANY, ScopeNo};
use crate::snapshot::Snapshot;
use crate::view::KnownEntity;

/// Actions of which it is kept what was looked up, and which policies apply whatever the resource is. Most lists have tools of
/// two or three.
const KEPT_ACTIONS: usize = 8;

/// A query without action and resource.
#[derive(Clone, Copy)]
pub struct SharedParts<'a> {
    /// The context.
    pub context: &'a dyn ContextSource,
    /// Entities known to these requests only, and additions to stored ones.
    pub overlays: &'a [&'a Overlay],
    /// Attributes of the context that are not known yet, as in [`Query::unknown`](crate::Query::unknown).
    pub unknown: &'a [&'a str],
}

/// What requests of several principals have in common. [`SharedQuery::evaluate`] evaluates one of them.
pub struct SharedQuery<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) parts: SharedParts<'a>,
    /// Of `parts.unknown`.
    pub(crate) unknown: AttributeBloom,
    pub(crate) principals: Vec<SharedPrincipal<'a>>,
    /// Whether no two overlays are of one entity. If some are, nothing is kept.
    pub(crate) has_one_overlay_each: bool,
    /// Declared actions of earlier requests, [`KEPT_ACTIONS`] at most.
    actions: RefCell<SmallVec<[SharedAction<'a>; 2]>>,
}

/// A declared action.
pub(crate) struct SharedAction<'a> {
    pub(crate) uid: &'a EntityUID,
    pub(crate) entity: KnownEntity<'a>,
    pub(crate) scopes: &'a [ScopeNo],
}

/// One of the principals.
pub(crate) struct SharedPrincipal<'a> {
    pub(crate) uid: &'a EntityUID,
    pub(crate) entity: KnownEntity<'a>,
    pub(crate) policies: PrincipalPolicies<'a>,
    pub(crate) found: SharedFindings,
}

/// What was found of one principal, for its other requests.
#[derive(Default)]
pub(crate) struct SharedFindings {
    /// By the number of an action that is kept.
    applied: RefCell<[Option<AppliedPolicies>; KEPT_ACTIONS]>,
    /// Of policies that read neither action nor resource.
    outcomes: RefCell<HashMap<PolicyNo, Outcome, RandomState>>,
    /// Whether policies read what is not known.
    undetermined: RefCell<HashMap<PolicyNo, bool, RandomState>>,
}

/// The policies that apply to an action.
struct AppliedPolicies {
    /// Those that apply whatever the resource is.
    anywhere: Vec<PolicyNo>,
    /// How many more of these apply, but are known not to be satisfied in any of the requests. Worked out when the action comes
    /// for the second time, as the first one evaluates them.
    unsatisfied: Option<u32>,
    /// The scopes of the last resource, besides `ANY`. Most resources of a list match the same ones.
    resources: MatchingScopes,
    /// Those that apply because of these scopes.
    of_resources: Vec<PolicyNo>,
}

impl AppliedPolicies {
    fn anywhere(of_principal: &[&ByResource], actions: &[ScopeNo]) -> Self {
        let mut anywhere = Candidates::new();
        PolicyIndex::candidates(of_principal, actions, &[ANY], &mut anywhere);
        Self {
            anywhere: anywhere.to_vec(),
            unsatisfied: None,
            resources: MatchingScopes::new(),
            of_resources: Vec::new(),
        }
    }

    /// Leaves out what is known not to be satisfied. Returns how many that are.
    fn leave_out(&mut self, outcomes: &HashMap<PolicyNo, Outcome, RandomState>) -> u32 {
        if let Some(unsatisfied) = self.unsatisfied {
            return unsatisfied;
        }
        let all = self.anywhere.len();
        self.anywhere
            .retain(|policy| outcomes.get(policy) != Some(&Outcome::Unsatisfied));
        let unsatisfied = (all - self.anywhere.len()) as u32;
        self.unsatisfied = Some(unsatisfied);
        unsatisfied
    }

    /// Looks up what applies because of the scopes of a resource, unless they are those of the last one.
    fn look_up(
        &mut self,
        of_principal: &[&ByResource],
        actions: &[ScopeNo],
        resources: &[ScopeNo],
    ) {
        if *self.resources != *resources {
            let mut found = Candidates::new();
            PolicyIndex::candidates(of_principal, actions, resources, &mut found);
            self.resources = MatchingScopes::from_slice(resources);
            self.of_resources.clear();
            self.of_resources.extend_from_slice(&found);
        }
    }
}

impl SharedFindings {
    /// Adds the policies that apply to a request to an empty list, as [`PolicyIndex::candidates`] does: of those whose
    /// principal scope matches. The scopes are those that the action and the resource match. Returns how many more apply, and
    /// are known not to be satisfied.
    pub(crate) fn candidates(
        &self,
        of_principal: &[&ByResource],
        (action, actions): (Option<usize>, &[ScopeNo]),
        resources: &[ScopeNo],
        found: &mut Candidates,
    ) -> u32 {
        let mut applied = self.applied.borrow_mut();
        let Some(place) = action.and_then(|number| applied.get_mut(number)) else {
            PolicyIndex::candidates(of_principal, actions, resources, found);
            return 0;
        };
        let unsatisfied = place
            .as_mut()
            .map_or(0, |known| known.leave_out(&self.outcomes.borrow()));
        let known = place.get_or_insert_with(|| AppliedPolicies::anywhere(of_principal, actions));
        // Every resource matches `ANY` first.
        let resources = resources.strip_prefix(&[ANY]).unwrap_or(resources);
        known.look_up(of_principal, actions, resources);
        found.extend_from_slice(&known.anywhere);
        if !known.of_resources.is_empty() {
            found.extend_from_slice(&known.of_resources);
            found.sort_unstable();
        }
        unsatisfied
    }

    /// The outcome of a policy that reads neither action nor resource, by `evaluate` unless it is known. What Cedar has to be
    /// asked for is not kept.
    pub(crate) fn outcome(
        &self,
        policy: PolicyNo,
        evaluate: impl FnOnce() -> Option<Outcome>,
    ) -> Option<Outcome> {
        if let Some(known) = self.outcomes.borrow().get(&policy) {
            return Some(*known);
        }
        let outcome = evaluate()?;
        self.outcomes.borrow_mut().insert(policy, outcome);
        Some(outcome)
    }

    /// Whether a policy reads what is not known, by `reads_unknown` unless that was asked before.
    pub(crate) fn is_undetermined(
        &self,
        policy: PolicyNo,
        reads_unknown: impl FnOnce() -> bool,
    ) -> bool {
        let mut known = self.undetermined.borrow_mut();
        *known.entry(policy).or_insert_with(reads_unknown)
    }
}

impl<'a> SharedQuery<'a> {
    /// A declared action with its number, looked up once; `None` for an undeclared one, and where there is no room.
    pub(crate) fn kept_action(
        &self,
        action: &EntityUID,
    ) -> Option<(usize, Ref<'_, SharedAction<'a>>)> {
        let found = self.actions.borrow().iter().position(|it| it.uid == action);
        let number = found.or_else(|| self.keep_action(action))?;
        let kept = Ref::map(self.actions.borrow(), |it| &it[number]);
        Some((number, kept))
    }

    fn keep_action(&self, action: &EntityUID) -> Option<usize> {
        let mut actions = self.actions.borrow_mut();
        let number = actions.len();
        let declared = (number < KEPT_ACTIONS).then(|| self.snapshot.action(action))??;
        let uid = declared.entity.uid();
        let view = self.snapshot.view(self.parts.overlays);
        actions.push(SharedAction {
            uid,
            entity: view.known_entity(EntityRef::Given(uid)),
            scopes: &declared.scopes,
        });
        Some(number)
    }
}

impl Snapshot {
    /// Looks up what requests of these principals have in common.
    pub fn shared_query<'a>(
        &'a self,
        principals: &[&'a EntityUID],
        parts: SharedParts<'a>,
    ) -> SharedQuery<'a> {
        let view = self.view(parts.overlays);
        let known = |uid: &&'a EntityUID| {
            let entity = view.known_entity(EntityRef::Given(uid));
            let policies = self.index().of_principal(&entity.in_request(view));
            SharedPrincipal {
                uid,
                entity,
                policies,
                found: SharedFindings::default(),
            }
        };
        SharedQuery {
            snapshot: self,
            parts,
            unknown: AttributeBloom::of(parts.unknown.iter().copied()),
            principals: principals.iter().map(known).collect(),
            has_one_overlay_each: is_one_each(parts.overlays),
            actions: RefCell::default(),
        }
    }
}
