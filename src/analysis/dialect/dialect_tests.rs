use std::collections::HashSet;
use std::fs;
use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::*;
use crate::analysis::policy_test::TestedBundle;

const CONFIG: &str = r#"
[[claims.groups]]
claim = "groups"
prefix = "claim:"
kind = "list"

[[claims.attributes]]
claim = "role"
tag = "role"
kind = "text"

[[claims.attributes]]
claim = "roles"
tag = "roles"
kind = "list"

[[claims.attributes]]
claim = "scope"
tag = "scope"
kind = "text"
"#;

/// A directory with these tools on one server, each typed if it has properties.
pub(super) fn directory(server: &str, tools: &[(&str, Json)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |path: &str, text: String| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
    };
    write("callgate.toml", CONFIG.to_owned());
    let people = json!([
        {"uid": {"type": "Mcp::User", "id": "owner"}, "attrs": {}, "parents": []},
        {"uid": {"type": "Mcp::Group", "id": "editors"}, "attrs": {}, "parents": []},
        {"uid": {"type": "Mcp::User", "id": "ed"}, "attrs": {},
            "parents": [{"type": "Mcp::Group", "id": "editors"}]},
    ]);
    write("entities/people.json", people.to_string());
    let tools: serde_json::Map<String, Json> = tools
        .iter()
        .map(|(name, properties)| {
            let schema = json!({"type": "object", "properties": properties,
                "required": properties.as_object().expect("properties").keys().collect::<Vec<_>>()});
            let entry = json!({"access": "write", "status": "confirmed", "yields": [], "egress": false,
                "sensitivity": "internal", "typed": true, "input_schema": schema});
            ((*name).to_owned(), entry)
        })
        .collect();
    let registration = json!({"server": {"name": server, "owner": "owner"}, "tools": tools});
    write(&format!("tools/{server}.json"), registration.to_string());
    dir
}

pub(super) fn options(dialect: Dialect, servers: &[(&str, &str)]) -> ImportOptions {
    let servers = servers.iter();
    ImportOptions {
        dialect,
        servers: servers
            .map(|(target, name)| ((*target).to_owned(), (*name).to_owned()))
            .collect(),
        gateway: None,
        group_prefix: "claim:".to_owned(),
    }
}

pub(super) fn imported(
    dir: &tempfile::TempDir,
    text: &str,
    options: &ImportOptions,
) -> Result<PolicyImport, BundleError> {
    let foreign = dir.path().join("foreign.txt");
    fs::write(&foreign, text).expect("a file");
    let to = dir.path().join("imported.cedar");
    import(dir.path(), &[foreign], options, &to)
}

/// A call, as both sides are asked about it.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) user: &'static str,
    pub(super) claims: Json,
    pub(super) tool: &'static str,
    pub(super) arguments: Json,
}

/// What Callgate decides with the imported policies and no others.
pub(super) fn decided(dir: &tempfile::TempDir, server: &str, questions: &[Question]) -> Vec<bool> {
    let bundle = bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
    let mut text = String::from("tests:\n");
    for it in questions {
        let call = json!({"tool": format!("{server}/{}", it.tool), "arguments": it.arguments});
        text.push_str(&format!(
            "  - {{name: q, user: {}, claims: {}, call: {call}, want: deny}}\n",
            json!(it.user),
            it.claims
        ));
    }
    let verdicts =
        TestedBundle::verdicts(&bundle, &text).unwrap_or_else(|faults| panic!("{faults}"));
    verdicts.iter().map(|it| it.is_allow()).collect()
}

/// What Cedar decides with the policies as they were written; `None` if a policy fails.
pub(super) fn original(
    policies: &api::PolicySet,
    (principal, action, resource): (&str, &str, &str),
    context: Json,
    entities: Json,
) -> Option<bool> {
    let uid = |text: &str| api::EntityUid::from_str(text).expect("a uid");
    let context = api::Context::from_json_value(context, None).expect("a context");
    let entities = api::Entities::from_json_value(entities, None).expect("entities");
    let request = api::Request::new(uid(principal), uid(action), uid(resource), context, None);
    let request = request.expect("a request");
    let answer = api::Authorizer::new().is_authorized(&request, policies, &entities);
    let has_errors = answer.diagnostics().errors().next().is_some();
    (!has_errors).then_some(answer.decision() == api::Decision::Allow)
}

