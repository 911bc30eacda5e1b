//! Random policies and calls: what Cedar denies with the policies as they were written, Callgate denies with the imported ones.

use std::fs;
use std::str::FromStr;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::tests::{Question, decided, directory, imported, options};
use super::*;

/// A claim of which no kind is said, beside those of the directory.
const LEVEL: &str = "\n[[claims.attributes]]\nclaim = \"level\"\ntag = \"level\"\n";

/// The server, with a tool that has arguments of all kinds, none of them required, and one that has none.
fn world() -> tempfile::TempDir {
    let pay = json!({"env": {"type": "string"}, "n": {"type": "integer"}, "flag": {"type": "boolean"},
        "list": {"type": "array", "items": {"type": "string"}}, "any": {}});
    let dir = directory("ops", &[("pay", pay), ("look", json!({}))]);
    let edit = |path: &str, edit: &dyn Fn(String) -> String| {
        let path = dir.path().join(path);
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, edit(text)).expect("written");
    };
    edit("callgate.toml", &|text| text + LEVEL);
    edit("tools/ops.json", &|text| {
        let mut json: Json = serde_json::from_str(&text).expect("json");
        json["tools"]["pay"]["input_schema"]["required"] = json!([]);
        json.to_string()
    });
    dir
}

/// Values of a claim, of whatever kind.
fn claim() -> impl Strategy<Value = Option<Json>> {
    prop_oneof![
        3 => Just(None),
        4 => Just(Some(json!("a"))),
        2 => Just(Some(json!("b"))),
        1 => Just(Some(json!(""))),
        1 => Just(Some(json!("a b"))),
        1 => Just(Some(json!("a a"))),
        2 => Just(Some(json!(["a"]))),
        1 => Just(Some(json!(["b", "a"]))),
        1 => Just(Some(json!([]))),
        1 => Just(Some(json!(5))),
        1 => Just(Some(json!(true))),
        1 => Just(Some(json!([5, "a"]))),
    ]
}

fn list() -> impl Strategy<Value = Option<Json>> {
    prop_oneof![
        2 => Just(None),
        3 => Just(Some(json!(["a"]))),
        2 => Just(Some(json!(["b", "a"]))),
        1 => Just(Some(json!(["b"]))),
        1 => Just(Some(json!([]))),
    ]
}

fn mostly(
    usual: impl Strategy<Value = Option<Json>> + 'static,
) -> impl Strategy<Value = Option<Json>> {
    prop_oneof![3 => usual, 1 => claim()]
}

fn text() -> impl Strategy<Value = Option<Json>> {
    let some = |it: &'static str| Just(Some(json!(it)));
    prop_oneof![Just(None), some("a"), some("b"), some("x:a")]
}

fn members(of: &[(&str, Option<Json>)]) -> Json {
    let there = of.iter().filter_map(|(name, value)| {
        let value = value.clone()?;
        Some(((*name).to_owned(), value))
    });
    Json::Object(there.collect())
}

fn question() -> impl Strategy<Value = Question> {
    let claims = (
        mostly(text()),
        mostly(list()),
        mostly(text()),
        mostly(list()),
        mostly(text()),
        mostly(text()),
    );
    let arguments = (
        text(),
        proptest::option::of(0_i64..9),
        proptest::option::of(any::<bool>()),
        list(),
    );
    let users = prop_oneof![Just("ana"), Just("bob")];
    let tools = prop_oneof![3 => Just("look"), 2 => Just("pay")];
    (users, tools, claims, arguments).prop_map(|(user, tool, claims, arguments)| {
        let (role, roles, scope, groups, level, team) = claims;
        let claims = members(&[
            ("sub", Some(json!(user))),
            ("role", role),
            ("roles", roles),
            ("scope", scope),
            ("groups", groups),
            ("level", level),
            ("team", team),
        ]);
        let (env, n, flag, list) = arguments;
        let arguments = match tool {
            "pay" => members(&[
                ("env", env),
                ("n", n.map(|it| json!(it))),
                ("flag", flag.map(|it| json!(it))),
                ("list", list),
                ("any", Some(json!({"a": 1}))),
            ]),
            _ => json!({}),
        };
        Question {
            user,
            claims,
            tool,
            arguments,
        }
    })
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    proptest::sample::select(texts).prop_map(str::to_owned)
}

