//! What was denied stays denied: what must not be carried over, or only as less.

use std::fs;

use serde_json::{Value as Json, json};

use super::tests::{Question, decided, directory, imported, options};
use super::*;

fn tools() -> tempfile::TempDir {
    let pay = json!({"env": {"type": "string"}, "n": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "string"}}});
    directory("refunds", &[("pay", pay), ("look", json!({}))])
}

fn core() -> ImportOptions {
    options(Dialect::Agentcore, &[("R", "refunds")])
}

fn hive() -> ImportOptions {
    options(Dialect::Toolhive, &[("", "refunds")])
}

fn agents() -> ImportOptions {
    options(Dialect::CedarForAgents, &[("", "refunds")])
}

fn import_of(text: &str, options: &ImportOptions) -> Result<PolicyImport, BundleError> {
    imported(&tools(), text, options)
}

fn carried(text: &str, options: &ImportOptions) -> PolicyImport {
    let import = import_of(text, options).unwrap_or_else(|it| panic!("{text}: {it}"));
    assert!(import.left_out.is_empty(), "{text}: {import:#?}");
    import
}

/// Why the one permit is left out.
fn left_out(text: &str, options: &ImportOptions) -> String {
    let import = import_of(text, options).unwrap_or_else(|it| panic!("{text}: {it}"));
    assert!(import.carried.is_empty(), "{text}: {import:#?}");
    assert!(import.needs.is_empty(), "{text}: {import:#?}");
    import.left_out[0].why.clone()
}

fn fault(text: &str, options: &ImportOptions) -> String {
    import_of(text, options).expect_err(text).to_string()
}

/// A policy of AgentCore about one call.
fn of_core(effect: &str, conditions: &str) -> String {
    format!(
        r#"{effect} (principal is AgentCore::OAuthUser, action == AgentCore::Action::"R___look", resource) {conditions};"#
    )
}

/// A policy of ToolHive about one call.
fn of_hive(effect: &str, tool: &str, conditions: &str) -> String {
    format!(
        r#"{effect} (principal, action == Action::"call_tool", resource == Tool::"{tool}") {conditions};"#
    )
}

