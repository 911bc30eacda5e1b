//! The spans of decisions and control writes, and the links between them.
//!
//! Links, each with `callgate.link`: of a call to the decision that it follows from (`parent`); of a call that presents an
//! approval to the deny that asked for it (`denied`), to the request for the approval (`approval_request`) and to what was said
//! to it (`approval`); of these two writes to the deny and to the request. A span that is not known here, because another
//! replica made it or it is too long ago, is named by the id alone: the link's context is empty, and its attributes stay.

use std::sync::atomic::Ordering;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};
use uuid::Uuid;

use crate::audit::control_record::{ControlOutcome, ControlRecord};
use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::domain::request::call_context::TraceContext;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::record::recent_spans::RecentSpans;
use crate::telemetry::record::trace_parent::{TraceContextExtractor, parse_traceparent};
use crate::telemetry::record::{decision_mapping, write_mapping};
use crate::telemetry::redact::redaction::Redaction;

/// The most approvals of a call that are linked to.
const MAX_APPROVALS: usize = 8;

/// Makes spans.
#[derive(Debug)]
pub(super) struct Spans {
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    recent: RecentSpans,
}

impl Spans {
    pub(super) fn new(tracer: SdkTracer) -> Self {
        Self {
            tracer,
            propagator: TraceContextPropagator::new(),
            recent: RecentSpans::default(),
        }
    }

    /// The span of a decision. `None` if the sampler leaves it out.
    pub(super) fn decision(
        &self,
        record: &DecisionRecord<'_>,
        redaction: &Redaction,
        live: &LiveGauges,
    ) -> Option<SpanContext> {
        let builder = SpanBuilder::from_name("authorize")
            .with_kind(SpanKind::Server)
            .with_start_time(record.started_at)
            .with_attributes(Vec::with_capacity(decision_mapping::USUAL_ATTRIBUTES));
        let parent = self.parent(record.question.trace());
        let mut span = self.tracer.build_with_context(builder, &parent);
        // The sampler left the span out, so its name and attributes are not needed.
        if !span.is_recording() {
            return None;
        }
        span.update_name(decision_mapping::span_name(record));
        decision_mapping::attributes(record, redaction, |attribute| span.set_attribute(attribute));
        if let Some(parent) = record.question.parent_decision_id() {
            link_to_decision(&mut span, "parent", parent, self.recent.decision(parent));
        }
        self.link_to_approvals(&mut span, record);
        if decision_mapping::is_failure(record) {
            span.set_status(Status::error("callgate failed while deciding"));
        }
        let context = span.span_context().clone();
        let challenge = record.decision.challenge.as_deref();
        let challenge = challenge.map(|challenge| challenge.digest.as_str());
        self.recent.decided(record.decision_id, challenge, &context);
        let ended_at = record.started_at.checked_add(record.took);
        span.end_with_timestamp(ended_at.unwrap_or(record.started_at));
        live.spans.recorded.fetch_add(1, Ordering::Relaxed);
        Some(context)
    }

    /// The span of a control write. `None` if the sampler leaves it out.
    pub(super) fn write(
        &self,
        record: &ControlRecord<'_>,
        redaction: &Redaction,
        live: &LiveGauges,
    ) -> Option<SpanContext> {
        let builder = SpanBuilder::from_name(write_mapping::span_name(record))
            .with_kind(SpanKind::Server)
            .with_start_time(record.started_at);
        let parent = self.parent(record.trace);
        let mut span = self.tracer.build_with_context(builder, &parent);
        if !span.is_recording() {
            return None;
        }
        span.set_attributes(write_mapping::attributes(record, redaction));
        if write_mapping::is_failure(record) {
            span.set_status(Status::error("callgate could not write"));
        }
        let context = span.span_context().clone();
        self.link_write(&mut span, record, &context);
        let ended_at = record.started_at.checked_add(record.took);
        span.end_with_timestamp(ended_at.unwrap_or(record.started_at));
        live.spans.recorded.fetch_add(1, Ordering::Relaxed);
        Some(context)
    }

    /// Links a call to the approvals that it presents or uses.
    fn link_to_approvals(&self, span: &mut Span, record: &DecisionRecord<'_>) {
        let RecordedRequest::Call(call) = record.question else {
            return;
        };
        let used = record.decision.effects.approval.as_ref();
        let found = used
            .map(|(id, _)| id)
            .filter(|id| !call.approval_ids.contains(id));
        for id in call.approval_ids.iter().chain(found).take(MAX_APPROVALS) {
            let spans = self.recent.approval(id);
            if let Some((denied, context)) = spans.denied {
                link_to_decision(span, "denied", denied, Some(context));
            }
            match (spans.requested, spans.decided) {
                (None, None) => link_to_approval(span, "approval", id, SpanContext::NONE),
                (requested, decided) => {
                    if let Some(context) = requested {
                        link_to_approval(span, "approval_request", id, context);
                    }
                    if let Some(context) = decided {
                        link_to_approval(span, "approval", id, context);
                    }
                }
            }
        }
    }

    /// Links a write about an approval to what came before it, and keeps its span for what comes after.
    fn link_write(&self, span: &mut Span, record: &ControlRecord<'_>, context: &SpanContext) {
        let Some((id, digest)) = record.id.zip(record.approval_digest) else {
            return;
        };
        let is_request = record.verb == "RequestApproval";
        if let Some((denied, context)) = self.recent.denied(digest) {
            link_to_decision(span, "denied", denied, Some(context));
        }
        if !is_request && let Some(context) = self.recent.approval(id).requested {
            link_to_approval(span, "approval_request", id, context);
        }
        if record.outcome == ControlOutcome::Done {
            self.recent
                .approval_written(id, digest, is_request, context);
        }
    }

    fn parent(&self, trace: &TraceContext) -> Context {
        if trace.traceparent.is_none() {
            return Context::new();
        }
        match parse_traceparent(trace) {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => self
                .propagator
                .extract_with_context(&Context::new(), &TraceContextExtractor(trace)),
        }
    }
}

fn link_to_decision(span: &mut Span, kind: &'static str, id: Uuid, context: Option<SpanContext>) {
    let attributes = vec![
        KeyValue::new("callgate.link", kind),
        KeyValue::new("callgate.decision.id", id.to_string()),
    ];
    span.add_link(context.unwrap_or(SpanContext::NONE), attributes);
}

fn link_to_approval(span: &mut Span, kind: &'static str, id: &str, context: SpanContext) {
    let attributes = vec![
        KeyValue::new("callgate.link", kind),
        KeyValue::new("callgate.approval.id", id.to_owned()),
    ];
    span.add_link(context, attributes);
}
