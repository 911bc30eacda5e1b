//! Where an archive comes from: a file, or a server by HTTPS. The last good one is kept for starts at which there is no other.
//!
//! Start at [`ArchiveSource::read`].
//!
//! Invariant: with public keys, an archive is taken only if it is signed by one of them, and is no older than the last one
//! that was taken, across restarts too. What cannot be read or is not good leaves the last good one as it is.

mod https;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bundle::archive::signature::{KeyError, VerifyingKeys};
use crate::bundle::archive::{self, MAX_ARCHIVE_BYTES, OpenedArchive};
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::config::bundle::BundleConfig;
use crate::reload::source::https::HttpsPlace;

pub use crate::reload::source::https::authorities;

/// Why an archive cannot be looked for at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A public key.
    #[error("`bundle.public_key_files`: {0}")]
    Key(#[from] KeyError),
    /// The certificate authority, or the address.
    #[error("`{field}`: {why}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// Why it cannot be used.
        why: String,
    },
}

/// An archive that is looked at again and again.
#[derive(Debug)]
pub struct ArchiveSource {
    place: ArchivePlace,
    shown: String,
    keys: Option<VerifyingKeys>,
    cache: PathBuf,
    poll: Duration,
    cache_fault: Option<BundleError>,
    state: Mutex<FetchState>,
}

#[derive(Debug)]
enum ArchivePlace {
    File(PathBuf),
    Url(HttpsPlace),
}

#[derive(Debug, Default)]
struct FetchState {
    /// What was fetched last.
    fetched: Option<Arc<Fetched>>,
    /// Version and manifest of the newest archive that was taken.
    accepted: Option<(u64, [u8; 32])>,
}

/// An archive that was fetched, good or not.
#[derive(Debug)]
pub(super) struct Fetched {
    /// What tells it from another without its content: an entity tag, or the metadata of a file.
    tag: Option<String>,
    bytes: Vec<u8>,
    opened: Result<OpenedArchive, BundleError>,
}

/// The answer of a place.
#[derive(Debug)]
enum FetchAnswer {
    /// It is the one with this tag.
    NotModified,
    /// It is another one.
    New { tag: Option<String>, bytes: Vec<u8> },
}

impl ArchiveSource {
    /// The source that `[bundle]` names, for a configuration in the directory `base`. The last good archive is kept in
    /// `cache`; one that is there is the oldest that is taken.
    ///
    /// # Errors
    ///
    /// [`SourceError`] for a key or a setting that cannot be used.
    pub fn new(config: &BundleConfig, base: &Path, cache: &Path) -> Result<Self, SourceError> {
        let keys = match config.public_key_files.as_slice() {
            [] => None,
            files => Some(VerifyingKeys::read(files, base)?),
        };
        let (place, shown) = match (&config.file, &config.url) {
            (Some(file), _) => {
                let file = base.join(file);
                let shown = file.display().to_string();
                (ArchivePlace::File(file), shown)
            }
            (None, Some(url)) => (
                ArchivePlace::Url(HttpsPlace::new(config, url, base)?),
                url.clone(),
            ),
            (None, None) => {
                return Err(SourceError::Setting {
                    field: "bundle.file",
                    why: "names no archive, and neither does `bundle.url`".to_owned(),
                });
            }
        };
        let mut source = Self {
            place,
            shown,
            keys,
            cache: cache.to_owned(),
            poll: config.poll(),
            cache_fault: None,
            state: Mutex::default(),
        };
        match source.cached() {
            None => {}
            Some(Ok(last)) => {
                source.state().accepted = Some((last.version, last.manifest_digest));
            }
            Some(Err(faults)) => source.cache_fault = Some(faults),
        }
        Ok(source)
    }

    /// Its path or address.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Why the last good archive that was kept is of no use, if it is not.
    pub(super) fn cache_fault(&self) -> Option<&BundleError> {
        self.cache_fault.as_ref()
    }

    /// How often it is looked at.
    pub(super) fn poll(&self) -> Duration {
        self.poll
    }

