//! The right edge of a growing tree: all that is needed to append a leaf and to know the root.

use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::merkle;
use crate::audit::tree::tile::{TILE_WIDTH, TileId, subtree};

/// A growing tree. It holds the last, partial tile of each level, at most 255 hashes, and hands out a tile once it is
/// full.
///
/// Appending costs the hashes of one node a leaf on average, all of them when a tile is full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The hashes of the partial tile of each level; empty where the tree ends with a full tile.
    levels: Vec<Vec<TreeHash>>,
}

impl Frontier {
    /// A tree of `size` leaves from the partial tiles of its levels, the lowest first.
    ///
    /// `None` if they are not as wide as those of a tree of this size.
    pub fn from_partial_tiles(size: u64, levels: Vec<Vec<TreeHash>>) -> Option<Self> {
        let mut rest = size;
        for level in &levels {
            if level.len() as u64 != rest % TILE_WIDTH as u64 {
                return None;
            }
            rest /= TILE_WIDTH as u64;
        }
        (rest == 0).then_some(Self { size, levels })
    }

    /// Reads what [`Frontier::to_text`] writes. `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let size = lines.next()?.parse().ok()?;
        let level = |line: &str| {
            line.split_terminator(' ')
                .map(TreeHash::from_base64)
                .collect()
        };
        Self::from_partial_tiles(size, lines.map(level).collect::<Option<_>>()?)
    }

    /// The size, and for each level a line with the hashes of its partial tile in base64, a space between them.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.size);
        for level in &self.levels {
            let hashes: Vec<_> = level.iter().map(|hash| hash.to_base64()).collect();
            text.push_str(&hashes.join(" "));
            text.push('\n');
        }
        text
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf; passes each tile that it fills to `full`, the lowest first.
    pub fn push(&mut self, leaf: TreeHash, mut full: impl FnMut(TileId, Vec<TreeHash>)) {
        let mut hash = leaf;
        let mut index = self.size;
        self.size += 1;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            self.levels[level].push(hash);
            if self.levels[level].len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::replace(&mut self.levels[level], Vec::with_capacity(TILE_WIDTH));
            hash = subtree(&hashes);
            index /= TILE_WIDTH as u64;
            let level = u32::try_from(level).unwrap_or(u32::MAX);
            full(TileId { level, index }, hashes);
        }
    }

    /// The root of the tree.
    pub fn root(&self) -> TreeHash {
        let mut peaks = Vec::new();
        for level in self.levels.iter().rev() {
            let mut rest = level.as_slice();
            while !rest.is_empty() {
                // The largest complete subtree is the leftmost.
                let (peak, behind) = rest.split_at(1 << rest.len().ilog2());
                peaks.push(subtree(peak));
                rest = behind;
            }
        }
        merkle::fold(&peaks)
    }

    /// The partial tiles, the lowest first, without empty ones.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (TileId, &[TreeHash])> {
        let levels = self.levels.iter().zip(0_u32..);
        levels
            .filter(|(hashes, _)| !hashes.is_empty())
            .map(|(hashes, level)| {
                let hashes_before = self.size.checked_shr(level * 8).unwrap_or_default();
                let id = TileId {
                    level,
                    index: hashes_before / TILE_WIDTH as u64,
                };
                (id, hashes.as_slice())
            })
    }
}

#[cfg(test)]
#[path = "frontier_tests.rs"]
mod tests;
