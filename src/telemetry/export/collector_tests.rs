use std::io;

use tokio::net::{TcpListener, TcpStream};
use tonic_types::ErrorDetails;

use crate::config::telemetry::TelemetryConfig;
use crate::telemetry::env::ExportSignal;
use crate::telemetry::fixtures::lookup;

use super::*;

#[test]
fn waits_double_up_to_the_longest() {
    let mut backoff = Backoff::default();
    for expected in [100, 200, 400, 800] {
        let wait = backoff.wait_after(Retry::After(None)).unwrap();
        let least = Duration::from_millis(expected);
        assert!(
            wait >= least && wait <= least + Duration::from_millis(JITTER_MS),
            "{wait:?}"
        );
    }
    for _ in 0..9 {
        assert_eq!(backoff.wait_after(Retry::After(None)), Some(LONGEST_WAIT));
    }
    assert_eq!(Backoff::default().wait_after(Retry::No), None);
}

#[test]
fn a_collector_may_ask_for_time_within_reason() {
    let asking = |code, seconds| {
        let delay = Duration::from_secs(seconds);
        retry(&Status::with_error_details(
            code,
            "",
            ErrorDetails::with_retry_info(Some(delay)),
        ))
    };
    let exhausted = Code::ResourceExhausted;
    assert_eq!(
        retry(&Status::new(exhausted, "")),
        Retry::No,
        "without a time nobody expects it to pass"
    );
    let five = Backoff::default().wait_after(asking(exhausted, 5)).unwrap();
    assert!(five >= Duration::from_secs(5) && five < Duration::from_secs(6));
    let hour = Backoff::default().wait_after(asking(Code::Unavailable, 3_600));
    assert_eq!(hour, Some(LONGEST_ASKED_WAIT));
}

/// A client over gRPC of what listens there, which waits for 300 ms at most.
fn connect(scheme: &str, listener: &TcpListener) -> CollectorClient {
    let address = listener.local_addr().unwrap();
    let config = TelemetryConfig {
        endpoint: Some(format!("{scheme}://{address}")),
        protocol: Some(OtlpProtocol::Grpc),
        ..TelemetryConfig::default()
    };
    let quick = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300")];
    let settings = CollectorSettings::read(ExportSignal::Traces, &config, &lookup(&quick));
    CollectorClient::new(&settings.unwrap()).unwrap()
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let accepted = tokio::time::timeout(Duration::from_secs(5), listener.accept());
    Ok(accepted.await??.0)
}

#[tokio::test]
async fn who_accepts_a_connection_and_is_silent_ends_an_export_and_the_next_one_connects_anew() {
    for scheme in ["http", "https"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = connect(scheme, &listener);
        let mut connections = Vec::new();
        for _ in 0..2 {
            let started = Instant::now();
            let (error, connection) = tokio::join!(
                client.send(Bytes::from_static(b"\x0a\x00")),
                accept(&listener)
            );
            let said = error.unwrap_err().to_string();
            assert!(said.contains("did not answer in time"), "{scheme}: {said}");
            assert!(started.elapsed() < Duration::from_secs(4));
            connections.push(connection.unwrap());
        }
    }
}
