//! The paths of RPCs as they stand in header blocks.
//!
//! A client sends a path as it is or in the Huffman code of RFC 7541, appendix B. A path that may be refused is known in
//! both forms, so that a block is compared and not decoded.

use std::sync::OnceLock;

use crate::adapters::transport::grpc_admission;

/// The first byte in [`CODES`].
const FIRST: u8 = b'-';

/// Code and length in bits of the bytes from `-` to `z` (RFC 7541, appendix B).
#[rustfmt::skip]
const CODES: [(u32, u8); 78] = [
    (0x16, 6), (0x17, 6), (0x18, 6), (0x0, 5), (0x1, 5), (0x2, 5), (0x19, 6), (0x1a, 6), (0x1b, 6), (0x1c, 6),
    (0x1d, 6), (0x1e, 6), (0x1f, 6), (0x5c, 7), (0xfb, 8), (0x7ffc, 15), (0x20, 6), (0xffb, 12), (0x3fc, 10),
    (0x1ffa, 13), (0x21, 6), (0x5d, 7), (0x5e, 7), (0x5f, 7), (0x60, 7), (0x61, 7), (0x62, 7), (0x63, 7),
    (0x64, 7), (0x65, 7), (0x66, 7), (0x67, 7), (0x68, 7), (0x69, 7), (0x6a, 7), (0x6b, 7), (0x6c, 7),
    (0x6d, 7), (0x6e, 7), (0x6f, 7), (0x70, 7), (0x71, 7), (0x72, 7), (0xfc, 8), (0x73, 7), (0xfd, 8),
    (0x1ffb, 13), (0x7fff0, 19), (0x1ffc, 13), (0x3ffc, 14), (0x22, 6), (0x7ffd, 15), (0x3, 5), (0x23, 6),
    (0x4, 5), (0x24, 6), (0x5, 5), (0x25, 6), (0x26, 6), (0x27, 6), (0x6, 5), (0x74, 7), (0x75, 7), (0x28, 6),
    (0x29, 6), (0x2a, 6), (0x7, 5), (0x2b, 6), (0x76, 7), (0x2c, 6), (0x8, 5), (0x9, 5), (0x2d, 6), (0x77, 7),
    (0x78, 7), (0x79, 7), (0x7a, 7), (0x7b, 7),
];

/// A string of a header block (RFC 7541, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EncodedStr<'b> {
    /// Whether it is in the Huffman code.
    pub(super) is_huffman: bool,
    /// Its bytes.
    pub(super) bytes: &'b [u8],
}

/// One path in both forms.
struct KnownPath {
    plain: Box<[u8]>,
    huffman: Box<[u8]>,
}

/// Whether this is the path of an RPC with one message that may be refused under overload.
pub(super) fn is_sheddable(path: EncodedStr<'_>) -> bool {
    static KNOWN: OnceLock<Vec<KnownPath>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let paths = grpc_admission::sheddable_unary_paths().into_iter();
        paths
            .filter_map(|path| {
                Some(KnownPath {
                    huffman: huffman(path.as_bytes())?,
                    plain: path.into_bytes().into(),
                })
            })
            .collect()
    });
    known.iter().any(|it| match path.is_huffman {
        true => *it.huffman == *path.bytes,
        false => *it.plain == *path.bytes,
    })
}

/// Whether this is the name `:path`.
pub(super) fn is_path_name(name: EncodedStr<'_>) -> bool {
    /// `:path` in the Huffman code.
    const HUFFMAN: [u8; 4] = [0xb9, 0x58, 0xd3, 0x3f];
    match name.is_huffman {
        true => name.bytes == HUFFMAN,
        false => name.bytes == b":path",
    }
}

/// A text in the Huffman code; `None` if a byte of it is outside of [`CODES`].
pub(super) fn huffman(text: &[u8]) -> Option<Box<[u8]>> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len()), 0_u64, 0_u32);
    for byte in text {
        let (code, length) = CODES.get(usize::from(byte.checked_sub(FIRST)?))?;
        bits = bits << length | u64::from(*code);
        count += u32::from(*length);
        while count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        // The end is filled up with ones.
        let fill = 8 - count;
        bytes.push((bits << fill) as u8 | ((1 << fill) - 1));
    }
    Some(bytes.into())
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
