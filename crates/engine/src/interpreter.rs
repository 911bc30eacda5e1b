//! Evaluates the condition of a policy on packed entities and borrowed values.
//!
//! Cedar's evaluator wants entities unpacked and clones values. The interpreter does neither, and answers
//! only what is certain: for anything else (an error, an extension function, an unusual shape) it returns
//! `None`, and Cedar's own evaluator is asked. So errors and their messages are always Cedar's.
//!
//! `tests/full_scan.rs` compares the outcome with Cedar's.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::cedar::{BinaryOp, Expr, ExprKind, Set, SlotEnv, UnaryOp, Value, Var};
use crate::context::ContextSource;
use crate::key::EntityRef;
use crate::value::ValueRef;
use crate::view::{EntityView, RequestView};

/// Deeper conditions are left to Cedar, which watches the stack.
const MAX_DEPTH: usize = 64;

/// The variables of one request.
pub(crate) struct RequestVariables<'v, 'a> {
    pub(crate) view: RequestView<'a>,
    pub(crate) principal: &'v EntityView<'a>,
    pub(crate) action: &'v EntityView<'a>,
    pub(crate) resource: &'v EntityView<'a>,
    pub(crate) context: &'a dyn ContextSource,
}

/// Evaluates the conditions of one policy.
pub(crate) struct Interpreter<'v, 'a> {
    pub(crate) request: &'v RequestVariables<'v, 'a>,
    /// The values of a template's slots.
    pub(crate) slots: &'a SlotEnv,
}

impl<'v, 'a> Interpreter<'v, 'a> {
    /// Whether the condition holds; `None` if Cedar has to be asked.
    pub(crate) fn holds(&self, condition: &'a Expr) -> Option<bool> {
        self.bool(condition, 0)
    }

    fn bool(&self, expr: &'a Expr, depth: usize) -> Option<bool> {
        match self.value(expr, depth)? {
            ValueRef::Bool(bool) => Some(bool),
            _ => None,
        }
    }

    fn value(&self, expr: &'a Expr, depth: usize) -> Option<ValueRef<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let depth = depth + 1;
        Some(match expr.expr_kind() {
            ExprKind::Lit(literal) => ValueRef::from_literal(literal),
            ExprKind::Slot(slot) => ValueRef::Entity(EntityRef::Given(self.slots.get(slot)?)),
            ExprKind::Var(variable) => self.variable(*variable),
            ExprKind::And { left, right } => {
                ValueRef::Bool(self.bool(left, depth)? && self.bool(right, depth)?)
            }
            ExprKind::Or { left, right } => {
                ValueRef::Bool(self.bool(left, depth)? || self.bool(right, depth)?)
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
            ExprKind::GetAttr { expr, attr } => get(self.holder(self.value(expr, depth)?)?, attr)?,
            ExprKind::HasAttr { expr, attr } => {
                ValueRef::Bool(has(&self.holder(self.value(expr, depth)?)?, attr))
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let mut value = self.value(expr, depth)?;
                for attr in attrs.iter() {
                    let holder = self.holder(value)?;
                    if !has(&holder, attr) {
                        return Some(ValueRef::Bool(false));
                    }
                    value = get(holder, attr)?;
                }
                ValueRef::Bool(true)
            }
            ExprKind::Like { expr, pattern } => match self.value(expr, depth)? {
                ValueRef::String(text) => ValueRef::Bool(pattern.wildcard_match(text)),
                _ => return None,
            },
            ExprKind::Is { expr, entity_type } => match self.value(expr, depth)? {
                ValueRef::Entity(name) => {
                    ValueRef::Bool(self.request.view.type_of(name) == entity_type)
                }
                _ => return None,
            },
            ExprKind::Unknown(_)
            | ExprKind::ExtensionFunctionApp { .. }
            | ExprKind::Set(_)
            | ExprKind::Record(_) => return None,
        })
    }

    fn variable(&self, variable: Var) -> ValueRef<'a> {
        match variable {
            Var::Principal => ValueRef::Entity(self.request.principal.uid),
            Var::Action => ValueRef::Entity(self.request.action.uid),
            Var::Resource => ValueRef::Entity(self.request.resource.uid),
            Var::Context => ValueRef::Source(self.request.context),
        }
    }

