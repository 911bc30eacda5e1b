//! Which conditions of the policies the tests have exercised.
//!
//! A condition is covered once it was seen true and seen false. A *guard*, an `x has y` before a use of `x.y`, is covered
//! once it was evaluated: that `x` lacks `y` may be impossible, and the policy would not validate without it. `true` and `false`
//! themselves, as in `else true`, are no conditions.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use callgate_engine::cedar::{Expr, ExprKind, Policy};
use serde::Serialize;

use crate::analysis::clauses::{ClauseTree, NodeId, Truth};
use crate::bundle::Bundle;
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};

/// The coverage of all policies.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// Each policy or template, by file and line.
    pub policies: Vec<PolicyCoverage>,
    /// How many policies decided at least one request.
    pub policies_covered: usize,
    /// How many conditions there are.
    pub conditions: usize,
    /// How many of them are covered.
    pub conditions_covered: usize,
}

/// The coverage of one policy.
#[derive(Debug, Serialize)]
pub struct PolicyCoverage {
    /// Its id.
    pub id: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// How often its scope matched.
    pub matched: u64,
    /// How often it was satisfied.
    pub satisfied: u64,
    /// How often it failed.
    pub failed: u64,
    /// Its conditions, in the order of the source.
    pub conditions: Vec<ConditionCoverage>,
}

/// How often a condition was what.
#[derive(Debug, Serialize)]
pub struct ConditionCoverage {
    /// The line, from 1.
    pub line: u32,
    /// As written.
    pub text: String,
    /// How often it was evaluated and true.
    pub was_true: u64,
    /// How often it was evaluated and false.
    pub was_false: u64,
    /// How often it failed.
    pub failed: u64,
    /// How often the outcome of the policy hung on it alone.
    pub decisive: u64,
    /// Whether it only guards the use of what may be absent.
    pub is_guard: bool,
}

impl PolicyCoverage {
    /// Whether it was satisfied at least once.
    pub fn is_covered(&self) -> bool {
        self.satisfied > 0
    }
}

impl ConditionCoverage {
    /// Whether it was seen both true and false; a guard: whether it was evaluated.
    pub fn is_covered(&self) -> bool {
        match self.is_guard {
            true => self.was_true + self.was_false > 0,
            false => self.was_true > 0 && self.was_false > 0,
        }
    }

    /// What was not seen, in words.
    pub fn lacks(&self) -> &'static str {
        match (self.was_true > 0, self.was_false > 0) {
            (false, false) => "never evaluated",
            (true, false) => "never false",
            (false, true) => "never true",
            (true, true) => "",
        }
    }
}

impl Coverage {
    /// The share of covered conditions in percent, rounded down; 100 if there are none.
    pub fn percent(&self) -> usize {
        (self.conditions_covered * 100)
            .checked_div(self.conditions)
            .unwrap_or(100)
    }

    pub(super) fn new(bundle: &Bundle, observer: CoverageObserver) -> Self {
        let mut counted = observer.policies.into_inner();
        let policies: Vec<PolicyCoverage> = bundle
            .policies
            .iter()
            .filter_map(|entry| {
                let counts = counted.remove(&entry.id)?;
                Some(PolicyCoverage {
                    id: entry.id.clone(),
                    file: entry.file.to_string(),
                    line: entry.line,
                    matched: counts.matched,
                    satisfied: counts.satisfied,
                    failed: counts.failed,
                    conditions: counts.conditions.into_values().collect(),
                })
            })
            .collect();
        let all = || policies.iter().flat_map(|it| &it.conditions);
        Self {
            policies_covered: policies.iter().filter(|it| it.is_covered()).count(),
            conditions: all().count(),
            conditions_covered: all().filter(|it| it.is_covered()).count(),
            policies,
        }
    }
}

/// Counts what the conditions of all candidate policies come to.
pub(super) struct CoverageObserver {
    policies: RefCell<HashMap<String, ConditionCounts>>,
}

struct ConditionCounts {
    tree: ClauseTree,
    matched: u64,
    satisfied: u64,
    failed: u64,
    conditions: BTreeMap<NodeId, ConditionCoverage>,
}

impl fmt::Debug for CoverageObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoverageObserver").finish_non_exhaustive()
    }
}

impl CoverageObserver {
    pub(super) fn new(bundle: &Bundle) -> Self {
        let candidates = bundle.snapshot.policies();
        let each = candidates.map(|it| (template_id(it.policy), ConditionCounts::new(it.policy)));
        Self {
            policies: RefCell::new(each.collect()),
        }
    }
}

/// The id of the template; a static policy is its own.
fn template_id(policy: &Policy) -> String {
    let id: &str = policy.template().id().as_ref();
    id.to_owned()
}

impl ConditionCounts {
    fn new(policy: &Policy) -> Self {
        let tree = ClauseTree::from_policy(policy.template());
        let condition = policy.non_scope_constraints();
        let is_literal = |expr: &Expr| matches!(expr.expr_kind(), ExprKind::Lit(_));
        let conditions = tree
            .conditions()
            .filter(|(_, node)| !is_literal(&node.expr));
        let conditions = conditions.map(|(id, node)| {
            let (line, text) = match &node.place {
                Some(place) => (place.line, place.text.clone()),
                None => (0, node.expr.to_string()),
            };
            let coverage = ConditionCoverage {
                line,
                text,
                was_true: 0,
                was_false: 0,
                failed: 0,
                decisive: 0,
                is_guard: condition.is_some_and(|whole| is_guard(&node.expr, whole)),
            };
            (id, coverage)
        });
        Self {
            conditions: conditions.collect(),
            tree,
            matched: 0,
            satisfied: 0,
            failed: 0,
        }
    }
}

impl EvaluationObserver for CoverageObserver {
    fn evaluated(&self, seen: ObservedEvaluation<'_>) {
        let Some(request) = seen.snapshot.materialize(seen.query, seen.principal) else {
            return;
        };
        let evaluator = request.evaluator();
        let mut policies = self.policies.borrow_mut();
        for candidate in &request.candidates {
            let Some(counts) = policies.get_mut(&template_id(candidate.policy)) else {
                continue;
            };
            let outcome = counts.tree.evaluate(&evaluator, candidate.policy.env());
            counts.matched += 1;
            match outcome.truth {
                Truth::True => counts.satisfied += 1,
                Truth::False => {}
                Truth::Error(_) => counts.failed += 1,
            }
            for condition in outcome.conditions.iter().filter(|it| it.is_reached) {
                let Some(count) = counts.conditions.get_mut(&condition.node) else {
                    continue;
                };
                match condition.truth {
                    Truth::True => count.was_true += 1,
                    Truth::False => count.was_false += 1,
                    Truth::Error(_) => count.failed += 1,
                }
                count.decisive += u64::from(condition.is_decisive);
            }
        }
    }
}

/// Whether a condition is `x has y` and the policy reads `x.y`.
fn is_guard(condition: &Expr, whole: &Expr) -> bool {
    let (guarded, name) = match condition.expr_kind() {
        ExprKind::HasAttr { expr, attr } => (expr, attr),
        ExprKind::ExtHasAttr { expr, attrs } => (expr, attrs.first()),
        _ => return false,
    };
    whole.subexpressions().any(|part| match part.expr_kind() {
        ExprKind::GetAttr { expr, attr } => attr == name && expr == guarded,
        _ => false,
    })
}
