//! A policy that never applies because of a spelling is told, and the same in the right one is not.

use serde_json::json;

use super::names::{policy, warned_and_strictly_refused};
use crate::support::bundle_dir::BundleDir;
use crate::support::command::Workplace;

/// What there is.
fn directory() -> BundleDir {
    let group = |name| ("Mcp::Group", name);
    let tagged = r#"[{"uid": {"type": "Mcp::User", "id": "ana"}, "attrs": {}, "tags": {"team": ["search"]},
        "parents": [{"type": "Mcp::Group", "id": "research"}]}]"#;
    let sending = json!({"egress": true, "typed": true, "input_schema": {
        "type": "object", "required": ["mode", "parts", "format"], "properties": {
            "mode": {"enum": ["draft", "direct"]}, "format": {"type": "string"},
            "parts": {"type": "array", "items": {"type": "string", "enum": ["text", "html"]}}}}});
    let searching = json!({"yields": ["private"], "input_schema": {
        "type": "object", "properties": {"path": {"type": "string"}, "modes": {"type": "string"}}}});
    BundleDir::new()
        .config(SETTINGS)
        .file("entities/tagged.json", tagged)
        .groups(&["science", "empty", "systems"])
        .entity(group("research"), json!({}), &[group("science")])
        .entity(group("mail-servers"), json!({}), &[group("systems")])
        .entity(("Mcp::Resource", "corpx://plans"), json!({}), &[])
        .server_with(
            "mail",
            "ana",
            json!({"environment": "production", "groups": ["mail-servers"]}),
        )
        .tool_with("send", "write", sending)
        .tool_with("search", "read", searching)
}

const SETTINGS: &str = "[[claims.attributes]]\nclaim = \"dept\"\ntag = \"department\"\n[bundle.known]\ntags = [\"hr-*\"]\nschemes = [\"htps\"]\narguments = [\"pathe\"]\n";
const CALLS: &str = "principal, action in Mcp::Action::\"call_tool\", resource";
const SEND: &str = "principal, action == Mcp::Action::\"mail/send\", resource";
const READING: &str = "principal, action == Mcp::Action::\"read_resource\", resource";
const PAGE: &str = "principal, action == Mcp::Action::\"elicit_url\", resource";
const TARGET: &str = "context has target && context.target has ";

