//! Policies prepared for evaluation, each with its annotations.

use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::cedar::{
    ActionConstraint, Annotation, AnyId, Effect, Entity, EntityUID, Expr, ExprKind, Literal,
    Policy, PolicySet, Var,
};

use crate::condition::Node;
use crate::interner::Interner;
use crate::obligation::{self, Obligation};

/// A policy's id and annotations, read once at load and shared by every evaluation that names it.
///
/// Annotations have no meaning to Cedar. The ones here are a convention of this package; a policy needs
/// none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInfo {
    /// Its id in the policy set.
    pub id: SmolStr,
    /// The owner (`@owner`).
    pub owner: Option<Arc<str>>,
    /// The controls it implements (`@controls`, separated by commas).
    pub controls: Vec<Arc<str>>,
    /// The sentence shown to the caller (`@reason`).
    pub reason: Option<Arc<str>>,
    /// What the enforcement point must do (`@obligation`).
    pub obligations: Vec<Arc<Obligation>>,
    /// `@mode("shadow")`: evaluated and reported, never enforced.
    pub is_shadow: bool,
    /// `@mode("enforce")`: marked as one that is enforced even where others are only observed.
    pub is_always_enforced: bool,
    /// Whether it is a `forbid`.
    pub is_forbid: bool,
}

/// A policy ready to be evaluated.
#[derive(Debug, Clone)]
pub(crate) struct CompiledPolicy {
    pub(crate) info: Arc<PolicyInfo>,
    /// Its `when` and `unless` clauses, if it has any; links of one template share them. The index
    /// matches the scope.
    pub(crate) condition: Option<Arc<Node>>,
    pub(crate) policy: Policy,
    pub(crate) context: ContextUse,
    /// What it reads of records in the context: an attribute of one, or `None` for all of it.
    nested: Box<[(SmolStr, Option<SmolStr>)]>,
    /// Of the attributes in `context`: one look tells of most policies that they do not read an attribute.
    pub(crate) reads: AttributeBloom,
    /// What the outcome of its condition depends on besides the context.
    pub(crate) varies_with: VariesWith,
    /// The entities its condition names. Empty unless the reach is unbounded.
    pub(crate) literals: Box<[EntityUID]>,
}

/// The context attributes that a policy reads. Entities in the others need not be in its slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextUse {
    /// Only these, sorted.
    Attributes(Box<[SmolStr]>),
    /// The context as a whole.
    Whole,
}

/// Which of a request's names a condition reads. With the same context, requests that differ in the others alone have the same
/// outcome. A policy without a condition counts as reading all of them: there is nothing to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VariesWith {
    pub(crate) principal: bool,
    pub(crate) action_or_resource: bool,
}

/// A Bloom filter over names of attributes, with one hash and 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttributeBloom(u64);

