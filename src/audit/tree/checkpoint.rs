//! Checkpoints (C2SP tlog-checkpoint): the size and root of the tree, as a signed note.

use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::note::{NoteError, SigningKey, VerifyingKey};
use crate::domain::request::visible::shown;

/// A log at a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The identity of the log.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root over them.
    pub root: TreeHash,
}

/// Why a checkpoint is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text.
    #[error("it is not a checkpoint: {0}")]
    Form(&'static str),
    /// It is another log's.
    #[error("it is of the log `{0}`, not of `{1}`")]
    Origin(String, String),
}

impl CheckpointError {
    /// Whether the text is no signed checkpoint at all, whoever signed it.
    pub fn is_form(&self) -> bool {
        matches!(self, Self::Form(_) | Self::Note(NoteError::Form(_)))
    }
}

impl Checkpoint {
    /// Signs it: a note whose text are origin, size and root, one a line.
    pub fn sign(&self, key: &SigningKey) -> String {
        key.sign(&format!("{}\n{}\n{}\n", self.origin, self.size, self.root))
    }

    /// Verifies a signed checkpoint of the log that is named as the key. Extension lines are allowed and ignored.
    ///
    /// # Errors
    ///
    /// If it is not signed by the key, has another form, or is another log's.
    pub fn open(note: &str, key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let checkpoint = Self::from_text(key.open(note)?.text)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin(
                shown(&checkpoint.origin),
                shown(key.name()),
            ));
        }
        Ok(checkpoint)
    }

    fn from_text(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.lines();
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let origin = line().ok_or(CheckpointError::Form("the origin is missing"))?;
        let size = line()
            .and_then(decimal)
            .ok_or(CheckpointError::Form("the tree size is no number"))?;
        let root = line()
            .and_then(TreeHash::from_base64)
            .ok_or(CheckpointError::Form("the root is no hash"))?;
        if lines.any(str::is_empty) {
            return Err(CheckpointError::Form("an extension line is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }
}

/// A decimal number without leading zeros.
pub fn decimal(text: &str) -> Option<u64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = text.len() > 1 && text.starts_with('0');
    (is_decimal && !is_padded)
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
