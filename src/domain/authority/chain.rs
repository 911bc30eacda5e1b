//! Delegation chains: from what a call states to a verified chain.
//!
//! A call either *asserts* a chain, as a token does with `sub` and `act`, or names *stored* delegations.
//! Policies see which (`context.delegation.source`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::delegation::{Delegation, DelegationStatus};
use crate::domain::authority::scope::RequestedAccess;
use crate::domain::authority::state::Authority;
use crate::domain::ids::{DelegationId, TaskId};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::request::call_context::{ActorChain, CallContext};
use crate::domain::schema::{AccessLevel, TYPES};

/// The maximum number of links from the root to the subject.
pub const MAX_LINKS: usize = 16;

/// A delegation chain, verified as far as its source allows.
#[derive(Debug, Clone)]
pub struct DelegationChain<'c> {
    /// The root of the authority.
    pub root: Cow<'c, EntityUID>,
    /// The actors between root and subject, nearest to the root first.
    pub actors: Cow<'c, [EntityUID]>,
    /// The delegated OAuth scopes.
    pub scopes: &'c [SmolStr],
    /// Whether the chain is verified: by the caller, or because it is stored.
    pub is_verified: bool,
    /// The stored delegations, the root's first; empty if the chain is asserted.
    pub delegations: Vec<&'c Delegation>,
}

