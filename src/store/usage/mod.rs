//! Recent usage of actors and tools, in memory.
//!
//! Sliding windows consist of buckets: a minute of twelve buckets of five seconds, an hour of twelve of five minutes,
//! a day of 24 of an hour, each with the running bucket in addition. So no call is dropped from a window too early,
//! and each leaves it up to one bucket late. See [`counters`].
//!
//! A shard holds whole actors, so one lookup answers everything about an actor and a tool. Changes are written in the
//! background, from [`UsageLedger::dirty`].
//!
//! Denials are counted for each pair of actor and root: denials of an agent that acts for one person do not count
//! against its work for others.
//!
//! The caller counts only what some policy reads.
//!
//! The capacity is a number of actors and of pairs of an actor with a tool or a root. When it is used up, the entries
//! that were used longest ago are evicted; nobody is denied for lack of room. Allowed calls are then rather counted
//! too high: an actor that was unknown at the time of an eviction may be the one that was evicted, and counts with the
//! maximum of everything evicted ([`evicted`]). Denials are counted too low: an actor with more of them than fit loses
//! its oldest.

use std::sync::MutexGuard;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;

use crate::domain::authority::form;
use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::domain::schema::TYPES;
use crate::store::backend::{StoreError, StoreWrite, StoredUsage};
use crate::store::sharded::Sharded;

mod counted;
mod counters;
mod evicted;
mod shard;
#[cfg(test)]
mod tests;

use counted::Counted;
use counters::{Counters, Seconds};
use shard::{ActorUsage, DenialUsage, Shard};

/// Counts by actor, and by actor and tool.
#[derive(Debug)]
pub struct UsageLedger {
    shards: Sharded<Shard>,
    /// The capacity of one shard: actors, and pairs of an actor with a tool or a root.
    room: usize,
    counted: Counted,
}

impl UsageLedger {
    /// Capacity for about `capacity` actors and pairs together.
    pub fn new(capacity: usize) -> Self {
        let shards = Sharded::for_capacity(capacity);
        Self {
            room: shards.share_of(capacity),
            shards,
            counted: Counted::new(),
        }
    }

    /// The usage of an actor that acts for `root`, or for itself. Without a tool all counts of a tool are zero.
    pub fn view(
        &self,
        actor: &EntityUID,
        root: Option<&EntityUID>,
        tool: Option<&EntityUID>,
        now: SystemTime,
    ) -> Usage {
        let now = seconds(now);
        let mut shard = self.shard(actor);
        let lost = shard.lost;
        let Some(actor) = shard.actors.get_mut(actor) else {
            return Usage {
                is_first_use: tool.is_some(),
                tool: match tool {
                    Some(_) => lost.before(None, now).unwrap_or_default().tool,
                    None => WindowCounts::default(),
                },
                ..lost.before(None, now).unwrap_or_default()
            };
        };
        let before = lost.before(Some(actor.since), now).unwrap_or_default();
        let known = tool.and_then(|tool| actor.tools.get_mut(tool));
        let since = known.as_ref().map(|tool| tool.since);
        let of_tool = tool.and_then(|_| lost.before(since, now));
        let of_tool = of_tool.unwrap_or_default().tool;
        Usage {
            is_first_use: tool.is_some() && known.is_none(),
            tool: evicted::sum(
                known.map_or_else(Default::default, |tool| tool.allowed.windows(now)),
                of_tool,
            ),
            actor: evicted::sum(actor.allowed.windows(now), before.actor),
            recent_denials: match root {
                None => actor.denied.count(now),
                Some(root) => {
                    let denied = actor.denied_for.get_mut(root);
                    denied.map_or(0, |denied| denied.count.count(now))
                }
            },
            distinct_tools: actor.tools_by_hour.count(now) + before.distinct_tools,
        }
    }

    /// Counts an allowed call.
    pub fn count_allowed(&self, actor: &EntityUID, tool: Option<&EntityUID>, now: SystemTime) {
        let now = seconds(now);
        self.counted.add(actor, tool, false, now);
        self.add_allowed(actor, tool, now);
    }

    fn add_allowed(&self, actor: &EntityUID, tool: Option<&EntityUID>, now: Seconds) {
        let mut shard = self.shard(actor);
        let Shard { actors, dirty, .. } = &mut *shard;
        let known = actors.get_mut(actor);
        let is_known = known.is_some();
        if known.is_some_and(|known| known.allow(actor, tool, now, dirty)) {
            return;
        }
        let more = usize::from(!is_known) + usize::from(tool.is_some());
        shard.make_room(more, self.room, now);
        let shard = &mut *shard;
        let entry = shard.actors.entry_ref(actor).or_insert_with(|| {
            shard.entries += 1;
            ActorUsage::since(now)
        });
        if let Some(tool) = tool {
            shard.entries += 1;
            entry.add_tool(tool.clone(), Counters::default(), now, now);
        }
        entry.allow(actor, tool, now, &mut shard.dirty);
    }

