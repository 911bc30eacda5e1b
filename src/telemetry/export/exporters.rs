//! Where spans and metrics go: the standard `OTEL_*` variables, read once at the start.
//!
//! Start at [`Plan::from_env`]. The SDK itself reads the sampler, span limits, `OTEL_BSP_*`,
//! `OTEL_METRIC_EXPORT_INTERVAL` and resource attributes, the exporters endpoints, headers, timeouts and
//! compression. Here is what they leave to the program: whether to export at all, and the trust in a TLS
//! endpoint.
//!
//! Invariant: nothing about telemetry stops a decision. What cannot be exported is said in the log,
//! once in a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_otlp::{ExporterBuildError, MetricExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::SpanData;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::telemetry::export::losses::{LossReason, LostSignal as Lost, RecordKind};
use crate::telemetry::export::span_exporter::SpanCollectorClient;
use crate::telemetry::export::span_processor::SpanBatch;
use crate::telemetry::record::metrics::LiveGauges;

/// A collector that stays away is mentioned this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Looks up an environment variable.
pub type EnvLookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What to export, and what is wrong with the variables that say so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExportConfig {
    /// Whether spans are exported.
    pub traces: bool,
    /// Whether metrics are exported.
    pub metrics: bool,
    /// Sentences for the log.
    pub warnings: Vec<String>,
}

/// One of the kinds of telemetry that are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportSignal {
    Traces,
    Metrics,
}

