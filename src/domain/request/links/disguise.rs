//! Undoes what hides a link from programs but not from people.
//!
//! Start at [`plain`].

use unicode_normalization::UnicodeNormalization as _;

use crate::domain::request::visible::is_invisible;

/// The text without invisible characters, with compatibility forms, escapes and bracketed dots undone and
/// slashes unified. `None` if nothing changed. A text of more than `most` bytes is as good as one of any length, and is
/// cut soon after.
pub(super) fn plain(text: &str, most: usize) -> Option<String> {
    const HIDES: [char; 6] = ['\\', '[', '(', '{', '&', '%'];
    if text.is_ascii() && !text.contains(HIDES) && !text.chars().any(is_invisible) {
        return None;
    }
    let seen = text
        .chars()
        .filter(|c| !is_invisible(*c) || c.is_whitespace());
    let mut folded = String::with_capacity(text.len());
    for c in seen.nfkc() {
        folded.push(match c {
            '\\' | '\u{2044}' | '\u{2215}' | '\u{29f8}' => '/',
            '\u{3002}' | '\u{ff61}' => '.',
            '\u{2236}' | '\u{a789}' => ':',
            c => c,
        });
        if folded.len() > most {
            return Some(folded);
        }
    }
    let plain = without_brackets(&unescaped(&folded, &['%', '&']));
    (plain != text).then_some(plain)
}

/// The text with the characters that HTML and Markdown show for `&sol;` and `&#47;`. `None` if nothing changed.
pub(super) fn without_references(text: &str) -> Option<String> {
    if !text.contains('&') {
        return None;
    }
    let plain = unescaped(text, &['&']);
    (plain != text).then_some(plain)
}

/// Undoes defanging brackets: `evil[.]example`, `evil(dot)example`.
fn without_brackets(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['[', '(', '{']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let inside = &rest[1..];
        let close = inside.bytes().take(4).position(|b| b"])}".contains(&b));
        let meant = close.and_then(|close| {
            let word = inside.get(..close)?;
            match word {
                "." | ":" | "/" | "://" => Some((word, close)),
                word if word.eq_ignore_ascii_case("dot") => Some((".", close)),
                _ => None,
            }
        });
        match meant {
            Some((mark, close)) => {
                plain.push_str(mark);
                rest = &inside[close + 1..];
            }
            None => {
                plain.push_str(&rest[..1]);
                rest = inside;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// Undoes `%2e` and `&#46;`, as far as they begin with one of these signs. What nobody sees is left out.
fn unescaped(text: &str, signs: &[char]) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(signs) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        match escape(rest) {
            Some((c, length)) => {
                match c {
                    '\\' => plain.push('/'),
                    c if is_invisible(c) => {}
                    c => plain.push(c),
                }
                rest = &rest[length..];
            }
            None => {
                plain.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// The character that an escape at the start of the text stands for, and the length of the escape.
fn escape(text: &str) -> Option<(char, usize)> {
    const NAMED: [(&str, char); 8] = [
        ("&period;", '.'),
        ("&colon;", ':'),
        ("&sol;", '/'),
        ("&bsol;", '\\'),
        ("&commat;", '@'),
        ("&dot;", '.'),
        ("&Tab;", '\t'),
        ("&NewLine;", '\n'),
    ];
    if let Some(digits) = text.strip_prefix('%') {
        let byte = u8::from_str_radix(digits.get(..2)?, 16).ok()?;
        return byte.is_ascii_graphic().then(|| (char::from(byte), 3));
    }
    if let Some((name, c)) = NAMED.iter().find(|(name, _)| text.starts_with(name)) {
        return Some((*c, name.len()));
    }
    let number = text.strip_prefix("&#")?;
    let hexadecimal = number.strip_prefix(['x', 'X']);
    let digits = hexadecimal.unwrap_or(number);
    let radix = if hexadecimal.is_some() { 16 } else { 10 };
    // Any number of zeros may stand before as many digits as a reference has.
    let zeros = digits.bytes().take_while(|b| *b == b'0').count();
    let significant = digits[zeros..].chars().take(9);
    let length = zeros + significant.take_while(|c| c.is_digit(radix)).count();
    let c = char::from_u32(u32::from_str_radix(digits.get(..length)?, radix).ok()?)?;
    let before = text.len() - digits.len();
    let ends = usize::from(digits[length..].starts_with(';'));
    Some((c, before + length + ends))
}
