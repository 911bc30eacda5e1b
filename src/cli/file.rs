//! Atomic replacement of files.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;

/// Replaces a file atomically: a watching server sees either the old content or the new.
///
/// # Errors
///
/// If the file cannot be written or renamed.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = dir.join(format!(".{name}.{}", std::process::id()));
    let result = fs::File::create(&unfinished)
        .and_then(|mut file| {
            file.write_all(content.as_ref())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&unfinished, path));
    if result.is_err() {
        // A leftover temporary file is hidden from the bundle.
        let _ = fs::remove_file(&unfinished);
    }
    result.with_context(|| format!("cannot write `{}`", path.display()))
}
