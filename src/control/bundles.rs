//! Published bundles: compiled by every server, then in service at one revision on all of them.

use std::sync::Arc;
use std::time::Duration;

use crate::control::error::ControlError;
use crate::control::requester::WriteRequester;
use crate::control::write::{Control, Plan, WriteReceipt, check_author};
use crate::control::write_context::{GovernContext, WriteContext};
use crate::domain::authority::change::Change;
use crate::domain::authority::published::PublishedBundle;
use crate::domain::ids::BundleId;
use crate::service::ledger::PlannedChange;
use crate::service::off_thread::off_thread;
use crate::service::published::{Preparation, PreparedBundle};
use crate::store::backend::{PublishedRevision, StoreError, StoreWrite};

/// The Cedar action of both verbs.
const ACTION: &str = "publish_bundle";
/// How long one request waits for what is under way, within any deadline that may be configured but the shortest; the client
/// asks again.
const WAIT: Duration = Duration::from_millis(600);

/// The revisions of published bundles.
#[derive(Debug, Clone)]
pub struct PublishedList {
    /// The newest first.
    pub revisions: Vec<PublishedRevision>,
    /// The id of the one in service; `None` if that was not published.
    pub live: Option<BundleId>,
    /// The revision of the service.
    pub revision: u64,
}

