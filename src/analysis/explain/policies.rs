//! What each policy came to in one Cedar request, and which of its conditions decided.

use std::sync::Arc;

use callgate_engine::cedar::{Effect, Evaluator, Policy};
use callgate_engine::{Candidate, PolicyInfo};

use crate::analysis::clauses::{
    ClauseKind, ClauseTree, ConditionOutcome, Place, ScopeOutcome, Truth, evaluate_scope,
};
use crate::analysis::explain::values;
use crate::domain::decide::observer::ObservedEvaluation;

/// The most policies whose scope does not match that are looked at.
const MAX_OTHERS: usize = 2_000;
/// The most permits that miss by their scope that are told of.
const MAX_MISSED: usize = 16;

/// What a policy came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyState {
    /// It applies.
    Satisfied,
    /// One of its conditions does not hold.
    Unsatisfied,
    /// It cannot be evaluated, which denies.
    Failed,
    /// Its scope does not match.
    OutOfScope,
}

/// What one policy came to.
#[derive(Debug, Clone)]
pub struct PolicyExplanation {
    /// Its id and annotations.
    pub info: Arc<PolicyInfo>,
    /// What it came to.
    pub state: PolicyState,
    /// The parts of the scope that do not match: `principal`, `resource`.
    pub scope: Vec<&'static str>,
    /// The condition that decided: the first that failed, or that could not be evaluated; of a policy that applies, the
    /// first on which that hangs. `None` if the policy has no condition, or if the scope does not match.
    pub condition: Option<ConditionExplanation>,
}

/// One condition with its place and the values it saw.
#[derive(Debug, Clone)]
pub struct ConditionExplanation {
    /// `when` or `unless`.
    pub clause: &'static str,
    /// The condition in one line.
    pub text: String,
    /// What it came to: `true`, `false`, or the error.
    pub truth: Truth,
    /// What it read, each with its value or why it has none.
    pub values: Vec<(String, Result<String, String>)>,
    /// Where it is written; `None` for a policy without a source.
    pub source: Option<Snippet>,
}

/// A line of the source with the condition marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The line, from 1.
    pub line: u32,
    /// The character it begins at, from 1.
    pub column: u32,
    /// The line.
    pub text: String,
    /// How many characters of the line it takes, at least 1.
    pub length: u32,
}

/// Explains the policies of one Cedar request, at most `limit`, and says how many there are more.
pub fn explain(
    evaluation: &ObservedEvaluation<'_>,
    limit: usize,
) -> (Vec<PolicyExplanation>, usize) {
    let (snapshot, query) = (evaluation.snapshot, evaluation.query);
    let Some(request) = snapshot.materialize(query, evaluation.principal) else {
        return (Vec::new(), 0);
    };
    let evaluator = request.evaluator();
    let candidates = request.candidates.iter();
    let mut explained: Vec<PolicyExplanation> = candidates
        .map(|candidate| of_candidate(candidate, &evaluator))
        .collect();
    let is_denied_for_want_of_a_permit =
        evaluation.result.permits.is_empty() && evaluation.result.forbids.is_empty();
    if is_denied_for_want_of_a_permit {
        let missed = missed_permits(evaluation, &evaluator);
        let missed = missed.into_iter().take(MAX_MISSED);
        explained.extend(missed.map(|(candidate, scope)| {
            PolicyExplanation {
                info: Arc::clone(candidate.info),
                state: PolicyState::OutOfScope,
                scope: [(scope.principal, "principal"), (scope.resource, "resource")]
                    .into_iter()
                    .filter_map(|(matches, part)| (!matches).then_some(part))
                    .collect(),
                condition: None,
            }
        }));
    }
    explained.sort_by_key(rank);
    let left_out = explained.len().saturating_sub(limit);
    explained.truncate(limit);
    (explained, left_out)
}

