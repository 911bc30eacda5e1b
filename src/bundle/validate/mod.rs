//! Strict validation, and how far policies look (Cedar RFC 76).
//!
//! Start at [`validate`]. [`untyped`] helps with arguments that policies do not see.
//!
//! Invariant: whatever Cedar says of a policy is told with the policy's id, file, line and column. What can
//! never apply to a request is a fault: a `forbid` that never forbids looks as if it did.

pub(crate) mod gateway_config;
pub mod policy_validator;
pub(crate) mod references;
pub mod tool_types;

use std::collections::{BTreeSet, HashSet};

use callgate_engine::cedar::validation_errors::EntityDerefViolationKind;
use callgate_engine::cedar::{PolicyID, ValidationError, ValidationWarning, ValidatorSchema};
use miette::Diagnostic;

use crate::bundle::diagnostic::{self, BundleDiagnostic};
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::policies::{Policies, first_line};
use crate::bundle::parse::template_links::LinkPlaces;
use crate::bundle::validate::policy_validator::{PolicyValidator, ValidationFindings};
use crate::bundle::validate::tool_types::ToolTypes;

/// What to do about a policy of which Cedar says no more than that.
const NEVER_APPLIES: &str =
    "take the policy away, or mend its scope and conditions: no call is ever decided by it";

/// Checks every policy, template and link against the schema, and finds the smallest level of
/// dereference at which all of them pass. `None` if some do not pass at `max_level`.
pub fn validate(
    schema: &ValidatorSchema,
    policies: &Policies,
    links: &LinkPlaces<'_>,
    tools: &ToolTypes<'_>,
    max_level: u32,
    faults: &mut Vec<BundleDiagnostic>,
    warnings: &mut Vec<BundleDiagnostic>,
) -> Option<u32> {
    let judge = PolicyValidator::new(schema, &policies.set);
    let before = faults.len();
    // Typing costs by far the most, so the first pass is made at the level that most policies need; later
    // passes see only what looked further.
    let mut level = max_level.min(1);
    let teller = Teller {
        policies,
        links,
        tools,
    };
    let said = judge.all(level);
    let mut beyond = teller.tell_errors(&said, faults);
    let never = teller.tell_warnings(&said, warnings);
    while !beyond.is_empty() && level < max_level {
        level += 1;
        let further = judge.these(&beyond, level).errors;
        let too_far = further
            .iter()
            .filter(|error| matches!(level_violation(error), Some(Violation::TooFar)));
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
    if level == 1 && judge.fits_level_zero() {
        level = 0;
    }
    Some(level)
}

/// Cedar types a policy once for every action it may apply to, and repeats one mistake for each.
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

/// A message with the names of its actions taken out.
fn without_actions(message: &str) -> String {
    let mut parts = message.split("Action::\"");
    let mut general = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        general.push_str("Action");
        general.push_str(part.split_once('"').map_or("", |(_, rest)| rest));
    }
    general
}

enum Violation {
    TooFar,
    Never,
}

fn level_violation(error: &ValidationError) -> Option<Violation> {
    let ValidationError::EntityDerefLevelViolation(violation) = error else {
        return None;
    };
    Some(match violation.violation_kind {
        EntityDerefViolationKind::MaximumLevelExceeded { .. } => Violation::TooFar,
        EntityDerefViolationKind::LiteralDerefTarget => Violation::Never,
    })
}

/// The policy that an error is about. Not every message names it.
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

/// The policy that a warning is about, and whether it says that the policy never applies.
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

/// Puts what Cedar says at its place.
struct Teller<'a> {
    policies: &'a Policies,
    links: &'a LinkPlaces<'a>,
    tools: &'a ToolTypes<'a>,
}

impl Teller<'_> {
    /// Tells what makes policies unusable. Gives those that may pass at a higher level.
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
                Some(Violation::TooFar) => {
                    beyond.insert(id.clone());
                    continue;
                }
                Some(Violation::Never) => Some(
                    "bind the fact to principal, resource or context instead of naming its entity"
                        .to_owned(),
                ),
                None => {
                    let template = self.template(id);
                    template.and_then(|it| self.tools.help(error, it))
                }
            };
            let fault = self.place(id, error);
            found.push(help.into_iter().fold(fault, BundleDiagnostic::with_help));
        }
        faults.extend(once_per_place(found));
        beyond
    }

    /// Tells what deserves a second look. Gives the faults of policies that never apply.
    fn tell_warnings(
        &self,
        said: &ValidationFindings,
        warnings: &mut Vec<BundleDiagnostic>,
    ) -> Vec<BundleDiagnostic> {
        // What is wrong with a policy is why it never applies, and where no action fits its scope it is false as well.
        let mut wrong: HashSet<&PolicyID> = said.errors.iter().map(policy_of).collect();
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

    fn template(&self, id: &PolicyID) -> Option<&callgate_engine::cedar::Template> {
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
                json::fault_at(source.origin(), &[Step::Index(*index)], message)
            }
            None => BundleDiagnostic::for_file(&std::sync::Arc::from("<policies>"), message),
        }
    }
}
