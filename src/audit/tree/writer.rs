//! The tree of a log that is written: appends leaves, and signs a checkpoint over them now and then.

use std::io;

use crate::audit::tree::checkpoint::Checkpoint;
use crate::audit::tree::frontier::Frontier;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::leaves::{Leaves, TreeError, no_record};
use crate::audit::tree::note::SigningKey;
use crate::audit::tree::recent;
use crate::audit::tree::tile::{MAX_TILE_LEVELS, TILE_HEIGHT, TILE_WIDTH, TileId};
use crate::audit::tree::tile_dir::{TileDir, TileError, TreeReader};

/// The tree of a log.
///
/// One process appends to it at a time; the log sees to that. Readers need no lock.
#[derive(Debug)]
pub struct TreeWriter {
    dir: TileDir,
    key: SigningKey,
    frontier: Frontier,
    /// Tiles that became full since the last checkpoint.
    full: Vec<(TileId, Vec<TreeHash>)>,
    signed: u64,
    /// Whether the tiles of the last checkpoint are there; otherwise all are written anew.
    has_tiles: bool,
    /// Tiles of leaves before this one are durable.
    durable: u64,
    /// A full tile of leaves whose partial tiles nobody needs any more.
    unneeded: Option<TileId>,
}

impl TreeWriter {
    /// Continues the tree in a directory, or begins one if there is neither a tree nor a record. The state is held
    /// against the last checkpoint; records after it are appended. Tiles that are missing are made anew from records.
    ///
    /// # Errors
    ///
    /// If log and tree do not belong together, or a file cannot be read or written.
    pub fn open(
        dir: TileDir,
        key: SigningKey,
        records: &mut impl Leaves,
    ) -> Result<Self, TreeError> {
        let mut writer = Self {
            dir,
            key,
            frontier: Frontier::default(),
            full: Vec::new(),
            signed: 0,
            has_tiles: true,
            durable: 0,
            unneeded: None,
        };
        let Some(note) = writer.dir.read_checkpoint()? else {
            if records.end() > 0 || !writer.dir.is_empty() {
                let records = records.end();
                return Err(TreeError::Missing { records });
            }
            writer.write(|| Ok(()))?;
            return Ok(writer);
        };
        let checkpoint = Checkpoint::open(&note, &writer.key.verifying_key())?;
        let (signed, end) = (checkpoint.size, records.end());
        if end < signed {
            return Err(TreeError::Cut {
                records: end,
                signed,
            });
        }
        match load(&writer.dir, signed) {
            Ok(frontier) if frontier.root() == checkpoint.root => {
                writer.durable = recent::first(signed);
                recent::restore(&writer.dir, signed, records)?;
                check_last_records(&writer.dir, signed, records)?;
                writer.frontier = frontier;
                records.each_from(signed, &mut |leaf| writer.append_found(leaf))?;
            }
            found => writer.rebuild(&checkpoint, records, found.err())?,
        }
        writer.signed = signed;
        Ok(writer)
    }

    /// Appends the leaf hash of a record.
    pub fn append(&mut self, leaf: TreeHash) {
        let full = &mut self.full;
        self.frontier
            .push(leaf, |id, hashes| full.push((id, hashes)));
    }

    /// Appends a record that was found at the start.
    fn append_found(&mut self, leaf: Option<TreeHash>) {
        self.append(leaf.unwrap_or_else(no_record));
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The size in the last checkpoint.
    pub fn signed_size(&self) -> u64 {
        self.signed
    }

    /// The name of the key, which is the origin of the log.
    pub fn origin(&self) -> &str {
        self.key.name()
    }

    /// Writes tiles and a checkpoint if there are new leaves. `sync` makes the records durable first: a checkpoint over
    /// records that a loss of power takes away would look like a cut.
    ///
    /// # Errors
    ///
    /// If the records cannot be synced or a file not be written. The checkpoint is then the one before, and the next call
    /// tries again.
    pub fn checkpoint(&mut self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.size() > self.signed {
            true => self.write(sync),
            false => Ok(()),
        }
    }

    fn write(&mut self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        sync()?;
        let checkpoint = Checkpoint {
            origin: self.key.name().to_owned(),
            size: self.frontier.size(),
            root: self.frontier.root(),
        };
        let full = self
            .full
            .iter()
            .map(|(id, hashes)| (*id, hashes.as_slice()));
        // What the last checkpoint covers is not written again: somebody may read it.
        let covered = if self.has_tiles { self.signed } else { 0 };
        let partial = self.frontier.partial_tiles();
        let partial = partial.filter(|(id, hashes)| id.width(covered) != hashes.len());
        self.dir
            .write_tiles(full.chain(partial), &mut self.unneeded)?;
        let durable = recent::first(checkpoint.size).max(self.durable);
        self.dir.sync_leaves(self.durable..durable)?;
        self.durable = durable;
        self.dir.write_checkpoint(&checkpoint.sign(&self.key))?;
        for (id, _) in self.full.drain(..) {
            if id.level == 0 && self.unneeded.is_none() && self.dir.has_partial(id) {
                self.unneeded = Some(id);
            } else {
                self.dir.remove_partial(id);
            }
        }
        self.signed = checkpoint.size;
        self.has_tiles = true;
        Ok(())
    }

    /// Makes the tree anew from all records, and holds it against the checkpoint.
    fn rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        records: &mut impl Leaves,
        fault: Option<TileError>,
    ) -> Result<(), TreeError> {
        let told = fault.map(|fault| format!(": {fault}")).unwrap_or_default();
        if records.first() > 0 {
            return Err(TreeError::Root(told));
        }
        self.has_tiles = false;
        let mut root = (checkpoint.size == 0).then(TreeHash::empty_root);
        records.each_from(0, &mut |leaf| {
            self.append_found(leaf);
            if self.size() == checkpoint.size {
                root = Some(self.frontier.root());
            }
        })?;
        match root == Some(checkpoint.root) {
            true => Ok(()),
            false => Err(TreeError::Root(told)),
        }
    }
}

impl Drop for TreeWriter {
    fn drop(&mut self) {
        if let Some(id) = self.unneeded {
            self.dir.remove_partial(id);
        }
    }
}

/// The right edge of the tree of `size` leaves, from its tiles.
fn load(dir: &TileDir, size: u64) -> Result<Frontier, TileError> {
    let mut levels = Vec::new();
    for level in 0..MAX_TILE_LEVELS {
        let hashes = size.checked_shr(level * TILE_HEIGHT).unwrap_or_default();
        if hashes == 0 {
            break;
        }
        let id = TileId {
            level,
            index: hashes / TILE_WIDTH as u64,
        };
        levels.push(match id.width(size) {
            0 => Vec::new(),
            _ => dir.read(id, size)?,
        });
    }
    // Each tile was read as wide as the size demands.
    Ok(Frontier::from_partial_tiles(size, levels).unwrap_or_default())
}

/// Holds the records of the last tile of leaves, 256 at most, against the tree.
fn check_last_records(
    dir: &TileDir,
    size: u64,
    records: &mut impl Leaves,
) -> Result<(), TreeError> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(());
    };
    let start = (last / TILE_WIDTH as u64 * TILE_WIDTH as u64).max(records.first());
    let mut tree = TreeReader::new(dir.clone(), size);
    let mut index = start;
    let mut other = None;
    records.each_from(start, &mut |leaf| {
        let is_other = leaf.is_some_and(|leaf| tree.leaf(index).ok() != Some(leaf));
        if index < size && is_other {
            other.get_or_insert(index);
        }
        index += 1;
    })?;
    match other {
        Some(index) => Err(TreeError::Record { index }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
