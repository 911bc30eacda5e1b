//! Fields of JSON objects, with the field's name in every error.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::input::ids;

/// Returns a required object.
///
/// # Errors
///
/// Returns an error if it is missing or no object.
pub fn object<'m>(
    map: &'m Map<String, Json>,
    field: &'static str,
) -> Result<&'m Map<String, Json>, FieldError> {
    optional_object(map, field)?.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))
}

/// Returns an optional object; `null` counts as absent.
///
/// # Errors
///
/// Returns an error if it is no object.
pub fn optional_object<'m>(
    map: &'m Map<String, Json>,
    field: &'static str,
) -> Result<Option<&'m Map<String, Json>>, FieldError> {
    match map.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(object)) => Ok(Some(object)),
        Some(_) => Err(FieldError::new(
            field,
            FieldProblem::NotOfShape("an object"),
        )),
    }
}

/// Returns a required text.
///
/// # Errors
///
/// Returns an error if it is missing or no text.
pub fn text<'m>(map: &'m Map<String, Json>, field: &'static str) -> Result<&'m str, FieldError> {
    optional_text(map, field)?.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))
}

/// Returns an optional text; `null` counts as absent.
///
/// # Errors
///
/// Returns an error if it is no text.
pub fn optional_text<'m>(
    map: &'m Map<String, Json>,
    field: &'static str,
) -> Result<Option<&'m str>, FieldError> {
    match map.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(FieldError::new(field, FieldProblem::NotOfShape("a string"))),
    }
}

/// Returns a required id or name.
///
/// # Errors
///
/// Returns an error if it is missing or no valid id of at most `limit` bytes.
pub fn id(map: &Map<String, Json>, limit: u32, field: &'static str) -> Result<SmolStr, FieldError> {
    ids::required(text(map, field)?, limit, field)
}
