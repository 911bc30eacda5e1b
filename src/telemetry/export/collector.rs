//! A client of an OTLP collector, for every signal, over gRPC or HTTP.
//!
//! Start at [`CollectorClient::new`], then [`CollectorClient::send`]. Requests of all signals have one field in use, the first,
//! and their responses agree too, so one client serves them all. What may pass is tried again as the OpenTelemetry Protocol
//! Specification says, with waits that grow.
//!
//! The SDK exports on threads of its own, so an attempt is a task of the runtime on which the client was created. One that was
//! not answered in time takes its connection with it: the next one connects anew.
//!
//! Invariant: an export ends, whatever the collector does: every attempt has a timeout, connecting included, and no attempt
//! begins later than that timeout after the first.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use opentelemetry_sdk::error::OTelSdkError;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
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

/// The waits before further attempts: exponential, with jitter so that servers that lost their collector at once do not return
/// at once.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(1_600);
const JITTER_MS: u64 = 100;
/// Upper bound of the wait that a collector may ask for.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(30);

/// A client of the collector. It connects with the first export.
pub(crate) struct CollectorClient {
    transport: Transport,
    timeout: Duration,
    runtime: Handle,
}

#[derive(Clone)]
enum Transport {
    Grpc(Arc<GrpcCollector>),
    Http(Arc<HttpCollector>),
}

struct GrpcCollector {
    endpoint: Endpoint,
    is_compressed: bool,
    headers: MetadataMap,
    rpc: &'static str,
    /// The connection of the last exchange, unless that was given up.
    kept: Mutex<Option<Grpc<Channel>>>,
}

impl CollectorClient {
    /// A client with these settings. Has to be created in a tokio runtime, on which it then works.
    ///
    /// # Errors
    ///
    /// [`ExporterError`] for an endpoint or TLS files that cannot be used.
    pub(super) fn new(settings: &CollectorSettings) -> Result<Self, ExporterError> {
        let transport = match settings.protocol {
            OtlpProtocol::Grpc => Transport::Grpc(Arc::new(GrpcCollector::new(settings)?)),
            OtlpProtocol::Http => Transport::Http(Arc::new(HttpCollector::new(settings)?)),
        };
        let runtime = Handle::try_current().map_err(|error| ExporterError::Endpoint {
            variable: settings.source.clone(),
            endpoint: settings.shown_endpoint(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            transport,
            timeout: settings.timeout,
            runtime,
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
            let error = match self.attempt(message.clone()).await {
                Ok(response) => return Ok(response.rejected()),
                Err(error) => error,
            };
            match backoff.wait_after(error.retry) {
                Some(wait) if started.elapsed() + wait < self.timeout => sleep(wait).await,
                _ => return Err(OTelSdkError::InternalFailure(error.text)),
            }
        }
    }

    async fn attempt(&self, message: Bytes) -> Result<ExportResponse, AttemptError> {
        let (transport, within) = (self.transport.clone(), self.timeout);
        let exchange = async move {
            match &transport {
                Transport::Grpc(collector) => collector.exchange(message).await,
                Transport::Http(collector) => collector.exchange(&message).await,
            }
        };
        // The time is taken within the runtime: the threads of the SDK have none.
        let task = self
            .runtime
            .spawn(async move { tokio::time::timeout(within, exchange).await });
        match task.await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(AttemptError::may_pass(
                "the collector did not answer in time",
            )),
            // The runtime ends.
            Err(error) => Err(AttemptError {
                text: error.to_string(),
                retry: Retry::No,
            }),
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
        Ok(Self {
            endpoint,
            is_compressed: settings.is_compressed,
            headers: MetadataMap::from_headers(settings.headers.clone()),
            rpc: settings.signal.rpc(),
            kept: Mutex::default(),
        })
    }

    /// Sends one request. Whoever gives up waiting drops the connection.
    async fn exchange(&self, message: Bytes) -> Result<ExportResponse, AttemptError> {
        let mut kept = self.kept.lock().await;
        let mut client = kept.take().unwrap_or_else(|| self.client());
        let exchanged = async {
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
        let exchanged = exchanged.await;
        *kept = Some(client);
        match exchanged {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(AttemptError {
                text: failure(&status),
                retry: retry(&status),
            }),
        }
    }

    /// A client that connects with its first request.
    fn client(&self) -> Grpc<Channel> {
        let client = Grpc::new(self.endpoint.connect_lazy());
        match self.is_compressed {
            true => client
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip),
            false => client,
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
    wait: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            wait: FIRST_WAIT,
            longest: LONGEST_WAIT,
        }
    }
}

impl Backoff {
    /// `None` if another attempt will not succeed.
    fn wait_after(&mut self, retry: Retry) -> Option<Duration> {
        let Retry::After(asked) = retry else {
            return None;
        };
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
