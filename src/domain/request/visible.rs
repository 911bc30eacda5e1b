//! Characters that nobody sees, or that change how the text around them looks.
//!
//! Two readers of a text agree only about what both of them see. So names of members, targets and what a person is
//! shown before an approval have none of these, or show them as escapes.

use std::borrow::Cow;
use std::fmt::Write as _;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization as _;

/// Looks like a space and is a symbol.
const BRAILLE_BLANK: char = '\u{2800}';

/// Characters of a stranger's text in a message.
const SHOWN_CHARS: usize = 80;

/// Whether a character is a control or format character, one that is ignored where it is not supported
/// (Unicode's `Default_Ignorable_Code_Point`: zero-width, bidirectional, variation selectors, tags, fillers), the end of
/// a line or paragraph, or blank without being the space of the keyboard.
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

/// Whether any character of a text is invisible.
pub fn has_invisible(text: &str) -> bool {
    text.chars().any(is_invisible)
}

/// A text with every invisible character as an escape, e.g. `\u{202e}`. A backslash stays one: the text is for people.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// The same for a text of several lines: their ends stay. Only for text whose lines are its author's, as names and
/// values of others in it were escaped before.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    escaped_but(text, |c| c == '\n')
}

/// Text of a stranger as it appears in a message: escaped and cut short.
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    escaped(&shown).into_owned()
}

fn escaped_but(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_invisible(c) && !stays(c)) {
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

/// A name as readers take it that mind neither the case of letters nor the form of characters: Unicode's compatibility
/// forms (NFKC) are one, and letters are folded. Two names that fold to one are one name to somebody.
pub fn folded(name: &str) -> Cow<'_, str> {
    if name
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        return Cow::Borrowed(name);
    }
    // Upper case first: then a sharp s is a double one, and a final sigma is a sigma, as they are for such readers.
    let composed: String = name.nfkc().collect();
    let folded = composed.to_uppercase().to_lowercase();
    Cow::Owned(folded.nfkc().collect())
}

#[cfg(test)]
#[path = "visible_tests.rs"]
mod tests;
