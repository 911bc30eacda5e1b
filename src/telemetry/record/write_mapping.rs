//! Maps a control record to span attributes, metric labels and log fields.
//!
//! Invariant: as in [`crate::telemetry::record::decision_mapping`]; names of users and of stored entities go
//! through [`Redaction`], and the contents of the request are not in the record.

use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use opentelemetry::{KeyValue, StringValue, Value};

use crate::audit::control_record::{ControlOutcome, ControlRecord};
use crate::domain::decide::verdict::ReasonCode;
use crate::telemetry::record::decision_mapping;
use crate::telemetry::redact::redaction::Redaction;

/// Capacity for the attributes of a write.
pub const USUAL_ATTRIBUTES: usize = 16;

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

/// The span's name: `control GrantDelegation`.
pub fn span_name(record: &ControlRecord<'_>) -> String {
    ["control ", record.verb].concat()
}

/// The id of the created or changed object; an entity's is redacted.
pub fn object_id(record: &ControlRecord<'_>, redaction: &Redaction) -> Option<Arc<str>> {
    let id = record.id?;
    Some(match id.parse::<EntityUID>() {
        Ok(uid) => redaction.entity(&uid),
        Err(_) => Arc::from(id),
    })
}

/// The span's attributes.
pub fn attributes(record: &ControlRecord<'_>, redaction: &Redaction) -> Vec<KeyValue> {
    let mut out = Vec::with_capacity(USUAL_ATTRIBUTES);
    out.extend(labels(record));
    out.retain(|label| label.key.as_str() != "callgate.reason" || reason(record).is_some());
    out.push(KeyValue::new("callgate.caller", Arc::clone(record.caller)));
    let actor = redaction.entity(record.actor);
    out.push(KeyValue::new("callgate.control.actor", actor));
    if let Some(revision) = record.revision {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        out.push(KeyValue::new("callgate.revision", revision));
    }
    if let Some(id) = object_id(record, redaction) {
        out.push(KeyValue::new("callgate.control.id", id));
    }
    if let Some(decision) = record.decision {
        let policies = &decision.determining_policies;
        let lists = [
            ("callgate.policy.ids", decision_mapping::ids(policies)),
            (
                "callgate.policy.owners",
                decision_mapping::each_once(policies, |policy| policy.owner.iter()),
            ),
            (
                "callgate.controls",
                decision_mapping::each_once(policies, |policy| policy.controls.iter()),
            ),
        ];
        let full = lists.into_iter().filter(|(_, list)| !list.is_empty());
        out.extend(full.map(|(key, list): (_, Vec<StringValue>)| {
            KeyValue::new(key, Value::Array(list.into()))
        }));
    }
    if is_failure(record) {
        out.push(KeyValue::new("error.type", record.outcome.as_str()));
    }
    out
}
