//! The manifest of a directory: what `manifest.sha256` has to hold for the files that are there.

use std::path::Path;

use serde::Serialize;

use crate::bundle::diagnostic::BundleError;
use crate::bundle::files;
use crate::bundle::files::manifest;

/// A manifest that is to be written.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// How many files it lists.
    pub files: usize,
    /// Its text.
    #[serde(skip)]
    pub text: String,
}

/// The manifest of a directory as it is. The one that is there is not looked at.
pub fn of(dir: &Path) -> Result<Manifest, BundleError> {
    let digests = files::digests(dir)?;
    Ok(Manifest {
        files: digests.len(),
        text: manifest::text(&digests),
    })
}
