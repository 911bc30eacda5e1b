//! What can be found of each policy by itself and beside the others.

use callgate_engine::cedar::api;
use cedar_policy_symcc::CompiledPolicy;
use serde_json::Value as Json;

use crate::analysis::prove::solver::{Prover, Subject, type_name};
use crate::analysis::prove::{Counterexample, FindingKind, PolicyFinding, ProofError};

/// With more policies, each is looked at by itself only: pairs grow with the square.
pub const MAX_PAIRED: usize = 400;

/// What is known of one policy so far.
struct Known {
    is_chosen: bool,
    has_conditions: bool,
    can_match: bool,
    always: bool,
    error: Option<Counterexample>,
    unproven: Option<String>,
    /// The policies that may yet prove to match whatever it matches, by index.
    above: Vec<usize>,
}

/// Looks at every chosen policy, over all kinds of requests.
///
/// # Errors
///
/// If a counterexample cannot be written out.
pub fn find(
    prover: &mut Prover,
    subject: &Subject<'_>,
    is_chosen: &dyn Fn(&str) -> bool,
) -> Result<Vec<PolicyFinding>, ProofError> {
    let mut known = start(subject, is_chosen);
    for environment in &subject.environments {
        let compiled: Vec<Result<CompiledPolicy, String>> = subject
            .policies
            .iter()
            .map(|policy| {
                CompiledPolicy::compile(policy, environment, &subject.schema)
                    .map_err(|error| format!("{}: {error}", type_name(environment)))
            })
            .collect();
        let mut live = vec![false; compiled.len()];
        for (index, compiled) in compiled.iter().enumerate() {
            let seen = compiled
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|it| alone(prover, subject, it, &mut known[index]));
            match seen {
                Ok(is_live) => live[index] = is_live,
                Err(why) => known[index].unproven = Some(why),
            }
        }
        for index in (0..compiled.len()).filter(|index| live[*index]) {
            let (Ok(own), above) = (&compiled[index], std::mem::take(&mut known[index].above))
            else {
                continue;
            };
            for other in above {
                let is_above = match &compiled[other] {
                    Ok(other) if live[index] => {
                        prover.ask(async |it| it.check_matches_implies_opt(own, other).await)
                    }
                    _ => Ok(false),
                };
                // What is not proven is not said.
                if live[other] && is_above == Ok(true) {
                    known[index].above.push(other);
                }
            }
        }
    }
    Ok(said(subject, known))
}

fn start(subject: &Subject<'_>, is_chosen: &dyn Fn(&str) -> bool) -> Vec<Known> {
    let policies = &subject.policies;
    let can_pair = policies.len() <= MAX_PAIRED;
    let each = policies.iter().enumerate().map(|(index, policy)| {
        let is_chosen = is_chosen(policy.id().as_ref());
        let is_above = |other: usize| {
            let effect = policies[other].effect();
            // A permit within a permit says nothing new, within a forbid it has no effect; a forbid within a permit is
            // what forbids are for.
            other != index
                && (policy.effect() == api::Effect::Permit || effect == api::Effect::Forbid)
        };
        let above = match is_chosen && can_pair {
            true => (0..policies.len()).filter(|it| is_above(*it)).collect(),
            false => Vec::new(),
        };
        Known {
            is_chosen,
            has_conditions: has_conditions(policy),
            can_match: false,
            always: true,
            error: None,
            unproven: None,
            above,
        }
    });
    each.collect()
}

fn has_conditions(policy: &api::Policy) -> bool {
    let json = policy.to_json().unwrap_or_default();
    let conditions = json.get("conditions").and_then(Json::as_array);
    conditions.is_some_and(|it| !it.is_empty())
}

/// Looks at one policy for one kind of request; whether some request matches it.
fn alone(
    prover: &mut Prover,
    subject: &Subject<'_>,
    policy: &CompiledPolicy,
    known: &mut Known,
) -> Result<bool, String> {
    if known.is_chosen && known.error.is_none() {
        let found =
            prover.ask(async |it| it.check_never_errors_with_counterexample_opt(policy).await)?;
        if let Some(env) = found {
            // The engine denies for an error, or because another policy forbids; with an error it never allows.
            let example = subject.counterexample(&env, |_, verdict| {
                verdict.reasons.iter().any(|it| is_of_an_error(it.code))
            })?;
            known.error = Some(example);
        }
    }
    let is_live = !prover.ask(async |it| it.check_never_matches_opt(policy).await)?;
    if is_live && known.is_chosen {
        known.can_match = true;
        if known.always && known.has_conditions {
            known.always = prover.ask(async |it| it.check_always_matches_opt(policy).await)?;
        }
    }
    Ok(is_live)
}

fn is_of_an_error(code: crate::domain::reason::ReasonCode) -> bool {
    use crate::domain::reason::ReasonCode;
    matches!(
        code,
        ReasonCode::EvaluationError | ReasonCode::SubjectUnknown
    )
}

fn said(subject: &Subject<'_>, known: Vec<Known>) -> Vec<PolicyFinding> {
    let mut found = Vec::new();
    for (policy, known) in subject.policies.iter().zip(known) {
        if !known.is_chosen {
            continue;
        }
        let id: &str = policy.id().as_ref();
        let entries = &subject.bundle.bundle.policies;
        let entry = entries.iter().find(|entry| entry.id == id);
        let mut say = |kind, by: Option<String>, counterexample| {
            found.push(PolicyFinding {
                policy: id.to_owned(),
                file: entry.map_or_else(String::new, |it| it.file.to_string()),
                line: entry.map_or(0, |it| it.line),
                kind,
                by,
                counterexample,
            });
        };
        if let Some(why) = known.unproven {
            say(FindingKind::Unproven, Some(why), None);
            continue;
        }
        if let Some(example) = known.error {
            say(FindingKind::CanErr, None, Some(example));
        }
        if !known.can_match {
            say(FindingKind::NeverApplies, None, None);
            continue;
        }
        if known.always && known.has_conditions {
            say(FindingKind::AlwaysApplies, None, None);
        }
        for other in known.above {
            let other = &subject.policies[other];
            let kind = match other.effect() == policy.effect() {
                true => FindingKind::Shadowed,
                false => FindingKind::Overridden,
            };
            say(kind, Some(other.id().to_string()), None);
        }
    }
    found
}
