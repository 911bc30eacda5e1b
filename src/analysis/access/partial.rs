//! Evaluates the condition of a policy as far as it is known before a call is made.
//!
//! Principal, action, resource and all stored entities are known, of the context only what [`KnownRecord`] tells. What is
//! left is a condition on the rest of the context that has the same value as the whole in every call. Values are computed
//! by Cedar's own evaluator.

use std::sync::Arc;

use callgate_engine::cedar::{
    BinaryOp, EntityUID, Evaluator, Expr, ExprKind, SlotEnv, UnaryOp, Value, Var,
};
use smol_str::SmolStr;

use crate::analysis::access::known::{Fact, KnownRecord, as_bool, context_path};

/// What an expression comes to.
#[derive(Debug, Clone)]
pub enum Partial {
    /// This value, in every call.
    Known(Value),
    /// This expression, whose value depends on the call.
    Open(Expr),
    /// An error, in every call.
    Fails,
}

/// Evaluates expressions for one principal, action and resource.
pub struct PartialEvaluator<'a> {
    /// Cedar's evaluator over all entities. Its request is not used.
    pub evaluator: &'a Evaluator<'a>,
    /// The principal.
    pub principal: &'a EntityUID,
    /// The action.
    pub action: &'a EntityUID,
    /// The resource.
    pub resource: &'a EntityUID,
    /// What is known about the context.
    pub known: &'a KnownRecord,
    /// The slots of the policy, for a template link.
    pub slots: &'a SlotEnv,
}

