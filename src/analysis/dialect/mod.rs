//! Imports policies of other products that write Cedar about MCP, in their own vocabulary.
//!
//! Start at [`import`]. A [`Dialect`] says what the names of a product mean here; [`translate`] rewrites one policy by it, as
//! Cedar's JSON form, and [`condition`] its conditions. What is written was validated against the schema of the directory, and the
//! whole directory compiles with it.
//!
//! Invariant: what cannot be carried over never makes the result allow more. A `permit` that cannot is left out and reported. A
//! `forbid` that cannot is a fault, and nothing is written.

mod agentcore;
mod agents;
mod clauses;
mod condition;
mod expression;
mod ids;
mod merged;
mod names;
mod source;
mod tags;
mod target;
mod toolhive;
mod translate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate_engine::cedar::{PolicySet, api};
use serde::Serialize;

use crate::analysis::dialect::ids::Ids;
use crate::analysis::dialect::names::Names;
use crate::analysis::dialect::source::{ForeignPolicy, read};
use crate::analysis::dialect::translate::{Translated, Translation};
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::{FileKind, SourceFile};
use crate::bundle::validate::policy_validator::PolicyValidator;
use crate::bundle::{self, Bundle, files};

/// A product's way to write policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Policy in Amazon Bedrock AgentCore: `AgentCore::OAuthUser`, `AgentCore::Action::"Target___tool"`, `context.input`.
    Agentcore,
    /// The schema generator of cedar-for-agents: one namespace, an action for each tool, `context.input`.
    CedarForAgents,
    /// ToolHive's Cedar authorizer: `Client`, `Action::"call_tool"`, `Tool`, `claim_…` and `arg_…`.
    Toolhive,
}

impl Dialect {
    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agentcore => "agentcore",
            Self::CedarForAgents => "cedar-for-agents",
            Self::Toolhive => "toolhive",
        }
    }
}

/// What the policies do not say.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The dialect.
    pub dialect: Dialect,
    /// For AgentCore: the names here of its gateway targets; a target that is not named has its own. For the others
    /// the one server, under the empty name.
    pub servers: BTreeMap<String, String>,
    /// For AgentCore: the gateway whose policies are imported, if they are about several.
    pub gateway: Option<String>,
    /// What the names of groups get, as `[[claims.groups]]` gives it to the values of a claim.
    pub group_prefix: String,
}

/// What became of the policies.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyImport {
    /// The policies, as Cedar text; not part of the report.
    #[serde(skip)]
    pub policies: String,
    /// What was carried over, in the order of the files.
    pub carried: Vec<CarriedPolicy>,
    /// What was not: permits, and policies that are about something else.
    pub left_out: Vec<LeftOutPolicy>,
    /// What the directory has to have for the imported policies to apply.
    pub needs: BTreeSet<String>,
}

/// A policy that was carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CarriedPolicy {
    /// Where it comes from: a file with a line, or with the number of the policy.
    pub source: String,
    /// What became of it, by id: one policy for each tool that it names.
    pub ids: Vec<String>,
    /// Where it allows less than it did, or applies to more, and what of it means nothing here.
    pub notes: BTreeSet<String>,
}

/// A policy that was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOutPolicy {
    /// Where it is.
    pub source: String,
    /// Why.
    pub why: String,
}

