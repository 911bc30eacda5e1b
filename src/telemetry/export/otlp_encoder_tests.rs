use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{KeyValue, StringValue};
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::telemetry::export::span_queue::SpanSink as _;
use crate::telemetry::span_fixtures::KeptSpans;

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

fn resource() -> impl Strategy<Value = Resource> {
    (attributes(), option::of("[a-z]{1,5}")).prop_map(|(attributes, url)| {
        let builder = Resource::builder_empty();
        match url {
            Some(url) => builder.with_schema_url(attributes, url).build(),
            None => builder.with_attributes(attributes).build(),
        }
    })
}

/// A link: the span it leads to, and its attributes.
type LinkCase = (Option<SpanIds>, [(String, String); 2]);

/// A span in the words of this encoder, and what it stands for.
#[derive(Debug, Clone)]
struct Case {
    ids: SpanIds,
    name: [String; 2],
    times: [SystemTime; 2],
    error: Option<String>,
    attributes: Vec<KeyValue>,
    links: Vec<LinkCase>,
    limits: SpanLimits,
}

fn ids() -> impl Strategy<Value = SpanIds> {
    let state = prop_oneof![Just(String::new()), "vendor=[a-z]{1,5}"];
    (any::<u128>(), any::<u64>(), option::of(1..u64::MAX), state).prop_map(
        |(trace, span, parent, trace_state)| SpanIds {
            trace_id: TraceId::from(trace),
            span_id: SpanId::from(span),
            parent: parent.map(SpanId::from),
            trace_state,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let limits =
        (0_u32..8, 0_u32..4).prop_map(|(attributes, links)| SpanLimits { attributes, links });
    let link = (option::of(ids()), [(text(), text()), (text(), text())]);
    (
        ids(),
        [text(), text()],
        [time(), time()],
        option::of(text()),
        attributes(),
        vec(link, 0..5),
        limits,
    )
        .prop_map(
            |(ids, name, times, error, attributes, links, limits)| Case {
                ids,
                name,
                times,
                error,
                attributes,
                links,
                limits,
            },
        )
}

fn context(ids: &SpanIds) -> SpanContext {
    let state: TraceState = ids.trace_state.parse().unwrap();
    SpanContext::new(ids.trace_id, ids.span_id, TraceFlags::SAMPLED, false, state)
}

impl Case {
    /// Encoded here, by the method for each type where there is one.
    fn encoded(&self) -> Vec<u8> {
        let head = SpanHead {
            ids: &self.ids,
            name: [&self.name[0], &self.name[1]],
            times: self.times,
            error: self.error.as_deref(),
        };
        let attributes = |out: &mut AttributeWriter<'_>| {
            for one in &self.attributes {
                let key = one.key.as_str();
                match &one.value {
                    Value::String(text) => {
                        out.text(key, text.as_str());
                    }
                    Value::Bool(value) => out.flag(key, *value),
                    Value::I64(value) => out.integer(key, *value),
                    Value::Array(Array::String(texts)) if !texts.is_empty() => {
                        out.texts(key, texts.iter().map(|text| text.as_str()));
                    }
                    value => out.value(key, value),
                }
            }
        };
        let links = self.links.iter().map(|(span, attributes)| SpanLink {
            span: span.clone(),
            attributes: attributes
                .each_ref()
                .map(|(key, value)| (key.as_str(), Cow::from(value.as_str()))),
        });
        let links: Vec<_> = links.collect();
        let mut out = Vec::new();
        span(&mut out, &head, self.limits, attributes, &links);
        out
    }

    /// The same as the SDK would have it.
    fn as_data(&self, scope: &InstrumentationScope) -> SpanData {
        let kept = self.attributes.len().min(self.limits.attributes as usize);
        let all = self.links.iter().map(|(span, attributes)| {
            let attributes = attributes.clone();
            let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
            let context = span.as_ref().map_or(SpanContext::NONE, context);
            Link::new(context, attributes.to_vec(), 0)
        });
        let mut links = SpanLinks::default();
        links.links = all.take(self.limits.links as usize).collect();
        links.dropped_count = (self.links.len() - links.links.len()) as u32;
        SpanData {
            span_context: context(&self.ids),
            parent_span_id: self.ids.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.ids.parent.is_some(),
            span_kind: SpanKind::Server,
            name: self.name.concat().into(),
            start_time: self.times[0],
            end_time: self.times[1],
            attributes: self.attributes[..kept].to_vec(),
            dropped_attributes_count: (self.attributes.len() - kept) as u32,
            events: SpanEvents::default(),
            links,
            status: self.error.clone().map_or(Status::Unset, Status::error),
            instrumentation_scope: scope.clone(),
        }
    }
}

proptest! {
    #[test]
    fn the_bytes_are_those_of_the_protocols_own_messages(
        (resource, scope) in (resource(), scope()),
        batches in vec(vec(case(), 1..5), 1..3),
    ) {
        let frame = ExportFrame::new(&resource, &scope);
        // One after the other into the same memory, as the exporter does it.
        let mut out = Vec::new();
        for cases in batches {
            let mut spans = Vec::new();
            for case in &cases {
                push_record(&mut spans, &case.encoded());
            }
            frame.write(&spans, &mut out);
            let data = cases.iter().map(|case| case.as_data(&scope)).collect();
            let expected = group_spans_by_resource_and_scope(data, &(&resource).into());
            prop_assert_eq!(&out, &expected[0].encode_to_vec());
        }
    }
}

fn only(attributes: impl FnOnce(&mut AttributeWriter<'_>), links: &[SpanLink<'_>]) -> SpanData {
    let ids = SpanIds {
        trace_id: TraceId::from(1_u128),
        span_id: SpanId::from(2_u64),
        parent: None,
        trace_state: String::new(),
    };
    let head = SpanHead {
        ids: &ids,
        name: ["authorize", ""],
        times: [UNIX_EPOCH; 2],
        error: None,
    };
    let mut out = Vec::new();
    span(&mut out, &head, SpanLimits::default(), attributes, links);
    let kept = KeptSpans::default();
    kept.push(&out, false);
    kept.all().remove(0)
}

#[test]
fn a_text_in_pieces_is_the_text_that_they_are_together() {
    for length in [
        0,
        1,
        100,
        MAX_TEXT - 9,
        MAX_TEXT - 8,
        MAX_TEXT - 7,
        MAX_TEXT,
    ] {
        let id = "ü".repeat(length / 2) + &"x".repeat(length % 2);
        let pieces = ["Agent", "::\"", &id, "\""];
        let in_pieces = only(|out| out.joined("of", &pieces), &[]);
        let whole = only(|out| out.text("of", &pieces.concat()), &[]);
        assert_eq!(in_pieces.attributes, whole.attributes, "{length}");
    }
}

#[test]
fn texts_and_lists_of_a_span_are_cut_and_say_so() {
    let long = "ü".repeat(MAX_TEXT);
    let cut = format!("{}…", "ü".repeat(MAX_TEXT / 2));
    let many: Vec<String> = (0..100).map(|number| format!("{number}{long}")).collect();
    let links = [SpanLink {
        span: None,
        attributes: [("kind", "denied".into()), ("id", long.as_str().into())],
    }];
    let attributes = |out: &mut AttributeWriter<'_>| {
        out.text("text", &long);
        out.value("value", &Value::from(long.clone()));
        out.texts("list", many.iter().map(String::as_str));
        out.texts("short", ["one"; MAX_LIST].into_iter());
    };
    let span = only(attributes, &links);
    let listed = many[..MAX_LIST].iter().map(|text| {
        let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
        StringValue::from(format!("{}…", &text[..end.unwrap()]))
    });
    let listed: Vec<StringValue> = listed.collect();
    let short = vec![StringValue::from("one"); MAX_LIST];
    let expected = [
        KeyValue::new("text", cut.clone()),
        KeyValue::new("value", cut.clone()),
        KeyValue::new("list", Value::Array(listed.into())),
        KeyValue::new("list.count", 100),
        KeyValue::new("short", Value::Array(short.into())),
    ];
    assert_eq!(span.attributes, expected);
    assert_eq!(span.links.links[0].attributes[1].value.as_str(), cut);
}