/// Callgate may deny what was allowed, never the other way round; `stricter` counts those.
fn compare(questions: &[Question], before: &[bool], after: &[bool], stricter: usize) {
    let mut found = 0;
    for ((question, before), after) in questions.iter().zip(before).zip(after) {
        assert!(*before || !*after, "more is allowed: {question:?}");
        found += usize::from(*before && !*after);
    }
    let allowed = after.iter().filter(|it| **it).count();
    assert!(
        allowed * 10 >= after.len(),
        "{allowed} of {} are allowed",
        after.len()
    );
    assert!(
        allowed * 10 <= after.len() * 9,
        "{allowed} of {} are allowed",
        after.len()
    );
    assert_eq!(found, stricter, "calls that are denied now");
}

const AGENTCORE: &str = r#"
permit (
  principal is AgentCore::OAuthUser,
  action == AgentCore::Action::"RefundTool___process",
  resource == AgentCore::Gateway::"arn:aws:bedrock-agentcore:eu-central-1:1:gateway/g"
)
when { principal.hasTag("role") && principal.getTag("role") == "clerk" && context.input.amount <= 500 };

@id("refunds.look")
permit (
  principal,
  action in [AgentCore::Action::"RefundTool___lookup", AgentCore::Action::"RefundTool___list"],
  resource
);
permit (principal is AgentCore::OAuthUser, action == AgentCore::Action::"RefundTool___process", resource is AgentCore::Gateway)
when { principal.hasTag("scope") && principal.getTag("scope") like "*refund:any*" };
forbid (principal, action == AgentCore::Action::"RefundTool___process", resource)
unless { principal.hasTag("role") };
forbid (principal, action == AgentCore::Action::"RefundTool___lookup", resource)
when { principal.hasTag("role") && principal.getTag("role") == "guest" };
permit (principal is AgentCore::OAuthUser, action == AgentCore::Action::"RefundTool___process", resource)
when { principal.id == "boss" || (principal.id != "temp" && context.input has reason && context.input.reason == "goodwill") };
permit (principal is AgentCore::IamEntity, action, resource)
when { principal.id like "*:role/Admin*" };
"#;

fn refunds() -> tempfile::TempDir {
    let process = json!({"amount": {"type": "integer"}, "reason": {"type": "string"}});
    directory(
        "refunds",
        &[
            ("process", process),
            ("lookup", json!({})),
            ("list", json!({})),
        ],
    )
}

