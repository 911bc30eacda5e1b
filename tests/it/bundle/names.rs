//! A misspelt name in a policy is told, whatever kind of name it is: by `check`, by `check --strict`, by a server
//! that starts and by one that loads its directory again.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::bundle_dir::BundleDir;
use crate::support::command::Workplace;
use crate::support::process::{Bundle, Server};

const SETTINGS: &str = "[[claims.groups]]\nclaim = \"groups\"\n";

/// Warnings tell where a word that is like the misspelt one stands in it.
const NOTION: &str = r#"{"server": {"name": "notion", "owner": "ana"}, "tools": {
  "API-patch-page": {"access": "write", "status": "confirmed", "yields": ["customer"], "egress": true, "sensitivity": "internal",
    "target_arguments": [{"argument": "page", "kind": "id", "role": "destination"}],
    "input_schema": {"type": "object", "properties": {"page": {"type": "string"}}, "required": ["page"]}},
  "API-get-page": {"access": "read", "status": "confirmed", "yields": ["untrusted"], "egress": false, "sensitivity": "internal"}
}}
"#;

/// What there is.
fn directory() -> BundleDir {
    BundleDir::new()
        .file(
            "shop.cedarschema",
            "namespace Shop { entity Depot = { size: Long }; entity Size enum [\"small\", \"large\"]; }\n",
        )
        .config(SETTINGS)
        .groups(&["research"])
        .user("ana", &["research"])
        .agent("helper", "ana", &[])
        .entity(("Mcp::Resource", "known-destinations"), json!({}), &[])
        .entity(("Shop::Depot", "north"), json!({"size": 3}), &[])
        .file("tools/notion.json", NOTION)
}

/// The scope of most of these.
const CALLS: &str = "principal, action in Mcp::Action::\"call_tool\", resource";

/// Names that another process may still bring: the kind, the policy's scope and condition, and what was meant.
const OPEN: &[(&str, &str, &str, &str)] = &[
    (
        "tool",
        "principal, action, resource == Mcp::Tool::\"notion/API-patch-pgae\"",
        "",
        "Mcp::Tool::\"notion/API-patch-page\"",
    ),
    (
        "tool_without_server",
        "principal, action, resource == Mcp::Tool::\"API-patch-page\"",
        "",
        "Mcp::Tool::\"notion/API-patch-page\"",
    ),
    (
        "tool_in_letters",
        "principal, action, resource == Mcp::Tool::\"Notion/api-patch-page\"",
        "",
        "Mcp::Tool::\"notion/API-patch-page\"",
    ),
    (
        "server",
        "principal, action, resource in Mcp::Server::\"notoin\"",
        "",
        "Mcp::Server::\"notion\"",
    ),
    (
        "server_of_prompt",
        "principal, action == Mcp::Action::\"get_prompt\", resource == Mcp::Prompt::\"notoin/daily\"",
        "",
        "",
    ),
    (
        "group",
        "principal in Mcp::Group::\"reserach\", action, resource",
        "",
        "Mcp::Group::\"research\"",
    ),
    (
        "group_of_claims",
        CALLS,
        "principal in Mcp::Group::\"clam:staff\"",
        "",
    ),
    (
        "user",
        "principal == Mcp::User::\"anna\", action, resource",
        "",
        "Mcp::User::\"ana\"",
    ),
    (
        "agent",
        "principal == Mcp::Agent::\"helpr\", action, resource",
        "",
        "Mcp::Agent::\"helper\"",
    ),
    (
        "wrong_type",
        "principal in Mcp::Group::\"notion\", action, resource",
        "",
        "Mcp::Server::\"notion\"",
    ),
    (
        "owner",
        CALLS,
        "resource.owner == Mcp::User::\"anna\"",
        "Mcp::User::\"ana\"",
    ),
    (
        "gateway",
        CALLS,
        "context.environment.gateway == Mcp::Gateway::\"locla\"",
        "Mcp::Gateway::\"local\"",
    ),
    (
        "place",
        CALLS,
        "context has target && context.target in Mcp::Resource::\"known-destination\"",
        "Mcp::Resource::\"known-destinations\"",
    ),
    (
        "canonical_name",
        CALLS,
        "context has target && context.target in Mcp::Resource::\"file:///srv/notes/\"",
        "Mcp::Resource::\"file:///srv/notes\"",
    ),
    (
        "own_type",
        CALLS,
        "[Shop::Depot::\"nroth\"].contains(Shop::Depot::\"north\")",
        "Shop::Depot::\"north\"",
    ),
    (
        "label",
        CALLS,
        "context has session && context.session.labels.contains(\"untursted\")",
        "untrusted",
    ),
    (
        "label_of_tools",
        CALLS,
        "resource.yields.containsAny([\"custmer\", \"private\"])",
        "customer",
    ),
    (
        "role",
        CALLS,
        "context has target_role && context.target_role == \"desination\"",
        "destination",
    ),
    ("method", CALLS, "context.identity.method == \"jtw\"", "jwt"),
    (
        "test",
        CALLS,
        "context has aproval || resource.egress",
        "approval",
    ),
    (
        "test_within",
        CALLS,
        "context has delegation.rot || resource.egress",
        "root",
    ),
    (
        "effect_of_tool",
        "principal, action == Mcp::Action::\"call_read\", resource == Mcp::Tool::\"notion/API-patch-page\"",
        "",
        "call_write",
    ),
];

