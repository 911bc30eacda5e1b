//! What tiles say of records that the last checkpoint does not cover.
//!
//! Tiles are written once their records are on the disk, and before the checkpoint over them. A process that ends in between
//! leaves tiles with hashes of records that no checkpoint covers: those records are there, and are the ones that were hashed.
//! Where they are not, the checkpoint is an older one, and records after it were changed or cut off.
//!
//! The largest index of any level says how many records were hashed, also where tiles before it are missing.
//!
//! A loss of power may leave anything in a tile that was not synced. So a block of it counts only if it has the hash of a
//! record that is there, and zeros in it are no hashes.

use std::collections::BTreeMap;
use std::io;

use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::tile::{MAX_TILE_LEVELS, TILE_HEIGHT, TILE_WIDTH, TileId};
use crate::audit::tree::tile_dir::TileDir;

/// Hashes in a block of a file system, 4 KiB: it is there as a whole or not.
const BLOCK: usize = 128;

/// The tiles of leaves that reach beyond the last checkpoint.
#[derive(Debug, Default)]
pub struct UnsignedTiles {
    signed: u64,
    size: u64,
    /// By the index of their first leaf. There may be several: partial tiles of different widths.
    blocks: BTreeMap<u64, Vec<Block>>,
}

#[derive(Debug)]
struct Block {
    hashes: Vec<TreeHash>,
    is_believed: bool,
    /// The records after the checkpoint that are not the hashed ones.
    others: Vec<u64>,
}

impl UnsignedTiles {
    /// Reads those of a tree whose last checkpoint is over `signed` records.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read. A tile that cannot be read says nothing.
    pub fn read(dir: &TileDir, signed: u64) -> io::Result<Self> {
        let mut tiles = Self {
            signed,
            size: signed,
            blocks: BTreeMap::new(),
        };
        for level in 0..MAX_TILE_LEVELS {
            let hashes = signed >> (level * TILE_HEIGHT);
            for (id, width) in dir.tiles_from(level, hashes / TILE_WIDTH as u64)? {
                tiles.add(dir, id, width);
            }
        }
        Ok(tiles)
    }

    fn add(&mut self, dir: &TileDir, id: TileId, width: usize) {
        let leaves = 1_u64 << (id.level * TILE_HEIGHT);
        let first = id.index.checked_mul(TILE_WIDTH as u64);
        let end = first.and_then(|first| first.checked_add(width as u64));
        // No tree has more leaves than there are numbers.
        let end = end.and_then(|end| end.checked_mul(leaves));
        let (Some(first), Some(end)) = (first, end.filter(|end| *end > self.signed)) else {
            return;
        };
        self.size = self.size.max(end);
        if id.level > 0 {
            return;
        }
        let Ok(hashes) = dir.read(id, end) else {
            return;
        };
        for (first, hashes) in (first..).step_by(BLOCK).zip(hashes.chunks(BLOCK)) {
            if first + hashes.len() as u64 > self.signed {
                self.blocks.entry(first).or_default().push(Block {
                    hashes: hashes.to_vec(),
                    is_believed: false,
                    others: Vec::new(),
                });
            }
        }
    }

    /// The number of records whose hashes there are, or were.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The first record to hold against the tiles; `None` if there is nothing to hold against them.
    pub fn first(&self) -> Option<u64> {
        self.blocks.first_key_value().map(|(first, _)| *first)
    }

    /// Takes note of a record that is there. Returns whether it is after the checkpoint and not the one in a tile.
    pub fn note(&mut self, index: u64, leaf: TreeHash) -> bool {
        let offset = index % BLOCK as u64;
        let Some(blocks) = self.blocks.get_mut(&(index - offset)) else {
            return false;
        };
        let offset = usize::try_from(offset).unwrap_or_default();
        let mut is_other = false;
        for block in blocks {
            match block.hashes.get(offset) {
                Some(hash) if *hash == leaf => block.is_believed = true,
                Some(hash)
                    if index >= self.signed && hash.as_bytes().iter().any(|byte| *byte != 0) =>
                {
                    block.others.push(index);
                    is_other = true;
                }
                _ => {}
            }
        }
        is_other
    }

    /// The records after the checkpoint, of those taken note of, that are not the ones in the tiles.
    pub fn others(&self) -> Vec<u64> {
        let believed = self.blocks.values().flatten();
        let believed = believed.filter(|block| block.is_believed);
        let mut others: Vec<_> = believed.flat_map(|block| &block.others).copied().collect();
        others.sort_unstable();
        others.dedup();
        others
    }
}
