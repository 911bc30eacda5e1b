//! A decision and its record: the response leaves once the decision log has it.
//!
//! Start at [`Service::begin_record`], which hands the record to the log; [`Service::finish_record`] waits until it is
//! written, and denies what was allowed if it cannot be, which then uses nothing up. While the log is known to be broken,
//! nothing is used up in the first place ([`Service::cannot_record`]). Span, metrics and log line are of the verdict that
//! leaves; of one that is only observed they are of the verdict that would have left (`Decided::is_enforced`).
//!
//! Invariant: what was handed to the log is told once, by span, metrics and log line, whoever waits ([`UntoldDecision`]).

use std::sync::Arc;
use std::time::Duration;

use scopeguard::ScopeGuard;
use uuid::Uuid;

use crate::audit::capsule_content::encode::reuse;
use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::audit::log::{AuditLog, LogReceipt};
use crate::domain::decide::is_authorized::ParcRequest;
use crate::domain::decide::verdict::{Decision, Reason, ReasonCode, Verdict};
use crate::domain::request::call_context::CallContext;
use crate::service::Service;
use crate::service::in_flight::{Decided, InFlightRequest, decision_id};
use crate::service::live_facts::{LiveFacts, UsedUp};
use crate::service::off_thread::off_thread;
use crate::service::request::Response;
use crate::telemetry::record::recorder::Recorder;

/// What was decided, held by whoever waits for its record.
pub trait Recorded {
    /// What the record says of it.
    fn recorded(&self) -> RecordedRequest<'_>;
}

impl Recorded for RecordedRequest<'_> {
    fn recorded(&self) -> RecordedRequest<'_> {
        *self
    }
}

impl Recorded for CallContext {
    fn recorded(&self) -> RecordedRequest<'_> {
        RecordedRequest::Call(self)
    }
}

impl Recorded for ParcRequest {
    fn recorded(&self) -> RecordedRequest<'_> {
        RecordedRequest::Cedar {
            principal: &self.principal,
            action: &self.action,
            resource: &self.resource,
            trace: &self.trace,
        }
    }
}

impl<T: Recorded> Recorded for &T {
    fn recorded(&self) -> RecordedRequest<'_> {
        T::recorded(self)
    }
}

impl<T: Recorded> Recorded for Box<T> {
    fn recorded(&self) -> RecordedRequest<'_> {
        T::recorded(self)
    }
}

/// A decision whose record is on its way into the log. It is to become an [`UntoldDecision`] before anything is waited for.
#[must_use = "what is on record has to be told"]
pub(super) struct AwaitedRecord<'a> {
    pending: InFlightRequest<'a>,
    verdict: Box<Verdict>,
    is_enforced: bool,
    decision_id: Uuid,
    /// How long it took to decide, in all that tells of it.
    took: Duration,
    /// `None` while it is waited for, and if whoever did has given up.
    receipt: Option<LogReceipt>,
    used_up: UsedUp,
}

/// A decision that is on its way into the log and not told yet, with what it is of. Dropped before [`ScopeGuard::into_inner`],
/// because whoever has asked is gone, it is told at once ([`tell_unanswered`]).
pub(super) type UntoldDecision<'a, Q> = ScopeGuard<Untold<'a, Q>, fn(Untold<'a, Q>)>;

/// A decision, what it is of, and whom it is told to.
pub(super) struct Untold<'a, Q: Recorded> {
    awaited: AwaitedRecord<'a>,
    question: Q,
    recorder: &'a Recorder,
    facts: &'a LiveFacts,
}

impl<'a> AwaitedRecord<'a> {
    /// Hands the record of a decision to the log.
    pub(super) fn begin(
        recorder: &Recorder,
        pending: InFlightRequest<'a>,
        question: RecordedRequest<'_>,
        decided: Decided,
    ) -> Self {
        let Decided {
            verdict,
            is_enforced,
            left,
            capsule,
            used_up,
        } = decided;
        let mut awaited = Self {
            decision_id: decision_id(pending.arrived_at),
            took: pending.clock.elapsed(),
            pending,
            verdict,
            is_enforced,
            receipt: None,
            used_up,
        };
        let record = DecisionRecord {
            left: Some(&left),
            ..awaited.record(question)
        };
        awaited.receipt = Some(recorder.append(&record, capsule.as_deref()));
        if let Some(capsule) = capsule {
            reuse(capsule);
        }
        awaited
    }

