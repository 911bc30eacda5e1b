//! Records that are written at once: frames whose checksums and indices are put in when they are known.

use crate::audit::envelope;
use crate::audit::frame::FRAME_HEADER;

/// The capsules of a batch in plaintext, one after the other, each with the position of its record from 0.
#[derive(Debug, Default)]
pub struct BatchCapsules {
    bytes: Vec<u8>,
    /// The position of a record, and the end of its capsule in `bytes`.
    ends: Vec<(u64, usize)>,
}

impl BatchCapsules {
    /// Adds the capsule of a record.
    pub fn push(&mut self, position: u64, capsule: &[u8]) {
        self.bytes.extend_from_slice(capsule);
        self.ends.push((position, self.bytes.len()));
    }

    /// The positions with their capsules.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let each = self.ends.iter().zip(begins);
        each.map(|((position, end), begin)| (*position, &self.bytes[begin..*end]))
    }

    /// The bytes of all of them.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Removes all, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
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
