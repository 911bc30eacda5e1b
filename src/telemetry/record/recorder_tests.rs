use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Status, TraceId};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value as Json};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::audit::control_record::ControlOutcome;
use crate::audit::decision_record::RecordedRequest;
use crate::audit::record::schema::Record;
use crate::audit::record::schema::record::Kind;
use crate::config::telemetry::TelemetryConfig;
use crate::domain::authority::approval::ApprovedCall;
use crate::domain::decide::verdict::{Challenge, ReasonCode};
use crate::domain::fixtures as domain_fixtures;
use crate::domain::ids::CallDigest;
use crate::domain::request::call_context::{CallContext, Initiator};
use crate::domain::request::operation::{Listing, OperationKind};
use crate::domain::request::trace_context::TraceContext;
use crate::telemetry::export::span_tracer::SpanSampler;
use crate::telemetry::fixtures::{self, RecordFixture, allow, deny, policy, sampling, tool_call};
use crate::telemetry::record::spans::MAX_APPROVALS;
use crate::telemetry::span_fixtures::KeptSpans;

/// A recorder whose output stays in memory.
struct Bench {
    recorder: Recorder,
    spans: KeptSpans,
    metrics: InMemoryMetricExporter,
    meter_provider: SdkMeterProvider,
}

impl Bench {
    fn new() -> Self {
        Self::sampled(SpanSampler::ALWAYS_ON.parent_based())
    }

    fn sampled(sampler: SpanSampler) -> Self {
        let spans = KeptSpans::default();
        let metrics = InMemoryMetricExporter::default();
        let meter_provider = SdkMeterProvider::builder()
            .with_periodic_exporter(metrics.clone())
            .build();
        let recorder = Recorder::new(RecorderParts {
            tracer: Some(spans.tracer(sampler)),
            meter: Some(&meter_provider.meter("callgate")),
            live: Arc::default(),
            redaction: fixtures::redaction(&TelemetryConfig::default()),
            decision_log: DecisionLog::Denied,
            ..RecorderParts::default()
        });
        Self {
            recorder,
            spans,
            metrics,
            meter_provider,
        }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.spans.all()
    }

    /// Everything that was exported, as it would go over the wire.
    fn wire(&self) -> Vec<u8> {
        let resource_spans = group_spans_by_resource_and_scope(self.spans(), &Default::default());
        let mut bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        for metrics in self.metrics() {
            bytes.extend(ExportMetricsServiceRequest::from(&metrics).encode_to_vec());
        }
        bytes
    }

    fn metrics(&self) -> Vec<opentelemetry_sdk::metrics::data::ResourceMetrics> {
        self.meter_provider.force_flush().unwrap();
        self.metrics.get_finished_metrics().unwrap()
    }
}

/// A span as text: everything in it but its own random id.
fn shown(span: &SpanData) -> String {
    let mut lines = vec![
        format!("name = {}", span.name),
        format!("kind = {:?}", span.span_kind),
        format!("status = {:?}", span.status),
        format!("trace = {}", span.span_context.trace_id()),
        format!("parent = {}", span.parent_span_id),
        format!(
            "took = {:?}",
            span.end_time.duration_since(span.start_time).unwrap()
        ),
    ];
    lines.extend(
        span.attributes
            .iter()
            .map(|one| format!("{} = {}", one.key, one.value)),
    );
    lines.join("\n")
}

