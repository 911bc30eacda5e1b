//! Lists a directory recursively, classifies its files and reads them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError, SourceText};
use crate::bundle::files::listing::DirectoryListing;
use crate::bundle::files::manifest::{self, FileDigests};
use crate::bundle::files::reserved;
use crate::bundle::files::source::{
    BundleFiles, FileKind, FilesBuilder, as_text, plain, read_bounded,
};
use crate::bundle::files::unread::{self, UnreadFile};
use crate::config::Config;

/// Bytes of all files.
pub const MAX_TOTAL_BYTES: u64 = 512 << 20;
/// Files and directories visited.
pub const MAX_ENTRIES: usize = 20_000;
/// Entries of a hidden directory that are looked at.
const MAX_HIDDEN: usize = 1_000;
/// Depth of nested directories.
pub const MAX_DEPTH: usize = 8;

/// Adds the digests of files that are not part of the bundle.
pub(crate) fn add_others(
    root: &Path,
    shown_root: &Path,
    others: &[String],
    digests: &mut FileDigests,
    faults: &mut Vec<BundleDiagnostic>,
) {
    let mut total = 0u64;
    for name in others {
        let shown = || Arc::from(shown_root.join(name).display().to_string());
        match read_bounded(&root.join(name)) {
            Ok(bytes) => {
                total += bytes.len() as u64;
                if total > MAX_TOTAL_BYTES {
                    let message = format!("files that are not read exceed {MAX_TOTAL_BYTES} bytes");
                    return faults.push(BundleDiagnostic::for_file(&shown(), message));
                }
                digests.insert(Arc::from(name.as_str()), Sha256::digest(&bytes).into());
            }
            Err(message) => {
                faults.push(BundleDiagnostic::for_file(&shown(), message));
            }
        }
    }
}

/// The contents of a directory before any file is read.
pub(crate) struct DirectoryWalk {
    shown_root: PathBuf,
    pub(crate) root: PathBuf,
    visited: HashSet<PathBuf>,
    found: Vec<(String, FileKind)>,
    /// Files that are not part of the bundle.
    pub(crate) others: Vec<String>,
    pub(crate) has_manifest: bool,
    pub(crate) listing: DirectoryListing,
    entries: usize,
    faults: Vec<BundleDiagnostic>,
    warnings: Vec<BundleDiagnostic>,
    /// Paths of the files with a warning, which count towards the digest.
    pointed_out: Vec<String>,
    /// Directories that are bundles of their own.
    apart: Vec<String>,
}

impl DirectoryWalk {
    /// Lists a directory recursively.
    pub(crate) fn new(dir: &Path) -> Result<Self, BundleError> {
        let shown: Arc<str> = Arc::from(dir.display().to_string());
        let fail = |message: String| {
            let fault = BundleDiagnostic::for_file(&shown, message)
                .with_help("name a directory that holds `*.cedar` files");
            BundleError::single(fault)
        };
        // Resolve the root once: a link that is switched meanwhile cannot mix two directories.
        let root = dir
            .canonicalize()
            .map_err(|error| fail(format!("cannot read the directory: {}", plain(&error))))?;
        if !root.is_dir() {
            return Err(fail("this is not a directory".to_owned()));
        }
        let mut walk = Self {
            shown_root: dir.to_owned(),
            visited: HashSet::from([root.clone()]),
            listing: DirectoryListing::new(&root),
            root,
            found: Vec::new(),
            others: Vec::new(),
            has_manifest: false,
            entries: 0,
            faults: Vec::new(),
            warnings: Vec::new(),
            pointed_out: Vec::new(),
            apart: Vec::new(),
        };
        walk.directory(Path::new(""), 0, false);
        Ok(walk)
    }

    fn shown(&self, relative: &Path) -> Arc<str> {
        Arc::from(self.shown_root.join(relative).display().to_string())
    }

    fn fault(&mut self, relative: &Path, message: impl Into<String>) {
        let fault = BundleDiagnostic::for_file(&self.shown(relative), message);
        self.faults.push(fault);
    }

