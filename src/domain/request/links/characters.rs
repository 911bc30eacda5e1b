//! Which characters make up hosts and URLs in a text.

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

/// Whether a character after a host continues the URL for every reader.
pub(super) fn is_of_any_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/%?=&#:@+$".contains(&byte)
}
