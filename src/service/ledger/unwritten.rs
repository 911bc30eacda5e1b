//! What was taken away while the store does not write: in service at once, written as soon as it can be.
//!
//! A full disk must not keep anybody from revoking. So a change that takes something away does not wait for the disk if
//! that fails: it is in force in memory, its asker is told that it is not durable, and it is written in order, before
//! anything else is. Nothing is given meanwhile.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use smol_str::SmolStr;

use crate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord};
use crate::service::generation::Generation;
use crate::service::ledger::{CommittedChange, Head, Ledger, PlannedChange};
use crate::store::store::{StoreError, StoredKey};

/// Writes that only take away what somebody could do: none of them waits behind those that give.
pub const RESTRICTIONS: [&str; 6] = [
    "RevokeDelegation",
    "NarrowDelegation",
    "CloseTask",
    "RejectCall",
    "EndSession",
    "StopEntity",
];

/// The most changes that wait; one more is refused.
const MOST: usize = 10_000;
/// Why nothing is given meanwhile.
pub(super) const RESTRICTIONS_FIRST: &str = "what was taken away waits to be written first";

/// What became of a change.
pub(super) enum WriteResult {
    /// It is written.
    Written,
    /// It is in service, and waits to be written.
    InMemory(Arc<Generation>),
}

/// Changes that are in service and not written, in order.
#[derive(Default)]
pub(super) struct UnwrittenChanges {
    waiting: Mutex<VecDeque<UnwrittenChange>>,
    /// The first of them is on its way to the store.
    is_trying: AtomicBool,
}

/// One of them.
#[derive(Clone)]
pub(super) struct UnwrittenChange {
    verb: SmolStr,
    change: Change,
    asker: ChangeOrigin,
    at: SystemTime,
    pub(super) id: SmolStr,
}

impl PlannedChange {
    /// Whether it only takes away what somebody could do.
    pub(super) fn takes_away(&self) -> bool {
        RESTRICTIONS.contains(&self.verb)
    }
}

impl CommittedChange {
    pub(super) fn in_memory(id: SmolStr, generation: Arc<Generation>) -> Self {
        Self {
            revision: generation.revision(),
            id,
            generation,
            is_durable: false,
        }
    }
}

impl UnwrittenChange {
    pub(super) fn of(plan: PlannedChange, asker: ChangeOrigin, at: SystemTime) -> Self {
        Self {
            verb: SmolStr::new_static(plan.verb),
            change: plan.change,
            asker,
            at,
            id: plan.id,
        }
    }

    /// What did not get the revision that it was planned for.
    pub(super) fn again(entry: ChangeRecord, id: SmolStr) -> Self {
        Self {
            verb: entry.verb,
            change: entry.change,
            asker: entry.asker,
            at: entry.at,
            id,
        }
    }
}

impl UnwrittenChanges {
    fn lock(&self) -> MutexGuard<'_, VecDeque<UnwrittenChange>> {
        // Nothing in here panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether what was asked under this key is among them.
    pub(super) fn has(&self, known: &StoredKey) -> bool {
        let is_it = |asker: &ChangeOrigin| {
            let key = asker.key.as_ref();
            asker.caller == known.caller && key.is_some_and(|key| key.text == known.text)
        };
        self.lock().iter().any(|waiting| is_it(&waiting.asker))
    }

    /// A generation that was planned before some of it was taken away, without that.
    pub(super) fn applied_to(&self, generation: &Arc<Generation>) -> Arc<Generation> {
        let waiting = self.lock();
        let revision = generation.revision();
        waiting.iter().fold(Arc::clone(generation), |it, waiting| {
            match it.after(&waiting.change, revision) {
                Ok(next) => Arc::new(next),
                Err(error) => {
                    tracing::error!(%error, verb = %waiting.verb, "what was taken away does not fit what came after");
                    it
                }
            }
        })
    }
}

impl Ledger {
    /// How many changes are in service and not written.
    pub fn unwritten(&self) -> usize {
        self.unwritten.lock().len()
    }

    /// Takes something away at once, to be written later.
    pub(super) fn take_away(
        &self,
        head: &mut Head,
        waiting: UnwrittenChange,
    ) -> Result<Arc<Generation>, StoreError> {
        if self.unwritten() >= MOST {
            return Err(StoreError::Busy);
        }
        let (change, at) = (waiting.change.clone(), waiting.at);
        let (verb, id) = (waiting.verb.clone(), waiting.id.clone());
        let known = StoredKey::of(&waiting.asker, 0, id.clone(), at);
        let newest = head.generation.clone().ok_or(StoreError::Closed)?;
        let misfit = |error| StoreError::Write(format!("{error}"));
        let next = newest.after(&change, head.revision).map_err(misfit)?;
        let mut taken = Err(StoreError::Closed);
        // Nothing else goes into service meanwhile.
        self.revisions.send_modify(|_| {
            let Some(live) = self.live() else { return };
            taken = match live.after(&change, live.revision()) {
                Ok(live) => {
                    let live = Arc::new(live);
                    self.unwritten.lock().push_back(waiting);
                    self.live.store(Some(Arc::clone(&live)));
                    Ok(live)
                }
                Err(error) => Err(misfit(error)),
            };
        });
        let live = taken?;
        // Asked again it is the same change, before it is written as after.
        if let Some(known) = known {
            let revision = live.revision();
            head.keys.remember(StoredKey { revision, ..known });
        }
        let is_same = newest.revision() == live.revision();
        head.generation = Some(match is_same {
            true => Arc::clone(&live),
            false => Arc::new(next),
        });
        self.facts.changed(&change, at);
        tracing::error!(%verb, %id, "in force, but NOT DURABLE: it is written as soon as the store writes again");
        Ok(live)
    }

    /// Tries to write what waits. To be called every second.
    pub fn retry(self: &Arc<Self>) {
        let Some(first) = self.unwritten.lock().front().cloned() else {
            return;
        };
        if self.unwritten.is_trying.swap(true, Ordering::AcqRel) {
            return;
        }
        let tried = self.try_first(first);
        if let Err(error) = tried {
            self.unwritten.is_trying.store(false, Ordering::Release);
            tracing::error!(%error, waiting = self.unwritten(), "what was taken away is still not written");
        }
    }

    fn try_first(self: &Arc<Self>, first: UnwrittenChange) -> Result<(), StoreError> {
        let mut head = self.head();
        let generation = head.generation.clone().ok_or(StoreError::Closed)?;
        let revision = head.revision + 1;
        let next = generation.after(&first.change, revision);
        let next = Arc::new(next.map_err(|error| StoreError::Write(error.to_string()))?);
        let entry = ChangeRecord {
            revision,
            at: first.at,
            verb: first.verb,
            change: first.change,
            asker: first.asker,
        };
        let ledger = Arc::clone(self);
        let attempt = head.attempt;
        let known = StoredKey::of(&entry.asker, revision, first.id.clone(), first.at);
        self.submit(&next, entry, first.id, attempt, false, move |result| {
            if result.is_ok() {
                ledger.unwritten.lock().pop_front();
                let remember = |known| ledger.head().keys.remember(known);
                known.into_iter().for_each(remember);
            }
            ledger.unwritten.is_trying.store(false, Ordering::Release);
            match result {
                Ok(_) => ledger.retry(),
                Err(error) => {
                    tracing::error!(%error, waiting = ledger.unwritten(), "what was taken away is still not written");
                }
            }
        })?;
        head.take(&next);
        Ok(())
    }
}
