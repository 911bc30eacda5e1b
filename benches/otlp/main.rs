//! What it costs to encode a span: `cargo bench --bench otlp`.
//!
//! Encodes batches of spans as a delegated tool call leaves them, by Callgate's encoder and by
//! `opentelemetry-proto` with prost, which is what `opentelemetry-otlp` does, alternately in one run. Prints lines
//! `METRIC <name> <value> <unit>` with medians; dropping the batch is part of both.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callgate::telemetry::export::otlp_encoder::{ReverseEncoder, resource_spans};
use opentelemetry::trace::{SpanBuilder, SpanKind, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use prost::Message;

/// Spans of one export.
const BATCH: usize = 2_048;
const ROUNDS: usize = 41;

/// Attributes with text of their own, and attributes whose text is shared.
const OWNED: [(&str, &str); 11] = [
    ("callgate.decision", "allow"),
    (
        "callgate.decision.id",
        "01920000-0000-7000-8000-000000000001",
    ),
    ("callgate.operation", "tools/call"),
    ("callgate.adapter", "grpc"),
    ("mcp.method.name", "tools/call"),
    ("callgate.initiator", "client"),
    ("callgate.server", "github"),
    ("gen_ai.tool.name", "create_issue"),
    ("callgate.argument.names", "repo,title"),
    ("mcp.session.id", "session-1"),
    ("jsonrpc.request.id", "17"),
];
const SHARED: [(&str, &str); 4] = [
    ("callgate.caller", "edge"),
    ("callgate.policy_set.digest", DIGEST),
    ("callgate.subject", "Mcp::Agent::\"support\""),
    ("callgate.arguments.hmac", DIGEST),
];
const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const LISTS: [(&str, &[&str]); 3] = [
    ("callgate.policy.ids", &["read.broad", "read.engineering"]),
    ("callgate.policy.owners", &["platform-security"]),
    ("callgate.controls", &["OWASP:ASI02"]),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spans = spans()?;
    let resource = Resource::builder().build();
    let attributes = ResourceAttributesWithSchema::from(&resource);
    let mut encoder = ReverseEncoder::default();
    resource_spans(&resource, &spans, &mut encoder);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let batch = spans.clone();
        ours.push(time(|| {
            resource_spans(&resource, &batch, &mut encoder);
            drop(batch);
            encoder.written().len()
        }));
        let batch = spans.clone();
        theirs.push(time(|| {
            let resource_spans = group_spans_by_resource_and_scope(batch, &attributes);
            let request = ExportTraceServiceRequest { resource_spans };
            request.encode_to_vec().len()
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("METRIC otlp.encode_per_span {ours:.2} us");
    println!("METRIC otlp.encode_per_span_by_prost {theirs:.2} us");
    println!("METRIC otlp.prost_vs_encode {:.1} ratio", theirs / ours);
    Ok(())
}

fn time(encode: impl FnOnce() -> usize) -> Duration {
    let started = Instant::now();
    black_box(encode());
    started.elapsed()
}

/// The median time of one span in microseconds.
fn median(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2].as_secs_f64() * 1e6 / BATCH as f64
}

fn spans() -> Result<Vec<SpanData>, Box<dyn std::error::Error>> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let tracer = provider.tracer("callgate");
    for number in 0..BATCH {
        let mut attributes = vec![KeyValue::new("callgate.revision", number as i64)];
        attributes.extend(OWNED.map(|(key, text)| KeyValue::new(key, text.to_owned())));
        attributes.extend(SHARED.map(|(key, text)| KeyValue::new(key, Arc::<str>::from(text))));
        attributes.extend(LISTS.map(|(key, texts)| {
            let texts: Vec<StringValue> = texts.iter().map(|text| (*text).into()).collect();
            KeyValue::new(key, Value::Array(texts.into()))
        }));
        let builder = SpanBuilder::from_name("authorize tools/call create_issue")
            .with_kind(SpanKind::Server)
            .with_attributes(attributes);
        drop(tracer.build_with_context(builder, &Context::new()));
    }
    Ok(exporter.get_finished_spans()?)
}
