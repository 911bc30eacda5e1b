//! A bundle that was published over the control API.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::ids::BundleId;

/// A published bundle. Its archive is stored beside it, under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedBundle {
    /// The id of the archive: `sha256:<hex>` of its manifest.
    pub id: BundleId,
    /// The digest of its content, `sha256:<hex>`.
    pub digest: SmolStr,
    /// Its version.
    pub version: u64,
    /// The highest version that was published so far: no older bundle is published after it.
    pub newest_version: u64,
    /// The fingerprint of the key that has signed it, `sha256:<hex>`, if keys are configured.
    pub signed_by: Option<SmolStr>,
    /// The revision that this one goes back to; `None` if it is new.
    pub back_to: Option<u64>,
}
