//! The marker beside a store: that there is one, which, and how many commits it has acknowledged.
//!
//! It is one line, written over in place after each commit and before anybody is told. Nobody waits for the disk for it:
//! what it says is never more than what the store had on the disk, and it outlives the process. So a store that comes
//! back with fewer commits than its marker has lost something, and a marker without a store says that there was one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A marker is one line of this many bytes at most.
const MOST_BYTES: u64 = 256;
const HEAD: &str = "callgate-store";

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreMark {
    /// Which store.
    pub(super) id: String,
    /// How many commits it has acknowledged at least.
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
    /// What is beside the store at this path; `None` if nothing is.
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
        // Always as long, as it is written over in place.
        format!("{HEAD} {id} {commits:020}\n")
    }
}

impl MarkerFile {
    /// Puts a marker beside the store, in place of one that is there.
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

    /// So many commits are on the disk.
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

/// Where the marker of a store lies.
pub(super) fn path_of(store: &Path) -> PathBuf {
    beside(store, ".id")
}

/// A file whose name is the store's and something more.
pub(super) fn beside(store: &Path, more: &str) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(more);
    path.into()
}

/// A new name is on the disk once its folder is.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn unreadable(path: &Path) -> io::Error {
    let what = format!("`{}` is no marker of a store", path.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
}
