//! Spans that stay in memory, for tests of this library and of the integration binary.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use callgate::telemetry::export::span_queue::SpanSink;
use callgate::telemetry::export::span_tracer::{SpanSampler, SpanTracer};
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Wire;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as WireKeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prost::Message;

/// Keeps the spans that it is handed.
#[derive(Debug, Default, Clone)]
pub struct KeptSpans(Arc<Mutex<Vec<SpanData>>>);

impl KeptSpans {
    /// A tracer that records here.
    pub fn tracer(&self, sampler: SpanSampler) -> SpanTracer {
        SpanTracer::new(sampler, Arc::new(self.clone()))
    }

    /// The spans so far, as the SDK would show them.
    pub fn all(&self) -> Vec<SpanData> {
        self.0.lock().expect("no panic").clone()
    }

    /// Forgets them.
    #[allow(dead_code, reason = "not every binary does")]
    pub fn clear(&self) {
        self.0.lock().expect("no panic").clear();
    }
}

impl SpanSink for KeptSpans {
    fn push(&self, span: &[u8], is_write: bool) {
        let span = Span::decode(span).expect("a span of the protocol");
        assert_eq!(span.name.starts_with("control "), is_write, "{}", span.name);
        self.0.lock().expect("no panic").push(shown(span));
    }

    fn is_closed(&self) -> bool {
        false
    }
}

/// A span of the protocol as one of the SDK.
fn shown(span: Span) -> SpanData {
    let context = |trace: &[u8], id: &[u8], flags: u32, state: &str| {
        SpanContext::new(
            TraceId::from_bytes(trace.try_into().expect("16 bytes")),
            SpanId::from_bytes(id.try_into().expect("8 bytes")),
            TraceFlags::new(u8::try_from(flags & 0xff).expect("a byte")),
            false,
            state.parse::<TraceState>().expect("a trace state"),
        )
    };
    let time = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    let status = span.status.unwrap_or_default();
    assert_eq!(span.kind, 2, "SPAN_KIND_SERVER");
    let links = span.links.iter().map(|link| {
        let context = context(&link.trace_id, &link.span_id, link.flags, &link.trace_state);
        Link::new(context, link.attributes.iter().map(attribute).collect(), 0)
    });
    let mut kept_links = SpanLinks::default();
    kept_links.links = links.collect();
    kept_links.dropped_count = span.dropped_links_count;
    SpanData {
        span_context: context(&span.trace_id, &span.span_id, span.flags, &span.trace_state),
        parent_span_id: match span.parent_span_id.as_slice() {
            [] => SpanId::INVALID,
            bytes => SpanId::from_bytes(bytes.try_into().expect("8 bytes")),
        },
        parent_span_is_remote: span.flags & 0x200 != 0,
        span_kind: SpanKind::Server,
        name: span.name.into(),
        start_time: time(span.start_time_unix_nano),
        end_time: time(span.end_time_unix_nano),
        attributes: span.attributes.iter().map(attribute).collect(),
        dropped_attributes_count: span.dropped_attributes_count,
        events: SpanEvents::default(),
        links: kept_links,
        status: match status.code {
            0 => Status::Unset,
            _ => Status::error(status.message),
        },
        instrumentation_scope: Default::default(),
    }
}

fn attribute(wire: &WireKeyValue) -> KeyValue {
    let any = |value: &AnyValue| value.value.clone().expect("a value");
    let value = match any(wire.value.as_ref().expect("a value")) {
        Wire::StringValue(text) => text.into(),
        Wire::BoolValue(value) => value.into(),
        Wire::IntValue(value) => value.into(),
        Wire::DoubleValue(value) => value.into(),
        Wire::ArrayValue(list) => {
            let texts = list.values.iter().map(|item| match any(item) {
                Wire::StringValue(text) => StringValue::from(text),
                other => panic!("not a text: {other:?}"),
            });
            Value::Array(Array::String(texts.collect()))
        }
        other => panic!("not a value of ours: {other:?}"),
    };
    KeyValue::new(wire.key.clone(), value)
}
