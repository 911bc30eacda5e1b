//! The strict JSON reader of all adapters: bounded nesting, no duplicate or confusable member names, no
//! number that another reader would change.
//!
//! Start at [`value`]. `key_policy` says which names may occur together, [`json_text`] which numbers every
//! reader reads alike. What was read as a part of something larger is checked by itself with [`check_depth`] and
//! [`check_keys`]. A server's response need not be parsed whole: [`RawObject`] splits it into raw parts.

mod checks;
mod key_policy;
mod raw_object;

use std::fmt;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value as Json};

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::domain::request::json_text::{self, InexactNumber};

pub(in crate::adapters) use crate::adapters::input::json::checks::{check_depth, check_keys};
pub(in crate::adapters) use crate::adapters::input::json::key_policy::{KeyPolicy, ambiguous};
pub(in crate::adapters) use crate::adapters::input::json::raw_object::{RawObject, list};

/// Parses one JSON value from text.
pub(in crate::adapters) fn value(
    text: &[u8],
    max_depth: u32,
    names: KeyPolicy,
    field: &str,
) -> Result<Json, FieldError> {
    let invalid = |said: String| FieldError::new(field, FieldProblem::Json(said));
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut has_doubles = false;
    let seed = ValueSeed {
        levels: max_depth,
        max_depth,
        names,
        has_doubles: &mut has_doubles,
    };
    let value = seed
        .deserialize(&mut reader)
        .map_err(|error| invalid(error.to_string()))?;
    reader.end().map_err(|error| invalid(error.to_string()))?;
    // Whole numbers of 64 bits are exact; only others need the check.
    if has_doubles && let Some((literal, why)) = json_text::inexact_number(text) {
        let shown = TextExcerpt::new(&literal);
        return Err(invalid(match why {
            InexactNumber::TooLarge => format!("the whole number `{shown}` does not fit 64 bits"),
            InexactNumber::TooManyDigits => {
                format!("the number `{shown}` has more digits than a double holds")
            }
        }));
    }
    Ok(value)
}

/// Parses one JSON object from text; empty text is the empty object.
pub(in crate::adapters) fn object(
    text: &[u8],
    max_depth: u32,
    names: KeyPolicy,
    field: &str,
) -> Result<Map<String, Json>, FieldError> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    match value(text, max_depth, names, field)? {
        Json::Object(map) => Ok(map),
        _ => Err(FieldError::new(
            field,
            FieldProblem::Json("it must be an object".to_owned()),
        )),
    }
}

/// What becomes of a whole number in a `Struct` that a double may not carry exactly.
#[derive(Debug, Clone, Copy)]
pub(in crate::adapters) enum BeyondDouble {
    /// It is refused. The text says what to send instead.
    Refused(&'static str),
    /// It is kept as the double that came, where nobody reads most of what is sent. Who reads such a number checks it.
    Kept,
}

/// Converts a `Struct`, whose numbers are doubles.
pub(in crate::adapters) fn from_struct(
    wire: Struct,
    max_depth: u32,
    (names, beyond): (KeyPolicy, BeyondDouble),
    field: &'static str,
) -> Result<Map<String, Json>, FieldError> {
    let levels = Levels {
        left: max_depth,
        max_depth,
        beyond,
    };
    struct_fields(wire, levels, names).map_err(|problem| FieldError::new(field, problem))
}

/// Converts a JSON object to a `Struct`.
pub(in crate::adapters) fn to_struct(fields: &Map<String, Json>) -> Struct {
    let field = |(name, value): (&String, &Json)| (name.clone(), to_wire_value(value));
    Struct {
        fields: fields.iter().map(field).collect(),
    }
}

fn to_wire_value(json: &Json) -> WireValue {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(to_wire_value).collect(),
        }),
        Json::Object(fields) => Kind::StructValue(to_struct(fields)),
    };
    WireValue { kind: Some(kind) }
}

