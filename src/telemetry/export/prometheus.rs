//! The metrics as text for Prometheus, read from the same instruments that OTLP exports.
//!
//! Names and labels are translated as the OpenTelemetry specification says ("Prometheus and OpenMetrics Compatibility"):
//! dots become underscores, units become suffixes, counters end in `_total`, the resource becomes `target_info`. So a query
//! gives the same for a scrape and for metrics that came through a collector.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Histogram, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};

use crate::telemetry::export::exemplars::{Exemplars, WITH_EXEMPLARS};

/// The form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFormat {
    /// Prometheus text format 0.0.4, without exemplars.
    Prometheus,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

/// Reads the metrics when it is asked. Clones share the instruments.
#[derive(Debug, Clone)]
pub struct MetricsScraper {
    reader: Arc<ManualReader>,
    exemplars: Arc<Exemplars>,
}

/// The end of a scraper that the SDK holds.
#[derive(Debug)]
pub(in crate::telemetry) struct ScrapeReader(Arc<ManualReader>);

/// The metrics cannot be read: telemetry has stopped.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be read: {0}")]
pub struct ScrapeError(#[from] opentelemetry_sdk::error::OTelSdkError);

impl MetricsFormat {
    /// The form that an `Accept` header asks for. Prometheus names OpenMetrics in it if it reads that.
    pub fn accepted(accept: Option<&str>) -> Self {
        let is_open = accept.is_some_and(|it| it.contains("application/openmetrics-text"));
        if is_open {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl MetricsScraper {
    /// A scraper, and the reader for the SDK's meter provider.
    pub(in crate::telemetry) fn new(exemplars: Arc<Exemplars>) -> (Self, ScrapeReader) {
        let reader = Arc::new(ManualReader::default());
        let scraper = Self {
            reader: Arc::clone(&reader),
            exemplars,
        };
        (scraper, ScrapeReader(reader))
    }

    /// The metrics as they are now.
    ///
    /// # Errors
    ///
    /// [`ScrapeError`] once telemetry has stopped.
    pub fn text(&self, format: MetricsFormat) -> Result<String, ScrapeError> {
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics)?;
        let mut writer = MetricsWriter {
            out: String::with_capacity(16 << 10),
            format,
            exemplars: &self.exemplars,
        };
        writer.all(&metrics);
        Ok(writer.out)
    }
}

impl MetricReader for ScrapeReader {
    fn register_pipeline(&self, pipeline: std::sync::Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl MetricKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A value of a metric.
trait Number: Copy {
    /// As both formats write it.
    fn text(self) -> String;
}

impl Number for u64 {
    fn text(self) -> String {
        self.to_string()
    }
}

impl Number for i64 {
    fn text(self) -> String {
        self.to_string()
    }
}

impl Number for f64 {
    fn text(self) -> String {
        if self == Self::INFINITY {
            "+Inf".to_owned()
        } else if self == Self::NEG_INFINITY {
            "-Inf".to_owned()
        } else {
            format!("{self:?}")
        }
    }
}

struct MetricsWriter<'a> {
    out: String,
    format: MetricsFormat,
    exemplars: &'a Exemplars,
}

/// A metric under its Prometheus name, without `_total`.
struct Family<'a> {
    name: String,
    kind: MetricKind,
    description: &'a str,
    has_exemplars: bool,
}

impl MetricsWriter<'_> {
    fn all(&mut self, metrics: &ResourceMetrics) {
        self.target_info(metrics);
        // A name must come once, whatever the scopes.
        let mut known = BTreeSet::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let family = |kind| Family {
                name: name(metric.name(), metric.unit(), kind),
                kind,
                description: metric.description(),
                has_exemplars: metric.name() == WITH_EXEMPLARS,
            };
            if known.insert(metric.name().to_owned()) {
                match metric.data() {
                    AggregatedMetrics::F64(data) => self.metric(data, family),
                    AggregatedMetrics::U64(data) => self.metric(data, family),
                    AggregatedMetrics::I64(data) => self.metric(data, family),
                }
            }
        }
        if self.format == MetricsFormat::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
    }

    fn target_info(&mut self, metrics: &ResourceMetrics) {
        let resource = metrics.resource();
        let labels = labels(resource.iter().map(|(key, value)| (key.as_str(), value)));
        let (name, kind) = match self.format {
            MetricsFormat::OpenMetrics => ("target", "info"),
            MetricsFormat::Prometheus => ("target_info", "gauge"),
        };
        self.line(format_args!("# HELP {name} Target metadata"));
        self.line(format_args!("# TYPE {name} {kind}"));
        self.line(format_args!("target_info{} 1", braced(&labels)));
    }

    fn metric<'m, T: Number>(
        &mut self,
        data: &MetricData<T>,
        family: impl Fn(MetricKind) -> Family<'m>,
    ) {
        match data {
            MetricData::Gauge(gauge) => {
                let family = family(MetricKind::Gauge);
                self.head(&family);
                for point in gauge.data_points() {
                    self.sample(&family, point.attributes(), point.value());
                }
            }
            MetricData::Sum(sum) => {
                let is_counter = sum.is_monotonic();
                let family = family(if is_counter {
                    MetricKind::Counter
                } else {
                    MetricKind::Gauge
                });
                self.head(&family);
                for point in sum.data_points() {
                    self.sample(&family, point.attributes(), point.value());
                }
            }
            MetricData::Histogram(histogram) => {
                self.histogram(histogram, &family(MetricKind::Histogram))
            }
            // No instrument here has one: views would have to ask for it.
            MetricData::ExponentialHistogram(_) => {}
        }
    }

    fn head(&mut self, family: &Family<'_>) {
        let suffix = match (self.format, family.kind) {
            (MetricsFormat::Prometheus, MetricKind::Counter) => "_total",
            _ => "",
        };
        let (name, kind) = (&family.name, family.kind.as_str());
        let help = escaped(family.description);
        self.line(format_args!("# HELP {name}{suffix} {help}"));
        self.line(format_args!("# TYPE {name}{suffix} {kind}"));
    }

    fn sample<'k, T: Number>(
        &mut self,
        family: &Family<'_>,
        attributes: impl Iterator<Item = &'k KeyValue>,
        value: T,
    ) {
        let labels = braced(&attribute_labels(attributes));
        let suffix = match family.kind {
            MetricKind::Counter => "_total",
            MetricKind::Gauge | MetricKind::Histogram => "",
        };
        let (name, value) = (&family.name, value.text());
        self.line(format_args!("{name}{suffix}{labels} {value}"));
    }

    fn histogram<T: Number>(&mut self, histogram: &Histogram<T>, family: &Family<'_>) {
        self.head(family);
        let name = &family.name;
        for point in histogram.data_points() {
            let attributes: Vec<KeyValue> = point.attributes().cloned().collect();
            let labels = attribute_labels(attributes.iter());
            let bounds: Vec<f64> = point.bounds().chain([f64::INFINITY]).collect();
            let mut seen = 0_u64;
            for (at, (bound, count)) in bounds.iter().zip(point.bucket_counts()).enumerate() {
                seen += count;
                let le = format!("le=\"{}\"", bound.text());
                let labels = if labels.is_empty() {
                    le
                } else {
                    format!("{labels},{le}")
                };
                let exemplar = self.exemplar(family, at, &attributes);
                self.line(format_args!("{name}_bucket{{{labels}}} {seen}{exemplar}"));
            }
            let (labels, sum, count) = (braced(&labels), point.sum().text(), point.count());
            self.line(format_args!("{name}_sum{labels} {sum}"));
            self.line(format_args!("{name}_count{labels} {count}"));
        }
    }

    /// The end of a line with an exemplar; empty without one.
    fn exemplar(&self, family: &Family<'_>, bucket: usize, labels: &[KeyValue]) -> String {
        if self.format != MetricsFormat::OpenMetrics || !family.has_exemplars {
            return String::new();
        }
        let Some(found) = self.exemplars.of(bucket, labels) else {
            return String::new();
        };
        let since_epoch = found.at.duration_since(SystemTime::UNIX_EPOCH);
        format!(
            " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {:.3}",
            found.trace_id,
            found.span_id,
            found.value.text(),
            since_epoch.unwrap_or_default().as_secs_f64()
        )
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.out.write_fmt(text);
        self.out.push('\n');
    }
}

