//! Names that policies and entities use and nothing has: a `forbid` for a tool, a group or a label with a slip of the
//! pen in it never forbids, and no answer tells.
//!
//! Start at [`check`]. `known` knows which entities there are, `words` the words of attributes, `vocabulary` which
//! attribute takes which, `places` where an expression of a policy gets its value from; `policies` and `entities` hold
//! the files against them, `effects` the actions of a policy against what its tool is registered as.
//!
//! Invariant: what no directory can extend (`read`, `write`, `admin` …) is a fault if it is wrong. What another process
//! may bring is a warning, unless `[bundle]` in the configuration names it, and a fault where warnings are.

mod action_access;
mod entities;
mod known_entities;
mod known_words;
mod policies;
mod value_sources;
mod vocabulary;

use callgate_engine::cedar::ValidatorSchema;

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::parse::policies::Policies;
use crate::bundle::parse::template_links::LinkPlaces;
use crate::bundle::validate::tool_types::ToolTypes;
use crate::config::Config;

pub(crate) use crate::bundle::validate::references::known_entities::{KnownEntities, nearest};

/// The most of a kind that is told: who misspells a name tends to do so everywhere.
const MAX_TOLD: usize = 200;

/// What is held against what.
#[derive(Clone, Copy)]
pub(crate) struct ReferenceCheck<'a> {
    /// Everything that exists.
    pub collected: &'a CollectedEntities,
    /// Every policy and template.
    pub policies: &'a Policies,
    /// Where links stand.
    pub links: &'a LinkPlaces<'a>,
    /// The registered tools.
    pub tools: &'a ToolTypes<'a>,
    /// What the configuration adds.
    pub config: &'a Config,
}

/// Tells every name that nothing has. Without a schema (because it has faults itself) policies are not looked into.
pub(crate) fn check(
    scene: ReferenceCheck<'_>,
    known: &KnownEntities<'_>,
    schema: Option<&ValidatorSchema>,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) {
    let words = known_words::KnownWords::new(scene.collected, &scene.config.bundle.known);
    entities::check(scene.collected, known, &words, faults, warnings);
    let Some(schema) = schema else { return };
    let mut said = policies::check(scene, known, &words, schema);
    said.faults.truncate(MAX_TOLD);
    said.warnings.truncate(MAX_TOLD);
    faults.extend(said.faults);
    warnings.extend(said.warnings);
}

#[cfg(test)]
mod tests;
