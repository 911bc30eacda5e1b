//! Reads a context as the type of its action says, without Cedar's parser, which tries every form that a value could have.
//!
//! Only what has the usual form is read here. Everything else, and every value of another type, is left to Cedar's parser,
//! so that there is one opinion about it.
//!
//! Invariant: what is read here is what Cedar's parser reads.

use std::str::FromStr as _;

use callgate_engine::cedar::{
    Attributes, Context, Eid, EntityType, EntityUID, Extensions, Name, RestrictedExpr, Type,
};
use serde_json::{Map, Value as Json};

/// The context with these fields; `None` if Cedar's parser has to read it.
pub(super) fn read(fields: &Map<String, Json>, expected: &Type) -> Option<Context> {
    let Type::Record { attrs, .. } = expected else {
        return None;
    };
    let fields = record(fields, attrs)?;
    Context::from_pairs(fields, Extensions::all_available()).ok()
}

/// The fields of a record that has all it must have and nothing else.
fn record(
    fields: &Map<String, Json>,
    expected: &Attributes,
) -> Option<Vec<(smol_str::SmolStr, RestrictedExpr)>> {
    let mut read = Vec::with_capacity(fields.len());
    for (name, attribute) in expected.iter() {
        match fields.get(name.as_str()) {
            Some(found) => read.push((name.clone(), value(found, &attribute.attr_type)?)),
            None if attribute.is_required => return None,
            None => {}
        }
    }
    (read.len() == fields.len()).then_some(read)
}

fn value(found: &Json, expected: &Type) -> Option<RestrictedExpr> {
    Some(match (found, expected) {
        (Json::Bool(value), Type::Bool(_)) => RestrictedExpr::val(*value),
        (Json::Number(value), Type::Long) => RestrictedExpr::val(value.as_i64()?),
        (Json::String(text), Type::String) => RestrictedExpr::val(text.as_str()),
        (found, Type::ExtensionType { name }) => {
            let function = constructor(name)?;
            let argument = RestrictedExpr::val(extension_text(found, function)?);
            RestrictedExpr::call_extension_fn(Name::from_str(function).ok()?, [argument])
        }
        (Json::Array(elements), Type::Set { element_type }) => {
            let expected = element_type.as_ref()?;
            let elements = elements.iter().map(|element| value(element, expected));
            RestrictedExpr::set(elements.collect::<Option<Vec<_>>>()?)
        }
        (Json::Object(fields), Type::Record { attrs, .. }) => {
            RestrictedExpr::record(record(fields, attrs)?).ok()?
        }
        (Json::Object(fields), Type::Entity(_)) => RestrictedExpr::val(entity(fields)?),
        _ => return None,
    })
}

/// An entity as `{"type", "id"}`, or that as `__entity`.
fn entity(fields: &Map<String, Json>) -> Option<EntityUID> {
    if let (1, Some(Json::Object(escaped))) = (fields.len(), fields.get("__entity")) {
        return entity_parts(escaped);
    }
    entity_parts(fields)
}

fn entity_parts(fields: &Map<String, Json>) -> Option<EntityUID> {
    let (2, Some(Json::String(of_type)), Some(Json::String(id))) =
        (fields.len(), fields.get("type"), fields.get("id"))
    else {
        return None;
    };
    let of_type = EntityType::from_normalized_str(of_type).ok()?;
    Some(EntityUID::from_components(of_type, Eid::new(id), None))
}

/// The text of an extension value: alone, or as the argument of its constructor in `__extn`.
fn extension_text<'f>(found: &'f Json, constructor: &str) -> Option<&'f str> {
    let fields = match found {
        Json::String(text) => return Some(text),
        Json::Object(fields) if fields.len() == 1 => fields.get("__extn")?.as_object()?,
        _ => return None,
    };
    let is_usual = fields.len() == 2 && fields.get("fn")?.as_str()? == constructor;
    fields.get("arg")?.as_str().filter(|_| is_usual)
}

/// The function that makes a value of an extension type from a text.
fn constructor(of_type: &Name) -> Option<&'static str> {
    match of_type.basename_as_ref().as_ref() {
        "datetime" => Some("datetime"),
        "decimal" => Some("decimal"),
        "duration" => Some("duration"),
        "ipaddr" => Some("ip"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "typed_context_tests.rs"]
mod tests;
