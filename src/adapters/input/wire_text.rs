//! The texts of messages.

use bytes::Bytes;

use crate::adapters::input::field_error::{FieldError, FieldProblem};

/// A text of a message: decoded, or the bytes that came.
pub(in crate::adapters) trait WireText {
    /// The text, if it is one.
    fn text(&self) -> Result<&str, FieldProblem>;
}

impl WireText for String {
    fn text(&self) -> Result<&str, FieldProblem> {
        Ok(self)
    }
}

/// Protobuf has texts in UTF-8. One that is never read is never checked.
impl WireText for Bytes {
    fn text(&self) -> Result<&str, FieldProblem> {
        std::str::from_utf8(self).map_err(|_| FieldProblem::NotUtf8)
    }
}

/// The text of a field.
pub(in crate::adapters) fn text<'t>(
    wire: &'t impl WireText,
    field: &'static str,
) -> Result<&'t str, FieldError> {
    wire.text()
        .map_err(|problem| FieldError::new(field, problem))
}
