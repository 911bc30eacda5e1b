//! Errors of a configuration file, with their places.

use std::ops::Range;
use std::sync::Arc;

/// One error of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ConfigError {
    /// The file, as given.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The span in bytes; empty if something is missing.
    pub span: Range<usize>,
    /// The path of the field, e.g. `callers[1].token_sha256`; empty if the text is not TOML.
    pub field: String,
    /// What is wrong, naming the field.
    pub message: String,
}
