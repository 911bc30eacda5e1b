//! A directory of policies, schema, entities and registrations: compiled into one snapshot, or all its
//! faults with their places.
//!
//! Start at [`load`]. [`files`] finds (`walk`) and reads ([`listing`] tells whether anything changed meanwhile, [`manifest`]
//! whether all is there), one module per kind of file parses
//! ([`schema`], [`policies`], [`links`], [`entities`], [`registration`]), [`nesting`] and `chains` bound what parsers and Cedar would recurse through, [`validate`] checks policies
//! against the schema ([`verdicts`] asks Cedar), `names` holds the names in them and `gateways` those of the
//! configuration against what there is, [`fault`] says what is wrong and where, [`workers`] shares out what takes long.
//!
//! Invariant: no network, no running server, no clock: the same files give the same bundle, and a bundle
//! with a fault in it gives no snapshot at all.

pub mod parse;
use crate::bundle::parse::entities;
use crate::bundle::parse::policies;
use crate::bundle::parse::registration;
use crate::bundle::parse::schema;
use crate::bundle::parse::template_links;
use crate::bundle::validate::gateway_config;
use crate::bundle::validate::references;
pub mod diagnostic;
pub mod files;
pub mod parallel;
pub mod validate;

use std::path::Path;
use std::sync::Arc;

use callgate_engine::cedar::{Entity, PolicySet, ValidatorSchema};
use callgate_engine::{BuildError, Reach, Snapshot, SnapshotParts};
use serde::Serialize;

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::manifest::FileDigests;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::parse::policies::PolicyEntry;
use crate::bundle::parse::registration::{AccessLevel, ConfirmationStatus, Registration};
use crate::bundle::parse::typed_input::UntypedArgument;
use crate::bundle::validate::references::KnownEntities;
use crate::bundle::validate::tool_types::ToolTypes;
use crate::config::Config;

/// Compiling recurses: threads that do it have so much stack, in a trial as in the server.
pub const COMPILE_STACK_BYTES: usize = 64 << 20;

/// A compiled directory.
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
    /// What deserves a second look.
    pub warnings: Vec<BundleDiagnostic>,
    /// How much there is of everything.
    pub counts: BundleCounts,
    /// The policies, by file and line.
    pub policies: Vec<PolicyEntry>,
    /// The registered tools, by server and name.
    pub tools: Vec<ToolSummary>,
}

/// How much a bundle holds of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BundleCounts {
    /// Files read.
    pub files: usize,
    /// Schema fragments, the embedded one included.
    pub schema_fragments: usize,
    /// Policies that stand by themselves.
    pub policies: usize,
    /// Templates.
    pub templates: usize,
    /// Links of templates.
    pub links: usize,
    /// Entities that are written down, registrations included, actions not.
    pub entities: usize,
    /// Registered servers.
    pub servers: usize,
    /// Registered tools.
    pub tools: usize,
    /// Tools with an action of their own.
    pub typed_tools: usize,
    /// The most dereferences a policy makes.
    pub level: u32,
}

/// A registered tool, as far as a report needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolSummary {
    /// Its server.
    pub server: String,
    /// Its name there.
    pub name: String,
    /// The effect it is registered with.
    pub access: AccessLevel,
    /// Whether a person stands behind that.
    pub status: ConfirmationStatus,
    /// Whether the server changed it after it was confirmed.
    pub is_changed: bool,
    /// If it is typed, the arguments that policies can say nothing of.
    pub left_out: Vec<UntypedArgument>,
}

/// Everything that goes into a snapshot, checked.
struct Checked {
    policies: PolicySet,
    collected: CollectedEntities,
    schema: Arc<ValidatorSchema>,
    level: u32,
    config: Config,
    warnings: Vec<BundleDiagnostic>,
    counts: BundleCounts,
    entries: Vec<PolicyEntry>,
    tools: Vec<ToolSummary>,
}

/// Reads and compiles a directory.
pub fn load(dir: &Path) -> Result<Bundle, BundleError> {
    compile(&files::read(dir)?)
}

/// Compiles what was read. Warnings are faults if the configuration says so.
pub fn compile(files: &BundleFiles) -> Result<Bundle, BundleError> {
    built(files, false)
}

/// The same, with every warning a fault whatever the configuration says.
pub fn compile_strictly(files: &BundleFiles) -> Result<Bundle, BundleError> {
    built(files, true)
}

