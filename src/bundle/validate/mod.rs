//! Checks of parsed policies: strict validation, dereference levels (Cedar RFC 76), and undefined names.
//!
//! Start at [`validate`]. [`policy_validator`] runs Cedar's validator, [`tool_types`] explains policies over arguments of
//! untyped tools. `references` checks names in policies and entities, `gateway_config` those in the configuration, and
//! `open_permits` finds permits of everything, and `server_names` names in other letters.
//!
//! Invariant: every error of Cedar is reported with the policy's id, file, line and column. A policy that can never
//! apply is a fault: a `forbid` that never forbids looks as if it did.

pub(crate) mod gateway_config;
pub(crate) mod open_permits;
pub mod policy_validator;
pub(crate) mod references;
pub(crate) mod server_names;
pub mod tool_types;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use callgate_engine::cedar::validation_errors::EntityDerefViolationKind;
use callgate_engine::cedar::{
    PolicyID, Template, ValidationError, ValidationWarning, ValidatorSchema,
};
use foldhash::fast::RandomState;
use miette::Diagnostic;

use crate::bundle::UnreadRegistrations;
use crate::bundle::diagnostic::{self, BundleDiagnostic};
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::policies::{Policies, first_line};
use crate::bundle::parse::template_links::LinkPlaces;
use crate::bundle::validate::policy_validator::{PolicyValidator, ValidationFindings};
use crate::bundle::validate::references::nearest;
use crate::bundle::validate::tool_types::ToolTypes;

/// The help for a policy that Cedar finds impossible.
const NEVER_APPLIES: &str =
    "take the policy away, or mend its scope and conditions: no call is ever decided by it";

/// Policies that a message names.
const MAX_NAMED: usize = 3;

/// What is validated, and what it is validated with.
#[derive(Clone, Copy)]
pub(crate) struct ValidatorInputs<'a> {
    /// The schema.
    pub schema: &'a ValidatorSchema,
    /// Policies and templates.
    pub policies: &'a Policies,
    /// Places of links.
    pub links: &'a LinkPlaces<'a>,
    /// The registered tools.
    pub tools: &'a ToolTypes<'a>,
    /// The servers whose registration has faults. Policies that name an action of their tools are not told of.
    pub unread: &'a UnreadRegistrations<'a>,
}

/// The level of each policy and template that was found without an error or a warning, links included.
pub(crate) type PolicyLevels = HashMap<PolicyID, PolicyLevel, RandomState>;

/// How far a policy looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyLevel {
    /// The smallest level at which it passes, of those that are tried: all from the first on.
    level: u32,
    /// Whether it passes at level 0; `None` if that was not tried.
    is_zero: Option<bool>,
}

/// What validation proved of a bundle.
#[derive(Debug)]
pub(crate) struct ValidatedLevels {
    /// The smallest level at which all policies pass.
    pub level: u32,
    /// What may be taken for proven by the next validation with the same schema, links and highest level.
    pub policies: PolicyLevels,
}

