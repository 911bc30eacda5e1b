//! Evaluates compiled conditions on packed entities and borrowed values.
//!
//! Cedar's evaluator wants entities unpacked and clones values. The interpreter does neither, and answers
//! only what is certain: for an error or an unusual shape it returns `None`, and Cedar's own evaluator is
//! asked. So errors and their messages are always Cedar's.
//!
//! `tests/full_scan.rs` compares the outcome with Cedar's.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::cedar::{
    BinaryOp, EntityType, ExtensionFunction, Extensions, Literal, PartialValue, Set, SlotEnv,
    UnaryOp, Value, ValueKind, Var, binary_relation,
};
use crate::condition::{AttributeName, Node};
use crate::context::{AttributeRef, ContextSource};
use crate::interner::TypeNo;
use crate::key::EntityRef;
use crate::scratch::Scratch;
use crate::value::ValueRef;
use crate::view::{EntityView, LookedUp, RequestView};

/// Larger sets are searched by hash.
const SMALL_SET: usize = 8;

/// The variables of one request.
pub(crate) struct RequestVariables<'v, 'a> {
    pub(crate) view: RequestView<'a>,
    pub(crate) principal: &'v EntityView<'a>,
    pub(crate) action: &'v EntityView<'a>,
    pub(crate) resource: &'v EntityView<'a>,
    pub(crate) context: &'a dyn ContextSource,
    /// What else conditions have looked up.
    pub(crate) looked_up: &'v LookedUp<'a>,
    /// Keeps the values that come to be while conditions are evaluated.
    pub(crate) scratch: &'a Scratch,
}

/// Evaluates the conditions of one policy.
pub(crate) struct Interpreter<'v, 'a> {
    pub(crate) request: &'v RequestVariables<'v, 'a>,
    /// The values of a template's slots.
    pub(crate) slots: &'a SlotEnv,
}

impl<'v, 'a> Interpreter<'v, 'a> {
    /// Whether the condition holds; `None` if Cedar has to be asked.
    pub(crate) fn holds(&self, condition: &'a Node) -> Option<bool> {
        self.bool(condition)
    }

