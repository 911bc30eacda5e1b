//! Several calls that are decided from one generation, one after the other.
//!
//! Each is decided on what those before it leave behind. So a call whose session has to be had first holds up those after
//! it: a session that was in memory may have left it for those of the others.

use crate::domain::decide::verdict::Reason;
use crate::domain::request::call_context::CallContext;
use crate::service::Service;
use crate::service::deadline::ServiceError;
use crate::service::in_flight::{
    Decided, InFlightRequest, Pinned, TentativeVerdict, session_missing, stale_reason,
};
use crate::service::pending::Progress;
use crate::service::request::RequestMeta;

/// The most attempts to decide a call whose session leaves memory again, or goes to another server.
const MAX_ATTEMPTS: usize = 50;

/// What becomes of a call that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// It is made, and leaves its side effects behind.
    IsMade,
    /// Others have to pass as well before it is made: it leaves nothing behind yet.
    IsTried,
}

impl Service {
    /// Decides one of several calls, once its session is had.
    ///
    /// # Errors
    ///
    /// [`ServiceError::DeadlineExceeded`] after the deadline.
    pub(super) async fn start_in_turn<'a>(
        &self,
        ask: RequestMeta<'a>,
        call: &CallContext,
        pinned: &mut Pinned,
    ) -> Result<Progress<'a>, ServiceError> {
        let start = |pending: InFlightRequest<'a>, denied| {
            let progress = self.start_call(pending, call, denied);
            let is_decided = !matches!(&progress, Progress::Pending(it) if it.needs_session());
            is_decided.then_some(progress)
        };
        self.in_turn(ask, call, pinned, start).await
    }

    /// The same of a call that is only made if others pass as well. A deny is not on record yet.
    ///
    /// # Errors
    ///
    /// [`ServiceError::DeadlineExceeded`] after the deadline.
    pub(super) async fn try_in_turn<'a>(
        &self,
        ask: RequestMeta<'a>,
        call: &CallContext,
        pinned: &mut Pinned,
    ) -> Result<(InFlightRequest<'a>, Decided), ServiceError> {
        let attempt = |pending: InFlightRequest<'a>, denied: Option<Reason>| {
            let tried = match denied {
                Some(reason) => TentativeVerdict::denied(reason),
                None => self.decide_as(&pending, call, Passing::IsTried),
            };
            (!tried.is_session_lost).then_some((pending, tried.decision))
        };
        self.in_turn(ask, call, pinned, attempt).await
    }

    /// Decides as soon as the session is had. `decide` returns `None` where it has to be had first, and always something
    /// where it is given a reason to deny. Where that was waited for, this call and those after it are decided from what is
    /// in service then: what was taken away meanwhile is taken away.
    async fn in_turn<'a, T>(
        &self,
        ask: RequestMeta<'a>,
        call: &CallContext,
        pinned: &mut Pinned,
        decide: impl Fn(InFlightRequest<'a>, Option<Reason>) -> Option<T>,
    ) -> Result<T, ServiceError> {
        let mut denied = stale_reason(ask.at_least_revision, pinned.generation.revision());
        for _ in 0..MAX_ATTEMPTS {
            ask.deadline.check()?;
            let pending = self.start_request(ask, self.pin_again(pinned));
            if let Some(decided) = decide(pending, denied) {
                return Ok(decided);
            }
            denied = self.hold_session(&ask, call).await;
            *pinned = self.pin()?;
            let revision = pinned.generation.revision();
            denied = denied.or_else(|| stale_reason(ask.at_least_revision, revision));
        }
        let pending = self.start_request(ask, self.pin_again(pinned));
        let denied = denied.or_else(|| Some(session_missing()));
        decide(pending, denied).ok_or(ServiceError::DeadlineExceeded)
    }
}
