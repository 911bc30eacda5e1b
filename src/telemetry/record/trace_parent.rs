//! The parent span of a call: its `traceparent` and `tracestate` (W3C Trace Context).

use opentelemetry::propagation::Extractor;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::domain::request::call_context::TraceContext;

/// Parses a `traceparent` of version 00 without a `tracestate`, the common case, faster than the propagator. `None` leaves
/// the parent to the propagator.
pub(super) fn parse_traceparent(trace: &TraceContext) -> Option<SpanContext> {
    let text = trace.traceparent.as_deref()?.strip_prefix("00-")?;
    let is_plain = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    if text.len() != 52 || trace.tracestate.is_some() || !text.bytes().all(is_plain) {
        return None;
    }
    let (trace_id, rest) = text.split_once('-')?;
    let (span_id, flags) = rest.split_once('-')?;
    if trace_id.len() != 32 || span_id.len() != 16 {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let parent = SpanContext::new(
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(span_id).ok()?,
        flags & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    parent.is_valid().then_some(parent)
}

/// Adapts a call's trace context to the W3C propagator.
pub(super) struct TraceContextExtractor<'a>(pub(super) &'a TraceContext);

impl Extractor for TraceContextExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.0.traceparent.as_deref(),
            "tracestate" => self.0.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
