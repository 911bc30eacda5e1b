use serde_json::json;

use super::*;

fn parse(request: Json) -> Result<ToolhiveQuery, FieldError> {
    parse_for(request, None, true)
}

fn parse_for(
    request: Json,
    agent: Option<&str>,
    takes_claims: bool,
) -> Result<ToolhiveQuery, FieldError> {
    let ty = EntityType::from_normalized_str("Mcp::User").expect("a type");
    let request = request.as_object().expect("an object");
    let rules = CallRules {
        subject_type: Some(&ty),
        agent,
        takes_claims,
        requires_arguments: true,
    };
    call(request, rules, &Limits::default(), &TraceContext::default())
}

fn asked(operation: &str, resource: &str, mcp: Json) -> Json {
    json!({
        "principal": {"sub": "ana", "groups": ["a"]},
        "operation": operation,
        "resource": resource,
        "context": {"mcp": mcp},
    })
}

#[test]
fn every_operation_becomes_its_call() {
    for (operation, resource, method, server) in [
        ("mcp:tool:call", "mrn:mcp:git:tool:log", "tools/call", "git"),
        ("mcp:tool:list", "mrn:mcp:git:tool:", "tools/list", "git"),
        (
            "mcp:prompt:get",
            "mrn:mcp:git:prompt:p:q",
            "prompts/get",
            "git",
        ),
        (
            "mcp:prompt:list",
            "mrn:mcp:git:prompt:",
            "prompts/list",
            "git",
        ),
        (
            "mcp:resource:read",
            "mrn:mcp:git:resource:file:///a",
            "resources/read",
            "git",
        ),
        (
            "mcp:resource:list",
            "mrn:mcp:git:resource:",
            "resources/list",
            "git",
        ),
    ] {
        let call = match parse(asked(operation, resource, json!({}))) {
            Ok(ToolhiveQuery::Call(call)) if operation != "mcp:tool:call" => call,
            // Without arguments it may be an entry of a list.
            Ok(ToolhiveQuery::NamedAlone(call)) if operation == "mcp:tool:call" => call,
            other => panic!("{operation}: {other:?}"),
        };
        assert_eq!(call.operation.kind.method(), method);
        assert_eq!(call.operation.server, server);
        assert_eq!(call.subject.entity.to_string(), "Mcp::User::\"ana\"");
        assert_eq!(call.subject.claims["groups"], json!(["a"]));
    }
}

/// ToolHive sends no `args` for empty ones, and none at all with `include_args` off.
#[test]
fn arguments_that_are_absent_are_told_only_if_the_configuration_says_so() {
    let asked = |operation: &str, resource: &str, mcp: Json, requires_arguments| {
        let ty = EntityType::from_normalized_str("Mcp::User").expect("a type");
        let request = asked(operation, resource, mcp);
        let rules = CallRules {
            subject_type: Some(&ty),
            agent: None,
            takes_claims: false,
            requires_arguments,
        };
        let (limits, trace) = (Limits::default(), TraceContext::default());
        match call(
            request.as_object().expect("an object"),
            rules,
            &limits,
            &trace,
        ) {
            Ok(ToolhiveQuery::Call(call) | ToolhiveQuery::NamedAlone(call)) => {
                call.operation.told == Told::All
            }
            other => panic!("{other:?}"),
        }
    };
    for (operation, resource) in [
        ("mcp:tool:call", "mrn:mcp:git:tool:log"),
        ("mcp:prompt:get", "mrn:mcp:git:prompt:log"),
    ] {
        assert!(!asked(operation, resource, json!({}), true));
        assert!(asked(operation, resource, json!({}), false));
        assert!(asked(operation, resource, json!({"args": {}}), true));
    }
}

#[test]
fn arguments_and_names_arrive_whole() {
    let mcp = json!({
        "feature": "tool", "operation": "call", "resource_id": "a:b", "args": {"n": 3},
    });
    let Ok(ToolhiveQuery::Call(call)) = parse(asked("mcp:tool:call", "mrn:mcp:git:tool:a:b", mcp))
    else {
        panic!("no call")
    };
    let OperationKind::CallTool(tool) = call.operation.kind else {
        panic!("no tool")
    };
    assert_eq!(
        (tool.tool.as_str(), &tool.arguments["n"]),
        ("a:b", &json!(3))
    );
}

#[test]
fn an_operation_that_is_not_known_is_no_call() {
    for operation in [
        "mcp::list",
        "mcp:tool:delete",
        "MCP:tool:call",
        "mcp:tool:call ",
        "",
    ] {
        let parsed = parse(asked(operation, "mrn:mcp:git:tool:log", json!({})));
        assert!(
            matches!(parsed, Ok(ToolhiveQuery::Unknown)),
            "{operation}: {parsed:?}"
        );
    }
}

