//! Reads what is needed of a header block (RFC 7541) that refers to no dynamic table, and writes its strings.

use crate::server::frame_shed::paths::{EncodedStr, is_path_name};

/// The entries of the static table that are called `:path`.
const PATH_NAMES: [usize; 2] = [4, 5];
/// The most bytes of an integer after its first.
const INTEGER_BYTES: u32 = 4;

/// How a block begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With a field.
    Field,
    /// With one dynamic table size update, to nothing.
    TableEmptied,
    /// With any other table size update.
    TableResized,
}

/// How the block begins.
pub(super) fn start(block: &[u8]) -> Start {
    let is_update = |byte: &u8| byte & 0xe0 == 0x20;
    match block {
        [0x20, next, ..] if !is_update(next) => Start::TableEmptied,
        [0x20] => Start::TableEmptied,
        [first, ..] if is_update(first) => Start::TableResized,
        _ => Start::Field,
    }
}

/// The value of `:path`; `None` if there is none before the block ends or cannot be read.
pub(super) fn path(block: &[u8]) -> Option<EncodedStr<'_>> {
    let mut rest = block;
    while let Some(&first) = rest.first() {
        let prefix = match first {
            0x80.. => {
                integer(&mut rest, 7)?;
                continue;
            }
            0x40.. => 6,
            0x20.. => return None,
            _ => 4,
        };
        let is_path = match integer(&mut rest, prefix)? {
            // A name of its own: gRPC's C core spells out what the table has.
            0 => is_path_name(string(&mut rest)?),
            name => PATH_NAMES.contains(&name),
        };
        let value = string(&mut rest)?;
        if is_path {
            return Some(value);
        }
    }
    None
}

/// An integer with a prefix of so many bits (RFC 7541, section 5.1).
fn integer(rest: &mut &[u8], prefix: u32) -> Option<usize> {
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(take(rest)?) & most;
    if value < most {
        return Some(value);
    }
    for place in 0..INTEGER_BYTES {
        let byte = take(rest)?;
        value += usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn string<'b>(rest: &mut &'b [u8]) -> Option<EncodedStr<'b>> {
    let is_huffman = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(EncodedStr { is_huffman, bytes })
}

/// Appends a string that is not compressed: its length with a prefix of seven bits, and its bytes.
pub(super) fn push_string(block: &mut Vec<u8>, bytes: &[u8]) {
    const PREFIX: usize = 0x7f;
    match bytes.len() {
        length @ ..PREFIX => block.push(length as u8),
        length => {
            block.push(PREFIX as u8);
            let mut rest = length - PREFIX;
            while rest > 0x7f {
                block.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            block.push(rest as u8);
        }
    }
    block.extend(bytes);
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
