//! A client of an OTLP collector, for every signal, over gRPC or HTTP.
//!
//! Start at [`CollectorClient::new`], then [`CollectorClient::send`]. Requests of all signals have one field in use, the first,
//! and their responses agree too, so one client serves them all. What may pass is tried again as the OpenTelemetry Protocol
//! Specification says, with waits that grow.
//!
//! Invariant: an export ends, whatever the collector does: every attempt has a timeout, and no attempt begins later than that
//! timeout after the first.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use opentelemetry_sdk::error::OTelSdkError;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Extensions, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::config::telemetry::OtlpProtocol;
use crate::domain::error_chain::with_causes;
use crate::telemetry::export::collector_attempt::{AttemptError, ExportResponse, Retry};
use crate::telemetry::export::collector_http::HttpCollector;
use crate::telemetry::export::collector_settings::CollectorSettings;
use crate::telemetry::export::exporter_error::ExporterError;

/// Attempts after the first, and the waits before them: exponential, with jitter so that servers that lost their
/// collector at once do not return at once.
const RETRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(1_600);
const JITTER_MS: u64 = 100;
/// Upper bound of the wait that a collector may ask for.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(30);

/// A client of the collector. It connects with the first export.
pub(crate) struct CollectorClient {
    transport: Transport,
    timeout: Duration,
}

enum Transport {
    Grpc(Box<GrpcCollector>),
    Http(Box<HttpCollector>),
}

struct GrpcCollector {
    client: Grpc<Channel>,
    headers: MetadataMap,
    rpc: &'static str,
}

impl CollectorClient {
    /// A client with these settings. Has to be created in a tokio runtime, on which it then works.
    ///
    /// # Errors
    ///
    /// [`ExporterError`] for an endpoint or TLS files that cannot be used.
    pub(super) fn new(settings: &CollectorSettings) -> Result<Self, ExporterError> {
        let transport = match settings.protocol {
            OtlpProtocol::Grpc => Transport::Grpc(Box::new(GrpcCollector::new(settings)?)),
            OtlpProtocol::Http => Transport::Http(Box::new(HttpCollector::new(settings)?)),
        };
        Ok(Self {
            transport,
            timeout: settings.timeout,
        })
    }

    /// Sends a message, the content of the first field of a request, and returns how much of it the collector rejected
    /// although it took the rest.
    ///
    /// # Errors
    ///
    /// The failure of the last attempt.
    pub(super) async fn send(&self, message: Bytes) -> Result<u64, OTelSdkError> {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let attempt = match &self.transport {
                Transport::Grpc(collector) => collector.attempt(message.clone()).await,
                Transport::Http(collector) => {
                    collector.attempt(message.clone(), self.timeout).await
                }
            };
            let error = match attempt {
                Ok(response) => return Ok(response.rejected()),
                Err(error) => error,
            };
            match backoff.wait_after(error.retry) {
                Some(wait) if started.elapsed() + wait < self.timeout => sleep(wait).await,
                _ => return Err(OTelSdkError::InternalFailure(error.text)),
            }
        }
    }
}

impl fmt::Debug for CollectorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers hold credentials.
        f.debug_struct("Collector")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl GrpcCollector {
    fn new(settings: &CollectorSettings) -> Result<Self, ExporterError> {
        let unusable = |error: tonic::transport::Error| ExporterError::Endpoint {
            variable: settings.source.clone(),
            endpoint: settings.shown_endpoint(),
            reason: with_causes(&error),
        };
        let mut endpoint = Endpoint::from(settings.endpoint.clone());
        if let Some(files) = &settings.tls {
            let mut tls = ClientTlsConfig::new();
            tls = match &files.authority {
                Some(authority) => tls.ca_certificate(Certificate::from_pem(authority)),
                None => tls.with_enabled_roots(),
            };
            if let Some((certificate, key)) = &files.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(tls).map_err(unusable)?;
        }
        let mut client = Grpc::new(endpoint.timeout(settings.timeout).connect_lazy());
        if settings.is_compressed {
            client = client
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip);
        }
        Ok(Self {
            client,
            headers: MetadataMap::from_headers(settings.headers.clone()),
            rpc: settings.signal.rpc(),
        })
    }

    async fn attempt(&self, message: Bytes) -> Result<ExportResponse, AttemptError> {
        let exchanged = async {
            let mut client = self.client.clone();
            client
                .ready()
                .await
                .map_err(|error| Status::unknown(format!("service was not ready: {error}")))?;
            let request = Request::from_parts(self.headers.clone(), Extensions::default(), message);
            // A message with one field of bytes is the same on the wire as one whose first field is a message.
            let codec = ProstCodec::<Bytes, ExportResponse>::default();
            client
                .unary(request, PathAndQuery::from_static(self.rpc), codec)
                .await
        };
        match exchanged.await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(AttemptError {
                text: failure(&status),
                retry: retry(&status),
            }),
        }
    }
}

/// The code of a failed export and its local causes.
fn failure(status: &Status) -> String {
    let text = format!("export failed with gRPC code: {:?}", status.code());
    match std::error::Error::source(status) {
        Some(cause) => format!("{text}: {}", with_causes(cause)),
        None => text,
    }
}

/// Which statuses are retryable, as OTLP says.
fn retry(status: &Status) -> Retry {
    let asked = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    match status.code() {
        Code::ResourceExhausted if asked.is_some() => Retry::After(asked),
        Code::Unavailable
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::DataLoss => Retry::After(asked),
        _ => Retry::No,
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
    /// `None` after the last attempt, or if another one will not succeed.
    fn wait_after(&mut self, retry: Retry) -> Option<Duration> {
        let Retry::After(asked) = retry else {
            return None;
        };
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

/// The SDK exports on a thread of its own, where blocking is allowed.
async fn sleep(duration: Duration) {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => tokio::time::sleep(duration).await,
        Err(_) => std::thread::sleep(duration),
    }
}

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
