//! Reads the files of a bundle.
//!
//! Start at [`read`]; [`read_rested`] waits until the files stop changing. `walk` lists and reads a directory, [`mod@listing`]
//! detects changes, [`manifest`] checks digests, [`check_place`] says where a new file is read, `reserved` keeps names for what they are read as, `unread` warns about files that look like a part of the bundle but are not.
//!
//! Invariant: nothing outside of the directory is read, whatever its links say. Everything read counts towards the digest,
//! as do the paths of files with a warning.

pub mod listing;
pub mod manifest;
mod placing;
mod reserved;
mod source;
pub(super) mod unread;
pub(crate) mod walk;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::listing::DirectoryListing;
use crate::bundle::files::manifest::FileDigests;
use crate::bundle::files::walk::{DirectoryWalk, add_others};

pub use crate::bundle::files::placing::check_place;
pub(crate) use crate::bundle::files::source::FilesBuilder;
pub use crate::bundle::files::source::{
    BundleFiles, FileKind, MAX_FILE_BYTES, PROOFS_DIR, SourceFile, read_text,
};
pub(crate) use crate::bundle::files::unread::{is_set_aside, remark_property, remark_test};

/// Granularity of file timestamps: a file written again within this time may keep its timestamp.
const SHORTEST_REST: Duration = Duration::from_millis(20);
/// How long a single read waits for files to stop changing.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Failure to read a directory.
#[derive(Debug)]
pub enum ReadError {
    /// The directory cannot be read.
    Faulty(BundleError),
    /// Its files did not stop changing within the allowed time.
    Changing(BundleError),
}

impl ReadError {
    /// The diagnostics.
    pub fn into_bundle_error(self) -> BundleError {
        match self {
            Self::Faulty(faults) | Self::Changing(faults) => faults,
        }
    }
}

/// Reads a directory once its files have stopped changing. A file that cannot be read is a fault in
/// [`BundleFiles::faults`], so that the others are still checked.
///
/// # Errors
///
/// If the directory cannot be listed, or its files keep changing for [`PATIENCE`].
pub fn read(dir: &Path) -> Result<BundleFiles, BundleError> {
    read_rested(dir, SHORTEST_REST, PATIENCE, &|_| {}).map_err(ReadError::into_bundle_error)
}

/// Reads a directory, with this configuration in the place of its own if there is one.
///
/// # Errors
///
/// As of [`read`].
pub fn read_with(dir: &Path, config: Option<&Path>) -> Result<BundleFiles, BundleError> {
    let files = read(dir)?;
    Ok(config.into_iter().fold(files, BundleFiles::with_config))
}

/// Reads a directory once nothing in it has changed for `rest`, and waits for that at most `patience`. The result is a
/// consistent state: nothing was written, replaced, added or removed while it was read. `reading` is called with the name
/// of each file before it is opened, so that a read that never returns can be attributed to its file.
///
/// # Errors
///
/// If the directory cannot be listed, or its files keep changing for `patience`.
pub fn read_rested(
    dir: &Path,
    rest: Duration,
    patience: Duration,
    reading: &dyn Fn(&Arc<str>),
) -> Result<BundleFiles, ReadError> {
    let begun = Instant::now();
    let rest = rest.max(SHORTEST_REST);
    loop {
        let walk = DirectoryWalk::new(dir).map_err(ReadError::Faulty)?;
        let before = walk.listing.clone();
        thread::sleep(rest.saturating_sub(before.rested_for(SystemTime::now())));
        let files = walk.finish(reading);
        // A directory removed meanwhile fails on the next attempt.
        if DirectoryWalk::new(dir).is_ok_and(|after| after.listing == before) {
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
            return Err(ReadError::Changing(BundleError::single(fault)));
        }
    }
}

/// The current listing of a directory, without file contents; `None` if it cannot be read.
pub fn listing(dir: &Path) -> Option<DirectoryListing> {
    DirectoryWalk::new(dir).ok().map(|walk| walk.listing)
}

/// Digest of every file of a directory except its manifest, whether or not it is part of the bundle.
///
/// # Errors
///
/// If the directory or one of its files cannot be read.
pub fn digests(dir: &Path) -> Result<FileDigests, BundleError> {
    let mut walk = DirectoryWalk::new(dir)?;
    // The existing manifest is about to be replaced.
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
