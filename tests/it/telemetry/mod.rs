//! Spans and metrics, read back from a real OTLP receiver in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::process::{Bundle, Server, ask, client, python, wait_for};

const AUTHORIZE: &str = "callgate.v1.Authorization/Authorize";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT_ID: &str = "00f067aa0ba902b7";

/// A receiver that keeps what it gets. Dropping it kills it.
struct Receiver {
    process: Child,
    port: u16,
    kept: PathBuf,
    _folder: TempDir,
}

impl Receiver {
    fn start() -> Self {
        Self::running("otlp_receiver.py")
    }

    /// One that speaks OTLP/HTTP.
    fn over_http() -> Self {
        Self::running("otlp_http_receiver.py")
    }

    fn running(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept.jsonl");
        let mut process = Command::new(python())
            .arg(client(program))
            .arg(&kept)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().parse().unwrap();
        Self {
            process,
            port,
            kept,
            _folder: folder,
        }
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every export of a signal so far. The last line may be half written yet.
    fn exports(&self, signal: &str) -> Vec<Json> {
        fs::read_to_string(&self.kept)
            .unwrap_or_default()
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str::<Json>(line).unwrap())
            .filter(|export| export["signal"] == signal)
            .collect()
    }

    /// Every span so far, each with its resource under `resource`.
    fn spans(&self) -> Vec<Json> {
        let mut spans = Vec::new();
        for export in self.exports("traces") {
            for resource in list(&export["request"]["resourceSpans"]) {
                for scope in list(&resource["scopeSpans"]) {
                    for span in list(&scope["spans"]) {
                        let mut span = span.clone();
                        span["resource"] = resource["resource"].clone();
                        spans.push(span);
                    }
                }
            }
        }
        spans
    }

    /// Every log record so far.
    fn records(&self) -> Vec<Json> {
        let mut records = Vec::new();
        for export in self.exports("logs") {
            for resource in list(&export["request"]["resourceLogs"]) {
                for scope in list(&resource["scopeLogs"]) {
                    records.extend_from_slice(list(&scope["logRecords"]));
                }
            }
        }
        records
    }

