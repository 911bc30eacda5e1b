//! The directory of a tree: tiles and the checkpoint, written so that a reader never sees a half-written file.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::audit::tree::frontier::Frontier;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::merkle::Nodes;
use crate::audit::tree::note::MAX_NOTE_LEN;
use crate::audit::tree::tile::{self, TILE_WIDTH, TileId};

/// The file with the last checkpoint.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// The file with the right edge of the tree up to which all tiles survive a loss of power.
pub const FRONTIER_FILE: &str = "frontier";
/// How old that file may be before nobody waits for the next one.
const LONGEST_LAG: Duration = Duration::from_secs(600);
/// How many indices a group of their digits tells apart.
const GROUP: u64 = 1_000;
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

/// The right edge up to which tiles are durable cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum FrontierError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what was written. It is replaced as a whole, so no crash and no loss of power leaves it so.
    #[error("`{path}` is damaged, which says how far the tree was durable", path = .0.display())]
    Damaged(PathBuf),
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

    /// The tiles of a level that are there from an index on, in all their widths, whether or not some before them are missing.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read.
    pub fn tiles_from(&self, level: u32, start: u64) -> io::Result<Vec<(TileId, usize)>> {
        let mut found = Vec::new();
        let folder = self.root.join("tile").join(level.to_string());
        let mut folders = vec![(folder, 0_u64)];
        while let Some((folder, before)) = folders.pop() {
            for name in names(&folder)? {
                let index = |digits: &str| {
                    let before = before.checked_mul(GROUP)?;
                    before.checked_add(tile::group(digits)?)
                };
                if let Some(index) = name.strip_prefix('x').and_then(index) {
                    // No index begins with zeros. What is shorter than the first one, and less, has smaller ones below it.
                    if index > 0 && index >= leading(start, index) {
                        folders.push((folder.join(&name), index));
                    }
                } else if let Some(index) = name.strip_suffix(".p").and_then(index) {
                    if index >= start {
                        let widths = names(&folder.join(&name))?.into_iter();
                        let widths = widths.filter_map(|name| name.parse().ok());
                        let widths = widths.filter(|width| (1..TILE_WIDTH).contains(width));
                        found.extend(widths.map(|width| (TileId { level, index }, width)));
                    }
                } else if let Some(index) = index(&name).filter(|index| *index >= start) {
                    found.push((TileId { level, index }, TILE_WIDTH));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
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

    /// Writes tiles. They survive a loss of power once [`TileDir::sync`] comes back.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write_tiles<'a>(
        &self,
        tiles: impl IntoIterator<Item = (TileId, &'a [TreeHash])>,
    ) -> io::Result<()> {
        for (id, hashes) in tiles {
            let path = self.root.join(id.path(hashes.len()));
            let dir = folder_of(&path);
            if !dir.is_dir() {
                fs::create_dir_all(dir)?;
            }
            replace(&path, &tile::to_bytes(hashes), false)?;
        }
        Ok(())
    }

    /// Writes the checkpoint, which then survives a loss of power.
    ///
    /// # Errors
    ///
    /// If it cannot be written. The checkpoint is then the one before.
    pub fn write_checkpoint(&self, checkpoint: &str) -> io::Result<()> {
        self.write_durably(CHECKPOINT_FILE, checkpoint)
    }

    /// Removes the partial tiles of a tile that became full.
    pub fn remove_partial(&self, id: TileId) {
        if let Some(partial) = self.root.join(id.path(1)).parent() {
            // What stays only takes space.
            let _ = fs::remove_dir_all(partial);
        }
    }

    /// Makes tiles of these widths survive a loss of power; those that were removed meanwhile need not.
    ///
    /// # Errors
    ///
    /// If one of them cannot be synced.
    pub fn sync(&self, tiles: impl IntoIterator<Item = (TileId, usize)>) -> io::Result<()> {
        let mut dirs = BTreeSet::new();
        for (id, width) in tiles {
            let path = self.root.join(id.path(width));
            match File::open(&path) {
                Ok(file) => file.sync_data()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            let within = above(&path).take_while(|dir| dir.starts_with(&self.root));
            dirs.extend(within.map(Path::to_owned));
        }
        for dir in dirs {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    /// Reads the right edge of the tree up to which tiles are durable; `None` if there is none, as in a log of before.
    ///
    /// # Errors
    ///
    /// [`FrontierError`].
    pub fn read_frontier(&self) -> Result<Option<Frontier>, FrontierError> {
        let path = self.root.join(FRONTIER_FILE);
        let text = match read_text(&path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(String::new()),
            other => other?,
        };
        let Some(text) = text else {
            return Ok(None);
        };
        let frontier = Frontier::from_text(&text);
        frontier.map(Some).ok_or(FrontierError::Damaged(path))
    }

    /// The index of the first record that is needed to make tiles anew after a loss of power. Where no tile was made durable
    /// for long, none is waited for: the log goes on without its tree, or the disk is broken.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn needs_records_from(&self, now: SystemTime) -> io::Result<u64> {
        let frontier = match self.read_frontier() {
            Ok(Some(frontier)) => frontier,
            // A server that runs writes it anew.
            Ok(None) | Err(FrontierError::Damaged(_)) => return Ok(u64::MAX),
            Err(FrontierError::Io(error)) => return Err(error),
        };
        let written = fs::metadata(self.root.join(FRONTIER_FILE))?.modified()?;
        let is_stuck = now.duration_since(written).is_ok_and(|it| it > LONGEST_LAG);
        Ok(if is_stuck { u64::MAX } else { frontier.size() })
    }

    /// Writes the right edge of the tree up to which tiles are durable.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_frontier(&self, frontier: &Frontier) -> io::Result<()> {
        self.write_durably(FRONTIER_FILE, &frontier.to_text())
    }

    fn write_durably(&self, name: &str, text: &str) -> io::Result<()> {
        if !self.root.is_dir() {
            fs::create_dir_all(&self.root)?;
            File::open(folder_of(&self.root))?.sync_all()?;
        }
        replace(&self.root.join(name), text.as_bytes(), true)?;
        File::open(&self.root)?.sync_all()
    }
}

/// The names in a folder; none if it is not there, or is none.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

/// The first groups of an index, as many as another one has; 0 if it has no more than those.
fn leading(mut index: u64, other: u64) -> u64 {
    let groups = |index: u64| index.checked_ilog10().unwrap_or_default() / 3;
    if groups(index) <= groups(other) {
        return 0;
    }
    while groups(index) > groups(other) {
        index /= GROUP;
    }
    index
}

fn folder_of(path: &Path) -> &Path {
    above(path).next().unwrap_or(Path::new("."))
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

/// Replaces a file as a whole. If `is_durable` is set, what it then holds survives a loss of power, once its directory is
/// synced.
fn replace(path: &Path, content: &[u8], is_durable: bool) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    let mut written = file.write_all(content);
    if is_durable {
        written = written.and_then(|()| file.sync_data());
    }
    let renamed = written.and_then(|()| fs::rename(&unfinished, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
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
