//! Dashboards and alerts name metrics that exist, and a real Prometheus answers every query.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::ops::admin::{decide, free_address, get, start};
use crate::support::parts;
use crate::support::process::Bundle;

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
    assert!(alerts.len() >= 10, "{alerts:?}");
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

#[test]
#[ignore = "needs Prometheus"]
fn prometheus_answers_every_query_of_the_dashboard() {
    let bundle = Bundle::small();
    let (server, admin) = start(&bundle);
    let address = free_address();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: callgate\n    static_configs: [{{targets: [\"{admin}\"]}}]\n"
    );
    fs::write(&config, scrape).unwrap();
    let started = Command::new(parts::prometheus().join("prometheus"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .arg("--enable-feature=exemplar-storage")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _prometheus = Prometheus(started);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        decide(&bundle, &server);
        let is_up =
            std::net::TcpStream::connect(address).is_ok() && get(address, "/-/ready").status == 200;
        let counted =
            "increase(callgate_decisions_total[10s]) > 0 and on() up{job=\"callgate\"} == 1";
        if is_up {
            let told = query(address, counted);
            if told["data"]["result"]
                .as_array()
                .is_some_and(|it| !it.is_empty())
            {
                break;
            }
        }
        assert!(Instant::now() < deadline, "Prometheus does not scrape");
        std::thread::sleep(Duration::from_millis(300));
    }
    // What did not happen here has no series.
    let quiet = [
        "control_",
        "rejections",
        "shadow",
        "observed",
        "reloads",
        "dropped",
        "\"deny\"",
    ];
    let mut empty = Vec::new();
    for asked in dashboard_queries() {
        let told = query(address, &asked);
        assert_eq!(told["status"], "success", "{asked}: {told}");
        let is_empty = told["data"]["result"].as_array().is_none_or(Vec::is_empty);
        if is_empty && !quiet.iter().any(|it| asked.contains(it)) {
            empty.push(asked);
        }
    }
    assert_eq!(empty, Vec::<String>::new());
}
