//! Compiles a directory of policies, schema, entities and registrations into one snapshot, or reports all its faults
//! with their places.
//!
//! Start at [`load`]. Three stages: [`files`] reads the directory, [`parse`] parses each kind of file and merges the
//! schema, [`validate`] checks policies against the schema and every name against what is defined. Each stage appends to
//! one list of [`diagnostic`]s. `check` goes through the stages, and [`cache`] keeps what the next bundle may use of them.
//! [`archive`] is a bundle as one signed file. [`parallel`] runs the expensive parts on all processors.
//!
//! Invariant: no network, no running server, no clock. The same files give the same bundle, and a bundle with a fault
//! gives no snapshot.

pub mod archive;
pub mod cache;
mod check;
pub mod diagnostic;
pub mod files;
pub mod parallel;
pub mod parse;
pub mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use callgate_engine::cedar::{Fragment, RawName};
use callgate_engine::{Reach, Snapshot};
use serde::Serialize;

use crate::bundle::cache::KeptParts;
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::manifest::FileDigests;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::policies::PolicyEntry;
use crate::bundle::parse::registration::{AccessLevel, ConfirmationStatus, Registration};
use crate::bundle::parse::typed_input::UntypedArgument;
use crate::bundle::parse::{registration, schema};
use crate::config::Config;

/// Stack of the threads that compile, in the trial process and in the server: compiling recurses.
pub const COMPILE_STACK_BYTES: usize = 64 << 20;

/// A compiled bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Policies, entities and schema, not yet published (revision 0).
    pub snapshot: Snapshot,
    /// `sha256:<hex>` over names and contents of all files.
    pub digest: Arc<str>,
    /// The digest of each file, by its name in the directory.
    pub files: FileDigests,
    /// `callgate.toml`, or its defaults.
    pub config: Config,
    /// Warnings.
    pub warnings: Vec<BundleDiagnostic>,
    /// Numbers of files, policies, entities and tools.
    pub counts: BundleCounts,
    /// The policies, by file and line.
    pub policies: Vec<PolicyEntry>,
    /// The registered tools, by server and name.
    pub tools: Vec<ToolSummary>,
}

/// Numbers of files, policies, entities and tools in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BundleCounts {
    /// Files read.
    pub files: usize,
    /// Schema fragments, the embedded one included.
    pub schema_fragments: usize,
    /// Static policies.
    pub policies: usize,
    /// Templates.
    pub templates: usize,
    /// Links of templates.
    pub links: usize,
    /// Entities defined in files, registrations included, actions excluded.
    pub entities: usize,
    /// Registered servers.
    pub servers: usize,
    /// Registered tools.
    pub tools: usize,
    /// Typed tools, each with its own action.
    pub typed_tools: usize,
    /// The highest dereference level of a policy (Cedar RFC 76).
    pub level: u32,
}

/// Summary of a registered tool, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolSummary {
    /// Its server.
    pub server: String,
    /// Its name on that server.
    pub name: String,
    /// Its registered access level.
    pub access: AccessLevel,
    /// Whether a person has confirmed it.
    pub status: ConfirmationStatus,
    /// Whether the server has changed its definition since it was confirmed.
    pub is_changed: bool,
    /// If it is typed: the arguments that policies cannot read.
    pub left_out: Vec<UntypedArgument>,
}

/// What warnings are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warnings {
    /// Faults if the configuration is strict.
    AsConfigured,
    /// Faults.
    Fatal,
    /// No faults.
    Harmless,
}

/// The servers whose registration has faults, with its file.
pub(crate) type UnreadRegistrations<'a> = BTreeMap<&'a str, &'a Arc<str>>;

/// Reads and compiles a directory.
///
/// # Errors
///
/// All faults, if the directory cannot be read or the bundle is invalid.
pub fn load(dir: &Path) -> Result<Bundle, BundleError> {
    load_with(dir, None)
}

/// Reads and compiles a directory, with this configuration in the place of its own if there is one.
///
/// # Errors
///
/// All faults, if the directory cannot be read or the bundle is invalid.
pub fn load_with(dir: &Path, config: Option<&Path>) -> Result<Bundle, BundleError> {
    compile(&files::read_with(dir, config)?)
}

/// Compiles files. Warnings are faults if the configuration is strict.
///
/// # Errors
///
/// All faults of the bundle.
pub fn compile(files: &BundleFiles) -> Result<Bundle, BundleError> {
    compile_with(files, Warnings::AsConfigured)
}

/// Compiles files with no warning a fault, whatever the configuration says: for what is not served.
///
/// # Errors
///
/// All faults of the bundle.
pub fn compile_leniently(files: &BundleFiles) -> Result<Bundle, BundleError> {
    compile_with(files, Warnings::Harmless)
}

/// Compiles files with every warning a fault, whatever the configuration says.
///
/// # Errors
///
/// All faults and warnings of the bundle.
pub fn compile_strictly(files: &BundleFiles) -> Result<Bundle, BundleError> {
    compile_with(files, Warnings::Fatal)
}

fn compile_with(files: &BundleFiles, warnings: Warnings) -> Result<Bundle, BundleError> {
    compile_after(files, warnings, None).map(|(bundle, _)| bundle)
}