/// Validates every policy, template and link against the schema, and finds the smallest dereference level (Cedar RFC
/// 76) at which all pass. `None` if some do not pass at `max_level`.
pub(crate) fn validate(
    inputs: ValidatorInputs<'_>,
    max_level: u32,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Option<u32> {
    let known = PolicyLevels::default();
    Some(validate_others(inputs, max_level, known, faults, warnings)?.level)
}

/// The same as [`validate`], without the policies whose level is known already.
pub(crate) fn validate_others(
    inputs: ValidatorInputs<'_>,
    max_level: u32,
    known: PolicyLevels,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Option<ValidatedLevels> {
    let judge = PolicyValidator::new(inputs.schema, &inputs.policies.set);
    let before = faults.len();
    // Type checking dominates the cost, so the first pass uses the level that most policies need, and later passes
    // validate only the policies that exceeded it.
    let first = max_level.min(1);
    let mut level = first;
    let teller = ValidationReporter {
        policies: inputs.policies,
        links: inputs.links,
        tools: inputs.tools,
        schema: inputs.schema,
        names: OnceCell::new(),
    };
    let is_left = |template: &&Template| !known.contains_key(template.id());
    let mut said = judge.those(inputs.policies.set.all_templates().filter(is_left), level);
    faults.extend(leave_out_unread(&mut said, inputs));
    let mut beyond = teller.tell_errors(&said, faults);
    let never = teller.tell_warnings(&said, warnings);
    let mut needed: HashMap<PolicyID, u32> = HashMap::new();
    while !beyond.is_empty() && level < max_level {
        level += 1;
        needed.extend(beyond.iter().map(|id| (id.clone(), level)));
        let further = judge.these(&beyond, level).errors;
        let too_far = further
            .iter()
            .filter(|error| matches!(level_violation(error), Some(LevelViolation::TooFar)));
        beyond = too_far.map(|error| policy_of(error).clone()).collect();
    }
    for id in beyond {
        let message = format!(
            "the policy `{id}` looks further than {max_level} entities away from the request"
        );
        let help = "put the fact on an entity nearer to principal, resource or context, or raise \
                    `max_dereference_level` in `callgate.toml`";
        faults.push(teller.at_policy(&id, message).with_help(help));
    }
    let is_typed = faults.len() == before;
    faults.extend(once_per_place(never));
    if !is_typed {
        return None;
    }
    let warned = said.warnings.iter();
    let warned: HashSet<&PolicyID> = warned.map(|it| policy_of_warning(it).0).collect();
    let level = known.values().map(|it| it.level).fold(level, u32::max);
    let mut policies = known;
    // A link that looks too far says nothing of its template.
    let set = &inputs.policies.set;
    let is_link = |id: &PolicyID| set.get_template(id).is_none();
    let is_told = |id: &PolicyID| warned.contains(id) || needed.contains_key(id) && is_link(id);
    for template in judge.unremarked(is_told) {
        let found = PolicyLevel {
            level: needed.get(template.id()).copied().unwrap_or(first),
            is_zero: None,
        };
        policies.entry(template.id().clone()).or_insert(found);
    }
    let is_zero = level == 1 && fits_level_zero(&judge, &mut policies);
    Some(ValidatedLevels {
        level: if is_zero { 0 } else { level },
        policies,
    })
}

/// Whether every policy passes at level 0; only those are tried of which that is not known.
fn fits_level_zero(judge: &PolicyValidator<'_>, policies: &mut PolicyLevels) -> bool {
    if policies.values().any(|it| it.is_zero == Some(false)) {
        return false;
    }
    let is_known = |id: &PolicyID| policies.get(id).is_some_and(|it| it.is_zero.is_some());
    let beyond = judge.beyond_level_zero(|id| !is_known(id));
    match &beyond {
        None => policies.values_mut().for_each(|it| it.is_zero = Some(true)),
        Some(id) => {
            if let Some(found) = policies.get_mut(id) {
                found.is_zero = Some(false);
            }
        }
    }
    beyond.is_none()
}

/// Merges diagnostics that differ only in the action: Cedar type-checks a policy once per action and repeats each
/// error.
fn once_per_place(mut found: Vec<BundleDiagnostic>) -> Vec<BundleDiagnostic> {
    diagnostic::order(&mut found);
    let mut groups: Vec<(String, BundleDiagnostic, usize)> = Vec::new();
    for fault in found {
        let general = without_actions(&fault.message);
        let known = groups
            .iter_mut()
            .rev()
            .take_while(|(_, first, _)| is_same_place(first, &fault));
        match known.into_iter().find(|(message, ..)| *message == general) {
            Some((.., more)) => *more += 1,
            None => groups.push((general, fault, 0)),
        }
    }
    let told = groups.into_iter().map(|(_, fault, more)| match more {
        0 => fault,
        1 => fault.and_more("(likewise for 1 other action)"),
        _ => fault.and_more(&format!("(likewise for {more} other actions)")),
    });
    told.collect()
}

fn is_same_place(a: &BundleDiagnostic, b: &BundleDiagnostic) -> bool {
    (&a.file, a.line, a.column) == (&b.file, b.line, b.column)
}

/// A message without the names of actions.
fn without_actions(message: &str) -> String {
    let mut parts = message.split("Action::\"");
    let mut general = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        general.push_str("Action");
        general.push_str(part.split_once('"').map_or("", |(_, rest)| rest));
    }
    general
}

enum LevelViolation {
    TooFar,
    Never,
}

fn level_violation(error: &ValidationError) -> Option<LevelViolation> {
    let ValidationError::EntityDerefLevelViolation(violation) = error else {
        return None;
    };
    Some(match violation.violation_kind {
        EntityDerefViolationKind::MaximumLevelExceeded { .. } => LevelViolation::TooFar,
        EntityDerefViolationKind::LiteralDerefTarget => LevelViolation::Never,
    })
}

/// The policy that an error refers to; not every message names it.
fn policy_of(error: &ValidationError) -> &PolicyID {
    match error {
        ValidationError::UnrecognizedEntityType(it) => &it.policy_id,
        ValidationError::UnrecognizedActionId(it) => &it.policy_id,
        ValidationError::UnexpectedType(it) => &it.policy_id,
        ValidationError::IncompatibleTypes(it) => &it.policy_id,
        ValidationError::UnsafeAttributeAccess(it) => &it.policy_id,
        ValidationError::UnsafeOptionalAttributeAccess(it) => &it.policy_id,
        ValidationError::UnsafeTagAccess(it) => &it.policy_id,
        ValidationError::NoTagsAllowed(it) => &it.policy_id,
        ValidationError::UndefinedFunction(it) => &it.policy_id,
        ValidationError::WrongNumberArguments(it) => &it.policy_id,
        ValidationError::FunctionArgumentValidation(it) => &it.policy_id,
        ValidationError::EmptySetForbidden(it) => &it.policy_id,
        ValidationError::NonLitExtConstructor(it) => &it.policy_id,
        ValidationError::InternalInvariantViolation(it) => &it.policy_id,
        ValidationError::InvalidEnumEntity(it) => &it.policy_id,
        ValidationError::EntityDerefLevelViolation(it) => &it.policy_id,
        ValidationError::IncompleteSchema(it) => &it.policy_id,
    }
}

/// The policy that a warning refers to, and whether the warning says that the policy never applies.
fn policy_of_warning(warning: &ValidationWarning) -> (&PolicyID, bool) {
    match warning {
        ValidationWarning::MixedScriptString(it) => (&it.policy_id, false),
        ValidationWarning::BidiCharsInString(it) => (&it.policy_id, false),
        ValidationWarning::BidiCharsInIdentifier(it) => (&it.policy_id, false),
        ValidationWarning::MixedScriptIdentifier(it) => (&it.policy_id, false),
        ValidationWarning::ConfusableIdentifier(it) => (&it.policy_id, false),
        ValidationWarning::ImpossiblePolicy(it) => (&it.policy_id, true),
        ValidationWarning::InvalidActionApplication(it) => (&it.policy_id, true),
    }
}

/// Converts Cedar's errors and warnings to located diagnostics.
struct ValidationReporter<'a> {
    policies: &'a Policies,
    links: &'a LinkPlaces<'a>,
    tools: &'a ToolTypes<'a>,
    schema: &'a ValidatorSchema,
    /// What unknown names are compared with, once one was found.
    names: OnceCell<SchemaNames>,
}