#[test]
fn a_permit_that_leaves_out_those_whom_nobody_knows_is_left_out() {
    let unless = of_core("permit", r#"unless { principal.hasTag("contractor") }"#);
    let why = left_out(&unless, &core());
    assert!(why.contains("also those whom it leaves out"), "{why}");
    assert!(why.contains("nobody has the tag `contractor`"), "{why}");
    let not = of_core("permit", r#"when { !principal.hasTag("contractor") }"#);
    left_out(&not, &core());
    let either = r#"when { if principal.hasTag("contractor") then false else true }"#;
    left_out(&of_core("permit", either), &core());
    let mut elsewhere = hive();
    elsewhere.group_prefix = "team:".to_owned();
    for conditions in [
        r#"unless { principal in THVGroup::"contractors" }"#,
        r#"unless { principal in [THVGroup::"contractors"] }"#,
        r#"unless { principal is Client in THVGroup::"contractors" }"#,
        r#"when { !(principal in THVGroup::"contractors") }"#,
        r#"when { if context has claim_contractor then context.claim_contractor == "no" else true }"#,
        r#"when { if context has claim_contractor then false else true }"#,
    ] {
        left_out(&of_hive("permit", "look", conditions), &elsewhere);
    }
    // It says what is needed where the permit only lacks those whom it is for.
    let needed = carried(
        &of_hive("permit", "look", r#"when { principal in THVGroup::"a" }"#),
        &elsewhere,
    );
    assert_eq!(needed.needs.len(), 1, "{needed:#?}");
    let when = carried(
        &of_core("permit", r#"when { principal.hasTag("team") }"#),
        &core(),
    );
    assert!(
        when.needs.iter().any(|it| it.contains("`kind = \"text\"`")),
        "{when:#?}"
    );
}

#[test]
fn annotations_gain_no_meaning() {
    let text = r#"@mode("shadow") @obligation("watermark") @reason("") @allow("a\n permit (principal, action, resource);")
        forbid (principal, action == Action::"call_tool", resource == Tool::"look");
        @id("kept") @owner("ana") permit (principal, action == Action::"call_tool", resource == Tool::"look");"#;
    let import = carried(text, &hive());
    assert_eq!(import.carried[1].ids, ["kept"]);
    for policy in &import.carried {
        let notes = &policy.notes;
        assert!(
            notes.iter().any(|it| it.contains("mean nothing here")),
            "{notes:?}"
        );
    }
    let set: api::PolicySet = import.policies.parse().expect("policies");
    assert_eq!(set.policies().count(), 2, "{}", import.policies);
    for policy in set.policies() {
        let names: Vec<&str> = policy.annotations().map(|(name, _)| name).collect();
        assert_eq!(names, ["id"], "{}", import.policies);
    }
    assert!(
        import.policies.contains("// @mode(\"shadow\")"),
        "{}",
        import.policies
    );
    let dir = tools();
    fs::write(dir.path().join("imported.cedar"), &import.policies).expect("written");
    let asked = Question {
        user: "ana",
        claims: json!({}),
        tool: "look",
        arguments: json!({}),
    };
    assert_eq!(decided(&dir, "refunds", &[asked]), [false]);
}

#[test]
fn ids_are_kept_where_they_are_free() {
    let look = r#"permit (principal, action == Action::"call_tool", resource == Tool::"look");"#;
    let all =
        r#"permit (principal, action in [Action::"call_tool", Action::"list_prompts"], resource);"#;
    let text = format!(
        "@id(\"x\") {all}\n@id(\"x.2\") {look}\n@id(\"x\") {look}\n@id(\"\") {look}\n@id(\"a`b\") {look}\n{look}"
    );
    let import = carried(&text, &hive());
    let ids: Vec<&[String]> = import.carried.iter().map(|it| &*it.ids).collect();
    assert_eq!(ids[0], ["x", "x.2"]);
    let others: Vec<&String> = ids[1..].iter().flat_map(|it| it.iter()).collect();
    let numbered: Vec<String> = (2..=6).map(|it| format!("imported.foreign.{it}")).collect();
    assert_eq!(others, numbered.iter().collect::<Vec<_>>());
    let noted = |index: usize| {
        import.carried[index]
            .notes
            .iter()
            .any(|it| it.contains("the id"))
    };
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(noted),
        [false, true, true, true, true, false]
    );
    // Two policies in one text of ToolHive's configuration have one number.
    let config = json!({"cedar": {"policies": [format!("{look} {look}")]}});
    assert_eq!(carried(&config.to_string(), &hive()).carried.len(), 2);
}

#[test]
fn a_policy_of_another_gateway_is_left_out_however_it_is_named() {
    for resource in [
        r#"resource == AgentCore::Gateway::"g1""#,
        r#"resource in AgentCore::Gateway::"g1""#,
        r#"resource is AgentCore::Gateway in AgentCore::Gateway::"g1""#,
    ] {
        let text = format!(
            r#"permit (principal, action == AgentCore::Action::"R___look", {resource});
            forbid (principal == AgentCore::OAuthUser::"zed", action == AgentCore::Action::"R___look", resource == AgentCore::Gateway::"g2");"#
        );
        let mut chosen = core();
        chosen.gateway = Some("g2".to_owned());
        let import = import_of(&text, &chosen).unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(import.left_out[0].why, "it is about the gateway `g1`");
        chosen.gateway = Some("g1".to_owned());
        let import = import_of(&text, &chosen).unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(import.left_out[0].why, "it is about the gateway `g2`");
    }
}

#[test]
fn two_targets_do_not_become_one_server() {
    let text = r#"permit (principal, action == AgentCore::Action::"R___look", resource);
        permit (principal, action == AgentCore::Action::"refunds___look", resource);"#;
    assert!(fault(text, &core()).contains("would both be the server `refunds`"));
    let two = options(
        Dialect::Agentcore,
        &[("R", "refunds"), ("refunds", "refunds")],
    );
    assert!(fault(text, &two).contains("would both be"));
}

#[test]
fn a_group_of_actions_is_no_action() {
    let named = |op: &str, id: &str| {
        format!(r#"permit (principal, action {op} AgentCore::Action::"{id}", resource);"#)
    };
    carried(&named("in", "CallTool"), &core());
    for id in ["CallTool", "Mcp"] {
        let why = left_out(&named("==", id), &options(Dialect::Agentcore, &[]));
        assert!(why.contains("write `in`"), "{why}");
    }
    // What is forbidden in `Mcp` is more than calls.
    let forbid = named("in", "Mcp").replacen("permit", "forbid", 1);
    let import = carried(&forbid, &options(Dialect::Agentcore, &[]));
    assert!(
        !import.policies.contains("call_tool"),
        "{}",
        import.policies
    );
    let of =
        |op: &str| format!(r#"permit (principal, action {op} NS::Action::"call_tool", resource);"#);
    carried(&of("in"), &agents());
    assert!(left_out(&of("=="), &agents()).contains("write `in`"));
}

#[test]
fn a_permit_about_a_gateway_is_for_the_servers_that_are_named_and_no_others() {
    let of_gateway = [
        "action",
        r#"action in AgentCore::Action::"Mcp""#,
        r#"action in [AgentCore::Action::"CallTool", AgentCore::Action::"S___look"]"#,
    ];
    let of_gateway = of_gateway.map(|action| {
        format!(r#"permit (principal, {action}, resource == AgentCore::Gateway::"g");"#)
    });
    for text in &of_gateway {
        let dir = tools();
        let files = fs::read_to_string(dir.path().join("tools/refunds.json")).expect("a file");
        let others = files.replace("\"refunds\"", "\"others\"");
        fs::write(dir.path().join("tools/others.json"), others).expect("written");
        let import = imported(&dir, text, &core()).unwrap_or_else(|it| panic!("{text}: {it}"));
        fs::write(dir.path().join("imported.cedar"), import.policies).expect("written");
        let look = Question {
            user: "ana",
            claims: json!({}),
            tool: "look",
            arguments: json!({}),
        };
        for (server, is_allowed) in [("refunds", true), ("others", false)] {
            let asked = std::slice::from_ref(&look);
            assert_eq!(decided(&dir, server, asked), [is_allowed], "{text}");
        }
        let why = left_out(text, &options(Dialect::Agentcore, &[]));
        assert!(why.contains("`--server TARGET=NAME`"), "{why}");
    }
    // Every server that is named: no policy has to name its targets.
    let two = options(Dialect::Agentcore, &[("R", "refunds"), ("Q", "queries")]);
    let import = carried(&of_gateway[0], &two);
    assert_eq!(import.carried[0].ids.len(), 2, "{import:#?}");
    let needs = |it: &String| it.contains("the server `queries` is not registered");
    assert!(import.needs.iter().any(needs), "{import:#?}");
    let same = options(Dialect::Agentcore, &[("R", "refunds"), ("Q", "refunds")]);
    assert!(fault(&of_gateway[0], &same).contains("would both be the server `refunds`"));
    // A forbid names none, and neither does a permit for one tool.
    let forbid = of_gateway[0].replacen("permit", "forbid", 1);
    for text in [&forbid, &of_core("permit", "")] {
        assert!(fault(text, &two).contains("no policy is about the target `Q`"));
    }
}

#[test]
fn a_claim_that_may_be_no_text_is_not_compared_with_one() {
    let mapped = |kind: &str| {
        let dir = tools();
        let path = dir.path().join("callgate.toml");
        let text = fs::read_to_string(&path).expect("read");
        let said = format!("[[claims.attributes]]\nclaim = \"level\"\ntag = \"level\"\n{kind}\n");
        fs::write(&path, format!("{text}\n{said}")).expect("written");
        dir
    };
    let text = |effect: &str, conditions: &str| of_hive(effect, "look", conditions);
    let equal = r#"when { context.claim_level == "5" }"#;
    let within = r#"when { context.claim_level.contains("5") }"#;
    let left_out = |kind: &str, conditions: &str| {
        let import = imported(&mapped(kind), &text("permit", conditions), &hive());
        let import = import.unwrap_or_else(|it| panic!("{it}"));
        import.left_out.first().map(|it| it.why.clone())
    };
    for (kind, conditions) in [
        ("", equal),
        ("", within),
        ("kind = \"list\"", equal),
        ("kind = \"text\"", within),
        ("", "unless { context has claim_level }"),
    ] {
        let why = left_out(kind, conditions).expect(conditions);
        assert!(why.contains("not told apart"), "{why}");
        let fault = imported(&mapped(kind), &text("forbid", conditions), &hive());
        assert!(
            fault
                .expect_err(conditions)
                .to_string()
                .contains("not told apart")
        );
    }
    assert_eq!(left_out("kind = \"text\"", equal), None);
    assert_eq!(left_out("kind = \"list\"", within), None);
    // A claim of another kind is denied, as it was.
    for (kind, conditions, claim, is_allowed) in [
        ("text", equal, json!("5"), true),
        ("text", equal, json!(["5"]), false),
        ("text", equal, json!(5), false),
        ("list", within, json!(["5"]), true),
        ("list", within, json!("5"), false),
        (
            "text",
            "unless { context has claim_level }",
            json!(""),
            false,
        ),
        (
            "list",
            "unless { context has claim_level }",
            json!([]),
            false,
        ),
        (
            "list",
            "unless { context has claim_level }",
            json!(null),
            true,
        ),
    ] {
        let dir = mapped(&format!("kind = \"{kind}\""));
        let import = imported(&dir, &text("permit", conditions), &hive());
        let policies = import.unwrap_or_else(|it| panic!("{it}")).policies;
        fs::write(dir.path().join("imported.cedar"), policies).expect("written");
        let asked = Question {
            user: "ana",
            claims: json!({"level": claim}),
            tool: "look",
            arguments: json!({}),
        };
        let found = decided(&dir, "refunds", &[asked]);
        assert_eq!(found, [is_allowed], "{kind} {conditions} {claim}");
    }
}

#[test]
fn a_tag_of_another_claim_is_not_the_claim() {
    let dir = tools();
    let path = dir.path().join("callgate.toml");
    let text = fs::read_to_string(&path).expect("read");
    let other = "[[claims.attributes]]\nclaim = \"department\"\ntag = \"team\"\nkind = \"text\"\n\
        [[claims.attributes]]\nclaim = \"a.b\"\ntag = \"a.b\"\nkind = \"text\"\n";
    fs::write(&path, format!("{text}\n{other}")).expect("written");
    for (tag, said) in [
        ("team", "is of the claim `department`"),
        ("a.b", "has a dot"),
    ] {
        let when =
            format!(r#"when {{ principal.hasTag("{tag}") && principal.getTag("{tag}") == "x" }}"#);
        let import = imported(&dir, &of_core("permit", &when), &core());
        let import = import.unwrap_or_else(|it| panic!("{it}"));
        assert!(import.left_out[0].why.contains(said), "{import:#?}");
    }
    // Words of `scope` are known, and not how they stood in the text.
    let scope = r#"when { principal.hasTag("scope") && principal.getTag("scope") == "a" }"#;
    assert!(left_out(&of_core("permit", scope), &core()).contains("compared as a whole"));
    carried(&of_core("forbid", scope), &core());
}

#[test]
fn arguments_that_are_not_the_same_are_not_read() {
    for (conditions, said) in [
        ("when { context.arg_n <= 5 }", "no text or boolean"),
        ("when { context.arg_n == 5 }", "no text or boolean"),
        (
            r#"when { context.arg_list.contains("a") }"#,
            "no text or boolean",
        ),
        ("unless { context has arg_list }", "no text or boolean"),
        (
            "unless { context has arg_other }",
            "cannot read the argument `other`",
        ),
        ("unless { context.other has arg_env }", "no counterpart"),
    ] {
        let why = left_out(&of_hive("permit", "pay", conditions), &hive());
        assert!(why.contains(said), "{why}");
        assert!(
            why.contains("ToolHive denies the calls also where it fails"),
            "{why}"
        );
        assert!(fault(&of_hive("forbid", "pay", conditions), &hive()).contains(said));
    }
    carried(
        &of_hive("permit", "pay", r#"when { context.arg_env == "a" }"#),
        &hive(),
    );
    let of = |conditions: &str| {
        format!(r#"permit (principal, action == NS::Action::"pay", resource) {conditions};"#)
    };
    carried(&of("when { context.input.n <= 5 }"), &agents());
    for (conditions, said) in [
        (
            "unless { context.input has other }",
            "cannot read the argument `other`",
        ),
        (
            "when { context.input == context.input }",
            "reads all of `context.input`",
        ),
    ] {
        let why = left_out(&of(conditions), &agents());
        assert!(why.contains(said), "{why}");
    }
}

#[test]
fn principals_that_are_nobody_here_are_no_users() {
    let of = |principal: &str, conditions: &str| {
        format!(
            r#"permit ({principal}, action == NS::Action::"look", resource is NS::McpServer) {conditions};"#
        )
    };
    for (principal, conditions) in [
        ("principal is NS::Service", ""),
        ("principal == NS::Service::\"bob\"", ""),
        ("principal", "when { principal is NS::Service }"),
        ("principal", "unless { principal is NS::Service }"),
        ("principal", "when { principal == NS::Service::\"bob\" }"),
        ("principal", "when { principal != NS::Service::\"bob\" }"),
    ] {
        let why = left_out(&of(principal, conditions), &agents());
        assert!(why.contains("nobody like `NS::Service`"), "{why}");
    }
    carried(&of("principal is NS::User", ""), &agents());
    carried(&of("principal is NS::Agent", ""), &agents());
    // Entities say something only of a principal.
    let compared = r#"when { NS::Role::"a" == NS::Role::"a" || NS::Role::"a" in NS::Role::"b" }"#;
    assert!(left_out(&of("principal", compared), &agents()).contains("no principal"));
}

#[test]
fn what_is_told_apart_there_does_not_become_one() {
    let role =
        r#"permit (principal in NS::Role::"admin", action == NS::Action::"look", resource);"#;
    let club = role.replace("Role", "Club");
    for other in [
        club.clone(),
        r#"permit (principal is NS::User in NS::Club::"a", action == NS::Action::"look", resource);"#
            .to_owned(),
        r#"permit (principal, action == NS::Action::"look", resource) when { principal in [NS::Club::"a"] };"#
            .to_owned(),
        r#"permit (principal, action == NS::Action::"look", resource) unless { principal is NS::User in NS::Club::"a" };"#
            .to_owned(),
    ] {
        let said = fault(&format!("{role}\n{other}"), &agents());
        assert!(said.contains("groups are of several types"), "{said}");
        assert!(said.contains("`NS::Club`, `NS::Role`"), "{said}");
    }
    carried(&club, &agents());
    let of = |resource: &str| {
        format!(r#"permit (principal is NS::User, action == NS::Action::"look", {resource});"#)
    };
    let staging = of(r#"resource == NS::McpServer::"staging""#);
    carried(
        &format!("{staging}\n{}", of("resource is NS::McpServer")),
        &agents(),
    );
    for other in [
        r#"resource == NS::McpServer::"prod""#,
        "resource is NS::Database",
    ] {
        let said = fault(&format!("{staging}\n{}", of(other)), &agents());
        assert!(said.contains("about several servers"), "{said}");
    }
    let other = staging.replace("NS::User", "Corp::User");
    assert!(fault(&format!("{staging}\n{other}"), &agents()).contains("several namespaces"));
}

#[test]
fn what_of_toolhives_configuration_is_not_read_is_not_assumed() {
    let config = |policy: &str, more: &str, value: Json| {
        let mut cedar = json!({"policies": [policy], "entities_json": "[]"});
        cedar[more] = value;
        json!({"version": "1.0", "type": "cedarv1", "cedar": cedar}).to_string()
    };
    let of = |effect: &str, conditions: &str| of_hive(effect, "look", conditions);
    let permit = of("permit", r#"when { principal in THVGroup::"a" }"#);
    let groups = json!(
        r#"[{"uid": {"type": "THVGroup", "id": "b"}, "attrs": {}, "parents": [{"type": "THVGroup", "id": "a"}]}]"#
    );
    let import = carried(&config(&permit, "entities_json", groups.clone()), &hive());
    assert!(
        import.carried[0]
            .notes
            .iter()
            .any(|it| it.contains("are not read"))
    );
    let unless = of("permit", r#"unless { principal in THVGroup::"a" }"#);
    let why = left_out(&config(&unless, "entities_json", groups.clone()), &hive());
    assert!(why.contains("are not read"), "{why}");
    let forbid = of("forbid", r#"when { principal in THVGroup::"a" }"#);
    carried(&config(&forbid, "entities_json", json!("[]")), &hive());
    assert!(fault(&config(&forbid, "entities_json", groups), &hive()).contains("are not read"));
    let type_ = config(&permit, "group_entity_type", json!("Team"));
    assert!(fault(&type_, &hive()).contains("`group_entity_type`"));
    carried(
        &config(&permit, "group_entity_type", json!("THVGroup")),
        &hive(),
    );
    let several = config(&permit, "multi_valued_claims", json!(["role"]));
    assert!(fault(&several, &hive()).contains("`multi_valued_claims`"));
}

#[test]
fn groups_of_toolhive_come_from_lists_only() {
    let dir = tools();
    let path = dir.path().join("callgate.toml");
    let text = fs::read_to_string(&path).expect("read").replace(
        "prefix = \"claim:\"\nkind = \"list\"",
        "prefix = \"claim:\"",
    );
    fs::write(&path, text).expect("written");
    let permit = of_hive("permit", "look", r#"when { principal in THVGroup::"a" }"#);
    let import = imported(&dir, &permit, &hive()).unwrap_or_else(|it| panic!("{it}"));
    assert!(
        import.left_out[0].why.contains("from lists only"),
        "{import:#?}"
    );
}

#[test]
fn a_permit_does_not_apply_where_a_claim_is_missing_that_it_reads() {
    let ask = |claims: Json| Question {
        user: "ana",
        claims,
        tool: "look",
        arguments: json!({}),
    };
    for (conditions, without, is_noted) in [
        (r#"when { context.claim_role == "x" || true }"#, false, true),
        (r#"unless { context.claim_role == "x" }"#, false, true),
        (r#"when { true || context.claim_role == "x" }"#, false, true),
        (
            r#"when { (context has claim_role || true) && context.claim_role != "x" }"#,
            false,
            true,
        ),
        (
            r#"when { context has claim_role && context.claim_role == "y" || true }"#,
            true,
            false,
        ),
        (
            r#"when { if context has claim_role then context.claim_role == "y" else true }"#,
            true,
            false,
        ),
        (
            r#"when { context has claim_role } when { context.claim_role == "y" }"#,
            false,
            false,
        ),
    ] {
        let dir = tools();
        let import = imported(&dir, &of_hive("permit", "look", conditions), &hive());
        let import = import.unwrap_or_else(|it| panic!("{it}"));
        let carried = import
            .carried
            .first()
            .unwrap_or_else(|| panic!("{import:#?}"));
        assert_eq!(
            !carried.notes.is_empty(),
            is_noted,
            "{conditions}: {import:#?}"
        );
        fs::write(dir.path().join("imported.cedar"), import.policies).expect("written");
        let asked = [ask(json!({})), ask(json!({"role": "y"}))];
        assert_eq!(
            decided(&dir, "refunds", &asked),
            [without, true],
            "{conditions}"
        );
    }
}
