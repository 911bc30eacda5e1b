use std::fs;

use callgate_engine::cedar::EntityUID;

use super::*;

fn load_files(files: &[(&str, &str)]) -> Result<Bundle, BundleError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
    }
    load(dir.path())
}

/// The faults as `file:line message`, the directory left out.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    shown(load_files(files).expect_err("faults").iter())
}

fn shown<'a>(faults: impl Iterator<Item = &'a BundleDiagnostic>) -> Vec<String> {
    let short = |fault: &BundleDiagnostic| {
        let file = fault.file.rsplit('/').next().unwrap_or_default().to_owned();
        format!("{file}:{} {}", fault.line.unwrap_or(0), fault.message)
    };
    faults.map(short).collect()
}

fn has(list: &[String], wanted: &str) {
    assert!(
        list.iter().any(|fault| fault.contains(wanted)),
        "no `{wanted}` in {list:#?}"
    );
}

fn tool(extra: &str) -> String {
    format!(
        r#"{{"server": {{"name": "git", "owner": "owen"}}, "tools": {{"git_log": {{
 "access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"{extra}
}}}}}}"#
    )
}

const OWEN: (&str, &str) = (
    "entities/people.json",
    r#"[{"uid": {"type": "Mcp::User", "id": "owen"}, "attrs": {}, "parents": []}]"#,
);

#[test]
fn an_empty_directory_loads_and_permits_nothing() {
    let bundle = load_files(&[]).expect("nothing is wrong");
    assert_eq!(
        bundle.counts,
        BundleCounts {
            schema_fragments: 1,
            ..BundleCounts::default()
        }
    );
    assert_eq!(bundle.snapshot.policy_count(), 0);
    assert_eq!(bundle.snapshot.revision(), 0);
    // The actions of the schema are there.
    let action: EntityUID = r#"Mcp::Action::"call_read""#.parse().expect("a uid");
    assert!(bundle.snapshot.has_action(&action));
}

#[test]
fn faults_of_every_file_are_told_at_once() {
    let found = faults(&[
        (
            "a.cedar",
            "permit (principal, action, resource)\nwhen { principal.nme == 1 };",
        ),
        ("b.cedar", "permit (principal"),
        (
            "c.cedar",
            "permit (principal is Mcp::Usr, action, resource);",
        ),
        (
            "s.cedarschema",
            "namespace Shop { entity Order = { total Long }; }",
        ),
        ("entities/e.json", "[{\"uid\": 1}]"),
        ("entities/f.json", "[1,"),
        ("links/l.json", "{}"),
        ("tools/git.json", "{\"server\": {}}"),
        (
            "callgate.toml",
            "[schema]\nmax_dereference_level = \"deep\"",
        ),
    ]);
    for file in [
        "b.cedar:1",
        "s.cedarschema:1",
        "e.json:1",
        "f.json:1",
        "l.json:1",
        "git.json:1",
        "callgate.toml:2",
    ] {
        has(&found, file);
    }
    // Without a schema nobody can say what is wrong with these.
    assert!(
        !found.iter().any(|fault| fault.starts_with("c.cedar")),
        "{found:#?}"
    );
}

#[test]
fn policies_are_validated_strictly() {
    let found = faults(&[
        (
            "a.cedar",
            "permit (principal is Mcp::User, action, resource)\nwhen { principal.nme == 1 };",
        ),
        (
            "c.cedar",
            "permit (principal is Mcp::Usr, action, resource);",
        ),
        (
            "d.cedar",
            "permit (principal, action == Mcp::Action::\"call_raed\", resource);",
        ),
    ]);
    has(&found, "a.cedar:2 for policy `a#1`, attribute `nme`");
    has(
        &found,
        "c.cedar:1 for policy `c#1`, unrecognized entity type",
    );
    has(&found, "d.cedar:1 for policy `d#1`, unrecognized action");
}

