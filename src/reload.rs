//! Notices that the directory changed, compiles it beside the running server, and puts it into service;
//! the last good generation stays until then.
//!
//! Start at [`Reloader::run`]. [`Reloader::status`] tells health checks and operators how it stands.
//!
//! Invariant: it compiles nothing itself and never holds up a request: the bundle does the work on a
//! thread of its own, and the service swaps.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::bundle::fault::{Fault, Faults};
use crate::bundle::files::{self, Files};
use crate::bundle::{self, Bundle};
use crate::config::Config;
use crate::service::decisions::Service;
use crate::service::generation::Load;
use crate::telemetry::metrics::Reload;
use crate::telemetry::recorder::Recorder;

/// A directory that is written to all the time is loaded after this many quiet times without quiet.
const MAX_DEBOUNCES: u32 = 20;

/// How loading stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadStatus {
    /// When a directory without faults was last loaded or found unchanged.
    pub last_success: SystemTime,
    /// What was wrong with the directory the last time; `None` if nothing.
    pub last_fault: Option<Arc<str>>,
    /// How many attempts in a row have failed.
    pub consecutive_failures: u64,
    /// The digest of the generation in service.
    pub digest: Arc<str>,
    /// Its revision.
    pub revision: u64,
    /// Whether changes are noticed without SIGHUP.
    pub is_watching: bool,
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A new generation is in service under this revision.
    Published(u64),
    /// The directory is what is in service already.
    Unchanged,
    /// The directory has faults; what was in service stays.
    Faulty,
}

/// Told of every configuration that goes into service.
type OnPublish = Box<dyn Fn(&Config) + Send + Sync>;

/// Loads the directory again and again.
pub struct Reloader {
    dir: PathBuf,
    config: Option<PathBuf>,
    service: Arc<Service>,
    recorder: Recorder,
    on_publish: OnPublish,
    status: watch::Sender<ReloadStatus>,
    /// The directory as it last failed, so that one mistake is told once.
    failed: Option<Arc<str>>,
}

/// What sets an attempt off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Something in the directory changed.
    Change,
    /// Somebody asked.
    Signal,
}

/// What an attempt found.
enum Found {
    Unchanged,
    KnownFault,
    Good(Box<Bundle>),
    Faulty(Faults, Option<Arc<str>>),
}

