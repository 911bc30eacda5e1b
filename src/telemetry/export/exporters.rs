//! Builds the exporters of spans, metrics and log lines from the configuration and the standard `OTEL_*` variables, read once at
//! the start.
//!
//! Start at [`ExportConfig::read`]. [`span_tracer`](crate::telemetry::export::span_tracer) reads the sampler and the limits of
//! spans, [`span_queue`](crate::telemetry::export::span_queue) `OTEL_BSP_*`, the SDK `OTEL_METRIC_EXPORT_INTERVAL` and resource
//! attributes, `collector_settings` endpoints, headers, timeouts, compression and certificates. This module reads whether to
//! export at all.
//!
//! Invariant: telemetry never stops a decision. Failed exports are logged at a bounded rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use crate::config::telemetry::{OtlpProtocol, TelemetryConfig};
use crate::supervision::caught_task;
use crate::telemetry::env::{EnvLookup, ExportSignal, signal_variable};
use crate::telemetry::export::collector::CollectorClient;
use crate::telemetry::export::collector_settings::{self, CollectorSettings};
use crate::telemetry::export::exemplars::Exemplars;
use crate::telemetry::export::export_monitor::ExportMonitor;
use crate::telemetry::export::exporter_error::ExporterError;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::losses::{LossReason, LostSignal, RecordKind};
use crate::telemetry::export::metric_exporter::MetricCollectorClient;
use crate::telemetry::export::otlp_encoder::ExportFrame;
use crate::telemetry::export::span_exporter::SpanCollectorClient;
use crate::telemetry::export::span_queue::{EncodedSpans, SpanBatchExporter};

/// The signals to export.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExportConfig {
    /// Whether spans are exported.
    pub traces: bool,
    /// Whether metrics are exported.
    pub metrics: bool,
    /// Whether log lines are exported.
    pub logs: bool,
    /// Faults of the variables, as sentences for the log.
    pub warnings: Vec<String>,
}

