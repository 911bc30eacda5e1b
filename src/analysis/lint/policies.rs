//! Lints of single policies, and of policies beside each other.

use std::collections::HashMap;

use callgate_engine::cedar::{
    ActionConstraint, BinaryOp, Effect, Expr, ExprKind, PrincipalOrResourceConstraint, Template,
    UnaryOp, Var,
};

use crate::analysis::answer_marks::AnswerMarks;
use crate::analysis::lint::code::Code;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::parse::policies::{Policies, first_line};
use crate::bundle::validate::open_permits::{allowed, allows, annotation, permits_everything};
use crate::domain::schema::action_uid;

/// A lint with its place.
pub(super) type Found = (Code, BundleDiagnostic);

/// All lints of policies that are not allowed on them.
pub(super) fn find(policies: &Policies) -> Vec<Found> {
    let mut found = Vec::new();
    let templates = templates(policies);
    for template in &templates {
        let id: &str = template.id().as_ref();
        for name in allowed(template) {
            if Code::from_name(name).is_none() {
                let said = format!("`{id}`: there is no lint `{name}`");
                found.extend(at(policies, id, Code::UnknownLint, said));
            }
        }
        for code in of_one(template) {
            if !allows(template, code.as_str()) {
                let said = format!("`{id}`: {}", code.title());
                found.extend(at(policies, id, code, said));
            }
        }
    }
    shadowed(policies, &templates, &mut found);
    found
}

/// Every policy and template, by place.
fn templates(policies: &Policies) -> Vec<&Template> {
    let by_id: HashMap<&str, &Template> = policies
        .set
        .all_templates()
        .map(|template| (template.id().as_ref(), template))
        .collect();
    let entries = policies.entries.iter();
    entries
        .filter_map(|entry| by_id.get(entry.id.as_str()).copied())
        .collect()
}

fn at(policies: &Policies, id: &str, code: Code, said: String) -> Option<Found> {
    let (origin, offset, length) = policies.place(id)?;
    let shown = first_line(origin.text, offset, length);
    Some((code, BundleDiagnostic::at(origin, offset, shown, said)))
}

fn of_one(template: &Template) -> Vec<Code> {
    let mut found = Vec::new();
    let is_permit = template.effect() == Effect::Permit;
    let condition = template.non_scope_constraints();
    if condition.is_some_and(computes) {
        found.push(match is_permit {
            true => Code::PermitCanErr,
            false => Code::ForbidCanErr,
        });
    }
    if permits_everything(template) {
        found.push(Code::PermitEverything);
    } else if is_permit && is_wide(template) {
        found.push(Code::WidePermit);
    }
    if leaves_out_typed_tools(template) {
        found.push(Code::ActionExact);
    }
    if annotation(template, "id").is_none() {
        found.push(Code::PolicyWithoutId);
    }
    if is_permit && annotation(template, "owner").is_none() {
        found.push(Code::PermitWithoutOwner);
    }
    if !is_permit && annotation(template, "reason").is_none() {
        found.push(Code::ForbidWithoutReason);
    }
    found
}

/// Methods of dates and times whose result may be out of range.
const MAY_OVERFLOW: [&str; 3] = ["durationSince", "offset", "toDate"];

/// Whether some part computes on what is not a literal.
fn computes(condition: &Expr) -> bool {
    let is_literal = |expr: &Expr| matches!(expr.expr_kind(), ExprKind::Lit(_));
    condition
        .subexpressions()
        .any(|part| match part.expr_kind() {
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul)
                    && !(is_literal(arg1) && is_literal(arg2))
            }
            ExprKind::UnaryApp { op, arg } => *op == UnaryOp::Neg && !is_literal(arg),
            ExprKind::ExtensionFunctionApp { fn_name, args } => {
                MAY_OVERFLOW.contains(&fn_name.to_string().as_str())
                    && !args.iter().all(is_constant)
            }
            _ => false,
        })
}

/// A literal, or what functions make of literals, as `duration("1d")`.
fn is_constant(expr: &Expr) -> bool {
    let is_part = |part: &Expr| {
        let kind = part.expr_kind();
        matches!(
            kind,
            ExprKind::Lit(_) | ExprKind::ExtensionFunctionApp { .. }
        )
    };
    expr.subexpressions().all(is_part)
}