#[test]
fn agentcore_policies_give_the_answers_they_gave() {
    let dir = refunds();
    let options = options(Dialect::Agentcore, &[("RefundTool", "refunds")]);
    let import = imported(&dir, AGENTCORE, &options).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(import.carried.len(), 6, "{import:#?}");
    assert_eq!(import.carried[1].ids, ["refunds.look", "refunds.look.2"]);
    assert_eq!(import.left_out.len(), 1);
    assert!(
        import.left_out[0].why.contains("AgentCore::IamEntity"),
        "{import:#?}"
    );
    assert!(import.needs.is_empty(), "{:?}", import.needs);
    fs::write(dir.path().join("imported.cedar"), &import.policies).expect("a file");

    let mut questions = Vec::new();
    for user in ["boss", "temp", "kim"] {
        for role in [None, Some("clerk"), Some("guest")] {
            for scope in [
                None,
                Some("refund:any openid"),
                Some("a:refund:any"),
                Some("openid"),
            ] {
                for (tool, amount) in [
                    ("process", 100),
                    ("process", 900),
                    ("lookup", 0),
                    ("list", 0),
                ] {
                    let reason = if amount == 100 { "goodwill" } else { "broken" };
                    let mut claims = json!({});
                    if let Some(role) = role {
                        claims["role"] = json!(role);
                    }
                    if let Some(scope) = scope {
                        claims["scope"] = json!(scope);
                    }
                    let arguments = match tool {
                        "process" => json!({"amount": amount, "reason": reason}),
                        _ => json!({}),
                    };
                    questions.push(Question {
                        user,
                        claims,
                        tool,
                        arguments,
                    });
                }
            }
        }
    }
    let policies = api::PolicySet::from_str(AGENTCORE).expect("policies");
    let gateway = "AgentCore::Gateway::\"arn:aws:bedrock-agentcore:eu-central-1:1:gateway/g\"";
    let before: Vec<bool> = questions
        .iter()
        .map(|it| {
            let user = format!("AgentCore::OAuthUser::\"{}\"", it.user);
            let action = format!("AgentCore::Action::\"RefundTool___{}\"", it.tool);
            let entities = json!([{"uid": {"type": "AgentCore::OAuthUser", "id": it.user},
                "attrs": {"id": it.user}, "tags": it.claims, "parents": []}]);
            let context = json!({"input": it.arguments});
            original(&policies, (&user, &action, gateway), context, entities).unwrap_or(false)
        })
        .collect();
    // `a:refund:any` contains the text and is another word: with a role, for two amounts, unless another permit allows.
    let after = decided(&dir, "refunds", &questions);
    let is_word = |it: &Question| it.claims.get("scope") == Some(&json!("a:refund:any"));
    let differing = questions.iter().zip(before.iter().zip(&after));
    let differing: Vec<&Question> = differing
        .filter(|(_, (before, after))| before != after)
        .map(|(it, _)| it)
        .collect();
    assert!(
        differing
            .iter()
            .all(|it| is_word(it) && it.tool == "process"),
        "{differing:#?}"
    );
    compare(&questions, &before, &after, differing.len());
    assert!(!differing.is_empty() && differing.len() < 12);
}

const AGENTS: &str = r#"
permit (principal, action == Files::Action::"read_file", resource)
when { context.input.path like "/public/*" };
permit (principal in Files::Role::"editors", action in Files::Action::"call_tool", resource is Files::McpServer);
forbid (principal, action in [Files::Action::"delete_file", Files::Action::"write_file"], resource)
when { if context.input has path then context.input.path == "/etc/passwd" else true };
forbid (principal, action == Files::Action::"delete_file", resource)
unless { principal == Files::User::"ed" };
permit (principal, action, resource) when { context.session.hour_utc > 8 };
"#;

#[test]
fn cedar_for_agents_policies_give_the_answers_they_gave() {
    let path = || json!({"path": {"type": "string"}});
    let tools = ["read_file", "write_file", "delete_file"];
    let dir = directory("files", &tools.map(|tool| (tool, path())));
    let mut options = options(Dialect::CedarForAgents, &[("", "files")]);
    options.group_prefix = String::new();
    let import = imported(&dir, AGENTS, &options).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(import.carried.len(), 4, "{import:#?}");
    assert!(
        import.left_out[0]
            .why
            .contains("`context.session.hour_utc`"),
        "{import:#?}"
    );
    fs::write(dir.path().join("imported.cedar"), &import.policies).expect("a file");
    let mut questions = Vec::new();
    for user in ["ed", "kim"] {
        for tool in tools {
            for path in ["/public/a", "/etc/passwd", "/srv/b"] {
                let arguments = json!({"path": path});
                questions.push(Question {
                    user,
                    claims: json!({}),
                    tool,
                    arguments,
                });
            }
        }
    }
    // Without the permit that was left out: it reads what only a caller of that product states.
    let policies = AGENTS.split("permit (principal, action, resource)").next();
    let policies = api::PolicySet::from_str(policies.expect("the first")).expect("policies");
    let before: Vec<bool> = questions
        .iter()
        .map(|it| {
            let user = format!("Files::User::\"{}\"", it.user);
            let action = format!("Files::Action::\"{}\"", it.tool);
            let parents = match it.user {
                "ed" => json!([{"type": "Files::Role", "id": "editors"}]),
                _ => json!([]),
            };
            let entities = json!([
                {"uid": {"type": "Files::User", "id": it.user}, "attrs": {}, "parents": parents},
                {"uid": {"type": "Files::Action", "id": it.tool}, "attrs": {},
                    "parents": [{"type": "Files::Action", "id": "call_tool"}]},
            ]);
            let context = json!({"input": it.arguments});
            let scope = (
                user.as_str(),
                action.as_str(),
                "Files::McpServer::\"files\"",
            );
            original(&policies, scope, context, entities).expect("no errors")
        })
        .collect();
    compare(&questions, &before, &decided(&dir, "files", &questions), 0);
}

