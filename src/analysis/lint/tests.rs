use std::fs;

use super::*;
use crate::bundle;

/// The codes found in a directory with these files, each with its first place.
fn found(written: &[(&str, &str)]) -> Vec<(Code, String)> {
    let dir = tempfile::tempdir().expect("a directory");
    for (path, text) in written {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
    }
    let files = bundle::files::read(dir.path()).expect("it can be read");
    let bundle = bundle::compile(&files).unwrap_or_else(|faults| panic!("{faults}"));
    let lints = lint(&files, &bundle);
    lints
        .into_iter()
        .map(|it| {
            let place = &it.places[0];
            let file = place.file.rsplit('/').next().unwrap_or_default();
            let line = place.line.unwrap_or(0);
            (it.code, format!("{file}:{line} x{}", it.places.len()))
        })
        .collect()
}

fn codes(policies: &str) -> Vec<Code> {
    let lints = found(&[("a.cedar", policies)]);
    lints.into_iter().map(|(code, _)| code).collect()
}

const HEAD: &str = "@id(\"a\") @owner(\"it\") @reason(\"r\")";

#[test]
fn a_policy_in_order_has_no_lint() {
    let text = format!(
        "{HEAD} permit (principal is Mcp::User, action in Mcp::Action::\"call_tool\", resource);"
    );
    assert_eq!(codes(&text), []);
}

#[test]
fn times_that_cannot_be_out_of_range_have_no_lint() {
    let text = format!(
        "{HEAD} permit (principal is Mcp::User, action in Mcp::Action::\"call_read\", resource) when {{ context.environment.now < \
         datetime(\"2026-01-01\").offset(duration(\"1d\")) && context.environment.now.toTime() < duration(\"8h\") }};"
    );
    assert_eq!(codes(&text), []);
}

#[test]
fn each_lint_of_policies_is_found_and_can_be_allowed() {
    let read = "principal, action in Mcp::Action::\"call_read\", resource";
    let cases = [
        (Code::ForbidCanErr, format!("forbid ({read}) when {{ context has usage && context.usage.last_day * 2 > 9 }};")),
        (Code::PermitCanErr, format!("permit ({read}) when {{ context has usage && context.usage.last_day + 2 > 9 }};")),
        (Code::ForbidCanErr, format!("forbid ({read}) when {{ context.environment.now.offset(duration(\"1d\")) > datetime(\"2026-01-01\") }};")),
        (Code::ForbidCanErr, format!("forbid ({read}) when {{ context.environment.now.durationSince(datetime(\"2026-01-01\")) > duration(\"1d\") }};")),
        (Code::PermitCanErr, format!("permit ({read}) when {{ context.environment.now.toDate() == datetime(\"2026-01-01\") }};")),
        (Code::PermitEverything, "permit (principal, action, resource);".to_owned()),
        (Code::WidePermit, "permit (principal, action in Mcp::Action::\"call_tool\", resource) when { resource.confirmed };".to_owned()),
    ];
    for (code, policy) in cases {
        assert_eq!(codes(&format!("{HEAD} {policy}")), [code], "{policy}");
        let name = code.as_str();
        let allowed = format!("{HEAD} @allow(\"{name}\") {policy}");
        assert_eq!(codes(&allowed), [], "{policy}");
    }
}

#[test]
fn annotations_that_are_missing() {
    let read = "(principal, action in Mcp::Action::\"call_read\", resource)";
    assert_eq!(
        codes(&format!("@id(\"a\") permit {read};")),
        [Code::PermitWithoutOwner]
    );
    assert_eq!(
        codes(&format!("@id(\"a\") forbid {read};")),
        [Code::ForbidWithoutReason]
    );
    assert_eq!(
        codes(&format!("@owner(\"it\") permit {read};")),
        [Code::PolicyWithoutId]
    );
    let misspelt = format!("{HEAD} @allow(\"wide-permits\") permit {read};");
    assert_eq!(codes(&misspelt), [Code::UnknownLint]);
}

