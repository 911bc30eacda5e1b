//! Conditions on the context of a call, in words.

use callgate_engine::cedar::{BinaryOp, Expr, ExprKind, Literal, UnaryOp, Var};

use crate::analysis::access::known::context_path;

/// What attributes of the context are called.
const NOUNS: [(&str, &str); 46] = [
    ("answers", "the answers sent with the call"),
    ("answers.field_names", "the fields of answered forms"),
    ("answers.kinds", "the kinds of answers"),
    (
        "answers.secret_fields",
        "the answered fields that look secret",
    ),
    ("approval.age_seconds", "the age of the approval in seconds"),
    ("approval.approver", "the approver"),
    (
        "arguments.link_hosts",
        "the hosts of links in the arguments",
    ),
    ("arguments.names", "the names of the arguments"),
    (
        "arguments.undeclared",
        "the arguments that the pinned schema does not declare",
    ),
    (
        "arguments.unknown_links",
        "the links in the arguments to unknown places",
    ),
    ("arguments.untyped", "the arguments that are not typed"),
    ("arguments.words", "the words in the texts of the arguments"),
    ("delegation.access", "the access level of the delegation"),
    ("delegation.depth", "the number of links of the delegation"),
    (
        "delegation.labels",
        "the labels of calls under the delegation",
    ),
    ("delegation.root", "the person for whom the call is made"),
    (
        "delegation.root_agent",
        "the agent for whom the call is made",
    ),
    ("delegation.scopes", "the OAuth scopes of the delegation"),
    ("delegation.source", "the source of the delegation"),
    ("environment.gateway", "the gateway"),
    ("environment.now", "the time"),
    ("environment.source_address", "the client's address"),
    ("identity.asserted_attributes", "the tags that claims added"),
    ("identity.asserted_groups", "the groups that claims added"),
    ("identity.method", "the way the identity was established"),
    ("initiator", "the side that makes the call"),
    ("labels", "the labels of the call"),
    ("purpose", "the purpose"),
    ("recent.labels", "the labels of what was read lately"),
    ("session.calls", "the number of calls in the session"),
    ("session.labels", "the labels of the session"),
    ("session.previous", "the last tool of the session"),
    ("session.recent_tools", "the last tools of the session"),
    ("session.tools_used", "the tools used in the session"),
    ("target", "the target"),
    ("target_role", "the role of the target"),
    ("task.step", "the step of the task"),
    ("task.calls_left", "the calls left of the task's budget"),
    ("usage.actor_last_day", "the calls in the last day"),
    ("usage.actor_last_hour", "the calls in the last hour"),
    ("usage.actor_last_minute", "the calls in the last minute"),
    (
        "usage.distinct_tools",
        "the number of different tools in the last day",
    ),
    ("usage.last_day", "the calls of this tool in the last day"),
    ("usage.last_hour", "the calls of this tool in the last hour"),
    (
        "usage.last_minute",
        "the calls of this tool in the last minute",
    ),
    ("usage.recent_denials", "the denied calls in the last hour"),
];

/// Attributes that are true or false: how that is said, and how the contrary is.
const STATES: [(&str, &str, &str); 15] = [
    (
        "delegation.verified",
        "the delegation is verified",
        "the delegation is not verified",
    ),
    (
        "earlier_result",
        "it may bring the result of an earlier call",
        "it brings no result of an earlier call",
    ),
    (
        "identity.through_agent",
        "an agent may be acting in the person's name",
        "the person acts in person",
    ),
    (
        "identity.verified",
        "the identity is verified",
        "the identity is not verified",
    ),
    (
        "target.public",
        "the target is on the open internet",
        "the target is not on the open internet",
    ),
    (
        "task.any_target",
        "the task leaves the target of this tool open",
        "the task does not leave the target of this tool open",
    ),
    (
        "task.bounds_arguments",
        "the task bounds the arguments",
        "the task does not bound the arguments",
    ),
    (
        "task.bounds_calls",
        "the task bounds the calls of this tool",
        "the task does not bound the calls of this tool",
    ),
    (
        "task.bounds_targets",
        "the task bounds the targets",
        "the task does not bound the targets",
    ),
    (
        "task.has_any_target",
        "the task leaves the target of a tool open",
        "the task leaves the target of no tool open",
    ),
    (
        "task.has_targets",
        "the task names the targets of a tool",
        "the task names the targets of no tool",
    ),
    (
        "task.known_to_read",
        "the task names the target to read from",
        "the task does not name the target to read from",
    ),
    (
        "task.known_to_send",
        "the task names the target to send to",
        "the task does not name the target to send to",
    ),
    (
        "task.lists_tools",
        "the task lists its tools",
        "the task does not list its tools",
    ),
    (
        "usage.first_use",
        "it is the first use of this tool",
        "it is not the first use of this tool",
    ),
];

