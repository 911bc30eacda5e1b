//! Metrics of the decision log. They are read at each export.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::audit::log::AuditLog;

/// Builds the instruments.
pub(crate) fn observe(audit: &AuditLog, meter: &Meter) {
    observe_losses(audit, meter);
    observe_keys(audit, meter);
    let log = audit.clone();
    meter
        .u64_observable_counter("callgate.audit.records")
        .with_unit("{record}")
        .with_description("Records in the decision log")
        .with_callback(move |observer| observer.observe(log.records(), &[]))
        .build();
    let log = audit.clone();
    meter
        .u64_observable_counter("callgate.audit.unrecorded")
        .with_unit("{record}")
        .with_description("Requests that are not in the decision log")
        .with_callback(move |observer| observer.observe(log.unrecorded(), &[]))
        .build();
    let log = audit.clone();
    meter
        .u64_observable_gauge("callgate.audit.failing")
        .with_unit("1")
        .with_description("1 while the decision log cannot be written")
        .with_callback(move |observer| observer.observe(u64::from(log.is_failing()), &[]))
        .build();
    let log = audit.clone();
    meter
        .u64_observable_gauge("callgate.audit.queued")
        .with_unit("{record}")
        .with_description("Records that wait to be written to the decision log")
        .with_callback(move |observer| observer.observe(log.backlog().0, &[]))
        .build();
    let log = audit.clone();
    meter
        .f64_observable_gauge("callgate.audit.lag")
        .with_unit("s")
        .with_description("How long the oldest record that is not written yet has waited")
        .with_callback(move |observer| observer.observe(log.backlog().1.as_secs_f64(), &[]))
        .build();
    let log = audit.clone();
    meter
        .u64_observable_gauge("callgate.audit.unsigned")
        .with_unit("{record}")
        .with_description("Records that no signed checkpoint covers yet")
        .with_callback(move |observer| observer.observe(log.unsigned(), &[]))
        .build();
    let log = audit.clone();
    meter
        .u64_observable_gauge("callgate.audit.size")
        .with_unit("By")
        .with_description("Size of the files of the decision log")
        .with_callback(move |observer| {
            let status = log.status();
            for (kind, bytes) in [
                ("records", status.bytes),
                ("capsules", status.capsule_bytes),
            ] {
                observer.observe(bytes, &[KeyValue::new("callgate.audit.kind", kind)]);
            }
        })
        .build();
}

fn observe_keys(audit: &AuditLog, meter: &Meter) {
    let log = audit.clone();
    meter
        .u64_observable_gauge("callgate.audit.key_troubles")
        .with_unit("{file}")
        .with_description(
            "Key files of the decision log that were gone, held another key or could not be used since the start",
        )
        .with_callback(move |observer| observer.observe(log.key_troubles().len() as u64, &[]))
        .build();
}

fn observe_losses(audit: &AuditLog, meter: &Meter) {
    let log = audit.clone();
    meter
        .u64_observable_counter("callgate.audit.lost")
        .with_unit("{record}")
        .with_description(
            "Records of the decision log that are gone or damaged, and those whose capsules are",
        )
        .with_callback(move |observer| {
            let lost = log.lost();
            for (kind, count) in [("records", lost.records), ("capsules", lost.capsules)] {
                observer.observe(count, &[KeyValue::new("callgate.audit.kind", kind)]);
            }
        })
        .build();
}