    /// Counts a denied call of an actor that acts for `root`, or for itself. Denials alone may fill only half of the
    /// capacity with unknown actors, as anybody can be denied under any name. Beyond that the oldest denials of the
    /// same actor are evicted, and a denial of an actor without any is not counted.
    pub fn count_denied(&self, actor: &EntityUID, root: Option<&EntityUID>, now: SystemTime) {
        let now = seconds(now);
        self.counted.add(actor, root, true, now);
        self.add_denied(actor, root, now);
    }

    fn add_denied(&self, actor: &EntityUID, root: Option<&EntityUID>, now: Seconds) {
        let mut shard = self.shard(actor);
        let known = shard.actors.get(actor);
        let is_met =
            |known: &ActorUsage| root.is_none_or(|root| known.denied_for.contains_key(root));
        let more = usize::from(known.is_none()) + usize::from(root.is_some());
        let is_new = !known.is_some_and(is_met);
        if is_new && !shard.has_room_for_denial(actor, more, self.room.div_ceil(2)) {
            return;
        }
        let shard = &mut *shard;
        let entry = shard.actors.entry_ref(actor).or_insert_with(|| {
            shard.entries += 1;
            ActorUsage::since(now)
        });
        let Some(root) = root else {
            entry.denied.add(now);
            entry.touch(actor, now, &mut shard.dirty);
            return;
        };
        if !entry.denied_for.contains_key(root) {
            shard.entries += 1;
            entry
                .denied_for
                .insert(root.clone(), DenialUsage::default());
        }
        if let Some(denied) = entry.denied_for.get_mut(root) {
            denied.count.add(now);
            denied.at = denied.at.max(now);
            if !std::mem::replace(&mut denied.is_dirty, true) {
                shard.dirty.push((actor.clone(), Some(root.clone())));
            }
        }
    }

    /// The background writes for all changes since the last call.
    pub fn dirty(&self) -> Vec<StoreWrite> {
        let mut writes = Vec::new();
        for mut shard in self.shards.each() {
            for (actor, tool) in std::mem::take(&mut shard.dirty) {
                let Some(entry) = shard.actors.get_mut(&actor) else {
                    continue;
                };
                let Some((counters, at)) = entry.written(tool.as_ref()) else {
                    continue;
                };
                writes.push(StoreWrite::Usage {
                    actor,
                    tool,
                    counters,
                    at: moment(at),
                });
            }
        }
        writes
    }

    /// Restores what a store holds. Only at the start.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if counters cannot be read.
    pub fn restore(&self, stored: Vec<StoredUsage>) -> Result<(), StoreError> {
        for stored in stored {
            let Some((allowed, denied)) = counters::read(&stored.counters) else {
                return Err(StoreError::Damaged(format!(
                    "the counters of {} cannot be read",
                    stored.actor
                )));
            };
            let at = seconds(stored.at);
            let mut shard = self.shard(&stored.actor);
            let shard = &mut *shard;
            let entry = shard.actors.entry(stored.actor).or_insert_with(|| {
                shard.entries += 1;
                ActorUsage::default()
            });
            entry.at = entry.at.max(at);
            match stored.tool {
                None => {
                    entry.allowed = allowed;
                    entry.denied = denied;
                }
                Some(tool) if *tool.entity_type() == TYPES.tool => {
                    shard.entries += 1;
                    entry.add_tool(tool, allowed, 0, at);
                }
                Some(root) => {
                    shard.entries += 1;
                    let denied = DenialUsage {
                        count: denied,
                        is_dirty: false,
                        at,
                    };
                    entry.denied_for.insert(root, denied);
                }
            }
        }
        for mut shard in self.shards.each() {
            let newest = shard.actors.values().map(|it| it.at).max().unwrap_or(0);
            shard.make_room(0, self.room, newest);
        }
        Ok(())
    }

    /// Forgets entries without a call since `before`, and that they were ever used. As the store prunes them.
    pub fn forget(&self, before: SystemTime) {
        let before = seconds(before);
        for mut shard in self.shards.each() {
            shard.forget(before, true);
        }
    }

    /// The number of actors and pairs.
    pub fn len(&self) -> usize {
        self.shards.each().map(|shard| shard.entries).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, actor: &EntityUID) -> MutexGuard<'_, Shard> {
        let id: &str = actor.eid().as_ref();
        self.shards.lock(id)
    }
}

fn seconds(at: SystemTime) -> Seconds {
    form::millis(at) / 1_000
}

fn moment(at: Seconds) -> SystemTime {
    form::from_millis(at.saturating_mul(1_000)).unwrap_or(SystemTime::UNIX_EPOCH)
}
