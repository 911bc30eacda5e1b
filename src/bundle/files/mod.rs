//! The files of a bundle: found, bounded, read once and digested.
//!
//! Start at [`read`]; [`read_rested`] says when. `unread` points out what looks like a part of the bundle and is none.
//!
//! Invariant: nothing outside the directory is read, whatever links in it say, and everything that is
//! read counts towards the digest, as do the names of what is pointed out.

pub mod listing;
pub mod manifest;
pub(super) mod unread;
pub(crate) mod walk;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::bundle::files::listing::DirectoryListing;
use crate::bundle::files::manifest::FileDigests;
use crate::bundle::files::walk::{DirectoryWalk, add_others, as_text, read_bounded};
use crate::config::Config;
use crate::domain::request::canonical;

/// The largest file.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// All files together.
pub const MAX_TOTAL_BYTES: u64 = 512 << 20;
/// The number of files and directories looked at.
pub const MAX_ENTRIES: usize = 20_000;
/// Directories within directories.
pub const MAX_DEPTH: usize = 8;

/// A file system's clock moves in steps: what was written within this time may look as it did before.
const SHORTEST_REST: Duration = Duration::from_millis(20);
/// How long who asks once waits for files to rest.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a file holds, by its name and place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// `*.cedarschema`
    Schema,
    /// `*.cedar`
    Policies,
    /// `links/*.json` and `*.links.json`
    Links,
    /// `entities/*.json`
    Entities,
    /// `tools/<server>.json`
    Registration,
    /// `callgate.toml`
    Config,
}

/// One file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceFile {
    /// What it holds.
    pub kind: FileKind,
    /// Its path, as the user would type it.
    pub file: Arc<str>,
    /// Its name without directory and extension.
    pub stem: Arc<str>,
    /// Its content.
    pub text: Arc<str>,
}

/// Everything read from a directory.
#[derive(Debug, Clone, Default)]
pub struct BundleFiles {
    /// The files, ordered by path.
    pub sources: Vec<SourceFile>,
    /// Files that could not be read.
    pub faults: Vec<BundleDiagnostic>,
    /// Files that look as if they belonged to the bundle but do not.
    pub warnings: Vec<BundleDiagnostic>,
    /// `sha256:<hex>` over names and contents.
    pub digest: Arc<str>,
    /// The digest of each file that is read, by its name in the directory.
    pub digests: FileDigests,
}

/// Why there are no files.
#[derive(Debug)]
pub enum ReadError {
    /// The directory cannot be read.
    Faulty(BundleError),
    /// Its files kept changing for as long as it was waited for them to rest.
    Changing(BundleError),
}

impl ReadError {
    /// What to tell.
    pub fn into_bundle_error(self) -> BundleError {
        match self {
            Self::Faulty(faults) | Self::Changing(faults) => faults,
        }
    }
}

impl SourceFile {
    /// The place faults of this file point into.
    pub fn origin(&self) -> SourceText<'_> {
        SourceText {
            file: &self.file,
            text: &self.text,
        }
    }
}

impl BundleFiles {
    /// Files that were read elsewhere, without digests.
    pub fn from_sources(sources: Vec<SourceFile>) -> Self {
        Self {
            sources,
            ..Self::default()
        }
    }

    /// The files of one kind.
    pub fn of(&self, kind: FileKind) -> impl Iterator<Item = &SourceFile> {
        self.sources
            .iter()
            .filter(move |source| source.kind == kind)
    }

    /// The same, with the configuration from a file that need not be in the directory.
    pub fn with_config(mut self, path: &Path) -> Self {
        self.sources
            .retain(|source| source.kind != FileKind::Config);
        self.digests.remove(Config::FILE_NAME);
        let file: Arc<str> = Arc::from(path.display().to_string());
        let text = read_bounded(path)
            .map_err(|message| BundleDiagnostic::for_file(&file, message))
            .and_then(|bytes| as_text(&file, bytes));
        match text {
            Ok(text) => {
                let mut digest = Sha256::new();
                digest.update(self.digest.as_bytes());
                digest.update(&text);
                self.digest = Arc::from(format!("sha256:{}", canonical::hex(&digest.finalize())));
                let own = Sha256::digest(&text).into();
                self.digests.insert(Arc::clone(&file), own);
                let stem = Arc::from(path.file_stem().unwrap_or_default().to_string_lossy());
                let text = Arc::from(text);
                let kind = FileKind::Config;
                self.sources.push(SourceFile {
                    kind,
                    file,
                    stem,
                    text,
                });
            }
            Err(fault) => self.faults.push(fault),
        }
        self
    }
}

/// Reads a directory whose files rest. A directory that cannot be read at all is an error; a file that cannot
/// be read is a fault among [`Files::faults`], so that the others are still looked at.
pub fn read(dir: &Path) -> Result<BundleFiles, BundleError> {
    read_rested(dir, SHORTEST_REST, PATIENCE, &|_| {}).map_err(ReadError::into_bundle_error)
}

/// Reads a directory once its files have rested so long, and waits for that no longer than `patience`. What is read
/// is what the directory holds at one moment: nothing in it was written, replaced, added or taken away from before
/// it was read until after. `reading` is told of each file before it is read: not every file system answers.
pub fn read_rested(
    dir: &Path,
    rest: Duration,
    patience: Duration,
    reading: &dyn Fn(&Arc<str>),
) -> Result<BundleFiles, ReadError> {
    let begun = Instant::now();
    let rest = rest.max(SHORTEST_REST);
    loop {
        let walk = DirectoryWalk::of(dir).map_err(ReadError::Faulty)?;
        let before = walk.listing.clone();
        thread::sleep(rest.saturating_sub(before.rested_for(SystemTime::now())));
        let files = walk.finish(reading);
        // One that is gone meanwhile is read again, and then found to be gone.
        if DirectoryWalk::of(dir).is_ok_and(|after| after.listing == before) {
            return Ok(files);
        }
        if begun.elapsed() >= patience {
            let shown = Arc::from(dir.display().to_string());
            let waited = begun.elapsed().as_secs();
            let message = format!(
                "the files have been changing for {waited} s; they are read once they rest"
            );
            let fault = BundleDiagnostic::for_file(&shown, message).with_help(
                "put a finished directory in its place: switch a link to it with a rename",
            );
            return Err(ReadError::Changing(BundleError::one(fault)));
        }
    }
}

/// What a directory holds at the moment, without what its files say; `None` if it cannot be read.
pub fn listing(dir: &Path) -> Option<DirectoryListing> {
    DirectoryWalk::of(dir).ok().map(|walk| walk.listing)
}

/// Every file of a directory but its manifest, whether it is part of the bundle or not, with its digest.
pub fn digests(dir: &Path) -> Result<FileDigests, BundleError> {
    let mut walk = DirectoryWalk::of(dir)?;
    // The one that is there is about to be replaced.
    walk.has_manifest = false;
    let (root, others) = (walk.root.clone(), std::mem::take(&mut walk.others));
    let BundleFiles {
        mut digests,
        mut faults,
        ..
    } = walk.finish(&|_| {});
    add_others(&root, dir, &others, &mut digests, &mut faults);
    match BundleError::from_diagnostics(faults) {
        Some(faults) => Err(faults),
        None => Ok(digests),
    }
}

#[cfg(test)]
mod tests;