impl ExportConfig {
    /// Reads configuration and variables.
    ///
    /// By the specification, exporting to `localhost:4317` is on when nothing is set. A server without a collector would
    /// then retry and warn for ever. So exporting is on only with a variable or `telemetry.endpoint` that names an
    /// endpoint, or with `OTEL_TRACES_EXPORTER=otlp`, which asks for the default endpoint. Log lines are on standard error
    /// in any case, where most platforms collect them, so to export them too has to be asked for: by `telemetry.logs`,
    /// `OTEL_LOGS_EXPORTER=otlp` or an endpoint of their own.
    pub fn read(config: &TelemetryConfig, var: EnvLookup<'_>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let mut plan = Self::default();
        if var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return plan;
        }
        let has_endpoint = |signal| {
            config.endpoint.is_some() || signal_variable(signal, "ENDPOINT", &var).is_some()
        };
        let [traces, metrics] = [ExportSignal::Traces, ExportSignal::Metrics].map(has_endpoint);
        let logs = config.logs || var("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT").is_some();
        plan.traces = plan.is_wanted(ExportSignal::Traces, traces, config, &var);
        plan.metrics = plan.is_wanted(ExportSignal::Metrics, metrics, config, &var);
        plan.logs = plan.is_wanted(ExportSignal::Logs, logs, config, &var);
        plan
    }

    fn is_wanted(
        &mut self,
        signal: ExportSignal,
        is_implied: bool,
        config: &TelemetryConfig,
        var: EnvLookup<'_>,
    ) -> bool {
        let name = signal.exporter_variable();
        let is_wanted = match var(name).as_deref() {
            None => is_implied,
            Some("otlp") => true,
            Some("none") => false,
            Some(other) => {
                self.warnings.push(format!(
                    "{name} is `{other}`, but only `otlp` and `none` exist here: exporting nothing"
                ));
                false
            }
        };
        let asked = signal_variable(signal, "PROTOCOL", var);
        match asked.filter(|_| is_wanted) {
            Some((name, protocol))
                if collector_settings::protocol(signal, config, var).is_none() =>
            {
                self.warnings.push(format!(
                    "{name} is `{protocol}`, but only `grpc` and `http/protobuf` exist here: exporting nothing"
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
    config: &TelemetryConfig,
    frame: ExportFrame,
    live: &Arc<LiveGauges>,
    var: EnvLookup<'_>,
) -> Result<MonitoredExporter<SpanCollectorClient>, ExporterError> {
    let signal = ExportSignal::Traces;
    let settings = CollectorSettings::read(signal, config, var)?;
    let exporter = SpanCollectorClient::new(&settings, frame)?;
    started(&settings, live);
    let rejected = exporter.rejected();
    Ok(MonitoredExporter::new(exporter, signal, live).with_rejected_count(rejected))
}

/// The exporter of metrics, with these exemplars. Has to be created and used in a tokio runtime.
///
/// # Errors
///
/// [`ExporterError`] for an unreadable certificate or an invalid endpoint.
pub fn metrics(
    config: &TelemetryConfig,
    live: &Arc<LiveGauges>,
    exemplars: &Arc<Exemplars>,
    var: EnvLookup<'_>,
) -> Result<MonitoredExporter<MetricCollectorClient>, ExporterError> {
    let signal = ExportSignal::Metrics;
    let settings = CollectorSettings::read(signal, config, var)?;
    let collector = CollectorClient::new(&settings)?;
    started(&settings, live);
    let exporter = MetricCollectorClient::new(collector, live, exemplars, var);
    Ok(MonitoredExporter::new(exporter, signal, live))
}

/// The client to which log lines are sent, and what watches it. Has to be created in a tokio runtime.
///
/// # Errors
///
/// [`ExporterError`] for an unreadable certificate or an invalid endpoint.
pub(super) fn logs(
    config: &TelemetryConfig,
    live: &Arc<LiveGauges>,
    var: EnvLookup<'_>,
) -> Result<(CollectorClient, ExportMonitor), ExporterError> {
    let signal = ExportSignal::Logs;
    let settings = CollectorSettings::read(signal, config, var)?;
    let collector = CollectorClient::new(&settings)?;
    started(&settings, live);
    Ok((collector, ExportMonitor::new(signal, live)))
}

fn started(settings: &CollectorSettings, live: &LiveGauges) {
    let protocol = match settings.protocol {
        OtlpProtocol::Grpc => "grpc",
        OtlpProtocol::Http => "http/protobuf",
    };
    let endpoint = settings.shown_endpoint();
    live.exporters.start(settings.signal, endpoint, protocol);
}

/// Wraps an exporter: counts what it exports and loses, and notes its state.
#[derive(Debug)]
pub struct MonitoredExporter<E> {
    exporter: E,
    live: Arc<LiveGauges>,
    monitor: ExportMonitor,
    /// Spans that the collector rejected in accepted exports, not yet counted as lost.
    rejected: Arc<AtomicU64>,
}

impl<E> MonitoredExporter<E> {
    /// Wraps an exporter.
    pub fn new(exporter: E, signal: ExportSignal, live: &Arc<LiveGauges>) -> Self {
        Self {
            exporter,
            live: Arc::clone(live),
            monitor: ExportMonitor::new(signal, live),
            rejected: Arc::default(),
        }
    }

    /// Takes the counter in which the exporter counts rejected spans of accepted exports.
    pub(crate) fn with_rejected_count(self, rejected: Arc<AtomicU64>) -> Self {
        Self { rejected, ..self }
    }
}

impl<E: SpanBatchExporter> SpanBatchExporter for MonitoredExporter<E> {
    async fn export(&self, batch: &EncodedSpans) -> OTelSdkResult {
        let (spans, losses) = (&self.live.spans, &self.live.losses);
        let count = batch.counts();
        spans.taken(count);
        let result = unless_panicked(self.exporter.export(batch)).await;
        match &result {
            Ok(()) => {
                let rejected = self.rejected.swap(0, Ordering::Relaxed);
                spans.exported(count, rejected, losses);
            }
            Err(_) => spans.failed(count, losses),
        }
        self.monitor.note(&result);
        result
    }
}

/// An export that panics has failed: the thread that asked for it goes on.
async fn unless_panicked(export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
    let result = caught_task("export", export).await;
    result.unwrap_or_else(|panicked| Err(OTelSdkError::InternalFailure(panicked.to_string())))
}

impl<E: PushMetricExporter> PushMetricExporter for MonitoredExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = unless_panicked(self.exporter.export(metrics)).await;
        if result.is_err() {
            let losses = &self.live.losses;
            losses.add(
                LostSignal::Metrics,
                RecordKind::Other,
                LossReason::ExportFailed,
                1,
            );
        }
        self.monitor.note(&result);
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
