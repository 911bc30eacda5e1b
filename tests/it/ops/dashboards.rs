//! Dashboards and alerts name metrics that exist, and a real Prometheus answers every query.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callgate::proto::v1;
use serde_json::Value as Json;

use crate::hold::faults::delegate;
use crate::ops::admin::get;
use crate::store::crash::company::{self, Doors, formatting, in_session};
use crate::support::parts;
use crate::support::process::{Bundle, Server, free_address};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every query of the dashboard, for all servers.
fn dashboard_queries() -> Vec<String> {
    let dashboard: Json = serde_json::from_str(&text("deploy/dashboards/callgate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries: Vec<String> = targets
        .flatten()
        .map(|target| {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$job", ".*").replace("$instance", ".*");
            query.replace("$__rate_interval", "10s")
        })
        .collect();
    assert!(queries.len() > 20, "{queries:?}");
    queries
}

/// The names of metrics in a text: words that begin with `callgate_` and are no labels.
fn metric_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')) {
        if word.starts_with("callgate_") {
            names.insert(word.to_owned());
        }
    }
    names
}

/// The names between quotes in the source of telemetry, which are instruments and labels.
fn source_names() -> BTreeSet<String> {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else if !path.to_string_lossy().ends_with("_tests.rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    files(&root().join("src/telemetry"), &mut found);
    let mut names = BTreeSet::new();
    for path in found {
        let text = fs::read_to_string(path).unwrap();
        let quoted = text.split('"').skip(1).step_by(2);
        let meant = quoted.filter(|word| word.starts_with("callgate."));
        names.extend(meant.map(|word| word.replace('.', "_")));
    }
    assert!(names.contains("callgate_decisions"), "{names:?}");
    names
}

#[test]
fn every_metric_that_is_named_exists() {
    let known = source_names();
    let is_known = |name: &str| {
        let ends = ["_total", "_bucket", "_sum", "_count"];
        let bare = ends
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let units = ["_seconds", "_bytes", "_ratio"];
        let without = units.iter().find_map(|unit| bare.strip_suffix(unit));
        known.contains(bare) || without.is_some_and(|it| known.contains(it))
    };
    let mut unknown = Vec::new();
    let rules = text("deploy/observe/callgate.rules.yml");
    for source in dashboard_queries().iter().chain([&rules]) {
        unknown.extend(
            metric_names(source)
                .into_iter()
                .filter(|name| !is_known(name)),
        );
    }
    assert_eq!(unknown, Vec::<String>::new());
    assert!(
        !is_known("callgate_decision_made_total"),
        "the check sees what it should"
    );
}

#[test]
fn every_alert_has_a_test_and_a_place_in_the_manual() {
    let (rules, tests) = (
        text("deploy/observe/callgate.rules.yml"),
        text("deploy/observe/callgate.rules.test.yml"),
    );
    let manual = text("docs/operations.md");
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 14, "{alerts:?}");
    let chart = text("deploy/helm/callgate/files/callgate.rules.yml");
    assert_eq!(
        chart, rules,
        "deploy/dashboards/generate.py makes the chart's copy"
    );
    for alert in alerts {
        let fires = tests
            .split(&format!("alertname: {alert}\n        exp_alerts:"))
            .count();
        assert!(fires > 1, "`{alert}` never fires in a test");
        assert!(manual.contains(&format!("| `{alert}` |")), "{alert}");
    }
}

/// A running Prometheus. Dropping it kills it.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn query(at: std::net::SocketAddr, query: &str) -> Json {
    let encoded = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
    let reply = get(at, &format!("/api/v1/query?query={encoded}"));
    let body = reply.body.lines().find(|line| line.starts_with('{'));
    let body = body.unwrap_or_else(|| panic!("{reply:?}"));
    serde_json::from_str(body).unwrap()
}