/// Whether every principal may change something and no part of the policy asks for a person or for authority.
fn is_wide(template: &Template) -> bool {
    let changes = ["call_tool", "call_write", "call_admin"].map(action_uid);
    let is_change = match template.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::In(uids) => uids.iter().any(|uid| changes.contains(uid)),
        ActionConstraint::Eq(uid) => changes.contains(uid),
    };
    let is_anybody = match template.principal_constraint().as_inner() {
        PrincipalOrResourceConstraint::Any => true,
        PrincipalOrResourceConstraint::Is(ty) => ty.to_string() == "Mcp::Agent",
        _ => false,
    };
    let asks = |condition: &Expr| {
        condition
            .subexpressions()
            .any(|part| match part.expr_kind() {
                ExprKind::Var(Var::Principal) => true,
                ExprKind::GetAttr { attr, .. } | ExprKind::HasAttr { attr, .. } => {
                    matches!(attr.as_str(), "approval" | "task" | "delegation")
                }
                _ => false,
            })
    };
    is_change && is_anybody && !template.non_scope_constraints().is_some_and(asks)
}

/// Whether the policy is for exactly one action that the actions of typed tools are in. Of a policy about one tool it is known
/// whether that is typed: the names in it are checked.
fn leaves_out_typed_tools(template: &Template) -> bool {
    let ActionConstraint::Eq(action) = template.action_constraint() else {
        return false;
    };
    let groups = ["call_tool", "call_read", "call_write", "call_admin"];
    let is_group = groups.map(action_uid).contains(action);
    let is_one_tool = matches!(
        template.resource_constraint().as_inner(),
        PrincipalOrResourceConstraint::Eq(_)
    );
    is_group && !is_one_tool
}

/// Policies of the same effect and scope, of which one says the same or has no conditions, and gives whatever the other adds
/// to an answer.
fn shadowed(policies: &Policies, templates: &[&Template], found: &mut Vec<Found>) {
    let mut by_scope: HashMap<(bool, String), Vec<&Template>> = HashMap::new();
    for template in templates {
        // A policy that is not enforced takes nothing from one that is.
        if annotation(template, "mode") == Some("shadow") {
            continue;
        }
        let scope = format!(
            "{} {} {}",
            template.principal_constraint(),
            template.action_constraint(),
            template.resource_constraint()
        );
        let is_permit = template.effect() == Effect::Permit;
        by_scope
            .entry((is_permit, scope))
            .or_default()
            .push(template);
    }
    for of_scope in by_scope.into_values().filter(|it| it.len() > 1) {
        let condition = |of: &Template| {
            let condition = of.non_scope_constraints();
            condition.map_or_else(String::new, ToString::to_string)
        };
        // By condition, the first policy with each set of marks: there are few sets.
        let mut first: HashMap<String, Vec<(AnswerMarks, &Template)>> = HashMap::new();
        for template in &of_scope {
            let (own, same) = (
                marks(template),
                first.entry(condition(template)).or_default(),
            );
            if !same.iter().any(|(known, _)| *known == own) {
                same.push((own, template));
            }
        }
        for template in of_scope {
            let (own, condition) = (marks(template), condition(template));
            let others = [condition.as_str(), ""]
                .into_iter()
                .filter_map(|it| first.get(it));
            let by = others
                .flatten()
                .find(|(marks, other)| other.id() != template.id() && own.is_within(marks));
            let is_allowed = allows(template, Code::PolicyShadowed.as_str());
            if let (Some((_, by)), false) = (by, is_allowed) {
                let id: &str = template.id().as_ref();
                let said = format!("`{id}`: `{}` says the same or more", by.id());
                found.extend(at(policies, id, Code::PolicyShadowed, said));
            }
        }
    }
}

fn marks(template: &Template) -> AnswerMarks {
    let is_forbid = template.effect() == Effect::Forbid;
    AnswerMarks::new(is_forbid, |name| annotation(template, name))
}