impl<'c> DelegationChain<'c> {
    /// Verifies the chain of a call: its parties, and the validity of every stored delegation at `now`.
    /// Whether it covers the call is verified by [`DelegationChain::covers`].
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationExpired`], [`ReasonCode::DelegationRevoked`],
    /// [`ReasonCode::DelegationOutOfScope`], [`ReasonCode::DelegationChainBroken`] or
    /// [`ReasonCode::TaskClosed`].
    pub fn from_call(
        authority: &'c Authority,
        call: &'c CallContext,
        now: SystemTime,
    ) -> Result<Option<Self>, Reason> {
        let Some(delegation) = &call.actor_chain else {
            return Ok(None);
        };
        if delegation.expires_at.is_some_and(|end| end <= now) {
            let message = "the authority this call relies on has expired";
            return Err(Reason::new(ReasonCode::DelegationExpired, message));
        }
        if delegation.not_before.is_some_and(|start| start > now) {
            let message = "the authority this call relies on is not in force yet";
            return Err(Reason::new(ReasonCode::DelegationOutOfScope, message));
        }
        let subject = &call.subject.entity;
        let chain = if delegation.delegation_ids.is_empty() {
            Self::asserted(delegation)?
        } else {
            Self::stored(authority, delegation, subject)?
        };
        verify_links(
            authority,
            &chain.delegations,
            call.workflow.task_id.as_ref(),
            now,
        )?;
        chain.verify_parties(subject)?;
        chain.verify_claims(delegation)?;
        Ok(Some(chain))
    }

    /// The chain of stored delegations that ends with `last`, whose subject is `last.to`. Validity at a point
    /// in time is not verified.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationChainBroken`] if a parent is missing or the links do not connect.
    pub fn from_delegation(authority: &'c Authority, last: &'c Delegation) -> Result<Self, Reason> {
        Self::of_delegations(resolve_chain(authority, last)?, &last.to)
    }

    /// The same chain, whether or not it is still allowed to be as long as it is: who delegated what is to be taken
    /// away.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationChainBroken`] if a parent is missing.
    pub fn of_whatever_was_delegated(
        authority: &'c Authority,
        last: &'c Delegation,
    ) -> Result<Self, Reason> {
        Self::joined(resolve_chain(authority, last)?, &last.to)
    }

    /// The chain that a call asserts.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationChainBroken`] if it has no root.
    pub(crate) fn asserted(delegation: &'c ActorChain) -> Result<Self, Reason> {
        let Some(root) = &delegation.root else {
            return Err(broken("the delegation names neither its root nor a grant"));
        };
        Ok(Self {
            root: Cow::Borrowed(root),
            actors: Cow::Borrowed(&delegation.actors),
            scopes: &delegation.scopes,
            is_verified: delegation.verified,
            delegations: Vec::new(),
        })
    }

    /// The chain of a call on record: of its stored delegations, whether or not they are in force. If they are gone, it
    /// is the chain that the call asserts.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationChainBroken`] if it has no root.
    pub(crate) fn recorded(
        authority: &'c Authority,
        delegation: &'c ActorChain,
        subject: &EntityUID,
    ) -> Result<Self, Reason> {
        if !delegation.delegation_ids.is_empty()
            && let Ok(chain) = Self::stored(authority, delegation, subject)
        {
            return Ok(chain);
        }
        Self::asserted(delegation)
    }

    fn stored(
        authority: &'c Authority,
        delegation: &'c ActorChain,
        subject: &EntityUID,
    ) -> Result<Self, Reason> {
        let ids = &delegation.delegation_ids;
        let mut last = None;
        for id in ids {
            let known = authority.delegations.get(id);
            last = Some(known.ok_or_else(|| broken(format!("grant `{id}` is not known")))?);
        }
        let last = last.ok_or_else(|| broken("no delegation is named"))?;
        let delegations = resolve_chain(authority, last)?;
        // A single id stands for the chain that it ends; several ids have to be the whole chain.
        if ids.len() > 1 && !delegations.iter().map(|delegation| &delegation.id).eq(ids) {
            return Err(broken("the grants named are not one chain in its order"));
        }
        let chain = Self {
            scopes: &delegation.scopes,
            ..Self::of_delegations(delegations, subject)?
        };
        let has_other_root = delegation
            .root
            .as_ref()
            .is_some_and(|root| *root != *chain.root);
        let names_actors = delegation.root.is_some() || !delegation.actors.is_empty();
        if has_other_root || (names_actors && *delegation.actors != *chain.actors) {
            return Err(broken(
                "the grants named are not the delegation that the call describes",
            ));
        }
        Ok(chain)
    }

    fn of_delegations(
        delegations: Vec<&'c Delegation>,
        subject: &EntityUID,
    ) -> Result<Self, Reason> {
        if let Some([before, link]) = first_break(&delegations) {
            let mut reason = broken("a link of the delegation does not follow from the one before");
            reason.detail = Some(format!(
                "grant `{}` does not follow from `{}`",
                link.id, before.id
            ));
            return Err(reason);
        }
        Self::joined(delegations, subject)
    }

    fn joined(delegations: Vec<&'c Delegation>, subject: &EntityUID) -> Result<Self, Reason> {
        let (Some(first), Some(last)) = (delegations.first(), delegations.last()) else {
            return Err(broken("no delegation is named"));
        };
        // A server acts on behalf of the agent that called it; any other subject is the delegate of the last
        // link.
        let is_server = *subject.entity_type() == TYPES.server;
        if !is_server && last.to != *subject {
            let mut reason = broken(format!("what was delegated is not for `{subject}`"));
            reason.principal = Some(subject.clone());
            reason.detail = Some(format!("grant `{}`", last.id));
            return Err(reason);
        }
        let actors = delegations.len() - usize::from(!is_server);
        Ok(Self {
            root: Cow::Borrowed(&first.from),
            actors: delegations[..actors]
                .iter()
                .map(|delegation| delegation.to.clone())
                .collect(),
            scopes: &[],
            is_verified: true,
            delegations,
        })
    }

    /// Verifies that no party occurs twice, that all actors are agents, and the number of links.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationChainBroken`].
    pub fn verify_parties(&self, subject: &EntityUID) -> Result<(), Reason> {
        let at = |message: String, link: &EntityUID| {
            let mut reason = broken(message);
            reason.principal = Some(link.clone());
            Err(reason)
        };
        let root = &*self.root;
        if self.actors.len() + 1 > MAX_LINKS {
            return at(
                format!("the delegation has more than {MAX_LINKS} links"),
                root,
            );
        }
        if *root.entity_type() != TYPES.user && *root.entity_type() != TYPES.agent {
            return at(format!("`{root}` is neither a user nor an agent"), root);
        }
        if subject == root {
            return at(format!("`{subject}` cannot act for itself"), subject);
        }
        for (index, actor) in self.actors.iter().enumerate() {
            if *actor.entity_type() != TYPES.agent {
                return at(format!("`{actor}` is not an agent"), actor);
            }
            if actor == subject || actor == root || self.actors[..index].contains(actor) {
                return at(format!("`{actor}` appears twice in the delegation"), actor);
            }
        }
        Ok(())
    }

    /// Verifies that claims are about parties of the chain, each party once.
    fn verify_claims(&self, delegation: &ActorChain) -> Result<(), Reason> {
        for (index, (uid, _)) in delegation.claims.iter().enumerate() {
            let is_known = *uid == *self.root || self.actors.contains(uid);
            let is_repeated = delegation.claims[..index].iter().any(|(it, _)| it == uid);
            if !is_known || is_repeated {
                let mut reason =
                    broken("claims are about somebody who is not in the delegation, or is twice");
                reason.principal = Some(uid.clone());
                return Err(reason);
            }
        }
        Ok(())
    }

    /// Verifies that the agents of every stored delegation are those that it was granted to, and no others of their names.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationRevoked`] for the first that is not.
    pub fn verify_agents(&self, snapshot: &Snapshot) -> Result<(), Reason> {
        let is_another = |it: &&&Delegation| !it.is_between_the_same(snapshot);
        let reason = self.delegations.iter().find(is_another).and_then(|link| {
            let mut reason = DelegationStatus::AgentGone.to_reason()?;
            reason.principal = Some(link.to.clone());
            reason.detail = Some(format!("grant `{}`", link.id));
            Some(reason)
        });
        reason.map_or(Ok(()), Err)
    }

    /// Verifies that every stored delegation covers the requested access.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::DelegationOutOfScope`] for the first that does not.
    pub fn covers(&self, snapshot: &Snapshot, reach: &RequestedAccess<'_>) -> Result<(), Reason> {
        for delegation in &self.delegations {
            if let Err(outside) = delegation.scope.covers(snapshot, reach) {
                let message = format!("what was delegated does not cover {outside}");
                let mut reason = Reason::new(ReasonCode::DelegationOutOfScope, message);
                reason.lacks_scope = true;
                reason.principal = Some(delegation.to.clone());
                reason.detail = Some(format!("grant `{}`", delegation.id));
                return Err(reason);
            }
        }
        Ok(())
    }

    /// The access level that every stored delegation grants; `None` if the chain is asserted.
    pub fn access(&self) -> Option<AccessLevel> {
        self.delegations
            .iter()
            .map(|delegation| delegation.scope.access)
            .min()
    }

    /// The number of links from the root to the subject.
    pub fn depth(&self) -> usize {
        self.actors.len() + 1
    }
}

