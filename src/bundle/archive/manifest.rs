//! `manifest.json`: the version of a bundle, and the digest of each of its files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::request::canonical;

/// Names the form of the archive. Another form gets another name.
const FORMAT: &str = "callgate-bundle/1";

/// The manifest of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveManifest {
    format: String,
    /// Increases from one bundle to the next.
    pub(super) version: u64,
    /// `sha256:<hex>` of each file, by its path in the bundle.
    pub(super) files: BTreeMap<String, String>,
}

impl ArchiveManifest {
    pub(super) fn new(version: u64, contents: &[(&str, &str)]) -> Self {
        let digest = |(name, text): &(&str, &str)| ((*name).to_owned(), digest(text));
        Self {
            format: FORMAT.to_owned(),
            version,
            files: contents.iter().map(digest).collect(),
        }
    }

    /// Its bytes, which are signed: JSON with members in this order, indented by two spaces, and a line break at the end.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // A structure of texts and numbers always has a JSON form.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a manifest. It must be written exactly as [`ArchiveManifest::to_bytes`] writes it, so that it has one reading.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("`manifest.json`: {error}"))?;
        if manifest.format != FORMAT {
            return Err(format!(
                "`manifest.json`: `format` is not `{FORMAT}`, which this program reads"
            ));
        }
        if manifest.to_bytes() != bytes {
            return Err(
                "`manifest.json` is not written as `callgate bundle build` does".to_owned(),
            );
        }
        Ok(manifest)
    }
}

/// `sha256:<hex>` of a file.
pub(super) fn digest(content: impl AsRef<[u8]>) -> String {
    format!("sha256:{}", canonical::hex(&Sha256::digest(content)))
}
