//! The files with the keys of a log: the private one for its owner alone, the public one for everybody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::audit::tree::checkpoint::Checkpoint;
use crate::audit::tree::note::{NoteError, SigningKey, VerifyingKey};
use crate::audit::tree::tile_dir::{TileDir, above, read_text};

/// The file with the signing key, in the directory of the tree.
pub const KEY_FILE: &str = "key";
/// The file with the verifying key, in the directory of the tree.
pub const PUBLIC_KEY_FILE: &str = "key.pub";

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error("cannot read or write the key `{path}`: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is gone, and a tree that it has signed is there.
    #[error(
        "the key `{path}` is missing, with which this log was signed: put it back (`audit.signing_key_file` may name it), or begin a new log in another directory"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Its content.
    #[error("the key `{path}` is of no use: {error}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        error: NoteError,
    },
    /// Others can read it.
    #[error(
        "the key `{path}` can be read by others: its mode is {mode:o}, let it be 600, or 440 if it is another user's, as in a mounted secret"
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// It is another log's.
    #[error("the key `{path}` is of the log `{name}`, the configured origin is `{origin}`")]
    Origin {
        /// The file.
        path: PathBuf,
        /// The name of the key.
        name: String,
        /// The origin in the configuration.
        origin: String,
    },
}

impl KeyError {
    /// Whether the file is one that a process of another user may use: whose it is decides.
    pub fn is_of_user(&self) -> bool {
        matches!(self, Self::Mode { mode, .. } if mode & forbidden(false) == 0)
    }
}

/// Reads a signing key.
///
/// # Errors
///
/// If there is none, others can read it, or it has another form.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, KeyError> {
    let file_error = |error| KeyError::File {
        path: path.to_owned(),
        error,
    };
    check_mode(path)?;
    let text = read_text(path).map_err(file_error)?.unwrap_or_default();
    SigningKey::decode(&text).map_err(|error| KeyError::Content {
        path: path.to_owned(),
        error,
    })
}

/// Checks that nobody but this process can use a file with a secret.
///
/// # Errors
///
/// [`KeyError::Mode`] if others can, [`KeyError::File`] if it is not there.
pub fn check_mode(path: &Path) -> Result<(), KeyError> {
    let found = fs::metadata(path).map_err(|error| KeyError::File {
        path: path.to_owned(),
        error,
    })?;
    let mode = found.permissions().mode() & 0o777;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    match mode & forbidden(is_own) {
        0 => Ok(()),
        _ => Err(KeyError::Mode {
            path: path.to_owned(),
            mode,
        }),
    }
}

/// The permissions that a file with a secret may not give. What another user gives this process to read, such as a secret that
/// Kubernetes mounts for the `fsGroup`, it can only read by its group.
fn forbidden(is_own: bool) -> u32 {
    match is_own {
        true => 0o077,
        false => 0o037,
    }
}

/// Reads a verifying key.
///
/// # Errors
///
/// If there is none, or it has another form.
pub fn read_verifying_key(path: &Path) -> Result<VerifyingKey, KeyError> {
    let file_error = |error| KeyError::File {
        path: path.to_owned(),
        error,
    };
    let text = read_text(path)
        .and_then(|text| text.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(file_error)?;
    VerifyingKey::decode(&text).map_err(|error| KeyError::Content {
        path: path.to_owned(),
        error,
    })
}

/// The key that signs a log whose tree is in `tree`: the one in `file`, or that of the tree, which is made at the first
/// start under the name `origin`. A key keeps its name, so `origin` is checked only where `is_origin_configured`. The public
/// key is put beside the tree.
///
/// # Errors
///
/// If a key cannot be read, made or written, or is another log's than configured.
pub fn signing_key(
    tree: &Path,
    file: Option<&Path>,
    origin: &str,
    is_origin_configured: bool,
) -> Result<SigningKey, KeyError> {
    let path = file.map_or_else(|| tree.join(KEY_FILE), Path::to_owned);
    let dir = TileDir::new(tree.to_owned());
    let key = match (file, path.exists()) {
        (None, false) if !dir.is_empty() => return Err(KeyError::Missing { path }),
        (None, false) => make(&path, origin)?,
        _ => read_signing_key(&path)?,
    };
    if is_origin_configured && key.name() != origin {
        return Err(KeyError::Origin {
            path,
            name: key.name().to_owned(),
            origin: origin.to_owned(),
        });
    }
    // Beside a tree that another key has signed, that one's stays: the log does not go on with this one.
    let verifying = key.verifying_key();
    let has_signed = |last: String| Checkpoint::open(&last, &verifying).is_ok();
    if dir.is_empty() || dir.read_checkpoint().ok().flatten().is_some_and(has_signed) {
        write_public(tree, &key)?;
    }
    Ok(key)
}

fn make(path: &Path, origin: &str) -> Result<SigningKey, KeyError> {
    let file_error = |error| KeyError::File {
        path: path.to_owned(),
        error,
    };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| file_error(io::Error::other(error)))?;
    let key = SigningKey::from_seed(origin, seed).map_err(|error| KeyError::Content {
        path: path.to_owned(),
        error,
    })?;
    write(path, &key.to_text(), 0o600).map_err(file_error)?;
    Ok(key)
}

fn write_public(tree: &Path, key: &SigningKey) -> Result<(), KeyError> {
    let path = tree.join(PUBLIC_KEY_FILE);
    let text = key.verifying_key().to_text();
    let is_written = matches!(read_text(&path), Ok(Some(found)) if found == text);
    match is_written {
        true => Ok(()),
        false => write(&path, &text, 0o644).map_err(|error| KeyError::File { path, error }),
    }
}

/// Writes a file as a whole, with these permissions from its first moment on.
///
/// # Errors
///
/// If it cannot be written.
pub fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let dir = above(path).next().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let unfinished = path.with_extension("new");
    // A file of an interrupted start may have other permissions.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
