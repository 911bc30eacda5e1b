//! What is to be proved, as annotated Cedar.
//!
//! A property is a policy in a `*.cedar` in `proofs/` or a directory within it. A `forbid` says that no request it matches is ever allowed; a `permit` says
//! that Cedar allows every request it matches. A ceiling is a set of policies read the same way.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate_engine::cedar::PolicySet;
use serde::Serialize;

use crate::analysis::prove::question::QuestionBundle;
use crate::bundle::UnreadRegistrations;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::{FileKind, PROOFS_DIR, SourceFile, is_set_aside, remark_property};
use crate::bundle::parse::policies::{self, Policies, PolicyEntry};
use crate::bundle::parse::template_links::LinkPlaces;
use crate::bundle::validate::tool_types::ToolTypes;
use crate::bundle::validate::{ValidatorInputs, validate};

/// Bytes of one file with properties.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most files with properties.
const MAX_FILES: usize = 1_000;
/// Depth of nested directories.
const MAX_DEPTH: usize = 8;
/// The most properties.
const MAX_PROPERTIES: usize = 10_000;

/// What a property says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PropertyKind {
    /// No request that it matches is ever allowed.
    NeverAllowed,
    /// Cedar allows every request that it matches.
    AlwaysAllowed,
}

/// Parsed and validated properties.
#[derive(Debug, Default)]
pub struct Properties {
    policies: Policies,
    unread: Vec<BundleDiagnostic>,
}

impl Properties {
    /// Reads `proofs/` of a directory; none if there is no such directory.
    ///
    /// # Errors
    ///
    /// As for [`Properties::read`].
    pub fn read_default(dir: &Path, bundle: &QuestionBundle) -> Result<Self, BundleError> {
        let proofs = dir.join(PROOFS_DIR);
        match proofs.exists() {
            true => Self::read(&proofs, bundle),
            false => Ok(Self::default()),
        }
    }

    /// Reads a file, or every `*.cedar` of a directory and those within it, and validates them against the schema of the bundle.
    ///
    /// # Errors
    ///
    /// Every fault: unreadable, too large, too many or misnamed files, and whatever is wrong with a policy.
    pub fn read(path: &Path, bundle: &QuestionBundle) -> Result<Self, BundleError> {
        Self::of_files(PropertyListing::new(path, None)?, path, bundle)
    }

    /// Reads a ceiling the same way. Of a directory with policies, what is to be proved of them is no part of it.
    ///
    /// # Errors
    ///
    /// As for [`Properties::read`].
    pub fn read_ceiling(path: &Path, bundle: &QuestionBundle) -> Result<Self, BundleError> {
        let listing = PropertyListing::new(path, Some(path.join(PROOFS_DIR)))?;
        Self::of_files(listing, path, bundle)
    }

    fn of_files(
        listing: PropertyListing,
        path: &Path,
        bundle: &QuestionBundle,
    ) -> Result<Self, BundleError> {
        let mut sources = Vec::new();
        let mut faults = listing.faults;
        for file in &listing.paths {
            match read_file(file) {
                Ok(source) => sources.push(source),
                Err(fault) => faults.push(fault),
            }
        }
        let mut warnings = Vec::new();
        let policies = policies::collect(sources.iter(), &mut faults, &mut warnings);
        for entry in &policies.entries {
            if let Some(said) = unusable(entry)
                && let Some((origin, offset, _)) = policies.place(&entry.id)
            {
                faults.push(BundleDiagnostic::at(origin, offset, 1, said));
            }
        }
        if policies.entries.len() > MAX_PROPERTIES {
            faults.push(whole(
                path,
                format!("more than {MAX_PROPERTIES} properties"),
            ));
        }
        let schema = bundle
            .schema()
            .map_err(|said| BundleError::single(whole(path, said)))?;
        if faults.is_empty() {
            let tools = ToolTypes::new(&[]);
            let level = bundle.bundle.config.schema.max_dereference_level;
            let links = LinkPlaces::new();
            let inputs = ValidatorInputs {
                schema,
                policies: &policies,
                links: &links,
                tools: &tools,
                unread: &UnreadRegistrations::new(),
            };
            validate(inputs, level, &mut faults, &mut warnings);
        }
        match BundleError::from_diagnostics(faults) {
            Some(faults) => Err(faults),
            None => Ok(Self {
                policies,
                unread: listing.warnings,
            }),
        }
    }

