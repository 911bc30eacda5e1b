//! A policy's `when` and `unless` bodies as a tree of conditions.

use std::ops::Range;

use callgate_engine::cedar::{BuildExpr, Expr, ExprBuilder, ExprKind, Loc, Template, UnaryOp};
use serde::Serialize;

/// The clauses of one policy or template.
#[derive(Debug, Clone)]
pub struct ClauseTree {
    /// The `when` and `unless` clauses, in the order of the source.
    pub clauses: Vec<Clause>,
    nodes: Vec<Node>,
}

/// One `when` or `unless` clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clause {
    /// `when` or `unless`.
    pub kind: ClauseKind,
    /// Its body.
    pub body: NodeId,
}

/// Which kind of clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClauseKind {
    /// The body has to be true.
    When,
    /// The body has to be false.
    Unless,
}

/// The index of a node in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeId(usize);

/// One node of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// How it is made of others.
    pub kind: NodeKind,
    /// Where it is written; `None` for a policy that was not parsed from text.
    pub place: Option<Place>,
    /// The whole expression.
    pub expr: Expr,
    /// The node it is a part of; `None` for the body of a clause.
    pub parent: Option<NodeId>,
}

/// How a node is made of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// `&&`: all of them, in order; the first that is false ends it.
    All(Vec<NodeId>),
    /// `||`: any of them, in order; the first that is true ends it.
    Any(Vec<NodeId>),
    /// `!` over something that is itself made of others.
    Not(NodeId),
    /// `if … then … else …`.
    If {
        /// The test.
        test: NodeId,
        /// The value if the test is true.
        then: NodeId,
        /// The value if the test is false.
        otherwise: NodeId,
    },
    /// A single condition: a comparison, a `has`, a set operation and the like, with its `!` if it has one.
    Condition,
}

/// A span of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Bytes from the start of the file.
    #[serde(skip)]
    pub span: Range<usize>,
    /// The line, from 1.
    pub line: u32,
    /// The text in one line: every run of blanks is one blank.
    pub text: String,
}

impl Place {
    fn from_loc(loc: &Loc) -> Self {
        let span = loc.start()..loc.end();
        let before = loc.src.get(..span.start).unwrap_or_default();
        let text = loc.snippet().unwrap_or_default();
        let lines = before.bytes().filter(|byte| *byte == b'\n').count();
        Self {
            span,
            line: u32::try_from(lines + 1).unwrap_or(u32::MAX),
            text: one_line(text),
        }
    }
}

/// The text without comments, and with every run of blanks as one blank.
fn one_line(text: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for line in text.lines() {
        words.extend(without_comment(line).split_whitespace());
    }
    words.join(" ")
}

/// The line up to a `//` that is not inside a string.
fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    let mut previous = '\0';
    for (offset, character) in line.char_indices() {
        match character {
            '"' if previous != '\\' => in_string = !in_string,
            '/' if previous == '/' && !in_string => return &line[..offset - 1],
            _ => {}
        }
        // Of `\\"` the quote ends the string.
        previous = match (previous, character) {
            ('\\', '\\') => '\0',
            _ => character,
        };
    }
    line
}

impl ClauseTree {
    /// The clauses of a policy or template; without clauses the tree is empty, and its value is true.
    pub fn from_policy(template: &Template) -> Self {
        let mut tree = Self {
            clauses: Vec::new(),
            nodes: Vec::new(),
        };
        let Some(condition) = template.non_scope_constraints() else {
            return tree;
        };
        // Cedar joins clauses by an `&&` whose place is the whole policy.
        let mut rest = condition;
        while let ExprKind::And { left, right } = rest.expr_kind()
            && rest.source_loc().is_some()
            && rest.source_loc() == template.loc()
        {
            tree.add_clause(left);
            rest = right;
        }
        tree.add_clause(rest);
        tree
    }

    fn add_clause(&mut self, expr: &Expr) {
        let unless = match expr.expr_kind() {
            ExprKind::UnaryApp {
                op: UnaryOp::Not,
                arg,
            } if is_unless(expr) => Some(arg),
            _ => None,
        };
        let (kind, body) = match unless {
            Some(body) => (ClauseKind::Unless, &**body),
            None => (ClauseKind::When, expr),
        };
        let body = self.add(body, None);
        self.clauses.push(Clause { kind, body });
    }