    /// The same, told whatever becomes of whoever waits.
    pub(super) fn guarded<Q: Recorded>(
        self,
        question: Q,
        recorder: &'a Recorder,
        facts: &'a LiveFacts,
    ) -> UntoldDecision<'a, Q> {
        let untold = Untold {
            awaited: self,
            question,
            recorder,
            facts,
        };
        scopeguard::guard(untold, tell_unanswered)
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(self.receipt, Some(LogReceipt::Waiting(_)))
    }

    /// Whether it is written; `None` if nobody knows yet.
    fn is_written(&self) -> Option<bool> {
        match self.receipt.as_ref()? {
            LogReceipt::Done => Some(true),
            LogReceipt::Failed => Some(false),
            LogReceipt::Waiting(_) => None,
        }
    }

    fn record<'r>(&'r self, question: RecordedRequest<'r>) -> DecisionRecord<'r> {
        let pending = &self.pending;
        let generation = &pending.generation;
        let policy_set_digest: &Arc<str> = &generation.policy_set_digest;
        DecisionRecord {
            decision_id: self.decision_id,
            caller: &pending.ask.caller.id,
            adapter: pending.ask.adapter,
            request_id: pending.ask.request_id,
            question,
            decision: &self.verdict,
            left: None,
            is_enforced: self.is_enforced,
            revision: generation.snapshot.revision(),
            policy_set_digest,
            snapshot: Some(&generation.snapshot),
            authority: Some(&generation.authority),
            is_dry_run: pending.ask.is_dry_run,
            started_at: pending.arrived_at,
            took: self.took,
        }
    }
}

impl<Q: Recorded> Untold<'_, Q> {
    /// Waits until the record is written, or cannot be.
    pub(super) async fn written(&mut self) {
        // Who gives up waiting does not know whether it is written.
        if let Some(receipt) = self.awaited.receipt.take() {
            // A disk that is slow says nothing of how many are decided at once. Letting others go first is no such wait, which
            // whoever polls requests knows.
            self.awaited.receipt = Some(match off_thread(receipt.recorded()).await {
                Ok(()) => LogReceipt::Done,
                Err(_) => LogReceipt::Failed,
            });
        }
    }

    /// Says by span, metrics and log line what was decided. What `may_leave` does not let leave is denied, and then uses
    /// nothing up.
    fn tell(&mut self, may_leave: bool) {
        let awaited = &mut self.awaited;
        if !may_leave && (awaited.verdict.is_allow() || !awaited.is_enforced) {
            self.facts.give_back(&awaited.used_up);
            *awaited.verdict = Verdict::deny(unrecorded());
            awaited.is_enforced = true;
        }
        let record = awaited.record(self.question.recorded());
        self.recorder.record(&record);
    }
}

/// Tells what nobody waits for any more. Where nobody knows whether the record is written, it is told as it was handed to the
/// log, which counts it if it cannot be written. What this takes is what an answer takes: it waits for nothing.
fn tell_unanswered<Q: Recorded>(mut untold: Untold<'_, Q>) {
    let is_unwritten = untold.awaited.is_written() == Some(false);
    untold.tell(!is_unwritten);
}

/// Tells, without a response, a decision that is carried on by itself.
pub(super) async fn tell_recorded<Q: Recorded>(mut untold: UntoldDecision<'_, Q>) {
    untold.written().await;
    let _ = tell_answered(untold);
}

/// Tells what leaves, which is what is written.
fn tell_answered<'a, Q: Recorded>(untold: UntoldDecision<'a, Q>) -> AwaitedRecord<'a> {
    let mut untold = ScopeGuard::into_inner(untold);
    let is_written = untold.awaited.is_written() == Some(true);
    untold.tell(is_written);
    untold.awaited
}

impl Service {
    /// Hands the record of a decision to the log.
    pub(super) fn begin_record<'a, Q: Recorded>(
        &'a self,
        pending: InFlightRequest<'a>,
        question: Q,
        decided: Decided,
    ) -> UntoldDecision<'a, Q> {
        let recorder = self.recorder();
        let awaited = AwaitedRecord::begin(recorder, pending, question.recorded(), decided);
        awaited.guarded(question, recorder, self.facts())
    }

    /// Whether the log could not be written the last time, and calls are denied for that.
    pub(super) fn cannot_record(&self) -> bool {
        self.recorder().audit().is_some_and(AuditLog::must_deny)
    }

    /// Waits until the record is written, and responds.
    pub(super) async fn finish_record<Q: Recorded>(
        &self,
        mut untold: UntoldDecision<'_, Q>,
    ) -> Response<Box<Verdict>> {
        untold.written().await;
        self.respond(untold)
    }

    /// Responds at once, as nothing is waited for.
    pub(super) fn respond<Q: Recorded>(
        &self,
        untold: UntoldDecision<'_, Q>,
    ) -> Response<Box<Verdict>> {
        let AwaitedRecord {
            pending,
            mut verdict,
            is_enforced,
            decision_id,
            ..
        } = tell_answered(untold);
        let observed = (!is_enforced).then_some(verdict.outcome);
        if observed == Some(Decision::Deny) {
            *verdict = verdict.waived();
        }
        let snapshot = &pending.generation.snapshot;
        Response {
            observed,
            value: verdict,
            decision_id,
            revision: snapshot.revision(),
            policies_total: snapshot.policy_count() as u32,
        }
    }
}

/// The reason to deny a call that cannot be put on record.
pub(super) fn unrecorded() -> Reason {
    let message = "this call could not be put on record";
    Reason::new(ReasonCode::AuditUnavailable, message)
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