#[test]
fn what_is_said_twice_is_shadowed_and_what_differs_is_not() {
    let policy = |id: &str, rest: &str| {
        format!(
            "@id(\"{id}\") @owner(\"it\") permit (principal is Mcp::User, action in Mcp::Action::\"call_read\", resource) {rest};\n"
        )
    };
    let confirmed = "when { resource.confirmed }";
    assert_eq!(
        codes(&(policy("a", confirmed) + &policy("b", confirmed))),
        [Code::PolicyShadowed]
    );
    assert_eq!(
        codes(&(policy("a", confirmed) + &policy("b", ""))),
        [Code::PolicyShadowed]
    );
    let other = "when { resource.egress }";
    assert_eq!(codes(&(policy("a", confirmed) + &policy("b", other))), []);
    let trial = format!("@mode(\"shadow\") {}", policy("b", ""));
    assert_eq!(codes(&(policy("a", confirmed) + &trial)), []);
}

#[test]
fn what_adds_something_to_an_answer_is_not_shadowed_by_what_does_not() {
    let policy = |id: &str, marks: &str, effect: &str, rest: &str| {
        format!(
            "@id(\"{id}\") @owner(\"it\") @reason(\"r\") {marks} {effect} (principal is Mcp::User, action in Mcp::Action::\"call_read\", resource) {rest};\n"
        )
    };
    for (effect, mark) in [
        ("permit", "@obligation(\"redact\")"),
        ("forbid", "@obligation(\"redact\")"),
        ("forbid", "@mode(\"enforce\")"),
    ] {
        for rest in ["", "when { resource.egress }"] {
            let plain = policy("plain", "", effect, rest);
            let marked = policy("marked", mark, effect, rest);
            let above = policy("above", "", effect, "");
            let found = |text: String| -> Vec<String> {
                let found = super::tests::found(&[("a.cedar", &text)]);
                found.into_iter().map(|(_, place)| place).collect()
            };
            // The plain one says nothing that the marked one does not say, wherever it stands.
            assert_eq!(
                found(plain.clone() + &marked),
                ["a.cedar:1 x1"],
                "{effect} {mark}"
            );
            assert_eq!(
                found(marked.clone() + &plain),
                ["a.cedar:2 x1"],
                "{effect} {mark}"
            );
            if !rest.is_empty() {
                assert_eq!(codes(&(above + &marked)), [], "{effect} {mark}");
            }
        }
    }
}

