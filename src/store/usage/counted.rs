//! What this server has counted and not yet told the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::store::backend::{StoreWrite, UsageCount};
use crate::store::sharded::Sharded;
use crate::store::usage::{UsageLedger, moment, seconds};

const SHARDS: usize = 32;
/// The most counts of one write; the rest goes with the next.
const MOST: usize = 2_000;

type CountKey = (EntityUID, Option<EntityUID>, bool, u64);

/// Counts by actor, tool or root, kind and second. Kept only if there are other servers.
#[derive(Debug)]
pub(super) struct Counted {
    is_shared: AtomicBool,
    counts: Sharded<HashMap<CountKey, u32, RandomState>>,
}

impl Counted {
    pub(super) fn new() -> Self {
        Self {
            is_shared: AtomicBool::new(false),
            counts: Sharded::with_shards(SHARDS),
        }
    }

    pub(super) fn add(
        &self,
        actor: &EntityUID,
        about: Option<&EntityUID>,
        is_denied: bool,
        now: u64,
    ) {
        if !self.is_shared.load(Ordering::Relaxed) {
            return;
        }
        let key = (actor.clone(), about.cloned(), is_denied, now);
        let mut shard = self.counts.lock(actor);
        let count = shard.entry(key).or_default();
        *count = count.saturating_add(1);
    }
}

impl UsageLedger {
    /// From now on there are other servers, which are told what this one counts.
    pub fn share(&self) {
        self.counted.is_shared.store(true, Ordering::Relaxed);
    }

    /// What to tell the others.
    pub fn to_tell(&self) -> Vec<StoreWrite> {
        let mut counts = Vec::new();
        for mut shard in self.counted.counts.each() {
            for ((actor, about, is_denied, at), calls) in shard.drain() {
                counts.push(UsageCount {
                    actor,
                    about,
                    is_denied,
                    at: moment(at),
                    calls,
                });
            }
        }
        let parts = counts.chunks(MOST);
        parts
            .map(|part| StoreWrite::UsageCounted(part.to_vec()))
            .collect()
    }

    /// Adds what another server has counted.
    pub fn merge(&self, counts: &[UsageCount]) {
        for count in counts {
            let at: SystemTime = count.at;
            for _ in 0..count.calls {
                match count.is_denied {
                    false => self.add_allowed(&count.actor, count.about.as_ref(), seconds(at)),
                    true => self.add_denied(&count.actor, count.about.as_ref(), seconds(at)),
                }
            }
        }
    }

    /// Forgets everything, to be restored.
    pub fn clear(&self) {
        for mut shard in self.shards.each() {
            *shard = super::Shard::default();
        }
    }
}
