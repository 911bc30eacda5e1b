//! Responses that have to wait: for a revision, for a session, or for what the call leaves behind to be written.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use scopeguard::ScopeGuard;
use tokio::sync::oneshot;

use crate::domain::decide::verdict::{LeftBehind, Reason, ReasonCode, Verdict};
use crate::domain::request::call_context::CallContext;
use crate::service::Service;
use crate::service::deadline::ServiceError;
use crate::service::in_flight::{InFlightRequest, TentativeVerdict};
use crate::service::live_facts::UsedUp;
use crate::service::off_thread::off_thread;
use crate::service::recording::{AwaitedRecord, Recorded, UntoldDecision};
use crate::service::request::{RequestMeta, Response};
use crate::service::session_loader::session_unread;
use crate::service::side_effects::after_refusal;
use crate::service::unsettled::{CommitReceipt, Unsettled, UnsettledCall};
use crate::store::backend::{StoreError, StoreWrite};

/// The most attempts to decide a call that does not fit what other servers have written meanwhile.
const MAX_ATTEMPTS: usize = 50;
/// How long a call waits for what another server has written.
const REFRESH: Duration = Duration::from_secs(1);

/// A response, or what it has to wait for.
pub enum Progress<'a> {
    /// The response.
    Ready(Response<Box<Verdict>>),
    /// The response, which waits for its record alone. Before anything is waited for, it is to become an [`UnrecordedCall`].
    Unrecorded(UnrecordedResponse<'a>),
    /// The response has to wait; [`Service::finish`] waits for it.
    Pending(PendingResponse<'a>),
}

/// A request whose response has to wait.
pub struct PendingResponse<'a>(PendingStage<'a>);

/// A response that is decided, and waits for its record alone, as nearly all do where the decision log promises one.
#[must_use = "what is on record has to be told"]
pub struct UnrecordedResponse<'a>(AwaitedRecord<'a>);

/// The same with its call: [`Service::recorded`]. Whoever waits with a deadline lets it wait ([`UnrecordedCall::written`]) and
/// then calls [`Service::respond_recorded`]. Dropped before, it is told without whoever has asked.
pub struct UnrecordedCall<'a, C: Recorded>(UntoldDecision<'a, C>);

