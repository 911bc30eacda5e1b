//! Which characters make up hosts and URLs in a text.

/// The maximum length of a URL, in bytes.
pub(super) const MAX_URL: usize = 2_048;

/// Whether a character may be part of a host. Registries also sell names of signs and emoji, joined or varied by
/// invisible characters.
pub(super) fn is_of_host(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(c, '-' | '.' | '_' | '\u{200d}' | '\u{fe0f}')
        || (!c.is_ascii() && is_sign(c))
}

/// Whether a character is a sign or an emoji, rather than punctuation or a space.
fn is_sign(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{20d0}'..='\u{20ff}' | '\u{2100}'..='\u{2bff}'
        | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

/// Whether a character continues a URL.
pub(super) fn is_of_url(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '<' | '>' | '"' | '\'' | '`' | '|' | '{' | '}' | '^')
}

/// How many bytes of a path and query continue the URL for every reader, up to the longest URL. Some end it at a dot that has no
/// word behind it.
pub(super) fn length_for_any(path: &str) -> usize {
    let path = path.as_bytes();
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let continues = |at: usize, byte: u8| match byte {
        b'.' => path.get(at + 1).is_some_and(is_of_word),
        byte => is_of_word(&byte) || b"~/%?=&".contains(&byte),
    };
    let mut bytes = path.iter().enumerate().take(MAX_URL);
    let end = bytes.position(|(at, byte)| !continues(at, *byte));
    end.unwrap_or(path.len().min(MAX_URL))
}