/// The names of a schema, each list in order.
struct SchemaNames {
    actions: Vec<String>,
    types: Vec<String>,
}

impl SchemaNames {
    fn new(schema: &ValidatorSchema) -> Self {
        Self {
            actions: sorted(schema.action_ids().map(|it| it.name().to_string())),
            types: sorted(schema.entity_type_names().map(ToString::to_string)),
        }
    }
}

/// A name without its namespace and type.
fn last_part(name: &str) -> &str {
    name.rsplit_once("::").map_or(name, |(_, last)| last)
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

/// Takes away what is said of policies that name an action of a tool whose registration has faults: it follows from those.
/// Returns a fault per registration that says so.
fn leave_out_unread(
    said: &mut ValidationFindings,
    inputs: ValidatorInputs<'_>,
) -> Vec<BundleDiagnostic> {
    let mut left_out: BTreeMap<&str, BTreeSet<PolicyID>> = BTreeMap::new();
    for error in &said.errors {
        let ValidationError::UnrecognizedActionId(unknown) = error else {
            continue;
        };
        let id = unknown.actual_action_id.split_once("::\"");
        let of_server = id.and_then(|(_, id)| id.split_once('/'));
        let server = of_server.and_then(|(server, _)| inputs.unread.get_key_value(server));
        if let Some((server, _)) = server {
            let policies = left_out.entry(server).or_default();
            policies.insert(unknown.policy_id.clone());
        }
    }
    let is_told = |id: &PolicyID| !left_out.values().any(|policies| policies.contains(id));
    said.errors.retain(|error| is_told(policy_of(error)));
    said.warnings
        .retain(|warning| is_told(policy_of_warning(warning).0));
    let told = left_out.into_iter().filter_map(|(server, policies)| {
        let file = inputs.unread.get(server)?;
        let all: Vec<String> = policies.iter().map(|id| format!("`{id}`")).collect();
        let (some, more) = all.split_at(all.len().min(MAX_NAMED));
        let more = match more.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "policies that name tools of `{server}` are checked once its registration is in order: {}{more}",
            some.join(", ")
        );
        Some(BundleDiagnostic::for_file(file, message))
    });
    told.collect()
}