    /// The metrics of the last export.
    fn metrics(&self) -> Vec<Json> {
        let exports = self.exports("metrics");
        let Some(last) = exports.last() else {
            return Vec::new();
        };
        list(&last["request"]["resourceMetrics"])
            .iter()
            .flat_map(|resource| list(&resource["scopeMetrics"]))
            .flat_map(|scope| list(&scope["metrics"]).to_vec())
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Bytes are Base64 in Protobuf's JSON; ids are written in hexadecimal everywhere else.
fn base64_of_hex(hex: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0u32, |group, byte| group << 8 | u32::from(*byte));
        let group = group << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = (group >> (18 - 6 * at)) & 63;
            text.push(if at <= chunk.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

/// An attribute as text; lists joined by commas.
fn attribute(owner: &Json, key: &str) -> Option<String> {
    let found = list(&owner["attributes"])
        .iter()
        .find(|one| one["key"] == key)?;
    let value = &found["value"];
    let shown = |value: &Json| {
        let inner = value
            .as_object()
            .and_then(|map| map.values().next())
            .cloned();
        inner
            .map(|inner| inner.as_str().map_or(inner.to_string(), str::to_owned))
            .unwrap_or_default()
    };
    match value.get("arrayValue") {
        Some(array) => Some(
            list(&array["values"])
                .iter()
                .map(shown)
                .collect::<Vec<_>>()
                .join(","),
        ),
        None => Some(shown(value)),
    }
}

fn call(tool: &str, arguments: &str, trace: bool) -> Json {
    let mut call = json!({"call_context": {
        "subject": {"entity": {"type": "Agent", "id": "helper"}},
        "delegation": {"root": {"type": "User", "id": "alice"}, "verified": true},
        "operation": {"server": "notes", "call_tool": {"tool": tool, "arguments": {"text": arguments}}},
        "workflow": {"session_id": "session-1", "request_id": "42"},
    }});
    if trace {
        call["call_context"]["trace"]["traceparent"] =
            json!(format!("00-{TRACE_ID}-{PARENT_ID}-01"));
    }
    call
}

fn traced(receiver: &Receiver, bundle: &Bundle, more: &[(&str, &str)]) -> Server {
    let endpoint = receiver.endpoint();
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=test"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
    ];
    variables.extend_from_slice(more);
    Server::start(bundle, &variables)
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_receiver_gets_a_span_of_each_decision() {
    let (receiver, bundle) = (Receiver::start(), Bundle::notes());
    let resource = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=test",
    );
    let server = traced(
        &receiver,
        &bundle,
        &[resource, ("OTEL_SERVICE_NAME", "edge-pdp")],
    );
    let requests = [
        call("add_note", "argument-that-stays-here", true),
        call("drop_notes", "argument-that-stays-here", false),
        call("no_such_tool", "argument-that-stays-here", true),
    ];
    let answers = ask(&server, AUTHORIZE, &[], &requests);
    assert_eq!(answers[0]["decision"], "DECISION_ALLOW", "{answers:?}");
    assert_eq!(answers[1]["decision"], "DECISION_DENY", "{answers:?}");

    let spans = wait_for("three spans", || {
        Some(receiver.spans()).filter(|spans| spans.len() >= 3)
    });
    assert_eq!(spans.len(), 3, "one span for each decision");
    let [allowed, denied, unknown] = ["allow", "deny", "unknown"].map(|which| {
        let at = ["allow", "deny", "unknown"]
            .iter()
            .position(|one| *one == which)
            .unwrap();
        let id = answers[at]["decision_id"].as_str().unwrap();
        let of = |span: &&Json| attribute(span, "callgate.decision.id").as_deref() == Some(id);
        spans
            .iter()
            .find(of)
            .unwrap_or_else(|| panic!("no span of decision {id}"))
            .clone()
    });

    assert_eq!(allowed["name"], "authorize tools/call add_note");
    assert_eq!(allowed["kind"], "SPAN_KIND_SERVER");
    assert_eq!(allowed["traceId"], base64_of_hex(TRACE_ID));
    assert_eq!(allowed["parentSpanId"], base64_of_hex(PARENT_ID));
    for (key, value) in [
        ("callgate.decision", "allow"),
        ("callgate.policy.ids", "notes.write"),
        ("callgate.policy.owners", "notes-team"),
        ("callgate.controls", "OWASP:ASI03,NIST-CSF:PR.AA-05"),
        ("callgate.obligations", "log:full"),
        ("callgate.revision", "1"),
        ("callgate.initiator", "client"),
        ("callgate.server", "notes"),
        ("callgate.adapter", "grpc"),
        ("callgate.delegation.depth", "1"),
        ("mcp.method.name", "tools/call"),
        ("mcp.session.id", "session-1"),
        ("jsonrpc.request.id", "42"),
        ("gen_ai.tool.name", "add_note"),
        ("gen_ai.agent.id", "helper"),
    ] {
        assert_eq!(attribute(&allowed, key).as_deref(), Some(value), "{key}");
    }
    for (key, value) in [
        ("service.name", "edge-pdp"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "test"),
    ] {
        assert_eq!(
            attribute(&allowed["resource"], key).as_deref(),
            Some(value),
            "{key}"
        );
    }

    assert_eq!(denied["name"], "authorize tools/call drop_notes");
    assert_eq!(
        attribute(&denied, "callgate.reason").as_deref(),
        Some("FORBIDDEN")
    );
    assert!(
        denied["status"]["code"].is_null(),
        "a deny is no error: {}",
        denied["status"]
    );
    assert!(denied["parentSpanId"].is_null(), "it named no trace");
    assert_eq!(
        unknown["name"], "authorize tools/call",
        "nobody registered that name"
    );

    let digest = |span| attribute(span, "callgate.arguments.hmac").unwrap();
    assert_eq!(
        digest(&allowed),
        digest(&denied),
        "equal arguments have equal digests"
    );
    assert_eq!(receiver.exports("traces")[0]["headers"]["x-tenant"], "test");
    let everything = fs::read_to_string(&receiver.kept).unwrap();
    assert!(!everything.contains("argument-that-stays-here"));
    assert!(
        !everything.contains("alice"),
        "people are not named by default"
    );
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_receiver_gets_metrics() {
    let (receiver, bundle) = (Receiver::start(), Bundle::notes());
    let server = traced(&receiver, &bundle, &[("OTEL_TRACES_EXPORTER", "none")]);
    let requests = [
        call("list_notes", "x", false),
        call("list_notes", "y", false),
        call("drop_notes", "z", false),
        call("", "malformed", false),
    ];
    ask(&server, AUTHORIZE, &[], &requests);
    let counted = |metrics: &[Json]| -> Option<Vec<(String, String)>> {
        let named = |name: &str| metrics.iter().find(|metric| metric["name"] == name);
        let decisions = named("callgate.decisions")?;
        let mut points: Vec<_> = list(&decisions["sum"]["dataPoints"])
            .iter()
            .map(|point| {
                let label = |key| attribute(point, key).unwrap_or_default();
                let labels =
                    ["callgate.decision", "callgate.reason", "callgate.operation"].map(label);
                (
                    labels.join(" "),
                    point["asInt"].as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        points.sort();
        // The malformed question came last. An export may have happened before each of them.
        named("callgate.rejections")?;
        Some(points)
    };
    let points = wait_for("the counts", || counted(&receiver.metrics()));
    let expected = [
        ("allow NONE tools/call", "2"),
        ("deny FORBIDDEN tools/call", "1"),
    ]
    .map(|(labels, count)| (labels.to_owned(), count.to_owned()));
    assert_eq!(points, expected);
    let metrics = receiver.metrics();
    let gauge = |name: &str| {
        let metric = metrics.iter().find(|metric| metric["name"] == name);
        metric
            .and_then(|metric| metric["gauge"]["dataPoints"][0]["asInt"].as_str())
            .map(str::to_owned)
    };
    assert_eq!(gauge("callgate.snapshot.revision").as_deref(), Some("1"));
    assert_eq!(gauge("callgate.policies").as_deref(), Some("3"));
    let refused = metrics
        .iter()
        .find(|metric| metric["name"] == "callgate.rejections")
        .map(|metric| &metric["sum"]["dataPoints"][0])
        .expect("a malformed question is counted");
    let why = attribute(refused, "callgate.rejection");
    assert_eq!(why.as_deref(), Some("malformed"));
    assert!(receiver.spans().is_empty(), "OTEL_TRACES_EXPORTER=none");
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn what_waits_is_sent_before_the_server_ends() {
    let (receiver, bundle) = (Receiver::start(), Bundle::notes());
    let server = traced(&receiver, &bundle, &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]);
    ask(&server, AUTHORIZE, &[], &[call("list_notes", "x", false)]);
    assert!(receiver.spans().is_empty());
    let (status, log) = server.stop();
    assert!(status.success(), "{status}\n{log}");
    assert_eq!(receiver.spans().len(), 1);
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_receiver_that_is_down_changes_nothing() {
    let bundle = Bundle::notes();
    let gone = Receiver::start().endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", gone.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    ];
    let server = Server::start(&bundle, &variables);
    let requests: Vec<Json> = (0..200)
        .map(|n| call("list_notes", &n.to_string(), true))
        .collect();
    let begun = Instant::now();
    let answers = ask(&server, AUTHORIZE, &[], &requests);
    assert!(
        answers
            .iter()
            .all(|answer| answer["decision"] == "DECISION_ALLOW")
    );
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "took {:?}",
        begun.elapsed()
    );
    wait_for("a line about it", || {
        server
            .log()
            .contains("collector takes nothing")
            .then_some(())
    });
    let begun = Instant::now();
    let (status, log) = server.stop();
    assert!(status.success(), "{status}\n{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "stopping took {:?}",
        begun.elapsed()
    );
    let complaints = log.matches("collector takes nothing").count();
    assert!(
        (1..=2).contains(&complaints),
        "one line for spans and one for metrics:\n{log}"
    );
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn the_log_is_json_and_tells_of_denied_calls() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let requests = [
        call("list_notes", "argument-that-stays-here", false),
        call("drop_notes", "argument-that-stays-here", false),
    ];
    let answers = ask(&server, AUTHORIZE, &[], &requests);
    let (_, log) = server.stop();
    let lines: Vec<Json> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .filter(|line: &Json| line["target"] == "callgate::decision")
        .collect();
    assert_eq!(
        lines.len(),
        1,
        "allowed calls are not logged at INFO:\n{log}"
    );
    assert_eq!(lines[0]["decision"], "deny");
    assert_eq!(lines[0]["reason"], "FORBIDDEN");
    assert_eq!(lines[0]["policies"], "notes.never-drop");
    assert_eq!(lines[0]["decision_id"], answers[1]["decision_id"]);
    assert!(!log.contains("argument-that-stays-here"));
}

/// The record of a log line with this body that has an attribute of this value.
fn record(records: &[Json], body: &str, (key, value): (&str, &str)) -> Option<Json> {
    let is_meant = |record: &&Json| {
        record["body"]["stringValue"] == body && attribute(record, key).as_deref() == Some(value)
    };
    records.iter().find(is_meant).cloned()
}

/// Asks for one deny, and holds what of it arrives as a log record.
fn log_records_arrive(receiver: &Receiver, more: &[(&str, &str)]) -> Vec<Json> {
    let bundle = Bundle::notes();
    let mut variables = vec![
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
    ];
    variables.extend_from_slice(more);
    let server = traced(receiver, &bundle, &variables);
    let denied = call("drop_notes", "argument-that-stays-here", true);
    let answers = ask(&server, AUTHORIZE, &[], &[denied]);
    let id = answers[0]["decision_id"].as_str().unwrap();
    let found = wait_for("the record of the deny", || {
        record(
            &receiver.records(),
            "authorization decision",
            ("decision_id", id),
        )
    });
    assert_eq!(found["severityText"], "INFO");
    assert_eq!(attribute(&found, "reason").as_deref(), Some("FORBIDDEN"));
    let target = attribute(&found, "callgate.log.target");
    assert_eq!(target.as_deref(), Some("callgate::decision"));
    assert_eq!(found["traceId"], base64_of_hex(TRACE_ID));
    let (status, log) = server.stop();
    assert!(status.success(), "{status}\n{log}");
    assert!(!log.contains("telemetry was lost"), "{log}");
    let records = receiver.records();
    let has = |body: &str| records.iter().any(|it| it["body"]["stringValue"] == body);
    assert!(
        has("the decision log is open"),
        "lines from before the start"
    );
    let kept = fs::read_to_string(&receiver.kept).unwrap();
    assert!(!kept.contains("argument-that-stays-here") && !kept.contains("alice"));
    records
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_receiver_gets_log_lines() {
    let receiver = Receiver::start();
    log_records_arrive(&receiver, &[]);
    assert_eq!(receiver.exports("logs")[0]["headers"]["x-tenant"], "test");
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn everything_arrives_over_http() {
    for compression in ["none", "gzip"] {
        let receiver = Receiver::over_http();
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
        ];
        log_records_arrive(&receiver, &variables);
        let spans = receiver.spans();
        assert_eq!(spans.len(), 1, "{spans:?}");
        assert_eq!(spans[0]["name"], "authorize tools/call drop_notes");
        assert_eq!(spans[0]["traceId"], base64_of_hex(TRACE_ID));
        let metrics = receiver.metrics();
        let decisions = metrics
            .iter()
            .find(|metric| metric["name"] == "callgate.decisions")
            .expect("the counts");
        assert_eq!(decisions["sum"]["dataPoints"][0]["asInt"], "1");
        for signal in ["traces", "metrics", "logs"] {
            let exports = receiver.exports(signal);
            assert!(!exports.is_empty(), "no {signal}");
            for export in exports {
                let headers = &export["headers"];
                assert_eq!(headers["x-tenant"], "test", "{signal}");
                let encoding = headers["content-encoding"].as_str();
                let expected = Some(compression).filter(|it| *it != "none");
                assert_eq!(encoding, expected, "{signal}");
            }
        }
    }
}
