//! Values of the headers `Mcp-Method` and `Mcp-Name`, which may be encoded as `=?base64?…?=`.

use std::borrow::Cow;

const BEGIN: &str = "=?base64?";
const END: &str = "?=";

/// Decodes a header's value. `None` if it is marked as encoded and is not valid.
pub fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let Some(encoded) = value.strip_prefix(BEGIN) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = base64(encoded.strip_suffix(END)?)?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Strict: padded, standard alphabet, no bits left over, so that one text has one encoding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let groups = text.len() / 4;
    for (index, group) in text.chunks_exact(4).enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && index + 1 != groups) {
            return None;
        }
        let mut bits = 0_u32;
        for byte in &group[..4 - padding] {
            bits = bits << 6 | u32::from(digit(*byte)?);
        }
        bits <<= 6 * padding;
        let [_, first, second, third] = bits.to_be_bytes();
        let decoded = [first, second, third];
        let (kept, left_over) = decoded.split_at(3 - padding);
        if left_over.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
#[path = "header_value_tests.rs"]
mod tests;
