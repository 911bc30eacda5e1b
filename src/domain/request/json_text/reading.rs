//! JSON within a text: `"[\"a\"]"` is a text, and a list to whoever parses it.
//!
//! Some clients write a list or an object so, and therefore some servers, among them those made with the official SDK for
//! Python, parse a text with `json.loads` where they expect something else than a text. Start at [`JsonReading::of`].

use std::fmt;

use serde::de::IgnoredAny;

/// What such a server reads a text as. A number, true or false, or a text in quotes stays the text that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonReading {
    /// A list.
    List,
    /// An object.
    Object,
    /// Null.
    Null,
}

impl JsonReading {
    /// The reading of a text; `None` if it is a text to everybody.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        let reading = match text.as_bytes().first()? {
            b'[' => Self::List,
            b'{' => Self::Object,
            b'n' if text == "null" => return Some(Self::Null),
            _ => return None,
        };
        is_json(text).then_some(reading)
    }
}

/// Whether a text is JSON to any reader: values of any depth, with half characters (`\ud800`) and numbers of any size.
fn is_json(text: &str) -> bool {
    let parses = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    // Python's `json` reads these words as numbers. A word in a string may be any other one.
    let has_words = || text.contains("NaN") || text.contains("Infinity");
    parses(text) || has_words() && parses(&text.replace("NaN", "0").replace("Infinity", "0"))
}

/// Completes "a text that reads as …".
impl fmt::Display for JsonReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "a list",
            Self::Object => "an object",
            Self::Null => "null",
        })
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