/// What decides comes first: forbids and errors, then permits, then what does not apply.
fn rank(policy: &PolicyExplanation) -> u8 {
    match (policy.state, policy.info.is_forbid) {
        (PolicyState::Satisfied, true) => 0,
        (PolicyState::Failed, _) => 1,
        (PolicyState::Satisfied, false) => 2,
        (PolicyState::Unsatisfied, false) => 3,
        (PolicyState::OutOfScope, _) => 4,
        (PolicyState::Unsatisfied, true) => 5,
    }
}

fn of_candidate(candidate: &Candidate<'_>, evaluator: &Evaluator<'_>) -> PolicyExplanation {
    let policy = candidate.policy;
    let tree = ClauseTree::from_policy(policy.template());
    let outcome = tree.evaluate(evaluator, policy.env());
    let state = match outcome.truth {
        Truth::True => PolicyState::Satisfied,
        Truth::False => PolicyState::Unsatisfied,
        Truth::Error(_) => PolicyState::Failed,
    };
    let condition = deciding(&outcome.conditions, state);
    PolicyExplanation {
        info: Arc::clone(candidate.info),
        state,
        scope: Vec::new(),
        condition: condition.map(|it| of_condition(&tree, policy, it)),
    }
}

/// The condition that decided.
fn deciding(conditions: &[ConditionOutcome], state: PolicyState) -> Option<&ConditionOutcome> {
    let mut reached = conditions.iter().filter(|it| it.is_reached);
    match state {
        PolicyState::Failed => reached.find(|it| matches!(it.truth, Truth::Error(_))),
        PolicyState::Satisfied | PolicyState::Unsatisfied => {
            let decisive = reached.clone().find(|it| it.is_decisive);
            decisive.or_else(|| reached.next_back())
        }
        PolicyState::OutOfScope => None,
    }
}

fn of_condition(tree: &ClauseTree, policy: &Policy, it: &ConditionOutcome) -> ConditionExplanation {
    let node = tree.node(it.node);
    let clause = tree.clauses.get(tree.clause_of(it.node));
    let values = it.values.iter().map(|seen| {
        let value = seen.value.as_ref().map(values::text);
        (seen.expression.clone(), value.map_err(String::clone))
    });
    let text = node.place.as_ref().map(|place| place.text.clone());
    ConditionExplanation {
        clause: match clause.map(|it| it.kind) {
            Some(ClauseKind::Unless) => "unless",
            _ => "when",
        },
        text: text.unwrap_or_else(|| node.expr.to_string()),
        truth: it.truth.clone(),
        values: values.collect(),
        source: node.place.as_ref().and_then(|place| snippet(policy, place)),
    }
}

/// The line on which a condition begins.
fn snippet(policy: &Policy, place: &Place) -> Option<Snippet> {
    let source = &policy.template().loc()?.src;
    let start = source
        .get(..place.span.start)?
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let text = source.get(start..)?.lines().next()?;
    let before = source.get(start..place.span.start)?.chars().count();
    let rest = text.chars().count().saturating_sub(before);
    let length = source
        .get(place.span.clone())?
        .lines()
        .next()?
        .chars()
        .count();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some(Snippet {
        line: place.line,
        column: number(before + 1),
        text: text.to_owned(),
        length: number(length.min(rest).max(1)),
    })
}

/// Permits about the action whose scope misses the principal or the resource.
pub fn missed_permits<'s>(
    evaluation: &ObservedEvaluation<'s>,
    evaluator: &Evaluator<'_>,
) -> Vec<(Candidate<'s>, ScopeOutcome)> {
    let is_meant = |it: &Candidate<'_>| it.policy.effect() == Effect::Permit && !it.info.is_shadow;
    let permits = evaluation
        .snapshot
        .policies()
        .take(MAX_OTHERS)
        .filter(is_meant);
    let scoped = permits.map(|it| (it, evaluate_scope(it.policy, evaluator)));
    scoped
        .filter(|(_, scope)| scope.action && !scope.matches())
        .collect()
}
