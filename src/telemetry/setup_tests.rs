use std::time::Instant;

use opentelemetry::Key;

use super::*;
use crate::config::telemetry::ArgumentExport;

#[test]
fn a_filter_that_nobody_understands_is_named() {
    let error = parse_filter("callgate=loud").unwrap_err().to_string();
    assert!(error.starts_with("log filter `callgate=loud`: "), "{error}");
    parse_filter("info,callgate=debug").unwrap();
}

#[test]
fn the_key_comes_from_where_the_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, format!("{}\n", "f".repeat(32))).unwrap();
    let with = |arguments: ArgumentExport| config::telemetry::TelemetryConfig {
        arguments,
        ..Default::default()
    };
    let plain = with(ArgumentExport::default());
    let digest = |key: &str| {
        Redaction::new(key.repeat(32).as_bytes(), &plain)
            .unwrap()
            .digest("x")
            .unwrap()
    };
    let var = |name: &str| match name {
        KEY_VARIABLE => Some("v".repeat(32)),
        "OTHER" => Some("o".repeat(32)),
        _ => None,
    };
    let used = |config| {
        redaction(&config, dir.path(), &var)
            .unwrap()
            .digest("x")
            .unwrap()
    };

    assert_eq!(used(plain.clone()), digest("v"));
    let named = ArgumentExport {
        hmac_key_env: Some("OTHER".to_owned()),
        ..Default::default()
    };
    assert_eq!(used(with(named.clone())), digest("o"));
    let file = ArgumentExport {
        hmac_key_file: Some("key".into()),
        ..Default::default()
    };
    assert_eq!(
        used(with(file.clone())),
        digest("f"),
        "the line's end is not part of the key"
    );

    let error = redaction(&with(named), Path::new("."), &|_| None)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("the variable `OTHER` is not set"),
        "{error}"
    );
    let error = redaction(&plain, Path::new("."), &|_| Some("short".to_owned()))
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("has 5 bytes, but needs at least 32"),
        "{error}"
    );
    std::fs::remove_file(path).unwrap();
    let error = redaction(&with(file), dir.path(), &var)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("telemetry.arguments.hmac_key_file: cannot read `"),
        "{error}"
    );
}

#[test]
fn without_a_key_every_process_draws_its_own() {
    let config = config::telemetry::TelemetryConfig::default();
    let draw = || {
        redaction(&config, Path::new("."), &|_| None)
            .unwrap()
            .digest("x")
            .unwrap()
    };
    assert_ne!(draw(), draw());
}

#[test]
fn the_resource_names_the_service() {
    let resource = |name| super::resource(name, &|_| None);
    let get = |key: &'static str| {
        resource(None)
            .get(&Key::new(key))
            .map(|value| value.to_string())
    };
    let named = resource(Some("edge-pdp")).get(&Key::new("service.name"));
    assert_eq!(
        named.map(|value| value.to_string()).as_deref(),
        Some("edge-pdp")
    );
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

impl crate::telemetry::export::span_queue::SpanBatchExporter for Stuck {
    async fn export(
        &self,
        _: &crate::telemetry::export::span_queue::EncodedSpans,
    ) -> opentelemetry_sdk::error::OTelSdkResult {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    }
}

#[tokio::test]
async fn stopping_takes_no_longer_than_it_is_given() {
    let queue = SpanQueue::start(Stuck, &Arc::default(), &|_| None).unwrap();
    queue.sink().push(b"one", false);
    let telemetry = Telemetry::with_exporters(RecorderParts::default(), Some(queue), None);
    let begun = Instant::now();
    telemetry.shutdown(Duration::from_millis(200)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "took {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_line_for_people_hides_nothing_and_is_one_line() {
    use std::io::Write;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .fmt_fields(debug_fn(write_field).delimited(" "))
        .finish();
    let hostile = "x\u{202e}\u{200b}\u{1b}[2J\nINFO allow";
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(tool = %hostile, agent = hostile, "denied");
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert!(
        text.contains(r"denied tool=x\u{202e}\u{200b}\u{1b}[2J\nINFO allow agent="),
        "{text:?}"
    );
    assert!(
        !text
            .trim_end()
            .contains(crate::domain::request::visible::is_invisible),
        "{text:?}"
    );
}
