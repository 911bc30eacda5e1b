//! Telemetry: logging, tracing and metrics of decisions and writes, and their export over OTLP.
//!
//! Start at [`record::recorder::Recorder`], which every decision passes, and at [`setup`], which starts and stops
//! everything. The sub-rooms, each of which may use those after it:
//!
//! - [`record`] maps a record to a span, metrics and a log line;
//! - [`redact`] replaces sensitive values in them;
//! - [`export`] queues and sends spans, metrics and log lines, and counts what is lost.
//!
//! Invariant: no decisions, and no argument in the clear unless the configuration names it.

pub(crate) mod env;
pub mod export;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod record;
pub mod redact;
pub mod setup;
#[cfg(test)]
pub(crate) mod span_fixtures;
