use std::time::Instant;

use super::*;

#[test]
fn a_filter_that_nobody_understands_is_named() {
    let error = parse_filter("callgate=loud").unwrap_err().to_string();
    assert!(error.starts_with("log filter `callgate=loud`: "), "{error}");
    parse_filter("info,callgate=debug").unwrap();
}

#[test]
fn the_variable_wins_over_the_file_and_short_keys_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, format!("{}\n", "f".repeat(32))).unwrap();
    let config = config::telemetry::Telemetry {
        key_file: Some(path.clone()),
        ..Default::default()
    };
    let digest = |redaction: Redaction| redaction.digest("x").unwrap();

    let from_file = redaction(&config, &|_| None).unwrap();
    let from_variable = redaction(&config, &|name| {
        (name == KEY_VARIABLE).then(|| "v".repeat(32))
    })
    .unwrap();
    assert_ne!(digest(from_file.clone()), digest(from_variable));
    let same_key = Redaction::new("f".repeat(32).as_bytes(), &config).unwrap();
    assert_eq!(
        digest(from_file),
        digest(same_key),
        "the line's end is not part of the key"
    );

    let error = redaction(&config, &|_| Some("short".to_owned())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the telemetry key has 5 bytes, but needs at least 32"
    );
    std::fs::remove_file(path).unwrap();
    let error = redaction(&config, &|_| None).unwrap_err().to_string();
    assert!(
        error.starts_with("telemetry.key_file: cannot read `"),
        "{error}"
    );
}

#[test]
fn without_a_key_every_process_draws_its_own() {
    let config = config::telemetry::Telemetry::default();
    let draw = || redaction(&config, &|_| None).unwrap().digest("x").unwrap();
    assert_ne!(draw(), draw());
}

#[test]
fn the_resource_names_the_service() {
    let resource = resource(&|_| None);
    let get = |key: &'static str| resource.get(&Key::new(key)).map(|value| value.to_string());
    assert_eq!(get("service.name").as_deref(), Some("callgate"));
    assert_eq!(
        get("service.version").as_deref(),
        Some(env!("CARGO_PKG_VERSION"))
    );
    assert!(get("service.instance.id").is_some());
}

/// An exporter that never comes back, as with a collector that accepts and stays silent.
#[derive(Debug)]
struct Stuck;

impl opentelemetry_sdk::trace::SpanExporter for Stuck {
    async fn export(
        &self,
        _: Vec<opentelemetry_sdk::trace::SpanData>,
    ) -> opentelemetry_sdk::error::OTelSdkResult {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    }
}

#[tokio::test]
async fn stopping_takes_no_longer_than_it_is_given() {
    use opentelemetry::trace::Tracer;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Stuck)
        .build();
    provider.tracer("test").start("one");
    let config = config::telemetry::Telemetry::default();
    let telemetry = Telemetry::with_providers(
        &config,
        Redaction::default(),
        Arc::default(),
        Some(provider),
        None,
    );
    let begun = Instant::now();
    telemetry.shutdown(Duration::from_millis(200)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "took {:?}",
        begun.elapsed()
    );
}
