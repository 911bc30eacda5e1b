//! What can be found of each policy by itself and beside the others.
//!
//! One policy is looked at after the other, over all kinds of requests, so that what is said of a policy is whole even where the
//! time was up for the next. Whether the others say all that a policy says is asked of all others together first: only if they
//! do is it asked which of them.

use std::time::Instant;

use callgate_engine::cedar::api;
use cedar_policy_symcc::{CompiledPolicy, CompiledPolicySet, never_matches_asserts};
use serde_json::Value as Json;

use crate::analysis::answer_marks::AnswerMarks;
use crate::analysis::prove::allowed::type_name;
use crate::analysis::prove::solver::{Prover, Subject, as_permit, compile, set_of};
use crate::analysis::prove::{
    Counterexample, FindingKind, PolicyFinding, ProofError, QuestionKind,
};

/// With more policies, each is looked at by itself only: what is asked about the others grows with the square.
pub const MAX_COMPARED: usize = 400;

/// What was found, and what was not looked at.
#[derive(Debug, Default)]
pub struct Found {
    /// The findings, in the order of the ids.
    pub findings: Vec<PolicyFinding>,
    /// How many chosen policies were not looked at, because the time was up.
    pub left_out: usize,
}

/// What is known of one policy.
struct Known {
    can_match: bool,
    always: bool,
    error: Option<Counterexample>,
    /// The policies of the same effect that together match whatever it matches; `None`: they do not.
    shadow: Option<Vec<usize>>,
    /// For a permit, the same of forbids.
    overriding: Option<Vec<usize>>,
}

/// Everything that is asked about.
struct Look<'a> {
    prover: &'a mut Prover,
    subject: &'a Subject<'a>,
    /// Each policy as a permit: whether a policy matches or fails has nothing to do with its effect.
    permits: Vec<api::Policy>,
    /// For each kind of request, whether the scope of each policy leaves any.
    within: Vec<Vec<bool>>,
}

/// Looks at every chosen policy, over all kinds of requests, until the time is up.
///
/// # Errors
///
/// If a policy cannot be written out.
pub fn find(
    prover: &mut Prover,
    subject: &Subject<'_>,
    is_chosen: &dyn Fn(&str) -> bool,
    until: Option<Instant>,
) -> Result<Found, ProofError> {
    let permits: Vec<api::Policy> = (subject.policies.iter())
        .map(as_permit)
        .collect::<Result<_, _>>()?;
    let mut look = Look {
        prover,
        within: within(subject, &permits),
        subject,
        permits,
    };
    let mut found = Found::default();
    for (index, policy) in subject.policies.iter().enumerate() {
        if !is_chosen(policy.id().as_ref()) {
            continue;
        }
        let is_late = || until.is_some_and(|until| Instant::now() >= until);
        match look.policy(index, &is_late) {
            _ if is_late() => found.left_out += 1,
            Ok(known) => say(subject, index, known, &mut found.findings),
            Err(why) => {
                let unproven = finding(subject, index, FindingKind::Unproven, Some(why), None);
                found.findings.push(unproven);
            }
        }
    }
    Ok(found)
}

/// For each kind of request, whether the scope of each policy leaves any. What cannot be compiled says nothing of others; the
/// error comes up where it is looked at itself.
fn within(subject: &Subject<'_>, permits: &[api::Policy]) -> Vec<Vec<bool>> {
    let is_within = |policy: &api::Policy, environment: &api::RequestEnv| {
        let compiled = CompiledPolicy::compile(policy, environment, &subject.schema);
        // The compiler has worked out a scope that does not fit: no solver is asked.
        compiled.is_ok_and(|it| {
            let asserts = never_matches_asserts(&it);
            !asserts.asserts().iter().any(|term| *term == false.into())
        })
    };
    let each = subject.environments.iter();
    each.map(|environment| {
        let each = permits.iter();
        each.map(|policy| is_within(policy, environment)).collect()
    })
    .collect()
}

