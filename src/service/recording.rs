//! A decision and its record: the response leaves once the decision log has it.
//!
//! Start at [`Service::begin_record`], which hands the record to the log; [`Service::finish_record`] waits until it is
//! written, and denies what was allowed if it cannot be, which then uses nothing up. While the log is known to be broken,
//! nothing is used up in the first place ([`Service::cannot_record`]). Span, metrics and log line are of the verdict that
//! leaves; of one that is only observed they are of the verdict that would have left (`Decided::is_enforced`).

use std::sync::Arc;

use uuid::Uuid;

use crate::audit::capsule_content::encode::reuse;
use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::audit::log::{AuditLog, LogReceipt};
use crate::domain::decide::verdict::{Decision, Reason, ReasonCode, Verdict};
use crate::service::Service;
use crate::service::in_flight::{Decided, InFlightRequest, decision_id};
use crate::service::live_facts::{LiveFacts, UsedUp};
use crate::service::request::Response;
use crate::telemetry::record::recorder::Recorder;

/// A decision whose record is on its way into the log.
pub(super) struct AwaitedRecord<'a> {
    pending: InFlightRequest<'a>,
    verdict: Verdict,
    is_enforced: bool,
    decision_id: Uuid,
    receipt: LogReceipt,
    used_up: UsedUp,
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
        let decision_id = decision_id(pending.started_at);
        let record = DecisionRecord {
            left: Some(&left),
            ..record(&pending, question, (&verdict, is_enforced), decision_id)
        };
        let receipt = recorder.append(&record, capsule.as_deref());
        if let Some(capsule) = capsule {
            reuse(capsule);
        }
        Self {
            pending,
            verdict,
            is_enforced,
            decision_id,
            receipt,
            used_up,
        }
    }
}

impl AwaitedRecord<'_> {
    /// Waits until the record is written, or cannot be.
    pub(super) async fn written(&mut self) {
        // Who gives up waiting does not know whether it is written.
        let receipt = std::mem::replace(&mut self.receipt, LogReceipt::Failed);
        if receipt.recorded().await.is_ok() {
            self.receipt = LogReceipt::Done;
        }
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(self.receipt, LogReceipt::Waiting(_))
    }

    /// Denies what is not written, which then uses nothing up, and says by span, metrics and log line what was decided.
    pub(super) fn tell(
        &mut self,
        recorder: &Recorder,
        facts: &LiveFacts,
        question: RecordedRequest<'_>,
    ) {
        if !self.receipt.is_done() && (self.verdict.is_allow() || !self.is_enforced) {
            facts.give_back(&self.used_up);
            self.verdict = Verdict::deny(unrecorded());
            self.is_enforced = true;
        }
        let leaving = (&self.verdict, self.is_enforced);
        recorder.record(&record(&self.pending, question, leaving, self.decision_id));
    }
}

impl Service {
    /// Hands the record of a decision to the log.
    pub(super) fn begin_record<'a>(
        &self,
        pending: InFlightRequest<'a>,
        question: RecordedRequest<'_>,
        decided: Decided,
    ) -> AwaitedRecord<'a> {
        AwaitedRecord::begin(self.recorder(), pending, question, decided)
    }

    /// Whether the log could not be written the last time, and calls are denied for that.
    pub(super) fn cannot_record(&self) -> bool {
        self.recorder().audit().is_some_and(AuditLog::must_deny)
    }

    /// Waits until the record is written, and responds.
    pub(super) async fn finish_record(
        &self,
        mut awaited: AwaitedRecord<'_>,
        question: RecordedRequest<'_>,
    ) -> Response<Verdict> {
        awaited.written().await;
        self.respond(awaited, question)
    }

    /// Responds at once, as nothing is waited for.
    pub(super) fn respond(
        &self,
        mut awaited: AwaitedRecord<'_>,
        question: RecordedRequest<'_>,
    ) -> Response<Verdict> {
        awaited.tell(self.recorder(), self.facts(), question);
        let AwaitedRecord {
            pending,
            mut verdict,
            is_enforced,
            decision_id,
            ..
        } = awaited;
        let observed = (!is_enforced).then_some(verdict.outcome);
        if observed == Some(Decision::Deny) {
            self.observe.count_waived();
            verdict = verdict.waived();
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

fn record<'r>(
    pending: &'r InFlightRequest<'_>,
    question: RecordedRequest<'r>,
    (decision, is_enforced): (&'r Verdict, bool),
    decision_id: Uuid,
) -> DecisionRecord<'r> {
    let generation = &pending.generation;
    let policy_set_digest: &Arc<str> = &generation.policy_set_digest;
    DecisionRecord {
        decision_id,
        caller: &pending.ask.caller.id,
        adapter: pending.ask.adapter,
        request_id: pending.ask.request_id,
        question,
        decision,
        left: None,
        is_enforced,
        revision: generation.snapshot.revision(),
        policy_set_digest,
        snapshot: Some(&generation.snapshot),
        authority: Some(&generation.authority),
        is_dry_run: pending.ask.is_dry_run,
        started_at: pending.started_at,
        took: pending.clock.elapsed(),
    }
}
