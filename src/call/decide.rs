//! From one call to one decision.

use std::time::SystemTime;

use crate::call::context::CallContext;
use crate::call::decision::Decision;
use crate::config::claims::ClaimMapping;
use crate::engine::snapshot::Snapshot;
use crate::identity::caller::Caller;

/// Who asks, and how its claims are read.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The enforcement point.
    pub caller: &'a Caller,
    /// Which of the claims it passes on become facts.
    pub claims: &'a ClaimMapping,
}

/// Decides one call. Pure: the same inputs give the same decision.
pub fn decide(
    snapshot: &Snapshot,
    call: &CallContext,
    asker: Asker<'_>,
    now: SystemTime,
) -> Decision {
    let _ = (snapshot, call, asker, now);
    todo!()
}

/// One tool that [`filter_tools`] was asked about.
#[derive(Debug, Clone)]
pub struct ToolVerdict {
    /// The tool's name on its server.
    pub tool: smol_str::SmolStr,
    /// `None` if some call of it would be allowed, else why none would.
    pub hidden: Option<crate::call::decision::ReasonCode>,
}
