//! The index of approvals: by id, digest, call and agent, so that a repeated request costs one lookup however
//! many are pending.

use std::ops::{Bound, Deref};
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use rpds::RedBlackTreeSetSync;

use crate::domain::authority::approval::{Approval, ApprovedCall};
use crate::domain::authority::indexed::Indexed;
use crate::domain::ids::{ApprovalId, CallDigest};

#[cfg(test)]
#[path = "approval_index_tests.rs"]
mod tests;

/// The number of expired approvals that one change removes from the pending ones; more than it adds.
const DROPPED: usize = 8;
/// The maximum number of expired approvals examined to count the pending ones.
const LOOKED_AT: usize = 1_024;

/// Approvals by id. A clone is cheap: changed copies share what did not change.
#[derive(Debug, Clone, Default)]
pub struct ApprovalIndex {
    all: Indexed<Approval>,
    /// All: digest and id.
    by_digest: RedBlackTreeSetSync<(CallDigest, ApprovalId)>,
    /// The pending ones: call key, expiry and id.
    by_call: RedBlackTreeSetSync<(CallDigest, SystemTime, ApprovalId)>,
    /// The pending ones: subject, expiry and id.
    by_agent: RedBlackTreeSetSync<(EntityUID, SystemTime, ApprovalId)>,
    /// The pending ones: expiry and id.
    undecided: RedBlackTreeSetSync<(SystemTime, ApprovalId)>,
}

impl Deref for ApprovalIndex {
    type Target = Indexed<Approval>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl ApprovalIndex {
    /// Adds or replaces an approval.
    pub fn insert_mut(&mut self, approval: Arc<Approval>) {
        let at = approval
            .word
            .as_ref()
            .map_or(approval.requested_at, |word| word.at);
        self.remove_mut(&approval.id);
        self.drop_expired(at);
        let id = approval.id.clone();
        self.by_digest
            .insert_mut((approval.digest.clone(), id.clone()));
        if approval.word.is_none() {
            let ends = approval.expires_at;
            self.by_call
                .insert_mut((key(&approval.call), ends, id.clone()));
            let agent = approval.call.subject.clone();
            self.by_agent.insert_mut((agent, ends, id.clone()));
            self.undecided.insert_mut((ends, id.clone()));
        }
        self.all.insert_mut(approval);
    }

    /// Removes an approval.
    pub fn remove_mut(&mut self, id: &ApprovalId) {
        let Some(known) = self.all.get(id).cloned() else {
            return;
        };
        self.all.remove_mut(id);
        self.by_digest
            .remove_mut(&(known.digest.clone(), known.id.clone()));
        self.decided(&known);
    }

    /// The approvals with this digest.
    pub fn of_digest<'a>(
        &'a self,
        digest: &'a CallDigest,
    ) -> impl Iterator<Item = &'a Arc<Approval>> {
        let from = (digest.clone(), ApprovalId::default());
        let found = self
            .by_digest
            .range((Bound::Included(from), Bound::Unbounded));
        found
            .take_while(move |(of, _)| of == digest)
            .filter_map(|(_, id)| self.all.get(id))
    }

    /// The first unexpired pending approval for this call that is meant, if any. Its task may have ended.
    pub fn pending_for(
        &self,
        call: &ApprovedCall,
        now: SystemTime,
        is_meant: impl Fn(&Arc<Approval>) -> bool,
    ) -> Option<&Arc<Approval>> {
        let key = key(call);
        let from = (key.clone(), now, ApprovalId::default());
        let found = self
            .by_call
            .range((Bound::Included(from), Bound::Unbounded));
        found
            .take_while(|(of, _, _)| *of == key)
            .filter(|(_, ends, _)| *ends > now)
            .filter_map(|(_, _, id)| self.all.get(id))
            .find(|it| is_meant(it))
    }

    /// The unexpired pending approvals of an agent.
    pub fn pending_of<'a>(
        &'a self,
        agent: &'a EntityUID,
        now: SystemTime,
    ) -> impl Iterator<Item = &'a Arc<Approval>> {
        let from = (agent.clone(), now, ApprovalId::default());
        let found = self
            .by_agent
            .range((Bound::Included(from), Bound::Unbounded));
        found
            .take_while(move |(of, _, _)| of == agent)
            .filter(move |(_, ends, _)| *ends > now)
            .filter_map(|(_, _, id)| self.all.get(id))
    }

    /// The number of unexpired pending approvals, those of ended tasks included. May count some that expired
    /// recently, never too few.
    pub fn undecided(&self, now: SystemTime) -> usize {
        let expired = self.undecided.iter().take(LOOKED_AT);
        let expired = expired.take_while(|(ends, _)| *ends <= now).count();
        self.undecided.size() - expired
    }

    /// Removes some expired approvals from the pending ones.
    fn drop_expired(&mut self, now: SystemTime) {
        for _ in 0..DROPPED {
            let first = self.undecided.first().filter(|(ends, _)| *ends <= now);
            let Some((ends, id)) = first.cloned() else {
                return;
            };
            match self.all.get(&id).cloned() {
                Some(known) => self.decided(&known),
                None => {
                    self.undecided.remove_mut(&(ends, id));
                }
            }
        }
    }

    /// Removes an approval from the pending ones.
    fn decided(&mut self, known: &Approval) {
        let (ends, id) = (known.expires_at, known.id.clone());
        if !self.undecided.remove_mut(&(ends, id.clone())) {
            return;
        }
        self.by_call
            .remove_mut(&(key(&known.call), ends, id.clone()));
        self.by_agent
            .remove_mut(&(known.call.subject.clone(), ends, id));
    }
}

/// The key of a call, independent of expiry.
fn key(call: &ApprovedCall) -> CallDigest {
    call.digest(SystemTime::UNIX_EPOCH)
}
