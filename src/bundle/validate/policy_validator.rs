//! Runs Cedar's validator over many policies without the requests that a policy's scope excludes.
//!
//! Start at [`PolicyValidator`]. Cedar type-checks a policy once per pair of principal and resource type of every action in
//! the schema. For actions outside of a policy's scope the scope itself is false and Cedar reports nothing. So each policy
//! is validated against a schema with all names, in which only the actions of its scope apply to anything.
//!
//! Invariant: errors and warnings equal those of one `Validator` with the whole schema over the whole set.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;

use callgate_engine::cedar::{
    EntityReference, EntityType, EntityUID, OpenTag, Policy, PolicyID, PolicySet,
    PrincipalOrResourceConstraint, StaticPolicy, Template, Type, ValidationError, ValidationMode,
    ValidationWarning, Validator, ValidatorActionId, ValidatorSchema,
};

use crate::bundle::parallel::map_parallel;

/// Policies from which on validation is parallel.
const SHARED_OUT: usize = 128;
/// Policies per job: enough to amortize building a narrowed schema, few enough to balance the load of all processors.
const BATCH: usize = 64;

/// Errors and warnings of the validator.
#[derive(Debug, Default)]
pub struct ValidationFindings {
    /// Errors at the requested level.
    pub errors: Vec<ValidationError>,
    /// Warnings.
    pub warnings: Vec<ValidationWarning>,
}

/// Validates the policies of a set.
pub struct PolicyValidator<'a> {
    set: &'a PolicySet,
    links: HashMap<&'a PolicyID, Vec<&'a Policy>>,
    whole: Validator,
}

/// Actions that a scope names.
pub(crate) type ScopedActions<'a> = BTreeSet<&'a EntityUID>;

/// Policies that are validated against the same schema.
struct PolicyBatch<'a> {
    /// The actions that apply; `None` for the whole schema.
    named: Option<ScopedActions<'a>>,
    templates: Vec<&'a Template>,
}

impl<'a> PolicyValidator<'a> {
    /// A validator of `set` against `schema`.
    pub fn new(schema: &ValidatorSchema, set: &'a PolicySet) -> Self {
        let mut links: HashMap<&PolicyID, Vec<&Policy>> = HashMap::new();
        for link in set.policies().filter(|policy| !policy.is_static()) {
            links.entry(link.template().id()).or_default().push(link);
        }
        Self {
            set,
            links,
            whole: Validator::new(schema.clone()),
        }
    }

    /// Validates the whole set: policies, templates and links.
    pub fn all(&self, level: u32) -> ValidationFindings {
        self.those(self.set.all_templates(), level)
    }

    /// Validates these policies and templates, with their links.
    pub fn these(&self, ids: &BTreeSet<PolicyID>, level: u32) -> ValidationFindings {
        self.those(ids.iter().filter_map(|id| self.set.get_template(id)), level)
    }

