//! Sends spans to an OTLP collector over gRPC.
//!
//! Start at [`SpanCollectorClient::new`]. It understands the `OTEL_EXPORTER_OTLP_*` variables as the exporter of
//! metrics does, which is `opentelemetry-otlp`'s. There is a span for every decision, so spans are
//! encoded where they are recorded, see [`otlp_encoder`](crate::telemetry::export::otlp_encoder), and sent as they are.
//!
//! Invariant: an export ends, whatever the collector does: every attempt has a timeout, and no attempt
//! begins later than that timeout after the first.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use percent_encoding::percent_decode_str;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Extensions, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::domain::error_chain::with_causes;
use crate::telemetry::env::{EnvLookup, ExportSignal, signal_variable};
use crate::telemetry::export::otlp_encoder::ExportFrame;
use crate::telemetry::export::span_queue::{EncodedSpans, SpanBatchExporter};

/// The RPC.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const DEFAULT_ENDPOINT: &str = "http://localhost:4317";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts after the first, and the waits before them: exponential, with jitter so that servers that lost their
/// collector at once do not return at once.
const RETRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(1_600);
const JITTER_MS: u64 = 100;
/// Upper bound of the wait that a collector may ask for.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(30);

/// A client of the collector. It connects with the first export.
pub struct SpanCollectorClient {
    client: Grpc<Channel>,
    headers: MetadataMap,
    timeout: Duration,
    frame: ExportFrame,
    /// Spans that the collector rejected in exports that it accepted.
    rejected: Arc<AtomicU64>,
    /// The buffer of the last batch, reused for the next.
    buffer: Mutex<Arc<Vec<u8>>>,
}

impl SpanCollectorClient {
    /// A client for the configured endpoint, or the one of the variables, that sends batches in this frame. Has to be created
    /// and used in a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ExporterBuildError`] for an invalid endpoint or TLS configuration.
    pub fn new(
        endpoint: Option<&str>,
        tls: Option<ClientTlsConfig>,
        frame: ExportFrame,
        var: EnvLookup<'_>,
    ) -> Result<Self, ExporterBuildError> {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let timeout = timeout(&var);
        let (source, uri) = address(endpoint, &var);
        let invalid = |source: &str, error: &dyn std::error::Error| {
            ExporterBuildError::InvalidConfiguration(format!("{source}: {}", with_causes(error)))
        };
        let mut endpoint = Endpoint::from_shared(uri.clone())
            .map_err(|error| invalid(&format!("{source}: invalid endpoint `{uri}`"), &error))?;
        if let Some(tls) = tls {
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|error| invalid("tls_config", &error))?;
        }
        let channel = endpoint.timeout(timeout).connect_lazy();
        let mut client = Grpc::new(channel);
        if is_compressed(&var) {
            client = client
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip);
        }
        Ok(Self {
            client,
            headers: MetadataMap::from_headers(headers(&var)),
            timeout,
            frame,
            rejected: Arc::default(),
            buffer: Mutex::default(),
        })
    }

    /// The count of spans that the collector rejected in exports that it accepted.
    pub(crate) fn rejected(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rejected)
    }

    fn message(&self, batch: &EncodedSpans) -> Bytes {
        // A panic may have left a partial message, which is overwritten.
        let mut kept = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        // An abandoned attempt may still send from the buffer.
        let mut buffer = Arc::into_inner(std::mem::take(&mut *kept)).unwrap_or_default();
        self.frame.write(batch.bytes(), &mut buffer);
        *kept = Arc::new(buffer);
        Bytes::from_owner(SharedMessage(Arc::clone(&kept)))
    }

    async fn attempt(&self, resource_spans: Bytes) -> Result<(), Status> {
        let mut client = self.client.clone();
        client
            .ready()
            .await
            .map_err(|error| Status::unknown(format!("service was not ready: {error}")))?;
        let request =
            Request::from_parts(self.headers.clone(), Extensions::default(), resource_spans);
        // `resource_spans` is the request's only field, so a message with one field of bytes is the same on the wire.
        let codec = ProstCodec::<Bytes, ExportResponse>::default();
        let response = client
            .unary(request, PathAndQuery::from_static(EXPORT), codec)
            .await?;
        let partly = response.into_inner().partial_success.unwrap_or_default();
        let rejected = u64::try_from(partly.rejected_spans).unwrap_or_default();
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        Ok(())
    }
}

/// The used part of `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// The used part of `ExportTracePartialSuccess`. Its message is left out: it may quote a header with a credential.
#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

