//! Conditions of policies, compiled once so that evaluating them looks nothing up and builds nothing.
//!
//! Compiling numbers the names of attributes and types, computes what does not depend on the request (set
//! literals, `decimal("1.5")`, `ip("10.0.0.0/8")`), and makes one list of a chain of `&&` or `||`. It changes
//! no meaning: an expression that fails while it is compiled, or nests too deep, becomes [`Node::Cedar`] and
//! is left to Cedar's own evaluator.

use smol_str::SmolStr;

use crate::cedar::{
    BinaryOp, EntityType, Expr, ExprKind, ExtensionFunction, Extensions, Literal, Name,
    PartialValue, SlotId, UnaryOp, Value, ValueKind, Var,
};
use crate::interner::{AttrNo, Interner, TypeNo};
use crate::key::EntityKey;
use crate::like::LikePattern;
use crate::packed::without_locations;

/// Conditions that nest deeper are left to Cedar, which watches the stack.
const MAX_DEPTH: usize = 64;

/// One expression of a condition.
#[derive(Debug)]
pub(crate) enum Node {
    Bool(bool),
    Long(i64),
    Text(SmolStr),
    Entity(EntityKey),
    /// A set, a record or an extension value that does not depend on the request.
    Constant(Box<Value>),
    Slot(SlotId),
    Variable(Var),
    /// `a && b && …`, evaluated up to the first that is false.
    All(Box<[Node]>),
    /// `a || b || …`, evaluated up to the first that is true.
    Any(Box<[Node]>),
    /// Test, then, else.
    If(Box<[Node; 3]>),
    Unary(UnaryOp, Box<Node>),
    Binary(BinaryOp, Box<[Node; 2]>),
    Attribute(Box<Node>, AttributeName),
    /// `e has a.b.c`: at least one name.
    Has(Box<Node>, Box<[AttributeName]>),
    Like(Box<(Node, LikePattern)>),
    Is(Box<(Node, EntityType)>, TypeNo),
    Set(Box<[Node]>),
    Record(Box<[(SmolStr, Node)]>),
    Call(&'static ExtensionFunction, Box<[Node]>),
    /// Left to Cedar's own evaluator.
    Cedar,
}

/// The name of an attribute, and the number that stored entities know it by.
#[derive(Debug)]
pub(crate) struct AttributeName {
    pub(crate) name: SmolStr,
    pub(crate) number: AttrNo,
}

impl Node {
    /// Compiles a condition. `interner` receives the names that it mentions.
    pub(crate) fn compile(condition: &Expr, interner: &mut Interner) -> Self {
        Compiler { interner }.node(condition, 0)
    }

    /// The node as a value, if it does not depend on the request.
    fn constant(&self, interner: &Interner) -> Option<Value> {
        Some(match self {
            Self::Bool(bool) => Value::new(*bool, None),
            Self::Long(long) => Value::new(*long, None),
            Self::Text(text) => Value::new(text.clone(), None),
            Self::Entity(key) => Value::new(key.unpack(interner), None),
            Self::Constant(value) => Value::clone(value),
            _ => return None,
        })
    }
}

struct Compiler<'i> {
    interner: &'i mut Interner,
}

