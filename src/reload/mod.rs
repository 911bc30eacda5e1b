//! Reloads the bundle: notices that its directory changed, compiles it in the background, and swaps it in. The last
//! valid generation stays in service until then.
//!
//! Start at [`Reloader::run`]. [`Reloader::status`] reports to health checks and operators. [`loading`] is one load,
//! within a deadline; [`source`] is an archive, which is polled rather than watched; [`trial`] compiles in another process first, and `blame` finds the file that it does not survive;
//! [`warnings`] logs what is most likely a mistake;
//! `watching` waits for events of the file system, and `retry` says when to look without one.
//!
//! Invariant: it compiles nothing itself and never blocks a request: the loader compiles on a thread of its own, and
//! the service swaps. A bundle on disk that is not in service is loaded again.

mod blame;
mod config_presence;
pub mod loading;
pub mod published;
mod report;
mod retry;
pub mod source;
pub mod trial;
pub mod warnings;
mod watching;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::bundle::Bundle;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::listing::DirectoryListing;
use crate::bundle::files::manifest::FileDigests;
use crate::config::Config;
use crate::reload::loading::{KnownDigests, LoadResult, Loader, broken, broken_off};
use crate::reload::retry::RetrySchedule;
use crate::reload::watching::{quiet, start_watching};
use crate::service::Service;
use crate::service::bundle_status::{BundleFailure, BundleStatus, FileChanges};
use crate::service::generation::LoadedBundle;
use crate::supervision::caught_task;
use crate::telemetry::record::metrics::ReloadResult;
use crate::telemetry::record::recorder::Recorder;

/// How long an attempt waits for the files to stop changing. While they change, attempts follow one another.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause after a panic between two attempts.
const REST: Duration = Duration::from_secs(1);

/// The status of loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadStatus {
    /// When a valid bundle was last loaded or found unchanged.
    pub last_success: SystemTime,
    /// The last error; `None` if the bundle is valid.
    pub last_fault: Option<Arc<str>>,
    /// The number of failed attempts in a row.
    pub consecutive_failures: u64,
    /// The digest of the generation in service.
    pub digest: Arc<str>,
    /// Its revision.
    pub revision: u64,
    /// Whether changes are noticed without SIGHUP.
    pub is_watching: bool,
    /// The last failure in short, with its time.
    pub fault: Option<BundleFailure>,
    /// The file changes of the last load that went into service.
    pub last: FileChanges,
}

/// The outcome of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// A new generation is in service under this revision.
    Published(u64),
    /// The bundle is in service already.
    Unchanged,
    /// The bundle is invalid; what was in service stays.
    Faulty,
    /// The files kept changing; what was in service stays, and another attempt follows.
    Changing,
}

/// Called with every configuration that goes into service.
type OnPublish = Box<dyn Fn(&Config) + Send + Sync>;

/// Loads a bundle whenever it changes.
pub struct Reloader {
    loader: Loader,
    service: Arc<Service>,
    recorder: Recorder,
    on_publish: OnPublish,
    status: watch::Sender<ReloadStatus>,
    /// The digest of the bundle that failed last, so that a failure is logged once.
    failed: Option<Arc<str>>,
    /// The files in service, if known.
    files: Option<FileDigests>,
    /// The directory listing at the last look.
    listing: Option<DirectoryListing>,
    /// When to look without an event.
    again: RetrySchedule,
    /// Whether it was logged that the files keep changing.
    is_changing_logged: bool,
    /// Whether it was logged that the directory is not watched.
    is_unwatched_logged: bool,
    /// The configuration that was taken last while a published bundle is in service.
    configured: Option<Config>,
}

/// What triggers an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReloadTrigger {
    /// An event of the file system.
    Change,
    /// SIGHUP, or a call.
    Signal,
    /// A timer.
    Time,
}

