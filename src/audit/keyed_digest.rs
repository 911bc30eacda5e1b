//! Keyed digests: what a record says of a value that it must not show.

use std::fmt;
use std::net::IpAddr;

/// HMAC-SHA-256 of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hmac(pub [u8; 32]);

/// The same in 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HexDigest([u8; 64]);

/// Digests of sensitive values.
pub trait KeyedDigest {
    /// That of a text; `None` without a key.
    fn digest(&self, text: &str) -> Option<Hmac>;

    /// That of an address, as it is written.
    fn address_digest(&self, address: IpAddr) -> Option<Hmac>;
}

impl Hmac {
    /// Its hexadecimal digits.
    pub fn hex(&self) -> HexDigest {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        HexDigest(text)
    }
}

impl std::ops::Deref for HexDigest {
    type Target = str;

    fn deref(&self) -> &str {
        // Hexadecimal digits are valid UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}
