//! JSON from outside: a limit on nesting, no key twice, no number that would change on the way.

use std::fmt;

use prost_types::value::Kind;
use prost_types::{Struct, Value as WireValue};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value as Json};

use crate::adapters::grpc::parse::invalid::{Invalid, Problem, Shown};

/// Whole numbers in doubles are exact up to here.
const EXACT_IN_DOUBLE: f64 = 9_007_199_254_740_992.0;
/// Doubles from here on may stand for whole numbers that do not fit 64 bits.
const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;

/// Reads one JSON value from text.
pub(in crate::adapters::grpc) fn value(
    text: &[u8],
    max_depth: u32,
    field: &'static str,
) -> Result<Json, Invalid> {
    let invalid = |said: String| Invalid::new(field, Problem::Json(said));
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut beyond_i64 = false;
    let seed = ValueSeed {
        levels: max_depth,
        max_depth,
        beyond_i64: &mut beyond_i64,
    };
    let value = seed
        .deserialize(&mut reader)
        .map_err(|error| invalid(error.to_string()))?;
    reader.end().map_err(|error| invalid(error.to_string()))?;
    if beyond_i64 && let Some(literal) = oversized_integer(text) {
        let shown = Shown::new(&literal);
        return Err(invalid(format!(
            "the whole number `{shown}` does not fit 64 bits"
        )));
    }
    Ok(value)
}

/// Reads one JSON object from text; no text at all is the empty object.
pub(in crate::adapters) fn object(
    text: &[u8],
    max_depth: u32,
    field: &'static str,
) -> Result<Map<String, Json>, Invalid> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    match value(text, max_depth, field)? {
        Json::Object(map) => Ok(map),
        _ => Err(Invalid::new(
            field,
            Problem::Json("it must be an object".to_owned()),
        )),
    }
}

/// Converts a Struct. Its numbers are doubles, so whole numbers must be small enough to be exact.
pub(in crate::adapters::grpc) fn from_struct(
    wire: Struct,
    max_depth: u32,
    field: &'static str,
) -> Result<Map<String, Json>, Invalid> {
    struct_fields(wire, max_depth, max_depth).map_err(|problem| Invalid::new(field, problem))
}

fn struct_fields(wire: Struct, levels: u32, max_depth: u32) -> Result<Map<String, Json>, Problem> {
    let levels = levels.checked_sub(1).ok_or(Problem::TooDeep(max_depth))?;
    wire.fields
        .into_iter()
        .map(|(key, value)| Ok((key, wire_value(value, levels, max_depth)?)))
        .collect()
}

fn wire_value(wire: WireValue, levels: u32, max_depth: u32) -> Result<Json, Problem> {
    Ok(match wire.kind {
        None => return Err(Problem::NoKind),
        Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::NumberValue(number)) => Json::Number(exact_number(number)?),
        Some(Kind::StructValue(inner)) => Json::Object(struct_fields(inner, levels, max_depth)?),
        Some(Kind::ListValue(list)) => {
            let levels = levels.checked_sub(1).ok_or(Problem::TooDeep(max_depth))?;
            let items = list
                .values
                .into_iter()
                .map(|item| wire_value(item, levels, max_depth));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
    })
}

fn exact_number(number: f64) -> Result<Number, Problem> {
    if number.fract() != 0.0 || !number.is_finite() {
        return Number::from_f64(number).ok_or(Problem::NotFinite);
    }
    if number.abs() > EXACT_IN_DOUBLE {
        return Err(Problem::BeyondDouble);
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and at most 2^53")]
    Ok(Number::from(number as i64))
}

/// The first number in a JSON text that is written as a whole number and does not fit 64 bits.
fn oversized_integer(text: &[u8]) -> Option<String> {
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        if byte == b'"' {
            rest = after_string(&rest[1..]);
        } else if byte == b'-' || byte.is_ascii_digit() {
            let is_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
            let end = rest
                .iter()
                .position(|byte| !is_number(byte))
                .unwrap_or(rest.len());
            let literal = String::from_utf8_lossy(&rest[..end]);
            let is_whole = !literal.contains(['.', 'e', 'E']);
            if is_whole && literal.parse::<i64>().is_err() {
                return Some(literal.into_owned());
            }
            rest = &rest[end..];
        } else {
            rest = &rest[1..];
        }
    }
    None
}

fn after_string(text: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return &text[at + 1..],
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    &[]
}

/// Reads a value that may be nested `levels` deep.
struct ValueSeed<'a> {
    levels: u32,
    max_depth: u32,
    beyond_i64: &'a mut bool,
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
            beyond_i64: self.beyond_i64,
        })
    }

    fn again(&mut self) -> ValueSeed<'_> {
        ValueSeed {
            levels: self.levels,
            max_depth: self.max_depth,
            beyond_i64: self.beyond_i64,
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
        *self.beyond_i64 |= value.abs() >= BEYOND_I64;
        Number::from_f64(value)
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
        let mut inner = self.deeper()?;
        while let Some(item) = items.next_element_seed(inner.again())? {
            all.push(item);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Json, A::Error> {
        let mut map = Map::new();
        let mut inner = self.deeper()?;
        while let Some(key) = entries.next_key::<String>()? {
            match map.entry(key) {
                Entry::Vacant(place) => place.insert(entries.next_value_seed(inner.again())?),
                Entry::Occupied(place) => {
                    // Readers differ in which of the two they take: what is decided must be what is done.
                    return Err(A::Error::custom(format!(
                        "the key `{}` appears twice",
                        Shown::new(place.key())
                    )));
                }
            };
        }
        Ok(Json::Object(map))
    }
}

#[cfg(test)]
mod tests;