const TOOLHIVE: [&str; 6] = [
    r#"permit(principal, action == Action::"call_tool", resource == Tool::"weather");"#,
    r#"permit(principal in THVGroup::"eng", action == Action::"call_tool", resource == Tool::"deploy") when { context.arg_env == "staging" };"#,
    r#"permit(principal is Client, action == Action::"call_tool", resource == Tool::"deploy") when { context.claim_role == "admin" };"#,
    r#"forbid(principal, action == Action::"call_tool", resource) when { principal.claim_role == "guest" || context.claim_sub == "mallory" };"#,
    r#"permit(principal, action == Action::"call_tool", resource) when { resource.name == "report" && context has claim_roles && context.claim_roles.contains("auditor") };"#,
    r#"permit(principal, action == Action::"call_tool", resource == Tool::"report") when { resource has readOnlyHint && resource.readOnlyHint };"#,
];

#[test]
fn toolhive_policies_give_the_answers_they_gave() {
    let tools = [
        ("weather", json!({})),
        ("deploy", json!({"env": {"type": "string"}})),
        ("report", json!({})),
    ];
    let dir = directory("ops", &tools);
    let options = options(Dialect::Toolhive, &[("", "ops")]);
    let mut written = TOOLHIVE;
    // Which tool is meant has to stand in the scope, for what is carried over to be exact.
    written[4] = r#"permit(principal, action == Action::"call_tool", resource == Tool::"report") when { resource.name == "report" && context has claim_roles && context.claim_roles.contains("auditor") };"#;
    let config = json!({"version": "1.0", "type": "cedarv1", "cedar": {"policies": TOOLHIVE, "entities_json": "[]"}});
    let import = imported(&dir, &config.to_string(), &options);
    let import = import.unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(import.left_out.len(), 2, "{import:#?}");
    assert!(
        import.left_out[0].why.contains("name the tool"),
        "{import:#?}"
    );
    let config = json!({"version": "1.0", "type": "cedarv1", "cedar": {"policies": written, "entities_json": "[]"}});
    let import = imported(&dir, &config.to_string(), &options);
    let import = import.unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(
        (import.carried.len(), import.left_out.len()),
        (5, 1),
        "{import:#?}"
    );
    assert!(
        import.left_out[0].source.ends_with("foreign.txt, policy 6"),
        "{import:#?}"
    );
    assert!(
        import.carried[2]
            .notes
            .iter()
            .any(|it| it.contains("`role`")),
        "{import:#?}"
    );
    // It is tested for, so ToolHive denies nothing for want of it.
    assert!(import.carried[4].notes.is_empty(), "{import:#?}");
    fs::write(dir.path().join("imported.cedar"), &import.policies).expect("a file");

    let mut questions = Vec::new();
    for user in ["kim", "mallory"] {
        for role in [None, Some("admin"), Some("guest"), Some("dev")] {
            for groups in [json!(["eng"]), json!([])] {
                for roles in [None, Some(json!(["auditor", "x"])), Some(json!(["x"]))] {
                    for (tool, env) in [
                        ("weather", ""),
                        ("deploy", "staging"),
                        ("deploy", "live"),
                        ("report", ""),
                    ] {
                        let mut claims = json!({"sub": user, "groups": groups});
                        if let Some(role) = role {
                            claims["role"] = json!(role);
                        }
                        if let Some(roles) = &roles {
                            claims["roles"] = roles.clone();
                        }
                        let arguments = match tool {
                            "deploy" => json!({"env": env}),
                            _ => json!({}),
                        };
                        questions.push(Question {
                            user,
                            claims,
                            tool,
                            arguments,
                        });
                    }
                }
            }
        }
    }
    let text: String = written.join("\n");
    let policies = api::PolicySet::from_str(&text).expect("policies");
    let before: Vec<bool> = questions
        .iter()
        .map(|it| by_toolhive(&policies, it))
        .collect();
    compare(&questions, &before, &decided(&dir, "ops", &questions), 0);
}

