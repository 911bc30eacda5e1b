//! Digests over what is said, whatever way it is written: over canonical JSON (RFC 8785).

use serde::Serialize;
use sha2::{Digest, Sha256};

/// `sha256:<hex>` over the canonical JSON of a value. The error says what in it has no canonical form.
pub fn digest(value: &impl Serialize) -> Result<String, String> {
    let canonical = serde_json_canonicalizer::to_vec(value).map_err(|error| error.to_string())?;
    Ok(format!("sha256:{}", hex(&Sha256::digest(canonical))))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}
