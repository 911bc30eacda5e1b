//! What the conditions of a policy come to in one request.

use std::collections::BTreeSet;

use callgate_engine::cedar::{
    Evaluator, Expr, ExprKind, Literal, Policy, SlotEnv, Value, ValueKind,
};
use serde::Serialize;

use crate::analysis::clauses::tree::{ClauseKind, ClauseTree, NodeId, NodeKind};

/// The most values that are kept of one condition.
const MAX_VALUES: usize = 16;

/// True, false, or an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be evaluated, for this reason.
    Error(String),
}

impl Truth {
    /// The value, unless it is an error.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::True => Some(true),
            Self::False => Some(false),
            Self::Error(_) => None,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Error(error) => Self::Error(error),
        }
    }
}

impl From<bool> for Truth {
    fn from(bool: bool) -> Self {
        if bool { Self::True } else { Self::False }
    }
}

/// What one condition comes to in one request.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionOutcome {
    /// The condition.
    pub node: NodeId,
    /// Its value taken by itself. A condition that is not reached is evaluated as well, and may err then.
    pub truth: Truth,
    /// Whether Cedar evaluates it: nothing before it settled the `&&` or `||` that it is part of.
    pub is_reached: bool,
    /// Whether the outcome of the policy hangs on it alone: it is reached, and were it the other way round, the policy
    /// would be satisfied instead of not, or the reverse.
    pub is_decisive: bool,
    /// The parts of the request that it reads, with their values.
    pub values: Vec<SeenValue>,
}

/// A part of the request that a condition reads.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenValue {
    /// As written, e.g. `context.usage.last_hour`.
    pub expression: String,
    /// Its value, or why it has none.
    pub value: Result<Value, String>,
}

/// What a policy comes to in one request, given that its scope matches.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyOutcome {
    /// Whether its clauses hold.
    pub truth: Truth,
    /// The outcome of each clause, in the order of [`ClauseTree::clauses`]: true if it holds, which for an `unless`
    /// means that its body does not. One that is not reached is `None`.
    pub clauses: Vec<Option<Truth>>,
    /// Every condition, in the order of the source.
    pub conditions: Vec<ConditionOutcome>,
}

/// Which parts of a policy's scope match a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScopeOutcome {
    /// Whether the principal matches.
    pub principal: bool,
    /// Whether the action matches.
    pub action: bool,
    /// Whether the resource matches.
    pub resource: bool,
}

impl ScopeOutcome {
    /// Whether the whole scope matches.
    pub fn matches(self) -> bool {
        self.principal && self.action && self.resource
    }
}

/// Evaluates the scope of a policy part by part. Nothing in a scope can err.
pub fn evaluate_scope(policy: &Policy, evaluator: &Evaluator<'_>) -> ScopeOutcome {
    let holds = |expr: &Expr| interpret(evaluator, expr, policy.env()) == Truth::True;
    ScopeOutcome {
        principal: holds(&policy.principal_constraint().as_expr()),
        action: holds(&policy.action_constraint().as_expr()),
        resource: holds(&policy.resource_constraint().as_expr()),
    }
}

impl ClauseTree {
    /// Evaluates every condition in one request.
    ///
    /// `slots` are those of the policy, for a template link ([`Policy::env`]).
    pub fn evaluate(&self, evaluator: &Evaluator<'_>, slots: &SlotEnv) -> PolicyOutcome {
        let mut truths: Vec<Option<Truth>> = vec![None; self.nodes().count()];
        for (id, node) in self.conditions() {
            truths[self.index(id)] = Some(interpret(evaluator, &node.expr, slots));
        }
        let mut reached = BTreeSet::new();
        let (truth, clauses) = self.value(&truths, None, &mut reached);
        let conditions = self.conditions().map(|(node, it)| {
            let own = truths[self.index(node)].clone();
            let is_reached = reached.contains(&node);
            ConditionOutcome {
                node,
                truth: own.unwrap_or(Truth::False),
                is_reached,
                is_decisive: is_reached && self.hangs_on(&truths, node, &truth),
                values: seen_values(evaluator, &it.expr, slots),
            }
        });
        PolicyOutcome {
            conditions: conditions.collect(),
            truth,
            clauses,
        }
    }

    /// Whether negating one condition changes a definite outcome to the other definite outcome.
    fn hangs_on(&self, truths: &[Option<Truth>], node: NodeId, truth: &Truth) -> bool {
        let (turned, _) = self.value(truths, Some(node), &mut BTreeSet::new());
        matches!((truth.as_bool(), turned.as_bool()), (Some(one), Some(other)) if one != other)
    }

