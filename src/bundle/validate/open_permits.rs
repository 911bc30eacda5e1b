//! Permits without a scope and without conditions: everybody may do everything that no forbid names.
//!
//! Such a policy is in order for Cedar, and hardly ever what is meant to be in force: so it is a warning, which the server
//! logs and `bundle.strict` refuses, and not only a lint. `@allow("permit-everything")` says that it is meant.

use callgate_engine::cedar::{
    ActionConstraint, AnyId, Effect, Expr, ExprKind, Literal, PrincipalOrResourceConstraint,
    Template, UnaryOp,
};

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::parse::policies::{Policies, first_line};
use crate::config::bundle::BundleConfig;

/// The lint that allows it, on the policy or in `bundle.allow`.
pub(crate) const LINT: &str = "permit-everything";

/// The annotation that allows lints on a policy.
const ALLOW: &str = "allow";

/// Warns of every permit in force that permits everything and is not allowed to.
pub(crate) fn warn(
    policies: &Policies,
    config: &BundleConfig,
    warnings: &mut Vec<BundleDiagnostic>,
) {
    if config.allow.iter().any(|name| name == LINT) {
        return;
    }
    let open = policies.set.all_templates().filter(|it| {
        permits_everything(it) && annotation(it, "mode") != Some("shadow") && !allows(it, LINT)
    });
    for template in open {
        let id: &str = template.id().as_ref();
        if let Some((origin, offset, length)) = policies.place(id) {
            let said = format!(
                "`{id}` permits everything to everybody: nothing is denied that no forbid names"
            );
            let shown = first_line(origin.text, offset, length);
            let warning = BundleDiagnostic::at(origin, offset, shown, said);
            warnings.push(warning.with_help(
                "name who may do what, or take the policy away; if it is meant, say so: `@allow(\"permit-everything\")`",
            ));
        }
    }
}

/// Whether a policy permits whatever is asked by whomever.
pub(crate) fn permits_everything(template: &Template) -> bool {
    template.effect() == Effect::Permit
        && is_any(template.principal_constraint().as_inner())
        && is_any(template.resource_constraint().as_inner())
        && matches!(template.action_constraint(), ActionConstraint::Any)
        && template.non_scope_constraints().is_none_or(is_true)
}

fn is_any(constraint: &PrincipalOrResourceConstraint) -> bool {
    matches!(constraint, PrincipalOrResourceConstraint::Any)
}

/// Whether a condition is written so that it always holds: `true`, `!false`, and what `&&` makes of these.
fn is_true(condition: &Expr) -> bool {
    match condition.expr_kind() {
        ExprKind::Lit(Literal::Bool(value)) => *value,
        ExprKind::And { left, right } => is_true(left) && is_true(right),
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => matches!(arg.expr_kind(), ExprKind::Lit(Literal::Bool(false))),
        _ => false,
    }
}

/// The value of an annotation.
pub(crate) fn annotation<'a>(template: &'a Template, name: &str) -> Option<&'a str> {
    let mut annotations = template.annotations();
    let found = annotations.find(|(key, _): &(&AnyId, _)| {
        let key: &str = key.as_ref();
        key == name
    });
    found.map(|(_, value)| value.as_ref())
}

/// The lints that `@allow` names.
pub(crate) fn allowed(template: &Template) -> impl Iterator<Item = &str> {
    let names = annotation(template, ALLOW).unwrap_or_default().split(',');
    names.map(str::trim).filter(|name| !name.is_empty())
}

/// Whether `@allow` names a lint.
pub(crate) fn allows(template: &Template, lint: &str) -> bool {
    allowed(template).any(|name| name == lint)
}

#[cfg(test)]
#[path = "open_permits_tests.rs"]
mod tests;
