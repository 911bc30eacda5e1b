//! Packs the bundle of a directory into an archive, once it compiles.

use std::path::Path;
use std::time::SystemTime;

use crate::bundle::archive::signature::SigningKey;
use crate::bundle::archive::{self, OpenedArchive};
use crate::bundle::diagnostic::BundleError;
use crate::bundle::{self, files};

/// An archive, and what is in it.
#[derive(Debug)]
pub struct PackedBundle {
    /// The archive.
    pub bytes: Vec<u8>,
    /// Its content, as a server reads it.
    pub opened: OpenedArchive,
}

/// Compiles a directory and packs what it holds, without its configuration.
///
/// # Errors
///
/// All faults of the directory, or why it cannot be packed.
pub fn build(
    dir: &Path,
    version: u64,
    key: Option<&SigningKey>,
) -> Result<PackedBundle, BundleError> {
    let files = files::read(dir)?;
    bundle::compile(&files)?;
    let bytes = archive::pack(&files, dir, version, key)?;
    let opened = archive::open(&bytes, None, &dir.display().to_string())?;
    Ok(PackedBundle { bytes, opened })
}

/// The version of a bundle that is made now: seconds since the Unix epoch.
pub fn version_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