impl PartialEvaluator<'_> {
    /// Evaluates an expression as far as possible.
    pub fn evaluate(&self, expr: &Expr) -> Partial {
        if let Some(path) = context_path(expr).filter(|path| !path.is_empty()) {
            return self.path(expr, &path);
        }
        match expr.expr_kind() {
            ExprKind::Var(var) => match var {
                Var::Principal => Partial::from(self.principal),
                Var::Action => Partial::from(self.action),
                Var::Resource => Partial::from(self.resource),
                Var::Context => Partial::Open(expr.clone()),
            },
            ExprKind::Slot(slot) => match self.slots.get(slot) {
                Some(uid) => Partial::from(uid),
                None => Partial::Fails,
            },
            ExprKind::And { left, right } => self.chain(left, right, true),
            ExprKind::Or { left, right } => self.chain(left, right, false),
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => self.branch(test_expr, then_expr, else_expr),
            ExprKind::HasAttr { expr: of, attr } => self.has(expr, of, &[attr]),
            ExprKind::ExtHasAttr { expr: of, attrs } => {
                let attrs: Vec<&SmolStr> = attrs.iter().collect();
                self.has(expr, of, &attrs)
            }
            _ => self.strict(expr),
        }
    }

    /// An attribute of the context.
    fn path(&self, expr: &Expr, path: &[&SmolStr]) -> Partial {
        match self.known.get(path) {
            Some(Fact::Value(value)) => return Partial::Known(value.clone()),
            Some(Fact::Absent) => return Partial::Fails,
            Some(Fact::Present | Fact::Record(_)) => return Partial::Open(expr.clone()),
            None => {}
        }
        // Something above it may be a value, or be absent.
        let ExprKind::GetAttr { expr: of, attr } = expr.expr_kind() else {
            return Partial::Open(expr.clone());
        };
        match path.len() {
            1 => Partial::Open(expr.clone()),
            _ => match self.evaluate(of) {
                Partial::Known(value) => {
                    self.value(&Expr::get_attr(Expr::from(value), attr.clone()))
                }
                Partial::Open(of) => Partial::Open(Expr::get_attr(of, attr.clone())),
                Partial::Fails => Partial::Fails,
            },
        }
    }

    /// `of has a.b`.
    fn has(&self, expr: &Expr, of: &Arc<Expr>, attrs: &[&SmolStr]) -> Partial {
        let Some(mut path) = context_path(of) else {
            return self.strict(expr);
        };
        if !path.is_empty() {
            match self.evaluate(of) {
                Partial::Fails => return Partial::Fails,
                Partial::Known(_) => return self.strict(expr),
                Partial::Open(_) => {}
            }
        }
        for attr in attrs {
            path.push(attr);
            match self.known.get(&path) {
                Some(Fact::Absent) => return Partial::from(false),
                Some(Fact::Present | Fact::Record(_) | Fact::Value(_)) => {}
                None => return Partial::Open(expr.clone()),
            }
        }
        Partial::from(true)
    }

    /// `left && right`, or `left || right`.
    fn chain(&self, left: &Expr, right: &Expr, is_and: bool) -> Partial {
        let join = |left: Expr, right: Expr| match is_and {
            true => Expr::and(left, right),
            false => Expr::or(left, right),
        };
        let left = match self.evaluate(left) {
            Partial::Known(value) => {
                return match as_bool(&Expr::from(value)) {
                    Some(value) if value == is_and => self.evaluate(right),
                    Some(value) => Partial::from(value),
                    None => Partial::Fails,
                };
            }
            Partial::Fails => return Partial::Fails,
            Partial::Open(left) => left,
        };
        match self.evaluate(right) {
            Partial::Known(value) => match as_bool(&Expr::from(value)) {
                Some(value) if value == is_and => Partial::Open(left),
                Some(value) if !may_fail(&left) => Partial::from(value),
                Some(value) => Partial::Open(join(left, Expr::val(value))),
                None => Partial::Open(join(left, right.clone())),
            },
            Partial::Open(right) => Partial::Open(join(left, right)),
            // It fails only if the left side lets it be evaluated.
            Partial::Fails => Partial::Open(join(left, right.clone())),
        }
    }

    fn branch(&self, test: &Expr, then: &Expr, otherwise: &Expr) -> Partial {
        let test = match self.evaluate(test) {
            Partial::Known(value) => {
                return match as_bool(&Expr::from(value)) {
                    Some(true) => self.evaluate(then),
                    Some(false) => self.evaluate(otherwise),
                    None => Partial::Fails,
                };
            }
            Partial::Fails => return Partial::Fails,
            Partial::Open(test) => test,
        };
        let side = |expr: &Expr| match self.evaluate(expr) {
            Partial::Known(value) => Expr::from(value),
            Partial::Open(open) => open,
            Partial::Fails => expr.clone(),
        };
        Partial::Open(Expr::ite(test, side(then), side(otherwise)))
    }

    /// An expression that needs all its parts.
    fn strict(&self, expr: &Expr) -> Partial {
        let mut is_open = false;
        let mut fails = false;
        let mut part = |expr: &Expr| match self.evaluate(expr) {
            Partial::Known(value) => Expr::from(value),
            Partial::Open(open) => {
                is_open = true;
                open
            }
            Partial::Fails => {
                fails = true;
                expr.clone()
            }
        };
        let whole = match expr.expr_kind() {
            ExprKind::UnaryApp { op, arg } => Expr::unary_app(*op, part(arg)),
            ExprKind::BinaryApp { op, arg1, arg2 } => Expr::binary_app(*op, part(arg1), part(arg2)),
            ExprKind::ExtensionFunctionApp { fn_name, args } => {
                let args = args.iter().map(&mut part).collect();
                Expr::call_extension_fn(fn_name.clone(), args)
            }
            ExprKind::GetAttr { expr, attr } => Expr::get_attr(part(expr), attr.clone()),
            ExprKind::HasAttr { expr, attr } => Expr::has_attr(part(expr), attr.clone()),
            ExprKind::ExtHasAttr { expr, attrs } => {
                Expr::extended_has_attr(part(expr), attrs.clone())
            }
            ExprKind::Like { expr, pattern } => Expr::like(part(expr), pattern.clone()),
            ExprKind::Is { expr, entity_type } => {
                Expr::is_entity_type(part(expr), entity_type.clone())
            }
            ExprKind::Set(items) => Expr::set(items.iter().map(part).collect::<Vec<_>>()),
            ExprKind::Record(fields) => {
                let fields = fields.iter().map(|(name, it)| (name.clone(), part(it)));
                Expr::record_arc(Arc::new(fields.collect()))
            }
            _ => expr.clone(),
        };
        match (fails, is_open) {
            (true, _) => Partial::Fails,
            (false, true) => Partial::Open(whole),
            (false, false) => self.value(&whole),
        }
    }

    fn value(&self, expr: &Expr) -> Partial {
        match self.evaluator.interpret(expr, &SlotEnv::new()) {
            Ok(value) => Partial::Known(value),
            Err(_) => Partial::Fails,
        }
    }
}

