//! Whether the key files of a log stay where they are while it is written.
//!
//! Without them the next start is refused, or capsules are encrypted under a key that is nowhere. A file in the directory of the
//! log is put back from memory. One elsewhere is only missed: its place may be there for a start alone.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::audit::log_files;
use crate::audit::tree::key_file;

/// A key file of a log that is written.
pub struct KeyFile {
    path: PathBuf,
    /// What it holds and its mode, if it is put back.
    content: Option<(String, u32)>,
    is_missed: bool,
}

impl KeyFile {
    /// A file with this content and mode. Below `directory` it is put back.
    pub fn new(directory: &Path, path: PathBuf, text: String, mode: u32) -> Self {
        let content = path.starts_with(directory).then_some((text, mode));
        Self {
            path,
            content,
            is_missed: false,
        }
    }

    /// Looks whether it is there.
    pub fn look(&mut self) {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => {
                self.is_missed = false;
                return;
            }
        }
        let file = self.path.display();
        let was_missed = std::mem::replace(&mut self.is_missed, true);
        let put_back = self.content.as_ref().map(|(text, mode)| {
            if let Some(folder) = self.path.parent() {
                log_files::create_folder(folder)?;
            }
            key_file::write(&self.path, text, *mode)
        });
        match put_back {
            Some(Ok(())) => {
                tracing::error!(%file, "a key of the decision log was gone, and is put back");
                self.is_missed = false;
            }
            Some(Err(error)) if !was_missed => {
                tracing::error!(%file, %error, "a key of the decision log is gone, and cannot be put back");
            }
            None if !was_missed => {
                tracing::error!(%file, "a key of the decision log is gone: put it back before the next start");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "key_guard_tests.rs"]
mod tests;
