use std::collections::BTreeMap;

use callgate_engine::Snapshot;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

use super::*;
use crate::domain::decide::verdict::{ReasonCode, Verdict};
use crate::domain::fixtures::{tool_call, world};
use crate::domain::request::call_context::CallContext;
use crate::domain::request::trace_context::TraceContext;
use crate::domain::schema::TYPES;
use crate::telemetry::fixtures::{RecordFixture, allow, deny, policy};

const POLICIES: &str = r#"
    @id("read.broad") permit (principal, action, resource);
    @id("never.used") permit (principal, action, resource == Mcp::Tool::"github/merge");
    @id("watched") @mode("shadow") permit (principal, action, resource);
    @id("no.drops") forbid (principal, action, resource == Mcp::Tool::"github/odd");
"#;

struct Bench {
    metrics: DirectoryMetrics,
    exporter: InMemoryMetricExporter,
    provider: SdkMeterProvider,
    live: Arc<LiveGauges>,
    snapshot: Snapshot,
}

impl Bench {
    fn new(labels: &MetricLabels) -> Self {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter.clone())
            .build();
        let live = Arc::new(LiveGauges::default());
        let snapshot = world(POLICIES);
        live.published(&snapshot);
        Self {
            metrics: DirectoryMetrics::new(&provider.meter("test"), &live, labels),
            exporter,
            provider,
            live,
            snapshot,
        }
    }

    fn decide(&self, call: &CallContext, verdict: Verdict) {
        self.record(RecordedRequest::Call(call), verdict);
    }

    fn record(&self, question: RecordedRequest<'_>, verdict: Verdict) {
        let fixture = RecordFixture::with(verdict);
        let mut record = fixture.record(question);
        record.snapshot = Some(&self.snapshot);
        self.metrics.decision(&record);
    }

    /// The series of a metric: its labels, sorted, and its value.
    fn series(&self, name: &str) -> BTreeMap<String, u64> {
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let last = exported.last().unwrap();
        let mut found = BTreeMap::new();
        for metric in last.scope_metrics().flat_map(|scope| scope.metrics()) {
            if metric.name() != name {
                continue;
            }
            let AggregatedMetrics::U64(data) = metric.data() else {
                panic!("{name} is of another type");
            };
            let points: Vec<(Vec<KeyValue>, u64)> = match data {
                MetricData::Gauge(gauge) => gauge
                    .data_points()
                    .map(|point| (point.attributes().cloned().collect(), point.value()))
                    .collect(),
                MetricData::Sum(sum) => sum
                    .data_points()
                    .map(|point| (point.attributes().cloned().collect(), point.value()))
                    .collect(),
                _ => panic!("{name} is of another kind"),
            };
            for (labels, value) in points {
                let mut labels: Vec<String> =
                    labels.iter().map(|it| it.value.to_string()).collect();
                labels.sort();
                found.insert(labels.join(" "), value);
            }
        }
        found
    }
}

fn expected(series: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = series
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    owned.collect()
}

fn on(server: &str, tool: &str) -> CallContext {
    tool_call(server, tool, serde_json::json!({}))
}

#[test]
fn nothing_is_named_by_server_or_policy_unless_it_is_switched_on() {
    let bench = Bench::new(&MetricLabels::default());
    bench.decide(&on("github", "get_issue"), allow());
    assert_eq!(bench.series("callgate.server.decisions"), expected(&[]));
    assert_eq!(bench.series("callgate.policy.decisions"), expected(&[]));
}

#[test]
fn servers_that_nobody_registered_are_one_series() {
    let bench = Bench::new(&MetricLabels {
        server: true,
        values: 1,
        ..MetricLabels::default()
    });
    bench.decide(&on("github", "get_issue"), allow());
    bench.decide(&on("files", "read"), allow());
    for number in 0..50 {
        let server = format!("made-up-{number}");
        bench.decide(&on(&server, "x"), deny(ReasonCode::ServerUnknown));
    }
    let series = [("allow github", 1), ("OTHER allow", 1), ("OTHER deny", 50)];
    assert_eq!(bench.series("callgate.server.decisions"), expected(&series));
}