/// As ToolHive asks Cedar: claims and arguments in the context and on the entities, and any error denies.
fn by_toolhive(policies: &api::PolicySet, question: &Question) -> bool {
    let prefixed = |prefix: &str, of: &Json| -> serde_json::Map<String, Json> {
        let members = of.as_object().expect("an object").iter();
        members
            .map(|(name, value)| (format!("{prefix}{name}"), value.clone()))
            .collect()
    };
    let claims = prefixed("claim_", &question.claims);
    let arguments = prefixed("arg_", &question.arguments);
    let mut context = claims.clone();
    context.extend(arguments.clone());
    let mut resource = arguments;
    resource.insert("name".to_owned(), json!(question.tool));
    let groups = question.claims["groups"].as_array().expect("groups").iter();
    let groups: Vec<Json> = groups
        .map(|it| json!({"type": "THVGroup", "id": it}))
        .collect();
    let entities = json!([
        {"uid": {"type": "Client", "id": question.user}, "attrs": claims, "parents": groups},
        {"uid": {"type": "Tool", "id": question.tool}, "attrs": resource, "parents": []},
    ]);
    let principal = format!("Client::\"{}\"", question.user);
    let tool = format!("Tool::\"{}\"", question.tool);
    let scope = (principal.as_str(), "Action::\"call_tool\"", tool.as_str());
    original(policies, scope, Json::Object(context), entities).unwrap_or(false)
}

#[test]
fn a_forbid_that_cannot_be_carried_over_is_a_fault_at_its_place() {
    let faults = |options: &ImportOptions, text: &str| {
        let dir = refunds();
        let fault = imported(&dir, text, options).expect_err(text);
        assert!(!dir.path().join("imported.cedar").exists());
        fault.to_string()
    };
    let core = options(Dialect::Agentcore, &[]);
    let said = faults(
        &core,
        "permit (principal, action, resource);\n\nforbid (principal, action, resource) when { principal.hasTag(\"role\") && principal.getTag(\"role\") like \"*guest*\" };",
    );
    assert!(said.contains("foreign.txt:3"), "{said}");
    assert!(
        said.contains("the claim `role` is held against a pattern"),
        "{said}"
    );
    // Nobody would have the tag, and the forbid would never apply.
    let unmapped = r#"forbid (principal, action, resource) when { principal.hasTag("team") && principal.getTag("team") == "x" };"#;
    assert!(faults(&core, unmapped).contains("nobody has the tag `team`"));
    let iam = r#"forbid (principal is AgentCore::IamEntity, action, resource);"#;
    assert!(faults(&core, iam).contains("nobody like `AgentCore::IamEntity`"));
    let template = "forbid (principal == ?principal, action, resource);";
    assert!(faults(&core, template).contains("it is a template"));
    let arguments = r#"forbid (principal, action, resource) when { context.input.amount > 5 };"#;
    assert!(faults(&core, arguments).contains("names no single tool"));
    let arguments_of = |tool: &str| {
        format!(
            r#"forbid (principal, action == AgentCore::Action::"{tool}", resource) when {{ context.input.amount > 5 }};"#
        )
    };
    let said = faults(&core, &arguments_of("a___b"));
    assert!(
        said.contains("the tool `a/b` is not registered: there is no server `a`; register it"),
        "{said}"
    );

    let hive = options(Dialect::Toolhive, &[("", "refunds")]);
    let group = r#"forbid (principal in THVGroup::"eng", action, resource);"#;
    let mut elsewhere = hive.clone();
    elsewhere.group_prefix = "role:".to_owned();
    assert!(faults(&elsewhere, group).contains("nobody is in `Mcp::Group::\"role:eng\"`"));
    let resource =
        r#"forbid (principal, action == Action::"read_resource", resource == Resource::"a_b");"#;
    assert!(faults(&hive, resource).contains("replaces characters"));
    let hint = r#"forbid (principal, action, resource) when { resource.destructiveHint };"#;
    assert!(faults(&hive, hint).contains("`resource.destructiveHint`"));
    let nested = r#"forbid (principal, action, resource) when { resource has arg_list_present };"#;
    assert!(faults(&hive, nested).contains("tells lists and objects"));
}

