//! Delegations: granted, narrowed, revoked, listed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::call::chain::{Chain, MAX_LINKS};
use crate::call::decision::{Decision, ReasonCode};
use crate::call::live::change::Change;
use crate::call::live::grant::{Grant, GrantStatus};
use crate::call::live::scope::Scope;
use crate::call::live::task::Task;
use crate::control::author::Author;
use crate::control::error::ControlError;
use crate::control::page::{Listed, Page};
use crate::control::scopes;
use crate::control::view::GrantView;
use crate::control::write::{About, Control, Done, Scene, whole_millis};
use crate::service::generation::Generation;
use crate::service::ledger::{Plan, Written};

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// What is to be lent. The actor lends.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// The agent that may act.
    pub to: EntityUID,
    /// Which calls it covers.
    pub scope: Scope,
    /// The task it is for.
    pub task: Option<SmolStr>,
    /// The delegation that is lent on; `None` if the actor lends its own authority.
    pub parent: Option<SmolStr>,
    /// How many times it may be lent on, one after the other.
    pub lend_depth: u32,
    /// Holds from here on; `None` for at once.
    pub not_before: Option<SystemTime>,
    /// Holds until just before here.
    pub expires_at: SystemTime,
}

/// What of a delegation is to be taken back. `None` leaves it as it is.
#[derive(Debug, Clone)]
pub struct Narrowing {
    /// Which delegation.
    pub id: SmolStr,
    /// Which calls it still covers.
    pub scope: Option<Scope>,
    /// When it ends.
    pub expires_at: Option<SystemTime>,
    /// How many times it may still be lent on.
    pub lend_depth: Option<u32>,
}

/// Which delegations are wanted. Each that is given must fit.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// Its name.
    pub id: Option<SmolStr>,
    /// Who lends.
    pub from: Option<EntityUID>,
    /// Who may act.
    pub to: Option<EntityUID>,
    /// The task it is for.
    pub task: Option<SmolStr>,
    /// How it stands.
    pub status: Option<GrantStatus>,
}

impl Control {
    /// Lends authority to an agent: the actor's own, or what the actor was lent.
    pub async fn grant_delegation(
        &self,
        author: &Author,
        new: NewGrant,
    ) -> Result<Done<GrantView>, ControlError> {
        let plan = move |scene: &Scene<'_>| plan_grant(scene, new);
        let written = self.write("GrantDelegation", author, plan).await?;
        self.granted(written)
    }

    /// Takes part of a delegation back.
    pub async fn narrow_delegation(
        &self,
        author: &Author,
        narrowing: Narrowing,
    ) -> Result<Done<GrantView>, ControlError> {
        let plan = move |scene: &Scene<'_>| plan_narrowing(scene, narrowing);
        let written = self.write("NarrowDelegation", author, plan).await?;
        self.granted(written)
    }

    /// Takes a delegation back, and with it whatever was lent on from it. Doing so again succeeds and
    /// changes nothing: the first moment stays.
    pub async fn revoke_delegation(
        &self,
        author: &Author,
        id: SmolStr,
    ) -> Result<Done<GrantView>, ControlError> {
        let plan = move |scene: &Scene<'_>| {
            let grant = scene.grant("delegation", &id)?;
            may_take_back(scene, grant)?;
            let revoked = Grant {
                revoked_at: grant.revoked_at.or(Some(scene.now)),
                ..Grant::clone(grant)
            };
            Ok(planned("RevokeDelegation", revoked))
        };
        let written = self.write("RevokeDelegation", author, plan).await?;
        self.granted(written)
    }

    /// Delegations in the order in which they were made.
    pub fn list_delegations(
        &self,
        filter: &GrantFilter,
        page: &Page,
    ) -> Result<Listed<GrantView>, ControlError> {
        let limits = self.limits();
        self.view(|view| {
            let grants = &view.generation.authority.grants;
            let revision = view.generation.snapshot.revision();
            let keep = |grant: &Arc<Grant>| {
                let fits = filter.fits(grant).then(|| view.grant(grant))?;
                let wanted = filter.status.unwrap_or(fits.status);
                (fits.status == wanted).then_some(fits)
            };
            match &filter.id {
                Some(id) => Ok(Listed {
                    items: grants.get(id).and_then(keep).into_iter().collect(),
                    next: None,
                    revision,
                }),
                None => page.of(grants, &limits, revision, keep),
            }
        })
    }

    /// A delegation as it stands in a generation.
    pub fn grant_as_of(&self, generation: &Generation, grant: &Arc<Grant>) -> GrantView {
        self.view_of(generation).grant(grant)
    }

    fn granted(&self, written: Written) -> Result<Done<GrantView>, ControlError> {
        let grant = written.generation.authority.grants.get(&written.id);
        // A repeated request may be about something that has been forgotten since.
        let grant = grant.ok_or_else(|| ControlError::not_found("delegation", &written.id))?;
        Ok(Done {
            value: self.grant_as_of(&written.generation, grant),
            revision: written.revision,
            is_durable: written.is_durable,
        })
    }
}

