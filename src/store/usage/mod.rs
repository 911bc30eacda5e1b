//! How much actors and tools have been used lately.
//!
//! Windows slide over buckets: a minute is twelve of five seconds and the one that is running, an hour
//! twelve of five minutes, a day 24 of an hour, each and the running one. So a call is never counted too
//! short, and leaves up to one bucket late. See [`counters`].
//!
//! Every shard holds whole actors, so one look answers everything about an actor and a tool. What changed
//! is written behind, from [`UsageLedger::dirty`].
//!
//! Denials are counted of an actor and the one for whom it acts together: whoever has an agent denied again and again
//! while it works for one person does not take it away from everybody else.
//!
//! Nothing is counted that no policy reads: whoever counts asks that first.
//!
//! There is room for a number of actors, and of pairs with a tool or with somebody for whom they act. When it is used
//! up, those that were used longest ago are dropped: nobody is denied for want of room. Allowed calls are then counted
//! too long rather than too short: who was not known when something was dropped may be who was dropped, and counts as
//! if it had done the most that anything dropped had done ([`lost`]). Denials are counted too short: of an actor with
//! more of them than there is room for, the oldest are dropped.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::domain::authority::form;
use crate::domain::authority::usage::{Usage, WindowCounts};
use crate::domain::schema::TYPES;
use crate::store::lock;
use crate::store::store::{StoreError, StoreWrite, StoredUsage};

mod counters;
mod evicted;
#[cfg(test)]
mod tests;

use crate::store::usage::evicted::EvictedUsage;
use counters::{Counters, Day, Hour};

/// Seconds since the Unix epoch, which is as fine as buckets need it.
type Seconds = u64;

/// An actor, and a tool or whoever it was denied for; without either, what is counted of the actor alone.
type UsageKey = (EntityUID, Option<EntityUID>);

/// Where there is no room, so much of it is made at once: this part of all.
const MADE_AT_ONCE: usize = 16;

/// Counts by actor, and by actor and tool.
#[derive(Debug)]
pub struct UsageLedger {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// The most entries of one shard: actors, and pairs of an actor and a tool.
    room: usize,
}

#[derive(Debug, Default)]
struct Shard {
    actors: HashMap<EntityUID, ActorUsage, RandomState>,
    entries: usize,
    /// Those with something to write behind.
    dirty: Vec<UsageKey>,
    /// What was dropped for want of room.
    lost: EvictedUsage,
}

#[derive(Debug, Default)]
struct ActorUsage {
    allowed: Counters,
    /// Denials of what it asked for itself.
    denied: Hour,
    /// Denials of what it asked for others, by the root of its authority.
    denied_for: HashMap<EntityUID, DenialUsage, RandomState>,
    /// For each hour, how many tools were used last in it.
    tools_by_hour: Day,
    tools: HashMap<EntityUID, ToolUsage, RandomState>,
    is_dirty: bool,
    /// Since when it is known.
    since: Seconds,
    at: Seconds,
}

#[derive(Debug, Default)]
struct DenialUsage {
    count: Hour,
    is_dirty: bool,
    at: Seconds,
}

#[derive(Debug, Default)]
struct ToolUsage {
    allowed: Counters,
    is_dirty: bool,
    since: Seconds,
    at: Seconds,
}

impl UsageLedger {
    /// Room for about this many actors and pairs of an actor and a tool together.
    pub fn new(capacity: usize) -> Self {
        // Few actors would be spread unevenly.
        let shards = (capacity / 1_024).clamp(1, 64).next_power_of_two();
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            room: capacity.div_ceil(shards),
        }
    }

    /// What a decision is told of an actor that acts for `root`, or for itself. Without a tool, what is said of a tool is
    /// all zero.
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
    pub fn allowed(&self, actor: &EntityUID, tool: Option<&EntityUID>, now: SystemTime) {
        let now = seconds(now);
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
            entry.meet(tool.clone(), Counters::default(), now, now);
        }
        entry.allow(actor, tool, now, &mut shard.dirty);
    }

    /// Counts a denied call of an actor that acts for `root`, or for itself. Denials alone take only half of the room for
    /// whoever is not known yet, as anybody can be denied under any name: beyond that the oldest of the same actor go,
    /// and one that has none is not counted.
    pub fn denied(&self, actor: &EntityUID, root: Option<&EntityUID>, now: SystemTime) {
        let now = seconds(now);
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

    /// What changed since this was asked last, to be written behind.
    pub fn dirty(&self) -> Vec<StoreWrite> {
        let mut writes = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
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

    /// Takes over what a store holds. For the start, before anything else.
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
                    entry.meet(tool, allowed, 0, at);
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
        for shard in &self.shards {
            let mut shard = lock(shard);
            let newest = shard.actors.values().map(|it| it.at).max().unwrap_or(0);
            shard.make_room(0, self.room, newest);
        }
        Ok(())
    }

    /// Forgets what was silent since then, and with it that it was ever used. For what the store forgets.
    pub fn forget(&self, before: SystemTime) {
        let before = seconds(before);
        for shard in &self.shards {
            lock(shard).forget(before, true);
        }
    }

    /// How many actors and pairs are known.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries).sum()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, actor: &EntityUID) -> MutexGuard<'_, Shard> {
        // The upper bits: the map within looks at the lower ones.
        let hash = self.hasher.hash_one(actor) >> 32;
        lock(&self.shards[hash as usize & (self.shards.len() - 1)])
    }
}