impl Reloader {
    /// A reloader for what is in service: the directory it came from, its digest and its revision.
    pub fn new(
        dir: &Path,
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
        });
        Self {
            dir: dir.to_owned(),
            config: None,
            service,
            recorder,
            on_publish: Box::new(|_| {}),
            status,
            failed: None,
        }
    }

    /// Reads the configuration from this file rather than the directory. It is read again together with
    /// the directory, but changes of it alone are not noticed without SIGHUP.
    pub fn with_config(mut self, path: Option<&Path>) -> Self {
        self.config = path.map(Path::to_owned);
        self
    }

    /// Calls `f` with the configuration of every generation, right after it went into service.
    pub fn on_publish(mut self, f: impl Fn(&Config) + Send + Sync + 'static) -> Self {
        self.on_publish = Box::new(f);
        self
    }

    /// How loading stands, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<ReloadStatus> {
        self.status.subscribe()
    }

    /// Loads on SIGHUP, and, if `debounce` is given, once the directory has changed and then been quiet
    /// that long. Returns when `stop` does.
    pub async fn run(
        mut self,
        debounce: Option<Duration>,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (changed, mut changes) = mpsc::channel(1);
        let mut watcher = debounce.and_then(|_| self.watch(changed));
        let debounce = debounce.unwrap_or_default();
        if watcher.is_some() {
            // What changed between the first load and the watch.
            self.attempt(Cause::Change).await;
        }
        tokio::pin!(stop);
        loop {
            let cause = tokio::select! {
                () = &mut stop => return Ok(()),
                Some(()) = hangup.recv() => Cause::Signal,
                Some(()) = changes.recv() => Cause::Change,
                else => return Ok(()),
            };
            if cause == Cause::Change {
                quiet(&mut changes, debounce).await;
                self.watch_again(watcher.as_mut());
            }
            self.attempt(cause).await;
        }
    }

    /// One attempt, as if somebody had asked for it.
    pub async fn reload(&mut self) -> Outcome {
        self.attempt(Cause::Signal).await
    }

    async fn attempt(&mut self, cause: Cause) -> Outcome {
        let live = Arc::clone(&self.status.borrow().digest);
        let failed = self.failed.clone().filter(|_| cause == Cause::Change);
        let (dir, config) = (self.dir.clone(), self.config.clone());
        let looked = tokio::task::spawn_blocking(move || {
            look(&dir, config.as_deref(), &live, failed.as_ref())
        })
        .await;
        let found = looked.unwrap_or_else(|error| {
            // A panic in there is a defect, but no reason to stop answering.
            tracing::error!(%error, "loading the directory broke off");
            let fault = Fault::of_file(&Arc::from("<bundle>"), "loading broke off");
            Found::Faulty(Faults::one(fault), None)
        });
        match found {
            Found::Unchanged => self.unchanged(),
            Found::KnownFault => Outcome::Faulty,
            Found::Good(bundle) => self.publish(*bundle).await,
            Found::Faulty(faults, digest) => self.faulty(&faults, digest),
        }
    }

    fn unchanged(&mut self) -> Outcome {
        self.failed = None;
        self.recorder.reload(Reload::Unchanged);
        let was_faulty = self.status.borrow().last_fault.is_some();
        if was_faulty {
            tracing::info!("the directory is again what is in service");
        }
        self.status.send_modify(ReloadStatus::succeed);
        Outcome::Unchanged
    }

    #[expect(
        clippy::result_large_err,
        reason = "made once for a load that went wrong"
    )]
    async fn publish(&mut self, bundle: Bundle) -> Outcome {
        log_warnings(&bundle.warnings);
        let digest = Arc::clone(&bundle.digest);
        let load = Load {
            snapshot: bundle.snapshot,
            claims: bundle.config.claims.clone(),
            policy_set_digest: Arc::clone(&digest),
        };
        // It waits for the store, so it must not hold up requests.
        let service = Arc::clone(&self.service);
        let published = tokio::task::spawn_blocking(move || service.publish(load)).await;
        let why = match published {
            Ok(Ok(revision)) => {
                return self.published(revision, digest, &bundle.config, bundle.policies.len());
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let fault = Fault::of_file(&Arc::from("<store>"), why);
        self.faulty(&Faults::one(fault), Some(digest))
    }

    fn published(
        &mut self,
        revision: u64,
        digest: Arc<str>,
        config: &Config,
        policies: usize,
    ) -> Outcome {
        self.failed = None;
        (self.on_publish)(config);
        self.recorder.reload(Reload::Applied);
        tracing::info!(revision, %digest, policies, "the directory is in service");
        self.status.send_modify(|status| {
            status.succeed();
            status.digest = digest;
            status.revision = revision;
        });
        Outcome::Published(revision)
    }

    fn faulty(&mut self, faults: &Faults, digest: Option<Arc<str>>) -> Outcome {
        self.failed = digest;
        self.recorder.reload(Reload::Faulty);
        let text: Arc<str> = Arc::from(faults.to_string());
        let revision = self.status.borrow().revision;
        tracing::error!(
            revision,
            faults = faults.count(),
            "the directory has faults and is not loaded\n{text}"
        );
        self.status.send_modify(|status| {
            status.last_fault = Some(text);
            status.consecutive_failures += 1;
        });
        Outcome::Faulty
    }

    /// Watches the directory; `None`, and a warning, if the system will not.
    fn watch(&self, changed: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
        let started = start_watching(&self.dir, changed);
        let is_watching = started.is_ok();
        self.status
            .send_modify(|status| status.is_watching = is_watching);
        started
            .inspect_err(
                |error| tracing::warn!(%error, "changes are not noticed; send SIGHUP to load them"),
            )
            .ok()
    }
}

impl Reloader {
    /// A directory that was replaced by another of the same name has to be watched anew.
    fn watch_again(&self, watcher: Option<&mut RecommendedWatcher>) {
        let dir = std::path::absolute(&self.dir);
        if let (Some(watcher), Ok(dir)) = (watcher, dir) {
            let result = watcher.watch(&dir, RecursiveMode::Recursive);
            self.status.send_if_modified(|status| {
                let was_watching = std::mem::replace(&mut status.is_watching, result.is_ok());
                was_watching != status.is_watching
            });
        }
    }
}

impl ReloadStatus {
    fn succeed(&mut self) {
        self.last_success = SystemTime::now();
        self.last_fault = None;
        self.consecutive_failures = 0;
    }
}

/// Logs what deserves a second look in a directory that goes into service.
pub fn log_warnings(warnings: &[Fault]) {
    for warning in warnings {
        tracing::warn!(
            file = %warning.file,
            line = warning.line,
            column = warning.column,
            help = warning.help,
            "{}",
            warning.message
        );
    }
}

/// Reads, and compiles only what is neither in service nor known to be faulty.
fn look(dir: &Path, config: Option<&Path>, live: &Arc<str>, failed: Option<&Arc<str>>) -> Found {
    let files: Files = match files::read(dir) {
        Ok(files) => config.into_iter().fold(files, Files::with_config),
        Err(faults) => return Found::Faulty(faults, None),
    };
    // A file that could not be read is not in the digest.
    let is_whole = files.faults.is_empty();
    if is_whole && files.digest == *live {
        return Found::Unchanged;
    }
    if is_whole && failed == Some(&files.digest) {
        return Found::KnownFault;
    }
    match bundle::compile(&files) {
        Ok(bundle) => Found::Good(Box::new(bundle)),
        Err(faults) => Found::Faulty(faults, is_whole.then_some(files.digest)),
    }
}

/// Waits until nothing has changed for a while. Editors write a file in several steps.
async fn quiet(changes: &mut mpsc::Receiver<()>, debounce: Duration) {
    let patience = Instant::now() + debounce * MAX_DEBOUNCES;
    // The sender drops what does not fit, so a change after this is never lost: it is in the channel.
    while timeout(debounce, changes.recv())
        .await
        .is_ok_and(|change| change.is_some())
    {
        if Instant::now() >= patience {
            return;
        }
        sleep(debounce / 4).await;
    }
}

fn start_watching(dir: &Path, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let dir = std::path::absolute(dir)?;
    let own_name = dir.file_name().map(ToOwned::to_owned);
    let (parent, watched) = (dir.parent().map(Path::to_owned), dir.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let matters = event.is_ok_and(|event| concerns(&event, &watched));
        if matters {
            // Full means that a change is announced already.
            let _ = changed.try_send(());
        }
    })?;
    watcher.watch(&dir, RecursiveMode::Recursive)?;
    // The directory itself may be replaced, as deployments that switch a link do.
    if let (Some(parent), Some(_)) = (parent, own_name) {
        watcher.watch(&parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Reading the directory causes events, too; those must not cause another reading.
fn concerns(event: &Event, dir: &Path) -> bool {
    if event.need_rescan() {
        return true;
    }
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    is_change && event.paths.iter().any(|path| path.starts_with(dir))
}

#[cfg(test)]
mod tests;
