//! The spans of decisions and control writes, and the links between them.
//!
//! Links, each with `callgate.link`: of a call to the decision that it follows from (`parent`); of a call that presents an
//! approval to the deny that asked for it (`denied`), to the request for the approval (`approval_request`) and to what was said
//! to it (`approval`); of these two writes to the deny and to the request. A span that is not known here, because another
//! replica made it or it is too long ago, is named by the id alone: the link's context is empty, and its attributes stay.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::audit::control_record::{ControlOutcome, ControlRecord};
use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::domain::ids::ApprovalId;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::otlp_encoder::{AttributeWriter, SpanHead, SpanIds, SpanLink};
use crate::telemetry::export::span_tracer::SpanTracer;
use crate::telemetry::record::recent_spans::RecentSpans;
use crate::telemetry::record::{decision_mapping, write_mapping};
use crate::telemetry::redact::redaction::Redaction;

/// The most approvals of a call that are linked to.
pub(super) const MAX_APPROVALS: usize = 8;

/// Makes spans.
#[derive(Debug)]
pub(super) struct Spans {
    tracer: SpanTracer,
    recent: RecentSpans,
}

impl Spans {
    pub(super) fn new(tracer: SpanTracer) -> Self {
        Self {
            tracer,
            recent: RecentSpans::default(),
        }
    }

    /// Records the span of a decision. `None` if the sampler leaves it out.
    pub(super) fn decision(
        &self,
        record: &DecisionRecord<'_>,
        redaction: &Redaction,
        live: &LiveGauges,
    ) -> Option<SpanIds> {
        // The name, the attributes and the links of a span that the sampler leaves out are not needed.
        let ids = self.tracer.begin(record.question.trace())?;
        let links = self.links_of_decision(record);
        let challenge = record.decision.challenge.as_deref();
        let challenge = challenge.map(|challenge| &challenge.digest);
        self.recent.decided(record.decision_id, challenge, &ids);
        let is_failure = decision_mapping::is_failure(record);
        let head = SpanHead {
            ids: &ids,
            name: decision_mapping::span_name(record),
            times: [record.started_at, record.decided_at()],
            error: is_failure.then_some("callgate failed while deciding"),
        };
        let attributes = |out: &mut AttributeWriter<'_>| {
            decision_mapping::attributes(record, redaction, out);
        };
        live.spans.recorded.fetch_add(1, Ordering::Relaxed);
        self.tracer.end(&head, attributes, &links, false);
        Some(ids)
    }

    /// Records the span of a control write. `None` if the sampler leaves it out.
    pub(super) fn write(
        &self,
        record: &ControlRecord<'_>,
        redaction: &Redaction,
        live: &LiveGauges,
    ) -> Option<SpanIds> {
        let ids = self.tracer.begin(record.trace)?;
        let links = self.link_write(record, &ids);
        let ended_at = record.started_at.checked_add(record.took);
        let is_failure = write_mapping::is_failure(record);
        let head = SpanHead {
            ids: &ids,
            name: write_mapping::span_name(record),
            times: [record.started_at, ended_at.unwrap_or(record.started_at)],
            error: is_failure.then_some("callgate could not write"),
        };
        let attributes = |out: &mut AttributeWriter<'_>| {
            write_mapping::attributes(record, redaction, out);
        };
        live.spans.recorded.fetch_add(1, Ordering::Relaxed);
        self.tracer.end(&head, attributes, &links, true);
        Some(ids)
    }

    /// The links of a call to the decision that it follows from, and to the approvals that it presents or uses.
    fn links_of_decision<'r>(&self, record: &DecisionRecord<'r>) -> Vec<SpanLink<'r>> {
        let mut links = Vec::new();
        if let Some(parent) = record.question.parent_decision_id() {
            links.push(to_decision("parent", parent, self.recent.decision(parent)));
        }
        let RecordedRequest::Call(call) = record.question else {
            return links;
        };
        // The one that is used comes first: a call may present any number.
        let used = record.decision.effects.approval.as_ref().map(|(id, _)| id);
        let others = call.approval_ids.iter().filter(|id| Some(*id) != used);
        for id in used.into_iter().chain(others).take(MAX_APPROVALS) {
            let spans = self.recent.approval(id);
            if let Some((denied, span)) = spans.denied {
                links.push(to_decision("denied", denied, Some(span)));
            }
            match (spans.requested, spans.decided) {
                (None, None) => links.push(to_approval("approval", id.as_str(), None)),
                (requested, decided) => {
                    if requested.is_some() {
                        links.push(to_approval("approval_request", id.as_str(), requested));
                    }
                    if decided.is_some() {
                        links.push(to_approval("approval", id.as_str(), decided));
                    }
                }
            }
        }
        links
    }

    /// The links of a write about an approval to what came before it. Keeps its span for what comes after.
    fn link_write<'r>(&self, record: &ControlRecord<'r>, ids: &SpanIds) -> Vec<SpanLink<'r>> {
        let mut links = Vec::new();
        let Some((id, digest)) = record.id.zip(record.approval_digest) else {
            return links;
        };
        let is_request = record.verb == "RequestApproval";
        let approval = ApprovalId::from(id);
        if let Some((denied, span)) = self.recent.denied(digest) {
            links.push(to_decision("denied", denied, Some(span)));
        }
        if !is_request && let Some(span) = self.recent.approval(&approval).requested {
            links.push(to_approval("approval_request", id, Some(span)));
        }
        if record.outcome == ControlOutcome::Done {
            self.recent
                .approval_written(approval, digest, is_request, ids);
        }
        links
    }
}

fn to_decision(kind: &'static str, id: Uuid, span: Option<SpanIds>) -> SpanLink<'static> {
    SpanLink {
        span,
        attributes: [
            ("callgate.link", Cow::from(kind)),
            ("callgate.decision.id", Cow::from(id.to_string())),
        ],
    }
}

fn to_approval<'a>(kind: &'static str, id: &'a str, span: Option<SpanIds>) -> SpanLink<'a> {
    SpanLink {
        span,
        attributes: [
            ("callgate.link", Cow::from(kind)),
            ("callgate.approval.id", Cow::from(id)),
        ],
    }
}
