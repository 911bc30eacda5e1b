//! Sends metrics to an OTLP collector.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as ExemplarValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar as WireExemplar, HistogramDataPoint};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use prost::Message as _;

use crate::audit::envelope::nanos;
use crate::telemetry::env::EnvLookup;
use crate::telemetry::export::collector::CollectorClient;
use crate::telemetry::export::exemplars::{Exemplars, WITH_EXEMPLARS};
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
    exemplars: Arc<Exemplars>,
}

impl MetricCollectorClient {
    /// An exporter over a client, that sends these exemplars along.
    pub(super) fn new(
        collector: CollectorClient,
        live: &Arc<LiveGauges>,
        exemplars: &Arc<Exemplars>,
        var: EnvLookup<'_>,
    ) -> Self {
        Self {
            collector,
            temporality: temporality(var),
            live: Arc::clone(live),
            exemplars: Arc::clone(exemplars),
        }
    }
}

/// The metrics as they are sent.
fn message(metrics: &ResourceMetrics, exemplars: &Exemplars) -> ExportMetricsServiceRequest {
    let mut message = ExportMetricsServiceRequest::from(metrics);
    let scopes = message.resource_metrics.iter_mut();
    let scopes = scopes.flat_map(|resource| &mut resource.scope_metrics);
    for metric in scopes.flat_map(|scope| &mut scope.metrics) {
        if let Some(Data::Histogram(histogram)) = &mut metric.data
            && metric.name == WITH_EXEMPLARS
        {
            for point in &mut histogram.data_points {
                point.exemplars = exemplars_of(point, exemplars);
            }
        }
    }
    message
}

/// The exemplars of a series, each in one of its buckets, since the beginning of what the point counts.
fn exemplars_of(point: &HistogramDataPoint, exemplars: &Exemplars) -> Vec<WireExemplar> {
    let labels = point.attributes.iter().map(|label| {
        // All labels are texts.
        match label.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => KeyValue::new(label.key.clone(), text.clone()),
            _ => KeyValue::new(label.key.clone(), ""),
        }
    });
    let labels: Vec<KeyValue> = labels.collect();
    let buckets = 0..point.bucket_counts.len();
    let found = buckets.filter_map(|bucket| exemplars.of(bucket, &labels));
    let found = found.map(|exemplar| WireExemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: nanos(exemplar.at),
        span_id: exemplar.span_id.to_bytes().to_vec(),
        trace_id: exemplar.trace_id.to_bytes().to_vec(),
        value: Some(ExemplarValue::AsDouble(exemplar.value)),
    });
    found
        .filter(|exemplar| exemplar.time_unix_nano >= point.start_time_unix_nano)
        .collect()
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
        for part in message(metrics, &self.exemplars).resource_metrics {
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
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry::trace::{SpanId, TraceId};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

    use super::*;
    use crate::telemetry::export::otlp_encoder::SpanIds;
    use crate::telemetry::fixtures::lookup;

    #[test]
    fn sums_are_cumulative_unless_somebody_asks() {
        let of = |value| temporality(&lookup(&[(TEMPORALITY, value)]));
        assert!(matches!(of("Delta"), Temporality::Delta));
        assert!(matches!(of("lowmemory"), Temporality::LowMemory));
        assert!(matches!(of("sometimes"), Temporality::Cumulative));
        assert!(matches!(temporality(&lookup(&[])), Temporality::Cumulative));
    }
    #[test]
    fn exemplars_stand_beside_the_series_that_they_are_of() {
        const BOUNDS: [f64; 2] = [0.1, 1.0];
        let exemplars = Arc::new(Exemplars::new(&BOUNDS));
        let kept = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(kept.clone())
            .build();
        let meter = provider.meter("test");
        let span = SpanIds {
            trace_id: TraceId::from(5_u128),
            span_id: SpanId::from(7_u64),
            parent: None,
            trace_state: String::new(),
        };
        let (allow, deny) = ([KeyValue::new("d", "allow")], [KeyValue::new("d", "deny")]);
        for name in [WITH_EXEMPLARS, "callgate.control.duration"] {
            let histogram = meter.f64_histogram(name);
            let histogram = histogram.with_boundaries(BOUNDS.to_vec()).build();
            histogram.record(0.5, &allow);
            histogram.record(0.5, &deny);
        }
        exemplars.note(0.5, &allow, &span, std::time::SystemTime::now());
        provider.force_flush().expect("metrics");
        let metrics = kept.get_finished_metrics().expect("metrics").remove(0);
        let sent = message(&metrics, &exemplars);
        let mut found = Vec::new();
        for metric in &sent.resource_metrics[0].scope_metrics[0].metrics {
            let Some(Data::Histogram(histogram)) = &metric.data else {
                panic!("a histogram: {metric:?}");
            };
            for point in &histogram.data_points {
                for exemplar in &point.exemplars {
                    let value = point.attributes[0].value.clone();
                    let value = value.and_then(|value| value.value);
                    assert_eq!(value, Some(Value::StringValue("allow".to_owned())));
                    assert_eq!(exemplar.value, Some(ExemplarValue::AsDouble(0.5)));
                    assert_eq!(exemplar.trace_id, span.trace_id.to_bytes());
                    assert_eq!(exemplar.span_id, span.span_id.to_bytes());
                    found.push(metric.name.clone());
                }
            }
        }
        assert_eq!(found, [WITH_EXEMPLARS]);
        let mut later = sent.resource_metrics[0].scope_metrics[0].metrics.clone();
        for metric in &mut later {
            if let Some(Data::Histogram(histogram)) = &mut metric.data {
                let point = &mut histogram.data_points[0];
                point.start_time_unix_nano = u64::MAX;
                assert_eq!(
                    exemplars_of(point, &exemplars),
                    [],
                    "of an earlier interval"
                );
            }
        }
    }
}