    fn add(&mut self, expr: &Expr, parent: Option<NodeId>) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node {
            kind: NodeKind::Condition,
            place: expr.source_loc().map(Place::from_loc),
            expr: expr.clone(),
            parent,
        });
        let kind = match expr.expr_kind() {
            ExprKind::And { .. } if !is_type_and_membership(expr) => {
                NodeKind::All(self.add_operands(expr, id))
            }
            ExprKind::Or { .. } => NodeKind::Any(self.add_operands(expr, id)),
            ExprKind::UnaryApp {
                op: UnaryOp::Not,
                arg,
            } if is_composed(arg) => NodeKind::Not(self.add(arg, Some(id))),
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => NodeKind::If {
                test: self.add(test_expr, Some(id)),
                then: self.add(then_expr, Some(id)),
                otherwise: self.add(else_expr, Some(id)),
            },
            _ => NodeKind::Condition,
        };
        self.nodes[id.0].kind = kind;
        id
    }

    /// Adds the operands of a chain `a && b && c`, which Cedar nests to the left under one place.
    fn add_operands(&mut self, chain: &Expr, parent: NodeId) -> Vec<NodeId> {
        let mut operands = Vec::new();
        let mut rest = chain;
        loop {
            let (left, right) = match (chain.expr_kind(), rest.expr_kind()) {
                (ExprKind::And { .. }, ExprKind::And { left, right })
                | (ExprKind::Or { .. }, ExprKind::Or { left, right })
                    if !is_type_and_membership(rest) =>
                {
                    (left, right)
                }
                _ => break,
            };
            if !std::ptr::eq(rest, chain) && rest.source_loc() != chain.source_loc() {
                break;
            }
            operands.push(&**right);
            rest = left;
        }
        operands.push(rest);
        let operands = operands.into_iter().rev();
        operands
            .map(|operand| self.add(operand, Some(parent)))
            .collect()
    }

    pub(super) fn index(&self, id: NodeId) -> usize {
        id.0
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        // Ids are made by this tree alone.
        &self.nodes[id.0]
    }

    /// All nodes; a parent comes before its parts.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (NodeId(index), node))
    }

    /// The single conditions, in the order of the source.
    pub fn conditions(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes()
            .filter(|(_, node)| node.kind == NodeKind::Condition)
    }

    /// The clause that a node is part of, as an index into [`ClauseTree::clauses`].
    pub fn clause_of(&self, id: NodeId) -> usize {
        let mut body = id;
        while let Some(parent) = self.node(body).parent {
            body = parent;
        }
        let is_meant = |clause: &Clause| clause.body == body;
        self.clauses.iter().position(is_meant).unwrap_or_default()
    }

    /// The condition of the whole policy with some nodes replaced; `None` if nothing is left of it.
    ///
    /// `edit` is asked for each node from the top: an [`Edit`] takes the place of the node and its parts.
    pub fn to_expr(&self, edit: &dyn Fn(NodeId) -> Option<Edit>) -> Option<Expr> {
        let clauses = self.clauses.iter().filter_map(|clause| {
            let body = self.rebuild(clause.body, edit)?;
            Some(match clause.kind {
                ClauseKind::When => body,
                ClauseKind::Unless => build().not(body),
            })
        });
        let clauses: Vec<Expr> = clauses.collect();
        clauses
            .into_iter()
            .rev()
            .reduce(|all, clause| build().and(clause, all))
    }

    fn rebuild(&self, id: NodeId, edit: &dyn Fn(NodeId) -> Option<Edit>) -> Option<Expr> {
        let node = self.node(id);
        match edit(id) {
            Some(Edit::Drop) => return None,
            Some(Edit::Negate) => return Some(negated(&node.expr)),
            None => {}
        }
        let parts = |parts: &[NodeId]| -> Vec<Expr> {
            let parts = parts.iter().filter_map(|part| self.rebuild(*part, edit));
            parts.collect()
        };
        match &node.kind {
            NodeKind::Condition => Some(node.expr.clone()),
            NodeKind::All(all) => parts(all)
                .into_iter()
                .reduce(|one, next| build().and(one, next)),
            NodeKind::Any(any) => parts(any)
                .into_iter()
                .reduce(|one, next| build().or(one, next)),
            NodeKind::Not(part) => Some(build().not(self.rebuild(*part, edit)?)),
            NodeKind::If {
                test,
                then,
                otherwise,
            } => Some(build().ite(
                self.rebuild(*test, edit)?,
                self.rebuild(*then, edit)?,
                self.rebuild(*otherwise, edit)?,
            )),
        }
    }
}

/// A change of one node, as mutation testing makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edit {
    /// The node is left out of its `&&`, `||` or clause; a clause without a body is left out as a whole.
    Drop,
    /// The node is negated.
    Negate,
}

fn build() -> ExprBuilder<()> {
    ExprBuilder::new()
}

fn negated(expr: &Expr) -> Expr {
    match expr.expr_kind() {
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => (**arg).clone(),
        _ => build().not(expr.clone()),
    }
}

/// Whether a negation stands for an `unless`: its place begins with that word.
fn is_unless(expr: &Expr) -> bool {
    let text = expr.source_loc().and_then(Loc::snippet);
    text.is_some_and(|text| text.starts_with("unless"))
}

/// `x is T in y`, which Cedar writes as an `&&` of one place.
fn is_type_and_membership(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::And { left, .. } => {
            matches!(left.expr_kind(), ExprKind::Is { .. })
                && left.source_loc() == expr.source_loc()
        }
        _ => false,
    }
}

/// Whether an expression has conditions of its own.
fn is_composed(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::And { .. } => !is_type_and_membership(expr),
        ExprKind::Or { .. } | ExprKind::If { .. } => true,
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => is_composed(arg),
        _ => false,
    }
}