const TOOLS: &str = r#"{"server": {"name": "git", "owner": "owen"}, "tools": {
  "log": {"access": "read", "status": "proposed", "yields": ["secret"], "egress": false, "sensitivity": "internal"},
  "push": {"access": "write", "status": "confirmed", "yields": [], "egress": true, "sensitivity": "internal"},
  "show": {"access": "read", "status": "proposed", "yields": [], "egress": false, "sensitivity": "internal"}
}}"#;
const OWEN: &str = r#"[{"uid": {"type": "Mcp::User", "id": "owen"}, "attrs": {}, "parents": [{"type": "Mcp::Group", "id": "staff"}]},
  {"uid": {"type": "Mcp::Group", "id": "staff"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Mcp::Group", "id": "stuff"}, "attrs": {}, "parents": []}]"#;

#[test]
fn an_action_that_others_are_in() {
    let policy = |effect: &str, scope: &str| {
        format!(
            "@id(\"a\") @owner(\"o\") @reason(\"r\") {effect} (principal in Mcp::Group::\"g\", {scope});"
        )
    };
    for action in ["call_read", "call_write", "call_admin"] {
        let exact = format!("action == Mcp::Action::\"{action}\", resource");
        for effect in ["permit", "forbid"] {
            assert_eq!(
                codes(&policy(effect, &exact)),
                [Code::ActionExact],
                "{action}"
            );
        }
        let one = format!("{exact} == Mcp::Tool::\"git/log\"");
        assert_eq!(codes(&policy("permit", &one)), [], "{action}");
    }
    for scope in [
        "action in Mcp::Action::\"call_admin\", resource",
        "action == Mcp::Action::\"list_tools\", resource",
        "action, resource",
    ] {
        assert_eq!(codes(&policy("forbid", scope)), [], "{scope}");
    }
}

#[test]
fn entities_that_nothing_tells_apart() {
    const PEOPLE: &str = r#"[{"uid": {"type": "Mcp::Group", "id": "staff"}, "attrs": {}, "parents": []},
      {"uid": {"type": "Mcp::Agent", "id": "bot"}, "attrs": {"owner": {"__entity": {"type": "Mcp::User", "id": "owen"}}, "active": true}, "parents": []},
      {"uid": {"type": "Mcp::User", "id": "owen"}, "attrs": {}, "parents": []},
      {"uid": {"type": "Mcp::User", "id": "member"}, "attrs": {}, "parents": [{"type": "Mcp::Group", "id": "staff"}]},
      {"uid": {"type": "Mcp::User", "id": "away"}, "attrs": {"active": false}, "parents": []},
      {"uid": {"type": "Mcp::User", "id": "bare"}, "attrs": {}, "parents": []},
      {"uid": {"type": "Mcp::User", "id": "una"}, "attrs": {"name": "Una"}, "parents": []},
      {"uid": {"type": "Mcp::User", "id": "tagged"}, "attrs": {}, "parents": [], "tags": {"role": ["cook"]}},
      {"uid": {"type": "Mcp::User", "id": "named"}, "attrs": {}, "parents": []}]"#;
    let unused = |condition: &str| -> Vec<String> {
        let policy = format!(
            "@id(\"a\") @owner(\"o\") permit (principal is Mcp::User, action == Mcp::Action::\"list_tools\", resource)
             when {{ {condition} }};"
        );
        let all = found(&[("entities/people.json", PEOPLE), ("a.cedar", &policy)]);
        let all = all.into_iter();
        let unused = all.filter(|(code, _)| *code == Code::EntityUnused);
        unused.map(|(_, place)| place).collect()
    };
    // From the first of them on: `bare`, `una`, `tagged`, `named`.
    assert_eq!(unused("true"), ["people.json:6 x4"]);
    let name = "principal has name && principal.name == \"Una\"";
    let tag = "principal.hasTag(\"role\")";
    let named = "principal == Mcp::User::\"named\"";
    assert_eq!(unused(name), ["people.json:6 x3"]);
    assert_eq!(unused(tag), ["people.json:6 x3"]);
    let all = format!("{name} || {tag} || {named}");
    assert_eq!(unused(&all), ["people.json:6 x1"]);
    let all = format!("{all} || principal == Mcp::User::\"bare\"");
    assert!(unused(&all).is_empty());
}

#[test]
fn tools_and_groups() {
    let files = [("tools/git.json", TOOLS), ("entities/people.json", OWEN)];
    let expected = [
        (Code::SecretWithoutRule, "git.json:2 x1"),
        (Code::EgressWithoutRule, "git.json:3 x1"),
        (Code::ToolUnconfirmed, "git.json:2 x2"),
        (Code::ToolUnpinned, "git.json:3 x1"),
        (Code::GroupUnused, "people.json:3 x1"),
    ];
    let expected = expected.map(|(code, place)| (code, place.to_owned()));
    assert_eq!(found(&files), expected);
    let rule = "@id(\"a\") @reason(\"r\") forbid (principal, action in Mcp::Action::\"call_tool\", resource)
        when { resource.egress && context.labels.contains(\"secret\") };";
    let allow = "[bundle]\nallow = [\"tool-unconfirmed\", \"tool-unpinned\", \"group-unused\"]\n";
    let with = [
        files[0],
        files[1],
        ("a.cedar", rule),
        ("callgate.toml", allow),
    ];
    assert_eq!(found(&with), []);
    let config = ("callgate.toml", "[bundle]\nallow = [\"wide\"]\n");
    let unknown = (Code::UnknownLint, "callgate.toml:2 x1".to_owned());
    assert_eq!(found(&[config]), [unknown]);
}

#[test]
fn what_no_enforced_forbid_reads_is_without_a_rule() {
    let codes = |mark: &str, condition: &str| -> Vec<Code> {
        let rule = format!(
            "@id(\"a\") @reason(\"r\") {mark} forbid (principal, action in Mcp::Action::\"call_tool\", resource) when {{ {condition} }};"
        );
        let files = [
            ("tools/git.json", TOOLS),
            ("entities/people.json", OWEN),
            ("a.cedar", rule.as_str()),
        ];
        let codes = found(&files).into_iter().map(|(code, _)| code);
        codes
            .filter(|it| matches!(it, Code::SecretWithoutRule | Code::EgressWithoutRule))
            .collect()
    };
    let both = [Code::SecretWithoutRule, Code::EgressWithoutRule];
    for labels in [
        "context.labels.contains(\"secret\")",
        "context.labels.containsAny([\"private\", \"secret\"])",
        "[\"secret\"].containsAny(context.labels)",
    ] {
        let condition = format!("resource.egress && {labels}");
        assert_eq!(codes("", &condition), [], "{labels}");
        assert_eq!(codes("@mode(\"shadow\")", &condition), both, "{labels}");
    }
    let text = "context has purpose && context.purpose == \"secret\"";
    assert_eq!(codes("", text), both);
}

#[test]
fn every_lint_has_a_page_and_a_name_of_its_own() {
    for code in Code::ALL {
        assert_eq!(Code::from_name(code.as_str()), Some(code));
        assert!(code.page().len() > 80, "{code:?}");
        let json = serde_json::to_value(code).expect("a name");
        assert_eq!(json, code.as_str());
    }
    assert_eq!(Code::from_name("x"), None);
}

#[test]
fn the_document_lists_every_lint() {
    let rows = include_str!("../../../docs/checks.md").lines();
    let rows: Vec<&str> = rows.filter(|row| row.starts_with("| `")).collect();
    let expected = Code::ALL.map(|code| format!("| `{}` | {} |", code.as_str(), code.title()));
    assert_eq!(rows, expected);
}

#[test]
fn an_argument_that_would_be_proposed_as_a_target() {
    let tool = |targets: &str, status: &str, digest: &str| {
        format!(
            r#"{{"server": {{"name": "web", "owner": "owen"}}, "tools": {{"get_page": {{
  "access": "read", "status": "{status}", "yields": [], "egress": false, "sensitivity": "internal"{digest},
  "target_arguments": [{targets}],
  "input_schema": {{"properties": {{"url": {{"type": "string"}}, "paths": {{"type": "array", "items": {{"type": "string"}}}}, "note": {{"type": "string"}}}}}}
}}}}}}"#
        )
    };
    let digest = format!(", \"digest\": \"sha256:{}\"", "a".repeat(64));
    let is_missing = |registration: &str| {
        let found = found(&[("tools/web.json", registration)]);
        found.iter().any(|(code, _)| *code == Code::TargetMissing)
    };
    let url = r#"{"argument": "url", "optional": true}"#;
    let both = format!("{url}, {{\"argument\": \"paths[]\", \"optional\": true}}");
    assert!(is_missing(&tool("", "confirmed", &digest)));
    assert!(is_missing(&tool(url, "confirmed", &digest)));
    assert!(!is_missing(&tool(&both, "confirmed", &digest)));
    // Of what nobody confirmed, or pinned, other lints tell.
    assert!(!is_missing(&tool("", "proposed", &digest)));
    assert!(!is_missing(&tool("", "confirmed", "")));
}

