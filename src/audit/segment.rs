//! One file of the log that is written: created, repaired, appended to.
//!
//! Start at [`Segment`]. Every append is checked against the file as it is: a file that was deleted, truncated or written by
//! another process is noticed before the records of that append are acknowledged.
//!
//! Invariant: after a failed append the file holds what it held before, or nothing more is appended to it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::audit::capsule;
use crate::audit::frame::{self, Contents, FrameReader, HEADER, Step};
use crate::audit::log_files::{self, MAX_GAP};
use crate::audit::record;

/// Who may read a file of the log: its owner and the group.
const MODE: u32 = 0o640;

/// A file that is appended to.
#[derive(Debug)]
pub struct Segment {
    file: File,
    path: PathBuf,
    contents: Contents,
    first: u64,
    length: u64,
    /// Which file it is: its device and inode, which no other can have while it is open.
    identity: (u64, u64),
    /// What is to be cut off or made anew before anything is appended.
    unrepaired: Option<Unrepaired>,
}

/// What is wrong at the end of a file that a process left behind.
#[derive(Debug, Clone, Copy)]
enum Unrepaired {
    /// It has no whole header.
    Header,
    /// Its end is no complete record.
    Tail,
}

/// Why an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It failed, and the file is as it was: the same records may be appended again.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is not what was written, or can no longer be made so: records go on in a new file.
    #[error("{0}")]
    Replaced(&'static str),
}

/// What was found in a file that a process left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Records in the file, counted from its first index.
    pub next: u64,
    /// Bytes cut off at the end, as they were no complete record.
    pub cut: u64,
    /// Ranges of records, first and last, that are missing before the end.
    pub lost: Vec<(u64, u64)>,
    /// Whether the header was damaged. Nothing is appended to such a file.
    pub is_header_damaged: bool,
}

