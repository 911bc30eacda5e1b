//! The text of an error, which passes as it comes unless it reads as a message.
//!
//! Clients differ in how far they trust the type of an error: some read JSON-RPC in whatever comes with it. So the first
//! visible byte tells JSON, which is judged as a whole, from a page or a sentence, in which a line of a server-sent event is
//! the last thing that passes. Nothing else is held back.

/// The field of a server-sent event that carries a message.
const DATA: &[u8] = b"data";

/// What is known of a text so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ErrorText {
    /// Nothing visible has come: white space, a byte order mark.
    #[default]
    Blank,
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
                Self::Blank if !byte.is_ascii_graphic() => continue,
                Self::Blank if matches!(byte, b'{' | b'[') => return Passing::UpToJson(at),
                Self::Blank => Some(0),
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
