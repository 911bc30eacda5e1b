//! What a condition says in the common case, without the price of the general one.
//!
//! Cedar's evaluator wants entities unpacked and hands values around by cloning. Here a condition is
//! evaluated on entities where they rest, and values are borrowed. Only what is certain is answered:
//! at anything else, an error, an extension function, an unusual shape, the answer is `None`, and Cedar's
//! own evaluator is asked. So errors and their messages are always Cedar's.
//!
//! `tests/it/full_scan.rs` holds this to Cedar's answers.

use std::collections::BTreeMap;

use cedar_policy_core::ast::{
    BinaryOp, Expr, ExprKind, Literal, Set, SlotEnv, UnaryOp, Value, ValueKind, Var,
};
use smol_str::SmolStr;

use crate::engine::context::{ContextSource, Seen};
use crate::engine::view::{Name, Sight, View};

/// Deeper conditions are left to Cedar, which watches the stack.
const MAX_DEPTH: usize = 64;

/// A value, borrowed from wherever it rests.
#[derive(Clone, Copy)]
pub(super) enum Quick<'a> {
    Bool(bool),
    Long(i64),
    String(&'a str),
    Entity(Name<'a>),
    Set(&'a Set),
    /// The context, or a record in it that is not made yet: nothing but attributes can be asked for here.
    Source(&'a dyn ContextSource),
    Record(&'a BTreeMap<SmolStr, Value>),
    Extension(&'a Value),
}

/// One request, as conditions see it.
pub(super) struct QuickEvaluator<'v, 'a> {
    pub(super) sight: Sight<'a>,
    pub(super) principal: &'v View<'a>,
    pub(super) action: &'v View<'a>,
    pub(super) resource: &'v View<'a>,
    pub(super) context: &'a dyn ContextSource,
}

impl<'a> Quick<'a> {
    pub(super) fn from_value(value: &'a Value) -> Self {
        match &value.value {
            ValueKind::Lit(literal) => Self::from_literal(literal),
            ValueKind::Set(set) => Self::Set(set),
            ValueKind::Record(record) => Self::Record(record),
            ValueKind::ExtensionValue(_) => Self::Extension(value),
        }
    }

    fn from_seen(seen: Seen<'a>) -> Self {
        match seen {
            Seen::Bool(bool) => Self::Bool(bool),
            Seen::Long(long) => Self::Long(long),
            Seen::Text(text) => Self::String(text),
            Seen::Entity(uid) => Self::Entity(Name::Given(uid)),
            Seen::Value(value) => Self::from_value(value),
            Seen::Record(source) => Self::Source(source),
        }
    }

    fn from_literal(literal: &'a Literal) -> Self {
        match literal {
            Literal::Bool(bool) => Self::Bool(*bool),
            Literal::Long(long) => Self::Long(*long),
            Literal::String(text) => Self::String(text),
            Literal::EntityUID(uid) => Self::Entity(Name::Given(uid)),
        }
    }
}

impl<'a> QuickEvaluator<'_, 'a> {
    /// Whether the condition holds; `None` if that is not for this evaluator to say.
    pub(super) fn holds(&self, condition: &'a Expr, slots: &'a SlotEnv) -> Option<bool> {
        Walk {
            request: self,
            slots,
        }
        .bool(condition, 0)
    }
}

struct Walk<'v, 'a> {
    request: &'v QuickEvaluator<'v, 'a>,
    slots: &'a SlotEnv,
}

impl<'v, 'a> Walk<'v, 'a> {
    fn bool(&self, expr: &'a Expr, depth: usize) -> Option<bool> {
        match self.value(expr, depth)? {
            Quick::Bool(bool) => Some(bool),
            _ => None,
        }
    }

    fn value(&self, expr: &'a Expr, depth: usize) -> Option<Quick<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let depth = depth + 1;
        Some(match expr.expr_kind() {
            ExprKind::Lit(literal) => Quick::from_literal(literal),
            ExprKind::Slot(slot) => Quick::Entity(Name::Given(self.slots.get(slot)?)),
            ExprKind::Var(variable) => self.variable(*variable),
            ExprKind::And { left, right } => {
                Quick::Bool(self.bool(left, depth)? && self.bool(right, depth)?)
            }
            ExprKind::Or { left, right } => {
                Quick::Bool(self.bool(left, depth)? || self.bool(right, depth)?)
            }
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => {
                let branch = if self.bool(test_expr, depth)? {
                    then_expr
                } else {
                    else_expr
                };
                self.value(branch, depth)?
            }
            ExprKind::UnaryApp { op, arg } => self.unary(*op, arg, depth)?,
            ExprKind::BinaryApp { op, arg1, arg2 } => self.binary(*op, arg1, arg2, depth)?,
            ExprKind::GetAttr { expr, attr } => get(self.on(self.value(expr, depth)?)?, attr)?,
            ExprKind::HasAttr { expr, attr } => {
                Quick::Bool(has(&self.on(self.value(expr, depth)?)?, attr))
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let mut value = self.value(expr, depth)?;
                for attr in attrs.iter() {
                    let holder = self.on(value)?;
                    if !has(&holder, attr) {
                        return Some(Quick::Bool(false));
                    }
                    value = get(holder, attr)?;
                }
                Quick::Bool(true)
            }
            ExprKind::Like { expr, pattern } => match self.value(expr, depth)? {
                Quick::String(text) => Quick::Bool(pattern.wildcard_match(text)),
                _ => return None,
            },
            ExprKind::Is { expr, entity_type } => match self.value(expr, depth)? {
                Quick::Entity(name) => Quick::Bool(self.request.sight.type_of(name) == entity_type),
                _ => return None,
            },
            ExprKind::Unknown(_)
            | ExprKind::ExtensionFunctionApp { .. }
            | ExprKind::Set(_)
            | ExprKind::Record(_) => return None,
        })
    }

    fn variable(&self, variable: Var) -> Quick<'a> {
        match variable {
            Var::Principal => Quick::Entity(self.request.principal.name),
            Var::Action => Quick::Entity(self.request.action.name),
            Var::Resource => Quick::Entity(self.request.resource.name),
            Var::Context => Quick::Source(self.request.context),
        }
    }

    fn unary(&self, op: UnaryOp, arg: &'a Expr, depth: usize) -> Option<Quick<'a>> {
        Some(match (op, self.value(arg, depth)?) {
            (UnaryOp::Not, Quick::Bool(bool)) => Quick::Bool(!bool),
            (UnaryOp::Neg, Quick::Long(long)) => Quick::Long(long.checked_neg()?),
            (UnaryOp::IsEmpty, Quick::Set(set)) => Quick::Bool(set.is_empty()),
            _ => return None,
        })
    }

    fn binary(
        &self,
        op: BinaryOp,
        left: &'a Expr,
        right: &'a Expr,
        depth: usize,
    ) -> Option<Quick<'a>> {
        // Sets written out in a policy are most often looked into, so they need not be made.
        if let (BinaryOp::Contains, ExprKind::Set(items)) = (op, left.expr_kind()) {
            return self
                .written_set_contains(items, right, depth)
                .map(Quick::Bool);
        }
        let one = self.value(left, depth)?;
        if let (BinaryOp::In, ExprKind::Set(items)) = (op, right.expr_kind()) {
            return self.is_in_written_set(one, items, depth).map(Quick::Bool);
        }
        let other = self.value(right, depth)?;
        Some(match (op, one, other) {
            (BinaryOp::Eq, Quick::Source(_), _) | (BinaryOp::Eq, _, Quick::Source(_)) => {
                return None;
            }
            (BinaryOp::Eq, one, other) => Quick::Bool(self.is_equal(one, other)),
            (BinaryOp::Less, Quick::Long(one), Quick::Long(other)) => Quick::Bool(one < other),
            (BinaryOp::LessEq, Quick::Long(one), Quick::Long(other)) => Quick::Bool(one <= other),
            (BinaryOp::Add, Quick::Long(one), Quick::Long(other)) => {
                Quick::Long(one.checked_add(other)?)
            }
            (BinaryOp::Sub, Quick::Long(one), Quick::Long(other)) => {
                Quick::Long(one.checked_sub(other)?)
            }
            (BinaryOp::Mul, Quick::Long(one), Quick::Long(other)) => {
                Quick::Long(one.checked_mul(other)?)
            }
            (BinaryOp::In, Quick::Entity(one), Quick::Entity(other)) => {
                Quick::Bool(self.with_view(one, |view| view.is_in(other)))
            }
            (BinaryOp::In, Quick::Entity(one), Quick::Set(set)) => {
                Quick::Bool(self.is_in_set(one, set)?)
            }
            (BinaryOp::Contains, _, Quick::Source(_)) => return None,
            (BinaryOp::Contains, Quick::Set(set), value) => Quick::Bool(self.contains(set, value)),
            (BinaryOp::ContainsAll, Quick::Set(one), Quick::Set(other)) => {
                Quick::Bool(other.is_subset(one))
            }
            (BinaryOp::ContainsAny, Quick::Set(one), Quick::Set(other)) => {
                Quick::Bool(!one.is_disjoint(other))
            }
            (BinaryOp::HasTag, Quick::Entity(name), Quick::String(tag)) => {
                Quick::Bool(self.with_view(name, |view| view.tag(tag).is_some()))
            }
            (BinaryOp::GetTag, Quick::Entity(name), Quick::String(tag)) => {
                self.with_view(name, |view| view.tag(tag))?
            }
            _ => return None,
        })
    }

    /// Every item is evaluated, as Cedar does before it looks.
    fn written_set_contains(
        &self,
        items: &'a [Expr],
        wanted: &'a Expr,
        depth: usize,
    ) -> Option<bool> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.value(item, depth)?);
        }
        let wanted = self.value(wanted, depth)?;
        if values
            .iter()
            .chain([&wanted])
            .any(|value| matches!(value, Quick::Source(_)))
        {
            return None;
        }
        Some(values.into_iter().any(|value| self.is_equal(value, wanted)))
    }

    fn is_in_written_set(&self, one: Quick<'a>, items: &'a [Expr], depth: usize) -> Option<bool> {
        let Quick::Entity(one) = one else { return None };
        let mut names = Vec::with_capacity(items.len());
        for item in items {
            match self.value(item, depth)? {
                Quick::Entity(name) => names.push(name),
                _ => return None,
            }
        }
        Some(self.with_view(one, |view| names.into_iter().any(|name| view.is_in(name))))
    }

    fn is_in_set(&self, one: Name<'a>, set: &'a Set) -> Option<bool> {
        let mut is_in = false;
        for item in set.iter() {
            match Quick::from_value(item) {
                Quick::Entity(name) => {
                    is_in = is_in || self.with_view(one, |view| view.is_in(name));
                }
                _ => return None,
            }
        }
        Some(is_in)
    }

    fn contains(&self, set: &'a Set, wanted: Quick<'a>) -> bool {
        set.iter()
            .any(|item| self.is_equal(Quick::from_value(item), wanted))
    }

    fn is_equal(&self, one: Quick<'a>, other: Quick<'a>) -> bool {
        match (one, other) {
            (Quick::Bool(one), Quick::Bool(other)) => one == other,
            (Quick::Long(one), Quick::Long(other)) => one == other,
            (Quick::String(one), Quick::String(other)) => one == other,
            (Quick::Entity(one), Quick::Entity(other)) => self.request.sight.is_same(one, other),
            (Quick::Set(one), Quick::Set(other)) => one == other,
            (Quick::Record(one), Quick::Record(other)) => one == other,
            (Quick::Extension(one), Quick::Extension(other)) => one == other,
            _ => false,
        }
    }

    /// What has attributes: a record, or an entity.
    fn on(&self, value: Quick<'a>) -> Option<Holder<'v, 'a>> {
        match value {
            Quick::Record(record) => Some(Holder::Record(record)),
            Quick::Source(context) => Some(Holder::Source(context)),
            Quick::Entity(name) => Some(match self.known(name) {
                Some(view) => Holder::Known(view),
                None => Holder::Looked(self.request.sight.view(name)),
            }),
            _ => None,
        }
    }

    fn with_view<T>(&self, name: Name<'a>, use_it: impl FnOnce(&View<'a>) -> T) -> T {
        match self.known(name) {
            Some(view) => use_it(view),
            None => use_it(&self.request.sight.view(name)),
        }
    }

    /// The request's own entities are looked up once.
    fn known(&self, name: Name<'a>) -> Option<&'v View<'a>> {
        let request = self.request;
        let known = [request.principal, request.resource, request.action];
        known.into_iter().find(|view| match (view.name, name) {
            (Name::Given(one), Name::Given(other)) => std::ptr::eq(one, other),
            _ => false,
        })
    }
}

enum Holder<'v, 'a> {
    Source(&'a dyn ContextSource),
    Record(&'a BTreeMap<SmolStr, Value>),
    Known(&'v View<'a>),
    Looked(View<'a>),
}

fn get<'a>(holder: Holder<'_, 'a>, attribute: &str) -> Option<Quick<'a>> {
    match holder {
        Holder::Source(context) => context.attribute(attribute).map(Quick::from_seen),
        Holder::Record(record) => record.get(attribute).map(Quick::from_value),
        Holder::Known(view) => view.attribute(attribute),
        Holder::Looked(view) => view.attribute(attribute),
    }
}

fn has(holder: &Holder<'_, '_>, attribute: &str) -> bool {
    match holder {
        Holder::Source(context) => context.attribute(attribute).is_some(),
        Holder::Record(record) => record.contains_key(attribute),
        Holder::Known(view) => view.attribute(attribute).is_some(),
        Holder::Looked(view) => view.attribute(attribute).is_some(),
    }
}
