//! Values of the headers `Mcp-Method` and `Mcp-Name`, which may be encoded as `=?base64?…?=`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "=?base64?";
const END: &str = "?=";

/// Decodes a header's value. `None` if it is marked as encoded and is not valid.
pub fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let Some(encoded) = value.strip_prefix(BEGIN) else {
        return Some(Cow::Borrowed(value));
    };
    // Padded, in the standard alphabet and without trailing bits, so that a text has one encoding.
    let bytes = STANDARD.decode(encoded.strip_suffix(END)?).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
#[path = "header_value_tests.rs"]
mod tests;
