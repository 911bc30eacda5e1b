//! Explains a call on the state that it is about to be decided from.

use crate::analysis::explain::{self, ExplainLimits, Explanation};
use crate::domain::request::call_context::CallContext;
use crate::service::decisions::Service;
use crate::service::request::RequestMeta;

/// What an explanation for a caller looks at: it is made while the call waits.
const LIMITS: ExplainLimits = ExplainLimits {
    decisions: 200,
    proposals: 8,
    policies: 256,
};

/// An explanation and the revision it is about.
#[derive(Debug)]
pub struct ExplainedCall {
    /// The explanation.
    pub explanation: Explanation,
    /// The revision.
    pub revision: u64,
}

impl Service {
    /// Explains what would be decided on a call now, without side effects and without a record. `None` before the first
    /// load, and if the explanation could not be made.
    pub fn explain(&self, ask: RequestMeta<'_>, call: &CallContext) -> Option<ExplainedCall> {
        let pending = self.start_request(ask, self.live()?);
        let nothing = |_| None;
        pending.guarded(nothing, |generation, asker| {
            let now = pending.started_at;
            let sure = self.confirmed_now().min(now);
            let seen = self.facts().observe(&pending.ask, generation, call, sure);
            let inputs = self.decision_inputs(generation, seen.history());
            Some(ExplainedCall {
                explanation: explain::explain(&inputs, call, asker, now, LIMITS),
                revision: generation.revision(),
            })
        })
    }
}
