//! Encodes log records as OTLP (`opentelemetry.proto.logs.v1`), in one pass and without intermediate messages.
//!
//! Start at [`log_record`]. [`ExportFrame`](crate::telemetry::export::otlp_encoder::ExportFrame) makes a message of them.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, TraceId};

use crate::proto::wire::{bytes, number, text};
use crate::telemetry::export::otlp_encoder::{AttributeWriter, time};

/// A log line as OTLP sees it (`LogRecord`).
#[derive(Debug, Default)]
pub struct LogRecordParts {
    /// When it was logged.
    pub at: Option<SystemTime>,
    /// The severity, 1 to 24.
    pub severity: u8,
    /// The level's name.
    pub level: &'static str,
    /// The message.
    pub body: String,
    /// The fields.
    pub attributes: Vec<KeyValue>,
    /// The trace it belongs to.
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    pub span_id: Option<SpanId>,
}

/// Appends a `LogRecord`.
pub fn log_record(out: &mut Vec<u8>, record: &LogRecordParts) {
    let at = record.at.unwrap_or(UNIX_EPOCH);
    time(out, 1, at);
    number(out, 2, record.severity.into());
    text(out, 3, record.level);
    let mut body = Vec::with_capacity(record.body.len() + 8);
    bytes(&mut body, 1, record.body.as_bytes());
    bytes(out, 5, &body);
    let mut writer = AttributeWriter::unlimited(out, 6);
    for one in &record.attributes {
        writer.value(one.key.as_str(), &one.value);
    }
    if let Some(trace_id) = record.trace_id {
        bytes(out, 9, &trace_id.to_bytes());
    }
    if let Some(span_id) = record.span_id {
        bytes(out, 10, &span_id.to_bytes());
    }
    time(out, 11, at);
}