/// Translates the policies of files into policies of a directory.
///
/// # Errors
///
/// All faults: files that are no policies, `forbid`s that cannot be carried over, a result that does not fit the directory.
pub fn import(
    dir: &Path,
    foreign: &[PathBuf],
    options: &ImportOptions,
    name: &Path,
) -> Result<PolicyImport, BundleError> {
    let mut files = files::read(dir)?;
    let bundle = bundle::compile(&files)?;
    let policies = read(foreign, options.dialect)?;
    let names = Names::new(options, &policies, &bundle).map_err(BundleError::single)?;
    let mut import = PolicyImport {
        policies: format!("// Imported from {}.\n", options.dialect.as_str()),
        carried: Vec::new(),
        left_out: Vec::new(),
        needs: BTreeSet::new(),
    };
    let mut faults = Vec::new();
    let mut ids = Ids::new(&bundle);
    for policy in &policies {
        let translated = translate::translate(policy, &names, options.dialect, &ids);
        let checked = translated.and_then(|it| match it {
            Translation::Policies(translated) => check(&bundle, translated).map(Some),
            Translation::Elsewhere(why) => {
                import.left_out(policy, why);
                Ok(None)
            }
        });
        match checked {
            Ok(Some(translated)) => ids.take(import.add(policy, translated)),
            Ok(None) => {}
            Err(why) if policy.is_forbid => faults.push(
                policy
                    .fault(format!("this forbid cannot be carried over: {why}"))
                    .with_help(
                        "write what it forbids by hand, take it out of the file, and import again",
                    ),
            ),
            Err(why) => import.left_out(policy, with_errors(why, policy, options.dialect)),
        }
    }
    if let Some(faults) = BundleError::from_diagnostics(faults) {
        return Err(faults);
    }
    files.sources.push(SourceFile {
        kind: FileKind::Policies,
        file: Arc::from(name.display().to_string()),
        stem: Arc::from("imported"),
        text: Arc::from(import.policies.as_str()),
        digest: None,
    });
    bundle::compile(&files)?;
    Ok(import)
}

/// Why a permit is left out, and what else that means.
fn with_errors(why: String, policy: &ForeignPolicy, dialect: Dialect) -> String {
    let has_conditions = policy
        .policy
        .as_ref()
        .and_then(|it| it.to_json().ok())
        .is_some_and(|it| it["conditions"].as_array().is_some_and(|it| !it.is_empty()));
    match dialect == Dialect::Toolhive && has_conditions {
        true => format!("{why}; ToolHive denies the calls also where it fails, which is lost"),
        false => why,
    }
}

/// Holds the translated policies to the schema of the directory, each by itself.
fn check(bundle: &Bundle, translated: Translated) -> Result<Translated, String> {
    let Some(schema) = bundle.snapshot.schema() else {
        return Ok(translated);
    };
    for policy in &translated.policies {
        let set = api::PolicySet::from_policies([policy.clone()]).map_err(|it| it.to_string())?;
        let set: &PolicySet = set.as_ref();
        let level = bundle.config.schema.max_dereference_level;
        let found = PolicyValidator::new(schema, set).all(level);
        if let Some(error) = found.errors.first() {
            let said = error.to_string();
            // The actions of tools are all that is named and may not be there.
            return Err(match said.contains("unrecognized action") {
                true => format!(
                    "{said}: it reads arguments, so the tool has to be registered as `typed` first"
                ),
                false => said,
            });
        }
        if let Some(warning) = found.warnings.first() {
            return Err(warning.to_string());
        }
    }
    Ok(translated)
}

impl PolicyImport {
    /// Adds what a policy became; its ids.
    fn add(&mut self, policy: &ForeignPolicy, translated: Translated) -> &[String] {
        self.policies.push('\n');
        for line in [policy.place()].iter().chain(&translated.comments) {
            // Nothing of another's text may end the line.
            let line = line.replace(|c: char| c.is_control(), " ");
            self.policies.push_str(&format!("// {line}\n"));
        }
        for text in &translated.texts {
            self.policies.push_str(text);
            self.policies.push('\n');
        }
        self.needs.extend(translated.needs);
        let ids = translated.policies.iter().map(|it| it.id().to_string());
        self.carried.push(CarriedPolicy {
            source: policy.place(),
            ids: ids.collect(),
            notes: translated.notes,
        });
        self.carried.last().map_or(&[], |it| &it.ids)
    }

    fn left_out(&mut self, policy: &ForeignPolicy, why: String) {
        self.left_out.push(LeftOutPolicy {
            source: policy.place(),
            why,
        });
    }
}

impl ForeignPolicy {
    /// A fault at the policy.
    fn fault(&self, message: String) -> BundleDiagnostic {
        let origin = self.origin();
        match self.offset {
            Some(offset) => BundleDiagnostic::at(origin, offset, 1, message),
            None => BundleDiagnostic::for_file(
                origin.file,
                format!("policy {}: {message}", self.number),
            ),
        }
    }
}

#[cfg(test)]
#[path = "differential_tests.rs"]
mod differential_tests;
#[cfg(test)]
#[path = "exactness_tests.rs"]
mod exactness_tests;
#[cfg(test)]
#[path = "dialect_tests.rs"]
mod tests;
