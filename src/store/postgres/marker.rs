//! The marker of a replica: which store it has decided from. So a database that was emptied, or another one, is not taken
//! for a beginning.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The most bytes of a marker, which is one line.
const MOST_BYTES: u64 = 256;
const HEAD: &str = "callgate-shared-store";

/// The id of the store that a marker names; `None` if there is no marker.
///
/// # Errors
///
/// Any error of reading it, and `InvalidData` if it is no marker.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    let text = match fs::metadata(path) {
        Ok(found) if found.len() <= MOST_BYTES => fs::read_to_string(path)?,
        Ok(_) => return Err(unreadable()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [HEAD, id] => Ok(Some(id.to_owned())),
        _ => Err(unreadable()),
    }
}

/// Writes a marker, in the place of one that is there.
///
/// # Errors
///
/// Any error of writing it.
pub fn write(path: &Path, id: &str) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(format!("{HEAD} {id}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is no marker of a store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_says_what_was_written_and_anything_else_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callgate.db.shared");
        assert_eq!(read(&path).unwrap(), None);
        for id in ["one", "two"] {
            write(&path, id).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(id));
        }
        for text in ["", "callgate-store one 1\n", &"x".repeat(1_000)] {
            fs::write(&path, text).unwrap();
            assert!(read(&path).is_err(), "{text}");
        }
    }
}
