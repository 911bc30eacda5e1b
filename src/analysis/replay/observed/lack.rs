//! What a denied request lacks: a permit, an approval, or other circumstances.
//!
//! Start at [`Lacks::of`]. A permit whose scope matches, and of which only what the context says keeps it from applying, is
//! there: to permit the call besides it would take its conditions out of force. So the conditions of each are taken apart,
//! and what does not depend on the context is evaluated.
//!
//! Invariant: in doubt a condition is taken for one that may hold, so that nothing is proposed.

use std::sync::Arc;

use callgate_engine::cedar::{Evaluator, Expr, ExprKind, Literal, Policy, UnaryOp, ValueKind, Var};
use callgate_engine::{Candidate, MaterializedRequest, PolicyInfo, Query, Snapshot};
use smol_str::SmolStr;

use crate::analysis::clauses::evaluate_scope;
use crate::analysis::replay::context_reads::{attribute_of, parts_of, read_fact};
use crate::domain::decide::facts::approval::APPROVAL;
use crate::domain::decide::observer::ObservedEvaluation;

/// What says which call it is, and not in which circumstances it is made.
const KIND: [&str; 2] = ["server", "initiator"];
/// What says of `context.delegation` who takes part.
const PARTIES: [&str; 6] = ["root", "root_agent", "actors", "first", "last", "depth"];
/// What a proposed permit names one by one.
const NAMED: [&str; 4] = ["target", "target_role", "sampling", "elicitation"];

/// What one denied request lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// A permit. With `is_asked`, an approval too, which policies ask for.
    Permit { is_asked: bool },
    /// An approval: with one, a permit applies that is there.
    Approval,
    /// Other circumstances: these permits would apply then.
    Circumstances(Vec<SmolStr>),
    /// It is forbidden, or cannot be evaluated.
    Other,
}

/// Which part of a request is left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// The named facts.
    Named,
    /// Whether there is an approval.
    Approval,
    /// Both.
    NamedAndApproval,
    /// All circumstances.
    Circumstances,
    /// These, and who asks.
    CircumstancesAndPrincipal,
}

impl Open {
    fn has_fact(self, name: &str) -> bool {
        match self {
            Self::Approval => name == APPROVAL,
            Self::Named => NAMED.contains(&name),
            Self::NamedAndApproval => name == APPROVAL || NAMED.contains(&name),
            Self::Circumstances | Self::CircumstancesAndPrincipal => !KIND.contains(&name),
        }
    }

    fn has_principal(self) -> bool {
        self == Self::CircumstancesAndPrincipal
    }
}

/// Finds what requests lack, by the policies of one snapshot.
#[derive(Debug)]
pub(super) struct Lacks<'s> {
    /// The permits that read whether there is an approval.
    asking: Vec<Candidate<'s>>,
}

impl<'s> Lacks<'s> {
    /// For the policies of a snapshot.
    pub(super) fn new(snapshot: &'s Snapshot) -> Self {
        let asking = match snapshot.reads_context(APPROVAL) {
            true => snapshot.policies().filter(|it| is_asking(it)).collect(),
            false => Vec::new(),
        };
        Self { asking }
    }

    /// What a request lacks; `None` if it is allowed.
    pub(super) fn of(&self, evaluation: &ObservedEvaluation<'_>) -> Option<Lack> {
        let ObservedEvaluation {
            snapshot,
            query,
            principal,
            result,
        } = *evaluation;
        if result.is_allow() {
            return None;
        }
        let mut is_asked = false;
        if !result.forbids.is_empty() || !result.errors.is_empty() {
            let with_approval = Query {
                unknown: &[APPROVAL],
                ..*query
            };
            let may = snapshot.evaluate(&with_approval, principal);
            let is_there = query.context.attribute(APPROVAL).is_some();
            if is_there || !may.forbids.is_empty() || !may.errors.is_empty() {
                return Some(Lack::Other);
            }
            if !result.permits.is_empty() {
                return Some(Lack::Approval);
            }
            is_asked = true;
        }
        // What cannot be looked into is left to a person.
        let Some(request) = snapshot.materialize(query, principal) else {
            return Some(Lack::Other);
        };
        let evaluator = request.evaluator();
        Some(self.of_unpermitted(&request, &evaluator, is_asked))
    }

