//! One load of a bundle, on a thread of its own and within a deadline.
//!
//! Start at [`Loader::first`] and [`Loader::next`]. It comes from a directory, or from an archive ([`ArchiveSource`]).
//!
//! Invariant: no caller waits longer than the deadline. A load that hangs, e.g. on a file system that does not answer,
//! is abandoned; there are never more than a few of those.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::bundle::cache::CompileCache;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::listing::DirectoryListing;
use crate::bundle::files::manifest::FileDigests;
use crate::bundle::files::{self, BundleFiles, FileKind, ReadError};
use crate::bundle::{self, Bundle, COMPILE_STACK_BYTES};
use crate::config::{Config, ReloadConfig};
use crate::reload::blame::{Suspects, listed};
use crate::reload::config_presence::ConfigPresence;
use crate::reload::source::{ArchiveSource, Fetched};
use crate::reload::trial::TrialCompiler;
use crate::supervision::{Panicked, caught};

/// The most hanging loads. Beyond that, no further one starts.
const MAX_HANGING: usize = 3;

/// The result of a load.
pub(super) enum LoadResult {
    /// The bundle in service.
    Unchanged,
    /// An invalid bundle that was reported before.
    KnownFault { is_whole: bool },
    /// A new valid bundle.
    Loaded(Box<Bundle>),
    /// An invalid bundle, and its digest. If not all of it could be read, it may differ the next time.
    Faulty {
        faults: BundleError,
        key: Arc<str>,
        is_whole: bool,
    },
    /// A load that ended before the content was known; the next one may succeed.
    Failed(BundleError),
    /// Files that kept changing.
    Changing(BundleError),
}

/// What a load is compared with.
#[derive(Clone)]
pub(super) struct KnownDigests {
    /// The digest of what is in service.
    pub live: Arc<str>,
    /// The digest of an invalid bundle that was reported already.
    pub failed: Option<Arc<str>>,
    /// The files in service, if they are known.
    pub files: Option<FileDigests>,
}

/// The stage of a load, for whoever abandons it.
#[derive(Clone, Default)]
struct LoadStage(Arc<Mutex<At>>);

#[derive(Clone, Default)]
enum At {
    #[default]
    Looking,
    Reading(Arc<str>),
    Compiling(Vec<Arc<str>>),
}

impl LoadStage {
    fn is(&self, at: At) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn now(&self) -> At {
        let at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.clone()
    }
}

/// The bundle that a server starts with.
pub struct FirstLoad {
    /// The bundle.
    pub bundle: Bundle,
    /// Why it is the last good one rather than the one that is there now; `None` if it is that.
    pub fault: Option<BundleError>,
}

/// Loads the bundle of one directory, or of one archive.
#[derive(Debug, Clone)]
pub struct Loader {
    /// The directory, or the path or address of the archive.
    pub(super) dir: PathBuf,
    pub(super) archive: Option<Arc<ArchiveSource>>,
    pub(super) config: Option<PathBuf>,
    pub(super) rest: Duration,
    pub(super) patience: Duration,
    pub(super) deadline: Duration,
    /// `None` if this program cannot be started for a trial.
    pub(super) trial: Option<TrialCompiler>,
    under_way: Arc<AtomicUsize>,
    /// What the last bundle left for the next one.
    cache: Arc<CompileCache>,
    presence: ConfigPresence,
}

