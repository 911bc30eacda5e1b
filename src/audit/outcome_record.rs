//! The record of what became of an allowed call.

use std::time::SystemTime;

use smol_str::SmolStr;
use uuid::Uuid;

pub use crate::audit::record::schema::outcome::Status;
use crate::domain::ids::SessionId;

/// What an adapter saw of the response to an allowed call, or a caller reported of it.
#[derive(Debug, Clone)]
pub struct OutcomeRecord<'a> {
    /// The decision that let the call pass; `None` if the adapter is not told which it was.
    pub decision_id: Option<Uuid>,
    /// What came of it.
    pub status: Status,
    /// Bytes of the response, as far as they were seen.
    pub size: u64,
    /// The labels that the result brought.
    pub labels: &'a [SmolStr],
    /// The caller: the enforcement point.
    pub caller: &'a str,
    /// The adapter it came through, e.g. `ext_proc`.
    pub adapter: &'static str,
    /// What is known of the call where its decision is not.
    pub about: Option<OutcomeOf<'a>>,
    /// When it was seen.
    pub at: SystemTime,
}

/// A call whose decision is not known.
#[derive(Debug, Clone, Copy)]
pub struct OutcomeOf<'a> {
    /// Its MCP method.
    pub operation: &'static str,
    /// The servers it went to.
    pub servers: &'a [SmolStr],
    /// Its session.
    pub session_id: Option<&'a SessionId>,
}
