//! Bundles that go into service: from a directory or an archive of this server alone, or published for all.

use std::sync::Arc;
use std::time::SystemTime;

use smol_str::SmolStr;

use crate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord};
use crate::domain::authority::published::PublishedBundle;
use crate::domain::ids::BundleId;
use crate::service::generation::{Generation, LoadedBundle, StoredEntityError};
use crate::service::ledger::head::Head;
use crate::service::ledger::unwritten::IfUnwritten;
use crate::service::ledger::{Ledger, WriteError};
use crate::service::published::{PreparedBundle, PublishedBundles};
use crate::store::backend::{PublishedRevision, StoreError};

/// Why there is no generation after a change.
pub(super) enum ChangeError {
    /// A stored entity does not fit.
    StoredEntity(StoredEntityError),
    /// The published bundle of this id is not compiled.
    NotPrepared(BundleId),
}

impl<E> From<ChangeError> for WriteError<E> {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::StoredEntity(error) => error.into(),
            ChangeError::NotPrepared(id) => StoreError::BundleNotPrepared(id).into(),
        }
    }
}

impl Ledger {
    /// The archives that were compiled to be published.
    pub fn bundles(&self) -> &Arc<PublishedBundles> {
        &self.bundles
    }

    /// The published bundle in service; before the first bundle is, the one that the store says was last.
    pub fn published(&self) -> Option<Arc<PublishedBundle>> {
        match self.live() {
            Some(live) => live.published.clone(),
            None => self.head().restored_bundle().cloned(),
        }
    }

    /// The archive of this id.
    ///
    /// # Errors
    ///
    /// Any error of reading it, or [`StoreError::Damaged`] if it is not stored.
    pub async fn archive(&self, id: &BundleId) -> Result<Arc<[u8]>, StoreError> {
        let (done, read) = tokio::sync::oneshot::channel();
        let asked = id.clone();
        self.writer.access(move |store| {
            // The receiver is gone if nobody waits any more.
            let _ = done.send(store.and_then(|store| store.bundle(&asked)));
        })?;
        let found = read.await.map_err(|_| StoreError::Closed)??;
        let missing = || StoreError::Damaged(format!("the archive of the bundle `{id}` is gone"));
        found.map(Arc::from).ok_or_else(missing)
    }

    /// The last revisions of published bundles, the newest first.
    ///
    /// # Errors
    ///
    /// Any error of reading them.
    pub async fn published_revisions(&self) -> Result<Vec<PublishedRevision>, StoreError> {
        let (done, read) = tokio::sync::oneshot::channel();
        self.writer.access(move |store| {
            // The receiver is gone if nobody waits any more.
            let _ = done.send(store.and_then(|store| store.published()));
        })?;
        read.await.map_err(|_| StoreError::Closed)?
    }

    /// The bundle that went into service at this revision, as its change says: that is kept longer than its archive. `None` if
    /// it is not kept either, or is another change.
    ///
    /// # Errors
    ///
    /// Any error of reading it.
    pub async fn published_at(
        &self,
        revision: u64,
    ) -> Result<Option<Arc<PublishedBundle>>, StoreError> {
        let (done, read) = tokio::sync::oneshot::channel();
        let before = revision.saturating_sub(1);
        self.writer.access(move |store| {
            // The receiver is gone if nobody waits any more.
            let _ = done.send(store.and_then(|store| store.entries_after(before, 1)));
        })?;
        let entries = read.await.map_err(|_| StoreError::Closed)??;
        let found = entries.into_iter().find(|it| it.revision == revision);
        Ok(found.and_then(|it| match it.change {
            Change::Published(bundle) => Some(bundle),
            _ => None,
        }))
    }

    /// The generation after a change, a published bundle included.
    pub(super) fn after(
        &self,
        generation: &Generation,
        change: &Change,
        revision: u64,
    ) -> Result<Generation, ChangeError> {
        let Change::Published(bundle) = change else {
            let next = generation.with_change(change, revision);
            return next.map_err(ChangeError::StoredEntity);
        };
        let prepared = self.bundles.ready(&bundle.id);
        let prepared = prepared.ok_or_else(|| ChangeError::NotPrepared(bundle.id.clone()))?;
        let next = generation.with_bundle(prepared.load.clone(), revision);
        let next = next.map_err(ChangeError::StoredEntity)?;
        next.warn_of_shadowed();
        Ok(Generation {
            published: Some(Arc::clone(bundle)),
            ..next
        })
    }

