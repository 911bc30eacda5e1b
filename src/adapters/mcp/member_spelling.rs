//! Member names that a lenient reader would take for one another. The server may ignore case, so another
//! spelling of a member that decides is an error.

use serde_json::{Map, Value as Json};

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{KeyPolicy, ambiguous};
use crate::domain::request::visible::{folded, is_invisible};

/// Rejects members that a lenient reader would take for one of `decisive`.
pub(in crate::adapters) fn reject_misspelled<'n>(
    members: impl Iterator<Item = &'n str>,
    decisive: &[&str],
    field: &str,
) -> Result<(), FieldError> {
    for name in members.filter(|name| !decisive.contains(name)) {
        let folded = folded(name);
        if let Some(known) = decisive
            .iter()
            .find(|known| known.eq_ignore_ascii_case(&folded))
        {
            let problem =
                FieldProblem::UnknownWord(TextExcerpt::new(name), "how the protocol spells it");
            return Err(FieldError::new(format!("{field}.{known}"), problem));
        }
    }
    Ok(())
}

/// Whether some reader takes `name` for `known`: one that folds letters, or leaves out what nobody sees.
pub(in crate::adapters) fn resembles(name: &str, known: &str) -> bool {
    let seen: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    folded(&seen).eq_ignore_ascii_case(known)
}

/// The names of an object's members.
pub(in crate::adapters) fn names_of(members: &Map<String, Json>) -> impl Iterator<Item = &str> {
    members.keys().map(String::as_str)
}

/// Rejects two names that are equal after folding.
pub(in crate::adapters) fn require_distinct_keys(
    members: &Map<String, Json>,
    field: &str,
) -> Result<(), FieldError> {
    match KeyPolicy::Distinct.fault(members.keys()) {
        Some(fault) => Err(FieldError::new(field, FieldProblem::Json(fault))),
        None => Ok(()),
    }
}

/// Rejects two names that are one of `read` after folding, and names with invisible characters. Other members
/// are for nobody to read.
pub(in crate::adapters) fn require_unambiguous(
    members: &Map<String, Json>,
    read: &[&str],
    field: &str,
) -> Result<(), FieldError> {
    match ambiguous(members.keys(), read) {
        Some(fault) => Err(FieldError::new(field, FieldProblem::Json(fault))),
        None => Ok(()),
    }
}
