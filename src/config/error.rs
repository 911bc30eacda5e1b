//! What is wrong with a configuration file, and where.

use std::ops::Range;
use std::sync::Arc;

/// One fault of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes of the text that are at fault; empty if something is missing.
    pub span: Range<usize>,
    /// The path of the field, e.g. `callers[1].token_sha256`; empty if the text is not TOML.
    pub field: String,
    /// What is wrong, naming the field.
    pub message: String,
}