#[test]
#[ignore = "needs Prometheus"]
fn promtool_accepts_rules_and_configuration() {
    let promtool = parts::prometheus().join("promtool");
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "callgate.rules.test.yml"],
    ] {
        let run = Command::new(&promtool)
            .args(arguments)
            .current_dir(root().join("deploy/observe"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout).into_owned()
            + &String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success() && said.contains("SUCCESS"), "{said}");
    }
    let check = Command::new("python3")
        .args(["deploy/dashboards/generate.py", "--check"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
}

/// Starts a Prometheus that scrapes these addresses, each under a job of its own, and waits until it has done so twice.
fn scrape(folder: &Path, jobs: &[(&str, SocketAddr)]) -> (Prometheus, SocketAddr) {
    let address = free_address();
    let config = folder.join("prometheus.yml");
    let mut text = "global: {scrape_interval: 1s}\nscrape_configs:\n".to_owned();
    for (job, at) in jobs {
        text += &format!("  - job_name: {job}\n    static_configs: [{{targets: [\"{at}\"]}}]\n");
    }
    fs::write(&config, text).unwrap();
    let started = Command::new(parts::prometheus().join("prometheus"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .arg("--enable-feature=exemplar-storage")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (Prometheus(started), address)
}

/// Waits until Prometheus has something to say to a query.
fn wait_for_answer(prometheus: SocketAddr, asked: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let is_up = std::net::TcpStream::connect(prometheus).is_ok()
            && get(prometheus, "/-/ready").status == 200;
        if is_up {
            let told = query(prometheus, asked);
            let found = told["data"]["result"].as_array();
            if found.is_some_and(|it| !it.is_empty()) {
                return;
            }
        }
        assert!(Instant::now() < deadline, "no answer to {asked}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

const WATCHED: &str = r#"
@id("watch-mail") @mode("shadow") @reason("mail would be forbidden")
forbid (principal is Mcp::Agent, action, resource == Mcp::Tool::"mail/list");
"#;

/// The company with everything that a panel shows: a policy in shadow mode, a server that is only observed, labels switched on.
fn watched_company(admin: SocketAddr) -> Bundle {
    let bundle = company::bundle();
    bundle.file("watched.cedar", WATCHED).file(
        "callgate.toml",
        &format!(
            "[listen]\nadmin = \"{admin}\"\n[observe]\nservers = [\"wiki\"]\n[telemetry.labels]\nserver = true\npolicy = true\n"
        ),
    );
    bundle
}

/// One round of everything: allowed, denied, unknown, observed, malformed, a list with an entry that is shown only because its
/// server is observed, a request for an approval, a control write.
async fn one_round(doors: &mut Doors, round: u64) {
    let session = format!("session {}", round % 7);
    for tool in [
        "mail/list",
        "mail/list",
        "files/read",
        "files/made-up",
        "wiki/read",
    ] {
        doors
            .decide(in_session(tool, &session))
            .await
            .expect("an answer");
    }
    let list = v1::FilterToolsRequest {
        call_context: Some(in_session("wiki/read", &session).into()),
        server: "wiki".into(),
        tools: vec!["made-up".into()],
        ..Default::default()
    };
    let shown = doors.authorization.filter_tools(list).await;
    shown.expect("a list");
    let call = formatting(round, &[]);
    let denied = doors.decide(call.clone()).await.expect("an answer");
    if round.is_multiple_of(20) {
        let request = v1::RequestApprovalRequest {
            call_context: Some(call),
            challenge: denied.approval,
            ..Default::default()
        };
        doors
            .control
            .request_approval(request)
            .await
            .expect("a request");
        delegate(doors).await.expect("a delegation");
    }
    let malformed = doors.decide(in_session("mail/", &session)).await;
    malformed.expect_err("it names no tool");
}

/// Load of this length, with a reload in the middle.
fn under_load(server: &Server, bundle: &Bundle, length: Duration) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut doors = Doors::of(server).await;
        let (started, mut is_reloaded) = (Instant::now(), false);
        let mut round = 0;
        while started.elapsed() < length {
            one_round(&mut doors, round).await;
            round += 1;
            if !is_reloaded && started.elapsed() > length / 2 {
                bundle.file("watched.cedar", &format!("{WATCHED}\n// Again.\n"));
                is_reloaded = true;
            }
        }
        assert!(round > 20, "there was no load: {round} rounds");
    });
}

#[test]
#[ignore = "needs Prometheus"]
fn prometheus_answers_every_query_of_the_dashboard() {
    let admin = free_address();
    let bundle = watched_company(admin);
    let server = Server::start(&bundle, &[]);
    let folder = tempfile::tempdir().unwrap();
    let (_prometheus, address) = scrape(folder.path(), &[("callgate", admin)]);
    wait_for_answer(address, "up{job=\"callgate\"} == 1");
    under_load(&server, &bundle, Duration::from_secs(20));
    wait_for_answer(address, "increase(callgate_decisions_total[10s]) > 0");
    let mut empty = Vec::new();
    for asked in dashboard_queries() {
        let told = query(address, &asked);
        assert_eq!(told["status"], "success", "{asked}: {told}");
        let is_empty = told["data"]["result"].as_array().is_none_or(Vec::is_empty);
        // Nothing was lost.
        if is_empty && !asked.contains("dropped") {
            empty.push(asked);
        }
    }
    assert_eq!(empty, Vec::<String>::new());
    // The panels, as a picture to look at.
    let picture = root().join("target/dashboard.svg");
    let drawn = Command::new("python3")
        .arg(root().join("deploy/dashboards/render.py"))
        .arg(format!("http://{address}"))
        .arg(&picture)
        .args(["--minutes", "0.6", "--step", "1"])
        .output()
        .unwrap();
    assert!(drawn.status.success(), "{drawn:?}");
    let drawn = fs::read_to_string(&picture).unwrap();
    let panels: Vec<&str> = drawn.split("<g class=\"panel\"").skip(1).collect();
    assert!(panels.len() > 20, "{} panels", panels.len());
    let without_data = |panel: &&&str| panel.contains(">no data<");
    assert_eq!(
        panels.iter().filter(without_data).count(),
        1,
        "only that of losses is empty: {}",
        picture.display()
    );
    println!("the panels are drawn in {}", picture.display());
}

/// The metrics of Callgate that a job has: names with their labels but those of the scrape.
fn series_of(prometheus: SocketAddr, job: &str) -> BTreeSet<String> {
    let told = query(
        prometheus,
        &format!("{{job=\"{job}\",__name__=~\"callgate_.*\",__name__!~\".*_bucket\"}}"),
    );
    let found = told["data"]["result"].as_array().expect("a list");
    found
        .iter()
        .map(|series| {
            let labels = series["metric"].as_object().expect("labels");
            let own = labels
                .iter()
                .filter(|(name, _)| name.starts_with("callgate_") || *name == "__name__");
            let own: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
            own.join(" ")
        })
        .collect()
}

/// A running collector. Dropping it kills it.
struct Collector {
    process: Child,
    said: PathBuf,
    grpc: SocketAddr,
    http: SocketAddr,
    metrics: SocketAddr,
}

impl Collector {
    fn start(folder: &Path) -> Self {
        let [grpc, http, metrics] = [free_address(), free_address(), free_address()];
        let said = folder.join("collector.log");
        let log = fs::File::create(&said).unwrap();
        let process = Command::new(parts::otelcol())
            .arg("--config")
            .arg(root().join("deploy/observe/collector.yaml"))
            .env("CALLGATE_OBSERVE_GRPC", grpc.to_string())
            .env("CALLGATE_OBSERVE_HTTP", http.to_string())
            .env("CALLGATE_OBSERVE_METRICS", metrics.to_string())
            .env("CALLGATE_OBSERVE_VERBOSITY", "detailed")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let collector = Self {
            process,
            said,
            grpc,
            http,
            metrics,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !fs::read_to_string(&collector.said)
            .unwrap()
            .contains("Everything is ready")
        {
            assert!(Instant::now() < deadline, "{:?}", collector.said);
            std::thread::sleep(Duration::from_millis(100));
        }
        collector
    }

    /// Waits until the collector has said something.
    fn wait_for(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !fs::read_to_string(&self.said).unwrap().contains(what) {
            assert!(Instant::now() < deadline, "no `{what}` in {:?}", self.said);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs Prometheus and the OpenTelemetry Collector"]
fn a_collector_shows_what_the_server_shows() {
    for protocol in ["grpc", "http/protobuf"] {
        let (admin, folder) = (free_address(), tempfile::tempdir().unwrap());
        let collector = Collector::start(folder.path());
        let bundle = watched_company(admin);
        let at = match protocol {
            "grpc" => collector.grpc,
            _ => collector.http,
        };
        let endpoint = format!("http://{at}");
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ];
        let server = Server::start(&bundle, &variables);
        let jobs = [("callgate", admin), ("collected", collector.metrics)];
        let (_prometheus, address) = scrape(folder.path(), &jobs);
        under_load(&server, &bundle, Duration::from_secs(5));
        for job in ["callgate", "collected"] {
            let told = format!("callgate_decisions_total{{job=\"{job}\"}} > 0");
            wait_for_answer(address, &told);
        }
        collector.wait_for("authorize tools/call list");
        collector.wait_for("Body: Str(authorization decision)");
        // A moment without load: both have all series then.
        std::thread::sleep(Duration::from_secs(4));
        let (own, collected) = (
            series_of(address, "callgate"),
            series_of(address, "collected"),
        );
        assert!(own.len() > 40, "{own:?}");
        assert_eq!(own, collected, "over {protocol}");
    }
}
