//! Maps a control record to span attributes, metric labels and log fields.
//!
//! Invariant: as in [`crate::telemetry::record::decision_mapping`]; names of users and of stored entities go
//! through [`Redaction`], and the contents of the request are not in the record.

use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use opentelemetry::KeyValue;

use crate::audit::control_record::{ControlOutcome, ControlRecord};
use crate::domain::decide::verdict::ReasonCode;
use crate::telemetry::export::otlp_encoder::AttributeWriter;
use crate::telemetry::record::decision_mapping;
use crate::telemetry::redact::redaction::Redaction;

/// The code of the first reason, for a denied write.
pub fn reason(record: &ControlRecord<'_>) -> Option<ReasonCode> {
    let first = record.decision?.reasons.first()?;
    (record.outcome == ControlOutcome::Denied).then_some(first.code)
}

/// Whether the write failed in Callgate.
pub fn is_failure(record: &ControlRecord<'_>) -> bool {
    record.outcome == ControlOutcome::Failed
}

/// The labels of every metric of a write.
pub fn labels(record: &ControlRecord<'_>) -> [KeyValue; 4] {
    [
        KeyValue::new("callgate.control.verb", record.verb),
        KeyValue::new("callgate.control.outcome", record.outcome.as_str()),
        KeyValue::new(
            "callgate.reason",
            reason(record).map_or("NONE", ReasonCode::as_str),
        ),
        KeyValue::new("callgate.adapter", record.adapter),
    ]
}

/// The span's name, in two parts: `control `, `GrantDelegation`.
pub fn span_name<'a>(record: &ControlRecord<'a>) -> [&'a str; 2] {
    ["control ", record.verb]
}

/// The id of the created or changed object; an entity's is redacted.
pub fn object_id(record: &ControlRecord<'_>, redaction: &Redaction) -> Option<Arc<str>> {
    let id = record.id?;
    Some(match id.parse::<EntityUID>() {
        Ok(uid) => redaction.entity(&uid).to_text(),
        Err(_) => Arc::from(id),
    })
}

/// Writes the span's attributes.
pub fn attributes(
    record: &ControlRecord<'_>,
    redaction: &Redaction,
    out: &mut AttributeWriter<'_>,
) {
    out.text("callgate.control.verb", record.verb);
    out.text("callgate.control.outcome", record.outcome.as_str());
    if let Some(code) = reason(record) {
        out.text("callgate.reason", code.as_str());
    }
    out.text("callgate.adapter", record.adapter);
    out.text("callgate.caller", record.caller);
    let actor = redaction.entity(record.actor);
    out.joined("callgate.control.actor", &actor.pieces());
    if let Some(revision) = record.revision {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        out.integer("callgate.revision", revision);
    }
    if let Some(id) = object_id(record, redaction) {
        out.text("callgate.control.id", &id);
    }
    if let Some(decision) = record.decision {
        decision_mapping::policies(out, &decision.determining_policies);
    }
    if is_failure(record) {
        out.text("error.type", record.outcome.as_str());
    }
}