/// Attributes that may be absent: how it is said that they are there, and that they are not.
const PRESENCES: [(&str, &str, &str); 10] = [
    (
        "answers",
        "answers are sent with the call",
        "no answers are sent with the call",
    ),
    (
        "approval",
        "a person approved the call",
        "nobody approved the call",
    ),
    (
        "delegation",
        "the call is made for somebody",
        "the call is made for nobody else",
    ),
    ("purpose", "a purpose is stated", "no purpose is stated"),
    (
        "recent",
        "something was read lately",
        "nothing was read lately",
    ),
    (
        "session",
        "the call names a session",
        "the call names no session",
    ),
    ("target", "the call has a target", "the call has no target"),
    (
        "target_role",
        "the target has a role",
        "the target has no role",
    ),
    (
        "task",
        "the call belongs to a task",
        "the call belongs to no task",
    ),
    ("usage", "usage is counted", "usage is not counted"),
];

/// A condition in words.
pub fn of(condition: &Expr) -> String {
    phrase(condition, false)
}

/// The contrary of a condition in words.
pub fn contrary(condition: &Expr) -> String {
    phrase(condition, true)
}

/// A boolean expression, or its contrary.
fn phrase(expr: &Expr, is_negated: bool) -> String {
    match expr.expr_kind() {
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            let is_and = matches!(expr.expr_kind(), ExprKind::And { .. });
            let becomes_and = is_and ^ is_negated;
            let parts = [left, right].map(|part| within(part, is_negated, becomes_and));
            let word = if becomes_and { " and " } else { " or " };
            parts.join(word)
        }
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => phrase(arg, !is_negated),
        ExprKind::UnaryApp {
            op: UnaryOp::IsEmpty,
            arg,
        } => verb(&noun(arg), is_negated, "is empty", "is not empty", ""),
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => format!(
            "(if {} then {}, else {})",
            phrase(test_expr, false),
            phrase(then_expr, is_negated),
            phrase(else_expr, is_negated)
        ),
        ExprKind::BinaryApp { op, arg1, arg2 } => binary(expr, *op, arg1, arg2, is_negated),
        ExprKind::HasAttr { expr: of, attr } => presence(of, &[attr.as_str()], is_negated),
        ExprKind::ExtHasAttr { expr: of, attrs } => {
            let attrs: Vec<&str> = attrs.iter().map(AsRef::as_ref).collect();
            presence(of, &attrs, is_negated)
        }
        ExprKind::Like { expr: of, pattern } => {
            let pattern = format!("`{pattern}`");
            verb(&noun(of), is_negated, "matches", "does not match", &pattern)
        }
        ExprKind::Is {
            expr: of,
            entity_type,
        } => {
            let ty = format!("a {entity_type}");
            verb(&noun(of), is_negated, "is", "is not", &ty)
        }
        ExprKind::Lit(Literal::Bool(bool)) => match *bool != is_negated {
            true => "always".to_owned(),
            false => "never".to_owned(),
        },
        ExprKind::GetAttr { .. } => state(expr, is_negated),
        _ => literally(expr, is_negated),
    }
}

/// A part of a chain, in parentheses if it is a chain of the other kind.
fn within(part: &Expr, is_negated: bool, is_and: bool) -> String {
    let text = phrase(part, is_negated);
    match inner_chain(part, is_negated) {
        Some(other) if other != is_and => format!("({text})"),
        _ => text,
    }
}

/// Whether an expression reads as a chain of `and` (true) or `or` (false).
fn inner_chain(expr: &Expr, is_negated: bool) -> Option<bool> {
    match expr.expr_kind() {
        ExprKind::And { .. } => Some(!is_negated),
        ExprKind::Or { .. } => Some(is_negated),
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => inner_chain(arg, !is_negated),
        _ => None,
    }
}

