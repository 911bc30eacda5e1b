//! Where telemetry goes: spans, metrics and log lines over OTLP, log lines to standard error, and the count of what was lost.
//!
//! Spans are sampled by [`span_tracer`], encoded by [`otlp_encoder`], and pass [`span_queue`], [`exporters`] and
//! [`span_exporter`]; metrics pass [`metric_exporter`]. Log lines pass [`log_queue`], and [`log_records`] and [`log_encoder`] on
//! their way to a collector. `collector` is the client of all signals. [`prometheus`] gives the metrics to who asks, with [`exemplars`].
//! [`losses`] counts what does not arrive, [`export_monitor`] notes how exports end and [`exporter_state`] keeps it, and [`live_gauges`] holds what the
//! gauges read.

mod collector;
mod collector_attempt;
mod collector_http;
mod collector_settings;
pub mod exemplars;
pub mod export_monitor;
pub mod exporter_error;
pub mod exporter_state;
pub mod exporters;
pub mod live_gauges;
pub mod log_encoder;
pub mod log_queue;
pub mod log_records;
pub mod losses;
pub mod metric_exporter;
pub mod otlp_encoder;
pub mod prometheus;
pub(in crate::telemetry) mod resource;
pub mod span_counts;
pub mod span_exporter;
pub mod span_queue;
pub mod span_tracer;
