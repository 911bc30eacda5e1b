//! Checks a directory and summarizes its contents.
//!
//! Start at [`check`].

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::analysis::lint::{self, Lint};
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::{self, BundleFiles, FileKind};
use crate::bundle::parse::registration::{AccessLevel, ConfirmationStatus};
use crate::bundle::parse::typed_input::UntypedArgument;
use crate::bundle::{self, Bundle, BundleCounts};

/// Contents of a bundle, and what needs attention.
#[derive(Debug, Clone, Serialize)]
pub struct BundleReport {
    /// `sha256:<hex>` over all files.
    pub digest: String,
    /// Numbers of files, policies, entities and tools.
    pub counts: BundleCounts,
    /// The policies of each file.
    pub concerns: Vec<PolicyFileReport>,
    /// Number of policies by owner.
    pub owners: BTreeMap<String, usize>,
    /// Policies without an owner, by id.
    pub unowned: Vec<String>,
    /// Shadow policies, which are evaluated but not enforced, by id.
    pub shadow: Vec<String>,
    /// What is only observed by the configuration: there calls pass whatever is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// Number of confirmed tools by access level.
    pub access_levels: BTreeMap<String, usize>,
    /// Tools that await confirmation and count as admin until then.
    pub unconfirmed: Vec<UnconfirmedTool>,
    /// Typed tools with arguments that have no Cedar type.
    pub partly_typed: Vec<PartlyTypedTool>,
    /// Warnings.
    pub warnings: Vec<BundleDiagnostic>,
    /// Lints: most likely mistakes.
    pub lints: Vec<Lint>,
}

/// A typed tool with arguments that policies cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartlyTypedTool {
    /// `<server>/<tool>`.
    pub tool: String,
    /// The arguments without a Cedar type, with the reason.
    pub left_out: Vec<UntypedArgument>,
}

/// Number of policies in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyFileReport {
    /// The file.
    pub file: String,
    /// Its permits.
    pub permits: usize,
    /// Its forbids.
    pub forbids: usize,
}

/// An unconfirmed tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnconfirmedTool {
    /// `<server>/<tool>`.
    pub tool: String,
    /// The proposed access level.
    pub proposed_access: AccessLevel,
    /// Whether it was confirmed before its server changed it.
    pub is_changed: bool,
}

/// Compiles a directory as a server would and reports on it. `config` replaces the directory's configuration;
/// `is_strict` makes every warning a fault even if the configuration does not.
///
/// # Errors
///
/// All faults of the bundle; its warnings as well if strict.
pub fn check(
    dir: &Path,
    config: Option<&Path>,
    is_strict: bool,
) -> Result<BundleReport, BundleError> {
    let files = files::read_with(dir, config)?;
    let compile = match is_strict {
        true => bundle::compile_strictly,
        false => bundle::compile,
    };
    compile(&files).map(|bundle| report(&files, &bundle, lint::lint(&files, &bundle)))
}

fn report(files: &BundleFiles, bundle: &Bundle, lints: Vec<Lint>) -> BundleReport {
    // One without a policy, too: it may have lost them.
    let mut concerns: BTreeMap<&str, PolicyFileReport> = BTreeMap::new();
    for source in files.of_kind(FileKind::Policies) {
        let report = PolicyFileReport {
            file: source.file.to_string(),
            permits: 0,
            forbids: 0,
        };
        concerns.insert(&source.file, report);
    }
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for policy in &bundle.policies {
        if let Some(concern) = concerns.get_mut(&*policy.file) {
            *(if policy.is_forbid {
                &mut concern.forbids
            } else {
                &mut concern.permits
            }) += 1;
        }
        if let Some(owner) = &policy.owner {
            *owners.entry(owner.clone()).or_default() += 1;
        }
    }
    let ids = |keep: fn(&bundle::parse::policies::PolicyEntry) -> bool| {
        bundle
            .policies
            .iter()
            .filter(|policy| keep(policy))
            .map(|policy| policy.id.clone())
            .collect()
    };
    let mut access_levels: BTreeMap<String, usize> = BTreeMap::new();
    let mut unconfirmed = Vec::new();
    let mut partly_typed = Vec::new();
    for tool in &bundle.tools {
        if !tool.left_out.is_empty() {
            partly_typed.push(PartlyTypedTool {
                tool: format!("{}/{}", tool.server, tool.name),
                left_out: tool.left_out.clone(),
            });
        }
        match tool.status {
            ConfirmationStatus::Confirmed => {
                *access_levels.entry(tool.access.to_string()).or_default() += 1
            }
            ConfirmationStatus::Proposed => unconfirmed.push(UnconfirmedTool {
                tool: format!("{}/{}", tool.server, tool.name),
                proposed_access: tool.access,
                is_changed: tool.is_changed,
            }),
        }
    }
    BundleReport {
        digest: bundle.digest.to_string(),
        counts: bundle.counts,
        concerns: concerns.into_values().collect(),
        owners,
        unowned: ids(|policy| policy.owner.is_none()),
        shadow: ids(|policy| policy.is_shadow),
        observed: bundle.config.observe.on_summary(),
        access_levels,
        unconfirmed,
        partly_typed,
        warnings: bundle.warnings.clone(),
        lints,
    }
}