/// The kind, the scope, the condition with `@` in the place of a word, the word in a spelling that never applies and in one that
/// does, and a part of the help.
const SPELLINGS: &[(&str, &str, &str, &str, &str, &str)] = &[
    (
        "scheme_slip",
        CALLS,
        "~scheme && context.target.scheme == @",
        "\"htpps\"",
        "\"https\"",
        "did you mean `https`",
    ),
    (
        "scheme_case",
        CALLS,
        "~scheme && context.target.scheme == @",
        "\"HTTPS\"",
        "\"https\"",
        "write `https`",
    ),
    (
        "scheme_colon",
        READING,
        "resource has scheme && [@, \"ftp\"].contains(resource.scheme)",
        "\"http:\"",
        "\"http\"",
        "write `http`",
    ),
    (
        "scheme_known",
        CALLS,
        "~scheme && context.target.scheme == @",
        "\"corpz\"",
        "\"corpx\"",
        "did you mean `corpx`",
    ),
    (
        "scheme_configured",
        CALLS,
        "~scheme && context.target.scheme == @",
        "\"htttp\"",
        "\"htps\"",
        "did you mean",
    ),
    (
        "scheme_like",
        CALLS,
        "~scheme && context.target.scheme like @",
        "\"HTTP*\"",
        "\"http*\"",
        "lower-case",
    ),
    (
        "host_case",
        CALLS,
        "~host && context.target.host == @",
        "\"Example.COM\"",
        "\"example.com\"",
        "write `example.com`",
    ),
    (
        "host_url",
        READING,
        "resource has host && resource.host == @",
        "\"https://example.com/\"",
        "\"example.com\"",
        "write `example.com`",
    ),
    (
        "host_port",
        CALLS,
        "~host && [\"a.example\", @].contains(context.target.host)",
        "\"example.com:443\"",
        "\"example.com\"",
        "write `example.com`",
    ),
    (
        "host_star",
        CALLS,
        "~host && context.target.host == @",
        "\"*.example.com\"",
        "\"www.example.com\"",
        "only in a `like`",
    ),
    (
        "host_like",
        CALLS,
        "~host && context.target.host like @",
        "\"*.Example.com\"",
        "\"*.example.com\"",
        "lower case",
    ),
    (
        "host_of_page",
        PAGE,
        "context.elicitation.host == @",
        "\"Example.com\"",
        "\"example.com\"",
        "write `example.com`",
    ),
    (
        "scheme_of_page",
        PAGE,
        "context.elicitation.scheme != @ && resource == Mcp::Gateway::\"local\"",
        "\"htpps\"",
        "\"https\"",
        "did you mean `https`",
    ),
    (
        "host_of_links",
        CALLS,
        "context.arguments has link_hosts && context.arguments.link_hosts.contains(@)",
        "\"Bit.ly\"",
        "\"bit.ly\"",
        "write `bit.ly`",
    ),
    (
        "hosts_of_links",
        CALLS,
        "context.arguments has unknown_links && context.arguments.unknown_links.containsAny([@])",
        "\"bit.ly/x\"",
        "\"…\"",
        "write `bit.ly`",
    ),
    (
        "domain_url",
        CALLS,
        "~domain && context.target.domain == @",
        "\"https://example.com\"",
        "\"example.com\"",
        "write `example.com`",
    ),
    (
        "domain_host",
        CALLS,
        "~domain && context.target.domain == @",
        "\"www.example.com\"",
        "\"example.com\"",
        "registered is `example.com`",
    ),
    (
        "domain_like",
        CALLS,
        "~domain && context.target.domain like @",
        "\"*.example.com\"",
        "\"*.com\"",
        "`domain == \"example.com\"`",
    ),
    (
        "name",
        CALLS,
        "~uri && context.target.uri == @",
        "\"https://Example.com/a\"",
        "\"https://example.com/a\"",
        "`Mcp::Resource::\"https://example.com/a\"`",
    ),
    (
        "name_path",
        READING,
        "resource has uri && resource.uri == @",
        "\"/etc/passwd\"",
        "\"file:///etc/passwd\"",
        "`Mcp::Resource::\"file:///etc/passwd\"`",
    ),
    (
        "name_like",
        CALLS,
        "~uri && context.target.uri like @",
        "\"HTTPS://*\"",
        "\"https://*\"",
        "write `https://*`",
    ),
    (
        "name_like_path",
        CALLS,
        "~uri && context.target.uri like @",
        "\"/etc/*\"",
        "\"file:///etc/*\"",
        "write `file:///etc/*`",
    ),
    (
        "name_star",
        CALLS,
        "~uri && context.target in Mcp::Resource::@",
        "\"https://example.com/*\"",
        "\"https://example.com\"",
        "only in a `like`",
    ),
    (
        "digest",
        CALLS,
        "resource has digest && resource.digest == @",
        "\"sha256:ABC\"",
        "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
        "64 lower-case",
    ),
    (
        "tag",
        CALLS,
        "principal.hasTag(@)",
        "\"taem\"",
        "\"team\"",
        "did you mean `team`",
    ),
    (
        "tag_of_claim",
        CALLS,
        "context.identity.asserted_attributes.contains(@)",
        "\"departement\"",
        "\"department\"",
        "did you mean `department`",
    ),
    (
        "tag_configured",
        CALLS,
        "principal.hasTag(@)",
        "\"cost\"",
        "\"hr-level\"",
        "bundle.known.tags",
    ),
    (
        "argument",
        CALLS,
        "context.arguments.names.contains(@)",
        "\"pth\"",
        "\"path\"",
        "did you mean `path`",
    ),
    (
        "arguments",
        CALLS,
        "context.arguments.untyped.containsAny([@])",
        "\"pathh\"",
        "\"pathe\"",
        "did you mean `path`",
    ),
    (
        "argument_of_tool",
        "principal, action, resource == Mcp::Tool::\"mail/search\"",
        "context has arguments && context.arguments.names.contains(@)",
        "\"mode\"",
        "\"modes\"",
        "did you mean `modes`",
    ),
    (
        "argument_free",
        CALLS,
        "context.arguments.names.contains(@)",
        "\"modez\"",
        "\"subject\"",
        "did you mean",
    ),
    (
        "value",
        SEND,
        "context.input.mode == @",
        "\"dirct\"",
        "\"direct\"",
        "did you mean `direct`",
    ),
    (
        "value_in_list",
        SEND,
        "context.input.parts.contains(@)",
        "\"htm\"",
        "\"html\"",
        "did you mean `html`",
    ),
    (
        "value_free",
        SEND,
        "context.input.mode == @",
        "\"drafts\"",
        "\"later\"",
        "did you mean `draft`",
    ),
    (
        "environment",
        "principal, action == Mcp::Action::\"list_tools\", resource",
        "resource has environment && resource.environment == @",
        "\"prodution\"",
        "\"production\"",
        "did you mean `production`",
    ),
    (
        "environment_free",
        "principal is Mcp::Agent, action, resource",
        "principal has environment && principal.environment != @",
        "\"Production\"",
        "\"staging\"",
        "did you mean `production`",
    ),
    (
        "group",
        "principal in Mcp::Group::@, action in Mcp::Action::\"call_tool\", resource",
        "",
        "\"mail-servers\"",
        "\"research\"",
        "`Mcp::Server` or `Mcp::Tool`",
    ),
    (
        "group_of_groups",
        "principal is Mcp::User in Mcp::Group::@, action, resource",
        "",
        "\"systems\"",
        "\"science\"",
        "`Mcp::Server`",
    ),
    (
        "group_empty",
        "principal in Mcp::Group::@, action in Mcp::Action::\"call_tool\", resource",
        "",
        "\"systems\"",
        "\"empty\"",
        "`Mcp::Server`",
    ),
    (
        "group_of_tools",
        "principal, action in Mcp::Action::\"call_tool\", resource in Mcp::Group::@",
        "",
        "\"science\"",
        "\"systems\"",
        "`Mcp::User`",
    ),
    (
        "group_in_condition",
        CALLS,
        "principal in [Mcp::Group::@]",
        "\"systems\"",
        "\"research\"",
        "`Mcp::Server`",
    ),
];

