//! Files that verbs write.
//!
//! Start at [`replace`], or at [`Replacement`] for what is written piece by piece. A verb whose file must not exist yet makes
//! it with [`create`].

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::audit::log_files;

/// The most links from a name to its file.
const MAX_LINKS: usize = 40;
/// Names of what the process has open.
const OPEN: [&str; 4] = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];
/// What every database of SQLite begins with.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
/// The permissions that a file keeps.
const MODE: u32 = 0o777;

/// What is written in place of a file, and takes its name at the end: a watching server sees either the old content or the
/// new. What was written is gone unless [`Replacement::finish`] is called.
///
/// A link is followed, and its target replaced. A file that was there keeps its mode, and its owner where that is allowed.
/// A device, a pipe and a socket is opened and written to; nothing takes its place.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    /// Where the file is written, and the name that it gets; `None` if it is written to as it stands.
    place: Option<(PathBuf, PathBuf)>,
}

impl Replacement {
    /// Begins to write. The folder is made if it is not there.
    ///
    /// # Errors
    ///
    /// If the path is a directory or `-`, or cannot be written.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        check_file(path)?;
        Self::open(path).with_context(|| cannot(path))
    }

    fn open(path: &Path) -> anyhow::Result<Self> {
        let found = match fs::metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if found.as_ref().is_some_and(Metadata::is_dir) {
            bail!("it is a directory");
        }
        // These name what the process has open, whatever that is: its end is written to.
        let is_open = OPEN.iter().any(|it| path.starts_with(it));
        let target = match &found {
            Some(found) if !found.is_file() || is_open => {
                let file = OpenOptions::new().append(true).open(path)?;
                return Ok(Self { file, place: None });
            }
            Some(_) => fs::canonicalize(path)?,
            None => behind_links(path)?,
        };
        let dir = target.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().context("it names no file")?);
        name.push(format!(".{}", std::process::id()));
        // A temporary file that is left over is hidden from the bundle.
        let unfinished = dir.join(name);
        let _ = fs::remove_file(&unfinished);
        let mode = found.as_ref().map_or(0o666, |_| 0o600);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&unfinished)?;
        let written = Self {
            file,
            place: Some((unfinished, target)),
        };
        if let Some(found) = &found {
            written.take_over(found)?;
        }
        Ok(written)
    }

    /// Gives the file the owner, if that is allowed, and the mode of the one whose place it takes.
    fn take_over(&self, found: &Metadata) -> io::Result<()> {
        let own = self.file.metadata()?;
        if own.gid() != found.gid() {
            let _ = fchown(&self.file, None, Some(found.gid()));
        }
        if own.uid() != found.uid() {
            let _ = fchown(&self.file, Some(found.uid()), None);
        }
        let mode = found.permissions().mode() & MODE;
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    ///
    /// If it cannot be written or renamed.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.file.flush()?;
        let Some((unfinished, target)) = &self.place else {
            return Ok(());
        };
        let put = self.file.sync_all();
        put.and_then(|()| fs::rename(unfinished, target))
            .with_context(|| cannot(target))?;
        self.place = None;
        Ok(())
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some((unfinished, _)) = &self.place {
            let _ = fs::remove_file(unfinished);
        }
    }
}

/// Writes a file as a whole, as [`Replacement`] does.
///
/// # Errors
///
/// If the path is a directory or `-`, or the file cannot be written or renamed.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut new = Replacement::new(path)?;
    new.write_all(content.as_ref())
        .with_context(|| cannot(path))?;
    new.finish()
}

/// Makes a file. Its folder is there already, and nothing of its name.
///
/// # Errors
///
/// If something of this name is there, the path is `-`, or the file cannot be written.
pub fn create(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    check_file(path)?;
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    opened
        .and_then(|mut file| file.write_all(content.as_ref()))
        .with_context(|| cannot(path))
}

/// Checks that the path of a file or directory to be written is not what people write for standard output, and not within a
/// decision log: that has its own writer, and a slip of the shell must not cost evidence.
///
/// # Errors
///
/// If it is `-`, or within the directory of a log.
pub fn check_name(path: &Path) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        bail!("`-` is not standard output here: give a name, `./-` if it is called so");
    }
    // What cannot be resolved cannot be written either, and is told then.
    let Ok(place) = resolve(path) else {
        return Ok(());
    };
    let name = path.display();
    if let Some(log) = place.ancestors().find(|above| log_files::is_log(above)) {
        bail!(
            "`{name}` is in the decision log `{}`, in which nothing else is written: name a place elsewhere",
            log.display()
        );
    }
    Ok(())
}

/// The same of a file, which is none of a store either.
fn check_file(path: &Path) -> anyhow::Result<()> {
    check_name(path)?;
    if resolve(path).is_ok_and(|place| is_of_store(&place)) {
        bail!(
            "`{}` is a file of a store: name another one",
            path.display()
        );
    }
    Ok(())
}

/// Whether a file is a database of SQLite, or one of those beside it.
fn is_of_store(place: &Path) -> bool {
    let text = place.to_string_lossy();
    let besides = ["", "-wal", "-shm", "-journal", ".id"];
    let mut databases = besides.iter().filter_map(|end| text.strip_suffix(end));
    databases.any(|database| {
        // Who opens a pipe waits for its other end.
        let is_file = fs::metadata(database).is_ok_and(|it| it.is_file());
        let mut begin = [0; SQLITE.len()];
        let mut read = || File::open(database)?.read_exact(&mut begin);
        is_file && read().is_ok() && begin == *SQLITE
    })
}

/// Where a path leads that may not be there yet: links and `..` are resolved as far as they are there.
///
/// # Errors
///
/// If the current directory, or what is there of the path, cannot be read.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut there = std::path::absolute(path)?;
    let mut missing = Vec::new();
    loop {
        match there.canonicalize() {
            Ok(found) => {
                there = found;
                break;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(error) => match there.components().next_back().map(component) {
                Some(last) => missing.push(last),
                None => return Err(error),
            },
        }
        there.pop();
    }
    for name in missing.iter().rev() {
        // What is not there yet is made as a directory, so that `..` leads back.
        match name.as_deref() {
            Some(name) => there.push(name),
            None => drop(there.pop()),
        }
        there = there.canonicalize().unwrap_or(there);
    }
    Ok(there)
}

/// The name of a component, or nothing for `..`.
fn component(it: Component<'_>) -> Option<OsString> {
    match it {
        Component::ParentDir => None,
        other => Some(other.as_os_str().to_owned()),
    }
}

/// The file that a name leads to, if it is a link to one that is not there yet; otherwise the name itself.
fn behind_links(path: &Path) -> anyhow::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            // A target that begins at the root takes the place of what is before it.
            Ok(next) => target = target.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(target),
        }
    }
    bail!("its links lead in a circle")
}

fn cannot(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