    fn of_unpermitted(
        &self,
        request: &MaterializedRequest<'_>,
        evaluator: &Evaluator<'_>,
        mut is_asked: bool,
    ) -> Lack {
        let mut conditional = Vec::new();
        let permits = request.candidates.iter().filter(|it| is_in_force(it.info));
        for candidate in permits {
            let may = |open| may_apply(candidate.policy, evaluator, open);
            if !may(Open::Circumstances) {
                continue;
            }
            if may(Open::Approval) {
                return Lack::Approval;
            }
            match may(Open::NamedAndApproval) {
                true => is_asked |= !may(Open::Named),
                false => conditional.push(candidate.info.id.clone()),
            }
        }
        if !conditional.is_empty() {
            return Lack::Circumstances(conditional);
        }
        Lack::Permit {
            is_asked: is_asked || self.is_asked_of_others(evaluator),
        }
    }

    /// Whether somebody else may do this with an approval.
    fn is_asked_of_others(&self, evaluator: &Evaluator<'_>) -> bool {
        self.asking.iter().any(|candidate| {
            let scope = evaluate_scope(candidate.policy, evaluator);
            let open = Open::CircumstancesAndPrincipal;
            scope.action && scope.resource && may_apply(candidate.policy, evaluator, open)
        })
    }
}

fn is_in_force(info: &Arc<PolicyInfo>) -> bool {
    !info.is_forbid && !info.is_shadow
}

/// Whether it is a permit that reads the approval.
fn is_asking(candidate: &Candidate<'_>) -> bool {
    let conditions = candidate.policy.template().non_scope_constraints();
    let mut parts = conditions.into_iter().flat_map(Expr::subexpressions);
    is_in_force(candidate.info) && parts.any(|part| read_fact(part) == Some(APPROVAL))
}

/// Whether a permit whose scope matches may apply if what is open were otherwise.
fn may_apply(policy: &Policy, evaluator: &Evaluator<'_>, open: Open) -> bool {
    let conditions = policy.template().non_scope_constraints();
    let look = ThreeValued {
        policy,
        evaluator,
        open,
    };
    conditions.is_none_or(|it| look.value(it) != Some(false))
}

/// Evaluates a condition of which a part is open.
struct ThreeValued<'e> {
    policy: &'e Policy,
    evaluator: &'e Evaluator<'e>,
    open: Open,
}

impl ThreeValued<'_> {
    /// True, false, or `None` if that hangs on what is open.
    fn value(&self, expr: &Expr) -> Option<bool> {
        match expr.expr_kind() {
            ExprKind::And { left, right } => match (self.value(left), self.value(right)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            ExprKind::Or { left, right } => match (self.value(left), self.value(right)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            ExprKind::UnaryApp {
                op: UnaryOp::Not,
                arg,
            } => self.value(arg).map(|it| !it),
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => match self.value(test_expr) {
                Some(true) => self.value(then_expr),
                Some(false) => self.value(else_expr),
                None => {
                    let (then, otherwise) = (self.value(then_expr), self.value(else_expr));
                    then.filter(|_| then == otherwise)
                }
            },
            _ if self.is_open(expr) => None,
            _ => self.interpret(expr),
        }
    }

    /// What is not open, and has no value where all is known, is not looked at there: something before it decides.
    fn interpret(&self, expr: &Expr) -> Option<bool> {
        match self
            .evaluator
            .interpret(expr, self.policy.env())
            .ok()?
            .value
        {
            ValueKind::Lit(Literal::Bool(bool)) => Some(bool),
            _ => None,
        }
    }

    fn is_open(&self, expr: &Expr) -> bool {
        if tells_parties(expr) {
            return false;
        }
        match expr.expr_kind() {
            ExprKind::Var(Var::Principal) => self.open.has_principal(),
            // The context as a whole, and not one fact of it.
            ExprKind::Var(Var::Context) => true,
            _ => match read_fact(expr) {
                Some(fact) => self.open.has_fact(fact),
                None => parts_of(expr).into_iter().any(|part| self.is_open(part)),
            },
        }
    }
}

/// Whether an expression reads who takes part in the call: `context has delegation`, `context.delegation.root`.
fn tells_parties(expr: &Expr) -> bool {
    const DELEGATION: &str = "delegation";
    if let ExprKind::ExtHasAttr { expr, attrs } = expr.expr_kind() {
        let is_context = matches!(expr.expr_kind(), ExprKind::Var(Var::Context));
        let mut names = attrs.iter().map(SmolStr::as_str);
        return is_context
            && names.next() == Some(DELEGATION)
            && names.all(|name| PARTIES.contains(&name));
    }
    match attribute_of(expr) {
        Some((of, name)) if read_fact(of) == Some(DELEGATION) => PARTIES.contains(&name),
        _ => {
            let is_test = matches!(expr.expr_kind(), ExprKind::HasAttr { .. });
            is_test && read_fact(expr) == Some(DELEGATION)
        }
    }
}

#[cfg(test)]
#[path = "lack_tests.rs"]
mod tests;
