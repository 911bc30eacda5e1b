//! What every request to the service states, and what every response says besides its verdict.

use smol_str::SmolStr;
use uuid::Uuid;

use crate::authn::caller::Caller;
use crate::domain::decide::verdict::Decision;
use crate::service::deadline::Deadline;

/// What every request states about itself.
#[derive(Debug, Clone, Copy)]
pub struct RequestMeta<'a> {
    /// The caller: the enforcement point that asks.
    pub caller: &'a Caller,
    /// The adapter it came through, e.g. `grpc`.
    pub adapter: &'static str,
    /// Decide from this revision or a later one.
    pub at_least_revision: u64,
    /// Decide without side effects.
    pub is_dry_run: bool,
    /// The deadline of the response.
    pub deadline: Deadline,
    /// The caller's id of the request, for the log.
    pub request_id: Option<&'a str>,
}

impl RequestMeta<'_> {
    /// The gateway that shown definitions are kept for. Without configured callers all are the same one; then each
    /// adapter is a gateway.
    pub fn gateway(&self) -> SmolStr {
        match &*self.caller.id {
            Caller::LOCAL => smol_str::format_smolstr!("{}/{}", Caller::LOCAL, self.adapter),
            id => SmolStr::new(id),
        }
    }
}

/// The same, for work that goes on apart from the request.
#[derive(Debug, Clone)]
pub struct OwnedRequestMeta {
    caller: Caller,
    adapter: &'static str,
    at_least_revision: u64,
    is_dry_run: bool,
    deadline: Deadline,
    request_id: Option<Box<str>>,
}

impl From<&RequestMeta<'_>> for OwnedRequestMeta {
    fn from(ask: &RequestMeta<'_>) -> Self {
        Self {
            caller: ask.caller.clone(),
            adapter: ask.adapter,
            at_least_revision: ask.at_least_revision,
            is_dry_run: ask.is_dry_run,
            deadline: ask.deadline,
            request_id: ask.request_id.map(Box::from),
        }
    }
}

impl OwnedRequestMeta {
    /// What the request states.
    pub fn borrowed(&self) -> RequestMeta<'_> {
        RequestMeta {
            caller: &self.caller,
            adapter: self.adapter,
            at_least_revision: self.at_least_revision,
            is_dry_run: self.is_dry_run,
            deadline: self.deadline,
            request_id: self.request_id.as_deref(),
        }
    }
}

/// A response and its origin.
#[derive(Debug, Clone)]
pub struct Response<T> {
    /// The verdict, or the result of a filter.
    pub value: T,
    /// The id of the decision in traces and logs.
    pub decision_id: Uuid,
    /// The revision it was decided at.
    pub revision: u64,
    /// The number of policies in service.
    pub policies_total: u32,
    /// Of a request that is only observed: the decision that would have been enforced. The verdict is an allow then, with
    /// the reasons that it would have been denied for.
    pub observed: Option<Decision>,
}

impl<T> Response<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Response<U> {
        Response {
            value: change(self.value),
            decision_id: self.decision_id,
            revision: self.revision,
            policies_total: self.policies_total,
            observed: self.observed,
        }
    }
}
