use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::*;
use crate::telemetry::export::otlp_encoder::SpanIds;

const BOUNDS: [f64; 2] = [5e-6, 1.0];

/// The metrics of a provider that counted a little, in this format.
fn scraped(format: MetricsFormat) -> String {
    let exemplars = Arc::new(Exemplars::new(&BOUNDS));
    let (scraper, reader) = MetricsScraper::new(Arc::clone(&exemplars));
    let resource = Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", "call\"gate"))
        .build();
    let provider = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(reader)
        .build();
    let meter = provider.meter("test");
    let labels = [KeyValue::new("callgate.reason", "a\\b\"c\nd")];
    let counter = meter.u64_counter("callgate.decisions");
    let counter = counter.with_unit("{decision}").with_description("Made");
    counter.build().add(3, &labels);
    let gauge = meter.f64_gauge("callgate.audit.failing").with_unit("1");
    gauge.build().record(0.0, &[]);
    let size = meter.i64_up_down_counter("callgate.audit.size");
    size.with_unit("By").build().add(-2, &[]);
    let histogram = meter.f64_histogram(WITH_EXEMPLARS).with_unit("s");
    let histogram = histogram.with_boundaries(BOUNDS.to_vec()).build();
    for value in [1e-6, 0.5, 0.25, 9.0] {
        histogram.record(value, &labels);
    }
    let span = SpanIds {
        trace_id: TraceId::from(1_u128),
        span_id: SpanId::from(2_u64),
        parent: None,
        trace_state: String::new(),
    };
    exemplars.note(0.5, &labels, &span, SystemTime::now());
    let text = scraper.text(format).expect("the metrics");
    provider.shutdown().expect("the end");
    assert!(scraper.text(format).is_err(), "telemetry has stopped");
    text
}

const COMMON: &str = r#"callgate_decisions_total{callgate_reason="a\\b\"c\nd"} 3
# HELP callgate_audit_failing_ratio 
# TYPE callgate_audit_failing_ratio gauge
callgate_audit_failing_ratio 0.0
# HELP callgate_audit_size_bytes 
# TYPE callgate_audit_size_bytes gauge
callgate_audit_size_bytes -2
# HELP callgate_decision_duration_seconds 
# TYPE callgate_decision_duration_seconds histogram
callgate_decision_duration_seconds_bucket{callgate_reason="a\\b\"c\nd",le="5e-6"} 1
callgate_decision_duration_seconds_bucket{callgate_reason="a\\b\"c\nd",le="1.0"} 3
callgate_decision_duration_seconds_bucket{callgate_reason="a\\b\"c\nd",le="+Inf"} 4
callgate_decision_duration_seconds_sum{callgate_reason="a\\b\"c\nd"} 9.750001
callgate_decision_duration_seconds_count{callgate_reason="a\\b\"c\nd"} 4
"#;

#[test]
fn prometheus_reads_the_metrics() {
    let head = r#"# HELP target_info Target metadata
# TYPE target_info gauge
target_info{service_name="call\"gate"} 1
# HELP callgate_decisions_total Made
# TYPE callgate_decisions_total counter
"#;
    assert_eq!(
        scraped(MetricsFormat::Prometheus),
        format!("{head}{COMMON}")
    );
}

#[test]
fn openmetrics_has_exemplars_and_an_end() {
    let text = scraped(MetricsFormat::OpenMetrics);
    let (before, rest) = text.split_once(" # {").expect("an exemplar");
    assert!(before.ends_with("le=\"1.0\"} 3"), "{text}");
    let (exemplar, rest) = rest.split_once('\n').expect("a line");
    let ids = format!("trace_id=\"{:032x}\",span_id=\"{:016x}\"}} 0.5 ", 1, 2);
    assert!(exemplar.starts_with(&ids), "{exemplar}");
    let head = r#"# HELP target Target metadata
# TYPE target info
target_info{service_name="call\"gate"} 1
# HELP callgate_decisions Made
# TYPE callgate_decisions counter
"#;
    let without = format!("{before}\n{rest}");
    assert_eq!(without, format!("{head}{COMMON}# EOF\n"));
}

#[test]
fn the_scraper_says_what_it_reads() {
    let accepted = MetricsFormat::accepted;
    assert_eq!(accepted(None), MetricsFormat::Prometheus);
    assert_eq!(accepted(Some("*/*")), MetricsFormat::Prometheus);
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3";
    assert_eq!(accepted(Some(prometheus)), MetricsFormat::OpenMetrics);
}

#[test]
fn labels_have_names_that_prometheus_reads_and_each_one_once() {
    let text = |value: &str| opentelemetry::Value::from(value.to_owned());
    let values = ["a", "b", "c", "d", "e", "\"q\""].map(text);
    let keys = [
        "k8s_pod_name",
        "k8s.pod.name",
        "9lives",
        "",
        "__name__",
        "plain",
    ];
    let written = labels(keys.into_iter().zip(&values));
    let wanted = [
        r#"k8s_pod_name="b;a""#,
        r#"key_9lives="c""#,
        r#"key___name__="e""#,
        r#"plain="\"q\"""#,
    ];
    let mut parts: Vec<_> = written.split(',').collect();
    parts.sort_unstable();
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    assert_eq!(parts, wanted);
}