#[test]
fn a_tool_that_carries_data_out_to_a_path() {
    let is_told = |egress: bool, kind: &str, status: &str| {
        let registration = format!(
            r#"{{"server": {{"name": "cloud", "owner": "owen"}}, "tools": {{"upload": {{
  "access": "write", "status": "{status}", "yields": [], "egress": {egress}, "sensitivity": "internal",
  "target_arguments": [{{"argument": "to", "kind": "{kind}"}}]
}}}}}}"#
        );
        let found = found(&[("tools/cloud.json", &registration)]);
        found
            .iter()
            .any(|(code, _)| *code == Code::PathLeavesMachine)
    };
    assert!(is_told(true, "path", "confirmed"));
    assert!(!is_told(false, "path", "confirmed"));
    assert!(!is_told(true, "id", "confirmed"));
    // A proposal errs on the side of egress.
    assert!(!is_told(true, "path", "proposed"));
}

#[test]
fn what_is_reviewed_has_all_its_targets() {
    for server in crate::analysis::catalogue::servers() {
        let tools = crate::analysis::catalogue::tools(server).expect("it parses");
        for (name, tool) in tools {
            let missing = targets::missing(server, &name, &tool);
            assert_eq!(missing, Vec::<String>::new(), "{server}/{name}");
        }
    }
}