impl Reloader {
    /// A reloader for the generation in service: the directory of its bundle, its digest and its revision.
    pub fn new(
        mut loader: Loader,
        service: Arc<Service>,
        recorder: Recorder,
        digest: Arc<str>,
        revision: u64,
    ) -> Self {
        let (status, _) = watch::channel(ReloadStatus {
            last_success: SystemTime::now(),
            last_fault: None,
            consecutive_failures: 0,
            digest,
            revision,
            is_watching: false,
            fault: None,
            last: FileChanges::default(),
        });
        loader.patience = PATIENCE;
        let mut again = RetrySchedule::default();
        again.poll = loader.archive.as_ref().map(|archive| archive.poll());
        let reloader = Self {
            loader,
            service,
            recorder,
            on_publish: Box::new(|_| {}),
            status,
            failed: None,
            files: None,
            listing: None,
            again,
            is_changing_logged: false,
            is_unwatched_logged: false,
            configured: None,
        };
        reloader.note();
        reloader
    }

    /// Sets the files in service, so that a load can report what it changed.
    pub fn with_files(mut self, files: FileDigests) -> Self {
        self.files = Some(files);
        self
    }

    /// Calls `f` with the configuration of every generation, right after it went into service.
    pub fn on_publish(mut self, f: impl Fn(&Config) + Send + Sync + 'static) -> Self {
        self.on_publish = Box::new(f);
        self
    }

    /// The status of loading, now and after each change.
    pub fn status(&self) -> watch::Receiver<ReloadStatus> {
        self.status.subscribe()
    }

