use std::time::Duration;

use opentelemetry::StringValue;
use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use super::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{1,12}", "[a-z]{120,140}"]
}

fn value() -> impl Strategy<Value = Value> {
    let texts = vec(text().prop_map(StringValue::from), 0..4);
    prop_oneof![
        text().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2_i64..300).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(|all| Value::Array(all.into())),
        vec(any::<bool>(), 0..4).prop_map(|all| Value::Array(all.into())),
        vec(any::<i64>(), 0..4).prop_map(|all| Value::Array(all.into())),
        vec(any::<f64>(), 0..4).prop_map(|all| Value::Array(all.into())),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec((text(), value()), 0..6).prop_map(|all| {
        all.into_iter()
            .map(|(key, value)| KeyValue::new(key, value))
            .collect()
    })
}

fn time() -> impl Strategy<Value = SystemTime> {
    prop_oneof![
        Just(UNIX_EPOCH - Duration::from_secs(1)),
        any::<u64>().prop_map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos)),
    ]
}

fn context() -> impl Strategy<Value = SpanContext> {
    let state = option::of("[a-z]{1,5}").prop_map(|value| match value {
        None => TraceState::NONE,
        Some(value) => TraceState::from_key_value([("vendor", value)]).unwrap(),
    });
    (
        any::<u128>(),
        any::<u64>(),
        any::<u8>(),
        any::<bool>(),
        state,
    )
        .prop_map(|(trace, span, flags, is_remote, state)| {
            SpanContext::new(
                TraceId::from(trace),
                SpanId::from(span),
                TraceFlags::new(flags),
                is_remote,
                state,
            )
        })
}

fn kinds() -> impl Strategy<Value = SpanKind> {
    prop_oneof![
        Just(SpanKind::Internal),
        Just(SpanKind::Server),
        Just(SpanKind::Client),
        Just(SpanKind::Producer),
        Just(SpanKind::Consumer),
    ]
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Unset),
        Just(Status::Ok),
        text().prop_map(Status::error)
    ]
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    let all = (0_u8..3, option::of("[0-9.]{1,5}"), option::of("[a-z]{1,5}"));
    (all, attributes()).prop_map(|((name, version, schema_url), attributes)| {
        let mut builder = InstrumentationScope::builder(format!("scope-{name}"));
        if let Some(version) = version {
            builder = builder.with_version(version);
        }
        if let Some(url) = schema_url {
            builder = builder.with_schema_url(url);
        }
        builder.with_attributes(attributes).build()
    })
}

fn events() -> impl Strategy<Value = SpanEvents> {
    let event = (text(), time(), attributes(), 0_u32..2)
        .prop_map(|(name, time, attributes, dropped)| Event::new(name, time, attributes, dropped));
    (vec(event, 0..3), 0_u32..2).prop_map(|(list, dropped)| {
        let mut events = SpanEvents::default();
        events.events = list;
        events.dropped_count = dropped;
        events
    })
}

fn links() -> impl Strategy<Value = SpanLinks> {
    let link = (context(), attributes(), 0_u32..2)
        .prop_map(|(context, attributes, dropped)| Link::new(context, attributes, dropped));
    (vec(link, 0..3), 0_u32..2).prop_map(|(list, dropped)| {
        let mut links = SpanLinks::default();
        links.links = list;
        links.dropped_count = dropped;
        links
    })
}

fn spans() -> impl Strategy<Value = Vec<SpanData>> {
    let parent = (prop_oneof![Just(0), any::<u64>()], any::<bool>());
    let ours = (context(), parent, kinds(), text(), time(), time());
    let rest = (attributes(), any::<u32>(), events(), links(), status());
    let span = (ours, rest).prop_map(
        |(
            (context, parent, kind, name, start, end),
            (attributes, dropped, events, links, status),
        )| {
            SpanData {
                span_context: context,
                parent_span_id: SpanId::from(parent.0),
                parent_span_is_remote: parent.1,
                span_kind: kind,
                name: name.into(),
                start_time: start,
                end_time: end,
                attributes,
                dropped_attributes_count: dropped,
                events,
                links,
                status,
                instrumentation_scope: InstrumentationScope::default(),
            }
        },
    );
    (vec((span, 0_usize..2), 0..5), vec(scope(), 2)).prop_map(|(spans, scopes)| {
        spans
            .into_iter()
            .map(|(span, scope)| SpanData {
                instrumentation_scope: scopes[scope].clone(),
                ..span
            })
            .collect()
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    (attributes(), option::of("[a-z]{1,5}")).prop_map(|(attributes, url)| {
        let builder = Resource::builder_empty();
        match url {
            Some(url) => builder.with_schema_url(attributes, url).build(),
            None => builder.with_attributes(attributes).build(),
        }
    })
}

proptest! {
    #[test]
    fn the_bytes_are_those_of_the_protocols_own_messages(
        resource in resource(),
        batches in vec(spans(), 1..3),
    ) {
        // One after the other into the same memory, as the exporter does it.
        let mut out = ReverseEncoder::default();
        for spans in batches {
            resource_spans(&resource, &spans, &mut out);
            let expected = group_spans_by_resource_and_scope(spans, &(&resource).into());
            prop_assert_eq!(out.written(), expected[0].encode_to_vec());
        }
    }
}
