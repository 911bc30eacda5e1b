use super::*;
use crate::telemetry::fixtures::lookup;

fn read(variables: &[(&str, &str)]) -> Result<CollectorSettings, ExporterError> {
    let config = TelemetryConfig::default();
    CollectorSettings::read(ExportSignal::Traces, &config, &lookup(variables))
}

fn uri(variables: &[(&str, &str)]) -> String {
    address(
        ExportSignal::Traces,
        OtlpProtocol::Grpc,
        None,
        &lookup(variables),
    )
    .1
}

#[test]
fn an_endpoint_without_a_scheme_is_encrypted_unless_told_otherwise() {
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    let insecure = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "TRUE");
    assert_eq!(uri(&[bare]), "https://collector:4317");
    assert_eq!(uri(&[bare, insecure]), "http://collector:4317");
    let odd = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317/p://q");
    assert_eq!(uri(&[bare, odd]), "https://collector:4317/p://q");
    assert_eq!(uri(&[]), DEFAULT_GRPC);
    let own = Some("https://own:1");
    let own = address(
        ExportSignal::Traces,
        OtlpProtocol::Grpc,
        own,
        &lookup(&[bare]),
    )
    .1;
    assert_eq!(own, "https://own:1");
}

#[test]
fn over_http_a_base_gets_the_path_of_the_signal_and_a_signals_own_endpoint_does_not() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let at = |signal, config: &TelemetryConfig, variables: &[(&str, &str)]| {
        let found = CollectorSettings::read(signal, config, &lookup(variables)).unwrap();
        found.endpoint.to_string()
    };
    let none = TelemetryConfig::default();
    assert_eq!(
        at(ExportSignal::Logs, &none, &[http]),
        "http://localhost:4318/v1/logs"
    );
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/otlp/");
    assert_eq!(
        at(ExportSignal::Metrics, &none, &[http, base]),
        "http://collector:4318/otlp/v1/metrics"
    );
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1/in");
    assert_eq!(
        at(ExportSignal::Traces, &none, &[http, base, own]),
        "http://traces:1/in"
    );
    let configured = TelemetryConfig {
        endpoint: Some("http://configured:4318".to_owned()),
        protocol: Some(OtlpProtocol::Http),
        ..TelemetryConfig::default()
    };
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_eq!(
        at(ExportSignal::Traces, &configured, &[grpc, own]),
        "http://configured:4318/v1/traces"
    );
}

#[test]
fn the_signals_own_variable_wins_unless_it_makes_no_sense() {
    let own = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
    let general = ("OTEL_EXPORTER_OTLP_TIMEOUT", "20");
    let of =
        |variables: &[(&str, &str)]| timeout(ExportSignal::Traces, &lookup(variables)).as_millis();
    assert_eq!(of(&[(own, "10"), general]), 10);
    assert_eq!(of(&[(own, "soon"), general]), 20);
    assert_eq!(of(&[(own, "0"), general]), 20);
    assert_eq!(of(&[]), 10_000);

    let own = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION";
    let general = ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP");
    let of = |variables: &[(&str, &str)]| is_compressed(ExportSignal::Traces, &lookup(variables));
    assert!(!of(&[(own, "none"), general]));
    assert!(of(&[(own, "zstd"), general]));
    assert!(!of(&[]));
}

#[test]
fn an_endpoint_that_is_none_is_named_with_its_variable() {
    for (endpoint, reason) in [
        ("http://a b", "invalid uri character"),
        ("ftp://a", "it is no `http` or `https` URL"),
    ] {
        let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        let error = error.err().unwrap().to_string();
        let start = format!("OTEL_EXPORTER_OTLP_ENDPOINT: invalid endpoint `{endpoint}`: {reason}");
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn an_endpoint_that_is_none_is_shown_without_credentials() {
    for (endpoint, shown) in [
        ("ftp://user:hunter2@a:1/x", "ftp://a:1/x"),
        ("http://user:hunter2@a b?token=hunter2", "http://a b"),
        ("ftp://user:hunt@er2@a", "ftp://a"),
    ] {
        let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        let error = error.err().unwrap().to_string();
        assert!(error.contains(&format!("`{shown}`")), "{error}");
        assert!(!error.contains("hunt"), "{error}");
    }
}

#[test]
fn trust_is_set_up_for_tls_endpoints_only() {
    let is_tls = |endpoint| {
        let found = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).unwrap();
        found.tls.is_some()
    };
    assert!(is_tls("https://collector:4317"));
    assert!(is_tls("collector:4317"), "this one becomes https");
    assert!(!is_tls("http://collector:4317"));
    assert!(read(&[]).unwrap().tls.is_none());
    let config = TelemetryConfig {
        endpoint: Some("https://collector:4317".to_owned()),
        ..TelemetryConfig::default()
    };
    let cleartext = lookup(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4317")]);
    let found = CollectorSettings::read(ExportSignal::Traces, &config, &cleartext).unwrap();
    assert!(found.tls.is_some());
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let tls = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317");
    let missing = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/no/such/file");
    let error = read(&[tls, missing]).err().unwrap().to_string();
    let start = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: cannot read `/no/such/file`";
    assert!(error.starts_with(start), "{error}");
    let half = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/some/key");
    let error = read(&[tls, half]).err().unwrap().to_string();
    assert!(
        error.starts_with("OTEL_EXPORTER_OTLP_CLIENT_KEY is set"),
        "{error}"
    );
}

#[test]
fn what_is_shown_has_no_credentials() {
    let found = read(&[(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "https://me:secret@c:4317/x?key=secret",
    )]);
    assert_eq!(found.unwrap().shown_endpoint(), "https://c:4317/x");
}