#[test]
fn a_policy_file_without_a_policy_is_a_warning_and_a_fault_where_they_are() {
    let empty = [
        ("a.cedar", ""),
        ("b.cedar", " \n"),
        ("c.cedar", "// @id(\"x\")\n"),
    ];
    let template = "@id(\"t\") permit (principal == ?principal, action, resource);";
    let others = [("d.cedar", "permit (principal"), ("e.cedar", template)];
    let bundle = load_files(&empty).expect("no faults");
    let warned: Vec<&str> = bundle
        .warnings
        .iter()
        .map(|it| it.message.as_str())
        .collect();
    assert_eq!(warned, ["no policy is in this file"; 3]);
    let strict = ("callgate.toml", "[bundle]\nstrict = true\n");
    let found = faults(&[&empty[..], &others, &[strict]].concat());
    let of = |file: &str| {
        found
            .iter()
            .any(|it| it.starts_with(file) && it.contains("no policy"))
    };
    let named = ["a", "b", "c", "d", "e"].map(|stem| of(&format!("{stem}.cedar")));
    assert_eq!(named, [true, true, true, false, false], "{found:#?}");
}

#[test]
fn ids_are_annotations_or_places_and_unique() {
    let bundle = load_files(&[(
        "reads.cedar",
        "permit (principal, action, resource);\n@id(\"named\")\nforbid (principal, action, resource);",
    )]);
    let bundle = bundle.expect("nothing is wrong");
    let ids: Vec<_> = bundle
        .policies
        .iter()
        .map(|policy| (policy.id.as_str(), policy.line))
        .collect();
    assert_eq!(ids, [("reads#1", 1), ("named", 2)]);
    let found = faults(&[
        (
            "a.cedar",
            "@id(\"x\") permit (principal, action, resource);",
        ),
        (
            "b.cedar",
            "\n@id(\"x\") forbid (principal, action, resource);",
        ),
    ]);
    assert_eq!(found.len(), 2, "{found:#?}");
    has(&found, "a.cedar:1 the policy id `x` is used twice");
    has(&found, "b.cedar:2 the policy id `x` is used twice");
}

#[test]
fn modes_are_checked_and_misspelt_annotations_pointed_out() {
    let found = faults(&[(
        "a.cedar",
        "@mode(\"shadwo\")\npermit (principal, action, resource);",
    )]);
    has(&found, "a.cedar:1 `shadwo` is not a mode");
    let text = "@onwer(\"x\")\n@Mode(\"shadow\")\n@ticket(\"OPS-1\")\n@reasons(\"x\")\npermit (principal is Mcp::User, action, resource);";
    let bare = "@ID(\"y\")\n@shadow\n@Enforce\npermit (principal is Mcp::User, action, resource);";
    let bundle = load_files(&[("a.cedar", bare)]).expect("warnings only");
    let help: Vec<_> = bundle
        .warnings
        .iter()
        .map(|it| it.help.as_deref())
        .collect();
    let meant = ["`@id`", "`@mode(\"shadow\")`", "`@mode(\"enforce\")`"];
    assert_eq!(
        help,
        meant
            .map(|it| Some(format!("did you mean {it}?")))
            .each_ref()
            .map(Option::as_deref)
    );
    let bundle = load_files(&[("a.cedar", text)]).expect("warnings only");
    let warnings = shown(bundle.warnings.iter());
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    has(&warnings, "a.cedar:1 `@onwer` means nothing here");
    let help: Vec<_> = bundle
        .warnings
        .iter()
        .filter_map(|warning| warning.help.as_deref())
        .collect();
    assert_eq!(
        help,
        [
            "did you mean `@owner`?",
            "did you mean `@mode`?",
            "did you mean `@reason`?"
        ]
    );
}

#[test]
fn an_annotation_without_a_value_is_a_fault() {
    for name in ["owner", "controls", "reason", "obligation", "allow"] {
        for value in ["(\"\")", "(\" \")", ""] {
            let text = format!("@{name}{value}\npermit (principal, action, resource);");
            let found = faults(&[("a.cedar", &text)]);
            has(&found, &format!("a.cedar:1 an empty `@{name}`"));
        }
    }
    for (text, said) in [
        ("@id(\"\")", "an empty policy id"),
        ("@id(\" \")", "an empty policy id"),
        ("@mode(\"\")", "`` is not a mode"),
        ("@obligation(\"[]\")", "`@obligation` names no obligation"),
        ("@obligation(\",\")", "`@obligation`"),
    ] {
        let text = format!("{text}\npermit (principal, action, resource);");
        has(&faults(&[("a.cedar", &text)]), said);
    }
}