impl From<bool> for Partial {
    fn from(bool: bool) -> Self {
        Self::Known(Value::new(bool, None))
    }
}

impl From<&EntityUID> for Partial {
    fn from(uid: &EntityUID) -> Self {
        Self::Known(Value::new(uid.clone(), None))
    }
}

/// Records of the context. What is in them is there once the record is, or is asked for with `has`, which validation
/// demands.
const RECORDS: [&str; 12] = [
    "answers",
    "approval",
    "arguments",
    "delegation",
    "elicitation",
    "environment",
    "identity",
    "recent",
    "sampling",
    "session",
    "task",
    "usage",
];

/// Functions of Cedar's extensions that have a value for all values of their types.
const TOTAL: [&str; 15] = [
    "isIpv4",
    "isIpv6",
    "isLoopback",
    "isMulticast",
    "isInRange",
    "lessThan",
    "lessThanOrEqual",
    "greaterThan",
    "greaterThanOrEqual",
    "toTime",
    "toMilliseconds",
    "toSeconds",
    "toMinutes",
    "toHours",
    "toDays",
];

/// Whether evaluating an expression of a validated policy may end in an error: an overflow, an entity that does not
/// exist, a text that has to be parsed. Doubt counts as yes.
pub fn may_fail(expr: &Expr) -> bool {
    expr.subexpressions().any(|part| match part.expr_kind() {
        // Only a part that was left as written, because it fails, still has one of these.
        ExprKind::Var(Var::Principal | Var::Action | Var::Resource) | ExprKind::Slot(_) => true,
        ExprKind::UnaryApp {
            op: UnaryOp::Neg, ..
        } => true,
        ExprKind::BinaryApp { op, .. } => matches!(
            op,
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::GetTag
        ),
        ExprKind::GetAttr { .. } => match context_path(part).as_deref() {
            None => true,
            Some([] | [_]) => false,
            // The target is known to every request that has one; typed arguments are records within records.
            Some([first, rest @ ..]) => {
                *first != "input"
                    && (rest.len() > 1
                        || !(*first == "target" || RECORDS.contains(&first.as_str())))
            }
        },
        ExprKind::ExtensionFunctionApp { fn_name, args } => {
            let is_constant = args
                .iter()
                .all(|it| matches!(it.expr_kind(), ExprKind::Lit(_)));
            let is_total = fn_name.to_string();
            !(is_constant || TOTAL.contains(&is_total.as_str()))
        }
        _ => false,
    })
}

/// Whether an expression reads this attribute of the context.
pub fn reads(expr: &Expr, attribute: &[&str]) -> bool {
    let is_it = |path: &[&SmolStr]| {
        path.len() >= attribute.len() && path.iter().zip(attribute).all(|(one, other)| one == other)
    };
    expr.subexpressions().any(|part| match part.expr_kind() {
        ExprKind::GetAttr { .. } => context_path(part).is_some_and(|path| is_it(&path)),
        ExprKind::HasAttr { expr, attr } => context_path(expr).is_some_and(|mut path| {
            path.push(attr);
            is_it(&path)
        }),
        ExprKind::ExtHasAttr { expr, attrs } => context_path(expr).is_some_and(|mut path| {
            path.extend(attrs.iter());
            is_it(&path)
        }),
        _ => false,
    })
}

#[cfg(test)]
#[path = "partial_tests.rs"]
mod tests;
