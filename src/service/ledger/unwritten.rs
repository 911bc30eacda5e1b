//! Restrictions that are in service and not written.
//!
//! A full disk must not keep anybody from revoking. If a restriction cannot be written, it is planned again on what is
//! in service and takes force in memory. The response says that it is not durable, and it is written in order before
//! anything else. No other change is made meanwhile: none is planned from the moment at which the write fails, under the
//! lock of the head, until what could not be written is. So each is planned on all those before it.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use smol_str::SmolStr;

use crate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord};
use crate::service::generation::Generation;
use crate::service::ledger::change::PlannedChange;
use crate::service::once_a_minute::OnceAMinute;
use crate::store::backend::{StoreError, StoredKey};

/// The most unwritten restrictions; one more is rejected.
pub(super) const MAX_UNWRITTEN: usize = 10_000;
/// The error of other changes meanwhile.
pub(super) const RESTRICTIONS_FIRST: &str = "what was taken away waits to be written first";

/// What becomes of a change that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfUnwritten {
    /// It is not made.
    Undo,
    /// It is a restriction of the only server: it is planned again, and takes force all the same.
    PlanAgain,
    /// It is in force already, and is tried again.
    Retry,
}

/// Restrictions that are in service and not written, in order.
#[derive(Default)]
pub(super) struct UnwrittenChanges {
    waiting: Mutex<VecDeque<UnwrittenChange>>,
    /// Of those that the store did not write and that are to be planned again.
    places: Mutex<Vec<Weak<()>>>,
    /// Whether the first of them is submitted to the store.
    pub(super) is_trying: AtomicBool,
    /// That they are still not written.
    error: OnceAMinute,
}

/// A request for a change that may be a restriction, from its beginning to its response.
#[derive(Default)]
pub(super) struct RestrictionUnderWay(Arc<()>);

impl RestrictionUnderWay {
    /// Its place before other changes, as long as the request lasts.
    pub(super) fn place(&self) -> Weak<()> {
        Arc::downgrade(&self.0)
    }
}

/// One unwritten restriction.
#[derive(Clone)]
pub(super) struct UnwrittenChange {
    pub(super) verb: SmolStr,
    pub(super) change: Change,
    pub(super) asker: ChangeOrigin,
    pub(super) at: SystemTime,
    pub(super) id: SmolStr,
}

impl UnwrittenChange {
    pub(super) fn new(plan: PlannedChange, asker: ChangeOrigin, at: SystemTime) -> Self {
        Self {
            verb: SmolStr::new_static(plan.verb),
            change: plan.change,
            asker,
            at,
            id: plan.id,
        }
    }

    fn is_of(&self, entry: &ChangeRecord) -> bool {
        let is_same = self.verb == entry.verb && self.at == entry.at;
        is_same && self.asker == entry.asker && self.change == entry.change
    }
}

impl UnwrittenChanges {
    pub(super) fn lock(&self) -> MutexGuard<'_, VecDeque<UnwrittenChange>> {
        // Nothing panics while it is locked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Tells, once a minute, that the first of them could not be written again.
    pub(super) fn tell(&self, error: &StoreError) {
        if self.error.is_due() {
            let waiting = self.lock().len();
            tracing::error!(%error, waiting, "what was taken away is still not written");
        }
    }

    /// Notes that one was written.
    pub(super) fn tell_written(&self) {
        self.error.reset();
    }

    /// Whether other changes have to wait: some are not written, or are to be planned again. Asked under the lock of the
    /// head.
    pub(super) fn come_first(&self) -> bool {
        let mut places = self.places();
        places.retain(|place| place.strong_count() > 0);
        !places.is_empty() || !self.is_empty()
    }

    /// Keeps places for restrictions that are to be planned again.
    pub(super) fn keep_places(&self, places: impl IntoIterator<Item = Weak<()>>) {
        self.places().extend(places);
    }

    fn places(&self) -> MutexGuard<'_, Vec<Weak<()>>> {
        // Nothing panics while it is locked.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is written waits no more.
    pub(super) fn take_written(&self, entry: &ChangeRecord) {
        let mut waiting = self.lock();
        if waiting.front().is_some_and(|first| first.is_of(entry)) {
            waiting.pop_front();
        }
    }

    /// Whether the change of a request with this key is among them.
    pub(super) fn has(&self, known: &StoredKey) -> bool {
        let is_it = |asker: &ChangeOrigin| {
            let key = asker.key.as_ref();
            asker.caller == known.caller && key.is_some_and(|key| key.text == known.text)
        };
        self.lock().iter().any(|waiting| is_it(&waiting.asker))
    }

    /// Applies the restrictions to a generation that was planned before the last of them. It has no later state of what they
    /// change.
    pub(super) fn applied_to(&self, generation: &Arc<Generation>) -> Arc<Generation> {
        let waiting = self.lock();
        let revision = generation.revision();
        waiting.iter().fold(Arc::clone(generation), |it, waiting| {
            match it.with_change(&waiting.change, revision) {
                Ok(next) => Arc::new(next),
                Err(error) => {
                    tracing::error!(%error, verb = %waiting.verb, "what was taken away does not fit what came after");
                    it
                }
            }
        })
    }
}