impl GrantFilter {
    fn fits(&self, grant: &Grant) -> bool {
        self.from.as_ref().is_none_or(|from| grant.from == *from)
            && self.to.as_ref().is_none_or(|to| grant.to == *to)
            && (self.task.is_none() || grant.task == self.task)
    }
}

fn plan_grant(scene: &Scene<'_>, new: NewGrant) -> Result<Plan, ControlError> {
    let snapshot = &scene.generation.snapshot;
    scene.check_agent(&new.to, "to")?;
    if new.to == *scene.actor() {
        let message = "is the actor itself: nobody lends to itself";
        return Err(ControlError::invalid("to", message));
    }
    scopes::check_shape(&new.scope, scene.limits, "scope")?;
    scopes::check_known(&new.scope, snapshot, "scope")?;
    check_lend_depth(scene, new.lend_depth)?;
    let grant = Grant {
        id: scene.next_id("grant"),
        from: scene.actor().clone(),
        to: new.to,
        scope: new.scope,
        task: new.task,
        parent: new.parent,
        lend_depth: new.lend_depth,
        not_before: new.not_before.map_or(scene.now, whole_millis),
        expires_at: whole_millis(new.expires_at),
        revoked_at: None,
        created_at: scene.now,
    };
    check_times(scene, &grant)?;
    let limit = scene.limits.delegations;
    if scene.generation.authority.grants.size() >= limit as usize {
        let message =
            format!("{limit} delegations are stored, as many as `limits.delegations` allows");
        return Err(ControlError::TooMany(message));
    }
    if let Some(id) = &grant.parent {
        let parent = scene.grant("delegation", id)?;
        check_parent(scene, parent, &grant)?;
    }
    let task = grant.task.as_ref();
    let task = task.map(|id| scene.open_task("task", id)).transpose()?;
    let chain = Chain::of_grant(&scene.generation.authority, &grant)
        .map_err(|reason| ControlError::denied(Decision::deny(reason)))?;
    check_parties(&chain, &grant)?;
    let task = task.map(Arc::as_ref);
    if let Some(task) = task {
        check_task(&chain, &grant, task)?;
    }
    let about = About {
        chain: Some(&chain),
        task,
    };
    scene.govern("grant_delegation", &grant.to, about)?;
    Ok(planned("GrantDelegation", grant))
}

fn check_lend_depth(scene: &Scene<'_>, lend_depth: u32) -> Result<(), ControlError> {
    let limit = scene.limits.lend_depth;
    if lend_depth > limit {
        let message = format!("is {lend_depth}, but at most {limit} is allowed");
        return Err(ControlError::invalid("lend_depth", message));
    }
    Ok(())
}

fn check_times(scene: &Scene<'_>, grant: &Grant) -> Result<(), ControlError> {
    if grant.expires_at <= scene.now {
        return Err(ControlError::invalid("expires_at", "is over already"));
    }
    if grant.expires_at <= grant.not_before {
        let message = "is not after the delegation's beginning";
        return Err(ControlError::invalid("expires_at", message));
    }
    let days = scene.limits.delegation_days;
    let longest = Duration::from_secs(u64::from(days) * SECONDS_OF_A_DAY);
    if scene
        .now
        .checked_add(longest)
        .is_some_and(|last| grant.expires_at > last)
    {
        let message =
            format!("is more than {days} days from now, which `limits.delegation_days` allows");
        return Err(ControlError::invalid("expires_at", message));
    }
    Ok(())
}

/// What is lent on has to be there to lend, and can only get narrower.
fn check_parent(scene: &Scene<'_>, parent: &Arc<Grant>, grant: &Grant) -> Result<(), ControlError> {
    if parent.to != grant.from {
        let message = format!("delegation `{}` was lent to somebody else", parent.id);
        return Err(ControlError::evidence(
            ReasonCode::DelegationChainBroken,
            message,
        ));
    }
    let how = match scene.view().grant(parent).status {
        GrantStatus::Active => None,
        GrantStatus::NotYet => Some("is not in force yet"),
        GrantStatus::Expired => Some("has expired"),
        GrantStatus::Revoked => Some("was taken back"),
        GrantStatus::TaskOver => Some("was for a task that is over"),
    };
    if let Some(how) = how {
        return Err(ControlError::Precondition(format!(
            "delegation `{}` {how}",
            parent.id
        )));
    }
    let beyond = |what: &str| {
        let message = format!("delegation `{}` {what}", parent.id);
        Err(ControlError::evidence(
            ReasonCode::DelegationOutOfScope,
            message,
        ))
    };
    if parent.lend_depth == 0 {
        return beyond("may not be lent on");
    }
    if grant.lend_depth >= parent.lend_depth {
        return beyond(
            "may not be lent on that often: `lend_depth` has to be smaller than its own",
        );
    }
    if grant.not_before < parent.not_before || grant.expires_at > parent.expires_at {
        return beyond("does not last as long as what is lent on from it");
    }
    if parent.task.is_some() && grant.task != parent.task {
        return beyond("is for a task, and what is lent on from it has to be for the same");
    }
    let snapshot = &scene.generation.snapshot;
    match grant.scope.is_within(snapshot, &parent.scope) {
        Ok(()) => Ok(()),
        Err(outside) => beyond(&format!("does not cover {outside}")),
    }
}

