//! Names that stand for something in a directory: what has such a name and is of another kind is a fault, not absent.
//!
//! A container runtime makes a directory where the file to be mounted is missing. Passed over, it would be as if nobody had
//! written the file: a configuration without `require_delegation`, a forbid that forbids nothing. Start at [`wrong_kind`].
//! A property that is read as a policy is the contrary, and as bad: [`misplaced`].

use std::path::Path;

use crate::bundle::files::manifest;
use crate::bundle::files::source::{FileKind, PROOFS_DIR};
use crate::config::Config;

/// The directories at the top whose files are read as something.
const DIRECTORIES: [&str; 5] = ["entities", "links", PROOFS_DIR, "tests", "tools"];

/// Why something is not what its name says.
pub(super) struct WrongKind {
    pub(super) message: &'static str,
    pub(super) help: &'static str,
}

/// The fault of what has a reserved name and is of another kind.
pub(super) fn wrong_kind(relative: &Path, is_dir: bool) -> Option<WrongKind> {
    if is_dir {
        return is_file_name(relative).then_some(WrongKind {
            message: "this is a directory, and a file is read by this name",
            help: "a container runtime makes one where the file to be mounted is missing: put the file in its place, or \
                   take the directory away",
        });
    }
    let is_reserved = DIRECTORIES.iter().any(|name| relative == Path::new(name));
    is_reserved.then_some(WrongKind {
        message: "this is a file, and the files of a directory are read by this name",
        help: "make it a directory, or give the file another name",
    })
}

/// The fault of policies below a directory that is called as that of properties and is not: a property that is in force.
pub(super) fn misplaced(relative: &Path) -> Option<WrongKind> {
    if FileKind::from_path(relative) != Some(FileKind::Policies) {
        return None;
    }
    let mut folders = relative.parent()?.iter();
    let is_meant = folders.any(|folder| folder.eq_ignore_ascii_case(PROOFS_DIR));
    is_meant.then_some(WrongKind {
        message: "what is in a directory `proofs` is meant to be proved, and this would be in force as a policy",
        help: "properties are read in `proofs/`, in lower case, at the top of the directory: put the file there, or give its \
               directory another name",
    })
}

/// Whether a file of this name would be read.
fn is_file_name(relative: &Path) -> bool {
    let is_config = relative
        .file_name()
        .is_some_and(|it| it == Config::FILE_NAME);
    is_config || relative == Path::new(manifest::NAME) || FileKind::from_path(relative).is_some()
}

#[cfg(test)]
#[path = "reserved_tests.rs"]
mod tests;
