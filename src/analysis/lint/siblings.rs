//! Tools of one definition in several registrations, of which a forbid is about one and not about another.
//!
//! Start at [`find`]. What a forbid is about is what its scope or its conditions compare `resource` or `action` with, where
//! that widens what is forbidden: not what an `unless` takes away from it.

use std::collections::{BTreeMap, BTreeSet};

use callgate_engine::Snapshot;
use callgate_engine::cedar::{
    ActionConstraint, BinaryOp, Effect, EntityReference, EntityUID, Expr, ExprKind, Literal,
    PrincipalOrResourceConstraint, Template, UnaryOp, Var,
};

use crate::analysis::lint::code::Code;
use crate::analysis::lint::policies::Found;
use crate::bundle::files::SourceFile;
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::policies::Policies;
use crate::bundle::parse::registration::Registration;
use crate::bundle::validate::open_permits::annotation;
use crate::domain::schema::{TYPES, server_uid, tool_action_uid, tool_uid};

/// A registered tool, with its registration by position.
#[derive(Clone, Copy)]
struct Tool<'r> {
    at: usize,
    server: &'r str,
    name: &'r str,
}

impl Tool<'_> {
    /// Whether it is this entity, in it, or called by this action.
    fn is_under(self, snapshot: &Snapshot, name: &EntityUID) -> bool {
        let Self {
            server, name: tool, ..
        } = self;
        match name.entity_type().is_action() {
            true => *name == tool_action_uid(server, tool),
            false => {
                let uid = tool_uid(server, tool);
                uid == *name || snapshot.is_in(&uid, name)
            }
        }
    }
}

/// What a registration escapes: the tool left out, the one that is not, and the forbids.
struct Escape<'r> {
    left_out: Tool<'r>,
    other: Tool<'r>,
    policies: BTreeSet<String>,
}