    /// What is there now: signed by a known key and no older than what was taken, where there are keys. Blocks; only for
    /// threads that load.
    ///
    /// # Errors
    ///
    /// If it cannot be fetched, is no good archive, or is refused.
    pub(super) fn read(&self) -> Result<(OpenedArchive, Arc<Fetched>), BundleError> {
        let before = self.state().fetched.clone();
        let tag = before.as_ref().and_then(|it| it.tag.as_deref());
        let answer = match &self.place {
            ArchivePlace::File(path) => read_file(path, tag),
            ArchivePlace::Url(place) => place.get(tag),
        };
        let answer = answer.map_err(|message| self.fault(message))?;
        let fetched = match (answer, before) {
            (FetchAnswer::NotModified, Some(before)) => before,
            (FetchAnswer::NotModified, None) => {
                return Err(self.fault("it answers that nothing has changed since nothing".into()));
            }
            (FetchAnswer::New { tag, bytes }, _) => {
                let opened = archive::open(&bytes, self.keys.as_ref(), &self.shown);
                let fetched = Arc::new(Fetched { tag, bytes, opened });
                self.state().fetched = Some(Arc::clone(&fetched));
                fetched
            }
        };
        let opened = fetched.opened.clone()?;
        self.check_version(&opened)?;
        Ok((opened, fetched))
    }

    /// Notes that an archive compiles, and keeps it for later starts.
    pub(super) fn accept(&self, fetched: &Fetched) {
        let Ok(opened) = &fetched.opened else { return };
        let accepted = (opened.version, opened.manifest_digest);
        if self.state().accepted == Some(accepted) && self.cache.exists() {
            return;
        }
        match write_whole(&self.cache, &fetched.bytes) {
            Ok(()) => self.state().accepted = Some(accepted),
            Err(error) => tracing::error!(
                file = %self.cache.display(),
                %error,
                "the bundle cannot be kept for the next start"
            ),
        }
    }

    /// The last good archive that was kept, if there is one.
    pub(super) fn cached(&self) -> Option<Result<OpenedArchive, BundleError>> {
        let shown = self.cache.display().to_string();
        match read_file(&self.cache, None) {
            Ok(FetchAnswer::New { bytes, .. }) => {
                Some(archive::open(&bytes, self.keys.as_ref(), &shown))
            }
            Ok(FetchAnswer::NotModified) => None,
            Err(_) if !self.cache.exists() => None,
            Err(message) => {
                let fault = BundleDiagnostic::for_file(&Arc::from(shown), message);
                Some(Err(BundleError::single(fault)))
            }
        }
    }

    fn check_version(&self, opened: &OpenedArchive) -> Result<(), BundleError> {
        let accepted = self.state().accepted;
        let (Some((version, digest)), Some(_)) = (accepted, &self.keys) else {
            return Ok(());
        };
        let found = opened.version;
        if found < version {
            return Err(self.fault(format!(
                "its version is {found}, and version {version} was in service: an older bundle is refused"
            )));
        }
        if found == version && opened.manifest_digest != digest {
            return Err(self.fault(format!(
                "its version is {found}, and another bundle of this version was in service"
            )));
        }
        Ok(())
    }

    fn fault(&self, message: String) -> BundleError {
        let shown = Arc::from(self.shown.as_str());
        BundleError::single(BundleDiagnostic::for_file(&shown, message))
    }

    fn state(&self) -> MutexGuard<'_, FetchState> {
        // Each change is made in one step, so it is whole also after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a file, unless its metadata is what the tag says.
fn read_file(path: &Path, tag: Option<&str>) -> Result<FetchAnswer, String> {
    let cannot = |error: io::Error| format!("cannot read the file: {error}");
    let file = OpenOptions::new()
        .read(true)
        // Opening a pipe or a device could block.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    let found = format!(
        "{}:{} {} {}.{:09} {}.{:09}",
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec()
    );
    if tag == Some(&found) {
        return Ok(FetchAnswer::NotModified);
    }
    let mut bytes = Vec::new();
    file.take(MAX_ARCHIVE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    Ok(FetchAnswer::New {
        tag: Some(found),
        bytes,
    })
}

/// Replaces a file as a whole, readable by its owner alone.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir)?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
