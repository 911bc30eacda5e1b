//! A decision and its record: the response leaves once the decision log has it.
//!
//! Start at [`Service::begin_record`], which hands the record to the log; [`Service::finish_record`] waits until it is
//! written, and denies what was allowed if it cannot be. Span, metrics and log line are of the verdict that leaves; of one
//! that is only observed they are of the verdict that would have left (`Decided::is_enforced`).

use std::sync::Arc;

use uuid::Uuid;

use crate::audit::capsule_content::encode::reuse;
use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::audit::log::LogReceipt;
use crate::domain::decide::verdict::{Decision, Reason, ReasonCode, Verdict};
use crate::service::Service;
use crate::service::in_flight::{Decided, InFlightRequest, decision_id};
use crate::service::request::Response;

/// A decision whose record is on its way into the log.
pub(super) struct AwaitedRecord<'a> {
    pending: InFlightRequest<'a>,
    verdict: Verdict,
    is_enforced: bool,
    decision_id: Uuid,
    receipt: LogReceipt,
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
}

impl Service {
    /// Hands the record of a decision to the log.
    pub(super) fn begin_record<'a>(
        &self,
        pending: InFlightRequest<'a>,
        question: RecordedRequest<'_>,
        decided: Decided,
    ) -> AwaitedRecord<'a> {
        let Decided {
            verdict,
            is_enforced,
            left,
            capsule,
        } = decided;
        let decision_id = decision_id(pending.started_at);
        let record = DecisionRecord {
            left: Some(&left),
            ..record(&pending, question, (&verdict, is_enforced), decision_id)
        };
        let receipt = self.recorder().append(&record, capsule.as_deref());
        if let Some(capsule) = capsule {
            reuse(capsule);
        }
        AwaitedRecord {
            pending,
            verdict,
            is_enforced,
            decision_id,
            receipt,
        }
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
        awaited: AwaitedRecord<'_>,
        question: RecordedRequest<'_>,
    ) -> Response<Verdict> {
        let AwaitedRecord {
            pending,
            mut verdict,
            mut is_enforced,
            decision_id,
            receipt,
        } = awaited;
        if !receipt.is_done() && (verdict.is_allow() || !is_enforced) {
            let message = "this call could not be put on record";
            verdict = Verdict::deny(Reason::new(ReasonCode::AuditUnavailable, message));
            is_enforced = true;
        }
        let leaving = (&verdict, is_enforced);
        self.recorder()
            .record(&record(&pending, question, leaving, decision_id));
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
