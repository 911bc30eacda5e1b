//! Fields of JSON objects, with the field's name in whatever is wrong with them.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::ids;
use crate::adapters::invalid::{Invalid, Problem};

/// An object that must be there.
pub fn object<'m>(
    map: &'m Map<String, Json>,
    field: &'static str,
) -> Result<&'m Map<String, Json>, Invalid> {
    optional_object(map, field)?.ok_or_else(|| Invalid::new(field, Problem::Missing))
}

/// An object, if there is one. `null` counts as absent.
pub fn optional_object<'m>(
    map: &'m Map<String, Json>,
    field: &'static str,
) -> Result<Option<&'m Map<String, Json>>, Invalid> {
    match map.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Invalid::new(field, Problem::NotOfType("an object"))),
    }
}

/// A text that must be there.
pub fn text<'m>(map: &'m Map<String, Json>, field: &'static str) -> Result<&'m str, Invalid> {
    optional_text(map, field)?.ok_or_else(|| Invalid::new(field, Problem::Missing))
}

/// A text, if there is one. `null` counts as absent.
pub fn optional_text<'m>(
    map: &'m Map<String, Json>,
    field: &'static str,
) -> Result<Option<&'m str>, Invalid> {
    match map.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(Invalid::new(field, Problem::NotOfType("a string"))),
    }
}

/// An id or a name that must be there.
pub fn id(map: &Map<String, Json>, limit: u32, field: &'static str) -> Result<SmolStr, Invalid> {
    ids::required(text(map, field)?, limit, field)
}
