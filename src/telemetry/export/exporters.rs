//! Builds the exporters of spans and metrics from the standard `OTEL_*` variables, read once at the start.
//!
//! Start at [`ExportConfig::from_env`]. [`span_tracer`](crate::telemetry::export::span_tracer) reads the sampler and span limits,
//! [`span_queue`](crate::telemetry::export::span_queue) `OTEL_BSP_*`, the SDK
//! `OTEL_METRIC_EXPORT_INTERVAL` and resource attributes, the exporters read endpoints, headers, timeouts and
//! compression. This module reads what they leave to the program: whether to export at all, and the TLS
//! certificates.
//!
//! Invariant: telemetry never stops a decision. Failed exports are logged at a bounded rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_otlp::{ExporterBuildError, MetricExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::telemetry::env::{EnvLookup, ExportSignal, signal_variable};
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::losses::{LossReason, LostSignal, RecordKind};
use crate::telemetry::export::otlp_encoder::ExportFrame;
use crate::telemetry::export::span_exporter::SpanCollectorClient;
use crate::telemetry::export::span_queue::{EncodedSpans, SpanBatchExporter};

/// Interval of the log line about a collector that cannot be reached.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The signals to export.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExportConfig {
    /// Whether spans are exported.
    pub traces: bool,
    /// Whether metrics are exported.
    pub metrics: bool,
    /// Faults of the variables, as sentences for the log.
    pub warnings: Vec<String>,
}

/// An exporter that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// A certificate or key file cannot be read.
    #[error("{variable}: cannot read `{path}`: {source}")]
    Unreadable {
        /// The variable.
        variable: String,
        /// The file it names.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Only one half of a client's identity is set.
    #[error("{0} is set, but its counterpart is not: a client certificate needs its key")]
    HalfIdentity(String),
    /// The error of the OTLP library.
    #[error(transparent)]
    Build(#[from] ExporterBuildError),
}

impl ExportConfig {
    /// Reads the variables.
    ///
    /// By the specification, exporting to `localhost:4317` is on when nothing is set. A server without a collector would
    /// then retry and warn for ever. So exporting is on only with a variable or `telemetry.endpoint` that names an
    /// endpoint, or with `OTEL_TRACES_EXPORTER=otlp`, which asks for the default endpoint.
    pub fn from_env(endpoint: Option<&str>, var: EnvLookup<'_>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let mut config = Self::default();
        if var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return config;
        }
        config.traces = config.is_wanted(ExportSignal::Traces, endpoint, &var);
        config.metrics = config.is_wanted(ExportSignal::Metrics, endpoint, &var);
        config
    }

    fn is_wanted(
        &mut self,
        signal: ExportSignal,
        endpoint: Option<&str>,
        var: EnvLookup<'_>,
    ) -> bool {
        let name = signal.exporter_variable();
        let is_wanted = match var(name).as_deref() {
            None => endpoint.is_some() || signal_variable(signal, "ENDPOINT", var).is_some(),
            Some("otlp") => true,
            Some("none") => false,
            Some(other) => {
                self.warnings.push(format!(
                    "{name} is `{other}`, but only `otlp` and `none` exist here: exporting nothing"
                ));
                false
            }
        };
        match signal_variable(signal, "PROTOCOL", var) {
            Some((name, protocol)) if is_wanted && protocol != "grpc" => {
                self.warnings.push(format!(
                    "{name} is `{protocol}`, but only `grpc` exists here: exporting nothing"
                ));
                false
            }
            _ => is_wanted,
        }
    }
}

/// The exporter of spans, each batch in this frame. Has to be created and used in a tokio runtime.
///
/// # Errors
///
/// [`ExporterError`] for an unreadable certificate or an invalid endpoint.
pub fn spans(
    endpoint: Option<&str>,
    frame: ExportFrame,
    live: &Arc<LiveGauges>,
    var: EnvLookup<'_>,
) -> Result<MonitoredExporter<SpanCollectorClient>, ExporterError> {
    let tls = tls(ExportSignal::Traces, endpoint, var)?;
    let collector = SpanCollectorClient::new(endpoint, tls, frame, var)?;
    let rejected = collector.rejected();
    Ok(MonitoredExporter::new(collector, "spans", live).with_rejected_count(rejected))
}

/// The exporter of metrics. Has to be created and used in a tokio runtime.
///
/// # Errors
///
/// [`ExporterError`] for an unreadable certificate or an invalid endpoint.
pub fn metrics(
    endpoint: Option<&str>,
    live: &Arc<LiveGauges>,
    var: EnvLookup<'_>,
) -> Result<MonitoredExporter<MetricExporter>, ExporterError> {
    let mut builder = MetricExporter::builder().with_tonic();
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(tls) = tls(ExportSignal::Metrics, endpoint, var)? {
        builder = builder.with_tls_config(tls);
    }
    Ok(MonitoredExporter::new(builder.build()?, "metrics", live))
}