fn workplace(word: impl Fn(&'static str, &'static str) -> &'static str) -> Workplace {
    let workplace = Workplace::of(&directory());
    for (kind, scope, condition, never, fine, _) in SPELLINGS {
        let word = word(never, fine);
        let condition = condition.replace('~', TARGET);
        let text = policy(
            kind,
            &scope.replace('@', word),
            &condition.replace('@', word),
        );
        workplace.write(&format!("policies/{kind}.cedar"), text);
    }
    workplace
}

#[test]
fn a_spelling_that_never_applies_is_told_with_the_one_that_does() {
    let workplace = workplace(|never, _| never);
    let told = SPELLINGS.iter().map(|(kind, .., help)| (*kind, *help));
    let shown = warned_and_strictly_refused(&workplace, told);
    insta::assert_snapshot!("spellings", shown);
}

#[test]
fn the_right_spelling_is_in_order() {
    let ran = workplace(|_, fine| fine).run(&["check", "policies", "--strict"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
}

#[test]
fn a_link_to_a_group_without_principals_is_told() {
    let template = "@id(\"share\")\npermit (principal in ?principal, action in Mcp::Action::\"call_read\", resource in ?resource);\n";
    let link = |group: &str, resource: &str| {
        format!(
            r#"[{{"template": "share", "id": "one", "principal": {{"type": "Mcp::Group", "id": "{group}"}}, "resource": {{"type": "Mcp::Group", "id": "{resource}"}}}}]"#
        )
    };
    let workplace = Workplace::of(&directory());
    workplace.write("policies/t.cedar", template);
    workplace.write("policies/links/l.json", link("research", "systems"));
    let ran = workplace.run(&["check", "policies", "--strict"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    workplace.write("policies/links/l.json", link("systems", "research"));
    let ran = workplace.run(&["check", "policies", "--strict"]);
    assert_eq!(ran.code, 3, "{}", ran.transcript());
    insta::assert_snapshot!("spellings_in_links", ran.stderr);
}
