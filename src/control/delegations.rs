//! Delegations: grant, narrow, revoke, list.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::Overlay;
use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;

use crate::control::error::ControlError;
use crate::control::live_view::DelegationView;
use crate::control::page::{ListPage, PageRequest};
use crate::control::requester::WriteRequester;
use crate::control::scopes;
use crate::control::write::{Control, WriteReceipt, whole_millis};
use crate::control::write_context::{GovernContext, WriteContext};
use crate::domain::authority::chain::{self, DelegationChain};
use crate::domain::authority::change::Change;
use crate::domain::authority::delegation::{Delegation, DelegationStatus};
use crate::domain::authority::indexed::Part;
use crate::domain::authority::ownership::AgentOwners;
use crate::domain::authority::scope::Scope;
use crate::domain::authority::task::Task;
use crate::domain::decide::verdict::{ReasonCode, Verdict};
use crate::domain::ids::{DelegationId, TaskId};
use crate::service::generation::Generation;
use crate::service::ledger::PlannedChange;

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// A delegation to grant. The actor is the delegator.
#[derive(Debug, Clone)]
pub struct NewDelegation {
    /// The delegate, an agent.
    pub to: EntityUID,
    /// The calls it covers.
    pub scope: Scope,
    /// The task it is for.
    pub task: Option<TaskId>,
    /// The delegation to redelegate; `None` if the actor delegates its own authority.
    pub parent: Option<DelegationId>,
    /// The most redelegations in a chain below it.
    pub max_redelegations: u32,
    /// The start of its validity; `None` for now.
    pub not_before: Option<SystemTime>,
    /// The end of its validity, exclusive.
    pub expires_at: SystemTime,
}

/// A restriction of a delegation. `None` leaves a field as it is.
#[derive(Debug, Clone)]
pub struct DelegationNarrowing {
    /// The id of the delegation.
    pub id: DelegationId,
    /// The new, narrower scope.
    pub scope: Option<Scope>,
    /// The new, earlier end.
    pub expires_at: Option<SystemTime>,
    /// The new, lower number of redelegations.
    pub max_redelegations: Option<u32>,
}

/// A filter of delegations. All fields that are given must match.
#[derive(Debug, Clone, Default)]
pub struct DelegationFilter {
    /// The id.
    pub id: Option<DelegationId>,
    /// The delegator.
    pub from: Option<EntityUID>,
    /// The delegate.
    pub to: Option<EntityUID>,
    /// The task it is for.
    pub task: Option<TaskId>,
    /// The status.
    pub status: Option<DelegationStatus>,
}

impl Control {
    /// Delegates authority to an agent: the actor's own, or one delegated to the actor.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] and [`ControlError::Denied`] for a delegation that is wider than its parent, too long
    /// or not allowed by Cedar, and the errors of a write.
    pub async fn grant_delegation(
        &self,
        author: &WriteRequester,
        new: NewDelegation,
    ) -> Result<WriteReceipt<DelegationView>, ControlError> {
        let plan = move |context: &WriteContext<'_>| plan_delegation(context, new);
        let written = self.write("GrantDelegation", author, plan).await?;
        self.receipt::<Delegation>(written)
    }

    /// Narrows a delegation.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] if anything would become wider, [`ControlError::Precondition`] if it is not in force,
    /// and the errors of a write.
    pub async fn narrow_delegation(
        &self,
        author: &WriteRequester,
        narrowing: DelegationNarrowing,
    ) -> Result<WriteReceipt<DelegationView>, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(narrowing.id.as_str());
            plan_narrowing(context, narrowing)
        };
        let written = self.write("NarrowDelegation", author, plan).await?;
        self.receipt::<Delegation>(written)
    }

    /// Revokes a delegation, and with it all redelegations. Repeating it succeeds and changes nothing: the first time
    /// stays.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`] for an unknown one, [`ControlError::Denied`] if Cedar does not allow it, and the
    /// errors of a write.
    pub async fn revoke_delegation(
        &self,
        author: &WriteRequester,
        id: DelegationId,
    ) -> Result<WriteReceipt<DelegationView>, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(id.as_str());
            let delegation = context.grant("delegation", &id)?;
            authorize_restriction(context, delegation)?;
            let revoked = Delegation {
                revoked_at: delegation.revoked_at.or(Some(context.now)),
                ..Delegation::clone(delegation)
            };
            Ok(planned("RevokeDelegation", revoked))
        };
        let written = self.write("RevokeDelegation", author, plan).await?;
        self.receipt::<Delegation>(written)
    }

    /// Lists delegations in the order of their grants.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] for a page size beyond the limit, [`ControlError::NotReady`] before the first load.
    pub fn list_delegations(
        &self,
        filter: &DelegationFilter,
        page: &PageRequest,
    ) -> Result<ListPage<DelegationView>, ControlError> {
        self.list::<Delegation>(
            filter.id.as_ref(),
            filter.part(),
            page,
            |live, delegation| {
                let view = filter
                    .fits(delegation)
                    .then(|| live.delegation(delegation))?;
                let wanted = filter.status.unwrap_or(view.status);
                (view.status == wanted).then_some(view)
            },
        )
    }

    /// A delegation with its status in a generation.
    pub fn delegation_as_of(
        &self,
        generation: &Generation,
        delegation: &Arc<Delegation>,
    ) -> DelegationView {
        self.view_of(generation).delegation(delegation)
    }
}

