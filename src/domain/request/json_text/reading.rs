//! Another value within a text: `"[\"a\"]"` is a text, and a list to whoever parses it.
//!
//! Some clients write a list or an object so, and therefore some servers, among them those made with the official SDK for
//! Python, parse a text with `json.loads` where they expect something else than a text. Where they expect a number, they take
//! many spellings of it. Start at [`JsonReading::of`] and [`JsonReading::of_number`].

use std::fmt;

use serde::de::IgnoredAny;

use super::has_too_many_digits;

/// What such a server reads a text as. True or false, or a text in quotes stays the text that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonReading {
    /// A list.
    List,
    /// An object.
    Object,
    /// Null.
    Null,
    /// A number.
    Number,
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

    /// The reading where a number is expected: it has many spellings, such as `042`, `+42`, `4_2`, `42.0`, `4.2e1`, `0x2a`, or
    /// blanks around it. `None` for the shortest one in digits, which names what the number itself names, and for what nobody
    /// takes for a number.
    pub fn of_number(text: &str) -> Option<Self> {
        let bare = text.trim();
        let word = bare.trim_start_matches(['+', '-']);
        let is_word = ["inf", "infinity", "nan"]
            .iter()
            .any(|it| word.eq_ignore_ascii_case(it));
        // JavaScript makes 0 of an empty text.
        let is_number = bare.is_empty() || is_word || bare.contains(char::is_numeric);
        (is_number && !is_shortest(text)).then_some(Self::Number)
    }
}

/// Whether a text is a number in digits without anything that could be left out, and no more of them than a double holds.
fn is_shortest(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let is_whole = !whole.is_empty() && digits(whole) && (whole == "0" || !whole.starts_with('0'));
    let ends_well = match fraction {
        Some(it) => {
            !it.is_empty() && digits(it) && !it.ends_with('0') && !has_too_many_digits(text)
        }
        None => whole.parse::<u64>().is_ok_and(|it| it < 1 << 53),
    };
    is_whole && ends_well && text != "-0"
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
            Self::Number => "a number",
        })
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