impl AttributeBloom {
    /// The filter of these attributes. What follows a dot does not count: an attribute of a record is in it by the record.
    pub(crate) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        // FNV-1a, and a multiplication that brings all of it into the bits that count.
        let hash = |name: &str| {
            let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            let record = name.bytes().take_while(|byte| *byte != b'.');
            record.fold(0xcbf2_9ce4_8422_2325, step)
        };
        let bits = names
            .into_iter()
            .map(|name| 1 << (hash(name).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58));
        Self(bits.fold(0, |all, bit: u64| all | bit))
    }

    fn of_context(context: &ContextUse) -> Self {
        match context {
            ContextUse::Attributes(names) => Self::of(names.iter().map(SmolStr::as_str)),
            ContextUse::Whole => Self(u64::MAX),
        }
    }

    /// Whether both may have an attribute in common; they have none if this is false.
    pub(crate) fn may_share(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Prepares every policy of a set, in the order of their ids. `interner` receives the names that conditions mention.
///
/// What is in `earlier`, prepared with the same names and with literals or without as these are, is taken from there: such a
/// policy is the very one that was parsed then. Links are, if their template is the very same too; if it is a copy, they
/// share its condition.
pub(crate) fn compile(
    policies: &PolicySet,
    with_literals: bool,
    interner: &mut Interner,
    earlier: &[CompiledPolicy],
) -> Vec<CompiledPolicy> {
    let mut sorted: Vec<&Policy> = policies.policies().collect();
    sorted.sort_by(|a, b| a.id().cmp(b.id()));
    // By the address of the expression, which links of one template share.
    let shared = |it: &CompiledPolicy| {
        let condition = it.policy.non_scope_constraints_arc()?;
        Some((Arc::as_ptr(condition), Arc::clone(it.condition.as_ref()?)))
    };
    let links = earlier.iter().filter(|it| !it.policy.is_static());
    let mut conditions: HashMap<*const Expr, Arc<Node>> = links.filter_map(shared).collect();
    let mut node_of = |condition: &Arc<Expr>| {
        let compile = || Arc::new(Node::compile(condition, interner));
        let node = conditions.entry(Arc::as_ptr(condition));
        Arc::clone(node.or_insert_with(compile))
    };
    let mut compile = |policy: &Policy| {
        let condition = policy.non_scope_constraints_arc();
        let context = condition.map_or(ContextUse::none(), |condition| {
            ContextUse::from_condition(condition)
        });
        CompiledPolicy {
            info: Arc::new(PolicyInfo::from_policy(policy)),
            varies_with: condition.map_or(VariesWith::ALL, |it| VariesWith::from_condition(it)),
            reads: AttributeBloom::of_context(&context),
            context,
            nested: condition.map_or(Box::default(), |it| nested_reads(it)),
            literals: condition
                .filter(|_| with_literals)
                .map(|condition| literals_of(condition))
                .unwrap_or_default(),
            condition: condition.map(&mut node_of),
            policy: policy.clone(),
        }
    };
    let mut earlier = earlier.iter().peekable();
    let mut known = |policy: &Policy| {
        while let Some(passed) = earlier.next_if(|it| it.policy.id() <= policy.id()) {
            if passed.is_of(policy) {
                return Some(passed.clone());
            }
        }
        None
    };
    sorted
        .into_iter()
        .map(|policy| known(policy).unwrap_or_else(|| compile(policy)))
        .collect()
}

impl CompiledPolicy {
    /// Whether it was made from this policy: from what was parsed once, which both keep alive, under the same id and with the
    /// same values for slots.
    fn is_of(&self, policy: &Policy) -> bool {
        std::ptr::eq(self.policy.template(), policy.template())
            && self.policy.id() == policy.id()
            && self.policy.env() == policy.env()
    }

    /// Whether the scope names this action or one of its groups.
    pub(crate) fn is_about(&self, action: &Entity) -> bool {
        let is_meant =
            |named: &EntityUID| named == action.uid() || action.ancestors().any(|uid| uid == named);
        match self.policy.template().action_constraint() {
            ActionConstraint::Eq(named) => is_meant(named),
            ActionConstraint::In(named) => named.iter().any(|named| is_meant(named)),
            ActionConstraint::Any => false,
        }
    }

    /// Every entity that the policy names, in its scope or its conditions.
    pub(crate) fn named_entities(&self) -> Vec<EntityUID> {
        let mut named = literals_of(&self.policy.condition()).into_vec();
        named.extend(self.policy.env().values().cloned());
        named
    }
}

impl PolicyInfo {
    fn from_policy(policy: &Policy) -> Self {
        let annotation = |name: &str| -> Option<Arc<str>> {
            // Parsing a name to look it up costs more than the whole rest.
            let is_meant = |(key, _): &(&AnyId, &Annotation)| AsRef::<str>::as_ref(*key) == name;
            let (_, text) = policy.annotations().find(is_meant)?;
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
        let mode = annotation("mode");
        Self {
            id: SmolStr::new(policy.id().as_ref()),
            owner: annotation("owner"),
            controls: list("controls"),
            reason: annotation("reason"),
            obligations: obligations.into_iter().map(Arc::new).collect(),
            is_shadow: mode.as_deref() == Some("shadow"),
            is_always_enforced: mode.as_deref() == Some("enforce"),
            is_forbid: policy.effect() == Effect::Forbid,
        }
    }
}

impl VariesWith {
    /// All of it.
    const ALL: Self = Self {
        principal: true,
        action_or_resource: true,
    };

    fn from_condition(condition: &Expr) -> Self {
        let mut found = Self {
            principal: false,
            action_or_resource: false,
        };
        for expr in condition.subexpressions() {
            match expr.expr_kind() {
                ExprKind::Var(Var::Principal) => found.principal = true,
                ExprKind::Var(Var::Action | Var::Resource) => found.action_or_resource = true,
                ExprKind::Slot(_) => return Self::ALL,
                _ => {}
            }
        }
        found
    }
}

impl ContextUse {
    fn none() -> Self {
        Self::Attributes(Box::default())
    }

    fn from_condition(condition: &Expr) -> Self {
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
                // `has` looks into no entity, but counts as a read: the attribute may be unknown.
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

    /// What any of several policies reads.
    pub(crate) fn union<'a>(each: impl Iterator<Item = &'a Self>) -> Self {
        let mut attributes: Vec<SmolStr> = Vec::new();
        for one in each {
            match one {
                Self::Whole => return Self::Whole,
                Self::Attributes(names) => {
                    let new = names.iter().filter(|name| !attributes.contains(name));
                    attributes.extend(new.cloned().collect::<Vec<_>>());
                }
            }
        }
        attributes.sort();
        Self::Attributes(attributes.into())
    }

    /// Whether the policy reads this attribute by its name.
    pub(crate) fn names(&self, attribute: &str) -> bool {
        *self != Self::Whole && self.reads(attribute)
    }

    /// Whether the policy reads this attribute.
    pub(crate) fn reads(&self, attribute: &str) -> bool {
        match self {
            // Names of other lengths are told apart without a look at them.
            Self::Attributes(names) => names.iter().any(|name| name == attribute),
            Self::Whole => true,
        }
    }
}

impl CompiledPolicy {
    /// Whether the policy reads this attribute of the context, or this one of a record in it (`record.attribute`).
    pub(crate) fn reads_unknown(&self, unknown: &str) -> bool {
        if self.context.reads(unknown) {
            return true;
        }
        let Some((record, attribute)) = unknown.split_once('.') else {
            return false;
        };
        let mut nested = self.nested.iter().filter(|(of, _)| of == record);
        nested.any(|(_, read)| read.as_ref().is_none_or(|read| read == attribute))
    }
}

/// What a condition reads of each record in the context: an attribute, or `None` for all of it.
fn nested_reads(condition: &Expr) -> Box<[(SmolStr, Option<SmolStr>)]> {
    let is_context = |expr: &Expr| matches!(expr.expr_kind(), ExprKind::Var(Var::Context));
    let record_of = |expr: &Expr| match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } if is_context(expr) => Some(attr.clone()),
        _ => None,
    };
    let mut mentions: Vec<SmolStr> = Vec::new();
    let mut found: Vec<(SmolStr, Option<SmolStr>)> = Vec::new();
    for expr in condition.subexpressions() {
        mentions.extend(record_of(expr));
        match expr.expr_kind() {
            ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
                found.extend(record_of(expr).map(|record| (record, Some(attr.clone()))));
            }
            ExprKind::ExtHasAttr { expr, attrs } if is_context(expr) => {
                // Both are looked at by one expression, which mentions no record by itself.
                if let Some(attr) = attrs.iter().nth(1) {
                    mentions.push(attrs.first().clone());
                    found.push((attrs.first().clone(), Some(attr.clone())));
                }
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let attr = attrs.first().clone();
                found.extend(record_of(expr).map(|record| (record, Some(attr))));
            }
            _ => {}
        }
    }
    let count_of = |record: &SmolStr| found.iter().filter(|(of, _)| of == record).count();
    let mentioned = |record: &SmolStr| mentions.iter().filter(|it| *it == record).count();
    let whole = mentions.iter().filter(|it| mentioned(it) > count_of(it));
    let whole: Vec<_> = whole.map(|record| (record.clone(), None)).collect();
    found.extend(whole);
    found.sort();
    found.dedup();
    found.into()
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
#[path = "policy_tests.rs"]
mod tests;
