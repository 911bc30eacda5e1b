//! Where telemetry goes: spans and metrics over OTLP, log lines to standard error, and the count of what was lost.
//!
//! Spans are sampled by [`span_tracer`], encoded by [`otlp_encoder`], and pass [`span_queue`], [`exporters`] and
//! [`span_exporter`]. Log lines
//! pass [`log_queue`]. [`prometheus`] gives the metrics to who asks, with [`exemplars`]. [`losses`] counts what does not arrive, and [`live_gauges`] holds what the gauges read.

pub mod exemplars;
pub mod exporters;
pub mod live_gauges;
pub mod log_queue;
pub mod losses;
pub mod otlp_encoder;
pub mod prometheus;
pub(in crate::telemetry) mod resource;
pub mod span_counts;
pub mod span_exporter;
pub mod span_queue;
pub mod span_tracer;
