//! The tree of a log that is written: appends leaves, and signs a checkpoint over them now and then.

use std::io;

use crate::audit::log_files::MAX_GAP;
use crate::audit::tree::checkpoint::{Checkpoint, CheckpointError};
use crate::audit::tree::frontier::Frontier;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::note::SigningKey;
use crate::audit::tree::tile::{MAX_TILE_LEVELS, TILE_HEIGHT, TILE_WIDTH, TileId};
use crate::audit::tree::tile_dir::{FrontierError, TileDir, TileError, TreeReader};
use crate::audit::tree::unsigned::UnsignedTiles;

/// The records of a log, as the tree needs them at the start.
pub trait Leaves {
    /// The index of the first record that is there: those before are removed by retention.
    fn first(&self) -> u64;

    /// The index after the last record.
    fn end(&self) -> u64;

    /// Passes the leaf hashes of the records from `start` on, in order, to `each`; `None` for a record that is lost.
    ///
    /// # Errors
    ///
    /// If a record cannot be read.
    fn each_from(&mut self, start: u64, each: &mut dyn FnMut(Option<TreeHash>)) -> io::Result<()>;
}

/// Why a tree cannot be continued. All but [`TreeError::Io`] mean that log and tree do not belong together: somebody
/// changed one of them, or a disk lost what it had acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file cannot be read or written.
    #[error("the tree of the decision log cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The log has records, but there is no checkpoint.
    #[error("the decision log has {records} records, but its tree has no checkpoint")]
    Missing {
        /// The number of records.
        records: u64,
    },
    /// The checkpoint is of no use.
    #[error("the last checkpoint of the decision log is of no use: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Records are missing at the end.
    #[error(
        "the decision log ends after {records} records, but a checkpoint over {signed} was signed"
    )]
    Cut {
        /// The number of records.
        records: u64,
        /// The size in the checkpoint.
        signed: u64,
    },
    /// So many records between the checkpoint and the first one that is there are missing that their leaves are not made up.
    #[error(
        "the decision log begins with record {first}, but the last checkpoint is over {signed} records"
    )]
    Gap {
        /// The index of the first record.
        first: u64,
        /// The size in the checkpoint.
        signed: u64,
    },
    /// The checkpoint is not the last one: tiles are made durable after the checkpoint over them.
    #[error(
        "the last checkpoint of the decision log is over {signed} records, but its tree was durable up to {durable}: an older checkpoint was put in its place"
    )]
    RolledBack {
        /// The size in the checkpoint.
        signed: u64,
        /// The size up to which tiles are durable.
        durable: u64,
    },
    /// How far tiles are durable cannot be told.
    #[error("{0}")]
    Frontier(FrontierError),
    /// Records after the checkpoint are missing at the end: tiles are written after their records are on the disk.
    #[error(
        "the decision log ends after {records} records, but its tree has the hashes of {hashed}"
    )]
    Hashed {
        /// The number of records.
        records: u64,
        /// The number of records that were hashed.
        hashed: u64,
    },
    /// A record is not the one that was logged.
    #[error("record {index} of the decision log is not the one in the tree")]
    Record {
        /// Its index.
        index: u64,
    },
    /// Tiles are damaged, and cannot be made anew, since records are removed or are others.
    #[error("the tree of the decision log does not lead to the root of its last checkpoint{0}")]
    Root(String),
}

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
    /// The partial tiles of the last checkpoint, and how wide they are.
    partial: Vec<(TileId, usize)>,
    /// Tiles that were written and may not survive a loss of power, and how wide they are.
    unsynced: Vec<(TileId, usize)>,
    /// A sync has failed: nothing is known about what was written before it, and the next start makes it anew.
    is_sync_broken: bool,
    signed: u64,
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
            partial: Vec::new(),
            unsynced: Vec::new(),
            is_sync_broken: false,
            signed: 0,
        };
        let Some(note) = writer.dir.read_checkpoint()? else {
            if records.end() > 0 || !writer.dir.is_empty() {
                let records = records.end();
                return Err(TreeError::Missing { records });
            }
            writer.dir.write_frontier(&writer.frontier)?;
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
        let first = records.first();
        if first.saturating_sub(signed) > MAX_GAP {
            return Err(TreeError::Gap { first, signed });
        }
        let durable = read_frontier(&writer.dir, signed)?;
        if let Some(durable) = durable.as_ref().map(Frontier::size)
            && durable > signed
        {
            return Err(TreeError::RolledBack { signed, durable });
        }
        check_unsigned_records(&writer.dir, signed, records)?;
        let has_frontier = durable.is_some();
        writer.restore(&checkpoint, durable, records)?;
        match load(&writer.dir, signed) {
            Ok(frontier) if frontier.root() == checkpoint.root => {
                check_last_records(&writer.dir, signed, records)?;
                writer.frontier = frontier;
                if !has_frontier {
                    // A log of before says nowhere how far its tiles are durable: all were, before a checkpoint was written.
                    writer.dir.write_frontier(&writer.frontier)?;
                }
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
    /// records that a loss of power takes away would look like a cut. Tiles follow from records, and are durable later
    /// ([`TreeWriter::sync_tiles`]).
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
        let full = self.full.iter();
        let full = full.map(|(id, hashes)| (*id, hashes.as_slice()));
        let partial = self.frontier.partial_tiles();
        let is_new = |(id, hashes): &(TileId, &[_])| !self.partial.contains(&(*id, hashes.len()));
        let tiles: Vec<_> = full.chain(partial.filter(is_new)).collect();
        self.dir.write_tiles(tiles.iter().copied())?;
        self.dir.write_checkpoint(&checkpoint.sign(&self.key))?;
        if !self.is_sync_broken {
            let written = tiles.iter().map(|(id, hashes)| (*id, hashes.len()));
            self.unsynced.extend(written);
        }
        self.full
            .drain(..)
            .for_each(|(id, _)| self.dir.remove_partial(id));
        let partial = self.frontier.partial_tiles();
        self.partial = partial.map(|(id, hashes)| (id, hashes.len())).collect();
        self.signed = checkpoint.size;
        Ok(())
    }

    /// Makes the tiles of the last checkpoint survive a loss of power, right after it was written. Until then they are made
    /// anew from the records at the next start.
    ///
    /// # Errors
    ///
    /// If a file cannot be synced or written. Tiles are then not made durable any more: the next start makes them anew.
    pub fn sync_tiles(&mut self) -> io::Result<()> {
        if self.unsynced.is_empty() || self.size() != self.signed {
            return Ok(());
        }
        let unsynced = std::mem::take(&mut self.unsynced);
        let synced = self.dir.sync(unsynced);
        let synced = synced.and_then(|()| self.dir.write_frontier(&self.frontier));
        self.is_sync_broken = synced.is_err();
        synced
    }

    /// How many tiles may not survive a loss of power.
    pub fn unsynced_tiles(&self) -> usize {
        self.unsynced.len()
    }

    /// Makes tiles anew that a loss of power has taken or damaged: those after the last that are known to be durable, from
    /// the records. Does nothing if the records do not lead to the root of the checkpoint; what follows says why.
    fn restore(
        &mut self,
        checkpoint: &Checkpoint,
        durable: Option<Frontier>,
        records: &mut impl Leaves,
    ) -> Result<(), TreeError> {
        let size = checkpoint.size;
        let Some(mut frontier) = durable.filter(|it| it.size() < size) else {
            return Ok(());
        };
        if frontier.size() < records.first() {
            tracing::warn!(
                target: "callgate::audit",
                first = frontier.size(),
                "records are gone from which tiles could be made: whether some were lost shows in `callgate audit verify`"
            );
            return Ok(());
        }
        let mut tiles = Vec::new();
        records.each_from(frontier.size(), &mut |leaf| {
            if frontier.size() < size {
                let full = |id, hashes| tiles.push((id, hashes));
                frontier.push(leaf.unwrap_or_else(no_record), full);
            }
        })?;
        if frontier.root() != checkpoint.root {
            return Ok(());
        }
        let partial = frontier.partial_tiles();
        tiles.extend(partial.map(|(id, hashes)| (id, hashes.to_vec())));
        let is_lost = |(id, hashes): &&(TileId, Vec<_>)| {
            let found = self.dir.read(*id, size);
            found.ok().as_ref() != Some(hashes)
        };
        let lost: Vec<_> = tiles.iter().filter(is_lost).collect();
        if !lost.is_empty() {
            tracing::warn!(
                target: "callgate::audit",
                tiles = lost.len(),
                "tiles of the decision log's tree were lost, and are made anew from its records"
            );
        }
        let lost = lost.iter().map(|(id, hashes)| (*id, hashes.as_slice()));
        self.dir.write_tiles(lost)?;
        let unsynced = tiles.iter().map(|(id, hashes)| (*id, hashes.len()));
        self.unsynced = unsynced.collect();
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
        self.dir.write_frontier(&self.frontier)?;
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

/// The leaf of a record that is lost before a checkpoint covers it: that of an empty entry, which no record has.
pub fn no_record() -> TreeHash {
    TreeHash::leaf(&[])
}

/// The right edge up to which tiles are durable; `None` in a log of before, which says nowhere how far that is.
fn read_frontier(dir: &TileDir, signed: u64) -> Result<Option<Frontier>, TreeError> {
    match dir.read_frontier() {
        Ok(None) if signed > 0 => {
            tracing::warn!(
                target: "callgate::audit",
                directory = %dir.path().display(),
                "the tree of the decision log has no `frontier`: unless the log is of before there was one, it was taken away, and its last checkpoint may be an older one"
            );
            Ok(None)
        }
        Ok(frontier) => Ok(frontier),
        Err(FrontierError::Io(error)) => Err(error.into()),
        Err(error) => Err(TreeError::Frontier(error)),
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

/// Holds the records after the checkpoint against tiles that were written before the process ended.
fn check_unsigned_records(
    dir: &TileDir,
    signed: u64,
    records: &mut impl Leaves,
) -> Result<(), TreeError> {
    let mut tiles = UnsignedTiles::read(dir, signed)?;
    if tiles.size() > records.end() {
        return Err(TreeError::Hashed {
            records: records.end(),
            hashed: tiles.size(),
        });
    }
    let Some(first) = tiles.first() else {
        return Ok(());
    };
    let mut index = first.max(records.first());
    records.each_from(index, &mut |leaf| {
        if let Some(leaf) = leaf {
            tiles.note(index, leaf);
        }
        index += 1;
    })?;
    match tiles.others().first() {
        Some(&index) => Err(TreeError::Record { index }),
        None => Ok(()),
    }
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

#[cfg(test)]
#[path = "writer_crash_tests.rs"]
mod crash_tests;
