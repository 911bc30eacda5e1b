//! Reads a context as the type of its action says, without Cedar's parser, which tries every form that a value could have.
//!
//! Only what has the usual form is read here. Everything else, and every value of another type, is left to Cedar's parser,
//! so that there is one opinion about it.
//!
//! Invariant: what is read here is what Cedar's parser reads.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::{Arc, LazyLock};

use callgate_engine::cedar::{
    Attributes, Context, Eid, EntityUID, Extensions, Name, RestrictedEvaluator, RestrictedExpr,
    Type, Value,
};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::entity_types::EntityTypeCache;

/// The context with these fields; `None` if Cedar's parser has to read it.
pub(super) fn read(
    fields: &Map<String, Json>,
    expected: &Type,
    types: &EntityTypeCache,
) -> Option<Context> {
    let Type::Record { attrs, .. } = expected else {
        return None;
    };
    let fields = record(fields, attrs, types)?;
    Some(Context::Value(Arc::new(fields)))
}

/// The fields of a record that has all it must have and nothing else.
fn record(
    fields: &Map<String, Json>,
    expected: &Attributes,
    types: &EntityTypeCache,
) -> Option<BTreeMap<SmolStr, Value>> {
    let mut read = BTreeMap::new();
    for (name, attribute) in expected.iter() {
        match fields.get(name.as_str()) {
            Some(found) => {
                read.insert(name.clone(), value(found, &attribute.attr_type, types)?);
            }
            None if attribute.is_required => return None,
            None => {}
        }
    }
    (read.len() == fields.len()).then_some(read)
}

fn value(found: &Json, expected: &Type, types: &EntityTypeCache) -> Option<Value> {
    Some(match (found, expected) {
        (Json::Bool(value), Type::Bool(_)) => Value::from(*value),
        (Json::Number(value), Type::Long) => Value::from(value.as_i64()?),
        (Json::String(text), Type::String) => Value::from(text.as_str()),
        (found, Type::ExtensionType { name }) => {
            let function = constructor(name)?;
            extension_value(function, extension_text(found, function)?)?
        }
        (Json::Array(elements), Type::Set { element_type }) => {
            let expected = element_type.as_ref()?;
            let elements = elements.iter().map(|it| value(it, expected, types));
            Value::set(elements.collect::<Option<Vec<_>>>()?, None)
        }
        (Json::Object(fields), Type::Record { attrs, .. }) => {
            Value::record_arc(Arc::new(record(fields, attrs, types)?), None)
        }
        (Json::Object(fields), Type::Entity(_)) => Value::from(entity(fields, types)?),
        _ => return None,
    })
}

/// An entity as `{"type", "id"}`, or that as `__entity`.
fn entity(fields: &Map<String, Json>, types: &EntityTypeCache) -> Option<EntityUID> {
    if let (1, Some(Json::Object(escaped))) = (fields.len(), fields.get("__entity")) {
        return entity_parts(escaped, types);
    }
    entity_parts(fields, types)
}

fn entity_parts(fields: &Map<String, Json>, types: &EntityTypeCache) -> Option<EntityUID> {
    let (2, Some(Json::String(of_type)), Some(Json::String(id))) =
        (fields.len(), fields.get("type"), fields.get("id"))
    else {
        return None;
    };
    let of_type = types.exact_uncached(of_type).ok()?;
    Some(EntityUID::from_components(of_type, Eid::new(id), None))
}

/// The value that a constructor makes of a text; `None` if it makes none.
fn extension_value(constructor: &Name, text: &str) -> Option<Value> {
    let text = RestrictedExpr::val(text);
    let call = RestrictedExpr::call_extension_fn(constructor.clone(), [text]);
    let evaluator = RestrictedEvaluator::new(Extensions::all_available());
    evaluator.interpret(call.as_borrowed()).ok()
}

/// The text of an extension value: alone, or as the argument of its constructor in `__extn`.
fn extension_text<'f>(found: &'f Json, constructor: &Name) -> Option<&'f str> {
    let fields = match found {
        Json::String(text) => return Some(text),
        Json::Object(fields) if fields.len() == 1 => fields.get("__extn")?.as_object()?,
        _ => return None,
    };
    let function: &str = constructor.basename_as_ref().as_ref();
    let is_usual = fields.len() == 2 && fields.get("fn")?.as_str()? == function;
    fields.get("arg")?.as_str().filter(|_| is_usual)
}

/// The functions that make values of extension types from texts, by the names of those types.
static CONSTRUCTORS: LazyLock<[(&str, Option<Name>); 4]> = LazyLock::new(|| {
    let types = [
        ("datetime", "datetime"),
        ("decimal", "decimal"),
        ("duration", "duration"),
        ("ipaddr", "ip"),
    ];
    types.map(|(of_type, function)| (of_type, Name::from_str(function).ok()))
});

fn constructor(of_type: &Name) -> Option<&'static Name> {
    let of_type: &str = of_type.basename_as_ref().as_ref();
    let mut known = CONSTRUCTORS.iter();
    known.find(|(name, _)| *name == of_type)?.1.as_ref()
}

#[cfg(test)]
#[path = "typed_context_tests.rs"]
mod tests;