fn one_span(asked: &RecordFixture, question: RecordedRequest<'_>) -> SpanData {
    let bench = Bench::new();
    bench.recorder.record(&asked.record(question));
    let mut spans = bench.spans();
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

#[test]
fn an_allowed_tool_call() {
    let call = tool_call();
    insta::assert_snapshot!(shown(&one_span(
        &RecordFixture::with(allow()),
        RecordedRequest::Call(&call)
    )));
}

#[test]
fn a_denied_tool_call() {
    let (asked, call) = (
        RecordFixture::with(deny(ReasonCode::Forbidden)),
        tool_call(),
    );
    let mut record = asked.record(RecordedRequest::Call(&call));
    record.is_dry_run = true;
    let bench = Bench::new();
    bench.recorder.record(&record);
    insta::assert_snapshot!(shown(&bench.spans()[0]));
}

#[test]
fn a_call_of_a_server() {
    let call = sampling();
    let asked = RecordFixture::with(deny(ReasonCode::NoPermit));
    insta::assert_snapshot!(shown(&one_span(&asked, RecordedRequest::Call(&call))));
}

#[test]
fn a_filtered_list() {
    let call = fixtures::call(OperationKind::List(Listing::Tools));
    let question = RecordedRequest::Filter {
        call: &call,
        kept: 3,
        hidden: 2,
        shown: 0,
    };
    insta::assert_snapshot!(shown(&one_span(&RecordFixture::with(allow()), question)));
}

#[test]
fn cedars_own_question() {
    let [principal, action, resource] = fixtures::cedar_names();
    let trace = TraceContext::read(Some(&fixtures::traceparent("01")), []);
    let question = RecordedRequest::Cedar {
        principal: &principal,
        action: &action,
        resource: &resource,
        trace: &trace,
    };
    insta::assert_snapshot!(shown(&one_span(&RecordFixture::with(allow()), question)));
}

#[test]
fn a_search_says_what_was_sought_and_how_much_was_found() {
    let [_, action, resource] = fixtures::cedar_names();
    let trace = TraceContext::default();
    let question = RecordedRequest::Search {
        sought: "subject",
        principal: None,
        action: Some(&action),
        resource: Some(&resource),
        kept: 3,
        hidden: 4,
        trace: &trace,
    };
    let shown = shown(&one_span(&RecordFixture::with(allow()), question));
    for part in [
        "authorize cedar/search",
        "callgate.search.sought",
        "callgate.filter.kept",
        "callgate.filter.hidden",
        "callgate.cedar.action",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains("callgate.subject"), "{shown}");
}

#[test]
fn only_a_failure_is_a_span_error() {
    let call = tool_call();
    for code in [
        ReasonCode::Forbidden,
        ReasonCode::EvaluationError,
        ReasonCode::Overloaded,
    ] {
        let span = one_span(
            &RecordFixture::with(deny(code)),
            RecordedRequest::Call(&call),
        );
        assert_eq!(span.status, Status::Unset, "{code:?}");
    }
    let span = one_span(
        &RecordFixture::with(deny(ReasonCode::Internal)),
        RecordedRequest::Call(&call),
    );
    assert!(matches!(span.status, Status::Error { .. }));
    assert!(
        span.attributes
            .iter()
            .any(|one| one.key.as_str() == "error.type")
    );
}

#[test]
fn without_a_parent_a_span_starts_a_trace_of_its_own() {
    let mut call = tool_call();
    call.trace = TraceContext::default();
    let span = one_span(&RecordFixture::with(allow()), RecordedRequest::Call(&call));
    assert_eq!(span.parent_span_id, opentelemetry::trace::SpanId::INVALID);
    assert_ne!(span.span_context.trace_id(), TraceId::INVALID);
}

#[test]
fn record_and_span_are_of_one_trace_whatever_the_header() {
    let usual = fixtures::traceparent("01");
    for traceparent in [
        usual.clone(),
        usual.replacen("00", "ff", 1),
        usual.replacen("00", "cc", 1),
        usual.replacen("00", "cc", 1) + "-more",
        usual.clone() + "-more",
        usual.to_uppercase(),
        usual.replace(fixtures::TRACE_ID, &"0".repeat(32)),
        usual.replace(fixtures::PARENT_ID, &"0".repeat(16)),
        format!("00-{}-{}", fixtures::TRACE_ID, fixtures::PARENT_ID),
    ] {
        let mut call = tool_call();
        call.trace = TraceContext::read(Some(&traceparent), []);
        let asked = RecordFixture::with(allow());
        let question = RecordedRequest::Call(&call);
        let span = one_span(&asked, question);
        let mut record = Vec::new();
        let redaction = fixtures::redaction(&TelemetryConfig::default());
        envelope::decision(&mut record, &asked.record(question), &redaction);
        let record = Record::decode(&*record).unwrap();
        let Some(Kind::Decision(record)) = record.kind else {
            panic!("a decision: {record:?}");
        };
        let parent = match span.parent_span_id.to_bytes() {
            [0, 0, 0, 0, 0, 0, 0, 0] => (Vec::new(), Vec::new()),
            id => (
                span.span_context.trace_id().to_bytes().to_vec(),
                id.to_vec(),
            ),
        };
        let recorded = (record.trace_id.to_vec(), record.span_id.to_vec());
        assert_eq!(recorded, parent, "{traceparent}");
    }
}

#[test]
fn the_sampler_is_obeyed() {
    let asked = RecordFixture::with(allow());
    let mut call = tool_call();
    let off = Bench::sampled(SpanSampler::ALWAYS_OFF);
    off.recorder
        .record(&asked.record(RecordedRequest::Call(&call)));
    assert!(off.spans().is_empty());

    call.trace = TraceContext::read(Some(&fixtures::traceparent("00")), []);
    let unsampled_parent = Bench::new();
    unsampled_parent
        .recorder
        .record(&asked.record(RecordedRequest::Call(&call)));
    assert!(unsampled_parent.spans().is_empty());
}

#[test]
fn metrics_count_decisions_by_fixed_words_only() {
    let bench = Bench::new();
    let asked = [
        RecordFixture::with(allow()),
        RecordFixture::with(deny(ReasonCode::Forbidden)),
    ];
    for number in 0..100 {
        let mut call = tool_call();
        call.operation.server = format!("server-{number}").into();
        call.workflow.session_id = Some(format!("session-{number}").into());
        for asked in &asked {
            bench
                .recorder
                .record(&asked.record(RecordedRequest::Call(&call)));
        }
    }
    let snapshot = domain_fixtures::world("permit (principal, action, resource);");
    bench.recorder.published(&snapshot.with_revision(7));
    bench.recorder.approvals_waiting(3);
    bench.recorder.store(StoreCondition {
        is_failing: true,
        unwritten: 2,
        is_clock_faulty: true,
    });
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    bench.recorder.certificates(CertificateCondition {
        expires_at: at(4_000_000_000),
        client_ca_expires_at: at(4_000_000_001),
        is_faulty: true,
    });
    bench.recorder.reload(ReloadResult::Faulty);
    bench
        .recorder
        .rejection("grpc", RejectionKind::Overloaded, "try again later");
    let _held = bench.recorder.enter();
    drop(bench.recorder.enter());
    let mut lines = metric_lines(&bench.metrics());
    // How long the test took is nobody's concern.
    lines.retain(|line| !line.starts_with("callgate.snapshot.age "));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn policies_in_shadow_mode_that_reloads_bring_are_a_bounded_number_of_series() {
    let bench = Bench::new();
    let limit = MetricLabels::default().values as usize;
    let call = tool_call();
    for number in 0..limit + 50 {
        let mut verdict = allow();
        verdict.shadow = [policy(&format!("shadow-{number}"))].into_iter().collect();
        let asked = RecordFixture::with(verdict);
        let record = asked.record(RecordedRequest::Call(&call));
        bench.recorder.record(&record);
    }
    let lines = metric_lines(&bench.metrics());
    let shadow = lines
        .iter()
        .filter(|line| line.starts_with("callgate.shadow.policies "));
    assert_eq!(shadow.count(), limit + 1, "and `OTHER`");
}

#[test]
fn a_server_without_tls_has_no_metrics_of_certificates() {
    let lines = metric_lines(&Bench::new().metrics());
    let has = |name: &str| lines.iter().any(|line| line.starts_with(name));
    assert!(!has("callgate.certificate."), "{lines:?}");
    assert!(
        has("callgate.store.failing {} = 0") && has("callgate.clock.faulty {} = 0"),
        "{lines:?}"
    );
}

/// One line for each series: name, labels, value.
fn metric_lines(exported: &[opentelemetry_sdk::metrics::data::ResourceMetrics]) -> Vec<String> {
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    fn labels<'a>(labels: impl Iterator<Item = &'a opentelemetry::KeyValue>) -> String {
        let mut all: Vec<_> = labels
            .map(|label| format!("{}={}", label.key, label.value))
            .collect();
        all.sort();
        format!("{{{}}}", all.join(" "))
    }
    fn lines<T: Copy + fmt::Display + fmt::Debug>(name: &str, data: &MetricData<T>) -> Vec<String> {
        match data {
            MetricData::Gauge(gauge) => gauge
                .data_points()
                .map(|point| format!("{name} {} = {}", labels(point.attributes()), point.value()))
                .collect(),
            MetricData::Sum(sum) => sum
                .data_points()
                .map(|point| format!("{name} {} = {}", labels(point.attributes()), point.value()))
                .collect(),
            MetricData::Histogram(histogram) => histogram
                .data_points()
                .map(|p| format!("{name} {} = {} samples", labels(p.attributes()), p.count()))
                .collect(),
            MetricData::ExponentialHistogram(_) => panic!("nobody asked for one"),
        }
    }
    let mut all: Vec<String> = exported
        .iter()
        .flat_map(|resource| resource.scope_metrics())
        .flat_map(|scope| scope.metrics())
        .flat_map(|metric| match metric.data() {
            AggregatedMetrics::F64(data) => lines(metric.name(), data),
            AggregatedMetrics::U64(data) => lines(metric.name(), data),
            AggregatedMetrics::I64(data) => lines(metric.name(), data),
        })
        .collect();
    all.sort();
    all
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What the work logs, with the same formatter as the server's, at every level.
fn logged(level: tracing::Level, work: impl FnOnce()) -> String {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .without_time()
        .with_max_level(level)
        .with_writer(lines.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn the_log_line_of_a_deny() {
    let (asked, call) = (
        RecordFixture::with(deny(ReasonCode::Forbidden)),
        tool_call(),
    );
    let bench = Bench::new();
    let line = logged(tracing::Level::INFO, || {
        bench
            .recorder
            .record(&asked.record(RecordedRequest::Call(&call)));
    });
    let mut fields: Json = serde_json::from_str(&line).unwrap();
    let span = bench.spans().remove(0).span_context.span_id().to_string();
    assert_eq!(fields["span_id"], span, "a random one");
    fields["span_id"] = "<span>".into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&fields).unwrap());
}

#[test]
fn a_line_without_a_span_names_that_of_the_caller() {
    let denied = RecordFixture::with(deny(ReasonCode::Forbidden));
    let mut call = tool_call();
    let quiet = Recorder::default();
    let line = |call: &CallContext| {
        let record = denied.record(RecordedRequest::Call(call));
        let line = logged(tracing::Level::INFO, || quiet.record(&record));
        let fields: Json = serde_json::from_str(&line).unwrap();
        ["trace_id", "span_id"].map(|id| fields[id].as_str().map(str::to_owned))
    };
    let ids = [fixtures::TRACE_ID, fixtures::PARENT_ID].map(|id| Some(id.to_owned()));
    assert_eq!(line(&call), ids);
    call.trace = TraceContext::default();
    assert_eq!(line(&call), [None, None]);
}

#[test]
fn an_allow_is_logged_at_debug_unless_asked_for() {
    let flipped = RecordFixture::with(allow());
    let call = tool_call();
    let mut plain = allow();
    plain.shadow.clear();
    let asked = RecordFixture::with(plain);
    let quiet = Recorder::default();
    let record = || asked.record(RecordedRequest::Call(&call));
    assert_eq!(logged(tracing::Level::INFO, || quiet.record(&record())), "");
    // What a policy in shadow mode would have changed is for somebody to see.
    let flip = || flipped.record(RecordedRequest::Call(&call));
    assert!(logged(tracing::Level::INFO, || quiet.record(&flip())).contains("\"shadow\""));
    assert!(logged(tracing::Level::DEBUG, || quiet.record(&record())).contains("\"allow\""));
    let with = |decision_log| {
        Recorder::new(RecorderParts {
            decision_log,
            ..RecorderParts::default()
        })
    };
    let loud = with(DecisionLog::All);
    assert!(logged(tracing::Level::INFO, || loud.record(&record())).contains("\"allow\""));
    let denied = RecordFixture::with(deny(ReasonCode::Forbidden));
    let silent = with(DecisionLog::None);
    let line = || {
        logged(tracing::Level::INFO, || {
            silent.record(&denied.record(RecordedRequest::Call(&call)));
        })
    };
    assert_eq!(line(), "");
}

const SENTINEL: &str = "sentinel-";

/// Any JSON, each text in it recognisable.
fn any_json() -> impl Strategy<Value = Json> {
    let text =
        "[a-zA-Z0-9 /:é\"\\\\]{0,12}".prop_map(|tail| Json::from(format!("{SENTINEL}{tail}")));
    let number = (1u64 << 40..1 << 52).prop_map(|n| Json::from(n | 1));
    let leaf = prop_oneof![
        text,
        number,
        Just(Json::Null),
        any::<bool>().prop_map(Json::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map("sentinel-[a-z]{0,6}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn numbers(value: &Json, found: &mut Vec<String>) {
    match value {
        Json::Number(number) => found.push(number.to_string()),
        Json::Array(list) => list.iter().for_each(|one| numbers(one, found)),
        Json::Object(map) => map.values().for_each(|one| numbers(one, found)),
        Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}

fn with_arguments(arguments: Map<String, Json>, uri: &str) -> [CallContext; 4] {
    let mut call = tool_call();
    if let OperationKind::CallTool(tool_call) = &mut call.operation.kind {
        tool_call.arguments = arguments.clone();
        tool_call.target = Some(uri.into());
    }
    call.workflow.purpose = Some(format!("{SENTINEL}purpose").into());
    call.subject.entity = fixtures::uid(&format!("Mcp::User::\"{SENTINEL}person\""));
    call.subject.claims = arguments.clone();
    let form = OperationKind::ElicitForm {
        message: String::new(),
        requested_schema: Json::Object(arguments.clone()),
    };
    let url = OperationKind::ElicitUrl {
        url: uri.to_owned(),
    };
    let prompt = OperationKind::GetPrompt {
        name: "summary".into(),
        arguments: arguments.keys().map(|key| key.as_str().into()).collect(),
    };
    [
        call,
        fixtures::call(form),
        fixtures::call(url),
        fixtures::call(prompt),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_that_is_sensitive_leaves_in_the_clear(
        arguments in prop::collection::hash_map("sentinel-[a-z]{0,8}", any_json(), 0..5)
    ) {
        let arguments: Map<String, Json> = arguments.into_iter().collect();
        let mut texts = vec![SENTINEL.to_owned(), "that-stays-here".to_owned()];
        numbers(&Json::Object(arguments.clone()), &mut texts);
        let bench = Bench::new();
        let decisions = [RecordFixture::with(allow()), RecordFixture::with(deny(ReasonCode::Internal))];
        let log = logged(tracing::Level::TRACE, || {
            for call in with_arguments(arguments, &format!("https://host/{SENTINEL}uri")) {
                for asked in &decisions {
                    bench.recorder.record(&asked.record(RecordedRequest::Call(&call)));
                }
            }
        });
        let wire = bench.wire();
        // Both channels did carry something, so the search below means something.
        prop_assert!(wire.windows(12).any(|window| window == b"create_issue"));
        prop_assert!(log.contains("create_issue"));
        for text in texts {
            prop_assert!(!log.contains(&text), "`{text}` was logged");
            let is_on_wire = wire.windows(text.len()).any(|window| window == text.as_bytes());
            prop_assert!(!is_on_wire, "`{text}` was exported");
        }
    }
}

/// A write of every field, with this outcome.
fn write<'a>(
    asked: &'a RecordFixture,
    actor: &'a EntityUID,
    trace: &'a TraceContext,
    outcome: ControlOutcome,
) -> ControlRecord<'a> {
    ControlRecord {
        approval_digest: None,
        stop_reason: None,
        verb: "PutEntity",
        caller: &asked.caller,
        adapter: "grpc",
        actor,
        outcome,
        revision: (outcome == ControlOutcome::Done).then_some(8),
        id: (outcome == ControlOutcome::Done).then_some(r#"Mcp::User::"bob@example.com""#),
        decision: Some(&asked.decision),
        trace,
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        took: Duration::from_micros(950),
    }
}

#[test]
fn a_write_and_a_write_that_was_denied() {
    let (done, denied) = (
        RecordFixture::with(allow()),
        RecordFixture::with(deny(ReasonCode::NoPermit)),
    );
    let actor = fixtures::uid(r#"Mcp::User::"alice@example.com""#);
    let trace = tool_call().trace;
    let bench = Bench::new();
    let lines = logged(tracing::Level::INFO, || {
        bench
            .recorder
            .write(&write(&done, &actor, &trace, ControlOutcome::Done));
        bench
            .recorder
            .write(&write(&denied, &actor, &trace, ControlOutcome::Denied));
    });
    let mut lines = lines;
    for span in bench.spans() {
        let id = span.span_context.span_id().to_string();
        assert_eq!(lines.matches(&id).count(), 1, "a random one: {lines}");
        lines = lines.replace(&id, "<span>");
    }
    let spans: Vec<String> = bench.spans().iter().map(shown).collect();
    let metrics: Vec<String> = metric_lines(&bench.metrics())
        .into_iter()
        .filter(|line| line.contains("control"))
        .collect();
    let everything = [spans.join("\n\n"), lines, metrics.join("\n")].join("\n\n");
    assert!(!everything.contains("example.com"), "{everything}");
    insta::assert_snapshot!(everything);
}

#[test]
fn only_a_failure_to_write_is_a_span_error() {
    let asked = RecordFixture::with(allow());
    let actor = fixtures::uid(r#"Mcp::Agent::"helper""#);
    for (outcome, is_error) in [
        (ControlOutcome::Done, false),
        (ControlOutcome::Repeated, false),
        (ControlOutcome::Denied, false),
        (ControlOutcome::Refused, false),
        (ControlOutcome::Abandoned, false),
        (ControlOutcome::Failed, true),
    ] {
        let bench = Bench::new();
        let trace = TraceContext::default();
        bench
            .recorder
            .write(&write(&asked, &actor, &trace, outcome));
        let span = bench.spans().remove(0);
        assert_eq!(
            matches!(span.status, Status::Error { .. }),
            is_error,
            "{outcome:?}"
        );
    }
}

#[test]
fn a_refusal_is_logged_without_what_came_with_the_request() {
    for (said, logged) in [
        ("`subject.id` is required", "`subject.id` is required"),
        ("`source` `10.1.2.3` is not an IP address", "`source`"),
        (
            "`place` is not JSON: invalid type: string \"pin\"",
            "`place` is not JSON",
        ),
        ("`mcp` holds \"pin\"", "`mcp` holds"),
        (
            "a message has no such member: `pin: `4711`",
            "a message has no such member",
        ),
        (
            "caller `edge` has no right to use `Check`: add it to `rights.rpcs`",
            "caller `edge` has no right to use `Check`: add it to `rights.rpcs`",
        ),
    ] {
        assert_eq!(without_values(said), logged);
    }
}

#[test]
fn a_refusal_has_a_line_unless_load_is_shed() {
    let recorder = Recorder::default();
    let line = logged(tracing::Level::INFO, || {
        recorder.rejection("ext_authz", RejectionKind::NotEntitled, "no right");
    });
    for part in ["request rejected", "ext_authz", "not_entitled", "no right"] {
        assert!(line.contains(part), "{line}");
    }
    let shed = || recorder.rejection("grpc", RejectionKind::Overloaded, "try again later");
    assert_eq!(logged(tracing::Level::INFO, shed), "");
    assert!(logged(tracing::Level::DEBUG, shed).contains("overloaded"));
}

/// The digest of the approval of these writes.
static DIGEST: CallDigest = CallDigest::new_static("sha256:aa");

/// A control write about an approval.
fn approval_write<'a>(
    verb: &'static str,
    caller: &'a Arc<str>,
    actor: &'a EntityUID,
    trace: &'a TraceContext,
) -> ControlRecord<'a> {
    ControlRecord {
        verb,
        caller,
        adapter: "grpc",
        actor,
        outcome: ControlOutcome::Done,
        revision: Some(8),
        id: Some("apr-1"),
        approval_digest: Some(&DIGEST),
        stop_reason: None,
        decision: None,
        trace,
        started_at: SystemTime::UNIX_EPOCH,
        took: Duration::from_micros(9),
    }
}

/// The links of a span: kind, the name of what it is about, and the span id.
fn links(span: &SpanData) -> Vec<(String, String, opentelemetry::trace::SpanId)> {
    let attribute =
        |link: &opentelemetry::trace::Link, at: usize| link.attributes[at].value.to_string();
    span.links
        .iter()
        .map(|link| {
            (
                attribute(link, 0),
                attribute(link, 1),
                link.span_context.span_id(),
            )
        })
        .collect()
}

#[test]
fn a_retry_leads_to_the_approval_and_to_the_deny_that_asked_for_it() {
    let bench = Bench::new();
    let mut denied = RecordFixture::with(deny(ReasonCode::ApprovalRequired));
    let call = domain_fixtures::get_issue();
    denied.decision.challenge = Some(Box::new(Challenge {
        digest: "sha256:aa".into(),
        expires_at: SystemTime::UNIX_EPOCH,
        valid_for: Duration::from_secs(60),
        call: ApprovedCall {
            subject: call.subject.entity.clone(),
            root: None,
            actors: Vec::new(),
            initiator: Initiator::Client,
            server: "github".into(),
            tool: "get_issue".into(),
            definition: None,
            arguments: "{}".to_owned(),
            responses: None,
            request_state: None,
            target: None,
            task: None,
        },
        circumstances: Default::default(),
    }));
    let record = denied.record(RecordedRequest::Call(&call));
    bench.recorder.record(&record);
    let (caller, actor) = (Arc::from("edge"), domain_fixtures::person("alice"));
    let trace = TraceContext::default();
    for verb in ["RequestApproval", "ApproveCall"] {
        bench
            .recorder
            .write(&approval_write(verb, &caller, &actor, &trace));
    }
    let mut retried = call.clone();
    retried.approval_ids = vec!["apr-1".into(), "apr-of-another-replica".into()];
    retried.workflow.parent_decision_id = Some(record.decision_id);
    let allowed = RecordFixture::with(allow());
    let mut retry = allowed.record(RecordedRequest::Call(&retried));
    retry.decision_id = uuid::Uuid::from_u128(9);
    bench.recorder.record(&retry);

    // One that was found among others, of which it is one too many to be linked to.
    let mut found = call.clone();
    found.approval_ids = (0..20)
        .map(|number| format!("other-{number}").into())
        .collect();
    found.approval_ids.push("apr-1".into());
    let mut using = RecordFixture::with(allow());
    using.decision.effects.approval = Some(("apr-1".into(), 1));
    let mut record_of_use = using.record(RecordedRequest::Call(&found));
    record_of_use.decision_id = uuid::Uuid::from_u128(10);
    bench.recorder.record(&record_of_use);

    let spans = bench.spans();
    let [deny, requested, approved, retry, used] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(links(used)[0], links(retry)[1], "the deny comes first");
    assert_eq!(links(used).len(), 3 + MAX_APPROVALS - 1);
    let id = |span: &SpanData| span.span_context.span_id();
    let decision = record.decision_id.to_string();
    let link = |kind: &str, about: &str, to| (kind.to_owned(), about.to_owned(), to);
    assert_eq!(links(deny), []);
    assert_eq!(links(requested), [link("denied", &decision, id(deny))]);
    assert_eq!(
        links(approved),
        [
            link("denied", &decision, id(deny)),
            link("approval_request", "apr-1", id(requested)),
        ]
    );
    assert_eq!(
        links(retry),
        [
            link("parent", &decision, id(deny)),
            link("denied", &decision, id(deny)),
            link("approval_request", "apr-1", id(requested)),
            link("approval", "apr-1", id(approved)),
            link(
                "approval",
                "apr-of-another-replica",
                opentelemetry::trace::SpanId::INVALID
            ),
        ]
    );
}