/// A registration of a server with one tool of this definition.
fn server(name: &str, groups: &str, digest: &str) -> String {
    format!(
        r#"{{"server": {{"name": "{name}", "owner": "owen", "groups": {groups}}}, "tools": {{
  "query": {{"access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal", "typed": true,
    "digest": "sha256:{digest}", "input_schema": {{"type": "object", "properties": {{"sql": {{"type": "string"}}}}}}}}
}}}}"#
    )
}

/// What is said of a second server `eu` beside `db`, which is in the group `sql`.
fn siblings(policy: &str, groups_of_eu: &str, is_same: bool) -> Vec<(Code, String)> {
    let digest = "5f".repeat(32);
    let other = match is_same {
        true => digest.clone(),
        false => "6e".repeat(32),
    };
    let groups = r#"[{"uid": {"type": "Mcp::Group", "id": "sql"}, "attrs": {}, "parents": []}]"#;
    let policy = format!("{HEAD} {policy}");
    let lints = found(&[
        ("a.cedar", &policy),
        ("entities/groups.json", groups),
        (
            "entities/owen.json",
            r#"[{"uid": {"type": "Mcp::User", "id": "owen"}, "attrs": {}, "parents": []}]"#,
        ),
        ("tools/db.json", &server("db", "[\"sql\"]", &digest)),
        ("tools/eu.json", &server("eu", groups_of_eu, &other)),
    ]);
    let mut lints = lints;
    lints.retain(|(code, _)| *code == Code::SiblingLeftOut);
    lints
}

#[test]
fn a_tool_that_a_forbid_leaves_out_though_it_is_about_one_with_the_same_definition() {
    let named = [
        "forbid (principal, action == Mcp::Action::\"db/query\", resource);",
        "forbid (principal, action in [Mcp::Action::\"db/query\"], resource);",
        "forbid (principal, action, resource == Mcp::Tool::\"db/query\");",
        "forbid (principal, action, resource in Mcp::Server::\"db\");",
        "forbid (principal, action, resource in Mcp::Group::\"sql\");",
        "forbid (principal, action, resource is Mcp::Tool in Mcp::Group::\"sql\");",
        "forbid (principal, action in Mcp::Action::\"call_tool\", resource) when { resource in Mcp::Group::\"sql\" };",
        "forbid (principal, action in Mcp::Action::\"call_tool\", resource) unless { !(resource in Mcp::Server::\"db\") };",
    ];
    for policy in named {
        let said = siblings(policy, "[]", true);
        assert_eq!(said.len(), 1, "{policy}: {said:?}");
        assert!(said[0].1.starts_with("eu.json:"), "{policy}: {said:?}");
        assert_eq!(siblings(policy, "[]", false), [], "{policy}");
    }
    let not = [
        "forbid (principal, action in Mcp::Action::\"call_tool\", resource) unless { resource in Mcp::Group::\"sql\" };",
        "forbid (principal in Mcp::Group::\"sql\", action in Mcp::Action::\"call_tool\", resource);",
        "permit (principal, action, resource in Mcp::Group::\"sql\");",
        "forbid (principal, action in [Mcp::Action::\"db/query\", Mcp::Action::\"eu/query\"], resource);",
        "@mode(\"shadow\") forbid (principal, action, resource in Mcp::Server::\"db\");",
    ];
    for policy in not {
        assert_eq!(siblings(policy, "[]", true), [], "{policy}");
    }
    let by_group = "forbid (principal, action, resource in Mcp::Group::\"sql\");";
    assert_eq!(siblings(by_group, "[\"sql\"]", true), []);
}

