//! One shard of usage: actors, the tools they used, and those for whom they were denied.

use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::store::usage::counters::{self, Counters, Day, Hour, Seconds};
use crate::store::usage::evicted::EvictedUsage;

/// An actor with a tool or with the root it was denied for; without either, the actor's own counts.
pub(super) type UsageKey = (EntityUID, Option<EntityUID>);

/// The part of the capacity that is freed at once: one of this many.
const MADE_AT_ONCE: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) actors: HashMap<EntityUID, ActorUsage, RandomState>,
    pub(super) entries: usize,
    /// Entries with changes to write in the background.
    pub(super) dirty: Vec<UsageKey>,
    /// What was evicted for lack of room.
    pub(super) lost: EvictedUsage,
}

#[derive(Debug, Default)]
pub(super) struct ActorUsage {
    pub(super) allowed: Counters,
    /// Denials of calls that it made for itself.
    pub(super) denied: Hour,
    /// Denials of calls that it made for others, by root.
    pub(super) denied_for: HashMap<EntityUID, DenialUsage, RandomState>,
    /// The number of tools by the hour of their last use.
    pub(super) tools_by_hour: Day,
    pub(super) tools: HashMap<EntityUID, ToolUsage, RandomState>,
    pub(super) is_dirty: bool,
    /// The time of its first call.
    pub(super) since: Seconds,
    pub(super) at: Seconds,
}

#[derive(Debug, Default)]
pub(super) struct DenialUsage {
    pub(super) count: Hour,
    pub(super) is_dirty: bool,
    pub(super) at: Seconds,
}

#[derive(Debug, Default)]
pub(super) struct ToolUsage {
    pub(super) allowed: Counters,
    pub(super) is_dirty: bool,
    pub(super) since: Seconds,
    pub(super) at: Seconds,
}

impl Shard {
    /// Evicts the entries that were used longest ago, if there is no room for `more` entries.
    pub(super) fn make_room(&mut self, more: usize, room: usize, now: Seconds) {
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
        // Actors that stay have used as many different tools as before.
        self.forget(before, false);
    }

    /// Whether there is room for `more` entries for a denial of an actor, evicting one of its older denials if
    /// necessary.
    pub(super) fn has_room_for_denial(
        &mut self,
        actor: &EntityUID,
        more: usize,
        room: usize,
    ) -> bool {
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

    pub(super) fn forget(&mut self, before: Seconds, counts_less: bool) {
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
    pub(super) fn since(since: Seconds) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// The times of the last use of its entries, its own included.
    pub(super) fn times(&self) -> impl Iterator<Item = Seconds> {
        let tools = self.tools.values().map(|tool| tool.at);
        let denied = self.denied_for.values().map(|denied| denied.at);
        tools.chain(denied).chain([self.at])
    }

    /// Counts an allowed call. Returns false, and counts nothing, if the tool is unknown.
    pub(super) fn allow(
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

    /// The counters to write for the actor alone, or with a tool or a root, and the time of their last change.
    pub(super) fn written(&mut self, with: Option<&EntityUID>) -> Option<(Vec<u8>, Seconds)> {
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

    /// Adds a tool with the times of its first and its last use.
    pub(super) fn add_tool(
        &mut self,
        tool: EntityUID,
        allowed: Counters,
        since: Seconds,
        at: Seconds,
    ) {
        self.tools_by_hour.add(at);
        let entry = ToolUsage {
            allowed,
            is_dirty: false,
            since,
            at,
        };
        self.tools.insert(tool, entry);
    }

    /// Marks its own counters as changed.
    pub(super) fn touch(&mut self, name: &EntityUID, now: Seconds, dirty: &mut Vec<UsageKey>) {
        self.at = self.at.max(now);
        if !std::mem::replace(&mut self.is_dirty, true) {
            dirty.push((name.clone(), None));
        }
    }
}