    /// The properties as policies.
    pub fn set(&self) -> &PolicySet {
        &self.policies.set
    }

    /// Files that are not read but look as if they should be.
    pub fn unread(&self) -> &[BundleDiagnostic] {
        &self.unread
    }

    /// Each property with its place, by file and line.
    pub fn entries(&self) -> &[PolicyEntry] {
        &self.policies.entries
    }
}

/// Why an entry is no property.
fn unusable(entry: &PolicyEntry) -> Option<&'static str> {
    if entry.is_template {
        return Some("a template says nothing until it is linked: write a property without slots");
    }
    entry
        .is_shadow
        .then_some("a property has no mode: take `@mode` away")
}

fn whole(path: &Path, said: impl Into<String>) -> BundleDiagnostic {
    BundleDiagnostic::for_file(&Arc::from(path.display().to_string()), said)
}

/// The files with properties.
#[derive(Default)]
struct PropertyListing {
    /// A directory that is passed over.
    left_out: Option<PathBuf>,
    paths: Vec<PathBuf>,
    /// Files that can only have been meant to hold properties.
    faults: Vec<BundleDiagnostic>,
    warnings: Vec<BundleDiagnostic>,
}

impl PropertyListing {
    fn new(path: &Path, left_out: Option<PathBuf>) -> Result<Self, BundleError> {
        let mut listing = Self {
            left_out,
            ..Self::default()
        };
        let cannot = |said: String| BundleError::single(whole(path, said));
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => listing.directory(path, 0).map_err(cannot)?,
            Ok(_) => listing.paths.push(path.to_owned()),
            Err(error) => return Err(cannot(format!("cannot be read: {error}"))),
        }
        listing.paths.sort();
        listing.warnings.sort_by(|a, b| a.file.cmp(&b.file));
        match listing.paths.is_empty() && listing.faults.is_empty() {
            true => Err(cannot("there is no `*.cedar` in it".to_owned())),
            false => Ok(listing),
        }
    }

    fn directory(&mut self, dir: &Path, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("directories nest deeper than {MAX_DEPTH}"));
        }
        let cannot = |error: std::io::Error| format!("cannot be read: {error}");
        for entry in fs::read_dir(dir).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_read = name.ends_with(".cedar") && !is_set_aside(&name);
            if path.is_dir() {
                if is_read {
                    return Err(format!(
                        "`{name}` is a directory, and properties are read from files by such names"
                    ));
                }
                if !is_set_aside(&name) && self.left_out.as_ref() != Some(&path) {
                    self.directory(&path, depth + 1)?;
                }
                continue;
            }
            match remark_property(&name, |beside| dir.join(beside).exists()) {
                Some(unread) => {
                    let remark = whole(&path, "this file is not read").with_help(unread.help);
                    match unread.is_fault {
                        true => self.faults.push(remark),
                        false => self.warnings.push(remark),
                    }
                }
                None if is_read && self.paths.len() == MAX_FILES => {
                    return Err(format!("there are more than {MAX_FILES} files"));
                }
                None if is_read => self.paths.push(path),
                None => {}
            }
        }
        Ok(())
    }
}

fn read_file(path: &Path) -> Result<SourceFile, BundleDiagnostic> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| whole(path, format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(whole(path, format!("larger than {MAX_FILE_BYTES} bytes")));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(SourceFile {
        kind: FileKind::Policies,
        file: Arc::from(path.display().to_string()),
        stem: Arc::from(&*stem),
        text: Arc::from(text),
        digest: None,
    })
}