/// The name in Prometheus, without `_total`.
fn name(name: &str, unit: &str, kind: MetricKind) -> String {
    let mut name = identifier(name);
    let unit = match unit {
        "s" => "seconds",
        "By" => "bytes",
        "1" if kind == MetricKind::Gauge => "ratio",
        // `{request}` and the like are annotations and no units.
        _ => "",
    };
    if !unit.is_empty() && !name.ends_with(unit) {
        name.push('_');
        name.push_str(unit);
    }
    name
}

/// A name with underscores in place of what Prometheus' names may not hold.
fn identifier(name: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars()
        .map(|c| if is_allowed(c) { c } else { '_' })
        .collect()
}

fn attribute_labels<'k>(attributes: impl Iterator<Item = &'k KeyValue>) -> String {
    labels(attributes.map(|it| (it.key.as_str(), &it.value)))
}

/// Labels, sorted by name, so that the same series has the same text each time. As the specification says, values under keys that
/// become one name are joined with `;` in the order of the keys; a key that is empty is none.
fn labels<'k>(pairs: impl Iterator<Item = (&'k str, &'k opentelemetry::Value)>) -> String {
    let mut pairs: Vec<_> = pairs.filter(|(key, _)| !key.is_empty()).collect();
    pairs.sort_by_key(|(key, _)| *key);
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in pairs {
        let value = escaped(&value.as_str());
        match labels.entry(label_name(key)) {
            Entry::Vacant(free) => drop(free.insert(value)),
            Entry::Occupied(mut known) => {
                known.get_mut().push(';');
                known.get_mut().push_str(&value);
            }
        }
    }
    let labels = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""));
    labels.collect::<Vec<_>>().join(",")
}

/// The name of a label, which begins with no digit and, as those that do are Prometheus' own, not with two underscores.
fn label_name(key: &str) -> String {
    let name = identifier(key);
    match name.as_bytes() {
        [b'0'..=b'9', ..] | [b'_', b'_', ..] => format!("key_{name}"),
        _ => name,
    }
}

fn braced(labels: &str) -> String {
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"")
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
