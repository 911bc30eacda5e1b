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
    /// The capacity, in links that calls have made.
    capacity: usize,
    /// The number of links that calls have made.
    made: AtomicUsize,
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
    /// The number of those that calls have made.
    made: usize,
    /// The time of the last sweep.
    swept_at: Option<SystemTime>,
}

/// Agents with those that each is linked to.
type Agents = HashMap<EntityUID, HashMap<EntityUID, Link, RandomState>, RandomState>;

#[derive(Debug, Clone, Default)]
struct Link {
    /// When one last acted under the other.
    acted: Option<SystemTime>,
    /// The stored delegations between them, and when each ends.
    granted: SmallVec<[(DelegationId, SystemTime); 1]>,
}

/// There is no room for one more link: the call that would make it must be denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCapacityError;

impl PairLinks {
    /// Capacity for `capacity` links that calls have made, each of which lasts for `lasts` after the last call. Those of stored
    /// delegations are bounded by these.
    pub fn new(capacity: usize, lasts: Duration) -> Self {
        Self {
            shards: Sharded::for_capacity(capacity),
            capacity,
            made: AtomicUsize::new(0),
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
        let is_made = (shard.link_mut(root, agents)).is_some_and(|link| link.acted.is_some());
        if !is_made {
            if !self.has_room(&mut shard, now) {
                return Err(LinkCapacityError);
            }
            shard.made += 1;
            self.made.fetch_add(1, Ordering::Relaxed);
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

    /// Notes that a stored delegation between two agents has ended.
    pub fn ended(&self, root: &EntityUID, agents: [&EntityUID; 2], id: &DelegationId) {
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
        let mut known: HashSet<&EntityUID, RandomState> = HashSet::default();
        let mut found: Vec<EntityUID> = Vec::new();
        let mut next = Some(agent.clone());
        let mut seen = 0;
        while let Some(from) = next {
            for (to, link) in agents.get(&from).into_iter().flatten() {
                let is_new = to != agent && self.is_in_force(link, now);
                if is_new && known.insert(to) {
                    found.push(to.clone());
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
            self.made.fetch_sub(shard.made, Ordering::Relaxed);
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
        for ends in [[one, other], [other, one]] {
            // It is there already, as nearly always.
            if let Some(link) = shard.link_mut(root, ends) {
                change(link);
                continue;
            }
            let [at, to] = ends.map(EntityUID::clone);
            let agents = shard.roots.entry(root.clone()).or_default();
            change(agents.entry(at).or_default().entry(to).or_default());
            is_new = true;
        }
        if is_new {
            shard.links += 1;
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_in_force(&self, link: &Link, now: SystemTime) -> bool {
        let is_recent = link.acted.is_some_and(|at| self.lasts_until(at, now));
        is_recent || link.granted.iter().any(|(_, until)| now < *until)
    }

    /// Whether a link of a call made then has not ended.
    fn lasts_until(&self, acted: SystemTime, now: SystemTime) -> bool {
        let until = acted.checked_add(self.lasts);
        until.is_none_or(|until| now <= until)
    }

    fn has_room(&self, shard: &mut LinkShard, now: SystemTime) -> bool {
        let is_left = || self.made.load(Ordering::Relaxed) < self.capacity;
        if is_left() {
            return true;
        }
        // Sweep the shard only if a link can have ended since the last sweep.
        let looked = (shard.swept_at).and_then(|at| at.checked_add(self.lasts / 4));
        if looked.is_none_or(|next| next <= now) {
            self.sweep_shard(shard, now);
        }
        is_left()
    }

    fn sweep_shard(&self, shard: &mut LinkShard, now: SystemTime) {
        let (mut ends, mut made_ends) = (0, 0);
        shard.roots.retain(|_, agents| {
            agents.retain(|_, links| {
                links.retain(|_, link| {
                    link.granted.retain(|(_, until)| now < *until);
                    link.acted = link.acted.filter(|at| self.lasts_until(*at, now));
                    made_ends += usize::from(link.acted.is_some());
                    self.is_in_force(link, now)
                });
                ends += links.len();
                !links.is_empty()
            });
            !agents.is_empty()
        });
        // Each stands at both of its agents.
        let (left, made) = (ends / 2, made_ends / 2);
        self.kept.fetch_sub(shard.links - left, Ordering::Relaxed);
        self.made.fetch_sub(shard.made - made, Ordering::Relaxed);
        (shard.links, shard.made) = (left, made);
        shard.swept_at = Some(now);
    }
}

impl LinkShard {
    /// The link between two agents, at the first.
    fn link_mut(&mut self, root: &EntityUID, [at, to]: [&EntityUID; 2]) -> Option<&mut Link> {
        self.roots.get_mut(root)?.get_mut(at)?.get_mut(to)
    }
}