    fn unary(&self, op: UnaryOp, arg: &'a Expr, depth: usize) -> Option<ValueRef<'a>> {
        Some(match (op, self.value(arg, depth)?) {
            (UnaryOp::Not, ValueRef::Bool(bool)) => ValueRef::Bool(!bool),
            (UnaryOp::Neg, ValueRef::Long(long)) => ValueRef::Long(long.checked_neg()?),
            (UnaryOp::IsEmpty, ValueRef::Set(set)) => ValueRef::Bool(set.is_empty()),
            _ => return None,
        })
    }

    fn binary(
        &self,
        op: BinaryOp,
        left: &'a Expr,
        right: &'a Expr,
        depth: usize,
    ) -> Option<ValueRef<'a>> {
        // A set literal in a policy is most often only searched, so it is not built.
        if let (BinaryOp::Contains, ExprKind::Set(items)) = (op, left.expr_kind()) {
            return self
                .set_literal_contains(items, right, depth)
                .map(ValueRef::Bool);
        }
        let one = self.value(left, depth)?;
        if let (BinaryOp::In, ExprKind::Set(items)) = (op, right.expr_kind()) {
            return self
                .is_in_set_literal(one, items, depth)
                .map(ValueRef::Bool);
        }
        let other = self.value(right, depth)?;
        Some(match (op, one, other) {
            (BinaryOp::Eq, ValueRef::Source(_), _) | (BinaryOp::Eq, _, ValueRef::Source(_)) => {
                return None;
            }
            (BinaryOp::Eq, one, other) => ValueRef::Bool(self.is_equal(one, other)),
            (BinaryOp::Less, ValueRef::Long(one), ValueRef::Long(other)) => {
                ValueRef::Bool(one < other)
            }
            (BinaryOp::LessEq, ValueRef::Long(one), ValueRef::Long(other)) => {
                ValueRef::Bool(one <= other)
            }
            (BinaryOp::Add, ValueRef::Long(one), ValueRef::Long(other)) => {
                ValueRef::Long(one.checked_add(other)?)
            }
            (BinaryOp::Sub, ValueRef::Long(one), ValueRef::Long(other)) => {
                ValueRef::Long(one.checked_sub(other)?)
            }
            (BinaryOp::Mul, ValueRef::Long(one), ValueRef::Long(other)) => {
                ValueRef::Long(one.checked_mul(other)?)
            }
            (BinaryOp::In, ValueRef::Entity(one), ValueRef::Entity(other)) => {
                ValueRef::Bool(self.with_view(one, |view| view.is_in(other)))
            }
            (BinaryOp::In, ValueRef::Entity(one), ValueRef::Set(set)) => {
                ValueRef::Bool(self.is_in_set(one, set)?)
            }
            (BinaryOp::Contains, _, ValueRef::Source(_)) => return None,
            (BinaryOp::Contains, ValueRef::Set(set), value) => {
                ValueRef::Bool(self.contains(set, value))
            }
            (BinaryOp::ContainsAll, ValueRef::Set(one), ValueRef::Set(other)) => {
                ValueRef::Bool(other.is_subset(one))
            }
            (BinaryOp::ContainsAny, ValueRef::Set(one), ValueRef::Set(other)) => {
                ValueRef::Bool(!one.is_disjoint(other))
            }
            (BinaryOp::HasTag, ValueRef::Entity(name), ValueRef::String(tag)) => {
                ValueRef::Bool(self.with_view(name, |view| view.tag(tag).is_some()))
            }
            (BinaryOp::GetTag, ValueRef::Entity(name), ValueRef::String(tag)) => {
                self.with_view(name, |view| view.tag(tag))?
            }
            _ => return None,
        })
    }

    /// `[…].contains(wanted)`. Evaluates every item first, as Cedar does.
    fn set_literal_contains(
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
            .any(|value| matches!(value, ValueRef::Source(_)))
        {
            return None;
        }
        Some(values.into_iter().any(|value| self.is_equal(value, wanted)))
    }

