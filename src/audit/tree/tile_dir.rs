//! The directory of a tree: tiles and the checkpoint.
//!
//! Invariant: a checkpoint is replaced as a whole, and only once all tiles of its tree are written, and durable as far as
//! [`TileDir::write_tiles`] says. So whoever reads what a checkpoint covers never sees a half-written file.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
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

    /// Writes tiles that the last checkpoint does not cover. All are durable then, except for full tiles of leaves: those are
    /// most of them, records say what is in them, and [`TileDir::sync_leaves`] sees to them later.
    ///
    /// `unneeded` is a tile that became full, whose partial tiles nobody needs any more: a new partial tile takes their place on
    /// the disk. Some file systems look at each file that was removed in the last minutes before they make another, and a log
    /// that is written often would remove several a second.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write_tiles<'a>(
        &self,
        tiles: impl IntoIterator<Item = (TileId, &'a [TreeHash])>,
        unneeded: &mut Option<TileId>,
    ) -> io::Result<()> {
        let mut dirs = Dirs::default();
        for (id, hashes) in tiles {
            let path = self.root.join(id.path(hashes.len()));
            let is_partial = hashes.len() < TILE_WIDTH;
            let is_moved = is_partial && self.move_partial(unneeded, id, &path);
            let is_new = dirs.make_above(&path)? || is_moved;
            let file = write(&path, &tile::to_bytes(hashes))?;
            if id.level > 0 || is_partial {
                file.sync_data()?;
                dirs.note_above(&path, is_new);
            }
        }
        dirs.sync()
    }

    /// Writes one tile, durably.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_synced(&self, id: TileId, hashes: &[TreeHash]) -> io::Result<()> {
        let path = self.root.join(id.path(hashes.len()));
        let mut dirs = Dirs::default();
        let is_new = dirs.make_above(&path)?;
        write(&path, &tile::to_bytes(hashes))?.sync_data()?;
        dirs.note_above(&path, is_new);
        dirs.sync()
    }

    /// Makes full tiles of leaves durable.
    ///
    /// # Errors
    ///
    /// If one cannot be opened or synced.
    pub fn sync_leaves(&self, indices: Range<u64>) -> io::Result<()> {
        let mut dirs = Dirs::default();
        for index in indices {
            let id = TileId { level: 0, index };
            let path = self.root.join(id.path(TILE_WIDTH));
            match File::open(&path).and_then(|file| file.sync_data()) {
                // Somebody removed it, which `callgate audit verify` tells. The log goes on.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                synced => synced?,
            }
            // Nobody has synced a directory that was made for them.
            dirs.note_above(&path, true);
        }
        dirs.sync()
    }

    /// Replaces the checkpoint.
    ///
    /// # Errors
    ///
    /// If the file cannot be written. The checkpoint is then the one before.
    pub fn write_checkpoint(&self, checkpoint: &str) -> io::Result<()> {
        let path = self.root.join(CHECKPOINT_FILE);
        let unfinished = path.with_extension("new");
        let mut dirs = Dirs::default();
        let is_new = dirs.make_above(&path)?;
        let written = write(&unfinished, checkpoint.as_bytes()).and_then(|file| file.sync_data());
        let renamed = written.and_then(|()| fs::rename(&unfinished, &path));
        if renamed.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        dirs.note_above(&path, is_new);
        renamed.and(dirs.sync())
    }

    /// Removes partial tiles of a tile that became full.
    pub fn remove_partial(&self, id: TileId) {
        // What stays only takes space.
        let _ = fs::remove_dir_all(self.partial(id));
    }

    /// Whether there are partial tiles of a tile.
    pub fn has_partial(&self, id: TileId) -> bool {
        self.partial(id).is_dir()
    }

    fn partial(&self, id: TileId) -> PathBuf {
        let mut path = self.root.join(id.path(1));
        path.pop();
        path
    }

    /// Makes what is on the disk of a tile's partial tiles the first partial tile of another, at this path; its content is still to
    /// be written. Returns whether it did. If it cannot, it removes them.
    fn move_partial(&self, unneeded: &mut Option<TileId>, to: TileId, path: &Path) -> bool {
        let target = self.partial(to);
        let has_place = !target.is_dir() && target.parent().is_some_and(Path::is_dir);
        let Some(from) = unneeded.take_if(|from| from.level == to.level && has_place) else {
            return false;
        };
        let moved = move_directory(&self.partial(from), &target, path);
        if moved.is_err() {
            self.remove_partial(from);
        }
        moved.is_ok()
    }
}

/// Moves a directory, one of whose files becomes the one at `path`. The others are removed.
fn move_directory(from: &Path, to: &Path, path: &Path) -> io::Result<()> {
    let mut kept = None;
    for file in fs::read_dir(from)? {
        let file = file?;
        if !file.file_type()?.is_file() {
            return Err(io::Error::other("it is no partial tile"));
        }
        match kept {
            None => kept = Some(file.file_name()),
            Some(_) => fs::remove_file(file.path())?,
        }
    }
    fs::rename(from, to)?;
    match kept {
        Some(name) => fs::rename(to.join(name), path),
        None => Ok(()),
    }
}

/// Directories that have to be synced for the names in them.
#[derive(Default)]
struct Dirs {
    /// Those that are there.
    made: BTreeSet<PathBuf>,
    to_sync: BTreeSet<PathBuf>,
}

impl Dirs {
    /// Makes the directory above a path unless it is there. Returns whether it was made.
    fn make_above(&mut self, path: &Path) -> io::Result<bool> {
        let dir = above(path).next().unwrap_or(Path::new("."));
        if self.made.contains(dir) {
            return Ok(false);
        }
        let is_new = !dir.is_dir();
        if is_new {
            fs::create_dir_all(dir)?;
        }
        self.made.insert(dir.to_owned());
        Ok(is_new)
    }

    /// Notes the directory above a path, and if that is new, those above it.
    fn note_above(&mut self, path: &Path, is_new: bool) {
        for dir in above(path).take(if is_new { 5 } else { 1 }) {
            if !self.to_sync.contains(dir) {
                self.to_sync.insert(dir.to_owned());
            }
        }
    }

    fn sync(self) -> io::Result<()> {
        let mut dirs = self.to_sync.into_iter();
        dirs.try_for_each(|dir| File::open(dir)?.sync_all())
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

fn write(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    Ok(file)
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