#[test]
fn the_level_is_the_smallest_that_fits() {
    let level = |condition: &str| {
        let text = format!(
            "permit (principal is Mcp::Agent, action in Mcp::Action::\"call_tool\", resource) when {{ {condition} }};"
        );
        load_files(&[("a.cedar", text.as_str())]).map(|bundle| bundle.counts.level)
    };
    // `action in` looks at the action's groups already.
    assert_eq!(level("context.initiator == \"client\"").expect("fits"), 1);
    let flat = "permit (principal, action == Mcp::Action::\"call_read\", resource) when { context.initiator == \"client\" };";
    assert_eq!(
        load_files(&[("a.cedar", flat)]).expect("fits").counts.level,
        0
    );
    assert_eq!(level("principal.active").expect("fits"), 1);
    assert_eq!(level("principal.owner has name").expect("fits"), 2);
    let deep = [
        (
            "s.cedarschema",
            "entity Node = { next?: Node, on: Bool };\naction look appliesTo { principal: Node, resource: Node };",
        ),
        (
            "a.cedar",
            "@id(\"deep\")\npermit (principal, action == Action::\"look\", resource)\nwhen { principal has next && principal.next has next && principal.next.next has next && principal.next.next.next.on };",
        ),
    ];
    let found = faults(&deep);
    has(
        &found,
        "a.cedar:1 the policy `deep` looks further than 3 entities away from the request",
    );
    let mut raised = deep.to_vec();
    raised.push(("callgate.toml", "[schema]\nmax_dereference_level = 4"));
    assert_eq!(load_files(&raised).expect("fits").counts.level, 4);
}

#[test]
fn entity_literals_are_never_looked_into() {
    let text = "permit (principal, action in Mcp::Action::\"call_tool\", resource) when { Mcp::Agent::\"a\".active };";
    has(
        &faults(&[("a.cedar", text)]),
        "entity literals cannot be dereferenced",
    );
}

#[test]
fn schemas_add_and_never_redefine() {
    let more = [
        (
            "one.cedarschema",
            "namespace Shop { entity Order = { total: Long }; }",
        ),
        (
            "two.cedarschema",
            "namespace Mcp { entity Robot in [Group] = { arms: Long }; }",
        ),
        (
            "entities/r.json",
            r#"[{"uid": {"type": "Mcp::Robot", "id": "r"}, "attrs": {"arms": 2}, "parents": []}]"#,
        ),
    ];
    assert_eq!(load_files(&more).expect("fits").counts.schema_fragments, 3);
    let found = faults(&[
        (
            "a.cedarschema",
            "namespace Mcp {\n  entity User = { evil: Bool };\n}",
        ),
        ("b.cedarschema", "namespace Shop { entity Order; }"),
        ("c.cedarschema", "namespace Shop { entity Order; }"),
        ("d.cedarschema", "namespace Mcp { action call_read; }"),
    ]);
    has(
        &found,
        "a.cedarschema:2 the entity type `Mcp::User` is also defined in `<callgate>/mcp.cedarschema`",
    );
    has(
        &found,
        "b.cedarschema:1 the entity type `Shop::Order` is also defined in",
    );
    has(
        &found,
        "c.cedarschema:1 the entity type `Shop::Order` is also defined in",
    );
    has(
        &found,
        "d.cedarschema:1 the action `Mcp::Action::\"call_read\"` is also defined in",
    );
    let found = faults(&[(
        "a.cedarschema",
        "namespace Shop {\n  entity Order = { by: Custommer };\n}",
    )]);
    has(&found, "a.cedarschema:2 ");
    has(&found, "Custommer");
}

