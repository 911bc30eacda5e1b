//! Restrictions that are in service and not written.
//!
//! A full disk must not keep anybody from revoking. If a restriction cannot be written, it takes force in memory, the
//! response says that it is not durable, and it is written in order before anything else. No other change is made
//! meanwhile.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use smol_str::SmolStr;

use crate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord};
use crate::service::generation::Generation;
use crate::service::ledger::change::PlannedChange;
use crate::store::backend::StoredKey;

/// The most unwritten restrictions; one more is rejected.
pub(super) const MAX_UNWRITTEN: usize = 10_000;
/// The error of other changes meanwhile.
pub(super) const RESTRICTIONS_FIRST: &str = "what was taken away waits to be written first";

/// The result of writing a change.
pub(super) enum WriteResult {
    /// It is written.
    Written,
    /// It is in service and waits to be written.
    InMemory(Arc<Generation>),
}

/// Restrictions that are in service and not written, in order.
#[derive(Default)]
pub(super) struct UnwrittenChanges {
    waiting: Mutex<VecDeque<UnwrittenChange>>,
    /// Whether the first of them is submitted to the store.
    pub(super) is_trying: AtomicBool,
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

    /// A restriction whose write failed. It gets a later revision.
    pub(super) fn from_record(entry: ChangeRecord, id: SmolStr) -> Self {
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
    pub(super) fn lock(&self) -> MutexGuard<'_, VecDeque<UnwrittenChange>> {
        // Nothing panics while it is locked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether the change of a request with this key is among them.
    pub(super) fn has(&self, known: &StoredKey) -> bool {
        let is_it = |asker: &ChangeOrigin| {
            let key = asker.key.as_ref();
            asker.caller == known.caller && key.is_some_and(|key| key.text == known.text)
        };
        self.lock().iter().any(|waiting| is_it(&waiting.asker))
    }

    /// Applies the restrictions to a generation that was planned before them.
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
