//! The wire format of Protobuf, written into a buffer without building a message first.
//!
//! Whoever writes the fields in the order of their numbers writes the bytes that the message itself would encode to.

use prost::Message;

/// Wire types.
pub const VARINT: u32 = 0;
/// Eight bytes, the lowest first.
pub const FIXED_64: u32 = 1;
/// A length, and as many bytes.
pub const LENGTH: u32 = 2;
/// Four bytes, the lowest first.
pub const FIXED_32: u32 = 5;

/// The number and the wire type of a field.
#[inline]
pub fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, (field << 3 | wire_type).into());
}

/// A number in as few bytes as it needs.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lowest seven bits")]
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What precedes the content of a field with bytes: its number, and how many there are.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "less than 128 each")]
pub fn prefix(out: &mut Vec<u8>, field: u32, length: usize) {
    if field < 16 && length < 0x80 {
        // A byte each, as with nearly all: they are written at once.
        out.extend_from_slice(&[(field << 3 | LENGTH) as u8, length as u8]);
    } else {
        tag(out, field, LENGTH);
        varint(out, length as u64);
    }
}

/// A field with bytes, written even if there are none.
#[inline]
pub fn bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    prefix(out, field, content.len());
    out.extend_from_slice(content);
}

/// A field with text, left out if empty.
#[inline]
pub fn text(out: &mut Vec<u8>, field: u32, content: &str) {
    if !content.is_empty() {
        bytes(out, field, content.as_bytes());
    }
}

/// A field with a number, left out if zero.
#[inline]
pub fn number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        tag(out, field, VARINT);
        varint(out, number);
    }
}

/// A field with a message.
pub fn message(out: &mut Vec<u8>, field: u32, message: &impl Message) {
    nested(out, field, |out| encode(out, message));
}

/// Appends a message.
pub fn encode(out: &mut Vec<u8>, message: &impl Message) {
    out.reserve(message.encoded_len());
    // There is room for it.
    message.encode_raw(out);
}

/// A field with a message or a text: its length, and what `write` writes.
#[inline]
pub fn nested(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out, field);
    write(out);
    end(out, start);
}

/// Begins a field whose length is not known yet. [`end`] wants what this returns.
#[inline]
pub fn begin(out: &mut Vec<u8>, field: u32) -> usize {
    prefix(out, field, 0);
    out.len()
}

/// Ends the field whose content begins at `start`, by putting its length in front of it.
#[expect(clippy::cast_possible_truncation, reason = "the lowest seven bits")]
pub fn end(out: &mut Vec<u8>, start: usize) {
    let content = out.len() - start;
    // The length takes a byte for seven bits; the content is moved for those beyond the first.
    let mut more = content >> 7;
    while more > 0 {
        out.push(0);
        more >>= 7;
    }
    let moved = out.len() - start - content;
    if moved > 0 {
        out.copy_within(start..start + content, start + moved);
    }
    let mut length = content;
    for byte in &mut out[start - 1..start + moved] {
        *byte = (length & 0x7f) as u8 | 0x80;
        length >>= 7;
    }
    out[start + moved - 1] &= 0x7f;
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
