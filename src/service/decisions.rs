//! Decides: takes the generation in service, decides a call, and commits what an allow leaves behind.
//!
//! Start at [`Service::authorize_now`].

use std::sync::Arc;

use crate::authn::caller::Caller;
use crate::domain::decide::call;
use crate::domain::decide::inputs::{DecisionInputs, History};
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::decide::observe::{is_evidence_true, is_waivable};
use crate::domain::decide::verdict::{LeftBehind, Reason, ReasonCode, Verdict};
use crate::domain::request::call_context::CallContext;
use crate::service::Service;
use crate::service::clock::ClockReading;
use crate::service::deadline::{Deadline, ServiceError};
use crate::service::generation::Generation;
use crate::service::in_flight::{Decided, InFlightRequest, Pinned, TentativeVerdict, stale_reason};
use crate::service::in_turn::Passing;
use crate::service::off_thread::off_thread;
use crate::service::pending::{PendingResponse, Progress};
use crate::service::recording::unrecorded;
use crate::service::request::{RequestMeta, Response};
use crate::service::side_effects::Commit;

/// The most attempts to decide a call whose session changes meanwhile. Each time another call of that session has gone
/// through, so this is never reached in practice.
const MAX_ATTEMPTS: u32 = 10_000;

impl Service {
    /// Decides one call at once, unless the response has to wait: for its revision, or for its side effects to be
    /// written.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotReady`] before the first load, [`ServiceError::DeadlineExceeded`] after the deadline.
    pub fn authorize_now<'a>(
        &self,
        ask: RequestMeta<'a>,
        call: &CallContext,
    ) -> Result<Progress<'a>, ServiceError> {
        let pinned = self.pin()?;
        ask.deadline.check_at(pinned.at.steady)?;
        if pinned.generation.revision() < ask.at_least_revision {
            return Ok(Progress::Pending(PendingResponse::for_revision(ask)));
        }
        Ok(self.start_call(self.start_request(ask, pinned), call, None))
    }

    /// The generation in service, and whether it may be decided from.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotReady`] before the first load.
    pub(super) fn pin(&self) -> Result<Pinned, ServiceError> {
        // In this order: what is confirmed is in service before that is said.
        let at = self.clock().read();
        let stale = self.stale_at(&at);
        let generation = self.live().ok_or(ServiceError::NotReady)?;
        Ok(Pinned {
            generation,
            stale,
            at,
        })
    }

    /// The same generation, for another request that is taken up now. What was not to be decided from does not become so.
    pub(super) fn pin_again(&self, pinned: &Pinned) -> Pinned {
        let at = self.clock().read();
        let stale = pinned.stale.clone().or_else(|| self.stale_at(&at));
        Pinned {
            generation: Arc::clone(&pinned.generation),
            stale,
            at,
        }
    }

    fn stale_at(&self, at: &ClockReading) -> Option<Box<Reason>> {
        let state = self.fleet()?.state();
        state.stale_at(at.steady, at.wall).map(Box::new)
    }

    /// Decides one call.
    ///
    /// # Errors
    ///
    /// As [`Service::authorize_now`].
    pub async fn authorize(
        &self,
        ask: RequestMeta<'_>,
        call: &CallContext,
    ) -> Result<Response<Box<Verdict>>, ServiceError> {
        match self.authorize_now(ask, call)? {
            Progress::Ready(answer) => Ok(answer),
            Progress::Unrecorded(response) => Ok(self.recorded(response.to(self, call)).await),
            // In a box, as it is rare and large, and whoever waits for this is moved at its full size.
            Progress::Pending(later) => Box::pin(self.finish(later, call)).await,
        }
    }

    /// Decides several calls from one generation, in order: all of them get a response, or none does. Each is decided on
    /// the side effects of those before it; then all wait for their writes together. Where one has to wait for its session,
    /// it and those after it are decided from the newest generation.
    ///
    /// # Errors
    ///
    /// As [`Service::authorize_now`].
    pub async fn authorize_batch(
        &self,
        asks: &[(RequestMeta<'_>, CallContext)],
    ) -> Result<Vec<Response<Box<Verdict>>>, ServiceError> {
        if let [(ask, call)] = asks {
            return Ok(vec![self.authorize(*ask, call).await?]);
        }
        let Some(mut pinned) = self.pin_for(asks).await? else {
            return Ok(Vec::new());
        };
        let mut begun = Vec::with_capacity(asks.len());
        for (ask, call) in asks {
            let progress = self.start_in_turn(*ask, call, &mut pinned).await?;
            begun.push(progress.of(self, call));
        }
        let mut answers = Vec::with_capacity(begun.len());
        for one in begun {
            answers.push(self.finish_call(one).await?);
        }
        Ok(answers)
    }

    /// Decides the calls that one message stands for: the message passes if all are allowed. Where it does not, those that
    /// deny it are on record alone, so that nothing tells of the others and none of them leaves anything behind; only their
    /// responses are returned then.
    ///
    /// # Errors
    ///
    /// As [`Service::authorize_now`].
    pub async fn authorize_message(
        &self,
        asks: &[(RequestMeta<'_>, CallContext)],
    ) -> Result<Vec<Response<Box<Verdict>>>, ServiceError> {
        if asks.len() < 2 {
            return self.authorize_batch(asks).await;
        }
        let Some(mut pinned) = self.pin_for(asks).await? else {
            return Ok(Vec::new());
        };
        let mut denied = Vec::new();
        for (ask, call) in asks {
            let (pending, decided) = self.try_in_turn(*ask, call, &mut pinned).await?;
            if decided.is_enforced && !decided.verdict.is_allow() {
                denied.push((pending, decided, call));
            }
        }
        if denied.is_empty() {
            return self.authorize_batch(asks).await;
        }
        let untold = denied
            .into_iter()
            .map(|(pending, decided, call)| self.begin_record(pending, call, decided));
        let untold: Vec<_> = untold.collect();
        let mut answers = Vec::with_capacity(untold.len());
        for one in untold {
            answers.push(self.finish_record(one).await);
        }
        Ok(answers)
    }

    /// Decides a call without side effects and without a record: whether it would be allowed, and the challenge if an
    /// approval would make it so.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotReady`] before the first load.
    pub async fn decide_dry_run(
        &self,
        caller: &Caller,
        call: &CallContext,
    ) -> Result<Verdict, ServiceError> {
        let ask = RequestMeta {
            caller,
            adapter: "control",
            at_least_revision: 0,
            is_dry_run: true,
            deadline: Deadline::NONE,
            request_id: None,
        };
        if let Some(reason) = self.hold_session(&ask, call).await {
            return Ok(Verdict::deny(reason));
        }
        let pending = self.start_request(ask, self.pin()?);
        Ok(*self.decide(&pending, call).decision.verdict)
    }

    /// Decides a principal, action, resource and context. Any policy error denies.
    ///
    /// # Errors
    ///
    /// As [`Service::authorize_now`].
    pub async fn is_authorized(
        &self,
        ask: RequestMeta<'_>,
        question: ParcRequest,
    ) -> Result<Response<Box<Verdict>>, ServiceError> {
        let (pending, stale) = self.pin_generation(ask).await?;
        let decision = match stale {
            Some(reason) => Decided::denied(reason),
            None => self.decide_request(&pending, &question),
        };
        let untold = self.begin_record(pending, question, decision);
        Ok(self.finish_record(untold).await)
    }

    /// Decides a call, and commits the side effects of an allow.
    pub(super) fn decide(
        &self,
        pending: &InFlightRequest<'_>,
        call: &CallContext,
    ) -> TentativeVerdict {
        self.decide_as(pending, call, Passing::IsMade)
    }

    /// The same of a call that is made if it passes, or tried first.
    pub(super) fn decide_as(
        &self,
        pending: &InFlightRequest<'_>,
        call: &CallContext,
        passing: Passing,
    ) -> TentativeVerdict {
        pending.guarded(TentativeVerdict::denied, |generation, asker| {
            let now = pending.started_at;
            // A clock that jumps forward must not expire what was read and done.
            let sure = self.confirmed_now().min(now);
            let caller = &pending.ask.caller.id;
            generation
                .claim_warnings
                .warn_missing(&generation.claims, call, caller);
            let is_observed = self.observes(&pending.ask, Some(&call.operation.server));
            for _ in 0..MAX_ATTEMPTS {
                let mut seen = self.facts.observe(&pending.ask, generation, call, sure);
                if seen.is_session_missing() {
                    return TentativeVerdict::session_not_held();
                }
                let world = self.decision_inputs(generation, seen.history());
                let verdict = Box::new(call::decide(world, call, asker, now));
                let effects =
                    self.effects_of_passing(&world, call, asker, &verdict, pending, is_observed);
                if !is_evidence_true(&verdict) {
                    seen.doubt_chain();
                }
                let mut left = LeftBehind::default();
                let committed = match &effects {
                    Some(effects) if pending.ask.is_dry_run => {
                        left = LeftBehind::of_dry_run(effects);
                        Commit::nothing()
                    }
                    None if pending.ask.is_dry_run => Commit::nothing(),
                    Some(_) if passing == Passing::IsTried => Commit::nothing(),
                    Some(_) if self.cannot_record() => {
                        return TentativeVerdict::denied(unrecorded());
                    }
                    Some(effects) => self.facts.commit(&seen, call, effects, sure, &mut left),
                    None => {
                        self.facts.count_denial(&seen, call, sure);
                        Commit::nothing()
                    }
                };
                let is_enforced = !(is_observed && effects.is_some());
                let made = |writes, used_up, left| TentativeVerdict {
                    writes,
                    ..TentativeVerdict::unwritten(Decided {
                        is_enforced,
                        left,
                        capsule: self.capsule_of_call(pending, generation, call, &seen),
                        verdict,
                        used_up,
                    })
                };
                return match committed {
                    Commit::Conflict => continue,
                    Commit::SessionNotHeld => TentativeVerdict::session_not_held(),
                    Commit::Applied(writes, used_up) => made(writes, used_up, left),
                    Commit::Denied(reason) => {
                        self.facts.count_denial(&seen, call, sure);
                        // The race was lost after the decision, so no capsule would give this verdict.
                        TentativeVerdict::unwritten(Decided {
                            is_enforced: !(is_observed && is_waivable(reason.code)),
                            left,
                            ..Decided::denied(reason)
                        })
                    }
                };
            }
            let message = "too many calls of this session at once";
            TentativeVerdict::denied(Reason::new(ReasonCode::Overloaded, message))
        })
    }

    /// The inputs of a decision, in one generation and with a history.
    pub fn decision_inputs<'w>(
        &self,
        generation: &'w Generation,
        history: History<'w>,
    ) -> DecisionInputs<'w> {
        DecisionInputs {
            snapshot: &generation.snapshot,
            tools: Some(&generation.tools),
            authority: &generation.authority,
            history,
            named_approvers: &generation.named_approvers,
            valid_for: self.settings.approval_valid_for,
            observer: None,
        }
    }

    pub(super) fn start_request<'a>(
        &self,
        ask: RequestMeta<'a>,
        pinned: Pinned,
    ) -> InFlightRequest<'a> {
        InFlightRequest {
            ask,
            generation: pinned.generation,
            stale: pinned.stale,
            started_at: pinned.at.now,
            arrived_at: pinned.at.shown,
            clock: pinned.at.steady,
        }
    }

    /// Pins the generation to decide from, after waiting for a demanded revision. Returns the reason to deny if that
    /// did not come in time.
    pub(super) async fn pin_generation<'a>(
        &self,
        ask: RequestMeta<'a>,
    ) -> Result<(InFlightRequest<'a>, Option<Reason>), ServiceError> {
        let pinned = self.pin_at_least(&ask).await?;
        let stale = stale_reason(ask.at_least_revision, pinned.generation.revision());
        Ok((self.start_request(ask, pinned), stale))
    }

    /// Pins the generation that several calls are decided from, with the sessions of all of them in memory. `None` if
    /// there are no calls.
    async fn pin_for(
        &self,
        asks: &[(RequestMeta<'_>, CallContext)],
    ) -> Result<Option<Pinned>, ServiceError> {
        // What comes into memory later may take the place of what came first: each call asks again in its turn.
        for (ask, call) in asks {
            self.hold_session(ask, call).await;
        }
        match asks.iter().max_by_key(|(ask, _)| ask.at_least_revision) {
            Some((ask, _)) => self.pin_at_least(ask).await.map(Some),
            None => Ok(None),
        }
    }

    async fn pin_at_least(&self, ask: &RequestMeta<'_>) -> Result<Pinned, ServiceError> {
        let mut pinned = self.pin()?;
        ask.deadline.check()?;
        if pinned.generation.revision() < ask.at_least_revision {
            let mut revisions = self.ledger.revisions();
            let arrived = revisions.wait_for(|newest| *newest >= ask.at_least_revision);
            let in_time = tokio::time::timeout(self.settings.stale_wait, arrived);
            // Whether the revision arrived in time shows below. In a box, as this is rare and large.
            let _ = off_thread(Box::pin(in_time)).await;
            pinned = self.pin()?;
        }
        Ok(pinned)
    }
}
