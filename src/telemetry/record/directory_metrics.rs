//! Metrics that name what the directory holds: decisions by server and by policy, what is denied most, what is never used.
//!
//! Invariant: a label's value is a name in the snapshot that decided, [`OTHER`], or `NONE`, and their number is bounded. So
//! callers cannot add series.

use std::sync::Arc;

use opentelemetry::metrics::{Counter, Meter};
use opentelemetry::{KeyValue, StringValue};

use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::config::telemetry::MetricLabels;
use crate::domain::schema;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::record::bounded_names::{BoundedNames, OTHER};
use crate::telemetry::record::privilege_use::PrivilegeUse;
use crate::telemetry::record::top_denied::TopDenied;

/// The value of a label where there is nothing to name.
const NONE: &str = "NONE";

/// The instruments.
#[derive(Debug)]
pub(super) struct DirectoryMetrics {
    servers: Option<NamedCounter>,
    policies: Option<NamedCounter>,
    denied: Option<TopDenied>,
    used: Arc<PrivilegeUse>,
}

/// A counter of decisions by name and outcome.
#[derive(Debug)]
struct NamedCounter {
    counter: Counter<u64>,
    label: &'static str,
    names: BoundedNames,
}

impl NamedCounter {
    fn add(&self, name: impl Into<StringValue>, record: &DecisionRecord<'_>) {
        let labels = [
            KeyValue::new(self.label, name.into()),
            KeyValue::new("callgate.decision", record.decision.outcome.as_str()),
        ];
        self.counter.add(1, &labels);
    }
}

impl DirectoryMetrics {
    /// Builds those that are switched on.
    pub(super) fn new(meter: &Meter, live: &Arc<LiveGauges>, labels: &MetricLabels) -> Self {
        let named = |name, label, description| NamedCounter {
            counter: meter
                .u64_counter(name)
                .with_unit("{decision}")
                .with_description(description)
                .build(),
            label,
            names: BoundedNames::new(labels.values),
        };
        let used = Arc::new(PrivilegeUse::default());
        observe_privileges(meter, live, &used);
        Self {
            servers: labels.server.then(|| {
                let description = "Decisions made, by the server that the call is for";
                named("callgate.server.decisions", "callgate.server", description)
            }),
            policies: labels.policy.then(|| {
                let description = "Decisions made, by each policy that determined them";
                named(
                    "callgate.policy.decisions",
                    "callgate.policy.id",
                    description,
                )
            }),
            denied: TopDenied::observe(labels.top_denied, meter),
            used,
        }
    }

    /// Counts one decision.
    pub(super) fn decision(&self, record: &DecisionRecord<'_>) {
        self.used.note(record);
        if let Some(denied) = &self.denied {
            denied.note(record);
        }
        if let Some(servers) = &self.servers {
            servers.add(server(record, &servers.names), record);
        }
        if let Some(policies) = &self.policies {
            let determining = &record.decision.determining_policies;
            for policy in determining {
                policies.add(policies.names.value(&policy.id), record);
            }
            if determining.is_empty() {
                policies.add(NONE, record);
            }
        }
    }
}

/// The server's label.
fn server(record: &DecisionRecord<'_>, names: &BoundedNames) -> StringValue {
    let call = match record.question {
        RecordedRequest::Call(call) | RecordedRequest::Filter { call, .. } => call,
        RecordedRequest::Cedar { .. } | RecordedRequest::Search { .. } => return NONE.into(),
    };
    let server = &call.operation.server;
    if server.is_empty() {
        return NONE.into();
    }
    let uid = schema::server_uid(server);
    match record.snapshot.is_some_and(|it| it.contains(&uid)) {
        true => names.value(server),
        false => OTHER.into(),
    }
}

fn observe_privileges(meter: &Meter, live: &Arc<LiveGauges>, used: &Arc<PrivilegeUse>) {
    let (live, used) = (Arc::clone(live), Arc::clone(used));
    meter
        .u64_observable_gauge("callgate.privileges")
        .with_unit("{privilege}")
        .with_description(
            "Permits and registered tools in service, by whether an allow used them since the start",
        )
        .with_callback(move |observer| {
            let Some(snapshot) = live.snapshot() else {
                return;
            };
            for counted in used.counts(&snapshot) {
                for (state, count) in [("used", counted.used), ("unused", counted.unused)] {
                    let labels = [
                        KeyValue::new("callgate.privilege.kind", counted.kind),
                        KeyValue::new("callgate.privilege.state", state),
                    ];
                    observer.observe(count, &labels);
                }
            }
        })
        .build();
}

#[cfg(test)]
#[path = "directory_metrics_tests.rs"]
mod tests;
