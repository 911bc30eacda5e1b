//! Where records go: spans and metrics over OTLP, log lines to their stream, and the count of what was lost on the way.

pub mod exporters;
pub mod log_queue;
pub mod losses;
pub mod otlp_encoder;
pub mod span_exporter;
pub mod span_processor;
