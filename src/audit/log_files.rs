//! The files of the decision log: their names, and which there are.
//!
//! `segments/<first index, 20 digits>.log` holds envelopes, `capsules/<first index, 20 digits>.log` capsules. A file that is
//! no longer written may become `<…>.log.zst`: the whole file, compressed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The folder of envelopes.
pub const SEGMENTS: &str = "segments";
/// The folder of capsules.
pub const CAPSULES: &str = "capsules";
/// The folder of the Merkle tree.
pub const TREE: &str = "tree";

/// Records that may be missing where the index of the next one says so: more than any file holds. A larger gap is not the
/// program's, and nobody counts up to there.
pub const MAX_GAP: u64 = 1 << 24;

/// The end of the name of a compressed file.
pub const COMPRESSED: &str = ".log.zst";
const PLAIN: &str = ".log";

/// A file of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    /// The index of its first record, by its name.
    pub first: u64,
    /// Whether it is compressed.
    pub is_compressed: bool,
    /// Where it is.
    pub path: PathBuf,
}

/// The name of a file whose first record has this index.
pub fn name(first: u64) -> String {
    format!("{first:020}{PLAIN}")
}

/// The name of the same file, compressed.
pub fn compressed_name(first: u64) -> String {
    format!("{first:020}{COMPRESSED}")
}

/// Whether this is the directory of a log, or of a copy of one.
pub fn is_log(directory: &Path) -> bool {
    let has = |folder: &str| directory.join(folder).is_dir();
    has(SEGMENTS) && (has(CAPSULES) || has(TREE))
}

/// Makes folders that owner and group may read.
pub fn folder_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o750);
    builder
}

/// Makes a folder, and those around it, unless it is there.
///
/// # Errors
///
/// Those of the file system.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    folder_builder().recursive(true).create(folder)
}

/// The files in a folder, in the order of their records. Of a file that is there in both forms, as it is for a moment while
/// it is compressed, the plain one. Other names are passed over.
///
/// # Errors
///
/// Those of reading the folder; a folder that is not there is empty.
pub fn list(folder: &Path) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((first, is_compressed)) = name.and_then(parse_name) else {
            continue;
        };
        files.push(LogFile {
            first,
            is_compressed,
            path,
        });
    }
    files.sort();
    files.dedup_by_key(|file| file.first);
    Ok(files)
}

fn parse_name(name: &str) -> Option<(u64, bool)> {
    let (digits, is_compressed) = match name.strip_suffix(COMPRESSED) {
        Some(digits) => (digits, true),
        None => (name.strip_suffix(PLAIN)?, false),
    };
    let is_name = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| is_name)?, is_compressed))
}
