//! Invisible characters, and characters that change how the text around them looks.
//!
//! Names of members, targets and texts shown to approvers contain none of them, or show them as escapes, so
//! that all readers see the same text.

use std::borrow::Cow;
use std::fmt::Write as _;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization as _;

/// A symbol that looks like a space.
const BRAILLE_BLANK: char = '\u{2800}';

/// The maximum length of an excerpt in a message, in characters.
const SHOWN_CHARS: usize = 80;

/// Whether a character is a control or format character, default-ignorable (Unicode
/// `Default_Ignorable_Code_Point`: zero-width, bidirectional, variation selectors, tags, fillers), a line or
/// paragraph separator, or a blank other than U+0020.
pub fn is_invisible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let hidden = GeneralCategoryGroup::Control
        .union(GeneralCategoryGroup::Format)
        .union(GeneralCategoryGroup::Separator);
    hidden.contains(CodePointMapData::<GeneralCategory>::new().get(c))
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || c == BRAILLE_BLANK
}

/// Whether a text contains an invisible character.
pub fn has_invisible(text: &str) -> bool {
    !is_plain(text) && text.chars().any(is_invisible)
}

/// Whether a text is printable ASCII, as most are. Looks at all of it, which is faster than to stop.
pub fn is_plain(text: &str) -> bool {
    let bytes = text.bytes();
    bytes.fold(true, |is_plain, byte| {
        is_plain & matches!(byte, b' '..=b'~')
    })
}

/// Escapes invisible characters, e.g. `\u{202e}`. Backslashes are not escaped: the text is for people.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// Like [`escaped`], but keeps line breaks. Only for text whose lines were written by its author; embedded
/// names and values have to be escaped before.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    escaped_but(text, |c| c == '\n')
}

/// An excerpt of untrusted text for a message: escaped and truncated.
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    escaped(&shown).into_owned()
}

fn escaped_but(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(|c| is_invisible(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if stays(c) => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_invisible(c) => {
                // Writing to a string does not fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// A name in the form that case-insensitive and normalizing parsers compare: Unicode compatibility form
/// (NFKC), case-folded.
pub fn folded(name: &str) -> Cow<'_, str> {
    if name
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        return Cow::Borrowed(name);
    }
    // Upper case first, so that sharp s equals ss and final sigma equals sigma.
    let composed: String = name.nfkc().collect();
    let folded = composed.to_uppercase().to_lowercase();
    Cow::Owned(folded.nfkc().collect())
}

#[cfg(test)]
#[path = "visible_tests.rs"]
mod tests;