/// Words of which there are no others.
const CLOSED: &[(&str, &str, &str)] = &[
    ("access", "resource.access == \"raed\"", "read"),
    ("effect_other_side", "\"wirte\" != resource.access", "write"),
    (
        "effect_in_set",
        "[\"read\", \"wriet\"].contains(resource.access)",
        "write",
    ),
    (
        "effect_delegated",
        "context has delegation && context.delegation has access && context.delegation.access == \"admn\"",
        "admin",
    ),
    (
        "sensitivity",
        "resource.sensitivity == \"confidental\"",
        "confidential",
    ),
    (
        "sensitivity_of_target",
        "context has target && context.target has sensitivity && context.target.sensitivity == \"pubic\"",
        "public",
    ),
    (
        "sensitivity_like",
        "resource.sensitivity like \"confident*s\"",
        "",
    ),
    (
        "sensitivity_if",
        "resource.sensitivity == (if resource.egress then \"internal\" else \"restrcted\")",
        "restricted",
    ),
    (
        "kind",
        "context has target && context.target has kind && context.target.kind == \"urls\"",
        "url",
    ),
    ("initiator", "context.initiator == \"clinet\"", "client"),
    (
        "source",
        "context has delegation && context.delegation.source == \"store\"",
        "stored",
    ),
    (
        "answers",
        "context has answers && context.answers.kinds.containsAll([\"samplng\"])",
        "sampling",
    ),
];

pub(super) fn policy(kind: &str, scope: &str, condition: &str) -> String {
    let when = match condition {
        "" => String::new(),
        condition => format!("\nwhen {{ {condition} }}"),
    };
    format!("@id(\"{kind}\")\nforbid ({scope}){when};\n")
}

fn open() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    OPEN.iter()
        .map(|(kind, scope, condition, meant)| (*kind, policy(kind, scope, condition), *meant))
}

fn closed() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    CLOSED
        .iter()
        .map(|(kind, condition, meant)| (*kind, policy(kind, CALLS, condition), *meant))
}

fn workplace(more: &[(&str, &str)]) -> Workplace {
    let workplace = Workplace::of(&directory());
    for (path, text) in more {
        workplace.write(path, text);
    }
    workplace
}

/// What is told of a directory, by the name of its file.
fn told(ran: &Json, of: &str) -> Vec<Json> {
    ran[of].as_array().cloned().unwrap_or_default()
}

/// A place in the policy, the policy's name, and what was meant.
fn holds(fault: &Json, kind: &str, meant: &str) {
    assert_eq!(fault["file"], format!("policies/{kind}.cedar"), "{fault}");
    assert!(
        fault["line"].as_u64() >= Some(1) && fault["column"].is_u64(),
        "{fault}"
    );
    let message = fault["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with(&format!("for policy `{kind}`, ")),
        "{fault}"
    );
    let help = fault["help"].as_str().unwrap_or_default();
    let quoted = format!("`{meant}`");
    let is_meant = meant.is_empty() || help.contains(&quoted) || help.contains(meant);
    assert!(is_meant && !help.is_empty(), "no `{meant}`: {fault}");
}