impl Control {
    /// Publishes a bundle. Returns what is in service then.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] for an archive that cannot be used, [`ControlError::Denied`] if Cedar does not allow it,
    /// [`ControlError::Precondition`] if it is no newer than the last one, [`ControlError::UnderWay`] while it is being
    /// compiled, and the errors of a write.
    pub async fn publish_bundle(
        &self,
        author: &WriteRequester,
        archive: Arc<[u8]>,
    ) -> Result<WriteReceipt<Arc<PublishedBundle>>, ControlError> {
        const VERB: &str = "PublishBundle";
        if let Some(repeated) = self.repeated(VERB, author).await? {
            return Ok(repeated);
        }
        self.check_publisher(VERB, author).await?;
        let bundles = Arc::clone(self.service.ledger().bundles());
        let (preparer, sent) = (bundles.preparer().cloned(), Arc::clone(&archive));
        let Some(preparer) = preparer else {
            return Err(not_published_here());
        };
        let looked = off_thread(tokio::task::spawn_blocking(move || preparer.id(&sent)));
        let id = looked.await.map_err(|_| ControlError::Internal)?;
        let id = id.map_err(|faults| ControlError::invalid("archive", faults))?;
        let prepared = self.prepare(&id, archive).await?;
        let plan = move |context: &WriteContext<'_>| {
            context.govern(ACTION, &context.gateway(), GovernContext::default())?;
            let mut next = prepared.published.clone();
            if let Some(last) = &context.generation.published {
                if last.id == next.id {
                    let message = "this bundle is in service already";
                    return Err(ControlError::Precondition(message.to_owned()));
                }
                let (version, newest) = (next.version, last.newest_version);
                if version <= newest {
                    let message = format!(
                        "its version is {version}, and version {newest} was published: an older bundle is put back with \
                         `callgate rollback`"
                    );
                    return Err(ControlError::Precondition(message));
                }
                next.newest_version = version;
            }
            Ok(planned(VERB, next))
        };
        self.put_into_service(VERB, author, plan).await
    }

    /// Puts the bundle back into service that was published at this revision. Returns it.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`] if none was, or it is no longer kept, and otherwise as [`Control::publish_bundle`].
    pub async fn rollback_bundle(
        &self,
        author: &WriteRequester,
        revision: u64,
    ) -> Result<WriteReceipt<Arc<PublishedBundle>>, ControlError> {
        const VERB: &str = "RollbackBundle";
        if let Some(repeated) = self.repeated(VERB, author).await? {
            return Ok(repeated);
        }
        self.check_publisher(VERB, author).await?;
        let ledger = self.service.ledger();
        let known = ledger.published_revisions().await.map_err(unreadable)?;
        let found = known.into_iter().find(|it| it.revision == revision);
        let found = found.ok_or_else(|| {
            let message = format!("no published bundle of revision {revision} is kept");
            ControlError::NotFound(message)
        })?;
        let id = found.bundle.id;
        let archive = ledger.archive(&id).await.map_err(unreadable)?;
        let prepared = self.prepare(&id, archive).await?;
        let plan = move |context: &WriteContext<'_>| {
            context.govern(ACTION, &context.gateway(), GovernContext::default())?;
            let last = context.generation.published.as_ref();
            if last.is_some_and(|last| last.id == id) {
                let message = "this bundle is in service already";
                return Err(ControlError::Precondition(message.to_owned()));
            }
            let mut next = prepared.published.clone();
            next.back_to = Some(revision);
            let newest = last.map_or(0, |last| last.newest_version);
            next.newest_version = newest.max(next.version);
            Ok(planned(VERB, next))
        };
        self.put_into_service(VERB, author, plan).await
    }

    /// The revisions at which published bundles went into service, as far as they are kept.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotReady`] before the first load, [`ControlError::Unavailable`] if they cannot be read.
    pub async fn list_bundles(&self) -> Result<PublishedList, ControlError> {
        let live = self.service.live().ok_or(ControlError::NotReady)?;
        let revisions = self.service.ledger().published_revisions().await;
        Ok(PublishedList {
            revisions: revisions.map_err(unreadable)?,
            live: live.published.as_ref().map(|it| it.id.clone()),
            revision: live.revision(),
        })
    }

    /// Answers a request whose idempotency key was used, as it was answered then: the archive need not be kept any more, nor
    /// compile on every replica. `None` for a new one.
    async fn repeated(
        &self,
        verb: &'static str,
        author: &WriteRequester,
    ) -> Result<Option<WriteReceipt<Arc<PublishedBundle>>>, ControlError> {
        if !self.service.ledger().knows_key(&author.asked()) {
            return Ok(None);
        }
        // Planned only if what used the key was undone meanwhile.
        let plan = |_: &WriteContext<'_>| {
            Err(ControlError::UnderWay(
                "what was asked for under this key before",
            ))
        };
        self.put_into_service(verb, author, plan).await.map(Some)
    }

    /// Asks Cedar before anything is compiled. A deny goes on record as that of any write.
    async fn check_publisher(
        &self,
        verb: &'static str,
        author: &WriteRequester,
    ) -> Result<(), ControlError> {
        let asked = |context: &WriteContext<'_>| {
            context.govern(ACTION, &context.gateway(), GovernContext::default())
        };
        let is_denied = check_author(author).is_err()
            || self.planning(author, |context| asked(context).is_err())?;
        if is_denied {
            // It is decided again, for the record.
            let plan = move |context: &WriteContext<'_>| {
                asked(context)?;
                let message = "who may publish has just changed: ask again";
                Err(ControlError::Precondition(message.to_owned()))
            };
            self.write(verb, author, plan).await?;
        }
        Ok(())
    }

    /// Has an archive compiled by this server and all others, and stored.
    async fn prepare(
        &self,
        id: &BundleId,
        archive: Arc<[u8]>,
    ) -> Result<Arc<PreparedBundle>, ControlError> {
        let ledger = self.service.ledger();
        let bundles = ledger.bundles();
        if bundles.preparer().is_none() {
            return Err(not_published_here());
        }
        bundles.begin(id, Arc::clone(&archive));
        let prepared = match off_thread(bundles.wait(id, WAIT)).await {
            Preparation::Ready(prepared) => prepared,
            Preparation::Faulty(faults) => {
                // The same archive may be compiled under another configuration.
                bundles.forget_fault(id);
                return Err(ControlError::invalid("archive", &*faults));
            }
            Preparation::UnderWay | Preparation::Unknown => {
                return Err(ControlError::UnderWay("the bundle is being compiled"));
            }
        };
        self.store_archive(id, archive).await?;
        let Some(fleet) = self.service.fleet() else {
            return Ok(prepared);
        };
        match off_thread(fleet.state().staged(id, WAIT)).await {
            None => Err(ControlError::UnderWay(
                "the other replicas are compiling the bundle",
            )),
            Some(cannot) if !cannot.is_empty() => Err(ControlError::Precondition(format!(
                "these replicas have no `[bundle] published`, or cannot compile the bundle; their logs say why: {}",
                cannot.join(", ")
            ))),
            Some(_) => Ok(prepared),
        }
    }

    async fn store_archive(&self, id: &BundleId, archive: Arc<[u8]>) -> Result<(), ControlError> {
        let (done, stored) = tokio::sync::oneshot::channel();
        let write = StoreWrite::Bundle {
            id: id.clone(),
            archive,
            at: self.service.now(),
        };
        let tell = move |result| {
            // The receiver is gone if the request is.
            let _ = done.send(result);
        };
        let ledger = self.service.ledger();
        let submitted = ledger.writer().submit(vec![write], tell);
        submitted.map_err(unreadable)?;
        let stored = off_thread(stored).await.unwrap_or(Err(StoreError::Closed));
        stored.map_err(unreadable)
    }

    async fn put_into_service(
        &self,
        verb: &'static str,
        author: &WriteRequester,
        plan: impl Plan + 'static,
    ) -> Result<WriteReceipt<Arc<PublishedBundle>>, ControlError> {
        let written = self.write(verb, author, plan).await?;
        let revision = written.revision;
        let bundle = self.service.ledger().published_at(revision).await;
        let bundle = bundle.map_err(unreadable)?.ok_or_else(|| {
            let message =
                format!("it was done at revision {revision}, of which nothing is kept any more");
            ControlError::NotFound(message)
        })?;
        if !written.is_repeated {
            tracing::info!(revision, verb, "a published bundle is in service");
        }
        Ok(WriteReceipt {
            value: bundle,
            revision,
            is_durable: written.is_durable,
            is_recorded: written.is_recorded,
        })
    }
}

fn planned(verb: &'static str, bundle: PublishedBundle) -> PlannedChange {
    PlannedChange {
        verb,
        id: bundle.id.text().clone(),
        change: Change::Published(Arc::new(bundle)),
    }
}

fn not_published_here() -> ControlError {
    let message = "bundles are not published to this server: set `[bundle] published = true`";
    ControlError::Precondition(message.to_owned())
}

fn unreadable(error: StoreError) -> ControlError {
    tracing::error!(%error, "published bundles cannot be read or written");
    ControlError::Unavailable
}