/// Asks Cedar whether a delegation may be taken back. One whose chain no longer holds can be, too.
fn may_take_back(scene: &Scene<'_>, grant: &Grant) -> Result<(), ControlError> {
    let chain = Chain::of_grant(&scene.generation.authority, grant).ok();
    let about = About {
        chain: chain.as_ref(),
        task: None,
    };
    scene.govern("revoke_delegation", &grant.to, about)
}

/// Nobody stands in a chain twice, and it has an end.
fn check_parties(chain: &Chain<'_>, grant: &Grant) -> Result<(), ControlError> {
    let broken = |message: String| {
        let code = ReasonCode::DelegationChainBroken;
        Err(ControlError::evidence(code, message))
    };
    if chain.depth() > MAX_LINKS {
        return broken(format!("the delegation has more than {MAX_LINKS} links"));
    }
    let earlier = std::iter::once(&*chain.root).chain(&*chain.actors);
    if earlier.into_iter().any(|party| *party == grant.to) {
        return broken(format!("`{}` appears twice in the delegation", grant.to));
    }
    Ok(())
}

/// A delegation for a task is used by its agent, for its person.
fn check_task(chain: &Chain<'_>, grant: &Grant, task: &Task) -> Result<(), ControlError> {
    let outside = |message: String| {
        let code = ReasonCode::TaskOutOfScope;
        Err(ControlError::evidence(code, message))
    };
    if *chain.root != task.person {
        return outside(format!("task `{}` is for another person", task.id));
    }
    if grant.to != task.agent && !chain.actors.contains(&task.agent) {
        return outside(format!("task `{}` is for another agent", task.id));
    }
    Ok(())
}

fn plan_narrowing(scene: &Scene<'_>, narrowing: Narrowing) -> Result<Plan, ControlError> {
    let Narrowing {
        id,
        scope,
        expires_at,
        lend_depth,
    } = narrowing;
    if scope.is_none() && expires_at.is_none() && lend_depth.is_none() {
        let message = "or `expires_at` or `lend_depth` is required";
        return Err(ControlError::invalid("scope", message));
    }
    if let Some(scope) = &scope {
        scopes::check_shape(scope, scene.limits, "scope")?;
        scopes::check_known(scope, &scene.generation.snapshot, "scope")?;
    }
    let grant = scene.grant("delegation", &id)?;
    may_take_back(scene, grant)?;
    let how = match scene.view().grant(grant).status {
        GrantStatus::Active | GrantStatus::NotYet => None,
        GrantStatus::Expired => Some("has expired"),
        GrantStatus::Revoked => Some("was taken back"),
        GrantStatus::TaskOver => Some("was for a task that is over"),
    };
    if let Some(how) = how {
        return Err(ControlError::Precondition(format!(
            "delegation `{}` {how}",
            grant.id
        )));
    }
    let mut narrowed = Grant::clone(grant);
    if let Some(scope) = scope {
        let within = scope.is_within(&scene.generation.snapshot, &grant.scope);
        within.map_err(|outside| {
            let message = format!("is wider than before: the delegation does not cover {outside}");
            ControlError::invalid("scope", message)
        })?;
        narrowed.scope = scope;
    }
    if let Some(expires_at) = expires_at.map(whole_millis) {
        if expires_at > grant.expires_at {
            let message = "is later than before: a delegation can only be narrowed";
            return Err(ControlError::invalid("expires_at", message));
        }
        narrowed.expires_at = expires_at;
    }
    if let Some(lend_depth) = lend_depth {
        if lend_depth > grant.lend_depth {
            let message = "is greater than before: a delegation can only be narrowed";
            return Err(ControlError::invalid("lend_depth", message));
        }
        narrowed.lend_depth = lend_depth;
    }
    Ok(planned("NarrowDelegation", narrowed))
}

fn planned(verb: &'static str, grant: Grant) -> Plan {
    Plan {
        verb,
        id: grant.id.clone(),
        change: Change::Grant(Arc::new(grant)),
    }
}