    /// Lists a directory. Below the top, one with a `callgate.toml` is a bundle of its own (`is_apart`): nothing in it is
    /// read, but a manifest covers its files.
    fn directory(&mut self, relative: &Path, depth: usize, is_apart: bool) {
        if depth > MAX_DEPTH {
            return self.fault(
                relative,
                format!("directories nest deeper than {MAX_DEPTH}"),
            );
        }
        if let Ok(metadata) = fs::metadata(self.root.join(relative)) {
            self.listing.time_of(&metadata);
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
        let is_config = |name: &OsString| {
            name == Config::FILE_NAME && !self.root.join(relative).join(name).is_dir()
        };
        let has_config = names.iter().any(is_config);
        if depth > 0 && has_config && !is_apart {
            self.apart.push(slashed(relative));
        }
        let is_apart = is_apart || (depth > 0 && has_config);
        for name in &names {
            let path = relative.join(name);
            match name.to_str() {
                Some(name) if unread::is_set_aside(name) => {
                    if !is_apart && !self.root.join(&path).is_dir() {
                        self.unread(&path, &names);
                    } else if !is_apart && !name.starts_with("..") {
                        // Those with two dots are parts of mounted volumes, which links lead into.
                        self.hidden(&path);
                    }
                }
                Some(_) => self.entry(&path, &names, depth, is_apart),
                None => self.fault(&path, "the file's name is not UTF-8"),
            }
        }
    }

    /// Reports policies right in a hidden directory. No other is looked through: they belong to other programs.
    fn hidden(&mut self, relative: &Path) {
        let full = self.root.join(relative);
        if full.is_symlink() {
            return;
        }
        let Ok(listing) = fs::read_dir(full) else {
            return;
        };
        let entries = listing.take(MAX_HIDDEN).flatten();
        let mut names: Vec<OsString> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names {
            let path = relative.join(name);
            if let Some(found) = unread::remark_hidden(&path) {
                self.not_read(&path, found);
            }
        }
    }

    /// Reports a file that is not read but looks as if it should be.
    fn unread(&mut self, relative: &Path, beside: &[OsString]) {
        let has = |name: &str| beside.iter().any(|other| other == name);
        let Some(found) = unread::remark(relative, has) else {
            return;
        };
        self.not_read(relative, found);
    }

    fn not_read(&mut self, relative: &Path, found: UnreadFile) {
        let remark = BundleDiagnostic::for_file(&self.shown(relative), "this file is not read")
            .with_help(found.help);
        match found.is_fault {
            true => self.faults.push(remark),
            false => {
                self.pointed_out.push(slashed(relative));
                self.warnings.push(remark);
            }
        }
    }

    fn entry(&mut self, relative: &Path, beside: &[OsString], depth: usize, is_apart: bool) {
        let full = self.root.join(relative);
        let resolved = match full.canonicalize() {
            Ok(resolved) => resolved,
            // Removed between listing and reading, as editors do when saving; the watcher reloads.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !full.is_symlink() => return,
            Err(error) => {
                return self.fault(
                    relative,
                    format!("cannot follow the link: {}", plain(&error)),
                );
            }
        };
        let kind = FileKind::from_path(relative).filter(|_| !is_apart);
        let fault = match resolved.is_dir() {
            false if kind.is_some() => reserved::misplaced(relative),
            is_dir => reserved::wrong_kind(relative, is_dir),
        };
        if !is_apart && let Some(fault) = fault {
            if let Ok(metadata) = fs::metadata(&resolved) {
                self.listing.file(&slashed(relative), &resolved, &metadata);
            }
            let file = self.shown(relative);
            let fault = BundleDiagnostic::for_file(&file, fault.message).with_help(fault.help);
            return self.faults.push(fault);
        }
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
            return self.directory(relative, depth + 1, is_apart);
        }
        let name = slashed(relative);
        let is_manifest = name == manifest::NAME;
        let is_inside = resolved.starts_with(&self.root);
        if !is_inside && (is_manifest || kind.is_some()) {
            return self.fault(relative, "the link leads out of the directory");
        }
        if is_manifest || kind.is_some() {
            match fs::metadata(&resolved) {
                Ok(metadata) => self.listing.file(&name, &resolved, &metadata),
                Err(error) => self.fault(relative, plain(&error)),
            }
        }
        self.has_manifest |= is_manifest;
        match kind {
            _ if is_manifest => {}
            Some(kind) => self.found.push((name, kind)),
            None => {
                if !is_apart {
                    self.unread(relative, beside);
                }
                if is_inside {
                    self.others.push(name);
                }
            }
        }
    }

    /// Reads the files found; calls `reading` with the name of each before it is opened.
    pub(crate) fn finish(mut self, reading: &dyn Fn(&Arc<str>)) -> BundleFiles {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let mut files = FilesBuilder::new(&self.shown_root);
        let mut total = 0u64;
        for (relative, kind) in found {
            let path = Path::new(&relative);
            reading(&self.shown(path));
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
            files.add(&relative, kind, bytes);
        }
        for relative in &self.pointed_out {
            files.not_read(relative);
        }
        let mut files = files.finish();
        if self.has_manifest {
            self.check_manifest(&files.digests);
        }
        self.faults.append(&mut files.faults);
        BundleFiles {
            faults: self.faults,
            warnings: self.warnings,
            apart: self.apart,
            ..files
        }
    }

    fn check_manifest(&mut self, read: &FileDigests) {
        let path = Path::new(manifest::NAME);
        let bytes = match read_bounded(&self.root.join(path)) {
            Ok(bytes) => bytes,
            Err(message) => return self.fault(path, message),
        };
        let mut all = read.clone();
        let (root, shown) = (&self.root, &self.shown_root);
        add_others(root, shown, &self.others, &mut all, &mut self.faults);
        let file = self.shown(path);
        match as_text(&file, bytes) {
            Ok(text) => {
                let origin = SourceText {
                    file: &file,
                    text: &text,
                };
                let found = manifest::check(origin, &all, |name| self.shown(Path::new(name)));
                self.faults.extend(found);
            }
            Err(fault) => self.faults.push(fault),
        }
    }
}

/// A path with `/` as separator on every system.
fn slashed(relative: &Path) -> String {
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
