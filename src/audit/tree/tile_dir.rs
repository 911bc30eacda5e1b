//! The directory of a tree: tiles and the checkpoint, written so that a reader never sees a half-written file.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::merkle::Nodes;
use crate::audit::tree::note::MAX_NOTE_LEN;
use crate::audit::tree::tile::{self, TILE_WIDTH, TileId};

/// The file with the last checkpoint.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// Tiles that a reader keeps in memory: 8 MiB.
const MAX_CACHED_TILES: usize = 1_024;

/// The directory of a tree.
#[derive(Debug, Clone)]
pub struct TileDir {
    root: PathBuf,
}

/// A tile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// The file is missing or cannot be read.
    #[error("cannot read the tile `{path}`: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It has not as many hashes as it should.
    #[error("the tile `{path}` does not have {width} hashes")]
    Width {
        /// The file.
        path: PathBuf,
        /// The hashes it should have.
        width: usize,
    },
}

impl TileDir {
    /// A tree below this directory, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Reads a tile as wide as it is in a tree of `size` leaves. A wider one serves as well, since a tile only grows.
    ///
    /// # Errors
    ///
    /// If no such tile can be read.
    pub fn read(&self, id: TileId, size: u64) -> Result<Vec<TreeHash>, TileError> {
        let width = id.width(size);
        match self.read_file(id, width) {
            Err(TileError::Read { error, .. })
                if error.kind() == io::ErrorKind::NotFound && width < TILE_WIDTH =>
            {
                let full = self.read_file(id, TILE_WIDTH);
                full.map(|mut hashes| {
                    hashes.truncate(width);
                    hashes
                })
            }
            read => read,
        }
    }

    fn read_file(&self, id: TileId, width: usize) -> Result<Vec<TreeHash>, TileError> {
        let path = self.root.join(id.path(width));
        let limit = (TILE_WIDTH * TreeHash::LEN + 1) as u64;
        let mut bytes = Vec::with_capacity(width * TreeHash::LEN);
        let read = File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        match read {
            Ok(_) => tile::from_bytes(&bytes, width).ok_or(TileError::Width { path, width }),
            Err(error) => Err(TileError::Read { path, error }),
        }
    }

    /// Reads the signed checkpoint; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is not text or is longer than a note may be.
    pub fn read_checkpoint(&self) -> io::Result<Option<String>> {
        read_text(&self.root.join(CHECKPOINT_FILE))
    }

    /// Whether anything of a tree is there.
    pub fn is_empty(&self) -> bool {
        !self.root.join("tile").exists() && !self.root.join(CHECKPOINT_FILE).exists()
    }

    /// Writes tiles, and once they are durable the checkpoint over them. Partial tiles of a tile that became full are
    /// removed.
    ///
    /// # Errors
    ///
    /// If a file cannot be written. The checkpoint is then the one before.
    pub fn write<'a>(
        &self,
        tiles: impl IntoIterator<Item = (TileId, &'a [TreeHash])>,
        checkpoint: &str,
    ) -> io::Result<()> {
        let mut dirs = BTreeSet::new();
        let mut full = Vec::new();
        for (id, hashes) in tiles {
            let path = self.root.join(id.path(hashes.len()));
            replace(&path, &tile::to_bytes(hashes), &mut dirs)?;
            if hashes.len() == TILE_WIDTH {
                full.push(id);
            }
        }
        for dir in std::mem::take(&mut dirs) {
            File::open(dir)?.sync_all()?;
        }
        replace(
            &self.root.join(CHECKPOINT_FILE),
            checkpoint.as_bytes(),
            &mut dirs,
        )?;
        File::open(&self.root)?.sync_all()?;
        for id in full {
            if let Some(partial) = self.root.join(id.path(1)).parent() {
                // What stays only takes space.
                let _ = fs::remove_dir_all(partial);
            }
        }
        Ok(())
    }
}

/// The directories above a path, the next one first. Where a relative path begins, that is the working directory.
pub(super) fn above(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors()
        .skip(1)
        .map(|dir| match dir.as_os_str().is_empty() {
            true => Path::new("."),
            false => dir,
        })
}

/// Replaces a file as a whole, and notes the directories that have to be synced for it.
fn replace(path: &Path, content: &[u8], dirs: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let dir = above(path).next().unwrap_or(Path::new("."));
    if !dir.is_dir() {
        fs::create_dir_all(dir)?;
        dirs.extend(above(dir).take(5).map(Path::to_owned));
    }
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    let written = file.write_all(content).and_then(|()| file.sync_data());
    let renamed = written.and_then(|()| fs::rename(&unfinished, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    dirs.insert(dir.to_owned());
    renamed
}

/// Reads a short text file; `None` if there is none.
///
/// # Errors
///
/// If it cannot be read, is not text or is longer than a note may be.
pub fn read_text(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_NOTE_LEN as u64 + 1)
        .read_to_string(&mut text)?;
    match text.len() > MAX_NOTE_LEN {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long")),
        false => Ok(Some(text)),
    }
}

/// Nodes of the tree as it was at a size, from its tiles.
#[derive(Debug)]
pub struct TreeReader {
    dir: TileDir,
    size: u64,
    cache: HashMap<TileId, Vec<TreeHash>>,
}

impl TreeReader {
    /// Reads the tree of `size` leaves.
    pub fn new(dir: TileDir, size: u64) -> Self {
        Self {
            dir,
            size,
            cache: HashMap::new(),
        }
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of a tile.
    ///
    /// # Errors
    ///
    /// If the tile cannot be read.
    pub fn tile(&mut self, id: TileId) -> Result<&[TreeHash], TileError> {
        if self.cache.len() >= MAX_CACHED_TILES && !self.cache.contains_key(&id) {
            self.cache.clear();
        }
        match self.cache.entry(id) {
            std::collections::hash_map::Entry::Occupied(found) => Ok(found.into_mut()),
            std::collections::hash_map::Entry::Vacant(free) => {
                Ok(free.insert(self.dir.read(id, self.size)?))
            }
        }
    }

    /// The hash of a leaf.
    ///
    /// # Errors
    ///
    /// If its tile cannot be read, or it is not in the tree.
    pub fn leaf(&mut self, index: u64) -> Result<TreeHash, TileError> {
        self.node(0, index)
    }
}

impl Nodes for TreeReader {
    type Error = TileError;

    fn node(&mut self, level: u32, index: u64) -> Result<TreeHash, TileError> {
        let (id, offset, count) = tile::tile_of(level, index);
        let hashes = self.tile(id)?;
        match hashes.get(offset..offset + count) {
            Some(hashes) => Ok(tile::subtree(hashes)),
            None => Err(TileError::Width {
                path: self.dir.path().join(id.path(TILE_WIDTH)),
                width: offset + count,
            }),
        }
    }
}

#[cfg(test)]
#[path = "tile_dir_tests.rs"]
mod tests;
