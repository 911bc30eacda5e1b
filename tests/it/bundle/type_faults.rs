//! Every kind of fault that Cedar's validator finds has its policy, file, line, column and help.

use crate::support::bundle_dir::BundleDir;
use crate::support::command::Workplace;
use serde_json::json;

fn directory() -> BundleDir {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let mut typed = json!({"typed": true, "input_schema": schema});
    typed["input_schema"]["required"] = json!(["n"]);
    BundleDir::new()
        .file(
            "shop.cedarschema",
            "namespace Shop { entity Size enum [\"small\", \"large\"]; }\n",
        )
        .config("[schema]\nmax_dereference_level = 1\n")
        .user("owen", &[])
        .server("git", "owen")
        .tool_with("log", "read", json!({"input_schema": schema}))
        .tool_with("show", "read", typed)
}

/// Mistakes in a condition.
const CONDITIONS: &[(&str, &str)] = &[
    ("unexpected_type", "resource.egress > 1"),
    ("incompatible_operands", "resource.egress == \"yes\""),
    ("incompatible_elements", "[\"a\", 1].contains(\"a\")"),
    (
        "incompatible_branches",
        "(if resource.egress then 1 else \"a\") == 1",
    ),
    ("incompatible_contains", "resource.yields.contains(1)"),
    (
        "incompatible_contains_all",
        "resource.yields.containsAll([1])",
    ),
    (
        "incompatible_contains_any",
        "resource.yields.containsAny([true])",
    ),
    (
        "incompatible_entities",
        "[resource.owner].contains(resource)",
    ),
    ("incompatible_entity_and_record", "resource.owner == {a: 1}"),
    ("incompatible_widths", "{a: 1} == {a: 1, b: 2}"),
    (
        "incompatible_in_line_two",
        "resource.egress &&\n  context.initiator == 7",
    ),
    ("no_such_attribute", "resource.egres"),
    ("optional_attribute", "resource.digest == \"x\""),
    (
        "tag_without_test",
        "resource.getTag(\"team\").contains(\"a\")",
    ),
    (
        "no_tags",
        "context.environment.gateway.getTag(\"team\") == \"a\"",
    ),
    ("undefined_function", "address(\"10.0.0.1\").isLoopback()"),
    (
        "wrong_number_of_arguments",
        "ip(\"10.0.0.1\", \"10.0.0.2\").isLoopback()",
    ),
    ("wrong_argument", "ip(\"localhost\").isLoopback()"),
    ("empty_set", "[] == resource.yields"),
    ("no_literal", "ip(resource.sensitivity).isLoopback()"),
    (
        "no_such_member_of_enum",
        "Shop::Size::\"huge\" == Shop::Size::\"large\"",
    ),
    (
        "literal_looked_into",
        "Mcp::User::\"owen\" has active && Mcp::User::\"owen\".active",
    ),
    (
        "too_far",
        "resource.owner has active && resource.owner.active",
    ),
    ("never_true", "resource.egress && !resource.egress && false"),
    ("forgotten_typed", "context.input.n > 3"),
];

/// Mistakes in a scope.
const SCOPES: &[(&str, &str)] = &[
    ("no_such_type", "principal is Mcp::Usr, action, resource"),
    (
        "no_such_action",
        "principal, action == Mcp::Action::\"call_raed\", resource",
    ),
    (
        "never_asked",
        "principal is Mcp::Server, action == Mcp::Action::\"call_read\", resource",
    ),
    (
        "never_asked_of_a_user",
        "principal, action == Mcp::Action::\"call_read\", resource is Mcp::User",
    ),
    (
        "forgotten_typed_of_action",
        "principal, action == Mcp::Action::\"git/log\", resource",
    ),
];

/// Policies about arguments that are not seen.
const UNTYPED: &[(&str, &str)] = &[
    (
        "forgotten_typed_of_tool",
        "forbid (principal, action in Mcp::Action::\"call_tool\", resource == Mcp::Tool::\"git/log\")\nwhen { context.input.n > 3 };",
    ),
    (
        "forgotten_action_of_tool",
        "forbid (principal, action == Mcp::Action::\"call_read\", resource == Mcp::Tool::\"git/show\")\nwhen { context.input.n > 3 };",
    ),
    (
        "tested_for_input",
        "forbid (principal, action == Mcp::Action::\"call_write\", resource)\nwhen { context has input && context.input has n };",
    ),
];

fn policies() -> Vec<(String, String)> {
    let conditions = CONDITIONS.iter().map(|(kind, condition)| {
        let scope = "principal is Mcp::User, action == Mcp::Action::\"call_read\", resource";
        (kind, format!("forbid ({scope})\nwhen {{ {condition} }};"))
    });
    let scopes = SCOPES
        .iter()
        .map(|(kind, scope)| (kind, format!("forbid ({scope});")));
    let untyped = UNTYPED
        .iter()
        .map(|(kind, text)| (kind, (*text).to_owned()));
    conditions
        .chain(scopes)
        .chain(untyped)
        .map(|(kind, text)| {
            (
                format!("policies/{kind}.cedar"),
                format!("@id(\"{kind}\")\n{text}\n"),
            )
        })
        .collect()
}

#[test]
fn every_kind_has_its_place_and_its_policy() {
    let workplace = Workplace::of(&directory());
    let policies = policies();
    for (path, text) in &policies {
        workplace.write(path, text);
    }
    let ran = workplace.run(&["check", "policies", "--output", "json"]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    let json = ran.json();
    let faults = json["faults"].as_array().expect("faults");
    for (path, _) in &policies {
        let mut for_file = faults.iter().filter(|fault| fault["file"] == **path);
        let fault = for_file
            .next()
            .unwrap_or_else(|| panic!("nothing of {path}: {json:#}"));
        assert!(
            fault["line"].is_u64() && fault["column"].is_u64(),
            "{fault}"
        );
        let kind = path
            .trim_start_matches("policies/")
            .trim_end_matches(".cedar");
        // A file that cannot be parsed has no policies yet.
        let is_parsed = kind != "undefined_function";
        let message = fault["message"].as_str().unwrap_or_default();
        let names_it = message.contains(&format!("policy `{kind}`"));
        assert_eq!(names_it, is_parsed, "{fault}");
        if kind.contains("typed") || kind.contains("action_of_tool") || kind.contains("input") {
            let help = fault["help"].as_str().unwrap_or_default();
            assert!(help.contains("action =="), "{fault}");
        }
    }
    for fault in faults {
        let file = fault["file"].as_str().unwrap_or_default();
        assert!(file.starts_with("policies/"), "no file: {fault}");
    }
    insta::assert_snapshot!("type_faults", workplace.run(&["check", "policies"]).stderr);
}
