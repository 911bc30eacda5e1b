//! Which agents work together for a root, in memory.
//!
//! Two agents are linked while a stored delegation from the one to the other has not ended, and for a bounded time after a
//! call in which one acted under the other. Who is linked has the same labels ([`crate::store::carrier_labels`]): those are
//! stored for each pair of agent and root, links are not. After a start only those of stored delegations are known.
//!
//! Start at [`PairLinks::linked`].
//!
//! Invariant: a link stands at both of its agents.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use crate::domain::ids::DelegationId;
use crate::store::sharded::Sharded;

#[cfg(test)]
#[path = "pair_links_tests.rs"]
mod tests;

/// Links, by root.
#[derive(Debug)]
pub struct PairLinks {
    shards: Sharded<LinkShard>,
    /// The capacity of one shard, in links that calls have made.
    room: usize,
    /// How long a link lasts after a call.
    lasts: Duration,
    /// The number of links. With none, lookups are skipped.
    kept: AtomicUsize,
}

#[derive(Debug, Default)]
struct LinkShard {
    roots: HashMap<EntityUID, Agents, RandomState>,
    /// The number of links.
    links: usize,
    /// The time of the last sweep.
    swept_at: Option<SystemTime>,
}

/// Agents with those that each is linked to.
type Agents = HashMap<EntityUID, SmallVec<[Link; 2]>, RandomState>;

#[derive(Debug, Clone)]
struct Link {
    to: EntityUID,
    /// When one last acted under the other.
    acted: Option<SystemTime>,
    /// The stored delegations between them, and when each ends.
    granted: SmallVec<[(DelegationId, SystemTime); 1]>,
}

/// There is no room for one more link: the call that would make it must be denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCapacityError;

impl PairLinks {
    /// Capacity for about `capacity` links that calls have made, each of which lasts for `lasts` after the last call.
    pub fn new(capacity: usize, lasts: Duration) -> Self {
        let shards = Sharded::for_capacity(capacity);
        Self {
            room: shards.share_of(capacity),
            shards,
            lasts,
            kept: AtomicUsize::new(0),
        }
    }

    /// Notes that one of two agents has acted under the other for a root. Returns whether they were not linked before.
    ///
    /// # Errors
    ///
    /// [`LinkCapacityError`] if there is no room for one more link.
    pub fn acted(
        &self,
        root: &EntityUID,
        agents: [&EntityUID; 2],
        now: SystemTime,
    ) -> Result<bool, LinkCapacityError> {
        let mut shard = self.shards.lock(root);
        if shard.link_mut(root, agents).is_none() && !self.has_room(&mut shard, now) {
            return Err(LinkCapacityError);
        }
        let mut was_linked = true;
        self.change(&mut shard, root, agents, |link| {
            was_linked &= self.is_in_force(link, now);
            link.acted = link.acted.max(Some(now));
        });
        Ok(!was_linked)
    }

    /// Notes a stored delegation between two agents that ends at `until`.
    pub fn granted(
        &self,
        root: &EntityUID,
        agents: [&EntityUID; 2],
        id: &DelegationId,
        until: SystemTime,
    ) {
        let mut shard = self.shards.lock(root);
        self.change(&mut shard, root, agents, |link| {
            link.granted.retain(|(known, _)| known != id);
            link.granted.push((id.clone(), until));
        });
    }

    /// Notes that a stored delegation between two agents was revoked.
    pub fn revoked(&self, root: &EntityUID, agents: [&EntityUID; 2], id: &DelegationId) {
        let mut shard = self.shards.lock(root);
        let [one, other] = agents;
        for ends in [[one, other], [other, one]] {
            if let Some(link) = shard.link_mut(root, ends) {
                link.granted.retain(|(known, _)| known != id);
            }
        }
    }

    /// All agents that this one is linked to for a root, directly or by others; without itself.
    pub fn linked(&self, root: &EntityUID, agent: &EntityUID, now: SystemTime) -> Vec<EntityUID> {
        if self.is_empty() {
            return Vec::new();
        }
        let shard = self.shards.lock(root);
        let Some(agents) = shard.roots.get(root) else {
            return Vec::new();
        };
        let of = |agent: &EntityUID| agents.get(agent).map_or(&[] as &[Link], |it| it);
        let mut known: HashSet<&EntityUID, RandomState> = HashSet::default();
        let mut found: Vec<EntityUID> = Vec::new();
        let mut next = Some(agent.clone());
        let mut seen = 0;
        while let Some(from) = next {
            for link in of(&from) {
                let is_new = link.to != *agent && self.is_in_force(link, now);
                if is_new && known.insert(&link.to) {
                    found.push(link.to.clone());
                }
            }
            next = found.get(seen).cloned();
            seen += 1;
        }
        found
    }

    /// Drops links that have ended.
    pub fn sweep(&self, now: SystemTime) {
        for mut shard in self.shards.each() {
            self.sweep_shard(&mut shard, now);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for mut shard in self.shards.each() {
            self.kept.fetch_sub(shard.links, Ordering::Relaxed);
            *shard = LinkShard::default();
        }
    }

    /// The number of links.
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Whether there is no link.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes a link at both of its agents, and makes it if there is none.
    fn change(
        &self,
        shard: &mut LinkShard,
        root: &EntityUID,
        [one, other]: [&EntityUID; 2],
        mut change: impl FnMut(&mut Link),
    ) {
        let mut is_new = false;
        for [at, to] in [[one, other], [other, one]] {
            if let Some(link) = shard.link_mut(root, [at, to]) {
                change(link);
                continue;
            }
            let mut link = Link {
                to: to.clone(),
                acted: None,
                granted: SmallVec::new(),
            };
            change(&mut link);
            let agents = shard.roots.entry(root.clone()).or_default();
            agents.entry(at.clone()).or_default().push(link);
            is_new = true;
        }
        if is_new {
            shard.links += 1;
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_in_force(&self, link: &Link, now: SystemTime) -> bool {
        let lasts = |acted: SystemTime| acted.checked_add(self.lasts);
        let is_recent = (link.acted).is_some_and(|at| lasts(at).is_none_or(|until| now <= until));
        is_recent || link.granted.iter().any(|(_, until)| now < *until)
    }

    fn has_room(&self, shard: &mut LinkShard, now: SystemTime) -> bool {
        if shard.links < self.room {
            return true;
        }
        // Sweep the shard only if a link can have ended since the last sweep.
        let looked = (shard.swept_at).and_then(|at| at.checked_add(self.lasts / 4));
        if looked.is_none_or(|next| next <= now) {
            self.sweep_shard(shard, now);
        }
        shard.links < self.room
    }

    fn sweep_shard(&self, shard: &mut LinkShard, now: SystemTime) {
        let mut ends = 0;
        shard.roots.retain(|_, agents| {
            agents.retain(|_, links| {
                links.retain(|link| {
                    link.granted.retain(|(_, until)| now < *until);
                    self.is_in_force(link, now)
                });
                ends += links.len();
                !links.is_empty()
            });
            !agents.is_empty()
        });
        let left = ends / 2;
        self.kept.fetch_sub(shard.links - left, Ordering::Relaxed);
        shard.links = left;
        shard.swept_at = Some(now);
    }
}

impl LinkShard {
    /// The link between two agents, at the first.
    fn link_mut(&mut self, root: &EntityUID, [at, to]: [&EntityUID; 2]) -> Option<&mut Link> {
        let links = self.roots.get_mut(root)?.get_mut(at)?;
        links.iter_mut().find(|link| link.to == *to)
    }
}
