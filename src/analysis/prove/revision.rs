//! The files of a directory at a revision of git.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of an archive of a revision.
const MAX_ARCHIVE_BYTES: usize = 1 << 30;

/// A directory at a revision, in a temporary place that goes away with this value.
#[derive(Debug)]
pub struct Revision {
    dir: PathBuf,
}

impl Revision {
    /// Writes the files of `dir` at a revision to a temporary place, with the program `git`.
    ///
    /// # Errors
    ///
    /// If `dir` is in no repository, the revision does not exist or has no such directory, or a file cannot be written.
    pub fn checkout(dir: &Path, revision: &str) -> Result<Self, String> {
        let commit = format!("{revision}^{{commit}}");
        let resolve = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
        let id = git(dir, &[resolve.as_slice(), &[commit.as_str()]].concat())
            .map_err(|said| format!("there is no revision `{revision}`: {said}"))?;
        let id = String::from_utf8_lossy(&id).trim().to_owned();
        // Within the directory, so that the archive holds it and nothing beside it.
        let archive = git(dir, &["archive", "--format=tar", &id])
            .map_err(|said| format!("`{revision}` has no such directory: {said}"))?;
        if archive.len() > MAX_ARCHIVE_BYTES {
            return Err(format!(
                "`{revision}` is larger than {MAX_ARCHIVE_BYTES} bytes"
            ));
        }
        let found = Self {
            dir: temporary().map_err(|error| format!("no temporary directory: {error}"))?,
        };
        tar::Archive::new(&*archive)
            .unpack(&found.dir)
            .map_err(|error| format!("`{revision}` cannot be written out: {error}"))?;
        Ok(found)
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Revision {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A new directory that nobody else can read.
fn temporary() -> std::io::Result<PathBuf> {
    let name = format!("callgate-revision-{}", uuid::Uuid::now_v7());
    let dir = std::env::temp_dir().join(name);
    fs::DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(dir)
}

fn git(dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let ran = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .output();
    let ran = ran.map_err(|error| format!("`git` cannot be run: {error}"))?;
    match ran.status.success() {
        true => Ok(ran.stdout),
        false => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
    }
}
