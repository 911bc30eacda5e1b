//! Undefined names in policies and entities: a `forbid` with a misspelt tool, group or label never forbids, without any
//! error.
//!
//! Start at [`check`]. `entity_facts` is what the checks read of entities, `known_entities` tells which entities can exist,
//! `known_words` which words, `vocabulary` which attribute has which vocabulary, `canonical_text` which texts have one spelling,
//! `argument_words` what pinned schemas say of arguments, `group_members` what is in a group, `value_sources` which
//! attributes an expression reads. `policies`, `links` and `entities` check the files, `read_words` the labels and roles that
//! registrations give, `action_access` compares a policy's actions with its tool's access level.
//!
//! Invariant: an unknown word of a closed vocabulary (`read`, `write`, `admin` …) is a fault. A name that the control API
//! can define later is a warning unless `bundle.known` lists it, and a fault in strict mode.

mod action_access;
mod argument_words;
mod canonical_text;
mod entities;
mod entity_facts;
mod group_members;
mod known_entities;
mod known_words;
mod links;
mod policies;
mod read_words;
mod value_sources;
mod vocabulary;

use std::collections::HashMap;
use std::sync::Arc;

use callgate_engine::cedar::{PolicyID, ValidatorSchema};
use foldhash::fast::RandomState;

use crate::bundle::UnreadRegistrations;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::parse::entities::CollectedEntities;
use crate::bundle::parse::policies::Policies;
use crate::bundle::parse::template_links::LinkPlaces;
use crate::bundle::validate::tool_types::ToolTypes;
use crate::config::Config;

pub(crate) use crate::bundle::validate::references::entity_facts::EntityFacts;
pub(crate) use crate::bundle::validate::references::known_entities::{
    DefinedEntities, KnownEntities, is_configured, nearest,
};
use crate::bundle::validate::references::read_words::ReadWords;
pub(crate) use crate::bundle::validate::references::vocabulary::LABELS;

/// Diagnostics reported per severity.
const MAX_TOLD: usize = 200;

/// The inputs of the check.
#[derive(Clone, Copy)]
pub(crate) struct ReferenceCheck<'a> {
    /// What all entities tell.
    pub facts: &'a EntityFacts,
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

/// The policies and templates in which no undefined name was found, with the words that each compares with, if any.
pub(crate) type CheckedPolicies = HashMap<PolicyID, Option<Arc<ReadWords>>, RandomState>;

/// What the check found in entities alone. It does not depend on policies.
#[derive(Debug, Clone)]
pub(crate) struct EntityFindings {
    faults: Vec<BundleDiagnostic>,
    warnings: Vec<BundleDiagnostic>,
    /// Each suggestion takes some of a limited number of comparisons.
    comparisons_left: usize,
}

/// Reports undefined names in entities.
pub(crate) fn check_entities(
    collected: &CollectedEntities,
    facts: &EntityFacts,
    known: &KnownEntities<'_>,
) -> EntityFindings {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    entities::check(collected, known, &facts.words, &mut faults, &mut warnings);
    EntityFindings {
        faults,
        warnings,
        comparisons_left: known.comparisons_left(),
    }
}

/// Reports undefined names in policies, and what was found in entities. Without a schema (because it has faults itself)
/// policies are skipped. `collect` gives the entities, where a diagnostic has to be located in them. `checked` are
/// policies whose names are known to be in order.
///
/// Returns the policies that need not be checked again with the same entities, configuration and registrations.
pub(crate) fn check(
    scene: ReferenceCheck<'_>,
    known: &KnownEntities<'_>,
    schema: Option<&ValidatorSchema>,
    (found, checked): (&EntityFindings, CheckedPolicies),
    collect: impl FnOnce(&mut dyn FnMut(&CollectedEntities)),
    (faults, warnings): (&mut Vec<BundleDiagnostic>, &mut Vec<BundleDiagnostic>),
) -> CheckedPolicies {
    faults.extend(found.faults.iter().cloned());
    warnings.extend(found.warnings.iter().cloned());
    known.leave_comparisons(found.comparisons_left);
    let Some(schema) = schema else {
        return CheckedPolicies::default();
    };
    let words = &scene.facts.words;
    let mut said = policies::check(scene, checked, known, words, schema);
    if read_words::may_warn(words, &said.read) {
        collect(&mut |collected| read_words::check(collected, words, &said.read, warnings));
    }
    said.faults.truncate(MAX_TOLD);
    said.warnings.truncate(MAX_TOLD);
    faults.extend(said.faults);
    warnings.extend(said.warnings);
    said.checked
}

#[cfg(test)]
mod tests;
