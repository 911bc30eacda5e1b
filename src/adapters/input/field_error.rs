//! Which field of a message cannot be used, and why.

use std::fmt::{self, Display};

use crate::domain::request::visible::{self, escaped};

/// A field that cannot be used, by its path in the request, e.g. `call_context.operation.call_tool.tool`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {problem}", escaped(.path))]
pub struct FieldError {
    path: String,
    problem: FieldProblem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// It is not there.
    #[error("is required")]
    Missing,
    /// Its text is longer than the limit.
    #[error("has {bytes} bytes, but at most {limit} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: u32,
    },
    /// Its list has more items than the limit.
    #[error("has {items} items, but at most {limit} are allowed")]
    TooMany {
        /// How many there are.
        items: usize,
        /// How many there may be.
        limit: u32,
    },
    /// An id or a name with a control character.
    #[error("holds a control character")]
    ControlCharacter,
    /// An id or a name that looks like another.
    #[error("holds a character that nobody sees")]
    InvisibleCharacter,
    /// An id or a name without anything in it.
    #[error("holds nothing but blanks")]
    Blank,
    /// Not the name of an entity type.
    #[error("`{0}` is not an entity type such as `Mcp::Agent`")]
    NotAnEntityType(TextExcerpt),
    /// An enum value that this version does not know.
    #[error("{0} is not a value that is known here")]
    UnknownValue(i32),
    /// A word that is not one of those allowed.
    #[error("`{0}` is not {1}")]
    UnknownWord(TextExcerpt, &'static str),
    /// A JSON value of another shape than expected.
    #[error("must be {0}")]
    NotOfShape(&'static str),
    /// Not JSON, or JSON beyond a limit.
    #[error("is not JSON that can be used: {}", escaped(.0))]
    Json(String),
    /// Nested more deeply than the limit.
    #[error("is nested deeper than {0} levels")]
    TooDeep(u32),
    /// A number that is infinite or not a number.
    #[error("holds a number that is not finite")]
    NotFinite,
    /// A whole number in a double, beyond what a double holds exactly.
    #[error(
        "holds a whole number beyond 2^53, which a Struct cannot carry exactly: send it as JSON text"
    )]
    BeyondDouble,
    /// A whole number that a sender who keeps doubles may have made of another one.
    #[error(
        "holds a whole number beyond 2^53 - 1, which its sender may have rounded: send it as text"
    )]
    MayBeRounded,
    /// A Struct value without a kind.
    #[error("holds a value without a kind")]
    NoKind,
    /// A negative count.
    #[error("is {0}, but must not be negative")]
    Negative(i64),
    /// Not an address.
    #[error("`{0}` is not an IP address")]
    NotAnAddress(TextExcerpt),
    /// Not a digest.
    #[error("`{0}` is not `sha256:` followed by 64 hexadecimal digits")]
    NotADigest(TextExcerpt),
    /// Not a place.
    #[error("`{}` is not a place: {}", .0, escaped(.1))]
    NotAResource(TextExcerpt, String),
    /// Not a point in time.
    #[error("is not a time between the years 1 and 9999")]
    NotATime,
    /// Two fields that exclude each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// A JSON value of the wrong type.
    #[error("must be {0}")]
    NotOfType(&'static str),
    /// A context that Cedar cannot read.
    #[error("is not a Cedar context: {}", escaped(.0))]
    NotAContext(String),
}

/// Text of a caller as it appears in a message: cut short, invisible characters escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextExcerpt(String);

impl TextExcerpt {
    /// The beginning of a text.
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
    /// A problem with one field.
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

    /// The same, seen from the message around it.
    #[must_use]
    pub fn inside(self, outer: impl Display) -> Self {
        Self {
            path: format!("{outer}.{}", self.path),
            problem: self.problem,
        }
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &FieldProblem {
        &self.problem
    }
}

/// Adds the name of the message around a field, on the way out: paths cost nothing while all is well.
pub(in crate::adapters) trait FieldContext<T> {
    /// The same, one level further out.
    fn within(self, outer: impl Display) -> Result<T, FieldError>;
}

impl<T> FieldContext<T> for Result<T, FieldError> {
    fn within(self, outer: impl Display) -> Result<T, FieldError> {
        self.map_err(|inner| inner.inside(outer))
    }
}
