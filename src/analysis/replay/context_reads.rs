//! What expressions of policies read of the context.
//!
//! Start at [`read_fact`], and at [`reads_labels`] for a whole snapshot.

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Expr, ExprKind, Var};

use crate::domain::authority::labels;

/// The facts that are labels, or have nothing else.
const LABELS: [&str; 2] = ["labels", "recent"];
/// The facts that have labels beside others.
const WITH_LABELS: [&str; 2] = ["task", "delegation"];

/// Whether any policy reads labels of other carriers than the session. One that asks for whom a call is made reads none.
pub(in crate::analysis::replay) fn reads_labels(snapshot: &Snapshot) -> bool {
    let reads = |expr: Option<&Expr>| expr.is_some_and(shows_labels);
    labels::are_read(snapshot)
        && snapshot
            .policies()
            .any(|it| reads(it.policy.template().non_scope_constraints()))
}

/// Whether the value of an expression may hang on labels.
fn shows_labels(expr: &Expr) -> bool {
    if matches!(expr.expr_kind(), ExprKind::Var(Var::Context)) {
        return true;
    }
    if let ExprKind::ExtHasAttr { expr, attrs } = expr.expr_kind()
        && matches!(expr.expr_kind(), ExprKind::Var(Var::Context))
    {
        let fact = attrs.first().as_str();
        let is_inner = attrs.iter().nth(1).is_some_and(|it| it == "labels");
        return LABELS.contains(&fact) || (WITH_LABELS.contains(&fact) && is_inner);
    }
    let Some((of, name)) = attribute_of(expr) else {
        return parts_of(expr).into_iter().any(shows_labels);
    };
    match (read_fact(expr), read_fact(of)) {
        (Some(fact), _) if WITH_LABELS.contains(&fact) => {
            // As a whole it has them.
            !matches!(expr.expr_kind(), ExprKind::HasAttr { .. })
        }
        (Some(fact), _) => LABELS.contains(&fact),
        (None, Some(fact)) if WITH_LABELS.contains(&fact) => name == "labels",
        (None, _) => shows_labels(of),
    }
}

/// The fact of the context that an expression reads or tests by itself.
pub(in crate::analysis::replay) fn read_fact(expr: &Expr) -> Option<&str> {
    let (of, name) = attribute_of(expr)?;
    matches!(of.expr_kind(), ExprKind::Var(Var::Context)).then_some(name)
}

/// An attribute that is read or tested, and of what.
pub(in crate::analysis::replay) fn attribute_of(expr: &Expr) -> Option<(&Expr, &str)> {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => Some((expr, attr)),
        ExprKind::ExtHasAttr { expr, attrs } => Some((expr, attrs.first())),
        _ => None,
    }
}

/// The expressions that an expression is made of.
pub(in crate::analysis::replay) fn parts_of(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => vec![test_expr, then_expr, else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![left, right],
        ExprKind::UnaryApp { arg, .. } => vec![arg],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::Set(parts) => parts.iter().collect(),
        ExprKind::Record(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "context_reads_tests.rs"]
mod tests;
