//! The clauses of a policy: its `when` and `unless` bodies, split into single conditions with their places in the
//! source, and what each of them comes to in one request.
//!
//! Start at [`ClauseTree::from_policy`], then [`ClauseTree::evaluate`] over a
//! [`MaterializedRequest`](callgate_engine::MaterializedRequest). The conditions are the leaves of `&&`, `||`, `!` and
//! `if`, so that "which part of this policy decided?" has an answer.
//!
//! Invariant: the value of a tree is the value that Cedar's evaluator gives the whole policy, error included; a test
//! holds it for all shipped policies.

mod evaluate;
mod tree;

pub use evaluate::{
    ConditionOutcome, PolicyOutcome, ScopeOutcome, SeenValue, Truth, evaluate_scope,
};
pub use tree::{Clause, ClauseKind, ClauseTree, Edit, Node, NodeId, NodeKind, Place};

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