#[test]
fn entities_are_checked_and_found_again_in_their_files() {
    let found = faults(&[(
        "entities/e.json",
        r#"[
  {"uid": {"type": "Mcp::User", "id": "a"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Mcp::User", "id": "b"}, "attrs": {"name": 7}, "parents": []},
  {"uid": {"type": "Mcp::Usr", "id": "c"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Mcp::User", "id": "a"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Mcp::Agent", "id": "d"}, "attrs": {"active": true}, "parents": []},
  {"uid": {"type": "Mcp::User", "id": "e"}, "attrs": {}, "parents": [{"type": "Mcp::Server", "id": "s"}]},
  {"uid": {"type": "Mcp::Action", "id": "call_read"}, "attrs": {}, "parents": []}
]"#,
    )]);
    for place in [
        "e.json:2 the entity",
        "e.json:3",
        "e.json:4",
        "e.json:5 the entity",
        "e.json:6",
        "e.json:7",
        "e.json:8",
    ] {
        has(&found, place);
    }
    has(&found, "e.json:8 entity does not conform");
}

#[test]
fn faults_of_a_large_file_of_entities_keep_their_places() {
    let line = |number: usize| match number {
        299 | 899 => {
            r#"{"uid": {"type": "Mcp::Nobody", "id": "x"}, "attrs": {}, "parents": []}"#.to_owned()
        }
        _ => format!(
            r#"{{"uid": {{"type": "Mcp::User", "id": "u{}"}}, "attrs": {{}}, "parents": []}}"#,
            number % 700
        ),
    };
    let lines: Vec<String> = (0..=700).chain([899]).map(line).collect();
    let found = faults(&[("entities/e.json", &format!("[{}]", lines.join(",\n")))]);
    assert_eq!(found.len(), 4, "{found:#?}");
    for place in [1, 300, 701, 702] {
        has(&found, &format!("e.json:{place} "));
    }
}

#[test]
fn a_cycle_is_a_fault_at_one_of_its_entities() {
    let group = |id: &str, parent: &str| {
        format!(
            r#"{{"uid": {{"type": "Mcp::Group", "id": "{id}"}}, "attrs": {{}}, "parents": [{{"type": "Mcp::Group", "id": "{parent}"}}]}}"#
        )
    };
    let text = format!("[\n{},\n{}\n]", group("a", "b"), group("b", "a"));
    let found = faults(&[("entities/g.json", &text)]);
    has(&found, "is its own ancestor");
    assert!(found[0].starts_with("g.json:"), "{found:?}");
}

#[test]
fn a_tool_is_defined_in_one_place() {
    let entity = r#"[{"uid": {"type": "Mcp::Server", "id": "git"}, "attrs": {"owner": {"type": "Mcp::User", "id": "owen"}, "active": true}, "parents": []}]"#;
    let found = faults(&[("tools/git.json", &tool("")), ("entities/s.json", entity)]);
    assert_eq!(found.len(), 2, "{found:#?}");
    has(
        &found,
        "git.json:1 the entity `Mcp::Server::\"git\"` is defined twice",
    );
    has(
        &found,
        "s.json:1 the entity `Mcp::Server::\"git\"` is defined twice",
    );
}

#[test]
fn unknown_owners_and_groups_are_warnings() {
    let bundle = load_files(&[("tools/git.json", &tool(", \"groups\": [\"nobody\"]"))])
        .expect("warnings only");
    let warnings = shown(bundle.warnings.iter());
    has(
        &warnings,
        "the parent `Mcp::Group::\"nobody\"` of `Mcp::Tool::\"git/git_log\"` is not defined",
    );
    has(
        &warnings,
        "the owner `Mcp::User::\"owen\"` of `Mcp::Server::\"git\"` is not defined (likewise for 1 other entity)",
    );
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    let bundle = load_files(&[("tools/git.json", &tool("")), OWEN]).expect("fine");
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
}

#[test]
fn servers_and_tools_of_gateways_that_nobody_registers_are_warnings() {
    let config = r#"
[envoy]
servers = [{ path = "/mcp", server = "gti" }]
verified_servers = ["git", "gut"]
[[envoy.routes]]
method = "GET"
path = "/log"
server = "git"
tool = "git_lgo"
[ext_mcp]
verified_servers = ["got"]
"#;
    let files = [
        ("tools/git.json", &*tool("")),
        OWEN,
        ("callgate.toml", config),
    ];
    let bundle = load_files(&files).expect("warnings only");
    assert_eq!(
        shown(bundle.warnings.iter()),
        [
            "callgate.toml:2 `envoy.identity` is empty: nobody is known, so every request is denied",
            "callgate.toml:3 `envoy.servers[0].server` is `gti`, which nothing here registers",
            "callgate.toml:4 `envoy.verified_servers[1]` is `gut`, which nothing here registers",
            "callgate.toml:9 `envoy.routes[0].tool` is `git_lgo`, which `git` is not registered with",
            "callgate.toml:11 `ext_mcp.verified_servers[0]` is `got`, which nothing here registers",
        ]
    );
}

#[test]
fn mapped_claims_that_nobody_passes_on_are_a_warning() {
    const UNREAD: &str = "`claims.groups[0].claim` is taken from no token: set `claims = true` in the `[[envoy.identity]]` or `[[ext_mcp.identity]]` that reads them";
    const UNTRUSTED: &str =
        "`claims.groups[0].claim` counts for nobody: no caller has `assert_claims`";
    let envoy = |more: &str| format!("[[envoy.identity]]\nfrom = 'jwt'\npayload = 'p'\n{more}");
    let ext_mcp = |more: &str| format!("[[ext_mcp.identity]]\nfrom = 'jwt'\nkey = 'jwt'\n{more}");
    let caller = |rpc: &str, claims: bool| {
        let digest = "a".repeat(64);
        format!(
            "[[callers]]\nid = 'a'\ntoken_sha256 = ['{digest}']\nrights = {{ rpcs = ['{rpc}'], assert_identity = true, assert_claims = {claims} }}\n"
        )
    };
    for (more, wanted) in [
        (String::new(), None),
        (envoy(""), Some(UNREAD)),
        (ext_mcp(""), Some(UNREAD)),
        (envoy("claims = true\n"), None),
        (envoy("") + &ext_mcp("claims = true\n"), None),
        (caller("*", false), Some(UNTRUSTED)),
        (caller("*", true), None),
        (caller("ext_mcp.Check", true) + &ext_mcp(""), Some(UNREAD)),
        (caller("toolhive.Decision", true) + &ext_mcp(""), None),
    ] {
        let config = format!("[[claims.groups]]\nclaim = 'groups'\n{more}");
        let bundle = load_files(&[("callgate.toml", &config)]).expect("warnings only");
        let wanted: Vec<_> = wanted
            .map(|it| format!("callgate.toml:2 {it}"))
            .into_iter()
            .collect();
        assert_eq!(shown(bundle.warnings.iter()), wanted, "{config}");
    }
}

#[test]
fn a_typed_tool_has_its_own_action_with_its_argument_types() {
    let schema = r#", "typed": true, "input_schema": {"properties": {"repo path": {"type": "string"}, "n": {"type": "integer"}}, "required": ["n"]}"#;
    let policy = |condition: &str| {
        format!(
            "permit (principal, action == Mcp::Action::\"git/git_log\", resource) when {{ {condition} }};"
        )
    };
    let with = |condition: &str, schema: &str| {
        load_files(&[
            ("tools/git.json", &tool(schema)),
            OWEN,
            ("a.cedar", &policy(condition)),
        ])
    };
    let fine = "context.input.n < 10 && context.input has \"repo path\" && context.input[\"repo path\"] like \"/srv/*\" && context.identity.verified";
    assert_eq!(with(fine, schema).expect("typed").counts.typed_tools, 1);
    assert!(with("context.input.m == 1", schema).is_err());
    assert!(with("context.input.n == \"1\"", schema).is_err());
    // Without `typed` there is no such action.
    assert!(with("true", "").is_err());
    // The action belongs to its effect.
    let bundle = with("true", schema).expect("typed");
    let action: EntityUID = r#"Mcp::Action::"git/git_log""#.parse().expect("a uid");
    assert!(bundle.snapshot.has_action(&action));
    assert_eq!(groups_of(&bundle, &action), ["call_read", "call_tool"]);
    let unconfirmed = tool(schema).replace("confirmed", "proposed");
    let bundle = load_files(&[("tools/git.json", &unconfirmed), OWEN]).expect("typed");
    assert_eq!(groups_of(&bundle, &action), ["call_admin", "call_tool"]);
}

/// The groups an action belongs to, by the schema.
fn groups_of(bundle: &Bundle, action: &EntityUID) -> Vec<String> {
    let schema = bundle.snapshot.schema().expect("a schema");
    let actions = schema.action_entities().expect("actions");
    let found = actions
        .iter()
        .find(|entity| entity.uid() == action)
        .expect("the action");
    let mut groups: Vec<_> = found
        .ancestors()
        .map(|group| group.eid().escaped().to_string())
        .collect();
    groups.sort();
    groups
}

#[test]
fn templates_are_linked() {
    let template = "@id(\"share\")\npermit (principal == ?principal, action in Mcp::Action::\"call_read\", resource in ?resource);";
    let link = |template: &str, id: &str, slots: &str| {
        format!(r#"{{"template": "{template}", "id": "{id}"{slots}}}"#)
    };
    let both = r#", "principal": {"type": "Mcp::User", "id": "a"}, "resource": {"type": "Mcp::Server", "id": "git"}"#;
    let good = format!("[{}]", link("share", "share-a", both));
    let bundle = load_files(&[("t.cedar", template), ("links/l.json", &good)]).expect("linked");
    assert_eq!(
        (
            bundle.counts.templates,
            bundle.counts.links,
            bundle.counts.policies
        ),
        (1, 1, 0)
    );
    let bad = format!(
        "[{},\n{},\n{},\n{},\n{}]",
        link("share", "x", ""),
        link("shrae", "y", both),
        link("share", "share", both),
        link("share", "z", both),
        link("share", "u", &both.replace("Mcp::User", "no such type")),
    );
    let found = faults(&[("t.cedar", template), ("team.links.json", &bad)]);
    assert_eq!(found.len(), 4, "{found:#?}");
    has(
        &found,
        "team.links.json:1 the following slots were not provided",
    );
    has(&found, "team.links.json:2 there is no template `shrae`");
    has(
        &found,
        "team.links.json:3 the policy id `share` is used twice",
    );
    has(
        &found,
        "team.links.json:5 `no such type` is not an entity type",
    );
}

#[test]
fn policies_that_can_never_apply_are_faults() {
    let scope =
        "permit (principal is Mcp::Server, action == Mcp::Action::\"call_read\", resource);";
    let condition =
        "forbid (principal, action == Mcp::Action::\"call_read\", resource)\nwhen { false };";
    let found = faults(&[("a.cedar", scope), ("b.cedar", condition)]);
    assert_eq!(found.len(), 2, "{found:#?}");
    has(
        &found,
        "a.cedar:1 for policy `a#1`, unable to find an applicable action",
    );
    has(&found, "b.cedar:1 for policy `b#1`, policy is impossible");
}

#[test]
fn policies_that_can_never_apply_are_faults_however_far_they_look() {
    let far = "forbid (principal is Mcp::Agent, action, resource)\n\
               when { principal.owner has active && principal.owner.active } when { false };";
    let found = faults(&[("a.cedar", far)]);
    assert_eq!(found.len(), 1, "{found:#?}");
    has(&found, "a.cedar:1 for policy `a#1`, policy is impossible");
}

#[test]
fn misspelt_members_of_entities_are_faults() {
    let group = |more: &str| {
        format!(
            r#"{{"uid": {{"type": "Mcp::Group", "id": "g"}}, "attrs": {{}}, "parents": []{more}}}"#
        )
    };
    for (entity, message, help) in [
        (
            group(r#", "parent": []"#),
            "an entity has no member `parent`",
            "did you mean `parents`?",
        ),
        (
            group(r#", "atrs": {}"#),
            "an entity has no member `atrs`",
            "did you mean `attrs`?",
        ),
        (
            group(r#", "tag": {}"#),
            "an entity has no member `tag`",
            "did you mean `tags`?",
        ),
        (
            group(r#", "Parents": []"#),
            "an entity has no member `Parents`",
            "did you mean `parents`?",
        ),
        (
            group(r#", "comment": "x""#),
            "an entity has no member `comment`",
            "what it has is `uid`, `attrs`, `parents`, `tags`",
        ),
        (
            group("").replace(r#""id": "g""#, r#""id": "g", "name": "h""#),
            "an entity's name has no member `name`",
            "what it has is `type`, `id`",
        ),
        (
            group("").replace(
                "[]",
                r#"[{"__entity": {"type": "Mcp::Group", "id": "h", "ids": 1}}]"#,
            ),
            "an entity's name has no member `ids`",
            "did you mean `id`?",
        ),
        (
            group("").replace(
                "[]",
                r#"[{"__entity": {"type": "Mcp::Group", "id": "h"}, "id": "i"}]"#,
            ),
            "an escaped name has no member `id`",
            "what it has is `__entity`",
        ),
    ] {
        let text = format!("[\n{entity}]");
        let found = load_files(&[("entities/e.json", &text)]).expect_err("a fault");
        let fault = found.iter().next().expect("one");
        assert_eq!((fault.line, &*fault.message), (Some(2), message), "{found}");
        assert_eq!(fault.help.as_deref(), Some(help), "{found}");
    }
}

#[test]
fn byte_order_marks_are_faults_in_every_file() {
    for (path, text) in [
        ("a.cedar", "forbid (principal, action, resource);"),
        ("a.cedarschema", "entity Shop;"),
        ("entities/e.json", "[]"),
        ("links/l.json", "[]"),
        ("callgate.toml", ""),
    ] {
        let found = faults(&[(path, &format!("\u{feff}{text}"))]);
        assert_eq!(found.len(), 1, "{found:#?}");
        has(&found, ":1 the file begins with a byte order mark");
    }
}

#[test]
fn a_large_set_is_validated_as_a_small_one_is() {
    let fine = "permit (principal, action == Mcp::Action::\"call_read\", resource) when { resource.egress };\n";
    let template = "@id(\"t\")\npermit (principal == ?principal, action == Mcp::Action::\"call_read\", resource) when { resource.egres };\n";
    let link = r#"[{"template": "t", "id": "l", "principal": {"type": "Mcp::Usr", "id": "a"}}]"#;
    let bad = "permit (principal, action == Mcp::Action::\"call_read\", resource) when { resource.egres };\n";
    let large = format!("{}{bad}{}{bad}", fine.repeat(200), fine.repeat(100));
    let found = faults(&[
        ("a.cedar", &large),
        ("t.cedar", template),
        ("links/l.json", link),
    ]);
    has(&found, "a.cedar:201 for policy `a#201`, attribute `egres`");
    has(&found, "a.cedar:302 for policy `a#302`, attribute `egres`");
    has(&found, "t.cedar:2 for policy `t`, attribute `egres`");
    has(&found, "l.json:1 for policy `l`, unrecognized entity type");
    assert_eq!(found.len(), 4, "{found:#?}");
    let bundle = load_files(&[("a.cedar", &fine.repeat(300))]).expect("fine");
    assert_eq!((bundle.counts.level, bundle.counts.policies), (1, 300));
}

#[test]
fn a_directory_that_is_a_bundle_of_its_own_is_named_or_a_fault() {
    let own = ("own/callgate.toml", "");
    let forbid = (
        "own/a.cedar",
        "@id(\"a\") forbid (principal, action, resource);",
    );
    let load_with = |config: &str, files: &[(&str, &str)]| {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files.iter().chain(&[("callgate.toml", config)]) {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("written");
        }
        load(dir.path())
            .map(|_| ())
            .map_err(|faults| faults.to_string())
    };
    let named = "[bundle]\napart = [\"own\"]\n";
    assert_eq!(load_with(named, &[own, forbid]), Ok(()));
    let unnamed = load_with("", &[own, forbid]).expect_err("a fault");
    assert!(unnamed.contains("apart = [\"own\"]"), "{unnamed}");
    // What settings with a fault say of others is not known.
    let faulty = format!("{named}nothing = 1\n");
    let faults = load_with(&faulty, &[own, forbid]).expect_err("a fault");
    let is_silent = !faults.contains("has its own `callgate.toml`");
    assert!(is_silent, "{faults}");
    // A name of a directory without one changes nothing: it is read.
    let read = load_with(named, &[("own/a.cedar", "forbid (")]);
    assert!(read.is_err());
}

/// A registration whose tool and server yield these labels and whose target has this role.
fn yielding(of_server: &str, of_tool: &str, role: &str) -> String {
    format!(
        r#"{{"server": {{"name": "git", "owner": "owen",
  "yields": ["{of_server}"]}}, "tools": {{"git_log": {{
 "access": "read", "status": "confirmed", "egress": false, "sensitivity": "internal",
 "yields": ["private", "{of_tool}"],
 "target_arguments": [{{"argument": "a", "kind": "path",
  "role": "{role}"}}]
}}}}}}"#
    )
}

#[test]
fn labels_and_roles_that_resemble_one_with_an_effect_are_warnings() {
    let policy = r#"@id("p") forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context.labels.contains("customer_data") };"#;
    let told = |registration: &str, config: &str| {
        let files = [
            OWEN,
            ("a.cedar", policy),
            ("tools/git.json", registration),
            ("callgate.toml", config),
        ];
        let bundle = load_files(&files).unwrap_or_else(|faults| panic!("{faults}"));
        let about = |it: &&BundleDiagnostic| it.message.starts_with("no policy reads");
        let warnings: Vec<_> = bundle.warnings.iter().filter(about).cloned().collect();
        warnings
    };
    let wrong = yielding("untrustd", "costumer_data", "desination");
    let warnings = told(&wrong, "");
    assert_eq!(
        shown(warnings.iter()),
        [
            "git.json:2 no policy reads the label `untrustd`",
            "git.json:4 no policy reads the label `costumer_data`",
            "git.json:6 no policy reads the role `desination`",
        ]
    );
    let help = warnings[1].help.as_deref().unwrap_or_default();
    assert!(help.contains("did you mean `customer_data`?"), "{help}");
    // Known ones, and those that resemble none.
    for registration in [
        yielding("untrusted", "customer_data", "destination"),
        yielding("billing", "of_the_weather", "template"),
    ] {
        assert_eq!(told(&registration, ""), [], "{registration}");
    }
    let config =
        "[bundle.known]\nlabels = [\"untrustd\", \"costumer_*\"]\nroles = [\"desination\"]";
    assert_eq!(told(&wrong, config), []);
}

#[test]
fn policies_wait_for_a_registration_with_faults() {
    let policies = r#"@id("one") permit (principal, action == Mcp::Action::"git/git_log", resource);
@id("two") forbid (principal, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"git/git_log");
@id("three") forbid (principal, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"jira/make");"#;
    let found = faults(&[
        OWEN,
        ("a.cedar", policies),
        ("tools/git.json", &tool(", \"kind\": 3")),
    ]);
    has(&found, "git.json:2 ");
    has(
        &found,
        "policies that name tools of `git` are checked once its registration is in order: `one`",
    );
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn a_misspelt_parent_or_owner_is_told_at_its_name() {
    let people = r#"[{"uid": {"type": "Mcp::User", "id": "owen"}, "attrs": {},
  "parents": [
   {"type": "Mcp::Group", "id": "stuff"}]}]"#;
    let registration = tool("").replace("\"owner\": \"owen\"", "\n \"owner\": \"oven\"");
    let files = [
        ("entities/people.json", people),
        ("tools/git.json", &*registration),
    ];
    let bundle = load_files(&files).unwrap_or_else(|faults| panic!("{faults}"));
    let places: Vec<_> = bundle
        .warnings
        .iter()
        .map(|it| (it.line, it.column))
        .collect();
    assert_eq!(places[0], (Some(3), Some(33)), "{:?}", bundle.warnings);
    assert_eq!(places[1], (Some(2), Some(11)), "{:?}", bundle.warnings);
}

#[test]
fn what_is_meant_by_an_unknown_action_is_the_same_each_time() {
    let of = |action: &str| {
        let policy = format!("@id(\"p\") permit (principal, action == {action}, resource);");
        let faults = load_files(&[("a.cedar", &policy)]).expect_err("a fault");
        let first = faults.iter().next().and_then(|it| it.help.clone());
        first.unwrap_or_default()
    };
    let meant = "did you mean `Mcp::Action::\"call_read\"`?";
    assert_eq!(of("Mcp::Action::\"call_reed\""), meant);
    assert_eq!(of("Mcp::Action::\"git/git_show\""), "");
}

#[test]
fn a_misspelt_server_to_observe_and_a_token_that_everybody_knows_are_warned_of() {
    let settings = "[observe]\nservers = [\"gti\", \"git\", \"new\", \"a/b\"]\n[[callers]]\nid = \"edge\"\n\
         token_sha256 = [\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]\n";
    let tool = tool("");
    let files = [OWEN, ("tools/git.json", &tool), ("callgate.toml", settings)];
    let bundle = load_files(&files).expect("warnings only");
    let warnings = shown(bundle.warnings.iter());
    for wanted in [
        "callgate.toml:2 `observe.servers[0]` is `gti`, which nothing here registers: did you mean `git`?",
        "callgate.toml:2 `observe.servers[3]` is `a/b`, which no server can be called",
        "callgate.toml:5 `callers[0].token_sha256[0]` is the digest of `abc`, which is no secret",
    ] {
        has(&warnings, wanted);
    }
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
}