    fn is_in_set_literal(
        &self,
        one: ValueRef<'a>,
        items: &'a [Expr],
        depth: usize,
    ) -> Option<bool> {
        let ValueRef::Entity(one) = one else {
            return None;
        };
        let mut names = Vec::with_capacity(items.len());
        for item in items {
            match self.value(item, depth)? {
                ValueRef::Entity(name) => names.push(name),
                _ => return None,
            }
        }
        Some(self.with_view(one, |view| names.into_iter().any(|name| view.is_in(name))))
    }

    fn is_in_set(&self, one: EntityRef<'a>, set: &'a Set) -> Option<bool> {
        let mut is_in = false;
        for item in set.iter() {
            match ValueRef::from_value(item) {
                ValueRef::Entity(name) => {
                    is_in = is_in || self.with_view(one, |view| view.is_in(name));
                }
                _ => return None,
            }
        }
        Some(is_in)
    }

    fn contains(&self, set: &'a Set, wanted: ValueRef<'a>) -> bool {
        set.iter()
            .any(|item| self.is_equal(ValueRef::from_value(item), wanted))
    }

    fn is_equal(&self, one: ValueRef<'a>, other: ValueRef<'a>) -> bool {
        match (one, other) {
            (ValueRef::Bool(one), ValueRef::Bool(other)) => one == other,
            (ValueRef::Long(one), ValueRef::Long(other)) => one == other,
            (ValueRef::String(one), ValueRef::String(other)) => one == other,
            (ValueRef::Entity(one), ValueRef::Entity(other)) => {
                self.request.view.is_same(one, other)
            }
            (ValueRef::Set(one), ValueRef::Set(other)) => one == other,
            (ValueRef::Record(one), ValueRef::Record(other)) => one == other,
            (ValueRef::Extension(one), ValueRef::Extension(other)) => one == other,
            _ => false,
        }
    }

    /// The record or entity that an attribute is read from.
    fn holder(&self, value: ValueRef<'a>) -> Option<Holder<'v, 'a>> {
        match value {
            ValueRef::Record(record) => Some(Holder::Record(record)),
            ValueRef::Source(context) => Some(Holder::Source(context)),
            ValueRef::Entity(name) => Some(match self.known(name) {
                Some(view) => Holder::RequestEntity(view),
                None => Holder::Entity(self.request.view.entity(name)),
            }),
            _ => None,
        }
    }

    fn with_view<T>(&self, name: EntityRef<'a>, use_it: impl FnOnce(&EntityView<'a>) -> T) -> T {
        match self.known(name) {
            Some(view) => use_it(view),
            None => use_it(&self.request.view.entity(name)),
        }
    }

    /// The view of one of the request's own entities, which are looked up once.
    fn known(&self, uid: EntityRef<'a>) -> Option<&'v EntityView<'a>> {
        let request = self.request;
        let known = [request.principal, request.resource, request.action];
        known.into_iter().find(|view| match (view.uid, uid) {
            (EntityRef::Given(one), EntityRef::Given(other)) => std::ptr::eq(one, other),
            _ => false,
        })
    }
}

enum Holder<'v, 'a> {
    Source(&'a dyn ContextSource),
    Record(&'a BTreeMap<SmolStr, Value>),
    RequestEntity(&'v EntityView<'a>),
    Entity(EntityView<'a>),
}

fn get<'a>(holder: Holder<'_, 'a>, attribute: &str) -> Option<ValueRef<'a>> {
    match holder {
        Holder::Source(context) => context.attribute(attribute).map(ValueRef::from_attribute),
        Holder::Record(record) => record.get(attribute).map(ValueRef::from_value),
        Holder::RequestEntity(view) => view.attribute(attribute),
        Holder::Entity(view) => view.attribute(attribute),
    }
}

fn has(holder: &Holder<'_, '_>, attribute: &str) -> bool {
    match holder {
        Holder::Source(context) => context.attribute(attribute).is_some(),
        Holder::Record(record) => record.contains_key(attribute),
        Holder::RequestEntity(view) => view.attribute(attribute).is_some(),
        Holder::Entity(view) => view.attribute(attribute).is_some(),
    }
}
