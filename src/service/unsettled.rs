//! A call that is decided, while what it leaves behind is being written.
//!
//! What an allow uses up is used up from here on, so it goes on record whoever waits for the answer: an [`UnsettledCall`]
//! that is dropped, because a deadline has passed or a client has left, is carried on by a task of its own.

use std::sync::Arc;

use scopeguard::ScopeGuard;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::domain::decide::verdict::{LeftBehind, Reason, ReasonCode};
use crate::domain::request::call_context::CallContext;
use crate::service::in_flight::{Decided, InFlightRequest};
use crate::service::live_facts::LiveFacts;
use crate::service::off_thread::off_thread;
use crate::service::recording::{AwaitedRecord, Recorded as _, tell_recorded};
use crate::service::request::OwnedRequestMeta;
use crate::store::backend::StoreError;
use crate::telemetry::record::recorder::Recorder;

/// Receives the result of a write.
pub(super) type CommitReceipt = oneshot::Receiver<Result<(), StoreError>>;

/// A call whose write is under way. Dropped before [`ScopeGuard::into_inner`], it is carried on without whoever has asked.
pub(super) type UnsettledCall<'a> = ScopeGuard<Unsettled<'a>, fn(Unsettled<'a>)>;

/// What is needed to record a call once its write has ended.
pub(super) struct Unsettled<'a> {
    pub(super) pending: InFlightRequest<'a>,
    pub(super) call: CallContext,
    /// The decision, if the write succeeds. Final once it is settled.
    pub(super) decided: Decided,
    /// What stays of it if the write fails.
    pub(super) refused: LeftBehind,
    /// `None` once it is settled.
    pub(super) writing: Option<CommitReceipt>,
    pub(super) recorder: Recorder,
    pub(super) facts: Arc<LiveFacts>,
    /// The tasks that the end of the service waits for.
    pub(super) tasks: TaskTracker,
}

impl<'a> Unsettled<'a> {
    /// The same, so that it goes on record whatever happens.
    pub(super) fn guarded(self) -> UnsettledCall<'a> {
        scopeguard::guard(self, carry_on)
    }
}

impl Unsettled<'_> {
    /// Waits for the write. If it fails, the call is denied.
    ///
    /// # Errors
    ///
    /// The error of a write that does not fit what other servers have written: nothing of it is written, and it is to be
    /// decided again. Without that it is denied.
    pub(super) async fn settle(&mut self) -> Result<(), StoreError> {
        let Some(writing) = &mut self.writing else {
            return Ok(());
        };
        let written = off_thread(writing).await;
        self.writing = None;
        let why = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if error.is_conflict() => {
                let message =
                    "another replica was faster, and nobody has waited for another decision";
                self.deny(ReasonCode::Stale, message);
                return Err(error);
            }
            Ok(Err(error)) => error,
            Err(_) => StoreError::Closed,
        };
        tracing::error!(%why, "a call was denied because the store did not write");
        let message = match why {
            StoreError::OutcomeUnknown(_) => {
                "what this call would use up may or may not be written down, and counts as used up"
            }
            _ => "what this call would use up could not be written down",
        };
        if why.is_outcome_unknown() {
            self.refused = self.decided.left.clone();
        }
        self.deny(ReasonCode::StoreUnavailable, message);
        Ok(())
    }

    fn deny(&mut self, code: ReasonCode, message: &str) {
        self.decided = Decided {
            left: self.refused.clone(),
            ..Decided::denied(Reason::new(code, message))
        };
    }

    /// Puts it on record without a response.
    async fn record(mut self) {
        // What is to be decided again is denied, as nobody waits for it.
        let _ = self.settle().await;
        let Self {
            pending,
            call,
            decided,
            recorder,
            facts,
            ..
        } = self;
        let awaited = AwaitedRecord::begin(&recorder, pending, call.recorded(), decided);
        tell_recorded(awaited.guarded(&call, &recorder, &facts)).await;
    }
}

/// Puts a call on record that nobody waits for any more.
fn carry_on(unsettled: Unsettled<'_>) {
    let Ok(runtime) = Handle::try_current() else {
        tracing::error!("a call is not put on record, as the server has ended");
        return;
    };
    let Unsettled {
        pending:
            InFlightRequest {
                ask,
                generation,
                stale,
                started_at,
                arrived_at,
                clock,
            },
        call,
        decided,
        refused,
        writing,
        recorder,
        facts,
        tasks,
    } = unsettled;
    let (ask, own_tasks) = (OwnedRequestMeta::from(&ask), tasks.clone());
    let recorded = async move {
        let pending = InFlightRequest {
            ask: ask.borrowed(),
            generation,
            stale,
            started_at,
            arrived_at,
            clock,
        };
        let unsettled = Unsettled {
            pending,
            call,
            decided,
            refused,
            writing,
            recorder,
            facts,
            tasks,
        };
        unsettled.record().await;
    };
    own_tasks.spawn_on(recorded, &runtime);
}

#[cfg(test)]
#[path = "unsettled_tests.rs"]
mod tests;
