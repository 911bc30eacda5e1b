//! Limits on lengths and counts, with the field's name in every error.

use crate::adapters::input::field_error::{FieldError, FieldProblem};

/// Checks that a list has at most `limit` items.
pub(in crate::adapters) fn check_count(
    items: usize,
    limit: u32,
    field: &str,
) -> Result<(), FieldError> {
    if items > limit as usize {
        return Err(FieldError::new(
            field,
            FieldProblem::TooMany { items, limit },
        ));
    }
    Ok(())
}

/// Checks that a text has at most `limit` bytes.
pub(in crate::adapters) fn check_length(
    text: &str,
    limit: u32,
    field: &str,
) -> Result<(), FieldError> {
    let bytes = text.len();
    if bytes > limit as usize {
        return Err(FieldError::new(
            field,
            FieldProblem::TooLong { bytes, limit },
        ));
    }
    Ok(())
}