/// Why an exporter cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// A certificate or key that a variable names.
    #[error("{variable}: cannot read `{path}`: {source}")]
    Unreadable {
        /// The variable.
        variable: String,
        /// The file it names.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Only one half of a client's identity is set.
    #[error("{0} is set, but its counterpart is not: a client certificate needs its key")]
    HalfIdentity(String),
    /// What the OTLP library says.
    #[error(transparent)]
    Build(#[from] ExporterBuildError),
}

impl ExportConfig {
    /// Reads the variables.
    ///
    /// The specification would export to `localhost:4317` when nothing is set. A decision point that
    /// nobody told about a collector would then try to reach one for ever, on every laptop and in
    /// every test, and complain about it. So exporting starts with the first variable that says
    /// where to, with the configuration's `telemetry.endpoint`, or with `OTEL_TRACES_EXPORTER=otlp`,
    /// which asks for the default endpoint by name.
    pub fn from_env(endpoint: Option<&str>, var: EnvLookup<'_>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let mut plan = Self::default();
        if var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return plan;
        }
        plan.traces = plan.is_wanted(ExportSignal::Traces, endpoint, &var);
        plan.metrics = plan.is_wanted(ExportSignal::Metrics, endpoint, &var);
        plan
    }

    fn is_wanted(
        &mut self,
        signal: ExportSignal,
        endpoint: Option<&str>,
        var: EnvLookup<'_>,
    ) -> bool {
        let name = signal.exporter_variable();
        let is_wanted = match var(name).as_deref() {
            None => endpoint.is_some() || either(signal, "ENDPOINT", var).is_some(),
            Some("otlp") => true,
            Some("none") => false,
            Some(other) => {
                self.warnings.push(format!(
                    "{name} is `{other}`, but only `otlp` and `none` exist here: exporting nothing"
                ));
                false
            }
        };
        match either(signal, "PROTOCOL", var) {
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

impl ExportSignal {
    fn exporter_variable(self) -> &'static str {
        match self {
            Self::Traces => "OTEL_TRACES_EXPORTER",
            Self::Metrics => "OTEL_METRICS_EXPORTER",
        }
    }

    fn infix(self) -> &'static str {
        match self {
            Self::Traces => "TRACES_",
            Self::Metrics => "METRICS_",
        }
    }
}

/// The signal's own variable, else the one for all signals; with the name it was found under.
pub(crate) fn either(
    signal: ExportSignal,
    suffix: &str,
    var: EnvLookup<'_>,
) -> Option<(String, String)> {
    [signal.infix(), ""].into_iter().find_map(|infix| {
        let name = format!("OTEL_EXPORTER_OTLP_{infix}{suffix}");
        var(&name).map(|value| (name, value))
    })
}

/// The exporter of spans. Needs a tokio runtime around it, now and while it is used.
pub fn spans(
    endpoint: Option<&str>,
    live: &Arc<LiveGauges>,
    var: EnvLookup<'_>,
) -> Result<MonitoredExporter<SpanCollectorClient>, ExporterError> {
    let tls = tls(ExportSignal::Traces, endpoint, var)?;
    let collector = SpanCollectorClient::new(endpoint, tls, var)?;
    let rejected = collector.rejected();
    Ok(MonitoredExporter::new(collector, "spans", live).with_rejected_count(rejected))
}

/// The exporter of metrics. Needs a tokio runtime around it, now and while it is used.
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

/// The trust in a collector reached by TLS, and what Callgate shows it.
fn tls(
    signal: ExportSignal,
    endpoint: Option<&str>,
    var: EnvLookup<'_>,
) -> Result<Option<ClientTlsConfig>, ExporterError> {
    let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
    let from_env = either(signal, "ENDPOINT", &var).map(|(_, endpoint)| endpoint);
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
    tls = match either(signal, "CERTIFICATE", &var) {
        Some(named) => tls.ca_certificate(Certificate::from_pem(read(named)?)),
        None => tls.with_enabled_roots(),
    };
    let certificate = either(signal, "CLIENT_CERTIFICATE", &var);
    let key = either(signal, "CLIENT_KEY", &var);
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

/// An exporter that counts, and that mentions a collector which stays away once in a while instead of
/// at every batch.
#[derive(Debug)]
pub struct MonitoredExporter<E> {
    exporter: E,
    what: &'static str,
    live: Arc<LiveGauges>,
    started: Instant,
    /// Seconds from `started` to the last complaint, plus one; 0 while all is well.
    complained_at: AtomicU64,
    failures: AtomicU64,
    /// Spans that the collector dropped of the exports it took, and that are not counted yet.
    rejected: Arc<AtomicU64>,
}

impl<E> MonitoredExporter<E> {
    /// Watches over an exporter.
    pub fn new(exporter: E, what: &'static str, live: &Arc<LiveGauges>) -> Self {
        Self {
            exporter,
            what,
            live: Arc::clone(live),
            started: Instant::now(),
            complained_at: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            rejected: Arc::default(),
        }
    }

    /// Has the exporter count there how many spans of a successful export the collector dropped.
    pub(crate) fn with_rejected_count(self, rejected: Arc<AtomicU64>) -> Self {
        Self { rejected, ..self }
    }

    /// Says what is worth saying about one export, and whether it said something.
    fn note(&self, result: &OTelSdkResult) -> bool {
        let now = self.started.elapsed().as_secs() + 1;
        let last = self.complained_at.load(Ordering::Relaxed);
        match result {
            Ok(()) if last == 0 => false,
            Ok(()) => {
                let failures = self.failures.swap(0, Ordering::Relaxed);
                self.complained_at.store(0, Ordering::Relaxed);
                tracing::info!(
                    what = self.what,
                    failures,
                    "the telemetry collector is back"
                );
                true
            }
            Err(error) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                if last != 0 && now < last + COMPLAIN_EVERY.as_secs() {
                    return false;
                }
                self.complained_at.store(now, Ordering::Relaxed);
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

impl<E: opentelemetry_sdk::trace::SpanExporter> opentelemetry_sdk::trace::SpanExporter
    for MonitoredExporter<E>
{
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (spans, losses) = (&self.live.spans, &self.live.losses);
        let count = SpanBatch::of(&batch);
        spans.taken(count);
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => {
                let rejected = self.rejected.swap(0, Ordering::Relaxed);
                spans.exported(count, rejected, losses);
            }
            Err(_) => spans.failed(count, losses),
        }
        self.note(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for MonitoredExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        if result.is_err() {
            let losses = &self.live.losses;
            losses.add(
                Lost::Metrics,
                RecordKind::Other,
                LossReason::ExportFailed,
                1,
            );
        }
        self.note(&result);
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
