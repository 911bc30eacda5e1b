//! Approvals by id, and by what they are looked up by: what an agent asks again and again must cost one look, however
//! many wait.

use std::ops::{Bound, Deref};
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use rpds::RedBlackTreeSetSync;
use smol_str::SmolStr;

use crate::domain::authority::approval::{Approval, ApprovedCall};
use crate::domain::authority::indexed::Indexed;
use crate::domain::decide::challenge;

#[cfg(test)]
#[path = "approval_index_tests.rs"]
mod tests;

/// How many that have expired one change drops from among the undecided: more than it can add.
const DROPPED: usize = 8;
/// How many that have expired are looked at to count the undecided.
const LOOKED_AT: usize = 1_024;

/// Approvals, by id. Cloning is cheap, and a changed copy shares what did not change.
#[derive(Debug, Clone, Default)]
pub struct ApprovalIndex {
    all: Indexed<Approval>,
    /// Digest and id, of all.
    by_digest: RedBlackTreeSetSync<(SmolStr, SmolStr)>,
    /// Of those that nobody has decided: the call, when it expires, and the id.
    by_call: RedBlackTreeSetSync<(SmolStr, SystemTime, SmolStr)>,
    /// Of the same: who acts, when it expires, and the id.
    by_agent: RedBlackTreeSetSync<(EntityUID, SystemTime, SmolStr)>,
    /// Of the same: when it expires, and the id.
    undecided: RedBlackTreeSetSync<(SystemTime, SmolStr)>,
}

impl Deref for ApprovalIndex {
    type Target = Indexed<Approval>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl ApprovalIndex {
    /// Adds one, or puts it in the place of what it was.
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

    /// Takes one away.
    pub fn remove_mut(&mut self, id: &str) {
        let Some(known) = self.all.get(id).cloned() else {
            return;
        };
        self.all.remove_mut(id);
        self.by_digest
            .remove_mut(&(known.digest.clone(), known.id.clone()));
        self.decided(&known);
    }

    /// Those of a digest.
    pub fn of_digest<'a>(&'a self, digest: &'a SmolStr) -> impl Iterator<Item = &'a Arc<Approval>> {
        let from = (digest.clone(), SmolStr::default());
        let found = self
            .by_digest
            .range((Bound::Included(from), Bound::Unbounded));
        found
            .take_while(move |(of, _)| of == digest)
            .filter_map(|(_, id)| self.all.get(id))
    }

    /// The one that this call waits for, if nobody has decided it and its time is not over. Its task may be.
    pub fn pending_for(&self, call: &ApprovedCall, now: SystemTime) -> Option<&Arc<Approval>> {
        let key = key(call);
        let from = (key.clone(), now, SmolStr::default());
        let found = self
            .by_call
            .range((Bound::Included(from), Bound::Unbounded));
        found
            .take_while(|(of, _, _)| *of == key)
            .filter(|(_, ends, _)| *ends > now)
            .find_map(|(_, _, id)| self.all.get(id))
    }

    /// Those of an agent that nobody has decided and whose time is not over.
    pub fn pending_of<'a>(
        &'a self,
        agent: &'a EntityUID,
        now: SystemTime,
    ) -> impl Iterator<Item = &'a Arc<Approval>> {
        let from = (agent.clone(), now, SmolStr::default());
        let found = self
            .by_agent
            .range((Bound::Included(from), Bound::Unbounded));
        found
            .take_while(move |(of, _, _)| of == agent)
            .filter(move |(_, ends, _)| *ends > now)
            .filter_map(|(_, _, id)| self.all.get(id))
    }

    /// How many nobody has decided and whose time is not over, those of tasks that are over among them. May be too many
    /// by what has expired lately, never too few.
    pub fn undecided(&self, now: SystemTime) -> usize {
        let expired = self.undecided.iter().take(LOOKED_AT);
        let expired = expired.take_while(|(ends, _)| *ends <= now).count();
        self.undecided.size() - expired
    }

    /// Takes some that have expired from among the undecided.
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

    /// It is no longer among the undecided.
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

/// Names a call, whatever becomes of it.
fn key(call: &ApprovedCall) -> SmolStr {
    challenge::digest(call, SystemTime::UNIX_EPOCH)
}
