//! For whom a call is made: from what the call says to a chain that has been verified.
//!
//! A call either *asserts* a chain, as a token's `sub` and `act` do, or names *stored* delegations, whose
//! chain is known here. Policies are told which of the two it is.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::call::context::{CallContext, Delegation};
use crate::call::decision::{Reason, ReasonCode};
use crate::call::live::authority::Authority;
use crate::call::live::grant::{Grant, GrantStatus};
use crate::call::live::scope::Reach;
use crate::call::model::{Effect, TYPES};
use callgate_engine::Snapshot;

/// Most links from the root of a delegation to the subject.
pub const MAX_LINKS: usize = 16;

/// Who acts for whom, verified as far as its source allows.
#[derive(Debug, Clone)]
pub struct Chain<'c> {
    /// On whose behalf everything happens.
    pub root: Cow<'c, EntityUID>,
    /// Who stands between root and subject, nearest to the root first.
    pub actors: Cow<'c, [EntityUID]>,
    /// What was lent, as OAuth scopes.
    pub scopes: &'c [SmolStr],
    /// Whether the chain was verified: by the caller, or because it is stored here.
    pub is_verified: bool,
    /// The stored delegations it consists of, the root's first; empty if it is asserted.
    pub grants: Vec<&'c Grant>,
}

