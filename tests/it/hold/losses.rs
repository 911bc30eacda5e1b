//! Nothing is lost without a word: what a flood, a reader that stalls or a collector that does not answer takes from
//! log and traces is counted, and told in the log, in the metrics and by `GetStatus`.

use std::io::Read;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::control_client::ControlClient;
use callgate::proto::v1::operation::Kind;
use serde_json::Value as Json;
use tonic::transport::{Channel, Endpoint};

use crate::hold::collector::{Collector, Mood};
use crate::support::in_process::entity;
use crate::support::process::{Bundle, callgate, wait_for};

const BATCH: usize = 50;

/// A server whose log goes into a pipe.
struct Piped {
    process: Child,
    log: Option<ChildStderr>,
    channel: Channel,
}

impl Piped {
    async fn start(bundle: &Bundle, variables: &[(&str, &str)]) -> Self {
        let socket = bundle.folder().join("callgate.sock");
        let mut process = callgate(bundle.folder())
            .args(["serve", "--without-callers", "--unix"])
            .arg(&socket)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = process.stderr.take();
        let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
        let begun = Instant::now();
        let channel = loop {
            if let Ok(channel) = endpoint.connect().await {
                break channel;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody listens");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self {
            process,
            log,
            channel,
        }
    }

    /// Begins to read the log.
    fn read(&mut self) -> JoinHandle<String> {
        let mut log = self.log.take().expect("nobody reads it yet");
        thread::spawn(move || {
            let mut text = String::new();
            log.read_to_string(&mut text).unwrap();
            text
        })
    }

    /// Asks it to end, and waits until it has.
    fn stop(&mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        let mut kill = std::process::Command::new("kill");
        assert!(kill.args(["-TERM", &pid]).status().unwrap().success());
        wait_for("the server's end", || self.process.try_wait().unwrap())
    }

    /// Has calls of these tools denied, one after the other in batches.
    async fn deny(&self, tools: impl Iterator<Item = String>) -> u64 {
        let mut client = AuthorizationClient::new(self.channel.clone());
        let requests: Vec<_> = tools.map(|tool| call(&tool)).collect();
        let mut denied = 0;
        for batch in requests.chunks(BATCH) {
            let requests = batch.to_vec();
            let answer = client
                .authorize_batch(v1::AuthorizeBatchRequest { requests })
                .await;
            let responses = answer.unwrap().into_inner().responses;
            let is_deny = |it: &&v1::AuthorizeResponse| it.decision() == v1::Decision::Deny;
            denied += responses.iter().filter(is_deny).count() as u64;
        }
        denied
    }

    /// What `GetStatus` tells of losses.
    async fn lost(&self) -> Vec<(String, u64)> {
        let mut client = ControlClient::new(self.channel.clone());
        let status = client.get_status(v1::GetStatusRequest {}).await.unwrap();
        let losses = status.into_inner().telemetry_losses;
        let words = |it: &v1::TelemetryLoss| format!("{} {} {}", it.signal, it.kind, it.reason);
        losses.iter().map(|it| (words(it), it.count)).collect()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn call(tool: &str) -> v1::AuthorizeRequest {
    let call = v1::CallContext {
        subject: Some(v1::Subject {
            entity: entity("Agent", "helper"),
            ..Default::default()
        }),
        operation: Some(v1::Operation {
            server: "notes".to_owned(),
            kind: Some(Kind::CallTool(v1::CallTool {
                tool: tool.to_owned(),
                ..Default::default()
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    v1::AuthorizeRequest {
        call_context: Some(Box::new(call)),
        ..Default::default()
    }
}

fn bundle(lines_per_minute: u32) -> Bundle {
    let bundle = Bundle::notes();
    let policy =
        r#"@id("end") permit (principal, action == Mcp::Action::"end_session", resource);"#;
    bundle.file("end.cedar", policy);
    // How long an answer takes on a machine that is busy with other tests is nobody's concern here.
    let config = format!(
        "[limits]\ndeadline_ms = 60000\n[telemetry]\nlines_per_minute = {lines_per_minute}\n"
    );
    bundle.file("callgate.toml", &config);
    bundle
}

/// The lines of one target.
fn lines<'a>(log: &'a str, target: &'a str) -> impl Iterator<Item = Json> + 'a {
    log.lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap_or_else(|it| panic!("{it}: {line}")))
        .filter(move |line| line["target"] == target)
}

/// How many records these lines stand for.
fn stand_for(lines: impl Iterator<Item = Json>) -> u64 {
    lines
        .map(|line| line["repeated"].as_u64().unwrap_or(1))
        .sum()
}

fn sum(losses: &[(String, u64)]) -> u64 {
    losses.iter().map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_denies_takes_no_write_from_the_log_and_every_lost_line_is_told() {
    const WRITES: usize = 327;
    const TOOLS: usize = 100;
    const DENIES: usize = 12_000;
    let bundle = bundle(90);
    // Nobody reads the log while all of this happens.
    let mut server = Piped::start(&bundle, &[]).await;
    let padding = "x".repeat(950);
    let tools = (0..DENIES).map(|number| format!("{}-{padding}", number % TOOLS));
    let mut client = ControlClient::new(server.channel.clone());
    let writes = async {
        for number in 0..WRITES {
            let request = v1::EndSessionRequest {
                actor: Some(v1::Actor {
                    entity: entity("Mcp::User", "alice"),
                    ..Default::default()
                }),
                session_id: format!("session-{number}"),
                ..Default::default()
            };
            client.end_session(request).await.expect("acknowledged");
        }
    };
    let (denied, ()) = tokio::join!(server.deny(tools), writes);
    assert_eq!(denied, DENIES as u64);
    let lost = server.lost().await;
    let [(words, count)] = lost.as_slice() else {
        panic!("one kind of loss is expected: {lost:?}");
    };
    assert_eq!(words, "log decision queue_full");
    assert!((1..9_000).contains(count), "{count}");

    let log = server.read();
    let status = server.stop();
    let log = log.join().unwrap();
    assert!(status.success(), "{status}");
    let written = lines(&log, "callgate::control").filter(|line| line["outcome"] == "done");
    assert_eq!(written.count(), WRITES);
    let told: u64 = lines(&log, "callgate::losses")
        .map(|line| line["count"].as_u64().unwrap())
        .sum();
    let in_log = stand_for(lines(&log, "callgate::decision"));
    assert_eq!(in_log + told, DENIES as u64, "of which {told} were lost");
    assert!(told >= *count);
    let reports = lines(&log, "callgate::losses").count();
    assert!((1..=4).contains(&reports), "{reports} in a few seconds");
    let repeated = lines(&log, "callgate::decision").filter(|line| !line["repeated"].is_null());
    assert!(repeated.count() > 0, "some lines stand for others");
}

#[tokio::test(flavor = "multi_thread")]
async fn denies_that_say_the_same_are_summed_up_and_the_first_ones_have_lines() {
    let bundle = bundle(5);
    let mut server = Piped::start(&bundle, &[]).await;
    let log = server.read();
    let tools = (0..400).map(|number| ["no_such_tool", "none_either"][number % 2].to_owned());
    assert_eq!(server.deny(tools).await, 400);
    assert!(server.lost().await.is_empty());
    assert!(server.stop().success());
    let log = log.join().unwrap();
    for tool in ["no_such_tool", "none_either"] {
        let of_tool = || lines(&log, "callgate::decision").filter(|line| line["tool"] == tool);
        assert_eq!(stand_for(of_tool()), 200);
        assert_eq!(
            of_tool()
                .filter(|it| it["message"] == "authorization decision")
                .count(),
            5
        );
        let summaries: Vec<_> = of_tool().filter(|it| it["repeated"].is_u64()).collect();
        for line in &summaries {
            assert_eq!(line["message"], "denied again");
            assert_eq!(line["reason"], "TOOL_UNKNOWN");
            assert_eq!(line["decision"], "deny");
            assert_eq!(line["server"], "notes");
            assert_eq!(line["caller"], "local");
        }
        assert_eq!(summaries.len(), 1, "{summaries:?}");
    }
    assert_eq!(lines(&log, "callgate::losses").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_no_end_and_what_it_lost_is_in_the_last_metrics() {
    let bundle = bundle(1_000_000);
    let collector = Collector::start(Mood::Takes {
        with_rejected_count: 0,
    })
    .await;
    let endpoint = collector.endpoint();
    let mut server = Piped::start(
        &bundle,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_METRIC_EXPORT_INTERVAL", "600000"),
        ],
    )
    .await;
    let denied = server
        .deny((0..1_000).map(|_| "no_such_tool".to_owned()))
        .await;
    let begun = Instant::now();
    let status = server.stop();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(status.code(), Some(1), "lines were lost");
    let log = server.read().join().unwrap();
    // The pipe took some; its last line may be cut.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let in_log = lines(whole, "callgate::decision").count() as u64;
    assert!(in_log < denied);
    let told = collector.told();
    let lost = told
        .iter()
        .find(|(words, _)| words == "log decision shutdown");
    let lost = lost.map(|(_, count)| *count).unwrap_or_default();
    // What was being written when the time was up counts as lost, though the pipe took a part of it.
    let batch = 64 << 10;
    assert!(in_log + lost >= denied, "{in_log} + {lost} < {denied}");
    assert!(lost <= denied && in_log * 300 <= 2 * batch, "{told:?}");
    assert_eq!(collector.spans(), (denied, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_a_collector_does_not_take_are_told() {
    let bundle = bundle(30);
    let collector = Collector::start(Mood::Stalled).await;
    let endpoint = collector.endpoint();
    let mut server = Piped::start(
        &bundle,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "256"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ],
    )
    .await;
    let log = server.read();
    let tools = |count| (0..count).map(|_| "no_such_tool".to_owned());
    let mut denied = server.deny(tools(1_000)).await;
    let reasons = ["span decision queue_full", "span decision export_failed"];
    let begun = Instant::now();
    loop {
        let lost = server.lost().await;
        if reasons.map(|it| lost.iter().any(|(words, _)| words == it)) == [true, true] {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{lost:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    collector.turn(Mood::Takes {
        with_rejected_count: 3,
    });
    denied += server.deny(tools(100)).await;
    let begun = Instant::now();
    let lost = loop {
        let lost = server.lost().await;
        let (kept, _) = collector.spans();
        if kept + sum(&lost) == denied && collector.told() == lost {
            break lost;
        }
        let told = (kept, &lost, collector.told());
        assert!(begun.elapsed() < Duration::from_secs(30), "{told:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (_, dropped) = collector.spans();
    let rejected = ("span decision rejected".to_owned(), dropped);
    assert!(dropped > 0 && lost.contains(&rejected), "{lost:?}");

    assert!(server.stop().success());
    let log = log.join().unwrap();
    let told: Vec<u64> = lines(&log, "callgate::losses")
        .map(|line| line["count"].as_u64().unwrap())
        .collect();
    assert_eq!(told.iter().sum::<u64>(), sum(&lost), "{told:?}");
    assert!((1..=2).contains(&told.len()), "one now, one at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_wait_for_a_collector_at_the_end_are_told() {
    let bundle = bundle(30);
    let collector = Collector::start(Mood::Stalled).await;
    let endpoint = collector.endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ];
    let mut server = Piped::start(&bundle, &variables).await;
    let log = server.read();
    let denied = server.deny((0..20).map(|_| "none".to_owned())).await;
    let begun = Instant::now();
    assert!(server.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(15));
    let log = log.join().unwrap();
    let told: Vec<_> = lines(&log, "callgate::losses").collect();
    let [told] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(told["lost"], format!("span decision shutdown {denied}"));
    assert_eq!(told["level"], "WARN");
    let expected = vec![("span decision shutdown".to_owned(), denied)];
    assert_eq!(collector.told(), expected, "the last metrics tell it too");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_that_a_collector_does_not_take_at_the_end_are_told() {
    let bundle = bundle(30);
    let collector = Collector::start(Mood::Takes {
        with_rejected_count: 0,
    })
    .await;
    collector.stall_metrics();
    let endpoint = collector.endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "600000"),
    ];
    let mut server = Piped::start(&bundle, &variables).await;
    let log = server.read();
    let denied = server.deny((0..20).map(|_| "none".to_owned())).await;
    let begun = Instant::now();
    assert!(server.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(15));
    let log = log.join().unwrap();
    let told: Vec<_> = lines(&log, "callgate::losses").collect();
    let [told] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(told["lost"], "metrics other shutdown 1");
    assert_eq!(collector.spans(), (denied, 0), "spans went out before");
}
