//! Errors about one field of a message.

use std::fmt::{self, Display};

use crate::domain::request::visible::{self, escaped};

/// A field that cannot be used, by its path in the request, e.g. `call_context.operation.call_tool.tool`. The path is made of
/// names of the protocol and of the configuration, never of the sender's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {problem}", escaped(.path))]
pub struct FieldError {
    path: String,
    problem: FieldProblem,
}

/// What is wrong with a field.
///
/// What came from the sender stands in backticks, in quotes or after a colon, as the log leaves it out
/// (`telemetry::record::recorder`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// The field is required.
    #[error("is required")]
    Missing,
    /// The text exceeds the limit.
    #[error("has {bytes} bytes, but at most {limit} are allowed")]
    TooLong {
        /// The length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: u32,
    },
    /// The list exceeds the limit.
    #[error("has {items} items, but at most {limit} are allowed")]
    TooMany {
        /// The number of items.
        items: usize,
        /// The largest number allowed.
        limit: u32,
    },
    /// The text is not in UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// An id or name contains a control character.
    #[error("holds a control character")]
    ControlCharacter,
    /// An id or name contains an invisible character, so it looks like another one.
    #[error("holds a character that nobody sees")]
    InvisibleCharacter,
    /// An id or name consists of blanks.
    #[error("holds nothing but blanks")]
    Blank,
    /// The text is not the name of an entity type.
    #[error("`{0}` is not an entity type such as `Mcp::Agent`")]
    NotAnEntityType(TextExcerpt),
    /// The text is not the id of a decision.
    #[error("is not the id of a decision, a UUID of version 7")]
    NotADecisionId,
    /// The id is of a decision that is yet to be made.
    #[error("is the id of a decision that is yet to be made")]
    NotYetDecided,
    /// No page of this list gave the token.
    #[error(
        "is not a token of this list: send what the page before gave, and ask for the same as there"
    )]
    NotAPageToken,
    /// The enum value is unknown.
    #[error("is not a value that is known here: {0}")]
    UnknownValue(i32),
    /// The word is not one of those allowed.
    #[error("`{0}` is not {1}")]
    UnknownWord(TextExcerpt, &'static str),
    /// The JSON value has the wrong shape or type.
    #[error("must be {0}")]
    NotOfShape(&'static str),
    /// The text is not JSON, or exceeds a limit of JSON.
    #[error("is not JSON that can be used: {}", escaped(.0))]
    Json(String),
    /// The value is nested more deeply than the limit.
    #[error("is nested deeper than {0} levels")]
    TooDeep(u32),
    /// The number is infinite or NaN.
    #[error("holds a number that is not finite")]
    NotFinite,
    /// A whole number beyond 2^53, which a double cannot represent exactly, and what to send instead.
    #[error("holds a whole number beyond 2^53, which a Struct cannot carry exactly: {0}")]
    BeyondDouble(&'static str),
    /// A whole number beyond 2^53 - 1, which a sender that stores doubles may have rounded.
    #[error(
        "holds a whole number beyond 2^53 - 1, which its sender may have rounded: send it as text"
    )]
    MayBeRounded,
    /// A `Struct` value without a kind.
    #[error("holds a value without a kind")]
    NoKind,
    /// The count is negative.
    #[error("must not be negative: {0}")]
    Negative(i64),
    /// The text is not an IP address.
    #[error("`{0}` is not an IP address")]
    NotAnAddress(TextExcerpt),
    /// The text is not a SHA-256 digest.
    #[error("`{0}` is not `sha256:` followed by 64 hexadecimal digits")]
    NotADigest(TextExcerpt),
    /// The text is not a resource.
    #[error("`{}` is not a place: {}", .0, escaped(.1))]
    NotAResource(TextExcerpt, String),
    /// The timestamp is out of range.
    #[error("is not a time between the years 1 and 9999")]
    NotATime,
    /// Two fields contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// The value is not a Cedar context.
    #[error("is not a Cedar context: {}", escaped(.0))]
    NotAContext(String),
}

/// An excerpt of a sender's text for messages: truncated, with invisible characters escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextExcerpt(String);

impl TextExcerpt {
    /// Creates the excerpt of a text.
    pub fn new(text: &str) -> Self {
        Self(visible::shown(text))
    }
}

impl Display for TextExcerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FieldError {
    /// Creates the error of one field.
    pub fn new(field: impl Into<String>, problem: FieldProblem) -> Self {
        Self {
            path: field.into(),
            problem,
        }
    }

    /// The path of the field.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Prefixes the path with the name of the enclosing message.
    #[must_use]
    pub fn inside(self, outer: impl Display) -> Self {
        Self {
            path: format!("{outer}.{}", self.path),
            problem: self.problem,
        }
    }

    /// What is wrong with the field.
    pub fn problem(&self) -> &FieldProblem {
        &self.problem
    }
}

/// Adds the name of the enclosing message on the way out, so that paths cost nothing unless there is an
/// error.
pub(in crate::adapters) trait FieldContext<T> {
    /// Prefixes the path of the error.
    fn within(self, outer: impl Display) -> Result<T, FieldError>;
}

impl<T> FieldContext<T> for Result<T, FieldError> {
    fn within(self, outer: impl Display) -> Result<T, FieldError> {
        self.map_err(|inner| inner.inside(outer))
    }
}

#[cfg(test)]
#[path = "field_error_tests.rs"]
mod tests;
