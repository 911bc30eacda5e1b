//! Changes that other servers make on the same store.

use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use smol_str::SmolStr;

use crate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord};
use crate::service::generation::{Generation, StoredEntityError};
use crate::service::idempotency::IdempotencyKeys;
use crate::service::ledger::head::{Head, RestoredState};
use crate::service::ledger::publishing::ChangeError;
use crate::service::ledger::unwritten::RestrictionUnderWay;
use crate::service::ledger::{CommittedChange, Ledger, PlannedChange, WriteError};
use crate::service::turned_back;
use crate::store::backend::{StoreError, StoredKey, StoredState};
use crate::store::turned_back::TurnedBack;

/// How long a write waits for what another server has written.
const CATCH_UP: Duration = Duration::from_secs(2);

/// The most plans of one change beside the writes of other servers.
const MAX_PLANS: usize = 100;

/// Writes that take nothing away from anybody: they are acknowledged before every server knows them.
const GIVING: [&str; 7] = [
    "GrantDelegation",
    "OpenTask",
    "RequestApproval",
    "ApproveCall",
    "ResumeEntity",
    "RepairClock",
    "LoadDirectory",
];

impl Ledger {
    /// Plans and writes a change in its turn, again as long as another server is faster, and a restriction that the store
    /// of one server does not write. A restriction goes ahead of all others, and is made without its key where there is no room
    /// for another: made twice, it takes away the same.
    pub(super) async fn write_in<E>(
        self: &Arc<Self>,
        is_restriction: bool,
        mut asked: ChangeOrigin,
        now: SystemTime,
        mut plan: impl FnMut(&Generation) -> Result<PlannedChange, E>,
    ) -> Result<CommittedChange, WriteError<E>> {
        // Of a request that was carried out before nobody knows here what it was.
        let verb = OnceLock::new();
        let mut planned = |generation: &Generation| {
            let planned = plan(generation);
            if let Ok(change) = &planned {
                // It is the same each time.
                let _ = verb.set(change.verb);
            }
            planned
        };
        let under_way = RestrictionUnderWay::default();
        let turn = match is_restriction {
            true => &self.turns.restrictions,
            false => &self.turns.ordinary,
        };
        let mut is_newest = self.fleet.is_none();
        for _ in 0..MAX_PLANS {
            let held = turn.lock().await;
            let begun = self.begin(asked.clone(), now, &under_way, &mut planned);
            drop(held);
            if begun.is_err() && !std::mem::replace(&mut is_newest, true) {
                // Nothing is refused for what another server has changed by now.
                self.catch_up().await?;
                continue;
            }
            if is_restriction && matches!(begun, Err(WriteError::TooManyKeys(_))) {
                asked.key = None;
                continue;
            }
            match self.finish(begun?).await? {
                None => self.catch_up().await?,
                Some(change) => return self.settled(change, verb.get().copied()).await,
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Applies changes of the store in their order, and returns the revision in service after that. What this server has
    /// written itself and put into service is passed over.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if a revision is missing, or a change does not fit this server's bundle, and
    /// [`StoreError::BundleNotPrepared`] if a published bundle is not compiled: then nothing later may be decided from here.
    pub(in crate::service) fn apply_remote(
        &self,
        entries: Vec<(ChangeRecord, SmolStr)>,
    ) -> Result<u64, StoreError> {
        for (entry, id) in entries {
            let mut head = self.head();
            let _in_service = self
                .in_service
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let Some(live) = self.live() else { break };
            if entry.revision <= live.revision() {
                continue;
            }
            if entry.revision != live.revision() + 1 {
                let found = entry.revision;
                let last = live.revision();
                return Err(StoreError::OutOfOrder { last, found });
            }
            let next = self.after(&live, &entry.change, entry.revision);
            let next = next.map_err(|error| match error {
                ChangeError::NotPrepared(id) => StoreError::BundleNotPrepared(id),
                ChangeError::StoredEntity(error) => {
                    let revision = entry.revision;
                    StoreError::Damaged(format!("revision {revision} cannot be applied: {error}"))
                }
            })?;
            let next = Arc::new(next);
            let before = Some(&live.authority);
            self.facts.apply_change(&entry.change, entry.at, before);
            self.publish_generation(&next);
            self.follow(&mut head, &next, &entry, &id);
            // There may be no watcher.
            let _ = self.changes.send(Arc::new(entry));
        }
        Ok(self.live().map_or(0, |live| live.revision()))
    }

    /// Brings the head after a change that has come from the store.
    fn follow(&self, head: &mut Head, next: &Arc<Generation>, entry: &ChangeRecord, id: &SmolStr) {
        let is_submitted = |it: &ChangeRecord| {
            let is_same = it.change == entry.change && it.asker == entry.asker;
            it.revision == entry.revision && is_same && it.verb == entry.verb
        };
        while head
            .submitted
            .front()
            .is_some_and(|it| it.revision < entry.revision)
        {
            head.submitted.pop_front();
        }
        match head.submitted.front() {
            // What is planned on top of it stays.
            Some(first) if is_submitted(first) => {
                head.submitted.pop_front();
            }
            Some(_) => {
                // Another server has got the revision that this was planned for, which is in service by now.
                head.keys.roll_back(entry.revision.saturating_sub(1));
                self.plan_anew(head);
            }
            None => {}
        }
        if head.revision <= next.revision() {
            head.advance(next);
        }
        match &entry.change {
            Change::Bundle { digest } => head.note_digest(entry.revision, digest.clone()),
            Change::Published(bundle) => head.note_digest(entry.revision, bundle.digest.clone()),
            _ => {}
        }
        let known = StoredKey::of(&entry.asker, entry.revision, id.clone(), entry.at);
        if let Some(known) = known {
            head.keys.remember(known);
        }
    }

    /// Notes what is submitted, if other servers write as well.
    pub(super) fn note_submitted(&self, head: &mut Head, entry: ChangeRecord) {
        if self.fleet.is_none() {
            return;
        }
        // What is in service is submitted no more.
        let live = self.live().map_or(0, |live| live.revision());
        while head.submitted.front().is_some_and(|it| it.revision <= live) {
            head.submitted.pop_front();
        }
        head.submitted.push_back(entry);
    }

    /// Waits until what other servers have written so far is in service.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        match &self.fleet {
            Some(fleet) => fleet.refreshed(CATCH_UP).await,
            None => Ok(()),
        }
    }

    /// Acknowledges a change: what takes something away, once it is in force on every server.
    pub(super) async fn settled<E>(
        &self,
        change: CommittedChange,
        verb: Option<&'static str>,
    ) -> Result<CommittedChange, WriteError<E>> {
        let Some(fleet) = &self.fleet else {
            return Ok(change);
        };
        let is_giving = verb.is_some_and(|verb| GIVING.contains(&verb));
        if !is_giving {
            // Of a change that was made before, nobody has waited for all, perhaps.
            fleet
                .settled(change.generation.revision().max(change.revision), 0)
                .await?;
        }
        Ok(change)
    }

    /// Goes on above revisions that were given out here and that the store has no longer.
    ///
    /// # Errors
    ///
    /// Any error of writing.
    pub(in crate::service) async fn go_on_above(
        &self,
        turned: TurnedBack,
    ) -> Result<(), StoreError> {
        let (done, written) = tokio::sync::oneshot::channel();
        let given = turned.clone();
        self.writer.access(move |store| {
            // The receiver is gone only if the loop is.
            let _ = done.send(store.and_then(|store| store.go_on_above(&given)));
        })?;
        written.await.map_err(|_| StoreError::Closed)??;
        self.note_turned_back(&turned);
        Ok(())
    }

    /// Puts on record that the store has turned back.
    pub(in crate::service) fn note_turned_back(&self, turned: &TurnedBack) {
        turned_back::note(&self.recorder, turned);
    }

    /// Takes over what a store holds, before the first bundle is in service.
    pub(in crate::service) fn restore(&self, loaded: StoredState) {
        self.restore_head(&mut self.head(), loaded);
    }

    fn restore_head(&self, head: &mut Head, mut loaded: StoredState) {
        head.revision = loaded.revision;
        let digest = loaded.bundle_digest.clone();
        head.stored_digest = digest.map(|it| (loaded.revision, it));
        head.keys = IdempotencyKeys::new(std::mem::take(&mut loaded.keys), self.room);
        head.loaded = Some(RestoredState::take_from(&mut loaded));
    }

    /// Takes over what a store holds in the place of everything in service: the store has turned back.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if a stored entity does not fit the bundle in service, and
    /// [`StoreError::BundleNotPrepared`] if the store holds another published bundle, which is not compiled.
    pub(in crate::service) fn reload(&self, loaded: StoredState) -> Result<(), StoreError> {
        let revision = loaded.revision;
        let published = loaded.published.clone();
        let prepared = match &published {
            Some(it) if self.published().is_none_or(|live| live.id != it.id) => {
                let missing = || StoreError::BundleNotPrepared(it.id.clone());
                Some(self.bundles.ready(&it.id).ok_or_else(missing)?)
            }
            _ => None,
        };
        let (authority, entities) = (loaded.authority.clone(), loaded.entities.clone());
        // Under one lock: nothing is planned on what was in service for a revision that follows what is loaded.
        let mut head = self.head();
        let _in_service = self
            .in_service
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let entities = entities.into_iter().collect();
        let next = self.live().map(|live| match prepared {
            Some(it) => Generation::new(it.load.clone(), authority, entities, revision),
            None => live.with_store(authority, entities, revision),
        });
        // If it does not fit, all is as it was: nothing can be written that was planned on it.
        let misfit = |error: StoredEntityError| StoreError::Damaged(error.to_string());
        let next = next.transpose().map_err(misfit)?;
        self.restore_head(&mut head, loaded);
        if let Some(next) = next {
            let next = Generation { published, ..next };
            self.record_policies(&next);
            self.revisions.send_modify(|newest| {
                self.live.store(Some(Arc::new(next)));
                *newest = revision;
            });
        }
        self.plan_anew(&mut head);
        Ok(())
    }
}