fn expression(atoms: &'static [&'static str]) -> impl Strategy<Value = String> {
    one_of(atoms).prop_recursive(3, 12, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone().prop_map(|(a, b)| format!("({a} && {b})")),
            two.prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}

/// What policies of a dialect are made of.
struct Words {
    scopes: [&'static [&'static str]; 3],
    atoms: &'static [&'static str],
}

fn policies(words: &Words) -> impl Strategy<Value = Vec<String>> + use<> {
    let [principals, actions, resources] = words.scopes;
    let clause = (
        prop_oneof![3 => Just("when"), 2 => Just("unless")],
        expression(words.atoms),
    );
    let clause = clause.prop_map(|(kind, body)| format!("{kind} {{ {body} }}"));
    let annotations = one_of(&[
        "",
        "",
        "",
        "@mode(\"shadow\") ",
        "@id(\"x\") ",
        "@reason(\"\") ",
    ]);
    let effect = prop_oneof![2 => Just("permit"), 1 => Just("forbid")];
    let scope = (one_of(principals), one_of(actions), one_of(resources));
    let policy = (annotations, effect, scope, vec(clause, 0..3)).prop_map(
        |(annotations, effect, (principal, action, resource), clauses)| {
            let clauses = clauses.join(" ");
            format!("{annotations}{effect} ({principal}, {action}, {resource}) {clauses};")
        },
    );
    vec(policy, 1..7)
}

/// Imports what can be: forbids that cannot be carried over are taken out, as the fault says.
fn import_rest(
    dir: &tempfile::TempDir,
    mut texts: Vec<String>,
    options: &ImportOptions,
) -> Option<(Vec<String>, PolicyImport)> {
    loop {
        let faults = match imported(dir, &texts.join("\n"), options) {
            Ok(import) => return Some((texts, import)),
            Err(faults) => faults,
        };
        let lines: BTreeSet<usize> = faults
            .iter()
            .filter(|it| it.message.contains("cannot be carried over"))
            .filter_map(|it| it.line.map(|line| line as usize))
            .collect();
        let before = texts.len();
        let mut line = 0;
        texts.retain(|_| {
            line += 1;
            !lines.contains(&line)
        });
        if texts.is_empty() || texts.len() == before {
            return None;
        }
    }
}

/// The policies whose errors deny there and the report says that they do not here.
fn remarked(import: &PolicyImport) -> BTreeSet<usize> {
    let line = |source: &str| -> usize {
        let (_, line) = source.rsplit_once(':').expect("a place");
        line.parse().expect("a line")
    };
    let missing = |it: &&CarriedPolicy| it.notes.iter().any(|it| it.contains("without the claim"));
    let carried = import.carried.iter().filter(missing);
    let lost = |it: &&LeftOutPolicy| it.why.contains("which is lost");
    let left_out = import.left_out.iter().filter(lost);
    carried
        .map(|it| line(&it.source))
        .chain(left_out.map(|it| line(&it.source)))
        .collect()
}

/// What Cedar decides with the policies of these lines, and which lines failed.
fn by_cedar(
    texts: &[String],
    (principal, action, resource): (&str, &str, &str),
    context: Json,
    entities: Json,
) -> (bool, BTreeSet<usize>) {
    let mut set = api::PolicySet::new();
    for (index, text) in texts.iter().enumerate() {
        let id = api::PolicyId::new((index + 1).to_string());
        let policy = api::Policy::parse(Some(id), text).expect(text);
        set.add(policy).expect("one");
    }
    let uid = |text: &str| api::EntityUid::from_str(text).expect("a uid");
    let context = api::Context::from_json_value(context, None).expect("a context");
    let entities = api::Entities::from_json_value(entities, None).expect("entities");
    let request = api::Request::new(uid(principal), uid(action), uid(resource), context, None);
    let answer = api::Authorizer::new().is_authorized(&request.expect("valid"), &set, &entities);
    let failed = answer.diagnostics().errors().map(|error| {
        let api::AuthorizationError::PolicyEvaluationError(error) = error;
        error.policy_id().to_string().parse().expect("a line")
    });
    let failed = failed.collect();
    (answer.decision() == api::Decision::Allow, failed)
}

