//! Notices that the directory changed, compiles it beside the running server, and puts it into service;
//! the last good generation stays until then.
//!
//! Start at [`Reloader::run`]. [`Reloader::status`] tells health checks and operators how it stands.
//!
//! Invariant: it compiles nothing itself and never holds up a request: the bundle does the work on a
//! thread of its own, and the service swaps.

mod told;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::bundle::fault::{Fault, Faults};
use crate::bundle::files::{self, Files, Unread};
use crate::bundle::manifest::Digests;
use crate::bundle::{self, Bundle};
use crate::config::Config;
use crate::service::decisions::Service;
use crate::service::directory::{Directory, DirectoryFault, FileChanges};
use crate::service::generation::Load;
use crate::telemetry::metrics::Reload;
use crate::telemetry::recorder::Recorder;

/// After this many quiet times without quiet, a directory that is written to all the time is looked at. It is not
/// loaded before its files rest.
const MAX_DEBOUNCES: u32 = 20;
/// How long an attempt waits for the files to rest. While they do not, there is one attempt after the other.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// The last fault in short, with its time.
    pub fault: Option<DirectoryFault>,
    /// What the last load that went into service changed.
    pub last: FileChanges,
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
    /// The files did not rest; what was in service stays, and it has to be tried again.
    Changing,
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
    /// The files in service, if they are known.
    files: Option<Digests>,
    /// How long files have to rest before they are loaded.
    rest: Duration,
    patience: Duration,
    /// Whether it was told already that the files do not rest.
    is_told_changing: bool,
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
    Changing(Faults),
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
            fault: None,
            last: FileChanges::default(),
        });
        let reloader = Self {
            dir: dir.to_owned(),
            config: None,
            service,
            recorder,
            on_publish: Box::new(|_| {}),
            status,
            failed: None,
            files: None,
            rest: Duration::ZERO,
            patience: PATIENCE,
            is_told_changing: false,
        };
        reloader.note();
        reloader
    }

    /// The files in service, so that a load can tell what it changed.
    pub fn with_files(mut self, files: Digests) -> Self {
        self.files = Some(files);
        self
    }

    /// Loads files only once they have rested so long.
    pub fn with_rest(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
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
        tokio::pin!(stop);
        // What changed between the first load and the watch.
        let mut is_open =
            watcher.is_some() && self.attempt(Cause::Change).await == Outcome::Changing;
        loop {
            let cause = tokio::select! {
                () = &mut stop => return Ok(()),
                Some(()) = hangup.recv() => Cause::Signal,
                Some(()) = changes.recv() => Cause::Change,
                () = sleep(debounce), if is_open => Cause::Change,
                else => return Ok(()),
            };
            if cause == Cause::Change {
                quiet(&mut changes, debounce).await;
                self.watch_again(watcher.as_mut());
            }
            is_open = self.attempt(cause).await == Outcome::Changing;
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
        let (rest, patience) = (self.rest, self.patience);
        let looked =
            tokio::task::spawn_blocking(move || match files::read_rested(&dir, rest, patience) {
                Ok(files) => look(files, config.as_deref(), &live, failed.as_ref()),
                Err(Unread::Faulty(faults)) => Found::Faulty(faults, None),
                Err(Unread::Changing(faults)) => Found::Changing(faults),
            })
            .await;
        let found = looked.unwrap_or_else(|error| {
            // A panic in there is a defect, but no reason to stop answering.
            tracing::error!(%error, "loading the directory broke off");
            let fault = Fault::of_file(&Arc::from("<bundle>"), "loading broke off");
            Found::Faulty(Faults::one(fault), None)
        });
        if let Found::Changing(faults) = found {
            return self.changing(&faults);
        }
        self.is_told_changing = false;
        match found {
            Found::Changing(_) => Outcome::Changing,
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
        self.set(ReloadStatus::succeed);
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
                let before = self.files.replace(bundle.files);
                let after = self.files.as_ref();
                let last = before
                    .zip(after)
                    .map(|(before, after)| told::changes(&before, after));
                let policies = bundle.policies.len();
                let last = last.unwrap_or_default();
                return self.published(revision, digest, &bundle.config, policies, last);
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
        last: FileChanges,
    ) -> Outcome {
        self.failed = None;
        (self.on_publish)(config);
        self.recorder.reload(Reload::Applied);
        tracing::info!(
            revision,
            %digest,
            policies,
            came = last.came.join(", "),
            changed = last.changed.join(", "),
            went = last.went.join(", "),
            "the directory is in service"
        );
        self.set(|status| {
            status.succeed();
            status.digest = digest;
            status.revision = revision;
            status.last = last;
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
        self.set(|status| status.fail(text, faults));
        Outcome::Faulty
    }

    /// Told once, however long it goes on; the status tells it all the while.
    fn changing(&mut self, faults: &Faults) -> Outcome {
        let text: Arc<str> = Arc::from(faults.to_string());
        if !std::mem::replace(&mut self.is_told_changing, true) {
            self.recorder.reload(Reload::Faulty);
            let revision = self.status.borrow().revision;
            tracing::warn!(
                revision,
                "the directory keeps changing and is not loaded until it rests"
            );
        }
        self.set(|status| status.fail(text, faults));
        Outcome::Changing
    }

    fn set(&self, change: impl FnOnce(&mut ReloadStatus)) {
        self.status.send_modify(change);
        self.note();
    }

    /// Tells the service, which tells operators.
    fn note(&self) {
        let status = self.status.borrow();
        self.service.note_directory(Directory {
            good_at: status.last_success,
            fault: status.fault.clone(),
            revision: status.revision,
            is_watched: status.is_watching,
            last: status.last.clone(),
        });
    }

    /// Watches the directory; `None`, and a warning, if the system will not.
    fn watch(&self, changed: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
        let started = start_watching(&self.dir, changed);
        let is_watching = started.is_ok();
        self.set(|status| status.is_watching = is_watching);
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

    fn fail(&mut self, text: Arc<str>, faults: &Faults) {
        self.last_fault = Some(text);
        self.consecutive_failures += 1;
        self.fault = Some(DirectoryFault {
            at: SystemTime::now(),
            told: told::faults(faults),
            count: faults.count(),
            attempts: self.consecutive_failures,
        });
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

/// Compiles only what is neither in service nor known to be faulty.
fn look(files: Files, config: Option<&Path>, live: &Arc<str>, failed: Option<&Arc<str>>) -> Found {
    let files = config.into_iter().fold(files, Files::with_config);
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