    /// The policies and templates of which nothing was told, nor of their links.
    pub(crate) fn unremarked(
        &self,
        is_told: impl Fn(&PolicyID) -> bool,
    ) -> impl Iterator<Item = &'a Template> {
        self.set.all_templates().filter(move |template| {
            let links = self.links.get(template.id()).into_iter().flatten();
            !is_told(template.id()) && !links.into_iter().any(|link| is_told(link.id()))
        })
    }

    /// Validates some of the set's policies and templates, with their links.
    pub(crate) fn those(
        &self,
        templates: impl Iterator<Item = &'a Template>,
        level: u32,
    ) -> ValidationFindings {
        // At level 0 the scope's own `in` is an error, which may show only in a request of an action outside of the
        // scope.
        let batches = match level {
            0 => in_batches(None, templates.collect()),
            _ => self.batches(templates),
        };
        let parts = each(batches, |batch| {
            let narrow = self.narrow(&batch);
            let validator = narrow.as_ref().unwrap_or(&self.whole);
            let chosen = self.subset(&batch.templates);
            validator.validate_with_level(&chosen, ValidationMode::Strict, level)
        });
        let mut verdicts = ValidationFindings::default();
        for part in parts {
            let (errors, warnings) = part.into_errors_and_warnings();
            verdicts.errors.extend(errors);
            verdicts.warnings.extend(warnings);
        }
        verdicts
    }

    /// A policy that does not pass at level 0, if there is one among these. Correct only for a set that has no errors.
    pub(crate) fn beyond_level_zero(
        &self,
        is_asked: impl Fn(&PolicyID) -> bool,
    ) -> Option<PolicyID> {
        let looks_away = OnceLock::new();
        let templates = self.set.all_templates().filter(|it| is_asked(it.id()));
        each(self.batches(templates), |batch| {
            // The first error ends the search.
            if looks_away.get().is_some() {
                return;
            }
            let narrow = self.narrow(&batch);
            let validator = narrow.as_ref().unwrap_or(&self.whole);
            for template in &batch.templates {
                if looks_away.get().is_some() {
                    return;
                }
                let one = self.subset(&[template]);
                let result = validator.validate_with_level(&one, ValidationMode::Strict, 0);
                if !result.validation_passed() {
                    // Another one may have been first.
                    let _ = looks_away.set(template.id().clone());
                }
            }
        });
        looks_away.into_inner()
    }

    fn batches(&self, templates: impl Iterator<Item = &'a Template>) -> Vec<PolicyBatch<'a>> {
        let mut by_names: BTreeMap<ScopedActions<'a>, Vec<&'a Template>> = BTreeMap::new();
        for template in templates {
            let named = template.action_constraint().iter_euids().collect();
            by_names.entry(named).or_default().push(template);
        }
        let mut narrow_batches = Vec::new();
        let mut others = Vec::new();
        for (named, templates) in by_names {
            let principals = self.principals(&named);
            let (narrow, whole): (Vec<_>, Vec<_>) = templates
                .into_iter()
                .partition(|template| self.can_match(template, &principals));
            others.extend(whole);
            narrow_batches.extend(in_batches(Some(named), narrow));
        }
        // Longest jobs first, to balance the load.
        let mut batches = in_batches(None, others);
        batches.extend(narrow_batches);
        batches
    }

    /// The principal types of these actions; empty if a name itself is invalid, which Cedar reports in every request.
    fn principals(&self, named: &ScopedActions<'_>) -> HashSet<&EntityType> {
        let schema = self.whole.schema();
        let types: BTreeSet<&EntityType> = named.iter().map(|uid| uid.entity_type()).collect();
        let is_known = |uid: &&EntityUID| schema.get_action_id(uid).is_some();
        if types.len() != 1 || !named.iter().all(is_known) {
            return HashSet::new();
        }
        let meant = meant(schema, named);
        let actions = meant
            .into_iter()
            .filter_map(|uid| schema.get_action_id(uid));
        actions
            .filter(|action| action.resources().next().is_some())
            .flat_map(ValidatorActionId::principals)
            .collect()
    }

    /// Whether a principal of these types can match the scope, so that a request with it covers the whole scope.
    fn can_match(&self, template: &Template, principals: &HashSet<&EntityType>) -> bool {
        let may_be_in = |member: &EntityType, group: &EntityReference| match group {
            EntityReference::EUID(group) => {
                let group = group.entity_type();
                let declared = self.whole.schema().get_entity_type(group);
                declared.is_some_and(|ty| group == member || ty.has_descendant_entity_type(member))
            }
            EntityReference::Slot(_) => true,
        };
        principals.iter().any(
            |principal| match template.principal_constraint().as_inner() {
                PrincipalOrResourceConstraint::Any => true,
                PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid)) => {
                    uid.entity_type() == *principal
                }
                PrincipalOrResourceConstraint::Eq(EntityReference::Slot(_)) => true,
                PrincipalOrResourceConstraint::In(group) => may_be_in(principal, group),
                PrincipalOrResourceConstraint::Is(ty) => **ty == **principal,
                PrincipalOrResourceConstraint::IsIn(ty, group) => {
                    **ty == **principal && may_be_in(principal, group)
                }
            },
        )
    }

    /// A validator for a batch: all names of the schema, but only the batch's actions apply to anything.
    fn narrow(&self, batch: &PolicyBatch<'_>) -> Option<Validator> {
        let schema = self.whole.schema();
        let meant = meant(schema, batch.named.as_ref()?);
        let actions = schema.action_ids().map(|action| {
            if meant.contains(action.name()) {
                return action.clone();
            }
            ValidatorActionId::new_defined(
                action.name().clone(),
                [],
                [],
                action.descendants().cloned(),
                Type::record_with_attributes([], OpenTag::ClosedAttributes),
                action.loc().cloned(),
            )
        });
        let narrow = ValidatorSchema::new(schema.entity_types().cloned(), actions);
        Some(Validator::new(narrow))
    }

    /// The set of these policies and templates, with their links.
    fn subset(&self, templates: &[&Template]) -> PolicySet {
        let mut chosen = PolicySet::new();
        for template in templates {
            // Ids are unique in the larger set.
            let _ = match StaticPolicy::try_from((*template).clone()) {
                Ok(policy) => chosen.add_static(policy),
                Err(_) => chosen.add_template((*template).clone()),
            };
            for link in self.links.get(template.id()).into_iter().flatten() {
                let _ = chosen.add((*link).clone());
            }
        }
        chosen
    }
}

/// The named actions and their descendants: for `==` a superset of what the scope matches.
pub(crate) fn meant<'s>(
    schema: &'s ValidatorSchema,
    named: &ScopedActions<'_>,
) -> HashSet<&'s EntityUID> {
    let known = named.iter().filter_map(|uid| schema.get_action_id(uid));
    known
        .flat_map(|action| action.descendants().chain([action.name()]))
        .collect()
}

fn in_batches<'a>(
    named: Option<ScopedActions<'a>>,
    templates: Vec<&'a Template>,
) -> Vec<PolicyBatch<'a>> {
    let batch = |templates: &[&'a Template]| PolicyBatch {
        named: named.clone(),
        templates: templates.to_vec(),
    };
    templates.chunks(BATCH).map(batch).collect()
}

/// Runs a job per batch, in parallel from [`SHARED_OUT`] policies on.
fn each<'a, R: Send>(
    batches: Vec<PolicyBatch<'a>>,
    work: impl Fn(PolicyBatch<'a>) -> R + Sync,
) -> Vec<R> {
    let policies: usize = batches.iter().map(|batch| batch.templates.len()).sum();
    map_parallel(batches, policies >= SHARED_OUT, work)
}

#[cfg(test)]
#[path = "policy_validator_tests.rs"]
mod tests;
