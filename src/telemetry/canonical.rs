//! The canonical form of JSON (RFC 8785), quick for what tool arguments usually are.
//!
//! Every recorded call passes here. The crate that writes the canonical form parses each key again to
//! sort it, which costs ten times what is needed; it is still asked about numbers, where the form is
//! subtle, and a property test holds the rest to it.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value as Json};

/// The largest integer that JSON's numbers, which are doubles, hold exactly.
const MAX_EXACT: u64 = 1 << 53;

/// Appends an object in canonical form.
pub fn write_object(object: &Map<String, Json>, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by(|(one, _), (other, _)| order(one, other));
    out.push(b'{');
    for (at, (key, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, key)?;
        out.push(b':');
        write(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// The order of UTF-16, which for ASCII is that of the bytes.
fn order(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() {
        one.cmp(other)
    } else {
        one.encode_utf16().cmp(other.encode_utf16())
    }
}

fn write(value: &Json, out: &mut Vec<u8>) -> serde_json::Result<()> {
    match value {
        Json::Object(object) => write_object(object, out),
        Json::Array(list) => {
            out.push(b'[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
            Ok(())
        }
        Json::Number(number) if !is_exact(number) => {
            serde_json_canonicalizer::to_writer(number, out)
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            serde_json::to_writer(out, value)
        }
    }
}

/// Whether a number is an integer that looks the same in every form.
fn is_exact(number: &Number) -> bool {
    let size = number
        .as_u64()
        .or_else(|| number.as_i64().map(i64::unsigned_abs));
    size.is_some_and(|size| size <= MAX_EXACT)
}

#[cfg(test)]
mod tests;
