//! The definition of a tool, as a server lists it, and the digest that it is pinned by.

use std::fmt::Write;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// `sha256:<hex>` over the canonical JSON (RFC 8785) of a definition. The error says what in it has no
/// canonical form.
pub fn digest(definition: &Json) -> Result<String, String> {
    let canonical =
        serde_json_canonicalizer::to_vec(definition).map_err(|error| error.to_string())?;
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(canonical) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
