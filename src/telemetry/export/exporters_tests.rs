use super::*;
use crate::telemetry::fixtures::lookup;

fn plan(variables: &[(&str, &str)]) -> ExportConfig {
    ExportConfig::read(&TelemetryConfig::default(), &lookup(variables))
}

fn configured(endpoint: &str) -> TelemetryConfig {
    TelemetryConfig {
        endpoint: Some(endpoint.to_owned()),
        ..TelemetryConfig::default()
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
    let config = configured("https://collector:4317");
    let plan = ExportConfig::read(&config, &lookup(&[]));
    assert!(plan.traces && plan.metrics && !plan.logs);
    let off = lookup(&[("OTEL_METRICS_EXPORTER", "none")]);
    assert!(!ExportConfig::read(&config, &off).metrics);
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
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
    ]);
    assert!(!protocol.traces && protocol.metrics);
    assert_eq!(protocol.warnings.len(), 1);
    assert!(protocol.warnings[0].contains("OTEL_EXPORTER_OTLP_PROTOCOL is `http/json`"));
}

#[test]
fn log_lines_are_sent_if_somebody_asks_for_it() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    let asked = ("OTEL_LOGS_EXPORTER", "otlp");
    let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://collector:4317");
    assert!(!plan(&[endpoint]).logs);
    assert!(plan(&[endpoint, asked]).logs);
    let only_logs = plan(&[own]);
    assert!(only_logs.logs && !only_logs.traces && !only_logs.metrics);
    let config = TelemetryConfig {
        logs: true,
        ..configured("http://collector:4317")
    };
    assert!(ExportConfig::read(&config, &lookup(&[])).logs);
    let off = lookup(&[("OTEL_LOGS_EXPORTER", "none")]);
    assert!(!ExportConfig::read(&config, &off).logs);
}

#[test]
fn a_configured_protocol_wins_over_a_variable_that_makes_no_sense() {
    let config = TelemetryConfig {
        protocol: Some(OtlpProtocol::Http),
        ..configured("http://collector:4318")
    };
    let odd = lookup(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
    let plan = ExportConfig::read(&config, &odd);
    assert!(plan.traces && plan.metrics && plan.warnings.is_empty());
}
