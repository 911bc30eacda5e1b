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
use crate::index::{ByResource, Candidates, PolicyIndex, PolicyNo, PrincipalPolicies};
use crate::key::EntityRef;
use crate::overlay::Overlay;
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
    pub overlays: &'a [Overlay],
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
    anywhere: RefCell<[Option<Anywhere>; KEPT_ACTIONS]>,
    /// Of policies that read neither action nor resource.
    outcomes: RefCell<HashMap<PolicyNo, Outcome, RandomState>>,
}

/// The policies that apply to an action whatever the resource is.
struct Anywhere {
    policies: Vec<PolicyNo>,
    /// How many more apply, but are known not to be satisfied in any of the requests. Worked out when the action comes for the
    /// second time, as the first one evaluates them.
    unsatisfied: Option<u32>,
}

impl Anywhere {
    /// Leaves out what is known not to be satisfied. Returns how many that are.
    fn leave_out(&mut self, outcomes: &HashMap<PolicyNo, Outcome, RandomState>) -> u32 {
        if let Some(unsatisfied) = self.unsatisfied {
            return unsatisfied;
        }
        let all = self.policies.len();
        self.policies
            .retain(|policy| outcomes.get(policy) != Some(&Outcome::Unsatisfied));
        let unsatisfied = (all - self.policies.len()) as u32;
        self.unsatisfied = Some(unsatisfied);
        unsatisfied
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
        let mut anywhere = self.anywhere.borrow_mut();
        let mut place = action.and_then(|number| anywhere.get_mut(number));
        let mut unsatisfied = 0;
        match &mut place {
            Some(Some(known)) => {
                unsatisfied = known.leave_out(&self.outcomes.borrow());
                found.extend_from_slice(&known.policies);
            }
            _ => PolicyIndex::candidates(of_principal, actions, &[ANY], found),
        }
        if let Some(unknown @ None) = place {
            *unknown = Some(Anywhere {
                policies: found.to_vec(),
                unsatisfied: None,
            });
        }
        // Every resource matches `ANY` first.
        let resources = resources.strip_prefix(&[ANY]).unwrap_or(resources);
        PolicyIndex::candidates(of_principal, actions, resources, found);
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
            actions: RefCell::default(),
        }
    }
}