/// The tools that a forbid leaves out though it is about another one with the same definition: one place for each registration
/// and name that the forbid goes by.
pub(super) fn find(
    snapshot: &Snapshot,
    policies: &Policies,
    registrations: &[(&SourceFile, Registration)],
) -> Vec<Found> {
    let mut by_digest: BTreeMap<&str, Vec<Tool<'_>>> = BTreeMap::new();
    for (at, (_, registration)) in registrations.iter().enumerate() {
        let server = &*registration.server.name;
        for (name, tool) in &registration.tools {
            if let Some(digest) = &tool.digest {
                by_digest
                    .entry(digest)
                    .or_default()
                    .push(Tool { at, server, name });
            }
        }
    }
    by_digest.retain(|_, tools| {
        tools
            .iter()
            .any(|it| tools.first().is_some_and(|a| a.at != it.at))
    });
    if by_digest.is_empty() {
        return Vec::new();
    }
    let mut escapes: BTreeMap<(usize, String), (EntityUID, Escape<'_>)> = BTreeMap::new();
    let in_force = policies
        .set
        .all_templates()
        .filter(|it| it.effect() == Effect::Forbid && annotation(it, "mode") != Some("shadow"));
    for forbid in in_force {
        let names = names(forbid);
        for tools in by_digest.values() {
            note_left_out(snapshot, forbid.id().as_ref(), &names, tools, &mut escapes);
        }
    }
    let found = escapes.values().filter_map(|(name, escape)| {
        let (source, _) = registrations.get(escape.left_out.at)?;
        Some(told(snapshot, source, name, escape))
    });
    found.collect()
}

/// Notes the tools of one definition that a forbid leaves out, each with one of another registration that it is about.
fn note_left_out<'r>(
    snapshot: &Snapshot,
    forbid: &str,
    names: &[EntityUID],
    tools: &[Tool<'r>],
    escapes: &mut BTreeMap<(usize, String), (EntityUID, Escape<'r>)>,
) {
    let mut left_out = Vec::new();
    // By what the forbid says, the first tool, and the first in another registration.
    let mut covered: BTreeMap<&EntityUID, (Tool<'r>, Option<Tool<'r>>)> = BTreeMap::new();
    for tool in tools {
        match names.iter().find(|name| tool.is_under(snapshot, name)) {
            None => left_out.push(*tool),
            Some(name) => {
                let (first, second) = covered.entry(name).or_insert((*tool, None));
                if second.is_none() && first.at != tool.at {
                    *second = Some(*tool);
                }
            }
        }
    }
    for (name, (first, second)) in covered {
        let text = name.to_string();
        for left_out in &left_out {
            let others = [Some(first), second].into_iter().flatten();
            let Some(other) = others.into_iter().find(|it| it.at != left_out.at) else {
                continue;
            };
            let key = (left_out.at, text.clone());
            let (_, escape) = escapes.entry(key).or_insert_with(|| {
                let escape = Escape {
                    left_out: *left_out,
                    other,
                    policies: BTreeSet::new(),
                };
                (name.clone(), escape)
            });
            escape.policies.insert(forbid.to_owned());
        }
    }
}

fn told(snapshot: &Snapshot, source: &SourceFile, name: &EntityUID, escape: &Escape<'_>) -> Found {
    let Escape {
        left_out,
        other,
        policies,
    } = escape;
    let by: Vec<String> = policies.iter().map(|id| format!("`{id}`")).collect();
    let by = by.join(", ");
    let of_tool = [Step::Key("tools"), Step::Key(left_out.name)];
    let of_server = [Step::Key("server")];
    let is_of_server = snapshot.is_in(&server_uid(&other.server.into()), name);
    let is_group = *name.entity_type() == TYPES.group;
    let not_in = match is_group {
        true => format!(", is not in `{name}`"),
        false => String::new(),
    };
    let (path, who): (&[Step<'_>], String) = match is_group && is_of_server {
        true => (
            &of_server,
            format!("`{}` has tools of `{}`", left_out.server, other.server),
        ),
        false => (
            &of_tool,
            format!(
                "`{}/{}` has the definition of `{}/{}`",
                left_out.server, left_out.name, other.server, other.name
            ),
        ),
    };
    let said = format!("{who}{not_in} and is left out by {by}");
    let place = json::diagnostic_at(source.origin(), path, said).narrow();
    (Code::SiblingLeftOut, place)
}

/// What a forbid is about, by the names of tools, servers, groups and actions.
fn names(forbid: &Template) -> Vec<EntityUID> {
    let mut names = Vec::new();
    match forbid.action_constraint() {
        ActionConstraint::Any => {}
        ActionConstraint::In(uids) => names.extend(uids.iter().map(|it| it.as_ref().clone())),
        ActionConstraint::Eq(uid) => names.push(uid.as_ref().clone()),
    }
    match forbid.resource_constraint().as_inner() {
        PrincipalOrResourceConstraint::In(EntityReference::EUID(uid))
        | PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid))
        | PrincipalOrResourceConstraint::IsIn(_, EntityReference::EUID(uid)) => {
            names.push(uid.as_ref().clone());
        }
        _ => {}
    }
    if let Some(condition) = forbid.non_scope_constraints() {
        collect(condition, true, &mut names);
    }
    names
}

/// The names that `resource` or `action` is compared with in parts that have to hold for the whole to hold, or may.
fn collect(condition: &Expr, is_positive: bool, names: &mut Vec<EntityUID>) {
    match condition.expr_kind() {
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            collect(left, is_positive, names);
            collect(right, is_positive, names);
        }
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => collect(arg, !is_positive, names),
        ExprKind::BinaryApp {
            op: BinaryOp::In | BinaryOp::Eq,
            arg1,
            arg2,
        } if is_positive => {
            let is_meant = matches!(arg1.expr_kind(), ExprKind::Var(Var::Resource | Var::Action));
            let uids = arg2.subexpressions().filter_map(|it| match it.expr_kind() {
                ExprKind::Lit(Literal::EntityUID(uid)) => Some(uid.as_ref().clone()),
                _ => None,
            });
            names.extend(uids.filter(|_| is_meant));
        }
        _ => {}
    }
}
