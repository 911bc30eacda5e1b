//! The marker file beside a store: that there is a store, its id, and how many commits it has acknowledged.
//!
//! It is one line, overwritten in place after each commit and before the commit is reported. It is not synced to disk:
//! it never says more than the store has on disk, and it outlives the process. So a store with fewer commits than its
//! marker has lost some, and a marker without a store says that there was one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most bytes of a marker, which is one line.
const MOST_BYTES: u64 = 256;
const HEAD: &str = "callgate-store";

/// The content of a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreMark {
    /// The id of the store.
    pub(super) id: String,
    /// The number of commits that it has acknowledged at least.
    pub(super) commits: u64,
}

/// The marker of an open store.
#[derive(Debug)]
pub(super) struct MarkerFile {
    path: PathBuf,
    file: File,
    id: String,
}

impl StoreMark {
    /// The marker beside the store at this path; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Any error of reading it, and `InvalidData` if it is no marker.
    pub(super) fn read(store: &Path) -> io::Result<Option<Self>> {
        let path = path_of(store);
        let text = match fs::metadata(&path) {
            Ok(found) if found.len() > MOST_BYTES => return Err(unreadable(&path)),
            Ok(_) => fs::read_to_string(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let commits = |word: &str| word.parse().ok();
        match words[..] {
            [HEAD, id, number] => match commits(number) {
                Some(commits) => Ok(Some(Self {
                    id: id.to_owned(),
                    commits,
                })),
                None => Err(unreadable(&path)),
            },
            _ => Err(unreadable(&path)),
        }
    }

    fn line(id: &str, commits: u64) -> String {
        // The length is constant, as the line is overwritten in place.
        format!("{HEAD} {id} {commits:020}\n")
    }
}

impl MarkerFile {
    /// Writes a marker beside the store, replacing one that exists.
    ///
    /// # Errors
    ///
    /// Any error of creating or writing it.
    pub(super) fn put(store: &Path, mark: &StoreMark) -> io::Result<Self> {
        let path = path_of(store);
        let mut fresh = path.clone().into_os_string();
        fresh.push(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(StoreMark::line(&mark.id, mark.commits).as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        sync_folder(&path)?;
        Ok(Self {
            path,
            file,
            id: mark.id.clone(),
        })
    }

    /// Notes how many commits are on disk.
    ///
    /// # Errors
    ///
    /// Any error of writing the marker.
    pub(super) fn note(&mut self, store: &Path, commits: u64) -> io::Result<()> {
        let opened = self.file.metadata()?;
        let is_there = fs::metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()));
        if is_there {
            let line = StoreMark::line(&self.id, commits);
            return self.file.write_all_at(line.as_bytes(), 0);
        }
        tracing::warn!(file = %self.path.display(), "the marker of the store was gone and is put there again");
        let mark = StoreMark {
            id: self.id.clone(),
            commits,
        };
        *self = Self::put(store, &mark)?;
        Ok(())
    }
}

/// The path of the marker of a store.
pub(super) fn path_of(store: &Path) -> PathBuf {
    beside(store, ".id")
}

/// The store's path with a suffix.
pub(super) fn beside(store: &Path, more: &str) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(more);
    path.into()
}

/// Syncs the folder of a file, which makes a new name durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

fn unreadable(path: &Path) -> io::Error {
    let what = format!("`{}` is no marker of a store", path.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
}
