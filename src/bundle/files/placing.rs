//! Where a new file of a directory may be written, so that it is read there.

use std::path::Path;

use crate::bundle::files::reserved;
use crate::bundle::files::source::FileKind;
use crate::bundle::files::unread;
use crate::bundle::files::walk::MAX_DEPTH;
use crate::config::Config;

/// Checks that a new file of a directory will be read, and as this.
///
/// # Errors
///
/// Why it will not be.
pub fn check_place(dir: &Path, file: &Path, kind: FileKind) -> Result<(), String> {
    let shown = dir.display();
    let of = |path: &Path| {
        let path = if path == Path::new("") {
            Path::new(".")
        } else {
            path
        };
        let resolved = path.canonicalize();
        resolved
            .map_err(|error| format!("the directory `{}` cannot be read: {error}", path.display()))
    };
    let root = of(dir)?;
    let folder = of(file.parent().unwrap_or(Path::new("")))?;
    let inside = folder
        .strip_prefix(&root)
        .map_err(|_| format!("it is not in `{shown}`"))?;
    let relative = inside.join(file.file_name().ok_or("it names no file")?);
    let mut names = relative.iter();
    if names.any(|name| name.to_str().is_none_or(unread::is_set_aside)) {
        return Err("hidden files and editors' copies are passed over".to_owned());
    }
    if relative.iter().count() > MAX_DEPTH + 1 {
        return Err(format!("directories nest deeper than {MAX_DEPTH}"));
    }
    let mut above = inside.ancestors().filter(|it| *it != Path::new(""));
    if let Some(apart) = above.find(|it| root.join(it).join(Config::FILE_NAME).is_file()) {
        return Err(format!(
            "`{}` in `{shown}` has a configuration of its own, so nothing in it is read",
            apart.display()
        ));
    }
    match FileKind::from_path(&relative) {
        Some(found) if found == kind && reserved::misplaced(&relative).is_none() => Ok(()),
        _ => Err(wanted(kind).to_owned()),
    }
}

fn wanted(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Policies => {
            "policies are read from `*.cedar`, in lower case, and not in a directory `proofs`"
        }
        FileKind::Schema => "the schema is read from `*.cedarschema`",
        FileKind::Links => "template links are read from `links/*.json` and `*.links.json`",
        FileKind::Entities => "entities are read from `entities/*.json`",
        FileKind::Registration => {
            "a registration is read from `tools/*.json`, and not from `*.links.json`"
        }
        FileKind::Config => "the configuration is `callgate.toml`",
    }
}

#[cfg(test)]
#[path = "placing_tests.rs"]
mod tests;