/// Compiles files with what is left of an earlier bundle, and returns what this one leaves.
fn compile_after(
    files: &BundleFiles,
    warnings: Warnings,
    last: Option<&KeptParts>,
) -> Result<(Bundle, KeptParts), BundleError> {
    let checked = check::check(files, warnings, last)?;
    let entities = checked.entities.stored(&checked.schema.merged.schema)?;
    let reach = Reach::Level(checked.counts.level);
    let base = last.and_then(|last| last.over(&entities));
    let base = base.unwrap_or(&entities.snapshot);
    let bundle = Bundle {
        snapshot: base.with_policies(&checked.policies, reach),
        digest: Arc::clone(&files.digest),
        files: files.digests.clone(),
        config: checked.config,
        warnings: checked.warnings,
        counts: checked.counts,
        policies: checked.entries,
        tools: checked.tools,
    };
    let parsed = (&*checked.sources, &*checked.parsed);
    let proven = (checked.levels, checked.names);
    let stored = (entities, bundle.snapshot.clone());
    let kept = KeptParts::new(checked.keys, checked.schema, parsed, proven, stored);
    Ok((bundle, kept))
}

/// The schema of a bundle as one fragment: Callgate's own, the files', and the actions of typed tools.
///
/// # Errors
///
/// All faults of schema files and registrations.
pub fn merged_schema(files: &BundleFiles) -> Result<Fragment<RawName>, BundleError> {
    let mut faults = files.faults.clone();
    let registrations = read_registrations(files, &mut faults);
    let sources = || files.of_kind(FileKind::Schema);
    schema::merge(sources(), &registrations, &mut faults, &mut Vec::new());
    if let Some(faults) = BundleError::from_diagnostics(faults) {
        return Err(faults);
    }
    schema::whole(sources(), &registrations).map_err(|said| {
        BundleError::single(BundleDiagnostic::for_file(&Arc::from("<schema>"), said))
    })
}

/// The configuration, or its defaults if it has faults, which compiling reports.
pub fn settings(files: &BundleFiles) -> Config {
    read_config(files).unwrap_or_default()
}

/// The configuration alone.
///
/// # Errors
///
/// Its faults.
pub fn read_settings(files: &BundleFiles) -> Result<Config, BundleError> {
    let mut faults = files.faults.clone();
    let config = read_config(files).unwrap_or_else(|found| {
        faults.extend(found);
        Config::default()
    });
    match BundleError::from_diagnostics(faults) {
        Some(faults) => Err(faults),
        None => Ok(config),
    }
}

fn read_config(files: &BundleFiles) -> Result<Config, Vec<BundleDiagnostic>> {
    let Some(source) = files.of_kind(FileKind::Config).next() else {
        return Ok(Config::default());
    };
    Config::from_toml(&source.text, &source.file).map_err(|found| {
        let faults = found.into_iter().map(|fault| {
            BundleDiagnostic::at(
                source.origin(),
                fault.span.start,
                fault.span.len(),
                fault.message,
            )
        });
        faults.collect()
    })
}

/// Holds the directories that are bundles of their own against those that `bundle.apart` names: without that, a stray
/// file would take policies out of force.
fn check_apart(files: &BundleFiles, config: &Config, faults: &mut Vec<BundleDiagnostic>) {
    for found in &files.apart {
        if !config.bundle.apart.contains(found) {
            let fault = BundleDiagnostic::for_file(
                &Arc::from(found.as_str()),
                "this directory has its own `callgate.toml`, so nothing in it would be read",
            );
            let help = format!(
                "say so in the configuration: `[bundle] apart = [\"{found}\"]`; if you take that file away instead, what is in \
                 the directory is in force"
            );
            faults.push(fault.with_help(help));
        }
    }
}

fn read_registrations<'a>(
    files: &'a BundleFiles,
    faults: &mut Vec<BundleDiagnostic>,
) -> Vec<(&'a SourceFile, Registration)> {
    let sources = files.of_kind(FileKind::Registration);
    sources
        .filter_map(|source| Some((source, registration::parse(source, faults)?)))
        .collect()
}

/// The servers whose registration has faults, so that nothing is known of them and their tools.
fn unread_registrations<'a>(
    files: &'a BundleFiles,
    read: &[(&SourceFile, Registration)],
) -> UnreadRegistrations<'a> {
    let read: BTreeSet<&str> = read.iter().map(|(source, _)| &*source.file).collect();
    let sources = files.of_kind(FileKind::Registration);
    let unread = sources.filter(|it| !read.contains(&*it.file));
    unread.map(|it| (&*it.stem, &it.file)).collect()
}

fn summaries(registrations: &[(&SourceFile, Registration)]) -> Vec<ToolSummary> {
    let of_server = |registration: &Registration| {
        let server = registration.server.name.clone();
        let summary = |(name, tool): (&String, &registration::ToolEntry)| ToolSummary {
            server: server.clone(),
            name: name.clone(),
            access: tool.access,
            status: tool.status,
            is_changed: tool.previous_digest.is_some(),
            left_out: UntypedArgument::of_tool(tool),
        };
        registration.tools.iter().map(summary).collect::<Vec<_>>()
    };
    registrations
        .iter()
        .flat_map(|(_, registration)| of_server(registration))
        .collect()
}

#[cfg(test)]
mod tests;