/// A message, shared with the attempts that send it.
struct SharedMessage(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedMessage {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SpanBatchExporter for SpanCollectorClient {
    async fn export(&self, batch: &EncodedSpans) -> OTelSdkResult {
        let message = self.message(batch);
        let started = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let Err(status) = self.attempt(message.clone()).await else {
                return Ok(());
            };
            match backoff.wait_after(&status) {
                Some(wait) if started.elapsed() + wait < self.timeout => {
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(failure(&status)),
            }
        }
    }
}

impl fmt::Debug for SpanCollectorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers hold credentials.
        f.debug_struct("Collector")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The wait before the next attempt.
struct Backoff {
    left: u32,
    wait: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            left: RETRIES,
            wait: FIRST_WAIT,
            longest: LONGEST_WAIT,
        }
    }
}

impl Backoff {
    /// `None` if OTLP says that the status is not retryable, or after the last attempt.
    fn wait_after(&mut self, status: &Status) -> Option<Duration> {
        let asked = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        match status.code() {
            Code::ResourceExhausted if asked.is_some() => {}
            Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss => {}
            _ => return None,
        }
        self.left = self.left.checked_sub(1)?;
        if let Some(asked) = asked {
            let asked = asked.min(LONGEST_ASKED_WAIT);
            if asked > self.longest {
                self.longest = LONGEST_ASKED_WAIT;
            }
            self.wait = self.wait.max(asked);
        }
        let wait = (self.wait + jitter()).min(self.longest);
        self.wait = (self.wait * 2).min(self.longest);
        Some(wait)
    }
}

fn jitter() -> Duration {
    // Without random bytes there is no jitter.
    let random = getrandom::u64().unwrap_or_default();
    Duration::from_millis(random % (JITTER_MS + 1))
}

/// The error of a failed export: the code and the local causes. The collector's message is left out: it may quote a header
/// with a credential.
fn failure(status: &Status) -> OTelSdkError {
    let mut text = format!("export failed with gRPC code: {:?}", status.code());
    if let Some(cause) = std::error::Error::source(status) {
        text = format!("{text}: {}", with_causes(cause));
    }
    OTelSdkError::InternalFailure(text)
}

/// The source of the endpoint, for messages, and the endpoint with its scheme.
fn address(configured: Option<&str>, var: EnvLookup<'_>) -> (String, String) {
    let configured = configured
        .filter(|endpoint| !endpoint.is_empty())
        .map(|endpoint| ("endpoint".to_owned(), endpoint.to_owned()));
    let (source, endpoint) = configured
        .or_else(|| signal_variable(ExportSignal::Traces, "ENDPOINT", var))
        .unwrap_or_else(|| ("endpoint".to_owned(), DEFAULT_ENDPOINT.to_owned()));
    let has_scheme = endpoint
        .split_once("://")
        .is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#']));
    if has_scheme {
        return (source, endpoint);
    }
    let is_insecure = signal_variable(ExportSignal::Traces, "INSECURE", var)
        .is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
    let scheme = if is_insecure { "http" } else { "https" };
    (source, format!("{scheme}://{endpoint}"))
}

fn timeout(var: EnvLookup<'_>) -> Duration {
    let milliseconds = ["TRACES_", ""].into_iter().find_map(|infix| {
        var(&format!("OTEL_EXPORTER_OTLP_{infix}TIMEOUT"))?
            .parse()
            .ok()
    });
    milliseconds.map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

/// Whether the variables ask for gzip. A value other than `gzip` and `none` counts as absent.
fn is_compressed(var: EnvLookup<'_>) -> bool {
    let found = ["TRACES_", ""].into_iter().find_map(|infix| {
        let value = var(&format!("OTEL_EXPORTER_OTLP_{infix}COMPRESSION"))?;
        match value.to_ascii_lowercase().as_str() {
            "gzip" => Some(true),
            "none" => Some(false),
            _ => None,
        }
    });
    found.unwrap_or(false)
}

/// The headers of the variables: `key=value,key=value` with percent-encoded values. Invalid headers are left out.
fn headers(var: EnvLookup<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        http::header::USER_AGENT,
        HeaderValue::from_static(concat!(
            "OTel-OTLP-Exporter-Callgate/",
            env!("CARGO_PKG_VERSION")
        )),
    );
    let text = signal_variable(ExportSignal::Traces, "HEADERS", var)
        .map_or_else(String::new, |(_, text)| text);
    for pair in text.split(',') {
        let Some((key, value)) = pair.split_once('=') else {
            continue;
        };
        let value = value.trim();
        let decoded = percent_decode_str(value).decode_utf8();
        let value = decoded.as_deref().unwrap_or(value);
        let header = (
            HeaderName::from_str(key.trim()),
            HeaderValue::from_str(value),
        );
        if let (Ok(key), Ok(value)) = header
            && !value.is_empty()
        {
            headers.insert(key, value);
        }
    }
    headers
}

#[cfg(test)]
#[path = "span_exporter_tests.rs"]
mod tests;
