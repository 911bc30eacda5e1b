//! Restrictions while the store does not write: they take force at once and are written as soon as possible.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::domain::authority::change::ChangeRecord;
use crate::service::generation::Generation;
use crate::service::ledger::Ledger;
use crate::service::ledger::head::Head;
use crate::service::ledger::unwritten::{MAX_UNWRITTEN, UnwrittenChange};
use crate::store::backend::{StoreError, StoredKey};

impl Ledger {
    /// The number of restrictions in service that are not written.
    pub fn unwritten(&self) -> usize {
        self.unwritten.lock().len()
    }

    /// Puts a restriction into service at once, to be written later.
    pub(super) fn apply_restriction(
        &self,
        head: &mut Head,
        waiting: UnwrittenChange,
    ) -> Result<Arc<Generation>, StoreError> {
        if self.unwritten() >= MAX_UNWRITTEN {
            return Err(StoreError::Busy);
        }
        let (change, at) = (waiting.change.clone(), waiting.at);
        let (verb, id) = (waiting.verb.clone(), waiting.id.clone());
        let known = StoredKey::of(&waiting.asker, 0, id.clone(), at);
        let newest = head.generation.clone().ok_or(StoreError::Closed)?;
        let misfit = |error| StoreError::Write(format!("{error}"));
        let next = newest.with_change(&change, head.revision).map_err(misfit)?;
        let mut taken = Err(StoreError::Closed);
        // No other change goes into service meanwhile.
        self.revisions.send_modify(|_| {
            let Some(live) = self.live() else { return };
            taken = match live.with_change(&change, live.revision()) {
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
        // A repeated request is the same change, before it is written as well as after.
        if let Some(known) = known {
            let revision = live.revision();
            head.keys.remember(StoredKey { revision, ..known });
        }
        let is_same = newest.revision() == live.revision();
        head.generation = Some(match is_same {
            true => Arc::clone(&live),
            false => Arc::new(next),
        });
        self.facts.apply_change(&change, at);
        tracing::error!(%verb, %id, "in force, but NOT DURABLE: it is written as soon as the store writes again");
        Ok(live)
    }

    /// Tries to write the first restriction that waits. Called every second.
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
        let next = generation.with_change(&first.change, revision);
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
        head.advance(&next);
        Ok(())
    }
}
