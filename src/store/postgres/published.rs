//! Reads published bundles and their archives.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use smol_str::SmolStr;

use crate::domain::authority::form;
use crate::store::backend::{PublishedRevision, StoreError};
use crate::store::postgres::read::to_uid;

/// A row of `published`.
#[derive(Debug, Deserialize)]
struct RowForm {
    revision: u64,
    at: u64,
    verb: SmolStr,
    caller: SmolStr,
    principal_type: Option<String>,
    principal_id: Option<String>,
    body: String,
}

/// Reads the answer of `callgate.bundle`.
pub(super) fn archive(answer: &str) -> Result<Option<Vec<u8>>, StoreError> {
    if answer.is_empty() {
        return Ok(None);
    }
    let archive = BASE64.decode(answer);
    archive
        .map(Some)
        .map_err(|error| StoreError::Damaged(format!("the archive of a bundle: {error}")))
}

/// Reads the answer of `callgate.published_bundles`.
pub(super) fn all(answer: &str) -> Result<Vec<PublishedRevision>, StoreError> {
    let damaged = |why: String| StoreError::Damaged(format!("a row of `published`: {why}"));
    let rows: Vec<RowForm> =
        serde_json::from_str(answer).map_err(|error| damaged(error.to_string()))?;
    let read = |row: RowForm| {
        let principal = row.principal_type.zip(row.principal_id);
        let principal = principal.map(|(ty, id)| to_uid(&ty, &id)).transpose();
        Ok(PublishedRevision {
            revision: row.revision,
            at: form::from_millis(row.at).ok_or_else(|| damaged("no moment".to_owned()))?,
            verb: row.verb,
            caller: row.caller,
            principal: principal.map_err(damaged)?,
            bundle: serde_json::from_str(&row.body).map_err(|error| damaged(error.to_string()))?,
        })
    };
    rows.into_iter().map(read).collect()
}
