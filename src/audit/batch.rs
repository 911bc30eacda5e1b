//! Records that are written at once: frames whose checksums and indices are put in when they are known.

use crate::audit::envelope;
use crate::audit::frame::FRAME_HEADER;
use crate::audit::record::time_of;
use crate::audit::tree::hash::TreeHash;

/// Plaintext after which a group of capsules is closed and the next one begins, in bytes: whoever reads one capsule opens its
/// group.
const GROUP_BYTES: usize = 256 << 10;

/// Bytes of the digest of a frame of capsules.
pub(super) const DIGEST: usize = 32;
/// The end of a record with a capsule, until the digest is known: field 8, with so many bytes.
const NO_DIGEST_YET: &[u8] = &{
    let mut field = [0; 2 + DIGEST];
    (field[0], field[1]) = (8 << 3 | 2, DIGEST as u8);
    field
};

/// What is known of frames that are finished.
#[derive(Debug, Default)]
pub(super) struct FinishedFrames {
    /// Their leaves in the tree.
    pub(super) leaves: Vec<TreeHash>,
    /// The latest time of their records, in nanoseconds since 1970.
    pub(super) latest: u64,
}

/// The capsules of a batch in plaintext, in groups that are compressed and encrypted at once. Each capsule stands behind the
/// position of its record in the batch (u64) and its length (u32), both little endian.
#[derive(Debug, Default)]
pub struct BatchCapsules {
    bytes: Vec<u8>,
    /// The ends of the groups in `bytes`, but for the last one's.
    ends: Vec<usize>,
}

impl BatchCapsules {
    /// Adds the capsule of a record. Positions ascend.
    pub fn push(&mut self, position: u64, capsule: &[u8]) {
        let begin = self.ends.last().copied().unwrap_or_default();
        if self.bytes.len() - begin >= GROUP_BYTES {
            self.ends.push(self.bytes.len());
        }
        // A capsule is bounded far below 4 GiB where it is made.
        let length = u32::try_from(capsule.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&position.to_le_bytes());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(capsule);
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let ends = self.ends.iter().copied().chain([self.bytes.len()]);
        begins.zip(ends).map(|(begin, end)| &self.bytes[begin..end])
    }

    /// The bytes of all of them.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Removes all, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// The capsules of a group with the positions of their records; `None` in place of one that is cut off.
pub(super) fn capsules_of(group: &[u8]) -> impl Iterator<Item = Option<(u64, &[u8])>> {
    let mut rest = group;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = rest.split_first_chunk::<8>().and_then(|(position, tail)| {
            let (length, tail) = tail.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*length) as usize;
            let (capsule, tail) = tail.split_at_checked(length)?;
            Some((u64::from_le_bytes(*position), capsule, tail))
        });
        rest = parsed.map_or(&[], |(.., tail)| tail);
        Some(parsed.map(|(position, capsule, _)| (position, capsule)))
    })
}

/// Appends a frame whose checksum and index are not known yet; nor is the digest of its capsule's frame, if it has one.
pub(super) fn push_unfinished(frames: &mut Vec<u8>, envelope: &[u8], has_capsule: bool) {
    let digest = if has_capsule { NO_DIGEST_YET } else { &[] };
    let length = u32::try_from(envelope.len() + digest.len()).unwrap_or(u32::MAX);
    frames.extend_from_slice(&length.to_le_bytes());
    frames.extend_from_slice(&[0; FRAME_HEADER - 4]);
    frames.extend_from_slice(envelope);
    frames.extend_from_slice(digest);
}

/// Puts indices, checksums and the digests of the frames of capsules into frames, of which the first gets this index, and notes
/// in `finished` what is to be known of them. Digests come with the positions of their records, which ascend.
pub(super) fn finish(
    frames: &mut [u8],
    first: u64,
    digests: impl IntoIterator<Item = (u64, [u8; DIGEST])>,
    finished: &mut FinishedFrames,
) {
    let FinishedFrames { leaves, latest } = finished;
    leaves.clear();
    *latest = 0;
    let mut digests = digests.into_iter().peekable();
    let mut rest = frames;
    while let Some((length, tail)) = rest.split_first_chunk_mut::<4>()
        && let Some((checksum, tail)) = tail.split_first_chunk_mut::<4>()
    {
        let length = u32::from_le_bytes(*length) as usize;
        let (payload, after) = tail.split_at_mut(length.min(tail.len()));
        let position = leaves.len() as u64;
        if let Some((_, digest)) = digests.next_if(|(at, _)| *at == position)
            && let Some(place) = payload.last_chunk_mut()
        {
            *place = digest;
        }
        envelope::set_index(payload, first + position);
        *checksum = crc32c::crc32c(payload).to_le_bytes();
        *latest = time_of(payload).unwrap_or_default().max(*latest);
        leaves.push(TreeHash::leaf(payload));
        rest = after;
    }
}
