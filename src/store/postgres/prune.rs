//! Removes records that ended long ago, a few rows at a time.

use std::time::SystemTime;

use serde::Deserialize;

use crate::domain::authority::form;
use crate::domain::ids::{ApprovalId, DelegationId, TaskId};
use crate::store::backend::{Pruned, Retention, StoreError};

/// The most rows that one statement removes in one step.
pub(super) const ROWS: usize = 500;

/// The answer of `callgate.prune`.
#[derive(Debug, Deserialize)]
struct Gone {
    delegations: Vec<DelegationId>,
    approvals: Vec<ApprovalId>,
    tasks: Vec<TaskId>,
    /// The most rows that one of its statements has removed.
    most: usize,
}

/// The arguments of `callgate.prune`.
pub(super) fn arguments(me: Option<String>, before: &Retention) -> Vec<Option<String>> {
    let moment = |at: SystemTime| Some(form::millis(at).to_string());
    let (ended, recent) = (moment(before.ended), moment(before.recent));
    let rows = Some(ROWS.to_string());
    vec![
        me,
        ended,
        recent,
        moment(before.places),
        moment(before.changes),
        rows,
    ]
}

/// Reads the answer of `callgate.prune`.
pub(super) fn read(answer: &str) -> Result<Pruned, StoreError> {
    let gone: Gone = serde_json::from_str(answer)
        .map_err(|error| StoreError::Read(format!("the answer about what was pruned: {error}")))?;
    Ok(Pruned {
        delegations: gone.delegations,
        tasks: gone.tasks,
        approvals: gone.approvals,
        sessions: Vec::new(),
        is_partial: gone.most >= ROWS,
    })
}
