//! The whole schema of a directory as one text: Callgate's own, the directory's, and the actions of typed tools.

use std::path::Path;

use crate::bundle;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};

/// One schema in both forms that Cedar reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeSchema {
    /// Cedar's syntax, `*.cedarschema`.
    pub cedar: String,
    /// Cedar's JSON form.
    pub json: String,
}

/// The schema that policies of the directory are validated against.
///
/// # Errors
///
/// All faults of the directory's schema and registrations.
pub fn whole(dir: &Path) -> Result<WholeSchema, BundleError> {
    let files = bundle::files::read(dir)?;
    let merged = bundle::merged_schema(&files)?;
    let fault = |said: String| {
        BundleError::single(BundleDiagnostic::for_file(
            &dir.display().to_string().into(),
            said,
        ))
    };
    let json = serde_json::to_string_pretty(&merged).map_err(|error| fault(error.to_string()))?;
    let cedar = merged
        .to_cedarschema()
        .map_err(|error| fault(error.to_string()))?;
    Ok(WholeSchema {
        cedar: format!("{}\n", cedar.trim_end()),
        json: format!("{json}\n"),
    })
}
