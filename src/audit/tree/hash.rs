//! Hashes of the Merkle tree: SHA-256 with the domain separation of RFC 6962, section 2.1.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};

use crate::domain::request::canonical::hex;

/// Prefix of what is hashed for a leaf.
const LEAF_PREFIX: u8 = 0x00;
/// Prefix of what is hashed for an inner node.
const NODE_PREFIX: u8 = 0x01;

/// A hash of a leaf or of an inner node: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeHash([u8; TreeHash::LEN]);

impl TreeHash {
    /// The length in bytes.
    pub const LEN: usize = 32;

    /// The hash of an entry: `SHA-256(0x00 || entry)`.
    pub fn leaf(entry: &[u8]) -> Self {
        sha256([&[LEAF_PREFIX], entry])
    }

    /// The hash of an inner node: `SHA-256(0x01 || left || right)`.
    pub fn node(left: &Self, right: &Self) -> Self {
        sha256([&[NODE_PREFIX], &left.0, &right.0])
    }

    /// The root of the tree without leaves: the hash of nothing.
    pub fn empty_root() -> Self {
        sha256([])
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Reads standard base64 with padding, as in checkpoints and proofs.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        bytes.as_slice().try_into().ok().map(Self)
    }

    /// Standard base64 with padding.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// Lowercase hexadecimal.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// The hash of these parts, one after the other.
fn sha256<const N: usize>(parts: [&[u8]; N]) -> TreeHash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; TreeHash::LEN];
    hash.copy_from_slice(context.finish().as_ref());
    TreeHash(hash)
}

impl From<[u8; TreeHash::LEN]> for TreeHash {
    fn from(bytes: [u8; TreeHash::LEN]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for TreeHash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}