#[test]
fn what_is_no_import_says_so() {
    let dir = refunds();
    let core = options(Dialect::Agentcore, &[]);
    let fails = |text: &str, options: &ImportOptions| {
        let fault = imported(&dir, text, options).expect_err(text);
        fault.to_string()
    };
    assert!(fails("permit (", &core).contains("foreign.txt:1"));
    assert!(fails("// nothing\n", &core).contains("there are no policies here"));
    let two = r#"
        permit (principal, action, resource == AgentCore::Gateway::"a");
        permit (principal, action, resource == AgentCore::Gateway::"b");
    "#;
    assert!(fails(two, &core).contains("several gateways"));
    let mut chosen = options(Dialect::Agentcore, &[("RefundTool", "refunds")]);
    chosen.gateway = Some("b".to_owned());
    let import = imported(&dir, two, &chosen).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(import.left_out[0].why, "it is about the gateway `a`");
    assert_eq!(import.carried.len(), 1);
    let hive = options(Dialect::Toolhive, &[("", "refunds")]);
    let said = fails("{\"cedar\": {\"policies\": [\"permit (\"]}}", &hive);
    assert!(said.contains("policy 1:"), "{said}");
    let spaces = r#"
        permit (principal, action == A::Action::"x", resource);
        permit (principal, action == B::Action::"x", resource);
    "#;
    let agents = options(Dialect::CedarForAgents, &[("", "refunds")]);
    assert!(fails(spaces, &agents).contains("several namespaces"));
    assert!(fails(spaces, &options(Dialect::CedarForAgents, &[])).contains("`--server`"));
}

#[test]
fn a_permit_is_for_people_and_a_forbid_for_all() {
    let dir = refunds();
    let core = options(Dialect::Agentcore, &[("RefundTool", "refunds")]);
    let text = r#"
        permit (principal, action == AgentCore::Action::"RefundTool___list", resource);
        forbid (principal is AgentCore::OAuthUser, action == AgentCore::Action::"RefundTool___process", resource);
        permit (principal, action, resource);
    "#;
    let import = imported(&dir, text, &core).unwrap_or_else(|faults| panic!("{faults}"));
    let set = api::PolicySet::from_str(&import.policies).expect("policies");
    let scopes: HashSet<String> = set
        .policies()
        .map(|it| format!("{:?} {:?}", it.effect(), it.principal_constraint()))
        .collect();
    assert_eq!(scopes.len(), 2, "{scopes:?}");
    assert!(scopes.contains("Forbid Any"), "{scopes:?}");
    assert!(
        import.carried[2]
            .notes
            .iter()
            .any(|it| it.contains("every tool of the servers that `--server` names"))
    );
    let notes = |of: usize| import.carried[of].notes.iter();
    assert!(notes(1).next().is_none(), "{import:#?}");
    let everything = "forbid (principal, action, resource == AgentCore::Gateway::\"g\");";
    let import = imported(&dir, everything, &options(Dialect::Agentcore, &[]));
    let import = import.unwrap_or_else(|faults| panic!("{faults}"));
    let mut notes = import.carried[0].notes.iter();
    assert!(notes.any(|it| it.contains("everything here")));
}

