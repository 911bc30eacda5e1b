//! Tiles: runs of up to 256 hashes of one level, as C2SP tlog-tiles stores them.

use std::path::PathBuf;

use crate::audit::tree::hash::TreeHash;

/// Levels of the tree in one tile.
pub const TILE_HEIGHT: u32 = 8;
/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 1 << TILE_HEIGHT;
/// Tile levels of a tree with fewer than 2^64 leaves.
pub const MAX_TILE_LEVELS: u32 = u64::BITS / TILE_HEIGHT;

/// Which tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// The level of tiles: level 0 holds the leaves, level *n* the roots of full tiles of level *n* − 1.
    pub level: u32,
    /// The place within the level, from 0.
    pub index: u64,
}

impl TileId {
    /// The path below the directory of the tree. A width below 256 is that of a partial tile.
    ///
    /// The index is written in groups of three digits, of which all but the last begin with `x`.
    pub fn path(self, width: usize) -> PathBuf {
        let mut path = PathBuf::from("tile");
        path.push(self.level.to_string());
        let digits = self.index.to_string();
        let missing = digits.len().next_multiple_of(3) - digits.len();
        let digits = "0".repeat(missing) + &digits;
        let groups = digits.len() / 3;
        for group in 0..groups {
            let group_digits = &digits[group * 3..group * 3 + 3];
            match (group + 1 == groups, width < TILE_WIDTH) {
                (false, _) => path.push(format!("x{group_digits}")),
                (true, false) => path.push(group_digits),
                (true, true) => {
                    path.push(format!("{group_digits}.p"));
                    path.push(width.to_string());
                }
            }
        }
        path
    }

    /// The number of its hashes in a tree of `size` leaves: 0 to 256.
    pub fn width(self, size: u64) -> usize {
        let hashes = size
            .checked_shr(self.level * TILE_HEIGHT)
            .unwrap_or_default();
        let before = self.index.saturating_mul(TILE_WIDTH as u64);
        usize::try_from(hashes.saturating_sub(before).min(TILE_WIDTH as u64)).unwrap_or(TILE_WIDTH)
    }
}

/// A group of three digits, as in [`TileId::path`].
pub fn group(digits: &str) -> Option<u64> {
    let is_group = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_group.then(|| digits.parse().ok()).flatten()
}

/// The tile that holds what the hash of a complete subtree is made of, and which of its hashes: the subtree at `level`
/// and `index` is over `count` hashes of the tile from `offset`.
pub fn tile_of(level: u32, index: u64) -> (TileId, usize, usize) {
    let height = level % TILE_HEIGHT;
    let first = index << height;
    let tile = TileId {
        level: level / TILE_HEIGHT,
        index: first / TILE_WIDTH as u64,
    };
    let offset = usize::try_from(first % TILE_WIDTH as u64).unwrap_or_default();
    (tile, offset, 1 << height)
}

/// The hash of a complete subtree over these hashes, whose number is a power of two. (Of none it is that of the empty
/// tree.)
pub fn subtree(hashes: &[TreeHash]) -> TreeHash {
    match hashes {
        [] => TreeHash::empty_root(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            TreeHash::node(&subtree(left), &subtree(right))
        }
    }
}

/// Reads the bytes of a tile.
///
/// `None` if their number is not that of `width` hashes.
pub fn from_bytes(bytes: &[u8], width: usize) -> Option<Vec<TreeHash>> {
    if bytes.len() != width * TreeHash::LEN {
        return None;
    }
    let hashes = bytes.chunks_exact(TreeHash::LEN);
    hashes.map(|hash| TreeHash::try_from(hash).ok()).collect()
}

/// The bytes of a tile.
pub fn to_bytes(hashes: &[TreeHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