#[test]
fn each_determining_policy_is_counted() {
    let bench = Bench::new(&MetricLabels {
        policy: true,
        ..MetricLabels::default()
    });
    bench.decide(&on("github", "get_issue"), allow());
    let mut verdict = deny(ReasonCode::Forbidden);
    verdict.determining_policies.clear();
    bench.decide(&on("github", "odd"), verdict);
    let series = [
        ("allow read.broad", 1),
        ("allow read.engineering", 1),
        ("NONE deny", 1),
    ];
    assert_eq!(bench.series("callgate.policy.decisions"), expected(&series));
}

#[test]
fn what_is_denied_most_is_named_and_made_up_names_are_not() {
    let bench = Bench::new(&MetricLabels {
        top_denied: 2,
        ..MetricLabels::default()
    });
    for number in 0..20 {
        bench.decide(
            &on("github", &format!("made-up-{number}")),
            deny(ReasonCode::ToolUnknown),
        );
    }
    for _ in 0..3 {
        bench.decide(&on("github", "odd"), deny(ReasonCode::Forbidden));
    }
    bench.decide(&on("files", "read"), deny(ReasonCode::Forbidden));
    bench.decide(&on("github", "get_issue"), allow());
    let tools = [("OTHER", 20), ("github/odd", 3)];
    assert_eq!(bench.series("callgate.denied.tools"), expected(&tools));
    assert_eq!(
        bench.series("callgate.denied.agents"),
        expected(&[("helper", 24)])
    );
}

#[test]
fn questions_of_cedars_own_are_among_what_is_denied_most() {
    let bench = Bench::new(&MetricLabels {
        top_denied: 2,
        ..MetricLabels::default()
    });
    let [principal, action, resource] = [
        schema::entity_uid(&TYPES.agent, "helper"),
        schema::action_uid("call_read"),
        schema::tool_uid("github", "odd"),
    ];
    let trace = TraceContext::default();
    let question = RecordedRequest::Cedar {
        principal: &principal,
        action: &action,
        resource: &resource,
        trace: &trace,
    };
    for verdict in [deny(ReasonCode::Forbidden), allow()] {
        bench.record(question, verdict);
    }
    assert_eq!(
        bench.series("callgate.denied.tools"),
        expected(&[("github/odd", 1)])
    );
    assert_eq!(
        bench.series("callgate.denied.agents"),
        expected(&[("helper", 1)])
    );
}

#[test]
fn what_is_granted_and_not_used_is_counted() {
    let bench = Bench::new(&MetricLabels::default());
    let before = bench.series("callgate.privileges");
    assert_eq!((before["permit used"], before["permit unused"]), (0, 2));
    assert_eq!((before["tool used"], before["tool unused"]), (0, 7));
    let mut verdict = allow();
    // The ids are those that Cedar's parser gives.
    verdict.determining_policies = [policy("policy0")].into_iter().collect();
    verdict.effects.tool = Some(schema::tool_uid("github", "get_issue"));
    bench.decide(&on("github", "get_issue"), verdict.clone());
    // In observe mode there are allows of tools that nobody registered.
    verdict.effects.tool = Some(schema::tool_uid("github", "made-up"));
    bench.decide(&on("github", "made-up"), verdict);
    let series = [
        ("permit used", 1),
        ("permit unused", 1),
        ("tool used", 1),
        ("tool unused", 6),
    ];
    assert_eq!(bench.series("callgate.privileges"), expected(&series));
    // What leaves the directory leaves the counts.
    let without = "forbid (principal, action, resource); permit (principal, action, resource);";
    bench.live.published(&world(without));
    let after = bench.series("callgate.privileges");
    assert_eq!((after["permit used"], after["permit unused"]), (0, 1));
}