/// Numbers are decimals in ToolHive.
fn in_toolhive(value: &Json) -> Json {
    match value {
        Json::Number(number) => json!({"__extn": {"fn": "decimal", "arg": format!("{number}.0")}}),
        Json::Array(items) => items.iter().map(in_toolhive).collect(),
        other => other.clone(),
    }
}

/// As ToolHive asks: any error denies, unless the report says that this is lost.
fn by_toolhive(texts: &[String], known: &BTreeSet<usize>, question: &Question) -> bool {
    let named = |prefix: &str, of: &Json| -> serde_json::Map<String, Json> {
        let members = of.as_object().expect("an object").iter();
        let named = members.map(|(name, value)| match value.is_object() {
            true => (format!("{prefix}{name}_present"), json!(true)),
            false => (format!("{prefix}{name}"), in_toolhive(value)),
        });
        named.collect()
    };
    let claims = named("claim_", &question.claims);
    let mut arguments = named("arg_", &question.arguments);
    if arguments.remove("arg_list").is_some() {
        arguments.insert("arg_list_present".to_owned(), json!(true));
    }
    let mut context = claims.clone();
    context.extend(arguments.clone());
    arguments.insert("name".to_owned(), json!(question.tool));
    let groups = question.claims["groups"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let groups = groups.iter().filter(|it| it.is_string());
    let groups: Vec<Json> = groups
        .map(|it| json!({"type": "THVGroup", "id": it}))
        .collect();
    let server = json!([{"type": "MCP", "id": "ops"}]);
    let entities = json!([
        {"uid": {"type": "Client", "id": question.user}, "attrs": claims, "parents": groups},
        {"uid": {"type": "Tool", "id": question.tool}, "attrs": arguments, "parents": server},
    ]);
    let principal = format!("Client::\"{}\"", question.user);
    let tool = format!("Tool::\"{}\"", question.tool);
    let scope = (principal.as_str(), "Action::\"call_tool\"", tool.as_str());
    let (is_allowed, failed) = by_cedar(texts, scope, Json::Object(context), entities);
    is_allowed && failed.is_subset(known)
}

/// As AgentCore asks: claims are tags, calls are in `CallTool`, and that is in `Mcp`.
fn by_agentcore(texts: &[String], question: &Question) -> bool {
    let user = format!("AgentCore::OAuthUser::\"{}\"", question.user);
    let id = format!("R___{}", question.tool);
    let action = format!("AgentCore::Action::\"{id}\"");
    let of = |id: &str| json!({"type": "AgentCore::Action", "id": id});
    let mut tags = question.claims.clone();
    tags.as_object_mut().expect("an object").remove("sub");
    let entities = json!([
        {"uid": {"type": "AgentCore::OAuthUser", "id": question.user},
            "attrs": {"id": question.user}, "tags": tags, "parents": []},
        {"uid": of(&id), "attrs": {}, "parents": [of("CallTool")]},
        {"uid": of("CallTool"), "attrs": {}, "parents": [of("Mcp")]},
    ]);
    let gateway = "AgentCore::Gateway::\"g1\"";
    let context = json!({"input": question.arguments});
    by_cedar(texts, (&user, &action, gateway), context, entities).0
}

/// As a host of cedar-for-agents asks: roles of the user are the groups of the token.
fn by_agents(texts: &[String], question: &Question) -> bool {
    let user = format!("NS::User::\"{}\"", question.user);
    let action = format!("NS::Action::\"{}\"", question.tool);
    let groups = question.claims["groups"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let roles: Vec<Json> = groups
        .iter()
        .map(|it| json!({"type": "NS::Role", "id": it}))
        .collect();
    let of = |id: &str| json!({"type": "NS::Action", "id": id});
    let entities = json!([
        {"uid": {"type": "NS::User", "id": question.user}, "attrs": {}, "parents": roles},
        {"uid": of(question.tool), "attrs": {}, "parents": [of("call_tool")]},
    ]);
    let context = json!({"input": question.arguments});
    let scope = (user.as_str(), action.as_str(), "NS::McpServer::\"ops\"");
    by_cedar(texts, scope, context, entities).0
}

/// Nothing is allowed that was denied.
fn hold(
    texts: Vec<String>,
    questions: &[Question],
    options: &ImportOptions,
    original: impl Fn(&[String], &PolicyImport, &Question) -> bool,
) -> Result<(), TestCaseError> {
    let dir = world();
    let Some((texts, import)) = import_rest(&dir, texts, options) else {
        return Ok(());
    };
    fs::write(dir.path().join("imported.cedar"), &import.policies).expect("written");
    let after = decided(&dir, "ops", questions);
    for (question, after) in questions.iter().zip(after) {
        prop_assert!(
            !after || original(&texts, &import, question),
            "more is allowed: {question:?}\n{}\nbecame\n{}\n{import:#?}",
            texts.join("\n"),
            import.policies
        );
    }
    Ok(())
}

const TOOLHIVE: Words = Words {
    scopes: [
        &[
            "principal",
            "principal",
            "principal is Client",
            "principal in THVGroup::\"a\"",
            "principal is Client in THVGroup::\"a\"",
            "principal == Client::\"ana\"",
        ],
        &[
            "action == Action::\"call_tool\"",
            "action == Action::\"call_tool\"",
            "action in [Action::\"call_tool\", Action::\"list_prompts\"]",
            "action",
        ],
        &[
            "resource",
            "resource == Tool::\"look\"",
            "resource == Tool::\"pay\"",
            "resource is Tool",
            "resource in MCP::\"ops\"",
        ],
    ],
    atoms: &[
        "true",
        "context.claim_role == \"a\"",
        "principal.claim_role != \"a\"",
        "(context has claim_role && context.claim_role == \"a\")",
        "(principal has claim_role && \"b\" != principal.claim_role)",
        "context has claim_role",
        "context has claim_roles",
        "context.claim_roles.contains(\"a\")",
        "(context has claim_roles && context.claim_roles.contains(\"b\"))",
        "context.claim_role.contains(\"a\")",
        "context.claim_roles == \"a\"",
        "context.claim_scope like \"*a*\"",
        "context.claim_scope == \"a\"",
        "context.claim_level == \"5\"",
        "context has claim_team",
        "context.claim_team == \"a\"",
        "context.claim_sub == \"ana\"",
        "principal in THVGroup::\"a\"",
        "principal in [THVGroup::\"a\", THVGroup::\"b\"]",
        "principal is Client in THVGroup::\"b\"",
        "principal == Client::\"ana\"",
        "principal is Client",
        "context has arg_env",
        "(context has arg_env && context.arg_env == \"a\")",
        "(resource has arg_flag && resource.arg_flag)",
        "(context has arg_n && context.arg_n <= 5)",
        "context has arg_n",
        "context has arg_list",
        "context has arg_list_present",
        "context has arg_any",
        "(context has arg_list && context.arg_list.contains(\"a\"))",
        "resource.name == \"look\"",
        "resource.name != \"look\"",
    ],
};

const AGENTCORE: Words = Words {
    scopes: [
        &[
            "principal",
            "principal is AgentCore::OAuthUser",
            "principal is AgentCore::OAuthUser",
            "principal is AgentCore::IamEntity",
            "principal == AgentCore::OAuthUser::\"ana\"",
        ],
        &[
            "action == AgentCore::Action::\"R___look\"",
            "action == AgentCore::Action::\"R___pay\"",
            "action in [AgentCore::Action::\"R___look\", AgentCore::Action::\"R___pay\"]",
            "action in AgentCore::Action::\"CallTool\"",
            "action == AgentCore::Action::\"CallTool\"",
            "action in AgentCore::Action::\"Mcp\"",
            "action",
        ],
        &[
            "resource",
            "resource == AgentCore::Gateway::\"g1\"",
            "resource is AgentCore::Gateway",
            "resource is AgentCore::Gateway in AgentCore::Gateway::\"g1\"",
            "resource is AgentCore::Gateway in AgentCore::Gateway::\"g2\"",
            "resource == AgentCore::Gateway::\"g2\"",
        ],
    ],
    atoms: &[
        "true",
        "principal.hasTag(\"role\")",
        "principal.hasTag(\"team\")",
        "principal.hasTag(\"level\")",
        "principal.getTag(\"role\") == \"a\"",
        "(principal.hasTag(\"role\") && principal.getTag(\"role\") == \"a\")",
        "(principal.hasTag(\"role\") && principal.getTag(\"role\") != \"a\")",
        "(principal.hasTag(\"roles\") && principal.getTag(\"roles\") == \"a\")",
        "(principal.hasTag(\"level\") && principal.getTag(\"level\") == \"5\")",
        "(principal.hasTag(\"scope\") && principal.getTag(\"scope\") == \"a\")",
        "(principal.hasTag(\"scope\") && principal.getTag(\"scope\") like \"*a*\")",
        "principal.id == \"ana\"",
        "principal.id != \"ana\"",
        "principal == AgentCore::OAuthUser::\"ana\"",
        "principal is AgentCore::OAuthUser",
        "context.input has env",
        "(context.input has env && context.input.env == \"a\")",
        "(context.input has n && context.input.n <= 5)",
        "(context.input has list && context.input.list.contains(\"a\"))",
        "context.input has any",
    ],
};

const AGENTS: Words = Words {
    scopes: [
        &[
            "principal",
            "principal is NS::User",
            "principal is NS::Agent",
            "principal is NS::Service",
            "principal in NS::Role::\"a\"",
            "principal is NS::User in NS::Role::\"a\"",
            "principal == NS::User::\"ana\"",
        ],
        &[
            "action == NS::Action::\"look\"",
            "action == NS::Action::\"pay\"",
            "action in [NS::Action::\"look\", NS::Action::\"pay\"]",
            "action in NS::Action::\"call_tool\"",
            "action == NS::Action::\"call_tool\"",
            "action",
        ],
        &[
            "resource",
            "resource is NS::McpServer",
            "resource == NS::McpServer::\"ops\"",
        ],
    ],
    atoms: &[
        "true",
        "principal in NS::Role::\"a\"",
        "principal in [NS::Role::\"a\", NS::Role::\"b\"]",
        "principal is NS::User in NS::Role::\"b\"",
        "principal is NS::Agent",
        "principal is NS::Service",
        "principal is NS::User",
        "principal == NS::User::\"ana\"",
        "principal != NS::User::\"ana\"",
        "NS::Role::\"a\" == NS::Role::\"b\"",
        "context.input has env",
        "(context.input has env && context.input.env like \"*a\")",
        "(context.input has n && context.input.n * 2 > 7)",
        "(context.input has list && context.input.list.isEmpty())",
        "(context.input has flag && context.input.flag)",
        "context.input has any",
    ],
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn toolhive_policies_allow_nothing_that_was_denied(
        texts in policies(&TOOLHIVE), questions in vec(question(), 24)
    ) {
        let options = options(Dialect::Toolhive, &[("", "ops")]);
        hold(texts, &questions, &options, |texts, import, question| {
            by_toolhive(texts, &remarked(import), question)
        })?;
    }

    #[test]
    fn agentcore_policies_allow_nothing_that_was_denied(
        texts in policies(&AGENTCORE), questions in vec(question(), 24)
    ) {
        let mut options = options(Dialect::Agentcore, &[("R", "ops")]);
        // A policy names both, so that they can be chosen from.
        let named = |gateway: &str, tool: &str| {
            let action = format!("action == AgentCore::Action::\"R___{tool}\"");
            format!("forbid (principal == AgentCore::OAuthUser::\"zed\", {action}, resource == AgentCore::Gateway::\"{gateway}\");")
        };
        let mut texts = texts;
        texts.push(named("g1", "look"));
        options.gateway = Some("g1".to_owned());
        hold(texts, &questions, &options, |texts, _, question| by_agentcore(texts, question))?;
    }

    #[test]
    fn cedar_for_agents_policies_allow_nothing_that_was_denied(
        texts in policies(&AGENTS), questions in vec(question(), 24)
    ) {
        let options = options(Dialect::CedarForAgents, &[("", "ops")]);
        hold(texts, &questions, &options, |texts, _, question| by_agents(texts, question))?;
    }
}
