use opentelemetry_sdk::error::OTelSdkError;

use super::*;

fn plan(variables: &[(&str, &str)]) -> ExportConfig {
    ExportConfig::from_env(None, &lookup(variables))
}

fn lookup(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    move |name| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

#[test]
fn nothing_is_exported_unless_somebody_says_where_to() {
    assert_eq!(plan(&[]), ExportConfig::default());
    assert_eq!(
        plan(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]),
        ExportConfig::default()
    );
}

#[test]
fn an_endpoint_starts_its_signals() {
    let both = plan(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")]);
    assert!(both.traces && both.metrics);
    let one = plan(&[(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "http://collector:4317",
    )]);
    assert!(one.traces && !one.metrics);
    let other = plan(&[(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "http://collector:4317",
    )]);
    assert!(!other.traces && other.metrics);
}

#[test]
fn an_endpoint_from_the_configuration_starts_both() {
    let plan = ExportConfig::from_env(Some("https://collector:4317"), &lookup(&[]));
    assert!(plan.traces && plan.metrics);
    let off = lookup(&[("OTEL_METRICS_EXPORTER", "none")]);
    assert!(!ExportConfig::from_env(Some("https://collector:4317"), &off).metrics);
    let cleartext = lookup(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4317")]);
    assert!(
        tls(
            ExportSignal::Traces,
            Some("https://collector:4317"),
            &cleartext
        )
        .unwrap()
        .is_some()
    );
}

#[test]
fn the_default_endpoint_has_to_be_asked_for() {
    let plan = plan(&[("OTEL_TRACES_EXPORTER", "otlp")]);
    assert!(plan.traces && !plan.metrics);
}

#[test]
fn none_and_disabled_turn_exporting_off() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    let only_metrics = plan(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]);
    assert!(!only_metrics.traces && only_metrics.metrics);
    assert_eq!(
        plan(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]),
        ExportConfig::default()
    );
    assert!(plan(&[endpoint, ("OTEL_SDK_DISABLED", "no")]).traces);
}

#[test]
fn what_does_not_exist_here_is_named_and_not_exported() {
    let exporter = plan(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
    assert!(!exporter.traces);
    assert!(
        exporter.warnings[0].contains("OTEL_TRACES_EXPORTER is `zipkin`"),
        "{exporter:?}"
    );
    let protocol = plan(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
    ]);
    assert!(!protocol.traces && protocol.metrics);
    assert_eq!(protocol.warnings.len(), 1);
    assert!(protocol.warnings[0].contains("OTEL_EXPORTER_OTLP_PROTOCOL is `http/protobuf`"));
}

#[test]
fn trust_is_set_up_for_tls_endpoints_only() {
    let is_tls = |endpoint| {
        tls(
            ExportSignal::Traces,
            None,
            &lookup(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]),
        )
        .unwrap()
        .is_some()
    };
    assert!(is_tls("https://collector:4317"));
    assert!(is_tls("collector:4317"), "the SDK makes this one https");
    assert!(!is_tls("http://collector:4317"));
    assert!(
        tls(ExportSignal::Traces, None, &lookup(&[]))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/no/such/file"),
    ];
    let error = tls(ExportSignal::Traces, None, &lookup(&variables))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: cannot read `/no/such/file`")
    );
    let half = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/some/key"),
    ];
    let error = tls(ExportSignal::Metrics, None, &lookup(&half))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("OTEL_EXPORTER_OTLP_CLIENT_KEY is set"),
        "{error}"
    );
}

/// Fails as often as told, then works.
#[derive(Debug)]
struct Flaky(AtomicU64);

impl SpanBatchExporter for Flaky {
    async fn export(&self, _: &EncodedSpans) -> OTelSdkResult {
        match self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            }) {
            Ok(_) => Err(OTelSdkError::InternalFailure("down".to_owned())),
            Err(_) => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_collector_that_is_down_is_mentioned_once_and_its_return_too() {
    let live = Arc::new(LiveGauges::default());
    let watched = MonitoredExporter::new(Flaky(AtomicU64::new(3)), "spans", &live);
    for _ in 0..3 {
        SpanBatchExporter::export(&watched, &EncodedSpans::default())
            .await
            .unwrap_err();
    }
    assert_eq!(watched.failures.load(Ordering::Relaxed), 3);
    // Within the minute only the first failure was worth a line, so another stays silent.
    assert!(!watched.log_result(&Err(OTelSdkError::InternalFailure("down".to_owned()))));
    SpanBatchExporter::export(&watched, &EncodedSpans::default())
        .await
        .unwrap();
    assert_eq!(watched.failures.load(Ordering::Relaxed), 0);
    assert!(!watched.log_result(&Ok(())), "all is well: nothing to say");
    assert!(
        watched.log_result(&Err(OTelSdkError::InternalFailure("down".to_owned()))),
        "a new outage"
    );
}