    /// The value of the whole, with one condition turned round. Adds the conditions that are evaluated to `reached`.
    fn value(
        &self,
        truths: &[Option<Truth>],
        turned: Option<NodeId>,
        reached: &mut BTreeSet<NodeId>,
    ) -> (Truth, Vec<Option<Truth>>) {
        let mut outcome = Truth::True;
        let mut clauses = Vec::with_capacity(self.clauses.len());
        for clause in &self.clauses {
            if outcome != Truth::True {
                clauses.push(None);
                continue;
            }
            let body = self.value_of(clause.body, truths, turned, reached);
            outcome = match clause.kind {
                ClauseKind::When => body,
                ClauseKind::Unless => body.not(),
            };
            clauses.push(Some(outcome.clone()));
        }
        (outcome, clauses)
    }

    fn value_of(
        &self,
        id: NodeId,
        truths: &[Option<Truth>],
        turned: Option<NodeId>,
        reached: &mut BTreeSet<NodeId>,
    ) -> Truth {
        let mut value_of = |id: NodeId| self.value_of(id, truths, turned, reached);
        match &self.node(id).kind {
            NodeKind::All(parts) => first_other_than(&Truth::True, parts, value_of),
            NodeKind::Any(parts) => first_other_than(&Truth::False, parts, value_of),
            NodeKind::Not(part) => value_of(*part).not(),
            NodeKind::If {
                test,
                then,
                otherwise,
            } => match value_of(*test) {
                Truth::True => value_of(*then),
                Truth::False => value_of(*otherwise),
                error @ Truth::Error(_) => error,
            },
            NodeKind::Condition => {
                reached.insert(id);
                let truth = truths[self.index(id)].clone().unwrap_or(Truth::False);
                if turned == Some(id) {
                    truth.not()
                } else {
                    truth
                }
            }
        }
    }
}

/// The first value that ends a chain of `&&` or `||`, whose neutral value is given.
fn first_other_than(
    neutral: &Truth,
    parts: &[NodeId],
    mut value_of: impl FnMut(NodeId) -> Truth,
) -> Truth {
    let ending = parts.iter().map(|part| value_of(*part));
    let mut ending = ending.skip_while(|truth| truth == neutral);
    ending.next().unwrap_or_else(|| neutral.clone())
}

fn interpret(evaluator: &Evaluator<'_>, expr: &Expr, slots: &SlotEnv) -> Truth {
    match evaluator.interpret(expr, slots) {
        Ok(value) => match value.value {
            ValueKind::Lit(Literal::Bool(bool)) => bool.into(),
            _ => Truth::Error(format!("`{value}` is neither true nor false")),
        },
        Err(error) => Truth::Error(error.to_string()),
    }
}

/// The values that a condition reads: the longest paths that begin at a variable, each once, in the order of the
/// source.
fn seen_values(evaluator: &Evaluator<'_>, expr: &Expr, slots: &SlotEnv) -> Vec<SeenValue> {
    let mut paths = Vec::new();
    collect_paths(expr, &mut paths);
    let mut seen: Vec<SeenValue> = Vec::new();
    for path in paths {
        let expression = path.to_string();
        if seen.len() == MAX_VALUES || seen.iter().any(|it| it.expression == expression) {
            continue;
        }
        let value = evaluator.interpret(path, slots);
        seen.push(SeenValue {
            expression,
            value: value.map_err(|error| error.to_string()),
        });
    }
    seen
}

fn collect_paths<'e>(expr: &'e Expr, paths: &mut Vec<&'e Expr>) {
    match expr.expr_kind() {
        ExprKind::Var(_) | ExprKind::Slot(_) => paths.push(expr),
        ExprKind::GetAttr { expr: inner, .. } => match is_path(inner) {
            true => paths.push(expr),
            false => collect_paths(inner, paths),
        },
        // Of `x has y` the value is the outcome itself.
        ExprKind::HasAttr { expr: inner, .. } | ExprKind::ExtHasAttr { expr: inner, .. }
            if is_path(inner) => {}
        ExprKind::HasAttr { expr: inner, .. } | ExprKind::ExtHasAttr { expr: inner, .. } => {
            collect_paths(inner, paths);
        }
        ExprKind::Like { expr, .. } | ExprKind::Is { expr, .. } => collect_paths(expr, paths),
        ExprKind::UnaryApp { arg, .. } => collect_paths(arg, paths),
        ExprKind::BinaryApp { arg1, arg2, .. } => {
            collect_paths(arg1, paths);
            collect_paths(arg2, paths);
        }
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            collect_paths(left, paths);
            collect_paths(right, paths);
        }
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => {
            for part in [test_expr, then_expr, else_expr] {
                collect_paths(part, paths);
            }
        }
        ExprKind::ExtensionFunctionApp { args, .. } | ExprKind::Set(args) => {
            args.iter().for_each(|part| collect_paths(part, paths));
        }
        ExprKind::Record(fields) => {
            fields.values().for_each(|part| collect_paths(part, paths));
        }
        _ => {}
    }
}

/// A variable, or an attribute of an attribute … of one.
fn is_path(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::Var(_) | ExprKind::Slot(_) => true,
        ExprKind::GetAttr { expr, .. } => is_path(expr),
        _ => false,
    }
}