impl<'c> Chain<'c> {
    /// Verifies what a call says of its delegation: who is in it, and whether every stored link holds now.
    /// Whether the links cover the call is [`Chain::covers`].
    pub fn of_call(
        authority: &'c Authority,
        call: &'c CallContext,
        now: SystemTime,
    ) -> Result<Option<Self>, Reason> {
        let Some(delegation) = &call.delegation else {
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
        let chain = if delegation.grant_ids.is_empty() {
            Self::asserted(delegation)?
        } else {
            Self::stored(authority, delegation, subject)?
        };
        for grant in &chain.grants {
            verify_grant(authority, grant, call.workflow.task_id.as_ref(), now)?;
        }
        chain.verify_parties(subject)?;
        chain.verify_claims(delegation)?;
        Ok(Some(chain))
    }

    /// The chain that the delegations up to `last` make; for questions about them. `last.to` is its
    /// subject.
    pub fn of_grant(authority: &'c Authority, last: &'c Grant) -> Result<Self, Reason> {
        Self::of_grants(climb(authority, last)?, &last.to)
    }

    /// The chain that a call asserts.
    pub(super) fn asserted(delegation: &'c Delegation) -> Result<Self, Reason> {
        let Some(root) = &delegation.root else {
            return Err(broken("the delegation names neither its root nor a grant"));
        };
        Ok(Self {
            root: Cow::Borrowed(root),
            actors: Cow::Borrowed(&delegation.actors),
            scopes: &delegation.scopes,
            is_verified: delegation.verified,
            grants: Vec::new(),
        })
    }

    fn stored(
        authority: &'c Authority,
        delegation: &'c Delegation,
        subject: &EntityUID,
    ) -> Result<Self, Reason> {
        let ids = &delegation.grant_ids;
        let mut last = None;
        for id in ids {
            let known = authority.grants.get(id);
            last = Some(known.ok_or_else(|| broken(format!("grant `{id}` is not known")))?);
        }
        let last = last.ok_or_else(|| broken("no grant is named"))?;
        let grants = climb(authority, last)?;
        // One id stands for the whole chain that it ends; several have to be that chain.
        if ids.len() > 1 && !grants.iter().map(|grant| &grant.id).eq(ids) {
            return Err(broken("the grants named are not one chain in its order"));
        }
        let chain = Self {
            scopes: &delegation.scopes,
            ..Self::of_grants(grants, subject)?
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

    fn of_grants(grants: Vec<&'c Grant>, subject: &EntityUID) -> Result<Self, Reason> {
        let (Some(first), Some(last)) = (grants.first(), grants.last()) else {
            return Err(broken("no grant is named"));
        };
        for pair in grants.windows(2) {
            if pair[0].to != pair[1].from || pair[1].lend_depth >= pair[0].lend_depth {
                let mut reason =
                    broken("a link of the delegation does not follow from the one before");
                reason.detail = Some(format!(
                    "grant `{}` does not follow from `{}`",
                    pair[1].id, pair[0].id
                ));
                return Err(reason);
            }
        }
        // A server asks on behalf of the agent that called it; everybody else is the last link's `to`.
        let is_server = *subject.entity_type() == TYPES.server;
        if !is_server && last.to != *subject {
            let mut reason = broken(format!("what was lent is not for `{subject}`"));
            reason.principal = Some(subject.clone());
            reason.detail = Some(format!("grant `{}`", last.id));
            return Err(reason);
        }
        let actors = grants.len() - usize::from(!is_server);
        Ok(Self {
            root: Cow::Borrowed(&first.from),
            actors: grants[..actors]
                .iter()
                .map(|grant| grant.to.clone())
                .collect(),
            scopes: &[],
            is_verified: true,
            grants,
        })
    }

    /// Nobody stands in a chain twice, and only agents stand between.
    fn verify_parties(&self, subject: &EntityUID) -> Result<(), Reason> {
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

    /// Whoever something is claimed about stands in the chain, and once.
    fn verify_claims(&self, delegation: &Delegation) -> Result<(), Reason> {
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

    /// Whether every link covers the call.
    pub fn covers(&self, snapshot: &Snapshot, reach: &Reach<'_>) -> Result<(), Reason> {
        for grant in &self.grants {
            if let Err(outside) = grant.scope.covers(snapshot, reach) {
                let message = format!("what was lent does not cover {outside}");
                let mut reason = Reason::new(ReasonCode::DelegationOutOfScope, message);
                reason.principal = Some(grant.to.clone());
                reason.detail = Some(format!("grant `{}`", grant.id));
                return Err(reason);
            }
        }
        Ok(())
    }

    /// The most that every link lends; `None` if the chain is asserted.
    pub fn effect(&self) -> Option<Effect> {
        self.grants.iter().map(|grant| grant.scope.effect).min()
    }

    /// Links from the root to the subject.
    pub fn depth(&self) -> usize {
        self.actors.len() + 1
    }
}

/// A grant and what it was lent on from, the root's first.
pub fn climb<'a>(authority: &'a Authority, last: &'a Grant) -> Result<Vec<&'a Grant>, Reason> {
    let mut grants = vec![last];
    let mut next = last.parent.as_ref();
    while let Some(id) = next {
        let parent = authority.grants.get(id).map(Arc::as_ref);
        let parent = parent.ok_or_else(|| {
            let mut reason = broken("what this was lent on from is not known any more");
            reason.detail = Some(format!("grant `{id}`"));
            reason
        })?;
        if grants.len() == MAX_LINKS {
            return Err(broken(format!(
                "the delegation has more than {MAX_LINKS} links"
            )));
        }
        grants.push(parent);
        next = parent.parent.as_ref();
    }
    grants.reverse();
    Ok(grants)
}

fn verify_grant(
    authority: &Authority,
    grant: &Grant,
    task: Option<&SmolStr>,
    now: SystemTime,
) -> Result<(), Reason> {
    let (code, message) = match authority.grant_status(grant, now) {
        GrantStatus::Active if grant.task.is_some() && grant.task.as_ref() != task => (
            ReasonCode::DelegationOutOfScope,
            "what was lent is for another task",
        ),
        GrantStatus::Active => return Ok(()),
        GrantStatus::NotYet => (
            ReasonCode::DelegationOutOfScope,
            "what was lent is not in force yet",
        ),
        GrantStatus::Expired => (
            ReasonCode::DelegationExpired,
            "the authority this call relies on has expired",
        ),
        GrantStatus::Revoked => (
            ReasonCode::DelegationRevoked,
            "the authority this call relies on was taken back",
        ),
        GrantStatus::TaskOver => (
            ReasonCode::TaskClosed,
            "the task that the authority was lent for is over",
        ),
    };
    let mut reason = Reason::new(code, message);
    reason.principal = Some(grant.to.clone());
    reason.detail = Some(format!("grant `{}`", grant.id));
    Err(reason)
}

fn broken(message: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::DelegationChainBroken, message)
}

#[cfg(test)]
mod tests;