    fn bool(&self, node: &'a Node) -> Option<bool> {
        match node {
            Node::Bool(bool) => Some(*bool),
            Node::All(nodes) => {
                for node in nodes {
                    if !self.bool(node)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Node::Any(nodes) => {
                for node in nodes {
                    if self.bool(node)? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Node::Unary(UnaryOp::Not, node) => Some(!self.bool(node)?),
            Node::Has(of, path) => self.has(of, path),
            Node::Like(like) => match self.value(&like.0)? {
                ValueRef::String(text) => Some(like.1.matches(text)),
                _ => None,
            },
            Node::Is(is, number) => match self.value(&is.0)? {
                ValueRef::Entity(name) => Some(self.is_of_type(name, &is.1, *number)),
                _ => None,
            },
            Node::Binary(op, sides) => truth(self.binary(*op, &sides[0], &sides[1])?),
            _ => truth(self.value(node)?),
        }
    }

    /// What most expressions consist of is answered where it is asked for; the others are [`Interpreter::compound`].
    #[inline(always)]
    fn value(&self, node: &'a Node) -> Option<ValueRef<'a>> {
        match node {
            Node::Bool(bool) => Some(ValueRef::Bool(*bool)),
            Node::Long(long) => Some(ValueRef::Long(*long)),
            Node::Text(text) => Some(ValueRef::String(text)),
            Node::Entity(key) => Some(ValueRef::Entity(EntityRef::Stored(key))),
            Node::Constant(value) => Some(ValueRef::from_value(value)),
            Node::Variable(variable) => Some(self.variable(*variable)),
            Node::Attribute(of, name) => self.attribute_of(of, name)?,
            _ => self.compound(node),
        }
    }

    #[inline(never)]
    fn compound(&self, node: &'a Node) -> Option<ValueRef<'a>> {
        Some(match node {
            Node::Slot(slot) => ValueRef::Entity(EntityRef::Given(self.slots.get(slot)?)),
            Node::If(parts) => {
                let [test, then, otherwise] = &**parts;
                let branch = if self.bool(test)? { then } else { otherwise };
                self.value(branch)?
            }
            Node::Unary(UnaryOp::Neg, node) => match self.value(node)? {
                ValueRef::Long(long) => ValueRef::Long(long.checked_neg()?),
                _ => return None,
            },
            Node::Unary(UnaryOp::IsEmpty, node) => match self.value(node)? {
                ValueRef::Set(set) => ValueRef::Bool(set.is_empty()),
                _ => return None,
            },
            Node::Binary(op, sides) => self.binary(*op, &sides[0], &sides[1])?,
            Node::Set(items) => {
                let items: Option<Vec<Value>> = items.iter().map(|it| self.owned(it)).collect();
                self.keep(Value::set(items?, None))
            }
            Node::Record(fields) => {
                let field = |(name, node): &'a (SmolStr, Node)| {
                    let value = self.owned(node)?;
                    Some((name.clone(), value))
                };
                let fields: Option<Vec<(SmolStr, Value)>> = fields.iter().map(field).collect();
                self.keep(Value::record(fields?, None))
            }
            Node::Call(function, arguments) => self.call(function, arguments)?,
            Node::All(_)
            | Node::Any(_)
            | Node::Unary(UnaryOp::Not, _)
            | Node::Has(..)
            | Node::Like(_)
            | Node::Is(..) => ValueRef::Bool(self.bool(node)?),
            Node::Cedar => return None,
            // Answered before.
            Node::Bool(_)
            | Node::Long(_)
            | Node::Text(_)
            | Node::Entity(_)
            | Node::Constant(_)
            | Node::Variable(_)
            | Node::Attribute(..) => self.value(node)?,
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

    fn has(&self, of: &'a Node, path: &'a [AttributeName]) -> Option<bool> {
        let (first, rest) = path.split_first()?;
        let mut found = self.attribute_of(of, first)?;
        for name in rest {
            match found {
                Some(value) => found = self.attribute(value, name)?,
                None => return Some(false),
            }
        }
        Some(found.is_some())
    }

    /// The attribute of what a node stands for, as [`Interpreter::attribute`] has it. Most are those of the request's variables.
    fn attribute_of(&self, of: &'a Node, name: &AttributeName) -> Option<Option<ValueRef<'a>>> {
        let request = self.request;
        Some(match of {
            Node::Variable(Var::Principal) => request.principal.attribute(name),
            Node::Variable(Var::Resource) => request.resource.attribute(name),
            Node::Variable(Var::Context) => {
                let found = request.context.attribute(&name.name);
                found.map(ValueRef::from_attribute)
            }
            _ => return self.attribute(self.value(of)?, name),
        })
    }

    /// The attribute of a record or an entity, if it has it; `None` for what has no attributes. `.` leaves both to Cedar,
    /// `has` the second alone.
    fn attribute(&self, of: ValueRef<'a>, name: &AttributeName) -> Option<Option<ValueRef<'a>>> {
        Some(match of {
            ValueRef::Source(source) => source.attribute(&name.name).map(ValueRef::from_attribute),
            ValueRef::Record(record) => record.get(&name.name).map(ValueRef::from_value),
            ValueRef::Entity(entity) => self.with_view(entity, |view| view.attribute(name)),
            _ => return None,
        })
    }

    fn binary(&self, op: BinaryOp, left: &'a Node, right: &'a Node) -> Option<ValueRef<'a>> {
        // A set literal is most often only searched, so it is not built.
        match (op, left, right) {
            (BinaryOp::Contains, Node::Set(items), _) => {
                return self.set_literal_contains(items, right).map(ValueRef::Bool);
            }
            (BinaryOp::In, _, Node::Set(items)) => {
                return self.is_in_set_literal(left, items).map(ValueRef::Bool);
            }
            _ => {}
        }
        let (one, other) = (self.value(left)?, self.value(right)?);
        Some(match (op, one, other) {
            (BinaryOp::Eq, ..) => ValueRef::Bool(self.is_equal(one, other)?),
            (BinaryOp::Less | BinaryOp::LessEq, ..) => ValueRef::Bool(is_less(op, one, other)?),
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
            (BinaryOp::Contains, ValueRef::Set(set), wanted) => {
                ValueRef::Bool(self.contains(set, wanted)?)
            }
            (BinaryOp::ContainsAll, ValueRef::Set(one), ValueRef::Set(other)) => {
                ValueRef::Bool(self.contains_all(one, other)?)
            }
            (BinaryOp::ContainsAny, ValueRef::Set(one), ValueRef::Set(other)) => {
                ValueRef::Bool(self.contains_any(one, other)?)
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
    fn set_literal_contains(&self, items: &'a [Node], wanted: &'a Node) -> Option<bool> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.value(item)?);
        }
        let wanted = self.value(wanted)?;
        self.any(values.into_iter(), |value| self.is_equal(value, wanted))
    }

    fn is_in_set_literal(&self, one: &'a Node, items: &'a [Node]) -> Option<bool> {
        let ValueRef::Entity(one) = self.value(one)? else {
            return None;
        };
        let mut names = Vec::with_capacity(items.len());
        for item in items {
            match self.value(item)? {
                ValueRef::Entity(name) => names.push(name),
                _ => return None,
            }
        }
        Some(self.with_view(one, |view| names.into_iter().any(|name| view.is_in(name))))
    }

    fn is_in_set(&self, one: EntityRef<'a>, set: &'a Set) -> Option<bool> {
        let mut names = Vec::with_capacity(set.len());
        for item in set.iter() {
            match ValueRef::from_value(item) {
                ValueRef::Entity(name) => names.push(name),
                _ => return None,
            }
        }
        Some(self.with_view(one, |view| names.into_iter().any(|name| view.is_in(name))))
    }

    fn contains(&self, set: &'a Set, wanted: ValueRef<'a>) -> Option<bool> {
        if set.len() > SMALL_SET
            && let Some(value) = self.value_of(wanted)
        {
            return Some(set.contains(&value));
        }
        let items = set.iter().map(ValueRef::from_value);
        self.any(items, |item| self.is_equal(item, wanted))
    }

    fn contains_all(&self, one: &'a Set, other: &'a Set) -> Option<bool> {
        if one.len() > SMALL_SET {
            return Some(other.is_subset(one));
        }
        for item in other.iter() {
            if !self.contains(one, ValueRef::from_value(item))? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn contains_any(&self, one: &'a Set, other: &'a Set) -> Option<bool> {
        if one.len() > SMALL_SET || other.len() > SMALL_SET {
            return Some(!one.is_disjoint(other));
        }
        let items = other.iter().map(ValueRef::from_value);
        self.any(items, |item| self.contains(one, item))
    }

    /// Whether any item passes. Once it is not certain of one, it is of none.
    fn any(
        &self,
        items: impl Iterator<Item = ValueRef<'a>>,
        passes: impl Fn(ValueRef<'a>) -> Option<bool>,
    ) -> Option<bool> {
        for item in items {
            if passes(item)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// A record that makes its attributes on demand is compared with nothing.
    fn is_equal(&self, one: ValueRef<'a>, other: ValueRef<'a>) -> Option<bool> {
        Some(match (one, other) {
            (ValueRef::Source(_), _) | (_, ValueRef::Source(_)) => return None,
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
        })
    }

    fn is_of_type(&self, name: EntityRef<'a>, ty: &EntityType, number: TypeNo) -> bool {
        match (name, self.known(name)) {
            (EntityRef::Stored(key), _) => key.ty == number,
            // The type of the condition has a number, so an entity without one is of another type.
            (_, Some(view)) => view.key().is_some_and(|hashed| hashed.key.ty == number),
            (EntityRef::Given(uid), None) => uid.entity_type() == ty,
        }
    }

    fn call(
        &self,
        function: &'static ExtensionFunction,
        arguments: &'a [Node],
    ) -> Option<ValueRef<'a>> {
        let arguments: Option<Vec<Value>> = arguments.iter().map(|it| self.owned(it)).collect();
        match function.call(&arguments?) {
            Ok(PartialValue::Value(value)) => Some(match value.value {
                ValueKind::Lit(Literal::Bool(bool)) => ValueRef::Bool(bool),
                ValueKind::Lit(Literal::Long(long)) => ValueRef::Long(long),
                _ => self.keep(value),
            }),
            Ok(PartialValue::Residual(_)) | Err(_) => None,
        }
    }

    fn keep(&self, value: Value) -> ValueRef<'a> {
        ValueRef::from_value(self.request.scratch.keep(value))
    }

    fn owned(&self, node: &'a Node) -> Option<Value> {
        self.value_of(self.value(node)?)
    }

    /// Cedar's form of a value. What contains others shares them.
    fn value_of(&self, value: ValueRef<'a>) -> Option<Value> {
        Some(match value {
            ValueRef::Bool(bool) => Value::new(bool, None),
            ValueRef::Long(long) => Value::new(long, None),
            ValueRef::String(text) => Value::new(SmolStr::new(text), None),
            ValueRef::Entity(EntityRef::Given(uid)) => Value::new(uid.clone(), None),
            ValueRef::Entity(EntityRef::Stored(key)) => {
                Value::new(key.unpack(self.request.view.store.interner()), None)
            }
            ValueRef::Set(set) => Value::new(ValueKind::Set(set.clone()), None),
            ValueRef::Record(record) => Value::record_arc(Arc::clone(record), None),
            ValueRef::Source(source) => AttributeRef::Record(source).to_value(),
            ValueRef::Extension(value) => value.clone(),
        })
    }

    fn with_view<T>(&self, name: EntityRef<'a>, use_it: impl FnOnce(&EntityView<'a>) -> T) -> T {
        let request = self.request;
        let kept = || request.looked_up.view(request.view, name);
        match self.known(name).or_else(kept) {
            Some(view) => use_it(view),
            None => use_it(&request.view.entity(name)),
        }
    }

    /// The view of one of the request's own entities, which are looked up once.
    fn known(&self, uid: EntityRef<'a>) -> Option<&'v EntityView<'a>> {
        let request = self.request;
        let known = [request.principal, request.resource, request.action];
        known.into_iter().find(|view| view.uid.is_identical(uid))
    }
}

/// `None` for what is neither true nor false.
fn truth(value: ValueRef<'_>) -> Option<bool> {
    match value {
        ValueRef::Bool(bool) => Some(bool),
        _ => None,
    }
}

/// `<` and `<=`; `None` for what Cedar does not compare.
fn is_less(op: BinaryOp, one: ValueRef<'_>, other: ValueRef<'_>) -> Option<bool> {
    match (one, other) {
        (ValueRef::Long(one), ValueRef::Long(other)) => Some(match op {
            BinaryOp::Less => one < other,
            _ => one <= other,
        }),
        (ValueRef::Extension(one), ValueRef::Extension(other)) => {
            let compared = binary_relation(op, one, other, Extensions::all_available()).ok()?;
            match compared.value {
                ValueKind::Lit(Literal::Bool(bool)) => Some(bool),
                _ => None,
            }
        }
        _ => None,
    }
}