    /// Puts a bundle into service and returns its revision. The bundle that was in service last according to the store
    /// keeps its revision. Waits for the store; never call it on a request.
    ///
    /// # Errors
    ///
    /// [`WriteError::StoredEntity`] if a stored entity does not fit the bundle, [`WriteError::Store`] if it is not
    /// written.
    pub fn publish(
        self: &Arc<Self>,
        load: LoadedBundle,
        now: SystemTime,
    ) -> Result<u64, WriteError<()>> {
        let digest = SmolStr::new(&load.policy_set_digest);
        let (done, written) = std::sync::mpsc::sync_channel(1);
        let revision = {
            let mut head = self.head();
            let is_known = match (&head.generation, &head.loaded) {
                // Another server has put the same into service.
                (Some(_), _) => {
                    let stored = head.stored_digest.as_ref();
                    self.fleet.is_some() && stored.is_some_and(|(_, stored)| *stored == digest)
                }
                (None, loaded) => loaded
                    .as_ref()
                    .is_some_and(|loaded| loaded.digest.as_ref() == Some(&digest)),
            };
            let live = self.live().map(|live| live.revision());
            if is_known && live.is_some_and(|live| live != head.revision) {
                // What is under way is not in service yet: once it is.
                let (last, found) = (head.revision, head.revision);
                return Err(StoreError::OutOfOrder { last, found }.into());
            }
            let revision = head.revision + u64::from(!is_known);
            let next = Arc::new(head.with_bundle(load, revision)?);
            next.warn_of_shadowed();
            if is_known {
                self.enter(&mut head, &next);
                return Ok(revision);
            }
            let entry = ChangeRecord {
                revision,
                at: now,
                verb: SmolStr::new_static("LoadDirectory"),
                change: Change::Bundle {
                    digest: digest.clone(),
                },
                asker: ChangeOrigin {
                    caller: SmolStr::new_static("callgate"),
                    principal: None,
                    key: None,
                },
            };
            let attempt = head.attempt;
            let submitted = entry.clone();
            let tell = move |result| {
                // The receiver is gone only if the publisher is.
                let _ = done.send(result);
            };
            self.submit(
                &next,
                entry,
                digest.clone(),
                attempt,
                IfUnwritten::Undo,
                tell,
            )?;
            self.note_submitted(&mut head, submitted);
            head.advance(&next);
            revision
        };
        written.recv().map_err(|_| StoreError::Closed)??;
        // Another server may have put a later one into service meanwhile.
        self.head().note_digest(revision, digest);
        Ok(revision)
    }

    /// Puts the published bundle into service that the store says was last, at its start. Returns its revision.
    ///
    /// # Errors
    ///
    /// [`StoreError::BundleNotPrepared`] if that is another one by now, and as [`Ledger::publish`].
    pub fn restore_published(
        self: &Arc<Self>,
        prepared: &PreparedBundle,
    ) -> Result<u64, WriteError<()>> {
        let mut head = self.head();
        let Some(bundle) = head.restored_bundle().cloned() else {
            return Err(WriteError::NotReady);
        };
        if bundle.id != prepared.published.id {
            return Err(StoreError::BundleNotPrepared(bundle.id.clone()).into());
        }
        let revision = head.revision;
        let next = head.with_bundle(prepared.load.clone(), revision)?;
        next.warn_of_shadowed();
        let next = Arc::new(Generation {
            published: Some(bundle),
            ..next
        });
        self.enter(&mut head, &next);
        Ok(revision)
    }

    /// Puts on record which policies go into service, unless they are in service. Before they are: a decision by them follows it.
    pub(super) fn record_policies(&self, next: &Generation) {
        let Some(audit) = self.recorder.audit() else {
            return;
        };
        let (live, digest) = (self.live(), &*next.policy_set_digest);
        let before = live.as_ref().map(|live| &*live.policy_set_digest);
        if before != Some(digest) {
            let source = match next.published {
                Some(_) => "published",
                None => "local",
            };
            audit.policies(digest, before, source, next.revision());
        }
    }

    /// Puts a generation into service whose revision is written already.
    fn enter(&self, head: &mut Head, next: &Arc<Generation>) {
        head.advance(next);
        self.publish_generation(next);
    }
}

#[cfg(test)]
#[path = "publishing_tests.rs"]
mod tests;
