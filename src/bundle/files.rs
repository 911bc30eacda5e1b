//! The files of a bundle: found, bounded, read once and digested.
//!
//! Start at [`read`]. `unread` points out what looks like a part of the bundle and is none.
//!
//! Invariant: nothing outside the directory is read, whatever links in it say, and everything that is
//! read counts towards the digest, as do the names of what is pointed out.

mod unread;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::bundle::fault::{Fault, Faults, Origin};
use crate::call::canonical;
use crate::config::Config;

/// The largest file.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// All files together.
pub const MAX_TOTAL_BYTES: u64 = 512 << 20;
/// The number of files and directories looked at.
pub const MAX_ENTRIES: usize = 20_000;
/// Directories within directories.
pub const MAX_DEPTH: usize = 8;

/// What a file holds, by its name and place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `*.cedarschema`
    Schema,
    /// `*.cedar`
    Policies,
    /// `links/*.json` and `*.links.json`
    Links,
    /// `entities/*.json`
    Entities,
    /// `tools/<server>.json`
    Registration,
    /// `callgate.toml`
    Config,
}

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it holds.
    pub kind: Kind,
    /// Its path, as the user would type it.
    pub file: Arc<str>,
    /// Its name without directory and extension.
    pub stem: Arc<str>,
    /// Its content.
    pub text: Arc<str>,
}

/// Everything read from a directory.
#[derive(Debug, Clone)]
pub struct Files {
    /// The files, ordered by path.
    pub sources: Vec<Source>,
    /// Files that could not be read.
    pub faults: Vec<Fault>,
    /// Files that look as if they belonged to the bundle but do not.
    pub warnings: Vec<Fault>,
    /// `sha256:<hex>` over names and contents.
    pub digest: Arc<str>,
}

impl Source {
    /// The place faults of this file point into.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            file: &self.file,
            text: &self.text,
        }
    }
}

impl Files {
    /// The files of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Source> {
        self.sources
            .iter()
            .filter(move |source| source.kind == kind)
    }

    /// The same, with the configuration from a file that need not be in the directory.
    pub fn with_config(mut self, path: &Path) -> Self {
        self.sources.retain(|source| source.kind != Kind::Config);
        let file: Arc<str> = Arc::from(path.display().to_string());
        let text = read_bounded(path)
            .map_err(|message| Fault::of_file(&file, message))
            .and_then(|bytes| as_text(&file, bytes));
        match text {
            Ok(text) => {
                let mut digest = Sha256::new();
                digest.update(self.digest.as_bytes());
                digest.update(&text);
                self.digest = Arc::from(format!("sha256:{}", canonical::hex(&digest.finalize())));
                let stem = Arc::from(path.file_stem().unwrap_or_default().to_string_lossy());
                let text = Arc::from(text);
                let kind = Kind::Config;
                self.sources.push(Source {
                    kind,
                    file,
                    stem,
                    text,
                });
            }
            Err(fault) => self.faults.push(fault),
        }
        self
    }
}

/// Reads a directory. A directory that cannot be read at all is an error; a file that cannot be read
/// is a fault among [`Files::faults`], so that the others are still looked at.
pub fn read(dir: &Path) -> Result<Files, Faults> {
    let shown: Arc<str> = Arc::from(dir.display().to_string());
    let fail = |message: String| {
        let fault = Fault::of_file(&shown, message)
            .with_help("name a directory that holds `*.cedar` files");
        Faults::one(fault)
    };
    let root = dir
        .canonicalize()
        .map_err(|error| fail(format!("cannot read the directory: {}", plain(&error))))?;
    if !root.is_dir() {
        return Err(fail("this is not a directory".to_owned()));
    }
    let mut walk = Walk {
        shown_root: dir.to_owned(),
        visited: HashSet::from([root.clone()]),
        root,
        found: Vec::new(),
        entries: 0,
        faults: Vec::new(),
        warnings: Vec::new(),
        pointed_out: Vec::new(),
    };
    walk.directory(Path::new(""), 0);
    Ok(walk.finish())
}

struct Walk {
    shown_root: PathBuf,
    root: PathBuf,
    visited: HashSet<PathBuf>,
    found: Vec<(String, Kind)>,
    entries: usize,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    /// The paths of what [`Walk::warnings`] are about.
    pointed_out: Vec<String>,
}

impl Walk {
    fn shown(&self, relative: &Path) -> Arc<str> {
        Arc::from(self.shown_root.join(relative).display().to_string())
    }

    fn fault(&mut self, relative: &Path, message: impl Into<String>) {
        let fault = Fault::of_file(&self.shown(relative), message);
        self.faults.push(fault);
    }