/// A call that is begun, with what its response waits for.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all wait for their record, and that is the large one"
)]
pub(super) enum BegunCall<'a, C: Recorded> {
    Ready(Response<Box<Verdict>>),
    Unrecorded(UnrecordedCall<'a, C>),
    Pending(PendingResponse<'a>, C),
}

enum PendingStage<'a> {
    /// For the revision that it demands.
    Revision(RequestMeta<'a>),
    /// For the session, which the store alone or another server may hold.
    Session(RequestMeta<'a>),
    /// For its side effects to be written. It goes on record whether or not that is waited for.
    Commit(Box<UnsettledCall<'a>>),
}

impl<'a> PendingResponse<'a> {
    /// Whether nothing is decided yet because the session has to be had first, [`Service::have_session`].
    pub fn needs_session(&self) -> bool {
        matches!(self.0, PendingStage::Session(_))
    }

    /// Waits for the revision that the request demands.
    pub(super) fn for_revision(ask: RequestMeta<'a>) -> Self {
        Self(PendingStage::Revision(ask))
    }
}

impl<'a> UnrecordedResponse<'a> {
    /// The response to this call.
    pub fn to<C: Recorded>(self, service: &'a Service, call: C) -> UnrecordedCall<'a, C> {
        UnrecordedCall(self.0.guarded(call, service.recorder(), service.facts()))
    }
}

impl<C: Recorded> UnrecordedCall<'_, C> {
    /// Waits until the record is written, or cannot be.
    pub async fn written(&mut self) {
        self.0.written().await;
    }
}

impl<'a> Progress<'a> {
    /// The progress of this call, which goes on record whatever becomes of whoever waits.
    pub(super) fn of<C: Recorded>(self, service: &'a Service, call: C) -> BegunCall<'a, C> {
        match self {
            Self::Ready(answer) => BegunCall::Ready(answer),
            Self::Unrecorded(response) => BegunCall::Unrecorded(response.to(service, call)),
            Self::Pending(later) => BegunCall::Pending(later, call),
        }
    }
}

impl Service {
    /// The response, once its record is written or cannot be.
    pub async fn recorded<C: Recorded>(
        &self,
        response: UnrecordedCall<'_, C>,
    ) -> Response<Box<Verdict>> {
        self.finish_record(response.0).await
    }

    /// The response whose record was waited for. What is not written is denied.
    pub fn respond_recorded<C: Recorded>(
        &self,
        response: UnrecordedCall<'_, C>,
    ) -> Response<Box<Verdict>> {
        self.respond(response.0)
    }

    /// Waits for whatever the response to a call waits for.
    ///
    /// # Errors
    ///
    /// As [`Service::authorize_now`].
    pub(super) async fn finish_call<C: Recorded + Borrow<CallContext>>(
        &self,
        begun: BegunCall<'_, C>,
    ) -> Result<Response<Box<Verdict>>, ServiceError> {
        match begun {
            BegunCall::Ready(answer) => Ok(answer),
            BegunCall::Unrecorded(response) => Ok(self.recorded(response).await),
            // In a box, as it is rare and large, and whoever waits for this is moved at its full size.
            BegunCall::Pending(later, call) => Box::pin(self.finish(later, call.borrow())).await,
        }
    }

    /// Waits for a pending response.
    ///
    /// # Errors
    ///
    /// As [`Service::authorize_now`].
    pub async fn finish(
        &self,
        later: PendingResponse<'_>,
        call: &CallContext,
    ) -> Result<Response<Box<Verdict>>, ServiceError> {
        let mut waiting = later.0;
        // What attempts before this one have left behind.
        let mut before = LeftBehind::default();
        for _ in 0..MAX_ATTEMPTS {
            let (pending, denied) = match waiting {
                PendingStage::Commit(mut unsettled) => match unsettled.settle().await {
                    Ok(()) => {
                        let settled = ScopeGuard::into_inner(*unsettled);
                        let untold = self.begin_record(settled.pending, call, settled.decided);
                        return Ok(self.finish_record(untold).await);
                    }
                    Err(error) => {
                        before = unsettled.refused.clone();
                        let denied = self.learn(&error).await;
                        let (pending, stale) = self.pin_generation(unsettled.pending.ask).await?;
                        // From here on it is decided again.
                        ScopeGuard::into_inner(*unsettled);
                        (pending, denied.or(stale))
                    }
                },
                PendingStage::Session(ask) => {
                    let denied = self.hold_session(&ask, call).await;
                    let (pending, stale) = self.pin_generation(ask).await?;
                    (pending, denied.or(stale))
                }
                PendingStage::Revision(ask) => self.pin_generation(ask).await?,
            };
            match self.start_call_after(pending, call, denied, &before) {
                Progress::Ready(answer) => return Ok(answer),
                Progress::Unrecorded(response) => {
                    return Ok(self.recorded(response.to(self, call)).await);
                }
                Progress::Pending(later) => waiting = later.0,
            }
        }
        Err(ServiceError::DeadlineExceeded)
    }

    /// Decides a call, and responds unless something has to come first.
    pub(super) fn start_call<'a>(
        &self,
        pending: InFlightRequest<'a>,
        call: &CallContext,
        denied: Option<Reason>,
    ) -> Progress<'a> {
        self.start_call_after(pending, call, denied, &LeftBehind::default())
    }

    /// The same, after attempts that have left something behind.
    fn start_call_after<'a>(
        &self,
        pending: InFlightRequest<'a>,
        call: &CallContext,
        denied: Option<Reason>,
        before: &LeftBehind,
    ) -> Progress<'a> {
        let wait = |stage| Progress::Pending(PendingResponse(stage));
        let is_decided = denied.is_some() || pending.stale.is_some();
        let session = call.workflow.session_id.as_ref();
        if !is_decided && session.is_some_and(|id| !self.facts().sessions.is_held(id)) {
            return wait(PendingStage::Session(pending.ask));
        }
        let mut made = match denied {
            Some(reason) => TentativeVerdict::denied(reason),
            None => self.decide(&pending, call),
        };
        if made.is_session_lost {
            return wait(PendingStage::Session(pending.ask));
        }
        let mut refused = LeftBehind::default();
        if !made.writes.is_empty() {
            let is_shared = self.fleet().is_some();
            refused = after_refusal(&made.decision.left, &made.writes, is_shared).and(before);
        }
        made.decision.left = made.decision.left.and(before);
        if made.writes.is_empty() {
            let (recorder, question) = (self.recorder(), call.recorded());
            let awaited = AwaitedRecord::begin(recorder, pending, question, made.decision);
            if awaited.is_ready() {
                let untold = awaited.guarded(call, recorder, self.facts());
                return Progress::Ready(self.respond(untold));
            }
            return Progress::Unrecorded(UnrecordedResponse(awaited));
        }
        let unsettled = Unsettled {
            writing: Some(self.submit_writes(made.writes, made.decision.used_up.clone())),
            call: call.clone(),
            decided: made.decision,
            refused,
            pending,
            recorder: self.recorder().clone(),
            facts: Arc::clone(self.facts()),
            tasks: self.tasks().clone(),
        };
        wait(PendingStage::Commit(Box::new(unsettled.guarded())))
    }

    /// Has the session of a call, for [`Service::inspect`]. If that does not come about, [`Service::finish`] denies.
    pub async fn have_session(&self, ask: &RequestMeta<'_>, call: &CallContext) {
        let _ = self.hold_session(ask, call).await;
    }

    /// Has the session of a call in memory, and makes this server the one that decides it. Returns the reason to deny if
    /// that does not come about.
    pub(super) async fn hold_session(
        &self,
        ask: &RequestMeta<'_>,
        call: &CallContext,
    ) -> Option<Reason> {
        let id = call.workflow.session_id.as_ref()?;
        if self.facts().sessions.is_held(id) {
            return None;
        }
        // In boxes, as they are rare and large, and whoever may wait for this is moved at its full size.
        let Some(fleet) = self.fleet() else {
            let loading = ask.deadline.within(self.session_loader().load(id));
            return match off_thread(Box::pin(loading)).await {
                Ok(loaded) => loaded.err(),
                Err(_) => Some(session_unread()),
            };
        };
        let held = ask
            .deadline
            .within(fleet.holder().hold(id, self.confirmed_now()));
        match off_thread(Box::pin(held)).await {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(_) => {
                let message = "the session was not given up by another replica in time";
                Some(Reason::new(ReasonCode::Stale, message))
            }
        }
    }

    /// Learns what another server has written. Returns the reason to deny if that fails.
    async fn learn(&self, error: &StoreError) -> Option<Reason> {
        let fleet = self.fleet()?;
        if matches!(error, StoreError::Taken { .. }) {
            return None;
        }
        let refreshed = off_thread(fleet.state().refreshed(REFRESH)).await;
        refreshed.err().map(|_| {
            let message = "another replica has written what this one has not heard of yet";
            Reason::new(ReasonCode::Stale, message)
        })
    }

    /// Submits what has to be written before a response. What all servers must know before it, they know then.
    fn submit_writes(&self, writes: Vec<StoreWrite>, used_up: UsedUp) -> CommitReceipt {
        let (done, writing) = oneshot::channel();
        let facts = Arc::clone(self.facts());
        let written = writes.clone();
        let fleet = self.fleet().map(|fleet| Arc::clone(fleet.state()));
        // A label that is written is settled only once all servers know it: whoever brings it meanwhile waits, too.
        let is_label =
            |write: &StoreWrite| fleet.is_some() && matches!(write, StoreWrite::Labels { .. });
        let (labels, written): (Vec<_>, Vec<_>) = written.into_iter().partition(is_label);
        let has_labels = !labels.is_empty();
        let rejected = used_up.clone();
        let submitted = self.ledger().writer().submit(writes, move |result| {
            match &result {
                Ok(()) => facts.mark_written(&written),
                Err(error) => facts.release(&used_up, &written, error),
            }
            let Some(state) = fleet.filter(|_| has_labels && result.is_ok()) else {
                // Whoever has asked may be gone; the receiver is not, as the call goes on record all the same.
                let _ = done.send(result);
                return;
            };
            let membership = state.membership();
            let reached = membership.progress().facts();
            let settling = async move {
                let settled = state.settled(0, reached).await;
                if settled.is_ok() {
                    facts.mark_written(&labels);
                }
                let _ = done.send(settled);
            };
            if let Some(runtime) = membership.runtime() {
                runtime.spawn(settling);
            }
        });
        if let Err(error) = submitted {
            tracing::error!(%error, "what a call uses up is not written");
            self.facts().release(&rejected, &[], &error);
        }
        // If the submission was rejected, the sender is dropped, and the receiver sees an error.
        writing
    }
}