    /// Loads on SIGHUP, and, if `debounce` is given, once the directory has changed and then been quiet
    /// that long. Returns when `stop` does. Whatever ends it before that is a fault of the bundle, and as visible as one.
    pub async fn run(mut self, debounce: Option<Duration>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            match caught_task("reloading", self.follow(debounce, stop.as_mut())).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    let what = self.loader.noun();
                    let why = format!("the {what} is not loaded again until a restart: {error}");
                    self.faulty(&broken(why), None);
                    return stop.await;
                }
                Err(panicked) => {
                    self.faulty(&broken_off(&panicked), None);
                    sleep(REST).await;
                }
            }
        }
    }

    async fn follow(
        &mut self,
        debounce: Option<Duration>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (changed, mut changes) = mpsc::channel(1);
        let mut watcher = debounce.and_then(|_| self.watch(changed.clone()));
        self.again.is_looking = debounce.is_some();
        let debounce = debounce.unwrap_or_default();
        if self.again.is_looking {
            // Catch changes between the first load and the start of the watch.
            self.attempt(ReloadTrigger::Change).await;
        }
        loop {
            let is_told = self.status.borrow().is_watching;
            let wait = self.again.wait(debounce, is_told);
            let cause = tokio::select! {
                () = &mut stop => return Ok(()),
                Some(()) = hangup.recv() => ReloadTrigger::Signal,
                Some(()) = changes.recv() => ReloadTrigger::Change,
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => ReloadTrigger::Time,
            };
            if cause == ReloadTrigger::Change {
                quiet(&mut changes, debounce).await;
                self.watch_again(watcher.as_mut());
            }
            if cause == ReloadTrigger::Time && self.again.is_looking && !is_told {
                watcher = self.watch(changed.clone());
            }
            if cause != ReloadTrigger::Time || self.is_load_due().await {
                self.attempt(cause).await;
            }
        }
    }

    /// Whether a load is due, or the listing has changed without an event.
    async fn is_load_due(&self) -> bool {
        let listing = self.loader.listing().await;
        self.again.is_due() || listing.is_none() || listing != self.listing
    }

    /// Makes one attempt, as if requested.
    pub async fn reload(&mut self) -> ReloadOutcome {
        self.attempt(ReloadTrigger::Signal).await
    }

    /// Makes one attempt. If it panics, that is its fault.
    async fn attempt(&mut self, cause: ReloadTrigger) -> ReloadOutcome {
        let made = caught_task("reloading", self.load(cause)).await;
        made.unwrap_or_else(|panicked| {
            self.again.try_again();
            self.faulty(&broken_off(&panicked), None)
        })
    }

    async fn load(&mut self, cause: ReloadTrigger) -> ReloadOutcome {
        let live = self.service.live();
        if live.is_some_and(|live| live.published.is_some()) {
            return self.configure().await;
        }
        let begun = Instant::now();
        // Listed before the files are read: changes in between show as another listing.
        self.listing = self.loader.listing().await;
        let known = KnownDigests {
            live: Arc::clone(&self.status.borrow().digest),
            failed: self
                .failed
                .clone()
                .filter(|_| cause != ReloadTrigger::Signal),
            files: self.files.clone(),
        };
        let found = self.loader.next(known).await;
        self.again.note(&found, begun);
        if let LoadResult::Changing(faults) = found {
            return self.changing(&faults);
        }
        self.is_changing_logged = false;
        match found {
            LoadResult::Changing(_) => ReloadOutcome::Changing,
            LoadResult::Unchanged => self.unchanged(),
            LoadResult::KnownFault { .. } => ReloadOutcome::Faulty,
            LoadResult::Loaded(bundle) => self.publish(*bundle).await,
            LoadResult::Faulty { faults, key, .. } => self.faulty(&faults, Some(key)),
            LoadResult::Failed(faults) => self.faulty(&faults, None),
        }
    }

    /// Reads the configuration alone: the bundle in service was published.
    async fn configure(&mut self) -> ReloadOutcome {
        self.loader.forget();
        let loader = self.loader.clone();
        let read = tokio::task::spawn_blocking(move || loader.settings()).await;
        let config = match read {
            Ok(Ok(config)) => config,
            Ok(Err(faults)) => return self.faulty(&faults, None),
            Err(error) => {
                let fault = BundleDiagnostic::for_file(&Arc::from("<config>"), error.to_string());
                return self.faulty(&BundleError::single(fault), None);
            }
        };
        if self.configured.as_ref() != Some(&config) {
            (self.on_publish)(&config);
            self.configured = Some(config);
        }
        self.again.done();
        let revision = self.service.live().map_or(0, |live| live.revision());
        self.set(|status| {
            status.succeed();
            status.revision = revision;
        });
        ReloadOutcome::Unchanged
    }

    fn unchanged(&mut self) -> ReloadOutcome {
        self.failed = None;
        self.recorder.reload(ReloadResult::Unchanged);
        let was_faulty = self.status.borrow().last_fault.is_some();
        if was_faulty {
            let what = self.loader.noun();
            tracing::info!("the {what} is again what is in service");
        }
        self.set(ReloadStatus::succeed);
        ReloadOutcome::Unchanged
    }

    #[expect(
        clippy::result_large_err,
        reason = "made once for a load that went wrong"
    )]
    async fn publish(&mut self, bundle: Bundle) -> ReloadOutcome {
        warnings::log_warnings(&bundle.warnings);
        let digest = Arc::clone(&bundle.digest);
        let load = LoadedBundle {
            snapshot: bundle.snapshot,
            claims: bundle.config.claims.clone(),
            policy_set_digest: Arc::clone(&digest),
        };
        // Publishing waits for the store, so it runs on a blocking thread.
        let service = Arc::clone(&self.service);
        let publishing = tokio::task::spawn_blocking(move || service.publish(load));
        let why = match timeout(self.loader.deadline, publishing).await {
            Ok(Ok(Ok(revision))) => {
                let before = self.files.replace(bundle.files);
                let after = self.files.as_ref();
                let last = before
                    .zip(after)
                    .map(|(before, after)| report::changes(&before, after));
                let policies = bundle.policies.len();
                let last = last.unwrap_or_default();
                return self.published(revision, digest, &bundle.config, policies, last);
            }
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store does not answer".to_owned(),
        };
        self.again.try_again();
        let fault = BundleDiagnostic::for_file(&Arc::from("<store>"), why);
        self.faulty(&BundleError::single(fault), None)
    }

    fn published(
        &mut self,
        revision: u64,
        digest: Arc<str>,
        config: &Config,
        policies: usize,
        last: FileChanges,
    ) -> ReloadOutcome {
        self.failed = None;
        self.again.done();
        (self.on_publish)(config);
        self.recorder.reload(ReloadResult::Applied);
        let what = self.loader.noun();
        tracing::info!(
            revision,
            %digest,
            policies,
            came = last.added.join(", "),
            changed = last.changed.join(", "),
            went = last.removed.join(", "),
            "the {what} is in service"
        );
        self.set(|status| {
            status.succeed();
            status.digest = digest;
            status.revision = revision;
            status.last = last;
        });
        ReloadOutcome::Published(revision)
    }

    fn faulty(&mut self, faults: &BundleError, key: Option<Arc<str>>) -> ReloadOutcome {
        self.failed = key;
        self.recorder.reload(ReloadResult::Faulty);
        let text: Arc<str> = Arc::from(faults.to_string());
        let revision = self.status.borrow().revision;
        let what = self.loader.noun();
        tracing::error!(
            revision,
            faults = faults.count(),
            "the {what} has faults and is not loaded\n{text}"
        );
        self.set(|status| status.fail(text, faults));
        ReloadOutcome::Faulty
    }

    /// Logged once, however long it goes on; the status reports it all the while.
    fn changing(&mut self, faults: &BundleError) -> ReloadOutcome {
        let text: Arc<str> = Arc::from(faults.to_string());
        if !std::mem::replace(&mut self.is_changing_logged, true) {
            self.recorder.reload(ReloadResult::Faulty);
            let revision = self.status.borrow().revision;
            tracing::warn!(
                revision,
                "the directory keeps changing and is not loaded until it rests"
            );
        }
        self.set(|status| status.fail(text, faults));
        ReloadOutcome::Changing
    }

    fn set(&self, change: impl FnOnce(&mut ReloadStatus)) {
        self.status.send_modify(change);
        self.note();
    }

    /// Reports the status to the service, which reports it to operators.
    fn note(&self) {
        let status = self.status.borrow();
        self.service.set_bundle_status(BundleStatus {
            valid_at: status.last_success,
            failure: status.fault.clone(),
            revision: status.revision,
            is_watched: status.is_watching,
            last: status.last.clone(),
        });
    }

    /// Watches the directory; `None`, and a warning, if the system refuses.
    fn watch(&mut self, changed: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
        if self.loader.archive.is_some() {
            // It is polled.
            return None;
        }
        let started = start_watching(&self.loader.dir, changed);
        let is_watching = started.is_ok();
        self.set(|status| status.is_watching = is_watching);
        let was_told = std::mem::replace(&mut self.is_unwatched_logged, !is_watching);
        if let Err(error) = &started
            && !was_told
        {
            tracing::warn!(%error, "the system tells of no changes; they are looked for every few seconds");
        }
        started.ok()
    }
}

impl Reloader {
    /// A directory that was replaced by another of the same name has to be watched anew.
    fn watch_again(&self, watcher: Option<&mut RecommendedWatcher>) {
        let dir = std::path::absolute(&self.loader.dir);
        if let (Some(watcher), Ok(dir)) = (watcher, dir) {
            let result = watcher.watch(&dir, RecursiveMode::Recursive);
            self.status.send_if_modified(|status| {
                let was_watching = std::mem::replace(&mut status.is_watching, result.is_ok());
                was_watching != status.is_watching
            });
            self.note();
        }
    }
}

impl ReloadStatus {
    fn succeed(&mut self) {
        self.last_success = SystemTime::now();
        self.last_fault = None;
        self.fault = None;
        self.consecutive_failures = 0;
    }

    fn fail(&mut self, text: Arc<str>, faults: &BundleError) {
        self.last_fault = Some(text);
        self.consecutive_failures += 1;
        self.fault = Some(BundleFailure {
            at: SystemTime::now(),
            diagnostics: report::faults(faults),
            count: faults.count(),
            attempts: self.consecutive_failures,
        });
    }
}

#[cfg(test)]
mod tests;
