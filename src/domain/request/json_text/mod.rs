//! JSON text that no parsed value represents exactly: numbers beyond common precision, and unpaired
//! surrogates.
//!
//! [`inexact_number`] finds what a strict parser rejects; [`tolerant`] replaces it, so that the rest of the
//! text can be inspected.

mod numbers;
mod reading;

use std::borrow::Cow;
use std::ops::Range;

pub use crate::domain::request::json_text::numbers::{
    InexactNumber, is_beyond_double, may_be_rounded, of_double, of_parsed,
};
pub use crate::domain::request::json_text::reading::JsonReading;

/// The replacement of an unpaired surrogate; the digits of its escape follow, so that different ones stay different.
const REPLACEMENT: &[u8] = b"\\ufffd";

/// A token that no parsed value represents exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LossyToken {
    Number(Range<usize>, InexactNumber),
    Surrogate(Range<usize>),
}

/// The first number that parsing would change, and why.
pub fn inexact_number(text: &[u8]) -> Option<(String, InexactNumber)> {
    Scanner::new(text).find_map(|found| match found {
        LossyToken::Number(at, why) => Some((String::from_utf8_lossy(&text[at]).into_owned(), why)),
        LossyToken::Surrogate(_) => None,
    })
}

/// Whether a text is a number that a double does not hold as it is written.
pub fn has_too_many_digits(literal: &str) -> bool {
    numbers::check(literal) == Err(InexactNumber::TooManyDigits)
}

/// Replaces what no value represents: unpaired surrogates by U+FFFD and their digits (`\ud800` by `�d800`), inexact numbers by strings with their
/// digits. For inspection only: the original text is what is forwarded.
pub fn tolerant(text: &[u8]) -> Cow<'_, [u8]> {
    let mut held: Option<Vec<u8>> = None;
    let mut copied = 0;
    for found in Scanner::new(text) {
        let out = held.get_or_insert_with(|| Vec::with_capacity(text.len() + 16));
        let (LossyToken::Number(at, _) | LossyToken::Surrogate(at)) = &found;
        out.extend_from_slice(&text[copied..at.start]);
        match &found {
            LossyToken::Number(..) => {
                // A prefix that no server writes.
                out.extend_from_slice(b"\"\\u0000number ");
                out.extend_from_slice(&text[at.clone()]);
                out.push(b'"');
            }
            LossyToken::Surrogate(at) => {
                out.extend_from_slice(REPLACEMENT);
                // What is found is an escape: `\u` and four digits.
                let digits = text[at.clone()].iter().skip(2);
                out.extend(digits.map(u8::to_ascii_lowercase));
            }
        }
        copied = at.end;
    }
    match held {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.extend_from_slice(&text[copied..]);
            Cow::Owned(out)
        }
    }
}

/// Scans a text token by token. Invalid JSON is skipped; the parser reports it.
struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    in_string: bool,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            at: 0,
            in_string: false,
        }
    }

    /// The next unpaired surrogate of a string, or its end.
    fn in_string(&mut self) -> Option<LossyToken> {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    self.in_string = false;
                    return None;
                }
                b'\\' => {
                    let start = self.at;
                    let unit = self.unit(start);
                    self.at += if unit.is_some() { 6 } else { 2 };
                    match unit {
                        Some(0xd800..=0xdbff)
                            if matches!(self.unit(self.at), Some(0xdc00..=0xdfff)) =>
                        {
                            self.at += 6
                        }
                        Some(0xd800..=0xdfff) => {
                            return Some(LossyToken::Surrogate(start..self.at));
                        }
                        _ => {}
                    }
                }
                _ => self.at += 1,
            }
        }
        None
    }

    /// The UTF-16 code unit of an escape.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let digits = std::str::from_utf8(digits).ok()?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex
            .then(|| u16::from_str_radix(digits, 16).ok())
            .flatten()
    }

    fn number(&mut self) -> Option<LossyToken> {
        let start = self.at;
        let is_part = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        self.at += self.text[start..].iter().take_while(is_part).count();
        let literal = std::str::from_utf8(&self.text[start..self.at]).ok()?;
        let why = numbers::check(literal).err()?;
        Some(LossyToken::Number(start..self.at, why))
    }
}

impl Iterator for Scanner<'_> {
    type Item = LossyToken;

    fn next(&mut self) -> Option<LossyToken> {
        loop {
            if self.in_string
                && let Some(found) = self.in_string()
            {
                return Some(found);
            }
            match self.text.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    self.in_string = true;
                }
                b'-' | b'0'..=b'9' => {
                    if let Some(found) = self.number() {
                        return Some(found);
                    }
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests;
