//! A look at the Cedar requests that a decision is made of, for tools that explain or test policies.

use std::fmt;

use callgate_engine::cedar::EntityUID;
use callgate_engine::{PolicyEvaluation, Query, Snapshot};

/// Is shown every Cedar request whose result a verdict is made of, in order. What is only tried out to find a challenge
/// is not shown.
pub trait EvaluationObserver: fmt::Debug {
    /// Called after the evaluation of one request.
    fn evaluated(&self, evaluation: ObservedEvaluation<'_>);
}

/// One Cedar request and its result.
#[derive(Clone, Copy)]
pub struct ObservedEvaluation<'a> {
    /// The policies and entities.
    pub snapshot: &'a Snapshot,
    /// Action, resource, context and overlays.
    pub query: &'a Query<'a>,
    /// The principal.
    pub principal: &'a EntityUID,
    /// What the policies say.
    pub result: &'a PolicyEvaluation,
}