#[test]
fn what_is_not_active_by_no_policy_is_told() {
    let entities = r#"[{"uid": {"type": "Mcp::User", "id": "ana"}, "attrs": {"active": false}, "parents": []},
  {"uid": {"type": "Mcp::Agent", "id": "helper"}, "attrs": {"active": false, "owner": {"__entity": {"type": "Mcp::User", "id": "ana"}}}, "parents": []}]"#;
    let told = |policies: &str| {
        let mut lints = found(&[("a.cedar", policies), ("entities/all.json", entities)]);
        lints.retain(|(code, _)| *code == Code::InactiveWithoutRule);
        lints.into_iter().map(|(_, place)| place).next()
    };
    let both = Some("all.json:1 x2".to_owned());
    let agent = "@id(\"a\") forbid (principal is Mcp::Agent, action, resource) unless { principal.active };";
    let user = "@id(\"u\") forbid (principal is Mcp::User, action in Mcp::Action::\"call_tool\", resource) when { principal has active && !principal.active };";
    assert_eq!(told(""), both);
    assert_eq!(told(agent), Some("all.json:1 x1".to_owned()));
    assert_eq!(told(&format!("{agent}\n{user}")), None);
    // A forbid of something else, a permit, and one that is not in force stop nobody.
    for other in [
        "forbid (principal, action == Mcp::Action::\"grant_delegation\", resource is Mcp::Agent) unless { resource.active };",
        "permit (principal is Mcp::Agent, action in Mcp::Action::\"call_read\", resource) when { principal.active };",
        "@mode(\"shadow\") forbid (principal is Mcp::Agent, action, resource) unless { principal.active };",
    ] {
        assert_eq!(told(other), both, "{other}");
    }
}

#[test]
fn whom_a_confirmed_tool_writes_to_is_told_if_it_is_no_target() {
    let tool = |argument: &str, targets: &str| {
        format!(
            r#"{{"server": {{"name": "teams", "owner": "owen"}}, "tools": {{"send_dm": {{
  "access": "write", "status": "confirmed", "yields": [], "egress": true, "sensitivity": "internal", "digest": "sha256:{}",
  "target_arguments": {targets},
  "input_schema": {{"type": "object", "required": ["{argument}"], "properties": {{"{argument}": {{"type": "string"}}}}}}
}}}}}}"#,
            "5f".repeat(32)
        )
    };
    let told = |text: &str| {
        let lints = found(&[("tools/teams.json", text), ("entities/owen.json", OWEN)]);
        lints.iter().any(|(code, _)| *code == Code::TargetMissing)
    };
    for argument in ["user_id", "room", "recipient", "to"] {
        assert!(told(&tool(argument, "[]")), "{argument}");
        let target =
            format!(r#"[{{"argument": "{argument}", "kind": "id", "role": "recipient"}}]"#);
        assert!(!told(&tool(argument, &target)), "{argument}");
    }
    assert!(!told(&tool("text", "[]")));
}
