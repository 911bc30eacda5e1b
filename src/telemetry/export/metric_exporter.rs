//! Sends metrics to an OTLP collector.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use prost::Message as _;

use crate::telemetry::env::EnvLookup;
use crate::telemetry::export::collector::CollectorClient;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::losses::{LossReason, LostSignal, RecordKind};

/// The variable with the temporality.
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// An exporter of metrics. It connects with the first export.
#[derive(Debug)]
pub struct MetricCollectorClient {
    collector: CollectorClient,
    temporality: Temporality,
    live: Arc<LiveGauges>,
}

impl MetricCollectorClient {
    /// An exporter over a client.
    pub(super) fn new(
        collector: CollectorClient,
        live: &Arc<LiveGauges>,
        var: EnvLookup<'_>,
    ) -> Self {
        Self {
            collector,
            temporality: temporality(var),
            live: Arc::clone(live),
        }
    }
}

/// Cumulative, unless the variable says `delta` or `lowmemory`.
fn temporality(var: EnvLookup<'_>) -> Temporality {
    let asked = var(TEMPORALITY).unwrap_or_default();
    match asked.trim().to_ascii_lowercase().as_str() {
        "" | "cumulative" => Temporality::Cumulative,
        "delta" => Temporality::Delta,
        "lowmemory" => Temporality::LowMemory,
        _ => {
            tracing::warn!(
                "{TEMPORALITY} is `{asked}`, but must be `cumulative`, `delta` or `lowmemory`: `cumulative` is used"
            );
            Temporality::Cumulative
        }
    }
}

impl PushMetricExporter for MetricCollectorClient {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        for part in ExportMetricsServiceRequest::from(metrics).resource_metrics {
            let rejected = self
                .collector
                .send(Bytes::from(part.encode_to_vec()))
                .await?;
            let losses = &self.live.losses;
            losses.add(
                LostSignal::Metrics,
                RecordKind::Other,
                LossReason::Rejected,
                rejected,
            );
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures::lookup;

    #[test]
    fn sums_are_cumulative_unless_somebody_asks() {
        let of = |value| temporality(&lookup(&[(TEMPORALITY, value)]));
        assert!(matches!(of("Delta"), Temporality::Delta));
        assert!(matches!(of("lowmemory"), Temporality::LowMemory));
        assert!(matches!(of("sometimes"), Temporality::Cumulative));
        assert!(matches!(temporality(&lookup(&[])), Temporality::Cumulative));
    }
}