    fn directory(&mut self, relative: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            return self.fault(
                relative,
                format!("directories nest deeper than {MAX_DEPTH}"),
            );
        }
        let listing = match fs::read_dir(self.root.join(relative)) {
            Ok(listing) => listing,
            Err(error) => {
                return self.fault(
                    relative,
                    format!("cannot read the directory: {}", plain(&error)),
                );
            }
        };
        let mut names = Vec::new();
        for entry in listing {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self.fault(
                    relative,
                    format!("the directory holds more than {MAX_ENTRIES} entries"),
                );
            }
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                Err(error) => self.fault(
                    relative,
                    format!("cannot read the directory: {}", plain(&error)),
                ),
            }
        }
        names.sort();
        for name in &names {
            let path = relative.join(name);
            match name.to_str() {
                Some(name) if unread::is_set_aside(name) => {
                    if !self.root.join(&path).is_dir() {
                        self.unread(&path, &names);
                    }
                }
                Some(_) => self.entry(&path, &names, depth),
                None => self.fault(&path, "the file's name is not UTF-8"),
            }
        }
    }

    /// Points out a file that looks as if it were read.
    fn unread(&mut self, relative: &Path, beside: &[OsString]) {
        let has = |name: &str| beside.iter().any(|other| other == name);
        let Some(found) = unread::remark(relative, has) else {
            return;
        };
        let remark =
            Fault::of_file(&self.shown(relative), "this file is not read").with_help(found.help);
        match found.is_fault {
            true => self.faults.push(remark),
            false => {
                self.pointed_out.push(slashed(relative));
                self.warnings.push(remark);
            }
        }
    }

    fn entry(&mut self, relative: &Path, beside: &[OsString], depth: usize) {
        let full = self.root.join(relative);
        let resolved = match full.canonicalize() {
            Ok(resolved) => resolved,
            // Gone between listing and reading: an editor saved; the watcher will call again.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !full.is_symlink() => return,
            Err(error) => {
                return self.fault(
                    relative,
                    format!("cannot follow the link: {}", plain(&error)),
                );
            }
        };
        let kind = kind_of(relative);
        if resolved.is_dir() {
            if !resolved.starts_with(&self.root) {
                return self.fault(relative, "the link leads out of the directory");
            }
            if !self.visited.insert(resolved) {
                return self.fault(
                    relative,
                    "the link leads to a directory that is read already",
                );
            }
            return self.directory(relative, depth + 1);
        }
        match kind {
            Some(_) if !resolved.starts_with(&self.root) => {
                self.fault(relative, "the link leads out of the directory");
            }
            Some(kind) => self.found.push((slashed(relative), kind)),
            None => self.unread(relative, beside),
        }
    }

    fn finish(mut self) -> Files {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let mut digest = Sha256::new();
        let mut sources = Vec::with_capacity(found.len());
        let mut total = 0u64;
        for (relative, kind) in found {
            let path = Path::new(&relative);
            let shown = self.shown(path);
            let bytes = match read_bounded(&self.root.join(path)) {
                Ok(bytes) => bytes,
                Err(message) => {
                    self.fault(path, message);
                    continue;
                }
            };
            total += bytes.len() as u64;
            if total > MAX_TOTAL_BYTES {
                self.fault(
                    path,
                    format!("the directory's files exceed {MAX_TOTAL_BYTES} bytes together"),
                );
                break;
            }
            // Lengths go first, so that no two sets of files look the same.
            for part in [relative.as_bytes(), &bytes] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
            let stem = path
                .file_stem()
                .map(|stem| stem.to_string_lossy())
                .unwrap_or_default();
            match as_text(&shown, bytes) {
                Ok(text) => sources.push(Source {
                    kind,
                    file: shown,
                    stem: Arc::from(stem),
                    text: Arc::from(text),
                }),
                Err(fault) => self.faults.push(fault),
            }
        }
        for relative in &self.pointed_out {
            digest.update(b"not read");
            digest.update((relative.len() as u64).to_be_bytes());
            digest.update(relative);
        }
        let digest = Arc::from(format!("sha256:{}", canonical::hex(&digest.finalize())));
        Files {
            sources,
            faults: self.faults,
            warnings: self.warnings,
            digest,
        }
    }
}

/// What a file holds; `None` if it is not part of a bundle.
fn kind_of(relative: &Path) -> Option<Kind> {
    let name = relative.file_name()?.to_str()?;
    let room = relative
        .parent()
        .and_then(|parent| parent.iter().next())
        .and_then(|room| room.to_str());
    match (Path::new(name).extension()?.to_str()?, room) {
        ("cedarschema", _) => Some(Kind::Schema),
        ("cedar", _) => Some(Kind::Policies),
        ("json", _) if name.ends_with(".links.json") => Some(Kind::Links),
        ("json", Some("links")) => Some(Kind::Links),
        ("json", Some("entities")) => Some(Kind::Entities),
        ("json", Some("tools")) => Some(Kind::Registration),
        ("toml", None) if name == Config::FILE_NAME => Some(Kind::Config),
        _ => None,
    }
}

/// A path with `/` between its parts, whatever the system writes.
fn slashed(relative: &Path) -> String {
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// The text of a file. A byte order mark is none of it, and parsers differ in what they make of one.
fn as_text(file: &Arc<str>, bytes: Vec<u8>) -> Result<String, Fault> {
    let text = String::from_utf8(bytes).map_err(|error| not_text(file, error.as_bytes()))?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => {
            let origin = Origin { file, text: rest };
            let fault = Fault::at(origin, 0, 1, "the file begins with a byte order mark");
            Err(fault.with_help("save it as UTF-8 without one"))
        }
        None => Ok(text),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot read the file: {}", plain(&error));
    let file = File::open(path).map_err(cannot)?;
    // A pipe or a device would block or never end.
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

fn not_text(file: &Arc<str>, bytes: &[u8]) -> Fault {
    let valid = bytes
        .utf8_chunks()
        .next()
        .map(|chunk| chunk.valid())
        .unwrap_or_default();
    let text = format!("{valid}\u{fffd}");
    let origin = Origin { file, text: &text };
    Fault::at(origin, valid.len(), 1, "this byte is not UTF-8 text")
}

/// The operating system's words without the error number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let bare = text
        .rfind(" (os error")
        .map_or(text.as_str(), |at| &text[..at]);
    bare.to_lowercase()
}

#[cfg(test)]
mod tests;
