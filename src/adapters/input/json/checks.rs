//! Checks of an object that was read as a part of a larger one, under the larger one's rules.

use serde_json::{Map, Value as Json};

use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::input::json::KeyPolicy;

/// Checks that an object is nested no deeper than it may be by itself.
pub(in crate::adapters) fn check_depth(
    members: &Map<String, Json>,
    max_depth: u32,
    field: &str,
) -> Result<(), FieldError> {
    match fits(members.values(), max_depth) {
        true => Ok(()),
        false => Err(FieldError::new(field, FieldProblem::TooDeep(max_depth))),
    }
}

/// Whether a container with these values fits into so many levels. It looks no deeper than they go.
fn fits<'v>(mut values: impl Iterator<Item = &'v Json>, levels: u32) -> bool {
    let Some(left) = levels.checked_sub(1) else {
        return false;
    };
    values.all(|value| match value {
        Json::Array(items) => fits(items.iter(), left),
        Json::Object(members) => fits(members.values(), left),
        _ => true,
    })
}

/// Checks the member names of an object and of all objects in it.
pub(in crate::adapters) fn check_keys(
    members: &Map<String, Json>,
    names: KeyPolicy,
    field: &str,
) -> Result<(), FieldError> {
    match fault_in(members, names) {
        Some(fault) => Err(FieldError::new(field, FieldProblem::Json(fault))),
        None => Ok(()),
    }
}

fn fault_in(members: &Map<String, Json>, names: KeyPolicy) -> Option<String> {
    let inner = || {
        let mut members = members.iter();
        members.find_map(|(name, value)| fault_below(value, names.below(name)))
    };
    names.fault(members.keys()).or_else(inner)
}

fn fault_below(value: &Json, names: KeyPolicy) -> Option<String> {
    match value {
        Json::Object(members) => fault_in(members, names),
        Json::Array(items) => items.iter().find_map(|item| fault_below(item, names)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