/// The TLS configuration for the collector: trusted authorities and the client certificate. `None` for cleartext.
fn tls(
    signal: ExportSignal,
    endpoint: Option<&str>,
    var: EnvLookup<'_>,
) -> Result<Option<ClientTlsConfig>, ExporterError> {
    let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
    let from_env = signal_variable(signal, "ENDPOINT", &var).map(|(_, endpoint)| endpoint);
    let is_cleartext = endpoint.or(from_env.as_deref()).is_none_or(|endpoint| {
        endpoint
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("http:")
    });
    if is_cleartext {
        return Ok(None);
    }
    let mut tls = ClientTlsConfig::new();
    tls = match signal_variable(signal, "CERTIFICATE", &var) {
        Some(named) => tls.ca_certificate(Certificate::from_pem(read(named)?)),
        None => tls.with_enabled_roots(),
    };
    let certificate = signal_variable(signal, "CLIENT_CERTIFICATE", &var);
    let key = signal_variable(signal, "CLIENT_KEY", &var);
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        (Some((name, _)), None) | (None, Some((name, _))) => {
            return Err(ExporterError::HalfIdentity(name));
        }
        (None, None) => {}
    }
    Ok(Some(tls))
}

fn read((variable, path): (String, String)) -> Result<Vec<u8>, ExporterError> {
    std::fs::read(&path).map_err(|source| ExporterError::Unreadable {
        variable,
        path,
        source,
    })
}

/// Wraps an exporter: counts what it exports and loses, and logs an unreachable collector once a minute instead of at every
/// batch.
#[derive(Debug)]
pub struct MonitoredExporter<E> {
    exporter: E,
    what: &'static str,
    live: Arc<LiveGauges>,
    started: Instant,
    /// Seconds from `started` to the last logged failure, plus one; 0 after a success.
    failure_logged_at: AtomicU64,
    failures: AtomicU64,
    /// Spans that the collector rejected in accepted exports, not yet counted as lost.
    rejected: Arc<AtomicU64>,
}

impl<E> MonitoredExporter<E> {
    /// Wraps an exporter.
    pub fn new(exporter: E, what: &'static str, live: &Arc<LiveGauges>) -> Self {
        Self {
            exporter,
            what,
            live: Arc::clone(live),
            started: Instant::now(),
            failure_logged_at: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            rejected: Arc::default(),
        }
    }

    /// Takes the counter in which the exporter counts rejected spans of accepted exports.
    pub(crate) fn with_rejected_count(self, rejected: Arc<AtomicU64>) -> Self {
        Self { rejected, ..self }
    }

    /// Logs a failure or a recovery, if one is due. Whether it logged.
    fn log_result(&self, result: &OTelSdkResult) -> bool {
        let now = self.started.elapsed().as_secs() + 1;
        let last = self.failure_logged_at.load(Ordering::Relaxed);
        match result {
            Ok(()) if last == 0 => false,
            Ok(()) => {
                let failures = self.failures.swap(0, Ordering::Relaxed);
                self.failure_logged_at.store(0, Ordering::Relaxed);
                tracing::info!(
                    what = self.what,
                    failures,
                    "the telemetry collector is back"
                );
                true
            }
            Err(error) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                if last != 0 && now < last + FAILURE_LOG_INTERVAL.as_secs() {
                    return false;
                }
                self.failure_logged_at.store(now, Ordering::Relaxed);
                tracing::warn!(
                    what = self.what,
                    failures,
                    %error,
                    "the telemetry collector cannot be reached; decisions go on without it"
                );
                true
            }
        }
    }
}

impl<E: SpanBatchExporter> SpanBatchExporter for MonitoredExporter<E> {
    async fn export(&self, batch: &EncodedSpans) -> OTelSdkResult {
        let (spans, losses) = (&self.live.spans, &self.live.losses);
        let count = batch.counts();
        spans.taken(count);
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => {
                let rejected = self.rejected.swap(0, Ordering::Relaxed);
                spans.exported(count, rejected, losses);
            }
            Err(_) => spans.failed(count, losses),
        }
        self.log_result(&result);
        result
    }
}

impl<E: PushMetricExporter> PushMetricExporter for MonitoredExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        if result.is_err() {
            let losses = &self.live.losses;
            losses.add(
                LostSignal::Metrics,
                RecordKind::Other,
                LossReason::ExportFailed,
                1,
            );
        }
        self.log_result(&result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
#[path = "exporters_tests.rs"]
mod tests;
