//! Strict validation, and how far policies look (Cedar RFC 76).
//!
//! Start at [`validate`].

use std::collections::BTreeSet;

use cedar_policy_core::ast::PolicyID;
use cedar_policy_core::validator::validation_errors::EntityDerefViolationKind;
use cedar_policy_core::validator::{ValidationError, ValidatorSchema};
use miette::Diagnostic;

use crate::bundle::fault::{self, Fault};
use crate::bundle::json::{self, Step};
use crate::bundle::links::LinkPlaces;
use crate::bundle::policies::{Policies, first_line};
use crate::bundle::verdicts::Judge;

/// Checks every policy, template and link against the schema, and finds the smallest level of
/// dereference at which all of them pass. `None` if some do not pass at `max_level`.
pub fn validate(
    schema: &ValidatorSchema,
    policies: &Policies,
    links: &LinkPlaces<'_>,
    max_level: u32,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Fault>,
) -> Option<u32> {
    let judge = Judge::new(schema, &policies.set);
    let before = faults.len();
    // Typing costs by far the most, so the first pass is made at the level that most policies need; later
    // passes see only what looked further.
    let mut level = max_level.min(1);
    let first = judge.all(level);
    let mut beyond: BTreeSet<PolicyID> = BTreeSet::new();
    let mut found = Vec::new();
    for error in &first.errors {
        match level_violation(error) {
            Some((id, Violation::TooFar)) => {
                beyond.insert(id);
            }
            Some((_, Violation::Never)) => {
                let help =
                    "bind the fact to principal, resource or context instead of naming its entity";
                found.push(place(policies, links, id_in(error), error).with_help(help));
            }
            None => found.push(place(policies, links, id_in(error), error)),
        }
    }
    faults.extend(once_per_place(found));
    let told = first.warnings.iter().map(|warning| {
        let id = backticked(&warning.to_string());
        place(policies, links, id, warning)
    });
    warnings.extend(told);
    while !beyond.is_empty() && level < max_level {
        level += 1;
        let further = judge.these(&beyond, level).errors;
        let violated = further.iter().filter_map(level_violation);
        beyond = violated
            .filter(|(_, kind)| matches!(kind, Violation::TooFar))
            .map(|(id, _)| id)
            .collect();
    }
    for id in beyond {
        let message = format!(
            "the policy `{id}` looks further than {max_level} entities away from the request"
        );
        let help = "put the fact on an entity nearer to principal, resource or context, or raise \
                    `max_dereference_level` in `callgate.toml`";
        faults.push(at_policy(policies, links, id.as_ref(), message).with_help(help));
    }
    if faults.len() > before {
        return None;
    }
    if level == 1 && judge.fits_level_zero() {
        level = 0;
    }
    Some(level)
}

/// Cedar types a policy once for every action it may apply to, and repeats one mistake for each.
fn once_per_place(mut found: Vec<Fault>) -> Vec<Fault> {
    fault::order(&mut found);
    let mut groups: Vec<(String, Fault, usize)> = Vec::new();
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

fn is_same_place(a: &Fault, b: &Fault) -> bool {
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

fn level_violation(error: &ValidationError) -> Option<(PolicyID, Violation)> {
    let ValidationError::EntityDerefLevelViolation(violation) = error else {
        return None;
    };
    let kind = match violation.violation_kind {
        EntityDerefViolationKind::MaximumLevelExceeded { .. } => Violation::TooFar,
        EntityDerefViolationKind::LiteralDerefTarget => Violation::Never,
    };
    Some((violation.policy_id.clone(), kind))
}

fn id_in(error: &ValidationError) -> Option<String> {
    backticked(&error.to_string())
}

/// Cedar's validator begins every message with ``for policy `ID` ``.
fn backticked(message: &str) -> Option<String> {
    let rest = message.strip_prefix("for policy `")?;
    rest.split_once('`').map(|(id, _)| id.to_owned())
}

fn place(
    policies: &Policies,
    links: &LinkPlaces<'_>,
    id: Option<String>,
    error: &dyn Diagnostic,
) -> Fault {
    let Some(id) = id else {
        return Fault::of_file(&std::sync::Arc::from("<policies>"), error.to_string());
    };
    let has_label = error
        .labels()
        .is_some_and(|mut labels| labels.next().is_some());
    match policies.place(&id) {
        Some((origin, ..)) if has_label => Fault::from_diagnostic(origin, error),
        _ => {
            let fault = at_policy(policies, links, &id, error.to_string());
            match error.help() {
                Some(help) => fault.with_help(help.to_string()),
                None => fault,
            }
        }
    }
}

fn at_policy(policies: &Policies, links: &LinkPlaces<'_>, id: &str, message: String) -> Fault {
    if let Some((origin, offset, length)) = policies.place(id) {
        return Fault::at(
            origin,
            offset,
            first_line(origin.text, offset, length),
            message,
        );
    }
    match links.get(id) {
        Some((source, index)) => json::fault_at(source.origin(), &[Step::Index(*index)], message),
        None => Fault::of_file(&std::sync::Arc::from("<policies>"), message),
    }
}