#[test]
fn what_does_not_fit_together_names_its_field() {
    let tool = "mrn:mcp:git:tool:log";
    let fine = || asked("mcp:tool:call", tool, json!({}));
    let without = |field: &str| {
        let mut request = fine();
        request.as_object_mut().expect("an object").remove(field);
        request
    };
    let with = |field: &str, value: Json| {
        let mut request = fine();
        request[field] = value;
        request
    };
    for (request, wanted) in [
        (without("principal"), "`principal` is required"),
        (without("operation"), "`operation` is required"),
        (without("resource"), "`resource` is required"),
        (with("principal", json!({})), "`principal.sub` is required"),
        (
            with("principal", json!({"sub": ""})),
            "`principal.sub` is required",
        ),
        (
            with("principal", json!({"sub": 7})),
            "`principal.sub` must be a string",
        ),
        (
            with("principal", json!({"sub": "a\nb"})),
            "`principal.sub` holds a control",
        ),
        (with("operation", json!(1)), "`operation` must be a string"),
        (
            with("resource", json!("mrn:mcp:git:tool:")),
            "`resource` is required",
        ),
        (
            with("resource", json!("mrn:mcp::tool:log")),
            "`resource` is required",
        ),
        (
            with("resource", json!("mrn:mcp:git:prompt:log")),
            "`resource` `mrn:mcp:git:prompt:log`",
        ),
        (
            with("resource", json!("git:tool:log")),
            "`resource` `git:tool:log`",
        ),
        (with("context", json!([])), "`context` must be an object"),
        (
            with("context", json!({"mcp": 1})),
            "`context.mcp` must be an object",
        ),
        (
            with("context", json!({"mcp": {"resource_id": "other"}})),
            "`context.mcp.resource_id` says something else",
        ),
        (
            with("context", json!({"mcp": {"feature": "prompt"}})),
            "`context.mcp.feature` says something else",
        ),
        (
            with("context", json!({"mcp": {"operation": "list"}})),
            "`context.mcp.operation` says something else",
        ),
        (
            with("context", json!({"mcp": {"args": [1]}})),
            "`context.mcp.args` must be an object",
        ),
    ] {
        let said = parse(request.clone()).expect_err("refused").to_string();
        assert!(said.starts_with(wanted), "{request}: {said}");
    }
}

#[test]
fn a_number_that_toolhive_may_have_rounded_is_refused_wherever_it_is() {
    let ask = |args: Json| {
        let mcp =
            json!({"feature": "tool", "operation": "call", "resource_id": "log", "args": args});
        parse(asked("mcp:tool:call", "mrn:mcp:git:tool:log", mcp))
    };
    let safe = 9_007_199_254_740_991_i64;
    for good in [
        json!(safe),
        json!(-safe),
        json!(0.1),
        json!("9007199254740993"),
    ] {
        assert!(ask(json!({"id": good})).is_ok(), "{good}");
    }
    for bad in [
        json!(safe + 1),
        json!(-safe - 1),
        json!(1e300),
        json!(u64::MAX),
    ] {
        for args in [json!({"id": bad}), json!({"a": [{"b": bad}]})] {
            let refused = ask(args.clone()).expect_err("refused");
            let said = refused.to_string();
            assert!(
                said.contains("context.mcp.args") && said.contains("2^53"),
                "{args}: {said}"
            );
        }
    }
}

/// ToolHive passes on neither times nor `act` today. Should it, they count as everywhere, whatever the caller's rights.
#[test]
fn what_bounds_the_tokens_authority_counts_if_toolhive_sends_it() {
    let ask = |other: Json, agent, takes_claims| {
        let mut request = asked("mcp:tool:list", "mrn:mcp:git:tool:", json!({}));
        let principal = request["principal"].as_object_mut().expect("an object");
        principal.extend(other.as_object().expect("an object").clone());
        match parse_for(request, agent, takes_claims) {
            Ok(ToolhiveQuery::Call(call)) => Ok(call),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    };
    let skew = Limits::default().clock_skew();
    let at = |seconds| std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    for takes_claims in [true, false] {
        let times = json!({"nbf": 1_000, "exp": 2_000});
        let alone = ask(times.clone(), None, takes_claims).expect("a call");
        let identity = alone.subject.identity;
        assert_eq!(identity.not_before, Some(at(1_000) - skew));
        assert_eq!(identity.expires_at, Some(at(2_000) + skew));
        assert!(identity.is_relayed && identity.verified);
        let behind = ask(times, Some("helper"), takes_claims).expect("a call");
        let chain = behind.actor_chain.expect("somebody stands behind it");
        assert_eq!(chain.not_before, Some(at(1_000) - skew));
        assert_eq!(chain.expires_at, Some(at(2_000) + skew));

        let said = ask(json!({"exp": "soon"}), None, takes_claims).expect_err("no time");
        assert!(said.starts_with("`principal.exp` must be a time"), "{said}");
        for act in [json!({"sub": "helper"}), json!(null), json!("helper")] {
            let said = ask(json!({"act": act}), None, takes_claims).expect_err("whose claims?");
            assert!(said.starts_with("`principal.act` is there"), "{said}");
            // Who acts is what the configuration says.
            let behind = ask(json!({"act": act}), Some("helper"), takes_claims);
            let subject = behind.expect("a call").subject.entity.to_string();
            assert_eq!(subject, "Mcp::Agent::\"helper\"");
        }
    }
}

/// As in every other adapter: the record and the policies have these names.
#[test]
fn the_names_of_a_prompts_arguments_are_names() {
    let ask = |args: Json| {
        let mcp =
            json!({"feature": "prompt", "operation": "get", "resource_id": "p", "args": args});
        parse(asked("mcp:prompt:get", "mrn:mcp:git:prompt:p", mcp))
    };
    let Ok(ToolhiveQuery::Call(call)) = ask(json!({"b": "1", "a": "2"})) else {
        panic!("no call")
    };
    let OperationKind::GetPrompt { arguments, .. } = call.operation.kind else {
        panic!("no prompt")
    };
    assert_eq!(arguments, ["a", "b"]);
    let long = "k".repeat(Limits::default().id_bytes as usize + 1);
    for name in ["", "a\nb", "a\u{200b}", &long] {
        let said = ask(json!({ name: "x" })).expect_err("no name").to_string();
        assert!(said.starts_with("`context.mcp.args`"), "{name}: {said}");
    }
}