/// A delegation and its ancestors, the root's first.
///
/// # Errors
///
/// [`ReasonCode::DelegationChainBroken`] if an ancestor is missing or there are more than [`MAX_LINKS`].
pub fn resolve_chain<'a>(
    authority: &'a Authority,
    last: &'a Delegation,
) -> Result<Vec<&'a Delegation>, Reason> {
    let mut delegations = vec![last];
    let mut next = last.parent.as_ref();
    while let Some(id) = next {
        let parent = authority.delegations.get(id).map(Arc::as_ref);
        let parent = parent.ok_or_else(|| {
            let mut reason = broken("what this was redelegated from is not known any more");
            reason.detail = Some(format!("grant `{id}`"));
            reason
        })?;
        if delegations.len() == MAX_LINKS {
            return Err(broken(format!(
                "the delegation has more than {MAX_LINKS} links"
            )));
        }
        delegations.push(parent);
        next = parent.parent.as_ref();
    }
    delegations.reverse();
    Ok(delegations)
}

/// For whom the last of these delegations was made, in the end, and the number of links from there to the subject of a call,
/// whether or not it is in force. `None` if it was made to somebody else, or cannot be followed to its beginning.
pub fn stored_root<'a>(
    authority: &'a Authority,
    ids: &[DelegationId],
    subject: &EntityUID,
) -> Option<(&'a EntityUID, usize)> {
    let last = authority.delegations.get(ids.last()?)?;
    // A server acts on behalf of the agent that called it.
    let is_server = *subject.entity_type() == TYPES.server;
    if !is_server && last.to != *subject {
        return None;
    }
    let chain = resolve_chain(authority, last).ok()?;
    let links = chain.len() + usize::from(is_server);
    Some((&chain.first()?.from, links))
}

/// The first two neighbours of a chain of which the second does not follow: it was delegated by somebody else, or is
/// further down than one above it allows.
fn first_break<'a>(delegations: &[&'a Delegation]) -> Option<[&'a Delegation; 2]> {
    let pairs = delegations.windows(2).enumerate();
    let mut pairs = pairs.map(|(index, pair)| (&delegations[..=index], pair[0], pair[1]));
    pairs.find_map(|(above, before, link)| {
        let mut nearest_first = above.iter().rev().zip(1..);
        let is_allowed = nearest_first.all(|(it, links_below)| it.allows_below(links_below));
        (before.to != link.from || !is_allowed).then_some([before, link])
    })
}

/// How many times a delegation may be redelegated in succession: as often as it says, and as each above it leaves. 0 if
/// its chain does not hold.
pub fn redelegations_left(authority: &Authority, delegation: &Delegation) -> u32 {
    let Ok(chain) = resolve_chain(authority, delegation) else {
        return 0;
    };
    let left = chain
        .iter()
        .rev()
        .zip(0_u32..)
        .map(|(it, links_below)| it.max_redelegations.saturating_sub(links_below));
    left.min().unwrap_or_default()
}

/// Verifies that all links are valid at `now` and for calls of `task`. What is over is told before what may be valid later.
fn verify_links(
    authority: &Authority,
    links: &[&Delegation],
    task: Option<&TaskId>,
    now: SystemTime,
) -> Result<(), Reason> {
    let verify = |link: &&Delegation| verify_link(authority, link, task, now);
    links.iter().try_for_each(verify).map_err(|first| {
        let is_over = |link: &&&Delegation| authority.link_status(link, now).is_over();
        let over = links.iter().find(is_over);
        over.and_then(|it| verify(it).err()).unwrap_or(first)
    })
}

/// Verifies that a link is valid at `now` and for calls of `task`.
fn verify_link(
    authority: &Authority,
    link: &Delegation,
    task: Option<&TaskId>,
    now: SystemTime,
) -> Result<(), Reason> {
    let invalid = authority.link_status(link, now).to_reason().or_else(|| {
        let is_for_another = link.task.is_some() && link.task.as_ref() != task;
        let message = "what was delegated is for another task";
        is_for_another.then(|| Reason::new(ReasonCode::DelegationOutOfScope, message))
    });
    match invalid {
        None => Ok(()),
        Some(mut reason) => {
            reason.principal = Some(link.to.clone());
            reason.detail = Some(format!("grant `{}`", link.id));
            Err(reason)
        }
    }
}

fn broken(message: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::DelegationChainBroken, message)
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