impl Compiler<'_> {
    fn node(&mut self, expr: &Expr, depth: usize) -> Node {
        if depth > MAX_DEPTH {
            return Node::Cedar;
        }
        let depth = depth + 1;
        match expr.expr_kind() {
            ExprKind::Lit(literal) => self.literal(literal),
            ExprKind::Slot(slot) => Node::Slot(*slot),
            ExprKind::Var(variable) => Node::Variable(*variable),
            ExprKind::And { .. } => Node::All(self.chain(expr, left_of_and, depth)),
            ExprKind::Or { .. } => Node::Any(self.chain(expr, left_of_or, depth)),
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => {
                let parts = [test_expr, then_expr, else_expr];
                Node::If(Box::new(parts.map(|part| self.node(part, depth))))
            }
            ExprKind::UnaryApp { op, arg } => Node::Unary(*op, Box::new(self.node(arg, depth))),
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                let sides = [arg1, arg2].map(|side| self.node(side, depth));
                Node::Binary(*op, Box::new(sides))
            }
            ExprKind::GetAttr { expr, attr } => {
                let of = Box::new(self.node(expr, depth));
                Node::Attribute(of, self.attribute(attr))
            }
            ExprKind::HasAttr { expr, attr } => {
                let of = Box::new(self.node(expr, depth));
                Node::Has(of, Box::new([self.attribute(attr)]))
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let of = Box::new(self.node(expr, depth));
                let path = attrs.iter().map(|attr| self.attribute(attr));
                Node::Has(of, path.collect())
            }
            ExprKind::Like { expr, pattern } => {
                let pattern = LikePattern::compile(pattern);
                Node::Like(Box::new((self.node(expr, depth), pattern)))
            }
            ExprKind::Is { expr, entity_type } => {
                let number = self.interner.intern_type(entity_type);
                let of = self.node(expr, depth);
                Node::Is(Box::new((of, entity_type.with_loc(None))), number)
            }
            ExprKind::Set(items) => self.set(items, depth),
            ExprKind::Record(fields) => {
                let mut field =
                    |(name, value): (&SmolStr, &Expr)| (name.clone(), self.node(value, depth));
                let fields = fields.iter().map(&mut field).collect();
                self.record(fields)
            }
            ExprKind::ExtensionFunctionApp { fn_name, args } => self.call(fn_name, args, depth),
            ExprKind::Unknown(_) => Node::Cedar,
        }
    }

    /// The operands of a chain. It usually nests to the left, any number of times.
    fn chain(
        &mut self,
        expr: &Expr,
        left_of: fn(&Expr) -> Option<(&Expr, &Expr)>,
        depth: usize,
    ) -> Box<[Node]> {
        let mut backwards = Vec::new();
        let mut rest = expr;
        while let Some((left, right)) = left_of(rest) {
            backwards.push(self.node(right, depth));
            rest = left;
        }
        backwards.push(self.node(rest, depth));
        backwards.reverse();
        backwards.into()
    }

    fn literal(&mut self, literal: &Literal) -> Node {
        match literal {
            Literal::Bool(bool) => Node::Bool(*bool),
            Literal::Long(long) => Node::Long(*long),
            Literal::String(text) => Node::Text(text.clone()),
            Literal::EntityUID(uid) => Node::Entity(EntityKey::pack(uid, self.interner)),
        }
    }

    fn attribute(&mut self, name: &SmolStr) -> AttributeName {
        AttributeName {
            name: name.clone(),
            number: self.interner.intern_attribute(name),
        }
    }

    fn set(&mut self, items: &[Expr], depth: usize) -> Node {
        let items: Box<[Node]> = items.iter().map(|item| self.node(item, depth)).collect();
        match self.constants(&items) {
            Some(values) => constant(Value::set(values, None)),
            None => Node::Set(items),
        }
    }

    fn record(&self, fields: Box<[(SmolStr, Node)]>) -> Node {
        let constants = fields
            .iter()
            .map(|(name, value)| Some((name.clone(), value.constant(self.interner)?)));
        match constants.collect::<Option<Vec<_>>>() {
            Some(values) => constant(Value::record(values, None)),
            None => Node::Record(fields),
        }
    }

    fn call(&mut self, name: &Name, arguments: &[Expr], depth: usize) -> Node {
        let Ok(function) = Extensions::all_available().func(name) else {
            return Node::Cedar;
        };
        let arguments: Box<[Node]> = arguments.iter().map(|it| self.node(it, depth)).collect();
        let Some(values) = self.constants(&arguments) else {
            return Node::Call(function, arguments);
        };
        // A call that fails does so at every evaluation, with Cedar's message.
        match function.call(&values) {
            Ok(PartialValue::Value(value)) => match value.value {
                ValueKind::Lit(literal) => self.literal(&literal),
                _ => constant(value),
            },
            Ok(PartialValue::Residual(_)) | Err(_) => Node::Cedar,
        }
    }

    fn constants(&self, nodes: &[Node]) -> Option<Vec<Value>> {
        let nodes = nodes.iter();
        nodes.map(|node| node.constant(self.interner)).collect()
    }
}

fn constant(value: Value) -> Node {
    Node::Constant(Box::new(without_locations(value.value)))
}

fn left_of_and(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr.expr_kind() {
        ExprKind::And { left, right } => Some((left, right)),
        _ => None,
    }
}

fn left_of_or(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr.expr_kind() {
        ExprKind::Or { left, right } => Some((left, right)),
        _ => None,
    }
}
