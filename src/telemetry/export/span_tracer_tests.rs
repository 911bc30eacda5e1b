use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanKind, TraceContextExt, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use proptest::prelude::*;

use super::*;
use crate::telemetry::span_fixtures::KeptSpans;

fn from_variables(sampler: &str, ratio: Option<&str>) -> SpanSampler {
    SpanSampler::from_env(&|name| match name {
        SAMPLER_VARIABLE => Some(sampler.to_owned()),
        RATIO_VARIABLE => ratio.map(str::to_owned),
        _ => None,
    })
}

fn of_caller(trace: u128, is_sampled: bool) -> TraceContext {
    let flags = u8::from(is_sampled);
    let traceparent = format!("00-{trace:032x}-{:016x}-{flags:02x}", 7);
    TraceContext::read(Some(&traceparent), ["vendor=x"])
}

proptest! {
    #[test]
    fn the_sdks_samplers_decide_the_same(
        trace in 1..u128::MAX,
        share in prop_oneof![0.0..1.0, Just(0.0), Just(1.0)],
        with_parent in proptest::option::of(any::<bool>()),
    ) {
        let of_caller = with_parent.map_or_else(TraceContext::default, |is_sampled| of_caller(trace, is_sampled));
        let parent = with_parent.map(|is_sampled| {
            let flags = TraceFlags::default().with_sampled(is_sampled);
            SpanContext::new(trace.into(), SpanId::from(7), flags, true, TraceState::NONE)
        });
        let context = parent.map(|it| Context::new().with_remote_span_context(it));
        let ratio = || Sampler::TraceIdRatioBased(share);
        let text = share.to_string();
        for (name, theirs) in [
            ("always_on", Sampler::AlwaysOn),
            ("always_off", Sampler::AlwaysOff),
            ("traceidratio", ratio()),
            ("parentbased_always_on", Sampler::ParentBased(Box::new(Sampler::AlwaysOn))),
            ("parentbased_always_off", Sampler::ParentBased(Box::new(Sampler::AlwaysOff))),
            ("parentbased_traceidratio", Sampler::ParentBased(Box::new(ratio()))),
        ] {
            let ours = from_variables(name, Some(&text)).samples(of_caller.parent(), trace.into());
            let theirs = theirs.should_sample(context.as_ref(), trace.into(), "", &SpanKind::Server, &[], &[]);
            prop_assert_eq!(ours, theirs.decision == SamplingDecision::RecordAndSample, "{}", name);
        }
    }
}

#[test]
fn what_is_no_sampler_follows_the_parent() {
    let default = SpanSampler::ALWAYS_ON.parent_based();
    assert_eq!(from_variables("jaeger_remote", None), default);
    assert_eq!(
        from_variables("traceidratio", None),
        SpanSampler::ratio(1.0)
    );
    assert_eq!(
        from_variables("traceidratio", Some("x")),
        SpanSampler::ratio(1.0)
    );
    for no_ratio in ["-1", "2", "NaN", "inf"] {
        let sampler = from_variables("traceidratio", Some(no_ratio));
        assert_eq!(sampler, SpanSampler::ratio(1.0), "{no_ratio}");
    }
    assert_eq!(
        from_variables("traceidratio", Some("0")),
        SpanSampler::ratio(0.0)
    );
    assert_eq!(SpanSampler::from_env(&|_| None), default);
}

#[test]
fn limits_are_those_of_the_variables() {
    let limits = limits_from_env(&|name| {
        let number = match name {
            ATTRIBUTES_VARIABLE => "3",
            LINKS_VARIABLE => "none",
            _ => return None,
        };
        Some(number.to_owned())
    });
    assert_eq!((limits.attributes, limits.links), (3, 128));
}

#[test]
fn a_span_belongs_to_the_trace_of_its_parent() {
    let tracer = KeptSpans::default().tracer(SpanSampler::ALWAYS_ON);
    let ids = tracer.begin(&of_caller(9, true)).unwrap();
    assert_eq!(ids.trace_id, TraceId::from(9));
    assert_eq!(ids.parent, Some(SpanId::from(7)));
    assert_eq!(ids.trace_state, "vendor=x");
    let own = tracer.begin(&TraceContext::default()).unwrap();
    assert_eq!(own.parent, None);
    assert_ne!(own.trace_id, TraceId::INVALID);
    assert_ne!(
        own.span_id,
        tracer.begin(&TraceContext::default()).unwrap().span_id
    );
}
