//! The pages of `docs/gateways/`: each answers the same questions, its settings are settings, and what it says of shipped
//! files is in them.

use std::fs;
use std::path::{Path, PathBuf};

use callgate::config::Config;

use crate::envoy::{least, shipped};

/// The rows of each page's table.
const ROWS: [&str; 7] = [
    "| It asks about |",
    "| It does not ask about |",
    "| Whose word identity is |",
    "| Whose word the session is |",
    "| Callgate slow |",
    "| Callgate gone |",
    "| Least version |",
];

const PAGES: [&str; 7] = [
    "agentgateway",
    "authzen",
    "envoy-ext-authz",
    "envoy-ext-proc",
    "istio",
    "native-grpc",
    "toolhive",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gateways")
}

fn page(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.md"))).expect("a page")
}

#[test]
fn each_page_answers_the_same_questions_and_is_linked() {
    let readme = include_str!("../../../README.md");
    for name in PAGES {
        let text = page(name);
        for row in ROWS {
            assert_eq!(text.matches(row).count(), 1, "{name}: {row}");
        }
        let link = format!("(docs/gateways/{name}.md)");
        assert!(readme.contains(&link), "README: {link}");
    }
}

#[test]
fn what_the_pages_link_to_is_there_and_their_settings_are_settings() {
    for name in PAGES {
        let text = page(name);
        for rest in text.split("](").skip(1) {
            let link = rest.split([')', '#']).next().expect("a link");
            assert!(folder().join(link).exists(), "{name}: {link}");
        }
        for rest in text.split("```toml\n").skip(1) {
            let settings = rest.split("```").next().expect("settings");
            let config = Config::from_toml(settings, "callgate.toml");
            let config = config.unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
            assert!(config.require_delegation, "{name}");
        }
    }
}

#[test]
fn the_pages_say_what_the_shipped_files_say() {
    for (name, file) in [
        ("envoy-ext-authz", "envoy/ext-authz.yaml"),
        ("envoy-ext-proc", "envoy/ext-proc.yaml"),
    ] {
        let stated = format!("| Least version | Envoy {}", least(file));
        assert!(page(name).contains(&stated), "{name}: {stated}");
    }
    for (name, file, in_file, on_page) in [
        (
            "envoy-ext-authz",
            "envoy/ext-authz.yaml",
            " timeout: 0.5s",
            "0.5 s as shipped",
        ),
        (
            "envoy-ext-proc",
            "envoy/ext-proc.yaml",
            "message_timeout: 0.5s",
            "0.5 s as shipped",
        ),
        (
            "envoy-ext-proc",
            "envoy/ext-proc.yaml",
            "connection_keepalive: {interval: 2s, timeout: 1s}",
            "ends within about 3 s as shipped",
        ),
        (
            "istio",
            "istio/mesh.yaml",
            "timeout: 0.5s",
            "0.5 s as shipped",
        ),
        (
            "agentgateway",
            "agentgateway/config.yaml",
            "requestTimeout: 3s",
            "3 s as shipped",
        ),
        (
            "toolhive",
            "toolhive/authz.json",
            "\"timeout\": 3",
            "3 s as shipped",
        ),
    ] {
        assert!(shipped(file).contains(in_file), "{file}: {in_file}");
        assert!(page(name).contains(on_page), "{name}: {on_page}");
    }
    let module = include_str!("../../toolhive/go.mod");
    let version = module
        .lines()
        .find_map(|it| it.strip_prefix("require github.com/stacklok/toolhive v"));
    let stated = format!("| Least version | {},", version.expect("a version"));
    assert!(page("toolhive").contains(&stated), "{stated}");
}

/// What ToolHive leaves out by default is what makes a call look like an entry of a list.
#[test]
fn lists_are_on_where_arguments_are_sent_and_off_otherwise() {
    assert!(!Config::default().toolhive.lists);
    let settings = Config::from_toml(&shipped("toolhive/callgate.toml"), "callgate.toml");
    assert!(
        settings
            .unwrap_or_else(|faults| panic!("{faults:?}"))
            .toolhive
            .lists
    );
    let authz: serde_json::Value =
        serde_json::from_str(&shipped("toolhive/authz.json")).expect("JSON");
    assert_eq!(authz["pdp"]["context"]["include_args"], true);
    assert_eq!(authz["pdp"]["context"]["include_operation"], true);
    // Callgate's answer, if it is late, comes first and says why.
    let waits = authz["pdp"]["http"]["timeout"].as_u64().expect("seconds");
    assert!(waits * 1_000 > u64::from(Config::default().limits.deadline_ms));
}