impl Loader {
    /// A loader that compiles without a trial.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            archive: None,
            config: None,
            rest: Duration::ZERO,
            patience: files::PATIENCE,
            deadline: ReloadConfig::default().deadline(),
            trial: None,
            under_way: Arc::default(),
            cache: Arc::default(),
            presence: ConfigPresence::default(),
        }
    }

    /// A loader of an archive, which compiles without a trial.
    pub fn of_archive(source: Arc<ArchiveSource>) -> Self {
        Self {
            archive: Some(Arc::clone(&source)),
            ..Self::new(Path::new(source.shown()))
        }
    }

    /// Keeps nothing of the last bundle: another one is in service.
    pub(super) fn forget(&self) {
        self.cache.clear();
    }

    /// What it loads, for messages.
    pub(super) fn noun(&self) -> &'static str {
        match self.archive {
            Some(_) => "bundle",
            None => "directory",
        }
    }

    /// Why the last good archive that was kept is of no use, if it is not.
    pub fn cache_fault(&self) -> Option<&BundleError> {
        self.archive.as_ref()?.cache_fault()
    }

    /// Reads the configuration from this file rather than from the directory.
    pub fn with_config(mut self, path: Option<&Path>) -> Self {
        self.config = path.map(Path::to_owned);
        self
    }

    /// Compiles files in another process first, under these settings. Only for the program itself, which it starts.
    pub fn with_trial(mut self, settings: &ReloadConfig) -> Self {
        self.deadline = settings.deadline();
        self.rest = Duration::from_millis(settings.debounce_ms);
        self.trial = Some(TrialCompiler::new(settings));
        self
    }

    /// Loads the bundle that a server starts with.
    ///
    /// # Errors
    ///
    /// The diagnostics of an invalid bundle, or of a load that did not end in time.
    pub fn first(&self) -> Result<FirstLoad, BundleError> {
        let (sender, result) = mpsc::channel();
        let loader = self.clone();
        let seen = LoadStage::default();
        let stage = seen.clone();
        // The receiver may have given up.
        let tell = move |loaded| drop(sender.send(loaded));
        self.begin(move || loader.load_or_last_good(&stage), tell)?;
        self.wait(&result, &seen)
    }

    fn load_or_last_good(&self, stage: &LoadStage) -> Result<FirstLoad, BundleError> {
        let fault = match self.load(stage) {
            Ok(bundle) => {
                return Ok(FirstLoad {
                    bundle,
                    fault: None,
                });
            }
            Err(faults) => faults,
        };
        let cached = self.archive.as_ref().and_then(|archive| archive.cached());
        let Some(Ok(last)) = cached else {
            return Err(fault);
        };
        // A server that starts with nothing would refuse everything.
        let bundle = self.compile(&self.configured(last.files), stage)?;
        Ok(FirstLoad {
            bundle,
            fault: Some(fault),
        })
    }

    fn load(&self, stage: &LoadStage) -> Result<Bundle, BundleError> {
        let (files, fetched) = self.read(stage).map_err(ReadError::into_bundle_error)?;
        self.check_config(&files)?;
        let bundle = self.compile(&files, stage)?;
        self.accept(fetched.as_deref());
        Ok(bundle)
    }

    fn compile(&self, files: &BundleFiles, stage: &LoadStage) -> Result<Bundle, BundleError> {
        // The bundle's own configuration may allow more time and memory than the defaults.
        let trial = self
            .trial
            .map(|_| TrialCompiler::new(&bundle::settings(files).reload));
        if let Some(trial) = trial {
            let suspects = self.suspects(files, None, stage);
            trial
                .compile(files, &suspects)
                .map_err(BundleError::single)?;
        }
        self.cache.compile(files)
    }

    /// Compiles other files than those that the loader reads, under its configuration and within its deadline. Blocks.
    ///
    /// # Errors
    ///
    /// The diagnostics of an invalid bundle, or of compiling that did not end in time.
    pub fn compile_files(&self, files: BundleFiles) -> Result<Bundle, BundleError> {
        let (sender, result) = mpsc::channel();
        let loader = self.clone();
        let seen = LoadStage::default();
        let stage = seen.clone();
        // The receiver may have given up.
        let tell = move |compiled| drop(sender.send(compiled));
        let work = move || loader.compile(&loader.configured(files), &stage);
        self.begin(work, tell)?;
        self.wait(&result, &seen)
    }

    /// Waits for a load, within its deadline. Blocks.
    fn wait<T>(
        &self,
        result: &mpsc::Receiver<Result<Result<T, BundleError>, Panicked>>,
        seen: &LoadStage,
    ) -> Result<T, BundleError> {
        match result.recv_timeout(self.deadline) {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(panicked)) => Err(broken_off(&panicked)),
            Err(_) => Err(self.too_late(&seen.now())),
        }
    }

    fn configured(&self, files: BundleFiles) -> BundleFiles {
        let config = self.config.as_deref();
        config.into_iter().fold(files, BundleFiles::with_config)
    }

    /// Reads the configuration alone. Blocks.
    ///
    /// # Errors
    ///
    /// Its faults.
    pub(super) fn settings(&self) -> Result<Config, BundleError> {
        let path = match &self.config {
            Some(path) => path.clone(),
            None => self.dir.join(Config::FILE_NAME),
        };
        // One that is named has to be there.
        let is_there = self.config.is_some() || path.exists();
        self.presence.note(is_there, &path)?;
        match is_there {
            true => bundle::read_settings(&BundleFiles::default().with_config(&path)),
            false => Ok(Config::default()),
        }
    }

    /// Holds that the configuration of a directory that had one is among these files.
    fn check_config(&self, files: &BundleFiles) -> Result<(), BundleError> {
        // A file that cannot be read has a fault of its own.
        if self.config.is_some() || self.archive.is_some() || !files.faults.is_empty() {
            return Ok(());
        }
        let is_there = files.of_kind(FileKind::Config).next().is_some();
        self.presence
            .note(is_there, &self.dir.join(Config::FILE_NAME))
    }

    fn accept(&self, fetched: Option<&Fetched>) {
        if let (Some(archive), Some(fetched)) = (&self.archive, fetched) {
            archive.accept(fetched);
        }
    }

    /// Loads what is in the directory now, unless it is known.
    pub(super) async fn next(&self, known: KnownDigests) -> LoadResult {
        let (sender, result) = oneshot::channel();
        let loader = self.clone();
        let seen = LoadStage::default();
        let stage = seen.clone();
        let tell = move |found| drop(sender.send(found));
        if let Err(faults) = self.begin(move || loader.look(&known, &stage), tell) {
            return LoadResult::Failed(faults);
        }
        match timeout(self.deadline, result).await {
            Ok(Ok(Ok(found))) => found,
            Ok(Ok(Err(panicked))) => LoadResult::Failed(broken_off(&panicked)),
            Ok(Err(_)) | Err(_) => LoadResult::Failed(self.too_late(&seen.now())),
        }
    }

    /// The listing of the directory, without contents; `None` if it cannot be read in time.
    pub(super) async fn listing(&self) -> Option<DirectoryListing> {
        if self.archive.is_some() {
            return None;
        }
        let (sender, result) = oneshot::channel();
        let dir = self.dir.clone();
        let tell = move |listing| drop(sender.send(listing));
        self.begin(move || files::listing(&dir), tell).ok()?;
        timeout(self.deadline, result).await.ok()?.ok()?.ok()?
    }

    /// The files, and the archive that they come from, if any.
    fn read(&self, stage: &LoadStage) -> Result<(BundleFiles, Option<Arc<Fetched>>), ReadError> {
        let reading = |file: &Arc<str>| stage.is(At::Reading(Arc::clone(file)));
        let (files, fetched) = match &self.archive {
            Some(archive) => {
                reading(&Arc::from(archive.shown()));
                let (opened, fetched) = archive.read().map_err(ReadError::Faulty)?;
                (opened.files, Some(fetched))
            }
            None => {
                let read = files::read_rested(&self.dir, self.rest, self.patience, &reading);
                (read?, None)
            }
        };
        Ok((self.configured(files), fetched))
    }

    /// What is compiled and not in service: a crash of the trial is due to one of these files.
    fn suspects(
        &self,
        files: &BundleFiles,
        live: Option<&FileDigests>,
        stage: &LoadStage,
    ) -> Suspects {
        let suspects = Suspects::of(files, &self.dir, live);
        stage.is(At::Compiling(suspects.names()));
        suspects
    }

    fn look(&self, known: &KnownDigests, stage: &LoadStage) -> LoadResult {
        let (files, fetched) = match self.read(stage) {
            Ok(read) => read,
            Err(ReadError::Faulty(faults)) => return LoadResult::Failed(faults),
            Err(ReadError::Changing(faults)) => return LoadResult::Changing(faults),
        };
        let lost = self.check_config(&files).err();
        // A file that could not be read is not in the digest.
        let is_whole = files.faults.is_empty();
        if is_whole && files.digest == known.live {
            return LoadResult::Unchanged;
        }
        let key = key(&files);
        if known.failed.as_ref() == Some(&key) {
            return LoadResult::KnownFault { is_whole };
        }
        // An archive is whole.
        let emptied = match &self.archive {
            None => self.cache.emptied(&files),
            Some(_) => None,
        };
        if let Some(faults) = emptied.or(lost) {
            return LoadResult::Faulty {
                faults,
                key,
                is_whole,
            };
        }
        let suspects = self.suspects(&files, known.files.as_ref(), stage);
        if let Some(Err(fault)) = self.trial.map(|trial| trial.compile(&files, &suspects)) {
            return LoadResult::Failed(BundleError::single(fault));
        }
        match self.cache.compile(&files) {
            Ok(bundle) => {
                self.accept(fetched.as_deref());
                LoadResult::Loaded(Box::new(bundle))
            }
            Err(faults) => LoadResult::Faulty {
                faults,
                key,
                is_whole,
            },
        }
    }

    /// Starts a thread that holds a permit while it works, and tells its result, or that it panicked.
    fn begin<T: 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        tell: impl FnOnce(Result<T, Panicked>) + Send + 'static,
    ) -> Result<(), BundleError> {
        let place = LoadPermit::take(&self.under_way).ok_or_else(|| {
            let what = self.noun();
            let said = format!("{MAX_HANGING} earlier loads hang; the {what} does not answer");
            broken(said)
        })?;
        let thread = thread::Builder::new()
            .name("load".to_owned())
            .stack_size(COMPILE_STACK_BYTES);
        let started = thread.spawn(move || {
            let done = caught("loading", work);
            // Released before the result is sent: the receiver may start the next load at once.
            drop(place);
            tell(done);
        });
        match started {
            Ok(_) => Ok(()),
            Err(error) => Err(broken(format!(
                "the system has no thread to load it: {error}"
            ))),
        }
    }

    fn too_late(&self, at: &At) -> BundleError {
        let message = format!(
            "loading took longer than `reload.deadline_ms`, {} ms",
            self.deadline.as_millis()
        );
        match at {
            At::Looking => broken(message),
            At::Reading(file) => {
                let message = format!("{message}; it was at reading this file");
                BundleError::single(BundleDiagnostic::for_file(file, message))
            }
            At::Compiling(changed) => match changed.as_slice() {
                [file] => BundleError::single(BundleDiagnostic::for_file(file, message)),
                several => {
                    let help = format!("it was at compiling; what changed: {}", listed(several));
                    BundleError::single(whole(message).with_help(help))
                }
            },
        }
    }
}

/// A digest of what was read and of what could not be read.
fn key(files: &BundleFiles) -> Arc<str> {
    match BundleError::from_diagnostics(files.faults.clone()) {
        Some(faults) => Arc::from(format!("{} {faults}", files.digest)),
        None => Arc::clone(&files.digest),
    }
}

/// The fault of a load that panicked: a defect, but no reason to stop serving, or loading.
pub(super) fn broken_off(panicked: &Panicked) -> BundleError {
    broken(format!("loading it {panicked}"))
}

pub(super) fn broken(message: String) -> BundleError {
    BundleError::single(whole(message))
}

/// A diagnostic of no particular file.
fn whole(message: String) -> BundleDiagnostic {
    BundleDiagnostic::for_file(&Arc::from("<bundle>"), message)
}

/// A permit for one load in flight.
struct LoadPermit(Arc<AtomicUsize>);

impl LoadPermit {
    fn take(under_way: &Arc<AtomicUsize>) -> Option<Self> {
        let before = under_way.fetch_add(1, Ordering::SeqCst);
        let place = Self(Arc::clone(under_way));
        (before < MAX_HANGING).then_some(place)
    }
}

impl Drop for LoadPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[path = "loading_tests.rs"]
mod tests;
