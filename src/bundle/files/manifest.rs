//! `manifest.sha256`: the digests that the files of a directory must have, if the directory has one.
//!
//! The format is that of `sha256sum`. Hidden files and temporary files of editors are skipped, as everywhere in a bundle.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::config::callers::parse_sha256;
use crate::domain::request::canonical;

/// Its file name, at the top of the directory.
pub const NAME: &str = "manifest.sha256";

/// SHA-256 of each file, by its path in the directory.
pub type FileDigests = BTreeMap<Arc<str>, [u8; 32]>;

/// Line number and digest of each file, by its path.
struct ManifestEntries<'t>(BTreeMap<&'t str, (usize, [u8; 32])>);

/// Formats the manifest of these files.
pub fn text(digests: &FileDigests) -> String {
    let mut text = String::new();
    for (name, digest) in digests {
        // Writing to a `String` is infallible.
        let _ = writeln!(text, "{}  {name}", canonical::hex(digest));
    }
    text
}

/// Compares the files with the manifest: both must list the same files with the same digests.
pub fn check(
    origin: SourceText<'_>,
    digests: &FileDigests,
    shown: impl Fn(&str) -> Arc<str>,
) -> Vec<BundleDiagnostic> {
    let mut faults = Vec::new();
    let entries = ManifestEntries::read(origin, &mut faults);
    for (name, digest) in digests {
        let message = match entries.0.get(&**name) {
            Some((_, listed)) if listed == digest => continue,
            Some(_) => format!("this file is not the one that `{NAME}` lists: its digest differs"),
            None => format!("this file is not in `{NAME}`"),
        };
        faults.push(BundleDiagnostic::for_file(&shown(name), message));
    }
    for (name, (line, _)) in &entries.0 {
        if !digests.contains_key(*name) {
            let message = format!("`{name}` is listed but not there");
            faults.push(BundleDiagnostic::at_line(origin, *line, 1, message).narrow());
        }
    }
    faults
}

impl<'t> ManifestEntries<'t> {
    fn read(origin: SourceText<'t>, faults: &mut Vec<BundleDiagnostic>) -> Self {
        let mut entries = BTreeMap::new();
        for (line, text) in (1..).zip(origin.text.lines()) {
            let mut fault = |message: &str| {
                faults.push(BundleDiagnostic::at_line(origin, line, 1, message).narrow());
            };
            match entry(text) {
                Ok((name, digest)) => {
                    if entries.insert(name, (line, digest)).is_some() {
                        fault("this file is listed twice");
                    }
                }
                Err(message) => fault(message),
            }
        }
        Self(entries)
    }
}

/// Parses a line: 64 hexadecimal digits, two spaces or a space and `*`, and a path.
fn entry(text: &str) -> Result<(&str, [u8; 32]), &'static str> {
    const FORM: &str =
        "this is no line as `sha256sum` writes it: 64 hexadecimal digits, two spaces and a name";
    if text.starts_with('\\') {
        return Err("names with a backslash or a line break in them are not supported");
    }
    let (digits, rest) = text.split_at_checked(64).ok_or(FORM)?;
    let digest = parse_sha256(digits).ok_or(FORM)?;
    let name = rest.strip_prefix("  ").or(rest.strip_prefix(" *"));
    let name = name.ok_or(FORM)?;
    let name = name.strip_prefix("./").unwrap_or(name);
    let is_inside = |part: &str| !part.is_empty() && part != "." && part != "..";
    match name.split('/').all(is_inside) {
        true => Ok((name, digest)),
        false => Err("this name leads out of the directory, or is not in its shortest form"),
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