/// The remaining and the total nesting depth, and what becomes of numbers there.
#[derive(Clone, Copy)]
struct Levels {
    left: u32,
    max_depth: u32,
    beyond: BeyondDouble,
}

impl Levels {
    fn deeper(self) -> Result<Self, FieldProblem> {
        let left = self.left.checked_sub(1);
        let left = left.ok_or(FieldProblem::TooDeep(self.max_depth))?;
        Ok(Self { left, ..self })
    }
}

fn struct_fields(
    wire: Struct,
    levels: Levels,
    names: KeyPolicy,
) -> Result<Map<String, Json>, FieldProblem> {
    let levels = levels.deeper()?;
    if let Some(fault) = names.fault(wire.fields.keys()) {
        return Err(FieldProblem::Json(fault));
    }
    wire.fields
        .into_iter()
        .map(|(key, value)| {
            let below = names.below(&key);
            Ok((key, wire_value(value, levels, below)?))
        })
        .collect()
}

fn wire_value(wire: WireValue, levels: Levels, names: KeyPolicy) -> Result<Json, FieldProblem> {
    Ok(match wire.kind {
        None => return Err(FieldProblem::NoKind),
        Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::NumberValue(number)) => Json::Number(wire_number(number, levels.beyond)?),
        Some(Kind::StructValue(inner)) => Json::Object(struct_fields(inner, levels, names)?),
        Some(Kind::ListValue(list)) => {
            let levels = levels.deeper()?;
            let items = list
                .values
                .into_iter()
                .map(|item| wire_value(item, levels, names));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
    })
}

fn wire_number(number: f64, beyond: BeyondDouble) -> Result<Number, FieldProblem> {
    if json_text::is_beyond_double(number) {
        if let BeyondDouble::Refused(instead) = beyond {
            return Err(FieldProblem::BeyondDouble(instead));
        }
    } else if number.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and at most 2^53")]
        return Ok(Number::from(number as i64));
    }
    Number::from_f64(number).ok_or(FieldProblem::NotFinite)
}

/// Parses a value that may be nested `levels` deep.
struct ValueSeed<'a> {
    levels: u32,
    max_depth: u32,
    names: KeyPolicy,
    /// Set when a number is not a whole number of 64 bits.
    has_doubles: &'a mut bool,
}

impl ValueSeed<'_> {
    fn deeper<E: Error>(&mut self) -> Result<ValueSeed<'_>, E> {
        let levels = self
            .levels
            .checked_sub(1)
            .ok_or_else(|| E::custom(format!("nested deeper than {} levels", self.max_depth)))?;
        Ok(ValueSeed {
            levels,
            max_depth: self.max_depth,
            names: self.names,
            has_doubles: self.has_doubles,
        })
    }

    fn with(&mut self, names: KeyPolicy) -> ValueSeed<'_> {
        ValueSeed {
            levels: self.levels,
            max_depth: self.max_depth,
            names,
            has_doubles: self.has_doubles,
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(Json::Number(value.into())),
            Err(_) => Err(E::custom(format!(
                "the whole number `{value}` does not fit 64 bits"
            ))),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        *self.has_doubles = true;
        json_text::of_double(value)
            .map(Json::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        let names = self.names;
        let mut inner = self.deeper()?;
        while let Some(item) = items.next_element_seed(inner.with(names))? {
            all.push(item);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Json, A::Error> {
        let mut map = Map::new();
        let names = self.names;
        let mut inner = self.deeper()?;
        while let Some(key) = entries.next_key::<String>()? {
            let below = names.below(&key);
            match map.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(entries.next_value_seed(inner.with(below))?);
                }
                Entry::Occupied(place) => {
                    // Readers differ in which of the two they take.
                    return Err(A::Error::custom(format!(
                        "the key `{}` appears twice",
                        TextExcerpt::new(place.key())
                    )));
                }
            }
        }
        match names.fault(map.keys()) {
            Some(fault) => Err(A::Error::custom(fault)),
            None => Ok(Json::Object(map)),
        }
    }
}

#[cfg(test)]
mod tests;
