//! The last tiles of leaves, which a loss of power may take away: a log that is written often fills dozens a second, and to
//! wait for the disk for each costs more than all else of the tree.
//!
//! Start at [`restore`]. They can be made anew, as the records of a tree are durable before its checkpoint is signed, and so
//! is the level of tiles above, which says what each of them has to hash to. Tiles before [`first`] are durable.

use std::collections::BTreeMap;

use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::leaves::{Leaves, TreeError, no_record};
use crate::audit::tree::merkle::Nodes as _;
use crate::audit::tree::tile::{TILE_HEIGHT, TILE_WIDTH, TileId, subtree};
use crate::audit::tree::tile_dir::{TileDir, TreeReader};

/// Full tiles of the level above whose tiles of leaves may not be durable yet: a million records. In a log that is written as
/// fast as can be, that is longer than systems keep what is written in memory, so syncing them then is quick.
const RECENT: u64 = 16;

/// The first tile of leaves that may not be durable in a tree of `size` leaves.
pub fn first(size: u64) -> u64 {
    let full = size >> (2 * TILE_HEIGHT);
    full.saturating_sub(RECENT) << TILE_HEIGHT
}

/// Makes full tiles of leaves anew that are missing or damaged in a tree of `size` leaves, from the records.
///
/// # Errors
///
/// [`TreeError::Root`] if the records are others, or removed.
pub fn restore(dir: &TileDir, size: u64, records: &mut impl Leaves) -> Result<(), TreeError> {
    let mut tree = TreeReader::new(dir.clone(), size);
    // What each tile that is not as it should be has to hash to, and the leaves that are found for it.
    let mut damaged = BTreeMap::new();
    for index in first(size)..size >> TILE_HEIGHT {
        let wanted = tree.node(TILE_HEIGHT, index);
        let wanted = wanted.map_err(|fault| TreeError::Root(format!(": {fault}")))?;
        let found = dir.read(TileId { level: 0, index }, size);
        if found.ok().is_none_or(|found| subtree(&found) != wanted) {
            damaged.insert(index, (wanted, Vec::with_capacity(TILE_WIDTH)));
        }
    }
    let Some((&first, _)) = damaged.first_key_value() else {
        return Ok(());
    };
    let start = first * TILE_WIDTH as u64;
    if records.first() > start {
        return Err(TreeError::Root(format!(
            ": the tile of the records from {start} on is damaged"
        )));
    }
    tracing::warn!(
        count = damaged.len(),
        first,
        "tiles of the decision log are made anew from its records"
    );
    let mut place = start;
    records.each_from(start, &mut |leaf| {
        if let Some((_, leaves)) = damaged.get_mut(&(place / TILE_WIDTH as u64)) {
            leaves.push(leaf.unwrap_or_else(no_record));
        }
        place += 1;
    })?;
    for (index, (wanted, leaves)) in damaged {
        let leaves: Vec<TreeHash> = leaves;
        if leaves.len() != TILE_WIDTH || subtree(&leaves) != wanted {
            let start = index * TILE_WIDTH as u64;
            return Err(TreeError::Root(format!(
                ": the tile of the records from {start} on is damaged, and they are not those that it was made of"
            )));
        }
        dir.write_synced(TileId { level: 0, index }, &leaves)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "recent_tests.rs"]
mod tests;