impl DelegationFilter {
    /// The part to look up by, the rarest first.
    fn part(&self) -> Option<Part> {
        let task = self.task.clone().map(Part::Task);
        let to = || self.to.clone().map(Part::Acts);
        task.or_else(to)
            .or_else(|| self.from.clone().map(Part::Behind))
    }

    fn fits(&self, delegation: &Delegation) -> bool {
        self.from
            .as_ref()
            .is_none_or(|from| delegation.from == *from)
            && self.to.as_ref().is_none_or(|to| delegation.to == *to)
            && (self.task.is_none() || delegation.task == self.task)
    }
}

fn plan_delegation(
    context: &WriteContext<'_>,
    new: NewDelegation,
) -> Result<PlannedChange, ControlError> {
    let snapshot = &context.generation.snapshot;
    context.check_actor()?;
    context.check_agent(&new.to, "to")?;
    if new.to == *context.actor() {
        let message = "is the actor itself: nobody delegates to itself";
        return Err(ControlError::invalid("to", message));
    }
    scopes::check_shape(&new.scope, context.limits, "scope")?;
    scopes::check_known(&new.scope, snapshot, "scope")?;
    check_max_redelegations(context, new.max_redelegations)?;
    let delegation = Delegation {
        id: context.next_id("delegation").into(),
        owners: AgentOwners::of(snapshot, context.actor(), &new.to),
        from: context.actor().clone(),
        to: new.to,
        scope: new.scope,
        task: new.task,
        parent: new.parent,
        max_redelegations: new.max_redelegations,
        not_before: new.not_before.map_or(context.now, whole_millis),
        expires_at: whole_millis(new.expires_at),
        revoked_at: None,
        created_at: context.now,
    };
    check_times(context, &delegation)?;
    let limit = context.limits.delegations;
    if context.generation.authority.delegations.size() >= limit as usize {
        let message =
            format!("{limit} delegations are stored, as many as `limits.delegations` allows");
        return Err(ControlError::LimitExceeded(message));
    }
    if let Some(id) = &delegation.parent {
        let parent = context.grant("delegation", id)?;
        check_parent(context, parent, &delegation)?;
    }
    let task = delegation.task.as_ref();
    let task = task.map(|id| context.open_task("task", id)).transpose()?;
    let chain = DelegationChain::from_delegation(&context.generation.authority, &delegation)
        .map_err(|reason| ControlError::denied(Verdict::deny(reason)))?;
    chain
        .verify_parties(&delegation.to)
        .map_err(|reason| ControlError::denied(Verdict::deny(reason)))?;
    let task = task.map(Arc::as_ref);
    if let Some(task) = task {
        check_task(&context.generation.snapshot, &chain, &delegation, task)?;
    }
    let about = GovernContext {
        chain: Some(&chain),
        task,
        remembered: &[],
    };
    context.govern("grant_delegation", &delegation.to, about)?;
    Ok(planned("GrantDelegation", delegation))
}

fn check_max_redelegations(
    context: &WriteContext<'_>,
    max_redelegations: u32,
) -> Result<(), ControlError> {
    let limit = context.limits.max_redelegations;
    if max_redelegations > limit {
        let message = format!("is {max_redelegations}, but at most {limit} is allowed");
        return Err(ControlError::invalid("max_redelegations", message));
    }
    Ok(())
}

fn check_times(context: &WriteContext<'_>, delegation: &Delegation) -> Result<(), ControlError> {
    if delegation.expires_at <= context.now {
        return Err(ControlError::invalid("expires_at", "is over already"));
    }
    if delegation.expires_at <= delegation.not_before {
        let message = "is not after the delegation's beginning";
        return Err(ControlError::invalid("expires_at", message));
    }
    let days = context.limits.delegation_days;
    let longest = Duration::from_secs(u64::from(days) * SECONDS_OF_A_DAY);
    if context
        .now
        .checked_add(longest)
        .is_some_and(|last| delegation.expires_at > last)
    {
        let message =
            format!("is more than {days} days from now, which `limits.delegation_days` allows");
        return Err(ControlError::invalid("expires_at", message));
    }
    Ok(())
}

