//! Undefined names in policies and entities: a `forbid` with a misspelt tool, group or label never forbids, without any
//! error.
//!
//! Start at [`check`]. `known_entities` tells which entities can exist, `known_words` which words, `vocabulary` which
//! attribute has which vocabulary, `canonical_text` which texts have one spelling, `argument_words` what pinned schemas say of
//! arguments, `group_members` what is in a group, `value_sources` which attributes an expression reads. `policies` and `entities`
//! check the files, `read_words` the labels and roles that registrations give, `action_access` compares a policy's actions with
//! its tool's access level.
//!
//! Invariant: an unknown word of a closed vocabulary (`read`, `write`, `admin` …) is a fault. A name that the control API
//! can define later is a warning unless `bundle.known` lists it, and a fault in strict mode.

mod action_access;
mod argument_words;
mod canonical_text;
mod entities;
mod group_members;
mod known_entities;
mod known_words;
mod policies;
mod read_words;
mod value_sources;
mod vocabulary;

use callgate_engine::cedar::ValidatorSchema;

use crate::bundle::UnreadRegistrations;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::parse::policies::Policies;
use crate::bundle::parse::template_links::LinkPlaces;
use crate::bundle::validate::tool_types::ToolTypes;
use crate::config::Config;

pub(crate) use crate::bundle::validate::references::known_entities::{KnownEntities, nearest};

/// Diagnostics reported per severity.
const MAX_TOLD: usize = 200;

/// The inputs of the check.
#[derive(Clone, Copy)]
pub(crate) struct ReferenceCheck<'a> {
    /// All entities.
    pub collected: &'a CollectedEntities,
    /// Every policy and template.
    pub policies: &'a Policies,
    /// Places of links.
    pub links: &'a LinkPlaces<'a>,
    /// The registered tools.
    pub tools: &'a ToolTypes<'a>,
    /// The configuration, which can add known names.
    pub config: &'a Config,
    /// The servers whose registration has faults: what policies name of them cannot be told.
    pub unread: &'a UnreadRegistrations<'a>,
}

/// Reports undefined names. Without a schema (because it has faults itself) policies are skipped.
pub(crate) fn check(
    scene: ReferenceCheck<'_>,
    known: &KnownEntities<'_>,
    schema: Option<&ValidatorSchema>,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) {
    let words = known_words::KnownWords::new(scene.collected, scene.config);
    entities::check(scene.collected, known, &words, faults, warnings);
    let Some(schema) = schema else { return };
    let mut said = policies::check(scene, known, &words, schema);
    read_words::check(scene.collected, &words, &said.read, warnings);
    said.faults.truncate(MAX_TOLD);
    said.warnings.truncate(MAX_TOLD);
    faults.extend(said.faults);
    warnings.extend(said.warnings);
}

#[cfg(test)]
mod tests;
