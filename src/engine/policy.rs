//! Policies as they are kept for evaluation, each with its name, its owner and its annotations.

use std::sync::Arc;

use cedar_policy_core::ast::{
    ActionConstraint, AnyId, Effect, Entity, EntityUID, Expr, ExprKind, Literal, Policy, PolicySet,
    Var,
};
use smol_str::SmolStr;

use crate::engine::obligation::{self, Obligation};

/// A policy's identity and annotations, made once at load and shared by every answer that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInfo {
    /// Its id in the policy set.
    pub id: SmolStr,
    /// Who answers for it (`@owner`).
    pub owner: Option<Arc<str>>,
    /// The controls it implements (`@controls`, separated by commas).
    pub controls: Vec<Arc<str>>,
    /// The sentence an agent sees (`@reason`).
    pub reason: Option<Arc<str>>,
    /// What the gateway must do (`@obligation`).
    pub obligations: Vec<Arc<Obligation>>,
    /// `@mode("shadow")`: evaluated and reported, never enforced.
    pub is_shadow: bool,
    /// Permit or forbid.
    pub is_forbid: bool,
}

/// A policy ready to be evaluated.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) info: Arc<PolicyInfo>,
    /// What its `when` and `unless` say, if it has any; links of one template share it. The scope is
    /// the index's business.
    pub(super) condition: Option<Arc<Expr>>,
    pub(super) policy: Policy,
    pub(super) context: ContextUse,
    /// Entities the policy names. Kept only where it might look into them.
    pub(super) literals: Box<[EntityUID]>,
}

/// Which attributes of the context a policy reads, so that a request need not show it the others' entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContextUse {
    /// Only these.
    Attributes(Box<[SmolStr]>),
    /// The context as a whole.
    Whole,
}

/// Prepares every policy of a set, in a fixed order.
pub(super) fn compile(policies: &PolicySet, with_literals: bool) -> Vec<Compiled> {
    let mut sorted: Vec<&Policy> = policies.policies().collect();
    sorted.sort_by(|a, b| a.id().cmp(b.id()));
    let compile = |policy: &Policy| {
        let condition = policy.non_scope_constraints_arc().cloned();
        Compiled {
            info: Arc::new(PolicyInfo::of(policy)),
            context: condition
                .as_deref()
                .map_or(ContextUse::none(), ContextUse::of),
            literals: condition
                .as_deref()
                .filter(|_| with_literals)
                .map(literals_of)
                .unwrap_or_default(),
            condition,
            policy: policy.clone(),
        }
    };
    sorted.into_iter().map(compile).collect()
}

impl Compiled {
    /// Whether the policy says that it is about this action, or a group that it belongs to.
    pub(super) fn is_about(&self, action: &Entity) -> bool {
        let is_meant =
            |named: &EntityUID| named == action.uid() || action.ancestors().any(|uid| uid == named);
        match self.policy.template().action_constraint() {
            ActionConstraint::Eq(named) => is_meant(named),
            ActionConstraint::In(named) => named.iter().any(|named| is_meant(named)),
            ActionConstraint::Any => false,
        }
    }

    /// Every entity that the policy names, in its scope or its conditions.
    pub(super) fn names(&self) -> Vec<EntityUID> {
        let mut named = literals_of(&self.policy.condition()).into_vec();
        named.extend(self.policy.env().values().cloned());
        named
    }
}

impl PolicyInfo {
    fn of(policy: &Policy) -> Self {
        let annotation = |name: &str| -> Option<Arc<str>> {
            let key: AnyId = name.parse().ok()?;
            let text = policy.annotation(&key)?;
            Some(Arc::from(AsRef::<str>::as_ref(text)))
        };
        let list = |name: &str| -> Vec<Arc<str>> {
            let text = annotation(name).unwrap_or_default();
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(Arc::from)
                .collect()
        };
        let obligations = annotation("obligation").map(|text| obligation::read_unchecked(&text));
        let obligations = obligations.unwrap_or_default();
        Self {
            id: SmolStr::new(policy.id().as_ref()),
            owner: annotation("owner"),
            controls: list("controls"),
            reason: annotation("reason"),
            obligations: obligations.into_iter().map(Arc::new).collect(),
            is_shadow: annotation("mode").is_some_and(|mode| &*mode == "shadow"),
            is_forbid: policy.effect() == Effect::Forbid,
        }
    }
}

impl ContextUse {
    fn none() -> Self {
        Self::Attributes(Box::default())
    }

    fn of(condition: &Expr) -> Self {
        let is_context = |expr: &Expr| matches!(expr.expr_kind(), ExprKind::Var(Var::Context));
        let mut mentions = 0_usize;
        let mut narrow_mentions = 0_usize;
        let mut attributes: Vec<SmolStr> = Vec::new();
        for expr in condition.subexpressions() {
            match expr.expr_kind() {
                ExprKind::Var(Var::Context) => mentions += 1,
                ExprKind::GetAttr { expr, attr } if is_context(expr) => {
                    narrow_mentions += 1;
                    attributes.push(attr.clone());
                }
                // A test for presence shows no entity, but the name counts as read: it may be unknown yet.
                ExprKind::HasAttr { expr, attr } if is_context(expr) => {
                    narrow_mentions += 1;
                    attributes.push(attr.clone());
                }
                ExprKind::ExtHasAttr { expr, attrs } if is_context(expr) => {
                    narrow_mentions += 1;
                    attributes.push(attrs.first().clone());
                }
                _ => {}
            }
        }
        if mentions > narrow_mentions {
            return Self::Whole;
        }
        attributes.sort();
        attributes.dedup();
        Self::Attributes(attributes.into())
    }

    /// What several policies read between them.
    pub(super) fn all<'a>(each: impl Iterator<Item = &'a Self>) -> Self {
        let mut attributes: Vec<SmolStr> = Vec::new();
        for one in each {
            match one {
                Self::Whole => return Self::Whole,
                Self::Attributes(names) => attributes.extend(names.iter().cloned()),
            }
            attributes.sort();
            attributes.dedup();
        }
        Self::Attributes(attributes.into())
    }

    /// Whether the policy reads this attribute by its name.
    pub(super) fn names(&self, attribute: &str) -> bool {
        matches!(self, Self::Attributes(names) if names.iter().any(|name| name == attribute))
    }

    /// Whether the policy reads this attribute.
    pub(super) fn reads(&self, attribute: &str) -> bool {
        match self {
            Self::Attributes(names) => names.iter().any(|name| name == attribute),
            Self::Whole => true,
        }
    }
}

fn literals_of(condition: &Expr) -> Box<[EntityUID]> {
    let mut literals: Vec<EntityUID> = condition
        .subexpressions()
        .filter_map(|expr| match expr.expr_kind() {
            ExprKind::Lit(Literal::EntityUID(uid)) => Some(EntityUID::clone(uid)),
            _ => None,
        })
        .collect();
    literals.sort();
    literals.dedup();
    literals.into()
}

#[cfg(test)]
mod tests;