/// A redelegation needs a parent that is in force, and can only be narrower.
fn check_parent(
    context: &WriteContext<'_>,
    parent: &Arc<Delegation>,
    delegation: &Delegation,
) -> Result<(), ControlError> {
    if parent.to != delegation.from {
        let message = format!("delegation `{}` was delegated to somebody else", parent.id);
        return Err(ControlError::evidence(
            ReasonCode::DelegationChainBroken,
            message,
        ));
    }
    if let Some(how) = context.view().delegation(parent).status.fault() {
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
    let left = chain::redelegations_left(&context.generation.authority, parent);
    if left == 0 {
        return beyond("may not be redelegated");
    }
    if delegation.max_redelegations >= left {
        return beyond(&format!(
            "may not be redelegated that often: `max_redelegations` has to be smaller than the {left} that it has left"
        ));
    }
    if delegation.not_before < parent.not_before || delegation.expires_at > parent.expires_at {
        return beyond("does not last as long as what is redelegated from it");
    }
    if parent.task.is_some() && delegation.task != parent.task {
        return beyond("is for a task, and what is redelegated from it has to be for the same");
    }
    let snapshot = &context.generation.snapshot;
    match delegation.scope.is_within(snapshot, &parent.scope) {
        Ok(()) => Ok(()),
        Err(outside) => beyond(&format!("does not cover {outside}")),
    }
}

/// Asks Cedar whether the actor may revoke a delegation, also one whose chain does not hold any more: what is taken away
/// above it takes nobody's right to take it away, and an agent that is gone still belongs to whom it did.
fn authorize_restriction(
    context: &WriteContext<'_>,
    delegation: &Delegation,
) -> Result<(), ControlError> {
    let authority = &context.generation.authority;
    let chain = DelegationChain::of_whatever_was_delegated(authority, delegation).ok();
    let alone = [delegation];
    let links = chain.as_ref().map_or(&alone[..], |it| &it.delegations);
    let snapshot = &context.generation.snapshot;
    let mut remembered: Vec<Overlay> = Vec::new();
    // An agent is part of two links, of which the last tells whose it was.
    for agent in links
        .iter()
        .rev()
        .flat_map(|it| it.remembered_agents(snapshot))
    {
        if remembered.iter().all(|known| known.uid != agent.uid) {
            remembered.push(agent);
        }
    }
    let about = GovernContext {
        chain: chain.as_ref(),
        task: None,
        remembered: &remembered,
    };
    context.govern("revoke_delegation", &delegation.to, about)
}

/// Checks that a delegation for a task is for the task's agent and person.
fn check_task(
    snapshot: &Snapshot,
    chain: &DelegationChain<'_>,
    delegation: &Delegation,
    task: &Task,
) -> Result<(), ControlError> {
    let outside = |message: String| {
        let code = ReasonCode::TaskOutOfScope;
        Err(ControlError::evidence(code, message))
    };
    if *chain.root != task.person {
        return outside(format!("task `{}` is for another person", task.id));
    }
    if delegation.to != task.agent && !chain.actors.contains(&task.agent) {
        return outside(format!("task `{}` is for another agent", task.id));
    }
    if !task.is_of_the_same(snapshot) {
        let message = format!("task `{}` is for an agent of another owner", task.id);
        return outside(message);
    }
    Ok(())
}

fn plan_narrowing(
    context: &WriteContext<'_>,
    narrowing: DelegationNarrowing,
) -> Result<PlannedChange, ControlError> {
    let DelegationNarrowing {
        id,
        scope,
        expires_at,
        max_redelegations,
    } = narrowing;
    if scope.is_none() && expires_at.is_none() && max_redelegations.is_none() {
        let message = "or `expires_at` or `max_redelegations` is required";
        return Err(ControlError::invalid("scope", message));
    }
    if let Some(scope) = &scope {
        scopes::check_shape(scope, context.limits, "scope")?;
        scopes::check_known(scope, &context.generation.snapshot, "scope")?;
    }
    let delegation = context.grant("delegation", &id)?;
    authorize_restriction(context, delegation)?;
    let status = context.view().delegation(delegation).status;
    if let Some(how) = status.fault().filter(|_| status.is_over()) {
        return Err(ControlError::Precondition(format!(
            "delegation `{}` {how}",
            delegation.id
        )));
    }
    let mut narrowed = Delegation::clone(delegation);
    if let Some(scope) = scope {
        let within = scope.is_within(&context.generation.snapshot, &delegation.scope);
        within.map_err(|outside| {
            let message = format!("is wider than before: the delegation does not cover {outside}");
            ControlError::invalid("scope", message)
        })?;
        narrowed.scope = scope;
    }
    if let Some(expires_at) = expires_at.map(whole_millis) {
        if expires_at > delegation.expires_at {
            let message = "is later than before: a delegation can only be narrowed";
            return Err(ControlError::invalid("expires_at", message));
        }
        narrowed.expires_at = expires_at;
    }
    if let Some(max_redelegations) = max_redelegations {
        if max_redelegations > delegation.max_redelegations {
            let message = "is greater than before: a delegation can only be narrowed";
            return Err(ControlError::invalid("max_redelegations", message));
        }
        narrowed.max_redelegations = max_redelegations;
    }
    Ok(planned("NarrowDelegation", narrowed))
}

fn planned(verb: &'static str, delegation: Delegation) -> PlannedChange {
    PlannedChange {
        verb,
        id: delegation.id.text().clone(),
        change: Change::Grant(Arc::new(delegation)),
    }
}
