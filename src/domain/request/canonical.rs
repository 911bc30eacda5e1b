//! Canonical JSON and SHA-256 digests over it.
//!
//! The form is RFC 8785 (JCS) with one difference: integers below 10^21 are written digit by digit. RFC 8785
//! converts every number to a double, so that 1122334455667788990 and 1122334455667788991 become equal; here
//! numbers of different value never have the same form. Up to 2^53 the forms agree.
//!
//! Canonicalization is on the path of every recorded call: members are sorted by reference and nothing is
//! parsed again.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Map, Number, Value as Json};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

/// RFC 8785 uses an exponent from here on, and so does this form: no 64-bit integer is that large.
const EXPONENT_FROM: f64 = 1e21;

/// Room for the members of most objects.
const USUAL_MEMBERS: usize = 8;
/// The longest buffer that a thread keeps, in bytes.
const MOST_KEPT: usize = 64 * 1_024;

/// `sha256:<hex>` over the canonical JSON of a value.
///
/// # Errors
///
/// The message of the serializer, if the value has no JSON form.
pub fn digest(value: &impl Serialize) -> Result<String, String> {
    let canonical = to_string(value).map_err(|error| error.to_string())?;
    Ok(format!("sha256:{}", hex(&Sha256::digest(canonical))))
}

/// `sha256:<hex>` over a text as it is.
pub fn digest_of_text(text: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(text)))
}

/// The hexadecimal SHA-256 of the canonical JSON of a JSON value.
pub fn hex_digest(json: &Json) -> String {
    hex(&Sha256::digest(text(json)))
}

/// The canonical JSON of a value.
///
/// # Errors
///
/// If the value has no JSON form.
pub fn to_string(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_value(value).map(|json| text(&json))
}

/// The canonical JSON of a JSON value.
pub fn text(json: &Json) -> String {
    let mut out = String::new();
    write(json, &mut out);
    out
}

/// The canonical JSON of an object.
pub fn object_text(object: &Map<String, Json>) -> String {
    let mut out = String::with_capacity(256);
    write_object(object, &mut out);
    out
}

/// Runs `read` on the canonical JSON of an object, in a buffer that the thread keeps.
pub fn with_object_text<T>(object: &Map<String, Json>, read: impl FnOnce(&str) -> T) -> T {
    thread_local! {
        static BUFFER: Cell<String> = const { Cell::new(String::new()) };
    }
    let mut buffer = BUFFER.take();
    buffer.clear();
    write_object(object, &mut buffer);
    let result = read(&buffer);
    if buffer.capacity() <= MOST_KEPT {
        BUFFER.set(buffer);
    }
    result
}

fn write(json: &Json, out: &mut String) {
    match json {
        Json::Null => out.push_str("null"),
        Json::Bool(true) => out.push_str("true"),
        Json::Bool(false) => out.push_str("false"),
        Json::Number(number) => write_number(number, out),
        Json::String(text) => write_string(text, out),
        Json::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(object) => write_object(object, out),
    }
}

fn write_object(object: &Map<String, Json>, out: &mut String) {
    let mut members: SmallVec<[_; USUAL_MEMBERS]> = object.iter().collect();
    members.sort_unstable_by(|(one, _), (other, _)| order(one, other));
    out.push('{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

/// Order of UTF-16 code units, which for ASCII is byte order.
fn order(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() {
        one.cmp(other)
    } else {
        one.encode_utf16().cmp(other.encode_utf16())
    }
}

fn write_number(number: &Number, out: &mut String) {
    let whole = number.as_f64().filter(|it| it.fract() == 0.0);
    if number.is_i64() || number.is_u64() {
        append(out, format_args!("{number}"));
    } else if let Some(double) = whole.filter(|it| it.abs() < EXPONENT_FROM) {
        // Rust formats the exact value of a double; adding 0 turns -0 into 0.
        append(out, format_args!("{:.0}", double + 0.0));
    } else if let Some(double) = number.as_f64() {
        // Numbers in JSON are finite.
        out.push_str(ryu_js::Buffer::new().format(double));
    } else {
        append(out, format_args!("{number}"));
    }
}

fn append(out: &mut String, text: fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(text);
}

/// As RFC 8785 and `JSON.stringify`: short escapes where they exist, `\u00xx` for other control characters,
/// all else verbatim.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x09 => "\\t",
            0x0a => "\\n",
            0x0c => "\\f",
            0x0d => "\\r",
            0x00..=0x1f => "",
            _ => continue,
        };
        // Escaped characters are ASCII, so these are character boundaries.
        out.push_str(&text[done..at]);
        done = at + 1;
        match escape {
            "" => append(out, format_args!("\\u{byte:04x}")),
            escape => out.push_str(escape),
        }
    }
    out.push_str(&text[done..]);
    out.push('"');
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
