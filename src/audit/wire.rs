//! Writes protobuf fields into a buffer, without building a message first.
//!
//! Start at [`WireWriter`]. Fields have to be written in the order of their numbers; then the bytes are those that the
//! message itself would encode to.
//!
//! Invariant: no text holds a NUL. A frame's length always has two zero bytes, so no text can pass for a frame when a
//! damaged file is searched for the next one.

use std::fmt::{self, Display, Write as _};

use callgate_engine::cedar::EntityUID;
use sha2::{Digest as _, Sha256};

use crate::audit::frame::MAX_RECORD;
use crate::domain::schema;
use crate::proto::wire;

/// The longest text, in bytes.
pub const MAX_TEXT: usize = 512;
/// The most entries of a list.
pub const MAX_ENTRIES: usize = 64;
/// Once a record is this long, no list gets another entry: there has to be room for the fields that are no lists.
const MAX_WITH_LISTS: usize = MAX_RECORD - 16_384;

/// Whether a list with so many entries, of a record of so many bytes that was cut, may have had more.
pub fn may_have_had_more(entries: usize, record_bytes: usize) -> bool {
    entries >= MAX_ENTRIES || record_bytes > MAX_WITH_LISTS
}

/// Stands for a NUL.
const REPLACEMENT: &str = "\u{fffd}";
/// Stands between what is left of a text and its digest.
const CUT: &str = "…sha256:";

/// Writes fields at the end of a buffer.
pub struct WireWriter<'b> {
    out: &'b mut Vec<u8>,
    /// Where the record begins.
    start: usize,
    is_cut: bool,
}

impl<'b> WireWriter<'b> {
    /// Writes from the end of the buffer on.
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            start,
            is_cut: false,
        }
    }

    /// Whether a text or a list was cut.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// A number, also if it is zero.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        wire::tag(self.out, field, wire::FIXED_64);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A number; zero is left out.
    #[inline]
    pub fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.some_uint(field, value);
        }
    }

    /// A number, also if it is zero.
    #[inline]
    pub fn some_uint(&mut self, field: u32, value: u64) {
        wire::tag(self.out, field, wire::VARINT);
        wire::varint(self.out, value);
    }

    /// `true`; `false` is left out.
    pub fn flag(&mut self, field: u32, value: bool) {
        self.uint(field, u64::from(value));
    }

    /// Some bytes; none are left out.
    #[inline]
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            wire::bytes(self.out, field, value);
        }
    }

    /// A text; an empty one is left out, a long one is cut.
    #[inline]
    pub fn text(&mut self, field: u32, value: &str) {
        if value.is_empty() {
            return;
        }
        if value.len() > MAX_TEXT || has_nul(value) {
            self.nested(field, |wire| wire.put_unusual(value));
        } else {
            self.bytes(field, value.as_bytes());
        }
    }

    /// A text that is made while it is written.
    pub fn display(&mut self, field: u32, value: &impl Display) {
        self.made(field, |out| write!(Sink(out), "{value}").is_ok());
    }

    /// The name of an entity as Cedar writes it: `Mcp::Agent::"triage"`.
    pub fn entity(&mut self, field: u32, uid: &EntityUID) {
        let id: &str = uid.eid().as_ref();
        let Some(name) = schema::mcp_name(uid.entity_type()).filter(|_| is_plain(id)) else {
            return self.display(field, uid);
        };
        let parts = ["Mcp::", name, "::\"", id, "\""];
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > MAX_TEXT {
            return self.display(field, uid);
        }
        wire::prefix(self.out, field, length);
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// A text that `make` appends; it says whether the text is complete.
    fn made(&mut self, field: u32, make: impl FnOnce(&mut Vec<u8>) -> bool) {
        self.nested(field, |wire| {
            let start = wire.out.len();
            // Writing into memory does not fail; a `Display` that does leaves its text incomplete.
            wire.is_cut |= !make(wire.out);
            let text = &wire.out[start..];
            if text.len() > MAX_TEXT || text.contains(&0) {
                let text = String::from_utf8_lossy(text).into_owned();
                wire.out.truncate(start);
                wire.put_unusual(&text);
            }
        });
    }

    /// An optional text.
    #[inline]
    pub fn optional(&mut self, field: u32, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.text(field, value.as_ref());
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, field: u32, values: impl IntoIterator<Item = impl AsRef<str>>) {
        self.each(values, |wire, value| {
            let value = value.as_ref();
            if value.is_empty() {
                wire.bytes_even_if_empty(field);
            } else {
                wire.text(field, value);
            }
        });
    }

    /// A list: `write` is called for each value that there is room for.
    pub fn each<T>(
        &mut self,
        values: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        for (count, value) in values.into_iter().enumerate() {
            if count == MAX_ENTRIES || self.out.len() - self.start > MAX_WITH_LISTS {
                self.is_cut = true;
                return;
            }
            write(self, value);
        }
    }

    /// A message, or a text: its length, and what `write` writes.
    pub fn nested(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let start = wire::begin(self.out, field);
        write(self);
        wire::end(self.out, start);
    }

    /// Inserts a flag before what was written from `at` on.
    pub fn insert_flag(&mut self, at: usize, field: u32) {
        let mut flag = Vec::with_capacity(2);
        WireWriter::new(&mut flag).flag(field, true);
        self.out.splice(at..at, flag);
    }

    /// The end of what is written.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    fn bytes_even_if_empty(&mut self, field: u32) {
        wire::bytes(self.out, field, b"");
    }

    /// A text that is long or holds a NUL.
    fn put_unusual(&mut self, value: &str) {
        self.is_cut = true;
        let whole = value.replace('\0', REPLACEMENT);
        if whole.len() <= MAX_TEXT {
            self.out.extend_from_slice(whole.as_bytes());
            return;
        }
        let keep = MAX_TEXT - CUT.len() - 64;
        let end = (0..=keep).rev().find(|end| whole.is_char_boundary(*end));
        let kept = &whole[..end.unwrap_or(0)];
        self.out.extend_from_slice(kept.as_bytes());
        self.out.extend_from_slice(CUT.as_bytes());
        for byte in Sha256::digest(value.as_bytes()) {
            let digit = |half: u8| b"0123456789abcdef"[usize::from(half & 15)];
            self.out.extend([digit(byte >> 4), digit(byte)]);
        }
    }
}

/// A text as a record has it: cut if it is long.
pub fn as_recorded(text: &str) -> String {
    if text.len() <= MAX_TEXT && !has_nul(text) {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(MAX_TEXT);
    WireWriter::new(&mut out).put_unusual(text);
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a text holds a NUL. Looks at all of it, which is faster than to stop.
fn has_nul(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | (byte == 0))
}

/// Which bytes Cedar writes without escapes: those of plain ASCII, but for quotes and the backslash.
const UNESCAPED: [bool; 256] = {
    let mut unescaped = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        unescaped[byte as usize] = !matches!(byte, b'"' | b'\'' | b'\\');
        byte += 1;
    }
    unescaped
};

/// Whether an id is short and plain ASCII that Cedar writes without escapes. Any other is left to Cedar, or cut.
pub fn is_plain(id: &str) -> bool {
    let is_unescaped = |byte: u8| UNESCAPED[usize::from(byte)];
    id.len() <= MAX_TEXT / 2 && id.bytes().all(is_unescaped)
}

struct Sink<'a>(&'a mut Vec<u8>);

impl fmt::Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