#[test]
fn what_is_not_misspelt_is_in_order() {
    let fine = policy(
        "fine",
        "principal in Mcp::Group::\"claim:staff\", action, resource in Mcp::Server::\"notion\"",
        "context has target && context.target in Mcp::Resource::\"https://example.com/a\" && context has session && context.session.labels.contains(\"customer\")",
    );
    let ran = workplace(&[("policies/fine.cedar", &fine)]).run(&["check", "--strict"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
}

#[test]
fn names_that_may_come_from_elsewhere_are_warnings_and_strictly_faults() {
    let all: Vec<(String, String)> = open()
        .map(|(kind, policy, _)| (format!("policies/{kind}.cedar"), policy))
        .collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(path, text)| (&**path, &**text)).collect();
    let workplace = workplace(&all);
    let told = open().map(|(kind, _, meant)| (kind, meant));
    let shown = warned_and_strictly_refused(&workplace, told);
    insta::assert_snapshot!("names_open", shown);
}

/// Checks that there is one warning for each of these policies, with what was meant, and that the same are faults under
/// `--strict`. Returns what is shown then.
pub(super) fn warned_and_strictly_refused<'a>(
    workplace: &Workplace,
    policies: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let ran = workplace.run(&["check", "policies", "--output", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let warnings = told(&ran.json(), "warnings");
    let strict = workplace.run(&["check", "policies", "--strict", "--output", "json"]);
    assert_eq!(strict.code, 3, "{}", strict.transcript());
    assert_eq!(told(&strict.json(), "faults"), warnings);
    for (kind, meant) in policies {
        let file = format!("policies/{kind}.cedar");
        let for_file: Vec<&Json> = warnings.iter().filter(|it| it["file"] == file).collect();
        assert_eq!(for_file.len(), 1, "{kind}: {for_file:#?}");
        holds(for_file[0], kind, meant);
    }
    workplace.run(&["check", "policies", "--strict"]).stderr
}

#[test]
fn words_of_which_there_are_no_others_are_faults() {
    let all: Vec<(String, String)> = closed()
        .map(|(kind, policy, _)| (format!("policies/{kind}.cedar"), policy))
        .collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(path, text)| (&**path, &**text)).collect();
    let workplace = workplace(&all);
    let ran = workplace.run(&["check", "policies", "--output", "json"]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    let faults = told(&ran.json(), "faults");
    for (kind, _, meant) in closed() {
        let file = format!("policies/{kind}.cedar");
        let for_file: Vec<&Json> = faults.iter().filter(|it| it["file"] == file).collect();
        assert_eq!(for_file.len(), 1, "{kind}: {for_file:#?}");
        holds(for_file[0], kind, meant);
    }
    insta::assert_snapshot!("names_closed", workplace.run(&["check", "policies"]).stderr);
}

#[test]
fn words_in_entities_are_looked_up_too() {
    let more = r#"[
  {"uid": {"type": "Mcp::Resource", "id": "hr"}, "attrs": {"sensitivity": "restrictd"}, "parents": []},
  {"uid": {"type": "Mcp::Resource", "id": "legal"}, "attrs": {"owner": {"type": "Mcp::User", "id": "anna"}}, "parents": []},
  {"uid": {"type": "Mcp::Resource", "id": "file:///srv/legal"}, "attrs": {"uri": "file:///srv/legal", "domain": "example.com"}, "parents": []},
  {"uid": {"type": "Mcp::Resource", "id": "/srv/hr"}, "attrs": {"sensitivity": "restricted"}, "parents": []},
  {"uid": {"type": "Mcp::Resource", "id": "notion:0F4E1D2C-3B4A-5968-8776-655443322110"}, "attrs": {}, "parents": []}
]"#;
    let ran =
        workplace(&[("policies/entities/more.json", more)]).run(&["check", "policies", "--strict"]);
    assert_eq!(ran.code, 3);
    insta::assert_snapshot!("names_in_entities", ran.stderr);
}

#[test]
fn names_of_links_are_looked_up_too() {
    let template = "@id(\"share\")\npermit (principal == ?principal, action in Mcp::Action::\"call_read\", resource in ?resource);\n";
    let link = r#"[{"template": "share", "id": "share-ana", "principal": {"type": "Mcp::User", "id": "anna"}, "resource": {"type": "Mcp::Server", "id": "notion"}}]"#;
    let workplace = workplace(&[
        ("policies/t.cedar", template),
        ("policies/links/l.json", link),
    ]);
    let ran = workplace.run(&["check", "policies", "--strict"]);
    assert_eq!(ran.code, 3);
    insta::assert_snapshot!("names_in_links", ran.stderr);
}

#[test]
fn the_configuration_names_what_comes_from_elsewhere() {
    let config = r#"
[[claims.groups]]
claim = "groups"

[bundle]
strict = true

[bundle.known]
entities = ['Mcp::Tool::"jira/*"', 'Mcp::User::"*@example.com"']
labels = ["pii-*"]
roles = ["approver"]
methods = ["kerberos"]
"#;
    let fine = policy(
        "fine",
        "principal == Mcp::User::\"bo@example.com\", action in Mcp::Action::\"call_tool\", resource == Mcp::Tool::\"jira/get\"",
        "context has session && context.session.labels.contains(\"pii-mail\") || context.identity.method == \"kerberos\" || context has target_role && context.target_role == \"approver\"",
    );
    let files = [
        ("policies/callgate.toml", config),
        ("policies/fine.cedar", &*fine),
    ];
    let place = workplace(&files);
    let ran = place.run(&["check", "policies"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    // What it does not name is still unknown, and the configuration is as strict as the flag.
    place.write(
        "policies/other.cedar",
        fine.replace("jira/get", "jra/get").replace("fine", "other"),
    );
    let ran = place.run(&["check", "policies"]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    assert!(
        ran.stderr
            .contains("`Mcp::Tool::\"jra/get\"` is not defined"),
        "{}",
        ran.stderr
    );
    // So is a file that the server reads instead.
    let place = workplace(&[("policies/fine.cedar", &*fine), ("elsewhere.toml", config)]);
    assert_eq!(place.run(&["check", "policies", "--strict"]).code, 3);
    // One of the directory's own beside it would be told.
    std::fs::remove_file(place.path().join("policies/callgate.toml")).expect("removed");
    let ran = place.run(&["check", "policies", "--config", "elsewhere.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
}

fn served(files: &[(&str, &str)]) -> Bundle {
    Bundle::of(&directory().files(files))
}

fn strict() -> String {
    format!("{SETTINGS}\n[bundle]\nstrict = true\n")
}

/// The lines of a log that hold a text.
fn lines_with(server: &Server, text: &str) -> Vec<Json> {
    let log = server.log();
    let parsed = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    parsed
        .filter(|line: &Json| line.to_string().contains(text))
        .collect()
}

fn wait_for(server: &Server, text: &str) -> Json {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(line) = lines_with(server, text).into_iter().next() {
            return line;
        }
        assert!(Instant::now() < end, "no `{text}` in:\n{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_that_starts_tells_each_and_strictly_does_not_start() {
    let policies: Vec<(String, String)> = open()
        .map(|(kind, policy, _)| (format!("{kind}.cedar"), policy))
        .collect();
    let files: Vec<(&str, &str)> = policies
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    let bundle = served(&files);
    let server = Server::start(&bundle, &[]);
    for (kind, _, meant) in open() {
        let lines = lines_with(&server, &format!("/{kind}.cedar\""));
        assert_eq!(lines.len(), 1, "{kind}: {lines:#?}");
        let line = &lines[0];
        assert_eq!(line["level"], "WARN", "{line}");
        let text = line.to_string();
        assert!(line["help"].is_string() && line["line"].is_u64(), "{line}");
        let meant = Json::from(meant).to_string();
        assert!(
            text.contains(meant.trim_matches('"')),
            "no {meant} in {line}"
        );
    }
    drop(server);
    bundle.file("callgate.toml", &strict());
    let ran = bundle.run(&["serve"]);
    assert_eq!(ran.status.code(), Some(3));
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    for (kind, ..) in open() {
        assert!(
            errors.contains(&format!("fault: for policy `{kind}`, ")),
            "{errors}"
        );
    }
}

#[test]
fn a_server_that_loads_again_tells_and_strictly_keeps_what_it_has() {
    let slip = "@id(\"slip\")\nforbid (principal, action, resource == Mcp::Tool::\"notion/API-patch-pgae\");\n";
    let bundle = served(&[]);
    let server = Server::start(&bundle, &[]);
    fs::write(bundle.policies().join("slip.cedar"), slip).expect("a file");
    let line = wait_for(&server, "slip.cedar");
    assert_eq!(line["level"], "WARN", "{line}");
    assert_eq!(
        line["help"],
        "did you mean `Mcp::Tool::\"notion/API-patch-page\"`?"
    );
    wait_for(&server, "the directory is in service");
    drop(server);

    let bundle = served(&[("callgate.toml", &strict())]);
    let server = Server::start(&bundle, &[]);
    fs::write(bundle.policies().join("slip.cedar"), slip).expect("a file");
    let line = wait_for(&server, "slip.cedar");
    assert_eq!(line["level"], "ERROR", "{line}");
    let text = line["message"].as_str().unwrap_or_default();
    assert!(
        text.starts_with("the directory has faults and is not loaded"),
        "{text}"
    );
    assert!(
        text.contains("did you mean `Mcp::Tool::\"notion/API-patch-page\"`?"),
        "{text}"
    );
    // A policy in a file that nobody reads is noticed as well.
    fs::remove_file(bundle.policies().join("slip.cedar")).expect("a file");
    wait_for(&server, "the directory is again what is in service");
    fs::write(bundle.policies().join("more.cedar.txt"), slip).expect("a file");
    let line = wait_for(&server, "more.cedar.txt");
    assert_eq!(line["level"], "ERROR", "{line}");
}