impl Shard {
    /// Drops what was used longest ago, if there is no room for that many more entries.
    fn make_room(&mut self, more: usize, room: usize, now: Seconds) {
        if self.entries + more <= room {
            return;
        }
        let mut times: Vec<Seconds> = self.actors.values().flat_map(ActorUsage::times).collect();
        let gone = (self.entries + more - room).max(room / MADE_AT_ONCE);
        let gone = gone.clamp(1, times.len().max(1)) - 1;
        if gone >= times.len() {
            return;
        }
        let (_, last, _) = times.select_nth_unstable(gone);
        let before = *last + 1;
        let lost = &mut self.lost;
        for actor in self.actors.values_mut() {
            for tool in actor.tools.values_mut().filter(|it| it.at < before) {
                lost.add(tool.allowed.windows(now), 0, now);
            }
            if actor.at < before {
                let distinct = actor.tools_by_hour.count(now);
                lost.add(actor.allowed.windows(now), distinct, now);
            }
        }
        // Who stays has used as many different tools as before.
        self.forget(before, false);
    }

    /// Whether a denial of an actor has that many more entries, or it can give up older ones of its own.
    fn has_room_for_denial(&mut self, actor: &EntityUID, more: usize, room: usize) -> bool {
        if self.entries + more <= room {
            return true;
        }
        let Some(denied_for) = self.actors.get_mut(actor).map(|it| &mut it.denied_for) else {
            return false;
        };
        let oldest = denied_for.iter().min_by_key(|(_, denied)| denied.at);
        let Some(oldest) = oldest.map(|(root, _)| root.clone()) else {
            return false;
        };
        denied_for.remove(&oldest);
        self.entries -= 1;
        true
    }

    fn forget(&mut self, before: Seconds, counts_less: bool) {
        self.actors.retain(|_, actor| {
            let hours = &mut actor.tools_by_hour;
            actor.tools.retain(|_, tool| {
                let stays = tool.at >= before;
                if !stays && counts_less {
                    hours.take_away(tool.at);
                }
                stays
            });
            actor.denied_for.retain(|_, denied| denied.at >= before);
            !actor.tools.is_empty() || !actor.denied_for.is_empty() || actor.at >= before
        });
        let entries = |actor: &ActorUsage| 1 + actor.tools.len() + actor.denied_for.len();
        self.entries = self.actors.values().map(entries).sum();
    }
}

impl ActorUsage {
    fn since(since: Seconds) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// When each of its entries was used last, its own among them.
    fn times(&self) -> impl Iterator<Item = Seconds> {
        let tools = self.tools.values().map(|tool| tool.at);
        let denied = self.denied_for.values().map(|denied| denied.at);
        tools.chain(denied).chain([self.at])
    }

    /// Counts an allowed call, unless the tool is not known.
    fn allow(
        &mut self,
        name: &EntityUID,
        tool: Option<&EntityUID>,
        now: Seconds,
        dirty: &mut Vec<UsageKey>,
    ) -> bool {
        if let Some(tool_name) = tool {
            let Some(tool) = self.tools.get_mut(tool_name) else {
                return false;
            };
            tool.allowed.add(now);
            let at = tool.at.max(now);
            self.tools_by_hour.take_away(tool.at);
            self.tools_by_hour.add(at);
            tool.at = at;
            if !std::mem::replace(&mut tool.is_dirty, true) {
                dirty.push((name.clone(), Some(tool_name.clone())));
            }
        }
        self.allowed.add(now);
        self.touch(name, now, dirty);
        true
    }

    /// What is to be written of it alone, or with a tool or a root, and of when that is.
    fn written(&mut self, with: Option<&EntityUID>) -> Option<(Vec<u8>, Seconds)> {
        let Some(with) = with else {
            self.is_dirty = false;
            return Some((counters::write(&self.allowed, Some(&self.denied)), self.at));
        };
        if let Some(tool) = self.tools.get_mut(with) {
            tool.is_dirty = false;
            return Some((counters::write(&tool.allowed, None), tool.at));
        }
        let denied = self.denied_for.get_mut(with)?;
        denied.is_dirty = false;
        let counters = counters::write(&Counters::default(), Some(&denied.count));
        Some((counters, denied.at))
    }

    /// Adds a tool that is known since then, and was used at that time.
    fn meet(&mut self, tool: EntityUID, allowed: Counters, since: Seconds, at: Seconds) {
        self.tools_by_hour.add(at);
        let entry = ToolUsage {
            allowed,
            is_dirty: false,
            since,
            at,
        };
        self.tools.insert(tool, entry);
    }

    /// Its own counters have changed.
    fn touch(&mut self, name: &EntityUID, now: Seconds, dirty: &mut Vec<UsageKey>) {
        self.at = self.at.max(now);
        if !std::mem::replace(&mut self.is_dirty, true) {
            dirty.push((name.clone(), None));
        }
    }
}

fn seconds(at: SystemTime) -> Seconds {
    form::millis(at) / 1_000
}

fn moment(at: Seconds) -> SystemTime {
    form::from_millis(at.saturating_mul(1_000)).unwrap_or(SystemTime::UNIX_EPOCH)
}