impl ValidationReporter<'_> {
    /// Reports errors. Returns the policies that may pass at a higher level.
    fn tell_errors(
        &self,
        said: &ValidationFindings,
        faults: &mut Vec<BundleDiagnostic>,
    ) -> BTreeSet<PolicyID> {
        let mut beyond = BTreeSet::new();
        let mut found = Vec::new();
        for error in &said.errors {
            let id = policy_of(error);
            let help = match level_violation(error) {
                Some(LevelViolation::TooFar) => {
                    beyond.insert(id.clone());
                    continue;
                }
                Some(LevelViolation::Never) => Some(
                    "bind the fact to principal, resource or context instead of naming its entity"
                        .to_owned(),
                ),
                None => {
                    let template = self.template(id);
                    template.and_then(|it| self.tools.help(error, it))
                }
            };
            let mut fault = self.place(id, error);
            let is_guess = |help: &String| help.starts_with("did you mean");
            if let Some(help) = self.suggestion(error)
                && fault.help.as_ref().is_none_or(is_guess)
            {
                fault.help = help;
            }
            found.push(help.into_iter().fold(fault, BundleDiagnostic::with_help));
        }
        faults.extend(once_per_place(found));
        beyond
    }

    /// The help for an unknown action or entity type, if the error is one: Cedar's own names another one in each run.
    fn suggestion(&self, error: &ValidationError) -> Option<Option<String>> {
        let names = || self.names.get_or_init(|| SchemaNames::new(self.schema));
        let (word, names) = match error {
            ValidationError::UnrecognizedActionId(it) => (&it.actual_action_id, &names().actions),
            ValidationError::UnrecognizedEntityType(it) => (&it.actual_entity_type, &names().types),
            _ => return None,
        };
        let all = || names.iter().map(String::as_str);
        let written = last_part(word);
        let near = || nearest(written, all().map(last_part));
        let same = all().find(|name| last_part(name) == written);
        let meant = same.or_else(|| near().and_then(|near| all().find(|it| last_part(it) == near)));
        Some(meant.map(|it| format!("did you mean `{it}`?")))
    }

    /// Reports warnings. Returns the faults of policies that never apply.
    fn tell_warnings(
        &self,
        said: &ValidationFindings,
        warnings: &mut Vec<BundleDiagnostic>,
    ) -> Vec<BundleDiagnostic> {
        // Report one cause per policy: an error or an inapplicable scope also makes the policy impossible. That a policy looks
        // further than this level does not.
        let is_near =
            |it: &&ValidationError| !matches!(level_violation(it), Some(LevelViolation::TooFar));
        let errors = said.errors.iter().filter(is_near);
        let mut wrong: HashSet<&PolicyID> = errors.map(policy_of).collect();
        let is_unfit =
            |it: &ValidationWarning| matches!(it, ValidationWarning::InvalidActionApplication(_));
        let unfit = said.warnings.iter().filter(|it| is_unfit(it));
        let unfit: HashSet<&PolicyID> = unfit.map(|it| policy_of_warning(it).0).collect();
        let unfit: HashSet<&PolicyID> = unfit.difference(&wrong).copied().collect();
        wrong.extend(&unfit);
        let mut never = Vec::new();
        for warning in &said.warnings {
            let (id, never_applies) = policy_of_warning(warning);
            if !never_applies {
                warnings.push(self.place(id, warning));
            } else if is_unfit(warning) && unfit.contains(id) || !wrong.contains(id) {
                let told = self.place(id, warning);
                let template = self.template(id);
                let help = template.and_then(|it| self.tools.help_for_impossible(it));
                let help = help.or_else(|| told.help.clone());
                never.push(told.with_help(help.unwrap_or_else(|| NEVER_APPLIES.to_owned())));
            }
        }
        never
    }

    fn template(&self, id: &PolicyID) -> Option<&Template> {
        let set = &self.policies.set;
        let linked = || set.get(id).map(|policy| policy.template());
        set.get_template(id).or_else(linked)
    }

    fn place(&self, id: &PolicyID, said: &dyn Diagnostic) -> BundleDiagnostic {
        let mut labels = said.labels().into_iter().flatten();
        let has_label = labels.next().is_some();
        let mut fault = match self.policies.place(id.as_ref()) {
            Some((origin, ..)) if has_label => BundleDiagnostic::from_diagnostic(origin, said),
            _ => {
                let fault = self.at_policy(id, said.to_string());
                let help = said.help().map(|help| help.to_string());
                help.into_iter().fold(fault, BundleDiagnostic::with_help)
            }
        };
        let prefix = format!("for policy `{id}`");
        if !fault.message.starts_with(&prefix) {
            fault.message = format!("{prefix}, {}", fault.message);
        }
        let repeated = format!("{prefix}, ");
        let bare = fault
            .help
            .as_deref()
            .and_then(|help| help.strip_prefix(&repeated));
        if let Some(bare) = bare.map(str::to_owned) {
            fault.help = Some(bare);
        }
        fault
    }

    fn at_policy(&self, id: &PolicyID, message: String) -> BundleDiagnostic {
        let id: &str = id.as_ref();
        if let Some((origin, offset, length)) = self.policies.place(id) {
            let length = first_line(origin.text, offset, length);
            return BundleDiagnostic::at(origin, offset, length, message);
        }
        match self.links.get(id) {
            Some((source, index)) => {
                json::diagnostic_at(source.origin(), &[Step::Index(*index)], message)
            }
            None => BundleDiagnostic::for_file(&std::sync::Arc::from("<policies>"), message),
        }
    }
}