fn built(files: &BundleFiles, is_strict: bool) -> Result<Bundle, BundleError> {
    let mut checked = check(files, is_strict)?;
    let entities = std::mem::take(&mut checked.collected.entities);
    let parts = SnapshotParts {
        policies: checked.policies,
        entities,
        schema: Some(checked.schema),
        reach: Reach::Level(checked.level),
    };
    let snapshot = Snapshot::build::<Vec<Entity>>(parts).map_err(|error| {
        let uid = match &error {
            BuildError::DuplicateEntity(uid)
            | BuildError::EntityCycle(uid)
            | BuildError::UnknownValue(uid)
            | BuildError::ActionFixed(uid) => uid,
        };
        let fault = checked
            .collected
            .diagnostic_at_entity(uid, error.to_string());
        let anywhere = || BundleDiagnostic::for_file(&Arc::from("<entities>"), error.to_string());
        BundleError::one(fault.unwrap_or_else(anywhere))
    })?;
    Ok(Bundle {
        snapshot,
        digest: Arc::clone(&files.digest),
        files: files.digests.clone(),
        config: checked.config,
        warnings: checked.warnings,
        counts: checked.counts,
        policies: checked.entries,
        tools: checked.tools,
    })
}

/// Parses and validates every file, and collects the faults of all of them.
fn check(files: &BundleFiles, is_strict: bool) -> Result<Checked, BundleError> {
    let mut faults = files.faults.clone();
    let mut warnings = files.warnings.clone();
    let config = read_config(files, &mut faults);
    let registrations = read_registrations(files, &mut faults);
    let merged = schema::merge(
        files.of(FileKind::Schema),
        &registrations,
        &mut faults,
        &mut warnings,
    );
    let mut policies = policies::collect(files.of(FileKind::Policies), &mut faults, &mut warnings);
    let links = template_links::collect(files.of(FileKind::Links), &mut policies, &mut faults);
    let schema = merged.as_ref().map(|merged| &*merged.schema);
    let sources = files.of(FileKind::Entities);
    let collected = entities::collect(sources, &registrations, schema, &mut faults);
    let max_level = config.schema.max_dereference_level;
    let tools = ToolTypes::new(&registrations);
    let level = schema.and_then(|schema| {
        validate::validate(
            schema,
            &policies,
            &links,
            &tools,
            max_level,
            &mut faults,
            &mut warnings,
        )
    });
    let known = KnownEntities::new(&collected, &config);
    gateway_config::warn(&config, files, &known, &mut warnings);
    let scene = references::ReferenceCheck {
        collected: &collected,
        policies: &policies,
        links: &links,
        tools: &tools,
        config: &config,
    };
    references::check(scene, &known, schema, &mut faults, &mut warnings);
    if is_strict || config.bundle.strict {
        faults.append(&mut warnings);
    }
    if let Some(faults) = BundleError::from_diagnostics(faults) {
        return Err(faults);
    }
    let (Some(merged), Some(level)) = (merged, level) else {
        return Err(BundleError::one(BundleDiagnostic::for_file(
            &Arc::from("<bundle>"),
            "the bundle could not be checked",
        )));
    };
    diagnostic::order(&mut warnings);
    let templates = policies
        .entries
        .iter()
        .filter(|entry| entry.is_template)
        .count();
    let counts = BundleCounts {
        files: files.sources.len(),
        schema_fragments: files.of(FileKind::Schema).count() + 1,
        policies: policies.entries.len() - templates,
        templates,
        links: links.len(),
        entities: collected.written(),
        servers: registrations.len(),
        tools: registrations
            .iter()
            .map(|(_, registration)| registration.tools.len())
            .sum(),
        typed_tools: merged.typed_actions,
        level,
    };
    Ok(Checked {
        policies: policies.set,
        collected,
        schema: merged.schema,
        level,
        config,
        warnings,
        counts,
        entries: policies.entries,
        tools: summaries(&registrations),
    })
}

/// The configuration as it stands there, or its defaults if it has faults: those are told when it is compiled.
pub fn settings(files: &BundleFiles) -> Config {
    read_config(files, &mut Vec::new())
}

fn read_config(files: &BundleFiles, faults: &mut Vec<BundleDiagnostic>) -> Config {
    let Some(source) = files.of(FileKind::Config).next() else {
        return Config::default();
    };
    Config::from_toml(&source.text, &source.file).unwrap_or_else(|found| {
        faults.extend(found.into_iter().map(|fault| {
            BundleDiagnostic::at(
                source.origin(),
                fault.span.start,
                fault.span.len(),
                fault.message,
            )
        }));
        Config::default()
    })
}

fn read_registrations<'a>(
    files: &'a BundleFiles,
    faults: &mut Vec<BundleDiagnostic>,
) -> Vec<(&'a SourceFile, Registration)> {
    let sources = files.of(FileKind::Registration);
    sources
        .filter_map(|source| Some((source, registration::parse(source, faults)?)))
        .collect()
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
            left_out: tool.left_out(),
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