impl Look<'_> {
    /// Looks at one policy.
    fn policy(&mut self, index: usize, is_late: &dyn Fn() -> bool) -> Result<Known, String> {
        let mut known = Known {
            can_match: false,
            always: true,
            error: None,
            shadow: self.others(index, |own, other| {
                own.effect() == other.effect() && marks(own).is_within(&marks(other))
            }),
            overriding: self.others(index, |own, other| {
                own.effect() == api::Effect::Permit && other.effect() == api::Effect::Forbid
            }),
        };
        // The kinds of requests that it matches some of.
        let mut live = Vec::new();
        for at in 0..self.subject.environments.len() {
            if is_late() {
                return Ok(known);
            }
            let environment = &self.subject.environments[at];
            let compiled =
                CompiledPolicy::compile(&self.permits[index], environment, &self.subject.schema)
                    .map_err(|error| format!("{}: {error}", type_name(environment)))?;
            if self.within[at][index] && self.alone(&compiled, &mut known)? {
                live.push((at, compiled));
            }
        }
        for cover in [&mut known.shadow, &mut known.overriding] {
            if let Some(others) = cover.take().filter(|it| !it.is_empty() && !live.is_empty()) {
                *cover = self.cover(&live, others, is_late);
            }
        }
        Ok(known)
    }

    /// The other policies that are meant; `None` with too many policies.
    fn others(
        &self,
        index: usize,
        is_meant: impl Fn(&api::Policy, &api::Policy) -> bool,
    ) -> Option<Vec<usize>> {
        let policies = &self.subject.policies;
        let others = (0..policies.len()).filter(|other| *other != index);
        let others = others.filter(|other| is_meant(&policies[index], &policies[*other]));
        (policies.len() <= MAX_COMPARED).then(|| others.collect())
    }

    /// Looks at one policy for one kind of request; whether some request matches it.
    fn alone(&mut self, policy: &CompiledPolicy, known: &mut Known) -> Result<bool, String> {
        if known.error.is_none() {
            let question = self.prover.ask(QuestionKind::CanErr, async |it| {
                it.check_never_errors_with_counterexample_opt(policy).await
            });
            if let Some(env) = question? {
                // The engine denies for an error, or because another policy forbids; with an error it never allows.
                let example = self.subject.counterexample(&env, |_, verdict| {
                    verdict.reasons.iter().any(|it| is_of_an_error(it.code))
                })?;
                known.error = Some(example);
            }
        }
        let never = self.prover.ask(QuestionKind::NeverApplies, async |it| {
            it.check_never_matches_opt(policy).await
        })?;
        if !never {
            known.can_match = true;
            if known.always {
                known.always = self.prover.ask(QuestionKind::AlwaysApplies, async |it| {
                    it.check_always_matches_opt(policy).await
                })?;
            }
        }
        Ok(!never)
    }

    /// Which of the others match together whatever the policy matches: one if one is enough, otherwise as few as are found.
    /// `None` if all of them do not. What is not proven is not said.
    fn cover(
        &mut self,
        live: &[(usize, CompiledPolicy)],
        others: Vec<usize>,
        is_late: &dyn Fn() -> bool,
    ) -> Option<Vec<usize>> {
        if !self.is_covered(live, &others) {
            return None;
        }
        for other in &others {
            if is_late() {
                return None;
            }
            if self.is_covered(live, std::slice::from_ref(other)) {
                return Some(vec![*other]);
            }
        }
        let mut needed = others;
        let mut at = 0;
        while at < needed.len() {
            if is_late() {
                return None;
            }
            let mut fewer = needed.clone();
            fewer.remove(at);
            match self.is_covered(live, &fewer) {
                true => needed = fewer,
                false => at += 1,
            }
        }
        Some(needed)
    }

    /// Whether these match whatever the policy matches.
    fn is_covered(&mut self, live: &[(usize, CompiledPolicy)], by: &[usize]) -> bool {
        live.iter().all(|(at, policy)| {
            let within = by.iter().filter(|it| self.within[*at][**it]);
            let within: Vec<api::Policy> = within.map(|it| self.permits[*it].clone()).collect();
            let compiled = match within.is_empty() {
                true => return false,
                false => set_of(within).ok().and_then(|set| {
                    compile(&set, &self.subject.environments[*at], &self.subject.schema).ok()
                }),
            };
            let own: CompiledPolicySet = policy.clone().into_compiled_policyset();
            compiled.is_some_and(|by| {
                let answer = self.prover.ask(QuestionKind::Others, async |it| {
                    it.check_implies_opt(&own, &by).await
                });
                answer == Ok(true)
            })
        })
    }
}

/// What the policy adds to an answer.
fn marks(policy: &api::Policy) -> AnswerMarks {
    let is_forbid = policy.effect() == api::Effect::Forbid;
    AnswerMarks::new(is_forbid, |name| policy.annotation(name))
}

fn has_conditions(policy: &api::Policy) -> bool {
    let json = policy.to_json().unwrap_or_default();
    let conditions = json.get("conditions").and_then(Json::as_array);
    conditions.is_some_and(|it| !it.is_empty())
}

fn is_of_an_error(code: crate::domain::reason::ReasonCode) -> bool {
    use crate::domain::reason::ReasonCode;
    matches!(
        code,
        ReasonCode::EvaluationError | ReasonCode::SubjectUnknown
    )
}

fn finding(
    subject: &Subject<'_>,
    index: usize,
    kind: FindingKind,
    by: Option<String>,
    counterexample: Option<Counterexample>,
) -> PolicyFinding {
    let id: &str = subject.policies[index].id().as_ref();
    let entries = &subject.bundle.bundle.policies;
    let entry = entries.iter().find(|entry| entry.id == id);
    PolicyFinding {
        policy: id.to_owned(),
        file: entry.map_or_else(String::new, |it| it.file.to_string()),
        line: entry.map_or(0, |it| it.line),
        kind,
        by,
        counterexample,
    }
}

fn say(subject: &Subject<'_>, index: usize, known: Known, found: &mut Vec<PolicyFinding>) {
    let mut say = |kind, by, example| found.push(finding(subject, index, kind, by, example));
    if let Some(example) = known.error {
        say(FindingKind::CanErr, None, Some(example));
    }
    if !known.can_match {
        return say(FindingKind::NeverApplies, None, None);
    }
    if known.always && has_conditions(&subject.policies[index]) {
        say(FindingKind::AlwaysApplies, None, None);
    }
    let covers = [
        (FindingKind::Shadowed, known.shadow),
        (FindingKind::Overridden, known.overriding),
    ];
    for (kind, cover) in covers {
        let Some(cover) = cover.filter(|it| !it.is_empty()) else {
            continue;
        };
        let ids = cover
            .iter()
            .map(|it| subject.policies[*it].id().to_string());
        let ids: Vec<String> = ids.collect();
        say(kind, Some(ids.join(", ")), None);
    }
}