impl Segment {
    /// Creates the file whose first record has this index.
    ///
    /// # Errors
    ///
    /// Those of the file system. No file is left behind.
    pub fn create(folder: &Path, contents: Contents, first: u64) -> io::Result<Self> {
        let path = folder.join(log_files::name(first));
        let mut file = options().create_new(true).open(&path)?;
        let written = file.write_all(&frame::header(contents, first));
        if let Err(error) = written.and_then(|()| sync_folder(folder)) {
            // Without a header it is of no use; if it cannot be removed, the next attempt finds it and says so.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let identity = identity(&file.metadata()?);
        Ok(Self {
            identity,
            file,
            path,
            contents,
            first,
            length: HEADER as u64,
            unrepaired: None,
        })
    }

    /// Opens a file that was written before and says what was found. Nothing of it is changed: an incomplete end is cut off
    /// by [`Segment::repair`], which has to come before anything is appended.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn inspect(path: &Path, contents: Contents, first: u64) -> io::Result<(Self, Repair)> {
        let mut file = options().open(path)?;
        let metadata = file.metadata()?;
        let (size, identity) = (metadata.len(), identity(&metadata));
        let mut repair = Repair {
            next: first,
            ..Repair::default()
        };
        if size < HEADER as u64 {
            repair.cut = size;
            let segment = Self {
                identity,
                file,
                path: path.to_owned(),
                contents,
                first,
                length: HEADER as u64,
                unrepaired: Some(Unrepaired::Header),
            };
            return Ok((segment, repair));
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        repair.is_header_damaged = frame::parse_header(&header) != Some((contents, first));
        let mut frames = FrameReader::new(&file, HEADER as u64, contents.max_payload());
        // Each index of a record follows the one before it; not all records have capsules.
        let is_dense = contents == Contents::Records;
        let index_of = match contents {
            Contents::Records => record::index_of,
            Contents::CapsuleGroups => capsule::first_index,
        };
        let mut skipped = 0;
        let torn = loop {
            match frames.step()? {
                Step::End(bytes) => break bytes as u64,
                Step::Skipped(bytes) => skipped += bytes,
                Step::Frame(payload) => {
                    let is_next =
                        |index: &u64| !is_dense || index.saturating_sub(repair.next) <= MAX_GAP;
                    let Some(index) = index_of(&payload).filter(is_next) else {
                        continue;
                    };
                    if index > repair.next && (is_dense || skipped > 0) {
                        repair.lost.push((repair.next, index - 1));
                    }
                    skipped = 0;
                    repair.next = repair.next.max(index.saturating_add(1));
                }
            }
        };
        let length = frames.offset();
        repair.cut = torn;
        let segment = Self {
            identity,
            file,
            path: path.to_owned(),
            contents,
            first,
            length,
            unrepaired: (torn > 0).then_some(Unrepaired::Tail),
        };
        Ok((segment, repair))
    }

    /// Makes a file of [`Segment::inspect`] fit to be appended to.
    ///
    /// # Errors
    ///
    /// Those of the file system: it may be tried again.
    pub fn repair(&mut self) -> io::Result<()> {
        match self.unrepaired {
            None => return Ok(()),
            Some(Unrepaired::Tail) => self.file.set_len(self.length)?,
            Some(Unrepaired::Header) => {
                self.file.set_len(0)?;
                self.file
                    .write_all(&frame::header(self.contents, self.first))?;
            }
        }
        self.unrepaired = None;
        Ok(())
    }

    /// Appends frames. Once it returns, they survive the end of the process.
    ///
    /// # Errors
    ///
    /// [`AppendError`].
    pub fn append(&mut self, frames: &[u8]) -> Result<(), AppendError> {
        let written = self.file.write_all(frames);
        if let Err(error) = written {
            return Err(self.undo(error));
        }
        self.length += frames.len() as u64;
        let checked = self.check();
        if checked.is_err() {
            self.withdraw(frames.len() as u64);
        }
        checked
    }

    /// Takes frames back that were appended to a file that is not what it was: wherever it comes to light again, it must
    /// not hold records whose indices are used for others.
    fn withdraw(&mut self, bytes: u64) {
        let found = self.file.metadata().map(|it| it.len());
        // What another process wrote behind them stays; then they do too, and their indices with them.
        let whole = |found: &u64| (bytes..=self.length).contains(found);
        if let Some(found) = found.ok().filter(whole) {
            // If it fails, the file is searched for them.
            let _ = self.file.set_len(found - bytes);
        }
        self.length -= bytes;
    }

    /// Makes what was appended survive a loss of power.
    ///
    /// # Errors
    ///
    /// [`AppendError::Replaced`]: after a failed sync nothing is known about what was written before it.
    pub fn sync(&self) -> Result<(), AppendError> {
        self.file.sync_data().map_err(|error| {
            tracing::error!(%error, path = %self.path.display(), "the decision log could not be synced");
            AppendError::Replaced("the file could not be synced")
        })
    }

    /// Whether the file is still the one that was written, under its name and in full.
    ///
    /// # Errors
    ///
    /// [`AppendError::Replaced`].
    pub fn check(&self) -> Result<(), AppendError> {
        // Whatever is wrong shows in the file that has the name; which it is, the open one tells.
        let replaced = |why| Err(AppendError::Replaced(why));
        match std::fs::symlink_metadata(&self.path) {
            Ok(named) if identity(&named) != self.identity => match self.is_linked()? {
                true => replaced("another file has its name"),
                false => replaced("the file was deleted"),
            },
            Ok(named) if named.len() != self.length => {
                replaced("the file was truncated or written by another process")
            }
            Ok(_) => Ok(()),
            Err(_) => match self.is_linked()? {
                true => replaced("the file was moved"),
                false => replaced("the file was deleted"),
            },
        }
    }

    /// Whether it has any name.
    fn is_linked(&self) -> Result<bool, AppendError> {
        Ok(self.file.metadata()?.nlink() > 0)
    }

    /// Removes what a failed write left.
    fn undo(&self, error: io::Error) -> AppendError {
        if self.check().is_ok() {
            return AppendError::Io(error);
        }
        let is_named = std::fs::symlink_metadata(&self.path).is_ok();
        match self.file.metadata() {
            Ok(open) if open.nlink() > 0 && is_named && open.len() >= self.length => {}
            _ => return AppendError::Replaced("the file was deleted or truncated"),
        }
        match self.file.set_len(self.length) {
            Ok(()) => AppendError::Io(error),
            Err(_) => AppendError::Replaced("a failed write could not be undone"),
        }
    }

    /// Says that nothing is appended any more, since this time.
    ///
    /// # Errors
    ///
    /// The error of the file system.
    pub fn close(&self, at: SystemTime) -> io::Result<()> {
        self.file.set_modified(at)
    }

    /// The index of its first record.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Its size in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(MODE);
    options
}

/// A file that becomes one of the log under another name. What is there under this name is replaced.
pub fn create_partial(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(MODE);
    options.open(path)
}

/// Makes the names in a folder survive a loss of power.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
