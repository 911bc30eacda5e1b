//! Shows what a call is about to be decided from, without deciding it.

use std::time::SystemTime;

use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::request::call_context::CallContext;
use crate::service::Service;
#[cfg(doc)]
use crate::service::pending::PendingResponse;
use crate::service::request::RequestMeta;

impl Service {
    /// Passes the inputs of a decision on a call, as it would be made now, to `look`, and returns the result with the
    /// revision of the inputs. No side effects, no record. `None` before the first load, if
    /// the session has to be had first ([`PendingResponse::needs_session`]), and if `look` panics.
    pub fn inspect<R>(
        &self,
        ask: RequestMeta<'_>,
        call: &CallContext,
        look: impl FnOnce(&DecisionInputs<'_>, Requester<'_>, SystemTime) -> R,
    ) -> Option<(R, u64)> {
        let pending = self.start_request(ask, self.pin().ok()?);
        let nothing = |_| None;
        pending.guarded(nothing, |generation, asker| {
            let now = pending.started_at;
            let sure = self.confirmed_now().min(now);
            let seen = self.facts().observe(&pending.ask, generation, call, sure);
            if seen.is_session_missing() {
                return None;
            }
            let inputs = self.decision_inputs(generation, seen.history());
            Some((look(&inputs, asker, now), generation.revision()))
        })
    }
}
