//! Whether the signed tree has a record as it is on the disk: its leaf is held against the tiles, and these against the last
//! checkpoint. Whoever says that a record is in a checkpoint asks here.

use std::io;
use std::path::Path;

use crate::audit::log_files::TREE;
use crate::audit::record::StoredRecord;
use crate::audit::tree::checkpoint::Checkpoint;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::key_file::{self, PUBLIC_KEY_FILE};
use crate::audit::tree::merkle::{self, Nodes as _};
use crate::audit::tree::note::VerifyingKey;
use crate::audit::tree::tile_dir::{TileDir, TreeReader};

/// What the tree says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// There is no checkpoint that can be verified with the key beside it.
    NoCheckpoint,
    /// The last checkpoint ends before it.
    NotYet,
    /// It is in the checkpoint over so many records.
    Proven(u64),
    /// The checkpoint over so many records has another record in its place.
    Other(u64),
    /// The checkpoint over so many records covers its place, and tiles do not lead there.
    Unproven(u64),
}

impl Coverage {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoCheckpoint => "no_checkpoint",
            Self::NotYet => "not_yet",
            Self::Proven(_) => "proven",
            Self::Other(_) => "other_record",
            Self::Unproven(_) => "unproven",
        }
    }

    /// The number of records in the checkpoint, if it reaches to the record.
    pub fn size(self) -> Option<u64> {
        match self {
            Self::NoCheckpoint | Self::NotYet => None,
            Self::Proven(size) | Self::Other(size) | Self::Unproven(size) => Some(size),
        }
    }
}

/// What the tree of a log says of a record, by the key beside it.
pub fn of(directory: &Path, record: &StoredRecord) -> Coverage {
    let dir = TileDir::new(directory.join(TREE));
    let leaf = TreeHash::leaf(&record.bytes);
    let once = || {
        let Some(last) = last_checkpoint(directory) else {
            return Coverage::NoCheckpoint;
        };
        if record.index >= last.size {
            return Coverage::NotYet;
        }
        let Ok((logged, proof)) = prove(&dir, last.size, record.index) else {
            return Coverage::Unproven(last.size);
        };
        let (size, root) = (last.size, last.root);
        match merkle::verify_inclusion(&proof, record.index, logged, size, root) {
            Err(_) => Coverage::Unproven(size),
            Ok(()) if logged == leaf => Coverage::Proven(size),
            Ok(()) => Coverage::Other(size),
        }
    };
    match once() {
        // The tree of a server that runs may have grown meanwhile, and narrow tiles are gone then.
        Coverage::Unproven(_) => once(),
        found => found,
    }
}

/// The size of the last checkpoint of a log, if it can be verified with the key beside it.
pub fn signed(directory: &Path) -> Option<u64> {
    last_checkpoint(directory).map(|it| it.size)
}

fn last_checkpoint(directory: &Path) -> Option<Checkpoint> {
    let dir = TileDir::new(directory.join(TREE));
    let key = key_file::read_verifying_key(&dir.path().join(PUBLIC_KEY_FILE)).ok()?;
    checkpoint(&dir, &key).ok()
}

/// Reads the last checkpoint.
pub(super) fn checkpoint(dir: &TileDir, key: &VerifyingKey) -> Result<Checkpoint, String> {
    let note = dir.read_checkpoint().map_err(|error| error.to_string())?;
    let note = note.ok_or_else(|| "there is none".to_owned())?;
    Checkpoint::open(&note, key).map_err(|error| error.to_string())
}

/// The leaf hash of a record as the tiles have it, and the proof that it is in the tree of the checkpoint.
///
/// # Errors
///
/// If the record is not in the tree, or tiles cannot be read.
pub fn prove(dir: &TileDir, size: u64, index: u64) -> io::Result<(TreeHash, Vec<TreeHash>)> {
    if index >= size {
        let why = format!(
            "record {index} is not yet in the last checkpoint, which is over {size} records"
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    let mut tiles = TreeReader::new(dir.clone(), size);
    let leaf = tiles.node(0, index).map_err(io::Error::other)?;
    let proof = merkle::inclusion_proof(&mut tiles, index, size).map_err(io::Error::other)?;
    Ok((leaf, proof))
}