fn binary(expr: &Expr, op: BinaryOp, one: &Expr, other: &Expr, is_negated: bool) -> String {
    let (yes, no) = match op {
        BinaryOp::Eq => ("is", "is not"),
        BinaryOp::Less => ("is less than", "is at least"),
        BinaryOp::LessEq => ("is at most", "is more than"),
        BinaryOp::In => ("is in", "is not in"),
        BinaryOp::Contains => {
            // `["read", "write"].contains(x)`
            if let ExprKind::Set(_) = one.expr_kind() {
                return verb(
                    &noun(other),
                    is_negated,
                    "is one of",
                    "is none of",
                    &noun(one),
                );
            }
            ("contains", "does not contain")
        }
        BinaryOp::ContainsAll => ("contains all of", "does not contain all of"),
        BinaryOp::ContainsAny => ("contains any of", "contains none of"),
        BinaryOp::HasTag => ("has the tag", "does not have the tag"),
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::GetTag => {
            return literally(expr, is_negated);
        }
    };
    verb(&noun(one), is_negated, yes, no, &noun(other))
}

fn verb(subject: &str, is_negated: bool, yes: &str, no: &str, object: &str) -> String {
    let verb = if is_negated { no } else { yes };
    let verb = match is_plural(subject) {
        true => plural(verb),
        false => verb.to_owned(),
    };
    format!("{subject} {verb} {object}").trim_end().to_owned()
}

/// Whether a noun of [`NOUNS`] is in the plural: `the labels of …`, `the last tools …`.
fn is_plural(noun: &str) -> bool {
    let mut words = noun.split(' ').skip(1);
    let first = words.next().unwrap_or_default();
    let noun = match first {
        "last" | "denied" | "OAuth" => words.next().unwrap_or_default(),
        word => word,
    };
    !noun.starts_with('`') && noun.ends_with('s') && noun != "access"
}

/// A verb in the plural: `is not in` becomes `are not in`.
fn plural(verb: &str) -> String {
    let (first, rest) = verb
        .split_once(' ')
        .map_or((verb, ""), |(first, rest)| (first, rest));
    let first = match first {
        "is" => "are",
        "does" => "do",
        "has" => "have",
        "contains" => "contain",
        "matches" => "match",
        other => other,
    };
    format!("{first} {rest}").trim_end().to_owned()
}

/// That an attribute is there.
fn presence(of: &Expr, attrs: &[&str], is_negated: bool) -> String {
    let path = context_path(of).map(|path| {
        let path = path.iter().map(|it| it.as_str());
        path.chain(attrs.iter().copied())
            .collect::<Vec<_>>()
            .join(".")
    });
    let known = path.as_deref().and_then(|path| {
        let mut all = PRESENCES.iter();
        all.find(|(name, ..)| *name == path)
    });
    match (known, path) {
        (Some((_, yes, no)), _) => (if is_negated { *no } else { *yes }).to_owned(),
        (None, Some(path)) => verb(&named(&path), is_negated, "is known", "is not known", ""),
        (None, None) => {
            let attr = format!("`{}`", attrs.join("."));
            verb(&noun(of), is_negated, "has", "does not have", &attr)
        }
    }
}

/// An attribute that is true or false.
fn state(expr: &Expr, is_negated: bool) -> String {
    let path = dotted(expr);
    let known = path
        .as_deref()
        .and_then(|path| STATES.iter().find(|(name, ..)| *name == path));
    match known {
        Some((_, yes, no)) => (if is_negated { *no } else { *yes }).to_owned(),
        None => verb(&noun(expr), is_negated, "is true", "is false", ""),
    }
}

fn literally(expr: &Expr, is_negated: bool) -> String {
    match is_negated {
        true => format!("not `{expr}`"),
        false => format!("`{expr}`"),
    }
}

/// A value.
fn noun(expr: &Expr) -> String {
    if let Some(path) = dotted(expr) {
        return named(&path);
    }
    match expr.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => format!("`{text}`"),
        ExprKind::Lit(Literal::EntityUID(uid)) => uid.to_string(),
        ExprKind::Lit(literal) => literal.to_string(),
        ExprKind::Var(Var::Context) => "the context".to_owned(),
        ExprKind::Set(items) => {
            let items: Vec<String> = items.iter().map(noun).collect();
            format!("[{}]", items.join(", "))
        }
        _ => format!("`{expr}`"),
    }
}

/// The path of an attribute of the context, with dots.
fn dotted(expr: &Expr) -> Option<String> {
    let path = context_path(expr).filter(|path| !path.is_empty())?;
    let path: Vec<&str> = path.iter().map(|it| it.as_str()).collect();
    Some(path.join("."))
}

fn named(path: &str) -> String {
    if let Some((_, noun)) = NOUNS.iter().find(|(name, _)| *name == path) {
        return (*noun).to_owned();
    }
    match path.split_once('.') {
        Some(("input", argument)) => format!("the argument `{argument}`"),
        Some(("target", attribute)) => format!("`{attribute}` of the target"),
        _ => format!("`{path}`"),
    }
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
