//! The characters allowed in targets, and percent-encoding.

use std::borrow::Cow;
use std::cell::Cell;

use smallvec::SmallVec;
use smol_str::SmolStr;
use unicode_normalization::UnicodeNormalization as _;

use crate::domain::request::target::expansion;
use crate::domain::request::target::kind::{MAX_TARGET_BYTES, MAX_TARGET_SEGMENTS, TargetError};
use crate::domain::request::visible;

/// Characters that structure a path, URL or address.
const STRUCTURE: &str = "./\\:%@";

/// Characters that look like structural ones and have no compatibility form: fraction and division slash,
/// ratio, set minus, modifier colon, diagonals, solidus operators, and full stops that resolvers take for
/// dots.
const LOOK_ALIKES: [char; 12] = [
    '\u{2044}', '\u{2215}', '\u{2216}', '\u{2236}', '\u{2571}', '\u{2572}', '\u{29f5}', '\u{29f8}',
    '\u{29f9}', '\u{3002}', '\u{a789}', '\u{ff61}',
];

/// Joins the parts of a name in memory that the thread keeps, so that only the name is allocated.
pub fn joined(write: impl FnOnce(&mut String)) -> SmolStr {
    thread_local! {
        static NAME: Cell<String> = const { Cell::new(String::new()) };
    }
    let mut name = NAME.take();
    name.clear();
    write(&mut name);
    let joined = SmolStr::new(&name);
    if name.capacity() <= MAX_TARGET_BYTES {
        NAME.set(name);
    }
    joined
}

/// The segments of a path; most have few.
pub type Segments<'p> = SmallVec<[&'p str; 8]>;

/// Rejects characters that are invisible or ambiguous.
///
/// # Errors
///
/// [`TargetError::Empty`], [`TargetError::TooLong`] or [`TargetError::Ambiguous`].
pub fn check(text: &str) -> Result<(), TargetError> {
    if text.is_empty() {
        return Err(TargetError::Empty);
    }
    if text.len() > MAX_TARGET_BYTES {
        return Err(TargetError::TooLong);
    }
    if text.trim() != text {
        return Err(TargetError::Ambiguous("a space at an end"));
    }
    if text.contains('\\') {
        return Err(TargetError::Ambiguous("a backslash"));
    }
    if visible::has_invisible(text) {
        return Err(TargetError::Ambiguous(
            "a control character, or one that nobody sees",
        ));
    }
    if text.is_ascii() {
        return Ok(());
    }
    if text.chars().any(is_look_alike) {
        return Err(TargetError::Ambiguous(
            "a character that looks like a dot, slash, colon or other mark and is another",
        ));
    }
    if !unicode_normalization::is_nfc(text) {
        return Err(TargetError::Ambiguous(
            "letters in a form other than Unicode's NFC",
        ));
    }
    Ok(())
}

fn is_look_alike(c: char) -> bool {
    !c.is_ascii()
        && (LOOK_ALIKES.contains(&c)
            || std::iter::once(c)
                .nfkc()
                .any(|other| STRUCTURE.contains(other)))
}

/// Whether a text contains a percent-escape.
pub fn has_escape(text: &str) -> bool {
    let is_escape = |three: &[u8]| {
        three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit()
    };
    text.as_bytes().windows(3).any(is_escape)
}

/// Decodes the path of a URI. An escaped structural or control character, or a nested escape, is rejected.
///
/// # Errors
///
/// [`TargetError::Ambiguous`] for such an escape.
pub fn decoded(raw: &str) -> Result<String, TargetError> {
    if !raw.contains('%') {
        return Ok(raw.to_owned());
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|it| char::from(*it).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(TargetError::Ambiguous("a `%` that begins no escape"));
        };
        match u8::try_from(high * 16 + low).unwrap_or_default() {
            b'/' | b'\\' | b'.' | b';' => {
                return Err(TargetError::Ambiguous(
                    "an escaped slash, backslash, dot or semicolon",
                ));
            }
            byte if byte.is_ascii_control() => {
                return Err(TargetError::Ambiguous("an escaped control character"));
            }
            byte => bytes.push(byte),
        }
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| TargetError::Ambiguous("escapes that are not UTF-8"))?;
    if has_escape(&text) {
        return Err(TargetError::Ambiguous("an escape within an escape"));
    }
    check(&text)?;
    Ok(text)
}

/// A segment in a canonical name: only what would begin a query, fragment or escape is escaped.
pub fn escaped(segment: &str) -> Cow<'_, str> {
    if !segment.contains(['%', '?', '#']) {
        return Cow::Borrowed(segment);
    }
    let segment = segment.replace('%', "%25");
    Cow::Owned(segment.replace('?', "%3F").replace('#', "%23"))
}

/// The segments of a path, without empty ones and `.`.
///
/// # Errors
///
/// [`TargetError::TooDeep`], or the error of [`expansion::check`] or [`check_segment`].
pub fn segments(path: &str) -> Result<Segments<'_>, TargetError> {
    expansion::check(path)?;
    for segment in path.split('/') {
        check_segment(segment)?;
    }
    let segments: Segments<'_> = path
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".")
        .collect();
    if segments.len() > MAX_TARGET_SEGMENTS {
        return Err(TargetError::TooDeep);
    }
    Ok(segments)
}

/// Rejects a `..` segment, also with a parameter after a semicolon.
///
/// # Errors
///
/// [`TargetError::Climbs`] or [`TargetError::Ambiguous`].
pub fn check_segment(segment: &str) -> Result<(), TargetError> {
    let stem = segment.split(';').next().unwrap_or_default().trim();
    if stem == ".." {
        return Err(TargetError::Climbs);
    }
    if segment.trim() != segment {
        return Err(TargetError::Ambiguous("a space at the end of a segment"));
    }
    if segment.contains(';') && (stem.is_empty() || stem == ".") {
        return Err(TargetError::Ambiguous("a segment that begins with `;`"));
    }
    Ok(())
}
