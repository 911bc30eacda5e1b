//! What is to be proved, as annotated Cedar.
//!
//! A property is a policy in `proofs/*.cedar`. A `forbid` says that no request it matches is ever allowed; a `permit` says
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
use crate::bundle::files::{FileKind, PROOFS_DIR, SourceFile};
use crate::bundle::parse::policies::{self, Policies, PolicyEntry};
use crate::bundle::parse::template_links::LinkPlaces;
use crate::bundle::validate::tool_types::ToolTypes;
use crate::bundle::validate::{ValidatorInputs, validate};

/// Bytes of one file with properties.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most files with properties.
const MAX_FILES: usize = 1_000;
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

    /// Reads a file, or every `*.cedar` of a directory, and validates them against the schema of the bundle.
    ///
    /// # Errors
    ///
    /// Every fault: unreadable, too large or too many files, and whatever is wrong with a policy.
    pub fn read(path: &Path, bundle: &QuestionBundle) -> Result<Self, BundleError> {
        let mut sources = Vec::new();
        let mut faults = Vec::new();
        for file in files_of(path)? {
            match read_file(&file) {
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
            None => Ok(Self { policies }),
        }
    }

    /// The properties as policies.
    pub fn set(&self) -> &PolicySet {
        &self.policies.set
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

fn files_of(path: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let cannot = |error: std::io::Error| {
        BundleError::single(whole(path, format!("cannot be read: {error}")))
    };
    if !fs::metadata(path).map_err(cannot)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(cannot)? {
        let file = entry.map_err(cannot)?.path();
        let is_hidden = file
            .file_name()
            .is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && file.extension().is_some_and(|it| it == "cedar") {
            found.push(file);
        }
    }
    found.sort();
    if found.len() > MAX_FILES {
        let said = format!("more than {MAX_FILES} files");
        return Err(BundleError::single(whole(path, said)));
    }
    if found.is_empty() {
        let said = "there is no `*.cedar` in it";
        return Err(BundleError::single(whole(path, said)));
    }
    Ok(found)
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
