//! The text of an error, which passes as it comes unless it reads as a message.
//!
//! Clients differ in how far they trust the type of an error: some read JSON-RPC in whatever comes with it. So the first
//! visible character tells JSON, which is judged as a whole, from a page or a sentence, in which a line of a server-sent event is
//! the last thing that passes. Nothing else is held back.

use crate::domain::request::visible::is_invisible;

/// The field of a server-sent event that carries a message.
const DATA: &[u8] = b"data";

/// What is known of a text so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorText {
    /// Nothing visible has come: white space, a byte order mark, bytes that are no UTF-8, which some readers leave out. The
    /// last bytes so far.
    Blank([u8; 3]),
    /// It is no JSON. The last line so far is these many bytes of [`DATA`]; `None` if it is anything else.
    Text(Option<usize>),
    /// It had the data of an event: the rest is dropped.
    Cut,
}

/// What passes of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// All of it.
    All,
    /// These many bytes; those after them begin a text that may be JSON.
    UpToJson(usize),
    /// These many bytes; those after them are the data of an event.
    UpToEvent(usize),
    /// Nothing, as it comes after such.
    Nothing,
}

impl ErrorText {
    /// Reads the next piece. After [`Passing::UpToJson`] the text is no longer of concern here.
    pub(super) fn read(&mut self, piece: &[u8]) -> Passing {
        for (at, byte) in piece.iter().enumerate() {
            let matched = match self {
                Self::Cut => return Passing::Nothing,
                Self::Blank([a, b, c]) => match last_character([*a, *b, *c, *byte]) {
                    Some('{' | '[') => return Passing::UpToJson(at),
                    Some(seen) if !seen.is_whitespace() && !is_invisible(seen) => Some(0),
                    _ => {
                        *self = Self::Blank([*b, *c, *byte]);
                        continue;
                    }
                },
                Self::Text(matched) => *matched,
            };
            if *byte == b':' && matched == Some(DATA.len()) {
                *self = Self::Cut;
                return Passing::UpToEvent(at);
            }
            *self = Self::Text(after(matched, *byte));
        }
        Passing::All
    }
}

impl Default for ErrorText {
    fn default() -> Self {
        Self::Blank([0; 3])
    }
}

/// The character that ends with the last of these bytes, if they are one in UTF-8.
fn last_character(bytes: [u8; 4]) -> Option<char> {
    (0..bytes.len()).find_map(|from| {
        let mut characters = str::from_utf8(bytes.get(from..)?).ok()?.chars();
        characters.next().filter(|_| characters.next().is_none())
    })
}

/// How much of [`DATA`] the line is with one more byte. Readers differ in what ends a line, so that every control character
/// and every byte beyond ASCII may.
fn after(matched: Option<usize>, byte: u8) -> Option<usize> {
    let is_end = !byte.is_ascii() || byte.is_ascii_control() && byte != b'\t';
    if is_end {
        return Some(0);
    }
    let matched = matched?;
    let next = DATA.get(matched)?;
    byte.eq_ignore_ascii_case(next).then_some(matched + 1)
}

#[cfg(test)]
#[path = "error_text_tests.rs"]
mod tests;
