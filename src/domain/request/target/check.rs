//! Checks the target arguments of a registration against the tool's pinned schema.
//!
//! Start at [`check`], used for files and for control requests. What would deny every call is an error here.

use serde_json::Value as Json;

use crate::domain::request::target::argument::{
    ArgumentPath, PathStep, TargetArgument, TargetArgumentForm, TargetBase, TargetFieldError,
};
use crate::domain::request::target::json_schema::{JsonTypes, SchemaLocation};
use crate::domain::request::target::kind::TargetKind;

/// An error in a list of target arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetArgumentError {
    /// The index in the list.
    pub index: usize,
    /// The invalid field.
    pub fault: TargetFieldError,
}

/// All errors in the target arguments of a tool. Without a schema, only the form is checked.
pub fn check(list: &[TargetArgumentForm], schema: Option<&Json>) -> Vec<TargetArgumentError> {
    let mut faults = Vec::new();
    let mut known: Vec<ArgumentPath> = Vec::new();
    for (index, written) in list.iter().enumerate() {
        if let Err(fault) = check_one(written, schema, &mut known) {
            faults.push(TargetArgumentError { index, fault });
        }
    }
    faults
}

fn check_one(
    written: &TargetArgumentForm,
    schema: Option<&Json>,
    known: &mut Vec<ArgumentPath>,
) -> Result<(), TargetFieldError> {
    let argument = TargetArgument::read(written)?;
    let place = without_last_items(&argument.place);
    if known.contains(&place) {
        let message = format!("`{}` is there twice", argument.place);
        return Err(TargetFieldError::new("argument", message));
    }
    known.push(place);
    let Some(schema) = schema else {
        return Ok(());
    };
    check_argument(&argument, schema)?;
    match &argument.base {
        Some(TargetBase::Argument(base)) => check_base(base, schema, TargetKind::Path),
        // Numbers have one spelling in a URL.
        Some(TargetBase::Url(base)) => base
            .arguments()
            .try_for_each(|base| check_base(base, schema, TargetKind::Id)),
        Some(TargetBase::Fixed(_)) | None => Ok(()),
    }
}

/// Checks the path of an argument that is a text or a list of texts. Without a schema, only the form is checked.
///
/// # Errors
///
/// What is wrong, as a sentence.
pub fn check_text(argument: &str, schema: Option<&Json>) -> Result<(), String> {
    let path = ArgumentPath::parse(argument).map_err(|why| match why.starts_with('`') {
        true => why,
        false => format!("a path of an argument {why}"),
    })?;
    let Some(schema) = schema else {
        return Ok(());
    };
    let reached = reach(&path, schema, "argument").map_err(|fault| fault.message)?;
    let types = reached.place.types();
    let is_text = types.has(JsonTypes::STRING)
        || types.has(JsonTypes::ARRAY) && reached.place.items().types().has(JsonTypes::STRING);
    match is_text {
        true => Ok(()),
        false => Err(format!("`{path}` is no text in the tool's `input_schema`")),
    }
}

/// Strips a final `[]`: `paths` and `paths[]` are equivalent.
fn without_last_items(place: &ArgumentPath) -> ArgumentPath {
    let text = place.to_string();
    let bare = text.strip_suffix("[]").unwrap_or(&text);
    ArgumentPath::parse(bare).unwrap_or_else(|_| place.clone())
}

/// The schema location of a path, and whether every call has a value there.
struct ResolvedLocation<'s> {
    place: SchemaLocation<'s>,
    is_required: bool,
}

/// Follows a path through the schema.
fn reach<'s>(
    path: &ArgumentPath,
    schema: &'s Json,
    field: &'static str,
) -> Result<ResolvedLocation<'s>, TargetFieldError> {
    let fault = |message: String| Err(TargetFieldError::new(field, message));
    let mut reached = ResolvedLocation {
        place: SchemaLocation::top(schema),
        is_required: true,
    };
    let mut said = String::new();
    for (index, step) in path.steps().iter().enumerate() {
        let types = reached.place.types();
        let next = match step {
            PathStep::Member(name) => {
                if !types.has(JsonTypes::OBJECT) {
                    let message = match types.has(JsonTypes::ARRAY) {
                        true => format!(
                            "`{path}`: `{said}` is a list in the tool's `input_schema`; write `{said}[]`"
                        ),
                        false => format!(
                            "`{path}`: `{said}` is not an object in the tool's `input_schema`"
                        ),
                    };
                    return fault(message);
                }
                let Some(member) = reached.place.member(name, index == 0) else {
                    return fault(format!(
                        "`{path}` is not among the arguments in the tool's `input_schema`"
                    ));
                };
                reached.is_required &= reached.place.requires(name);
                if index > 0 {
                    said.push('.');
                }
                said.push_str(name);
                member
            }
            PathStep::Items => {
                if !types.has(JsonTypes::ARRAY) {
                    return fault(format!(
                        "`{path}`: `{said}` is not a list in the tool's `input_schema`"
                    ));
                }
                said.push_str("[]");
                reached.place.items()
            }
        };
        reached.place = next;
        reached.is_required &= !may_be_null(&reached.place);
    }
    Ok(reached)
}

/// Whether the schema declares null as a possible type.
fn may_be_null(place: &SchemaLocation<'_>) -> bool {
    let types = place.types();
    types != JsonTypes::ANY && types.has(JsonTypes::NULL)
}

fn check_argument(argument: &TargetArgument, schema: &Json) -> Result<(), TargetFieldError> {
    let path = &argument.place;
    let reached = reach(path, schema, "argument")?;
    let types = reached.place.types();
    let mut is_required = reached.is_required;
    let kind = match argument.is_part_of_url() {
        true => Some(TargetKind::Id),
        false => argument.kind,
    };
    let mut can_be = can_be(types, kind);
    if !can_be && types.has(JsonTypes::ARRAY) && path.steps().last() != Some(&PathStep::Items) {
        let items = reached.place.items();
        can_be = self::can_be(items.types(), kind);
        is_required &= !may_be_null(&items);
    }
    if !can_be {
        let (field, message) = match kind {
            Some(kind) => (
                "kind",
                format!(
                    "`{path}` cannot be of the kind `{}`: {}",
                    kind.as_str(),
                    wanted(kind)
                ),
            ),
            None => (
                "argument",
                format!("`{path}` is neither a text nor a number in the tool's `input_schema`"),
            ),
        };
        return Err(TargetFieldError::new(field, message));
    }
    if !is_required && !argument.is_optional {
        let message = format!(
            "`{path}` may be left out of a call, by the tool's `input_schema`, and such a call would be denied: \
             mark it `\"optional\": true`"
        );
        return Err(TargetFieldError::new("argument", message));
    }
    Ok(())
}

fn can_be(types: JsonTypes, kind: Option<TargetKind>) -> bool {
    match kind {
        None | Some(TargetKind::Id) => types.has(JsonTypes::STRING) || types.has(JsonTypes::NUMBER),
        Some(_) => types.has(JsonTypes::STRING),
    }
}

fn wanted(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Id => "it is neither a text nor a number in the tool's `input_schema`",
        _ => "it is no text in the tool's `input_schema`",
    }
}

fn check_base(
    base: &ArgumentPath,
    schema: &Json,
    kind: TargetKind,
) -> Result<(), TargetFieldError> {
    let reached = reach(base, schema, "base")?;
    match can_be(reached.place.types(), Some(kind)) {
        true => Ok(()),
        false => Err(TargetFieldError::new(
            "base",
            format!("`{base}`: {}", wanted(kind)),
        )),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
