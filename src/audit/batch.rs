//! Records that are written at once: frames whose checksums and indices are put in when they are known.

use crate::audit::envelope;
use crate::audit::frame::FRAME_HEADER;

/// A capsule, and the position in its batch of the record it belongs to.
#[derive(Debug)]
pub struct BatchCapsule {
    /// The position, from 0.
    pub position: u64,
    /// The capsule, in plaintext.
    pub bytes: Vec<u8>,
}

/// Appends a frame whose checksum and index are not known yet.
pub fn push_unfinished(frames: &mut Vec<u8>, envelope: &[u8]) {
    let length = u32::try_from(envelope.len()).unwrap_or(u32::MAX);
    frames.extend_from_slice(&length.to_le_bytes());
    frames.extend_from_slice(&[0; FRAME_HEADER - 4]);
    frames.extend_from_slice(envelope);
}

/// Puts indices and checksums into frames, and returns how many there are.
pub(super) fn finish(frames: &mut [u8], first: u64) -> u64 {
    let mut rest = frames;
    let mut count = 0;
    while let Some((head, tail)) = rest.split_first_chunk_mut::<FRAME_HEADER>() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (payload, after) = tail.split_at_mut(length.min(tail.len()));
        envelope::set_index(payload, first + count);
        head[4..].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        count += 1;
        rest = after;
    }
    count
}