#[test]
fn a_name_that_nothing_here_has_is_no_silence() {
    let dir = refunds();
    let import = |text: &str, options: &ImportOptions| imported(&dir, text, options);
    let fails =
        |text: &str, options: &ImportOptions| import(text, options).expect_err(text).to_string();
    let forbid =
        r#"forbid (principal, action == AgentCore::Action::"RefundTool___list", resource);"#;
    let permit = forbid.replacen("forbid", "permit", 1);
    let named = |target: &str, name: &str| options(Dialect::Agentcore, &[(target, name)]);
    import(forbid, &named("RefundTool", "refunds")).unwrap_or_else(|it| panic!("{it}"));
    // The forbid would be about a tool that nobody can call.
    let unnamed = options(Dialect::Agentcore, &[]);
    let lacking = "the tool `RefundTool/list` is not registered";
    assert!(fails(forbid, &unnamed).contains(lacking));
    let needs = import(&permit, &unnamed)
        .unwrap_or_else(|it| panic!("{it}"))
        .needs;
    assert!(needs.iter().any(|it| it.contains(lacking)), "{needs:?}");
    let slip = fails(&permit, &named("RefundTol", "refunds"));
    assert!(
        slip.contains("no policy is about the target `RefundTol`"),
        "{slip}"
    );
    let slip = fails(forbid, &named("RefundTool", "refnds"));
    assert!(
        slip.contains("the tool `refnds/list` is not registered"),
        "{slip}"
    );

    let hive = |server: &str| options(Dialect::Toolhive, &[("", server)]);
    let of = |tool: &str| {
        format!(r#"forbid (principal, action == Action::"call_tool", resource == Tool::"{tool}");"#)
    };
    import(&of("list"), &hive("refunds")).unwrap_or_else(|it| panic!("{it}"));
    assert!(fails(&of("lsit"), &hive("refunds")).contains("`refunds/lsit` is not registered"));
    assert!(fails(&of("list"), &hive("refnds")).contains("`refnds/list` is not registered"));
    let all = r#"forbid (principal, action == Action::"call_tool", resource);"#;
    assert!(fails(all, &hive("refnds")).contains("the server `refnds` is not registered"));

    let mut of_gateway = unnamed;
    of_gateway.gateway = Some("b".to_owned());
    let about = r#"forbid (principal, action, resource == AgentCore::Gateway::"a");"#;
    let said = fails(about, &of_gateway);
    assert!(
        said.contains("no policy is about the gateway `b`"),
        "{said}"
    );
    assert!(said.contains("they are about a"), "{said}");
}

#[test]
fn a_missing_claim_leaves_a_forbid_in_force_and_the_report_says_nothing_else() {
    let dir = refunds();
    let hive = options(Dialect::Toolhive, &[("", "refunds")]);
    let import = |effect: &str, operator: &str| {
        let text = format!(
            r#"{effect} (principal, action == Action::"call_tool", resource == Tool::"list") when {{ principal.claim_role {operator} "dev" }};"#
        );
        imported(&dir, &text, &hive).unwrap_or_else(|it| panic!("{it}"))
    };
    for operator in ["==", "!="] {
        assert!(import("forbid", operator).carried[0].notes.is_empty());
        let notes = import("permit", operator).carried[0].notes.clone();
        assert!(
            notes.iter().any(|it| it.contains("does not apply")),
            "{notes:?}"
        );
    }
    // A call without the claim is denied, as ToolHive denies it.
    let permit = "permit (principal, action, resource);\n";
    let forbid = import("forbid", "!=").policies;
    fs::write(dir.path().join("all.cedar"), format!("{permit}{forbid}")).expect("written");
    let ask = |claims: Json| Question {
        user: "ana",
        claims,
        tool: "list",
        arguments: json!({}),
    };
    let asked = [
        ask(json!({})),
        ask(json!({"role": "dev"})),
        ask(json!({"role": "x"})),
    ];
    assert_eq!(decided(&dir, "refunds", &asked), [false, true, false]);
    // So it is wherever the claim is read, whatever else is asked.
    let conditions = [
        r#"when { context.claim_role == "x" && resource.name == "else" }"#,
        r#"when { if context.claim_role == "x" then true else false }"#,
        r#"unless { context.claim_role != "x" || resource.name == "list" }"#,
    ];
    for conditions in conditions {
        let text = format!(
            r#"forbid (principal, action == Action::"call_tool", resource == Tool::"list") {conditions};"#
        );
        fs::remove_file(dir.path().join("all.cedar")).expect("removed");
        let forbid = imported(&dir, &text, &hive).unwrap_or_else(|it| panic!("{it}"));
        let both = format!("{permit}{}", forbid.policies);
        fs::write(dir.path().join("all.cedar"), both).expect("written");
        let decided = decided(&dir, "refunds", &asked[..2]);
        assert_eq!(decided, [false, true], "{conditions}: {}", forbid.policies);
    }
}

#[test]
fn arguments_are_read_of_registered_tools_that_are_typed() {
    let dir = refunds();
    let reads = |effect: &str, tool: &str| {
        format!(
            r#"{effect} (principal, action == Action::"call_tool", resource == Tool::"{tool}") when {{ context.arg_amount > 5 }};"#
        )
    };
    let hive = |server: &str| options(Dialect::Toolhive, &[("", server)]);
    let fails = |tool: &str, server: &str| {
        let said = imported(&dir, &reads("forbid", tool), &hive(server));
        said.expect_err(tool).to_string()
    };
    let said = fails("list", "fils");
    assert!(said.contains("there is no server `fils`"), "{said}");
    let said = fails("lsit", "refunds");
    assert!(
        said.contains("the tool `refunds/lsit` is not registered: register it"),
        "{said}"
    );
    let import = imported(&dir, &reads("permit", "list"), &hive("fils"));
    let left = import.unwrap_or_else(|it| panic!("{it}")).left_out;
    assert!(
        left[0].why.contains("there is no server `fils`"),
        "{left:?}"
    );
    // Registered, and not typed.
    let file = dir.path().join("tools/refunds.json");
    let text = fs::read_to_string(&file).expect("a registration");
    fs::write(&file, text.replace("\"typed\":true", "\"typed\":false")).expect("written");
    let said = fails("list", "refunds");
    assert!(said.contains("has to be registered as `typed`"), "{said}");
}

#[test]
fn a_list_of_another_resource_is_not_a_list_of_the_server() {
    let dir = refunds();
    let hive = options(Dialect::Toolhive, &[("", "refunds")]);
    let import = |effect: &str, scope: &str| {
        let text = format!("{effect} (principal, {scope});");
        imported(&dir, &text, &hive)
    };
    for (action, feature) in [
        ("list_tools", "tool"),
        ("list_prompts", "prompt"),
        ("list_resources", "resource"),
    ] {
        let action = format!("action == Action::\"{action}\"");
        for resource in [
            "resource".to_owned(),
            format!("resource == FeatureType::\"{feature}\""),
        ] {
            let done = import("permit", &format!("{action}, {resource}"));
            let done = done.unwrap_or_else(|it| panic!("{it}"));
            assert_eq!(done.carried.len(), 1, "{action} {resource}");
        }
        for resource in ["MCP::\"other\"", "Tool::\"list\"", "FeatureType::\"thing\""] {
            let scope = format!("{action}, resource == {resource}");
            let done = import("permit", &scope).unwrap_or_else(|it| panic!("{it}"));
            assert!(
                done.left_out[0].why.contains("has no counterpart"),
                "{scope}"
            );
            assert!(import("forbid", &scope).is_err(), "{scope}");
        }
    }
}
