//! Computes the content of `manifest.sha256` for a directory.

use std::path::Path;

use serde::Serialize;

use crate::bundle::diagnostic::BundleError;
use crate::bundle::files;
use crate::bundle::files::manifest;

/// A manifest to be written.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// How many files it lists.
    pub files: usize,
    /// Its text.
    #[serde(skip)]
    pub text: String,
}

/// Builds the manifest of a directory; an existing one is ignored.
///
/// # Errors
///
/// If the directory or one of its files cannot be read.
pub fn build(dir: &Path) -> Result<Manifest, BundleError> {
    let digests = files::digests(dir)?;
    Ok(Manifest {
        files: digests.len(),
        text: manifest::text(&digests),
    })
}
