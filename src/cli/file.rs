//! Files that verbs write.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;

/// A running server may be watching: it sees the old file or the new one, never half of one.
pub fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = dir.join(format!(".{name}.{}", std::process::id()));
    let result = fs::File::create(&unfinished)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&unfinished, path));
    if result.is_err() {
        // What is left over is hidden, and this process may not remove it either.
        let _ = fs::remove_file(&unfinished);
    }
    result.with_context(|| format!("cannot write `{}`", path.display()))
}
